//! `inspect`: serves the inspector on this machine, read only, until Ctrl-C.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::net::TcpListener;

use super::context::Context;
use super::demo::Demo;
use super::failure::{Failure, Outcome};
use super::serve::resolve;
use super::settings::Settings;
use super::signals::Signals;
use crate::inspector::{hash, secret};
use crate::server::{Authentication, ServerOptions, serve_on};

/// Show what is stored on pages in a browser, read only and on this machine alone
///
/// Prints the address to open, with a token that lets in nobody else on this machine. Ends with
/// Ctrl-C.
#[derive(Args)]
pub(crate) struct Inspect {
    /// The loopback address to listen on, ADDRESS:PORT; port 0 takes a free one
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8090",
        value_parser = resolve
    )]
    listen: SocketAddr,
    /// Show threads of example programs, in a throwaway Redis that this starts
    ///
    /// Needs `redis-server` on the PATH. Everything is gone when the command ends.
    #[arg(long)]
    demo: bool,
}

impl Inspect {
    /// The throwaway Redis with its threads, if that is asked for.
    pub(super) async fn demo(&self, settings: &Settings) -> Outcome<Option<Demo>> {
        if !self.demo {
            return Ok(None);
        }
        if settings.is_any_option() {
            return Err(Failure::Usage(
                "--demo has a Redis of its own: leave out the options of the connection and the store"
                    .to_owned(),
            ));
        }
        Demo::start().await.map(Some)
    }

    pub(crate) async fn run(self, context: &mut Context) -> Outcome {
        let token = secret();
        // It is off for the service; the pages ask for the token.
        let mut options = ServerOptions::new(Authentication::Off);
        options.listen = self.listen.into();
        options.drain_timeout = Duration::from_secs(3);
        options.inspector_alone = Some(hash(token.as_bytes()));
        options.check()?;
        let mut signals = Signals::listen()?;
        let listener = TcpListener::bind(self.listen)
            .await
            .map_err(|error| Failure::File(format!("cannot listen on {}: {error}", self.listen)))?;
        let address = listener
            .local_addr()
            .map_err(|error| Failure::File(format!("the listener has no address: {error}")))?;
        let url = format!("http://{address}/?token={token}");
        if context.output.is_json() {
            context.output.json(&json!({ "url": url }))?;
        } else {
            context.output.line(&url)?;
        }
        context.output.flush()?;
        let saver = context.saver.clone();
        Ok(serve_on(listener, saver, options, signals.any()).await?)
    }
}
