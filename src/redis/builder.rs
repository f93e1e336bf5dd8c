//! How a Redis saver is made.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fred::clients::Pool;
use secrecy::{ExposeSecret, SecretString};

use super::compact_saver::CompactLayout;
use super::config::{ConfigKey, Layout, SearchMode, Settings};
use super::credentials::CredentialsProvider;
use super::driver::Driver;
use super::encryption_keys::EncryptionKeys;
use super::json::JsonLayout;
use super::keys::Keyspace;
use super::saver::RedisSaver;
use super::shallow::ShallowRedisSaver;
use super::store::Store;
use super::url::RedisUrl;
use crate::error::{Error, Result};
use crate::options::{TtlPolicy, TtlScope};

/// Builds a [`RedisSaver`]. Settings are validated by [`build`](Self::build).
///
/// ```no_run
/// use std::time::Duration;
/// use langgraph_checkpoint_redis::{RedisSaver, TtlPolicy};
///
/// # async fn run() -> langgraph_checkpoint_redis::Result<()> {
/// let saver = RedisSaver::builder()
///     .url("redis://localhost:6379")
///     .ttl(TtlPolicy::new(Duration::from_secs(3600)).with_refresh_on_read(true))
///     .build()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
#[must_use]
pub struct RedisSaverBuilder {
    url: Option<SecretString>,
    client: Option<Pool>,
    settings: Settings,
    problem: Option<Error>,
    /// Whether keys are for the compact layout alone, and no mistake in another.
    #[cfg(feature = "cli")]
    keys_of_both_layouts: bool,
}

impl RedisSaverBuilder {
    /// The server, as a connection string:
    ///
    /// - `redis://[[user]:password@]host[:port][/database]`, with TLS `rediss://…`
    /// - `redis+unix:///path/to/socket[?db=1]`
    /// - `redis-sentinel://host:port/database?sentinelServiceName=NAME&node=host:port`, or
    ///   `redis+sentinel://host:port,host:port/NAME/database`
    /// - `redis-cluster://host:port?node=host:port`
    ///
    /// Its parameter `layout` is the setting [`layout`](Self::layout), as in
    /// `redis://localhost?layout=compact`, and counts more. Unsupported URL parameters are
    /// rejected. Default: `REDIS_URL` of the environment.
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.url = Some(SecretString::from(url.into()));
        self
    }

    /// A connected pool of fred clients to use instead of a URL. The clients must use RESP2, their
    /// default, and should have time limits and a reconnect policy. Closing the saver does not
    /// close them.
    pub fn client(mut self, client: Pool) -> Self {
        self.client = Some(client);
        self
    }

    /// Sets a setting by name, from text.
    pub fn set(mut self, key: ConfigKey, value: impl AsRef<str>) -> Self {
        let value = value.as_ref();
        if key == ConfigKey::Url {
            return self.url(value);
        }
        if let Err(error) = self.settings.set(key, value) {
            self.problem.get_or_insert(error);
        }
        self
    }

    /// The prefixes of checkpoints and of writes, which are also the names of their indexes.
    /// Default: `checkpoint` and `checkpoint_write`.
    pub fn prefixes(mut self, checkpoint: impl Into<String>, write: impl Into<String>) -> Self {
        self.settings.checkpoint_prefix = checkpoint.into();
        self.settings.write_prefix = write.into();
        self
    }

    /// One prefix for all keys of the saver: `{prefix}:checkpoint` and
    /// `{prefix}:checkpoint_write` for checkpoints and writes.
    pub fn prefix(self, prefix: impl fmt::Display) -> Self {
        self.prefixes(
            format!("{prefix}:checkpoint"),
            format!("{prefix}:checkpoint_write"),
        )
    }

    /// The TTLs. Default: nothing expires.
    pub fn ttl(mut self, ttl: TtlPolicy) -> Self {
        self.settings.ttl = ttl;
        self
    }

    /// How checkpoints are stored. Default: [`Layout::Json`].
    pub fn layout(mut self, layout: Layout) -> Self {
        self.settings.layout = layout;
        self
    }

    /// The number of connections to each server. Default: 2.
    pub fn pool_size(self, size: usize) -> Self {
        self.set(ConfigKey::PoolSize, size.to_string())
    }

    /// The name of the connections in `CLIENT LIST`. Default: `langgraph-checkpoint-redis`.
    pub fn client_name(self, name: impl AsRef<str>) -> Self {
        self.set(ConfigKey::ClientName, name)
    }

    /// The time limit of a command, retries included. Default: 10 seconds.
    pub fn command_timeout(self, limit: Duration) -> Self {
        self.set(ConfigKey::CommandTimeout, limit.as_secs_f64().to_string())
    }

    /// The time limit of a connection attempt. Default: 5 seconds.
    pub fn connect_timeout(self, limit: Duration) -> Self {
        self.set(ConfigKey::ConnectTimeout, limit.as_secs_f64().to_string())
    }

    /// The largest document that is stored, in bytes. Default: 64 MiB.
    pub fn max_document_bytes(self, limit: usize) -> Self {
        self.set(ConfigKey::MaxDocumentBytes, limit.to_string())
    }

    /// Whether all keys of a thread share a slot of a cluster, so that its calls are one round trip
    /// each: every key has the thread in braces, as its hash tag. The Python saver does not find
    /// such keys. An id that starts with `}` makes an empty hash tag, which Redis ignores: its
    /// calls take as many round trips as without this setting. Default: no.
    pub fn hash_tag_threads(mut self, hash_tag: bool) -> Self {
        self.settings.hash_tag_threads = hash_tag;
        self
    }

    /// Whether RediSearch is used. Default: if the server has it.
    pub fn search(mut self, search: SearchMode) -> Self {
        self.settings.search = search;
        self
    }

    /// The number of checkpoints that `list` reads at once. Default: 32.
    pub fn page_size(self, size: usize) -> Self {
        self.set(ConfigKey::PageSize, size.to_string())
    }

    /// The number of replicas that must acknowledge a write before its call returns, and the time
    /// limit for it (Redis' `WAIT`), so that an acknowledged write is not lost with the primary. It
    /// costs no further round trip, only the time in which the server waits for its replicas.
    /// Writes have connections of their own then, as many again as [`pool_size`](Self::pool_size),
    /// so that no read waits behind them; on one connection they wait one after the other, so raise
    /// `pool_size` as well. If fewer replicas acknowledge in time, the call fails with
    /// [`Error::NotReplicated`]: the write is on the primary, and the call may be repeated.
    ///
    /// One replica is enough if all have the same priority, because the most advanced one is
    /// promoted. Wait for all of them if one that lags may be promoted. Default: none, 1 second.
    pub fn wait_for_replicas(self, replicas: usize, limit: Duration) -> Self {
        self.set(ConfigKey::WaitReplicas, replicas.to_string()).set(
            ConfigKey::WaitReplicasTimeout,
            limit.as_secs_f64().to_string(),
        )
    }

    /// A PEM file of certificate authorities that are trusted in addition to the system's, for a
    /// URL with TLS. The server's certificate is always verified, with its name. The file is read
    /// by [`build`](Self::build). Default: the system's only.
    pub fn tls_ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.tls.ca = Some(path.into());
        self
    }

    /// PEM files of the client's certificate chain and of its key, not encrypted, for servers that
    /// require a certificate. They are read by [`build`](Self::build). Default: none.
    pub fn tls_client_cert(mut self, cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.settings.tls.cert = Some(cert.into());
        self.settings.tls.key = Some(key.into());
        self
    }

    /// A provider of the user name and password, for credentials that rotate while the saver runs.
    /// The URL must then have none. Sentinels use the credentials that the URL has for them.
    /// Default: the credentials of the URL.
    pub fn credentials(mut self, provider: impl CredentialsProvider) -> Self {
        self.settings.credentials = Some(Arc::new(provider));
        self
    }

    /// The keys that the layout [`Compact`](Layout::Compact) seals with what it stores: the first
    /// seals, and all open. With keys, data that is not sealed is refused, and so is a key for any
    /// other layout. Every saver of a prefix must have the same keys, or know at least all that
    /// seal there. Default: none, nothing is sealed.
    ///
    /// ```no_run
    /// use langgraph_checkpoint_redis::RedisSaver;
    /// use langgraph_checkpoint_redis::redis::{EncryptionKeys, Layout};
    ///
    /// # async fn run() -> langgraph_checkpoint_redis::Result<()> {
    /// let saver = RedisSaver::builder()
    ///     .url("redis://localhost:6379")
    ///     .layout(Layout::Compact)
    ///     .encryption_keys(EncryptionKeys::from_file("/run/secrets/checkpoint-keys")?)
    ///     .build()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn encryption_keys(mut self, keys: EncryptionKeys) -> Self {
        self.settings.encryption_keys = Some(keys);
        self
    }

    /// The keys in `LANGGRAPH_REDIS_ENCRYPTION_KEYS` of the environment, in the form that
    /// [`EncryptionKeys::parse`] reads, or those in the file that
    /// `LANGGRAPH_REDIS_ENCRYPTION_KEYS_FILE` names; none if neither is set.
    pub fn encryption_keys_from_env(mut self) -> Self {
        match EncryptionKeys::from_env() {
            Ok(Some(keys)) => self.settings.encryption_keys = Some(keys),
            Ok(None) => {}
            Err(error) => {
                self.problem.get_or_insert(error);
            }
        }
        match std::env::var_os(ConfigKey::EncryptionKeysFile.variable()) {
            Some(file) if file.is_empty() => self.set(ConfigKey::EncryptionKeysFile, ""),
            Some(file) => {
                self.settings.encryption_keys_file = Some(file.into());
                self
            }
            None => self,
        }
    }

    /// Whether a saver with keys also reads what is not sealed, as was stored before it had keys.
    /// Set it until [`reseal`](RedisSaver::reseal) has run: as long as it is set, anyone who can
    /// write to Redis can store what the saver takes for true. Default: no.
    pub fn allow_unsealed(mut self, allow: bool) -> Self {
        self.settings.allow_unsealed = allow;
        self
    }

    /// Whether the saver keeps the threads by the time of their last write, so that
    /// [`threads`](crate::CheckpointSaver::threads) gives the newest first, and the first of a
    /// million at once. That takes about 145 bytes for each thread whose id is a UUID. They are
    /// stored in the background, many in one pipeline, and no call waits for it. Without them
    /// `threads` walks over all keys or the index, in no order. Default: yes.
    pub fn recent_threads(mut self, keep: bool) -> Self {
        self.settings.recent_threads = keep;
        self
    }

    /// Leaves encryption keys out where the layout seals nothing, for who has a saver of each
    /// layout.
    #[cfg(feature = "cli")]
    pub(crate) fn keys_for_both_layouts(mut self) -> Self {
        self.keys_of_both_layouts = true;
        self
    }

    /// Connects. Indexes are created by [`setup`](crate::CheckpointSaver::setup).
    ///
    /// # Errors
    /// [`Error::Config`] for an invalid setting, [`Error::Connection`] if the server does not
    /// answer, [`Error::Tls`] if it cannot be verified, [`Error::Authentication`] if it rejects the
    /// user name or password.
    pub async fn build(self) -> Result<RedisSaver> {
        let store = self.store(|_| Ok(())).await?;
        Ok(match store.settings.layout {
            Layout::Json => RedisSaver::over(JsonLayout::new(store)),
            Layout::Compact => RedisSaver::over(CompactLayout::new(store)),
        })
    }

    /// Connects, for a saver that keeps only the newest checkpoint of each thread and namespace.
    ///
    /// # Errors
    /// As [`build`](Self::build), and [`Error::Config`] for the layout `compact`, and for the TTL
    /// scope `thread`: there is no history, and each namespace expires by itself.
    pub async fn build_shallow(self) -> Result<ShallowRedisSaver> {
        let store = self.store(check_shallow).await?;
        Ok(ShallowRedisSaver::over(store))
    }

    /// Reads the settings and the files that they name, and gives the URL.
    fn read(&mut self) -> Result<Option<RedisUrl>> {
        if let Some(problem) = self.problem.take() {
            return Err(problem);
        }
        let url = match (&self.client, &self.url) {
            (Some(_), _) => None,
            (None, Some(url)) => Some(RedisUrl::parse(url.expose_secret())?),
            (None, None) => Some(RedisUrl::parse(url_of_environment()?.expose_secret())?),
        };
        if let Some(layout) = url.as_ref().and_then(|url| url.layout.as_deref()) {
            self.settings.set(ConfigKey::Layout, layout)?;
        }
        #[cfg(feature = "cli")]
        if self.keys_of_both_layouts && self.settings.layout != Layout::Compact {
            self.settings.forget_encryption_keys();
        }
        self.settings.check()?;
        self.settings.read_encryption_keys()?;
        Ok(url)
    }

    /// Finds out whether the settings are valid, without a connection.
    #[cfg(all(feature = "cli", feature = "server"))]
    pub(crate) fn check(mut self) -> Result<()> {
        match self.read()? {
            Some(url) => super::driver::check_tls(&url, &self.settings),
            None => Ok(()),
        }
    }

    /// Connects, if the settings are valid and pass a check.
    async fn store(mut self, check: fn(&Settings) -> Result<()>) -> Result<Arc<Store>> {
        let url = self.read()?;
        check(&self.settings)?;
        let keyspace = Keyspace::new(
            &self.settings.checkpoint_prefix,
            &self.settings.write_prefix,
            self.settings.hash_tag_threads,
        )?;
        let driver = match (self.client, url) {
            (Some(client), _) => {
                let why = "a client of the caller's own has its own TLS";
                self.settings.tls.check_unused(why)?;
                if self.settings.credentials.is_some() {
                    return Err(Error::Config {
                        key: "credentials".to_owned(),
                        reason: "a client of the caller's own has its own credentials".to_owned(),
                        source: None,
                    });
                }
                Driver::over_pool(&client, &self.settings)
            }
            (None, Some(url)) => Driver::connect(&url, &self.settings).await?,
            // One of them was there above.
            (None, None) => return Err(no_url()),
        };
        Ok(Store::new(driver, keyspace, self.settings))
    }
}

fn url_of_environment() -> Result<SecretString> {
    let found = [ConfigKey::Url.variable(), "REDIS_URL".to_owned()]
        .into_iter()
        .find_map(|variable| std::env::var(variable).ok());
    found.map(SecretString::from).ok_or_else(no_url)
}

fn no_url() -> Error {
    Error::Config {
        key: "url".to_owned(),
        reason: "none is given and REDIS_URL is not set".to_owned(),
        source: None,
    }
}

/// Refuses settings that a shallow saver has no use for.
fn check_shallow(settings: &Settings) -> Result<()> {
    let (key, reason) = if settings.layout != Layout::Json {
        let reason = "a shallow saver stores documents: use the layout `json`";
        (ConfigKey::Layout, reason)
    } else if settings.ttl_scope() == TtlScope::Thread {
        let reason = "a shallow saver keeps each namespace by itself; use the scope `checkpoint`";
        (ConfigKey::TtlScope, reason)
    } else {
        return Ok(());
    };
    Err(Error::Config {
        key: key.to_string(),
        reason: reason.to_owned(),
        source: None,
    })
}

impl fmt::Debug for RedisSaverBuilder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RedisSaverBuilder")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl RedisSaver {
    /// A saver on the server that a connection string names, with the default settings.
    ///
    /// # Errors
    /// As [`RedisSaverBuilder::build`].
    pub async fn connect(url: impl Into<String>) -> Result<Self> {
        Self::builder().url(url).build().await
    }

    /// A saver as the environment says: `REDIS_URL`, `LANGGRAPH_REDIS_` with the name of a
    /// [`ConfigKey`] in capitals, and `LANGGRAPH_REDIS_ENCRYPTION_KEYS`.
    ///
    /// # Errors
    /// As [`RedisSaverBuilder::build`].
    pub async fn from_env() -> Result<Self> {
        let mut builder = Self::builder();
        for key in ConfigKey::ALL {
            if let Ok(value) = std::env::var(key.variable()) {
                builder = builder.set(key, value);
            }
        }
        builder.encryption_keys_from_env().build().await
    }

    /// A saver on connected fred clients of the caller's own, with the default settings.
    ///
    /// # Errors
    /// As [`RedisSaverBuilder::build`].
    pub async fn from_client(client: fred::clients::Pool) -> Result<Self> {
        Self::builder().client(client).build().await
    }

    /// A builder, for everything that can be set.
    pub fn builder() -> RedisSaverBuilder {
        RedisSaverBuilder::default()
    }
}

impl ShallowRedisSaver {
    /// A builder, for everything that can be set; it ends with
    /// [`build_shallow`](RedisSaverBuilder::build_shallow).
    pub fn builder() -> RedisSaverBuilder {
        RedisSaverBuilder::default()
    }
}
