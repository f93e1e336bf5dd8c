//! The checkpoint saver trait.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;

use crate::checkpoint::{
    ChannelWrite, Checkpoint, CheckpointMetadata, CheckpointTuple, DeltaChannelHistory,
};
use crate::config::CheckpointConfig;
use crate::error::Result;
use crate::id::{CheckpointId, RunId, TaskId, ThreadId};
use crate::options::{
    CopyOptions, DeleteOptions, ListOptions, PruneOptions, PutOptions, PutWritesOptions,
};

/// A stream of results. It owns what it needs, so it may outlive the borrow of the saver.
pub type SaverStream<T> = BoxStream<'static, Result<T>>;

/// Stores the checkpoints and pending writes of threads, with the semantics of LangGraph's
/// `BaseCheckpointSaver`.
///
/// Every method guarantees:
///
/// - **Exact ids.** Ids of threads, namespaces and checkpoints are compared byte for byte. A read
///   returns what was asked for, or nothing.
/// - **Atomic writes.** A reader sees all of a write or none of it. A call whose future is dropped
///   has either happened or not.
/// - **Idempotent writes.** Every write is idempotent: repeating it changes nothing.
/// - **Absence is not an error.** Reading or deleting what does not exist succeeds.
///
/// For threads whose keys are on several nodes of a cluster, `RedisSaver` guarantees less; its
/// documentation lists the differences.
///
/// Savers implement this trait; [`CheckpointSaverExt`](crate::CheckpointSaverExt) adds methods for
/// callers.
/// It is object-safe: `Arc<dyn CheckpointSaver>` is a saver as well.
///
/// ```
/// use langgraph_checkpoint_redis::{
///     Checkpoint, CheckpointConfig, CheckpointMetadata, CheckpointSaver, CheckpointSaverExt,
///     MemorySaver,
/// };
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> langgraph_checkpoint_redis::Result<()> {
/// let saver = MemorySaver::new();
/// let thread = CheckpointConfig::new("thread-1")?;
/// let checkpoint = Checkpoint::builder().channel("n", 1, &1)?.build()?;
/// let stored = saver.put(&thread, &checkpoint, &CheckpointMetadata::new(), &Default::default()).await?;
/// let newest = saver.get_tuple(&thread).await?.expect("a checkpoint was put");
/// assert_eq!(newest.config, stored);
/// assert_eq!(newest.checkpoint, checkpoint);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait CheckpointSaver: Debug + Send + Sync + 'static {
    /// Prepares the storage. Call it once before other calls; idempotent.
    ///
    /// # Errors
    /// Any storage error, among them that the server lacks a required module.
    async fn setup(&self) -> Result<()>;

    /// Stores a checkpoint and makes it the newest of its namespace if its id is the greatest.
    ///
    /// `config` names the thread and namespace; its `checkpoint_id`, if it has one, is the
    /// parent. The config's metadata is merged into the checkpoint's. Returns the config of
    /// the stored checkpoint. Atomic and idempotent.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::Error::InvalidInput) or [`TooLarge`](crate::Error::TooLarge) if the
    /// checkpoint cannot be stored, [`Conflict`](crate::Error::Conflict) if the expected parent is
    /// not the newest checkpoint, and any storage error. Nothing was written, unless the error
    /// [is retryable](crate::Error::is_retryable): then the checkpoint may have been stored.
    async fn put(
        &self,
        config: &CheckpointConfig,
        checkpoint: &Checkpoint,
        metadata: &CheckpointMetadata,
        options: &PutOptions,
    ) -> Result<CheckpointConfig>;

    /// Stores the pending writes of a task. Atomic and idempotent.
    ///
    /// `config` names the checkpoint that the task runs on, which may not exist yet. An existing
    /// regular write is kept; if every channel of the call is special (`__error__`,
    /// `__scheduled__`, `__interrupt__`, `__resume__`), existing writes are replaced.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::Error::InvalidInput) if the config names no checkpoint, else as
    /// [`put`](Self::put).
    async fn put_writes(
        &self,
        config: &CheckpointConfig,
        writes: &[ChannelWrite],
        task_id: &TaskId,
        options: &PutWritesOptions,
    ) -> Result<()>;

    /// Reads the checkpoint that `config` names, or the newest of its namespace, with its
    /// pending writes in the order of (task path, task id, idx).
    ///
    /// # Errors
    /// [`Corrupt`](crate::Error::Corrupt) if a stored document cannot be read, and any
    /// storage error.
    async fn get_tuple(&self, config: &CheckpointConfig) -> Result<Option<CheckpointTuple>>;

    /// Streams checkpoints with their pending writes, newest first (checkpoint id descending).
    ///
    /// Without a config, lists all threads; without a namespace, all namespaces of the thread; with
    /// a checkpoint id, that checkpoint only. There is no cap, and memory is bounded by a page.
    /// Checkpoints that are put while the stream runs may be missed; none is listed twice.
    fn list(
        &self,
        config: Option<&CheckpointConfig>,
        options: ListOptions,
    ) -> SaverStream<CheckpointTuple>;

    /// Streams the checkpoints of all threads whose ids start with `prefix`, as
    /// [`list`](Self::list) without a config does those of all threads. Checkpoints of other
    /// threads are not read.
    fn list_within(&self, prefix: &str, options: ListOptions) -> SaverStream<CheckpointTuple>;

    /// Deletes everything that a thread holds when the call begins: every namespace, checkpoint,
    /// pending write and index entry, whichever saver wrote it. A checkpoint that is put while the
    /// call runs is either deleted or kept as a whole; one that is put after it returned is kept.
    /// The time is proportional to what the thread held, even while others write. A dropped call
    /// stops at the next page. Idempotent.
    ///
    /// # Errors
    /// Any storage error; part of the thread may remain.
    async fn delete_thread(&self, thread_id: &ThreadId, options: &DeleteOptions) -> Result<()>;

    /// Deletes the checkpoints of runs, with their pending writes, in every thread. Idempotent.
    ///
    /// A checkpoint belongs to the run that its metadata's `run_id` names.
    ///
    /// # Errors
    /// Any storage error; some of the checkpoints may remain.
    async fn delete_for_runs(&self, run_ids: &[RunId]) -> Result<()>;

    /// Deletes the checkpoints of runs, as [`delete_for_runs`](Self::delete_for_runs) does, in the
    /// threads whose ids start with `prefix`. Idempotent.
    ///
    /// # Errors
    /// As [`delete_for_runs`](Self::delete_for_runs).
    async fn delete_for_runs_within(&self, run_ids: &[RunId], prefix: &str) -> Result<()>;

    /// Copies a thread with its history and pending writes. Copying a thread that does not exist
    /// does nothing. The TTL of the copy is that of the options, by default the saver's, not the
    /// source's. Idempotent.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::Error::InvalidInput) if source and target are the same,
    /// [`Conflict`](crate::Error::Conflict) if the target exists and the options forbid that,
    /// and any storage error; part of the copy may exist.
    async fn copy_thread(
        &self,
        source: &ThreadId,
        target: &ThreadId,
        options: &CopyOptions,
    ) -> Result<()>;

    /// Removes old checkpoints of threads, as [`PruneStrategy`](crate::PruneStrategy) describes,
    /// but none that a kept checkpoint needs: its ancestors back to the snapshot of every delta
    /// channel are kept, with their pending writes. Idempotent.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::Error::InvalidInput) for an invalid strategy, and any storage
    /// error.
    async fn prune(&self, thread_ids: &[ThreadId], options: &PruneOptions) -> Result<()>;

    /// For each channel, the writes along the ancestors of the checkpoint that `config` names
    /// (or the newest), oldest first, back to the nearest ancestor with a value, and that value;
    /// as LangGraph's `get_delta_channel_history`.
    ///
    /// # Errors
    /// As [`get_tuple`](Self::get_tuple).
    async fn delta_channel_history(
        &self,
        config: &CheckpointConfig,
        channels: &[String],
    ) -> Result<BTreeMap<String, DeltaChannelHistory>>;

    /// Streams the threads whose ids start with `prefix`, each once: those first that were written
    /// to last, by `put`, `put_writes` or as the target of `copy_thread`. A saver that does not
    /// know when a thread was written to gives it after all others.
    fn threads(&self, prefix: &str) -> SaverStream<ThreadSummary>;

    /// Resets the TTL of every key of a thread to the saver's; a pinned thread is left alone.
    /// Returns `false` if the thread does not exist or the saver has no TTL. Idempotent.
    ///
    /// # Errors
    /// Any storage error.
    async fn touch(&self, thread_id: &ThreadId) -> Result<bool>;

    /// Removes the TTL of every key of a thread, until [`unpin`](Self::unpin). Returns `false` if
    /// the thread does not exist. Idempotent.
    ///
    /// # Errors
    /// Any storage error.
    async fn pin(&self, thread_id: &ThreadId) -> Result<bool>;

    /// Sets the TTL of every key of a thread to the saver's, also if the thread is pinned. Returns
    /// `false` if the thread does not exist or the saver has no TTL. Idempotent.
    ///
    /// # Errors
    /// Any storage error.
    async fn unpin(&self, thread_id: &ThreadId) -> Result<bool>;
}

/// A thread, with what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThreadSummary {
    /// The thread.
    pub thread_id: ThreadId,
    /// The number of its checkpoints, in all namespaces.
    pub checkpoints: u64,
    /// The newest checkpoint of the root namespace, or of any if the root has none.
    pub newest: Option<CheckpointId>,
    /// The remaining TTL of the newest checkpoint; `None` if it never expires.
    pub ttl: Option<Duration>,
}

impl ThreadSummary {
    /// The summary of a thread.
    #[must_use]
    pub fn new(
        thread_id: ThreadId,
        checkpoints: u64,
        newest: Option<CheckpointId>,
        ttl: Option<Duration>,
    ) -> Self {
        Self {
            thread_id,
            checkpoints,
            newest,
            ttl,
        }
    }
}

macro_rules! forward {
    ($pointer:ident) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<S: CheckpointSaver + ?Sized> CheckpointSaver for $pointer<S> {
            async fn setup(&self) -> Result<()> {
                (**self).setup().await
            }

            async fn put(
                &self,
                config: &CheckpointConfig,
                checkpoint: &Checkpoint,
                metadata: &CheckpointMetadata,
                options: &PutOptions,
            ) -> Result<CheckpointConfig> {
                (**self).put(config, checkpoint, metadata, options).await
            }

            async fn put_writes(
                &self,
                config: &CheckpointConfig,
                writes: &[ChannelWrite],
                task_id: &TaskId,
                options: &PutWritesOptions,
            ) -> Result<()> {
                (**self).put_writes(config, writes, task_id, options).await
            }

            async fn get_tuple(
                &self,
                config: &CheckpointConfig,
            ) -> Result<Option<CheckpointTuple>> {
                (**self).get_tuple(config).await
            }

            fn list(
                &self,
                config: Option<&CheckpointConfig>,
                options: ListOptions,
            ) -> SaverStream<CheckpointTuple> {
                (**self).list(config, options)
            }

            fn list_within(
                &self,
                prefix: &str,
                options: ListOptions,
            ) -> SaverStream<CheckpointTuple> {
                (**self).list_within(prefix, options)
            }

            async fn delete_thread(
                &self,
                thread_id: &ThreadId,
                options: &DeleteOptions,
            ) -> Result<()> {
                (**self).delete_thread(thread_id, options).await
            }

            async fn delete_for_runs(&self, run_ids: &[RunId]) -> Result<()> {
                (**self).delete_for_runs(run_ids).await
            }

            async fn delete_for_runs_within(&self, run_ids: &[RunId], prefix: &str) -> Result<()> {
                (**self).delete_for_runs_within(run_ids, prefix).await
            }

            async fn copy_thread(
                &self,
                source: &ThreadId,
                target: &ThreadId,
                options: &CopyOptions,
            ) -> Result<()> {
                (**self).copy_thread(source, target, options).await
            }

            async fn prune(&self, thread_ids: &[ThreadId], options: &PruneOptions) -> Result<()> {
                (**self).prune(thread_ids, options).await
            }

            async fn delta_channel_history(
                &self,
                config: &CheckpointConfig,
                channels: &[String],
            ) -> Result<BTreeMap<String, DeltaChannelHistory>> {
                (**self).delta_channel_history(config, channels).await
            }

            fn threads(&self, prefix: &str) -> SaverStream<ThreadSummary> {
                (**self).threads(prefix)
            }

            async fn touch(&self, thread_id: &ThreadId) -> Result<bool> {
                (**self).touch(thread_id).await
            }

            async fn pin(&self, thread_id: &ThreadId) -> Result<bool> {
                (**self).pin(thread_id).await
            }

            async fn unpin(&self, thread_id: &ThreadId) -> Result<bool> {
                (**self).unpin(thread_id).await
            }
        }
    };
}

forward!(Arc);
forward!(Box);
