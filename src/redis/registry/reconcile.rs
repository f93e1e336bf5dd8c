//! Adds to the registries what other savers wrote.

use std::collections::{BTreeSet, HashSet};

use super::ids::register_ids;
use super::{ids, members};
use crate::error::{Error, Result};
use crate::id::{CheckpointId, CheckpointNamespace, ThreadId};
use crate::redis::driver::{Command, Reply};
use crate::redis::index;
use crate::redis::keys::{CheckpointRef, Member};
use crate::redis::store::Store;

/// Adds to the registries of a thread what only the index knows; where search cannot answer, what
/// the pointers lead to.
pub(crate) async fn reconcile(store: &Store, thread: &ThreadId) -> Result<()> {
    let Some(mut found) = index::indexed_checkpoints(store, thread).await? else {
        return follow_pointers(store, thread).await;
    };
    found.sort_by(|one, other| one.namespace.cmp(&other.namespace));
    for group in found.chunk_by(|one, other| one.namespace == other.namespace) {
        register(store, thread, group).await?;
    }
    Ok(())
}

async fn register(store: &Store, thread: &ThreadId, group: &[CheckpointRef]) -> Result<()> {
    let Some(first) = group.first() else {
        return Ok(());
    };
    let keys = store.keys(thread, &first.namespace);
    let ids: Vec<_> = group.iter().map(|one| &one.checkpoint_id).collect();
    register_ids(store, &keys, &ids).await
}

/// Adds to the registries of a thread what its pointers lead to: the checkpoint that each names,
/// and its ancestors.
pub(super) async fn follow_pointers(store: &Store, thread: &ThreadId) -> Result<()> {
    let mut namespaces = BTreeSet::from([CheckpointNamespace::root()]);
    for member in members::members(store, thread).await? {
        if let Member::Namespace(namespace) = member {
            namespaces.insert(namespace);
        }
    }
    for namespace in namespaces {
        follow_pointer(store, thread, &namespace).await?;
    }
    Ok(())
}

async fn follow_pointer(
    store: &Store,
    thread: &ThreadId,
    namespace: &CheckpointNamespace,
) -> Result<()> {
    let keys = store.keys(thread, namespace);
    let commands = vec![
        Command::on("GET", keys.pointer.clone()),
        Command::on("ZSCORE", keys.registry.clone()).arg(""),
    ];
    let mut replies = store.driver().batch("list", commands).await?.into_iter();
    let mut next = || replies.next().unwrap_or(Err(Error::Closed));
    let target = next()?.into_bytes();
    let lacks_some = next()? != Reply::Nil;
    let pointed = target.as_deref();
    let pointed = pointed.and_then(|target| target.strip_prefix(&keys.documents[..]));
    let mut next = pointed.and_then(|id| CheckpointId::from_bytes(id).ok());
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    while let Some(id) = next.take() {
        let commands = vec![
            Command::on("ZSCORE", keys.registry.clone()).arg(id.to_string()),
            Command::on("JSON.GET", keys.document(&id))
                .arg("$['thread_id','checkpoint_ns','parent_checkpoint_id']"),
        ];
        let mut replies = store.driver().batch("list", commands).await?.into_iter();
        let mut reply = || replies.next().unwrap_or(Err(Error::Closed));
        let is_registered = reply()? != Reply::Nil;
        let names = reply()?.into_bytes().unwrap_or_default();
        let Ok([of, stored, parent]) = serde_json::from_slice::<[String; 3]>(&names) else {
            break;
        };
        // Another thread's pointer may have the same name.
        let is_own = of == thread.as_str() && stored.as_bytes() == keys.stored;
        if !is_own || (is_registered && !lacks_some) || !seen.insert(id.clone()) {
            break;
        }
        found.push(id);
        next = CheckpointId::new(parent).ok();
    }
    if found.is_empty() && !lacks_some {
        return Ok(());
    }
    let found: Vec<_> = found.iter().collect();
    ids::register_ids(store, &keys, &found).await
}
