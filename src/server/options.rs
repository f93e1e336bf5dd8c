//! The options of the service.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::api_keys::ApiKeys;
use super::handle::ServiceHandle;
use super::key_file::KeyFile;
use super::key_limits::KeyLimits;
use super::listen::ListenAddress;
use super::tls::TlsFiles;
use crate::error::{Error, Result};

/// The options of the service. [`ServerOptions::check`] validates them.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerOptions {
    /// The address to listen on. Default: `127.0.0.1:8080`.
    pub listen: ListenAddress,
    /// The mode of the Unix socket, if `listen` is one: who may connect. Default: `0o660`, the
    /// user and the group of the process.
    pub socket_mode: u32,
    /// The files of TLS, of a TCP address. Default: none, and the service speaks plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Who may use the service. Default: no key, which [`check`](Self::check) refuses.
    pub authentication: Authentication,
    /// The largest request body in bytes. Default: 32 MiB.
    pub max_body_bytes: usize,
    /// The number of requests that are served concurrently, each from the end of its body to the end
    /// of its response; more are answered 503. Default: 256.
    pub max_in_flight: usize,
    /// The number of open connections. A few more get health checks alone, and then all others are
    /// closed. Default: 4,096.
    pub max_connections: usize,
    /// The time until the response to a request begins. Default: 30 seconds.
    pub request_timeout: Duration,
    /// The time for a client to send the head of a request, and for a connection to be idle.
    /// Default: 30 seconds.
    pub header_timeout: Duration,
    /// The time for a client to send the body of a request. Default: 20 seconds.
    pub body_timeout: Duration,
    /// The time that a client may leave a response unread. Default: 20 seconds.
    pub write_timeout: Duration,
    /// The time for requests in flight to complete once a shutdown begins; the rest is aborted.
    /// Default: 30 seconds.
    pub drain_timeout: Duration,
    /// The time between the begin of a shutdown, from which on `/readyz` reports 503, and the end
    /// of listening: load balancers need it to send their requests elsewhere. Default: zero.
    pub shutdown_delay: Duration,
    /// Tells the running service to read its files again, and to cut `shutdown_delay` short.
    pub handle: ServiceHandle,
    /// Whether `/metrics` is served without a key. Default: `false`.
    pub open_metrics: bool,
    /// Whether logs contain the ids of threads instead of a hash. Default: `false`.
    pub shows_threads: bool,
    /// The number of open connections from one address (of IPv6, from one network of 64 bits); more
    /// are treated as those beyond [`max_connections`](Self::max_connections). Default: 1,024.
    pub max_connections_per_address: usize,
    /// The bytes of request bodies that are held in memory; a body beyond it is answered 503. A body
    /// counts from its head on, by its `content-length` if it has one. Default: 256 MiB.
    pub max_held_bytes: usize,
    /// The limits of each API key. Default: those of [`KeyLimits`].
    pub key_limits: KeyLimits,
    /// Whether the inspector, pages that show what is stored, is served under `/inspector`, behind
    /// the same keys. Default: `false`.
    pub inspector: bool,
    /// The SHA-256 of the token that lets into the inspector if nothing else is served, and nothing
    /// can be changed.
    pub(crate) inspector_alone: Option<[u8; 32]>,
}

/// Who may use the service.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Authentication {
    /// Clients with one of these keys.
    Keys(ApiKeys),
    /// Clients with one of the keys of this file, which is read again when it changes.
    KeyFile(KeyFile),
    /// Everybody on this machine, on a loopback address; on a Unix socket, the user and the group
    /// that it belongs to.
    Off,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080).into(),
            socket_mode: 0o660,
            tls: None,
            authentication: Authentication::Keys(ApiKeys::default()),
            max_body_bytes: 32 * 1024 * 1024,
            max_in_flight: 256,
            max_connections: 4_096,
            request_timeout: Duration::from_secs(30),
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(20),
            write_timeout: Duration::from_secs(20),
            drain_timeout: Duration::from_secs(30),
            shutdown_delay: Duration::ZERO,
            handle: ServiceHandle::default(),
            open_metrics: false,
            shows_threads: false,
            max_connections_per_address: 1_024,
            max_held_bytes: 256 * 1024 * 1024,
            key_limits: KeyLimits::default(),
            inspector: false,
            inspector_alone: None,
        }
    }
}

impl Authentication {
    /// The keys as they are now; `None` if authentication is off.
    pub(super) fn keys(&self) -> Option<ApiKeys> {
        match self {
            Self::Keys(keys) => Some(keys.clone()),
            Self::KeyFile(file) => Some(file.keys()),
            Self::Off => None,
        }
    }
}

impl ServerOptions {
    /// The default options with an authentication.
    #[must_use]
    pub fn new(authentication: Authentication) -> Self {
        Self {
            authentication,
            ..Self::default()
        }
    }

    /// Validates the options.
    ///
    /// # Errors
    /// [`Error::Config`] if there is no key, if authentication is off and others than
    /// [`Authentication::Off`] names could connect, if there are files of TLS for a Unix socket, if
    /// a limit is zero, or if two limits contradict each other.
    pub fn check(&self) -> Result<()> {
        let refuse = |key: &str, reason: &str| {
            Err(Error::Config {
                key: key.to_owned(),
                reason: reason.to_owned(),
                source: None,
            })
        };
        match self.authentication.keys() {
            Some(keys) if keys.is_empty() => {
                return refuse(
                    "authentication",
                    "there is no API key, so nobody could use the service; add one",
                );
            }
            Some(_) => {}
            None => match &self.listen {
                ListenAddress::Tcp(address) if !address.ip().is_loopback() => {
                    return refuse(
                        "authentication",
                        "it is off, so the service may listen only on a loopback address or a Unix socket; add API keys for others",
                    );
                }
                ListenAddress::Unix(_) if self.socket_mode & 0o007 != 0 => {
                    return refuse(
                        "socket_mode",
                        "authentication is off, so only the socket's user and group may connect: use 0660 or 0600, or add API keys",
                    );
                }
                ListenAddress::Tcp(_) | ListenAddress::Unix(_) => {}
            },
        }
        if self.socket_mode & !0o777 != 0 {
            return refuse("socket_mode", "it is no mode of a file, such as 0660");
        }
        if self.tls.is_some() && matches!(self.listen, ListenAddress::Unix(_)) {
            return refuse(
                "certificate",
                "a Unix socket leaves no machine, so there is nothing to encrypt; leave the certificate out",
            );
        }
        for (key, is_zero) in [
            ("max_body_bytes", self.max_body_bytes == 0),
            ("max_in_flight", self.max_in_flight == 0),
            ("max_connections", self.max_connections == 0),
            ("request_timeout", self.request_timeout.is_zero()),
            ("header_timeout", self.header_timeout.is_zero()),
            ("body_timeout", self.body_timeout.is_zero()),
            ("write_timeout", self.write_timeout.is_zero()),
            (
                "max_connections_per_address",
                self.max_connections_per_address == 0,
            ),
        ] {
            if is_zero {
                return refuse(
                    key,
                    "it is zero, so no request could be served; it must be positive",
                );
            }
        }
        for (name, limit) in { self.key_limits }.named() {
            if *limit == Some(0) {
                let key = format!("key_limits.{name}");
                return refuse(
                    &key,
                    "it is zero, so no key could be used; it must be positive",
                );
            }
        }
        if self.key_limits.burst.is_some() && self.key_limits.rate.is_none() {
            return refuse(
                "key_limits.burst",
                "there is no rate that it belongs to; set both",
            );
        }
        if self.max_held_bytes < self.max_body_bytes {
            return refuse(
                "max_held_bytes",
                "it is less than max_body_bytes, so the largest bodies could never be read; raise it or lower max_body_bytes",
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_without_keys_is_refused_beyond_loopback() {
        assert!(ServerOptions::default().check().is_err());
        let mut options = ServerOptions::new(Authentication::Off);
        assert!(options.check().is_ok());
        options.listen = "0.0.0.0:8080".parse().unwrap();
        let error = options.check().unwrap_err().to_string();
        assert!(error.contains("loopback"), "{error}");
    }

    #[test]
    fn a_service_without_keys_is_refused_on_a_socket_that_is_open_to_everybody() {
        let mut options = ServerOptions::new(Authentication::Off);
        options.listen = "unix:/run/service.sock".parse().unwrap();
        assert!(options.check().is_ok());
        options.socket_mode = 0o662;
        let error = options.check().unwrap_err().to_string();
        assert!(error.contains("socket_mode"), "{error}");
        options.socket_mode = 0o600;
        options.tls = Some(TlsFiles::new("certificate", "key"));
        let error = options.check().unwrap_err().to_string();
        assert!(error.contains("certificate"), "{error}");
    }

    #[test]
    fn a_limit_of_zero_is_refused_by_name() {
        let mut options = ServerOptions::new(Authentication::Off);
        options.max_in_flight = 0;
        let error = options.check().unwrap_err().to_string();
        assert!(error.contains("max_in_flight"), "{error}");
        let mut options = ServerOptions::new(Authentication::Off);
        options.key_limits.max_held_bytes = Some(0);
        let error = options.check().unwrap_err().to_string();
        assert!(error.contains("key_limits.max_held_bytes"), "{error}");
    }

    #[test]
    fn limits_that_contradict_each_other_are_refused() {
        let mut options = ServerOptions::new(Authentication::Off);
        options.max_held_bytes = options.max_body_bytes - 1;
        let error = options.check().unwrap_err().to_string();
        assert!(error.contains("max_held_bytes"), "{error}");
        let mut options = ServerOptions::new(Authentication::Off);
        options.key_limits.burst = Some(10);
        let error = options.check().unwrap_err().to_string();
        assert!(error.contains("key_limits.burst"), "{error}");
    }
}
