//! Failures of commands and their exit codes.

use std::io;

use super::text::{shown, shown_namespace};
use crate::error::Error;
use crate::id::{CheckpointNamespace, ThreadId};

/// The result of a command.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A call of the saver failed.
    Saver(Error),
    /// The arguments are not valid.
    Usage(String),
    /// A thread or checkpoint does not exist.
    NotFound(String),
    /// Something that exists is in conflict with the command.
    Conflict(String),
    /// The server is unavailable.
    Unavailable(String),
    /// The user has not confirmed.
    NotConfirmed(String),
    /// The stored data has problems.
    Unhealthy(String),
    /// A file is not an intact export.
    Damaged(String),
    /// A file cannot be read or written.
    File(String),
    /// Ctrl-C, with how to continue.
    Interrupted(String),
    /// The reader of the output has closed the pipe, which is not a failure.
    ClosedPipe,
}

impl Failure {
    /// A thread does not exist.
    pub(crate) fn no_such_thread(thread_id: &ThreadId) -> Self {
        Self::NotFound(format!(
            "there is no thread {}; `langgraph-redis threads` lists the threads under these prefixes",
            shown(thread_id.as_str())
        ))
    }

    /// A namespace has no checkpoint.
    pub(crate) fn no_checkpoint(thread_id: &ThreadId, namespace: &CheckpointNamespace) -> Self {
        Self::NotFound(format!(
            "thread {} has no checkpoint in the namespace {}",
            shown(thread_id.as_str()),
            shown_namespace(namespace),
        ))
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::ClosedPipe => 0,
            Self::Usage(_) | Self::Saver(Error::InvalidInput { .. } | Error::Config { .. }) => 2,
            Self::NotFound(_) => 3,
            Self::Conflict(_) | Self::Saver(Error::Conflict { .. }) => 4,
            Self::Unavailable(_) => 5,
            Self::Saver(error) if error.is_retryable() => 5,
            Self::NotConfirmed(_) => 6,
            Self::Unhealthy(_) => 7,
            Self::Damaged(_) => 8,
            Self::Saver(_) | Self::File(_) => 1,
            Self::Interrupted(_) => 130,
        }
    }

    /// The name in JSON.
    pub(crate) fn name(&self) -> &'static str {
        match self.code() {
            2 => "usage",
            3 => "not_found",
            4 => "conflict",
            5 => "unavailable",
            6 => "not_confirmed",
            7 => "unhealthy",
            8 => "damaged",
            130 => "interrupted",
            _ => "failed",
        }
    }

    /// The message: one sentence.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Saver(error) => error.report().to_string(),
            Self::Usage(message)
            | Self::NotFound(message)
            | Self::Conflict(message)
            | Self::Unavailable(message)
            | Self::NotConfirmed(message)
            | Self::Unhealthy(message)
            | Self::Damaged(message)
            | Self::File(message)
            | Self::Interrupted(message) => message.clone(),
            Self::ClosedPipe => "the output was closed".to_owned(),
        }
    }

    /// A failure to write output.
    pub(crate) fn output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::ClosedPipe
        } else {
            Self::File(format!("the output cannot be written: {error}"))
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Saver(error)
    }
}
