//! Blobs: their registry names them, they can be read, and they have the TTL that they should have.

use bytes::Bytes;

use super::named::{Holds, Rest};
use super::report::FindingKind;
use super::run::{Doctor, MEMBERS, every};
use crate::error::Result;
use crate::redis::args::{number, text};
use crate::redis::blobs::PATIENCE;
use crate::redis::driver::Reply;
use crate::redis::keys::BlobKeys;
use crate::redis::scan::Members;
use crate::redis::scripts::{self, Step};

impl Doctor<'_> {
    /// Blobs, then their registries.
    pub(super) async fn blobs(&mut self) -> Result<()> {
        let [blobs, registries] = self.store.keyspace.blob_families();
        // A thread with a colon has its length in the family's name.
        for family in [format!("{blobs}:"), format!("{blobs}@")] {
            let mut scan = every(&family);
            while let Some(page) = scan.next(self.store).await? {
                self.blob_page(page).await?;
            }
        }
        let mut scan = every(&registries);
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
        let (mut blobs, mut steps): (Vec<_>, Vec<Step>) = (Vec::new(), Vec::new());
        for looked in self.look_at(page, Holds::Blobs).await? {
            let named = match &looked.ids {
                Ok(named) if named.thread_id.as_str().starts_with(&self.options.prefix) => named,
                Ok(_) => continue,
                Err(lacks) => {
                    if self.options.prefix.is_empty() {
                        let kind = FindingKind::DocumentWithoutIds;
                        self.report.looked_at(1);
                        self.found(kind, &looked.key, lacks.clone(), false);
                    }
                    continue;
                }
            };
            self.report.looked_at(1);
            let Rest::Blob {
                channel,
                version,
                is_empty,
            } = &named.rest
            else {
                continue;
            };
            let (thread, namespace) = (&named.thread_id, &named.namespace);
            let keys = self.store.keyspace.blobs(thread, namespace);
            if looked.key != keys.blob(channel, version) {
                self.misplaced(&looked.key, named);
                continue;
            }
            self.report_unreadable(&looked);
            let member = BlobKeys::member(channel, version, *is_empty);
            let args = vec![
                self.mode(),
                self.ttl.clone(),
                text(&member),
                keys.mark.clone(),
            ];
            let namespaces = keys.namespaces.clone();
            let script_keys = vec![looked.key.clone(), keys.registry, keys.namespaces];
            steps.push(scripts::DOCTOR_BLOB.call(script_keys, args).into());
            blobs.push((looked.key, namespaces));
        }
        self.codes(blobs, steps, FindingKind::BlobNotRegistered)
            .await
    }

    async fn blob_registry(&mut self, keys: &BlobKeys) -> Result<()> {
        let fix = self.options.fix;
        let (mut gone, mut count, mut foreign) = (0, 0, Vec::new());
        let mut members = Members::of_sorted_set("doctor", &keys.registry);
        while let Some(page) = members.next(self.store).await? {
            count += page.len();
            let (named, not): (Vec<_>, Vec<_>) = page
                .into_iter()
                .partition(|member| std::str::from_utf8(member).is_ok());
            foreign.extend(not);
            for slice in named.chunks(MEMBERS) {
                let mut args = vec![
                    self.mode(),
                    self.ttl.clone(),
                    keys.mark.clone(),
                    number(PATIENCE),
                ];
                for member in slice {
                    args.extend([member.clone(), blob_of(keys, member)]);
                }
                let script_keys = vec![keys.registry.clone(), keys.namespaces.clone()];
                let call = scripts::DOCTOR_BLOBS.call(script_keys, args);
                let reply = self.store.script("doctor", call).await?.into_array();
                let set = &keys.namespaces;
                match reply.first().and_then(Reply::as_int) {
                    Some(1) => {
                        let detail = "it does not say that there are blobs".to_owned();
                        self.found(FindingKind::NamespaceWrong, set, detail, fix);
                    }
                    Some(2) => self.found_once(FindingKind::PinUnknown, set, set),
                    _ => {}
                }
                gone += reply.len().saturating_sub(1);
            }
        }
        self.report_foreign(&keys.registry, &foreign);
        if gone > 0 {
            let detail = format!("{gone} of {count}");
            self.found(FindingKind::BlobsGone, &keys.registry, detail, fix);
        }
        let names = |member: &[u8]| Some(blob_of(keys, member));
        let members = || Members::of_sorted_set("doctor", &keys.registry);
        let lasting = self.outlives(&keys.registry, members(), names).await?;
        if let Some(lasting) = lasting {
            let (registry, set) = (&keys.registry, &keys.namespaces);
            self.shorten(registry, set, lasting, members(), names)
                .await?;
        }
        Ok(())
    }
}

/// The blob that a member of the registry names.
fn blob_of(keys: &BlobKeys, member: &[u8]) -> Bytes {
    let end = member.strip_suffix(b":").unwrap_or(member);
    Bytes::from([&keys.blobs[..], end].concat())
}
