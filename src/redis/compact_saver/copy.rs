//! `copy_thread`.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::TryStreamExt;

use super::put::NewCheckpoint;
use super::{Compact, list, put};
use crate::blobs::ChannelBlob;
use crate::checkpoint::CheckpointTuple;
use crate::error::{Error, Result};
use crate::id::{CheckpointNamespace, ThreadId};
use crate::options::{CopyOptions, ExistingTarget, ExpectedParent};
use crate::redis::driver::Command;
use crate::redis::keys::CheckpointRef;
use crate::redis::progress::Counter;

/// How many writes are stored in one step.
const SLICE: usize = 200;

/// Copies all of a thread.
pub(super) async fn copy_thread(
    layout: &Arc<Compact>,
    source: &ThreadId,
    target: &ThreadId,
    options: &CopyOptions,
) -> Result<()> {
    if source == target {
        return Err(Error::invalid(
            "target_thread_id",
            "it is the source as well",
        ));
    }
    let ttl = options.ttl.resolve(layout.store.settings.ttl.default)?;
    if options.existing == ExistingTarget::Error && is_there(layout, target).await? {
        return Err(Error::Conflict {
            what: format!("the copy of thread {source}"),
            reason: format!("thread {target} exists already"),
        });
    }
    let mut counter = Counter::new(options.progress.clone());
    for namespace in layout.namespaces("copy_thread", source).await? {
        let mut checkpoints = list::list_namespace(layout, source, &namespace);
        while let Some(tuple) = checkpoints.try_next().await? {
            let writes = tuple.pending_writes.len() as u64;
            let checkpoint = &tuple.checkpoint;
            let blobs = layout.blobs_named_by("copy_thread", source, &namespace, checkpoint);
            let blobs = blobs.await?;
            copy_checkpoint(layout, target, &namespace, tuple, &blobs, ttl).await?;
            counter.add(1, writes);
        }
    }
    for (namespace, id) in layout.early_checkpoints("copy_thread", source).await? {
        let at = CheckpointRef::new(source, &namespace, &id);
        let Some(writes) = layout.early_writes_of("copy_thread", &at).await? else {
            continue;
        };
        counter.add(0, writes.len() as u64);
        let at = CheckpointRef::new(target, &namespace, &id);
        for slice in writes.chunks(SLICE) {
            put::put_pending(layout, &at, slice.iter(), true, ttl).await?;
        }
    }
    Ok(())
}

/// Whether a thread has checkpoints, or writes alone.
async fn is_there(layout: &Compact, thread: &ThreadId) -> Result<bool> {
    let keys = layout.store.keyspace.compact(thread);
    let exists = Command::on("EXISTS", keys.heads).arg(keys.writes);
    let exists = layout.store.driver().call("copy_thread", exists).await?;
    Ok(exists.as_int() != Some(0))
}

/// Stores a checkpoint as it was read, with blobs that it names, its writes first.
pub(super) async fn copy_checkpoint(
    layout: &Compact,
    target: &ThreadId,
    namespace: &CheckpointNamespace,
    tuple: CheckpointTuple,
    blobs: &[ChannelBlob],
    ttl: Option<Duration>,
) -> Result<()> {
    let at = CheckpointRef::new(target, namespace, tuple.checkpoint.id());
    for slice in tuple.pending_writes.chunks(SLICE) {
        put::put_pending(layout, &at, slice.iter(), true, ttl).await?;
    }
    let parent = tuple.parent_config.and_then(|parent| parent.checkpoint_id);
    let new = NewCheckpoint {
        parent: parent.as_ref(),
        checkpoint: &tuple.checkpoint,
        metadata: &tuple.metadata,
        blobs,
        expected: &ExpectedParent::Any,
    };
    put::put_checkpoint(layout, &at, &new, ttl).await
}
