//! TLS for `rediss://` URLs.

use fred::types::config::Config;

use crate::error::{Error, Result};

/// Turns TLS on, trusting the certificates that the system trusts (`SSL_CERT_FILE` names others).
#[cfg(feature = "tls")]
pub(super) fn turn_on(config: &mut Config) -> Result<()> {
    use fred::types::config::TlsConnector;
    let connector = TlsConnector::default_rustls().map_err(|error| Error::Config {
        key: "url".to_owned(),
        reason: format!("TLS cannot be set up: {error}"),
    })?;
    config.tls = Some(connector.into());
    Ok(())
}

/// Says that the crate was built without TLS.
#[cfg(not(feature = "tls"))]
pub(super) fn turn_on(_: &mut Config) -> Result<()> {
    Err(Error::Config {
        key: "url".to_owned(),
        reason: "`rediss` needs TLS, which this build leaves out: turn on the feature `tls`"
            .to_owned(),
    })
}
