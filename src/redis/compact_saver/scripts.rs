//! The calls of the scripts of the compact layout.

use std::time::Duration;

use bytes::Bytes;

use super::place;
use crate::error::{Error, Result};
use crate::id::{CheckpointId, CheckpointNamespace};
use crate::options::ExpectedParent;
use crate::redis::args::{milliseconds, number};
use crate::redis::compact::{Digest, NewParts};
use crate::redis::driver::Reply;
use crate::redis::error::unreadable_member;
use crate::redis::keys::{CheckpointRef, CompactKeys};
use crate::redis::replies::byte_strings;
use crate::redis::scripts::{
    COMPACT_BLOBS, COMPACT_CHILDREN, COMPACT_COLLECT, COMPACT_COLLECT_BLOBS, COMPACT_DELETE,
    COMPACT_DIGESTS, COMPACT_EARLY, COMPACT_FORGET_WRITES, COMPACT_HISTORY, COMPACT_NAMESPACES,
    COMPACT_PAGE, COMPACT_PUT, COMPACT_PUT_WRITES, COMPACT_READ, COMPACT_REMOVE, COMPACT_RESEAL,
    COMPACT_ROOTS, COMPACT_TTL, COMPACT_WRITES, OneSlot,
};
use crate::redis::store::Store;

/// Blobs to store, each as its place behind that of all blobs and its record, and their parts.
#[derive(Default)]
pub(super) struct NewBlobs {
    pub(super) blobs: Vec<(Bytes, Bytes)>,
    pub(super) parts: NewParts,
}

/// Stores a checkpoint and blobs of it; gives the digests that the thread lacks, and nothing was
/// stored then.
pub(super) struct PutCall<'a> {
    pub(super) at: &'a CheckpointRef,
    pub(super) head: Bytes,
    pub(super) parts: &'a NewParts,
    pub(super) blobs: &'a NewBlobs,
    pub(super) ttl: Option<Duration>,
    pub(super) expected: &'a ExpectedParent,
}

impl PutCall<'_> {
    pub(super) fn on(&self, keys: &CompactKeys) -> OneSlot {
        let expected = match self.expected {
            ExpectedParent::Any => Bytes::new(),
            ExpectedParent::None => Bytes::from_static(b"-"),
            ExpectedParent::Is(id) => [b"=", &place::id(id.as_str())[..]].concat().into(),
        };
        let mut args = vec![
            place::of_namespace(&self.at.namespace),
            place::of_checkpoint(self.at),
            self.head.clone(),
            milliseconds(self.ttl),
            expected,
            number(self.parts.assumed.len() + self.blobs.parts.assumed.len()),
            number(self.blobs.blobs.len()),
        ];
        let parts = [self.parts, &self.blobs.parts];
        append_digests(&mut args, &parts);
        append_pairs(&mut args, &self.blobs.blobs);
        append_parts(&mut args, &parts);
        COMPACT_PUT.call(keys.all(), args)
    }
}

/// Stores writes; gives the digests that the thread lacks, and nothing was stored then.
pub(super) struct PutWritesCall<'a> {
    pub(super) place: Bytes,
    /// Each as its place behind that of its checkpoint, and its record.
    pub(super) writes: Vec<(Bytes, Bytes)>,
    pub(super) parts: &'a NewParts,
    pub(super) replace: bool,
    pub(super) ttl: Option<Duration>,
}

impl PutWritesCall<'_> {
    pub(super) fn on(&self, keys: &CompactKeys) -> OneSlot {
        let mut args = vec![
            self.place.clone(),
            Bytes::from_static(if self.replace { b"replace" } else { b"keep" }),
            milliseconds(self.ttl),
            number(self.writes.len()),
            number(self.parts.assumed.len()),
        ];
        append_pairs(&mut args, &self.writes);
        append_digests(&mut args, &[self.parts]);
        append_parts(&mut args, &[self.parts]);
        COMPACT_PUT_WRITES.call(keys.all(), args)
    }
}

fn append_pairs(args: &mut Vec<Bytes>, pairs: &[(Bytes, Bytes)]) {
    for (place, record) in pairs {
        args.push(place.clone());
        args.push(record.clone());
    }
}

/// Appends the digests that a thread must have.
fn append_digests(args: &mut Vec<Bytes>, parts: &[&NewParts]) {
    args.extend(parts.iter().flat_map(|parts| &parts.assumed).map(bytes_of));
}

/// Appends parts behind their digests.
fn append_parts(args: &mut Vec<Bytes>, parts: &[&NewParts]) {
    for (digest, part) in parts.iter().flat_map(|parts| &parts.stored) {
        args.push(bytes_of(digest));
        args.push(part.clone());
    }
}

pub(super) fn bytes_of(digest: &Digest) -> Bytes {
    Bytes::copy_from_slice(digest.as_bytes())
}

/// Whether a thread lacked parts of a put, which then stored nothing.
pub(super) fn lacks_parts(reply: Reply) -> bool {
    !reply.into_array().is_empty()
}

/// Which parts a read returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WantedParts {
    None,
    All,
    /// All, unless this checkpoint is what is read.
    Unless(CheckpointId),
}

/// Reads a checkpoint.
#[derive(Debug, Clone)]
pub(super) struct ReadCall<'a> {
    pub(super) namespace: &'a CheckpointNamespace,
    /// `None` for the newest.
    pub(super) at: Option<&'a CheckpointRef>,
    pub(super) ttl: Option<Duration>,
    pub(super) most_writes: usize,
    pub(super) parts: WantedParts,
}

/// A checkpoint as it is stored.
#[derive(Debug, Clone)]
pub(super) struct StoredCheckpoint {
    pub(super) id: Bytes,
    pub(super) head: Bytes,
    /// The members of its writes.
    pub(super) writes: Vec<Bytes>,
    pub(super) has_more_writes: bool,
    /// Parts behind their digests.
    pub(super) parts: Vec<Bytes>,
}

impl ReadCall<'_> {
    pub(super) fn on(&self, keys: &CompactKeys) -> OneSlot {
        let namespace = place::of_namespace(self.namespace);
        let known = match &self.parts {
            WantedParts::None => Bytes::from_static(b"-"),
            WantedParts::All => Bytes::new(),
            WantedParts::Unless(id) => [&namespace[..], &place::id(id.as_str()), b"\0"]
                .concat()
                .into(),
        };
        let args = vec![
            namespace,
            self.at.map(place::of_checkpoint).unwrap_or_default(),
            milliseconds(self.ttl),
            number(self.most_writes),
            known,
        ];
        COMPACT_READ.call(keys.all(), args)
    }
}

impl StoredCheckpoint {
    /// What [`ReadCall`] found.
    pub(super) fn found(reply: Reply) -> Option<Self> {
        let mut elements = reply.into_array().into_iter();
        Some(Self {
            id: elements.next()?.into_bytes()?,
            head: elements.next()?.into_bytes()?,
            writes: byte_strings(elements.next()?),
            has_more_writes: elements.next()?.as_int() == Some(1),
            parts: elements.next().map(byte_strings).unwrap_or_default(),
        })
    }
}

/// A page of the writes of a checkpoint, and whether that is there.
pub(super) async fn writes(
    store: &Store,
    operation: &'static str,
    keys: &CompactKeys,
    place: &Bytes,
    last: Option<&Bytes>,
    most: usize,
) -> Result<(bool, Vec<Bytes>)> {
    let args = vec![
        place.clone(),
        last.cloned().unwrap_or_default(),
        number(most),
    ];
    let call = COMPACT_WRITES.call(keys.all(), args);
    let mut elements = store
        .script(operation, call)
        .await?
        .into_array()
        .into_iter();
    let is_there = elements.next().and_then(|there| there.as_int()) == Some(1);
    Ok((
        is_there,
        elements.next().map(byte_strings).unwrap_or_default(),
    ))
}

/// Which ids of a namespace come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    NewestFirst,
    OldestFirst,
}

/// A page of the ids of a namespace.
pub(super) fn page_call(
    keys: &CompactKeys,
    namespace: &CheckpointNamespace,
    order: Order,
    start: Option<&CheckpointId>,
    most: usize,
) -> OneSlot {
    let order: &[u8] = match order {
        Order::NewestFirst => b"newest",
        Order::OldestFirst => b"oldest",
    };
    let args = vec![
        place::of_namespace(namespace),
        Bytes::from_static(order),
        start.map(|id| place::id(id.as_str())).unwrap_or_default(),
        number(most),
    ];
    COMPACT_PAGE.call(keys.all(), args)
}

/// The ids of a page, and whether there may be more.
pub(super) fn page_of(keys: &CompactKeys, reply: Reply) -> Result<(bool, Vec<CheckpointId>)> {
    let mut elements = reply.into_array().into_iter();
    let more = elements.next().and_then(|more| more.as_int()) == Some(1);
    let ids = elements.next().map(byte_strings).unwrap_or_default();
    let ids = ids
        .iter()
        .map(|id| place::read_id(id).ok_or_else(|| unreadable(&keys.heads)));
    Ok((more, ids.collect::<Result<_>>()?))
}

/// What a thread has.
pub(super) struct Overview {
    /// The number of its checkpoints.
    pub(super) checkpoints: u64,
    /// The milliseconds that it is left, negative without a TTL.
    pub(super) left: i64,
    /// A page of its namespaces, each with its newest checkpoint.
    pub(super) namespaces: Vec<(CheckpointNamespace, CheckpointId)>,
}

/// A page of the namespaces of a thread.
pub(super) fn namespaces_call(
    keys: &CompactKeys,
    last: Option<&CheckpointNamespace>,
    most: usize,
) -> OneSlot {
    let last = last.map(place::of_namespace).unwrap_or_default();
    COMPACT_NAMESPACES.call(keys.all(), vec![last, number(most)])
}

impl Overview {
    pub(super) fn of(keys: &CompactKeys, reply: Reply) -> Result<Self> {
        let mut elements = reply.into_array().into_iter();
        let mut int = || elements.next().and_then(|number| number.as_int());
        let (checkpoints, left) = (int().unwrap_or(0), int().unwrap_or(-2));
        let found = elements.next().map(byte_strings).unwrap_or_default();
        let namespaces = found.chunks_exact(2).map(|pair| {
            let namespace = place::read_namespace(&pair[0]);
            let id = place::read_id(&pair[1]);
            namespace.zip(id).ok_or_else(|| unreadable(&keys.heads))
        });
        Ok(Self {
            checkpoints: u64::try_from(checkpoints).unwrap_or(0),
            left,
            namespaces: namespaces.collect::<Result<_>>()?,
        })
    }
}

/// Checkpoints of which there are writes alone.
pub(super) struct Early {
    /// Where to go on; empty after the last.
    pub(super) next: Bytes,
    pub(super) checkpoints: Vec<(CheckpointNamespace, CheckpointId)>,
    /// The namespaces that have blobs.
    pub(super) with_blobs: Vec<CheckpointNamespace>,
}

/// The checkpoints that are not there and have writes, of at most about that many.
pub(super) async fn early(
    store: &Store,
    operation: &'static str,
    keys: &CompactKeys,
    last: Bytes,
    most: usize,
) -> Result<Early> {
    let call = COMPACT_EARLY.call(keys.all(), vec![last, number(most)]);
    let mut elements = store
        .script(operation, call)
        .await?
        .into_array()
        .into_iter();
    let next = elements.next().and_then(Reply::into_bytes);
    let places = elements.next().map(byte_strings).unwrap_or_default();
    let with_blobs = elements.next().map(byte_strings).unwrap_or_default();
    let with_blobs = with_blobs
        .iter()
        .map(|namespace| place::read_namespace(namespace).ok_or_else(|| unreadable(&keys.writes)));
    let checkpoints = places
        .iter()
        .map(|place| place::read_checkpoint(place).ok_or_else(|| unreadable(&keys.writes)));
    Ok(Early {
        next: next.unwrap_or_default(),
        checkpoints: checkpoints.collect::<Result<_>>()?,
        with_blobs: with_blobs.collect::<Result<_>>()?,
    })
}

/// Reads blobs of a checkpoint: whether that is there, the milliseconds that the thread is left,
/// and the members of those that are there.
pub(super) struct BlobsCall<'a> {
    pub(super) namespace: &'a CheckpointNamespace,
    pub(super) checkpoint: Option<&'a CheckpointRef>,
    /// Of each blob, behind that of all blobs.
    pub(super) places: Vec<Bytes>,
}

impl BlobsCall<'_> {
    pub(super) async fn run(
        self,
        store: &Store,
        operation: &'static str,
        keys: &CompactKeys,
    ) -> Result<(bool, i64, Vec<Bytes>)> {
        let checkpoint = self.checkpoint.map(place::of_checkpoint);
        let mut args = vec![
            place::of_namespace(self.namespace),
            checkpoint.unwrap_or_default(),
        ];
        args.extend(self.places);
        let reply = store.script(operation, COMPACT_BLOBS.call(keys.all(), args));
        let mut elements = reply.await?.into_array().into_iter();
        let mut int = || elements.next().and_then(|number| number.as_int());
        let (is_there, left) = (int() == Some(1), int().unwrap_or(-2));
        Ok((
            is_there,
            left,
            elements.next().map(byte_strings).unwrap_or_default(),
        ))
    }
}

/// Removes blobs, if the version of the thread is still this one: how many there were, else `None`.
pub(super) async fn collect_blobs(
    store: &Store,
    operation: &'static str,
    keys: &CompactKeys,
    version: &Bytes,
    places: &[Bytes],
) -> Result<Option<u64>> {
    let mut args = vec![version.clone()];
    args.extend_from_slice(places);
    let reply = store.script(operation, COMPACT_COLLECT_BLOBS.call(keys.all(), args));
    let count = reply.await?.as_int().unwrap_or(-1);
    Ok(u64::try_from(count).ok())
}

/// The key that is gone if all writes of a thread are lost; they are forgotten if it is to be put
/// right.
pub(super) async fn forget_writes(
    store: &Store,
    operation: &'static str,
    keys: &CompactKeys,
    fixes: bool,
) -> Result<Option<Bytes>> {
    let mode: &[u8] = if fixes { b"fix" } else { b"look" };
    let args = vec![Bytes::from_static(mode)];
    let reply = store.script(operation, COMPACT_FORGET_WRITES.call(keys.all(), args));
    Ok(reply.await?.into_bytes())
}

/// Reads ancestors, newest first: where to go on, and what was found.
pub(super) struct HistoryCall<'a> {
    pub(super) namespace: &'a CheckpointNamespace,
    /// Where to begin, as ids are in members; empty for the newest.
    pub(super) start: Bytes,
    pub(super) from_parent: bool,
    pub(super) most: usize,
    pub(super) most_writes: usize,
}

impl HistoryCall<'_> {
    pub(super) async fn run(
        self,
        store: &Store,
        keys: &CompactKeys,
    ) -> Result<(Bytes, Vec<StoredCheckpoint>)> {
        let args = vec![
            place::of_namespace(self.namespace),
            self.start,
            number(u8::from(self.from_parent)),
            number(self.most),
            number(self.most_writes),
        ];
        let call = COMPACT_HISTORY.call(keys.all(), args);
        let reply = store.script("delta_channel_history", call).await?;
        let mut elements = reply.into_array().into_iter();
        let next = elements.next().and_then(Reply::into_bytes);
        let found = elements.filter_map(StoredCheckpoint::found).collect();
        Ok((next.unwrap_or_default(), found))
    }
}

/// Removes what stands at places: how many checkpoints and writes that were.
pub(super) async fn remove(
    store: &Store,
    operation: &'static str,
    keys: &CompactKeys,
    places: Vec<Bytes>,
) -> Result<(u64, u64)> {
    let call = COMPACT_REMOVE.call(keys.all(), places);
    store.script(operation, call).await.map(two_counts)
}

/// Deletes a thread: how many checkpoints and writes it had.
pub(super) async fn delete(
    store: &Store,
    operation: &'static str,
    keys: &CompactKeys,
) -> Result<(u64, u64)> {
    let call = COMPACT_DELETE.call(keys.all(), Vec::new());
    store.script(operation, call).await.map(two_counts)
}

fn two_counts(reply: Reply) -> (u64, u64) {
    let mut elements = reply.into_array().into_iter();
    let mut count = || {
        let count = elements.next().and_then(|count| count.as_int());
        count
            .and_then(|count| u64::try_from(count).ok())
            .unwrap_or(0)
    };
    (count(), count())
}

/// What becomes of the TTL of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TtlChange {
    Touch(Duration),
    Pin,
    Unpin(Duration),
}

/// Changes the TTL of a thread; `false` if it is not there.
pub(super) async fn change_ttl(
    store: &Store,
    operation: &'static str,
    keys: &CompactKeys,
    change: TtlChange,
) -> Result<bool> {
    let (verb, ttl): (&[u8], _) = match change {
        TtlChange::Touch(ttl) => (b"touch", Some(ttl)),
        TtlChange::Pin => (b"pin", None),
        TtlChange::Unpin(ttl) => (b"unpin", Some(ttl)),
    };
    let args = vec![Bytes::from_static(verb), milliseconds(ttl)];
    let reply = store.script(operation, COMPACT_TTL.call(keys.all(), args));
    Ok(reply.await?.as_int() == Some(1))
}

/// A part that something names, and how far above the leaves it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Named {
    pub(super) level: u8,
    pub(super) digest: Digest,
}

/// What names parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    Heads,
    Writes,
}

impl Naming {
    fn name(self) -> Bytes {
        Bytes::from_static(match self {
            Self::Heads => b"heads",
            Self::Writes => b"writes",
        })
    }

    /// The key of a thread that holds them.
    pub(super) fn key(self, keys: &CompactKeys) -> &Bytes {
        match self {
            Self::Heads => &keys.heads,
            Self::Writes => &keys.writes,
        }
    }
}

/// A page of the roots of heads or of writes.
pub(super) struct Roots {
    /// Changes with every write to the thread.
    pub(super) version: Bytes,
    /// Where to go on; empty after the last.
    pub(super) next: Bytes,
    pub(super) named: Vec<Named>,
}

/// Reads the roots of a page of heads or writes.
pub(super) async fn roots(
    store: &Store,
    operation: &'static str,
    keys: &CompactKeys,
    naming: Naming,
    last: Bytes,
    most: usize,
) -> Result<Roots> {
    let args = vec![naming.name(), last, number(most)];
    let call = COMPACT_ROOTS.call(keys.all(), args);
    let mut elements = store
        .script(operation, call)
        .await?
        .into_array()
        .into_iter();
    let mut bytes = || {
        elements
            .next()
            .and_then(Reply::into_bytes)
            .unwrap_or_default()
    };
    let (version, next) = (bytes(), bytes());
    Ok(Roots {
        version,
        next,
        named: named(elements.next().unwrap_or(Reply::Nil)),
    })
}

/// Reads what index parts name.
pub(super) async fn children(
    store: &Store,
    operation: &'static str,
    keys: &CompactKeys,
    of: &[Digest],
) -> Result<Vec<Named>> {
    let call = COMPACT_CHILDREN.call(keys.all(), of.iter().map(bytes_of).collect());
    store.script(operation, call).await.map(named)
}

fn named(reply: Reply) -> Vec<Named> {
    let read = |bytes: Bytes| {
        let (level, digest) = bytes.split_first()?;
        Some(Named {
            level: *level,
            digest: Digest::from_slice(digest)?,
        })
    };
    byte_strings(reply).into_iter().filter_map(read).collect()
}

/// A page of all parts of a thread, with the cursor to go on with; `None` after the last.
pub(super) async fn digests(
    store: &Store,
    operation: &'static str,
    keys: &CompactKeys,
    cursor: Bytes,
) -> Result<(Option<Bytes>, Vec<Named>)> {
    let call = COMPACT_DIGESTS.call(keys.all(), vec![cursor]);
    let mut elements = store
        .script(operation, call)
        .await?
        .into_array()
        .into_iter();
    let cursor = elements.next().and_then(Reply::into_bytes);
    let found = elements.next().map(named).unwrap_or_default();
    Ok((cursor.filter(|cursor| cursor != "0"), found))
}

/// What becomes of the note that something was removed, and that parts may not be named any more.
#[derive(Debug, Clone, Copy)]
pub(super) enum Note<'a> {
    /// It stays: more parts are removed next.
    Stays,
    /// It goes, if nothing was removed since it said this.
    Goes(&'a Bytes),
}

/// Removes parts, if the version of the thread is still this one: how many there were, else `None`.
pub(super) async fn collect(
    store: &Store,
    operation: &'static str,
    keys: &CompactKeys,
    version: &Bytes,
    note: Note<'_>,
    parts: &[Named],
) -> Result<Option<u64>> {
    let note = match note {
        Note::Stays => Bytes::from_static(b"more"),
        Note::Goes(said) => said.clone(),
    };
    let mut args = vec![version.clone(), note];
    args.extend(parts.iter().map(|part| bytes_of(&part.digest)));
    let reply = store.script(operation, COMPACT_COLLECT.call(keys.all(), args));
    let count = reply.await?.as_int().unwrap_or(-1);
    Ok(u64::try_from(count).ok())
}

/// Replaces a head or a record, if it is what was read.
pub(super) struct ResealCall<'a> {
    pub(super) of: Naming,
    pub(super) place: Bytes,
    pub(super) old: Bytes,
    pub(super) new: Bytes,
    pub(super) parts: &'a NewParts,
}

/// What became of a [`ResealCall`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replaced {
    Done,
    /// Something else stands there, or nothing.
    Changed,
    /// The thread lacks parts, and nothing was stored.
    LacksParts,
}

impl ResealCall<'_> {
    pub(super) async fn run(self, store: &Store, keys: &CompactKeys) -> Result<Replaced> {
        let mut args = vec![
            self.of.name(),
            self.place,
            self.old,
            self.new,
            number(self.parts.assumed.len()),
        ];
        append_digests(&mut args, &[self.parts]);
        append_parts(&mut args, &[self.parts]);
        let reply = store.script("reseal", COMPACT_RESEAL.call(keys.all(), args));
        let mut elements = reply.await?.into_array().into_iter();
        let is_done = elements.next().and_then(|done| done.as_int()) == Some(1);
        let lacks_parts = elements.next().is_some_and(lacks_parts);
        Ok(match (is_done, lacks_parts) {
            (true, _) => Replaced::Done,
            (false, true) => Replaced::LacksParts,
            (false, false) => Replaced::Changed,
        })
    }
}

/// The error of a member that is named as none of ours is.
pub(super) fn unreadable(key: &Bytes) -> Error {
    unreadable_member(&String::from_utf8_lossy(key))
}
