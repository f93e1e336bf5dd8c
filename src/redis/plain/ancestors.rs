//! The history of delta channels, one flight for each ancestor.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::Deserialize;

use super::super::driver::Reply;
use super::flight::{Answers, Part};
use super::read::{check_lost, document_of};
use super::registry::range;
use super::{Plain, after, count, integer, join, until_whole};
use crate::error::Result;

/// How many of the newest ids are read with the pointer.
const NEWEST: usize = 100;

/// The keys and arguments of the script `history`.
struct History<'a> {
    pointer: &'a Bytes,
    registry: &'a Bytes,
    prefix: &'a Bytes,
    registries: &'a Bytes,
    writes: &'a Bytes,
}

/// What an ancestor says, before its document and its writes are read.
struct Ancestor {
    id: Bytes,
    parent: Option<Bytes>,
    channels: Vec<Bytes>,
    writes: Vec<Bytes>,
    has_writes: bool,
}

/// What the document of an ancestor is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Said {
    #[serde(rename = "$.parent_checkpoint_id")]
    parent: Vec<serde_json::Value>,
    #[serde(rename = "$.has_writes")]
    has_writes: Vec<serde_json::Value>,
}

pub(super) async fn history(plain: &Plain<'_>, keys: &[Bytes], args: &[Bytes]) -> Result<Reply> {
    let [pointer, registry] = plain.first::<2>(keys)?;
    let [id, prefix, registries, writes, most, from_parent, channels] = plain.first::<7>(args)?;
    let call = History {
        pointer,
        registry,
        prefix,
        registries,
        writes,
    };
    until_whole(|| call.walk(plain, id, integer(most), from_parent == "1", channels)).await
}

impl History<'_> {
    /// Walks from a checkpoint, '' for the newest; no answer if one is removed while it is read.
    async fn walk(
        &self,
        plain: &Plain<'_>,
        id: &Bytes,
        most: i64,
        from_parent: bool,
        channels: &Bytes,
    ) -> Result<Option<Reply>> {
        let mut remaining: BTreeSet<String> = serde_json::from_slice(channels).unwrap_or_default();
        let mut next = if id.is_empty() {
            self.newest(plain).await?
        } else {
            Some(id.clone())
        };
        if from_parent && let Some(id) = next {
            let mut answers = plain.flight(self.look_at(&id).into()).await?;
            next = self.ancestor(&id, &mut answers)?.and_then(|one| one.parent);
        }

        let mut entries = vec![Reply::Bytes(Bytes::new())];
        let (mut steps, mut seen) = (0, BTreeSet::new());
        let mut waiting: Option<(Ancestor, bool)> = None;
        loop {
            // The parents may form a circle.
            let id = next
                .take()
                .filter(|id| !remaining.is_empty() && !seen.contains(id));
            if let Some(id) = id.as_ref().filter(|_| steps >= most) {
                entries[0] = Reply::Bytes(id.clone());
            }
            let id = id.filter(|_| steps < most);
            let mut parts: Vec<Part> = Vec::new();
            if let Some((ancestor, is_whole)) = &waiting {
                parts.extend(self.rest_of(ancestor, *is_whole));
            }
            if let Some(id) = &id {
                parts.extend(self.look_at(id));
            }
            if parts.is_empty() && waiting.is_none() {
                break;
            }
            let mut answers = plain.flight(parts).await?;
            if let Some((ancestor, is_whole)) = waiting.take() {
                let document = join(&[self.prefix, &ancestor.id]);
                let registry = join(&[self.registries, &ancestor.id]);
                let (entry, missing) = rest(ancestor, is_whole, &mut answers)?;
                if let Some(missing) = missing {
                    if !plain.is_there(document.clone()).await? {
                        return Ok(None);
                    }
                    check_lost(plain, &document, &registry, &missing).await?;
                }
                entries.push(entry);
            }
            let Some(id) = id else { break };
            steps += 1;
            seen.insert(id.clone());
            let Some(ancestor) = self.ancestor(&id, &mut answers)? else {
                break;
            };
            let mut has_values = false;
            for channel in &ancestor.channels {
                if let Ok(channel) = std::str::from_utf8(channel) {
                    has_values |= remaining.remove(channel);
                }
            }
            next.clone_from(&ancestor.parent);
            waiting = Some((ancestor, has_values));
        }
        Ok(Some(Reply::Array(entries)))
    }

    async fn newest(&self, plain: &Plain<'_>) -> Result<Option<Bytes>> {
        let parts = vec![
            Part::of("GET", self.pointer, []),
            range(self.registry, b"+", NEWEST),
        ];
        let mut answers = plain.flight(parts).await?;
        let target = answers.bytes()?;
        let mut ids = answers.list()?;
        let pointed = target
            .as_deref()
            .and_then(|target| after(target, self.prefix));
        ids.extend(pointed.map(Bytes::copy_from_slice));
        let there = plain.are_there(ids.iter().map(|id| join(&[self.prefix, id])));
        let there = there.await?;
        let newest = ids.into_iter().zip(there).filter(|(_, there)| *there).max();
        Ok(newest.map(|(id, _)| id))
    }

    fn look_at(&self, id: &Bytes) -> [Part; 4] {
        let document = join(&[self.prefix, id]);
        [
            Part::of("EXISTS", &document, []),
            Part::of(
                "JSON.OBJKEYS",
                &document,
                [&b".checkpoint.channel_values"[..]],
            ),
            Part::of(
                "JSON.GET",
                &document,
                [&b"$.parent_checkpoint_id"[..], b"$.has_writes"],
            ),
            Part::of("ZRANGE", &join(&[self.registries, id]), [&b"0"[..], b"-1"]),
        ]
    }

    fn ancestor(&self, id: &Bytes, answers: &mut Answers) -> Result<Option<Ancestor>> {
        let is_there = answers.int()? == 1;
        let channels = answers.list();
        let said = document_of(answers.bytes())?;
        let writes = answers.list()?;
        if !is_there {
            return Ok(None);
        }
        let said = said.and_then(|said| serde_json::from_slice::<Said>(&said).ok());
        let said = said.unwrap_or_default();
        let parent = said.parent.first().and_then(|parent| parent.as_str());
        let prefix = join(&[self.writes, id, b":"]);
        let writes = writes
            .into_iter()
            .filter(|key| after(key, &prefix).is_some());
        Ok(Some(Ancestor {
            id: id.clone(),
            parent: parent
                .filter(|parent| !parent.is_empty())
                .map(|parent| Bytes::copy_from_slice(parent.as_bytes())),
            channels: channels?,
            writes: writes.collect(),
            has_writes: said.has_writes.contains(&serde_json::Value::Bool(true)),
        }))
    }

    fn rest_of(&self, ancestor: &Ancestor, is_whole: bool) -> Vec<Part> {
        let document = join(&[self.prefix, &ancestor.id]);
        let document = is_whole.then(|| Part::of("JSON.GET", &document, []));
        let writes = ancestor.writes.iter();
        document
            .into_iter()
            .chain(writes.map(|key| Part::of("JSON.GET", key, [])))
            .collect()
    }
}

/// What a script gives of an ancestor, and whether something is missing: the key of a write, or an
/// empty one for its document or all of its writes.
fn rest(
    ancestor: Ancestor,
    is_whole: bool,
    answers: &mut Answers,
) -> Result<(Reply, Option<Bytes>)> {
    let document = if is_whole {
        document_of(answers.bytes())?.unwrap_or_default()
    } else {
        Bytes::new()
    };
    let lacks_document = is_whole && document.is_empty();
    let lacks_all = ancestor.has_writes && ancestor.writes.is_empty();
    let mut missing = (lacks_document || lacks_all).then(Bytes::new);
    let mut entry = vec![Reply::Bytes(ancestor.id), Reply::Bytes(document), count(0)];
    for key in ancestor.writes {
        match answers.bytes()? {
            Some(write) => entry.push(Reply::Bytes(write)),
            None => missing = Some(key),
        }
    }
    Ok((Reply::Array(entry), missing))
}
