//! Registries of checkpoints with their pointers.

use bytes::Bytes;

use super::report::FindingKind;
use super::run::{Doctor, MEMBERS, every};
use crate::codec::RawJson;
use crate::error::{Error, Result};
use crate::id::ThreadId;
use crate::redis::args::number;
use crate::redis::driver::{Command, Reply};
use crate::redis::keys::NamespaceKeys;
use crate::redis::scan::Members;
use crate::redis::scripts::{self, Step, UnregisterCall};

/// A registry whose pages are walked.
struct Registry {
    keys: NamespaceKeys,
    /// What the documents say at `$.thread_id`.
    says: Bytes,
    /// Behind which id the next page starts; `None` after the last.
    lower: Option<Bytes>,
    /// The last id whose document is there.
    newest: Bytes,
}

impl Doctor<'_> {
    /// Registries of checkpoints, with their pointers.
    pub(super) async fn registries(&mut self) -> Result<()> {
        let family = self.store.keyspace.registry_family();
        let mut scan = every(&family);
        while let Some(page) = scan.next(self.store).await? {
            let mut registries = Vec::with_capacity(page.len());
            for key in page {
                let Some((thread, namespace)) = self.store.keyspace.of_registry(&key) else {
                    continue;
                };
                if thread.as_str().starts_with(&self.options.prefix) {
                    let keys = self.store.keys(&thread, &namespace);
                    registries.push(Registry::new(keys, &thread)?);
                }
            }
            self.report.looked_at(registries.len());
            self.registry_page(registries).await?;
        }
        Ok(())
    }

    /// Looks at many registries, of which most are done in one page.
    async fn registry_page(&mut self, registries: Vec<Registry>) -> Result<()> {
        let pages = registries.iter().map(Self::page_call);
        let replies = self.store.pipeline("doctor", pages.collect()).await?;
        let mut walked = Vec::with_capacity(registries.len());
        for (mut registry, reply) in registries.into_iter().zip(replies) {
            match self.rest_of(&mut registry, reply).await {
                Err(error) => self.refused(&registry.keys.registry, error)?,
                Ok(true) => walked.push(registry),
                Ok(false) => {}
            }
        }
        let steps = walked.iter().map(|registry| {
            let keys = &registry.keys;
            let script_keys = vec![
                keys.registry.clone(),
                keys.pointer.clone(),
                keys.namespaces.clone(),
            ];
            let args = vec![
                self.mode(),
                keys.documents.clone(),
                keys.stored.clone(),
                registry.says.clone(),
                registry.newest.clone(),
                self.ttl.clone(),
            ];
            scripts::DOCTOR_NEWEST.call(script_keys, args).into()
        });
        let replies = self.store.pipeline("doctor", steps.collect()).await?;
        let mut sound = Vec::with_capacity(walked.len());
        for (registry, reply) in walked.into_iter().zip(replies) {
            match reply {
                Err(error) => self.refused(&registry.keys.registry, error)?,
                Ok(codes) => {
                    self.report_newest(&registry.keys, codes);
                    sound.push(registry);
                }
            }
        }
        self.shared_ttls(sound).await
    }

    fn page_call(registry: &Registry) -> Step {
        let keys = &registry.keys;
        let args = vec![
            keys.documents.clone(),
            registry.says.clone(),
            registry.lower.clone().unwrap_or_default(),
            number(MEMBERS),
        ];
        let script_keys = vec![keys.registry.clone()];
        scripts::DOCTOR_REGISTRY.call(script_keys, args).into()
    }

    /// Walks the rest of a registry whose first page was asked for. Whether it is one of ours.
    async fn rest_of(&mut self, registry: &mut Registry, first: Result<Reply>) -> Result<bool> {
        let mut reply = first?;
        let (key, fix) = (registry.keys.registry.clone(), self.options.fix);
        let mut foreign = Vec::new();
        loop {
            let mut parts = reply.into_array().into_iter();
            let count = parts.next().and_then(|count| count.as_int()).unwrap_or(0);
            if count < 0 {
                self.found(FindingKind::Foreign, &key, String::new(), false);
                return Ok(false);
            }
            let mut next = || parts.next().and_then(Reply::into_bytes);
            let last = next().unwrap_or_default();
            let newest = next().unwrap_or_default();
            if !newest.is_empty() {
                registry.newest = newest;
            }
            let (mut gone, mut ids) = (Vec::new(), Vec::new());
            while let Some(id) = next() {
                if let Ok(text) = std::str::from_utf8(&id) {
                    gone.push(text.to_owned());
                    ids.push(id);
                } else {
                    foreign.push(id);
                }
            }
            if fix && !gone.is_empty() {
                let call = UnregisterCall {
                    registry: key.clone(),
                    documents: registry.keys.documents.clone(),
                    ids,
                };
                self.store.script("doctor", call).await?;
            }
            for id in gone {
                self.found(FindingKind::CheckpointGone, &key, id, fix);
            }
            let is_last = usize::try_from(count).unwrap_or(0) < MEMBERS;
            registry.lower = (!is_last).then(|| Bytes::from([b"(", &last[..]].concat()));
            if is_last {
                break;
            }
            let step = vec![Self::page_call(registry)];
            let replies = self.store.pipeline("doctor", step).await?;
            reply = replies.into_iter().next().unwrap_or(Err(Error::Closed))?;
        }
        self.report_foreign(&key, &foreign);
        Ok(true)
    }

    fn report_newest(&mut self, keys: &NamespaceKeys, codes: Reply) {
        let fix = self.options.fix;
        for code in codes.into_array() {
            let (kind, key, detail) = match code.as_str() {
                Some("nothing") => (FindingKind::PointerToNothing, &keys.pointer, String::new()),
                Some("old") => (FindingKind::PointerNotNewest, &keys.pointer, String::new()),
                Some("foreign") => {
                    self.found(FindingKind::Foreign, &keys.pointer, String::new(), false);
                    continue;
                }
                Some("unsure") => {
                    let set = &keys.namespaces;
                    self.found_once(FindingKind::PinUnknown, set, set);
                    continue;
                }
                _ => {
                    let lacks = String::from_utf8_lossy(&keys.stored);
                    let detail = format!("it lacks {lacks}");
                    (FindingKind::NamespaceWrong, &keys.namespaces, detail)
                }
            };
            self.found(kind, key, detail, fix);
        }
    }

    /// Registries and pointers that outlive what they stand for.
    async fn shared_ttls(&mut self, registries: Vec<Registry>) -> Result<()> {
        let steps = registries.iter().flat_map(|registry| {
            let keys = &registry.keys;
            let newest = Bytes::from([&keys.documents[..], &registry.newest].concat());
            [keys.registry.clone(), keys.pointer.clone(), newest]
                .map(|key| Command::on("PTTL", key).into())
        });
        let replies = self.store.pipeline("doctor", steps.collect()).await?;
        let mut left = replies
            .into_iter()
            .map(|reply| reply.map(|left| left.as_int()));
        let mut next = || left.next().unwrap_or(Err(Error::Closed));
        for registry in registries {
            let (of_registry, of_pointer, of_newest) = (next()?, next()?, next()?);
            // Most often the newest has none either.
            if of_newest == Some(-1) {
                continue;
            }
            let keys = &registry.keys;
            if of_registry == Some(-1)
                && let Err(error) = self.registry_outlives(keys).await
            {
                self.refused(&keys.registry, error)?;
            }
            if of_pointer == Some(-1) {
                let (pointer, set) = (&keys.pointer, &keys.namespaces);
                let outlives = self.pointer_outlives(pointer, set, &keys.documents).await;
                if let Err(error) = outlives {
                    self.refused(pointer, error)?;
                }
            }
        }
        Ok(())
    }

    async fn registry_outlives(&mut self, keys: &NamespaceKeys) -> Result<()> {
        let names = |id: &[u8]| {
            let document = || Bytes::from([&keys.documents[..], id].concat());
            (!id.is_empty()).then(document)
        };
        let members = || Members::of_sorted_set("doctor", &keys.registry);
        let lasting = self.outlives(&keys.registry, members(), names).await?;
        if let Some(lasting) = lasting {
            let (registry, set) = (&keys.registry, &keys.namespaces);
            self.shorten(registry, set, lasting, members(), names)
                .await?;
        }
        Ok(())
    }

    /// Pointers that no registry stands behind.
    pub(super) async fn pointers(&mut self) -> Result<()> {
        let family = self.store.keyspace.pointer_family();
        let mut scan = self.scan(&family);
        while let Some(mut page) = scan.next(self.store).await? {
            let keyspace = &self.store.keyspace;
            let documents = |pointer: &Bytes| keyspace.documents_of_pointer(pointer);
            // What others keep without tags is in other slots than what it names.
            page.retain(|pointer| !keyspace.tags_threads() || documents(pointer).is_some());
            self.report.looked_at(page.len());
            let steps = page.iter().map(|pointer| {
                let mut keys = vec![pointer.clone()];
                keys.extend(keyspace.registries_of_pointer(pointer));
                let documents = documents(pointer).unwrap_or_default();
                let args = vec![self.mode(), documents];
                scripts::DOCTOR_POINTER.call(keys, args).into()
            });
            let replies = self.store.pipeline("doctor", steps.collect()).await?;
            for (pointer, reply) in page.into_iter().zip(replies) {
                match reply.map(|reply| reply.as_int()) {
                    Err(error) => self.refused(&pointer, error)?,
                    Ok(Some(1)) => {
                        let kind = FindingKind::PointerToNothing;
                        self.found(kind, &pointer, String::new(), self.options.fix);
                    }
                    Ok(Some(2)) => {
                        self.found(FindingKind::Foreign, &pointer, String::new(), false);
                    }
                    Ok(_) => {}
                }
            }
        }
        Ok(())
    }
}

impl Registry {
    fn new(keys: NamespaceKeys, thread: &ThreadId) -> Result<Self> {
        Ok(Self {
            keys,
            says: RawJson::encode(&[thread.as_str()])?.bytes().clone(),
            lower: Some(Bytes::from_static(b"(")),
            newest: Bytes::new(),
        })
    }
}
