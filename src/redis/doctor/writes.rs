//! Writes and their registries: each names the other.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;

use super::named::{Holds, Named, Rest};
use super::report::FindingKind;
use super::run::{Doctor, MEMBERS};
use crate::error::{Error, Result};
use crate::redis::args::{number, text};
use crate::redis::driver::Command;
use crate::redis::keys::{NamespaceKeys, WritesOf};
use crate::redis::scan::Members;
use crate::redis::scripts::{self, Step};

/// A registry of writes, as far as one pipeline for many registries has read it.
struct Registry {
    key: Bytes,
    /// The writes that it may name.
    writes: WritesOf,
    size: usize,
    /// Its first members, and the walk over the others.
    first: Vec<Bytes>,
    others: Members,
    /// Whether it may outlive what it names.
    lasts: bool,
    is_old: bool,
}

impl Doctor<'_> {
    /// Registries of writes: what they name is there, and their checkpoint comes.
    pub(super) async fn write_registries(&mut self) -> Result<()> {
        let family = self.store.keyspace.write_registry_family();
        let mut scan = self.scan(&family);
        while let Some(page) = scan.next(self.store).await? {
            self.report.looked_at(page.len());
            for registry in self.first_members(page).await? {
                let key = registry.key.clone();
                if let Err(error) = self.write_registry(registry).await {
                    self.refused(&key, error)?;
                }
            }
        }
        Ok(())
    }

    /// Asks many registries at once for what most of them need.
    async fn first_members(&mut self, page: Vec<Bytes>) -> Result<Vec<Registry>> {
        let idle = page.iter().map(|key| {
            let mut command = Command::on("OBJECT", key.clone());
            command.args.insert(0, Bytes::from_static(b"IDLETIME"));
            command.into()
        });
        // Before anything else, because reading a key resets its idle time.
        let idle = self.store.pipeline("doctor", idle.collect()).await?;
        let steps = page.iter().flat_map(|key| {
            let size = Command::on("ZCARD", key.clone());
            let left = Command::on("PTTL", key.clone());
            let members = Members::of_sorted_set("doctor", key).command();
            [Some(size), Some(left), members].into_iter().flatten()
        });
        let steps = steps.map(Step::from).collect();
        let mut replies = self.store.pipeline("doctor", steps).await?.into_iter();
        let mut next = || replies.next().unwrap_or(Err(Error::Closed));
        let mut registries = Vec::with_capacity(page.len());
        for (key, idle) in page.into_iter().zip(idle) {
            let (size, left, members) = (next(), next(), next());
            let (size, members) = match (size, members) {
                (Ok(size), Ok(members)) => (size, members),
                (Err(error), _) | (_, Err(error)) => {
                    self.refused(&key, error)?;
                    continue;
                }
            };
            let size = size.as_int().and_then(|size| usize::try_from(size).ok());
            let size = size.unwrap_or(0);
            let Some(writes) = self.store.keyspace.writes_of_registry(&key) else {
                if !self.store.keyspace.tags_threads() {
                    self.found(FindingKind::Foreign, &key, String::new(), false);
                }
                continue;
            };
            let idle = idle.ok().and_then(|idle| idle.as_int()).unwrap_or(0);
            let idle = Duration::from_secs(u64::try_from(idle).unwrap_or(0));
            let is_old = self.idle.is_old(&key, size, idle, self.options.orphan_age);
            let mut others = Members::of_sorted_set("doctor", &key);
            let first = others.page(members);
            registries.push(Registry {
                key,
                writes,
                size,
                first,
                others,
                lasts: left?.as_int() == Some(-1),
                is_old,
            });
        }
        // Most registries have no TTL because their writes have none.
        let lasting = registries.iter_mut().filter(|registry| registry.lasts);
        let lasting: Vec<_> = lasting
            .filter_map(|registry| {
                let first = registry.first.iter();
                let write = first
                    .clone()
                    .find(|member| registry.writes.is_named(member));
                write.cloned().map(|write| (registry, write))
            })
            .collect();
        let steps = lasting
            .iter()
            .map(|(_, write)| Command::on("PTTL", write.clone()).into());
        let replies = self.store.pipeline("doctor", steps.collect()).await?;
        for ((registry, _), left) in lasting.into_iter().zip(replies) {
            registry.lasts = left?.as_int() != Some(-1);
        }
        Ok(registries)
    }

    async fn write_registry(&mut self, registry: Registry) -> Result<()> {
        let Registry {
            key,
            writes,
            size,
            first,
            mut others,
            lasts,
            is_old,
        } = registry;
        let (mut gone, mut foreign, mut owner) = (0, Vec::new(), None);
        let (mut orphans, mut left) = (0, size);
        let mut page = first;
        loop {
            let (own, not): (Vec<_>, Vec<_>) =
                page.into_iter().partition(|member| writes.is_named(member));
            foreign.extend(not);
            for slice in own.chunks(MEMBERS) {
                let mut args = vec![self.mode()];
                args.extend_from_slice(slice);
                let call = scripts::DOCTOR_WRITES.call(vec![key.clone()], args);
                let found = self.store.script("doctor", call).await?.as_int();
                let found = found.and_then(|found| usize::try_from(found).ok());
                gone += found.unwrap_or(0);
                if self.options.fix {
                    left = left.saturating_sub(found.unwrap_or(0));
                }
                if is_old && !writes.is_shallow {
                    let removed = self.orphans(&key, slice.to_vec(), left).await?;
                    orphans += removed;
                    if self.options.fix {
                        left = left.saturating_sub(removed);
                    }
                }
                if lasts && owner.is_none() {
                    owner = self.owner(&key, slice.to_vec()).await?;
                }
            }
            match others.next(self.store).await? {
                Some(next) => page = next,
                None => break,
            }
        }
        if gone > 0 {
            let detail = format!("{gone} of {size}");
            self.found(FindingKind::WritesGone, &key, detail, self.options.fix);
        }
        self.report_foreign(&key, &foreign);
        if orphans > 0 {
            let kind = FindingKind::WritesWithoutCheckpoint;
            self.found(kind, &key, orphans.to_string(), self.options.fix);
            if !self.options.fix {
                self.idle.found(key, size);
            }
            return Ok(());
        }
        let Some(owner) = owner else { return Ok(()) };
        let names = |member: &[u8]| Some(Bytes::copy_from_slice(member));
        let members = || Members::of_sorted_set("doctor", &key);
        if let Some(lasting) = self.outlives(&key, members(), names).await? {
            self.shorten(&key, &owner.namespaces, lasting, members(), names)
                .await?;
        }
        Ok(())
    }

    /// The writes among some that wait for a checkpoint that never came, and are removed if asked.
    /// Threads that are named alike share a registry, so each write names its owner.
    async fn orphans(&mut self, registry: &Bytes, page: Vec<Bytes>, size: usize) -> Result<usize> {
        let mut owners: HashMap<Bytes, (Named, Vec<Bytes>)> = HashMap::new();
        for looked in self.look_at(page, Holds::Writes).await? {
            let Ok(named) = looked.ids else { continue };
            if self.is_at_home(&looked.key, &named) {
                let (_, writes) = owners
                    .entry(named.says.clone())
                    .or_insert_with(|| (named, Vec::new()));
                writes.push(looked.key);
            }
        }
        let mut removed = 0;
        for (says, (named, writes)) in owners {
            let keys = self.store.keys(&named.thread_id, &named.namespace);
            let Some(id) = named.checkpoint() else {
                continue;
            };
            if keys.write_registry(id) != *registry {
                continue;
            }
            let left = if self.options.fix {
                size - removed
            } else {
                size
            };
            let mut args = vec![
                self.mode(),
                keys.stored.clone(),
                text(id.as_str()),
                number(left),
                says,
            ];
            args.extend(writes);
            let script_keys = vec![
                registry.clone(),
                keys.document(id),
                keys.namespaces,
                keys.registry,
            ];
            let call = scripts::DOCTOR_ORPHAN.call(script_keys, args);
            let found = self.store.script("doctor", call).await?.as_int();
            removed += found
                .and_then(|found| usize::try_from(found).ok())
                .unwrap_or(0);
        }
        Ok(removed)
    }

    /// The names of the keys of whom one of some writes belongs to.
    async fn owner(&mut self, registry: &Bytes, page: Vec<Bytes>) -> Result<Option<NamespaceKeys>> {
        let page = page.into_iter().take(16).collect();
        for looked in self.look_at(page, Holds::Writes).await? {
            let Ok(named) = looked.ids else { continue };
            let keys = self.store.keys(&named.thread_id, &named.namespace);
            let is_own = named.checkpoint().is_some_and(|id| {
                [keys.write_registry(id), keys.shallow_write_registry()].contains(registry)
            });
            if is_own {
                return Ok(Some(keys));
            }
        }
        Ok(None)
    }

    /// Whether a write is where its ids say. The Python saver keeps colons of a task.
    fn is_at_home(&self, key: &Bytes, named: &Named) -> bool {
        let Rest::Write(id, task, idx) = &named.rest else {
            return false;
        };
        let keys = self.store.keys(&named.thread_id, &named.namespace);
        let as_it_is = || [&keys.writes_of(id)[..], format!("{task}:{idx}").as_bytes()].concat();
        *key == keys.write(id, task, *idx) || *key == as_it_is()
    }

    /// Writes: their registry names them, and they can be read.
    pub(super) async fn writes(&mut self) -> Result<()> {
        let family = self.store.keyspace.write_family();
        let mut scan = self.scan(&family);
        while let Some(page) = scan.next(self.store).await? {
            self.report.looked_at(page.len());
            let mut steps: Vec<Step> = Vec::new();
            let mut written = Vec::new();
            let looked = self.look_at(page, Holds::Writes).await?;
            let named = looked.iter().filter(|looked| looked.ids.is_ok());
            let keys: Vec<_> = named.map(|looked| looked.key.clone()).collect();
            self.compare(&keys, Holds::Writes).await?;
            for looked in looked {
                let named = match &looked.ids {
                    Ok(named) => named,
                    Err(lacks) => {
                        let kind = FindingKind::DocumentWithoutIds;
                        self.found(kind, &looked.key, lacks.clone(), false);
                        continue;
                    }
                };
                if !self.is_at_home(&looked.key, named) {
                    self.misplaced(&looked.key, named);
                    continue;
                }
                self.report_unreadable(&looked);
                let Rest::Write(id, _, idx) = &named.rest else {
                    continue;
                };
                let keys = self.store.keys(&named.thread_id, &named.namespace);
                let mut script_keys = vec![
                    looked.key.clone(),
                    keys.write_registry(id),
                    keys.document(id),
                    keys.namespaces.clone(),
                    keys.registry.clone(),
                ];
                script_keys.push(keys.shallow_write_registry());
                script_keys.extend(keys.shared_write_registry(id));
                let args = vec![
                    self.mode(),
                    self.ttl.clone(),
                    keys.stored.clone(),
                    text(id.as_str()),
                    number(idx.max(&0)),
                    named.says.clone(),
                ];
                steps.push(scripts::DOCTOR_WRITE.call(script_keys, args).into());
                written.push((looked.key, keys.namespaces));
            }
            self.codes(written, steps, FindingKind::WriteNotRegistered)
                .await?;
        }
        Ok(())
    }

    /// Reports members that no saver writes.
    pub(super) fn report_foreign(&mut self, key: &[u8], members: &[Bytes]) {
        let Some(one) = members.first() else { return };
        let mut detail = one.escape_ascii().to_string();
        if members.len() > 1 {
            detail = format!("{detail} and {} more", members.len() - 1);
        }
        self.found(FindingKind::MemberForeign, key, detail, false);
    }
}
