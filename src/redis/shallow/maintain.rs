//! What keeps threads of shallow mode in order: deleting, copying, TTLs.

use std::time::Duration;

use bytes::Bytes;

use super::list::{checkpoints_at, every_checkpoint, known_namespaces, places};
use super::place::Place;
use crate::checkpoint::PendingWrite;
use crate::error::{Error, Result};
use crate::id::{CheckpointId, CheckpointNamespace, RunId, ThreadId};
use crate::options::{CopyOptions, DeleteOptions, ExistingTarget};
use crate::redis::copy::whole_calls;
use crate::redis::progress::Counter;
use crate::redis::scripts::TtlVerb;
use crate::redis::store::Store;
use crate::redis::{delete, index};

/// Deletes all of a thread, also what a full saver under the same prefix has of it.
pub(super) async fn delete_thread(
    store: &Store,
    thread: &ThreadId,
    options: &DeleteOptions,
) -> Result<()> {
    let mut counter = Counter::new(options.progress.clone());
    // Threads of the Python saver have no set of namespaces, only the index knows theirs.
    let mut namespaces = known_namespaces(store, thread).await?;
    namespaces.insert(CheckpointNamespace::root());
    for namespace in namespaces {
        let place = Place::new(store, thread, &namespace);
        place.remove(store, None, &mut counter).await?;
    }
    // What is left is what only the index knows, and the set of namespaces.
    let rest = DeleteOptions {
        progress: counter.onward(),
    };
    delete::delete_thread(store, thread, &rest).await
}

/// Deletes the checkpoints that runs made, in threads whose ids start with a prefix.
pub(super) async fn delete_for_runs(store: &Store, run_ids: &[RunId], prefix: &str) -> Result<()> {
    let mut counter = Counter::new(None);
    for run in run_ids {
        let mut candidates: Vec<_> = match index::indexed_run(store, run.as_str()).await? {
            Some((mut found, documents)) => {
                found.extend(checkpoints_at(store, &documents).await?);
                found
            }
            None => every_checkpoint(store).await?,
        };
        candidates.retain(|one| one.thread_id.as_str().starts_with(prefix));
        for one in candidates {
            let place = Place::new(store, &one.thread_id, &one.namespace);
            let of_run = Some((&one.checkpoint_id, run));
            place.remove(store, of_run, &mut counter).await?;
            store.recent.removed(&one.thread_id);
        }
    }
    Ok(())
}

/// Copies all of a thread.
pub(super) async fn copy_thread(
    store: &Store,
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
        && !known_namespaces(store, target).await?.is_empty()
    {
        return Err(Error::Conflict {
            what: format!("the copy of thread {source}"),
            reason: format!("thread {target} exists already"),
        });
    }
    let mut counter = Counter::new(options.progress.clone());
    for place in places(store, source).await? {
        let found = place.everything(store).await?;
        let to = place.of_thread(store, target);
        for (id, writes) in &found.waiting {
            copy_writes(store, &to, id, writes, ttl).await?;
            counter.add(0, writes.len() as u64);
        }
        if let Some(tuple) = found.tuple {
            let (checkpoint, writes) = (&tuple.checkpoint, &tuple.pending_writes);
            copy_writes(store, &to, checkpoint.id(), writes, ttl).await?;
            to.put(store, checkpoint, &tuple.metadata, ttl, Bytes::new())
                .await?;
            counter.add(1, writes.len() as u64);
        }
    }
    Ok(())
}

async fn copy_writes(
    store: &Store,
    to: &Place,
    id: &CheckpointId,
    writes: &[PendingWrite],
    ttl: Option<Duration>,
) -> Result<()> {
    for slice in whole_calls(writes) {
        let stored = slice.iter().map(|write| to.stored(id, write));
        let stored = stored.collect::<Result<Vec<_>>>()?;
        to.put_write_documents(store, id, stored, true, ttl).await?;
    }
    Ok(())
}

/// Gives all keys of a thread another TTL.
pub(super) async fn change_ttl(store: &Store, thread: &ThreadId, verb: TtlVerb) -> Result<bool> {
    let default = store.settings.ttl.default;
    let (name, ttl) = match verb {
        TtlVerb::Pin => ("pin", None),
        TtlVerb::Unpin => ("unpin", default),
        _ => ("touch", default),
    };
    if name == "touch" && ttl.is_none() {
        return Ok(false);
    }
    let mut found = false;
    for place in places(store, thread).await? {
        found |= place.change_ttl(store, ttl, name).await?;
    }
    Ok(found && (name == "pin" || ttl.is_some()))
}
