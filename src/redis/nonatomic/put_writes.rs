//! `put_writes`: the writes first, then the registry that names all of them at once.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;

use super::pipeline::{Replies, expire};
use super::thread::{Thread, awaited, removed, ttl_left};
use super::unpinned::{StoredWhilePinned, is_still_pinned_or_expires};
use super::{Names, Run, partly_done, retry_until_kept};
use crate::error::{Error, Result};
use crate::redis::args::{number, text};
use crate::redis::driver::{Command, Reply};
use crate::redis::error::{foreign, half_removed, lost};
use crate::redis::keys::NamespaceKeys;
use crate::redis::scripts::{PutWritesCall, PutWritesReply, Request, RunOnKey, in_milliseconds};

/// How many members are registered by one command of a script.
const MEMBERS: usize = 1_000;
/// How often writes of other calls are looked at until all of theirs are there, and how long the
/// first pause is; each is twice as long as the one before.
const LOOKS: u32 = 9;
const PAUSE: Duration = Duration::from_millis(2);

/// A call, with the keys and the numbers that are made of it.
struct PutWrites<'a> {
    keys: &'a NamespaceKeys,
    id: Bytes,
    /// The checkpoint's document.
    document: Bytes,
    /// The registry of the checkpoint's writes.
    registry: Bytes,
    /// The keys and the documents of the writes.
    writes: Vec<(Bytes, Bytes)>,
    replace: bool,
    ttl: i64,
    thread_ttl: i64,
    /// What this call's writes say of it, where they must be distinguished from those of others.
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
    /// The time that the document has left in milliseconds; -1 without a TTL, `None` if it is not
    /// there.
    document_left: Option<i64>,
    thread: Thread,
}

pub(super) async fn put_writes(run: &Run<'_>, call: &PutWritesCall) -> Result<PutWritesReply> {
    let put = PutWrites {
        keys: &call.keys,
        id: text(call.id.as_str()),
        document: call.keys.document(&call.id),
        registry: call.keys.write_registry(&call.id),
        writes: call.writes.clone(),
        replace: call.replace,
        ttl: in_milliseconds(call.ttl),
        thread_ttl: call.thread_ttl.milliseconds(),
        name: None,
    };
    put.named().store(run).await
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
    /// The same with a name, if its writes must be distinguished from those of other calls: so that
    /// those of one are kept.
    fn named(mut self) -> Self {
        if !self.replace && self.writes.len() > 1 {
            let name = format!("{:016x}", rand::random::<u64>());
            for (_, document) in &mut self.writes {
                *document = named(document, Some(&name));
            }
            self.name = Some(name);
        }
        self
    }

    async fn store(&self, run: &Run<'_>) -> Result<PutWritesReply> {
        // Another call may take back what it has made, if it fails.
        retry_until_kept(|| self.attempt(run)).await
    }

    /// Stores them, and returns whether all are there.
    async fn attempt(&self, run: &Run<'_>) -> Result<(bool, PutWritesReply)> {
        let mut replies = run.pipeline(self.first_requests()).await?;
        let mut made = Vec::with_capacity(self.writes.len());
        let mut failure = None;
        for _ in &self.writes {
            match replies.all() {
                Ok(reply) => made.push(reply.first().is_some_and(|first| *first != Reply::Nil)),
                Err(error) => {
                    made.push(false);
                    failure = failure.or(Some(error));
                }
            }
        }
        let before = failure.map_or_else(|| self.before(made.clone(), replies), Err);
        let before = match before {
            Ok(before) => before,
            Err(refused) => {
                self.take_back(run, &made).await?;
                return Err(refused);
            }
        };
        let done = async {
            if !self.replace {
                self.agree(run, &before).await?;
            }
            self.register(run, &before).await
        };
        done.await.map_err(partly_done)
    }

    /// Removes the writes that this call made, but for those that another call has registered. One
    /// that is registered while it is removed is stored again: the other call has found it there.
    async fn take_back(&self, run: &Run<'_>, made: &[bool]) -> Result<()> {
        if !made.contains(&true) {
            return Ok(());
        }
        let known = self.are_registered(run).await?;
        let free = (0..made.len()).filter(|place| made[*place] && known.get(*place) != Some(&true));
        let free: Vec<_> = free.collect();
        let unlink = free
            .iter()
            .map(|place| Request::on("UNLINK", &self.writes[*place].0, []));
        run.pipeline(unlink.collect()).await?.finish()?;
        let known = self.are_registered(run).await?;
        let again = free
            .into_iter()
            .filter(|place| known.get(*place) == Some(&true));
        let again = again.map(|place| self.stored(&self.writes[place]));
        run.pipeline(again.collect()).await?.finish()
    }

    /// Which of the writes are registered.
    async fn are_registered(&self, run: &Run<'_>) -> Result<Vec<bool>> {
        match run.pipeline(vec![self.registered()]).await?.one() {
            // A key of another type registers nothing.
            Err(Error::WrongType { .. }) => Ok(Vec::new()),
            scores => scores.map(registered),
        }
    }

    /// The request that stores a write that is not there.
    fn stored(&self, (key, document): &(Bytes, Bytes)) -> Request {
        RunOnKey::new(key)
            .run(
                "JSON.SET",
                [Bytes::from("$"), document.clone(), Bytes::from("NX")],
            )
            .if_done()
            .ttl(self.ttl, false)
            .into()
    }

    /// Stores the writes that are not there, and asks for all that the rest depends on.
    fn first_requests(&self) -> Vec<Request> {
        let mut requests = Vec::with_capacity(self.writes.len() * 2 + 5);
        requests.extend(self.writes.iter().map(|write| self.stored(write)));
        requests.extend(self.writes.iter().map(|(key, _)| Names::of(key)));
        requests.push(self.registered());
        requests.push(Request::on("ZCARD", &self.registry, []));
        requests.push(Names::of(&self.document));
        requests.push(Request::on("PTTL", &self.document, []));
        requests.extend(Thread::of(&self.keys.namespaces));
        requests.push(self.is_half_removed());
        requests
    }

    /// The request that asks whether earlier writes of the checkpoint are being removed.
    fn is_half_removed(&self) -> Request {
        let mark = removed(&self.keys.stored, &self.id);
        Request::on("SISMEMBER", &self.keys.namespaces, [&mark[..]])
    }

    /// The request that asks which of the writes are registered.
    fn registered(&self) -> Request {
        let command = Command::on("ZMSCORE", self.registry.clone());
        Request::from(command.args(self.writes.iter().map(|(key, _)| key.clone())))
    }

    /// What there was before.
    fn before(&self, made: Vec<bool>, mut replies: Replies) -> Result<Before> {
        let mut calls = Vec::with_capacity(self.writes.len());
        for ((key, _), made) in self.writes.iter().zip(&made) {
            let names = Names::read(replies.bytes()?).unwrap_or_default();
            if !made {
                self.check_own(key, &names)?;
            }
            calls.push(names.call().map(str::to_owned));
        }
        let is_registered = registered(replies.one()?);
        let has_registry = replies.int()? > 0;
        let document = Names::read(replies.bytes()?);
        let document_left = replies.int()?;
        if let Some(names) = &document {
            self.check_own(&self.document, names)?;
            if names.is_registered() && !has_registry {
                return Err(lost(&String::from_utf8_lossy(&self.registry)));
            }
        }
        let thread = Thread::read(&mut replies)?;
        if replies.int()? == 1 {
            return Err(half_removed());
        }
        Ok(Before {
            made,
            calls,
            is_registered,
            has_registry,
            document_left: document.as_ref().map(|_| document_left),
            has_document: document.is_some(),
            thread,
        })
    }

    /// Refuses a key that belongs to another checkpoint: those with colons may share keys.
    fn check_own(&self, key: &Bytes, names: &Names) -> Result<()> {
        let checkpoint = names.checkpoint().map(str::as_bytes);
        if names.is_empty() || (names.is_of(self.keys) && checkpoint == Some(&self.id[..])) {
            return Ok(());
        }
        Err(foreign(&String::from_utf8_lossy(key)))
    }

    /// Ensures that the writes that are kept are of one call, when several come at once: of the one
    /// that made the first of them, whose other writes replace those that were faster.
    async fn agree(&self, run: &Run<'_>, before: &Before) -> Result<()> {
        let Some(own) = &self.name else { return Ok(()) };
        if self.writes.len() == 1 {
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
                let requests = (0..self.writes.len())
                    .filter(|one| !is_registered[*one] && calls[*one].as_deref() != Some(own))
                    .map(|one| {
                        let (key, document) = &self.writes[one];
                        let ttl = before.thread.allowed(self.ttl, self.thread_ttl).0;
                        RunOnKey::new(key)
                            .run("JSON.SET", [Bytes::from("$"), document.clone()])
                            .ttl(ttl, true)
                            .into()
                    });
                return run.pipeline(requests.collect()).await?.finish();
            }
            tokio::time::sleep(PAUSE * 2_u32.pow(look)).await;
            let writes = self.writes.iter();
            let mut requests: Vec<_> = writes.map(|(key, _)| Names::of(key)).collect();
            requests.push(self.registered());
            let mut replies = run.pipeline(requests).await?;
            for call in &mut calls {
                let names = Names::read(replies.bytes()?).unwrap_or_default();
                *call = names.call().map(str::to_owned);
            }
            is_registered = registered(replies.one()?);
        }
        Ok(())
    }

    /// Names all writes at once, and returns whether all are there.
    async fn register(&self, run: &Run<'_>, before: &Before) -> Result<(bool, PutWritesReply)> {
        let (mut ttl, thread_ttl) = before.thread.allowed(self.ttl, self.thread_ttl);
        if let Some(left) = before.document_left {
            // A write lives at least as long as its checkpoint. In a thread that is being pinned it
            // lives no longer either: should the checkpoint expire before it is reached, nothing
            // would lead to the write.
            ttl = match ttl {
                1.. if left != -1 => ttl.max(left),
                0 if before.thread.is_pinned => ttl_left(left),
                _ if left == -1 => 0,
                ttl => ttl,
            };
        }
        let members: Vec<Bytes> = self
            .writes
            .iter()
            .enumerate()
            .flat_map(|(position, (key, _))| [number(position), key.clone()])
            .collect();
        let mut registry = RunOnKey::new(&self.registry);
        for members in members.chunks(2 * MEMBERS) {
            registry = registry.run("ZADD", members.iter().cloned());
        }
        let registry = registry.shared_ttl(ttl);
        let mut names = vec![self.keys.stored.clone()];
        if !before.has_document {
            // The checkpoint may come later; until then only this says that the writes are there.
            names.push(awaited(&self.keys.stored, &self.id));
        }
        let namespaces = RunOnKey::new(&self.keys.namespaces).run("SADD", names);
        let (namespaces, refresh_due) = before.thread.expire(namespaces, ttl, thread_ttl);
        let mut requests = vec![registry.into(), namespaces.into()];
        let mut stored = 0;
        for (position, (key, document)) in self.writes.iter().enumerate() {
            if before.made[position] {
                stored += 1;
                let expire = (ttl != self.ttl).then(|| expire(key, ttl));
                requests.extend(expire.map(Request::from));
            } else if self.replace {
                stored += 1;
                let replaced = RunOnKey::new(key);
                let replaced = replaced.run("JSON.SET", [Bytes::from("$"), document.clone()]);
                requests.push(replaced.ttl(ttl, true).into());
            } else if ttl == 0 && self.ttl > 0 {
                // An earlier attempt may have made it, with a TTL.
                requests.push(Request::from(expire(key, 0)));
            }
        }
        // Another call may have been removing those that were there before they were registered
        // here.
        let kept = before.made.iter().zip(&self.writes);
        let kept = kept.filter(|(made, _)| !**made);
        let kept: Vec<_> = kept
            .map(|(_, (key, _))| Request::on("EXISTS", key, []))
            .collect();
        let (first, looks) = (requests.len(), kept.len());
        requests.extend(kept);
        requests.push(self.is_half_removed());
        requests.push(Thread::pinned(&self.keys.namespaces));
        requests.push(Request::on("PTTL", &self.document, []));
        if !before.has_registry || !before.has_document {
            // `registered` is set once they are registered, which the next call or put knows.
            let flag = [&b"$.has_writes"[..], b"true"];
            requests.push(Request::on("JSON.SET", &self.document, flag));
        } else {
            let flag = [&b"$.registered"[..], b"true"];
            requests.push(Request::on("JSON.SET", &self.document, flag));
        }
        let mut replies = run.pipeline(requests).await?;
        for _ in 0..first {
            replies.all()?;
        }
        let are_kept = !replies.ints(looks)?.contains(&0);
        let mut are_there = replies.int()? == 0 && are_kept;
        let is_pinned = replies.int()? == 1;
        let left = replies.int()?;
        if before.has_document && left == -2 {
            // Nothing leads to the writes, unless they are stored as those of a checkpoint to come.
            are_there = false;
        }
        match replies.finish() {
            // The checkpoint has not come yet; its put sets the flag.
            Ok(()) | Err(Error::Server { .. }) => {}
            Err(error) => return Err(error),
        }
        // The thread has been pinned since, and the checkpoint with it, unless that is still to
        // come.
        let is_kept = left == -1 || (left == -2 && !before.has_document);
        let pinned_since = is_pinned && is_kept && ttl > 0;
        if pinned_since {
            let keys = self.writes.iter().map(|(key, _)| key);
            let keys = keys.chain([&self.registry, &self.keys.namespaces]);
            let requests = keys.map(|key| Request::on("PERSIST", key, []));
            run.pipeline(requests.collect()).await?.finish()?;
        }
        if pinned_since || (before.thread.is_pinned && self.ttl > 0) {
            let keys = self.writes.iter().map(|(key, _)| key.clone());
            let stored = StoredWhilePinned::Writes(keys.collect());
            are_there &=
                is_still_pinned_or_expires(run, self.keys, &self.id, stored, self.ttl).await?;
        }
        let reply = PutWritesReply {
            stored,
            refresh_due,
        };
        Ok((are_there, reply))
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
