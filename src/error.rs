//! What can go wrong, named by what the caller can do about it.

use std::fmt;
use std::time::Duration;

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a server, the network or a library reported.
pub(crate) type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a call failed.
///
/// Every message is one sentence that names the key or field and, where there is one, the way
/// out. What a server or the network reported is not part of the message: it is the error's
/// [`source`](std::error::Error::source), and [`Error::report`] shows both. [`Error::is_retryable`]
/// says whether the same call may succeed later; every write of a
/// [`CheckpointSaver`](crate::CheckpointSaver) is idempotent, so repeating one is always safe. No
/// message, source or `Debug` contains a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument cannot be used as it is; nothing was written.
    #[error("{field} cannot be used: {reason}")]
    InvalidInput {
        /// The argument or field, as the caller knows it.
        field: String,
        /// What is wrong with it, and what would be right.
        reason: String,
        /// What refused it, if it was not the saver.
        source: Option<Source>,
    },
    /// A document is larger than the saver's limit; nothing was written.
    #[error(
        "{what} has {size} bytes, which is more than the limit of {limit}: store less in it, or raise `max_document_bytes`"
    )]
    TooLarge {
        /// What is too large.
        what: String,
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A stored document cannot be read, or a write of a checkpoint that is there is gone: it was
    /// evicted, or removed by somebody else.
    #[error(
        "the document at {key} cannot be read: {reason} (run `doctor` to see what else is damaged)"
    )]
    Corrupt {
        /// The key of the document.
        key: String,
        /// What is wrong with it.
        reason: String,
        /// What found it, if it was not the saver.
        source: Option<Source>,
    },
    /// A key that the saver needs holds another type of value; nothing was written.
    #[error(
        "the key {key} holds a value of another type than the saver's: move it away, or choose other prefixes"
    )]
    WrongType {
        /// The key.
        key: String,
    },
    /// Another writer was first, or the key belongs to another thread; nothing was written.
    #[error("{what} was not written: {reason}")]
    Conflict {
        /// What was to be written.
        what: String,
        /// Who or what is in the way.
        reason: String,
    },
    /// The configuration cannot be used.
    #[error("the setting `{key}` cannot be used: {reason}")]
    Config {
        /// The name of the setting.
        key: String,
        /// What is wrong with it, and what would be right.
        reason: String,
        /// What refused it, if it was not the saver.
        source: Option<Source>,
    },
    /// The server cannot be reached, or the connection was lost.
    #[error(
        "Redis at {server} cannot be reached, so check `url` and whether the server is running"
    )]
    Connection {
        /// The server's address, without credentials.
        server: String,
        /// What the network reported.
        source: Source,
    },
    /// One side does not accept the other's TLS. A server that is not trusted is sent nothing,
    /// not even the user name.
    #[error("there is no TLS with Redis at {server}: {reason}")]
    Tls {
        /// The server's address, without credentials.
        server: String,
        /// Which side refused the other, why, and what would be right.
        reason: String,
        /// What the TLS library reported.
        source: Source,
    },
    /// The server refuses the user name or password, or the provider of credentials has none.
    #[error(
        "Redis at {server} refuses the user name or password: correct those in `url`, or of the credentials provider"
    )]
    Authentication {
        /// The server's address, without credentials.
        server: String,
        /// What the server or the provider reported.
        source: Source,
    },
    /// The user may not run a command or use a key.
    #[error("the Redis user lacks a permission, of those that `redis-modules/acl` lists: {reason}")]
    Permission {
        /// What to grant.
        reason: String,
        /// What the server reported: the command or key.
        source: Source,
    },
    /// The server lacks a command that the saver needs.
    #[error(
        "Redis at {server} does not know the command {command}: use Redis 8, or Redis Stack 7.2 or later, which bring {module}, or the layout `compact`, which takes no module"
    )]
    MissingModule {
        /// The server's address, without credentials.
        server: String,
        /// The command that was tried.
        command: &'static str,
        /// The module that has it.
        module: &'static str,
    },
    /// The call took longer than its time limit; it may have happened or not.
    #[error(
        "{operation} took longer than its time limit of {limit:?}: make the call again, or raise `command_timeout`"
    )]
    Timeout {
        /// The call.
        operation: &'static str,
        /// The limit.
        limit: Duration,
        /// What the client or the network reported, if it was not the saver that stopped waiting.
        source: Option<Source>,
    },
    /// Too many calls were made at once, for the whole time limit: the step that waited was not
    /// sent. What the call had done before stands.
    #[error(
        "{operation} waited {limit:?} for its turn behind {calls} other calls: make fewer at once, or raise `pool_size`"
    )]
    Overloaded {
        /// The call.
        operation: &'static str,
        /// How long it waited.
        limit: Duration,
        /// How many calls may be in flight at once.
        calls: usize,
    },
    /// The write stands on the primary, but fewer replicas than `wait_replicas` asks for have
    /// acknowledged it in time: it is lost if the primary is lost now. Making the call again is
    /// safe, and waits for the replicas again.
    #[error(
        "the write stands, but {got} of {wanted} replicas acknowledged it in time: make the call again, or look after the replicas"
    )]
    NotReplicated {
        /// How many must acknowledge.
        wanted: usize,
        /// How many did.
        got: usize,
    },
    /// The server cannot serve the call at the moment.
    #[error("Redis cannot serve the call at the moment, so make it again later: {reason}")]
    Unavailable {
        /// Why.
        reason: String,
        /// What the server reported, if it was the server.
        source: Option<Source>,
    },
    /// A server has no memory left for writes. Nothing of a `put` or `put_writes` was written; a
    /// call of many steps, such as a copy, may have done a part.
    #[error(
        "Redis has no memory left for writes: raise `maxmemory`, delete or prune threads, or let them expire with a TTL, and make the call again"
    )]
    OutOfMemory,
    /// The server refused a command for a reason of its own.
    #[error("Redis refused {command}")]
    Server {
        /// The command.
        command: String,
        /// What the server reported.
        source: Source,
    },
    /// The HTTP service that stands before the store did not serve the call; if that may be
    /// tried again, it may have happened all the same.
    #[error("the service at {server} did not serve the call: {reason}")]
    Service {
        /// The service's address, without credentials.
        server: String,
        /// What it or the network reported.
        reason: String,
        /// Whether the same call may succeed later.
        retryable: bool,
        /// What the network reported, if it was the network.
        source: Option<Source>,
    },
    /// The saver was closed.
    #[error("the saver is closed: make a new one")]
    Closed,
}

impl Error {
    /// Whether the same call may succeed if it is made again later.
    ///
    /// ```
    /// use langgraph_checkpoint_redis::Error;
    /// assert!(Error::OutOfMemory.is_retryable());
    /// assert!(!Error::Closed.is_retryable());
    /// ```
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Connection { .. }
                | Self::Timeout { .. }
                | Self::Overloaded { .. }
                | Self::NotReplicated { .. }
                | Self::Unavailable { .. }
                | Self::OutOfMemory
                | Self::Service {
                    retryable: true,
                    ..
                }
        )
    }

    /// The message followed by those of its sources, for people and logs.
    ///
    /// ```
    /// use langgraph_checkpoint_redis::Error;
    /// let error = Error::Server {
    ///     command: "SET".to_owned(),
    ///     source: "ERR syntax error".into(),
    /// };
    /// assert_eq!(error.to_string(), "Redis refused SET");
    /// assert_eq!(error.report().to_string(), "Redis refused SET: ERR syntax error");
    /// ```
    #[must_use]
    pub fn report(&self) -> impl fmt::Display + '_ {
        Report(self)
    }

    /// The error's kind in one word, for logs and metrics: it holds nothing of the call.
    ///
    /// ```
    /// use langgraph_checkpoint_redis::Error;
    /// assert_eq!(Error::OutOfMemory.kind(), "out_of_memory");
    /// ```
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::InvalidInput { .. } => "invalid_input",
            Self::TooLarge { .. } => "too_large",
            Self::Corrupt { .. } => "corrupt",
            Self::WrongType { .. } => "wrong_type",
            Self::Conflict { .. } => "conflict",
            Self::Config { .. } => "config",
            Self::Connection { .. } => "connection",
            Self::Tls { .. } => "tls",
            Self::Authentication { .. } => "authentication",
            Self::Permission { .. } => "permission",
            Self::MissingModule { .. } => "missing_module",
            Self::Timeout { .. } => "timeout",
            Self::Overloaded { .. } => "overloaded",
            Self::NotReplicated { .. } => "not_replicated",
            Self::Unavailable { .. } => "unavailable",
            Self::OutOfMemory => "out_of_memory",
            Self::Server { .. } => "server",
            Self::Service { .. } => "service",
            Self::Closed => "closed",
        }
    }

    /// An error for an argument that cannot be used.
    pub(crate) fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::InvalidInput {
            field: field.into(),
            reason: reason.into(),
            source: None,
        }
    }

    /// An error for a stored document that cannot be read.
    #[cfg(feature = "redis")]
    pub(crate) fn corrupt(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Corrupt {
            key: key.into(),
            reason: reason.into(),
            source: None,
        }
    }
}

/// An error with its sources.
struct Report<'a>(&'a Error);

impl fmt::Display for Report<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)?;
        let mut source = std::error::Error::source(self.0);
        while let Some(one) = source {
            write!(formatter, ": {one}")?;
            source = one.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::too_many_lines)] // It is a table.
    fn a_message_names_what_it_is_about_and_the_way_out() {
        let text = str::to_owned;
        let limit = Duration::from_secs(10);
        for (error, names, way_out) in [
            (Error::invalid("thread_id", "it is empty"), "thread_id", ""),
            (
                Error::TooLarge {
                    what: text("the checkpoint"),
                    size: 7,
                    limit: 5,
                },
                "the checkpoint",
                "`max_document_bytes`",
            ),
            (
                Error::Corrupt {
                    key: text("checkpoint:t"),
                    reason: text("it is no object"),
                    source: None,
                },
                "checkpoint:t",
                "`doctor`",
            ),
            (
                Error::WrongType {
                    key: text("checkpoint:t"),
                },
                "checkpoint:t",
                "other prefixes",
            ),
            (
                Error::Permission {
                    reason: text("grant 'get'"),
                    source: "NOPERM".into(),
                },
                "'get'",
                "`redis-modules/acl`",
            ),
            (
                Error::Authentication {
                    server: text("localhost:6379"),
                    source: "WRONGPASS".into(),
                },
                "localhost:6379",
                "`url`",
            ),
            (
                Error::MissingModule {
                    server: text("localhost:6379"),
                    command: "JSON.SET",
                    module: "RedisJSON",
                },
                "JSON.SET",
                "Redis 8",
            ),
            (
                Error::Timeout {
                    operation: "put",
                    limit,
                    source: None,
                },
                "put",
                "`command_timeout`",
            ),
            (
                Error::Overloaded {
                    operation: "put",
                    limit,
                    calls: 64,
                },
                "put",
                "`pool_size`",
            ),
            (
                Error::NotReplicated { wanted: 2, got: 1 },
                "1 of 2",
                "again",
            ),
            (
                Error::Connection {
                    server: text("localhost:6379"),
                    source: "Connection refused".into(),
                },
                "localhost:6379",
                "`url`",
            ),
            (
                Error::Unavailable {
                    reason: text("it is loading"),
                    source: Some("LOADING".into()),
                },
                "loading",
                "again",
            ),
            (Error::OutOfMemory, "memory", "`maxmemory`"),
            (Error::Closed, "saver", "new one"),
        ] {
            let message = error.to_string();
            assert!(
                message.contains(names) && message.contains(way_out),
                "{message}"
            );
            assert!(
                !message.contains('\n') && !message.ends_with('.'),
                "{message}"
            );
            // A source is not repeated, and a report shows it.
            if let Some(source) = std::error::Error::source(&error) {
                let source = source.to_string();
                assert!(!message.contains(&source), "{message}");
                assert_eq!(error.report().to_string(), format!("{message}: {source}"));
            } else {
                assert_eq!(error.report().to_string(), message);
            }
        }
        // Keys in several slots are written one after the other.
        let message = Error::OutOfMemory.to_string();
        assert!(!message.contains("nothing was written"), "{message}");
    }
}
