//! Deletes what no registry names of a thread: what the index finds, and where search does not
//! serve, what a walk over all keys does.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bytes::Bytes;

use super::args::{number, text};
use super::driver::{Command, Reply};
use super::index::Kind;
use super::keys::{CheckpointRef, Family, NamespaceKeys, glob_escaped};
use super::names;
use super::progress::Counter;
use super::replies::byte_strings;
use super::scan::Scan;
use super::scripts::{Count, UnregisterCall};
use super::slots::{share_a_tag, slot};
use super::store::Store;
use super::{index, remove};
use crate::error::{Error, Result};
use crate::id::{CheckpointId, ThreadId};

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
            let mut own = Own::default();
            let mut shown = HashSet::new();
            for row in rows {
                // What is another's, or is named still after it was removed, is passed over.
                if row.thread != thread.as_str() || seen.contains(&row.key) {
                    skip += 1;
                    continue;
                }
                let named =
                    CheckpointRef::from_stored(&row.thread, &row.namespace, &row.checkpoint);
                match named {
                    Some(one) => own.add(store, thread, &one, kind, row.key.clone()),
                    None => own.rest.push(row.key.clone()),
                }
                shown.insert(row.key);
            }
            own.remove(store, thread, counter).await?;
            seen = shown;
        }
    }
    Ok(true)
}

/// What was found of a thread: its checkpoints, of which all goes at once, and what may be left
/// then.
#[derive(Default)]
struct Own {
    checkpoints: BTreeMap<Bytes, (NamespaceKeys, BTreeSet<CheckpointId>)>,
    /// Writes, each with the registry that names it.
    writes: Vec<(Bytes, Bytes)>,
    /// Documents of other names than ours.
    rest: Vec<Bytes>,
}

impl Own {
    fn add(
        &mut self,
        store: &Store,
        thread: &ThreadId,
        one: &CheckpointRef,
        kind: Kind,
        key: Bytes,
    ) {
        let (keys, id) = (store.keys(thread, &one.namespace), &one.checkpoint_id);
        match kind {
            Kind::Writes => self.writes.push((keys.write_registry(id), key)),
            Kind::Checkpoints if keys.document(id) != key => self.rest.push(key),
            Kind::Checkpoints => {}
        }
        let of = self.checkpoints.entry(keys.stored.clone());
        let (_, ids) = of.or_insert_with(|| (keys, BTreeSet::new()));
        ids.insert(id.clone());
    }

    async fn remove(self, store: &Store, thread: &ThreadId, counter: &mut Counter) -> Result<()> {
        for (keys, ids) in self.checkpoints.into_values() {
            let ids: Vec<_> = ids.into_iter().collect();
            remove::remove(store, &keys, &ids, counter).await?;
        }
        let writes = remove::remove_unregistered(store, thread, self.writes).await?;
        let documents = remove::remove_keys(store, thread, self.rest).await?;
        counter.add(documents, writes);
        Ok(())
    }

    /// Leaves out the checkpoints that are registered.
    async fn retain_unregistered(&mut self, store: &Store) -> Result<()> {
        for (keys, ids) in self.checkpoints.values_mut() {
            if ids.is_empty() {
                continue;
            }
            let named = ids.iter().map(|id| text(id.as_str()));
            let command = Command::on("ZMSCORE", keys.registry.clone()).args(named);
            let scores = store.driver().call("delete_thread", command).await?;
            let mut scores = scores.into_array().into_iter();
            ids.retain(|_| scores.next().is_none_or(|score| score == Reply::Nil));
        }
        Ok(())
    }
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
    // With their checkpoints, so that no registry names what is gone; and the flags that the Python
    // saver leaves in place of a checkpoint whose writes came first. What is registered by now was
    // put since.
    for (kind, keys) in [(Kind::Writes, &writes), (Kind::Checkpoints, &documents)] {
        for page in keys.chunks(PIPELINE) {
            let mut own = Own::default();
            // One that is gone by now is left out: if it is there again later, it was put since.
            for (key, one) in names::documents_at(store, "delete_thread", page).await? {
                match one {
                    Some(one) if one.thread_id == *thread => {
                        own.add(store, thread, &one, kind, key);
                    }
                    Some(_) => {}
                    None => own.rest.push(key),
                }
            }
            own.retain_unregistered(store).await?;
            own.remove(store, thread, counter).await?;
        }
    }
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
            page => byte_strings(page?),
        };
        if page.is_empty() {
            return Ok(());
        }
        // A write that is stored again in between stays named.
        let looked_at = page.len();
        let call = UnregisterCall {
            registry: registry.clone(),
            documents: Bytes::new(),
            ids: page,
        };
        let Count(gone) = store.script("delete_thread", call).await?;
        stay += looked_at.saturating_sub(usize::try_from(gone).unwrap_or(0));
    }
}
