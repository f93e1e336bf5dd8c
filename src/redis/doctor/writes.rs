//! Writes and their registries: each names the other.

use std::time::Duration;

use bytes::Bytes;

use super::walk::Scan;
use super::{Doctor, FindingKind, MEMBERS, bytes_of};
use crate::error::Result;
use crate::id::CheckpointId;
use crate::redis::driver::{Command, number};
use crate::redis::keys::NamespaceKeys;
use crate::redis::scripts;
use crate::redis::store::Step;
use crate::redis::write::text;

impl Doctor<'_> {
    /// Registries of writes: what they name is there, and their checkpoint comes.
    pub(super) async fn write_registries(&mut self) -> Result<()> {
        let family = self.store.keyspace.write_registry_family();
        let mut scan = Scan::new(&family, &self.options.prefix, self.store);
        while let Some(page) = scan.next(self.store).await? {
            self.report.looked_at(page.len());
            let idle = page.iter().map(|key| {
                let mut command = Command::on("OBJECT", key.clone());
                command.args.insert(0, Bytes::from_static(b"IDLETIME"));
                command.into()
            });
            // Before anything else, because looking at a key ends its rest.
            let idle = self.store.flight("doctor", idle.collect()).await?;
            for (registry, idle) in page.into_iter().zip(idle) {
                let idle = idle.ok().and_then(|idle| idle.as_int()).unwrap_or(0);
                let idle = Duration::from_secs(u64::try_from(idle).unwrap_or(0));
                self.write_registry(registry, idle).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn write_registry(&mut self, registry: Bytes, idle: Duration) -> Result<()> {
        let all = Command::on("ZRANGE", registry.clone()).arg("0").arg("-1");
        let members = match self.store.driver.call("doctor", all).await {
            Err(error) => return self.refused(&registry, error),
            Ok(members) => bytes_of(members),
        };
        let age = self.options.orphan_age;
        let is_old = self.rested.is_old(&registry, members.len(), idle, age);
        let mut gone = 0;
        for slice in members.chunks(MEMBERS) {
            let mut args = vec![self.mode()];
            args.extend_from_slice(slice);
            let call = scripts::DOCTOR_WRITES.call(vec![registry.clone()], args);
            gone += self
                .store
                .script("doctor", call)
                .await?
                .as_int()
                .unwrap_or(0);
        }
        if gone > 0 {
            let detail = format!("{gone} of {}", members.len());
            self.found(FindingKind::WritesGone, &registry, detail, self.options.fix);
        }
        // Whose writes these are is told by one of them.
        for member in &members {
            let Some(named) = self.named(member, true).await? else {
                continue;
            };
            let keys = self.store.keys(&named.thread_id, &named.namespace);
            let id = &named.checkpoint_id;
            if keys.write_registry(id) != registry {
                break;
            }
            if is_old {
                let call = scripts::DOCTOR_ORPHAN.call(
                    vec![registry.clone(), keys.document(id), keys.namespaces.clone()],
                    vec![
                        self.mode(),
                        keys.stored.clone(),
                        text(id.as_str()),
                        number(members.len()),
                        keys.writes_of(id),
                    ],
                );
                if self.store.script("doctor", call).await?.as_int() == Some(1) {
                    let kind = FindingKind::WritesWithoutCheckpoint;
                    self.found(kind, &registry, members.len().to_string(), self.options.fix);
                    if !self.options.fix {
                        self.rested.found(registry, members.len());
                    }
                    break;
                }
            }
            let count = members.len().to_string();
            self.shared(&registry, &keys.namespaces, &count, Bytes::new(), &members)
                .await?;
            break;
        }
        Ok(())
    }

    /// Writes: their registry names them.
    pub(super) async fn writes(&mut self) -> Result<()> {
        let family = self.store.keyspace.write_family();
        let mut scan = Scan::new(&family, &self.options.prefix, self.store);
        while let Some(page) = scan.next(self.store).await? {
            self.report.looked_at(page.len());
            let mut steps: Vec<Step> = Vec::new();
            let mut written = Vec::new();
            for (key, named) in self.named_page(page, true).await? {
                let Some(named) = named else { continue };
                let keys = self.store.keys(&named.thread_id, &named.namespace);
                let id = &named.checkpoint_id;
                let Some((_, idx)) = named
                    .task
                    .as_ref()
                    .filter(|_| key.starts_with(&keys.writes_of(id)))
                else {
                    self.misplaced(&key, &named).await?;
                    continue;
                };
                let mut script_keys = vec![
                    key.clone(),
                    keys.write_registry(id),
                    keys.document(id),
                    keys.namespaces.clone(),
                ];
                script_keys.push(shallow_registry(&keys));
                script_keys.extend(shared_registry(&keys, id));
                let args = vec![
                    self.mode(),
                    self.ttl.clone(),
                    keys.stored.clone(),
                    text(id.as_str()),
                    number(idx.max(&0)),
                ];
                steps.push(scripts::DOCTOR_WRITE.call(script_keys, args).into());
                written.push(key);
            }
            self.codes(written, steps).await?;
        }
        Ok(())
    }
}

/// The registry that the Python saver keeps under a custom prefix.
pub(super) fn shared_registry(keys: &NamespaceKeys, id: &CheckpointId) -> Option<Bytes> {
    let start = &keys.shared_write_registries;
    (!start.is_empty()).then(|| Bytes::from([start, id.as_str().as_bytes()].concat()))
}

/// The registry of a namespace's writes in shallow mode.
pub(super) fn shallow_registry(keys: &NamespaceKeys) -> Bytes {
    Bytes::from([&keys.write_registries[..], b"shallow"].concat())
}
