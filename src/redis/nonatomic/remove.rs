//! Removing checkpoints: out of the pointer and the registry first, so that nothing names what is
//! gone; then the documents, and the writes after them, so that no reader takes a checkpoint for
//! one that has fewer writes. A mark says so all the while, so that nothing of the checkpoint is
//! stored beside what is left of it.

use bytes::Bytes;

use super::gc::{named_by, put_back};
use super::pointer::Pointer;
use super::registry::range;
use super::thread::{awaited, forget_namespace, is_mark_of, pexpire, removed, ttl_left};
use super::written::surely_own;
use super::{PINNED, Run, after, is_shared, join, partly_done};
use crate::error::{Error, Result};
use crate::redis::driver::{Command, Reply};
use crate::redis::keys::NamespaceKeys;
use crate::redis::scripts::{
    Count, OneKey, RemoveCall, RemoveKeyCall, RemoveReply, RemoveUnregisteredCall, Request,
    RunOnKey, UnlistCall,
};
use crate::redis::session::StaleMember;

/// How many ids are read beyond those that are removed.
const MORE: usize = 100;
/// The rank of the last of some writes that are looked at to see whose they are.
const SOME: &[u8] = b"99";
/// Of a set of more members not each is looked at.
const MANY: i64 = 1_000;

/// A call, with what is made of it.
struct Remove<'a> {
    call: &'a RemoveCall,
    keys: &'a NamespaceKeys,
    ids: &'a [Bytes],
    /// How the keys of the registries of writes start.
    registries: Vec<&'a Bytes>,
}

/// What a registry of writes names.
struct Written {
    registry: Bytes,
    id: usize,
    /// Which of the checkpoint's registries it is.
    position: usize,
    /// The writes that are to go.
    keys: Vec<Bytes>,
    /// What has the name of no write of this saver's.
    rest: Vec<Bytes>,
    /// Whether it may name more.
    has_more: bool,
}

pub(super) async fn remove(run: &Run<'_>, call: &RemoveCall) -> Result<RemoveReply> {
    let keys = &call.keys;
    let remove = Remove {
        call,
        keys,
        ids: &call.ids,
        registries: [&keys.write_registries, &keys.shared_write_registries]
            .into_iter()
            .filter(|registries| !registries.is_empty())
            .collect(),
    };
    remove.run(run).await.map_err(partly_done)
}

/// Removes writes that their registry does not name.
pub(super) async fn remove_unregistered(
    run: &Run<'_>,
    call: &RemoveUnregisteredCall,
) -> Result<Count> {
    let scores = Command::on("ZMSCORE", call.registry.clone()).args(call.writes.iter().cloned());
    let named = match run.pipeline(vec![scores.into()]).await?.one() {
        // A key of another type names nothing.
        Err(Error::WrongType { .. }) => Vec::new(),
        scores => scores?.into_array(),
    };
    let mut named = named.into_iter().map(|score| score != Reply::Nil);
    let requests = call.writes.iter().filter_map(|key| {
        let remove = RemoveKeyCall {
            key: key.clone(),
            thread: call.thread.clone(),
            checkpoint: None,
            or_nameless: false,
        };
        (!named.next().unwrap_or(false)).then(|| OneKey::from(remove).into())
    });
    let requests: Vec<Request> = requests.collect();
    let count = requests.len();
    let mut replies = run.pipeline(requests).await?;
    let removed = replies.ints(count)?.into_iter().filter(|one| *one == 1);
    let removed = i64::try_from(removed.count()).unwrap_or(i64::MAX);
    Ok(Count(removed))
}

/// Takes out of a thread's set of namespaces what stands for nothing any more.
pub(super) async fn unlist(run: &Run<'_>, call: &UnlistCall) -> Result<Count> {
    let namespaces = &call.namespaces;
    let keys = call.members.iter().map(|(_, key)| key.clone());
    let there = run.are_there(keys).await?;
    let mut removed = 0;
    // Marks come in calls of their own, before the namespaces.
    let mut all = Vec::new();
    if call
        .members
        .iter()
        .any(|(member, _)| member.first() != Some(&0))
    {
        let size = Request::on("SCARD", namespaces, []);
        if run.pipeline(vec![size]).await?.int()? <= MANY {
            let requests = vec![Request::on("SMEMBERS", namespaces, [])];
            all = run.pipeline(requests).await?.list()?;
        }
    }
    for ((member, key), is_there) in call.members.iter().zip(there) {
        if is_there || all.iter().any(|other| is_mark_of(other, member)) {
            continue;
        }
        removed += i64::from(forget_namespace(run, namespaces, member, &[key]).await?);
    }
    Ok(Count(removed))
}

impl Remove<'_> {
    async fn run(&self, run: &Run<'_>) -> Result<RemoveReply> {
        if self.call.goes_on && self.is_over(run).await? {
            return Ok(RemoveReply {
                documents: 0,
                writes: 0,
                done: 1,
                skip: [0, 0],
            });
        }
        let mut requests = vec![
            Request::on("GET", &self.keys.pointer, []),
            range(&self.keys.registry, b"+", self.ids.len() + MORE),
            Request::on("SCARD", &self.keys.namespaces, []),
        ];
        for (number, id) in self.ids.iter().enumerate() {
            for (position, registry) in self.registries.iter().enumerate() {
                let first = self.first(number, position);
                let last = (first + self.call.max_writes).saturating_sub(1);
                let ends = [first, last].map(|end| end.to_string());
                let ends = ends.iter().map(String::as_bytes);
                requests.push(Request::on("ZRANGE", &join(&[registry, id]), ends));
            }
        }
        let mut replies = run.pipeline(requests).await?;
        let target = replies.bytes()?;
        let mut left = replies.list()?;
        left.retain(|id| !self.ids.contains(id));
        let members = replies.int()?;
        let mut written = Vec::new();
        for (number, id) in self.ids.iter().enumerate() {
            let prefix = join(&[&self.keys.writes, id, b":"]);
            for (position, registry) in self.registries.iter().enumerate() {
                let keys = replies.list()?;
                let has_more = keys.len() == self.call.max_writes;
                let is_write = |key: &Bytes| after(key, &prefix).is_some();
                let (keys, rest) = keys.into_iter().partition(is_write);
                written.push(Written {
                    registry: join(&[registry, id]),
                    id: number,
                    position,
                    keys,
                    rest,
                    has_more,
                });
            }
        }
        let mut more = written.iter().filter(|one| one.has_more);
        let done = more.next().map_or(self.ids.len(), |one| one.id);
        self.unname(run, target, &left, &written).await?;
        let (documents, writes, skip) = self.unlink(run, &written, done).await?;
        if left.is_empty() {
            self.forget_namespace(run, members).await?;
        } else if left.len() <= MORE {
            self.expire(run, &left).await?;
        }
        Ok(RemoveReply {
            documents,
            writes,
            done,
            skip,
        })
    }

    /// Whether another call has come to the end of the first id's removal: what is there of it was
    /// put since.
    async fn is_over(&self, run: &Run<'_>) -> Result<bool> {
        let Some(id) = self.ids.first() else {
            return Ok(false);
        };
        let mark = removed(&self.keys.stored, id);
        let is_marked = Request::on("SISMEMBER", &self.keys.namespaces, [&mark[..]]);
        Ok(run.pipeline(vec![is_marked]).await?.int()? == 0)
    }

    /// How many members of a registry of writes are passed over.
    fn first(&self, number: usize, position: usize) -> usize {
        if number == 0 {
            self.call.skip[position]
        } else {
            0
        }
    }

    /// Takes what is to go out of the registry, marks what has writes, and lets the pointer name
    /// the newest that is left.
    async fn unname(
        &self,
        run: &Run<'_>,
        target: Option<Bytes>,
        left: &[Bytes],
        written: &[Written],
    ) -> Result<()> {
        let mut requests = Vec::new();
        let with_writes = written.iter().filter(|one| !one.keys.is_empty());
        let marks: Vec<_> = with_writes
            .map(|one| removed(&self.keys.stored, &self.ids[one.id]))
            .collect();
        if !marks.is_empty() {
            // A later call finds by this what is left if this one ends here. What has expired in
            // the meantime needs no mark, and nothing would give a new set its TTL.
            let mark = RunOnKey::new(&self.keys.namespaces).even_when_full();
            let mark = mark.run("EXISTS", []).if_done();
            requests.push(mark.run("SADD", marks).into());
        }
        if !self.ids.is_empty() {
            let ids = self.ids.iter().map(|id| &id[..]);
            requests.push(Request::on("ZREM", &self.keys.registry, ids));
        }
        if let Some(target) = target {
            let named = after(&target, &self.keys.documents).map(Bytes::copy_from_slice);
            let goes = named.as_ref().is_some_and(|id| self.ids.contains(id));
            if goes || !run.are_there([target]).await?[0] {
                requests.push(self.repoint(run, named.as_ref(), left).await?);
            }
        }
        if requests.is_empty() {
            return Ok(());
        }
        run.pipeline(requests).await?.finish()
    }

    async fn repoint(
        &self,
        run: &Run<'_>,
        named: Option<&Bytes>,
        left: &[Bytes],
    ) -> Result<Request> {
        let mut left = left.to_vec();
        loop {
            let requests: Vec<_> = left
                .iter()
                .map(|id| Request::on("PTTL", &join(&[&self.keys.documents, id]), []))
                .collect();
            if requests.is_empty() {
                return Ok(Request::on("UNLINK", &self.keys.pointer, []));
            }
            let mut replies = run.pipeline(requests).await?;
            for id in &left {
                let time_left = replies.int()?;
                if time_left != -2 {
                    let pointer = Pointer {
                        keys: self.keys,
                        names: named,
                        is_stale: true,
                    };
                    return Ok(pointer.advance(id, ttl_left(time_left)));
                }
            }
            let last = left.last().map(|id| join(&[b"(", id])).unwrap_or_default();
            left = super::registry::ids(run, &self.keys.registry, &last, MORE).await?;
            left.retain(|id| !self.ids.contains(id));
        }
    }

    /// The request that removes a document or a write of a checkpoint, unless it is another's.
    fn unlink_own(&self, key: Bytes, id: &Bytes) -> Request {
        if !is_shared(self.keys, id) {
            return Request::on("UNLINK", &key, []);
        }
        let call = RemoveKeyCall {
            key,
            thread: self.keys.thread.clone(),
            checkpoint: Some((self.keys.stored.clone(), id.clone())),
            or_nameless: true,
        };
        OneKey::from(call).into()
    }

    /// Removes the documents and the writes, and returns how many of each, and how many of the
    /// first checkpoint that has more writes are others'.
    async fn unlink(
        &self,
        run: &Run<'_>,
        written: &[Written],
        done: usize,
    ) -> Result<(usize, usize, [usize; 2])> {
        if self.ids.is_empty() {
            return Ok((0, 0, [0, 0]));
        }
        let has_more = |number: usize| written.iter().any(|one| one.id == number && one.has_more);
        let numbers = 0..self.ids.len();
        let ends: Vec<_> = numbers.filter(|number| !has_more(*number)).collect();
        let mut requests = Vec::new();
        for id in self.ids {
            requests.push(self.unlink_own(join(&[&self.keys.documents, id]), id));
        }
        let mut replies = run.pipeline(requests).await?;
        let (mut documents, mut writes, mut skip) = (0, 0, [0, 0]);
        for _ in self.ids {
            documents += replies.count()?;
        }
        replies.finish()?;
        let mut requests = Vec::new();
        for one in written {
            let id = &self.ids[one.id];
            requests.extend(one.keys.iter().map(|key| self.unlink_own(key.clone(), id)));
        }
        let mut replies = run.pipeline(requests).await?;
        let mut requests = Vec::new();
        for one in written {
            let mut out = Vec::new();
            let mut others = 0;
            let is_shared = is_shared(self.keys, &self.ids[one.id]);
            for key in &one.keys {
                let removed = replies.int()?;
                writes += usize::try_from(removed).unwrap_or(0);
                // A script returns 0 of another's, and UNLINK of what is gone.
                if removed == 0 && is_shared {
                    others += 1;
                } else {
                    out.push(&key[..]);
                }
            }
            if one.position == 0 {
                out.extend(one.rest.iter().map(|key| &key[..]));
            } else {
                others += one.rest.len();
            }
            if !out.is_empty() {
                requests.push(Request::on("ZREM", &one.registry, out));
            }
            if one.id == done {
                skip[one.position] = self.first(one.id, one.position) + others;
            }
        }
        replies.finish()?;
        if !requests.is_empty() {
            run.pipeline(requests).await?.finish()?;
        }
        if !ends.is_empty() {
            // When no registry names anything of them any more.
            let marks = ends.iter().flat_map(|number| {
                let (stored, id) = (&self.keys.stored, &self.ids[*number]);
                [removed(stored, id), awaited(stored, id)]
            });
            let srem = Command::on("SREM", self.keys.namespaces.clone()).args(marks);
            run.pipeline(vec![Request::from(srem)]).await?.finish()?;
            self.keep_later_writes(run, &ends).await?;
        }
        Ok((documents, writes, skip))
    }

    /// Lets writes that were stored while their document was removed wait for another: nothing else
    /// leads to them.
    async fn keep_later_writes(&self, run: &Run<'_>, ends: &[usize]) -> Result<()> {
        let ids: Vec<_> = ends.iter().map(|number| &self.ids[*number]).collect();
        let registry = |id: &Bytes| join(&[&self.keys.write_registries, id]);
        let some = |id: &&Bytes| Request::on("ZRANGE", &registry(id), [&b"0"[..], SOME]);
        let mut replies = run.pipeline(ids.iter().map(some).collect()).await?;
        let mut later = Vec::new();
        for id in ids {
            let writes = match replies.list() {
                // A key of another type names none.
                Err(Error::WrongType { .. }) => continue,
                writes => writes?,
            };
            if !surely_own(run, self.keys, id, writes).await?.is_empty() {
                let mark = awaited(&self.keys.stored, id);
                later.push(StaleMember::Mark(mark, registry(id)));
            }
        }
        put_back(run, self.keys, &later, 0).await
    }

    /// Gives the registry the longest TTL of what it names, if it has none and all of that has one.
    async fn expire(&self, run: &Run<'_>, left: &[Bytes]) -> Result<()> {
        let look = async || -> Result<Option<i64>> {
            let mut requests = vec![
                Request::on("PTTL", &self.keys.registry, []),
                Request::on("ZCARD", &self.keys.registry, []),
            ];
            let documents = left.iter().map(|id| join(&[&self.keys.documents, id]));
            requests.extend(documents.map(|key| Request::on("PTTL", &key, [])));
            let mut replies = run.pipeline(requests).await?;
            let ttl = replies.int()?;
            let named = replies.int()?;
            let is_all = i64::try_from(left.len()).is_ok_and(|left| left == named);
            let times = replies.ints(left.len())?;
            let longest = times.iter().copied().max().unwrap_or(-2);
            let expires = is_all && !times.contains(&-1) && longest >= 0;
            Ok((ttl != -2 && expires).then_some(if ttl == -1 { longest.max(1) } else { 0 }))
        };
        let Some(ttl @ 1..) = look().await? else {
            return Ok(());
        };
        let expire = pexpire(&self.keys.registry, ttl, None);
        run.pipeline(vec![expire]).await?.finish()?;
        if look().await?.is_none() {
            // Something without a TTL has come since.
            let persist = Request::on("PERSIST", &self.keys.registry, []);
            run.pipeline(vec![persist]).await?.finish()?;
        }
        Ok(())
    }

    /// Takes a namespace without checkpoints out of the set, unless writes wait there.
    async fn forget_namespace(&self, run: &Run<'_>, members: i64) -> Result<()> {
        let mut requests = vec![Request::on("ZREM", &self.keys.registry, [&b""[..]])];
        if members <= MANY {
            requests.push(Request::on("SMEMBERS", &self.keys.namespaces, []));
        }
        let mut replies = run.pipeline(requests).await?;
        replies.int()?;
        if members > MANY {
            return Ok(());
        }
        let members = replies.list()?;
        if !members
            .iter()
            .any(|member| is_mark_of(member, &self.keys.stored))
        {
            let (namespaces, namespace) = (&self.keys.namespaces, &self.keys.stored);
            let named = named_by(self.keys, &StaleMember::Namespace(namespace.clone()));
            let named: Vec<_> = named.iter().collect();
            if !forget_namespace(run, namespaces, namespace, &named).await? {
                return Ok(());
            }
        }
        let others = members.iter().filter(|member| **member != self.keys.stored);
        let others: Vec<_> = others.collect();
        if matches!(others[..], [only] if *only == PINNED) {
            // A pin ends with its thread.
            let unpin = Request::on("SREM", &self.keys.namespaces, [PINNED]);
            run.pipeline(vec![unpin]).await?.finish()?;
        }
        Ok(())
    }
}
