//! Removing checkpoints: out of the pointer and the registry first, so that nothing names what is
//! gone; then the documents, and the writes after them, so that no reader takes a checkpoint for one
//! that has fewer writes.

use bytes::Bytes;

use super::super::driver::{Command, Reply};
use super::flight::Part;
use super::pointer::Pointer;
use super::registry::range;
use super::thread::{awaited, forget_namespace};
use super::{PINNED, Plain, after, begun, count, join};
use crate::error::Result;

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
}

pub(super) async fn remove(plain: &Plain<'_>, keys: &[Bytes], args: &[Bytes]) -> Result<Reply> {
    let [registry, pointer, namespaces] = plain.first::<3>(keys)?;
    let [prefix, own, writes, more, namespace] = plain.first::<5>(args)?;
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
        ids: &args[5..],
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
        let mut answers = plain.flight(parts).await?;
        let target = answers.bytes()?;
        let mut left = answers.list()?;
        left.retain(|id| !self.ids.contains(id));
        // Of each registry of writes those that are to go, and whether it goes with them.
        let mut writes = Vec::new();
        for id in self.ids {
            let prefix = join(&[self.writes, id, b":"]);
            for (position, registry) in self.registries.iter().enumerate() {
                let keys = answers.list()?.into_iter();
                let keys: Vec<_> = keys.filter(|key| after(key, &prefix).is_some()).collect();
                writes.push((join(&[registry, id]), keys, position == 0));
            }
        }
        self.unname(plain, target, &left).await?;
        let removed = self.unlink(plain, &writes).await?;
        if left.is_empty() {
            self.forget_namespace(plain).await?;
        }
        Ok(removed)
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
                    return Ok(pointer.advance(id, time_left.max(0)));
                }
            }
            let last = left.last().map(|id| join(&[b"(", id])).unwrap_or_default();
            left = super::registry::ids(plain, self.registry, &last, MORE).await?;
            left.retain(|id| !self.ids.contains(id));
        }
    }

    /// Removes the documents and the writes, and tells how many of each.
    async fn unlink(
        &self,
        plain: &Plain<'_>,
        writes: &[(Bytes, Vec<Bytes>, bool)],
    ) -> Result<Reply> {
        let unlink = |key: &Bytes| Part::of("UNLINK", key, []);
        let documents = self.ids.iter().map(|id| join(&[self.prefix, id]));
        let documents: Vec<_> = documents.map(|key| unlink(&key)).collect();
        let mut removed = 0;
        if !documents.is_empty() {
            let mut answers = plain.flight(documents).await?;
            for _ in self.ids {
                removed += answers.int()?;
            }
        }
        let keys = writes.iter().flat_map(|(_, keys, _)| keys);
        let mut parts: Vec<_> = keys.map(unlink).collect();
        let removed_writes = parts.len();
        for (registry, keys, goes) in writes {
            if *goes {
                parts.push(unlink(registry));
            } else if !keys.is_empty() {
                let keys = keys.iter().map(|key| &key[..]);
                parts.push(Part::of("ZREM", registry, keys));
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
