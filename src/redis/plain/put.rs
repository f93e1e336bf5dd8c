//! `put`: the document first, with what is to be known; then the registry, the pointer and the
//! set of namespaces.

use bytes::Bytes;

use super::super::driver::{Reply, number};
use super::super::error::{foreign, is_gone, unexpected};
use super::super::scripts;
use super::flight::{Answers, Group, Part, expire, expire_shared};
use super::pointer::Pointer;
use super::registry::names;
use super::sweep::{Sweep, Swept, Trace};
use super::thread::{Thread, awaited};
use super::{Names, Plain, after, begun, flag, integer, join, until_kept};
use crate::error::{Error, Result};

/// How many of the newest ids are read.
const NEWEST: usize = 8;

/// The keys and arguments of the script `put`.
struct Put<'a> {
    document: &'a Bytes,
    pointer: &'a Bytes,
    registry: &'a Bytes,
    namespaces: &'a Bytes,
    writes: &'a Bytes,
    json: &'a Bytes,
    id: &'a Bytes,
    namespace: &'a Bytes,
    ttl: i64,
    prefix: &'a Bytes,
    expected: Expected<'a>,
    names: [&'a Bytes; 2],
    whole: i64,
    /// How the keys of the namespace's writes start.
    own_writes: &'a Bytes,
}

/// What must be the newest.
#[derive(Clone, Copy)]
enum Expected<'a> {
    Any,
    None,
    Is(&'a [u8]),
}

/// What there was before the call; the document itself is there by now.
struct Before {
    /// Whether this call made the document.
    is_new: bool,
    /// The id that the pointer names.
    named: Option<Bytes>,
    /// The greatest ids of the registry, in falling order.
    newest: Vec<Bytes>,
    is_registered: bool,
    thread: Thread,
    has_writes: bool,
    /// Whether the expected checkpoint is there, and whether it is registered.
    expected: (bool, bool),
}

pub(super) async fn put(plain: &Plain<'_>, keys: &[Bytes], args: &[Bytes]) -> Result<Reply> {
    let [document, pointer, registry, namespaces, writes] = plain.first::<5>(keys)?;
    let [
        json,
        id,
        namespace,
        ttl,
        prefix,
        expected,
        thread,
        stored,
        whole,
        own_writes,
    ] = plain.first::<10>(args)?;
    let call = Put {
        document,
        pointer,
        registry,
        namespaces,
        writes,
        json,
        id,
        namespace,
        ttl: integer(ttl),
        prefix,
        expected: match expected.split_first() {
            None => Expected::Any,
            Some((b'=', id)) => Expected::Is(id),
            Some(_) => Expected::None,
        },
        names: [thread, stored],
        whole: integer(whole),
        own_writes,
    };
    call.store(plain).await
}

impl Put<'_> {
    async fn store(&self, plain: &Plain<'_>) -> Result<Reply> {
        // Somebody may delete the document before it is registered; it comes after that.
        until_kept(|| self.attempt(plain)).await
    }

    async fn attempt(&self, plain: &Plain<'_>) -> Result<(bool, Reply)> {
        // Only what has a TTL goes away by itself.
        let sweep = (self.ttl > 0).then(|| self.sweep(plain));
        let mut parts = self.first_flight();
        parts.extend(sweep.iter().flat_map(Sweep::look));
        let mut answers = plain.flight(parts).await?;
        let made = answers.all();
        let is_new =
            matches!(&made, Ok(made) if made.first().is_some_and(|made| *made != Reply::Nil));
        let known = made.and_then(|_| self.before(is_new, &mut answers));
        let swept = match &sweep {
            Some(sweep) if known.is_ok() => Some((sweep, sweep.read(&mut answers)?)),
            _ => None,
        };
        let refused = match known {
            Ok(before) => match self.claim(plain, &before).await {
                Ok(()) => {
                    let finished = self.finish(plain, &before, swept).await;
                    return finished.map_err(begun);
                }
                // Nothing was registered.
                Err(error @ (Error::Conflict { .. } | Error::OutOfMemory)) => error,
                // It may be registered now.
                Err(error) => return Err(error),
            },
            Err(error) => error,
        };
        // What this call did not make may be another saver's. Another call may have stored the same
        // checkpoint meanwhile.
        if is_new && matches!(self.is_stored(plain).await, Ok(false)) {
            let unlink = Part::of("UNLINK", self.document, []);
            plain.flight(vec![unlink]).await?.finish()?;
            if matches!(self.is_stored(plain).await, Ok(true)) {
                let again = [Bytes::from("$"), self.json.clone(), Bytes::from("NX")];
                let again = Group::on(self.document).run("JSON.SET", again);
                let again = again.ttl(self.ttl, false).part();
                plain.flight(vec![again]).await?.finish()?;
            }
        }
        Err(refused)
    }

    /// Whether the registry or the pointer names the checkpoint.
    async fn is_stored(&self, plain: &Plain<'_>) -> Result<bool> {
        let parts = vec![
            Part::of("ZSCORE", self.registry, [&self.id[..]]),
            Part::of("GET", self.pointer, []),
        ];
        let mut answers = plain.flight(parts).await?;
        let mut answer = || match answers.one() {
            // A key that holds something else names nothing.
            Err(Error::WrongType { .. }) => Ok(Reply::Nil),
            answer => answer,
        };
        let is_registered = answer()? != Reply::Nil;
        let named = answer()?.into_bytes();
        Ok(is_registered || named.is_some_and(|named| named == self.document))
    }

    fn sweep(&self, plain: &Plain<'_>) -> Sweep<'_> {
        let before = |key: &'_ Bytes, rest: usize| key.len().saturating_sub(rest);
        let namespace = self.namespace.len();
        Sweep::new(
            plain.store,
            self.registry,
            self.namespaces,
            self.prefix,
            &self.registry[..before(self.registry, namespace)],
            &self.writes[..before(self.writes, namespace + 1 + self.id.len())],
        )
    }

    /// Makes the document unless it is there, and asks for all that the rest depends on.
    fn first_flight(&self) -> Vec<Part> {
        let newest = number(NEWEST);
        let mut parts = vec![
            Group::on(self.document)
                .run(
                    "JSON.SET",
                    [Bytes::from("$"), self.json.clone(), Bytes::from("NX")],
                )
                .if_done()
                .ttl(self.ttl, false)
                .part(),
            Names::of(self.document),
            Part::of("GET", self.pointer, []),
            Part::of(
                "ZREVRANGEBYLEX",
                self.registry,
                [&b"+"[..], b"(", b"LIMIT", b"0", &newest],
            ),
            Part::of("ZSCORE", self.registry, [&self.id[..]]),
            Part::of("ZCARD", self.writes, []),
        ];
        parts.extend(Thread::of(self.namespaces));
        if let Expected::Is(id) = self.expected {
            parts.push(Part::of("EXISTS", &join(&[self.prefix, id]), []));
            parts.push(Part::of("ZSCORE", self.registry, [id]));
        }
        parts
    }

    fn before(&self, is_new: bool, answers: &mut Answers) -> Result<Before> {
        let names = Names::read(answers.bytes()?).unwrap_or_default();
        let before = Before {
            is_new,
            named: answers
                .bytes()?
                .and_then(|target| after(&target, self.prefix).map(Bytes::copy_from_slice)),
            newest: answers.list()?,
            is_registered: answers.one()? != Reply::Nil,
            has_writes: answers.int()? > 0,
            thread: Thread::read(answers)?,
            expected: match self.expected {
                Expected::Is(_) => (answers.int()? == 1, answers.one()? != Reply::Nil),
                _ => (false, false),
            },
        };
        let [thread, stored] = self.names;
        let is = |found: Option<&str>, wanted: &Bytes| {
            let wanted = serde_json::from_slice::<[String; 1]>(wanted).ok();
            found.is_some_and(|found| wanted.is_some_and(|[wanted]| wanted == found))
        };
        let is_own = is(names.thread(), thread) && is(names.namespace(), stored);
        if is_new || names.thread.is_empty() || is_own {
            return Ok(before);
        }
        Err(foreign(&String::from_utf8_lossy(self.document)))
    }

    /// Registers the checkpoint if the expected one is the newest. One that is registered already
    /// is put again after a lost reply; the expectation held then.
    async fn claim(&self, plain: &Plain<'_>, before: &Before) -> Result<()> {
        let expected = match self.expected {
            Expected::Any => return Ok(()),
            Expected::None => &[],
            Expected::Is(id) => id,
        };
        if before.is_registered || before.named.as_ref() == Some(self.id) {
            return Ok(());
        }
        let known = before.named.iter().chain(&before.newest);
        let is_newer = |id: &&Bytes| ***id > *expected && *id != self.id;
        let mut newer: Vec<Bytes> = known.clone().filter(is_newer).cloned().collect();
        let (is_there, is_registered) = before.expected;
        let is_pointed_to = before.named.as_deref() == Some(expected);
        if !expected.is_empty() && !(is_there && (is_registered || is_pointed_to)) {
            newer = known.cloned().collect();
            newer.retain(|id| id != self.id);
            let newest = self.newest_there(plain, &newer).await?;
            return Err(unexpected(&newest.unwrap_or_default()));
        }
        let mut gone = Vec::new();
        loop {
            if let Some(newest) = self.newest_there(plain, &newer).await? {
                return Err(unexpected(&newest));
            }
            gone.append(&mut newer);
            let mut args = vec![
                self.id.clone(),
                Bytes::copy_from_slice(expected),
                number(before.thread.allowed(self.ttl, self.whole).0),
            ];
            args.extend_from_slice(&gone);
            let claim = scripts::CLAIM.call(vec![self.registry.clone()], args);
            let mut answers = plain.flight(vec![Part::script(claim)]).await?;
            newer = answers
                .all()?
                .into_iter()
                .filter_map(Reply::into_bytes)
                .collect();
            if newer.is_empty() {
                return Ok(());
            }
        }
    }

    /// The greatest id whose document is there.
    async fn newest_there(&self, plain: &Plain<'_>, ids: &[Bytes]) -> Result<Option<String>> {
        let keys = ids.iter().map(|id| join(&[self.prefix, id]));
        let there = plain.are_there(keys).await?;
        let newest = ids.iter().zip(there).filter(|(_, there)| *there).max();
        Ok(newest.map(|(id, _)| String::from_utf8_lossy(id).into_owned()))
    }

    /// Registers the checkpoint and moves the pointer; says whether the document was still there.
    async fn finish(
        &self,
        plain: &Plain<'_>,
        before: &Before,
        swept: Option<(&Sweep<'_>, Swept)>,
    ) -> Result<(bool, Reply)> {
        let (ttl, whole) = before.thread.allowed(self.ttl, self.whole);
        let known = before.named.iter().chain(&before.newest).max();
        let is_newest = known.is_none_or(|newest| newest <= self.id);
        // Another saver moved the pointer without telling the registry.
        let untold = before.named.as_ref().filter(|named| {
            let last = before.newest.last();
            *named != self.id
                && !before.newest.contains(named)
                && (before.newest.len() < NEWEST || last.is_some_and(|last| last < *named))
        });

        let registry = Group::on(self.registry)
            .run("ZADD", [Bytes::from("0"), self.id.clone()])
            .shared_ttl(ttl);
        let namespaces = Group::on(self.namespaces)
            .run("SADD", [self.namespace.clone()])
            .run("SREM", [awaited(self.namespace, self.id)]);
        let (namespaces, due) = before.thread.expire(namespaces, ttl, whole);
        let pointer = Pointer {
            key: self.pointer,
            prefix: self.prefix,
            names: before.named.as_ref(),
            is_stale: false,
        };
        let pointer = pointer.advance(self.id, ttl);
        let mut parts = vec![registry.part(), namespaces.part(), pointer];
        parts.extend(self.document_again(before, ttl));
        let (sweep, found) = swept.unzip();
        let Swept { out, mut picked } = found.unwrap_or_default();
        parts.extend(out);
        parts.push(Part::of("EXISTS", self.document, []));
        parts.push(Part::of("ZCARD", self.writes, []));
        parts.push(Thread::pinned(self.namespaces));
        let first = parts.len() - 3;
        parts.extend(untold.map(|id| Part::of("EXISTS", &join(&[self.prefix, id]), [])));
        picked.retain(|trace| !self.writes_now(trace));
        parts.extend(sweep.iter().flat_map(|sweep| sweep.look_at(&picked)));

        let mut answers = plain.flight(parts).await?;
        for _ in 0..first {
            match answers.all() {
                // The document has expired, or somebody has deleted it.
                Err(error) if is_gone(&error) => {}
                answer => drop(answer?),
            }
        }
        let is_there = answers.int()? == 1;
        let mut last = Vec::new();
        let last_has_writes = answers.int()? > 0 && !before.has_writes;
        if last_has_writes {
            // They came while the document was made.
            last.extend(self.has_writes());
        }
        if answers.int()? == 1 && ttl > 0 {
            // The thread was pinned meanwhile.
            let keys = [self.document, self.registry, self.namespaces, self.pointer];
            last.extend(keys.map(|key| Part::of("PERSIST", key, [])));
        }
        let untold = match untold {
            Some(id) if answers.int()? == 1 => Some(id),
            _ => None,
        };
        plain.remember_traces(self.registry, &Sweep::gone(&picked, &mut answers)?);
        if let Some(id) = untold
            && !names(plain, self.registry, id).await?
        {
            // From now on the registry is known to lack some.
            let lacks_some = ["0", ""].map(Bytes::from);
            let marked = Group::on(self.registry).run("ZADD", lacks_some);
            last.push(marked.shared_ttl(ttl).part());
        }
        let has_writes = before.has_writes || last_has_writes;
        if is_there && !last.is_empty() {
            match plain.flight(last).await?.finish() {
                Err(error) if is_gone(&error) => {}
                done => done?,
            }
        }
        if is_there && has_writes {
            self.keep_writes(plain, ttl).await?;
        }
        Ok((is_there, Reply::Array(vec![flag(is_newest), flag(due)])))
    }

    /// What the document still needs: one that was there already is replaced, and one that was made
    /// may need the flag and another TTL.
    fn document_again(&self, before: &Before, ttl: i64) -> Option<Part> {
        let mut group = Group::on(self.document);
        let mut is_needed = !before.is_new;
        if !before.is_new {
            group = group.run("JSON.SET", [Bytes::from("$"), self.json.clone()]);
        }
        if before.has_writes {
            is_needed = true;
            group = group.run("JSON.SET", ["$.has_writes", "true"].map(Bytes::from));
            group = group.run("JSON.SET", ["$.registered", "true"].map(Bytes::from));
        }
        if !before.is_new {
            group = group.ttl(ttl, true);
        } else if ttl != self.ttl {
            is_needed = true;
            let expire = expire(self.document, ttl);
            group = group.run(expire.name, expire.args.into_iter().skip(1));
        }
        is_needed.then(|| group.part())
    }

    /// Whether a trace leads to what this call writes.
    fn writes_now(&self, trace: &Trace) -> bool {
        match trace {
            Trace::Checkpoint(id) => id == self.id,
            Trace::Namespace(namespace) => namespace == self.namespace,
            Trace::Mark(..) => false,
        }
    }

    fn has_writes(&self) -> [Part; 2] {
        [&b"$.has_writes"[..], b"$.registered"]
            .map(|flag| Part::of("JSON.SET", self.document, [flag, b"true"]))
    }

    /// Sees to it that nothing of the checkpoint's writes goes before the document does.
    async fn keep_writes(&self, plain: &Plain<'_>, ttl: i64) -> Result<()> {
        let range = Part::of("ZRANGE", self.writes, [&b"0"[..], b"-1"]);
        let mut keys = plain.flight(vec![range]).await?.list()?;
        let own = join(&[self.own_writes, self.id, b":"]);
        keys.retain(|key| after(key, &own).is_some());
        keys.push(self.writes.clone());
        let parts = keys
            .iter()
            .map(|key| Part::command(expire_shared(key, ttl)));
        plain.flight(parts.collect()).await?.finish()
    }
}
