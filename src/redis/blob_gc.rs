//! Removes blobs that no checkpoint names.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::stream::TryStreamExt;

use super::blobs::{PATIENCE, Pages};
use super::driver::Command;
use super::keys::BlobKeys;
use super::progress::Counter;
#[cfg(feature = "cli")]
use super::registry;
use super::store::Store;
use super::{blobs, list, remove};
use crate::error::Result;
use crate::id::{CheckpointNamespace, ThreadId};

/// Removes the blobs of a thread that no checkpoint names any more, and returns how many those
/// were.
#[cfg(feature = "cli")]
pub(super) async fn gc_of_thread(store: &Arc<Store>, thread: &ThreadId) -> Result<u64> {
    let mut counter = Counter::new(None);
    for namespace in registry::namespaces_with_blobs(store, thread).await? {
        gc(store, thread, &namespace, &mut counter).await?;
    }
    Ok(counter.blobs())
}

/// Removes the blobs of a namespace that no checkpoint names any more.
pub(super) async fn gc(
    store: &Arc<Store>,
    thread: &ThreadId,
    namespace: &CheckpointNamespace,
    counter: &mut Counter,
) -> Result<()> {
    let keys = store.keyspace.blobs(thread, namespace);
    // The registry before the checkpoints: what is settled here has its checkpoint by then. What
    // still waits for one is left alone, however it stands when the checkpoints have been read.
    let mut unnamed: HashSet<String> = HashSet::new();
    let mut pages = Pages::new(&keys);
    while let Some(page) = pages.next_scored(store).await? {
        let settled = page.into_iter().filter(|(_, since)| !is_awaited(*since));
        unnamed.extend(settled.map(|(member, _)| member));
    }
    let mut checkpoints = list::list_namespace(store, thread, namespace);
    while let Some(tuple) = checkpoints.try_next().await? {
        for (channel, version) in crate::blobs::named_by(&tuple.checkpoint) {
            for is_empty in [false, true] {
                unnamed.remove(&BlobKeys::member(&channel, &version, is_empty));
            }
        }
    }
    let unnamed: Vec<_> = unnamed.into_iter().collect();
    blobs::remove_blobs(store, &keys, &unnamed, PATIENCE, counter).await?;
    forget_mark(store, thread, namespace, counter).await
}

/// Whether a blob that was registered at a time waits for its checkpoint still.
fn is_awaited(since: f64) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    since > 0.0
        && since
            >= now
                .unwrap_or_default()
                .saturating_sub(Duration::from_secs(PATIENCE))
                .as_secs_f64()
}

/// Takes the mark away of a namespace that has no blob left, and a pin that stands for
/// nothing more.
async fn forget_mark(
    store: &Store,
    thread: &ThreadId,
    namespace: &CheckpointNamespace,
    counter: &mut Counter,
) -> Result<()> {
    let keys = store.keyspace.blobs(thread, namespace);
    let left = Command::on("EXISTS", keys.registry.clone());
    if store.driver().call("prune", left).await?.as_int() == Some(0) {
        let mark = Command::on("SREM", keys.namespaces.clone()).arg(keys.mark.clone());
        store.driver().call("prune", mark).await?;
        remove::remove(store, &store.keys(thread, namespace), &[], counter).await?;
    }
    Ok(())
}
