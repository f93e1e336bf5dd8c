//! Documents: they are where their ids say, can be read, and their registry names them.

use bytes::Bytes;

use super::named::{Holds, Named, Rest};
use super::report::FindingKind;
use super::run::Doctor;
use crate::error::Result;
use crate::id::CheckpointId;
use crate::redis::args::text;
use crate::redis::keys::NamespaceKeys;
use crate::redis::scripts;

impl Doctor<'_> {
    /// Documents: they are where their ids say, and their registry names them.
    pub(super) async fn documents(&mut self) -> Result<()> {
        let family = self.store.keyspace.document_family();
        let mut scan = self.scan(&family);
        while let Some(page) = scan.next(self.store).await? {
            self.report.looked_at(page.len());
            let mut steps = Vec::new();
            let mut documents = Vec::new();
            let looked = self.look_at(page, Holds::Checkpoints).await?;
            let named = looked.iter().filter(|looked| looked.ids.is_ok());
            let keys: Vec<_> = named.map(|looked| looked.key.clone()).collect();
            self.compare(&keys, Holds::Checkpoints).await?;
            for looked in looked {
                let named = match &looked.ids {
                    Ok(named) => named,
                    Err(lacks) => {
                        self.without_ids(&looked.key, lacks).await?;
                        continue;
                    }
                };
                let keys = self.store.keys(&named.thread_id, &named.namespace);
                let Some(id) = named.checkpoint() else {
                    continue;
                };
                if looked.key != keys.document(id) {
                    if keys
                        .shallow_documents()
                        .any(|document| document == looked.key)
                    {
                        self.report_unreadable(&looked);
                    } else {
                        self.misplaced(&looked.key, named);
                    }
                    continue;
                }
                self.report_unreadable(&looked);
                steps.push(self.document_call(&keys, id, &named.says).into());
                documents.push((looked.key, keys.namespaces));
            }
            self.codes(documents, steps, FindingKind::CheckpointNotRegistered)
                .await?;
        }
        Ok(())
    }

    fn document_call(
        &self,
        keys: &NamespaceKeys,
        id: &CheckpointId,
        says: &Bytes,
    ) -> scripts::OneSlot {
        let mut script_keys = vec![
            keys.document(id),
            keys.registry.clone(),
            keys.namespaces.clone(),
            keys.write_registry(id),
        ];
        script_keys.extend(keys.shared_write_registry(id));
        let args = vec![
            self.mode(),
            self.ttl.clone(),
            keys.stored.clone(),
            text(id.as_str()),
            says.clone(),
        ];
        scripts::DOCTOR_DOCUMENT.call(script_keys, args)
    }

    /// A document that lacks ids is another application's, or damaged; only the bare flag of the
    /// Python saver is known for what it is.
    async fn without_ids(&mut self, key: &Bytes, lacks: &str) -> Result<()> {
        let mut is_flag = false;
        if self.store.keyspace.is_document(key) {
            let call = scripts::DOCTOR_FLAG.call(vec![key.clone()], vec![self.mode()]);
            is_flag = self.store.script("doctor", call).await?.as_int() == Some(1);
        }
        let kind = FindingKind::DocumentWithoutIds;
        let fixed = is_flag && self.options.fix;
        self.found(kind, key, lacks.to_owned(), fixed);
        Ok(())
    }

    /// Reports a document that is not where its ids say.
    pub(super) fn misplaced(&mut self, key: &Bytes, named: &Named) {
        let expected = |keys: &NamespaceKeys| match &named.rest {
            Rest::Checkpoint(id) => keys.document(id),
            Rest::Write(id, task, idx) => keys.write(id, task, *idx),
            Rest::Blob { .. } => Bytes::new(),
        };
        let untagged = self.store.keyspace.untagged().is_some_and(|keyspace| {
            let thread = keyspace.thread(&named.thread_id);
            expected(&thread.namespace(&named.namespace)) == key
        });
        if untagged {
            let thread = text(named.thread_id.as_str());
            self.found_once(FindingKind::NotTagged, key, &thread);
            return;
        }
        let keys = self.store.keys(&named.thread_id, &named.namespace);
        let expected = match &named.rest {
            Rest::Blob {
                channel, version, ..
            } => {
                let (thread, namespace) = (&named.thread_id, &named.namespace);
                let keys = self.store.keyspace.blobs(thread, namespace);
                keys.blob(channel, version)
            }
            _ => expected(&keys),
        };
        let detail = format!("they name {}", String::from_utf8_lossy(&expected));
        self.found(FindingKind::DocumentMisplaced, key, detail, false);
    }
}
