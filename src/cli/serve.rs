//! `serve`: the HTTP service, until Ctrl-C, SIGTERM or SIGHUP.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio::sync::oneshot;

use super::context::Context;
use super::failure::{Failure, Outcome};
use crate::redis::duration;
use crate::saver::CheckpointSaver;
use crate::server::{ApiKeys, Authentication, ServerOptions, log_as_json, serve};

/// The variable that names the file of keys.
const KEYS_FILE: &str = "LANGGRAPH_REDIS_API_KEYS_FILE";
/// The variable that holds the keys themselves.
const KEYS: &str = "LANGGRAPH_REDIS_API_KEYS";

/// Serve the checkpoints over HTTP, until Ctrl-C, SIGTERM or SIGHUP
///
/// Makes the indexes unless they are there. The first signal lets the requests end that were
/// begun, a second one ends them.
#[derive(Args)]
pub(crate) struct Serve {
    /// Where to listen, as ADDRESS:PORT or NAME:PORT; of a name's addresses an IPv4 one
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8080",
        value_parser = resolved
    )]
    listen: SocketAddr,
    /// The file with the API keys, a line each as `hash-key` prints it
    /// [env: LANGGRAPH_REDIS_API_KEYS_FILE, or the lines in LANGGRAPH_REDIS_API_KEYS]
    #[arg(long, value_name = "FILE")]
    api_keys: Option<PathBuf>,
    /// Serve everybody on this machine, without keys; on a loopback address only
    #[arg(long, conflicts_with = "api_keys")]
    no_authentication: bool,
    /// The largest body of a request [default: 33554432]
    #[arg(long, value_name = "BYTES")]
    max_body_bytes: Option<usize>,
    /// How many requests are served at once; one more is answered 503 [default: 256]
    #[arg(long, value_name = "NUMBER")]
    max_in_flight: Option<usize>,
    /// How many connections are open at once; one more is closed [default: 4096]
    #[arg(long, value_name = "NUMBER")]
    max_connections: Option<usize>,
    /// How long a request may take until its answer begins [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = time)]
    request_timeout: Option<Duration>,
    /// How long the head of a request may take, and a connection rest [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = time)]
    header_timeout: Option<Duration>,
    /// How long the body of a request may take [default: 20s]
    #[arg(long, value_name = "TIME", value_parser = time)]
    body_timeout: Option<Duration>,
    /// How long a client may leave an answer unread [default: 20s]
    #[arg(long, value_name = "TIME", value_parser = time)]
    write_timeout: Option<Duration>,
    /// How long what was begun may go on after the first signal [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = time)]
    drain_timeout: Option<Duration>,
    /// Let everybody read /metrics, without a key
    #[arg(long)]
    open_metrics: bool,
    /// Show threads by their ids in the log, not by a hash of them
    #[arg(long)]
    show_threads: bool,
    /// What is logged, as JSON on stderr: a level, or levels by target
    #[arg(long, value_name = "FILTER", default_value = "info")]
    log: String,
}

fn time(text: &str) -> Result<Duration, String> {
    duration(text)
}

/// An address, or that of a name.
fn resolved(text: &str) -> Result<SocketAddr, String> {
    let is_whole = text
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if !is_whole {
        return Err("write the address and the port, such as 127.0.0.1:8080".to_owned());
    }
    let found = text
        .to_socket_addrs()
        .map_err(|error| format!("it has no address: {error}"))?;
    let found: Vec<_> = found.collect();
    let chosen = found.iter().find(|address| address.is_ipv4());
    chosen
        .or(found.first())
        .copied()
        .ok_or_else(|| "it has no address".to_owned())
}

impl Serve {
    /// Begins to log; what cannot be used is refused before anybody connects.
    pub(crate) fn prepare(&self) -> Outcome {
        self.options()?.check()?;
        Ok(log_as_json(&self.log)?)
    }

    pub(crate) async fn run(self, context: &mut Context) -> Outcome {
        let options = self.options()?;
        let mut signals = Signals::listen()?;
        tokio::select! {
            ready = context.saver.setup() => ready?,
            () = signals.next() => {
                return Err(Failure::Interrupted("ended before the service began".to_owned()));
            }
        }
        let (stop, begun) = oneshot::channel::<()>();
        let served = serve(context.saver.clone(), options, begun);
        let twice = async {
            signals.next().await;
            // It is gone only if serving has failed.
            let _ = stop.send(());
            signals.next().await;
        };
        tokio::select! {
            served = served => Ok(served?),
            () = twice => Err(Failure::Interrupted(
                "ended by a second signal; requests that were being served were cut off".to_owned(),
            )),
        }
    }

    fn options(&self) -> Outcome<ServerOptions> {
        let mut options = ServerOptions::new(self.authentication()?);
        options.listen = self.listen;
        options.open_metrics = self.open_metrics;
        options.shows_threads = self.show_threads;
        for (option, given) in [
            (&mut options.max_body_bytes, self.max_body_bytes),
            (&mut options.max_in_flight, self.max_in_flight),
            (&mut options.max_connections, self.max_connections),
        ] {
            *option = given.unwrap_or(*option);
        }
        for (option, given) in [
            (&mut options.request_timeout, self.request_timeout),
            (&mut options.header_timeout, self.header_timeout),
            (&mut options.body_timeout, self.body_timeout),
            (&mut options.write_timeout, self.write_timeout),
            (&mut options.drain_timeout, self.drain_timeout),
        ] {
            *option = given.unwrap_or(*option);
        }
        Ok(options)
    }

    fn authentication(&self) -> Outcome<Authentication> {
        let file = std::env::var_os(KEYS_FILE).map(PathBuf::from);
        let keys = std::env::var(KEYS);
        if self.no_authentication {
            if file.is_some() || !matches!(keys, Err(std::env::VarError::NotPresent)) {
                return Err(Failure::Usage(format!(
                    "--no-authentication contradicts the keys of {KEYS_FILE} or {KEYS}: give one of them"
                )));
            }
            return Ok(Authentication::Off);
        }
        let keys = match (self.api_keys.clone().or(file), keys) {
            (Some(file), _) => ApiKeys::from_file(file)?,
            (None, Ok(lines)) => ApiKeys::parse(&lines)?,
            (None, Err(std::env::VarError::NotPresent)) => {
                return Err(Failure::Usage(
                    "nobody could use the service: give a file of keys with --api-keys, or --no-authentication".to_owned(),
                ));
            }
            (None, Err(error)) => {
                return Err(Failure::Usage(format!("{KEYS} cannot be read: {error}")));
            }
        };
        Ok(Authentication::Keys(keys))
    }
}

/// What tells the service to end.
struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    /// The terminal is gone; `None` where that is to be ignored, as `nohup` has it.
    #[cfg(unix)]
    hangup: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> Outcome<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::File(format!("signals cannot be heard: {error}")))
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: if ignores_hangup() {
                None
            } else {
                Some(listen(SignalKind::hangup())?)
            },
        })
    }

    /// Waits for Ctrl-C, SIGTERM or SIGHUP.
    async fn next(&mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = hangup => {}
        }
    }
}

/// Whether the process was started with SIGHUP ignored, where the system tells.
#[cfg(unix)]
fn ignores_hangup() -> bool {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else {
        return false;
    };
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // SIGHUP is number 1, the lowest bit.
    ignored
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 == 1)
}

#[cfg(not(unix))]
impl Signals {
    #[allow(clippy::unnecessary_wraps)] // As on Unix.
    fn listen() -> Outcome<Self> {
        Ok(Self {})
    }

    /// Waits for Ctrl-C.
    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            // It cannot be heard: the service runs until it is ended from outside.
            std::future::pending::<()>().await;
        }
    }
}
