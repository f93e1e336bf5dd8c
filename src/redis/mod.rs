//! The Redis saver.
//!
//! One module a job: only `keys` names a key, only `scripts` runs Lua, only `index` speaks
//! `FT.*`, only `driver` knows a Redis client.

mod blob;
mod builder;
#[cfg(feature = "cli")]
mod carry;
mod config;
mod credentials;
mod delete;
mod doctor;
pub(crate) mod document;
mod driver;
mod error;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod index;
mod keys;
mod leftovers;
mod list;
mod maintain;
mod plain;
mod read;
mod scan;
mod scripts;
#[cfg(feature = "server")]
mod service;
mod shallow;
mod slots;
mod staged;
mod stats;
mod store;
mod threads;
mod transfer;
mod url;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

#[cfg(feature = "server")]
pub(crate) use blob::BlobPage;
#[cfg(any(feature = "cli", feature = "server"))]
pub(crate) use blob::ChannelBlob;
pub use builder::RedisSaverBuilder;
#[cfg(feature = "cli")]
pub(crate) use carry::{PutBlob, TimedBlob, newly_named};
#[cfg(feature = "cli")]
pub(crate) use config::duration;
pub use config::{ConfigKey, SearchMode};
pub use credentials::{Credentials, CredentialsProvider};
#[cfg(feature = "cli")]
pub(crate) use doctor::rest::Rested;
pub use doctor::{DoctorOptions, DoctorReport, Finding, FindingKind};
pub use driver::{Health, HealthProblem, ServerHealth};
pub use shallow::ShallowRedisSaver;
pub use stats::{IndexStats, LargeCheckpoint, Sizes, Stats, StatsOptions, TtlHistogram};
pub use transfer::{EarlyWrites, TimedCheckpoint};

use crate::checkpoint::{
    ChannelWrite, Checkpoint, CheckpointMetadata, CheckpointTuple, DeltaChannelHistory,
};
use crate::config::CheckpointConfig;
use crate::error::Result;
use crate::id::{RunId, TaskId, ThreadId};
use crate::options::{
    CopyOptions, DeleteOptions, ListOptions, PruneOptions, PutOptions, PutWritesOptions,
};
use crate::saver::{CheckpointSaver, SaverStream, ThreadSummary};
use maintain::TtlVerb;
use store::Store;

/// Keeps checkpoints in Redis, in the format of Python's langgraph-checkpoint-redis 0.5.
///
/// Cloning is cheap, and clones share their connections. Every `put`, `put_writes` and
/// `get_tuple` is one round trip, whatever the number of writes, the size of the checkpoint, and
/// whether there is a TTL.
///
/// In a cluster that is so for threads whose keys share a slot: those with a hash tag (`{…}`) in
/// their id, and all threads of a saver with
/// [`hash_tag_threads`](RedisSaverBuilder::hash_tag_threads). For others
/// `put` and `put_writes` take two round trips and `get_tuple` at most three, with one
/// more for an [`ExpectedParent`](crate::ExpectedParent) and one where what is read is being removed.
/// A reader sees all of a checkpoint and of a call's writes, or nothing. But, for these threads only:
///
/// - A `put` that ends midway, or ends in [`Error::Unavailable`](crate::Error::Unavailable) because a
///   node has no memory left, may be readable by its id before it is listed or the newest. Making the
///   call again completes it.
/// - A delete or prune that ends midway may leave keys that no call reads; `delete_thread` removes
///   them.
/// - `touch`, `pin` and `unpin` change one key after the other.
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
pub struct RedisSaver(Arc<Store>);

impl RedisSaver {
    /// A saver on the server that a connection string names, with the default settings.
    ///
    /// # Errors
    /// As [`RedisSaverBuilder::build`].
    pub async fn connect(url: impl Into<String>) -> Result<Self> {
        Self::builder().url(url).build().await
    }

    /// A saver as the environment says: `REDIS_URL`, and `LANGGRAPH_REDIS_` with the name of a
    /// [`ConfigKey`] in capitals.
    ///
    /// # Errors
    /// As [`RedisSaverBuilder::build`].
    pub async fn from_env() -> Result<Self> {
        let mut builder = Self::builder();
        for key in ConfigKey::ALL {
            if let Ok(value) = std::env::var(key.variable()) {
                builder = builder.set(key, value);
            }
        }
        builder.build().await
    }

    /// A saver on connected fred clients of the caller's own, with the default settings.
    ///
    /// # Errors
    /// As [`RedisSaverBuilder::build`].
    pub async fn from_client(client: fred::clients::Pool) -> Result<Self> {
        Self::builder().client(client).build().await
    }

    /// A builder, for everything that can be set.
    pub fn builder() -> RedisSaverBuilder {
        RedisSaverBuilder::default()
    }

    fn over(store: Arc<Store>) -> Self {
        Self(store)
    }

    /// The prefixes of checkpoints and of writes.
    #[must_use]
    pub fn prefixes(&self) -> (&str, &str) {
        let keyspace = &self.0.keyspace;
        (keyspace.checkpoint_prefix(), keyspace.write_prefix())
    }

    /// Drops the indexes, for one whose prefixes nobody else uses.
    #[cfg(feature = "cli")]
    pub(crate) async fn drop_indexes(&self) -> Result<()> {
        let keyspace = &self.0.keyspace;
        for index in [keyspace.checkpoint_prefix(), keyspace.write_prefix()] {
            self.0.drop_index(index).await?;
        }
        Ok(())
    }

    /// Whether the index of checkpoints lacks some.
    #[cfg(feature = "cli")]
    pub(crate) async fn search_lacks(&self) -> Result<Option<index::Lacking>> {
        self.0
            .index_lacks(self.0.keyspace.checkpoint_prefix())
            .await
    }

    /// How the servers are doing, asked now: whether they answer, as primaries that take writes, and
    /// what is wrong with those that do not. Whether they take writes is tried, with a script that
    /// stores nothing. It takes no longer than a command may.
    ///
    /// Problems that stop no calls are warnings: a `maxmemory-policy` that evicts, and a server that
    /// keeps nothing on disk, as far as the user may run INFO and CONFIG GET.
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

    /// Waits for the calls in flight, for as long as a command may take, and closes the
    /// connections; later calls fail.
    pub async fn close(&self) {
        self.0.driver.close().await;
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl CheckpointSaver for RedisSaver {
    async fn setup(&self) -> Result<()> {
        self.0.check_commands().await?;
        self.0.create_indexes().await?;
        let has_ttl = self.0.settings.ttl.default.is_some();
        self.0.driver.warn_of_loss(has_ttl).await;
        Ok(())
    }

    async fn put(
        &self,
        config: &CheckpointConfig,
        checkpoint: &Checkpoint,
        metadata: &CheckpointMetadata,
        options: &PutOptions,
    ) -> Result<CheckpointConfig> {
        self.0.put(config, checkpoint, metadata, options).await
    }

    async fn put_writes(
        &self,
        config: &CheckpointConfig,
        writes: &[ChannelWrite],
        task_id: &TaskId,
        options: &PutWritesOptions,
    ) -> Result<()> {
        self.0.put_writes(config, writes, task_id, options).await
    }

    async fn get_tuple(&self, config: &CheckpointConfig) -> Result<Option<CheckpointTuple>> {
        self.0.get_tuple(config).await
    }

    fn list(
        &self,
        config: Option<&CheckpointConfig>,
        options: ListOptions,
    ) -> SaverStream<CheckpointTuple> {
        list::list(Arc::clone(&self.0), config, options)
    }

    async fn delete_thread(&self, thread_id: &ThreadId, options: &DeleteOptions) -> Result<()> {
        self.0.delete_thread(thread_id, options).await
    }

    async fn delete_for_runs(&self, run_ids: &[RunId]) -> Result<()> {
        Store::delete_for_runs(&self.0, run_ids, "").await
    }

    async fn copy_thread(
        &self,
        source: &ThreadId,
        target: &ThreadId,
        options: &CopyOptions,
    ) -> Result<()> {
        maintain::copy_thread(&self.0, source, target, options).await
    }

    async fn prune(&self, thread_ids: &[ThreadId], options: &PruneOptions) -> Result<()> {
        maintain::prune_all(&self.0, thread_ids, options).await
    }

    async fn delta_channel_history(
        &self,
        config: &CheckpointConfig,
        channels: &[String],
    ) -> Result<BTreeMap<String, DeltaChannelHistory>> {
        self.0.delta_channel_history(config, channels).await
    }

    fn threads(&self, prefix: &str) -> SaverStream<ThreadSummary> {
        threads::threads(Arc::clone(&self.0), prefix)
    }

    async fn touch(&self, thread_id: &ThreadId) -> Result<bool> {
        self.0.change_ttl(thread_id, TtlVerb::Touch).await
    }

    async fn pin(&self, thread_id: &ThreadId) -> Result<bool> {
        self.0.change_ttl(thread_id, TtlVerb::Pin).await
    }

    async fn unpin(&self, thread_id: &ThreadId) -> Result<bool> {
        self.0.change_ttl(thread_id, TtlVerb::Unpin).await
    }
}
