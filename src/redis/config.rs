//! The settings of a Redis saver.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::credentials::CredentialsProvider;
use super::encryption_keys::EncryptionKeys;
use super::keys::{CHECKPOINT_PREFIX, WRITE_PREFIX};
use crate::error::{Error, Result};
use crate::options::{TtlPolicy, TtlScope, check_ttl};

/// The name of a setting in the builder, in the environment (`LANGGRAPH_REDIS_` and the name in
/// capitals) and on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConfigKey {
    /// The connection string. Default: `REDIS_URL` of the environment.
    Url,
    /// The prefix of checkpoints and the name of their index. Default: `checkpoint`.
    CheckpointPrefix,
    /// The prefix of writes and the name of their index. Default: `checkpoint_write`.
    CheckpointWritePrefix,
    /// The TTL of what is written, such as `90m` or `24h`; `none` for no TTL. Default: `none`.
    Ttl,
    /// Whether reading a checkpoint resets its TTL. Default: `false`.
    RefreshOnRead,
    /// What expires together: each `checkpoint` by itself, or the whole `thread`. Default:
    /// `checkpoint` in the layout `json`; in the layout `compact` it is always the `thread`.
    TtlScope,
    /// How checkpoints are stored: `json` as documents, which search finds and Python's
    /// langgraph-checkpoint-redis reads, or `compact` in plain Redis types, each piece of a value
    /// once, which takes no module and, for long conversations, a small part of the memory. A
    /// prefix has one layout. Default: `json`.
    Layout,
    /// The number of connections. Default: 2.
    PoolSize,
    /// The time limit of a command, retries included. Default: `10s`.
    CommandTimeout,
    /// The time limit of a connection attempt. Default: `5s`.
    ConnectTimeout,
    /// The largest document that is stored, in bytes. Default: 67,108,864.
    MaxDocumentBytes,
    /// Whether all keys of a thread share a slot of a cluster, so that its calls are one round trip
    /// each: every key has the thread in braces, as its hash tag. The Python saver does not find
    /// such keys. An id that starts with `}` makes an empty hash tag, which Redis ignores: its
    /// calls take as many round trips as without this setting. Default: `false`.
    HashTagThreads,
    /// The number of checkpoints that `list` reads at once. Default: 32.
    PageSize,
    /// The number of replicas that must acknowledge a write before its call returns; see
    /// [`wait_for_replicas`](super::RedisSaverBuilder::wait_for_replicas). Default: 0.
    WaitReplicas,
    /// The time limit of waiting for replicas, less than `command_timeout`. Default: `1s`.
    WaitReplicasTimeout,
    /// Whether RediSearch is used: `auto` uses it if the server has it, `required` makes `setup`
    /// fail if it does not, `off` never uses it. Every call works without search; calls over all
    /// threads then scan the keys. Default: `auto`.
    Search,
    /// A PEM file of certificate authorities that are trusted in addition to the system's, for a
    /// URL with TLS. Default: the system's only.
    TlsCaFile,
    /// A PEM file of the client's certificate chain, for servers that require one. Default: none.
    TlsCertFile,
    /// A PEM file of that certificate's key, not encrypted. Default: none.
    TlsKeyFile,
    /// The name of the connections in `CLIENT LIST`; characters that Redis rejects become dashes,
    /// and an empty name sets none. Default: `langgraph-checkpoint-redis`.
    ClientName,
    /// A file of keys that the layout `compact` seals with, in the form that
    /// [`EncryptionKeys::parse`] reads; the keys themselves are not set by name, but by
    /// [`encryption_keys`](super::RedisSaverBuilder::encryption_keys) and
    /// `LANGGRAPH_REDIS_ENCRYPTION_KEYS` of the environment. Default: none.
    EncryptionKeysFile,
    /// Whether a saver with keys also reads what is not sealed. Default: `false`.
    AllowUnsealed,
    /// Whether the saver keeps the threads by the time of their last write, so that `threads` gives
    /// the newest first. Default: `true`.
    RecentThreads,
}

impl ConfigKey {
    /// All settings.
    pub const ALL: [Self; 23] = [
        Self::Url,
        Self::CheckpointPrefix,
        Self::CheckpointWritePrefix,
        Self::Ttl,
        Self::RefreshOnRead,
        Self::TtlScope,
        Self::Layout,
        Self::PoolSize,
        Self::CommandTimeout,
        Self::ConnectTimeout,
        Self::MaxDocumentBytes,
        Self::HashTagThreads,
        Self::PageSize,
        Self::WaitReplicas,
        Self::WaitReplicasTimeout,
        Self::Search,
        Self::TlsCaFile,
        Self::TlsCertFile,
        Self::TlsKeyFile,
        Self::ClientName,
        Self::EncryptionKeysFile,
        Self::AllowUnsealed,
        Self::RecentThreads,
    ];

    /// The name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Url => "url",
            Self::CheckpointPrefix => "checkpoint_prefix",
            Self::CheckpointWritePrefix => "checkpoint_write_prefix",
            Self::Ttl => "ttl",
            Self::RefreshOnRead => "refresh_on_read",
            Self::TtlScope => "ttl_scope",
            Self::Layout => "layout",
            Self::PoolSize => "pool_size",
            Self::CommandTimeout => "command_timeout",
            Self::ConnectTimeout => "connect_timeout",
            Self::MaxDocumentBytes => "max_document_bytes",
            Self::HashTagThreads => "hash_tag_threads",
            Self::PageSize => "page_size",
            Self::WaitReplicas => "wait_replicas",
            Self::WaitReplicasTimeout => "wait_replicas_timeout",
            Self::Search => "search",
            Self::TlsCaFile => "tls_ca_file",
            Self::TlsCertFile => "tls_cert_file",
            Self::TlsKeyFile => "tls_key_file",
            Self::ClientName => "client_name",
            Self::EncryptionKeysFile => "encryption_keys_file",
            Self::AllowUnsealed => "allow_unsealed",
            Self::RecentThreads => "recent_threads",
        }
    }

    /// Refuses a value that the setting cannot have.
    #[cfg(feature = "cli")]
    pub(crate) fn check(self, value: &str) -> Result<()> {
        match self {
            Self::Url => super::url::RedisUrl::parse(value).map(|_| ()),
            _ => Settings::default().set(self, value),
        }
    }

    /// The name of the environment variable.
    #[must_use]
    pub fn variable(self) -> String {
        format!("LANGGRAPH_REDIS_{}", self.as_str().to_uppercase())
    }
}

impl fmt::Display for ConfigKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for ConfigKey {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|key| key.as_str() == name)
            .ok_or_else(|| Error::Config {
                key: name.to_owned(),
                reason: "there is no such setting".to_owned(),
                source: None,
            })
    }
}

/// The settings, read and checked.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) checkpoint_prefix: String,
    pub(crate) write_prefix: String,
    pub(crate) ttl: TtlPolicy,
    pub(crate) layout: Layout,
    pub(crate) pool_size: usize,
    pub(crate) command_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) max_document_bytes: usize,
    pub(crate) hash_tag_threads: bool,
    pub(crate) page_size: usize,
    pub(crate) wait_replicas: usize,
    pub(crate) wait_replicas_timeout: Duration,
    pub(crate) search: SearchMode,
    pub(crate) tls: TlsFiles,
    pub(crate) client_name: Option<Bytes>,
    pub(crate) credentials: Option<Arc<dyn CredentialsProvider>>,
    pub(crate) encryption_keys: Option<EncryptionKeys>,
    pub(crate) encryption_keys_file: Option<PathBuf>,
    pub(crate) allow_unsealed: bool,
    pub(crate) recent_threads: bool,
}

/// How checkpoints are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Layout {
    /// As RedisJSON documents, one a checkpoint, in the format of Python's
    /// langgraph-checkpoint-redis. RediSearch finds them by their metadata. Choose it where others
    /// read what is stored.
    #[default]
    Json,
    /// In plain Redis types, each piece of a value once, compressed: a conversation takes memory
    /// for what is said, not for all of it again at each step. No module is needed, and all keys of
    /// a thread are in one slot of a cluster. Choose it for long conversations, and for servers
    /// without modules. A thread expires as a whole.
    Compact,
}

impl Layout {
    const ALL: [Self; 2] = [Self::Json, Self::Compact];

    /// The name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Compact => "compact",
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Whether search is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SearchMode {
    /// Where the server has it. What is missing is said once in the log, and by
    /// [`Health::without_search`](super::Health::without_search).
    #[default]
    Auto,
    /// As `Auto`, and [`setup`](crate::CheckpointSaver::setup) fails where the server has none.
    Required,
    /// Never: no index is made, and calls over all threads walk over the keys.
    Off,
}

/// The files that TLS needs.
#[derive(Debug, Clone, Default)]
pub(crate) struct TlsFiles {
    pub(crate) ca: Option<PathBuf>,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

impl TlsFiles {
    /// Refuses half of a pair.
    fn check(&self) -> Result<()> {
        let (key, other) = match (&self.cert, &self.key) {
            (Some(_), None) => (ConfigKey::TlsCertFile, ConfigKey::TlsKeyFile),
            (None, Some(_)) => (ConfigKey::TlsKeyFile, ConfigKey::TlsCertFile),
            _ => return Ok(()),
        };
        Err(Error::Config {
            key: key.to_string(),
            reason: format!("a certificate and its key go together: set `{other}` too"),
            source: None,
        })
    }

    /// Refuses files that would be ignored.
    pub(crate) fn check_unused(&self, why: &str) -> Result<()> {
        let set = [
            (ConfigKey::TlsCaFile, &self.ca),
            (ConfigKey::TlsCertFile, &self.cert),
            (ConfigKey::TlsKeyFile, &self.key),
        ];
        match set.into_iter().find(|(_, file)| file.is_some()) {
            None => Ok(()),
            Some((key, _)) => Err(Error::Config {
                key: key.to_string(),
                reason: why.to_owned(),
                source: None,
            }),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            checkpoint_prefix: CHECKPOINT_PREFIX.to_owned(),
            write_prefix: WRITE_PREFIX.to_owned(),
            ttl: TtlPolicy::default(),
            layout: Layout::default(),
            pool_size: 2,
            command_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            max_document_bytes: 64 * 1024 * 1024,
            hash_tag_threads: false,
            page_size: 32,
            wait_replicas: 0,
            wait_replicas_timeout: Duration::from_secs(1),
            search: SearchMode::default(),
            tls: TlsFiles::default(),
            client_name: client_name(env!("CARGO_PKG_NAME")),
            credentials: None,
            encryption_keys: None,
            encryption_keys_file: None,
            allow_unsealed: false,
            recent_threads: true,
        }
    }
}

impl Settings {
    /// Reads one setting.
    pub(crate) fn set(&mut self, key: ConfigKey, value: &str) -> Result<()> {
        let refuse = |reason: String| Error::Config {
            key: key.to_string(),
            reason,
            source: None,
        };
        match key {
            ConfigKey::Url => return Ok(()),
            ConfigKey::CheckpointPrefix => value.clone_into(&mut self.checkpoint_prefix),
            ConfigKey::CheckpointWritePrefix => value.clone_into(&mut self.write_prefix),
            ConfigKey::Ttl => {
                self.ttl.default = if value == "none" {
                    None
                } else {
                    let ttl = duration(value).map_err(refuse)?;
                    check_ttl(ttl).map_err(refuse)?;
                    Some(ttl)
                };
            }
            ConfigKey::RefreshOnRead => self.ttl.refresh_on_read = truth(value).map_err(refuse)?,
            ConfigKey::TtlScope => {
                self.ttl.scope = match value {
                    "checkpoint" => Some(TtlScope::Checkpoint),
                    "thread" => Some(TtlScope::Thread),
                    other => {
                        let reason = format!("`{other}` is neither `checkpoint` nor `thread`");
                        return Err(refuse(reason));
                    }
                };
            }
            ConfigKey::Layout => {
                let mut known = Layout::ALL.into_iter();
                let named = known.find(|layout| layout.as_str() == value);
                self.layout = named
                    .ok_or_else(|| refuse(format!("`{value}` is neither `json` nor `compact`")))?;
            }
            ConfigKey::PoolSize => self.pool_size = count(value, 1, 1_024).map_err(refuse)?,
            ConfigKey::CommandTimeout => {
                self.command_timeout = limit(value).map_err(refuse)?;
            }
            ConfigKey::ConnectTimeout => {
                self.connect_timeout = limit(value).map_err(refuse)?;
            }
            ConfigKey::MaxDocumentBytes => {
                self.max_document_bytes = count(value, 1_024, 512 * 1024 * 1024).map_err(refuse)?;
            }
            ConfigKey::HashTagThreads => {
                self.hash_tag_threads = truth(value).map_err(refuse)?;
            }
            ConfigKey::PageSize => self.page_size = count(value, 1, 1_000).map_err(refuse)?,
            ConfigKey::WaitReplicas => {
                self.wait_replicas = count(value, 0, 1_000).map_err(refuse)?;
            }
            ConfigKey::WaitReplicasTimeout => {
                self.wait_replicas_timeout = limit(value).map_err(refuse)?;
            }
            ConfigKey::Search => {
                self.search = match value {
                    "auto" => SearchMode::Auto,
                    "required" => SearchMode::Required,
                    "off" => SearchMode::Off,
                    other => {
                        let reason = format!("`{other}` is none of `auto`, `required`, `off`");
                        return Err(refuse(reason));
                    }
                };
            }
            ConfigKey::TlsCaFile => self.tls.ca = Some(file(value).map_err(refuse)?),
            ConfigKey::TlsCertFile => self.tls.cert = Some(file(value).map_err(refuse)?),
            ConfigKey::TlsKeyFile => self.tls.key = Some(file(value).map_err(refuse)?),
            ConfigKey::ClientName => self.client_name = client_name(value),
            ConfigKey::EncryptionKeysFile => {
                self.encryption_keys_file = Some(file(value).map_err(refuse)?);
            }
            ConfigKey::AllowUnsealed => self.allow_unsealed = truth(value).map_err(refuse)?,
            ConfigKey::RecentThreads => self.recent_threads = truth(value).map_err(refuse)?,
        }
        Ok(())
    }

    /// Refuses settings that contradict each other.
    pub(crate) fn check(&self) -> Result<()> {
        self.ttl.check()?;
        self.tls.check()?;
        self.check_sealing()?;
        if self.layout == Layout::Compact {
            self.check_compact()?;
        }
        if self.wait_replicas > 0 && self.wait_replicas_timeout >= self.command_timeout {
            return Err(Error::Config {
                key: ConfigKey::WaitReplicasTimeout.to_string(),
                reason: format!(
                    "waiting {:?} for replicas leaves nothing of the {:?} of `command_timeout`",
                    self.wait_replicas_timeout, self.command_timeout
                ),
                source: None,
            });
        }
        Ok(())
    }
}

impl Settings {
    /// What expires together.
    pub(crate) fn ttl_scope(&self) -> TtlScope {
        match self.layout {
            Layout::Json => self.ttl.scope.unwrap_or_default(),
            Layout::Compact => TtlScope::Thread,
        }
    }

    #[cfg(feature = "cli")]
    pub(crate) fn forget_encryption_keys(&mut self) {
        self.encryption_keys = None;
        self.encryption_keys_file = None;
        self.allow_unsealed = false;
    }

    /// Reads the file of keys, if there is one.
    pub(crate) fn read_encryption_keys(&mut self) -> Result<()> {
        if let Some(file) = &self.encryption_keys_file {
            self.encryption_keys = Some(EncryptionKeys::from_file(file)?);
        }
        Ok(())
    }

    /// Refuses keys that would seal nothing, and those that come from two places.
    fn check_sealing(&self) -> Result<()> {
        let file = self.encryption_keys_file.is_some();
        let keys = self.encryption_keys.is_some();
        let (key, reason) = if keys && file {
            let reason = "there are keys beside the file: leave one of them out";
            (ConfigKey::EncryptionKeysFile.as_str(), reason)
        } else if (keys || file) && self.layout != Layout::Compact {
            let reason =
                "the layout `json` seals nothing: use the layout `compact`, or leave the keys out";
            ("encryption_keys", reason)
        } else if self.allow_unsealed && !(keys || file) {
            let reason = "without `encryption_keys` nothing is sealed: set them, or leave this out";
            (ConfigKey::AllowUnsealed.as_str(), reason)
        } else {
            return Ok(());
        };
        Err(Error::Config {
            key: key.to_owned(),
            reason: reason.to_owned(),
            source: None,
        })
    }

    fn check_compact(&self) -> Result<()> {
        let refuse = |key: ConfigKey, reason: &str| {
            Err(Error::Config {
                key: key.to_string(),
                reason: reason.to_owned(),
                source: None,
            })
        };
        if self.ttl.scope == Some(TtlScope::Checkpoint) {
            let reason = "in the layout `compact` a thread expires as a whole: use the scope `thread`, or the layout `json`";
            return refuse(ConfigKey::TtlScope, reason);
        }
        if self.search == SearchMode::Required {
            let reason = "the layout `compact` has no index to search: use the layout `json`, or another value";
            return refuse(ConfigKey::Search, reason);
        }
        Ok(())
    }
}

/// Reads a duration: a number of seconds, or numbers with units (`1h 30m`, `250ms`).
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds)
            .map_err(|_| format!("`{text}` is no duration"));
    }
    let parsed: jiff::SignedDuration = text
        .parse()
        .map_err(|_| format!("`{text}` is no duration; write 90m or 24h, for example"))?;
    Duration::try_from(parsed).map_err(|_| format!("`{text}` is negative"))
}

fn limit(text: &str) -> Result<Duration, String> {
    let limit = duration(text)?;
    if limit < Duration::from_millis(1) || limit > Duration::from_secs(3_600) {
        return Err(format!("`{text}` is not between a millisecond and an hour"));
    }
    Ok(limit)
}

fn file(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("it names no file".to_owned());
    }
    Ok(PathBuf::from(text))
}

/// A name as Redis takes it: printable ASCII without blanks; no longer than is of use.
fn client_name(text: &str) -> Option<Bytes> {
    let taken = |character: char| {
        if character.is_ascii_graphic() {
            character
        } else {
            '-'
        }
    };
    let name: String = text.chars().take(128).map(taken).collect();
    (!name.is_empty()).then(|| Bytes::from(name))
}

fn truth(text: &str) -> Result<bool, String> {
    text.parse()
        .map_err(|_| format!("`{text}` is neither `true` nor `false`"))
}

fn count(text: &str, min: usize, max: usize) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|count| (min..=max).contains(count))
        .ok_or_else(|| format!("`{text}` is no number from {min} to {max}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_a_name_that_is_read_back() {
        for key in ConfigKey::ALL {
            assert_eq!(key.as_str().parse::<ConfigKey>().unwrap(), key);
        }
        assert!("nonsense".parse::<ConfigKey>().is_err());
    }

    #[test]
    fn a_value_that_cannot_be_is_refused_by_the_name_of_its_setting() {
        let mut settings = Settings::default();
        for (key, value) in [
            (ConfigKey::Ttl, "0"),
            (ConfigKey::Ttl, "soon"),
            (ConfigKey::Ttl, "-5s"),
            (ConfigKey::Ttl, "1e30"),
            (ConfigKey::RefreshOnRead, "maybe"),
            (ConfigKey::PoolSize, "0"),
            (ConfigKey::CommandTimeout, "0s"),
            (ConfigKey::MaxDocumentBytes, "-1"),
            (ConfigKey::WaitReplicas, "some"),
            (ConfigKey::WaitReplicasTimeout, "0"),
            (ConfigKey::TlsCaFile, ""),
            (ConfigKey::Search, "maybe"),
            (ConfigKey::Layout, "xml"),
            (ConfigKey::EncryptionKeysFile, ""),
            (ConfigKey::AllowUnsealed, "maybe"),
        ] {
            let error = settings.set(key, value).unwrap_err().to_string();
            assert!(error.contains(key.as_str()), "{error}");
        }
        settings.set(ConfigKey::WaitReplicas, "1").unwrap();
        settings.set(ConfigKey::WaitReplicasTimeout, "10s").unwrap();
        let error = settings.check().unwrap_err().to_string();
        assert!(error.contains("wait_replicas_timeout"), "{error}");
        let mut settings = Settings::default();
        settings.set(ConfigKey::TlsKeyFile, "client.key").unwrap();
        let error = settings.check().unwrap_err().to_string();
        assert!(error.contains("set `tls_cert_file` too"), "{error}");
        settings.set(ConfigKey::Ttl, "1h 30m").unwrap();
        assert_eq!(settings.ttl.default, Some(Duration::from_secs(5_400)));
    }
}
