//! What the registries do not name, where search cannot answer: checkpoints that another saver wrote
//! and its pointers lead to, and on deleting all keys that a thread has left.

use super::delete;
use super::index::state;
use super::list;
use super::scan;
use std::collections::{BTreeSet, HashSet};

use bytes::Bytes;

use super::delete::Counter;
use super::driver::{Command, Reply, number};
use super::keys::{Family, Member, glob_escaped};
use super::slots::{share_a_tag, slot};
use super::store::Store;
use crate::error::{Error, Result};
use crate::id::{CheckpointId, CheckpointNamespace, ThreadId};

/// How many keys are looked at in one flight.
const FLIGHT: usize = 256;

/// Whether a thread whose set does not name the root has a pointer to a checkpoint there, and
/// no search that tells of it.
pub(super) async fn has_only_a_pointer(
    store: &Store,
    thread: &ThreadId,
    members: &[Member],
) -> Result<bool> {
    let root = CheckpointNamespace::root();
    if members.contains(&Member::Namespace(root.clone())) {
        return Ok(false);
    }
    let search = state::search(store).await?;
    if search.is_some_and(|search| search.piece(thread).is_some()) {
        return Ok(false);
    }
    let pointer = Command::on("EXISTS", store.keys(thread, &root).pointer);
    Ok(store.driver.call("list", pointer).await?.as_int() == Some(1))
}

/// Tells the registries of a thread what its pointers lead to: the checkpoint that each names,
/// and its ancestors.
pub(super) async fn follow_pointers(store: &Store, thread: &ThreadId) -> Result<()> {
    let mut namespaces = BTreeSet::from([CheckpointNamespace::root()]);
    for member in list::members(store, thread).await? {
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
    let mut replies = store.driver.batch("list", commands).await?.into_iter();
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
        let mut replies = store.driver.batch("list", commands).await?.into_iter();
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
    list::register_ids(store, &keys, &found).await
}

/// Deletes what is left of a thread that no registry names, whoever wrote it. It walks over all
/// keys, of the one node that has them where the id holds a hash tag.
pub(super) async fn delete_leftovers(
    store: &Store,
    thread: &ThreadId,
    counter: &mut Counter,
) -> Result<()> {
    let keys = store.keyspace.thread(thread);
    let namespaces = keys.namespaces();
    let owner = share_a_tag(std::slice::from_ref(&namespaces))
        .then(|| store.driver.owner(slot(&namespaces)))
        .flatten();
    let nodes = match owner {
        Some(owner) => vec![owner],
        None => store.driver.primaries()?,
    };
    let segment = store.keyspace.segment(thread.as_str());
    let pattern = format!("*:{}:*", glob_escaped(&segment));
    let (mut documents, mut writes) = (Vec::new(), Vec::new());
    let (mut pointers, mut registered) = (Vec::new(), Vec::new());
    for key in scan::scan_at(store, nodes, &pattern).await? {
        match keys.family_of(&key) {
            Some(Family::Document) => documents.push(key),
            Some(Family::Write) => writes.push(key),
            Some(Family::WriteRegistry) => registered.push(key),
            Some(Family::Pointer(namespace)) => pointers.push(namespace),
            Some(Family::Registry(namespace)) => {
                let keys = store.keys(thread, &namespace);
                delete::delete_namespace(store, &keys, counter).await?;
            }
            None => {}
        }
    }
    // With their checkpoints, so that no registry names what is gone; and the flags that the
    // Python saver leaves in place of a checkpoint whose writes came first.
    for keys in [&writes, &documents] {
        for page in keys.chunks(FLIGHT) {
            for (_, [namespace, id]) in of_thread(store, thread, page).await? {
                if let Some((keys, id)) = delete::owner_of(store, thread, &namespace, &id) {
                    delete::remove(store, &keys, &[id], counter).await?;
                }
            }
        }
    }
    counter.add(0, delete::remove_keys(store, thread, writes).await?);
    counter.add(delete::remove_keys(store, thread, documents).await?, 0);
    for registry in registered {
        forget_what_is_gone(store, &registry).await?;
    }
    for namespace in pointers {
        delete::remove(store, &store.keys(thread, &namespace), &[], counter).await?;
    }
    Ok(())
}

/// The documents that say that they are a thread's, with the namespace and the checkpoint that
/// they name.
async fn of_thread(
    store: &Store,
    thread: &ThreadId,
    keys: &[Bytes],
) -> Result<Vec<(Bytes, [String; 2])>> {
    let mut found = Vec::new();
    for chunk in keys.chunks(FLIGHT) {
        let commands = chunk.iter().map(|key| {
            Command::on("JSON.GET", key.clone())
                .arg("$['thread_id','checkpoint_ns','checkpoint_id']")
        });
        let replies = store
            .driver
            .batch("delete_thread", commands.collect())
            .await?;
        for (key, reply) in chunk.iter().zip(replies) {
            let names = match reply {
                // Something else than a document has the name of one.
                Err(Error::WrongType { .. } | Error::Server { .. }) => continue,
                reply => reply?.into_bytes().unwrap_or_default(),
            };
            if let Ok([of, namespace, id]) = serde_json::from_slice::<[String; 3]>(&names)
                && of == thread.as_str()
            {
                found.push((key.clone(), [namespace, id]));
            }
        }
    }
    Ok(found)
}

/// Takes out of a registry of writes what is gone; with the last the registry goes.
async fn forget_what_is_gone(store: &Store, registry: &Bytes) -> Result<()> {
    let mut stay = 0;
    loop {
        let range = Command::on("ZRANGE", registry.clone())
            .arg(number(stay))
            .arg(number(stay + FLIGHT - 1));
        let page = match store.driver.call("delete_thread", range).await {
            Err(Error::WrongType { .. } | Error::Server { .. }) => return Ok(()),
            page => page?.into_array().into_iter(),
        };
        let page: Vec<_> = page.filter_map(Reply::into_bytes).collect();
        if page.is_empty() {
            return Ok(());
        }
        let exists = page.iter().map(|key| Command::on("EXISTS", key.clone()));
        let there = store
            .driver
            .batch("delete_thread", exists.collect())
            .await?;
        let mut gone = Vec::new();
        for (key, there) in page.into_iter().zip(there) {
            if there?.as_int() == Some(0) {
                gone.push(key);
            } else {
                stay += 1;
            }
        }
        if !gone.is_empty() {
            let forget = Command::on("ZREM", registry.clone()).args(gone);
            store.driver.call("delete_thread", forget).await?;
        }
    }
}
