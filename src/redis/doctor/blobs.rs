//! Blobs: their registry names them, and they have the TTL that they should have.

use std::collections::HashMap;

use bytes::Bytes;
use serde_json::Value;

use super::walk::Scan;
use super::{Doctor, FindingKind, MEMBERS};
use crate::error::Result;
use crate::id::{CheckpointNamespace, ThreadId};
use crate::redis::blob::{PATIENCE, Pages};
use crate::redis::driver::{Command, Reply, number};
use crate::redis::keys::{BlobKeys, namespace_from_stored};
use crate::redis::scripts;
use crate::redis::store::Step;
use crate::redis::write::text;

/// What a blob says of itself.
struct Named {
    thread: ThreadId,
    namespace: CheckpointNamespace,
    channel: String,
    version: String,
    is_empty: bool,
}

impl Doctor<'_> {
    /// Blobs, then their registries.
    pub(super) async fn blobs(&mut self) -> Result<()> {
        let [blobs, registries] = self.store.keyspace.blob_families();
        // A thread with a colon has its length in the family's name.
        for family in [format!("{blobs}:"), format!("{blobs}@")] {
            let mut scan = Scan::every(&family);
            while let Some(page) = scan.next(self.store).await? {
                self.blob_page(page).await?;
            }
        }
        let mut scan = Scan::every(&registries);
        while let Some(page) = scan.next(self.store).await? {
            for registry in page {
                let Some((thread, namespace)) = self.store.keyspace.of_blob_registry(&registry)
                else {
                    continue;
                };
                if !thread.as_str().starts_with(&self.options.prefix) {
                    continue;
                }
                self.report.looked_at(1);
                let keys = self.store.keyspace.blobs(&thread, &namespace);
                if let Err(error) = self.blob_registry(&keys).await {
                    self.refused(&registry, error)?;
                }
            }
        }
        Ok(())
    }

    async fn blob_page(&mut self, page: Vec<Bytes>) -> Result<()> {
        let ids = page.iter().map(|key| {
            let paths = ["thread_id", "checkpoint_ns", "channel", "version", "type"];
            let paths = paths.map(|name| Bytes::from(format!("$.{name}")));
            Command::on("JSON.GET", key.clone()).args(paths).into()
        });
        let replies = self.store.flight("doctor", ids.collect()).await?;
        let (mut looked_at, mut steps): (Vec<Bytes>, Vec<Step>) = (Vec::new(), Vec::new());
        for (key, reply) in page.into_iter().zip(replies) {
            let document = match reply {
                Err(error) => {
                    self.refused(&key, error)?;
                    continue;
                }
                Ok(reply) => reply.into_bytes(),
            };
            let Some(named) = document.and_then(|document| parse(&document)) else {
                continue;
            };
            if !named.thread.as_str().starts_with(&self.options.prefix) {
                continue;
            }
            self.report.looked_at(1);
            let keys = self.store.keyspace.blobs(&named.thread, &named.namespace);
            let expected = keys.blob(&named.channel, &named.version);
            if key != expected {
                let nothing = Bytes::from_static(b"[]");
                let call = scripts::DOCTOR_MISPLACED.call(
                    vec![key.clone(), expected.clone()],
                    vec![self.mode(), nothing],
                );
                let state = self.store.script("doctor", call).await?;
                self.moved(FindingKind::DocumentMisplaced, &key, &state);
                if state.as_str() != Some("fixed") {
                    continue;
                }
            }
            let member = BlobKeys::member(&named.channel, &named.version, named.is_empty);
            let args = vec![
                self.mode(),
                self.ttl.clone(),
                text(&member),
                keys.mark.clone(),
            ];
            let script_keys = vec![expected.clone(), keys.registry, keys.namespaces];
            steps.push(scripts::DOCTOR_BLOB.call(script_keys, args).into());
            looked_at.push(expected);
        }
        let replies = self.store.flight("doctor", steps).await?;
        for (key, reply) in looked_at.into_iter().zip(replies) {
            match reply {
                Err(error) => self.refused(&key, error)?,
                Ok(codes) => {
                    for code in codes.into_array() {
                        let kind = match code.as_str() {
                            Some("ttl") => FindingKind::MissingTtl,
                            _ => FindingKind::BlobNotRegistered,
                        };
                        self.found(kind, &key, String::new(), self.options.fix);
                    }
                }
            }
        }
        Ok(())
    }

    async fn blob_registry(&mut self, keys: &BlobKeys) -> Result<()> {
        let fix = self.options.fix;
        let mut gone = 0;
        let mut all = Vec::new();
        let mut pages = Pages::new(keys);
        while let Some(page) = pages.next(self.store).await? {
            for slice in page.chunks(MEMBERS) {
                let mut args = vec![self.mode(), keys.mark.clone(), number(PATIENCE)];
                for member in slice {
                    args.extend([text(member), keys.of_member(member)]);
                }
                let script_keys = vec![keys.registry.clone(), keys.namespaces.clone()];
                let call = scripts::DOCTOR_BLOBS.call(script_keys, args);
                let reply = self.store.script("doctor", call).await?.into_array();
                if reply.first().and_then(Reply::as_int) == Some(1) {
                    let detail = "it does not say that there are blobs".to_owned();
                    self.found(FindingKind::NamespaceWrong, &keys.namespaces, detail, fix);
                }
                gone += reply.len().saturating_sub(1);
            }
            all.extend(page.iter().map(|member| keys.of_member(member)));
        }
        if gone > 0 {
            let detail = format!("{gone} of {}", all.len());
            self.found(FindingKind::BlobsGone, &keys.registry, detail, fix);
        }
        let size = Command::on("ZCARD", keys.registry.clone());
        let size = self.store.driver.call("doctor", size).await?;
        let size = size.as_int().unwrap_or(0).to_string();
        let (registry, namespaces) = (&keys.registry, &keys.namespaces);
        self.shared(registry, namespaces, &size, Bytes::new(), &all)
            .await
    }
}

fn parse(document: &[u8]) -> Option<Named> {
    let fields: HashMap<String, Vec<Value>> = serde_json::from_slice(document).ok()?;
    let text = |name: &str| fields.get(name)?.first()?.as_str();
    Some(Named {
        thread: ThreadId::new(text("$.thread_id")?).ok()?,
        namespace: namespace_from_stored(text("$.checkpoint_ns")?).ok()?,
        channel: text("$.channel")?.to_owned(),
        version: text("$.version")?.to_owned(),
        is_empty: text("$.type") == Some("empty"),
    })
}
