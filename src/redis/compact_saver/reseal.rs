//! `reseal`: what other keys sealed, or none, is sealed with the first.
//!
//! A walk over the heads, the writes and the blobs of a thread. What the first key has sealed
//! stays. All else is read with its parts, is sealed, and takes the place of what was read if that
//! is still there, in one script. The digests of parts depend on the key, so each value gets parts
//! of its own; the collector then removes those that nothing names any more. Stopped midway, it
//! leaves a thread that every saver with all of the keys reads, and the next run goes on.

use bytes::Bytes;

use super::read::damaged;
use super::scripts::{Naming, Replaced, ResealCall, unreadable};
use super::threads::ThreadIds;
use super::{Compact, blobs, collect, place, put};
use crate::checkpoint::{Checkpoint, CheckpointMetadata, PendingWrite};
use crate::error::{Error, Result};
use crate::id::{CheckpointId, TaskId, ThreadId};
use crate::redis::args::number;
use crate::redis::compact::{
    Damage, Digest, NewParts, Reader, Rope, Sending, ThreadCodec, WritePlace,
};
use crate::redis::doctor::{Finding, FindingKind};
use crate::redis::driver::Command;
use crate::redis::error::of_key;
use crate::redis::keys::{CheckpointRef, CompactKeys};
use crate::redis::progress::Counter;
use crate::redis::replies::byte_strings;
use crate::redis::reseal::{ResealOptions, ResealReport};

/// How many heads or records are read in one step.
const PAGE: usize = 32;

/// How often a head or a record is read again that was changed since it was read.
const ATTEMPTS: usize = 4;

/// Seals with the first key what is not sealed with it.
pub(super) async fn reseal(layout: &Compact, options: &ResealOptions) -> Result<ResealReport> {
    if layout.store.settings.encryption_keys.is_none() {
        return Err(Error::Config {
            key: "encryption_keys".to_owned(),
            reason: "there is no key to seal with: set the new key first, and those that sealed before behind it"
                .to_owned(),
            source: None,
        });
    }
    let mut run = Run {
        layout,
        counts_only: options.dry_run,
        report: ResealReport::default(),
        counter: Counter::new(options.progress.clone()),
    };
    if let Some(threads) = &options.threads {
        for thread in threads {
            run.thread(thread).await?;
        }
        return Ok(run.report);
    }
    let mut ids = ThreadIds::of_any_key(layout, "reseal", &options.prefix);
    while let Some(threads) = ids.next(layout).await? {
        for thread in threads {
            run.thread(&thread).await?;
        }
    }
    Ok(run.report)
}

/// One run.
struct Run<'a> {
    layout: &'a Compact,
    counts_only: bool,
    report: ResealReport,
    counter: Counter,
}

impl Run<'_> {
    async fn thread(&mut self, thread: &ThreadId) -> Result<()> {
        self.report.threads += 1;
        for of in [Naming::Heads, Naming::Writes] {
            if let Err(error) = self.walk(thread, of).await {
                self.unreadable(error)?;
            }
        }
        if self.counts_only {
            return Ok(());
        }
        // Also after a run that was stopped before it came to this.
        match collect::collect(self.layout, "reseal", thread).await {
            Ok(collected) => self.report.parts_removed += collected.unwrap_or_default(),
            Err(error) => self.unreadable(error)?,
        }
        Ok(())
    }

    /// Goes through the heads of a thread, or through its writes and blobs.
    async fn walk(&mut self, thread: &ThreadId, of: Naming) -> Result<()> {
        let keys = self.layout.store.keyspace.compact(thread);
        let codec = self.layout.codec.of_thread(thread);
        let mut lower = Bytes::from_static(b"-");
        loop {
            let upper = Bytes::from_static(b"+");
            let page = self.members(of.key(&keys), lower, upper, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            lower = match Piece::of_member(thread, of, last) {
                Some(piece) => [b"(", &piece.place[..], b"\xff"].concat().into(),
                None => [b"(", &last[..]].concat().into(),
            };
            for member in &page {
                let done = match Piece::of_member(thread, of, member) {
                    Some(piece) => self.piece(&keys, &codec, piece).await,
                    None => Err(unreadable(of.key(&keys))),
                };
                if let Err(error) = done {
                    self.unreadable(error)?;
                }
            }
            if page.len() < PAGE {
                return Ok(());
            }
        }
    }

    async fn members(
        &self,
        key: &Bytes,
        lower: Bytes,
        upper: Bytes,
        most: usize,
    ) -> Result<Vec<Bytes>> {
        let read = Command::on("ZRANGEBYLEX", key.clone())
            .arg(lower)
            .arg(upper);
        let read = read.arg("LIMIT").arg("0").arg(number(most));
        let page = self.layout.store.driver().call("reseal", read).await;
        page.map(byte_strings).map_err(|error| of_key(key, error))
    }

    /// Seals a head or a record, unless it is.
    async fn piece(
        &mut self,
        keys: &CompactKeys,
        codec: &ThreadCodec<'_>,
        mut piece: Piece,
    ) -> Result<()> {
        let mut absent = None;
        for _ in 0..ATTEMPTS {
            if piece.is_current(keys, codec)? {
                self.report.current += 1;
                return Ok(());
            }
            match self.seal(keys, codec, &piece).await? {
                Sealed::Done => {
                    let of_writes = u64::from(piece.write.is_some());
                    self.report.checkpoints += 1 - of_writes;
                    self.report.writes += of_writes;
                    self.counter.add(1 - of_writes, of_writes);
                    return Ok(());
                }
                Sealed::Changed => {}
                Sealed::Absent(digest) => absent = Some(digest),
            }
            let lower = [b"[", &piece.place[..]].concat();
            let upper = [b"(", &piece.place[..], b"\xff"].concat();
            let again = self.members(piece.of.key(keys), lower.into(), upper.into(), 1);
            // It may have been removed.
            let Some(member) = again.await?.into_iter().next() else {
                return Ok(());
            };
            let content = member.slice(piece.place.len()..);
            if content != piece.content {
                piece.content = content;
                absent = None;
            }
        }
        let Some(digest) = absent else {
            self.report.changed += 1;
            return Ok(());
        };
        Err(Damage::Absent(digest).at(String::from_utf8_lossy(&keys.parts)))
    }

    async fn seal(
        &self,
        keys: &CompactKeys,
        codec: &ThreadCodec<'_>,
        piece: &Piece,
    ) -> Result<Sealed> {
        if self.counts_only {
            return Ok(Sealed::Done);
        }
        let whole = match piece.read(self.layout, keys, codec).await? {
            Ok(whole) => whole,
            Err(absent) => return Ok(Sealed::Absent(absent)),
        };
        for sending in [Sending::New, Sending::All] {
            let (new, parts) = whole.encode(codec, &piece.at, sending)?;
            let call = ResealCall {
                of: piece.of,
                place: piece.place.clone(),
                old: piece.content.clone(),
                new,
                parts: &parts,
            };
            match call.run(&self.layout.store, keys).await? {
                Replaced::Done => {
                    codec.remember(parts);
                    return Ok(Sealed::Done);
                }
                Replaced::Changed => return Ok(Sealed::Changed),
                Replaced::LacksParts => {}
            }
        }
        Err(put::lacking(&keys.parts))
    }

    /// What cannot be read is a finding, and the others are sealed all the same.
    fn unreadable(&mut self, error: Error) -> Result<()> {
        let (kind, key, detail) = match error {
            Error::Corrupt { key, reason, .. } => (FindingKind::Unreadable, key, reason),
            Error::WrongType { key } => (FindingKind::WrongType, key, String::new()),
            error => return Err(error),
        };
        self.report.add(Finding {
            kind,
            key,
            detail,
            fixed: false,
        });
        Ok(())
    }
}

/// What became of a head or a record.
enum Sealed {
    Done,
    /// It is not what was read any more.
    Changed,
    /// A part of it is not there.
    Absent(Digest),
}

/// A head, or the record of a write or of a blob.
struct Piece {
    of: Naming,
    /// Its checkpoint, or what stands for that of a blob.
    at: CheckpointRef,
    /// The task and the index of a write.
    write: Option<(TaskId, i64)>,
    place: Bytes,
    content: Bytes,
}

impl Piece {
    /// The one in a member; `None` if it is named as none of ours is.
    fn of_member(thread: &ThreadId, of: Naming, member: &Bytes) -> Option<Self> {
        let checkpoint = place::checkpoint_in(member)?;
        let named = place::read_checkpoint(&checkpoint);
        let at = named.map(|(namespace, id)| CheckpointRef::new(thread, &namespace, &id));
        let (at, write, content) = match (of, place::read_blobs(&checkpoint)) {
            (Naming::Heads, _) => (at?, None, member.slice(checkpoint.len()..)),
            (Naming::Writes, None) => {
                let (task, idx, record) = place::read_write(member, &checkpoint)?;
                (at?, Some((task, idx)), record)
            }
            (Naming::Writes, Some(namespace)) => {
                let (channel, version, record) = place::read_blob(member, &checkpoint)?;
                let at = blobs::owner(thread, &namespace).ok()?;
                let task = blobs::task_of(&channel, &version).ok()?;
                (at, Some((task, 0)), record)
            }
        };
        Some(Self {
            of,
            at,
            write,
            place: member.slice(..member.len() - content.len()),
            content,
        })
    }

    fn write_place<'a>(&'a self, (task_id, idx): &'a (TaskId, i64)) -> WritePlace<'a> {
        WritePlace {
            namespace: &self.at.namespace,
            checkpoint_id: &self.at.checkpoint_id,
            task_id,
            idx: *idx,
        }
    }

    /// The error for what is wrong with it.
    fn damaged(&self, keys: &CompactKeys, damage: Damage) -> Error {
        match self.of {
            Naming::Heads => damaged(keys, &self.at, damage),
            Naming::Writes => damage.at(String::from_utf8_lossy(&keys.writes)),
        }
    }

    /// Whether it is sealed with the first key, and is what was sealed.
    fn is_current(&self, keys: &CompactKeys, codec: &ThreadCodec<'_>) -> Result<bool> {
        let is_current = match &self.write {
            None => codec
                .decode_head(&self.at, &self.content)
                .and_then(|_| codec.is_current_head(&self.content)),
            Some(write) => codec
                .decode_write(&self.write_place(write), &self.content)
                .and_then(|_| codec.is_current_write(&self.content)),
        };
        is_current.map_err(|damage| self.damaged(keys, damage))
    }

    /// Reads all of it; gives a part that is not there.
    async fn read(
        &self,
        layout: &Compact,
        keys: &CompactKeys,
        codec: &ThreadCodec<'_>,
    ) -> Result<Result<Whole, Digest>> {
        let damage = |damage| self.damaged(keys, damage);
        let mut reader = Reader::new(codec);
        match &self.write {
            None => {
                let head = codec.decode_head(&self.at, &self.content);
                let head = head.map_err(damage)?;
                let ropes: Vec<&Rope> = head.ropes().collect();
                let fetched = layout.fetch("reseal", &self.at.thread_id, &mut reader, &ropes);
                if let Some(absent) = fetched.await? {
                    return Ok(Err(absent));
                }
                let (checkpoint, metadata) = reader
                    .checkpoint(&self.at.checkpoint_id, &head)
                    .map_err(damage)?;
                let parent = head.parent;
                Ok(Ok(Whole::Head(parent, checkpoint, metadata)))
            }
            Some(write) => {
                let record = codec.decode_write(&self.write_place(write), &self.content);
                let record = record.map_err(damage)?;
                let ropes: Vec<&Rope> = record.ropes().collect();
                let fetched = layout.fetch("reseal", &self.at.thread_id, &mut reader, &ropes);
                if let Some(absent) = fetched.await? {
                    return Ok(Err(absent));
                }
                let (task, idx) = write.clone();
                let write = reader.write(task, idx, &record).map_err(damage)?;
                Ok(Ok(Whole::Write(write)))
            }
        }
    }
}

/// A checkpoint or a write with all of its values.
enum Whole {
    Head(Option<CheckpointId>, Checkpoint, CheckpointMetadata),
    Write(PendingWrite),
}

impl Whole {
    /// It as it is stored, with its parts.
    fn encode(
        &self,
        codec: &ThreadCodec<'_>,
        at: &CheckpointRef,
        sending: Sending,
    ) -> Result<(Bytes, NewParts)> {
        match self {
            Self::Head(parent, checkpoint, metadata) => {
                let parent = parent.as_ref();
                let encoded = codec.encode_head(at, parent, checkpoint, metadata, sending)?;
                Ok((encoded.head, encoded.parts))
            }
            Self::Write(write) => {
                let encoded = codec.encode_writes(at, [write], sending);
                // One record for one write.
                let record = encoded.records.into_iter().next();
                Ok((record.unwrap_or_default(), encoded.parts))
            }
        }
    }
}
