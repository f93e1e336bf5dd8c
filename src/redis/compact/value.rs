//! A text as heads and records keep it: what stands in them, and ropes.

use bytes::{BufMut, Bytes, BytesMut};
use indexmap::IndexSet;

use super::cursor::{Cursor, put_number, put_text};
use super::damage::Damage;
use super::digest::{BuildDigestHasher, Digest};
use super::part::{MAX_LENGTH, MAX_LEVEL};
use super::rope::Rope;

/// A text in segments, some of which are ropes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Value(Vec<Segment>);

/// A segment of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    /// The bytes themselves.
    Text(Bytes),
    /// A long text in parts.
    Rope(Rope),
}

/// The roots that a head or a record names, each once, in front of everything else.
#[derive(Debug, Default)]
pub(crate) struct Roots(IndexSet<(u8, Digest), BuildDigestHasher>);

/// The most roots of a head: what a number of 16 bits can say.
pub(crate) const MAX_ROOTS: usize = u16::MAX as usize;

impl Roots {
    /// Writes the roots: their number in 2 bytes, then for each its level in one byte and its
    /// digest.
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        // An encoder makes no more ropes than `MAX_ROOTS`.
        out.put_u16(u16::try_from(self.0.len()).unwrap_or(u16::MAX));
        for (level, digest) in &self.0 {
            out.put_u8(*level);
            out.put_slice(digest.as_bytes());
        }
    }

    /// Reads what [`Roots::encode`] wrote.
    pub(crate) fn decode(cursor: &mut Cursor) -> Result<Self, Damage> {
        let count = cursor.u16()?;
        let mut roots = IndexSet::default();
        for _ in 0..count {
            let level = cursor.byte()?;
            let digest = cursor.take(Digest::LEN)?;
            let digest =
                Digest::from_slice(&digest).ok_or_else(|| Damage::text("it ends early"))?;
            if level > MAX_LEVEL || !roots.insert((level, digest)) {
                return Err(Damage::text("a root of it is out of range"));
            }
        }
        Ok(Self(roots))
    }

    /// The digests.
    pub(crate) fn digests(&self) -> impl Iterator<Item = Digest> {
        self.0.iter().map(|(_, digest)| *digest)
    }
}

impl Value {
    /// The segments in their order.
    pub(crate) fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// The ropes in their order.
    pub(crate) fn ropes(&self) -> impl Iterator<Item = &Rope> {
        self.0.iter().filter_map(|segment| match segment {
            Segment::Rope(rope) => Some(rope),
            Segment::Text(_) => None,
        })
    }

    /// How many bytes the text has.
    pub(crate) fn length(&self) -> usize {
        self.0
            .iter()
            .map(|segment| match segment {
                Segment::Text(text) => text.len(),
                Segment::Rope(rope) => rope.length,
            })
            .fold(0, usize::saturating_add)
    }

    /// Writes the text; ropes by the position of their roots, which are added to `roots`.
    pub(crate) fn encode(&self, out: &mut BytesMut, roots: &mut Roots) {
        put_number(out, self.0.len());
        for segment in &self.0 {
            match segment {
                Segment::Text(text) => put_text(out, text),
                Segment::Rope(rope) => {
                    // Texts of segments are not empty, so a length of 0 says that it is a rope.
                    put_number(out, 0);
                    put_number(out, roots.0.insert_full((rope.level, rope.root)).0);
                    put_number(out, rope.length);
                }
            }
        }
    }

    /// Reads what [`Value::encode`] wrote.
    pub(crate) fn decode(cursor: &mut Cursor, roots: &Roots) -> Result<Self, Damage> {
        let count = cursor.number()?;
        if count > cursor.len() {
            return Err(Damage::text("it ends early"));
        }
        let mut segments = Vec::with_capacity(count);
        for _ in 0..count {
            let text = cursor.text()?;
            segments.push(if text.is_empty() {
                let root = cursor.number()?;
                let &(level, root) = roots
                    .0
                    .get_index(root)
                    .ok_or_else(|| Damage::text("a value of it has no root"))?;
                let length = cursor.number()?;
                if length == 0 || length > MAX_LENGTH {
                    return Err(Damage::text("a value of it is out of range"));
                }
                Segment::Rope(Rope {
                    root,
                    level,
                    length,
                })
            } else {
                Segment::Text(text)
            });
        }
        Ok(Self(segments))
    }
}

impl From<Bytes> for Value {
    fn from(text: Bytes) -> Self {
        [Segment::Text(text)].into_iter().collect()
    }
}

/// Leaves empty texts out.
impl FromIterator<Segment> for Value {
    fn from_iter<I: IntoIterator<Item = Segment>>(segments: I) -> Self {
        let is_empty =
            |segment: &Segment| matches!(segment, Segment::Text(text) if text.is_empty());
        Self(
            segments
                .into_iter()
                .filter(|segment| !is_empty(segment))
                .collect(),
        )
    }
}
