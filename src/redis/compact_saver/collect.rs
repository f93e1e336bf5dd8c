//! The collector: removes the parts that no head, no write and no other part names any more.
//!
//! It walks over all heads and writes of a thread and the index parts below them, then over all parts, and
//! removes those that it has not come across, if the thread was not written since it began: what was put
//! in between may name a part that nothing named before. If it was, the walk starts over, a few times; then
//! what is left waits for the next collector. Stopped midway, it leaves nothing undone that is needed.

use std::collections::HashSet;

use bytes::Bytes;

use super::Compact;
use super::scripts::{self, Named, Naming};
use crate::error::Result;
use crate::id::ThreadId;
use crate::redis::compact::Digest;
use crate::redis::driver::Command;
use crate::redis::keys::CompactKeys;
use crate::redis::replies::byte_strings;

/// How many heads or writes are looked at in one step.
const MEMBERS: usize = 200;

/// How many index parts are read in one step.
const INDEXES: usize = 100;

/// How many parts are removed in one step.
const PARTS: usize = 500;

/// How many blobs are removed in one step.
const BLOBS: usize = 100;

/// How often a walk starts over because the thread was written.
const ATTEMPTS: usize = 3;

/// What was found of the parts of a thread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Collected {
    /// How many parts nothing names.
    pub(super) unnamed: u64,
    /// How many of these were removed.
    pub(super) removed: u64,
    /// How many parts are named and not there.
    pub(super) absent: u64,
}

/// Removes the parts of a thread that nothing names; `None` if the thread was written at each attempt.
pub(super) async fn collect(
    layout: &Compact,
    operation: &'static str,
    thread: &ThreadId,
) -> Result<Option<Collected>> {
    for _ in 0..ATTEMPTS {
        if !collect_blobs(layout, operation, thread).await? {
            continue;
        }
        let collected = walk(layout, operation, thread, Unnamed::Remove).await?;
        if collected.is_some() {
            return Ok(collected);
        }
    }
    tracing::debug!(%thread, "the thread is being written: what nothing names is removed another time");
    Ok(None)
}

/// Counts the parts of a thread that nothing names, and removes nothing; `None` if the thread is written
/// meanwhile.
pub(super) async fn count(
    layout: &Compact,
    operation: &'static str,
    thread: &ThreadId,
) -> Result<Option<Collected>> {
    walk(layout, operation, thread, Unnamed::Count).await
}

/// Removes the blobs that no checkpoint names; `false` if the thread was written meanwhile.
async fn collect_blobs(
    layout: &Compact,
    operation: &'static str,
    thread: &ThreadId,
) -> Result<bool> {
    let store = &layout.store;
    let keys = store.keyspace.compact(thread);
    let read = Command::on("HMGET", keys.parts.clone());
    let read = read.args(["version", "blobs"].map(Bytes::from));
    let found = byte_strings(store.driver().call(operation, read).await?);
    let [version, blobs] = &found[..] else {
        return Ok(true);
    };
    if blobs == "0" {
        return Ok(true);
    }
    for namespace in layout.namespaces_with_blobs(operation, thread).await? {
        let unnamed = layout.unnamed_blobs(operation, thread, &namespace).await?;
        for slice in unnamed.chunks(BLOBS) {
            let removed = scripts::collect_blobs(store, operation, &keys, version, slice);
            if removed.await?.is_none() {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// What becomes of the parts that nothing names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unnamed {
    Count,
    Remove,
}

/// One walk; `None` if the thread was written while it went on.
async fn walk(
    layout: &Compact,
    operation: &'static str,
    thread: &ThreadId,
    unnamed_parts: Unnamed,
) -> Result<Option<Collected>> {
    let store = &layout.store;
    let keys = store.keyspace.compact(thread);
    let Some((version, named)) = named_parts(layout, operation, &keys).await? else {
        return Ok(None);
    };
    let mut collected = Collected::default();
    let mut found = HashSet::new();
    let mut unnamed = Vec::new();
    let mut cursor = Some(Bytes::from_static(b"0"));
    while let Some(at) = cursor {
        let (next, page) = scripts::digests(store, operation, &keys, at).await?;
        cursor = next;
        for digest in page {
            // A walk over a hash may come to a field twice.
            if named.contains(&digest) {
                found.insert(digest);
            } else {
                unnamed.push(digest);
            }
        }
    }
    unnamed.sort_unstable();
    unnamed.dedup();
    collected.unnamed = unnamed.len() as u64;
    collected.absent = named.difference(&found).count() as u64;
    if unnamed_parts == Unnamed::Count {
        let again = scripts::collect(store, operation, &keys, &version, &[]).await?;
        return Ok(again.map(|_| collected));
    }
    for slice in unnamed.chunks(PARTS) {
        match scripts::collect(store, operation, &keys, &version, slice).await? {
            Some(removed) => collected.removed += removed,
            None => return Ok(None),
        }
    }
    Ok(Some(collected))
}

/// The parts that heads, writes and other parts name, and the version of the thread; `None` if that changes
/// meanwhile.
async fn named_parts(
    layout: &Compact,
    operation: &'static str,
    keys: &CompactKeys,
) -> Result<Option<(Bytes, HashSet<Digest>)>> {
    let store = &layout.store;
    let mut version = None;
    let mut named = HashSet::new();
    let mut indexes: Vec<Named> = Vec::new();
    for naming in [Naming::Heads, Naming::Writes] {
        let mut last = Bytes::new();
        loop {
            let page = scripts::roots(store, operation, keys, naming, last, MEMBERS).await?;
            if *version.get_or_insert_with(|| page.version.clone()) != page.version {
                return Ok(None);
            }
            take(page.named, &mut named, &mut indexes);
            if page.next.is_empty() {
                break;
            }
            last = page.next;
        }
    }
    while !indexes.is_empty() {
        let some = indexes.split_off(indexes.len().saturating_sub(INDEXES));
        let some: Vec<Digest> = some.into_iter().map(|index| index.digest).collect();
        let children = scripts::children(store, operation, keys, &some).await?;
        take(children, &mut named, &mut indexes);
    }
    Ok(version.map(|version| (version, named)))
}

/// Takes note of parts that are named, and of the index parts among them that were not seen before.
fn take(found: Vec<Named>, named: &mut HashSet<Digest>, indexes: &mut Vec<Named>) {
    for part in found {
        if named.insert(part.digest) && part.level > 0 {
            indexes.push(part);
        }
    }
}
