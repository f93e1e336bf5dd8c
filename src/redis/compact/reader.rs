//! Reads checkpoints and writes back from heads, records and parts.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use bytes::{Bytes, BytesMut};

use super::codec::ThreadCodec;
use super::damage::Damage;
use super::digest::{BuildDigestHasher, Digest};
use super::head::{CHANNEL_VALUES, Head};
use super::part::Part;
use super::record::WriteRecord;
use super::rope::{Rope, Visited};
use super::value::{Segment, Value};
use crate::checkpoint::{Checkpoint, CheckpointMetadata, PendingWrite, TypedValue};
use crate::codec::{RawJson, RawObject};
use crate::id::{CheckpointId, TaskId};

/// The parts of one reading: those that the saver has already, and those that are fetched for it.
///
/// First [`Reader::missing`] for the ropes that are wanted, then [`Reader::add`] for each part that
/// it names; again until it names none: a rope of several levels may take several rounds, unless
/// its index parts come along. Then the texts are there.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    thread: &'a ThreadCodec<'a>,
    parts: HashMap<Digest, Part, BuildDigestHasher>,
}

impl<'a> Reader<'a> {
    /// Begins a reading.
    pub(crate) fn new(thread: &'a ThreadCodec<'a>) -> Self {
        Self {
            thread,
            parts: HashMap::default(),
        }
    }

    /// The parts of these ropes that are not there, as far as is known, each once.
    ///
    /// # Errors
    /// [`Damage::Part`] if a part does not fit where it stands.
    pub(crate) fn missing<'r>(
        &mut self,
        ropes: impl IntoIterator<Item = &'r Rope>,
    ) -> Result<Vec<Digest>, Damage> {
        let mut missing = Vec::new();
        let mut seen = HashSet::<Digest, BuildDigestHasher>::default();
        for rope in ropes {
            rope.walk(
                |digest| self.find(digest),
                |visited| {
                    if let Visited::Missing(child) = visited
                        && seen.insert(child.digest)
                    {
                        missing.push(child.digest);
                    }
                    ControlFlow::Continue(())
                },
            )?;
        }
        Ok(missing)
    }

    /// Takes a part as it is stored, for this reading and those that follow.
    ///
    /// # Errors
    /// [`Damage::Part`] if it is not the part of this address.
    pub(crate) fn add(&mut self, digest: Digest, stored: &Bytes) -> Result<(), Damage> {
        let part = self.thread.open_part(digest, stored)?;
        self.parts.insert(digest, part);
        Ok(())
    }

    /// The metadata of a checkpoint.
    ///
    /// # Errors
    /// [`Damage`] if it cannot be read, or if a part of [`Head::metadata_ropes`] is not there.
    pub(crate) fn metadata(&mut self, head: &Head) -> Result<CheckpointMetadata, Damage> {
        self.members(&head.metadata).map(CheckpointMetadata::from)
    }

    /// A checkpoint and its metadata.
    ///
    /// # Errors
    /// [`Damage`] if it cannot be read, or if a part of [`Head::ropes`] is not there.
    pub(crate) fn checkpoint(
        &mut self,
        id: &CheckpointId,
        head: &Head,
    ) -> Result<(Checkpoint, CheckpointMetadata), Damage> {
        let fields = self.members(&head.fields)?;
        Ok((checkpoint(id, fields)?, self.metadata(head)?))
    }

    /// A checkpoint and its metadata, where each long value of a channel is or holds a 0 instead:
    /// for what needs to know which channels have values, but not the values.
    ///
    /// # Errors
    /// [`Damage`] if it cannot be read, or if a part of [`Head::outline_ropes`] is not there.
    pub(crate) fn outline(
        &mut self,
        id: &CheckpointId,
        head: &Head,
    ) -> Result<(Checkpoint, CheckpointMetadata), Damage> {
        let mut fields = head.fields.clone();
        for (_, value) in fields
            .iter_mut()
            .filter(|(name, _)| &**name == CHANNEL_VALUES)
        {
            *value = Value::from(outline(value));
        }
        let fields = self.members(&fields)?;
        Ok((checkpoint(id, fields)?, self.metadata(head)?))
    }

    /// A pending write.
    ///
    /// # Errors
    /// [`Damage`] if it cannot be read, or if a part of [`WriteRecord::ropes`] is not there.
    pub(crate) fn write(
        &mut self,
        task_id: TaskId,
        idx: i64,
        record: &WriteRecord,
    ) -> Result<PendingWrite, Damage> {
        let mut value = TypedValue::new(record.type_name.clone(), self.text(&record.value)?);
        if let Some(hints) = &record.hints {
            value.hints = Some(self.json(hints)?);
        }
        Ok(PendingWrite {
            task_id,
            task_path: record.task_path.clone(),
            idx,
            channel: record.channel.clone(),
            value,
        })
    }

    /// A part that was fetched or is in the cache; it stays for this reading.
    fn find(&mut self, digest: &Digest) -> Option<Part> {
        if let Some(part) = self.parts.get(digest) {
            return Some(part.clone());
        }
        let part = self.thread.cached(digest)?;
        self.parts.insert(*digest, part.clone());
        Some(part)
    }

    fn members(&mut self, members: &[(Box<str>, Value)]) -> Result<RawObject, Damage> {
        members
            .iter()
            .map(|(name, value)| Ok((name.clone(), self.json(value)?)))
            .collect()
    }

    /// A value as JSON.
    ///
    /// What stands in the head is checked. The ropes in it were cut from JSON, in which a number
    /// can take their place, and every part is what it was; so a pass over all of a long text finds
    /// nothing more, but that it is no UTF-8.
    fn json(&mut self, value: &Value) -> Result<RawJson, Damage> {
        let no_json = || Damage::text("a value of it is no JSON");
        let outline = RawJson::parse(outline(value)).map_err(|_| no_json())?;
        if value.ropes().next().is_none() {
            return Ok(outline);
        }
        let text = self.text(value)?;
        match std::str::from_utf8(&text) {
            Ok(_) => Ok(RawJson::trusted(text)),
            Err(_) => Err(no_json()),
        }
    }

    /// The text of a value, without a copy if it is in one piece.
    fn text(&mut self, value: &Value) -> Result<Bytes, Damage> {
        match value.segments() {
            [] => return Ok(Bytes::new()),
            [Segment::Text(text)] => return Ok(text.clone()),
            _ => {}
        }
        let length = value.length();
        if length > self.thread.limit() {
            return Err(Damage::text(
                "a value of it has more bytes than is allowed: raise `max_document_bytes`",
            ));
        }
        let mut text = BytesMut::with_capacity(length);
        for segment in value.segments() {
            match segment {
                Segment::Text(bytes) => text.extend_from_slice(bytes),
                Segment::Rope(rope) => rope.append_to(&mut text, |digest| self.find(digest))?,
            }
        }
        Ok(text.freeze())
    }
}

/// The text of a value, with a 0 for each rope.
fn outline(value: &Value) -> Bytes {
    if let [Segment::Text(text)] = value.segments() {
        return text.clone();
    }
    let texts = value.segments().iter().map(|segment| match segment {
        Segment::Text(text) => &text[..],
        Segment::Rope(_) => b"0",
    });
    Bytes::from(texts.collect::<Vec<_>>().concat())
}

fn checkpoint(id: &CheckpointId, fields: RawObject) -> Result<Checkpoint, Damage> {
    let checkpoint =
        Checkpoint::from_fields(fields).map_err(|error| Damage::text(error.to_string()))?;
    if checkpoint.id() == id {
        Ok(checkpoint)
    } else {
        Err(Damage::text("it is another checkpoint"))
    }
}
