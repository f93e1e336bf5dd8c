//! Walks in pages: over the keys that start with a text, and over the members of a key.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{MEMBERS, PAGE, bytes_of};
use crate::error::Result;
use crate::redis::args::number;
use crate::redis::driver::{Command, NodeHandle, Reply};
use crate::redis::keys::glob_escaped;
use crate::redis::store::Store;

/// A walk over the keys that start with a text.
pub(super) struct Scan {
    pattern: String,
    /// The node that is walked, and those that come after; `None` before the first.
    nodes: Option<VecDeque<NodeHandle>>,
    cursor: Bytes,
}

impl Scan {
    /// The keys of a family whose threads start with a prefix.
    pub(super) fn new(family: &str, prefix: &str, store: &Store) -> Self {
        // Without the closing brace, which is not next to the prefix.
        let segment = store.keyspace.segment(prefix);
        // Where nothing is asked for, keys without tags are seen as well, to tell of them.
        let segment = if prefix.is_empty() { "" } else { &segment };
        Self::every(&format!(
            "{family}{}",
            segment.strip_suffix('}').unwrap_or(segment)
        ))
    }

    pub(super) fn every(start: &str) -> Self {
        Self {
            pattern: format!("{}*", glob_escaped(start)),
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

/// A walk over the members of a set or a sorted set. What is there throughout is seen, some of it
/// perhaps twice.
pub(super) struct Members {
    key: Bytes,
    is_sorted: bool,
    cursor: Option<Bytes>,
}

impl Members {
    pub(super) fn of_set(key: &Bytes) -> Self {
        Self {
            key: key.clone(),
            is_sorted: false,
            cursor: Some(Bytes::from_static(b"0")),
        }
    }

    pub(super) fn of_registry(key: &Bytes) -> Self {
        Self {
            is_sorted: true,
            ..Self::of_set(key)
        }
    }

    /// What asks for the next page; `None` after the last.
    pub(super) fn command(&self) -> Option<Command> {
        let name = if self.is_sorted { "ZSCAN" } else { "SSCAN" };
        Some(
            Command::on(name, self.key.clone())
                .arg(self.cursor.clone()?)
                .arg("COUNT")
                .arg(number(MEMBERS)),
        )
    }

    /// The page that a reply holds; it may be empty.
    pub(super) fn page(&mut self, reply: Reply) -> Vec<Bytes> {
        let mut parts = reply.into_array().into_iter();
        self.cursor = parts
            .next()
            .and_then(Reply::into_bytes)
            .filter(|cursor| !cursor.is_empty() && cursor != "0");
        let members = bytes_of(parts.next().unwrap_or(Reply::Nil));
        if self.is_sorted {
            members.into_iter().step_by(2).collect()
        } else {
            members
        }
    }

    /// The next page; it may be empty.
    pub(super) async fn next(&mut self, store: &Store) -> Result<Option<Vec<Bytes>>> {
        let Some(command) = self.command() else {
            return Ok(None);
        };
        let reply = store.driver.call("doctor", command).await?;
        Ok(Some(self.page(reply)))
    }
}
