//! Removing checkpoints: out of the pointer and the registry first, so that nothing names what is
//! gone; then the documents, and the writes after them, so that no reader takes a checkpoint for one
//! that has fewer writes.

use bytes::Bytes;

use super::super::driver::{Command, Reply};
use super::flight::{Answers, Part};
use super::pointer::Pointer;
use super::read::document_of;
use super::registry::range;
use super::thread::{awaited, forget_namespace, ttl_left};
use super::{Names, PINNED, Plain, after, begun, count, join};
use crate::error::Result;
use crate::id::ThreadId;

/// How many ids are read beyond those that are removed.
const MORE: usize = 100;

/// The keys and arguments of the script `remove`.
struct Remove<'a> {
    registry: &'a Bytes,
    pointer: &'a Bytes,
    namespaces: &'a Bytes,
    prefix: &'a Bytes,
    registries: Vec<&'a Bytes>,
    writes: &'a Bytes,
    namespace: &'a Bytes,
    ids: &'a [Bytes],
    /// The thread, if others may have keys of the same names: a colon tells.
    sharing: Option<ThreadId>,
}

/// What one registry of writes names.
struct Written {
    registry: Bytes,
    keys: Vec<Bytes>,
    /// Whether all of the registry goes.
    goes: bool,
}

pub(super) async fn remove(plain: &Plain<'_>, keys: &[Bytes], args: &[Bytes]) -> Result<Reply> {
    let [registry, pointer, namespaces] = plain.first::<3>(keys)?;
    let [prefix, own, writes, more, namespace] = plain.first::<5>(args)?;
    let ids = &args[5..];
    let thread = plain.store.keyspace.of_namespaces(namespaces);
    let has_colon = |name: &[u8]| name.contains(&b':');
    let is_shared = |thread: &ThreadId| {
        let names = ids.iter().chain([namespace]);
        has_colon(thread.as_str().as_bytes()) || names.into_iter().any(|name| has_colon(name))
    };
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
        ids,
        sharing: thread.filter(is_shared),
    };
    call.run(plain).await.map_err(begun)
}

impl Remove<'_> {
    async fn run(&self, plain: &Plain<'_>) -> Result<Reply> {
        let mut parts = vec![
            Part::of("GET", self.pointer, []),
            range(self.registry, b"+", self.ids.len() + MORE),
        ];
        for id in self.ids {
            for registry in &self.registries {
                let registry = join(&[registry, id]);
                parts.push(Part::of("ZRANGE", &registry, [&b"0"[..], b"-1"]));
            }
        }
        if self.sharing.is_some() {
            let documents = self.ids.iter().map(|id| join(&[self.prefix, id]));
            parts.extend(documents.map(|key| Names::of(&key)));
        }
        let mut answers = plain.flight(parts).await?;
        let target = answers.bytes()?;
        let mut left = answers.list()?;
        left.retain(|id| !self.ids.contains(id));
        let mut writes = Vec::new();
        for id in self.ids {
            let prefix = join(&[self.writes, id, b":"]);
            for (position, registry) in self.registries.iter().enumerate() {
                let keys = answers.list()?.into_iter();
                writes.push(Written {
                    registry: join(&[registry, id]),
                    keys: keys.filter(|key| after(key, &prefix).is_some()).collect(),
                    goes: position == 0,
                });
            }
        }
        let mut ids = Vec::with_capacity(self.ids.len());
        for id in self.ids {
            if self.sharing.is_none() || self.is_own(&mut answers)? {
                ids.push(id.clone());
            }
        }
        self.leave_others(plain, &mut writes).await?;
        self.unname(plain, target, &left, &ids).await?;
        let removed = self.unlink(plain, &writes, &ids).await?;
        if left.is_empty() {
            self.forget_namespace(plain).await?;
        }
        Ok(removed)
    }

    /// Whether the next document that was asked for its names is of this thread and namespace, is
    /// gone, or does not say.
    fn is_own(&self, answers: &mut Answers) -> Result<bool> {
        let names = Names::read(document_of(answers.bytes())?).unwrap_or_default();
        let namespace = match names.namespace() {
            Some("") => Some("__empty__"),
            other => other,
        };
        let thread = self.sharing.as_ref().map(ThreadId::as_str);
        let is_own =
            names.thread() == thread && namespace.map(str::as_bytes) == Some(&self.namespace[..]);
        Ok(names.is_empty() || is_own)
    }

    /// Leaves the writes of other threads, and registries that name some.
    async fn leave_others(&self, plain: &Plain<'_>, writes: &mut [Written]) -> Result<()> {
        let parts = writes.iter().flat_map(|written| &written.keys);
        let parts: Vec<_> = parts.map(Names::of).collect();
        if self.sharing.is_none() || parts.is_empty() {
            return Ok(());
        }
        let mut answers = plain.flight(parts).await?;
        for written in writes {
            let before = written.keys.len();
            let mut own = Vec::with_capacity(before);
            for key in written.keys.drain(..) {
                if self.is_own(&mut answers)? {
                    own.push(key);
                }
            }
            written.goes &= own.len() == before;
            written.keys = own;
        }
        Ok(())
    }

    /// Takes what is to go out of the registry, and lets the pointer name the newest that is left,
    /// if it names one of those whose documents go.
    async fn unname(
        &self,
        plain: &Plain<'_>,
        target: Option<Bytes>,
        left: &[Bytes],
        ids: &[Bytes],
    ) -> Result<()> {
        let mut parts = Vec::new();
        if !self.ids.is_empty() {
            let ids = self.ids.iter().map(|id| &id[..]);
            parts.push(Part::of("ZREM", self.registry, ids));
        }
        if let Some(target) = target {
            let named = after(&target, self.prefix).map(Bytes::copy_from_slice);
            let goes = named.as_ref().is_some_and(|id| ids.contains(id));
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
                    return Ok(pointer.advance(id, ttl_left(time_left)));
                }
            }
            let last = left.last().map(|id| join(&[b"(", id])).unwrap_or_default();
            left = super::registry::ids(plain, self.registry, &last, MORE).await?;
            left.retain(|id| !self.ids.contains(id));
        }
    }

    /// Removes the documents and the writes, and tells how many of each.
    async fn unlink(&self, plain: &Plain<'_>, writes: &[Written], ids: &[Bytes]) -> Result<Reply> {
        let unlink = |key: &Bytes| Part::of("UNLINK", key, []);
        let documents = ids.iter().map(|id| join(&[self.prefix, id]));
        let documents: Vec<_> = documents.map(|key| unlink(&key)).collect();
        let mut removed = 0;
        if !documents.is_empty() {
            let mut answers = plain.flight(documents).await?;
            for _ in ids {
                removed += answers.int()?;
            }
        }
        let keys = writes.iter().flat_map(|written| &written.keys);
        let mut parts: Vec<_> = keys.map(unlink).collect();
        let removed_writes = parts.len();
        for written in writes {
            if written.goes {
                parts.push(unlink(&written.registry));
            } else if !written.keys.is_empty() {
                let keys = written.keys.iter().map(|key| &key[..]);
                parts.push(Part::of("ZREM", &written.registry, keys));
            }
        }
        if !self.ids.is_empty() {
            let awaited = self.ids.iter().map(|id| awaited(self.namespace, id));
            let srem = Command::on("SREM", self.namespaces.clone()).args(awaited);
            parts.push(Part::command(srem));
        }
        if parts.is_empty() {
            return Ok(Reply::Array(vec![count(0), count(0)]));
        }
        let mut answers = plain.flight(parts).await?;
        let mut written = 0;
        for _ in 0..removed_writes {
            written += answers.int()?;
        }
        answers.finish()?;
        Ok(Reply::Array(vec![Reply::Int(removed), Reply::Int(written)]))
    }

    /// Takes a namespace without checkpoints out of the set, unless writes wait there.
    async fn forget_namespace(&self, plain: &Plain<'_>) -> Result<()> {
        let parts = vec![
            Part::of("ZREM", self.registry, [&b""[..]]),
            Part::of("SMEMBERS", self.namespaces, []),
        ];
        let mut answers = plain.flight(parts).await?;
        answers.int()?;
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
