//! Walks over all keys, on every node: for what only a search could answer otherwise.

use std::collections::{BTreeSet, HashSet};

use bytes::Bytes;

use super::args::number;
use super::document::ReadCheckpoint;
use super::driver::{Command, NodeHandle, Reply};
use super::keys::{Member, glob_escaped};
use super::slots::slot;
use super::store::Store;
use crate::error::{Error, Result};
use crate::id::{CheckpointNamespace, ThreadId};

/// How many keys are looked at in one step.
const STEP: usize = 1_000;

/// How many keys are read in one flight.
const FLIGHT: usize = 256;

/// The keys that start with a text, each once.
pub(crate) async fn scan(store: &Store, start: &str) -> Result<Vec<Bytes>> {
    scan_pattern(store, &format!("{}*", glob_escaped(start))).await
}

/// The keys that a pattern matches, each once, on every primary.
pub(crate) async fn scan_pattern(store: &Store, pattern: &str) -> Result<Vec<Bytes>> {
    scan_at(store, store.driver.primaries()?, pattern).await
}

/// The keys of some nodes that a pattern matches, each once.
pub(crate) async fn scan_at(
    store: &Store,
    nodes: Vec<NodeHandle>,
    pattern: &str,
) -> Result<Vec<Bytes>> {
    let mut keys = HashSet::new();
    for node in nodes {
        let mut cursor = Bytes::from_static(b"0");
        loop {
            // A cursor means nothing to another server, nor to the same one started anew.
            let command = Command::new("SCAN")
                .once()
                .arg(cursor)
                .arg("MATCH")
                .arg(pattern.to_owned())
                .arg("COUNT")
                .arg(number(STEP));
            let reply = store.driver.call_at("scan", &node, command).await?;
            let mut reply = reply.into_array().into_iter();
            cursor = reply.next().and_then(Reply::into_bytes).unwrap_or_default();
            let page = reply.next().unwrap_or(Reply::Nil).into_array();
            keys.extend(page.into_iter().filter_map(Reply::into_bytes));
            if cursor.is_empty() || cursor == "0" {
                break;
            }
        }
    }
    Ok(keys.into_iter().collect())
}

/// The namespaces of every thread whose id starts with a prefix: those that the threads' sets
/// name, and those that only a pointer tells of, because another saver wrote them.
pub(crate) async fn scanned_namespaces(
    store: &Store,
    prefix: &str,
) -> Result<BTreeSet<(ThreadId, CheckpointNamespace)>> {
    let keys = scan_pattern(store, &store.keyspace.heads_pattern(prefix)).await?;
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
    for chunk in sets.chunks(FLIGHT) {
        let commands = chunk.iter().map(|(_, key)| members_from(key, "0".into()));
        let replies = store.driver.batch("scan", commands.collect()).await?;
        for ((thread, key), reply) in chunk.iter().zip(replies) {
            let (cursor, mut members) = match reply {
                Err(Error::WrongType { .. } | Error::Server { .. }) => {
                    let key = String::from_utf8_lossy(key);
                    tracing::warn!(%key, "it is no set of namespaces, and is passed over");
                    continue;
                }
                reply => page_of(reply?),
            };
            if cursor != "0" {
                members = all_members(store, key).await?;
            }
            let members = members.iter().filter_map(Reply::as_str);
            found.extend(members.filter_map(|member| match Member::parse(member) {
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
    for chunk in pointers.chunks(FLIGHT) {
        found.extend(pointed_to(store, chunk).await?);
    }
    found.retain(|(thread, _)| thread.as_str().starts_with(prefix));
    Ok(found)
}

/// The members of a large set, in pages from one server.
async fn all_members(store: &Store, key: &Bytes) -> Result<Vec<Reply>> {
    let node = match store.driver.owner(slot(key)) {
        Some(node) => node,
        None => store.driver.any_primary()?,
    };
    let (mut cursor, mut all) = (Bytes::from_static(b"0"), Vec::new());
    loop {
        // A cursor means nothing to another server, nor to the same one started again.
        let command = members_from(key, cursor).once();
        let (next, page) = page_of(store.driver.call_at("scan", &node, command).await?);
        all.extend(page);
        if next.is_empty() || next == "0" {
            return Ok(all);
        }
        cursor = next;
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
    let targets = store.driver.batch("scan", read("GET", pointers)).await?;
    let mut keys = Vec::new();
    for target in targets {
        keys.extend(target?.into_bytes());
    }
    let documents = store.driver.batch("scan", read("JSON.GET", &keys)).await?;
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

/// The cursor and the elements of a page.
fn page_of(reply: Reply) -> (Bytes, Vec<Reply>) {
    let mut reply = reply.into_array().into_iter();
    let cursor = reply.next().and_then(Reply::into_bytes).unwrap_or_default();
    (cursor, reply.next().unwrap_or(Reply::Nil).into_array())
}
