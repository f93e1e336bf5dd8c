//! Records: pending writes but for the ropes that they name.
//!
//! A record begins, as a [head](super::head) does, with a byte of the version of its form and the
//! roots of its ropes; then comes one piece. The task and the index of the write are in the key of
//! the record.

use bytes::{BufMut, Bytes, BytesMut};

use super::cursor::{Cursor, put_text};
use super::damage::Damage;
use super::digest::Digest;
use super::rope::Rope;
use super::seal::{Place, ThreadSealer};
use super::value::{Roots, Value};
use crate::id::{CheckpointId, CheckpointNamespace, TaskId};

/// The version of the form of records.
const VERSION: u8 = 1;

/// A pending write, with a long value as a rope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WriteRecord {
    /// The path of the task in the graph.
    pub(crate) task_path: String,
    /// The channel.
    pub(crate) channel: String,
    /// How the bytes of the value are encoded.
    pub(crate) type_name: String,
    /// The bytes of the value.
    pub(super) value: Value,
    /// What else the serializer needs, as JSON.
    pub(super) hints: Option<Value>,
}

/// What names a pending write within its thread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WritePlace<'a> {
    pub(crate) namespace: &'a CheckpointNamespace,
    pub(crate) checkpoint_id: &'a CheckpointId,
    pub(crate) task_id: &'a TaskId,
    /// The position of the write in its task; negative for special channels.
    pub(crate) idx: i64,
}

impl WritePlace<'_> {
    /// The place of its piece behind `front`.
    fn of<'a>(&'a self, front: &'a [u8]) -> Place<'a> {
        let ids = [
            self.namespace.as_str(),
            self.checkpoint_id.as_str(),
            self.task_id.as_str(),
        ];
        Place::Record(ids, self.idx, front)
    }
}

impl WriteRecord {
    /// The record as it is stored, and the roots that it names.
    pub(super) fn encode(
        &self,
        at: &WritePlace<'_>,
        sealer: &ThreadSealer,
    ) -> (Bytes, Vec<Digest>) {
        let mut roots = Roots::default();
        let body = self.body(&mut roots);

        let mut record = BytesMut::with_capacity(body.len() + 32);
        record.put_u8(VERSION);
        roots.encode(&mut record);
        let body = sealer.pack(at.of(&record), &body);
        record.put_slice(&body);
        (record.freeze(), roots.digests().collect())
    }

    /// What the record says.
    pub(super) fn body(&self, roots: &mut Roots) -> BytesMut {
        let mut body = BytesMut::with_capacity(256);
        put_text(&mut body, self.task_path.as_bytes());
        put_text(&mut body, self.channel.as_bytes());
        put_text(&mut body, self.type_name.as_bytes());
        self.value.encode(&mut body, roots);
        if let Some(hints) = &self.hints {
            hints.encode(&mut body, roots);
        }
        body
    }

    /// Reads a record; its text is not allowed to have more than `limit` bytes.
    ///
    /// # Errors
    /// [`Damage::Text`] if it is no record.
    pub(super) fn decode(
        at: &WritePlace<'_>,
        stored: &Bytes,
        sealer: &ThreadSealer,
        limit: usize,
    ) -> Result<Self, Damage> {
        let (roots, piece) = split(stored)?;
        let front = &stored[..stored.len() - piece.len()];
        let body = sealer.unpack(at.of(front), &piece, limit)?;
        let mut cursor = Cursor::new(body);
        let mut record = Self {
            task_path: cursor.string()?,
            channel: cursor.string()?,
            type_name: cursor.string()?,
            value: Value::decode(&mut cursor, &roots)?,
            hints: None,
        };
        if !cursor.is_done() {
            record.hints = Some(Value::decode(&mut cursor, &roots)?);
        }
        if cursor.is_done() {
            Ok(record)
        } else {
            Err(Damage::text("there is more than a write in it"))
        }
    }

    /// The piece of a record as it is stored.
    ///
    /// # Errors
    /// [`Damage::Text`] if it is no record.
    pub(super) fn piece(stored: &Bytes) -> Result<Bytes, Damage> {
        split(stored).map(|(_, piece)| piece)
    }

    /// The ropes that the record names.
    pub(crate) fn ropes(&self) -> impl Iterator<Item = &Rope> {
        let hints = self.hints.iter().flat_map(Value::ropes);
        self.value.ropes().chain(hints)
    }
}

/// The roots in front of a record, and its piece.
fn split(stored: &Bytes) -> Result<(Roots, Bytes), Damage> {
    let mut cursor = Cursor::new(stored.clone());
    if cursor.byte()? != VERSION {
        return Err(Damage::text(
            "it has a form that this version does not know",
        ));
    }
    let roots = Roots::decode(&mut cursor)?;
    Ok((roots, cursor.rest()))
}
