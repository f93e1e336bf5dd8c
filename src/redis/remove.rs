//! Removes checkpoints with their writes.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::args::{number, text};
use super::driver::Command;
use super::keys::NamespaceKeys;
use super::progress::Counter;
use super::replies::byte_strings;
use super::scripts::{Count, RemoveCall, RemoveKeyCall, RemoveUnregisteredCall, Step};
use super::store::Store;
use crate::error::{Error, Result};
use crate::id::{CheckpointId, ThreadId};

/// How many checkpoints are removed at once.
const SLICE: usize = 32;

/// How many of their writes are looked at in one step.
const WRITES: usize = 400;

/// How many members or rows are read at once.
const PAGE: usize = 256;

/// Removes checkpoints of a namespace with their writes.
pub(crate) async fn remove(
    store: &Store,
    keys: &NamespaceKeys,
    ids: &[CheckpointId],
    counter: &mut Counter,
) -> Result<()> {
    let ids: Vec<_> = ids.iter().map(|id| text(id.as_str())).collect();
    remove_named(store, keys, &ids, counter).await
}

/// Deletes the checkpoints of a namespace, upwards to the one that is the greatest now.
pub(super) async fn delete_namespace(
    store: &Store,
    keys: &NamespaceKeys,
    counter: &mut Counter,
) -> Result<()> {
    store.forget(keys);
    let ends = |after: &[u8], last: Bytes| {
        Command::on("ZRANGEBYLEX", keys.registry.clone())
            .arg([b"(", after].concat())
            .arg(last)
            .args(["LIMIT", "0"].map(Bytes::from))
            .arg(number(SLICE))
    };
    let greatest = Command::on("ZREVRANGEBYLEX", keys.registry.clone())
        .args(["+", "(", "LIMIT", "0", "1"].map(Bytes::from));
    let commands = vec![greatest, ends(b"", Bytes::from_static(b"+"))];
    let mut replies = store
        .driver()
        .batch("delete_thread", commands)
        .await?
        .into_iter();
    let mut next = || Ok::<_, Error>(byte_strings(replies.next().unwrap_or(Err(Error::Closed))?));
    let greatest = next()?.pop();
    let mut ids = next()?;
    let Some(greatest) = greatest else {
        // The pointer and the set may still name something.
        return remove_named(store, keys, &[], counter).await;
    };
    ids.retain(|id| *id <= greatest);
    while let Some(last) = ids.last().cloned() {
        let is_all = ids.len() < SLICE || last == greatest;
        remove_named(store, keys, &ids, counter).await?;
        if is_all {
            break;
        }
        let end = Bytes::from([b"[", &greatest[..]].concat());
        ids = byte_strings(
            store
                .driver()
                .call("delete_thread", ends(&last, end))
                .await?,
        );
    }
    Ok(())
}

async fn remove_named(
    store: &Store,
    keys: &NamespaceKeys,
    ids: &[Bytes],
    counter: &mut Counter,
) -> Result<()> {
    remove_from(store, keys, ids, false, counter).await
}

/// Comes to the end of removing a checkpoint that another call has begun to remove, if its writes
/// are still being removed: then something can be stored under its id again.
pub(super) async fn finish_removal(
    store: &Store,
    keys: &NamespaceKeys,
    id: &CheckpointId,
) -> Result<()> {
    let mut counter = Counter::new(None);
    remove_from(store, keys, &[text(id.as_str())], true, &mut counter).await
}

async fn remove_from(
    store: &Store,
    keys: &NamespaceKeys,
    ids: &[Bytes],
    mut goes_on: bool,
    counter: &mut Counter,
) -> Result<()> {
    let mut left = ids;
    // How many members of the first one's registries of writes are others'.
    let mut skip = [0, 0];
    loop {
        let slice = &left[..left.len().min(SLICE)];
        let call = RemoveCall {
            keys: keys.clone(),
            ids: slice.to_vec(),
            max_writes: WRITES,
            skip,
            goes_on,
        };
        let removed = store.script("delete", call).await?;
        counter.add(removed.documents as u64, removed.writes as u64);
        skip = removed.skip;
        left = &left[removed.done.min(slice.len())..];
        goes_on = removed.done < slice.len();
        // With nothing to remove one call still puts the pointer and the registry right.
        if left.is_empty() {
            break;
        }
    }
    store.forget(keys);
    Ok(())
}

/// Removes writes, each with the registry that would name it, which that does not name, and returns
/// how many there were. What is stored beside them at the same time stays whole.
pub(super) async fn remove_unregistered(
    store: &Store,
    thread: &ThreadId,
    writes: Vec<(Bytes, Bytes)>,
) -> Result<u64> {
    let mut of = BTreeMap::<Bytes, Vec<Bytes>>::new();
    for (registry, write) in writes {
        of.entry(registry).or_default().push(write);
    }
    let steps: Vec<_> = of
        .iter()
        .flat_map(|(registry, writes)| writes.chunks(PAGE).map(move |page| (registry, page)))
        .map(|(registry, page)| {
            Step::from(RemoveUnregisteredCall {
                registry: registry.clone(),
                writes: page.to_vec(),
                thread: text(thread.as_str()),
            })
        })
        .collect();
    let mut removed = 0;
    for reply in store.pipeline("delete_thread", steps).await? {
        let Count(count) = reply?.into();
        removed += u64::try_from(count).unwrap_or(0);
    }
    Ok(removed)
}

/// Removes the keys whose documents name a thread, and returns how many there were.
pub(super) async fn remove_keys(store: &Store, thread: &ThreadId, keys: Vec<Bytes>) -> Result<u64> {
    let mut removed = 0;
    for page in keys.chunks(PAGE) {
        let steps = page.iter().map(|key| {
            Step::from(RemoveKeyCall {
                key: key.clone(),
                thread: text(thread.as_str()),
                checkpoint: None,
                or_nameless: false,
            })
        });
        for reply in store.pipeline("delete_thread", steps.collect()).await? {
            removed += u64::from(reply?.as_int() == Some(1));
        }
    }
    Ok(removed)
}
