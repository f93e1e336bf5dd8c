//! Walks in pages: over the keys of every node, and over the members of one key.

use std::collections::{BTreeSet, HashSet, VecDeque};

use bytes::Bytes;

use super::args::number;
use super::document::ReadCheckpoint;
use super::driver::{Command, NodeHandle, Reply};
use super::keys::{Member, glob_escaped};
use super::replies::byte_strings;
use super::resharding::NodeSlots;
use super::slots::slot;
use super::store::Store;
use crate::error::{Error, Result};
use crate::id::{CheckpointNamespace, ThreadId};

/// How many keys are looked at in one step, unless less is asked for.
const STEP: usize = 1_000;
/// How many keys are read in one pipeline.
const PIPELINE: usize = 256;
/// How many members are asked for at once.
const MEMBERS: usize = 256;

/// How often nodes are walked again that slots have moved to in the meantime.
const AGAIN: usize = 8;

/// A walk over keys. A key that is there throughout is seen, perhaps more than once; in a walk over
/// every node also if its slot moves to another one.
pub(crate) struct Scan {
    operation: &'static str,
    pattern: String,
    type_name: Option<&'static str>,
    step: usize,
    /// The node that is walked, and those that come after; `None` before the first.
    nodes: Option<VecDeque<NodeHandle>>,
    cursor: Bytes,
    /// The slots of each node when it was looked at last; `None` for a walk over some nodes only.
    slots: Option<NodeSlots>,
    /// How often nodes were walked again.
    again: usize,
}

impl Scan {
    /// The keys that a pattern matches, on every primary.
    pub(crate) fn matching(operation: &'static str, pattern: String) -> Self {
        Self {
            operation,
            pattern,
            type_name: None,
            step: STEP,
            nodes: None,
            cursor: Bytes::from_static(b"0"),
            slots: None,
            again: 0,
        }
    }

    /// The keys that start with a text, on every primary.
    pub(crate) fn starting(operation: &'static str, start: &str) -> Self {
        Self::matching(operation, format!("{}*", glob_escaped(start)))
    }

    /// The same on these nodes only.
    pub(crate) fn at(mut self, nodes: Vec<NodeHandle>) -> Self {
        self.nodes = Some(nodes.into());
        self
    }

    /// The same of keys of one type only.
    pub(crate) fn of_type(mut self, type_name: &'static str) -> Self {
        self.type_name = Some(type_name);
        self
    }

    /// The same in pages of about `step` keys.
    pub(crate) fn in_steps_of(mut self, step: usize) -> Self {
        self.step = step;
        self
    }

    /// The next page; it may be empty. `None` after the last.
    pub(crate) async fn next(&mut self, store: &Store) -> Result<Option<Vec<Bytes>>> {
        if self.nodes.is_none() {
            self.slots = NodeSlots::read(store, self.operation).await;
            self.nodes = Some(store.driver().primaries()?.into());
        } else if self.nodes.as_ref().is_some_and(VecDeque::is_empty) {
            self.nodes = Some(self.resharded(store).await.into());
        }
        let Some(node) = self.nodes.as_ref().and_then(VecDeque::front) else {
            return Ok(None);
        };
        // A cursor means nothing to another server, nor to the same one started again.
        let mut command = Command::new("SCAN")
            .once()
            .arg(self.cursor.clone())
            .arg("MATCH")
            .arg(self.pattern.clone())
            .arg("COUNT")
            .arg(number(self.step));
        if let Some(type_name) = self.type_name {
            command = command.arg("TYPE").arg(type_name);
        }
        let reply = store
            .driver()
            .call_at(self.operation, node, command)
            .await?;
        let (cursor, page) = page_of(reply);
        self.cursor = cursor.unwrap_or_else(|| {
            if let Some(nodes) = &mut self.nodes {
                nodes.pop_front();
            }
            Bytes::from_static(b"0")
        });
        Ok(Some(page))
    }

    /// The nodes that keys may have moved to from nodes that were walked after them.
    async fn resharded(&mut self, store: &Store) -> Vec<NodeHandle> {
        let Some(before) = self.slots.take() else {
            return Vec::new();
        };
        let Some(now) = NodeSlots::read(store, self.operation).await else {
            return Vec::new();
        };
        // What was on its way to a node when that was walked again has been seen where it came
        // from.
        let nodes = match self.again {
            0 => now.with_more_than_or_importing(&before),
            _ => now.with_more_than(&before),
        };
        if self.again == AGAIN {
            if !nodes.is_empty() {
                let pattern = &self.pattern;
                tracing::warn!(
                    pattern,
                    "slots move faster than keys are walked: some may be passed over"
                );
            }
            return Vec::new();
        }
        self.again += 1;
        self.slots = Some(now);
        nodes
    }

    /// All keys, each once.
    pub(crate) async fn all(mut self, store: &Store) -> Result<Vec<Bytes>> {
        let mut keys = HashSet::new();
        while let Some(page) = self.next(store).await? {
            keys.extend(page);
        }
        Ok(keys.into_iter().collect())
    }
}

/// A walk over the members of a set or a sorted set. A member that is there throughout is seen,
/// perhaps more than once.
pub(crate) struct Members {
    operation: &'static str,
    key: Bytes,
    is_sorted: bool,
    cursor: Option<Bytes>,
}

impl Members {
    pub(crate) fn of_set(operation: &'static str, key: &Bytes) -> Self {
        Self {
            operation,
            key: key.clone(),
            is_sorted: false,
            cursor: Some(Bytes::from_static(b"0")),
        }
    }

    pub(crate) fn of_sorted_set(operation: &'static str, key: &Bytes) -> Self {
        Self {
            is_sorted: true,
            ..Self::of_set(operation, key)
        }
    }

    /// The command that reads the next page; `None` after the last.
    pub(crate) fn command(&self) -> Option<Command> {
        let name = if self.is_sorted { "ZSCAN" } else { "SSCAN" };
        Some(
            Command::on(name, self.key.clone())
                .arg(self.cursor.clone()?)
                .arg("COUNT")
                .arg(number(MEMBERS)),
        )
    }

    /// The page that a reply holds; it may be empty.
    pub(crate) fn page(&mut self, reply: Reply) -> Vec<Bytes> {
        let elements = self.elements(reply);
        if self.is_sorted {
            elements.into_iter().step_by(2).collect()
        } else {
            elements
        }
    }

    /// The next page; it may be empty. `None` after the last.
    pub(crate) async fn next(&mut self, store: &Store) -> Result<Option<Vec<Bytes>>> {
        let reply = self.read(store).await?;
        Ok(reply.map(|reply| self.page(reply)))
    }

    /// The next page of a sorted set with the scores.
    pub(crate) async fn next_scored(&mut self, store: &Store) -> Result<Option<Vec<(Bytes, f64)>>> {
        let Some(reply) = self.read(store).await? else {
            return Ok(None);
        };
        let mut elements = self.elements(reply).into_iter();
        let mut page = Vec::new();
        while let (Some(member), Some(score)) = (elements.next(), elements.next()) {
            let number = std::str::from_utf8(&score).ok();
            let number = number.and_then(|text| text.parse().ok());
            page.push((member, number.unwrap_or(0.0)));
        }
        Ok(Some(page))
    }

    async fn read(&self, store: &Store) -> Result<Option<Reply>> {
        match self.command() {
            Some(command) => store.driver().call(self.operation, command).await.map(Some),
            None => Ok(None),
        }
    }

    fn elements(&mut self, reply: Reply) -> Vec<Bytes> {
        let (cursor, elements) = page_of(reply);
        self.cursor = cursor;
        elements
    }
}

/// The namespaces of every thread whose id starts with a prefix: those that the threads' sets
/// name, and those that only a pointer names, because another saver wrote them.
pub(crate) async fn scanned_namespaces(
    store: &Store,
    prefix: &str,
) -> Result<BTreeSet<(ThreadId, CheckpointNamespace)>> {
    let pattern = store.keyspace.heads_pattern(prefix);
    let keys = Scan::matching("scan", pattern).all(store).await?;
    let mut found = BTreeSet::new();
    let (mut sets, mut pointers) = (Vec::new(), Vec::new());
    let family = store.keyspace.pointer_family();
    for key in keys {
        if key.starts_with(family.as_bytes()) {
            pointers.push(key);
        } else if let Some(thread) = store.keyspace.of_namespaces(&key) {
            sets.push((thread, key));
        }
    }
    for chunk in sets.chunks(PIPELINE) {
        let commands = chunk.iter().map(|(_, key)| members_from(key, "0".into()));
        let replies = store.driver().batch("scan", commands.collect()).await?;
        for ((thread, key), reply) in chunk.iter().zip(replies) {
            let (cursor, mut members) = match reply {
                Err(Error::WrongType { .. } | Error::Server { .. }) => {
                    let key = String::from_utf8_lossy(key);
                    tracing::warn!(%key, "it is no set of namespaces, and is passed over");
                    continue;
                }
                reply => page_of(reply?),
            };
            if cursor.is_some() {
                members = all_members(store, key).await?;
            }
            let members = members.iter();
            found.extend(members.filter_map(|member| match Member::of_bytes(member) {
                Some(Member::Namespace(namespace)) => Some((thread.clone(), namespace)),
                _ => None,
            }));
        }
    }
    let known: HashSet<_> = found
        .iter()
        .map(|(thread, namespace)| store.keys(thread, namespace).pointer)
        .collect();
    pointers.retain(|pointer| !known.contains(pointer));
    for chunk in pointers.chunks(PIPELINE) {
        found.extend(pointed_to(store, chunk).await?);
    }
    found.retain(|(thread, _)| thread.as_str().starts_with(prefix));
    Ok(found)
}

/// The members of a large set, in pages from one server.
async fn all_members(store: &Store, key: &Bytes) -> Result<Vec<Bytes>> {
    let node = match store.driver().owner(slot(key)) {
        Some(node) => node,
        None => store.driver().any_primary()?,
    };
    let (mut cursor, mut all) = (Bytes::from_static(b"0"), Vec::new());
    loop {
        // A cursor means nothing to another server, nor to the same one started again.
        let command = members_from(key, cursor).once();
        let (next, page) = page_of(store.driver().call_at("scan", &node, command).await?);
        all.extend(page);
        match next {
            Some(next) => cursor = next,
            None => return Ok(all),
        }
    }
}

/// The namespaces of the documents that pointers name.
async fn pointed_to(
    store: &Store,
    pointers: &[Bytes],
) -> Result<Vec<(ThreadId, CheckpointNamespace)>> {
    let read = |name, keys: &[Bytes]| -> Vec<_> {
        let command = |key: &Bytes| Command::on(name, key.clone());
        keys.iter().map(command).collect()
    };
    let targets = store.driver().batch("scan", read("GET", pointers)).await?;
    let mut keys = Vec::new();
    for target in targets {
        keys.extend(target?.into_bytes());
    }
    let documents = store
        .driver()
        .batch("scan", read("JSON.GET", &keys))
        .await?;
    let mut found = Vec::new();
    for (key, document) in keys.iter().zip(documents) {
        let document = match document {
            // Something else than a document has the name of one.
            Err(Error::WrongType { .. } | Error::Server { .. }) => continue,
            document => document?.into_bytes(),
        };
        let read = document.map(|document| ReadCheckpoint::parse(key, &document));
        if let Some(read) = read.transpose()?.flatten() {
            found.push((read.identity.thread_id, read.identity.namespace));
        }
    }
    Ok(found)
}

/// Reads a page of a set.
fn members_from(key: &Bytes, cursor: Bytes) -> Command {
    let command = Command::on("SSCAN", key.clone()).arg(cursor);
    command.arg("COUNT").arg(number(STEP))
}

/// The cursor of the next page, `None` after the last, and the elements of this one.
fn page_of(reply: Reply) -> (Option<Bytes>, Vec<Bytes>) {
    let mut parts = reply.into_array().into_iter();
    let cursor = parts.next().and_then(Reply::into_bytes);
    let cursor = cursor.filter(|cursor| !cursor.is_empty() && cursor != "0");
    (cursor, byte_strings(parts.next().unwrap_or(Reply::Nil)))
}
