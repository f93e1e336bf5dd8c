//! `delete_for_runs`: a walk over the metadata of all threads that start so.

use std::collections::BTreeMap;

use super::outlines::Outlines;
use super::threads::ThreadIds;
use super::{Compact, collect, remove};
use crate::error::{Error, Result};
use crate::id::{CheckpointId, CheckpointNamespace, RunId, ThreadId};
use crate::redis::progress::Counter;

/// Deletes the checkpoints that runs made, in threads whose ids start with a prefix, and the parts
/// that only they named.
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
            let left = collect::collect_what_was_left(layout, "delete_for_runs", &thread).await;
            if_readable(&thread, left)?;
            if !found.is_empty() {
                layout.store.recent.removed(&thread);
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

/// The checkpoints of a thread that runs made, of those that can be read.
async fn made_by(
    layout: &Compact,
    thread: &ThreadId,
    runs: &[RunId],
) -> Result<BTreeMap<CheckpointNamespace, Vec<CheckpointId>>> {
    let mut made = BTreeMap::<_, Vec<_>>::new();
    let namespaces = layout.namespaces("delete_for_runs", thread).await;
    for namespace in if_readable(thread, namespaces)?.unwrap_or_default() {
        let mut walk = Outlines::of_readable(thread, &namespace);
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

/// What was read of a thread; one that cannot be read does not end the call for the others.
fn if_readable<T>(thread: &ThreadId, read: Result<T>) -> Result<Option<T>> {
    match read {
        Err(error @ (Error::WrongType { .. } | Error::Corrupt { .. })) => {
            tracing::warn!(%thread, error = %error.report(), "a thread is left out of a walk over all");
            Ok(None)
        }
        read => read.map(Some),
    }
}
