//! TLS: the certificate of the service, and whose certificates clients show.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::error::{Error, Result, Source};

/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// The files of TLS, which a running service reads again when they change. TLS 1.2 and 1.3 are
/// spoken.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsFiles {
    /// The certificate of the service and those that it is signed by, up to but without the root
    /// (PEM).
    pub certificate: PathBuf,
    /// The private key of the certificate (PEM, not encrypted). On Unix a file that everybody may
    /// read is refused.
    pub private_key: PathBuf,
    /// Certificates of authorities (PEM): a client must show a certificate that one of them has
    /// signed. Default: clients show none.
    pub client_ca: Option<PathBuf>,
}

impl TlsFiles {
    /// The files of the certificate and of its key.
    #[must_use]
    pub fn new(certificate: impl Into<PathBuf>, private_key: impl Into<PathBuf>) -> Self {
        Self {
            certificate: certificate.into(),
            private_key: private_key.into(),
            client_ca: None,
        }
    }

    /// Reads the files, and finds out whether they go together.
    ///
    /// # Errors
    /// [`Error::Config`] if one of them cannot be read, holds nothing of use, or may be read by
    /// everybody though it holds the key, and if the key is of another certificate.
    pub fn check(&self) -> Result<()> {
        config(self).map(|_| ())
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = PathBuf> {
        [&self.certificate, &self.private_key]
            .into_iter()
            .chain(&self.client_ca)
            .cloned()
            .collect::<Vec<_>>()
            .into_iter()
    }
}

/// How new connections are encrypted.
pub(super) struct Tls {
    files: TlsFiles,
    config: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    pub(super) fn read(files: &TlsFiles) -> Result<Self> {
        Ok(Self {
            files: files.clone(),
            config: RwLock::new(Arc::new(config(files)?)),
        })
    }

    /// Reads the files again, for new connections; those that are open stay as they are.
    pub(super) fn read_again(&self) -> Result<()> {
        let config = Arc::new(config(&self.files)?);
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&config))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The configuration holds the private key.
        let mut shown = formatter.debug_struct("Tls");
        shown.field("files", &self.files).finish_non_exhaustive()
    }
}

fn config(files: &TlsFiles) -> Result<ServerConfig> {
    // Named here, as the default is ambiguous in a program that has a second provider.
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| refuse("certificate", "TLS cannot be set up", Some(error.into())))?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates("client_ca", path)? {
                roots.add(certificate).map_err(|error| {
                    let reason = format!("a certificate in {} cannot be trusted", path.display());
                    refuse("client_ca", reason, Some(error.into()))
                })?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| {
                    let reason = format!("{} cannot be used", path.display());
                    refuse("client_ca", reason, Some(error.into()))
                })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain = certificates("certificate", &files.certificate)?;
    let key = private_key(&files.private_key)?;
    let mut config = builder.with_single_cert(chain, key).map_err(|error| {
        let reason = "it does not go with the certificate: give the key that the certificate is of";
        refuse("private_key", reason, Some(error.into()))
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The certificates of a file, at least one.
fn certificates(option: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let (text, _) = read(option, path)?;
    let found: std::result::Result<Vec<_>, pem::Error> =
        CertificateDer::pem_slice_iter(&text).collect();
    found
        .ok()
        .filter(|found| !found.is_empty())
        .ok_or_else(|| unusable(option, path, "certificate"))
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    let (text, file) = read("private_key", path)?;
    check_private(path, &file)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| unusable("private_key", path, "private key"))
}

fn read(option: &str, path: &Path) -> Result<(Vec<u8>, File)> {
    let failed = |error: std::io::Error| {
        let reason = format!("{} cannot be read", path.display());
        refuse(option, reason, Some(error.into()))
    };
    let mut file = File::open(path).map_err(failed)?;
    let mut text = Vec::new();
    (&mut file)
        .take(MAX_BYTES)
        .read_to_end(&mut text)
        .map_err(failed)?;
    Ok((text, file))
}

/// Refuses a file that everybody on this machine may read.
#[cfg(unix)]
fn check_private(path: &Path, file: &File) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = file.metadata().map_err(|error| {
        let reason = format!("{} cannot be looked at", path.display());
        refuse("private_key", reason, Some(error.into()))
    })?;
    let of_others = metadata.permissions().mode() & 0o007;
    if of_others == 0 {
        return Ok(());
    }
    let name = path.display();
    let reason = format!("everybody may read or change {name}: `chmod o= {name}` makes it private");
    Err(refuse("private_key", reason, None))
}

#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps)] // As on Unix.
fn check_private(_: &Path, _: &File) -> Result<()> {
    Ok(())
}

/// Names a file that holds nothing of use, without a word of what is in it.
fn unusable(option: &str, path: &Path, what: &str) -> Error {
    let reason = format!(
        "{} holds no {what} in PEM format that can be read",
        path.display()
    );
    refuse(option, reason, None)
}

fn refuse(option: &str, reason: impl Into<String>, source: Option<Source>) -> Error {
    Error::Config {
        key: option.to_owned(),
        reason: reason.into(),
        source,
    }
}
