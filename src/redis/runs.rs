//! `delete_for_runs`.

use std::sync::Arc;

use bytes::Bytes;

use super::driver::Command;
use super::keys::CheckpointRef;
use super::progress::Counter;
use super::store::Store;
use super::{blob_gc, index, registry, remove};
use crate::error::Result;
use crate::id::RunId;

/// Deletes the checkpoints that runs made, in threads whose ids start with a prefix.
pub(crate) async fn delete_for_runs(
    store: &Arc<Store>,
    run_ids: &[RunId],
    prefix: &str,
) -> Result<()> {
    let mut counter = Counter::new(None);
    for run in run_ids {
        let mut found = checkpoints_of_run(store, run, prefix).await?;
        found.sort();
        for of_thread in found.chunk_by(|one, other| one.thread_id == other.thread_id) {
            let Some(CheckpointRef { thread_id, .. }) = of_thread.first() else {
                continue;
            };
            // The registry learns of other savers' checkpoints first, so that the newest of
            // those that stay is found.
            registry::reconcile(store, thread_id).await?;
            let blobs = registry::namespaces_with_blobs(store, thread_id).await?;
            for group in of_thread.chunk_by(|one, other| one.namespace == other.namespace) {
                let Some(CheckpointRef { namespace, .. }) = group.first() else {
                    continue;
                };
                let ids: Vec<_> = group.iter().map(|one| one.checkpoint_id.clone()).collect();
                let keys = store.keys(thread_id, namespace);
                remove::remove(store, &keys, &ids, &mut counter).await?;
                if blobs.contains(namespace) {
                    blob_gc::gc(store, thread_id, namespace, &mut counter).await?;
                }
            }
            store.recent.removed(thread_id);
        }
    }
    Ok(())
}

/// The checkpoints that a run made, in threads whose ids start with a prefix; no document of
/// another is read.
pub(super) async fn checkpoints_of_run(
    store: &Store,
    run: &RunId,
    prefix: &str,
) -> Result<Vec<CheckpointRef>> {
    let mut candidates = match index::indexed_run(store, run.as_str()).await? {
        Some((mut found, documents)) => {
            found.extend(index::checkpoints_at(store, &documents).await?);
            found
        }
        None => registry::every_checkpoint(store, prefix).await?,
    };
    candidates.retain(|one| one.thread_id.as_str().starts_with(prefix));
    let mut found = Vec::new();
    for slice in candidates.chunks(256) {
        let steps = slice.iter().map(|one| {
            let keys = store.keys(&one.thread_id, &one.namespace);
            Command::on("JSON.GET", keys.document(&one.checkpoint_id))
                .arg("$.run_id")
                .into()
        });
        let replies = store.pipeline("delete_for_runs", steps.collect()).await?;
        for (one, reply) in slice.iter().zip(replies) {
            let made_by = reply?.into_bytes().unwrap_or(Bytes::new());
            let made_by = serde_json::from_slice::<[String; 1]>(&made_by).ok();
            if made_by.is_some_and(|[made_by]| made_by == run.as_str()) {
                found.push(one.clone());
            }
        }
    }
    Ok(found)
}
