//! `delete_for_runs`: a walk over the metadata of all threads that start so.

use std::collections::BTreeMap;

use super::outlines::Outlines;
use super::threads::ThreadIds;
use super::{Compact, collect, remove};
use crate::error::Result;
use crate::id::{CheckpointId, CheckpointNamespace, RunId, ThreadId};
use crate::redis::progress::Counter;

/// Deletes the checkpoints that runs made, in threads whose ids start with a prefix, and the parts that
/// only they named.
pub(super) async fn delete_for_runs(
    layout: &Compact,
    run_ids: &[RunId],
    prefix: &str,
) -> Result<()> {
    if run_ids.is_empty() {
        return Ok(());
    }
    let mut counter = Counter::new(None);
    let mut threads = ThreadIds::starting(layout, "delete_for_runs", prefix);
    while let Some(page) = threads.next(layout).await? {
        for thread in page {
            let found = made_by(layout, &thread, run_ids).await?;
            for (namespace, ids) in &found {
                let operation = "delete_for_runs";
                remove::remove(layout, operation, &thread, namespace, ids, &mut counter).await?;
            }
            if !found.is_empty() {
                collect::collect(layout, "delete_for_runs", &thread).await?;
            }
        }
    }
    Ok(())
}

/// The threads of the checkpoints that a run has made, each once for each of them.
#[cfg(feature = "cli")]
pub(super) async fn checkpoints_of_run(
    layout: &Compact,
    run: &RunId,
    prefix: &str,
) -> Result<Vec<ThreadId>> {
    let mut found = Vec::new();
    let mut threads = ThreadIds::starting(layout, "delete_for_runs", prefix);
    while let Some(page) = threads.next(layout).await? {
        for thread in page {
            let made = made_by(layout, &thread, std::slice::from_ref(run)).await?;
            let count = made.values().map(Vec::len).sum();
            found.extend(std::iter::repeat_n(thread, count));
        }
    }
    Ok(found)
}

/// The checkpoints of a thread that runs made.
async fn made_by(
    layout: &Compact,
    thread: &ThreadId,
    runs: &[RunId],
) -> Result<BTreeMap<CheckpointNamespace, Vec<CheckpointId>>> {
    let mut made = BTreeMap::<_, Vec<_>>::new();
    for namespace in layout.namespaces("delete_for_runs", thread).await? {
        let mut walk = Outlines::of(thread, &namespace);
        while let Some(page) = walk.next(layout, "delete_for_runs").await? {
            for outline in page {
                let run = outline.metadata.get::<String>("run_id").ok().flatten();
                if run.is_some_and(|run| runs.iter().any(|one| one.as_str() == run)) {
                    let of_namespace = made.entry(namespace.clone()).or_default();
                    of_namespace.push(outline.checkpoint.id().clone());
                }
            }
        }
    }
    Ok(made)
}
