//! `serve`: runs the HTTP service until Ctrl-C, SIGTERM or SIGHUP.

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

/// Serve the checkpoints over HTTP until Ctrl-C, SIGTERM or SIGHUP
///
/// Creates the indexes first. The first signal starts a graceful shutdown, which waits for the
/// requests in flight; a second one aborts them.
#[derive(Args)]
pub(crate) struct Serve {
    /// The address to listen on, ADDRESS:PORT or NAME:PORT; IPv4 is preferred for a name
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8080",
        value_parser = resolve
    )]
    listen: SocketAddr,
    /// The file of API keys, one per line as `hash-key` prints it
    /// [env: LANGGRAPH_REDIS_API_KEYS_FILE, or the lines themselves in LANGGRAPH_REDIS_API_KEYS]
    #[arg(long, value_name = "FILE")]
    api_keys: Option<PathBuf>,
    /// Serve everybody on this machine without keys, on a loopback address only
    #[arg(long, conflicts_with = "api_keys")]
    no_authentication: bool,
    /// The largest request body [default: 33554432]
    #[arg(long, value_name = "BYTES")]
    max_body_bytes: Option<usize>,
    /// The number of concurrent requests; more are answered 503 [default: 256]
    #[arg(long, value_name = "NUMBER")]
    max_in_flight: Option<usize>,
    /// The number of open connections; more are closed [default: 4096]
    #[arg(long, value_name = "NUMBER")]
    max_connections: Option<usize>,
    /// The time until the response to a request begins [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    request_timeout: Option<Duration>,
    /// The time for the head of a request, and for an idle connection [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    header_timeout: Option<Duration>,
    /// The time for the body of a request [default: 20s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    body_timeout: Option<Duration>,
    /// The time that a client may leave a response unread [default: 20s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    write_timeout: Option<Duration>,
    /// The time for requests in flight to complete after the first signal [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    drain_timeout: Option<Duration>,
    /// Serve /metrics without a key
    #[arg(long)]
    open_metrics: bool,
    /// Log the ids of threads instead of a hash
    #[arg(long)]
    show_threads: bool,
    /// The log filter: a level, or levels by target; the log is JSON on stderr
    #[arg(long, value_name = "FILTER", default_value = "info")]
    log: String,
}

/// The address of `ADDRESS:PORT` or `NAME:PORT`.
pub(super) fn resolve(text: &str) -> Result<SocketAddr, String> {
    let has_port = text
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if !has_port {
        return Err("write the address and the port, such as 127.0.0.1:8080".to_owned());
    }
    let found = text
        .to_socket_addrs()
        .map_err(|error| format!("the name cannot be resolved: {error}"))?;
    let found: Vec<_> = found.collect();
    let chosen = found.iter().find(|address| address.is_ipv4());
    chosen
        .or(found.first())
        .copied()
        .ok_or_else(|| "the name has no address".to_owned())
}

impl Serve {
    /// Validates the options and starts to log, before it connects to Redis.
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
                return Err(Failure::Interrupted("interrupted before the service started".to_owned()));
            }
        }
        let (stop, begun) = oneshot::channel::<()>();
        let served = serve(context.saver.clone(), options, begun);
        let twice = async {
            signals.next().await;
            // The receiver is gone only if serving has failed.
            let _ = stop.send(());
            signals.next().await;
        };
        tokio::select! {
            served = served => Ok(served?),
            () = twice => Err(Failure::Interrupted(
                "interrupted by a second signal; requests in flight were aborted".to_owned(),
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
                    "--no-authentication contradicts the keys in {KEYS_FILE} or {KEYS}: use one of them"
                )));
            }
            return Ok(Authentication::Off);
        }
        let keys = match (self.api_keys.clone().or(file), keys) {
            (Some(file), _) => ApiKeys::from_file(file)?,
            (None, Ok(lines)) => ApiKeys::parse(&lines)?,
            (None, Err(std::env::VarError::NotPresent)) => {
                return Err(Failure::Usage(
                    "there are no API keys: give a file with --api-keys, or use --no-authentication".to_owned(),
                ));
            }
            (None, Err(error)) => {
                return Err(Failure::Usage(format!("cannot read {KEYS}: {error}")));
            }
        };
        Ok(Authentication::Keys(keys))
    }
}

/// The signals that stop the service.
struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    /// The terminal was closed; `None` if the signal is ignored, as under `nohup`.
    #[cfg(unix)]
    hangup: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> Outcome<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| {
            signal(kind)
                .map_err(|error| Failure::File(format!("cannot listen for signals: {error}")))
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

/// Whether SIGHUP was ignored when the process started, as far as the system says.
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
            // Without a handler the service runs until the process is killed.
            std::future::pending::<()>().await;
        }
    }
}
