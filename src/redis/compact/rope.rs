//! Ropes: long texts as trees of parts.

use std::ops::ControlFlow;

use bytes::{BufMut, Bytes, BytesMut};

use super::damage::Damage;
use super::digest::{Digest, Digester};
use super::part::{Child, Index, MAX_CHILDREN, Part, Separator};

/// A long text: the root of the tree of its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rope {
    /// The address of the root part.
    pub(crate) root: Digest,
    /// How far the root is above the leaves: 0 if it is a leaf itself.
    pub(crate) level: u8,
    /// How many bytes the text has.
    pub(crate) length: usize,
}

/// A group of children ends after one whose digest has these bits 0: after every eighth on average.
const END_OF_GROUP: u8 = 0b111;

/// The parts of a text have at least this many bytes of it on average: leaves have [several times
/// as many](super::cut), and there are fewer index parts than leaves. So what a reader does is
/// bounded by the length of the text, whatever is stored.
const LEAST_BYTES_A_PART: usize = 16;

impl Rope {
    /// Builds the tree over leaves, which must be one at least; gives each index part to `found`.
    ///
    /// Where an index part ends depends on the digests of its children alone, so a change of one
    /// leaf changes one or two parts of each level.
    pub(crate) fn over(
        leaves: Vec<Child>,
        digester: &Digester,
        mut found: impl FnMut(Digest, Part),
    ) -> Option<Self> {
        let mut children = leaves;
        let mut level = 0;
        while children.len() > 1 {
            level += 1;
            children = groups(&children)
                .map(|group| {
                    let index = Index::new(level, group);
                    let length = index.length();
                    let part = Part::Index(index);
                    let digest = part.digest(digester);
                    found(digest, part);
                    Child {
                        separator: Separator::None,
                        digest,
                        length,
                    }
                })
                .collect();
        }
        children.first().map(|root| Self {
            root: root.digest,
            level,
            length: root.length,
        })
    }

    /// Walks the tree from its root in the order of the text, as long as `visit` goes on: shows it
    /// the parts that `find` knows, and those that it does not know.
    ///
    /// # Errors
    /// [`Damage::Part`] if a part does not fit where it stands, or if there are more than the length of the
    /// text allows.
    pub(crate) fn walk(
        &self,
        mut find: impl FnMut(&Digest) -> Option<Part>,
        mut visit: impl FnMut(Visited<'_>) -> ControlFlow<()>,
    ) -> Result<(), Damage> {
        let root = Child {
            separator: Separator::None,
            digest: self.root,
            length: self.length,
        };
        let mut allowed = self.length / LEAST_BYTES_A_PART + MAX_CHILDREN;
        let mut pending = vec![(root, self.level)];
        while let Some((child, level)) = pending.pop() {
            let misplaced = || {
                let reason = "it is not what the part above it says";
                Damage::part(child.digest, Damage::text(reason))
            };
            let Some(left) = allowed.checked_sub(1) else {
                let reason = "the text above it is cut into too many parts";
                return Err(Damage::part(child.digest, Damage::text(reason)));
            };
            allowed = left;
            let Some(part) = find(&child.digest) else {
                if visit(Visited::Missing(child)).is_break() {
                    break;
                }
                continue;
            };
            match &part {
                Part::Leaf(text) => {
                    if level != 0 || text.len() != child.length {
                        return Err(misplaced());
                    }
                    if visit(Visited::Leaf(child, text)).is_break() {
                        break;
                    }
                }
                Part::Index(index) => {
                    if level == 0 || index.level() != level || index.length() != child.length {
                        return Err(misplaced());
                    }
                    if visit(Visited::Index(child)).is_break() {
                        break;
                    }
                    let first = pending.len();
                    pending.extend(index.children().map(|child| (child, level - 1)));
                    pending[first..].reverse();
                }
            }
        }
        Ok(())
    }

    /// The text.
    ///
    /// # Errors
    /// [`Damage::Absent`] if `find` does not know a part, [`Damage::Part`] if one does not fit where
    /// it stands.
    pub(crate) fn append_to(
        &self,
        text: &mut BytesMut,
        find: impl FnMut(&Digest) -> Option<Part>,
    ) -> Result<(), Damage> {
        let mut absent = None;
        self.walk(find, |visited| {
            match visited {
                Visited::Leaf(child, leaf) => {
                    text.put_slice(child.separator.text());
                    text.put_slice(leaf);
                }
                Visited::Index(child) => text.put_slice(child.separator.text()),
                Visited::Missing(child) => {
                    absent = Some(child.digest);
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        })?;
        absent.map_or(Ok(()), |digest| Err(Damage::Absent(digest)))
    }
}

/// A part on the way through a rope.
pub(crate) enum Visited<'a> {
    /// A leaf and its text.
    Leaf(Child, &'a Bytes),
    /// An index part, whose children come next.
    Index(Child),
    /// A part that is not known.
    Missing(Child),
}

/// Cuts children into groups that become an index part each.
fn groups(children: &[Child]) -> impl Iterator<Item = &[Child]> {
    let mut rest = children;
    std::iter::from_fn(move || {
        let mut length = 0;
        for child in rest.iter().take(MAX_CHILDREN) {
            length += 1;
            if length > 1 && child.digest.as_bytes()[0] & END_OF_GROUP == 0 {
                break;
            }
        }
        let (group, left) = rest.split_at(length);
        rest = left;
        (!group.is_empty()).then_some(group)
    })
}
