//! Removes checkpoints with their writes.

use bytes::Bytes;

use super::args::{number, text};
use super::driver::{Command, Reply};
use super::keys::NamespaceKeys;
use super::progress::Counter;
use super::replies::byte_strings;
use super::scripts;
use super::store::{Step, Store};
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
        .driver
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
        ids = byte_strings(store.driver.call("delete_thread", ends(&last, end)).await?);
    }
    Ok(())
}

async fn remove_named(
    store: &Store,
    keys: &NamespaceKeys,
    ids: &[Bytes],
    counter: &mut Counter,
) -> Result<()> {
    let mut left = ids;
    // How many members of the first one's registries of writes are others'.
    let mut stay = [0, 0];
    loop {
        let slice = &left[..left.len().min(SLICE)];
        let mut args = vec![
            keys.documents.clone(),
            keys.write_registries.clone(),
            keys.writes.clone(),
            keys.shared_write_registries.clone(),
            keys.stored.clone(),
            keys.thread.clone(),
            number(WRITES),
        ];
        args.extend(stay.map(number));
        args.extend_from_slice(slice);
        let call = scripts::REMOVE.call(
            vec![
                keys.registry.clone(),
                keys.pointer.clone(),
                keys.namespaces.clone(),
            ],
            args,
        );
        let reply = store.script("delete", call).await?.into_array();
        let number = |position: usize| {
            reply
                .get(position)
                .and_then(Reply::as_int)
                .and_then(|number| u64::try_from(number).ok())
                .unwrap_or(0)
        };
        counter.add(number(0), number(1));
        stay = [number(3), number(4)];
        let done = usize::try_from(number(2)).unwrap_or(0);
        left = &left[done.min(slice.len())..];
        // With nothing to remove one call still puts the pointer and the registry right.
        if left.is_empty() {
            break;
        }
    }
    store.forget(keys);
    Ok(())
}

/// Removes the keys whose documents name a thread, and returns how many there were.
pub(super) async fn remove_keys(store: &Store, thread: &ThreadId, keys: Vec<Bytes>) -> Result<u64> {
    let mut removed = 0;
    for page in keys.chunks(PAGE) {
        let steps = page.iter().map(|key| {
            let args = vec![
                text(thread.as_str()),
                Bytes::new(),
                Bytes::new(),
                Bytes::new(),
            ];
            Step::from(scripts::REMOVE_KEY.call(vec![key.clone()], args))
        });
        for reply in store.flight("delete_thread", steps.collect()).await? {
            removed += u64::from(reply?.as_int() == Some(1));
        }
    }
    Ok(removed)
}
