//! `put_writes`: the writes first, then the registry that names all of them at once.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;

use super::super::driver::{Command, Reply, number};
use super::super::error::{foreign, lost};
use super::flight::{Answers, Group, Part, expire};
use super::thread::{Thread, awaited};
use super::{Names, Plain, begun, count, flag, integer, until_kept};
use crate::error::{Error, Result};

/// How many members are registered by one command of a script.
const MEMBERS: usize = 1_000;
/// How often writes of other calls are looked at until theirs are whole, and how long the first
/// pause is; each is twice as long as the one before.
const LOOKS: u32 = 9;
const PAUSE: Duration = Duration::from_millis(2);

/// The keys and arguments of the script `put_writes`.
struct PutWrites<'a> {
    registry: &'a Bytes,
    document: &'a Bytes,
    namespaces: &'a Bytes,
    replace: bool,
    ttl: i64,
    namespace: &'a Bytes,
    id: &'a Bytes,
    whole: i64,
    thread: &'a Bytes,
    keys: &'a [Bytes],
    documents: Vec<Bytes>,
    /// What this call's writes say of it, where they must be told from those of others.
    name: Option<String>,
}

/// What there was before the call, and what it made.
struct Before {
    /// Which writes this call made; the others were there.
    made: Vec<bool>,
    /// The calls whose writes are there under the keys.
    calls: Vec<Option<String>>,
    is_registered: Vec<bool>,
    has_registry: bool,
    has_document: bool,
    /// The time that the document has left in milliseconds; -1 without a TTL, `None` if it is not there.
    document_left: Option<i64>,
    thread: Thread,
}

pub(super) async fn put_writes(plain: &Plain<'_>, keys: &[Bytes], args: &[Bytes]) -> Result<Reply> {
    let [registry, document, namespaces] = plain.first::<3>(keys)?;
    let [mode, ttl, namespace, id, whole, thread] = plain.first::<6>(args)?;
    let call = PutWrites {
        registry,
        document,
        namespaces,
        replace: mode == "replace",
        ttl: integer(ttl),
        namespace,
        id,
        whole: integer(whole),
        thread,
        keys: &keys[3..],
        documents: args[6..].to_vec(),
        name: None,
    };
    call.named().store(plain).await
}

/// The document of a write that says which call made it.
fn named(document: &Bytes, call: Option<&str>) -> Bytes {
    match (call, document.strip_suffix(b"}")) {
        (Some(call), Some(start)) => {
            super::join(&[start, b",\"call\":\"", call.as_bytes(), b"\"}"])
        }
        _ => document.clone(),
    }
}

impl PutWrites<'_> {
    /// The same with a name, if its writes must be told from those of other calls: so that those
    /// of one are kept.
    fn named(mut self) -> Self {
        if !self.replace && self.keys.len() > 1 {
            let name = format!("{:016x}", rand::random::<u64>());
            for document in &mut self.documents {
                *document = named(document, Some(&name));
            }
            self.name = Some(name);
        }
        self
    }

    async fn store(&self, plain: &Plain<'_>) -> Result<Reply> {
        // Another call may take back what it has made, if it fails.
        until_kept(|| self.attempt(plain)).await
    }

    /// Stores them, and says whether all are there.
    async fn attempt(&self, plain: &Plain<'_>) -> Result<(bool, Reply)> {
        let mut answers = plain.flight(self.first_flight()).await?;
        let mut made = Vec::with_capacity(self.keys.len());
        let mut failure = None;
        for _ in self.keys {
            match answers.all() {
                Ok(reply) => made.push(reply.first().is_some_and(|first| *first != Reply::Nil)),
                Err(error) => {
                    made.push(false);
                    failure = failure.or(Some(error));
                }
            }
        }
        let before = failure.map_or_else(|| self.before(made.clone(), answers), Err);
        let before = match before {
            Ok(before) => before,
            Err(refused) => {
                self.take_back(plain, &made).await?;
                return Err(refused);
            }
        };
        let done = async {
            if !self.replace {
                self.agree(plain, &before).await?;
            }
            self.register(plain, &before).await
        };
        done.await.map_err(begun)
    }

    /// Removes the writes that this call made, but for those that another call has registered. One
    /// that is registered while it is removed is stored again: the other call has found it there.
    async fn take_back(&self, plain: &Plain<'_>, made: &[bool]) -> Result<()> {
        if !made.contains(&true) {
            return Ok(());
        }
        let known = self.are_registered(plain).await?;
        let free = (0..made.len()).filter(|place| made[*place] && known.get(*place) != Some(&true));
        let free: Vec<_> = free.collect();
        let unlink = free
            .iter()
            .map(|place| Part::of("UNLINK", &self.keys[*place], []));
        plain.flight(unlink.collect()).await?.finish()?;
        let known = self.are_registered(plain).await?;
        let again = free
            .into_iter()
            .filter(|place| known.get(*place) == Some(&true));
        let again = again.map(|place| self.stored(&self.keys[place], &self.documents[place]));
        plain.flight(again.collect()).await?.finish()
    }

    /// Which of the writes are registered.
    async fn are_registered(&self, plain: &Plain<'_>) -> Result<Vec<bool>> {
        match plain.flight(vec![self.registered()]).await?.one() {
            // A key of another type registers nothing.
            Err(Error::WrongType { .. }) => Ok(Vec::new()),
            scores => scores.map(registered),
        }
    }

    /// The part that stores a write that is not there.
    fn stored(&self, key: &Bytes, document: &Bytes) -> Part {
        Group::on(key)
            .run(
                "JSON.SET",
                [Bytes::from("$"), document.clone(), Bytes::from("NX")],
            )
            .if_done()
            .ttl(self.ttl, false)
            .part()
    }

    /// Stores the writes that are not there, and asks for all that the rest depends on.
    fn first_flight(&self) -> Vec<Part> {
        let mut parts = Vec::with_capacity(self.keys.len() * 2 + 5);
        for (key, document) in self.keys.iter().zip(&self.documents) {
            parts.push(self.stored(key, document));
        }
        parts.extend(self.keys.iter().map(Names::of));
        parts.push(self.registered());
        parts.push(Part::of("ZCARD", self.registry, []));
        parts.push(Names::of(self.document));
        parts.push(Part::of("PTTL", self.document, []));
        parts.extend(Thread::of(self.namespaces));
        parts
    }

    /// The part that asks which of the writes are registered.
    fn registered(&self) -> Part {
        let command = Command::on("ZMSCORE", self.registry.clone());
        Part::command(command.args(self.keys.iter().cloned()))
    }

    /// What there was before.
    fn before(&self, made: Vec<bool>, mut answers: Answers) -> Result<Before> {
        let mut calls = Vec::with_capacity(self.keys.len());
        for (key, made) in self.keys.iter().zip(&made) {
            let names = Names::read(answers.bytes()?).unwrap_or_default();
            if !made {
                self.check_own(key, &names)?;
            }
            calls.push(names.call().map(str::to_owned));
        }
        let is_registered = registered(answers.one()?);
        let has_registry = answers.int()? > 0;
        let document = Names::read(answers.bytes()?);
        let document_left = answers.int()?;
        if let Some(names) = &document {
            self.check_own(self.document, names)?;
            if names.is_registered() && !has_registry {
                return Err(lost(&String::from_utf8_lossy(self.registry)));
            }
        }
        Ok(Before {
            made,
            calls,
            is_registered,
            has_registry,
            document_left: document.as_ref().map(|_| document_left),
            has_document: document.is_some(),
            thread: Thread::read(&mut answers)?,
        })
    }

    /// Refuses a key that belongs to another checkpoint: those with colons may share keys.
    fn check_own(&self, key: &Bytes, names: &Names) -> Result<()> {
        let checkpoint = names.checkpoint().map(str::as_bytes);
        if names.is_empty() || (self.is_of_place(names) && checkpoint == Some(self.id)) {
            return Ok(());
        }
        Err(foreign(&String::from_utf8_lossy(key)))
    }

    /// Whether a document is of this thread and namespace.
    fn is_of_place(&self, names: &Names) -> bool {
        let namespace = match names.namespace() {
            Some("") => Some("__empty__"),
            other => other,
        };
        names.thread().map(str::as_bytes) == Some(self.thread)
            && namespace.map(str::as_bytes) == Some(self.namespace)
    }

    /// Sees to it that the writes that are kept are of one call, when several come at once: of the
    /// one that made the first of them, whose other writes replace those that were faster.
    async fn agree(&self, plain: &Plain<'_>, before: &Before) -> Result<()> {
        let Some(own) = &self.name else { return Ok(()) };
        if self.keys.len() == 1 {
            return Ok(());
        }
        let mut calls = before.calls.clone();
        let mut is_registered = before.is_registered.clone();
        for look in 0..=LOOKS {
            let Some(first) = disputed(&calls, &is_registered) else {
                return Ok(());
            };
            // The one that should go on may have ended.
            if first == *own || look == LOOKS {
                let parts = (0..self.keys.len())
                    .filter(|one| !is_registered[*one] && calls[*one].as_deref() != Some(own))
                    .map(|one| {
                        let document = self.documents[one].clone();
                        let ttl = before.thread.allowed(self.ttl, self.whole).0;
                        Group::on(&self.keys[one])
                            .run("JSON.SET", [Bytes::from("$"), document])
                            .ttl(ttl, true)
                            .part()
                    });
                return plain.flight(parts.collect()).await?.finish();
            }
            tokio::time::sleep(PAUSE * 2_u32.pow(look)).await;
            let mut parts: Vec<_> = self.keys.iter().map(Names::of).collect();
            parts.push(self.registered());
            let mut answers = plain.flight(parts).await?;
            for call in &mut calls {
                let names = Names::read(answers.bytes()?).unwrap_or_default();
                *call = names.call().map(str::to_owned);
            }
            is_registered = registered(answers.one()?);
        }
        Ok(())
    }

    /// Names all writes at once, and says whether all are there.
    async fn register(&self, plain: &Plain<'_>, before: &Before) -> Result<(bool, Reply)> {
        let (mut ttl, whole) = before.thread.allowed(self.ttl, self.whole);
        if let (Some(left), 1..) = (before.document_left, ttl) {
            // A write lives at least as long as its checkpoint.
            ttl = if left == -1 { 0 } else { ttl.max(left) };
        }
        let members: Vec<Bytes> = self
            .keys
            .iter()
            .enumerate()
            .flat_map(|(position, key)| [number(position), key.clone()])
            .collect();
        let mut registry = Group::on(self.registry);
        for members in members.chunks(2 * MEMBERS) {
            registry = registry.run("ZADD", members.iter().cloned());
        }
        let registry = registry.shared_ttl(ttl);
        let mut names = vec![self.namespace.clone()];
        if !before.has_document {
            // The checkpoint may come later; until then only this says that the writes are there.
            names.push(awaited(self.namespace, self.id));
        }
        let namespaces = Group::on(self.namespaces).run("SADD", names);
        let (namespaces, due) = before.thread.expire(namespaces, ttl, whole);
        let mut parts = vec![registry.part(), namespaces.part()];
        let mut stored = 0;
        for (position, key) in self.keys.iter().enumerate() {
            if before.made[position] {
                stored += 1;
                let expire = (ttl != self.ttl).then(|| expire(key, ttl));
                parts.extend(expire.map(Part::command));
            } else if self.replace {
                stored += 1;
                let document = self.documents[position].clone();
                let group = Group::on(key).run("JSON.SET", [Bytes::from("$"), document]);
                parts.push(group.ttl(ttl, true).part());
            } else if ttl == 0 && self.ttl > 0 {
                // An earlier run of the first flight may have made it, with a TTL.
                parts.push(Part::command(expire(key, 0)));
            }
        }
        let kept = if self.replace { &[] } else { &before.made[..] };
        let kept = kept.iter().zip(self.keys).filter(|(made, _)| !**made);
        let kept: Vec<_> = kept.map(|(_, key)| Part::of("EXISTS", key, [])).collect();
        let (first, looks) = (parts.len(), kept.len());
        parts.extend(kept);
        parts.push(Thread::pinned(self.namespaces));
        if !before.has_registry || !before.has_document {
            // That they are registered is said once they are, which the next call or put knows.
            let flag = [&b"$.has_writes"[..], b"true"];
            parts.push(Part::of("JSON.SET", self.document, flag));
        } else {
            let flag = [&b"$.registered"[..], b"true"];
            parts.push(Part::of("JSON.SET", self.document, flag));
        }
        let mut answers = plain.flight(parts).await?;
        for _ in 0..first {
            answers.all()?;
        }
        let are_there = !answers.ints(looks)?.contains(&0);
        let is_pinned = answers.int()? == 1;
        match answers.finish() {
            // The checkpoint has not come yet; its put sets the flag.
            Ok(()) | Err(Error::Server { .. }) => {}
            Err(error) => return Err(error),
        }
        if is_pinned && ttl > 0 {
            // The thread was pinned meanwhile.
            let keys = self.keys.iter().chain([self.registry, self.namespaces]);
            let parts = keys.map(|key| Part::of("PERSIST", key, []));
            plain.flight(parts.collect()).await?.finish()?;
        }
        Ok((are_there, Reply::Array(vec![count(stored), flag(due)])))
    }
}

/// The call whose writes are to be kept, if there are those of several calls.
fn disputed(calls: &[Option<String>], is_registered: &[bool]) -> Option<String> {
    let open: Vec<&String> = calls
        .iter()
        .zip(is_registered)
        .filter(|(_, is_registered)| !**is_registered)
        .filter_map(|(call, _)| call.as_ref())
        .collect();
    let several = open.iter().collect::<HashSet<_>>().len() > 1;
    open.first()
        .filter(|_| several)
        .map(|first| (*first).clone())
}

/// Which members have a score.
fn registered(scores: Reply) -> Vec<bool> {
    let scores = scores.into_array().into_iter();
    scores.map(|score| score != Reply::Nil).collect()
}
