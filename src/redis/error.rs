//! What a server or the driver says, in this crate's terms. Decided here and nowhere else.

use std::time::Duration;

use fred::error::{Error as FredError, ErrorKind};

use crate::error::Error;

/// How it is said that a provider gave no credentials.
pub(crate) const NO_CREDENTIALS: &str = "the provider gave no credentials: ";

/// Where an error came up.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    /// The server, without credentials.
    pub(crate) server: &'a str,
    /// The saver's call.
    pub(crate) operation: &'static str,
    /// The command.
    pub(crate) command: &'a str,
    /// The time limit of a command.
    pub(crate) limit: Duration,
}

/// What an error says about sending the command again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Another server has the keys.
    Elsewhere,
    /// The server cannot serve it at the moment; nothing happened.
    NotNow,
    /// The server is not what it was taken for; nothing happened.
    NotHere {
        /// Whether it said that it is a replica.
        replica: bool,
    },
    /// The connection was lost; it may have happened or not.
    Lost,
    /// Sending it again would change nothing.
    Final,
}

/// What an error says about sending the command again.
pub(crate) fn meaning(error: &FredError) -> Meaning {
    match code(error.details()) {
        "MOVED" | "ASK" => Meaning::Elsewhere,
        "LOADING" | "TRYAGAIN" | "BUSY" | "NOREPLICAS" => Meaning::NotNow,
        _ if is_half_moved(error.details()) => Meaning::NotNow,
        "READONLY" => Meaning::NotHere { replica: true },
        "MASTERDOWN" | "CLUSTERDOWN" | "UNBLOCKED" => Meaning::NotHere { replica: false },
        _ if is_lost(error) => Meaning::Lost,
        _ => Meaning::Final,
    }
}

/// Whether a script met a key that has moved to another server already, or several of which some
/// have, while the slot is on its way there. A script checks before it writes, and may run twice.
fn is_half_moved(reply: &str) -> bool {
    reply.contains("access a non local key") || reply.contains("during rehashing of the slot")
}

/// The first word of a reply.
fn code(reply: &str) -> &str {
    reply.split_once(' ').map_or(reply, |(code, _)| code)
}

/// Whether the connection was lost, as the client says it in one way or another.
fn is_lost(error: &FredError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::IO
            | ErrorKind::Routing
            | ErrorKind::Sentinel
            | ErrorKind::Canceled
            | ErrorKind::Protocol
    ) || (matches!(error.kind(), ErrorKind::Unknown) && LOST.contains(&error.details()))
}

/// What the client says, without a kind, when it cannot send or its connection is gone.
const LOST: [&str; 5] = [
    "channel closed",
    "Client is not initialized.",
    "Failed to route command.",
    "Failed to send command to router.",
    "Too many failed write attempts.",
];

/// Whether one side does not accept the other's TLS, so that trying again is of no use.
pub(crate) fn is_refused(error: &FredError) -> bool {
    refusal(error).is_some()
}

#[cfg(feature = "tls")]
fn is_tls(kind: &ErrorKind) -> bool {
    matches!(kind, ErrorKind::Tls)
}

#[cfg(not(feature = "tls"))]
fn is_tls(_: &ErrorKind) -> bool {
    false
}

/// Why one side does not accept the other's TLS.
fn refusal(error: &FredError) -> Option<&'static str> {
    let from_tls = matches!(error.kind(), ErrorKind::IO) || is_tls(error.kind());
    let said = |part: &str| error.details().contains(part);
    REFUSALS
        .iter()
        .find(|(part, _)| from_tls && said(part))
        .map(|(_, reason)| *reason)
}

/// What rustls says in an error, and what that means; the first that fits counts.
const REFUSALS: [(&str, &str); 9] = [
    (
        "UnknownIssuer",
        "nobody who is trusted has signed its certificate: name the file of the authority's certificate in `tls_ca_file`",
    ),
    (
        "NotValidForName",
        "its certificate is for another name: write a name in `url` that it is for, or have it signed for this one",
    ),
    (
        "InvalidCertificate(Expired",
        "its certificate has expired: have a new one signed",
    ),
    (
        "InvalidCertificate(NotValidYet",
        "its certificate is not valid yet: look at the clocks",
    ),
    (
        "InvalidCertificate(",
        "its certificate is not one that `tls_ca_file` or the system's authorities vouch for",
    ),
    (
        "AlertReceived(CertificateRequired",
        "it asks for a certificate: set `tls_cert_file` and `tls_key_file`",
    ),
    (
        "AlertReceived(",
        "it does not accept the handshake: see what `tls_cert_file` it asks for, and its log",
    ),
    (
        "InvalidMessage(",
        "what answers there does not speak TLS: write the port that does in `url`",
    ),
    (
        "PeerIncompatible(",
        "it speaks TLS of before 1.2, or without a cipher that is known: look at its `tls-protocols` and `tls-ciphers`",
    ),
];

/// What a connection without TLS ends with where the server speaks TLS.
pub(crate) const SPEAKS_TLS: &str = "the server speaks TLS on this port";

/// What is said of a thread whose keys are in several slots.
pub(crate) const SEVERAL_SLOTS: &str = "its keys are in several slots of the cluster: build the saver with `hash_tag_threads`, or put braces around a part of the id";

/// Names an error of the driver.
pub(crate) fn classify(error: &FredError, context: &Context<'_>) -> Error {
    let connection = || Error::Connection {
        server: context.server.to_owned(),
        reason: error.details().to_owned(),
    };
    match error.kind() {
        ErrorKind::Auth if error.details().starts_with(NO_CREDENTIALS) => Error::Authentication {
            server: context.server.to_owned(),
            reason: error.details().to_owned(),
        },
        ErrorKind::Timeout => Error::Timeout {
            operation: context.operation,
            limit: context.limit,
        },
        _ if error.details() == SPEAKS_TLS => Error::Config {
            key: "url".to_owned(),
            reason: format!(
                "Redis at {} speaks TLS on this port: write rediss in place of redis",
                context.server
            ),
        },
        _ if is_lost(error) || is_tls(error.kind()) => match refusal(error) {
            Some(reason) => Error::Tls {
                server: context.server.to_owned(),
                reason: reason.to_owned(),
            },
            None => connection(),
        },
        ErrorKind::Backpressure => Error::Unavailable {
            reason: error.details().to_owned(),
        },
        _ if error
            .details()
            .starts_with(|first: char| first.is_ascii_uppercase()) =>
        {
            classify_reply(error.details(), context)
        }
        ErrorKind::Cluster => Error::Unavailable {
            reason: error.details().to_owned(),
        },
        _ => Error::Server {
            command: context.command.to_owned(),
            reason: error.details().to_owned(),
        },
    }
}

/// Names an error reply of a server by its first word.
fn classify_reply(reply: &str, context: &Context<'_>) -> Error {
    let (code, rest) = reply.split_once(' ').unwrap_or((reply, ""));
    let server = || context.server.to_owned();
    match code {
        "LOADING" | "CLUSTERDOWN" | "TRYAGAIN" | "MASTERDOWN" | "READONLY" | "BUSY"
        | "NOREPLICAS" | "MISCONF" | "UNBLOCKED" => Error::Unavailable {
            reason: reply.to_owned(),
        },
        _ if is_half_moved(reply) => Error::Unavailable {
            reason: reply.to_owned(),
        },
        // Where there is a cluster it is followed; here it is unknown.
        "MOVED" | "ASK" => Error::Config {
            key: "url".to_owned(),
            reason: "the server is a node of a cluster: use redis-cluster://".to_owned(),
        },
        _ if reply.contains("cluster support disabled") => Error::Config {
            key: "url".to_owned(),
            reason: "the server is no cluster: use redis://".to_owned(),
        },
        "OOM" => Error::OutOfMemory,
        "NOAUTH" | "WRONGPASS" => Error::Authentication {
            server: server(),
            reason: reply.to_owned(),
        },
        _ if refuses_scripts(reply, context.command) => Error::Permission {
            reason: format!("{rest}; every call runs a Lua script: allow EVAL and EVALSHA"),
        },
        "NOPERM" => Error::Permission {
            reason: rest.to_owned(),
        },
        _ if rest.starts_with("ACL failure in script: ") => Error::Permission {
            reason: rest.to_owned(),
        },
        "CROSSSLOT" => Error::invalid("thread_id", SEVERAL_SLOTS),
        "LGWRONGTYPE" => Error::WrongType {
            key: rest.to_owned(),
        },
        "LGFOREIGN" => foreign(rest),
        "LGLOST" => lost(rest),
        "LGCONFLICT" => unexpected(rest),
        _ if reply.contains("unknown command") => missing_module(context),
        // What scripts use of what some servers lack is JSON.
        _ if rest.starts_with("Unknown Redis command called from script") => {
            missing_module(context)
        }
        _ if reply.contains("invalid username-password") => Error::Authentication {
            server: server(),
            reason: rest.to_owned(),
        },
        _ => Error::Server {
            command: context.command.to_owned(),
            reason: reply.to_owned(),
        },
    }
}

/// Whether a server, or what stands in front of it, does not run scripts for this user. A script's
/// own errors name its commands, not the one that runs it.
fn refuses_scripts(reply: &str, command: &str) -> bool {
    let refusals = [
        "NOPERM",
        "unknown command",
        "not allowed",
        "not supported",
        "disabled",
    ];
    let named = reply.split(['\'', '`', '"']).nth(1);
    let named = named.or_else(|| reply.split(' ').nth(1)).unwrap_or(reply);
    command.starts_with("EVAL")
        && named.to_lowercase().starts_with("eval")
        && refusals.iter().any(|refusal| reply.contains(refusal))
}

/// Whether a flag cannot be set in a document because that is gone.
pub(crate) fn is_gone(error: &Error) -> bool {
    matches!(error, Error::Server { reason, .. } if reason.contains("created at the root"))
}

/// Names the key of which a server says only that it is of a wrong type.
pub(crate) fn of_key(key: &[u8], error: Error) -> Error {
    match error {
        Error::Server { reason, .. }
            if reason.contains("WRONGTYPE") || reason.contains("wrong Redis type") =>
        {
            Error::WrongType {
                key: String::from_utf8_lossy(key).into_owned(),
            }
        }
        error => error,
    }
}

/// A write, or the registry of all of them, that is gone while its checkpoint is there.
pub(crate) fn lost(key: &str) -> Error {
    Error::corrupt(key, LOST_WRITE)
}

/// Whether an error says so.
pub(crate) fn is_lost_write(error: &Error) -> bool {
    matches!(error, Error::Corrupt { reason, .. } if reason == LOST_WRITE)
}

const LOST_WRITE: &str = "it is gone, while its checkpoint is there: a `maxmemory-policy` that evicts has removed it, or somebody else; delete the thread, or let `doctor --fix` forget the write";

/// Whether a script has stopped because more ids whose documents are gone are registered than it may
/// look at in one step.
pub(crate) fn is_further(error: &Error) -> bool {
    matches!(error, Error::Server { reason, .. } if reason.starts_with("LGFURTHER"))
}

/// A key that holds something of another thread or namespace.
pub(crate) fn foreign(key: &str) -> Error {
    Error::Conflict {
        what: "the document".to_owned(),
        reason: format!(
            "the key {key} belongs to another thread or namespace, whose names make the same key: choose another thread id"
        ),
    }
}

/// Another checkpoint than the expected one is the newest; an empty id if there is none.
pub(crate) fn unexpected(newest: &str) -> Error {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn named(kind: ErrorKind, details: &str) -> Error {
        let context = Context {
            server: "localhost:6379",
            operation: "put",
            command: "JSON.SET",
            limit: Duration::from_secs(1),
        };
        classify(&FredError::new(kind, details.to_owned()), &context)
    }

    #[test]
    #[allow(clippy::too_many_lines)] // It is a table.
    fn replies_are_named_by_what_the_caller_can_do() {
        use ErrorKind::{Auth, Cluster, IO, Timeout, Unknown};
        let table: &[(ErrorKind, &str, &str, bool)] = &[
            (
                Unknown,
                "LOADING Redis is loading the dataset in memory",
                "Unavailable",
                true,
            ),
            (
                Unknown,
                "READONLY You can't write against a read only replica.",
                "Unavailable",
                true,
            ),
            (
                Cluster,
                "CLUSTERDOWN Hash slot not served",
                "Unavailable",
                true,
            ),
            (
                Cluster,
                "TRYAGAIN Multiple keys request during rehashing of slot",
                "Unavailable",
                true,
            ),
            (
                Unknown,
                "OOM command not allowed when used memory > 'maxmemory'.",
                "OutOfMemory",
                true,
            ),
            (
                Auth,
                "NOAUTH Authentication required.",
                "Authentication",
                false,
            ),
            (
                Auth,
                "WRONGPASS invalid username-password pair",
                "Authentication",
                false,
            ),
            (
                Unknown,
                "NOPERM User x has no permissions to run the 'get' command",
                "Permission",
                false,
            ),
            (
                Unknown,
                "ERR ACL failure in script: User x has no permissions to run the 'get' command script: 1f, on @user_script:1.",
                "Permission",
                false,
            ),
            (
                IO,
                "Custom { kind: InvalidData, error: InvalidCertificate(UnknownIssuer) }",
                "Tls",
                false,
            ),
            (
                Unknown,
                "ERR a document that says InvalidCertificate(UnknownIssuer)",
                "Server",
                false,
            ),
            (Unknown, "LGWRONGTYPE checkpoint:t", "WrongType", false),
            (Unknown, "LGCONFLICT 1f1e", "Conflict", false),
            (
                Unknown,
                "CROSSSLOT Keys in request don't hash to the same slot",
                "InvalidInput",
                false,
            ),
            (
                Unknown,
                "ERR unknown command 'JSON.SET', with args",
                "MissingModule",
                false,
            ),
            (
                Unknown,
                "ERR Unknown Redis command called from script script: 1f, on @user_script:9.",
                "MissingModule",
                false,
            ),
            (Unknown, "ERR something else", "Server", false),
            (IO, "Connection refused (os error 111)", "Connection", true),
            (Unknown, "channel closed", "Connection", true),
            (Cluster, "MOVED 1 127.0.0.1:7001", "Config", false),
            (
                ErrorKind::Config,
                "ERR This instance has cluster support disabled",
                "Config",
                false,
            ),
            (
                Unknown,
                "MISCONF Redis is configured to save RDB snapshots",
                "Unavailable",
                true,
            ),
            (Timeout, "Request timed out.", "Timeout", true),
        ];
        for (kind, details, variant, retryable) in table {
            let error = named(kind.clone(), details);
            assert!(
                format!("{error:?}").starts_with(variant),
                "{details}: {error:?}"
            );
            assert_eq!(error.is_retryable(), *retryable, "{details}");
        }
    }

    #[test]
    fn a_server_that_runs_no_scripts_is_asked_to_allow_them() {
        let named = |command: &str, reply: &str| {
            let context = Context {
                server: "localhost:6379",
                operation: "put",
                command,
                limit: Duration::from_secs(1),
            };
            classify(
                &FredError::new(ErrorKind::Unknown, reply.to_owned()),
                &context,
            )
        };
        for refused in [
            "NOPERM User u has no permissions to run the 'evalsha' command",
            "NOPERM this user has no permissions to run the 'eval' command",
            "ERR unknown command 'EVALSHA', with args beginning with: ",
            "ERR unknown command `eval`, with args beginning with: ",
            "ERR handle request, command 'EVAL' is not allowed",
            "ERR EVALSHA is not supported by this proxy",
        ] {
            let error = named("EVALSHA", refused);
            assert!(matches!(error, Error::Permission { .. }), "{error:?}");
            assert!(!error.is_retryable());
            assert!(error.to_string().contains("allow EVAL"), "{error}");
        }
        for (command, other) in [
            ("EVALSHA", "NOPERM No permissions to access a key"),
            (
                "EVALSHA",
                "NOPERM User u has no permissions to run the 'json.set' command",
            ),
            ("EVALSHA", "NOSCRIPT No matching script. Please use EVAL."),
            (
                "EVALSHA",
                "ERR unknown command 'JSON.SET', with args beginning with: ",
            ),
            (
                "EVALSHA",
                "ERR Script attempted to access a non local key in a cluster node script: 1f",
            ),
            ("JSON.SET", "ERR the key 'evaluation' is not allowed"),
        ] {
            let error = named(command, other);
            assert!(!error.to_string().contains("allow EVAL"), "{error}");
        }
    }

    #[test]
    fn what_is_sent_again_is_what_did_not_happen_or_may_happen_twice() {
        use ErrorKind::{Cluster, IO, Timeout, Unknown};
        let replica = |replica| Meaning::NotHere { replica };
        let table: &[(ErrorKind, &str, Meaning)] = &[
            (Cluster, "MOVED 1 127.0.0.1:7001", Meaning::Elsewhere),
            (Cluster, "ASK 1 127.0.0.1:7001", Meaning::Elsewhere),
            (Unknown, "TRYAGAIN Multiple keys request", Meaning::NotNow),
            (Unknown, "LOADING Redis is loading", Meaning::NotNow),
            (Unknown, "BUSY Redis is busy", Meaning::NotNow),
            (
                Unknown,
                "ERR Script attempted to access a non local key in a cluster node",
                Meaning::NotNow,
            ),
            (
                Unknown,
                "ERR Unable to execute command 'exists' in script because undeclared keys were accessed during rehashing of the slot script: 1f, on @user_script:145.",
                Meaning::NotNow,
            ),
            (Unknown, "NOREPLICAS Not enough good", Meaning::NotNow),
            (Unknown, "READONLY You can't write", replica(true)),
            (Unknown, "UNBLOCKED force unblock", replica(false)),
            (Cluster, "CLUSTERDOWN Hash slot not served", replica(false)),
            (IO, "Connection refused (os error 111)", Meaning::Lost),
            (Unknown, "channel closed", Meaning::Lost),
            (Unknown, "Failed to route command.", Meaning::Lost),
            (Timeout, "Request timed out.", Meaning::Final),
            (Unknown, "OOM command not allowed", Meaning::Final),
            (Unknown, "NOSCRIPT No matching script.", Meaning::Final),
            (Unknown, "ERR channel closed", Meaning::Final),
            (Unknown, "checkpoint: no such index", Meaning::Final),
        ];
        for (kind, details, expected) in table {
            let error = FredError::new(kind.clone(), (*details).to_owned());
            assert_eq!(meaning(&error), *expected, "{details}");
        }
    }
}
