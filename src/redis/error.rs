//! What a server or the driver says, in this crate's terms. Decided here and nowhere else.

use std::time::Duration;

use fred::error::{Error as FredError, ErrorKind};

use crate::error::Error;

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

/// Names an error of the driver.
pub(crate) fn classify(error: &FredError, context: &Context<'_>) -> Error {
    let connection = || Error::Connection {
        server: context.server.to_owned(),
        reason: error.details().to_owned(),
    };
    match error.kind() {
        ErrorKind::Timeout => Error::Timeout {
            operation: context.operation,
            limit: context.limit,
        },
        ErrorKind::IO | ErrorKind::Routing | ErrorKind::Sentinel | ErrorKind::Canceled => {
            connection()
        }
        ErrorKind::Backpressure => Error::Unavailable {
            reason: error.details().to_owned(),
        },
        _ if error
            .details()
            .starts_with(|first: char| first.is_ascii_uppercase()) =>
        {
            classify_reply(error.details(), context)
        }
        #[cfg(feature = "tls")]
        ErrorKind::Tls => connection(),
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
        | "NOREPLICAS" | "MISCONF" | "MOVED" | "ASK" | "UNBLOCKED" => Error::Unavailable {
            reason: reply.to_owned(),
        },
        "OOM" => Error::OutOfMemory,
        "NOAUTH" | "WRONGPASS" => Error::Authentication {
            server: server(),
            reason: reply.to_owned(),
        },
        "NOPERM" => Error::Permission {
            reason: rest.to_owned(),
        },
        "CROSSSLOT" => Error::invalid(
            "thread_id",
            "its keys are in several slots of the cluster: build the saver with `hash_tag_threads`, or put braces around a part of the id",
        ),
        "LGWRONGTYPE" => Error::WrongType {
            key: rest.to_owned(),
        },
        "LGFOREIGN" => foreign(rest),
        "LGCONFLICT" => unexpected(rest),
        // A server that takes no scripts is served in another way.
        _ if reply.contains("unknown command") && !names_a_script(reply) => missing_module(context),
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

/// Whether the command that a reply names first, in quotes, runs scripts.
pub(crate) fn names_a_script(reply: &str) -> bool {
    let named = reply.split(['\'', '`', '"']).nth(1).unwrap_or(reply);
    named.to_lowercase().contains("eval")
}

/// A key that holds something of another thread or namespace.
pub(crate) fn foreign(key: &str) -> Error {
    Error::Conflict {
        what: "the document".to_owned(),
        reason: format!("the key {key} belongs to another thread or namespace"),
    }
}

/// Another checkpoint than the expected one is the newest; an empty id if there is none.
pub(crate) fn unexpected(newest: &str) -> Error {
    Error::Conflict {
        what: "the checkpoint".to_owned(),
        reason: if newest.is_empty() {
            "the expected parent is not the newest: there is no checkpoint".to_owned()
        } else {
            format!("the expected parent is not the newest: {newest} is")
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
            command: "EVALSHA",
            limit: Duration::from_secs(1),
        };
        classify(&FredError::new(kind, details.to_owned()), &context)
    }

    #[test]
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
                "ERR unknown command 'EVALSHA', with args",
                "Server",
                false,
            ),
            (Unknown, "ERR something else", "Server", false),
            (IO, "Connection refused (os error 111)", "Connection", true),
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
}
