//! Walks over the keys that start with a text.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{PAGE, bytes_of};
use crate::error::Result;
use crate::redis::driver::{Command, Node, Reply, number};
use crate::redis::store::Store;

/// A walk over the keys that start with a text.
pub(super) struct Scan {
    pattern: String,
    /// The node that is walked, and those that come after; `None` before the first.
    nodes: Option<VecDeque<Node>>,
    cursor: Bytes,
}

impl Scan {
    /// The keys of a family whose threads start with a prefix.
    pub(super) fn new(family: &str, prefix: &str, store: &Store) -> Self {
        // Without the closing brace, which is not next to the prefix.
        let segment = store.keyspace.segment(prefix);
        Self::every(&format!(
            "{family}{}",
            segment.strip_suffix('}').unwrap_or(&segment)
        ))
    }

    pub(super) fn every(start: &str) -> Self {
        let mut pattern = String::with_capacity(start.len() + 1);
        for character in start.chars() {
            if matches!(character, '*' | '?' | '[' | ']' | '\\' | '^') {
                pattern.push('\\');
            }
            pattern.push(character);
        }
        pattern.push('*');
        Self {
            pattern,
            nodes: None,
            cursor: Bytes::from_static(b"0"),
        }
    }

    /// The next page; it may be empty.
    pub(super) async fn next(&mut self, store: &Store) -> Result<Option<Vec<Bytes>>> {
        let nodes = match &mut self.nodes {
            Some(nodes) => nodes,
            nodes => nodes.insert(store.driver.primaries()?.into()),
        };
        let Some(node) = nodes.front() else {
            return Ok(None);
        };
        // A cursor means nothing to another server, nor to the same one started anew.
        let command = Command::new("SCAN")
            .once()
            .arg(self.cursor.clone())
            .arg("MATCH")
            .arg(self.pattern.clone())
            .arg("COUNT")
            .arg(number(PAGE));
        let reply = store.driver.call_at("doctor", node, command).await?;
        let mut reply = reply.into_array().into_iter();
        self.cursor = reply.next().and_then(Reply::into_bytes).unwrap_or_default();
        if self.cursor.is_empty() || self.cursor == "0" {
            self.cursor = Bytes::from_static(b"0");
            nodes.pop_front();
        }
        Ok(Some(bytes_of(reply.next().unwrap_or(Reply::Nil))))
    }
}
