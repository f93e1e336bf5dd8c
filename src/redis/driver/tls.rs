//! TLS for `rediss://` URLs.

use crate::error::{Error, Result};
use crate::redis::config::Settings;

#[cfg(feature = "tls")]
pub(super) use rustls::Tls;
#[cfg(not(feature = "tls"))]
pub(super) use without::Tls;

/// How connections are encrypted. A server must show a certificate for its name that is signed by
/// an authority that the system trusts (`SSL_CERT_FILE` names others) or that `tls_ca_file` names;
/// nothing turns that off.
#[cfg(feature = "tls")]
pub(super) fn tls(settings: &Settings) -> Result<Tls> {
    Tls::new(&settings.tls)
}

/// Refuses TLS, which this build leaves out.
#[cfg(not(feature = "tls"))]
pub(super) fn tls(_: &Settings) -> Result<Tls> {
    Err(Error::Config {
        key: "url".to_owned(),
        reason: "`rediss` needs TLS, which this build leaves out: turn on the feature `tls`"
            .to_owned(),
        source: None,
    })
}

#[cfg(not(feature = "tls"))]
mod without {
    use tokio::net::TcpStream;

    use crate::redis::error::RedisError;

    /// There is none in this build.
    #[derive(Debug, Clone)]
    pub(in super::super) enum Tls {}

    impl Tls {
        #[allow(clippy::unused_async)] // As with TLS.
        pub(in super::super) async fn connect(
            &self,
            _: &str,
            _: TcpStream,
        ) -> Result<TcpStream, RedisError> {
            match *self {}
        }
    }
}

#[cfg(feature = "tls")]
mod rustls {
    use std::fmt;
    use std::path::Path;
    use std::sync::Arc;

    use fred::rustls::crypto::ring;
    use fred::rustls::pki_types::pem::{self, PemObject};
    use fred::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use fred::rustls::{ClientConfig, RootCertStore};
    use fred::rustls_native_certs::load_native_certs;
    use fred::types::config::TlsConnector;
    use tokio::io::{AsyncRead, AsyncWrite};
    use tokio::net::TcpStream;

    use super::{Error, Result};
    use crate::error::Source;
    use crate::redis::config::{ConfigKey, TlsFiles};
    use crate::redis::error::RedisError;

    /// How connections are encrypted.
    #[derive(Clone)]
    pub(in super::super) struct Tls(TlsConnector);

    impl Tls {
        pub(super) fn new(files: &TlsFiles) -> Result<Self> {
            connector(files).map(Self)
        }

        /// The connector, as fred takes it.
        pub(in super::super) fn connector(&self) -> &TlsConnector {
            &self.0
        }

        /// Makes the handshake with a server of this name.
        pub(in super::super) async fn connect(
            &self,
            host: &str,
            stream: TcpStream,
        ) -> Result<impl AsyncRead + AsyncWrite + Send + use<>, RedisError> {
            let TlsConnector::Rustls(connector) = &self.0;
            let name = ServerName::try_from(host.to_owned()).map_err(|_| {
                RedisError::tls(
                    "no certificate can be for the name of its host: correct it in `url`",
                    "the name of the host is neither a DNS name nor an IP address",
                )
            })?;
            let connected = connector.connect(name, stream).await;
            connected.map_err(|error| RedisError::io(&format!("{error:?}"), &error.to_string()))
        }
    }

    impl fmt::Debug for Tls {
        fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            // It holds the private key.
            formatter.debug_tuple("Tls").finish_non_exhaustive()
        }
    }

    fn connector(files: &TlsFiles) -> Result<TlsConnector> {
        // Named here, as the default is ambiguous in a program that has a second provider.
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| refuse(ConfigKey::Url, "TLS cannot be set up", Some(error.into())))?
            .with_root_certificates(roots(files)?);
        let config = match (&files.cert, &files.key) {
            (Some(cert), Some(key_file)) => {
                let chain = certificates(ConfigKey::TlsCertFile, cert)?;
                let key = PrivateKeyDer::from_pem_file(key_file)
                    .map_err(|error| unreadable(ConfigKey::TlsKeyFile, key_file, "key", error))?;
                builder.with_client_auth_cert(chain, key).map_err(|error| {
                    let reason = "it does not go with the certificate of `tls_cert_file`";
                    refuse(ConfigKey::TlsKeyFile, reason, Some(error.into()))
                })?
            }
            _ => builder.with_no_client_auth(),
        };
        Ok(config.into())
    }

    fn roots(files: &TlsFiles) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        let system = load_native_certs();
        for error in &system.errors {
            tracing::warn!(%error, "some of the system's trusted certificates cannot be read");
        }
        roots.add_parsable_certificates(system.certs);
        if let Some(path) = &files.ca {
            for certificate in certificates(ConfigKey::TlsCaFile, path)? {
                roots.add(certificate).map_err(|error| {
                    let path = path.display();
                    let reason = format!("a certificate in {path} cannot be trusted");
                    refuse(ConfigKey::TlsCaFile, reason, Some(error.into()))
                })?;
            }
        }
        if roots.is_empty() {
            let reason = "the system trusts no authority: name the file of the certificate of one that is to be trusted";
            return Err(refuse(ConfigKey::TlsCaFile, reason, None));
        }
        Ok(roots)
    }

    /// The certificates of a file, at least one.
    fn certificates(key: ConfigKey, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
        let read = |error: pem::Error| unreadable(key, path, "certificate", error);
        let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
            .map_err(read)?
            .collect::<Result<_, _>>()
            .map_err(read)?;
        if certificates.is_empty() {
            return Err(unreadable(
                key,
                path,
                "certificate",
                pem::Error::NoItemsFound,
            ));
        }
        Ok(certificates)
    }

    /// Names a file that cannot be used, without a word of what is in it.
    fn unreadable(key: ConfigKey, path: &Path, what: &str, error: pem::Error) -> Error {
        let path = path.display();
        if let pem::Error::Io(error) = error {
            return refuse(key, format!("{path} cannot be read"), Some(error.into()));
        }
        let reason = format!("{path} holds no {what} in PEM format that can be read");
        refuse(key, reason, None)
    }

    fn refuse(key: ConfigKey, reason: impl Into<String>, source: Option<Source>) -> Error {
        Error::Config {
            key: key.to_string(),
            reason: reason.into(),
            source,
        }
    }
}
