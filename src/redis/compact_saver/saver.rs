//! Each call, and the feature that carries it out.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

#[cfg(any(feature = "cli", feature = "server"))]
use super::blobs;
#[cfg(feature = "cli")]
use super::collect;
use super::scripts::{TtlChange, change_ttl};
use super::{
    CompactLayout, copy, doctor, history, list, prune, put, remove, reseal, runs, stats, threads,
    transfer,
};
#[cfg(feature = "server")]
use crate::blobs::{BlobPage, ChannelBlob, ExistingWrites};
use crate::checkpoint::{
    ChannelWrite, Checkpoint, CheckpointMetadata, CheckpointTuple, DeltaChannelHistory,
    PendingWrite,
};
use crate::config::CheckpointConfig;
#[cfg(feature = "server")]
use crate::diagnostics::ThreadSize;
use crate::error::Result;
use crate::id::{CheckpointNamespace, RunId, TaskId, ThreadId};
use crate::options::{
    CopyOptions, DeleteOptions, ListOptions, Progress, PruneOptions, PruneStrategy, PutOptions,
    PutWritesOptions, TtlChoice,
};
use crate::redis::doctor::{DoctorOptions, DoctorReport, IdleWrites};
use crate::redis::driver::Health;
#[cfg(feature = "cli")]
use crate::redis::index::Lacking;
use crate::redis::keys::CheckpointRef;
use crate::redis::layout::LayoutSaver;
use crate::redis::marker;
#[cfg(any(feature = "cli", feature = "server"))]
use crate::redis::memory_usage::Sum;
use crate::redis::reseal::{ResealOptions, ResealReport};
use crate::redis::stats::{Stats, StatsOptions};
use crate::redis::store::Store;
use crate::redis::transfer::{EarlyWrites, TimedCheckpoint};
#[cfg(feature = "cli")]
use crate::redis::transfer::{PutBlob, TimedBlob};
use crate::saver::{CheckpointSaver, SaverStream, ThreadSummary};

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl CheckpointSaver for CompactLayout {
    async fn setup(&self) -> Result<()> {
        let store = &self.0.store;
        self.check_commands().await?;
        marker::claim(store).await?;
        let has_ttl = store.settings.ttl.default.is_some();
        store.driver().warn_of_loss(has_ttl).await;
        Ok(())
    }

    async fn put(
        &self,
        config: &CheckpointConfig,
        checkpoint: &Checkpoint,
        metadata: &CheckpointMetadata,
        options: &PutOptions,
    ) -> Result<CheckpointConfig> {
        put::put(&self.0, config, checkpoint, metadata, &[], options).await
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
        self.0.read("get_tuple", config, true).await
    }

    fn list(
        &self,
        config: Option<&CheckpointConfig>,
        options: ListOptions,
    ) -> SaverStream<CheckpointTuple> {
        list::list(&self.0, config, options)
    }

    fn list_within(&self, prefix: &str, options: ListOptions) -> SaverStream<CheckpointTuple> {
        list::list_within(&self.0, prefix, options)
    }

    async fn delete_thread(&self, thread_id: &ThreadId, options: &DeleteOptions) -> Result<()> {
        remove::delete_thread(&self.0, thread_id, options).await
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
        threads::threads(&self.0, prefix)
    }

    async fn touch(&self, thread_id: &ThreadId) -> Result<bool> {
        let store = &self.0.store;
        let keys = store.keyspace.compact(thread_id);
        match store.settings.ttl.default {
            Some(ttl) => change_ttl(store, "touch", &keys, TtlChange::Touch(ttl)).await,
            None => Ok(false),
        }
    }

    async fn pin(&self, thread_id: &ThreadId) -> Result<bool> {
        let store = &self.0.store;
        let keys = store.keyspace.compact(thread_id);
        change_ttl(store, "pin", &keys, TtlChange::Pin).await
    }

    async fn unpin(&self, thread_id: &ThreadId) -> Result<bool> {
        let store = &self.0.store;
        let keys = store.keyspace.compact(thread_id);
        // A thread is pinned as long as it has no TTL.
        match store.settings.ttl.default {
            Some(ttl) => change_ttl(store, "unpin", &keys, TtlChange::Unpin(ttl)).await,
            None => Ok(false),
        }
    }
}

#[async_trait]
impl LayoutSaver for CompactLayout {
    fn store(&self) -> &Arc<Store> {
        &self.0.store
    }

    async fn health(&self) -> Health {
        let has_ttl = self.0.store.settings.ttl.default.is_some();
        self.0.store.driver().health(has_ttl).await
    }

    async fn check_commands(&self) -> Result<()> {
        self.0.store.check_scripts().await
    }

    async fn summary(&self, thread_id: &ThreadId) -> Result<Option<ThreadSummary>> {
        self.0.summary(thread_id).await
    }

    async fn namespaces(&self, thread_id: &ThreadId) -> Result<Vec<CheckpointNamespace>> {
        self.0.namespaces("namespaces", thread_id).await
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
        let ttl = ttl.resolve(self.0.store.settings.ttl.default)?;
        let (thread, namespace) = (tuple.config.thread_id.clone(), tuple.config.namespace());
        copy::copy_checkpoint(&self.0, &thread, &namespace, tuple, &[], ttl).await
    }

    async fn put_pending_writes(
        &self,
        config: &CheckpointConfig,
        writes: &[PendingWrite],
        ttl: TtlChoice,
    ) -> Result<()> {
        let ttl = ttl.resolve(self.0.store.settings.ttl.default)?;
        let id = config.required_checkpoint()?;
        let at = CheckpointRef::new(&config.thread_id, &config.namespace(), id);
        put::put_pending(&self.0, &at, writes.iter(), true, ttl).await
    }

    async fn prunable(&self, thread_id: &ThreadId, strategy: &PruneStrategy) -> Result<Progress> {
        prune::prunable(&self.0, thread_id, strategy).await
    }

    #[cfg(any(feature = "cli", feature = "server"))]
    async fn thread_bytes(&self, thread_id: &ThreadId) -> Result<Option<u64>> {
        let store = &self.0.store;
        let mut sum = Sum::default();
        sum.add(store, store.keyspace.compact(thread_id).all())
            .await?;
        Ok(sum.reported())
    }

    async fn stats(&self, options: &StatsOptions) -> Result<Stats> {
        stats::stats(&self.0, options).await
    }

    #[cfg(feature = "server")]
    async fn thread_size(&self, thread_id: &ThreadId) -> Result<Option<ThreadSize>> {
        let bytes = self.thread_bytes(thread_id).await?;
        let estimated = false;
        Ok(bytes.map(|bytes| ThreadSize { bytes, estimated }))
    }

    async fn doctor(
        &self,
        options: &DoctorOptions,
        _idle: &mut IdleWrites,
    ) -> Result<DoctorReport> {
        doctor::doctor(&self.0, options).await
    }

    async fn reseal(&self, options: &ResealOptions) -> Result<ResealReport> {
        reseal::reseal(&self.0, options).await
    }

    #[cfg(feature = "cli")]
    async fn drop_indexes(&self) -> Result<()> {
        Ok(())
    }

    #[cfg(feature = "cli")]
    async fn search_lacks(&self) -> Result<Option<Lacking>> {
        Ok(None)
    }

    #[cfg(feature = "cli")]
    async fn has_blobs(
        &self,
        thread_id: &ThreadId,
        namespace: &CheckpointNamespace,
    ) -> Result<bool> {
        blobs::has_blobs(&self.0, thread_id, namespace).await
    }

    #[cfg(feature = "cli")]
    async fn timed_blobs(
        &self,
        thread_id: &ThreadId,
        namespace: &CheckpointNamespace,
        named: &[(String, String)],
    ) -> Result<Vec<TimedBlob>> {
        blobs::timed_blobs(&self.0, thread_id, namespace, named).await
    }

    #[cfg(feature = "cli")]
    async fn put_timed_blob(&self, blob: &TimedBlob, ttl: TtlChoice) -> Result<PutBlob> {
        blobs::put_timed_blob(&self.0, blob, ttl).await
    }

    #[cfg(feature = "cli")]
    async fn keep_blobs(
        &self,
        _thread_id: &ThreadId,
        _namespace: &CheckpointNamespace,
        _checkpoint: &Checkpoint,
        _ttl: TtlChoice,
    ) -> Result<()> {
        // The blobs of a thread are kept as long as the thread.
        Ok(())
    }

    #[cfg(feature = "cli")]
    async fn collect(&self, thread_id: &ThreadId) -> Result<Option<u64>> {
        collect::collect(&self.0, "prune", thread_id).await
    }

    #[cfg(feature = "cli")]
    async fn checkpoints_of_run(&self, run: &RunId, prefix: &str) -> Result<Vec<ThreadId>> {
        runs::checkpoints_of_run(&self.0, run, prefix).await
    }

    #[cfg(feature = "server")]
    async fn put_with_blobs(
        &self,
        config: &CheckpointConfig,
        checkpoint: &Checkpoint,
        metadata: &CheckpointMetadata,
        blobs: &[ChannelBlob],
    ) -> Result<CheckpointConfig> {
        let options = PutOptions::default();
        put::put(&self.0, config, checkpoint, metadata, blobs, &options).await
    }

    #[cfg(feature = "server")]
    fn blobs_of(
        &self,
        thread: &ThreadId,
        namespace: &CheckpointNamespace,
        checkpoint: &Checkpoint,
    ) -> SaverStream<BlobPage> {
        blobs::blobs_of(&self.0, thread, namespace, checkpoint)
    }

    #[cfg(feature = "server")]
    async fn put_indexed_writes(
        &self,
        config: &CheckpointConfig,
        writes: &[PendingWrite],
        existing: ExistingWrites,
    ) -> Result<()> {
        let ttl = TtlChoice::Default.resolve(self.0.store.settings.ttl.default)?;
        let id = config.required_checkpoint()?;
        let at = CheckpointRef::new(&config.thread_id, &config.namespace(), id);
        let replace = existing == ExistingWrites::Replace;
        put::put_pending(&self.0, &at, writes.iter(), replace, ttl).await
    }
}
