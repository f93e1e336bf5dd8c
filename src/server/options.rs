//! How the service runs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::ApiKeys;
use crate::error::{Error, Result};

/// How the service runs. Every field can be set; [`ServerOptions::check`] says what cannot be.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerOptions {
    /// Where the service listens. Default: `127.0.0.1:8080`.
    pub listen: SocketAddr,
    /// Who may use it. Default: nobody; give it keys.
    pub authentication: Authentication,
    /// The largest body of a request, in bytes. Default: 32 MiB.
    pub max_body_bytes: usize,
    /// How many requests are served at once; one more is answered 503 at once. Default: 256.
    pub max_in_flight: usize,
    /// How many connections are open at once; one more is closed at once. Default: 4,096.
    pub max_connections: usize,
    /// How long a request may take until its answer begins. Default: 30 seconds.
    pub request_timeout: Duration,
    /// How long a client may take for the head of a request, and how long a connection may rest.
    /// Default: 30 seconds.
    pub header_timeout: Duration,
    /// How long a client may take for the body of a request. Default: 20 seconds.
    pub body_timeout: Duration,
    /// How long a client may leave an answer unread. Default: 20 seconds.
    pub write_timeout: Duration,
    /// How long requests may go on after the shutdown began; then they are cut off. Default: 30
    /// seconds.
    pub drain_timeout: Duration,
    /// Whether `/metrics` needs no key. Default: no.
    pub open_metrics: bool,
    /// Whether logs show threads by their ids. Default: no, by a hash of them.
    pub shows_threads: bool,
}

/// Who may use the service.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Authentication {
    /// Whoever has one of these keys.
    Keys(ApiKeys),
    /// Everybody on this machine; the service then listens on a loopback address only.
    Off,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080),
            authentication: Authentication::Keys(ApiKeys::default()),
            max_body_bytes: 32 * 1024 * 1024,
            max_in_flight: 256,
            max_connections: 4_096,
            request_timeout: Duration::from_secs(30),
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(20),
            write_timeout: Duration::from_secs(20),
            drain_timeout: Duration::from_secs(30),
            open_metrics: false,
            shows_threads: false,
        }
    }
}

impl ServerOptions {
    /// The defaults, with who may use the service.
    #[must_use]
    pub fn new(authentication: Authentication) -> Self {
        Self {
            authentication,
            ..Self::default()
        }
    }

    /// Says what cannot be.
    ///
    /// # Errors
    /// [`Error::Config`] if nobody has a key, if keys are off and the address is no loopback
    /// address, or if a limit is zero.
    pub fn check(&self) -> Result<()> {
        let refuse = |key: &str, reason: &str| {
            Err(Error::Config {
                key: key.to_owned(),
                reason: reason.to_owned(),
            })
        };
        match &self.authentication {
            Authentication::Keys(keys) if keys.is_empty() => {
                return refuse(
                    "authentication",
                    "there is no API key, so nobody could use the service",
                );
            }
            Authentication::Off if !self.listen.ip().is_loopback() => {
                return refuse(
                    "authentication",
                    "it is off, so the service may only listen on a loopback address",
                );
            }
            Authentication::Keys(_) | Authentication::Off => {}
        }
        for (key, is_zero) in [
            ("max_body_bytes", self.max_body_bytes == 0),
            ("max_in_flight", self.max_in_flight == 0),
            ("max_connections", self.max_connections == 0),
            ("request_timeout", self.request_timeout.is_zero()),
            ("header_timeout", self.header_timeout.is_zero()),
            ("body_timeout", self.body_timeout.is_zero()),
            ("write_timeout", self.write_timeout.is_zero()),
        ] {
            if is_zero {
                return refuse(key, "it is zero, so no request could be served");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_nobody_or_everybody_could_use_is_refused() {
        assert!(ServerOptions::default().check().is_err());
        let mut options = ServerOptions::new(Authentication::Off);
        assert!(options.check().is_ok());
        options.listen = "0.0.0.0:8080".parse().unwrap();
        let error = options.check().unwrap_err().to_string();
        assert!(error.contains("loopback"), "{error}");
    }

    #[test]
    fn a_limit_of_zero_is_refused_by_name() {
        let mut options = ServerOptions::new(Authentication::Off);
        options.max_in_flight = 0;
        let error = options.check().unwrap_err().to_string();
        assert!(error.contains("max_in_flight"), "{error}");
    }
}
