//! The history of delta channels, one pipeline for each ancestor.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::Deserialize;

use super::pipeline::Replies;
use super::read::{check_lost, document_of};
use super::registry::range;
use super::{Run, after, join, retry_while_removed};
use crate::error::Result;
use crate::redis::keys::NamespaceKeys;
use crate::redis::scripts::{self, HistoryCall, HistoryReply, Request};

/// How many of the newest ids are read with the pointer.
const NEWEST: usize = 100;

/// A walk over the ancestors.
struct History<'a> {
    call: &'a HistoryCall,
    keys: &'a NamespaceKeys,
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

pub(super) async fn history(run: &Run<'_>, call: &HistoryCall) -> Result<HistoryReply> {
    let keys = &call.keys;
    let history = History { call, keys };
    retry_while_removed(|| history.walk(run)).await
}

impl History<'_> {
    /// Walks from a checkpoint; none if one is removed while it is read.
    async fn walk(&self, run: &Run<'_>) -> Result<Option<HistoryReply>> {
        let mut remaining: BTreeSet<&str> = self.call.channels.iter().map(String::as_str).collect();
        let mut next = match &self.call.start {
            None => self.newest(run).await?,
            start => start.clone(),
        };
        if self.call.from_parent
            && let Some(id) = next
        {
            let mut replies = run.pipeline(self.look_at(&id)).await?;
            next = self.ancestor(&id, &mut replies)?.and_then(|one| one.parent);
        }

        let mut found = HistoryReply {
            next: None,
            ancestors: Vec::new(),
        };
        let (mut steps, mut seen) = (0, BTreeSet::new());
        let mut waiting: Option<(Ancestor, bool)> = None;
        loop {
            // The parents may form a circle.
            let id = next
                .take()
                .filter(|id| !remaining.is_empty() && !seen.contains(id));
            if steps >= self.call.max {
                found.next.clone_from(&id);
            }
            let id = id.filter(|_| steps < self.call.max);
            let mut requests: Vec<Request> = Vec::new();
            if let Some((ancestor, has_values)) = &waiting {
                requests.extend(self.rest_of(ancestor, *has_values));
            }
            if let Some(id) = &id {
                requests.extend(self.look_at(id));
            }
            if requests.is_empty() && waiting.is_none() {
                break;
            }
            let mut replies = run.pipeline(requests).await?;
            if let Some((ancestor, has_values)) = waiting.take() {
                let document = join(&[&self.keys.documents, &ancestor.id]);
                let registry = join(&[&self.keys.write_registries, &ancestor.id]);
                let (ancestor, missing) = rest(ancestor, has_values, &mut replies)?;
                if let Some(missing) = missing {
                    if run.has_expired(&document).await? {
                        return Ok(None);
                    }
                    check_lost(run, &document, &registry, &missing).await?;
                }
                found.ancestors.push(ancestor);
            }
            let Some(id) = id else { break };
            steps += 1;
            seen.insert(id.clone());
            let Some(ancestor) = self.ancestor(&id, &mut replies)? else {
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
        Ok(Some(found))
    }

    async fn newest(&self, run: &Run<'_>) -> Result<Option<Bytes>> {
        let requests = vec![
            Request::on("GET", &self.keys.pointer, []),
            range(&self.keys.registry, b"+", NEWEST),
        ];
        let mut replies = run.pipeline(requests).await?;
        let target = replies.bytes()?;
        let mut ids = replies.list()?;
        let pointed = target
            .as_deref()
            .and_then(|target| after(target, &self.keys.documents));
        ids.extend(pointed.map(Bytes::copy_from_slice));
        let there = run.are_there(ids.iter().map(|id| join(&[&self.keys.documents, id])));
        let there = there.await?;
        let newest = ids.into_iter().zip(there).filter(|(_, there)| *there).max();
        Ok(newest.map(|(id, _)| id))
    }

    /// How the keys of the registries of writes start.
    fn registries(&self) -> impl Iterator<Item = &Bytes> {
        let all = [
            &self.keys.write_registries,
            &self.keys.shared_write_registries,
        ];
        all.into_iter().filter(|registries| !registries.is_empty())
    }

    fn look_at(&self, id: &Bytes) -> Vec<Request> {
        let document = join(&[&self.keys.documents, id]);
        let mut requests = vec![
            Request::on("EXISTS", &document, []),
            Request::on(
                "JSON.OBJKEYS",
                &document,
                [&b".checkpoint.channel_values"[..]],
            ),
            Request::on(
                "JSON.GET",
                &document,
                [&b"$.parent_checkpoint_id"[..], b"$.has_writes"],
            ),
        ];
        requests.extend(
            self.registries().map(|registries| {
                Request::on("ZRANGE", &join(&[registries, id]), [&b"0"[..], b"-1"])
            }),
        );
        requests
    }

    fn ancestor(&self, id: &Bytes, replies: &mut Replies) -> Result<Option<Ancestor>> {
        let is_there = replies.int()? == 1;
        let channels = replies.list();
        let said = document_of(replies.bytes())?;
        let mut writes = Vec::new();
        for _ in self.registries() {
            writes.extend(replies.list()?);
        }
        if !is_there {
            return Ok(None);
        }
        let said = said.and_then(|said| serde_json::from_slice::<Said>(&said).ok());
        let said = said.unwrap_or_default();
        let parent = said.parent.first().and_then(|parent| parent.as_str());
        let prefix = join(&[&self.keys.writes, id, b":"]);
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

    fn rest_of(&self, ancestor: &Ancestor, has_values: bool) -> Vec<Request> {
        let document = join(&[&self.keys.documents, &ancestor.id]);
        let document = has_values.then(|| Request::on("JSON.GET", &document, []));
        let writes = ancestor.writes.iter();
        document
            .into_iter()
            .chain(writes.map(|key| Request::on("JSON.GET", key, [])))
            .collect()
    }
}

/// What is returned of an ancestor, and whether something is missing: the key of a write, or an
/// empty one for its document or all of its writes.
fn rest(
    ancestor: Ancestor,
    has_values: bool,
    replies: &mut Replies,
) -> Result<(scripts::Ancestor, Option<Bytes>)> {
    let document = if has_values {
        document_of(replies.bytes())?
    } else {
        None
    };
    let lacks_document = has_values && document.is_none();
    let lacks_all = ancestor.has_writes && ancestor.writes.is_empty();
    let mut missing = (lacks_document || lacks_all).then(Bytes::new);
    let mut writes = Vec::with_capacity(ancestor.writes.len());
    for key in ancestor.writes {
        match replies.bytes()? {
            Some(write) => writes.push(write),
            None => missing = Some(key),
        }
    }
    let ancestor = scripts::Ancestor {
        id: ancestor.id,
        document,
        writes: Some(writes),
    };
    Ok((ancestor, missing))
}
