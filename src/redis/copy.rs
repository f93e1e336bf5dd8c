//! `copy_thread`.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::TryStreamExt;

use super::document::{checkpoint_document, pending_document};
use super::keys::{CheckpointRef, Member};
use super::progress::Counter;
use super::store::Store;
use super::{blobs, list, put, read, registry};
use crate::checkpoint::{CheckpointTuple, PendingWrite};
use crate::error::{Error, Result};
use crate::id::{CheckpointId, CheckpointNamespace, ThreadId};
use crate::options::{CopyOptions, ExistingTarget, ExpectedParent};

/// How many checkpoints get another TTL at once.
const SLICE: usize = 64;

/// Copies all of a thread.
pub(crate) async fn copy_thread(
    store: &Arc<Store>,
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
    let ttl = options.ttl.resolve(store.settings.ttl.default)?;
    if options.existing == ExistingTarget::Error
        && !registry::namespaces(store, target).await?.is_empty()
    {
        return Err(Error::Conflict {
            what: format!("the copy of thread {source}"),
            reason: format!("thread {target} exists already"),
        });
    }
    let mut counter = Counter::new(options.progress.clone());
    let mut copied = Vec::new();
    for namespace in registry::namespaces_with_blobs(store, source).await? {
        let blobs = blobs::copy_blobs(store, source, target, &namespace, ttl).await?;
        copied.push((namespace, blobs));
    }
    for namespace in registry::namespaces(store, source).await? {
        let mut checkpoints = list::list_namespace(store, source, &namespace);
        while let Some(tuple) = checkpoints.try_next().await? {
            let writes = tuple.pending_writes.len() as u64;
            copy_checkpoint(store, target, &namespace, tuple, ttl).await?;
            counter.add(1, writes);
        }
    }
    for member in registry::members(store, source).await? {
        if let Member::Writes(namespace, id) = member {
            let writes = read::writes_of(store, source, &namespace, &id).await?;
            counter.add(0, writes.len() as u64);
            copy_writes(store, target, &namespace, &id, &writes, ttl).await?;
        }
    }
    for (namespace, blobs) in copied {
        blobs::settle_blobs(store, target, &namespace, &blobs, ttl).await?;
    }
    Ok(())
}

pub(super) async fn copy_checkpoint(
    store: &Store,
    target: &ThreadId,
    namespace: &CheckpointNamespace,
    tuple: CheckpointTuple,
    ttl: Option<Duration>,
) -> Result<()> {
    let id = tuple.checkpoint.id().clone();
    copy_writes(store, target, namespace, &id, &tuple.pending_writes, ttl).await?;
    let identity = CheckpointRef::new(target, namespace, &id);
    let parent = tuple.parent_config.and_then(|parent| parent.checkpoint_id);
    let document = checkpoint_document(
        &identity,
        parent.as_ref(),
        &tuple.checkpoint,
        &tuple.metadata,
    );
    put::put_document(store, &identity, document, ttl, ExpectedParent::Any).await
}

pub(super) async fn copy_writes(
    store: &Store,
    target: &ThreadId,
    namespace: &CheckpointNamespace,
    id: &CheckpointId,
    writes: &[PendingWrite],
    ttl: Option<Duration>,
) -> Result<()> {
    if writes.is_empty() {
        return Ok(());
    }
    let identity = CheckpointRef::new(target, namespace, id);
    let keys = store.keys(target, namespace);
    for slice in writes.chunks(SLICE) {
        let stored = slice
            .iter()
            .map(|write| {
                let key = keys.write(id, &write.task_id, write.idx);
                Ok((key, pending_document(&identity, write)?))
            })
            .collect::<Result<Vec<_>>>()?;
        put::put_write_documents(store, &identity, stored, true, ttl).await?;
    }
    Ok(())
}
