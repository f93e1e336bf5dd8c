//! `put`: the document first, with what is to be known; then the registry, the pointer and the
//! set of namespaces.

use bytes::Bytes;

use super::gc::{Collected, RegistryGc, put_back};
use super::pipeline::{Replies, expire, expire_shared};
use super::pointer::Pointer;
use super::registry::names;
use super::thread::{Thread, awaited, removed};
use super::unpinned::{StoredWhilePinned, is_still_pinned_or_expires};
use super::written::{own_of, written};
use super::{Names, Run, after, join, partly_done, retry_until_kept};
use crate::error::{Error, Result};
use crate::options::ExpectedParent;
use crate::redis::args::{number, text};
use crate::redis::driver::Reply;
use crate::redis::error::{foreign, half_removed, is_gone, unexpected};
use crate::redis::keys::NamespaceKeys;
use crate::redis::scripts::{
    OneKey, PutCall, PutReply, RegisterIfNewestCall, Request, RunOnKey, in_milliseconds,
};
use crate::redis::session::StaleMember;

/// How many of the newest ids are read.
const NEWEST: usize = 8;

/// A call, with the keys and the numbers that are made of it.
struct Put<'a> {
    call: &'a PutCall,
    keys: &'a NamespaceKeys,
    id: Bytes,
    document: Bytes,
    /// The registry of the checkpoint's writes.
    write_registry: Bytes,
    ttl: i64,
    thread_ttl: i64,
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

pub(super) async fn put(run: &Run<'_>, call: &PutCall) -> Result<PutReply> {
    let put = Put {
        call,
        keys: &call.keys,
        id: text(call.id.as_str()),
        document: call.keys.document(&call.id),
        write_registry: call.keys.write_registry(&call.id),
        ttl: in_milliseconds(call.ttl),
        thread_ttl: call.thread_ttl.milliseconds(),
    };
    put.store(run).await
}

impl Put<'_> {
    async fn store(&self, run: &Run<'_>) -> Result<PutReply> {
        // Somebody may delete the document before it is registered; it comes after that.
        retry_until_kept(|| self.attempt(run)).await
    }

    async fn attempt(&self, run: &Run<'_>) -> Result<(bool, PutReply)> {
        // Only what has a TTL goes away by itself.
        let gc = (self.ttl > 0).then(|| self.gc(run));
        let mut requests = self.first_requests();
        requests.extend(gc.iter().flat_map(RegistryGc::look));
        let mut replies = run.pipeline(requests).await?;
        let made = replies.all();
        let is_new =
            matches!(&made, Ok(made) if made.first().is_some_and(|made| *made != Reply::Nil));
        let known = made.and_then(|_| self.before(is_new, &mut replies));
        let collected = match &gc {
            Some(gc) if known.is_ok() => Some((gc, gc.read(&mut replies)?)),
            _ => None,
        };
        let refused = match known {
            Ok(before) => match self.register_if_newest(run, &before).await {
                Ok(()) => {
                    let finished = self.finish(run, &before, collected).await;
                    return finished.map_err(partly_done);
                }
                // Nothing was registered.
                Err(error @ (Error::Conflict { .. } | Error::OutOfMemory)) => error,
                // It may be registered now.
                Err(error) => return Err(error),
            },
            Err(error) => error,
        };
        // What this call did not make may be another saver's. Another call may have stored the same
        // checkpoint since.
        if is_new && matches!(self.is_stored(run).await, Ok(false)) {
            let unlink = Request::on("UNLINK", &self.document, []);
            run.pipeline(vec![unlink]).await?.finish()?;
            if matches!(self.is_stored(run).await, Ok(true)) {
                let again = [
                    Bytes::from("$"),
                    self.call.document.clone(),
                    Bytes::from("NX"),
                ];
                let again = RunOnKey::new(&self.document).run("JSON.SET", again);
                let again = again.ttl(self.ttl, false).into();
                run.pipeline(vec![again]).await?.finish()?;
            }
        }
        Err(refused)
    }

    /// Whether the registry or the pointer names the checkpoint.
    async fn is_stored(&self, run: &Run<'_>) -> Result<bool> {
        let requests = vec![
            Request::on("ZSCORE", &self.keys.registry, [&self.id[..]]),
            Request::on("GET", &self.keys.pointer, []),
        ];
        let mut replies = run.pipeline(requests).await?;
        let mut next = || match replies.one() {
            // A key that holds something else names nothing.
            Err(Error::WrongType { .. }) => Ok(Reply::Nil),
            reply => reply,
        };
        let is_registered = next()? != Reply::Nil;
        let named = next()?.into_bytes();
        Ok(is_registered || named.is_some_and(|named| named == self.document))
    }

    fn gc(&self, run: &Run<'_>) -> RegistryGc<'_> {
        RegistryGc::new(run.session, self.keys)
    }

    /// Makes the document unless it is there, and asks for all that the rest depends on.
    fn first_requests(&self) -> Vec<Request> {
        let newest = number(NEWEST);
        let mut requests = vec![
            RunOnKey::new(&self.document)
                .run(
                    "JSON.SET",
                    [
                        Bytes::from("$"),
                        self.call.document.clone(),
                        Bytes::from("NX"),
                    ],
                )
                .if_done()
                .ttl(self.ttl, false)
                .into(),
            Names::of(&self.document),
            Request::on("GET", &self.keys.pointer, []),
            Request::on(
                "ZREVRANGEBYLEX",
                &self.keys.registry,
                [&b"+"[..], b"(", b"LIMIT", b"0", &newest],
            ),
            Request::on("ZSCORE", &self.keys.registry, [&self.id[..]]),
            Request::on("ZCARD", &self.write_registry, []),
        ];
        requests.extend(Thread::of(&self.keys.namespaces));
        requests.push(self.removed());
        if let ExpectedParent::Is(id) = &self.call.expected {
            requests.push(Request::on("EXISTS", &self.keys.document(id), []));
            let id = id.as_str().as_bytes();
            requests.push(Request::on("ZSCORE", &self.keys.registry, [id]));
        }
        requests
    }

    /// The request that asks whether the writes of an earlier checkpoint of this id are being
    /// removed.
    fn removed(&self) -> Request {
        let mark = removed(&self.keys.stored, &self.id);
        Request::on("SISMEMBER", &self.keys.namespaces, [&mark[..]])
    }

    fn before(&self, is_new: bool, replies: &mut Replies) -> Result<Before> {
        let says = Names::read(replies.bytes()?).unwrap_or_default();
        let named = replies
            .bytes()?
            .and_then(|target| after(&target, &self.keys.documents).map(Bytes::copy_from_slice));
        let newest = replies.list()?;
        let is_registered = replies.one()? != Reply::Nil;
        let has_writes = replies.int()? > 0;
        let thread = Thread::read(replies)?;
        if replies.int()? == 1 {
            return Err(half_removed());
        }
        let before = Before {
            is_new,
            named,
            newest,
            is_registered,
            thread,
            has_writes,
            expected: match self.call.expected {
                ExpectedParent::Is(_) => (replies.int()? == 1, replies.one()? != Reply::Nil),
                _ => (false, false),
            },
        };
        let is_own = says.thread().map(str::as_bytes) == Some(&self.keys.thread[..])
            && says.namespace().map(str::as_bytes) == Some(&self.keys.stored[..]);
        if is_new || says.thread.is_empty() || is_own {
            return Ok(before);
        }
        Err(foreign(&String::from_utf8_lossy(&self.document)))
    }

    /// Registers the checkpoint if the expected one is the newest. One that is registered already
    /// is put again after a lost reply; the expectation held then.
    async fn register_if_newest(&self, run: &Run<'_>, before: &Before) -> Result<()> {
        let expected = match &self.call.expected {
            ExpectedParent::Any => return Ok(()),
            ExpectedParent::None => Bytes::new(),
            ExpectedParent::Is(id) => text(id.as_str()),
        };
        if before.is_registered || before.named.as_ref() == Some(&self.id) {
            return Ok(());
        }
        let known = before.named.iter().chain(&before.newest);
        let is_newer = |id: &&Bytes| **id > expected && **id != self.id;
        let mut newer: Vec<Bytes> = known.clone().filter(is_newer).cloned().collect();
        let (is_there, is_registered) = before.expected;
        let is_pointed_to = before.named.as_ref() == Some(&expected);
        if !expected.is_empty() && !(is_there && (is_registered || is_pointed_to)) {
            newer = known.cloned().collect();
            newer.retain(|id| *id != self.id);
            let newest = self.newest_there(run, &newer).await?;
            return Err(unexpected(&newest.unwrap_or_default()));
        }
        let mut gone = Vec::new();
        loop {
            if let Some(newest) = self.newest_there(run, &newer).await? {
                return Err(unexpected(&newest));
            }
            gone.append(&mut newer);
            let register = RegisterIfNewestCall {
                registry: self.keys.registry.clone(),
                id: self.id.clone(),
                expected: expected.clone(),
                ttl: before.thread.allowed(self.ttl, self.thread_ttl).0,
                gone: gone.clone(),
            };
            let register = Request::from(OneKey::from(register));
            let mut replies = run.pipeline(vec![register]).await?;
            newer = replies
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
    async fn newest_there(&self, run: &Run<'_>, ids: &[Bytes]) -> Result<Option<String>> {
        let keys = ids.iter().map(|id| join(&[&self.keys.documents, id]));
        let there = run.are_there(keys).await?;
        let newest = ids.iter().zip(there).filter(|(_, there)| *there).max();
        Ok(newest.map(|(id, _)| String::from_utf8_lossy(id).into_owned()))
    }

    /// Registers the checkpoint and moves the pointer; returns whether the document was still
    /// there.
    async fn finish(
        &self,
        run: &Run<'_>,
        before: &Before,
        collected: Option<(&RegistryGc<'_>, Collected)>,
    ) -> Result<(bool, PutReply)> {
        let (ttl, thread_ttl) = before.thread.allowed(self.ttl, self.thread_ttl);
        let known = before.named.iter().chain(&before.newest).max();
        let is_newest = known.is_none_or(|newest| *newest <= self.id);
        // Another saver moved the pointer without registering the checkpoint.
        let unregistered = before.named.as_ref().filter(|named| {
            let last = before.newest.last();
            **named != self.id
                && !before.newest.contains(named)
                && (before.newest.len() < NEWEST || last.is_some_and(|last| last < *named))
        });

        let registry = RunOnKey::new(&self.keys.registry)
            .run("ZADD", [Bytes::from("0"), self.id.clone()])
            .shared_ttl(ttl);
        let namespaces =
            RunOnKey::new(&self.keys.namespaces).run("SADD", [self.keys.stored.clone()]);
        let (namespaces, refresh_due) = before.thread.expire(namespaces, ttl, thread_ttl);
        let pointer = Pointer {
            keys: self.keys,
            names: before.named.as_ref(),
            is_stale: false,
        };
        let pointer = pointer.advance(&self.id, ttl);
        let mut requests = vec![registry.into(), namespaces.into(), pointer];
        requests.extend(self.document_again(before, ttl));
        let (gc, found) = collected.unzip();
        let Collected { gone, mut picked } = found.unwrap_or_default();
        requests.extend(gc.iter().flat_map(|gc| gc.remove(&gone)));
        requests.push(Request::on("EXISTS", &self.document, []));
        requests.push(Request::on("ZCARD", &self.write_registry, []));
        requests.push(Thread::pinned(&self.keys.namespaces));
        let first = requests.len() - 3;
        requests.extend(
            unregistered.map(|id| Request::on("EXISTS", &join(&[&self.keys.documents, id]), [])),
        );
        picked.retain(|member| !self.stores(member));
        requests.extend(gc.iter().flat_map(|gc| gc.look_at(&picked)));

        let mut replies = run.pipeline(requests).await?;
        for _ in 0..first {
            match replies.all() {
                // The document has expired, or somebody has deleted it.
                Err(error) if is_gone(&error) => {}
                reply => drop(reply?),
            }
        }
        let mut is_there = replies.int()? == 1;
        let mut last = Vec::new();
        let last_has_writes = replies.int()? > 0 && !before.has_writes;
        if last_has_writes {
            // They came while the document was made.
            last.extend(self.has_writes());
        }
        let pinned_since = replies.int()? == 1 && ttl > 0;
        if pinned_since {
            let keys = self.keys;
            let keys = [
                &self.document,
                &keys.registry,
                &keys.namespaces,
                &keys.pointer,
            ];
            last.extend(keys.map(|key| Request::on("PERSIST", key, [])));
        }
        let unregistered = match unregistered {
            Some(id) if replies.int()? == 1 => Some(id),
            _ => None,
        };
        run.remember_stale(
            &self.keys.registry,
            &RegistryGc::gone(&picked, &mut replies)?,
        );
        if let Some(id) = unregistered
            && !names(run, &self.keys.registry, id).await?
        {
            // From then on the registry is known to lack some.
            let lacks_some = ["0", ""].map(Bytes::from);
            let marked = RunOnKey::new(&self.keys.registry).run("ZADD", lacks_some);
            last.push(marked.shared_ttl(ttl).into());
        }
        let has_writes = before.has_writes || last_has_writes;
        if is_there && !last.is_empty() {
            match run.pipeline(last).await?.finish() {
                Err(error) if is_gone(&error) => {}
                done => done?,
            }
        }
        if is_there && has_writes {
            self.keep_writes(run, ttl).await?;
        }
        put_back(run, self.keys, &gone, self.thread_ttl).await?;
        if pinned_since || (before.thread.is_pinned && self.ttl > 0) {
            let stored = StoredWhilePinned::Checkpoint;
            is_there &=
                is_still_pinned_or_expires(run, self.keys, &self.id, stored, self.ttl).await?;
        }
        let reply = PutReply {
            is_newest,
            refresh_due,
            has_more_writes: false,
            ttl: None,
        };
        Ok((is_there, reply))
    }

    /// What the document still needs: one that was there already is replaced, and one that was made
    /// may need the flag and another TTL.
    fn document_again(&self, before: &Before, ttl: i64) -> Option<Request> {
        let mut again = RunOnKey::new(&self.document);
        let mut is_needed = !before.is_new;
        if !before.is_new {
            again = again.run("JSON.SET", [Bytes::from("$"), self.call.document.clone()]);
        }
        if before.has_writes {
            is_needed = true;
            again = again.run("JSON.SET", ["$.has_writes", "true"].map(Bytes::from));
            again = again.run("JSON.SET", ["$.registered", "true"].map(Bytes::from));
        }
        if !before.is_new {
            again = again.ttl(ttl, true);
        } else if ttl != self.ttl {
            is_needed = true;
            let expire = expire(&self.document, ttl);
            again = again.run(expire.name, expire.args.into_iter().skip(1));
        }
        is_needed.then(|| again.into())
    }

    /// Whether a member leads to what this call stores.
    fn stores(&self, member: &StaleMember) -> bool {
        match member {
            StaleMember::Checkpoint(id) => *id == self.id,
            StaleMember::Namespace(namespace) => *namespace == self.keys.stored,
            StaleMember::Mark(..) => false,
        }
    }

    fn has_writes(&self) -> [Request; 2] {
        [&b"$.has_writes"[..], b"$.registered"]
            .map(|flag| Request::on("JSON.SET", &self.document, [flag, b"true"]))
    }

    /// Whether some of the writes that a registry names are of this thread and namespace: those
    /// with colons may share it with others.
    async fn are_own(&self, run: &Run<'_>, writes: &[Bytes]) -> Result<bool> {
        let names = [&self.keys.thread, &self.keys.stored, &self.id];
        if writes.is_empty() || !names.iter().any(|name| name.contains(&b':')) {
            return Ok(!writes.is_empty());
        }
        let requests = writes.iter().map(Names::of).collect();
        let mut replies = run.pipeline(requests).await?;
        for _ in writes {
            let names = Names::read(replies.bytes()?).unwrap_or_default();
            if names.is_of(self.keys) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Sees to it that nothing of the checkpoint's writes goes before the document does. If they
    /// were removed in the meantime, the document does not wait for them.
    async fn keep_writes(&self, run: &Run<'_>, ttl: i64) -> Result<()> {
        let named = vec![written(self.keys, &self.id)];
        let named = run.pipeline(named).await?.list()?;
        let mut keys = own_of(self.keys, &self.id, named);
        if !self.are_own(run, &keys).await? {
            let unset = [&b"$.has_writes"[..], b"$.registered"]
                .map(|flag| Request::on("JSON.SET", &self.document, [flag, b"false"]));
            return match run.pipeline(unset.into()).await?.finish() {
                Err(error) if is_gone(&error) => Ok(()),
                done => done,
            };
        }
        keys.push(self.write_registry.clone());
        let requests = keys
            .iter()
            .map(|key| Request::from(expire_shared(key, ttl)));
        let mut requests: Vec<_> = requests.collect();
        // The document leads to them now.
        let mark = awaited(&self.keys.stored, &self.id);
        let first = requests.len() + 1;
        requests.push(Request::on("SREM", &self.keys.namespaces, [&mark[..]]));
        requests.push(Request::on("EXISTS", &self.document, []));
        let mut replies = run.pipeline(requests).await?;
        for _ in 0..first {
            replies.all()?;
        }
        if replies.int()? == 1 {
            return Ok(());
        }
        // Another call has removed it.
        let mark = StaleMember::Mark(mark, self.write_registry.clone());
        put_back(run, self.keys, &[mark], self.thread_ttl).await
    }
}
