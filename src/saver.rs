//! The interface: what a checkpoint saver is asked and what it promises.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{BoxStream, TryStreamExt};

use crate::checkpoint::{
    ChannelWrite, Checkpoint, CheckpointMetadata, CheckpointTuple, DeltaChannelHistory,
};
use crate::config::CheckpointConfig;
use crate::error::Result;
use crate::id::{CheckpointId, RunId, TaskId, ThreadId};
use crate::options::{
    CopyOptions, DeleteOptions, ListOptions, PruneOptions, PutOptions, PutWritesOptions,
};

/// A stream of results that owns what it needs, so that it outlives the saver's borrow.
pub type SaverStream<T> = BoxStream<'static, Result<T>>;

/// Keeps the checkpoints and pending writes of threads, with the meaning of LangGraph's
/// `BaseCheckpointSaver`.
///
/// Every method promises:
///
/// - **Exact ids.** Threads, namespaces and checkpoints are compared byte for byte. What is read
///   is what was asked for, or nothing.
/// - **Atomic writes.** A write is seen whole or not at all. A call that is dropped midway has
///   either happened or not.
/// - **Idempotent writes.** Every write may run twice; the second run changes nothing.
/// - **Absence is no error.** Reading or deleting what is not there succeeds.
///
/// `RedisSaver` promises less for threads whose keys are on several nodes of a cluster, and says on
/// its page what.
///
/// This trait is what savers implement; [`CheckpointSaverExt`] adds what callers like to have.
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
    /// Prepares the store; to be called once before other calls, and harmless when repeated.
    ///
    /// # Errors
    /// If the store cannot be reached or lacks what the saver needs.
    async fn setup(&self) -> Result<()>;

    /// Stores a checkpoint and makes it the newest of its namespace if its id is the greatest.
    ///
    /// `config` names the thread and namespace; its `checkpoint_id`, if it has one, is the
    /// parent. The metadata is joined by the config's. Returns the config that names the
    /// checkpoint. Atomic; putting the same checkpoint again changes nothing.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::Error::InvalidInput) or [`TooLarge`](crate::Error::TooLarge) for
    /// what cannot be stored, [`Conflict`](crate::Error::Conflict) if the expected parent is not
    /// the newest, and what the store may say. Nothing was written then, unless the error
    /// [is retryable](crate::Error::is_retryable): then it may have been.
    async fn put(
        &self,
        config: &CheckpointConfig,
        checkpoint: &Checkpoint,
        metadata: &CheckpointMetadata,
        options: &PutOptions,
    ) -> Result<CheckpointConfig>;

    /// Stores the writes of a task, all of them together.
    ///
    /// `config` names the checkpoint that the task works on, which may not be there yet. A
    /// regular write that is there already stays as it was; if every channel of the call is
    /// special (`__error__`, `__scheduled__`, `__interrupt__`, `__resume__`) it is replaced.
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
    /// [`Corrupt`](crate::Error::Corrupt) if a stored document cannot be read, and what the
    /// store may say.
    async fn get_tuple(&self, config: &CheckpointConfig) -> Result<Option<CheckpointTuple>>;

    /// Streams checkpoints with their pending writes, newest first (checkpoint id descending).
    ///
    /// Without a config every thread is listed; without a namespace every one of the thread;
    /// with a checkpoint only that one. There is no cap, and memory is bounded by a page. What
    /// is written while the stream runs may be missed; nothing is listed twice.
    fn list(
        &self,
        config: Option<&CheckpointConfig>,
        options: ListOptions,
    ) -> SaverStream<CheckpointTuple>;

    /// Deletes all of a thread that is there when the call begins: every namespace, checkpoint,
    /// write and index entry, whoever wrote it. What is put while it runs may go or stay as a
    /// whole; what is put after it has returned stays. It takes time in proportion to what is
    /// there, also while others write, stops where it is dropped, and may be repeated.
    ///
    /// # Errors
    /// What the store may say; part of the thread may be left then.
    async fn delete_thread(&self, thread_id: &ThreadId, options: &DeleteOptions) -> Result<()>;

    /// Deletes the checkpoints that runs made, with their writes, in every thread.
    ///
    /// A checkpoint belongs to the run that its metadata's `run_id` names.
    ///
    /// # Errors
    /// What the store may say; part may be left then, and the call may be repeated.
    async fn delete_for_runs(&self, run_ids: &[RunId]) -> Result<()>;

    /// Copies all of a thread, its history and pending writes included. A source that is not
    /// there copies nothing. The copy is kept as the options say, by default as long as anything
    /// that this saver writes, and not as long as the source.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::Error::InvalidInput) if source and target are the same,
    /// [`Conflict`](crate::Error::Conflict) if the target exists and the options forbid that,
    /// and what the store may say; the call may be repeated.
    async fn copy_thread(
        &self,
        source: &ThreadId,
        target: &ThreadId,
        options: &CopyOptions,
    ) -> Result<()>;

    /// Removes old checkpoints of threads, never one that a kept checkpoint needs: the ancestors
    /// back to the snapshot of every delta channel stay, with their writes. What a
    /// [`PruneStrategy`](crate::PruneStrategy) keeps is said there.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::Error::InvalidInput) for a strategy that cannot be, and what the
    /// store may say; the call may be repeated.
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

    /// Streams the threads there are, in no order, each once; `prefix` is the start of the ids.
    fn threads(&self, prefix: &str) -> SaverStream<ThreadSummary>;

    /// Gives every key of a thread the saver's TTL anew, pinned ones left out. `false` if there
    /// is no such thread, or the saver has no TTL.
    ///
    /// # Errors
    /// What the store may say; the call may be repeated.
    async fn touch(&self, thread_id: &ThreadId) -> Result<bool>;

    /// Takes the TTL from every key of a thread, until [`unpin`](Self::unpin). `false` if there
    /// is no such thread.
    ///
    /// # Errors
    /// What the store may say; the call may be repeated.
    async fn pin(&self, thread_id: &ThreadId) -> Result<bool>;

    /// Gives every key of a thread the saver's TTL, pinned ones too. `false` if there is no such
    /// thread, or the saver has no TTL.
    ///
    /// # Errors
    /// What the store may say; the call may be repeated.
    async fn unpin(&self, thread_id: &ThreadId) -> Result<bool>;
}

/// What a thread holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThreadSummary {
    /// The thread.
    pub thread_id: ThreadId,
    /// How many checkpoints it has, in all namespaces.
    pub checkpoints: u64,
    /// The newest checkpoint of the root namespace, else of any.
    pub newest: Option<CheckpointId>,
    /// How long the newest checkpoint is kept from now on; `None` for ever.
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

/// Conveniences on every saver.
#[async_trait]
pub trait CheckpointSaverExt: CheckpointSaver {
    /// The checkpoint that `config` names, or the newest, without what belongs to it.
    ///
    /// # Errors
    /// As [`CheckpointSaver::get_tuple`].
    async fn get(&self, config: &CheckpointConfig) -> Result<Option<Checkpoint>> {
        Ok(self.get_tuple(config).await?.map(|tuple| tuple.checkpoint))
    }

    /// What a thread holds and how long it is kept, or `None` if there is no such thread.
    ///
    /// # Errors
    /// What the store may say.
    ///
    /// ```
    /// use langgraph_checkpoint_redis::{CheckpointSaverExt, MemorySaver, ThreadId};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> langgraph_checkpoint_redis::Result<()> {
    /// let saver = MemorySaver::new();
    /// assert_eq!(saver.thread(&ThreadId::new("nobody's")?).await?, None);
    /// # Ok(())
    /// # }
    /// ```
    async fn thread(&self, thread_id: &ThreadId) -> Result<Option<ThreadSummary>> {
        let mut threads = self.threads(thread_id.as_str());
        while let Some(summary) = threads.try_next().await? {
            if summary.thread_id == *thread_id {
                return Ok(Some(summary));
            }
        }
        Ok(None)
    }

    /// The checkpoints of a config as a list; mind that a thread may have many.
    ///
    /// # Errors
    /// As [`CheckpointSaver::get_tuple`].
    async fn list_all(
        &self,
        config: Option<&CheckpointConfig>,
        options: ListOptions,
    ) -> Result<Vec<CheckpointTuple>> {
        self.list(config, options).try_collect().await
    }
}

impl<S: CheckpointSaver + ?Sized> CheckpointSaverExt for S {}

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
