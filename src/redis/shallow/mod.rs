//! Shallow mode: only the newest checkpoint of each thread and namespace is kept, in the format
//! of the Python package's shallow savers.

mod list;
mod maintain;
mod place;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use list::Shallow;

use crate::checkpoint::{
    ChannelWrite, Checkpoint, CheckpointMetadata, CheckpointTuple, DeltaChannelHistory,
};
use crate::config::CheckpointConfig;
use crate::error::Result;
use crate::id::{RunId, TaskId, ThreadId};
use crate::options::{
    CopyOptions, DeleteOptions, ListOptions, PruneOptions, PruneStrategy, PutOptions,
    PutWritesOptions,
};
use crate::redis::driver::Health;
use crate::redis::scripts::TtlVerb;
use crate::redis::store::Store;
use crate::redis::{index, list as lists, setup, threads};
use crate::saver::{CheckpointSaver, SaverStream, ThreadSummary};

/// Keeps only the newest checkpoint of each thread and namespace in Redis, in the format of the
/// `AsyncShallowRedisSaver` of Python's langgraph-checkpoint-redis 0.5. Threads of that package's
/// blocking `ShallowRedisSaver`, which uses other names, are read, and taken over by the first put.
///
/// `get_tuple` gives the newest checkpoint whichever one the config names, as there is no other to
/// go on from. Putting a checkpoint replaces the one that the config names as its parent: if
/// another is there by now, such as that of a run beside this one, the put is
/// [`Error::Conflict`](crate::Error::Conflict) and changes nothing. A config without a checkpoint
/// id asks for no comparison; [`ExpectedParent::None`](crate::ExpectedParent::None) does.
///
/// Pending writes, open interrupts among them, stay until they are consumed: putting a checkpoint
/// removes those of older ones in the same step. An older checkpoint than the one that is there
/// changes nothing, nor do its writes. There are no parents, so delta channels, which need their
/// ancestors, are refused: keep such threads in a [`RedisSaver`](crate::RedisSaver). Every `put`,
/// `put_writes` and `get_tuple` is one round trip. The TTL scope `thread` is refused: each
/// namespace is kept by itself.
///
/// In a cluster all keys of a thread must be in one slot: give its id a hash tag (`{…}`), or build
/// the saver with [`hash_tag_threads`](crate::redis::RedisSaverBuilder::hash_tag_threads). Calls
/// for other threads end in [`Error::InvalidInput`](crate::Error::InvalidInput) before anything is
/// written, and a list of all threads leaves them out, with a warning.
///
/// Give it prefixes of its own: a [`RedisSaver`](crate::RedisSaver) under the same ones does not
/// see what it keeps.
///
/// ```no_run
/// use langgraph_checkpoint_redis::{CheckpointSaver, RedisSaver};
///
/// # async fn run() -> langgraph_checkpoint_redis::Result<()> {
/// let saver = RedisSaver::builder()
///     .url("redis://localhost:6379")
///     .prefix("newest")
///     .build_shallow()
///     .await?;
/// saver.setup().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ShallowRedisSaver(Arc<Store>);

impl ShallowRedisSaver {
    pub(super) fn over(store: Arc<Store>) -> Self {
        Self(store)
    }

    /// How the servers are doing; as [`RedisSaver::health`](crate::RedisSaver::health).
    pub async fn health(&self) -> Health {
        index::health(&self.0).await
    }

    /// Stores which threads were written to last, waits for the calls in flight, for as long as a
    /// command may take, and closes the connections; later calls fail.
    pub async fn close(&self) {
        self.0.close().await;
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl CheckpointSaver for ShallowRedisSaver {
    async fn setup(&self) -> Result<()> {
        setup::setup(&self.0).await
    }

    async fn put(
        &self,
        config: &CheckpointConfig,
        checkpoint: &Checkpoint,
        metadata: &CheckpointMetadata,
        options: &PutOptions,
    ) -> Result<CheckpointConfig> {
        let stored = place::put(&self.0, config, checkpoint, metadata, options).await;
        self.0.recent.written_if(&config.thread_id, &stored);
        stored
    }

    async fn put_writes(
        &self,
        config: &CheckpointConfig,
        writes: &[ChannelWrite],
        task_id: &TaskId,
        options: &PutWritesOptions,
    ) -> Result<()> {
        let stored = place::put_writes(&self.0, config, writes, task_id, options).await;
        if !writes.is_empty() {
            self.0.recent.written_if(&config.thread_id, &stored);
        }
        stored
    }

    async fn get_tuple(&self, config: &CheckpointConfig) -> Result<Option<CheckpointTuple>> {
        place::get_tuple(&self.0, config).await
    }

    fn list(
        &self,
        config: Option<&CheckpointConfig>,
        options: ListOptions,
    ) -> SaverStream<CheckpointTuple> {
        lists::list::<Shallow>(Arc::clone(&self.0), config, options)
    }

    fn list_within(&self, prefix: &str, options: ListOptions) -> SaverStream<CheckpointTuple> {
        lists::list_within::<Shallow>(Arc::clone(&self.0), prefix, options)
    }

    async fn delete_thread(&self, thread_id: &ThreadId, options: &DeleteOptions) -> Result<()> {
        let deleted = maintain::delete_thread(&self.0, thread_id, options).await;
        self.0.recent.removed(thread_id);
        deleted
    }

    async fn delete_for_runs(&self, run_ids: &[RunId]) -> Result<()> {
        maintain::delete_for_runs(&self.0, run_ids, "").await
    }

    async fn delete_for_runs_within(&self, run_ids: &[RunId], prefix: &str) -> Result<()> {
        maintain::delete_for_runs(&self.0, run_ids, prefix).await
    }

    async fn copy_thread(
        &self,
        source: &ThreadId,
        target: &ThreadId,
        options: &CopyOptions,
    ) -> Result<()> {
        let copied = maintain::copy_thread(&self.0, source, target, options).await;
        self.0.recent.written_if(target, &copied);
        copied
    }

    async fn prune(&self, thread_ids: &[ThreadId], options: &PruneOptions) -> Result<()> {
        options.strategy.check()?;
        // Every other strategy keeps the newest checkpoint, and there is none else.
        if options.strategy == PruneStrategy::Delete {
            let mut delete = DeleteOptions::default();
            delete.progress.clone_from(&options.progress);
            for thread in thread_ids {
                maintain::delete_thread(&self.0, thread, &delete).await?;
                self.0.recent.removed(thread);
            }
        }
        Ok(())
    }

    async fn delta_channel_history(
        &self,
        _config: &CheckpointConfig,
        channels: &[String],
    ) -> Result<BTreeMap<String, DeltaChannelHistory>> {
        // There are no ancestors.
        let nothing = |channel: &String| (channel.clone(), DeltaChannelHistory::default());
        Ok(channels.iter().map(nothing).collect())
    }

    fn threads(&self, prefix: &str) -> SaverStream<ThreadSummary> {
        threads::threads::<Shallow>(Arc::clone(&self.0), prefix)
    }

    async fn touch(&self, thread_id: &ThreadId) -> Result<bool> {
        maintain::change_ttl(&self.0, thread_id, TtlVerb::Touch).await
    }

    async fn pin(&self, thread_id: &ThreadId) -> Result<bool> {
        maintain::change_ttl(&self.0, thread_id, TtlVerb::Pin).await
    }

    async fn unpin(&self, thread_id: &ThreadId) -> Result<bool> {
        maintain::change_ttl(&self.0, thread_id, TtlVerb::Unpin).await
    }
}
