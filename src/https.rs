//! TLS of outgoing HTTP.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::error::{Error, Result};

/// The TLS configuration of a client; it trusts the system's certificates (or those of
/// `SSL_CERT_FILE`) and those of `ca_file`, and nothing if TLS is not used.
pub(crate) fn config(
    key: &str,
    is_used: bool,
    ca_file: Option<&Path>,
) -> Result<rustls::ClientConfig> {
    let refuse = |reason: &str, source| Error::Config {
        key: key.to_owned(),
        reason: reason.to_owned(),
        source,
    };
    let mut trusted = rustls::RootCertStore::empty();
    if is_used {
        let found = rustls_native_certs::load_native_certs();
        trusted.add_parsable_certificates(found.certs);
        if let Some(path) = ca_file {
            trust(&mut trusted, path)?;
        }
        if trusted.is_empty() {
            let reason = "https needs certificates to trust, and the system has none";
            return Err(refuse(reason, None));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| refuse("TLS cannot be set up", Some(error.into())))?;
    Ok(config.with_root_certificates(trusted).with_no_client_auth())
}

/// Trusts the authorities of a file, at least one.
fn trust(trusted: &mut rustls::RootCertStore, path: &Path) -> Result<()> {
    let refuse = |reason: &str, source| Error::Config {
        key: "ca_file".to_owned(),
        reason: format!("{} {reason}", path.display()),
        source,
    };
    let text = std::fs::read(path).map_err(|error| refuse("cannot be read", Some(error.into())))?;
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate
            .map_err(|_| refuse("holds no certificate in PEM format that can be read", None))?;
        trusted.add(certificate).map_err(|error| {
            refuse(
                "has a certificate that cannot be trusted",
                Some(error.into()),
            )
        })?;
        count += 1;
    }
    if count == 0 {
        return Err(refuse("holds no certificate in PEM format", None));
    }
    Ok(())
}
