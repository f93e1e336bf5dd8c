//! `health`: asks a service that runs whether it is ready.

use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::failure::{Failure, Outcome};
use super::output::Output;
use super::serve::listen_address;
use super::text::printable;
use crate::error::Source;
use crate::server::ListenAddress;

/// The longest answer that is read, in bytes.
const MAX_BYTES: usize = 16_384;

/// Ask a running service whether it is ready, as the health check of a container
///
/// Exits with code 5 if it is not, or cannot be reached.
#[derive(Args)]
pub(crate) struct Health {
    /// The address that the service listens on, ADDRESS:PORT, NAME:PORT or unix:PATH
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8080",
        value_parser = listen_address
    )]
    address: ListenAddress,
    /// The time limit
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = crate::redis::duration)]
    timeout: Duration,
}

impl Health {
    pub(crate) fn run(self, json: bool) -> Outcome {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::File(format!("cannot start the runtime: {error}")))?;
        let answer = runtime
            .block_on(async { tokio::time::timeout(self.timeout, ask(&self.address)).await })
            .map_err(|_| self.unavailable("it did not answer in time"))?;
        let (status, text) = answer.map_err(|error| self.unavailable(&error.to_string()))?;
        if status != StatusCode::OK {
            return Err(self.unavailable(&format!("it answers {status}: {}", reason(&text))));
        }
        let mut output = Output::new(json);
        if output.is_json() {
            output.json(&json!({ "ready": true, "answer": text }))?;
        } else {
            output.line(printable(&text))?;
        }
        output.flush()
    }

    fn unavailable(&self, why: &str) -> Failure {
        Failure::Unavailable(format!(
            "the service at {} is not ready: {why}",
            self.address
        ))
    }
}

/// The message of an error response, or the response itself.
fn reason(text: &str) -> String {
    let body = serde_json::from_str::<Value>(text).unwrap_or_default();
    printable(body["message"].as_str().unwrap_or(text)).into_owned()
}

/// The status and the text of `GET /readyz`.
async fn ask(address: &ListenAddress) -> Result<(StatusCode, String), Source> {
    match address {
        ListenAddress::Tcp(address) => {
            ask_on(TcpStream::connect(address).await?, &address.to_string()).await
        }
        #[cfg(unix)]
        ListenAddress::Unix(path) => {
            ask_on(tokio::net::UnixStream::connect(path).await?, "localhost").await
        }
        #[cfg(not(unix))]
        ListenAddress::Unix(_) => Err("this system has no Unix sockets".into()),
    }
}

async fn ask_on<S>(stream: S, host: &str) -> Result<(StatusCode, String), Source>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get("/readyz")
        .header(HOST, host)
        .body(Empty::<Bytes>::new())?;
    let answered = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_BYTES)
            .collect()
            .await?;
        let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        Ok((status, text))
    };
    tokio::pin!(answered);
    tokio::select! {
        answered = &mut answered => answered,
        // The connection ends before the answer is taken only if it breaks.
        ended = connection => {
            ended?;
            answered.await
        }
    }
}
