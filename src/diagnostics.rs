//! What a store says of itself to those who look after it: sizes, servers, what is wrong.

// Only the inspector uses it.
#![cfg_attr(not(feature = "server"), allow(dead_code, unreachable_pub))]

use std::time::Duration;

use async_trait::async_trait;

use crate::error::Result;
use crate::id::{CheckpointId, CheckpointNamespace, ThreadId};
use crate::options::{Progress, PruneStrategy};

/// A store that says how large things are, and how it is doing.
#[async_trait]
pub trait Diagnostics: Send + Sync {
    /// The layout of what is stored, as its option is written.
    fn layout(&self) -> &'static str;

    /// What a thread takes in the memory of the server; `None` if the server does not report it.
    ///
    /// # Errors
    /// Any storage error.
    async fn size_of(&self, thread: &ThreadId) -> Result<Option<ThreadSize>>;

    /// What a prune would remove of a thread; nothing is removed.
    ///
    /// # Errors
    /// As [`prune`](crate::CheckpointSaver::prune).
    async fn prunable(&self, thread: &ThreadId, strategy: &PruneStrategy) -> Result<Progress>;

    /// How the servers are doing.
    async fn servers(&self) -> ServersReport;

    /// How much is stored.
    ///
    /// # Errors
    /// Any storage error.
    async fn totals(&self) -> Result<Totals>;

    /// Looks at every key and says what is wrong; nothing is changed.
    ///
    /// # Errors
    /// Any storage error.
    async fn examine(&self) -> Result<Examination>;
}

/// What a thread takes in the memory of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThreadSize {
    pub(crate) bytes: u64,
    /// Whether it is an estimate from some of the thread's checkpoints.
    pub(crate) estimated: bool,
}

/// How the servers are doing.
#[derive(Debug, Clone)]
pub struct ServersReport {
    pub(crate) servers: Vec<ServerReport>,
    /// What makes calls fail, each in a sentence.
    pub(crate) problems: Vec<String>,
    /// What does not, each in a sentence.
    pub(crate) warnings: Vec<String>,
    pub(crate) calls_in_flight: usize,
    pub(crate) calls_limit: usize,
    /// Why calls are served without search; `None` if search is used.
    pub(crate) without_search: Option<String>,
}

/// How one server is doing.
#[derive(Debug, Clone)]
pub(crate) struct ServerReport {
    /// Its address, without credentials.
    pub(crate) address: String,
    pub(crate) answered_in: Option<Duration>,
    pub(crate) is_primary: Option<bool>,
    pub(crate) replicas: Option<usize>,
    pub(crate) connections: usize,
}

/// How much is stored.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    /// `None` if there are too many checkpoints to count them.
    pub(crate) threads: Option<u64>,
    pub(crate) checkpoints: u64,
    pub(crate) writes: Option<u64>,
    /// What all checkpoints take, if they are like the sample; `None` without one.
    pub(crate) checkpoint_bytes: Option<u64>,
    pub(crate) write_bytes: Option<u64>,
    /// How many checkpoints of the sample stay how long, the shortest time first.
    pub(crate) ttl: Vec<(&'static str, u64)>,
    /// The largest checkpoints of the sample, largest first.
    pub(crate) largest: Vec<LargeCheckpoint>,
    pub(crate) indexes: Vec<IndexReport>,
    pub(crate) server_memory: Option<u64>,
    pub(crate) server_memory_limit: Option<u64>,
}

/// A large checkpoint.
#[derive(Debug, Clone)]
pub(crate) struct LargeCheckpoint {
    pub(crate) thread: ThreadId,
    pub(crate) namespace: CheckpointNamespace,
    pub(crate) checkpoint: CheckpointId,
    pub(crate) bytes: u64,
}

/// The state of an index.
#[derive(Debug, Clone)]
pub(crate) struct IndexReport {
    pub(crate) name: String,
    pub(crate) documents: u64,
    pub(crate) memory: u64,
    /// How many documents it could not read.
    pub(crate) failures: u64,
    /// Whether it still reads what was stored before it.
    pub(crate) busy: bool,
}

/// What an examination of all keys found.
#[derive(Debug, Clone)]
pub struct Examination {
    /// How many keys were looked at.
    pub(crate) keys: u64,
    /// What is wrong, and how often.
    pub(crate) counts: Vec<(String, u64)>,
    /// Some of what is wrong.
    pub(crate) findings: Vec<Wrong>,
}

/// One thing that is wrong.
#[derive(Debug, Clone)]
pub(crate) struct Wrong {
    pub(crate) key: String,
    pub(crate) what: String,
    pub(crate) detail: String,
}
