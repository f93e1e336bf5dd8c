//! What the HTTP service needs of a saver beyond the trait.

use async_trait::async_trait;

use super::driver::HealthProblem;
use super::saver::RedisSaver;
use crate::blobs::{
    BlobPage, BlobStore, ChannelBlob, ConnectionCounts, ExistingWrites, StoreReadiness,
};
use crate::checkpoint::{Checkpoint, CheckpointMetadata, PendingWrite};
use crate::config::CheckpointConfig;
use crate::diagnostics::Diagnostics;
use crate::error::Result;
use crate::id::{CheckpointNamespace, ThreadId};
use crate::saver::{SaverStream, ThreadSummary};

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl BlobStore for RedisSaver {
    async fn put_with_blobs(
        &self,
        config: &CheckpointConfig,
        checkpoint: &Checkpoint,
        metadata: &CheckpointMetadata,
        blobs: &[ChannelBlob],
    ) -> Result<CheckpointConfig> {
        let stored = self
            .0
            .put_with_blobs(config, checkpoint, metadata, blobs)
            .await;
        self.recent().written_if(&config.thread_id, &stored);
        stored
    }

    fn blobs_of(
        &self,
        thread: &ThreadId,
        namespace: &CheckpointNamespace,
        checkpoint: &Checkpoint,
    ) -> SaverStream<BlobPage> {
        self.0.blobs_of(thread, namespace, checkpoint)
    }

    async fn put_indexed_writes(
        &self,
        config: &CheckpointConfig,
        writes: &[PendingWrite],
        existing: ExistingWrites,
    ) -> Result<()> {
        let stored = self.0.put_indexed_writes(config, writes, existing).await;
        if !writes.is_empty() {
            self.recent().written_if(&config.thread_id, &stored);
        }
        stored
    }

    async fn summary(&self, thread: &ThreadId) -> Result<Option<ThreadSummary>> {
        self.thread(thread).await
    }

    fn diagnostics(&self) -> Option<&dyn Diagnostics> {
        Some(self)
    }

    async fn thread_bytes(&self, thread: &ThreadId) -> Result<Option<u64>> {
        self.0.thread_bytes(thread).await
    }

    async fn readiness(&self) -> StoreReadiness {
        let health = self.health().await;
        let mut reasons = Vec::new();
        let mut has_search = true;
        for problem in &health.problems {
            if let Some(reason) = nameless(problem) {
                tracing::warn!(%problem, "the store is not ready");
                if !reasons.contains(&reason) {
                    reasons.push(reason);
                }
            } else if matches!(problem, HealthProblem::SearchLost { .. }) {
                tracing::warn!(%problem, "the store is ready, without search");
                has_search = false;
            }
        }
        if !reasons.is_empty() {
            let reasons = reasons.join("; ");
            return StoreReadiness::NotReady(format!("the store is not ready: {reasons}"));
        }
        if let Err(error) = self.0.check_commands().await {
            tracing::warn!(kind = error.kind(), error = %error.report(), "the store is not ready");
            return StoreReadiness::NotReady("the store is not ready".to_owned());
        }
        if has_search {
            StoreReadiness::Ready
        } else {
            StoreReadiness::WithoutSearch
        }
    }

    fn connections(&self) -> Option<ConnectionCounts> {
        let (connections, calls_in_flight) = self.0.store().driver().load();
        Some(ConnectionCounts {
            connections,
            calls_in_flight,
        })
    }

    async fn close(&self) {
        RedisSaver::close(self).await;
    }
}

/// Why calls fail, without the names of servers; `None` for a problem that stops no calls.
fn nameless(problem: &HealthProblem) -> Option<String> {
    let reason = match problem {
        HealthProblem::Unreachable { .. } => "a server does not answer".to_owned(),
        HealthProblem::NotPrimary { .. } => "a server takes no writes".to_owned(),
        HealthProblem::RefusesWrites { reason, .. } => {
            format!("a server takes no writes: {reason}")
        }
        HealthProblem::TooFewReplicas { .. } => {
            "fewer replicas are in sync than must acknowledge a write".to_owned()
        }
        HealthProblem::FailingOver | HealthProblem::UncoveredSlots { .. } => problem.to_string(),
        HealthProblem::Evicts { .. }
        | HealthProblem::NotPersistent { .. }
        | HealthProblem::SearchLost { .. }
        | HealthProblem::Saturated => return None,
    };
    Some(reason)
}
