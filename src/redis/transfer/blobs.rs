//! Carrying blobs to another store: those that checkpoints name, with the time they have left.

use std::collections::HashSet;
use std::time::Duration;

use crate::blobs::{ChannelBlob, named_by};
use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::id::{CheckpointNamespace, ThreadId};
use crate::options::TtlChoice;
use crate::redis::blobs::{self, parse_blob};
use crate::redis::driver::Command;
use crate::redis::keys::BlobKeys;
use crate::redis::registry;
use crate::redis::replies::time_left;
use crate::redis::scripts::Step;
use crate::redis::store::Store;

/// A blob with the time that it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TimedBlob {
    pub(crate) thread_id: ThreadId,
    pub(crate) namespace: CheckpointNamespace,
    pub(crate) blob: ChannelBlob,
    /// How long it is kept from now on; `None` if it never expires.
    pub(crate) ttl: Option<Duration>,
}

/// What became of a blob that was to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PutBlob {
    Stored,
    /// It was there already.
    There,
    /// There was one of another content, which stays.
    Differs,
}

/// Whether a namespace has blobs.
pub(crate) async fn has_blobs(
    store: &Store,
    thread_id: &ThreadId,
    namespace: &CheckpointNamespace,
) -> Result<bool> {
    let namespaces = registry::namespaces_with_blobs(store, thread_id).await?;
    Ok(namespaces.contains(namespace))
}

/// Reads blobs by their channels and versions, but a few at once, as they may be large; those
/// that are not there are left out.
pub(crate) async fn timed_blobs(
    store: &Store,
    thread_id: &ThreadId,
    namespace: &CheckpointNamespace,
    named: &[(String, String)],
) -> Result<Vec<TimedBlob>> {
    let keys = store.keyspace.blobs(thread_id, namespace);
    let keys: Vec<_> = named
        .iter()
        .map(|(channel, version)| keys.blob(channel, version))
        .collect();
    let steps: Vec<Step> = keys
        .iter()
        .flat_map(|key| ["JSON.GET", "PTTL"].map(|name| Command::on(name, key.clone()).into()))
        .collect();
    let mut replies = store.pipeline("list", steps).await?.into_iter();
    let mut found = Vec::with_capacity(named.len());
    for key in &keys {
        let (Some(document), Some(left)) = (replies.next(), replies.next()) else {
            break;
        };
        let (document, left) = (document?, left?);
        if let Some(document) = document.into_bytes() {
            found.push(TimedBlob {
                thread_id: thread_id.clone(),
                namespace: namespace.clone(),
                blob: parse_blob(key, &document)?,
                ttl: time_left(&left),
            });
        }
    }
    Ok(found)
}

/// Stores a blob whose checkpoint is stored next, unless there is one already.
pub(crate) async fn put_timed_blob(
    store: &Store,
    blob: &TimedBlob,
    ttl: TtlChoice,
) -> Result<PutBlob> {
    let TimedBlob {
        thread_id,
        namespace,
        blob,
        ..
    } = blob;
    let ttl = ttl.resolve(store.settings.ttl.default)?;
    let key = store.keyspace.blobs(thread_id, namespace);
    let key = key.blob(&blob.channel, &blob.version);
    let read = Command::on("JSON.GET", key.clone());
    let there = store.driver().call("put", read).await?.into_bytes();
    // What cannot be read is something else as well, and not ours to replace.
    let there = there.map(|document| parse_blob(&key, &document).ok());
    let blobs = std::slice::from_ref(blob);
    blobs::put_blobs(store, thread_id, namespace, blobs, &[], ttl).await?;
    Ok(match there {
        None => PutBlob::Stored,
        Some(Some(there)) if there == *blob => PutBlob::There,
        Some(_) => PutBlob::Differs,
    })
}

/// Keeps the blobs that a checkpoint names as long as the checkpoint, which is stored now.
pub(crate) async fn keep_blobs(
    store: &Store,
    thread_id: &ThreadId,
    namespace: &CheckpointNamespace,
    checkpoint: &Checkpoint,
    ttl: TtlChoice,
) -> Result<()> {
    let ttl = ttl.resolve(store.settings.ttl.default)?;
    let named = named_by(checkpoint);
    blobs::put_blobs(store, thread_id, namespace, &[], &named, ttl).await?;
    // Each is registered in one of two ways, or not at all.
    let members: Vec<_> = named
        .iter()
        .flat_map(|(channel, version)| {
            [false, true].map(|is_empty| BlobKeys::member(channel, version, is_empty))
        })
        .collect();
    blobs::settle_blobs(store, thread_id, namespace, &members, ttl)
        .await
        .map(|_| ())
}

/// The blobs that checkpoints name, each once, but those that were named before.
pub(crate) fn newly_named<'a>(
    checkpoints: impl Iterator<Item = &'a Checkpoint>,
    before: &mut HashSet<(String, String)>,
) -> Vec<(String, String)> {
    let now: HashSet<_> = checkpoints.flat_map(named_by).collect();
    let new = now.difference(before).cloned().collect();
    *before = now;
    new
}
