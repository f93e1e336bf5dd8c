//! The JSON layout, in the format of Python's langgraph-checkpoint-redis: each call, and the
//! feature that carries it out.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
#[cfg(feature = "server")]
use futures_util::stream::{self, StreamExt};

#[cfg(feature = "cli")]
use super::blob_gc;
#[cfg(feature = "server")]
use super::blobs::NamedBlobs;
use super::doctor::{self, DoctorOptions, DoctorReport, IdleWrites};
use super::driver::Health;
use super::layout::LayoutSaver;
use super::list::{self, Full};
#[cfg(any(feature = "cli", feature = "server"))]
use super::memory_usage;
use super::reseal::{ResealOptions, ResealReport};
use super::scripts::TtlVerb;
use super::stats::{self, Stats, StatsOptions};
use super::store::Store;
use super::transfer::{self, EarlyWrites, TimedCheckpoint};
#[cfg(feature = "cli")]
use super::transfer::{PutBlob, TimedBlob};
use super::{
    copy, delete, history, index, prune, put, read, registry, runs, setup, thread_ttl, threads,
};
#[cfg(feature = "server")]
use super::{thread_size, with_blobs};
#[cfg(feature = "server")]
use crate::blobs::{BlobPage, ChannelBlob, ExistingWrites};
use crate::checkpoint::{
    ChannelWrite, Checkpoint, CheckpointMetadata, CheckpointTuple, DeltaChannelHistory,
    PendingWrite,
};
use crate::config::CheckpointConfig;
#[cfg(feature = "server")]
use crate::diagnostics::ThreadSize;
use crate::error::{Error, Result};
use crate::id::{CheckpointNamespace, RunId, TaskId, ThreadId};
use crate::options::{
    CopyOptions, DeleteOptions, ListOptions, Progress, PruneOptions, PruneStrategy, PutOptions,
    PutWritesOptions, TtlChoice,
};
use crate::saver::{CheckpointSaver, SaverStream, ThreadSummary};

/// Stores each checkpoint as a RedisJSON document.
#[derive(Debug)]
pub(crate) struct JsonLayout(Arc<Store>);

impl JsonLayout {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self(store)
    }
}

#[async_trait]
impl LayoutSaver for JsonLayout {
    fn store(&self) -> &Arc<Store> {
        &self.0
    }

    async fn health(&self) -> Health {
        index::health(&self.0).await
    }

    async fn check_commands(&self) -> Result<()> {
        self.0.check_commands().await
    }

    async fn summary(&self, thread_id: &ThreadId) -> Result<Option<ThreadSummary>> {
        threads::summary(&self.0, thread_id.clone()).await
    }

    async fn namespaces(&self, thread_id: &ThreadId) -> Result<Vec<CheckpointNamespace>> {
        registry::namespaces(&self.0, thread_id).await
    }

    fn oldest_first(
        &self,
        thread_id: &ThreadId,
        namespace: &CheckpointNamespace,
    ) -> SaverStream<TimedCheckpoint> {
        transfer::oldest_first(&self.0, thread_id, namespace)
    }

    fn early_writes(&self, thread_id: &ThreadId) -> SaverStream<EarlyWrites> {
        transfer::early_writes(&self.0, thread_id)
    }

    async fn put_tuple(&self, tuple: CheckpointTuple, ttl: TtlChoice) -> Result<()> {
        let ttl = ttl.resolve(self.0.settings.ttl.default)?;
        let thread_id = tuple.config.thread_id.clone();
        let namespace = tuple.config.namespace();
        copy::copy_checkpoint(&self.0, &thread_id, &namespace, tuple, ttl).await
    }

    async fn put_pending_writes(
        &self,
        config: &CheckpointConfig,
        writes: &[PendingWrite],
        ttl: TtlChoice,
    ) -> Result<()> {
        let ttl = ttl.resolve(self.0.settings.ttl.default)?;
        let (thread, namespace) = (&config.thread_id, config.namespace());
        let id = config.required_checkpoint()?;
        copy::copy_writes(&self.0, thread, &namespace, id, writes, ttl).await
    }

    async fn prunable(&self, thread_id: &ThreadId, strategy: &PruneStrategy) -> Result<Progress> {
        prune::prunable(&self.0, thread_id, strategy).await
    }

    #[cfg(any(feature = "cli", feature = "server"))]
    async fn thread_bytes(&self, thread_id: &ThreadId) -> Result<Option<u64>> {
        memory_usage::of_thread(&self.0, thread_id).await
    }

    async fn stats(&self, options: &StatsOptions) -> Result<Stats> {
        stats::stats(&self.0, options).await
    }

    #[cfg(feature = "server")]
    async fn thread_size(&self, thread_id: &ThreadId) -> Result<Option<ThreadSize>> {
        thread_size::thread_size(&self.0, thread_id).await
    }

    async fn doctor(&self, options: &DoctorOptions, idle: &mut IdleWrites) -> Result<DoctorReport> {
        doctor::doctor(&self.0, options, idle).await
    }

    async fn reseal(&self, _options: &ResealOptions) -> Result<ResealReport> {
        Err(Error::Config {
            key: "layout".to_owned(),
            reason: "the layout `json` seals nothing: use the layout `compact`".to_owned(),
            source: None,
        })
    }

    #[cfg(feature = "cli")]
    async fn drop_indexes(&self) -> Result<()> {
        let keyspace = &self.0.keyspace;
        for index in [keyspace.checkpoint_prefix(), keyspace.write_prefix()] {
            index::drop_index(&self.0, index).await?;
        }
        Ok(())
    }

    #[cfg(feature = "cli")]
    async fn search_lacks(&self) -> Result<Option<index::Lacking>> {
        index::index_lacks(&self.0, self.0.keyspace.checkpoint_prefix()).await
    }

    #[cfg(feature = "cli")]
    async fn has_blobs(
        &self,
        thread_id: &ThreadId,
        namespace: &CheckpointNamespace,
    ) -> Result<bool> {
        transfer::has_blobs(&self.0, thread_id, namespace).await
    }

    #[cfg(feature = "cli")]
    async fn timed_blobs(
        &self,
        thread_id: &ThreadId,
        namespace: &CheckpointNamespace,
        named: &[(String, String)],
    ) -> Result<Vec<TimedBlob>> {
        transfer::timed_blobs(&self.0, thread_id, namespace, named).await
    }

    #[cfg(feature = "cli")]
    async fn put_timed_blob(&self, blob: &TimedBlob, ttl: TtlChoice) -> Result<PutBlob> {
        transfer::put_timed_blob(&self.0, blob, ttl).await
    }

    #[cfg(feature = "cli")]
    async fn keep_blobs(
        &self,
        thread_id: &ThreadId,
        namespace: &CheckpointNamespace,
        checkpoint: &Checkpoint,
        ttl: TtlChoice,
    ) -> Result<()> {
        transfer::keep_blobs(&self.0, thread_id, namespace, checkpoint, ttl).await
    }

    #[cfg(feature = "cli")]
    async fn collect(&self, thread_id: &ThreadId) -> Result<Option<u64>> {
        blob_gc::gc_of_thread(&self.0, thread_id).await.map(Some)
    }

    #[cfg(feature = "cli")]
    async fn checkpoints_of_run(&self, run: &RunId, prefix: &str) -> Result<Vec<ThreadId>> {
        let found = runs::checkpoints_of_run(&self.0, run, prefix).await?;
        Ok(found.into_iter().map(|one| one.thread_id).collect())
    }

    #[cfg(feature = "server")]
    async fn put_with_blobs(
        &self,
        config: &CheckpointConfig,
        checkpoint: &Checkpoint,
        metadata: &CheckpointMetadata,
        blobs: &[ChannelBlob],
    ) -> Result<CheckpointConfig> {
        with_blobs::put_with_blobs(&self.0, config, checkpoint, metadata, blobs).await
    }

    #[cfg(feature = "server")]
    fn blobs_of(
        &self,
        thread: &ThreadId,
        namespace: &CheckpointNamespace,
        checkpoint: &Checkpoint,
    ) -> SaverStream<BlobPage> {
        let blobs = NamedBlobs::new(&self.0, thread, namespace, checkpoint);
        stream::try_unfold(blobs, |mut blobs| async move {
            Ok(blobs.next().await?.map(|page| (page, blobs)))
        })
        .boxed()
    }

    #[cfg(feature = "server")]
    async fn put_indexed_writes(
        &self,
        config: &CheckpointConfig,
        writes: &[PendingWrite],
        existing: ExistingWrites,
    ) -> Result<()> {
        with_blobs::put_indexed_writes(&self.0, config, writes, existing).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl CheckpointSaver for JsonLayout {
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
        put::put(&self.0, config, checkpoint, metadata, options).await
    }

    async fn put_writes(
        &self,
        config: &CheckpointConfig,
        writes: &[ChannelWrite],
        task_id: &TaskId,
        options: &PutWritesOptions,
    ) -> Result<()> {
        put::put_writes(&self.0, config, writes, task_id, options).await
    }

    async fn get_tuple(&self, config: &CheckpointConfig) -> Result<Option<CheckpointTuple>> {
        read::get_tuple(&self.0, config).await
    }

    fn list(
        &self,
        config: Option<&CheckpointConfig>,
        options: ListOptions,
    ) -> SaverStream<CheckpointTuple> {
        list::list::<Full>(Arc::clone(&self.0), config, options)
    }

    fn list_within(&self, prefix: &str, options: ListOptions) -> SaverStream<CheckpointTuple> {
        list::list_within::<Full>(Arc::clone(&self.0), prefix, options)
    }

    async fn delete_thread(&self, thread_id: &ThreadId, options: &DeleteOptions) -> Result<()> {
        delete::delete_thread(&self.0, thread_id, options).await
    }

    async fn delete_for_runs(&self, run_ids: &[RunId]) -> Result<()> {
        runs::delete_for_runs(&self.0, run_ids, "").await
    }

    async fn delete_for_runs_within(&self, run_ids: &[RunId], prefix: &str) -> Result<()> {
        runs::delete_for_runs(&self.0, run_ids, prefix).await
    }

    async fn copy_thread(
        &self,
        source: &ThreadId,
        target: &ThreadId,
        options: &CopyOptions,
    ) -> Result<()> {
        copy::copy_thread(&self.0, source, target, options).await
    }

    async fn prune(&self, thread_ids: &[ThreadId], options: &PruneOptions) -> Result<()> {
        prune::prune_all(&self.0, thread_ids, options).await
    }

    async fn delta_channel_history(
        &self,
        config: &CheckpointConfig,
        channels: &[String],
    ) -> Result<BTreeMap<String, DeltaChannelHistory>> {
        history::delta_channel_history(&self.0, config, channels).await
    }

    fn threads(&self, prefix: &str) -> SaverStream<ThreadSummary> {
        threads::threads::<Full>(Arc::clone(&self.0), prefix)
    }

    async fn touch(&self, thread_id: &ThreadId) -> Result<bool> {
        thread_ttl::change_ttl(&self.0, thread_id, TtlVerb::Touch).await
    }

    async fn pin(&self, thread_id: &ThreadId) -> Result<bool> {
        thread_ttl::change_ttl(&self.0, thread_id, TtlVerb::Pin).await
    }

    async fn unpin(&self, thread_id: &ThreadId) -> Result<bool> {
        thread_ttl::change_ttl(&self.0, thread_id, TtlVerb::Unpin).await
    }
}
