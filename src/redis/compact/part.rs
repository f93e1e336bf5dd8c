//! Parts: pieces of text, and lists of parts.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::compress::{INDEX, piece};
use super::damage::Damage;
use super::digest::{Digest, Digester};
use super::seal::{Place, ThreadSealer};

/// The most bytes that a leaf has.
pub(crate) const MAX_LEAF: usize = 8 * 1024;
/// The most children that an index part has.
pub(crate) const MAX_CHILDREN: usize = 64;
/// The highest level of an index part: each has two children at least, but for the last of a level.
pub(crate) const MAX_LEVEL: u8 = 32;
/// The most bytes that the text below a part has, so that two bits of a length are free.
pub(crate) const MAX_LENGTH: usize = (1 << 30) - 1;

/// How many bytes of an index part name one child: its digest, and in 32 bits its length below the
/// separator.
const RECORD: usize = Digest::LEN + 4;

/// What is addressed by a digest. Cloning shares the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// A piece of text.
    Leaf(Bytes),
    /// Names of the parts that make up a text one after another.
    Index(Index),
}

/// The content of an index part: its level, then a record for each child, from which it was
/// checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Index(Bytes);

/// A part that an index part names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Child {
    /// What the text has before that of the child.
    pub(crate) separator: Separator,
    /// The address of the child.
    pub(crate) digest: Digest,
    /// How many bytes the text of the child has, without the separator.
    pub(crate) length: usize,
}

/// What stands between two elements of a list. It belongs to no leaf, so that an element is the
/// same leaf wherever it stands, and in the write that brought it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Separator {
    /// Nothing: the elements of a text that is no list.
    None,
    /// A comma.
    Comma,
    /// A comma and a blank.
    CommaBlank,
}

impl Separator {
    pub(crate) fn text(self) -> &'static [u8] {
        match self {
            Self::None => b"",
            Self::Comma => b",",
            Self::CommaBlank => b", ",
        }
    }

    fn from_bits(bits: u32) -> Option<Self> {
        match bits {
            0 => Some(Self::None),
            1 => Some(Self::Comma),
            2 => Some(Self::CommaBlank),
            _ => None,
        }
    }
}

impl Child {
    /// How many bytes of the text the child stands for, with its separator.
    pub(crate) fn spanned(&self) -> usize {
        self.separator.text().len() + self.length
    }
}

impl Index {
    /// An index part of a level above 0 over children of the level below.
    pub(crate) fn new(level: u8, children: &[Child]) -> Self {
        let mut content = BytesMut::with_capacity(1 + children.len() * RECORD);
        content.put_u8(level);
        for child in children {
            content.put_slice(child.digest.as_bytes());
            // A length is below 2^30: `cut` takes no longer text.
            let length = u32::try_from(child.length).unwrap_or(u32::MAX >> 2);
            content.put_u32((child.separator as u32) << 30 | length);
        }
        Self(content.freeze())
    }

    /// Takes the content of an index part if it is well formed.
    fn parse(content: Bytes) -> Result<Self, &'static str> {
        let Some((&level, records)) = content.split_first() else {
            return Err("it is empty");
        };
        if level == 0 || level > MAX_LEVEL {
            return Err("its level is out of range");
        }
        let count = records.len() / RECORD;
        if count == 0 || count > MAX_CHILDREN || records.len() % RECORD != 0 {
            return Err("the number of its children is out of range");
        }
        let index = Self(content);
        let well_formed = index
            .records()
            .all(|(separator, _, length)| Separator::from_bits(separator).is_some() && length > 0);
        if well_formed {
            Ok(index)
        } else {
            Err("a child of it has no length")
        }
    }

    /// How far above the leaves it is: the children of level 1 are leaves.
    pub(crate) fn level(&self) -> u8 {
        self.0.first().copied().unwrap_or(0)
    }

    /// The children in their order.
    pub(crate) fn children(&self) -> impl Iterator<Item = Child> {
        self.records().filter_map(|(separator, digest, length)| {
            Some(Child {
                separator: Separator::from_bits(separator)?,
                digest: Digest::from_slice(digest)?,
                length,
            })
        })
    }

    /// How many bytes the text has that it stands for.
    pub(crate) fn length(&self) -> usize {
        self.children()
            .map(|child| child.spanned())
            .fold(0, usize::saturating_add)
    }

    fn records(&self) -> impl Iterator<Item = (u32, &[u8], usize)> {
        self.0
            .get(1..)
            .unwrap_or_default()
            .chunks_exact(RECORD)
            .map(|record| {
                let (digest, mut number) = record.split_at(Digest::LEN);
                let number = number.get_u32();
                (number >> 30, digest, (number & (u32::MAX >> 2)) as usize)
            })
    }
}

impl Part {
    /// The address of the part.
    pub(crate) fn digest(&self, digester: &Digester) -> Digest {
        match self {
            Self::Leaf(text) => digester.leaf(text),
            Self::Index(index) => digester.index(&index.0),
        }
    }

    /// How many bytes its content has.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Leaf(text) => text.len(),
            Self::Index(index) => index.0.len(),
        }
    }

    /// The same part in memory of its own, where it was a slice of something larger.
    pub(crate) fn detached(&self) -> Self {
        match self {
            Self::Leaf(text) => Self::Leaf(Bytes::copy_from_slice(text)),
            Self::Index(index) => Self::Index(Index(Bytes::copy_from_slice(&index.0))),
        }
    }

    /// The part as it is stored at its address.
    pub(crate) fn pack(&self, digest: Digest, sealer: &ThreadSealer) -> Bytes {
        match self {
            Self::Leaf(text) => sealer.pack(Place::Part(digest), text),
            Self::Index(index) => piece(INDEX, &index.0),
        }
    }

    /// Reads a part that is stored at an address, and checks that it belongs there.
    ///
    /// # Errors
    /// [`Damage::Part`] if it is no part, or not the one of this address.
    pub(crate) fn unpack(
        digest: Digest,
        stored: &Bytes,
        sealer: &ThreadSealer,
    ) -> Result<Self, Damage> {
        let part = if stored.first() == Some(&INDEX) {
            Index::parse(stored.slice(1..))
                .and_then(|index| {
                    let is_index = sealer.is_index(digest, &index.0);
                    is_index
                        .then_some(index)
                        .ok_or("its content has another digest")
                })
                .map(Self::Index)
                .map_err(Damage::text)
        } else {
            sealer
                .unpack(Place::Part(digest), stored, MAX_LEAF)
                .map(Self::Leaf)
        };
        part.map_err(|damage| Damage::part(digest, damage))
    }
}
