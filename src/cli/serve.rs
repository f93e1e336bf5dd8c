//! `serve`: runs the HTTP service until Ctrl-C or SIGTERM.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::sync::oneshot;

use super::context::Context;
use super::failure::{Failure, Outcome};
use super::output::Output;
use super::settings::{Settings, Source};
use super::signals::{Signal, Signals};
use super::sources::Effective;
use super::text::printable;
use crate::redis::{ConfigKey, duration, without_password};
use crate::saver::CheckpointSaver;
use crate::server::{
    ApiKeys, Authentication, KeyFile, ListenAddress, ServerOptions, TlsFiles, log_as_json, serve,
};

/// The variable that holds the keys themselves.
const KEYS: &str = "LANGGRAPH_REDIS_API_KEYS";

/// Serve the checkpoints over HTTP until Ctrl-C or SIGTERM
///
/// Creates the indexes first. The first signal starts a graceful shutdown, which waits for
/// --shutdown-delay and for the requests in flight; a second one ends the delay, or aborts the
/// requests. SIGHUP reads the files of keys and of TLS again, which a change of them does as well; a
/// terminal that is closed ends the service.
///
/// Each option may also be given by a variable of the environment, or in the table [serve] of the
/// file of --config, under its name with underscores. A flag comes before a variable, and a
/// variable before the file.
//
// `sources` derives the other names: an option that is added here has them, too. Each has one value
// and a default that clap knows; contradictions are refused in `options`, whichever way they come.
#[derive(Args)]
#[allow(clippy::struct_excessive_bools)] // Each is a switch of its own.
pub(crate) struct Serve {
    /// Check the options and the files that they name, print what is in force, and do not serve
    #[arg(long)]
    pub(crate) check: bool,
    /// The options, and where they come from
    #[arg(skip)]
    pub(crate) effective: Vec<Effective>,
    /// The address to listen on, ADDRESS:PORT, NAME:PORT (IPv4 is preferred) or unix:PATH
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8080",
        value_parser = listen_address
    )]
    listen: ListenAddress,
    /// The mode of the Unix socket, in octal digits
    #[arg(long, value_name = "MODE", default_value = "0660", value_parser = mode)]
    socket_mode: u32,
    /// The certificate of the service and those that signed it (PEM), to serve HTTPS
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// The private key of the certificate (PEM, not encrypted, not for everybody to read)
    #[arg(long, value_name = "FILE")]
    private_key: Option<PathBuf>,
    /// The authorities (PEM) that sign the certificates which clients must then show
    #[arg(long, value_name = "FILE")]
    client_ca: Option<PathBuf>,
    /// The file of API keys, one per line as `hash-key` prints it; the lines themselves may be in
    /// LANGGRAPH_REDIS_API_KEYS instead
    #[arg(long, value_name = "FILE")]
    api_keys: Option<PathBuf>,
    /// Serve without keys, on a loopback address or a Unix socket only
    #[arg(long)]
    no_authentication: bool,
    /// The largest request body
    #[arg(long, value_name = "BYTES", default_value = "33554432")]
    max_body_bytes: usize,
    /// The number of concurrent requests; more are answered 503
    #[arg(long, value_name = "NUMBER", default_value = "256")]
    max_in_flight: usize,
    /// The number of open connections; more are closed
    #[arg(long, value_name = "NUMBER", default_value = "4096")]
    max_connections: usize,
    /// The time until the response to a request begins
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    request_timeout: Duration,
    /// The time for the head of a request, for a handshake of TLS, and for an idle connection
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    header_timeout: Duration,
    /// The time for the body of a request
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = duration)]
    body_timeout: Duration,
    /// The time that a client may leave a response unread
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = duration)]
    write_timeout: Duration,
    /// The time after the first signal in which connections are still accepted, while /readyz
    /// reports 503
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
    shutdown_delay: Duration,
    /// The time for requests in flight to complete after that
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    drain_timeout: Duration,
    /// Serve /metrics without a key
    #[arg(long)]
    open_metrics: bool,
    /// Serve the inspector under /inspector: pages that show what is stored, behind the same keys
    #[arg(long)]
    inspector: bool,
    /// Log the ids of threads instead of a hash
    #[arg(long)]
    show_threads: bool,
    /// The log filter: a level, or levels by target; the log is JSON on stderr
    #[arg(long, value_name = "FILTER", default_value = "info")]
    log: String,
    /// The number of open connections from one address
    #[arg(long, value_name = "NUMBER", default_value = "1024")]
    max_connections_per_address: usize,
    /// The bytes of the bodies of all requests at once; more are answered 503
    #[arg(long, value_name = "BYTES", default_value = "268435456")]
    max_held_bytes: usize,
    /// The number of concurrent requests of each key; more are answered 429. If it is not given,
    /// half of --max-in-flight, or no limit if there is only one key
    #[arg(long, value_name = "NUMBER")]
    key_max_in_flight: Option<usize>,
    /// The number of requests of each key per second; more are answered 429. If it is not given, there
    /// is no limit
    #[arg(long, value_name = "NUMBER")]
    key_rate: Option<usize>,
    /// The number of requests of each key that may arrive at once after a pause. If it is not given,
    /// as --key-rate
    #[arg(long, value_name = "NUMBER")]
    key_burst: Option<usize>,
    /// The bytes of the bodies of each key at once; more are answered 429. If it is not given, half of
    /// --max-held-bytes, or no limit if there is only one key
    #[arg(long, value_name = "BYTES")]
    key_max_held_bytes: Option<usize>,
    /// The largest request body of each key. If it is not given, as --max-body-bytes
    #[arg(long, value_name = "BYTES")]
    key_max_body_bytes: Option<usize>,
}

/// An address to listen on, of which the name is resolved.
pub(super) fn listen_address(text: &str) -> Result<ListenAddress, String> {
    if text.starts_with("unix:") {
        return text
            .parse()
            .map_err(|error: crate::Error| error.report().to_string());
    }
    resolve(text).map(ListenAddress::Tcp)
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

/// The mode of a file: octal digits, as for `chmod`.
fn mode(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o777)
        .ok_or_else(|| "write octal digits, such as 0660".to_owned())
}

impl Serve {
    /// Validates the options and starts to log, before it connects to Redis.
    pub(crate) fn prepare(&self) -> Outcome {
        let options = self.options()?;
        options.check()?;
        if let Some(files) = &options.tls {
            files.check()?;
        }
        Ok(log_as_json(&self.log)?)
    }

    /// Checks all that can be checked without a connection, and prints what is in force.
    pub(crate) fn print(&self, settings: &Settings, json: bool) -> Outcome {
        self.prepare()?;
        settings.builder().check()?;
        let mut redis = Vec::new();
        for (key, value, source) in settings.given() {
            let source = match source {
                Source::Flag => format!("--{}", key.as_str().replace('_', "-")),
                Source::Variable(name) => name,
                Source::File => "the file".to_owned(),
            };
            let value = match key {
                ConfigKey::Url => without_password(&value)?,
                _ => value,
            };
            redis.push(Effective {
                name: key.to_string(),
                value: Some(value),
                source,
            });
        }
        let mut output = Output::new(json);
        let tables = [("redis", &redis), ("serve", &self.effective)];
        if output.is_json() {
            let table = |options: &Vec<Effective>| {
                let members = options.iter().map(|one| {
                    let member = json!({ "value": one.value, "source": one.source });
                    (one.name.clone(), member)
                });
                serde_json::Value::Object(members.collect())
            };
            let members = tables.map(|(name, options)| (name.to_owned(), table(options)));
            output.json(&serde_json::Value::Object(members.into_iter().collect()))?;
            return output.flush();
        }
        for (name, options) in tables {
            output.line(format!("[{name}]"))?;
            for option in options {
                let source = printable(&option.source);
                let line = match &option.value {
                    // JSON's strings are TOML's, too.
                    Some(value) => format!("{} = {} # {source}", option.name, json!(value)),
                    None => format!("# {} is not set", option.name),
                };
                output.line(printable(&line))?;
            }
        }
        output.flush()
    }

    pub(crate) async fn run(self, context: &mut Context) -> Outcome {
        let options = self.options()?;
        let handle = options.handle.clone();
        let mut signals = Signals::listen()?;
        let setup = context.saver.setup();
        tokio::pin!(setup);
        loop {
            tokio::select! {
                ready = &mut setup => break ready?,
                signal = signals.next() => if let Signal::Stop = signal {
                    return Err(Failure::Interrupted("interrupted before the service started".to_owned()));
                }
            }
        }
        let (stop, begun) = oneshot::channel::<()>();
        let served = serve(context.saver.clone(), options, begun);
        tokio::pin!(served);
        let ready = handle.ready();
        tokio::pin!(ready);
        let (mut stop, mut is_ready) = (Some(stop), false);
        loop {
            tokio::select! {
                served = &mut served => return Ok(served?),
                () = &mut ready, if !is_ready => {
                    is_ready = true;
                    tell_systemd(Progress::Ready);
                }
                signal = signals.next() => match signal {
                    Signal::Reload => handle.reload(),
                    Signal::Stop => match stop.take() {
                        Some(stop) => {
                            tell_systemd(Progress::Stopping);
                            // The receiver is gone only if serving has failed.
                            let _ = stop.send(());
                        }
                        None if handle.end_shutdown_delay() => {}
                        None => return Err(Failure::Interrupted(
                            "interrupted by a second signal; requests in flight were aborted".to_owned(),
                        )),
                    },
                },
            }
        }
    }

    fn options(&self) -> Outcome<ServerOptions> {
        let mut options = ServerOptions::new(self.authentication()?);
        options.listen = self.listen.clone();
        options.socket_mode = self.socket_mode;
        options.tls = self.tls()?;
        options.max_body_bytes = self.max_body_bytes;
        options.max_in_flight = self.max_in_flight;
        options.max_connections = self.max_connections;
        options.request_timeout = self.request_timeout;
        options.header_timeout = self.header_timeout;
        options.body_timeout = self.body_timeout;
        options.write_timeout = self.write_timeout;
        options.shutdown_delay = self.shutdown_delay;
        options.drain_timeout = self.drain_timeout;
        options.open_metrics = self.open_metrics;
        options.shows_threads = self.show_threads;
        options.inspector = self.inspector;
        options.max_connections_per_address = self.max_connections_per_address;
        options.max_held_bytes = self.max_held_bytes;
        options.key_limits.max_in_flight = self.key_max_in_flight;
        options.key_limits.rate = self.key_rate;
        options.key_limits.burst = self.key_burst;
        options.key_limits.max_held_bytes = self.key_max_held_bytes;
        options.key_limits.max_body_bytes = self.key_max_body_bytes;
        Ok(options)
    }

    fn tls(&self) -> Outcome<Option<TlsFiles>> {
        let (certificate, key) = match (&self.certificate, &self.private_key) {
            (Some(certificate), Some(key)) => (certificate, key),
            (None, None) if self.client_ca.is_none() => return Ok(None),
            (None, None) => {
                return Err(Failure::Usage(
                    "--client-ca needs TLS: give --certificate and --private-key, too".to_owned(),
                ));
            }
            _ => {
                return Err(Failure::Usage(
                    "--certificate and --private-key go together: give both".to_owned(),
                ));
            }
        };
        let mut files = TlsFiles::new(certificate, key);
        files.client_ca.clone_from(&self.client_ca);
        Ok(Some(files))
    }

    fn authentication(&self) -> Outcome<Authentication> {
        let keys = std::env::var(KEYS);
        if self.no_authentication {
            if self.api_keys.is_some() || !matches!(keys, Err(std::env::VarError::NotPresent)) {
                return Err(Failure::Usage(format!(
                    "--no-authentication contradicts the keys of --api-keys, its variable or {KEYS}: use one of them"
                )));
            }
            return Ok(Authentication::Off);
        }
        let keys = match (&self.api_keys, keys) {
            (Some(file), _) => return Ok(Authentication::KeyFile(KeyFile::open(file)?)),
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

/// How far the service is.
#[derive(Debug, Clone, Copy)]
enum Progress {
    Ready,
    Stopping,
}

/// Tells systemd how far the service is, if it was started by a unit with `Type=notify`.
#[cfg(target_os = "linux")]
fn tell_systemd(progress: Progress) {
    let state = match progress {
        Progress::Ready => sd_notify::NotifyState::Ready,
        Progress::Stopping => sd_notify::NotifyState::Stopping,
    };
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "systemd was not told that the service is {progress:?}");
    }
}

#[cfg(not(target_os = "linux"))]
fn tell_systemd(_: Progress) {}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command, FromArgMatches as _};

    use super::*;

    #[test]
    fn the_defaults_of_the_options_are_those_of_the_service() {
        let command = Serve::augment_args(Command::new("serve"));
        let matches = command.get_matches_from(["serve", "--no-authentication"]);
        let serve = Serve::from_arg_matches(&matches).unwrap();
        let options = serve.options().unwrap();
        let expected = ServerOptions::new(Authentication::Off);
        let shown = |options: &ServerOptions| format!("{options:#?}");
        assert_eq!(shown(&options), shown(&expected));
    }

    #[test]
    fn a_mode_is_octal() {
        assert_eq!(mode("0660"), Ok(0o660));
        assert_eq!(mode("600"), Ok(0o600));
        for text in ["", "0o660", "rw", "1777", "8"] {
            assert!(mode(text).is_err(), "{text}");
        }
    }
}
