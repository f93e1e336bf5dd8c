//! `get_tuple`: the pointer and the registry, the document, its writes; fewer pipelines where the
//! session remembers which checkpoint is the newest.

use bytes::Bytes;

use super::pipeline::Replies;
use super::pointer::Pointer;
use super::thread::{Thread, pexpire, removed, ttl_left};
use super::{Names, Run, after, join, retry_while_removed};
use crate::error::{Error, Result};
use crate::id::CheckpointId;
use crate::redis::args::text;
use crate::redis::document::says_it_has_writes;
use crate::redis::driver::Reply;
use crate::redis::error::lost;
use crate::redis::keys::NamespaceKeys;
use crate::redis::scripts::{
    FoundCheckpoint, ReadCall, ReadReply, RegistryWrites, Request, WritesCall, WritesPageCall,
    WritesPageReply, WritesReply, in_milliseconds,
};

/// How many of the newest ids are read with the pointer.
const NEWEST: usize = 8;
/// How many are read at once when all of those are gone.
const PAGE: usize = 500;

/// A call, with the numbers that are made of it.
struct Read<'a> {
    keys: &'a NamespaceKeys,
    /// How the keys of the registries of writes start.
    registries: Vec<&'a Bytes>,
    /// The checkpoint whose document the caller reads.
    without_document_of: Option<Bytes>,
    ttl: i64,
    thread_ttl: i64,
}

/// A checkpoint that was looked at.
struct Found {
    id: Bytes,
    /// `None` if the caller reads it.
    document: Option<Bytes>,
    writes: Vec<Bytes>,
    /// The time that the document has left in milliseconds; -1 without a TTL.
    left: i64,
}

/// What was known of the newest before a checkpoint was looked at.
#[derive(Default)]
struct Heads {
    target: Option<Bytes>,
    ids: Vec<Bytes>,
    lacks_some: bool,
}

pub(super) async fn read(run: &Run<'_>, call: &ReadCall) -> Result<ReadReply> {
    let bytes = |id: &CheckpointId| text(id.as_str());
    let keys = &call.keys;
    let read = Read {
        keys,
        registries: [&keys.write_registries, &keys.shared_write_registries]
            .into_iter()
            .filter(|registries| !registries.is_empty())
            .collect(),
        without_document_of: call.without_document_of.as_ref().map(bytes),
        ttl: in_milliseconds(call.ttl),
        thread_ttl: call.thread_ttl.milliseconds(),
    };
    match call.id.as_ref().map(bytes) {
        Some(id) => read.named(run, &id).await,
        None => retry_while_removed(|| read.newest(run)).await,
    }
}

impl Read<'_> {
    async fn named(&self, run: &Run<'_>, id: &Bytes) -> Result<ReadReply> {
        let mut requests = self.look_at(id);
        requests.extend(self.thread());
        let mut replies = run.pipeline(requests).await?;
        match self.found(id, &mut replies)? {
            Some(found) => {
                let refresh_due = self.is_refresh_due(&mut replies)?;
                let found = self.finish(run, found, refresh_due, None).await?;
                Ok(found.map_or(ReadReply::Absent, ReadReply::Found))
            }
            None => Ok(ReadReply::Absent),
        }
    }

    /// The newest; none if it was removed while it was read.
    async fn newest(&self, run: &Run<'_>) -> Result<Option<ReadReply>> {
        let guess = run.session.newest(&self.keys.registry);
        let guess = guess.map(|newest| text(newest.id.as_str()));
        let newest = NEWEST.to_string();
        let mut requests = vec![
            Request::on("GET", &self.keys.pointer, []),
            Request::on(
                "ZREVRANGEBYLEX",
                &self.keys.registry,
                [&b"+"[..], b"(", b"LIMIT", b"0", newest.as_bytes()],
            ),
            Request::on("ZSCORE", &self.keys.registry, [&b""[..]]),
        ];
        requests.extend(self.thread());
        if let Some(guess) = &guess {
            requests.extend(self.look_at(guess));
        }
        let mut replies = run.pipeline(requests).await?;
        let heads = Heads {
            target: replies.bytes()?,
            ids: replies.list()?,
            lacks_some: replies.one()? != Reply::Nil,
        };
        let refresh_due = self.is_refresh_due(&mut replies)?;
        let guessed = match &guess {
            Some(guess) => self.found(guess, &mut replies)?,
            None => None,
        };
        match self.first_there(run, &heads, guessed).await? {
            Some(found) => {
                let found = self.finish(run, found, refresh_due, Some(&heads)).await?;
                Ok(found.map(ReadReply::Found))
            }
            None if heads.target.is_some() || heads.lacks_some => Ok(Some(ReadReply::Unknown)),
            None => Ok(Some(ReadReply::Absent)),
        }
    }

    /// The greatest of the ids whose document is there. The pointer alone does not say which:
    /// another saver may have moved it back.
    async fn first_there(
        &self,
        run: &Run<'_>,
        heads: &Heads,
        guessed: Option<Found>,
    ) -> Result<Option<Found>> {
        let pointed = heads.target.as_deref();
        let pointed = pointed.and_then(|target| after(target, &self.keys.documents));
        let mut ids = heads.ids.clone();
        ids.extend(pointed.map(Bytes::copy_from_slice));
        ids.sort_unstable();
        ids.dedup();
        ids.reverse();
        if let Some(first) = ids.first() {
            let found = match guessed.filter(|guessed| guessed.id == *first) {
                Some(found) => Some(found),
                None => self.look(run, first).await?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        let mut last = heads.ids.last().cloned();
        loop {
            let there = run.are_there(ids.iter().map(|id| join(&[&self.keys.documents, id])));
            let there = there.await?;
            for (id, _) in ids.iter().zip(there).filter(|(_, there)| *there) {
                if let Some(found) = self.look(run, id).await? {
                    return Ok(Some(found));
                }
            }
            let Some(upper) = last.take() else { break };
            ids = super::registry::ids(run, &self.keys.registry, &join(&[b"(", &upper]), PAGE)
                .await?;
            last = ids.last().cloned();
        }
        Ok(None)
    }

    async fn look(&self, run: &Run<'_>, id: &Bytes) -> Result<Option<Found>> {
        let mut replies = run.pipeline(self.look_at(id)).await?;
        self.found(id, &mut replies)
    }

    /// The requests that look at a checkpoint.
    fn look_at(&self, id: &Bytes) -> Vec<Request> {
        let document = join(&[&self.keys.documents, id]);
        let mut requests = vec![Request::on("PTTL", &document, [])];
        if self.returns_document_of(id) {
            requests.push(Request::on("JSON.GET", &document, []));
        }
        for registry in &self.registries {
            requests.push(Request::on(
                "ZRANGE",
                &join(&[registry, id]),
                [&b"0"[..], b"-1"],
            ));
        }
        requests
    }

    fn found(&self, id: &Bytes, replies: &mut Replies) -> Result<Option<Found>> {
        let left = replies.int()?;
        let document = if self.returns_document_of(id) {
            replies.bytes()?.map(Some)
        } else {
            Some(None)
        };
        let prefix = join(&[&self.keys.writes, id, b":"]);
        let mut writes = Vec::new();
        for _ in &self.registries {
            let registered = replies.list()?.into_iter();
            writes.extend(registered.filter(|key| after(key, &prefix).is_some()));
        }
        Ok(document.map(|document| Found {
            id: id.clone(),
            document,
            writes,
            left,
        }))
    }

    fn returns_document_of(&self, id: &Bytes) -> bool {
        self.without_document_of.as_ref() != Some(id)
    }

    /// The requests for the thread, if it has one TTL that reading refreshes.
    fn thread(&self) -> Vec<Request> {
        if self.ttl > 0 && self.thread_ttl > 0 {
            Thread::of(&self.keys.namespaces).into()
        } else {
            Vec::new()
        }
    }

    fn is_refresh_due(&self, replies: &mut Replies) -> Result<bool> {
        Ok(self.ttl > 0
            && self.thread_ttl > 0
            && Thread::read(replies)?.is_refresh_due(self.thread_ttl))
    }

    /// Reads the writes, gives what was read its TTL, and mends the pointer; none if the checkpoint
    /// is gone by now, and perhaps some of its writes.
    async fn finish(
        &self,
        run: &Run<'_>,
        found: Found,
        refresh_due: bool,
        heads: Option<&Heads>,
    ) -> Result<Option<FoundCheckpoint>> {
        let document = join(&[&self.keys.documents, &found.id]);
        let mut requests: Vec<_> = found
            .writes
            .iter()
            .map(|key| Request::on("JSON.GET", key, []))
            .collect();
        if !found.writes.is_empty() {
            // What is left of an earlier checkpoint of this id is no part of this one.
            let mark = removed(&self.keys.stored, &found.id);
            requests.push(Request::on("SISMEMBER", &self.keys.namespaces, [&mark[..]]));
        }
        requests.extend(heads.and_then(|heads| self.mended(heads, &found, &document)));
        // A document without a TTL is pinned or never expires; reading it does not give it one.
        if self.ttl > 0 && self.thread_ttl == 0 && found.left != -1 {
            requests.extend(self.expire(&found, &document));
        }
        let says_so = found
            .document
            .as_ref()
            .is_some_and(|document| says_it_has_writes(document));
        let lacks_all = found.writes.is_empty() && says_so;
        let mut writes = Vec::with_capacity(found.writes.len());
        let mut missing = lacks_all.then(Bytes::new);
        if !requests.is_empty() {
            let mut replies = run.pipeline(requests).await?;
            for key in &found.writes {
                match replies.bytes()? {
                    Some(write) => writes.push(write),
                    None => missing = Some(key.clone()),
                }
            }
            if !found.writes.is_empty() && replies.int()? == 1 {
                return Ok(None);
            }
            replies.finish()?;
        }
        if let Some(missing) = missing {
            if run.has_expired(&document).await? {
                return Ok(None);
            }
            if let Some(registry) = self.registries.first() {
                let registry = join(&[registry, &found.id]);
                check_lost(run, &document, &registry, &missing).await?;
            }
        }
        Ok(Some(FoundCheckpoint {
            id: found.id,
            document: found.document,
            writes: Some(writes),
            refresh_due,
        }))
    }

    fn expire(&self, found: &Found, document: &Bytes) -> Vec<Request> {
        let (ttl, only_longer) = (self.ttl, Some("GT"));
        let own = [document].into_iter().chain(&found.writes);
        // What has no TTL is to stay so, perhaps since a moment ago.
        let mut requests: Vec<_> = own.map(|key| pexpire(key, ttl, Some("XX"))).collect();
        if let Some(registry) = self.registries.first() {
            requests.push(pexpire(&join(&[registry, &found.id]), ttl, Some("XX")));
        }
        let keys = self.keys;
        for shared in [&keys.registry, &keys.namespaces, &keys.pointer] {
            requests.push(pexpire(shared, ttl, only_longer));
        }
        requests
    }

    /// Lets the pointer name what was found, if it names something else: nothing that is there,
    /// or a checkpoint that another saver moved it back to.
    fn mended(&self, heads: &Heads, found: &Found, document: &Bytes) -> Option<Request> {
        if heads.target.as_ref() == Some(document) {
            return None;
        }
        let named = heads.target.as_deref();
        let named = named.and_then(|target| after(target, &self.keys.documents));
        let named = named.map(Bytes::copy_from_slice);
        let pointer = Pointer {
            keys: self.keys,
            names: named.as_ref(),
            // What is greater than what was found is gone.
            is_stale: named.as_ref().is_some_and(|named| *named > found.id),
        };
        Some(pointer.advance(&found.id, ttl_left(found.left)))
    }
}

/// A document; none for a key that is gone or holds something else.
pub(super) fn document_of(reply: Result<Option<Bytes>>) -> Result<Option<Bytes>> {
    match reply {
        Err(Error::WrongType { .. } | Error::Server { .. }) => Ok(None),
        reply => reply,
    }
}

/// Fails if a write is gone while its document is there, and it is not another saver's, whose time
/// may have come. An empty key stands for all writes: that is, their registry.
pub(super) async fn check_lost(
    run: &Run<'_>,
    document: &Bytes,
    registry: &Bytes,
    write: &Bytes,
) -> Result<()> {
    let key = if write.is_empty() { registry } else { write };
    let mut replies = run
        .pipeline(vec![Request::on("EXISTS", key, []), Names::of(document)])
        .await?;
    let is_there = replies.int()? == 1;
    let Some(names) = Names::read(replies.bytes()?) else {
        return Ok(());
    };
    if !is_there && names.is_registered() {
        return Err(lost(&String::from_utf8_lossy(key)));
    }
    Ok(())
}

/// Reads all writes of a checkpoint that may have no document.
pub(super) async fn writes_page(run: &Run<'_>, call: &WritesPageCall) -> Result<WritesPageReply> {
    let (registry, document) = (&call.registry, &call.document);
    let requests = vec![
        Request::on("EXISTS", document, []),
        Request::on("ZRANGE", registry, [&b"0"[..], b"-1"]),
    ];
    let mut replies = run.pipeline(requests).await?;
    let has_document = replies.int()? == 1;
    let mut keys = replies.list()?;
    keys.retain(|key| after(key, &call.prefix).is_some());
    let requests: Vec<_> = keys
        .iter()
        .map(|key| Request::on("JSON.GET", key, []))
        .collect();
    let mut documents = Vec::with_capacity(keys.len());
    let mut replies = run.pipeline(requests).await?;
    for key in &keys {
        match replies.bytes()? {
            Some(write) => documents.push(write),
            None => check_lost(run, document, registry, key).await?,
        }
    }
    Ok(WritesPageReply {
        has_document,
        registered: keys.len(),
        next: None,
        documents,
    })
}

/// Reads the writes of several checkpoints.
pub(super) async fn writes(run: &Run<'_>, call: &WritesCall) -> Result<WritesReply> {
    let registered: Vec<_> = call
        .registries
        .iter()
        .map(|one| Request::on("ZRANGE", &one.registry, [&b"0"[..], b"-1"]))
        .collect();
    let mut replies = run.pipeline(registered).await?;
    let mut found: Vec<Option<Vec<Bytes>>> = Vec::with_capacity(call.registries.len());
    for one in &call.registries {
        found.push(match replies.list() {
            Err(Error::WrongType { .. }) => None,
            keys => Some(
                keys?
                    .into_iter()
                    .filter(|key| after(key, &one.prefix).is_some())
                    .collect(),
            ),
        });
    }
    let mut requests: Vec<_> = found
        .iter()
        .flatten()
        .flatten()
        .map(|key| Request::on("JSON.GET", key, []))
        .collect();
    // Writes that are there while their document is not may be some of those that are being
    // removed.
    let has_writes = |keys: &Option<Vec<Bytes>>| keys.as_ref().is_some_and(|keys| !keys.is_empty());
    let with_writes = call.registries.iter().zip(&found);
    let with_writes = with_writes.filter(|(_, keys)| has_writes(keys));
    requests.extend(with_writes.map(|(one, _)| Request::on("EXISTS", &one.document, [])));
    let mut replies = run.pipeline(requests).await?;
    let mut registries = Vec::with_capacity(found.len());
    for keys in &found {
        let mut documents = Vec::new();
        let mut has_all = keys.is_some();
        for _ in keys.iter().flatten() {
            match document_of(replies.bytes())? {
                Some(document) => documents.push(document),
                None => has_all = false,
            }
        }
        registries.push(if has_all {
            RegistryWrites::All(documents)
        } else {
            RegistryWrites::ReadAlone
        });
    }
    for (registry, keys) in registries.iter_mut().zip(&found) {
        if has_writes(keys) && replies.int()? == 0 {
            *registry = RegistryWrites::ReadAlone;
        }
    }
    Ok(WritesReply(registries))
}
