//! What [`RedisSaver`](super::RedisSaver) and the front ends ask of a layout of what is stored.
//! Each layout is one implementation, chosen once, by the builder; nothing else asks which it is.

use std::sync::Arc;

use async_trait::async_trait;

use super::doctor::{DoctorOptions, DoctorReport, IdleWrites};
use super::driver::Health;
#[cfg(feature = "cli")]
use super::index::Lacking;
use super::reseal::{ResealOptions, ResealReport};
use super::stats::{Stats, StatsOptions};
use super::store::Store;
use super::transfer::{EarlyWrites, TimedCheckpoint};
#[cfg(feature = "cli")]
use super::transfer::{PutBlob, TimedBlob};
#[cfg(feature = "server")]
use crate::blobs::{BlobPage, ChannelBlob, ExistingWrites};
#[cfg(any(feature = "cli", feature = "server"))]
use crate::checkpoint::Checkpoint;
#[cfg(feature = "server")]
use crate::checkpoint::CheckpointMetadata;
use crate::checkpoint::{CheckpointTuple, PendingWrite};
use crate::config::CheckpointConfig;
#[cfg(feature = "server")]
use crate::diagnostics::ThreadSize;
use crate::error::Result;
#[cfg(feature = "cli")]
use crate::id::RunId;
use crate::id::{CheckpointNamespace, ThreadId};
use crate::options::{Progress, PruneStrategy, TtlChoice};
use crate::saver::{CheckpointSaver, SaverStream, ThreadSummary};

/// A saver that stores in one layout.
///
/// Its calls promise what [`RedisSaver`](super::RedisSaver)'s promise, whose documents say so.
#[async_trait]
pub(crate) trait LayoutSaver: CheckpointSaver {
    fn store(&self) -> &Arc<Store>;

    async fn health(&self) -> Health;

    /// Finds out whether the servers lack a command that the layout needs, by trying it.
    async fn check_commands(&self) -> Result<()>;

    async fn summary(&self, thread_id: &ThreadId) -> Result<Option<ThreadSummary>>;

    /// The namespaces of a thread, in any order.
    async fn namespaces(&self, thread_id: &ThreadId) -> Result<Vec<CheckpointNamespace>>;

    fn oldest_first(
        &self,
        thread_id: &ThreadId,
        namespace: &CheckpointNamespace,
    ) -> SaverStream<TimedCheckpoint>;

    fn early_writes(&self, thread_id: &ThreadId) -> SaverStream<EarlyWrites>;

    async fn put_tuple(&self, tuple: CheckpointTuple, ttl: TtlChoice) -> Result<()>;

    async fn put_pending_writes(
        &self,
        config: &CheckpointConfig,
        writes: &[PendingWrite],
        ttl: TtlChoice,
    ) -> Result<()>;

    async fn prunable(&self, thread_id: &ThreadId, strategy: &PruneStrategy) -> Result<Progress>;

    async fn stats(&self, options: &StatsOptions) -> Result<Stats>;

    /// What a thread takes in the memory of the server; `None` if it is not reported.
    #[cfg(feature = "server")]
    async fn thread_size(&self, thread_id: &ThreadId) -> Result<Option<ThreadSize>>;

    /// What a thread takes in Redis' memory, in bytes, 0 if it is not there; `None` if the user may
    /// not ask.
    #[cfg(any(feature = "cli", feature = "server"))]
    async fn thread_bytes(&self, thread_id: &ThreadId) -> Result<Option<u64>>;

    /// Runs the doctor, perhaps after other runs, whose looking does not count as use.
    async fn doctor(&self, options: &DoctorOptions, idle: &mut IdleWrites) -> Result<DoctorReport>;

    async fn reseal(&self, options: &ResealOptions) -> Result<ResealReport>;

    /// Drops what the layout keeps for all threads, for prefixes that nobody else uses.
    #[cfg(feature = "cli")]
    async fn drop_indexes(&self) -> Result<()>;

    /// Whether the index of checkpoints lacks some.
    #[cfg(feature = "cli")]
    async fn search_lacks(&self) -> Result<Option<Lacking>>;

    #[cfg(feature = "cli")]
    async fn has_blobs(
        &self,
        thread_id: &ThreadId,
        namespace: &CheckpointNamespace,
    ) -> Result<bool>;

    #[cfg(feature = "cli")]
    async fn timed_blobs(
        &self,
        thread_id: &ThreadId,
        namespace: &CheckpointNamespace,
        named: &[(String, String)],
    ) -> Result<Vec<TimedBlob>>;

    #[cfg(feature = "cli")]
    async fn put_timed_blob(&self, blob: &TimedBlob, ttl: TtlChoice) -> Result<PutBlob>;

    #[cfg(feature = "cli")]
    async fn keep_blobs(
        &self,
        thread_id: &ThreadId,
        namespace: &CheckpointNamespace,
        checkpoint: &Checkpoint,
        ttl: TtlChoice,
    ) -> Result<()>;

    /// Removes what nothing of a thread refers to any more, and returns how many parts or blobs
    /// that were; `None` if the thread was written to each time that it was tried.
    #[cfg(feature = "cli")]
    async fn collect(&self, thread_id: &ThreadId) -> Result<Option<u64>>;

    /// The threads of the checkpoints that a run has made, each once for each of them.
    #[cfg(feature = "cli")]
    async fn checkpoints_of_run(&self, run: &RunId, prefix: &str) -> Result<Vec<ThreadId>>;

    #[cfg(feature = "server")]
    async fn put_with_blobs(
        &self,
        config: &CheckpointConfig,
        checkpoint: &Checkpoint,
        metadata: &CheckpointMetadata,
        blobs: &[ChannelBlob],
    ) -> Result<CheckpointConfig>;

    #[cfg(feature = "server")]
    fn blobs_of(
        &self,
        thread: &ThreadId,
        namespace: &CheckpointNamespace,
        checkpoint: &Checkpoint,
    ) -> SaverStream<BlobPage>;

    #[cfg(feature = "server")]
    async fn put_indexed_writes(
        &self,
        config: &CheckpointConfig,
        writes: &[PendingWrite],
        existing: ExistingWrites,
    ) -> Result<()>;
}
