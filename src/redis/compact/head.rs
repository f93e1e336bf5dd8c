//! Heads: all of a checkpoint but the ropes that it names.
//!
//! A head begins with what scripts read: a byte of the version of its form, the parent id as
//! [`ids`](super::ids) writes it behind its length in 4 bytes (no length: no parent), and the roots
//! of its ropes: their number in 2 bytes, then 17 bytes each, the level of the root (0: a leaf) and
//! its digest. Numbers have the highest byte first. Then comes one piece with the members of the
//! checkpoint and of the metadata.

use bytes::{BufMut, Bytes, BytesMut};

use super::cursor::{Cursor, put_number, put_text};
use super::damage::Damage;
use super::digest::Digest;
use super::ids;
use super::rope::Rope;
use super::seal::{Place, ThreadSealer};
use super::value::{Roots, Value};
use crate::codec::RawJson;
use crate::id::CheckpointId;
use crate::redis::keys::CheckpointRef;

/// The version of the form of heads.
const VERSION: u8 = 1;

/// A checkpoint and its metadata, with long values as ropes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    /// The parent of the checkpoint.
    pub(crate) parent: Option<CheckpointId>,
    /// The members of the checkpoint in their order, each the text of its value.
    pub(super) fields: Vec<(Box<str>, Value)>,
    /// The members of the metadata in their order.
    pub(super) metadata: Vec<(Box<str>, Value)>,
}

impl Head {
    /// The head as it is stored, and the roots that it names.
    pub(super) fn encode(&self, at: &CheckpointRef, sealer: &ThreadSealer) -> (Bytes, Vec<Digest>) {
        let mut roots = Roots::default();
        let body = self.body(&at.checkpoint_id, &mut roots);

        let mut head = BytesMut::with_capacity(body.len() + 128);
        head.put_u8(VERSION);
        let mut parent = BytesMut::new();
        if let Some(id) = &self.parent {
            ids::put(&mut parent, id.as_str());
        }
        // An id has at most 64 KB.
        head.put_u32(u32::try_from(parent.len()).unwrap_or(u32::MAX));
        head.put_slice(&parent);
        roots.encode(&mut head);
        let body = sealer.pack(Place::Head(ids_of(at), &head), &body);
        head.put_slice(&body);
        (head.freeze(), roots.digests().collect())
    }

    /// The members of the checkpoint and of the metadata.
    pub(super) fn body(&self, id: &CheckpointId, roots: &mut Roots) -> BytesMut {
        let mut body = BytesMut::with_capacity(1024);
        encode_members(&self.fields, own_id(id).as_ref(), &mut body, roots);
        encode_members(&self.metadata, None, &mut body, roots);
        body
    }

    /// Reads the head of a checkpoint; its text is not allowed to have more than `limit` bytes.
    ///
    /// # Errors
    /// [`Damage::Text`] if it is no head.
    pub(super) fn decode(
        at: &CheckpointRef,
        stored: &Bytes,
        sealer: &ThreadSealer,
        limit: usize,
    ) -> Result<Self, Damage> {
        let (parent, roots, piece) = split(stored)?;
        let front = &stored[..stored.len() - piece.len()];
        let body = sealer.unpack(Place::Head(ids_of(at), front), &piece, limit)?;
        let mut cursor = Cursor::new(body);
        let id = &at.checkpoint_id;
        let head = Self {
            parent,
            fields: decode_members(&mut cursor, own_id(id).as_ref(), &roots)?,
            metadata: decode_members(&mut cursor, None, &roots)?,
        };
        if cursor.is_done() {
            Ok(head)
        } else {
            Err(Damage::text("there is more than a checkpoint in it"))
        }
    }

    /// The piece of a head as it is stored.
    ///
    /// # Errors
    /// [`Damage::Text`] if it is no head.
    pub(super) fn piece(stored: &Bytes) -> Result<Bytes, Damage> {
        split(stored).map(|(_, _, piece)| piece)
    }

    /// All ropes that the head names.
    pub(crate) fn ropes(&self) -> impl Iterator<Item = &Rope> {
        let members = self.fields.iter().chain(&self.metadata);
        members.flat_map(|(_, value)| value.ropes())
    }

    /// The ropes of the metadata, usually none.
    pub(crate) fn metadata_ropes(&self) -> impl Iterator<Item = &Rope> {
        self.metadata.iter().flat_map(|(_, value)| value.ropes())
    }

    /// The ropes of all but the values of the channels, usually none.
    pub(crate) fn outline_ropes(&self) -> impl Iterator<Item = &Rope> {
        let fields = self
            .fields
            .iter()
            .filter(|(name, _)| &**name != CHANNEL_VALUES);
        let members = fields.chain(&self.metadata);
        members.flat_map(|(_, value)| value.ropes())
    }
}

/// The parent and the roots in front of a head, and its piece.
fn split(stored: &Bytes) -> Result<(Option<CheckpointId>, Roots, Bytes), Damage> {
    let mut cursor = Cursor::new(stored.clone());
    if cursor.byte()? != VERSION {
        return Err(Damage::text(
            "it has a form that this version does not know",
        ));
    }
    let length = cursor.u32()?;
    let parent = cursor.take(length)?;
    let parent = if parent.is_empty() {
        None
    } else {
        ids::take(&parent)
            .and_then(|(parent, _)| CheckpointId::new(parent).ok())
            .ok_or_else(|| Damage::text("its parent is no id"))
            .map(Some)?
    };
    let roots = Roots::decode(&mut cursor)?;
    Ok((parent, roots, cursor.rest()))
}

/// The member that holds the values of the channels.
pub(super) const CHANNEL_VALUES: &str = "channel_values";

/// The ids that name a head within its thread.
fn ids_of(at: &CheckpointRef) -> [&str; 2] {
    [at.namespace.as_str(), at.checkpoint_id.as_str()]
}

/// The text of the member `id`, which the key of a head says already.
fn own_id(id: &CheckpointId) -> Option<Bytes> {
    RawJson::encode(id.as_str())
        .ok()
        .map(|id| id.bytes().clone())
}

/// Writes names and values. A value that is the checkpoint's own id is left empty, as no JSON text
/// is.
fn encode_members(
    members: &[(Box<str>, Value)],
    own_id: Option<&Bytes>,
    out: &mut BytesMut,
    roots: &mut Roots,
) {
    let own_id = own_id.map(|id| Value::from(id.clone()));
    put_number(out, members.len());
    for (name, value) in members {
        put_text(out, name.as_bytes());
        if &**name == "id" && Some(value) == own_id.as_ref() {
            Value::default().encode(out, roots);
        } else {
            value.encode(out, roots);
        }
    }
}

fn decode_members(
    cursor: &mut Cursor,
    own_id: Option<&Bytes>,
    roots: &Roots,
) -> Result<Vec<(Box<str>, Value)>, Damage> {
    let count = cursor.number()?;
    if count > cursor.len() {
        return Err(Damage::text("it ends early"));
    }
    let mut members = Vec::with_capacity(count);
    for _ in 0..count {
        let name = cursor.string()?;
        let mut value = Value::decode(cursor, roots)?;
        if let Some(id) = own_id
            && name == "id"
            && value == Value::default()
        {
            value = Value::from(id.clone());
        }
        members.push((name.into(), value));
    }
    Ok(members)
}
