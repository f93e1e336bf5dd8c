//! [`RedisSaver`]: a saver on Redis, in the layout that it was built with.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::config::Layout;
use super::doctor::{DoctorOptions, DoctorReport, IdleWrites};
use super::driver::Health;
use super::layout::LayoutSaver;
use super::recent::RecentThreads;
use super::reseal::{ResealOptions, ResealReport};
use super::stats::{Stats, StatsOptions};
use super::transfer::{EarlyWrites, TimedCheckpoint};
use crate::checkpoint::{
    ChannelWrite, Checkpoint, CheckpointMetadata, CheckpointTuple, DeltaChannelHistory,
    PendingWrite,
};
use crate::config::CheckpointConfig;
use crate::error::Result;
use crate::id::{CheckpointId, CheckpointNamespace, RunId, TaskId, ThreadId};
use crate::options::{
    CopyOptions, DeleteOptions, ListOptions, Progress, PruneOptions, PruneStrategy, PutOptions,
    PutWritesOptions, TtlChoice,
};
use crate::saver::{CheckpointSaver, SaverStream, ThreadSummary};

/// Stores checkpoints in Redis, in the format of Python's langgraph-checkpoint-redis 0.5.
///
/// Cloning is cheap, and clones share their connections. `put`, `put_writes` and `get_tuple` are
/// one round trip each, for any number of writes and any size of the checkpoint, with and without a
/// TTL.
///
/// In a cluster this holds for threads whose keys share a slot: those with a hash tag (`{…}`) in
/// their id, and all threads of a saver with
/// [`hash_tag_threads`](crate::redis::RedisSaverBuilder::hash_tag_threads). For others `put` and
/// `put_writes` take two round trips and `get_tuple` at most three, with one more for an
/// [`ExpectedParent`](crate::ExpectedParent) and one more if the checkpoint is being removed. A
/// reader sees all of a checkpoint and of a call's writes, or nothing. For these threads only:
///
/// - A `put` that is cut off, or fails with [`Error::Unavailable`](crate::Error::Unavailable)
///   because a node has no memory left, may be readable by its id before it is listed or the
///   newest. Repeating the call completes it.
/// - A delete or prune that is cut off may leave keys that no call reads; `delete_thread` removes
///   them.
/// - `touch`, `pin` and `unpin` change one key after the other.
///
/// With the layout [`Compact`](crate::redis::Layout::Compact) what is stored is another thing, and
/// none of this is so: every thread has its keys in one slot, and each of these calls is one
/// script. Values are stored in parts, each once in a thread. A `put` and a `put_writes` are one
/// round trip, and one more if the thread turns out to lack parts that this saver knew it to have;
/// a `get_tuple` is one if the saver has the parts, else two. A thread expires as a whole. `list`
/// over all threads, and `delete_for_runs`, take time for each thread there is.
///
/// ```no_run
/// use langgraph_checkpoint_redis::{CheckpointSaver, RedisSaver};
///
/// # async fn run() -> langgraph_checkpoint_redis::Result<()> {
/// let saver = RedisSaver::connect("redis://localhost:6379").await?;
/// saver.setup().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct RedisSaver(pub(super) Arc<dyn LayoutSaver>);

impl RedisSaver {
    pub(super) fn over(layout: impl LayoutSaver) -> Self {
        Self(Arc::new(layout))
    }

    /// The prefixes of checkpoints and of writes.
    #[must_use]
    pub fn prefixes(&self) -> (&str, &str) {
        let keyspace = &self.0.store().keyspace;
        (keyspace.checkpoint_prefix(), keyspace.write_prefix())
    }

    /// The sets that say which threads were written to last.
    pub(super) fn recent(&self) -> &RecentThreads {
        &self.0.store().recent
    }

    /// The layout of what is stored.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.0.store().settings.layout
    }

    /// The health of the servers, checked now: whether they answer, are primaries and accept
    /// writes, and otherwise why not. Writes are tried with a script that stores nothing. The check
    /// takes no longer than `command_timeout`.
    ///
    /// Problems that do not stop calls are warnings: a `maxmemory-policy` that evicts, and a server
    /// without persistence, as far as the user may run INFO and CONFIG GET.
    ///
    /// ```no_run
    /// # async fn run(saver: langgraph_checkpoint_redis::RedisSaver) {
    /// let health = saver.health().await;
    /// for problem in &health.problems {
    ///     eprintln!("{problem}");
    /// }
    /// println!("ready: {}", health.is_ready());
    /// # }
    /// ```
    pub async fn health(&self) -> Health {
        self.0.health().await
    }

    /// Stores which threads were written to last, waits for the calls in flight, for at most
    /// `command_timeout`, and closes the connections; later calls fail.
    pub async fn close(&self) {
        self.0.store().close().await;
    }

    /// The summary of a thread, or `None` if it does not exist. It is read by its id, without
    /// streaming all threads.
    ///
    /// # Errors
    /// Any storage error.
    pub async fn thread(&self, thread_id: &ThreadId) -> Result<Option<ThreadSummary>> {
        self.0.summary(thread_id).await
    }

    /// The namespaces in which a thread has checkpoints, those included that another saver wrote;
    /// none if there is no such thread.
    ///
    /// # Errors
    /// Any storage error.
    pub async fn namespaces(&self, thread_id: &ThreadId) -> Result<Vec<CheckpointNamespace>> {
        let mut namespaces = self.0.namespaces(thread_id).await?;
        namespaces.sort();
        namespaces.dedup();
        Ok(namespaces)
    }

    /// Streams the checkpoints of a namespace oldest first (checkpoint id ascending), with the
    /// time that each is kept. There is no cap, and memory is bounded by a page. What is written
    /// while the stream runs may be missed; nothing comes twice.
    #[must_use]
    pub fn oldest_first(
        &self,
        thread_id: &ThreadId,
        namespace: &CheckpointNamespace,
    ) -> SaverStream<TimedCheckpoint> {
        self.0.oldest_first(thread_id, namespace)
    }

    /// Streams the writes of a thread whose checkpoints are not there (yet), checkpoint by
    /// checkpoint.
    #[must_use]
    pub fn early_writes(&self, thread_id: &ThreadId) -> SaverStream<EarlyWrites> {
        self.0.early_writes(thread_id)
    }

    /// Stores a checkpoint with its pending writes exactly as it was read: nothing joins its
    /// metadata, and every write keeps its index. Replaces a checkpoint of the same id.
    ///
    /// The writes come first, so that a reader that finds the checkpoint finds them as well; may
    /// be repeated.
    ///
    /// # Errors
    /// As [`put`](crate::CheckpointSaver::put).
    pub async fn put_tuple(&self, tuple: CheckpointTuple, ttl: TtlChoice) -> Result<()> {
        let (thread, id) = (
            tuple.config.thread_id.clone(),
            tuple.checkpoint.id().clone(),
        );
        self.0.put_tuple(tuple, ttl).await?;
        self.recent().written_at(&thread, id.time());
        Ok(())
    }

    /// Stores writes exactly as they were read, under the indexes that they have. `config` names
    /// their checkpoint, which may not be there yet. Replaces writes of the same task and index.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::Error::InvalidInput) if the config names no checkpoint, else as
    /// [`put_writes`](crate::CheckpointSaver::put_writes).
    pub async fn put_pending_writes(
        &self,
        config: &CheckpointConfig,
        writes: &[PendingWrite],
        ttl: TtlChoice,
    ) -> Result<()> {
        self.0.put_pending_writes(config, writes, ttl).await?;
        let time = config.checkpoint_id.as_ref().and_then(CheckpointId::time);
        self.recent().written_at(&config.thread_id, time);
        Ok(())
    }

    /// What [`prune`](crate::CheckpointSaver::prune) would remove of a thread; nothing is removed.
    ///
    /// # Errors
    /// As [`prune`](crate::CheckpointSaver::prune).
    pub async fn prunable(
        &self,
        thread_id: &ThreadId,
        strategy: &PruneStrategy,
    ) -> Result<Progress> {
        self.0.prunable(thread_id, strategy).await
    }

    /// Returns how much is stored under the saver's prefixes, how large it is, and how long it
    /// stays.
    ///
    /// Numbers are the indexes'; sizes and TTLs are those of a sample. No key is changed. The
    /// keyspace is scanned until there are keys enough for the sample; where search does not work,
    /// and in the layout `compact`, all of it. There the size of a checkpoint is what its thread
    /// takes, divided by the number of its checkpoints.
    ///
    /// # Errors
    /// Any storage error.
    ///
    /// ```no_run
    /// use langgraph_checkpoint_redis::RedisSaver;
    /// use langgraph_checkpoint_redis::redis::StatsOptions;
    ///
    /// # async fn run() -> langgraph_checkpoint_redis::Result<()> {
    /// let saver = RedisSaver::connect("redis://localhost:6379").await?;
    /// let stats = saver.stats(&StatsOptions::default()).await?;
    /// let bytes = stats.checkpoint_sizes.estimated_total;
    /// println!("{} checkpoints, about {bytes} bytes", stats.checkpoints);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn stats(&self, options: &StatsOptions) -> Result<Stats> {
        self.0.stats(options).await
    }

    /// Looks at every key of the saver's prefixes, says what is wrong, and puts it right if the
    /// options say so. See [`FindingKind`](crate::redis::FindingKind) for what that is.
    ///
    /// Each repair is one atomic step that checks again what is wrong, so that it is safe while
    /// others read and write, and the call may be dropped and repeated. Memory is bounded by a
    /// page of keys and by what is found. Unlike every other call it walks the whole keyspace.
    /// What has expired leaves traces that are found as well
    /// ([`CheckpointGone`](crate::redis::FindingKind::CheckpointGone) and the like) and do no harm.
    ///
    /// # Errors
    /// [`Error::InvalidInput`](crate::Error::InvalidInput) for a TTL that cannot be one,
    /// [`Error::Config`](crate::Error::Config) on a cluster unless the saver is built with
    /// [`hash_tag_threads`](crate::redis::RedisSaverBuilder::hash_tag_threads), and any storage
    /// error; the call may be repeated.
    ///
    /// ```no_run
    /// use langgraph_checkpoint_redis::RedisSaver;
    /// use langgraph_checkpoint_redis::redis::DoctorOptions;
    ///
    /// # async fn run() -> langgraph_checkpoint_redis::Result<()> {
    /// let saver = RedisSaver::connect("redis://localhost:6379").await?;
    /// println!("{}", saver.doctor(&DoctorOptions::default()).await?);
    /// saver.doctor(&DoctorOptions::default().with_fix(true)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn doctor(&self, options: &DoctorOptions) -> Result<DoctorReport> {
        self.0.doctor(options, &mut IdleWrites::default()).await
    }

    /// Seals what is stored with the first of the saver's [encryption
    /// keys](crate::redis::RedisSaverBuilder::encryption_keys): checkpoints, pending writes and
    /// blobs that another key sealed, and with
    /// [`allow_unsealed`](crate::redis::RedisSaverBuilder::allow_unsealed) those that are not
    /// sealed. When a report [is complete](ResealReport::is_complete), the other keys may go.
    ///
    /// Before it is called, every saver that writes must have the key, as the first one.
    ///
    /// Each checkpoint and write is replaced in one atomic step, if it is what was read, so that it
    /// is safe while others read and write. What the first key has sealed is left alone: the call
    /// may be dropped and repeated, and goes on where it was. TTLs stay. Memory is bounded by a
    /// page, and by the largest checkpoint. It walks the whole keyspace unless the options name
    /// threads. A value takes its memory twice until all checkpoints of its thread are sealed.
    ///
    /// What cannot be read is left as it is, and in the [findings](ResealReport::findings).
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) if the saver has no keys, which is so in every layout but
    /// [`Compact`](crate::redis::Layout::Compact), or lacks a key that something is sealed with; and any
    /// storage error. The call may be repeated.
    ///
    /// ```no_run
    /// use langgraph_checkpoint_redis::RedisSaver;
    /// use langgraph_checkpoint_redis::redis::ResealOptions;
    ///
    /// # async fn run(saver: RedisSaver) -> langgraph_checkpoint_redis::Result<()> {
    /// let report = saver.reseal(&ResealOptions::default()).await?;
    /// println!("{report}");
    /// assert!(report.is_complete());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn reseal(&self, options: &ResealOptions) -> Result<ResealReport> {
        self.0.reseal(options).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl CheckpointSaver for RedisSaver {
    async fn setup(&self) -> Result<()> {
        self.0.setup().await
    }

    async fn put(
        &self,
        config: &CheckpointConfig,
        checkpoint: &Checkpoint,
        metadata: &CheckpointMetadata,
        options: &PutOptions,
    ) -> Result<CheckpointConfig> {
        let stored = self.0.put(config, checkpoint, metadata, options).await;
        self.recent().written_if(&config.thread_id, &stored);
        stored
    }

    async fn put_writes(
        &self,
        config: &CheckpointConfig,
        writes: &[ChannelWrite],
        task_id: &TaskId,
        options: &PutWritesOptions,
    ) -> Result<()> {
        let stored = self.0.put_writes(config, writes, task_id, options).await;
        if !writes.is_empty() {
            self.recent().written_if(&config.thread_id, &stored);
        }
        stored
    }

    async fn get_tuple(&self, config: &CheckpointConfig) -> Result<Option<CheckpointTuple>> {
        self.0.get_tuple(config).await
    }

    fn list(
        &self,
        config: Option<&CheckpointConfig>,
        options: ListOptions,
    ) -> SaverStream<CheckpointTuple> {
        self.0.list(config, options)
    }

    fn list_within(&self, prefix: &str, options: ListOptions) -> SaverStream<CheckpointTuple> {
        self.0.list_within(prefix, options)
    }

    async fn delete_thread(&self, thread_id: &ThreadId, options: &DeleteOptions) -> Result<()> {
        let deleted = self.0.delete_thread(thread_id, options).await;
        self.recent().removed(thread_id);
        deleted
    }

    async fn delete_for_runs(&self, run_ids: &[RunId]) -> Result<()> {
        self.0.delete_for_runs(run_ids).await
    }

    async fn delete_for_runs_within(&self, run_ids: &[RunId], prefix: &str) -> Result<()> {
        self.0.delete_for_runs_within(run_ids, prefix).await
    }

    async fn copy_thread(
        &self,
        source: &ThreadId,
        target: &ThreadId,
        options: &CopyOptions,
    ) -> Result<()> {
        let copied = self.0.copy_thread(source, target, options).await;
        self.recent().written_if(target, &copied);
        copied
    }

    async fn prune(&self, thread_ids: &[ThreadId], options: &PruneOptions) -> Result<()> {
        let pruned = self.0.prune(thread_ids, options).await;
        if options.strategy == PruneStrategy::Delete {
            for thread in thread_ids {
                self.recent().removed(thread);
            }
        }
        pruned
    }

    async fn delta_channel_history(
        &self,
        config: &CheckpointConfig,
        channels: &[String],
    ) -> Result<BTreeMap<String, DeltaChannelHistory>> {
        self.0.delta_channel_history(config, channels).await
    }

    fn threads(&self, prefix: &str) -> SaverStream<ThreadSummary> {
        self.0.threads(prefix)
    }

    async fn touch(&self, thread_id: &ThreadId) -> Result<bool> {
        self.0.touch(thread_id).await
    }

    async fn pin(&self, thread_id: &ThreadId) -> Result<bool> {
        self.0.pin(thread_id).await
    }

    async fn unpin(&self, thread_id: &ThreadId) -> Result<bool> {
        self.0.unpin(thread_id).await
    }
}
