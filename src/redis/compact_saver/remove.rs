//! `delete_thread`, and the removal of checkpoints with their writes.

use super::scripts;
use super::{Compact, place};
use crate::error::Result;
use crate::id::{CheckpointId, CheckpointNamespace, ThreadId};
use crate::options::DeleteOptions;
use crate::redis::keys::CheckpointRef;
use crate::redis::progress::Counter;

/// How many checkpoints are removed in one step.
const PLACES: usize = 100;

/// Deletes a thread, in one step whatever it holds.
pub(super) async fn delete_thread(
    layout: &Compact,
    thread: &ThreadId,
    options: &DeleteOptions,
) -> Result<()> {
    let store = &layout.store;
    let keys = store.keyspace.compact(thread);
    let (checkpoints, writes) = scripts::delete(store, "delete_thread", &keys).await?;
    if checkpoints + writes > 0 {
        Counter::new(options.progress.clone()).add(checkpoints, writes);
    }
    Ok(())
}

/// Removes checkpoints of a namespace with their writes, each at once.
pub(super) async fn remove(
    layout: &Compact,
    operation: &'static str,
    thread: &ThreadId,
    namespace: &CheckpointNamespace,
    ids: &[CheckpointId],
    counter: &mut Counter,
) -> Result<()> {
    let store = &layout.store;
    let keys = store.keyspace.compact(thread);
    for slice in ids.chunks(PLACES) {
        let places = slice
            .iter()
            .map(|id| place::of_checkpoint(&CheckpointRef::new(thread, namespace, id)));
        let removed = scripts::remove(store, operation, &keys, places.collect()).await?;
        counter.add(removed.0, removed.1);
    }
    Ok(())
}
