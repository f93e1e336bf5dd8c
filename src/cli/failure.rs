//! Why a command ended without doing what it was told, and the exit code that says so.

use std::io;

use crate::error::Error;

/// What a command comes to.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A call of the saver failed.
    Saver(Error),
    /// The arguments cannot be used.
    Usage(String),
    /// What was asked for is not there.
    NotFound(String),
    /// Something is in the way.
    Conflict(String),
    /// The server cannot serve at the moment.
    Unavailable(String),
    /// Nobody said yes.
    NotConfirmed(String),
    /// Something is wrong with what is stored.
    Unhealthy(String),
    /// A file is not what was exported.
    Damaged(String),
    /// A file cannot be read or written.
    File(String),
    /// Ctrl-C, with what to do to go on.
    Interrupted(String),
    /// Nobody reads the output any more, which is no failure.
    NobodyReads,
}

impl Failure {
    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::NobodyReads => 0,
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

    /// What it is called in JSON.
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

    /// What happened, in one sentence.
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
            Self::NobodyReads => "nobody reads the output".to_owned(),
        }
    }

    /// A failure to write output.
    pub(crate) fn output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::NobodyReads
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
