//! Where a text is cut into parts: its content decides, so the same elements are the same parts.
//!
//! Objects in a list are cut apart where `},{` stands, without the comma: the parts of a message
//! are the same in the write that brings it, in the list that takes it over, and wherever in a list
//! it stands. Objects too small for a part of their own are taken together, as many as their hashes
//! say. What is long and has no such place is cut by FastCDC. The brackets around a list stay out
//! of the parts, so appending to a list adds parts and changes none. Nothing depends on the text
//! being JSON.

use std::ops::{ControlFlow, Range};

use bytes::Bytes;
use fastcdc::v2020::FastCDC;
use memchr::memmem;

use super::digest::{Digest, Digester};
use super::part::{Child, MAX_LEAF, MAX_LENGTH, Part, Separator};
use super::rope::{Rope, Visited};

/// A text below this many bytes stays where it stands, and an element is part of a leaf with
/// others.
pub(crate) const WORTH_A_PART: usize = 192;
/// An element above this many bytes is cut.
const LONG_ELEMENT: usize = 4 * 1024;
/// The least and the average size of what FastCDC cuts.
const MIN_CUT: usize = 1024;
const AVERAGE_CUT: usize = 2 * 1024;
/// A group of small elements has this many bytes at least, unless a large one follows.
const MIN_GROUP: usize = 64;
/// The most bytes of the name of a member whose list is looked into.
const LONGEST_NAME: usize = 64;

/// The place in a text that a rope stands for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// The bytes of the text that are in the rope.
    pub(crate) range: Range<usize>,
    pub(crate) rope: Rope,
}

/// The rope of a text that this one is likely to begin as, with what finds its parts. It saves time
/// and changes nothing.
pub(crate) type Before<'a> = Option<(Rope, &'a mut dyn FnMut(&Digest) -> Option<Part>)>;

/// Cuts a text; gives each part to `found`, some of them more than once, but for leaves that are
/// those of the text before. `None` if the text is too short to be worth a rope.
///
/// A JSON text stays JSON if a number takes the place of its rope.
pub(crate) fn cut(
    text: &Bytes,
    digester: &Digester,
    before: Before<'_>,
    mut found: impl FnMut(Digest, Part),
) -> Option<Cut> {
    let range = inside_of_list(text);
    if range.len() < WORTH_A_PART || text.len() > MAX_LENGTH {
        return None;
    }
    let (mut leaves, mut groups) = (Vec::new(), Groups::of(text, &range));
    if let Some((rope, mut find)) = before {
        match in_common(&text[range.clone()], &rope, &mut find) {
            InCommon::All => return Some(Cut { range, rope }),
            InCommon::Start { same, bytes, next } => {
                leaves = same;
                groups.resume(range.start + bytes, next);
            }
        }
    }
    let mut leaf = |separator, text: Bytes| {
        let length = text.len();
        let part = Part::Leaf(text);
        let digest = part.digest(digester);
        found(digest, part);
        leaves.push(Child {
            separator,
            digest,
            length,
        });
    };
    for (mut separator, group) in groups {
        if group.len() <= LONG_ELEMENT {
            leaf(separator, group);
            continue;
        }
        for chunk in FastCDC::new(&group, MIN_CUT, AVERAGE_CUT, MAX_LEAF) {
            leaf(
                separator,
                group.slice(chunk.offset..chunk.offset + chunk.length),
            );
            separator = Separator::None;
        }
    }
    Rope::over(leaves, digester, &mut found).map(|rope| Cut { range, rope })
}

/// Where the elements of a list of objects are, which is all of the text or the only member of an
/// object; all of the text if it is neither.
fn inside_of_list(text: &[u8]) -> Range<usize> {
    let list = |open: usize, close: &[u8]| {
        let is_list = text[open..].starts_with(b"[{") && text.ends_with(close);
        (is_list && text.len() > open + close.len()).then(|| open + 1..text.len() - close.len())
    };
    let in_object = || {
        let name = text.strip_prefix(b"{\"")?;
        let end = memchr::memchr2(b'"', b'\\', &name[..name.len().min(LONGEST_NAME)])?;
        name[end..].starts_with(b"\":").then_some(end + 4)
    };
    list(0, b"]")
        .or_else(|| list(in_object()?, b"]}"))
        .unwrap_or(0..text.len())
}

/// What a text has in common with the one before.
enum InCommon {
    /// It is the same.
    All,
    /// It begins with the same leaves, which stand for this number of bytes; then comes this
    /// separator.
    Start {
        same: Vec<Child>,
        bytes: usize,
        next: Separator,
    },
}

fn in_common(text: &[u8], before: &Rope, find: impl FnMut(&Digest) -> Option<Part>) -> InCommon {
    let (mut same, mut bytes, mut all) = (Vec::new(), 0, true);
    // Where the last three groups begin: leaves and bytes before them, and the separator.
    let mut starts = [(0, 0, Separator::None); 3];
    let walked = before.walk(find, |visited| {
        match visited {
            Visited::Index(_) => return ControlFlow::Continue(()),
            Visited::Leaf(child, leaf) => {
                let separator = child.separator.text();
                let rest = text[bytes..].strip_prefix(separator);
                if rest.is_some_and(|rest| rest.starts_with(leaf)) {
                    if child.separator != Separator::None {
                        starts = [starts[1], starts[2], (same.len(), bytes, child.separator)];
                    }
                    same.push(child);
                    bytes += child.spanned();
                    return ControlFlow::Continue(());
                }
            }
            Visited::Missing(_) => {}
        }
        all = false;
        ControlFlow::Break(())
    });
    if walked.is_ok() && all && bytes == text.len() {
        return InCommon::All;
    }
    // Where a group ends depends on the element behind it, which is in common only if the group
    // behind that element's is, too.
    let (leaves, bytes, next) = starts[1];
    same.truncate(leaves);
    InCommon::Start {
        same,
        bytes: bytes + next.text().len(),
        next,
    }
}

/// The groups of elements between `start` and `end`, each with the separator before it.
struct Groups<'a> {
    text: &'a Bytes,
    /// Where the last element ends.
    end: usize,
    /// What is before the group that comes next.
    separator: Separator,
    /// The first element of that group.
    next: Option<Element>,
    finder: memmem::Finder<'static>,
}

/// An element: where it ends, and the separator behind it.
struct Element {
    start: usize,
    end: usize,
    separator: Separator,
}

impl Element {
    fn len(&self) -> usize {
        self.end - self.start
    }
}

impl<'a> Groups<'a> {
    fn of(text: &'a Bytes, range: &Range<usize>) -> Self {
        let mut groups = Self {
            text,
            separator: Separator::None,
            end: range.end,
            next: None,
            finder: memmem::Finder::new(b"},"),
        };
        groups.next = groups.element(range.start);
        groups
    }

    /// Goes on with the group that begins at a place, behind a separator.
    fn resume(&mut self, start: usize, separator: Separator) {
        self.separator = separator;
        self.next = self.element(start);
    }

    /// The element that begins at a place; `None` at the end.
    fn element(&self, start: usize) -> Option<Element> {
        if start >= self.end {
            return None;
        }
        let text = &self.text[..self.end];
        let mut from = start;
        while let Some(found) = self.finder.find(&text[from..]) {
            let end = from + found + 1;
            let separator = match text[end + 1..] {
                [b'{', ..] => Some(Separator::Comma),
                [b' ', b'{', ..] => Some(Separator::CommaBlank),
                _ => None,
            };
            if let Some(separator) = separator {
                return Some(Element {
                    start,
                    end,
                    separator,
                });
            }
            from = end;
        }
        Some(Element {
            start,
            end: self.end,
            separator: Separator::None,
        })
    }
}

impl Iterator for Groups<'_> {
    type Item = (Separator, Bytes);

    fn next(&mut self) -> Option<Self::Item> {
        let mut last = self.next.take()?;
        let start = last.start;
        loop {
            let behind = last.end + last.separator.text().len();
            self.next = self.element(behind);
            let is_end = match &self.next {
                None => true,
                Some(next) => {
                    last.len() >= WORTH_A_PART
                        || next.len() >= WORTH_A_PART
                        || (last.end - start >= MIN_GROUP
                            && ends_a_group(&self.text[last.start..last.end]))
                }
            };
            if is_end {
                let group = (self.separator, self.text.slice(start..last.end));
                self.separator = last.separator;
                return Some(group);
            }
            match self.next.take() {
                Some(next) => last = next,
                None => return None,
            }
        }
    }
}

/// Whether a small element is the last of its group: the more likely the longer it is, so that
/// groups have about as many bytes as are worth a part.
fn ends_a_group(element: &[u8]) -> bool {
    const PRIME: u64 = 0x0100_0000_01b3;
    let hash = element
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(PRIME)
        });
    ((hash >> 32) as usize) % WORTH_A_PART < element.len()
}
