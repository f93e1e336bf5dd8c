//! `get_tuple`: the pointer and the registry, the document, its writes; fewer flights where this
//! saver remembers which checkpoint is the newest.

use bytes::Bytes;

use super::super::document::says_it_has_writes;
use super::super::driver::Reply;
use super::super::error::lost;
use super::flight::{Answers, Part};
use super::pointer::Pointer;
use super::thread::{Thread, pexpire, ttl_left};
use super::{Names, Plain, after, count, flag, integer, join, until_whole};
use crate::error::{Error, Result};

/// How many of the newest ids are read with the pointer.
const NEWEST: usize = 8;
/// How many are read at once when all of those are gone.
const PAGE: usize = 500;

/// The keys and arguments of the script `read`.
struct Read<'a> {
    pointer: &'a Bytes,
    registry: &'a Bytes,
    namespaces: &'a Bytes,
    prefix: &'a Bytes,
    registries: Vec<&'a Bytes>,
    writes: &'a Bytes,
    ttl: i64,
    own: &'a Bytes,
    whole: i64,
}

/// A checkpoint that was looked at.
struct Found {
    id: Bytes,
    /// Empty if the caller reads it.
    document: Bytes,
    writes: Vec<Bytes>,
    /// The time that the document has left in milliseconds; -1 for ever.
    left: i64,
}

/// What was known of the newest before a checkpoint was looked at.
#[derive(Default)]
struct Heads {
    target: Option<Bytes>,
    ids: Vec<Bytes>,
    lacks_some: bool,
}

pub(super) async fn read(plain: &Plain<'_>, keys: &[Bytes], args: &[Bytes]) -> Result<Reply> {
    let [pointer, registry, namespaces] = plain.first::<3>(keys)?;
    let [id, prefix, own_registries, writes, more, ttl, own, whole] = plain.first::<8>(args)?;
    let call = Read {
        pointer,
        registry,
        namespaces,
        prefix,
        registries: [own_registries, more]
            .into_iter()
            .filter(|registries| !registries.is_empty())
            .collect(),
        writes,
        ttl: integer(ttl),
        own,
        whole: integer(whole),
    };
    if id.is_empty() {
        until_whole(|| call.newest(plain)).await
    } else {
        call.named(plain, id).await
    }
}

fn absent(state: &'static str) -> Reply {
    Reply::Array(vec![Reply::Bytes(Bytes::new()), Reply::Bytes(state.into())])
}

impl Read<'_> {
    async fn named(&self, plain: &Plain<'_>, id: &Bytes) -> Result<Reply> {
        let mut parts = self.look_at(id);
        parts.extend(self.thread());
        let mut answers = plain.flight(parts).await?;
        match self.found(id, &mut answers)? {
            Some(found) => {
                let due = self.due(&mut answers)?;
                let whole = self.finish(plain, found, due, None).await?;
                Ok(whole.unwrap_or_else(|| absent("absent")))
            }
            None => Ok(absent("absent")),
        }
    }

    /// The newest; none if it was removed while it was read.
    async fn newest(&self, plain: &Plain<'_>) -> Result<Option<Reply>> {
        let guess = plain.store.remembered_id(self.registry);
        let guess = guess.map(|id| Bytes::copy_from_slice(id.as_str().as_bytes()));
        let newest = NEWEST.to_string();
        let mut parts = vec![
            Part::of("GET", self.pointer, []),
            Part::of(
                "ZREVRANGEBYLEX",
                self.registry,
                [&b"+"[..], b"(", b"LIMIT", b"0", newest.as_bytes()],
            ),
            Part::of("ZSCORE", self.registry, [&b""[..]]),
        ];
        parts.extend(self.thread());
        if let Some(guess) = &guess {
            parts.extend(self.look_at(guess));
        }
        let mut answers = plain.flight(parts).await?;
        let heads = Heads {
            target: answers.bytes()?,
            ids: answers.list()?,
            lacks_some: answers.one()? != Reply::Nil,
        };
        let due = self.due(&mut answers)?;
        let guessed = match &guess {
            Some(guess) => self.found(guess, &mut answers)?,
            None => None,
        };
        match self.first_there(plain, &heads, guessed).await? {
            Some(found) => self.finish(plain, found, due, Some(&heads)).await,
            None if heads.target.is_some() || heads.lacks_some => Ok(Some(absent("unknown"))),
            None => Ok(Some(absent("absent"))),
        }
    }

    /// The greatest of the ids whose document is there. The pointer alone does not tell: another
    /// saver may have moved it back.
    async fn first_there(
        &self,
        plain: &Plain<'_>,
        heads: &Heads,
        guessed: Option<Found>,
    ) -> Result<Option<Found>> {
        let pointed = heads.target.as_deref();
        let pointed = pointed.and_then(|target| after(target, self.prefix));
        let mut ids = heads.ids.clone();
        ids.extend(pointed.map(Bytes::copy_from_slice));
        ids.sort_unstable();
        ids.dedup();
        ids.reverse();
        if let Some(first) = ids.first() {
            let found = match guessed.filter(|guessed| guessed.id == *first) {
                Some(found) => Some(found),
                None => self.look(plain, first).await?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        let mut last = heads.ids.last().cloned();
        loop {
            let there = plain.are_there(ids.iter().map(|id| join(&[self.prefix, id])));
            let there = there.await?;
            for (id, _) in ids.iter().zip(there).filter(|(_, there)| *there) {
                if let Some(found) = self.look(plain, id).await? {
                    return Ok(Some(found));
                }
            }
            let Some(upper) = last.take() else { break };
            ids = super::registry::ids(plain, self.registry, &join(&[b"(", &upper]), PAGE).await?;
            last = ids.last().cloned();
        }
        Ok(None)
    }

    async fn look(&self, plain: &Plain<'_>, id: &Bytes) -> Result<Option<Found>> {
        let mut answers = plain.flight(self.look_at(id)).await?;
        self.found(id, &mut answers)
    }

    /// The parts that look at a checkpoint.
    fn look_at(&self, id: &Bytes) -> Vec<Part> {
        let document = join(&[self.prefix, id]);
        let mut parts = vec![Part::of("PTTL", &document, [])];
        if id != self.own {
            parts.push(Part::of("JSON.GET", &document, []));
        }
        for registry in &self.registries {
            parts.push(Part::of(
                "ZRANGE",
                &join(&[registry, id]),
                [&b"0"[..], b"-1"],
            ));
        }
        parts
    }

    fn found(&self, id: &Bytes, answers: &mut Answers) -> Result<Option<Found>> {
        let left = answers.int()?;
        let document = if id == self.own {
            Some(Bytes::new())
        } else {
            answers.bytes()?
        };
        let prefix = join(&[self.writes, id, b":"]);
        let mut writes = Vec::new();
        for _ in &self.registries {
            let registered = answers.list()?.into_iter();
            writes.extend(registered.filter(|key| after(key, &prefix).is_some()));
        }
        Ok(document.map(|document| Found {
            id: id.clone(),
            document,
            writes,
            left,
        }))
    }

    fn thread(&self) -> Vec<Part> {
        if self.ttl > 0 && self.whole > 0 {
            Thread::of(self.namespaces).into()
        } else {
            Vec::new()
        }
    }

    fn due(&self, answers: &mut Answers) -> Result<bool> {
        Ok(self.ttl > 0 && self.whole > 0 && Thread::read(answers)?.is_due(self.whole))
    }

    /// Reads the writes, gives what was read its TTL, and mends the pointer; none if the checkpoint
    /// is gone by now, and perhaps some of its writes.
    async fn finish(
        &self,
        plain: &Plain<'_>,
        found: Found,
        due: bool,
        heads: Option<&Heads>,
    ) -> Result<Option<Reply>> {
        let document = join(&[self.prefix, &found.id]);
        let mut parts: Vec<_> = found
            .writes
            .iter()
            .map(|key| Part::of("JSON.GET", key, []))
            .collect();
        parts.extend(heads.and_then(|heads| self.mended(heads, &found, &document)));
        // A document without a TTL is pinned, or kept for ever; reading it does not give it one.
        if self.ttl > 0 && self.whole == 0 && found.left != -1 {
            parts.extend(self.expire(&found, &document));
        }
        let lacks_all = found.writes.is_empty() && says_it_has_writes(&found.document);
        let mut result = vec![
            Reply::Bytes(found.id.clone()),
            Reply::Bytes(found.document),
            flag(due),
            flag(false),
        ];
        let mut missing = lacks_all.then(Bytes::new);
        if !parts.is_empty() {
            let mut answers = plain.flight(parts).await?;
            for key in &found.writes {
                match answers.bytes()? {
                    Some(write) => result.push(Reply::Bytes(write)),
                    None => missing = Some(key.clone()),
                }
            }
            answers.finish()?;
        }
        if let Some(missing) = missing {
            if !plain.is_there(document.clone()).await? {
                return Ok(None);
            }
            if let Some(registry) = self.registries.first() {
                let registry = join(&[registry, &found.id]);
                check_lost(plain, &document, &registry, &missing).await?;
            }
        }
        Ok(Some(Reply::Array(result)))
    }

    fn expire(&self, found: &Found, document: &Bytes) -> Vec<Part> {
        let (ttl, only_longer) = (self.ttl, Some("GT"));
        let own = [document].into_iter().chain(&found.writes);
        // What has no TTL is kept for ever, perhaps since a moment ago.
        let mut parts: Vec<_> = own.map(|key| pexpire(key, ttl, Some("XX"))).collect();
        if let Some(registry) = self.registries.first() {
            parts.push(pexpire(&join(&[registry, &found.id]), ttl, Some("XX")));
        }
        for shared in [self.registry, self.namespaces, self.pointer] {
            parts.push(pexpire(shared, ttl, only_longer));
        }
        parts
    }

    /// Lets the pointer name what was found, if it names something else: nothing that is there,
    /// or a checkpoint that another saver moved it back to.
    fn mended(&self, heads: &Heads, found: &Found, document: &Bytes) -> Option<Part> {
        if heads.target.as_ref() == Some(document) {
            return None;
        }
        let named = heads.target.as_deref();
        let named = named.and_then(|target| after(target, self.prefix));
        let named = named.map(Bytes::copy_from_slice);
        let pointer = Pointer {
            key: self.pointer,
            prefix: self.prefix,
            names: named.as_ref(),
            // What is greater than what was found is gone.
            is_stale: named.as_ref().is_some_and(|named| *named > found.id),
        };
        Some(pointer.advance(&found.id, ttl_left(found.left)))
    }
}

/// A document; none for a key that is gone or holds something else.
pub(super) fn document_of(answer: Result<Option<Bytes>>) -> Result<Option<Bytes>> {
    match answer {
        Err(Error::WrongType { .. } | Error::Server { .. }) => Ok(None),
        answer => answer,
    }
}

/// Fails if a write is gone while its document is there, and it is not another saver's, whose time may
/// have come. An empty key stands for all writes: that is, their registry.
pub(super) async fn check_lost(
    plain: &Plain<'_>,
    document: &Bytes,
    registry: &Bytes,
    write: &Bytes,
) -> Result<()> {
    let key = if write.is_empty() { registry } else { write };
    let mut answers = plain
        .flight(vec![Part::of("EXISTS", key, []), Names::of(document)])
        .await?;
    let is_there = answers.int()? == 1;
    let Some(names) = Names::read(answers.bytes()?) else {
        return Ok(());
    };
    if !is_there && names.is_registered() {
        return Err(lost(&String::from_utf8_lossy(key)));
    }
    Ok(())
}

/// Reads all writes of a checkpoint that may have no document.
pub(super) async fn writes_page(
    plain: &Plain<'_>,
    keys: &[Bytes],
    args: &[Bytes],
) -> Result<Reply> {
    let [registry, document] = plain.first::<2>(keys)?;
    let [prefix] = plain.first::<1>(args)?;
    let parts = vec![
        Part::of("EXISTS", document, []),
        Part::of("ZRANGE", registry, [&b"0"[..], b"-1"]),
    ];
    let mut answers = plain.flight(parts).await?;
    let is_there = answers.int()? == 1;
    let mut keys = answers.list()?;
    keys.retain(|key| after(key, prefix).is_some());
    let mut result = vec![flag(is_there), count(keys.len()), count(0)];
    let parts: Vec<_> = keys
        .iter()
        .map(|key| Part::of("JSON.GET", key, []))
        .collect();
    if !parts.is_empty() {
        let mut answers = plain.flight(parts).await?;
        for key in &keys {
            match answers.bytes()? {
                Some(write) => result.push(Reply::Bytes(write)),
                None => check_lost(plain, document, registry, key).await?,
            }
        }
    }
    Ok(Reply::Array(result))
}

/// Reads the writes of several checkpoints.
pub(super) async fn writes(plain: &Plain<'_>, keys: &[Bytes], args: &[Bytes]) -> Result<Reply> {
    let registered: Vec<_> = keys
        .iter()
        .map(|registry| Part::of("ZRANGE", registry, [&b"0"[..], b"-1"]))
        .collect();
    let mut answers = plain.flight(registered).await?;
    let mut found: Vec<Option<Vec<Bytes>>> = Vec::with_capacity(keys.len());
    for prefix in args.iter().take(keys.len()) {
        found.push(match answers.list() {
            Err(Error::WrongType { .. }) => None,
            keys => Some(
                keys?
                    .into_iter()
                    .filter(|key| after(key, prefix).is_some())
                    .collect(),
            ),
        });
    }
    let parts: Vec<_> = found
        .iter()
        .flatten()
        .flatten()
        .map(|key| Part::of("JSON.GET", key, []))
        .collect();
    let mut answers = if parts.is_empty() {
        None
    } else {
        Some(plain.flight(parts).await?)
    };
    let mut result = Vec::with_capacity(found.len());
    for keys in &found {
        let mut documents = vec![count(0)];
        let mut is_whole = keys.is_some();
        for _ in keys.iter().flatten() {
            let Some(answers) = &mut answers else { break };
            match document_of(answers.bytes())? {
                Some(document) => documents.push(Reply::Bytes(document)),
                None => is_whole = false,
            }
        }
        if !is_whole {
            // The checkpoint must be read by itself.
            documents = vec![count(2)];
        }
        result.push(Reply::Array(documents));
    }
    Ok(Reply::Array(result))
}
