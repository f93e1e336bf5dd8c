//! A saver of one's own, held to what this crate's savers promise.
//!
//! ```text
//! cargo run --features conformance --example custom_saver
//! ```
//!
//! The saver here counts what goes through it to another one. The suite shows that it breaks
//! nothing.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use langgraph_checkpoint_redis::conformance::{self, Subject};
use langgraph_checkpoint_redis::{
    ChannelWrite, Checkpoint, CheckpointConfig, CheckpointMetadata, CheckpointSaver,
    CheckpointTuple, CopyOptions, DeleteOptions, DeltaChannelHistory, ListOptions, MemorySaver,
    PruneOptions, PutOptions, PutWritesOptions, Result, RunId, SaverStream, TaskId, ThreadId,
    ThreadSummary,
};

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn Error>> {
    let puts = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&puts);
    // The suite makes savers itself, with the TTLs that its cases need.
    let subject = Subject::new(move |ttl| {
        let puts = Arc::clone(&counter);
        async move {
            let saver = MemorySaver::with_ttl(ttl)?;
            Ok(Arc::new(Counted { saver, puts }) as Arc<dyn CheckpointSaver>)
        }
    });
    let report = conformance::run(&subject, |_| true).await;
    println!("{report}");
    println!("{} checkpoints were put", puts.load(Ordering::Relaxed));
    if !report.passed() {
        return Err("the saver breaks a promise".into());
    }
    Ok(())
}

/// Counts the checkpoints that are put.
#[derive(Debug)]
struct Counted<S> {
    saver: S,
    puts: Arc<AtomicU64>,
}

// Without this lint a method with a default, if the trait had one, would not reach the saver
// within.
#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<S: CheckpointSaver> CheckpointSaver for Counted<S> {
    async fn setup(&self) -> Result<()> {
        self.saver.setup().await
    }

    async fn put(
        &self,
        config: &CheckpointConfig,
        checkpoint: &Checkpoint,
        metadata: &CheckpointMetadata,
        options: &PutOptions,
    ) -> Result<CheckpointConfig> {
        let call = self.saver.put(config, checkpoint, metadata, options);
        let stored = call.await?;
        self.puts.fetch_add(1, Ordering::Relaxed);
        Ok(stored)
    }

    async fn put_writes(
        &self,
        config: &CheckpointConfig,
        writes: &[ChannelWrite],
        task_id: &TaskId,
        options: &PutWritesOptions,
    ) -> Result<()> {
        self.saver
            .put_writes(config, writes, task_id, options)
            .await
    }

    async fn get_tuple(&self, config: &CheckpointConfig) -> Result<Option<CheckpointTuple>> {
        self.saver.get_tuple(config).await
    }

    fn list(
        &self,
        config: Option<&CheckpointConfig>,
        options: ListOptions,
    ) -> SaverStream<CheckpointTuple> {
        self.saver.list(config, options)
    }

    fn list_within(&self, prefix: &str, options: ListOptions) -> SaverStream<CheckpointTuple> {
        self.saver.list_within(prefix, options)
    }

    async fn delete_thread(&self, thread_id: &ThreadId, options: &DeleteOptions) -> Result<()> {
        self.saver.delete_thread(thread_id, options).await
    }

    async fn delete_for_runs(&self, run_ids: &[RunId]) -> Result<()> {
        self.saver.delete_for_runs(run_ids).await
    }

    async fn delete_for_runs_within(&self, run_ids: &[RunId], prefix: &str) -> Result<()> {
        self.saver.delete_for_runs_within(run_ids, prefix).await
    }

    async fn copy_thread(
        &self,
        source: &ThreadId,
        target: &ThreadId,
        options: &CopyOptions,
    ) -> Result<()> {
        self.saver.copy_thread(source, target, options).await
    }

    async fn prune(&self, thread_ids: &[ThreadId], options: &PruneOptions) -> Result<()> {
        self.saver.prune(thread_ids, options).await
    }

    async fn delta_channel_history(
        &self,
        config: &CheckpointConfig,
        channels: &[String],
    ) -> Result<BTreeMap<String, DeltaChannelHistory>> {
        self.saver.delta_channel_history(config, channels).await
    }

    fn threads(&self, prefix: &str) -> SaverStream<ThreadSummary> {
        self.saver.threads(prefix)
    }

    async fn touch(&self, thread_id: &ThreadId) -> Result<bool> {
        self.saver.touch(thread_id).await
    }

    async fn pin(&self, thread_id: &ThreadId) -> Result<bool> {
        self.saver.pin(thread_id).await
    }

    async fn unpin(&self, thread_id: &ThreadId) -> Result<bool> {
        self.saver.unpin(thread_id).await
    }
}
