//! The collector: removes the parts that no head, no write and no other part names any more.
//!
//! It walks over all heads and writes of a thread and the index parts below them, then over all
//! parts, and removes those that it has not come across, if the thread was not written since it
//! began: what was put in between may name a part that nothing named before. If it was, the walk
//! starts over, a few times; then what is left waits for the next collector.
//!
//! A put checks only that the roots of what it does not send are there. So an index part goes
//! before what is below it, also if the collector is stopped midway: what is there has all that it
//! names.
//!
//! What removes heads or writes leaves a note in the thread, which the collector takes away when it
//! is done. As long as it is there, the next call that prunes the thread collects what was left.

use std::collections::HashSet;

use bytes::Bytes;

use super::Compact;
use super::scripts::{self, Named, Naming, Note};
use crate::error::Result;
use crate::id::ThreadId;
use crate::redis::compact::Digest;
use crate::redis::driver::{Command, Reply};
use crate::redis::error::of_key;
use crate::redis::keys::CompactKeys;

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
pub(super) struct Counted {
    /// How many parts nothing names.
    pub(super) unnamed: u64,
    /// How many parts are named and not there.
    pub(super) absent: u64,
}

/// Removes the parts of a thread that nothing names: how many there were, `None` if the thread is
/// being written.
pub(super) async fn collect(
    layout: &Compact,
    operation: &'static str,
    thread: &ThreadId,
) -> Result<Option<u64>> {
    for _ in 0..ATTEMPTS {
        let start = Start::of(layout, operation, thread).await?;
        if !collect_blobs(layout, operation, thread, &start).await? {
            continue;
        }
        let survey = Survey::of(layout, operation, thread).await?;
        if let Some(survey) = survey
            && let Some(removed) = survey.remove(layout, operation, thread, &start).await?
        {
            return Ok(Some(removed));
        }
    }
    tracing::debug!(%thread, "the thread is being written: what nothing names is removed another time");
    Ok(None)
}

/// The same if something was removed from the thread since a collector was done.
pub(super) async fn collect_what_was_left(
    layout: &Compact,
    operation: &'static str,
    thread: &ThreadId,
) -> Result<()> {
    let start = Start::of(layout, operation, thread).await?;
    if !start.removed.is_empty() {
        collect(layout, operation, thread).await?;
    }
    Ok(())
}

/// Counts the parts of a thread that nothing names and those that are gone, and removes nothing;
/// `None` if the thread is written at the same time.
pub(super) async fn count(
    layout: &Compact,
    operation: &'static str,
    thread: &ThreadId,
) -> Result<Option<Counted>> {
    let Some(mut survey) = Survey::of(layout, operation, thread).await? else {
        return Ok(None);
    };
    if !survey.absent.is_empty() {
        // What was removed together with its checkpoint since is not named the next time.
        let Some(again) = Survey::of(layout, operation, thread).await? else {
            return Ok(None);
        };
        survey.absent.retain(|part| again.absent.contains(part));
        survey.version = again.version;
    }
    let start = Start::of(layout, operation, thread).await?;
    let counted = Counted {
        unnamed: survey.unnamed.len() as u64,
        absent: survey.absent.len() as u64,
    };
    Ok((start.version == survey.version).then_some(counted))
}

/// What a thread says of itself before a walk.
#[derive(Debug, Default)]
struct Start {
    version: Bytes,
    has_blobs: bool,
    /// How often something was removed since a collector was done; empty for never.
    removed: Bytes,
}

impl Start {
    async fn of(layout: &Compact, operation: &'static str, thread: &ThreadId) -> Result<Self> {
        let parts = layout.store.keyspace.compact(thread).parts;
        let read = Command::on("HMGET", parts.clone());
        let read = read.args(["version", "blobs", "removed"].map(Bytes::from));
        let found = layout.store.driver().call(operation, read).await;
        let found = found.map_err(|error| of_key(&parts, error))?;
        let mut found = found.into_array().into_iter();
        let mut next = || found.next().and_then(Reply::into_bytes).unwrap_or_default();
        let (version, blobs, removed) = (next(), next(), next());
        Ok(Self {
            version,
            has_blobs: !blobs.is_empty() && blobs != "0",
            removed,
        })
    }
}

/// Removes the blobs that no checkpoint names; `false` if the thread was written since.
async fn collect_blobs(
    layout: &Compact,
    operation: &'static str,
    thread: &ThreadId,
    start: &Start,
) -> Result<bool> {
    if !start.has_blobs {
        return Ok(true);
    }
    let store = &layout.store;
    let keys = store.keyspace.compact(thread);
    for namespace in layout.namespaces_with_blobs(operation, thread).await? {
        let unnamed = layout.unnamed_blobs(operation, thread, &namespace).await?;
        for slice in unnamed.chunks(BLOBS) {
            let removed = scripts::collect_blobs(store, operation, &keys, &start.version, slice);
            if removed.await?.is_none() {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// What a walk over a thread has come across.
#[derive(Debug)]
struct Survey {
    /// The version that the thread had.
    version: Bytes,
    /// The parts that nothing names, each once, those that may name others first.
    unnamed: Vec<Named>,
    /// The parts that are named and not there.
    absent: HashSet<Digest>,
}

impl Survey {
    /// Walks over a thread; `None` if it was written while its heads and writes were read.
    async fn of(
        layout: &Compact,
        operation: &'static str,
        thread: &ThreadId,
    ) -> Result<Option<Self>> {
        let store = &layout.store;
        let keys = store.keyspace.compact(thread);
        let Some((version, named)) = named_parts(layout, operation, &keys).await? else {
            return Ok(None);
        };
        let mut absent = named.clone();
        let mut unnamed = Vec::new();
        let mut cursor = Some(Bytes::from_static(b"0"));
        while let Some(at) = cursor {
            let (next, page) = scripts::digests(store, operation, &keys, at).await?;
            cursor = next;
            for part in page {
                // A walk over a hash may come to a field twice.
                if named.contains(&part.digest) {
                    absent.remove(&part.digest);
                } else {
                    unnamed.push(part);
                }
            }
        }
        unnamed.sort_unstable_by(|one, other| other.cmp(one));
        unnamed.dedup();
        Ok(Some(Self {
            version,
            unnamed,
            absent,
        }))
    }

    /// Removes what nothing names: how many parts there were, `None` if the thread was written
    /// since.
    async fn remove(
        &self,
        layout: &Compact,
        operation: &'static str,
        thread: &ThreadId,
        start: &Start,
    ) -> Result<Option<u64>> {
        let store = &layout.store;
        let keys = store.keyspace.compact(thread);
        let mut left = &self.unnamed[..];
        let mut removed = 0;
        loop {
            let (slice, rest) = left.split_at(left.len().min(PARTS));
            left = rest;
            let note = if left.is_empty() {
                Note::Goes(&start.removed)
            } else {
                Note::Stays
            };
            let version = &self.version;
            match scripts::collect(store, operation, &keys, version, note, slice).await? {
                Some(count) => removed += count,
                None => return Ok(None),
            }
            if left.is_empty() {
                return Ok(Some(removed));
            }
        }
    }
}

/// The parts that heads, writes and other parts name, and the version of the thread; `None` if that
/// changes on the way.
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
