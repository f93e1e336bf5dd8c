//! Registries of checkpoints with their pointers.

use bytes::Bytes;

use super::walk::Scan;
use super::{Doctor, FindingKind, MEMBERS, MOST_SHARED, bytes_of};
use crate::codec::RawJson;
use crate::error::Result;
use crate::id::ThreadId;
use crate::redis::driver::{Command, Reply, number};
use crate::redis::keys::NamespaceKeys;
use crate::redis::scripts;

impl Doctor<'_> {
    /// Registries of checkpoints, with their pointers.
    pub(super) async fn registries(&mut self) -> Result<()> {
        let family = self.store.keyspace.registry_family();
        let mut scan = Scan::every(&family);
        while let Some(page) = scan.next(self.store).await? {
            for registry in page {
                let Some((thread, namespace)) = self.store.keyspace.of_registry(&registry) else {
                    continue;
                };
                if !thread.as_str().starts_with(&self.options.prefix) {
                    continue;
                }
                self.report.looked_at(1);
                let keys = self.store.keys(&thread, &namespace);
                if let Err(error) = self.registry(&keys, &thread).await {
                    self.refused(&registry, error)?;
                }
            }
        }
        Ok(())
    }

    pub(super) async fn registry(&mut self, keys: &NamespaceKeys, thread: &ThreadId) -> Result<()> {
        let fix = self.options.fix;
        let says = RawJson::encode(&[thread.as_str()])?.bytes().clone();
        let mut lower = Bytes::from_static(b"(");
        let mut ids = Vec::new();
        loop {
            let call = scripts::DOCTOR_REGISTRY.call(
                vec![
                    keys.registry.clone(),
                    keys.pointer.clone(),
                    keys.namespaces.clone(),
                ],
                vec![
                    self.mode(),
                    keys.documents.clone(),
                    keys.stored.clone(),
                    says.clone(),
                    lower.clone(),
                    number(MEMBERS),
                ],
            );
            let mut parts = self
                .store
                .script("doctor", call)
                .await?
                .into_array()
                .into_iter();
            let count = parts.next().and_then(|count| count.as_int()).unwrap_or(0);
            let last = parts.next().and_then(Reply::into_bytes).unwrap_or_default();
            while let Some(code) = parts.next() {
                match code.as_str() {
                    Some("pointer_nothing") => {
                        self.found(
                            FindingKind::PointerToNothing,
                            &keys.pointer,
                            String::new(),
                            fix,
                        );
                    }
                    Some("pointer_old") => {
                        self.found(
                            FindingKind::PointerNotNewest,
                            &keys.pointer,
                            String::new(),
                            fix,
                        );
                    }
                    Some("unlisted") => {
                        let detail = format!("it lacks {}", String::from_utf8_lossy(&keys.stored));
                        self.found(FindingKind::NamespaceWrong, &keys.namespaces, detail, fix);
                    }
                    _ => {
                        let id = parts.next().and_then(Reply::into_bytes).unwrap_or_default();
                        let id = String::from_utf8_lossy(&id).into_owned();
                        self.found(FindingKind::CheckpointGone, &keys.registry, id, fix);
                    }
                }
            }
            if usize::try_from(count).unwrap_or(0) < MEMBERS {
                break;
            }
            lower = Bytes::from([b"(", &last[..]].concat());
        }
        if self.time_left(&keys.registry).await? == -1 {
            let size = Command::on("ZCARD", keys.registry.clone());
            let size = self
                .store
                .driver
                .call("doctor", size)
                .await?
                .as_int()
                .unwrap_or(0);
            if usize::try_from(size).unwrap_or(0) <= MOST_SHARED {
                let all = Command::on("ZRANGEBYLEX", keys.registry.clone())
                    .arg("(")
                    .arg("+");
                ids = bytes_of(self.store.driver.call("doctor", all).await?);
            }
            let size = size.to_string();
            self.shared(
                &keys.registry,
                &keys.namespaces,
                &size,
                keys.documents.clone(),
                &ids,
            )
            .await?;
        }
        if self.time_left(&keys.pointer).await? == -1 {
            let get = Command::on("GET", keys.pointer.clone());
            if let Some(target) = self.store.driver.call("doctor", get).await?.into_bytes() {
                self.shared(&keys.pointer, &keys.namespaces, "", Bytes::new(), &[target])
                    .await?;
            }
        }
        Ok(())
    }

    /// Pointers that no registry stands behind.
    pub(super) async fn pointers(&mut self) -> Result<()> {
        let family = self.store.keyspace.pointer_family();
        let mut scan = Scan::new(&family, &self.options.prefix, self.store);
        while let Some(page) = scan.next(self.store).await? {
            self.report.looked_at(page.len());
            let steps = page.iter().map(|pointer| {
                let mut keys = vec![pointer.clone()];
                keys.extend(self.store.keyspace.registries_of_pointer(pointer));
                scripts::DOCTOR_POINTER.call(keys, vec![self.mode()]).into()
            });
            let replies = self.store.flight("doctor", steps.collect()).await?;
            for (pointer, reply) in page.into_iter().zip(replies) {
                match reply {
                    Err(error) => self.refused(&pointer, error)?,
                    Ok(reply) if reply.as_int() == Some(1) => {
                        let kind = FindingKind::PointerToNothing;
                        self.found(kind, &pointer, String::new(), self.options.fix);
                    }
                    Ok(_) => {}
                }
            }
        }
        Ok(())
    }
}
