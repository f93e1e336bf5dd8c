//! TLS for `rediss://` URLs.

use fred::types::config::Config;

use crate::error::{Error, Result};
use crate::redis::config::Settings;

/// Turns TLS on. A server must show a certificate for its name that is signed by an authority
/// that the system trusts (`SSL_CERT_FILE` names others) or that `tls_ca_file` names; there is no
/// way around that.
#[cfg(feature = "tls")]
pub(super) fn turn_on(config: &mut Config, settings: &Settings) -> Result<()> {
    config.tls = Some(trust::connector(&settings.tls)?.into());
    Ok(())
}

/// Says that the crate was built without TLS.
#[cfg(not(feature = "tls"))]
pub(super) fn turn_on(_: &mut Config, _: &Settings) -> Result<()> {
    Err(Error::Config {
        key: "url".to_owned(),
        reason: "`rediss` needs TLS, which this build leaves out: turn on the feature `tls`"
            .to_owned(),
    })
}

#[cfg(feature = "tls")]
mod trust {
    use std::path::Path;
    use std::sync::Arc;

    use fred::rustls::crypto::ring;
    use fred::rustls::pki_types::pem::{self, PemObject};
    use fred::rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use fred::rustls::{ClientConfig, RootCertStore};
    use fred::rustls_native_certs::load_native_certs;
    use fred::types::config::TlsConnector;

    use super::{Error, Result};
    use crate::redis::config::{ConfigKey, TlsFiles};

    pub(super) fn connector(files: &TlsFiles) -> Result<TlsConnector> {
        // Named here, as the default is ambiguous in a program that has a second provider.
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| refuse(ConfigKey::Url, format!("TLS cannot be set up: {error}")))?
            .with_root_certificates(roots(files)?);
        let config = match (&files.cert, &files.key) {
            (Some(cert), Some(key_file)) => {
                let chain = certificates(ConfigKey::TlsCertFile, cert)?;
                let key = PrivateKeyDer::from_pem_file(key_file)
                    .map_err(|error| unreadable(ConfigKey::TlsKeyFile, key_file, "key", &error))?;
                builder.with_client_auth_cert(chain, key).map_err(|error| {
                    let reason =
                        format!("it does not go with the certificate of `tls_cert_file`: {error}");
                    refuse(ConfigKey::TlsKeyFile, reason)
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
                    let reason = format!("a certificate in {path} cannot be trusted: {error}");
                    refuse(ConfigKey::TlsCaFile, reason)
                })?;
            }
        }
        if roots.is_empty() {
            let reason = "the system trusts no authority: name the file of the certificate of one that is to be trusted";
            return Err(refuse(ConfigKey::TlsCaFile, reason.to_owned()));
        }
        Ok(roots)
    }

    /// The certificates of a file, at least one.
    fn certificates(key: ConfigKey, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
        let read = |error: pem::Error| unreadable(key, path, "certificate", &error);
        let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
            .map_err(read)?
            .collect::<Result<_, _>>()
            .map_err(read)?;
        if certificates.is_empty() {
            return Err(unreadable(
                key,
                path,
                "certificate",
                &pem::Error::NoItemsFound,
            ));
        }
        Ok(certificates)
    }

    /// Names a file that cannot be used, without a word of what is in it.
    fn unreadable(key: ConfigKey, path: &Path, what: &str, error: &pem::Error) -> Error {
        let path = path.display();
        refuse(
            key,
            match error {
                pem::Error::Io(error) => format!("{path} cannot be read: {error}"),
                _ => format!("{path} holds no {what} in PEM format that can be read"),
            },
        )
    }

    fn refuse(key: ConfigKey, reason: String) -> Error {
        Error::Config {
            key: key.to_string(),
            reason,
        }
    }
}
