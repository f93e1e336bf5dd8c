//! Removing checkpoints: out of the pointer and the registry first, so that nothing names what is
//! gone; then the documents, and the writes after them, so that no reader takes a checkpoint for one
//! that has fewer writes.

use bytes::Bytes;

use super::super::driver::{Command, Reply};
use super::super::scripts;
use super::flight::{Group, Part};
use super::pointer::Pointer;
use super::registry::range;
use super::thread::{awaited, forget_namespace};
use super::{PINNED, Plain, after, begun, count, integer, join};
use crate::error::Result;

/// How many ids are read beyond those that are removed.
const MORE: usize = 100;
/// Of a set of more members not each is looked at.
const MANY: i64 = 1_000;

/// The keys and arguments of the script `remove`.
struct Remove<'a> {
    registry: &'a Bytes,
    pointer: &'a Bytes,
    namespaces: &'a Bytes,
    prefix: &'a Bytes,
    registries: Vec<&'a Bytes>,
    writes: &'a Bytes,
    namespace: &'a Bytes,
    thread: &'a Bytes,
    /// How many members of a registry of writes are read.
    most: i64,
    /// How many members of the first one's registries are others', and were looked at.
    stay: [i64; 2],
    ids: &'a [Bytes],
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

pub(super) async fn remove(plain: &Plain<'_>, keys: &[Bytes], args: &[Bytes]) -> Result<Reply> {
    let [registry, pointer, namespaces] = plain.first::<3>(keys)?;
    let [
        prefix,
        own,
        writes,
        more,
        namespace,
        thread,
        most,
        first,
        second,
    ] = plain.first::<9>(args)?;
    let call = Remove {
        registry,
        pointer,
        namespaces,
        prefix,
        registries: [own, more]
            .into_iter()
            .filter(|registries| !registries.is_empty())
            .collect(),
        writes,
        namespace,
        thread,
        most: integer(most),
        stay: [integer(first), integer(second)],
        ids: &args[9..],
    };
    call.run(plain).await.map_err(begun)
}

/// Removes one key that says whose it is.
pub(super) async fn remove_key(plain: &Plain<'_>, keys: &[Bytes], args: &[Bytes]) -> Result<Reply> {
    let call = scripts::REMOVE_KEY.call(keys.to_vec(), args.to_vec());
    plain.flight(vec![Part::script(call)]).await?.one()
}

/// Removes one key of another type than it should be of.
pub(super) async fn discard(plain: &Plain<'_>, keys: &[Bytes], args: &[Bytes]) -> Result<Reply> {
    let call = scripts::DISCARD.call(keys.to_vec(), args.to_vec());
    plain.flight(vec![Part::script(call)]).await?.one()
}

/// Takes out of a thread's set of namespaces what stands for nothing any more.
pub(super) async fn unlist(plain: &Plain<'_>, keys: &[Bytes], members: &[Bytes]) -> Result<Reply> {
    let [namespaces] = plain.first::<1>(keys)?;
    let there = plain.are_there(keys[1..].iter().cloned()).await?;
    let mut gone = keys[1..].iter().zip(members).zip(there);
    let mut removed = 0;
    // Marks come in calls of their own, before the namespaces.
    let mut all = Vec::new();
    if members.iter().any(|member| member.first() != Some(&0)) {
        let size = Part::of("SCARD", namespaces, []);
        if plain.flight(vec![size]).await?.int()? <= MANY {
            let parts = vec![Part::of("SMEMBERS", namespaces, [])];
            all = plain.flight(parts).await?.list()?;
        }
    }
    for ((key, member), is_there) in &mut gone {
        let start = awaited(member, b"");
        if is_there || all.iter().any(|other| after(other, &start).is_some()) {
            continue;
        }
        removed += i64::from(forget_namespace(plain, namespaces, member, &[key]).await?);
    }
    Ok(Reply::Int(removed))
}

impl Remove<'_> {
    async fn run(&self, plain: &Plain<'_>) -> Result<Reply> {
        let mut parts = vec![
            Part::of("GET", self.pointer, []),
            range(self.registry, b"+", self.ids.len() + MORE),
            Part::of("SCARD", self.namespaces, []),
        ];
        for (number, id) in self.ids.iter().enumerate() {
            for (position, registry) in self.registries.iter().enumerate() {
                let first = self.first(number, position);
                let ends = [first, first + self.most - 1].map(|end| end.to_string());
                let ends = ends.iter().map(String::as_bytes);
                parts.push(Part::of("ZRANGE", &join(&[registry, id]), ends));
            }
        }
        let mut answers = plain.flight(parts).await?;
        let target = answers.bytes()?;
        let mut left = answers.list()?;
        left.retain(|id| !self.ids.contains(id));
        let members = answers.int()?;
        let mut written = Vec::new();
        for (number, id) in self.ids.iter().enumerate() {
            let prefix = join(&[self.writes, id, b":"]);
            for (position, registry) in self.registries.iter().enumerate() {
                let keys = answers.list()?;
                let has_more = i64::try_from(keys.len()).is_ok_and(|read| read == self.most);
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
        self.unname(plain, target, &left).await?;
        let (documents, writes, stay) = self.unlink(plain, &written, done).await?;
        if left.is_empty() {
            self.forget_namespace(plain, members).await?;
        } else if left.len() <= MORE {
            self.expire(plain, &left).await?;
        }
        Ok(Reply::Array(vec![
            Reply::Int(documents),
            Reply::Int(writes),
            count(done),
            Reply::Int(stay[0]),
            Reply::Int(stay[1]),
        ]))
    }

    /// How many members of a registry of writes are passed over.
    fn first(&self, number: usize, position: usize) -> i64 {
        if number == 0 { self.stay[position] } else { 0 }
    }

    /// Takes what is to go out of the registry, and lets the pointer name the newest that is left.
    async fn unname(&self, plain: &Plain<'_>, target: Option<Bytes>, left: &[Bytes]) -> Result<()> {
        let mut parts = Vec::new();
        if !self.ids.is_empty() {
            let ids = self.ids.iter().map(|id| &id[..]);
            parts.push(Part::of("ZREM", self.registry, ids));
        }
        if let Some(target) = target {
            let named = after(&target, self.prefix).map(Bytes::copy_from_slice);
            let goes = named.as_ref().is_some_and(|id| self.ids.contains(id));
            if goes || !plain.are_there([target]).await?[0] {
                parts.push(self.repoint(plain, named.as_ref(), left).await?);
            }
        }
        if parts.is_empty() {
            return Ok(());
        }
        plain.flight(parts).await?.finish()
    }

    async fn repoint(
        &self,
        plain: &Plain<'_>,
        named: Option<&Bytes>,
        left: &[Bytes],
    ) -> Result<Part> {
        let mut left = left.to_vec();
        loop {
            let parts: Vec<_> = left
                .iter()
                .map(|id| Part::of("PTTL", &join(&[self.prefix, id]), []))
                .collect();
            if parts.is_empty() {
                return Ok(Part::of("UNLINK", self.pointer, []));
            }
            let mut answers = plain.flight(parts).await?;
            for id in &left {
                let time_left = answers.int()?;
                if time_left != -2 {
                    let pointer = Pointer {
                        key: self.pointer,
                        prefix: self.prefix,
                        names: named,
                        is_stale: true,
                    };
                    // A key in its last millisecond has 0 left, which is not none.
                    let ttl = if time_left == -1 { 0 } else { time_left.max(1) };
                    return Ok(pointer.advance(id, ttl));
                }
            }
            let last = left.last().map(|id| join(&[b"(", id])).unwrap_or_default();
            left = super::registry::ids(plain, self.registry, &last, MORE).await?;
            left.retain(|id| !self.ids.contains(id));
        }
    }

    /// Whether what has a checkpoint's names may be of another: only names with colons may.
    fn is_shared(&self, id: &Bytes) -> bool {
        [self.thread, self.namespace, id]
            .iter()
            .any(|name| name.contains(&b':'))
    }

    /// The part that removes a document or a write of a checkpoint, unless it is another's.
    fn unlink_own(&self, key: Bytes, id: &Bytes) -> Part {
        if !self.is_shared(id) {
            return Part::of("UNLINK", &key, []);
        }
        let args = vec![
            self.thread.clone(),
            self.namespace.clone(),
            id.clone(),
            Bytes::from_static(b"nameless"),
        ];
        Part::script(scripts::REMOVE_KEY.call(vec![key], args))
    }

    /// Removes the documents and the writes, and tells how many of each, and how many of the first
    /// checkpoint that has more writes are others'.
    async fn unlink(
        &self,
        plain: &Plain<'_>,
        written: &[Written],
        done: usize,
    ) -> Result<(i64, i64, [i64; 2])> {
        if self.ids.is_empty() {
            return Ok((0, 0, [0, 0]));
        }
        let has_more = |number: usize| written.iter().any(|one| one.id == number && one.has_more);
        let numbers = 0..self.ids.len();
        let (waits, ends): (Vec<usize>, Vec<usize>) = numbers.partition(|one| has_more(*one));
        let marks = |numbers: &[usize]| -> Vec<Bytes> {
            let ids = numbers.iter().map(|number| &self.ids[*number]);
            ids.map(|id| awaited(self.namespace, id)).collect()
        };
        let mut parts = Vec::new();
        if !waits.is_empty() {
            // Found by this by a later call, if this one ends here.
            let listed = Group::on(self.namespaces).even_when_full();
            parts.push(listed.run("SADD", marks(&waits)).part());
        }
        for id in self.ids {
            parts.push(self.unlink_own(join(&[self.prefix, id]), id));
        }
        let mut answers = plain.flight(parts).await?;
        if !waits.is_empty() {
            answers.int()?;
        }
        let (mut documents, mut writes, mut stay) = (0, 0, [0, 0]);
        for _ in self.ids {
            documents += answers.int()?.max(0);
        }
        answers.finish()?;
        let mut parts = Vec::new();
        for one in written {
            let id = &self.ids[one.id];
            parts.extend(one.keys.iter().map(|key| self.unlink_own(key.clone(), id)));
        }
        let mut answers = plain.flight(parts).await?;
        let mut parts = Vec::new();
        for one in written {
            let mut out = Vec::new();
            let mut others = 0;
            let is_shared = self.is_shared(&self.ids[one.id]);
            for key in &one.keys {
                let removed = answers.int()?;
                writes += removed.max(0);
                // A script says 0 of another's, and UNLINK of what is gone.
                if removed == 0 && is_shared {
                    others += 1;
                } else {
                    out.push(&key[..]);
                }
            }
            if one.position == 0 {
                out.extend(one.rest.iter().map(|key| &key[..]));
            } else {
                others += i64::try_from(one.rest.len()).unwrap_or(0);
            }
            if !out.is_empty() {
                parts.push(Part::of("ZREM", &one.registry, out));
            }
            if one.id == done {
                stay[one.position] = self.first(one.id, one.position) + others;
            }
        }
        answers.finish()?;
        if !ends.is_empty() {
            let srem = Command::on("SREM", self.namespaces.clone()).args(marks(&ends));
            parts.push(Part::command(srem));
        }
        if !parts.is_empty() {
            plain.flight(parts).await?.finish()?;
        }
        Ok((documents, writes, stay))
    }

    /// Gives the registry the longest TTL of what it names, if it has none and all of that has one.
    async fn expire(&self, plain: &Plain<'_>, left: &[Bytes]) -> Result<()> {
        let look = async || -> Result<Option<i64>> {
            let mut parts = vec![
                Part::of("PTTL", self.registry, []),
                Part::of("ZCARD", self.registry, []),
            ];
            let documents = left.iter().map(|id| join(&[self.prefix, id]));
            parts.extend(documents.map(|key| Part::of("PTTL", &key, [])));
            let mut answers = plain.flight(parts).await?;
            let ttl = answers.int()?;
            let named = answers.int()?;
            let is_all = i64::try_from(left.len()).is_ok_and(|left| left == named);
            let times = answers.ints(left.len())?;
            let longest = times.iter().copied().max().unwrap_or(-2);
            let expires = is_all && !times.contains(&-1) && longest >= 0;
            Ok((ttl != -2 && expires).then_some(if ttl == -1 { longest.max(1) } else { 0 }))
        };
        let Some(ttl @ 1..) = look().await? else {
            return Ok(());
        };
        let expire = super::thread::pexpire(self.registry, ttl, None);
        plain.flight(vec![expire]).await?.finish()?;
        if look().await?.is_none() {
            // Something that is kept without a TTL came in the meantime.
            let persist = Part::of("PERSIST", self.registry, []);
            plain.flight(vec![persist]).await?.finish()?;
        }
        Ok(())
    }

    /// Takes a namespace without checkpoints out of the set, unless writes wait there.
    async fn forget_namespace(&self, plain: &Plain<'_>, members: i64) -> Result<()> {
        let mut parts = vec![Part::of("ZREM", self.registry, [&b""[..]])];
        if members <= MANY {
            parts.push(Part::of("SMEMBERS", self.namespaces, []));
        }
        let mut answers = plain.flight(parts).await?;
        answers.int()?;
        if members > MANY {
            return Ok(());
        }
        let members = answers.list()?;
        let start = awaited(self.namespace, b"");
        if !members.iter().any(|member| after(member, &start).is_some()) {
            let keys = [self.registry];
            if !forget_namespace(plain, self.namespaces, self.namespace, &keys).await? {
                return Ok(());
            }
        }
        let others = members.iter().filter(|member| *member != self.namespace);
        let others: Vec<_> = others.collect();
        if matches!(others[..], [only] if *only == PINNED) {
            // A pin ends with its thread.
            let unpin = Part::of("SREM", self.namespaces, [PINNED]);
            plain.flight(vec![unpin]).await?.finish()?;
        }
        Ok(())
    }
}
