//! Deletes what no registry names of a thread: what the index finds, and where search does not
//! serve, what a walk over all keys does.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;

use super::args::number;
use super::driver::{Command, Reply};
use super::index::Kind;
use super::keys::CheckpointRef;
use super::keys::{Family, glob_escaped};
use super::names;
use super::progress::Counter;
use super::scan::Scan;
use super::slots::{share_a_tag, slot};
use super::store::Store;
use super::{index, remove};
use crate::error::{Error, Result};
use crate::id::ThreadId;

/// How many members or rows are read at once.
const PAGE: usize = 256;

/// How many keys are read in one pipeline.
const PIPELINE: usize = 256;

/// Deletes what only the index knows of a thread: what other savers wrote, and the writes that
/// they stored for checkpoints that never came, with the flags that they left in their place.
/// `false` where search does not serve.
pub(super) async fn delete_indexed(
    store: &Store,
    thread: &ThreadId,
    counter: &mut Counter,
) -> Result<bool> {
    for kind in [Kind::Checkpoints, Kind::Writes] {
        let Some(mut left) = index::count_indexed(store, thread, kind).await? else {
            return Ok(false);
        };
        let (mut skip, mut seen) = (0, HashSet::new());
        while left > 0 {
            let Some(rows) = index::rows_of_thread(store, thread, kind, (skip, PAGE)).await? else {
                return Ok(false);
            };
            if rows.is_empty() {
                break;
            }
            left = left.saturating_sub(rows.len());
            let mut own: BTreeMap<_, Vec<_>> = BTreeMap::new();
            let (mut rest, mut shown) = (Vec::new(), HashSet::new());
            for row in rows {
                // What is another's, or is named still after it was removed, is passed over.
                if row.thread != thread.as_str() || seen.contains(&row.key) {
                    skip += 1;
                    continue;
                }
                let named =
                    CheckpointRef::from_stored(&row.thread, &row.namespace, &row.checkpoint);
                let owner =
                    named.map(|one| (store.keys(thread, &one.namespace), one.checkpoint_id));
                // A write, or a document whose name is another than ours.
                let apart = owner
                    .as_ref()
                    .is_none_or(|(keys, id)| keys.document(id) != row.key);
                if apart {
                    rest.push(row.key.clone());
                }
                if let Some((keys, id)) = owner {
                    let of = own.entry(keys.stored.clone()).or_default();
                    of.push((keys, id));
                }
                shown.insert(row.key);
            }
            for of in own.into_values() {
                let Some((keys, _)) = of.first().cloned() else {
                    continue;
                };
                let mut ids: Vec<_> = of.into_iter().map(|(_, id)| id).collect();
                ids.sort();
                ids.dedup();
                remove::remove(store, &keys, &ids, counter).await?;
            }
            let removed = remove::remove_keys(store, thread, rest).await?;
            match kind {
                Kind::Checkpoints => counter.add(removed, 0),
                Kind::Writes => counter.add(0, removed),
            }
            seen = shown;
        }
    }
    Ok(true)
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
        .then(|| store.driver().owner(slot(&namespaces)))
        .flatten();
    let nodes = match owner {
        Some(owner) => vec![owner],
        None => store.driver().primaries()?,
    };
    let segment = store.keyspace.segment(thread.as_str());
    let pattern = format!("*:{}:*", glob_escaped(&segment));
    let (mut documents, mut writes) = (Vec::new(), Vec::new());
    let (mut pointers, mut registered) = (Vec::new(), Vec::new());
    let scan = Scan::matching("scan", pattern).at(nodes);
    for key in scan.all(store).await? {
        match keys.family_of(&key) {
            Some(Family::Document) => documents.push(key),
            Some(Family::Write) => writes.push(key),
            Some(Family::WriteRegistry) => registered.push(key),
            Some(Family::Pointer(namespace)) => pointers.push(namespace),
            Some(Family::Registry(namespace)) => {
                let keys = store.keys(thread, &namespace);
                remove::delete_namespace(store, &keys, counter).await?;
            }
            None => {}
        }
    }
    // With their checkpoints, so that no registry names what is gone; and the flags that the
    // Python saver leaves in place of a checkpoint whose writes came first.
    for keys in [&writes, &documents] {
        for page in keys.chunks(PIPELINE) {
            for (_, one) in names::checkpoints_at(store, "delete_thread", page).await? {
                if one.thread_id == *thread {
                    let keys = store.keys(thread, &one.namespace);
                    remove::remove(store, &keys, &[one.checkpoint_id], counter).await?;
                }
            }
        }
    }
    counter.add(0, remove::remove_keys(store, thread, writes).await?);
    counter.add(remove::remove_keys(store, thread, documents).await?, 0);
    for registry in registered {
        forget_what_is_gone(store, &registry).await?;
    }
    for namespace in pointers {
        remove::remove(store, &store.keys(thread, &namespace), &[], counter).await?;
    }
    Ok(())
}

/// Takes out of a registry of writes what is gone; with the last the registry goes.
async fn forget_what_is_gone(store: &Store, registry: &Bytes) -> Result<()> {
    let mut stay = 0;
    loop {
        let range = Command::on("ZRANGE", registry.clone())
            .arg(number(stay))
            .arg(number(stay + PIPELINE - 1));
        let page = match store.driver().call("delete_thread", range).await {
            Err(Error::WrongType { .. } | Error::Server { .. }) => return Ok(()),
            page => page?.into_array().into_iter(),
        };
        let page: Vec<_> = page.filter_map(Reply::into_bytes).collect();
        if page.is_empty() {
            return Ok(());
        }
        let exists = page.iter().map(|key| Command::on("EXISTS", key.clone()));
        let there = store
            .driver()
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
            store.driver().call("delete_thread", forget).await?;
        }
    }
}
