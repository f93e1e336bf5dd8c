//! Sets of namespaces: what they name is there.

use bytes::Bytes;

use super::walk::Scan;
use super::{Doctor, FindingKind, MEMBERS, bytes_of};
use crate::error::Result;
use crate::id::ThreadId;
use crate::redis::driver::Command;
use crate::redis::keys::Member;
use crate::redis::scripts;

impl Doctor<'_> {
    /// Sets of namespaces: what they name is there.
    pub(super) async fn namespaces(&mut self) -> Result<()> {
        let family = self.store.keyspace.namespaces_family();
        let mut scan = Scan::new(&family, &self.options.prefix, self.store);
        while let Some(page) = scan.next(self.store).await? {
            self.report.looked_at(page.len());
            for key in page {
                let Some(thread) = self.store.keyspace.of_namespaces(&key) else {
                    continue;
                };
                if let Err(error) = self.namespaces_of(&key, &thread).await {
                    self.refused(&key, error)?;
                }
            }
        }
        Ok(())
    }

    pub(super) async fn namespaces_of(&mut self, key: &Bytes, thread: &ThreadId) -> Result<()> {
        let all = Command::on("SMEMBERS", key.clone());
        let members = bytes_of(self.store.driver.call("doctor", all).await?);
        let mut named = Vec::new();
        let mut triples = Vec::new();
        let mut pinned = None;
        for member in &members {
            let parsed = std::str::from_utf8(member).ok().and_then(Member::parse);
            let (stored, registry) = match parsed {
                Some(Member::Namespace(namespace)) => {
                    let keys = self.store.keys(thread, &namespace);
                    (keys.stored, keys.registry)
                }
                Some(Member::Writes(namespace, id)) => {
                    let keys = self.store.keys(thread, &namespace);
                    let registry = keys.write_registry(&id);
                    (keys.stored, registry)
                }
                Some(Member::Blobs(namespace)) => {
                    let keys = self.store.keyspace.blobs(thread, &namespace);
                    named.push(keys.registry.clone());
                    triples.push([member.clone(), member.clone(), keys.registry]);
                    continue;
                }
                Some(Member::Pinned) => {
                    pinned = Some([member.clone(), Bytes::new(), Bytes::new()]);
                    continue;
                }
                // What another saver put there is its own.
                _ => continue,
            };
            named.push(registry.clone());
            // The marks of writes first: a namespace may be listed for them alone.
            let triple = [member.clone(), stored, registry];
            if member.starts_with(b"\0") {
                triples.insert(0, triple);
            } else {
                triples.push(triple);
            }
        }
        triples.extend(pinned);
        for slice in triples.chunks(MEMBERS) {
            let mut args = vec![self.mode()];
            args.extend(slice.iter().flatten().cloned());
            let call = scripts::DOCTOR_NAMESPACES.call(vec![key.clone()], args);
            for member in bytes_of(self.store.script("doctor", call).await?) {
                let member = String::from_utf8_lossy(&member).into_owned();
                self.found(FindingKind::NamespaceWrong, key, member, self.options.fix);
            }
        }
        let count = members.len().to_string();
        self.shared(key, key, &count, Bytes::new(), &named).await
    }
}
