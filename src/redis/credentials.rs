//! Credentials that change while a saver runs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};

use crate::error::Result;

/// When credentials are asked for again that do not say when.
const REFRESH_AFTER: Duration = Duration::from_secs(60);
/// The shortest time between two requests for one connection.
pub(crate) const MIN_REFRESH: Duration = Duration::from_millis(100);

/// A user name and a password, or a token that stands for one.
#[derive(Clone)]
pub struct Credentials {
    username: Option<String>,
    password: SecretString,
    refresh_after: Duration,
}

impl Credentials {
    /// The password of the default user, or of the one that [`with_username`](Self::with_username)
    /// names.
    pub fn new(password: impl Into<String>) -> Self {
        Self {
            username: None,
            password: SecretString::from(password.into()),
            refresh_after: REFRESH_AFTER,
        }
    }

    /// The same for a user.
    #[must_use]
    pub fn with_username(mut self, username: impl Into<String>) -> Self {
        self.username = Some(username.into());
        self
    }

    /// The same, to be asked for again after this time on a connection that lives: well before
    /// they end. Default: a minute.
    #[must_use]
    pub fn asked_again_after(mut self, time: Duration) -> Self {
        self.refresh_after = time.max(MIN_REFRESH);
        self
    }

    pub(crate) fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }

    pub(crate) fn password(&self) -> &str {
        self.password.expose_secret()
    }

    pub(crate) fn refresh_after(&self) -> Duration {
        self.refresh_after
    }

    /// Whether user name and password are the same.
    pub(crate) fn are(&self, other: &Self) -> bool {
        self.username == other.username && self.password() == other.password()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Credentials")
            .field("username", &self.username)
            .field("refresh_after", &self.refresh_after)
            .finish_non_exhaustive()
    }
}

/// Gives the credentials of connections, such as short-lived tokens of a cloud identity.
///
/// It is asked for each connection that is made, and again on each that lives, which then sends
/// them to the server if they have changed. So it should remember a token for as long as that is
/// good. If it fails, a new connection asks it again, for at most half of `connect_timeout`, and
/// then fails with [`Error::Authentication`](crate::Error::Authentication); a connection that lives
/// keeps the credentials that the server has, logs a warning, and asks again.
///
/// ```
/// use async_trait::async_trait;
/// use langgraph_checkpoint_redis::{RedisSaver, Result};
/// use langgraph_checkpoint_redis::redis::{Credentials, CredentialsProvider};
///
/// #[derive(Debug)]
/// struct TokenFile(std::path::PathBuf);
///
/// #[async_trait]
/// impl CredentialsProvider for TokenFile {
///     async fn credentials(&self) -> Result<Credentials> {
///         let token = std::fs::read_to_string(&self.0).unwrap_or_default();
///         Ok(Credentials::new(token).with_username("saver"))
///     }
/// }
///
/// let builder = RedisSaver::builder()
///     .url("rediss://localhost:6379")
///     .credentials(TokenFile("/run/secrets/token".into()));
/// ```
#[async_trait]
pub trait CredentialsProvider: fmt::Debug + Send + Sync + 'static {
    /// The credentials that are good now.
    ///
    /// # Errors
    /// Any that says why there are none; it is shown to callers.
    async fn credentials(&self) -> Result<Credentials>;
}

#[async_trait]
impl<T: CredentialsProvider + ?Sized> CredentialsProvider for Arc<T> {
    async fn credentials(&self) -> Result<Credentials> {
        (**self).credentials().await
    }
}
