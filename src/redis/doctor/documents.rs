//! Documents: they are where their ids say, and their registry names them.

use bytes::Bytes;

use super::named::Named;
use super::walk::Scan;
use super::writes::shared_registry;
use super::{Doctor, FindingKind};
use crate::codec::RawJson;
use crate::error::Result;
use crate::id::CheckpointId;
use crate::redis::driver::Reply;
use crate::redis::keys::NamespaceKeys;
use crate::redis::scripts;
use crate::redis::write::text;

impl Doctor<'_> {
    /// Documents: they are where their ids say, and their registry names them.
    pub(super) async fn documents(&mut self) -> Result<()> {
        let family = self.store.keyspace.document_family();
        let mut scan = Scan::new(&family, &self.options.prefix, self.store);
        while let Some(page) = scan.next(self.store).await? {
            self.report.looked_at(page.len());
            let mut steps = Vec::new();
            let mut documents = Vec::new();
            for (key, named) in self.named_page(page, false).await? {
                let Some(named) = named else {
                    let call = scripts::DOCTOR_MISPLACED.call(
                        vec![key.clone()],
                        vec![self.mode(), Bytes::from_static(b"[]")],
                    );
                    let state = self.store.script("doctor", call).await?;
                    self.moved(FindingKind::DocumentWithoutIds, &key, &state);
                    continue;
                };
                let keys = self.store.keys(&named.thread_id, &named.namespace);
                let expected = keys.document(&named.checkpoint_id);
                if key != expected
                    && (is_shallow(&keys, &key) || !self.misplaced(&key, &named).await?)
                {
                    continue;
                }
                steps.push(self.document_call(&keys, &named.checkpoint_id).into());
                documents.push(expected);
            }
            self.codes(documents, steps).await?;
        }
        Ok(())
    }

    pub(super) fn document_call(
        &self,
        keys: &NamespaceKeys,
        id: &CheckpointId,
    ) -> scripts::ScriptCall {
        let mut script_keys = vec![
            keys.document(id),
            keys.registry.clone(),
            keys.namespaces.clone(),
            keys.write_registry(id),
        ];
        script_keys.extend(shared_registry(keys, id));
        let args = vec![
            self.mode(),
            self.ttl.clone(),
            keys.stored.clone(),
            text(id.as_str()),
        ];
        scripts::DOCTOR_DOCUMENT.call(script_keys, args)
    }

    /// Moves what is not where its ids say. Whether it is where they say now.
    pub(super) async fn misplaced(&mut self, key: &Bytes, named: &Named) -> Result<bool> {
        let keys = self.store.keys(&named.thread_id, &named.namespace);
        let id = &named.checkpoint_id;
        let expected = match &named.task {
            Some((task, idx)) => keys.write(id, task, *idx),
            None => keys.document(id),
        };
        let says = RawJson::encode(&[id.as_str()])?.bytes().clone();
        let call =
            scripts::DOCTOR_MISPLACED.call(vec![key.clone(), expected], vec![self.mode(), says]);
        let state = self.store.script("doctor", call).await?;
        self.moved(FindingKind::DocumentMisplaced, key, &state);
        Ok(state.as_str() == Some("fixed"))
    }

    pub(super) fn moved(&mut self, kind: FindingKind, key: &[u8], state: &Reply) {
        match state.as_str() {
            Some("found") => self.found(kind, key, String::new(), false),
            Some("fixed") => self.found(kind, key, String::new(), true),
            Some("taken") => {
                let why = "another document is where it belongs".to_owned();
                self.found(kind, key, why, false);
            }
            _ => {}
        }
    }
}

/// Whether a key is that of a namespace's document in shallow mode: without an id.
pub(super) fn is_shallow(keys: &NamespaceKeys, key: &[u8]) -> bool {
    let stored = &keys.documents[..keys.documents.len().saturating_sub(1)];
    let root = stored.strip_suffix(b"__empty__");
    key == stored || root.is_some_and(|root| key == root)
}
