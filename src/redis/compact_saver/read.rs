//! `get_tuple`, and what every read shares: heads, records and parts become checkpoints.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::scripts::{self, ReadCall, StoredCheckpoint, WantedParts, bytes_of, unreadable};
use super::{Compact, place};
use crate::checkpoint::{CheckpointMetadata, CheckpointTuple, PendingWrite};
use crate::config::CheckpointConfig;
use crate::error::{Error, Result};
use crate::id::{CheckpointNamespace, TaskId, ThreadId};
use crate::redis::compact::{Damage, Digest, Head, Reader, Rope, WritePlace, WriteRecord};
use crate::redis::driver::{Command, Reply};
use crate::redis::error::of_key;
use crate::redis::keys::{CheckpointRef, CompactKeys};
use crate::redis::session::Newest;

/// How many writes come with a checkpoint, and how many are read in one step.
pub(super) const WRITES: usize = 500;

/// How many parts are read by one command.
const PARTS: usize = 500;

/// How often a checkpoint is read of which a part or the rest of the writes had gone: it was
/// removed while it was read, and perhaps put again.
const ATTEMPTS: usize = 5;

/// A checkpoint that was read, without the parts of its values.
#[derive(Debug)]
pub(super) struct ReadHead {
    pub(super) at: CheckpointRef,
    pub(super) head: Head,
    pub(super) writes: Vec<ReadWrite>,
}

/// A write that was read, without the parts of its value.
#[derive(Debug)]
pub(super) struct ReadWrite {
    pub(super) task_id: TaskId,
    pub(super) idx: i64,
    pub(super) record: WriteRecord,
}

impl ReadHead {
    /// All ropes of its values and of its writes.
    pub(super) fn ropes(&self) -> impl Iterator<Item = &Rope> {
        let writes = self.writes.iter().flat_map(|write| write.record.ropes());
        self.head.ropes().chain(writes)
    }

    /// How many bytes its long values have.
    pub(super) fn size(&self) -> usize {
        let lengths = self.ropes().map(|rope| rope.length);
        lengths.fold(0, usize::saturating_add)
    }

    /// Whole, once all parts are there.
    pub(super) fn whole(
        &self,
        keys: &CompactKeys,
        reader: &mut Reader<'_>,
    ) -> Result<CheckpointTuple> {
        let found = reader.checkpoint(&self.at.checkpoint_id, &self.head);
        let (checkpoint, metadata) = found.map_err(|damage| damaged(keys, &self.at, damage))?;
        let parent_config = self.head.parent.clone().map(|parent| {
            let (thread, namespace) = (self.at.thread_id.clone(), self.at.namespace.clone());
            CheckpointConfig::of_checkpoint(thread, namespace, parent)
        });
        Ok(CheckpointTuple {
            config: self.at.config(),
            checkpoint,
            metadata,
            parent_config,
            pending_writes: self.pending_writes(keys, reader)?,
        })
    }

    /// Its writes in their order, once all parts of them are there.
    pub(super) fn pending_writes(
        &self,
        keys: &CompactKeys,
        reader: &mut Reader<'_>,
    ) -> Result<Vec<PendingWrite>> {
        whole_writes(keys, &self.at, &self.writes, reader)
    }

    /// Its metadata, once all parts of that are there.
    pub(super) fn metadata(
        &self,
        keys: &CompactKeys,
        reader: &mut Reader<'_>,
    ) -> Result<CheckpointMetadata> {
        let found = reader.metadata(&self.head);
        found.map_err(|damage| damaged(keys, &self.at, damage))
    }
}

/// Writes in their order, once all parts of them are there.
pub(super) fn whole_writes(
    keys: &CompactKeys,
    at: &CheckpointRef,
    writes: &[ReadWrite],
    reader: &mut Reader<'_>,
) -> Result<Vec<PendingWrite>> {
    let mut whole = Vec::with_capacity(writes.len());
    for write in writes {
        let found = reader.write(write.task_id.clone(), write.idx, &write.record);
        whole.push(found.map_err(|damage| damaged(keys, at, damage))?);
    }
    whole.sort_by(|one, other| one.sort_key().cmp(&other.sort_key()));
    Ok(whole)
}

/// The error of a checkpoint that cannot be read: a part is at fault, or what names it.
pub(super) fn damaged(keys: &CompactKeys, at: &CheckpointRef, damage: Damage) -> Error {
    if matches!(damage, Damage::Absent(_) | Damage::Part { .. }) {
        return damage.at(String::from_utf8_lossy(&keys.parts));
    }
    match damage.at(String::from_utf8_lossy(&keys.heads)) {
        Error::Corrupt {
            key,
            reason,
            source,
        } => {
            let (namespace, id) = (at.namespace.as_str(), &at.checkpoint_id);
            Error::Corrupt {
                key,
                reason: format!("the checkpoint {id} of namespace `{namespace}` in it: {reason}"),
                source,
            }
        }
        error => error,
    }
}

impl Compact {
    /// Remembers the checkpoint of a namespace whose parts this saver has.
    pub(super) fn remember_newest(&self, keys: &CompactKeys, at: &CheckpointRef) {
        let newest = Newest {
            id: at.checkpoint_id.clone(),
            bytes: 0,
        };
        let key = remembered_as(keys, &at.namespace);
        self.store.session.remember_newest(&key, newest);
    }

    /// Reads what a script found at a place.
    pub(super) fn read_head(
        &self,
        thread_id: &ThreadId,
        namespace: &CheckpointNamespace,
        stored: &StoredCheckpoint,
        reader: &mut Reader<'_>,
    ) -> Result<ReadHead> {
        let keys = || self.store.keyspace.compact(thread_id);
        let id = place::read_id(&stored.id).ok_or_else(|| unreadable(&keys().heads))?;
        let at = CheckpointRef::new(thread_id, namespace, &id);
        let thread = self.codec.of_thread(thread_id);
        let head = thread.decode_head(&at, &stored.head);
        let head = head.map_err(|damage| damaged(&keys(), &at, damage))?;
        let writes = self.read_writes(&at, &stored.writes)?;
        // Behind what names them, which says if a key is missing.
        for part in stored.parts.chunks_exact(2) {
            if let Some(digest) = Digest::from_slice(&part[0]) {
                let added = reader.add(digest, &part[1]);
                added.map_err(|damage| damaged(&keys(), &at, damage))?;
            }
        }
        Ok(ReadHead { at, head, writes })
    }

    /// Reads members that are writes of a checkpoint.
    pub(super) fn read_writes(
        &self,
        at: &CheckpointRef,
        members: &[Bytes],
    ) -> Result<Vec<ReadWrite>> {
        let thread = self.codec.of_thread(&at.thread_id);
        let place = place::of_checkpoint(at);
        let read = |member: &Bytes| {
            let keys = || self.store.keyspace.compact(&at.thread_id);
            let found = place::read_write(member, &place);
            let (task_id, idx, record) = found.ok_or_else(|| unreadable(&keys().writes))?;
            let write = WritePlace {
                namespace: &at.namespace,
                checkpoint_id: &at.checkpoint_id,
                task_id: &task_id,
                idx,
            };
            let record = thread.decode_write(&write, &record);
            let record = record.map_err(|damage| {
                let writes = keys().writes;
                damage.at(String::from_utf8_lossy(&writes))
            })?;
            Ok(ReadWrite {
                task_id,
                idx,
                record,
            })
        };
        members.iter().map(read).collect()
    }

    /// Reads the writes that did not come along with their checkpoint, behind `last`; `None` if
    /// that has gone in the meantime.
    pub(super) async fn rest_of_writes(
        &self,
        operation: &'static str,
        at: &CheckpointRef,
        mut last: Option<Bytes>,
    ) -> Result<Option<Vec<ReadWrite>>> {
        let keys = self.store.keyspace.compact(&at.thread_id);
        let place = place::of_checkpoint(at);
        let mut rest = Vec::new();
        loop {
            let page =
                scripts::writes(&self.store, operation, &keys, &place, last.as_ref(), WRITES);
            let (is_there, page) = page.await?;
            if !is_there {
                return Ok(None);
            }
            rest.extend(self.read_writes(at, &page)?);
            if page.len() < WRITES {
                return Ok(Some(rest));
            }
            last = page.last().cloned();
        }
    }

    /// All writes of a checkpoint, which may not be there.
    pub(super) async fn all_writes(
        &self,
        operation: &'static str,
        at: &CheckpointRef,
    ) -> Result<(bool, Vec<ReadWrite>)> {
        let keys = self.store.keyspace.compact(&at.thread_id);
        let place = place::of_checkpoint(at);
        let (mut found, mut last) = (Vec::new(), None);
        loop {
            let page =
                scripts::writes(&self.store, operation, &keys, &place, last.as_ref(), WRITES);
            let (is_there, page) = page.await?;
            found.extend(self.read_writes(at, &page)?);
            if page.len() < WRITES {
                return Ok((is_there, found));
            }
            last = page.last().cloned();
        }
    }

    /// Fetches parts until all of these ropes of one thread are there; gives one that is not
    /// stored.
    pub(super) async fn fetch(
        &self,
        operation: &'static str,
        thread_id: &ThreadId,
        reader: &mut Reader<'_>,
        ropes: &[&Rope],
    ) -> Result<Option<Digest>> {
        let keys = self.store.keyspace.compact(thread_id);
        let damage = |damage: Damage| damage.at(String::from_utf8_lossy(&keys.parts));
        loop {
            let missing = reader.missing(ropes.iter().copied()).map_err(damage)?;
            if missing.is_empty() {
                return Ok(None);
            }
            let steps = missing.chunks(PARTS).map(|digests| {
                let command = Command::on("HMGET", keys.parts.clone());
                command.args(digests.iter().map(bytes_of)).into()
            });
            let replies = self.store.pipeline(operation, steps.collect()).await?;
            let mut parts = Vec::with_capacity(missing.len());
            for reply in replies {
                let reply = reply.map_err(|error| of_key(&keys.parts, error))?;
                parts.extend(reply.into_array());
            }
            for (digest, part) in missing.into_iter().zip(parts) {
                match part {
                    Reply::Bytes(part) => reader.add(digest, &part).map_err(damage)?,
                    _ => return Ok(Some(digest)),
                }
            }
        }
    }

    /// Reads one checkpoint, or the newest of its namespace, in one round trip if its parts are
    /// known and in two if not.
    pub(super) async fn read(
        &self,
        operation: &'static str,
        config: &CheckpointConfig,
        refreshes: bool,
    ) -> Result<Option<CheckpointTuple>> {
        let store = &self.store;
        let namespace = config.namespace();
        let (thread_id, keys) = (&config.thread_id, store.keyspace.compact(&config.thread_id));
        let at = config.checkpoint_id.as_ref();
        let at = at.map(|id| CheckpointRef::new(thread_id, &namespace, id));
        let known = remembered_as(&keys, &namespace);
        let known = store.session.newest(&known);
        let mut parts = known.map_or(WantedParts::All, |known| WantedParts::Unless(known.id));
        let ttl = &store.settings.ttl;
        let mut before = None;
        for _ in 0..ATTEMPTS {
            let call = ReadCall {
                namespace: &namespace,
                at: at.as_ref(),
                ttl: ttl.default.filter(|_| refreshes && ttl.refresh_on_read),
                most_writes: WRITES,
                parts: std::mem::replace(&mut parts, WantedParts::All),
            };
            let reply = store.script(operation, call.on(&keys)).await?;
            let Some(stored) = StoredCheckpoint::found(reply) else {
                return Ok(None);
            };
            let last = stored
                .has_more_writes
                .then(|| stored.writes.last().cloned());
            let thread = self.codec.of_thread(thread_id);
            let mut reader = Reader::new(&thread);
            let mut read = self.read_head(thread_id, &namespace, &stored, &mut reader)?;
            if let Some(last) = last {
                let rest = Box::pin(self.rest_of_writes(operation, &read.at, last));
                match rest.await? {
                    Some(rest) => read.writes.extend(rest),
                    None => continue,
                }
            }
            let ropes: Vec<_> = read.ropes().collect();
            let fetched = Box::pin(self.fetch(operation, thread_id, &mut reader, &ropes));
            let Some(absent) = fetched.await? else {
                let tuple = read.whole(&keys, &mut reader)?;
                self.remember_newest(&keys, &read.at);
                return Ok(Some(tuple));
            };
            // What still names a part that was gone before has lost it for good.
            let found = Some((stored.id, stored.head));
            if before == found {
                return Err(Damage::Absent(absent).at(String::from_utf8_lossy(&keys.parts)));
            }
            before = found;
        }
        Err(Error::Unavailable {
            reason: format!(
                "the checkpoint is removed and put again while it is read, in {ATTEMPTS} attempts"
            ),
            source: None,
        })
    }

    /// Reads checkpoints without the parts of their values, in one round trip; those that are gone
    /// are `None`. Each result stands for itself.
    pub(super) async fn read_heads(
        &self,
        operation: &'static str,
        page: &[CheckpointRef],
        readers: &mut BTreeMap<ThreadId, Reader<'_>>,
    ) -> Result<Vec<Result<Option<ReadHead>>>> {
        let steps = page.iter().map(|at| {
            let call = ReadCall {
                namespace: &at.namespace,
                at: Some(at),
                ttl: None,
                most_writes: WRITES,
                parts: WantedParts::None,
            };
            call.on(&self.store.keyspace.compact(&at.thread_id)).into()
        });
        let replies = self.store.pipeline(operation, steps.collect()).await?;
        let mut found = Vec::with_capacity(page.len());
        for (at, reply) in page.iter().zip(replies) {
            found.push(match reply.map(StoredCheckpoint::found) {
                Ok(Some(stored)) => self.read_with_writes(operation, at, stored, readers).await,
                Ok(None) => Ok(None),
                Err(error) => Err(error),
            });
        }
        Ok(found)
    }

    async fn read_with_writes(
        &self,
        operation: &'static str,
        at: &CheckpointRef,
        stored: StoredCheckpoint,
        readers: &mut BTreeMap<ThreadId, Reader<'_>>,
    ) -> Result<Option<ReadHead>> {
        let last = stored
            .has_more_writes
            .then(|| stored.writes.last().cloned());
        let Some(reader) = readers.get_mut(&at.thread_id) else {
            return Ok(None);
        };
        let mut read = self.read_head(&at.thread_id, &at.namespace, &stored, reader)?;
        if let Some(last) = last {
            let rest = Box::pin(self.rest_of_writes(operation, at, last));
            match rest.await? {
                Some(rest) => read.writes.extend(rest),
                None => return Ok(None),
            }
        }
        Ok(Some(read))
    }
}

/// Under which name the session remembers the newest checkpoint of a namespace.
fn remembered_as(keys: &CompactKeys, namespace: &CheckpointNamespace) -> Bytes {
    [&keys.heads[..], namespace.as_str().as_bytes()]
        .concat()
        .into()
}
