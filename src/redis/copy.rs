//! `copy_thread`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::TryStreamExt;

use super::document::{checkpoint_document, pending_document};
use super::driver::{Command, Reply};
use super::keys::{CheckpointRef, Member};
use super::progress::Counter;
use super::store::Store;
use super::{blobs, list, put, read, registry};
use crate::checkpoint::{CheckpointTuple, PendingWrite};
use crate::error::{Error, Result};
use crate::id::{CheckpointId, CheckpointNamespace, ThreadId};
use crate::options::{CopyOptions, ExistingTarget, ExpectedParent};

/// About how many writes are stored at once.
const SLICE: usize = 64;

/// How often a checkpoint is stored again while others delete it.
const ATTEMPTS: usize = 8;

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
    let identity = CheckpointRef::new(target, namespace, &id);
    let parent = tuple.parent_config.and_then(|parent| parent.checkpoint_id);
    let document = checkpoint_document(
        &identity,
        parent.as_ref(),
        &tuple.checkpoint,
        &tuple.metadata,
    );
    let writes = &tuple.pending_writes;
    for _ in 0..ATTEMPTS {
        copy_writes(store, target, namespace, &id, writes, ttl).await?;
        let document = document.clone();
        put::put_document(store, &identity, document, ttl, ExpectedParent::Any).await?;
        if !lacks_some(store, &identity, writes).await? {
            return Ok(());
        }
    }
    Err(Error::Unavailable {
        reason: format!(
            "the checkpoint {id} of thread {target} is deleted all the time while it is copied"
        ),
        source: None,
    })
}

/// Whether a checkpoint is there without some of its writes: another call may delete it while it is
/// copied, its writes before its document has come.
async fn lacks_some(
    store: &Store,
    identity: &CheckpointRef,
    writes: &[PendingWrite],
) -> Result<bool> {
    if writes.is_empty() {
        return Ok(false);
    }
    let (keys, id) = (
        store.keys(&identity.thread_id, &identity.namespace),
        &identity.checkpoint_id,
    );
    let writes = writes.iter();
    let written: Vec<_> = writes
        .map(|write| keys.write(id, &write.task_id, write.idx))
        .collect();
    let mut commands =
        vec![Command::on("ZMSCORE", keys.write_registry(id)).args(written.iter().cloned())];
    commands.extend(written.into_iter().map(|key| Command::on("EXISTS", key)));
    commands.push(Command::on("EXISTS", keys.document(id)));
    let replies = store.driver().batch("copy_thread", commands).await?;
    let replies = replies.into_iter().collect::<Result<Vec<_>>>()?;
    let [scores, written @ .., document] = &replies[..] else {
        return Err(Error::Closed);
    };
    let scores = scores.clone().into_array();
    let has_all =
        !scores.contains(&Reply::Nil) && written.iter().all(|there| there.as_int() == Some(1));
    Ok(document.as_int() == Some(1) && !has_all)
}

pub(super) async fn copy_writes(
    store: &Store,
    target: &ThreadId,
    namespace: &CheckpointNamespace,
    id: &CheckpointId,
    writes: &[PendingWrite],
    ttl: Option<Duration>,
) -> Result<()> {
    let identity = CheckpointRef::new(target, namespace, id);
    let keys = store.keys(target, namespace);
    for slice in whole_calls(writes) {
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

/// Writes in slices that are stored at once: all of a task's are in one, so that nobody reads a
/// part of them.
pub(super) fn whole_calls(writes: &[PendingWrite]) -> Vec<Vec<&PendingWrite>> {
    let mut tasks = BTreeMap::<_, Vec<_>>::new();
    for write in writes {
        let task = (&write.task_path, write.task_id.as_str());
        tasks.entry(task).or_default().push(write);
    }
    let mut slices: Vec<Vec<_>> = Vec::new();
    for task in tasks.into_values() {
        match slices.last_mut() {
            Some(last) if last.len() + task.len() <= SLICE => last.extend(task),
            _ => slices.push(task),
        }
    }
    slices
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::checkpoint::TypedValue;
    use crate::id::TaskId;

    #[test]
    fn the_writes_of_a_task_are_stored_at_once() {
        let of_task = |task: &str, count: i64| {
            let task_id = TaskId::new(task).unwrap();
            let writes = (0..count).map(move |idx| PendingWrite {
                task_id: task_id.clone(),
                task_path: String::new(),
                idx,
                channel: "n".to_owned(),
                value: TypedValue::json(&idx).unwrap(),
            });
            writes.collect::<Vec<_>>()
        };
        let mut writes = [of_task("a", 40), of_task("b", 40), of_task("c", 200)].concat();
        writes.extend(of_task("d", 2));
        writes.extend(of_task("e", 3));
        let slices = whole_calls(&writes);
        let sizes: Vec<_> = slices.iter().map(Vec::len).collect();
        assert_eq!(sizes, [40, 40, 200, 5]);
        assert_eq!(whole_calls(&[]), Vec::<Vec<&PendingWrite>>::new());
    }
}
