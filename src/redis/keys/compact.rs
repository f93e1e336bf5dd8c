//! The keys of the compact layout: three a thread, in one slot whatever its id.

use std::borrow::Cow;
use std::fmt::Write;

use bytes::Bytes;

use super::encode::glob_escaped;
use super::keyspace::{HEADS, Keyspace, LAYOUT, PARTS, WRITES};
use crate::id::ThreadId;

/// The names of a thread's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CompactKeys {
    /// The sorted set of checkpoints without their large values.
    pub(crate) heads: Bytes,
    /// The hash of the parts of large values.
    pub(crate) parts: Bytes,
    /// The sorted set of pending writes.
    pub(crate) writes: Bytes,
}

impl CompactKeys {
    /// All of them, in the order in which scripts take them.
    pub(crate) fn all(&self) -> Vec<Bytes> {
        vec![self.heads.clone(), self.parts.clone(), self.writes.clone()]
    }
}

impl Keyspace {
    /// The names of a thread's keys in the compact layout.
    pub(crate) fn compact(&self, thread: &ThreadId) -> CompactKeys {
        let (prefix, tag) = (self.checkpoint_prefix(), tag_of(thread.as_str()));
        let key = |family| Bytes::from([prefix, family, ":{", &tag, "}"].concat());
        CompactKeys {
            heads: key(HEADS),
            parts: key(PARTS),
            writes: key(WRITES),
        }
    }

    /// A pattern for the heads of the threads whose ids start with a text.
    pub(crate) fn compact_heads_pattern(&self, thread: &str) -> String {
        self.compact_pattern(HEADS, thread)
    }

    /// Patterns for all keys of the threads whose ids start with a text, a family each.
    pub(crate) fn compact_patterns(&self, thread: &str) -> [String; 3] {
        [HEADS, PARTS, WRITES].map(|family| self.compact_pattern(family, thread))
    }

    fn compact_pattern(&self, family: &str, thread: &str) -> String {
        let prefix = glob_escaped(self.checkpoint_prefix());
        format!("{prefix}{family}:{{{}*", glob_escaped(&tag_of(thread)))
    }

    /// The thread whose key in the compact layout this is; `None` if it is another key.
    pub(crate) fn of_compact(&self, key: &[u8]) -> Option<ThreadId> {
        let rest = std::str::from_utf8(key).ok()?;
        let rest = rest.strip_prefix(self.checkpoint_prefix())?;
        let mut families = [HEADS, PARTS, WRITES].into_iter();
        let rest = families.find_map(|family| rest.strip_prefix(family))?;
        let tag = rest.strip_prefix(":{")?.strip_suffix('}')?;
        let thread = tag.replace("%7B", "{").replace("%7D", "}");
        let thread = ThreadId::new(thread.replace("%25", "%")).ok()?;
        let keys = self.compact(&thread);
        keys.all().iter().any(|one| one == key).then_some(thread)
    }

    /// The key that says which layout is under the prefix.
    pub(crate) fn layout_marker(&self) -> Bytes {
        Bytes::from(format!("{}{LAYOUT}", self.checkpoint_prefix()))
    }
}

/// A thread as a hash tag that is exactly the thread: no brace in its id ends the tag.
fn tag_of(thread: &str) -> Cow<'_, str> {
    if !thread.contains(['%', '{', '}']) {
        return Cow::Borrowed(thread);
    }
    let mut tag = String::with_capacity(thread.len());
    for character in thread.chars() {
        match character {
            '%' | '{' | '}' => {
                // Writing to a string does not fail.
                let _ = write!(tag, "%{:02X}", u32::from(character));
            }
            other => tag.push(other),
        }
    }
    Cow::Owned(tag)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::redis::slots::{share_a_tag, slot};

    #[test]
    fn every_thread_has_keys_of_its_own_in_one_slot() {
        let keyspace = Keyspace::new("checkpoint", "checkpoint_write", false).unwrap();
        let mut seen = BTreeSet::new();
        for id in [
            "a", "{a}", "}", "{}", "{", "a}b", "%7B", "%257B", "%", "%25", "a:b", "\0", "ä{x}",
        ] {
            let thread = ThreadId::new(id).unwrap();
            let keys = keyspace.compact(&thread);
            assert!(share_a_tag(&keys.all()), "{id}");
            for key in keys.all() {
                assert_eq!(slot(&key), slot(&keys.heads));
                assert_eq!(keyspace.of_compact(&key).as_ref(), Some(&thread), "{id}");
                assert!(seen.insert(key), "{id}");
            }
        }
        for other in [
            "checkpoint_heads:{a",
            "checkpoint_heads:a",
            "checkpoint_heads:{%7b}",
            "x",
        ] {
            assert_eq!(keyspace.of_compact(other.as_bytes()), None, "{other}");
        }
    }
}
