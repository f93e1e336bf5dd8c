//! Errors of servers and connections: the only place that reads what they say.
//!
//! A server reports an error in prose that starts with a code, and so do the scripts, whose codes
//! start with `LG`. The prose is read once, when it arrives, and becomes an [`ErrorKind`].
//!
//! The driver hands on a public [`Error`], named by what the caller can do, whose source is the
//! [`RedisError`] with its kind. So the features have one error type for what a server reports and
//! for what they find themselves, nothing is converted at their edge, and where one must tell two
//! errors of the same variant apart, it asks the functions at the end of this file, which look at
//! the kind of the source.

mod kind;
mod words;

use std::fmt;
use std::time::Duration;

use self::words::{kind_of_reply, tls_refusal};
use crate::error::Error;

pub(super) use self::kind::{ErrorKind, Redirection};

/// Why a server or a connection did not serve a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RedisError {
    kind: ErrorKind,
    /// For people. Nothing is decided by it.
    message: String,
}

/// What an error means for sending the command again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RetryClass {
    /// Another server serves it.
    Redirect,
    /// The server cannot serve it at the moment; it was not run.
    Later,
    /// The server does not have the role or the slots that were expected; it was not run.
    WrongServer {
        /// Whether the server is a replica.
        is_replica: bool,
    },
    /// The connection was lost; it may have been run or not.
    Lost,
    /// Sending it again would change nothing.
    Never,
}

/// Where an error occurred.
#[derive(Debug)]
pub(super) struct Context<'a> {
    /// The server, without credentials.
    pub(super) server: &'a str,
    /// The saver's call.
    pub(super) operation: &'static str,
    /// The command.
    pub(super) command: &'a str,
    /// The time limit of a command.
    pub(super) limit: Duration,
}

impl RedisError {
    /// An error reply of a server.
    pub(super) fn reply(reply: &str) -> Self {
        match kind_of_reply(reply) {
            kind @ ErrorKind::TooManyGone => Self::new(
                kind,
                "more checkpoints that are gone are registered than a script may pass over",
            ),
            kind => Self::new(kind, reply),
        }
    }

    /// A lost connection.
    pub(super) fn lost(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Lost, message)
    }

    /// An error of the network or of TLS: how `Debug` shows it, which names the variants of rustls,
    /// and a message for people.
    pub(super) fn io(debug: &str, message: &str) -> Self {
        match tls_refusal(debug) {
            Some(reason) => Self::tls(reason, message),
            None => Self::lost(message),
        }
    }

    /// TLS cannot be agreed on: why, and what the TLS library reported.
    pub(super) fn tls(reason: &'static str, message: &str) -> Self {
        Self::new(ErrorKind::Tls(reason), message)
    }

    /// A connection without TLS to a port where the server speaks it.
    pub(super) fn speaks_tls() -> Self {
        Self::new(ErrorKind::SpeaksTls, "the server speaks TLS on this port")
    }

    /// A client of the caller's gave up waiting.
    pub(super) fn timed_out(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::TimedOut, message)
    }

    /// A client of the caller's cannot take a command at the moment.
    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// The provider of credentials has failed.
    pub(super) fn no_credentials(error: &Error) -> Self {
        Self::new(
            ErrorKind::NoCredentials,
            format!("the provider gave no credentials: {}", error.report()),
        )
    }

    /// A server that must be a primary is a replica.
    pub(super) fn is_replica() -> Self {
        Self::new(
            ErrorKind::ReadOnly,
            "READONLY the server is a replica, which takes no writes: connect to its primary, or through Sentinel",
        )
    }

    fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// The error of a connection that was sent AUTH with a password. A server that does not know
    /// the command quotes its arguments, or the beginning of them, and what a proxy quotes is not
    /// known.
    pub(super) fn of_auth(self, password: &str) -> Self {
        match self.kind {
            ErrorKind::UnknownCommand => Self::new(
                ErrorKind::Authentication,
                "ERR the server does not know AUTH: leave the password out of the URL",
            ),
            kind if !password.is_empty() && self.message.contains(password) => Self::new(
                kind,
                "the server's words contain the password, and are not repeated",
            ),
            _ => self,
        }
    }

    pub(super) fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// What was said, for people.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// What the error means for sending the command again.
    pub(super) fn retry_class(&self) -> RetryClass {
        use ErrorKind as Kind;
        match self.kind {
            Kind::Redirected(_) => RetryClass::Redirect,
            Kind::Loading | Kind::TryAgain | Kind::Busy | Kind::NoReplicas => RetryClass::Later,
            Kind::ReadOnly => RetryClass::WrongServer { is_replica: true },
            Kind::MasterDown | Kind::ClusterDown | Kind::Unblocked => {
                RetryClass::WrongServer { is_replica: false }
            }
            Kind::Lost | Kind::Tls(_) | Kind::SpeaksTls => RetryClass::Lost,
            _ => RetryClass::Never,
        }
    }

    /// The error as callers get it.
    pub(super) fn into_public(self, context: &Context<'_>) -> Error {
        use ErrorKind as Kind;
        let server = || context.server.to_owned();
        let reason = match &self.kind {
            Kind::Lost => {
                return Error::Connection {
                    server: server(),
                    source: self.into(),
                };
            }
            Kind::Tls(reason) => {
                return Error::Tls {
                    server: server(),
                    reason: (*reason).to_owned(),
                    source: self.into(),
                };
            }
            Kind::SpeaksTls => {
                return Error::Config {
                    key: "url".to_owned(),
                    reason: format!(
                        "Redis at {} speaks TLS on this port: write rediss in place of redis",
                        context.server
                    ),
                    source: None,
                };
            }
            Kind::TimedOut => {
                return Error::Timeout {
                    operation: context.operation,
                    limit: context.limit,
                    source: Some(self.into()),
                };
            }
            Kind::NoCredentials | Kind::Authentication => {
                return Error::Authentication {
                    server: server(),
                    source: self.into(),
                };
            }
            Kind::Permission => return self.permission("grant it with ACL SETUSER"),
            Kind::ScriptsRefused => {
                return self.permission("every call runs a Lua script: allow EVAL and EVALSHA");
            }
            // In a cluster it is followed; elsewhere it comes from a node of one.
            Kind::Redirected(_) => {
                return self.wrong_url("the server is a node of a cluster: use redis-cluster://");
            }
            Kind::NoCluster => return self.wrong_url("the server is no cluster: use redis://"),
            Kind::OutOfMemory => return Error::OutOfMemory,
            Kind::CrossSlot => {
                return Error::InvalidInput {
                    field: "thread_id".to_owned(),
                    reason: SEVERAL_SLOTS.to_owned(),
                    source: Some(self.into()),
                };
            }
            Kind::UnknownCommand => return missing_module(context),
            Kind::WrongTypeOfKey(key) => return Error::WrongType { key: key.clone() },
            Kind::ForeignKey(key) => return foreign(key),
            Kind::LostWrite(key) => return lost(key),
            Kind::UnreadableMember(key) => return unreadable_member(key),
            Kind::UnexpectedParent(newest) => return unexpected(newest),
            Kind::NoScript
            | Kind::WrongType
            | Kind::NoDocument
            | Kind::IndexExists
            | Kind::NoIndex
            | Kind::TooManyCursors
            | Kind::TooManyGone
            | Kind::Other => {
                return Error::Server {
                    command: context.command.to_owned(),
                    source: self.into(),
                };
            }
            Kind::HalfRemoved => {
                "another call is removing the writes of the checkpoint: make the call again"
            }
            Kind::Loading => "it is loading its data",
            Kind::Busy => "it is running a script that does not end, which SCRIPT KILL stops",
            Kind::TryAgain => "the slot is being moved to another node of the cluster",
            Kind::NoReplicas => {
                "fewer replicas are connected than its `min-replicas-to-write` asks for"
            }
            Kind::CannotSave => "it cannot save to disk, as its log explains",
            Kind::ReadOnly => "it is a replica, which takes no writes",
            Kind::MasterDown => "it is a replica that has lost its primary",
            Kind::ClusterDown => "the cluster does not serve the slot",
            Kind::Unblocked => "it has become a replica",
            Kind::Unavailable => "the client takes no commands",
        };
        self.unavailable_because(reason)
    }

    /// The same in a cluster, where a redirection was followed for as long as the call may take.
    pub(super) fn into_public_in_cluster(self, context: &Context<'_>) -> Error {
        match self.kind {
            ErrorKind::Redirected(_) => {
                self.unavailable_because("the slot is being moved from node to node")
            }
            _ => self.into_public(context),
        }
    }

    fn unavailable_because(self, reason: &str) -> Error {
        Error::Unavailable {
            reason: reason.to_owned(),
            source: Some(self.into()),
        }
    }

    fn wrong_url(self, reason: &str) -> Error {
        Error::Config {
            key: "url".to_owned(),
            reason: reason.to_owned(),
            source: Some(self.into()),
        }
    }

    fn permission(self, reason: &str) -> Error {
        Error::Permission {
            reason: reason.to_owned(),
            source: self.into(),
        }
    }
}

impl fmt::Display for RedisError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for RedisError {}

/// Why a thread whose keys are in several slots cannot be used without non-atomic calls.
pub(super) const SEVERAL_SLOTS: &str = "its keys are in several slots of the cluster: build the saver with `hash_tag_threads`, or put braces around a part of the id";

/// The error of a write, or of the registry of all writes, that is gone while its checkpoint
/// exists.
pub(super) fn lost(key: &str) -> Error {
    let found = "a write is registered and has no document";
    Error::Corrupt {
        key: key.to_owned(),
        reason: "it is gone, while its checkpoint is there: a `maxmemory-policy` that evicts has removed it, or somebody else; delete the thread, or let `doctor --fix` forget the write".to_owned(),
        source: Some(RedisError::new(ErrorKind::LostWrite(key.to_owned()), found).into()),
    }
}

/// The error of a key that has a member which no saver writes.
pub(super) fn unreadable_member(key: &str) -> Error {
    Error::corrupt(
        key,
        "a member of it names no checkpoint: another program has written it",
    )
}

/// The error of a key that holds something of another thread or namespace.
pub(super) fn foreign(key: &str) -> Error {
    Error::Conflict {
        what: "the document".to_owned(),
        reason: format!(
            "the key {key} belongs to another thread or namespace, whose names make the same key: choose another thread id"
        ),
    }
}

/// The error of what would be stored of a checkpoint whose writes are being removed.
pub(super) fn half_removed() -> Error {
    RedisError::new(
        ErrorKind::HalfRemoved,
        "another call is removing its writes",
    )
    .unavailable_because(
        "another call is removing the writes of the checkpoint: make the call again",
    )
}

/// The error of a put whose expected parent is not the newest checkpoint; `newest` is empty if
/// there is none.
pub(super) fn unexpected(newest: &str) -> Error {
    Error::Conflict {
        what: "the checkpoint".to_owned(),
        reason: if newest.is_empty() {
            "the expected parent is not the newest, as there is no checkpoint: read the thread again".to_owned()
        } else {
            format!("the expected parent is not the newest, {newest} is: read the thread again")
        },
    }
}

fn missing_module(context: &Context<'_>) -> Error {
    let (command, module) = if context.command.starts_with("FT.") {
        ("FT.SEARCH", "RediSearch")
    } else {
        ("JSON.SET", "RedisJSON")
    };
    Error::MissingModule {
        server: context.server.to_owned(),
        command,
        module,
    }
}

/// Adds the key to an error by which a server reports only that a key holds another type of value.
pub(super) fn of_key(key: &[u8], error: Error) -> Error {
    if cause(&error) == Some(&ErrorKind::WrongType) {
        Error::WrongType {
            key: String::from_utf8_lossy(key).into_owned(),
        }
    } else {
        error
    }
}

/// Whether a server does not know a script by its hash.
pub(super) fn is_unknown_script(error: &Error) -> bool {
    cause(error) == Some(&ErrorKind::NoScript)
}

/// Whether a script was refused because its keys are in several slots.
pub(super) fn is_of_several_slots(error: &Error) -> bool {
    cause(error) == Some(&ErrorKind::CrossSlot)
}

/// Whether a call met a key that holds another type of value.
pub(super) fn is_of_another_type(error: &Error) -> bool {
    matches!(error, Error::WrongType { .. }) || cause(error) == Some(&ErrorKind::WrongType)
}

/// Whether a path cannot be set in a document because that does not exist.
pub(super) fn is_gone(error: &Error) -> bool {
    cause(error) == Some(&ErrorKind::NoDocument)
}

/// Whether a registered write, or the registry of all writes, is gone while its checkpoint exists.
pub(super) fn is_lost_write(error: &Error) -> bool {
    matches!(cause(error), Some(ErrorKind::LostWrite(_)))
}

/// Whether a script has stopped because more checkpoints whose documents are gone are registered
/// than it may pass over.
pub(super) fn is_further(error: &Error) -> bool {
    cause(error) == Some(&ErrorKind::TooManyGone)
}

/// Whether something of a checkpoint was to be stored whose writes are being removed.
pub(super) fn is_half_removed(error: &Error) -> bool {
    cause(error) == Some(&ErrorKind::HalfRemoved)
}

/// Whether an index does not exist.
pub(super) fn is_unknown_index(error: &Error) -> bool {
    cause(error) == Some(&ErrorKind::NoIndex)
}

/// Whether an index exists already.
pub(super) fn is_existing_index(error: &Error) -> bool {
    cause(error) == Some(&ErrorKind::IndexExists)
}

/// Whether a search has no room for another cursor.
pub(super) fn has_no_cursor_left(error: &Error) -> bool {
    cause(error) == Some(&ErrorKind::TooManyCursors)
}

/// What a server or connection reported, if that is the error's source.
fn cause(error: &Error) -> Option<&ErrorKind> {
    let source = std::error::Error::source(error)?;
    source.downcast_ref().map(RedisError::kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTEXT: Context<'_> = Context {
        server: "localhost:6379",
        operation: "put",
        command: "JSON.SET",
        limit: Duration::from_secs(1),
    };

    fn kind(reply: &str) -> ErrorKind {
        RedisError::reply(reply).kind
    }

    #[test]
    fn errors_are_named_by_what_the_caller_can_do() {
        let reply = RedisError::reply;
        let certificate = "Custom { kind: InvalidData, error: InvalidCertificate(UnknownIssuer) }";
        for (error, variant, retryable) in [
            (reply("LOADING Redis is loading"), "Unavailable", true),
            (reply("READONLY You can't write"), "Unavailable", true),
            (
                reply("CLUSTERDOWN Hash slot not served"),
                "Unavailable",
                true,
            ),
            (reply("TRYAGAIN Multiple keys request"), "Unavailable", true),
            (reply("MISCONF Redis is configured"), "Unavailable", true),
            (
                RedisError::unavailable("queue is full"),
                "Unavailable",
                true,
            ),
            (reply("OOM command not allowed"), "OutOfMemory", true),
            (
                reply("NOAUTH Authentication required."),
                "Authentication",
                false,
            ),
            (reply("WRONGPASS invalid pair"), "Authentication", false),
            (
                RedisError::no_credentials(&Error::Closed),
                "Authentication",
                false,
            ),
            (reply("NOPERM no permissions"), "Permission", false),
            (reply("ERR ACL failure in script: no"), "Permission", false),
            (RedisError::io(certificate, "invalid"), "Tls", false),
            (
                reply("ERR a document that says InvalidCertificate(UnknownIssuer)"),
                "Server",
                false,
            ),
            (reply("LGWRONGTYPE checkpoint:t"), "WrongType", false),
            (reply("LGFOREIGN checkpoint:t"), "Conflict", false),
            (reply("LGCONFLICT 1f1e"), "Conflict", false),
            (reply("LGLOST checkpoint:t"), "Corrupt", false),
            (reply("LGUNREADABLE checkpoint:t"), "Corrupt", false),
            (reply("LGFURTHER"), "Server", false),
            (reply("CROSSSLOT Keys in request"), "InvalidInput", false),
            (
                reply("ERR unknown command 'JSON.SET'"),
                "MissingModule",
                false,
            ),
            (reply("ERR something else"), "Server", false),
            (reply("NOSCRIPT No matching script."), "Server", false),
            (RedisError::lost("Connection refused"), "Connection", true),
            (RedisError::speaks_tls(), "Config", false),
            (reply("MOVED 1 127.0.0.1:7001"), "Config", false),
            (
                reply("ERR This instance has cluster support disabled"),
                "Config",
                false,
            ),
            (RedisError::timed_out("Request timed out."), "Timeout", true),
        ] {
            let described = error.to_string();
            let error = error.into_public(&CONTEXT);
            assert!(
                format!("{error:?}").starts_with(variant),
                "{described}: {error:?}"
            );
            assert_eq!(error.is_retryable(), retryable, "{described}");
        }
    }

    #[test]
    fn a_reply_is_the_source_of_its_error_and_not_in_its_message() {
        for reply in [
            "LOADING Redis is loading the dataset in memory",
            "READONLY You can't write against a read only replica.",
            "WRONGPASS invalid username-password pair",
            "NOPERM User x has no permissions to run the 'get' command",
            "CROSSSLOT Keys in request don't hash to the same slot",
            "ERR something else",
        ] {
            let error = RedisError::reply(reply).into_public(&CONTEXT);
            let source = std::error::Error::source(&error).unwrap().to_string();
            assert_eq!(source, reply);
            assert!(!error.to_string().contains(reply), "{error}");
            assert!(error.report().to_string().ends_with(reply));
        }
    }

    #[test]
    fn errors_of_one_variant_are_told_apart_by_what_the_server_reported() {
        type Predicate = fn(&Error) -> bool;
        let of = |reply: &str| RedisError::reply(reply).into_public(&CONTEXT);
        let table: [(Predicate, &str); 10] = [
            (is_unknown_script, "NOSCRIPT No matching script."),
            (is_of_several_slots, "CROSSSLOT Keys in request"),
            (is_of_another_type, "WRONGTYPE Operation against a key"),
            (is_gone, "ERR new objects must be created at the root"),
            (is_lost_write, "LGLOST checkpoint:t"),
            (is_further, "LGFURTHER"),
            (is_half_removed, "LGHALFREMOVED"),
            (is_unknown_index, "checkpoint: no such index"),
            (is_existing_index, "Index already exists"),
            (has_no_cursor_left, "Too many cursors allocated"),
        ];
        for (at, (_, reply)) in table.iter().enumerate() {
            for (other, (is_so, _)) in table.iter().enumerate() {
                assert_eq!(is_so(&of(reply)), at == other, "{reply}, {other}");
            }
        }
        assert!(is_lost_write(&lost("checkpoint:t")));
        assert!(!is_lost_write(&Error::corrupt(
            "checkpoint:t",
            "it is gone"
        )));
        assert!(is_of_another_type(&of("LGWRONGTYPE checkpoint:t")));
        let named = of_key(b"checkpoint:t", of("ERR WRONGTYPE Operation script: 1f"));
        assert!(matches!(named, Error::WrongType { key } if key == "checkpoint:t"));
        assert!(matches!(of_key(b"k", of("ERR no")), Error::Server { .. }));
    }

    #[test]
    fn a_redirection_that_leads_nowhere_in_a_cluster_may_lead_somewhere_later() {
        let error = RedisError::reply("MOVED 1 127.0.0.1:7001").into_public_in_cluster(&CONTEXT);
        assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    }

    #[test]
    fn a_server_that_runs_no_scripts_is_asked_to_allow_them() {
        for refused in [
            "NOPERM User u has no permissions to run the 'evalsha' command",
            "NOPERM this user has no permissions to run the 'eval' command",
            "ERR unknown command 'EVALSHA', with args beginning with: ",
            "ERR unknown command `eval`, with args beginning with: ",
            "ERR handle request, command 'EVAL' is not allowed",
            "ERR EVALSHA is not supported by this proxy",
        ] {
            let error = RedisError::reply(refused);
            assert_eq!(error.kind, ErrorKind::ScriptsRefused, "{refused}");
            let error = error.into_public(&CONTEXT);
            assert!(matches!(error, Error::Permission { .. }), "{error:?}");
            assert!(!error.is_retryable());
            assert!(error.to_string().contains("allow EVAL"), "{error}");
        }
        for other in [
            "NOPERM No permissions to access a key",
            "NOPERM User u has no permissions to run the 'json.set' command",
            "NOSCRIPT No matching script. Please use EVAL.",
            "ERR unknown command 'JSON.SET', with args beginning with: ",
            "ERR Script attempted to access a non local key in a cluster node script: 1f",
            "ERR the key 'evaluation' is not allowed",
        ] {
            assert_ne!(kind(other), ErrorKind::ScriptsRefused, "{other}");
        }
    }

    #[test]
    fn an_auth_that_the_server_does_not_know_is_not_quoted() {
        let reply = "ERR unknown command 'AUTH', with args beginning with: 'swordfish' ";
        let error = RedisError::reply(reply).of_auth("swordfish");
        assert_eq!(error.kind, ErrorKind::Authentication);
        assert!(!format!("{error} {error:?}").contains("swordfish"));
        let proxy = RedisError::reply("NOAUTH bad line: AUTH saver swordfish").of_auth("swordfish");
        assert_eq!(proxy.kind, ErrorKind::Authentication);
        assert!(!format!("{proxy} {proxy:?}").contains("swordfish"));
        let error = RedisError::reply("WRONGPASS invalid username-password pair");
        assert_eq!(error.clone().of_auth("swordfish"), error);
        assert_eq!(error.clone().of_auth(""), error);
    }

    #[test]
    fn what_is_sent_again_was_not_run_or_is_idempotent() {
        let wrong = |is_replica| RetryClass::WrongServer { is_replica };
        for (reply, class) in [
            ("MOVED 1 127.0.0.1:7001", RetryClass::Redirect),
            ("ASK 1 127.0.0.1:7001", RetryClass::Redirect),
            ("TRYAGAIN Multiple keys request", RetryClass::Later),
            ("LOADING Redis is loading", RetryClass::Later),
            ("BUSY Redis is busy", RetryClass::Later),
            (
                "ERR Script attempted to access a non local key in a cluster node",
                RetryClass::Later,
            ),
            ("NOREPLICAS Not enough good", RetryClass::Later),
            ("READONLY You can't write", wrong(true)),
            ("UNBLOCKED force unblock", wrong(false)),
            ("MASTERDOWN Link with MASTER is down", wrong(false)),
            ("CLUSTERDOWN Hash slot not served", wrong(false)),
            ("OOM command not allowed", RetryClass::Never),
            ("NOSCRIPT No matching script.", RetryClass::Never),
            ("ERR channel closed", RetryClass::Never),
            ("checkpoint: no such index", RetryClass::Never),
        ] {
            assert_eq!(RedisError::reply(reply).retry_class(), class, "{reply}");
        }
        let lost = RedisError::lost("Connection refused (os error 111)");
        assert_eq!(lost.retry_class(), RetryClass::Lost);
        let timed_out = RedisError::timed_out("Request timed out.");
        assert_eq!(timed_out.retry_class(), RetryClass::Never);
    }
}
