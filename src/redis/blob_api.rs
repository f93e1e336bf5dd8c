//! What the HTTP service needs of a saver beyond the trait.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt};

use super::blobs::{self, NamedBlobs};
use super::driver::HealthProblem;
use super::keys::CheckpointRef;
use super::saver::RedisSaver;
use super::{put, runs};
use crate::blobs::{
    BlobPage, BlobStore, ChannelBlob, ConnectionCounts, ExistingWrites, StoreReadiness, named_by,
};
use crate::checkpoint::{Checkpoint, CheckpointMetadata, CheckpointTuple, PendingWrite};
use crate::config::CheckpointConfig;
use crate::error::Result;
use crate::id::{CheckpointNamespace, RunId, ThreadId};
use crate::options::{ListOptions, PutOptions, TtlChoice};
use crate::saver::{CheckpointSaver, SaverStream};

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
        let store = &self.0;
        let ttl = TtlChoice::Default.resolve(store.settings.ttl.default)?;
        let (thread, namespace) = (&config.thread_id, config.namespace());
        let named = named_by(checkpoint);
        let put_blobs =
            async || blobs::put_blobs(store, thread, &namespace, blobs, &named, ttl).await;
        let members = put_blobs().await?;
        let options = PutOptions::default();
        let stored = self.put(config, checkpoint, metadata, &options).await?;
        let settled = async || blobs::settle_blobs(store, thread, &namespace, &members, ttl).await;
        // A concurrent delete of the thread may have removed them before the checkpoint was put.
        if !settled().await? {
            put_blobs().await?;
            settled().await?;
        }
        Ok(stored)
    }

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

    async fn put_indexed_writes(
        &self,
        config: &CheckpointConfig,
        writes: &[PendingWrite],
        existing: ExistingWrites,
    ) -> Result<()> {
        let store = &self.0;
        let id = config.required_checkpoint()?;
        if writes.is_empty() {
            return Ok(());
        }
        let ttl = TtlChoice::Default.resolve(store.settings.ttl.default)?;
        let identity = CheckpointRef::new(&config.thread_id, &config.namespace(), id);
        let replace = existing == ExistingWrites::Replace;
        put::put_indexed_writes(store, &identity, writes, replace, ttl).await
    }

    async fn delete_for_runs_within(&self, run_ids: &[RunId], prefix: &str) -> Result<()> {
        runs::delete_for_runs(&self.0, run_ids, prefix).await
    }

    fn list_within(&self, prefix: &str, options: ListOptions) -> SaverStream<CheckpointTuple> {
        super::list::list_within(Arc::clone(&self.0), prefix, options)
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
        let (connections, calls_in_flight) = self.0.driver().load();
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
