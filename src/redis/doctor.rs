//! `doctor`: looks at every key, says what is wrong, and puts it right when asked.
//!
//! The keys of each family are walked with SCAN in pages, the one call that does so. Whether
//! something is wrong is decided by a small script for each key, which looks at all that belongs
//! to it at once and, when asked, puts it right in the same step: what other callers do meanwhile
//! is never taken for a fault and never undone. What one family lacks is put right before those
//! that depend on it are looked at: writes, documents, registries, blobs, sets of namespaces,
//! pointers.

mod blobs;
mod report;
pub(crate) mod rest;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

pub use report::{DoctorOptions, DoctorReport, Finding, FindingKind};
use rest::Rested;

use super::RedisSaver;
use super::driver::{Command, Node, Reply, number};
use super::index::IndexProblem;
use super::keys::{Member, NamespaceKeys, namespace_from_stored};
use super::scripts;
use super::store::{Step, Store, milliseconds};
use super::write::text;
use crate::codec::RawJson;
use crate::error::{Error, Result};
use crate::id::{CheckpointId, CheckpointNamespace, TaskId, ThreadId};

/// How many keys are asked for at once.
const PAGE: usize = 500;
/// How many members of a registry one script looks at.
const MEMBERS: usize = 200;
/// A shared key that stands for more than this is not given a TTL: one script would have to look
/// at all of it.
const MOST_SHARED: usize = 5_000;

impl RedisSaver {
    /// Looks at every key of the saver's prefixes, says what is wrong, and puts it right if the
    /// options say so. See [`FindingKind`] for what that is.
    ///
    /// Each repair is one atomic step that checks again what is wrong, so that it is safe while
    /// others read and write, and the call may be dropped and repeated. Memory is bounded by a
    /// page of keys and by what is found. Unlike every other call it walks the whole keyspace.
    /// What has expired leaves traces that are found as well
    /// ([`CheckpointGone`](FindingKind::CheckpointGone) and the like) and do no harm.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for a TTL that cannot be one, [`Error::Config`] on a cluster unless the
    /// saver is built with [`hash_tag_threads`](super::RedisSaverBuilder::hash_tag_threads),
    /// [`Error::Permission`] on a server that takes no scripts, and what the store may say; the call
    /// may be repeated.
    ///
    /// ```no_run
    /// use langgraph_checkpoint_redis::RedisSaver;
    /// use langgraph_checkpoint_redis::redis::DoctorOptions;
    ///
    /// # async fn run() -> langgraph_checkpoint_redis::Result<()> {
    /// let saver = RedisSaver::connect("redis://localhost:6379").await?;
    /// println!("{}", saver.doctor(&DoctorOptions::default()).await?);
    /// saver.doctor(&DoctorOptions::default().fixing()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn doctor(&self, options: &DoctorOptions) -> Result<DoctorReport> {
        self.doctor_again(options, &mut Rested::default()).await
    }

    /// The same after others, whose looking made nothing young.
    pub(crate) async fn doctor_again(
        &self,
        options: &DoctorOptions,
        rested: &mut Rested,
    ) -> Result<DoctorReport> {
        let store = &self.0;
        if store.driver.is_cluster() && !store.settings.hash_tag_threads {
            return Err(Error::Config {
                key: "hash_tag_threads".to_owned(),
                reason: "in a cluster the doctor can only look at threads whose keys share a slot"
                    .to_owned(),
            });
        }
        let mut doctor = Doctor {
            store,
            options,
            ttl: milliseconds(options.expect_ttl.resolve(store.settings.ttl.default)?),
            report: DoctorReport::default(),
            rested,
        };
        doctor.indexes().await?;
        doctor.write_registries().await?;
        doctor.writes().await?;
        doctor.documents().await?;
        doctor.registries().await?;
        doctor.blobs().await?;
        doctor.namespaces().await?;
        doctor.pointers().await?;
        doctor.rested.look_is_over();
        Ok(doctor.report)
    }
}

struct Doctor<'a> {
    store: &'a Store,
    options: &'a DoctorOptions,
    /// The TTL that documents and writes should have.
    ttl: Bytes,
    report: DoctorReport,
    rested: &'a mut Rested,
}

/// The ids that a document names itself by.
struct Named {
    thread_id: ThreadId,
    namespace: CheckpointNamespace,
    checkpoint_id: CheckpointId,
    /// For a write: its task and index.
    task: Option<(TaskId, i64)>,
}

impl Doctor<'_> {
    async fn indexes(&mut self) -> Result<()> {
        let keyspace = &self.store.keyspace;
        if !self.store.searches_all().await? {
            return Ok(());
        }
        for index in [keyspace.checkpoint_prefix(), keyspace.write_prefix()] {
            let (kind, detail) = match self.store.index_problem(index).await? {
                None => continue,
                Some(IndexProblem::Missing) => (FindingKind::IndexMissing, String::new()),
                Some(IndexProblem::Busy) => (FindingKind::IndexBusy, String::new()),
                Some(IndexProblem::Differs(how)) => (FindingKind::IndexDiffers, how),
            };
            let fix = match kind {
                FindingKind::IndexMissing => self.options.fix,
                FindingKind::IndexDiffers => self.options.fix && self.options.rebuild_indexes,
                _ => false,
            };
            if fix {
                self.store.rebuild_index(index).await?;
            }
            self.found(kind, index.as_bytes(), detail, fix);
        }
        Ok(())
    }

    /// Registries of writes: what they name is there, and their checkpoint comes.
    async fn write_registries(&mut self) -> Result<()> {
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

    async fn write_registry(&mut self, registry: Bytes, idle: Duration) -> Result<()> {
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
    async fn writes(&mut self) -> Result<()> {
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

    /// Documents: they are where their ids say, and their registry names them.
    async fn documents(&mut self) -> Result<()> {
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

    fn document_call(&self, keys: &NamespaceKeys, id: &CheckpointId) -> scripts::ScriptCall {
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
    async fn misplaced(&mut self, key: &Bytes, named: &Named) -> Result<bool> {
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

    fn moved(&mut self, kind: FindingKind, key: &[u8], state: &Reply) {
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

    /// Registries of checkpoints, with their pointers.
    async fn registries(&mut self) -> Result<()> {
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

    async fn registry(&mut self, keys: &NamespaceKeys, thread: &ThreadId) -> Result<()> {
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

    /// Sets of namespaces: what they name is there.
    async fn namespaces(&mut self) -> Result<()> {
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

    async fn namespaces_of(&mut self, key: &Bytes, thread: &ThreadId) -> Result<()> {
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

    /// Pointers that no registry stands behind.
    async fn pointers(&mut self) -> Result<()> {
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

    /// A shared key has a TTL if all that it stands for has one.
    async fn shared(
        &mut self,
        key: &Bytes,
        namespaces: &Bytes,
        count: &str,
        prefix: Bytes,
        named: &[Bytes],
    ) -> Result<()> {
        if named.is_empty() || named.len() > MOST_SHARED || self.time_left(key).await? != -1 {
            return Ok(());
        }
        let mut args = vec![self.mode(), text(count), prefix];
        args.extend_from_slice(named);
        let call = scripts::DOCTOR_SHARED.call(vec![key.clone(), namespaces.clone()], args);
        if self.store.script("doctor", call).await?.as_int() == Some(1) {
            let kind = FindingKind::SharedKeyOutlives;
            self.found(kind, key, String::new(), self.options.fix);
        }
        Ok(())
    }

    async fn time_left(&self, key: &Bytes) -> Result<i64> {
        let left = Command::on("PTTL", key.clone());
        let left = self.store.driver.call("doctor", left).await?;
        Ok(left.as_int().unwrap_or(-2))
    }

    /// Runs a script for each key, whose codes name what is wrong.
    async fn codes(&mut self, keys: Vec<Bytes>, steps: Vec<Step>) -> Result<()> {
        if steps.is_empty() {
            return Ok(());
        }
        let replies = self.store.flight("doctor", steps).await?;
        for (key, reply) in keys.into_iter().zip(replies) {
            let codes = match reply {
                Err(error) => {
                    self.refused(&key, error)?;
                    continue;
                }
                Ok(codes) => codes.into_array(),
            };
            let is_write = key.starts_with(self.store.keyspace.write_family().as_bytes());
            for code in codes {
                let kind = match (code.as_str(), is_write) {
                    (Some("ttl"), _) => FindingKind::MissingTtl,
                    (Some("flag"), _) => FindingKind::WritesFlagWrong,
                    (_, true) => FindingKind::WriteNotRegistered,
                    (_, false) => FindingKind::CheckpointNotRegistered,
                };
                self.found(kind, &key, String::new(), self.options.fix);
            }
        }
        Ok(())
    }

    /// The ids in the documents of a page of keys; keys without a document are left out.
    async fn named_page(
        &mut self,
        page: Vec<Bytes>,
        writes: bool,
    ) -> Result<Vec<(Bytes, Option<Named>)>> {
        let steps = page.iter().map(|key| ids_command(key, writes).into());
        let replies = self.store.flight("doctor", steps.collect()).await?;
        let mut found = Vec::with_capacity(page.len());
        for (key, reply) in page.into_iter().zip(replies) {
            match reply {
                Err(error) => self.refused(&key, error)?,
                Ok(reply) => {
                    if let Some(document) = reply.into_bytes() {
                        found.push((key, parse_named(&document)));
                    }
                }
            }
        }
        Ok(found)
    }

    async fn named(&mut self, key: &Bytes, writes: bool) -> Result<Option<Named>> {
        let page = self.named_page(vec![key.clone()], writes).await?;
        Ok(page.into_iter().next().and_then(|(_, named)| named))
    }

    /// What the server refuses because a key is of another type is a finding.
    fn refused(&mut self, key: &[u8], error: Error) -> Result<()> {
        let is_type = match &error {
            Error::WrongType { .. } => true,
            Error::Server { reason, .. } => {
                reason.contains("WRONGTYPE") || reason.contains("wrong Redis type")
            }
            _ => false,
        };
        if !is_type {
            return Err(error);
        }
        self.found(FindingKind::WrongType, key, String::new(), false);
        Ok(())
    }

    fn found(&mut self, kind: FindingKind, key: &[u8], detail: String, fixed: bool) {
        let key = String::from_utf8_lossy(key).into_owned();
        let finding = Finding {
            kind,
            key,
            detail,
            fixed,
        };
        self.report.add(finding, self.options.most_findings);
    }

    fn mode(&self) -> Bytes {
        Bytes::from_static(if self.options.fix { b"fix" } else { b"look" })
    }
}

/// The registry that the Python saver keeps under a custom prefix.
fn shared_registry(keys: &NamespaceKeys, id: &CheckpointId) -> Option<Bytes> {
    let start = &keys.shared_write_registries;
    (!start.is_empty()).then(|| Bytes::from([start, id.as_str().as_bytes()].concat()))
}

/// The registry of a namespace's writes in shallow mode.
fn shallow_registry(keys: &NamespaceKeys) -> Bytes {
    Bytes::from([&keys.write_registries[..], b"shallow"].concat())
}

/// Whether a key is that of a namespace's document in shallow mode: without an id.
fn is_shallow(keys: &NamespaceKeys, key: &[u8]) -> bool {
    let stored = &keys.documents[..keys.documents.len().saturating_sub(1)];
    let root = stored.strip_suffix(b"__empty__");
    key == stored || root.is_some_and(|root| key == root)
}

fn ids_command(key: &Bytes, writes: bool) -> Command {
    let mut paths = vec!["$.thread_id", "$.checkpoint_ns", "$.checkpoint_id"];
    if writes {
        paths.extend(["$.task_id", "$.idx"]);
    }
    Command::on("JSON.GET", key.clone()).args(paths.into_iter().map(Bytes::from))
}

/// What [`ids_command`] answers; `None` if there are no ids.
fn parse_named(document: &[u8]) -> Option<Named> {
    let fields: HashMap<String, Vec<Value>> = serde_json::from_slice(document).ok()?;
    let text = |name: &str| fields.get(name)?.first()?.as_str();
    let task = text("$.task_id").and_then(|task| {
        let idx = fields.get("$.idx")?.first()?.as_i64()?;
        Some((TaskId::new(task).ok()?, idx))
    });
    let namespace = text("$.checkpoint_ns")?;
    Some(Named {
        thread_id: ThreadId::new(text("$.thread_id")?).ok()?,
        namespace: namespace_from_stored(namespace).ok()?,
        checkpoint_id: CheckpointId::new(text("$.checkpoint_id")?).ok()?,
        task,
    })
}

fn bytes_of(reply: Reply) -> Vec<Bytes> {
    let elements = reply.into_array().into_iter();
    elements.filter_map(Reply::into_bytes).collect()
}

/// A walk over the keys that start with a text.
struct Scan {
    pattern: String,
    /// The node that is walked, and those that come after; `None` before the first.
    nodes: Option<VecDeque<Node>>,
    cursor: Bytes,
}

impl Scan {
    /// The keys of a family whose threads start with a prefix.
    fn new(family: &str, prefix: &str, store: &Store) -> Self {
        // Without the closing brace, which is not next to the prefix.
        let segment = store.keyspace.segment(prefix);
        Self::every(&format!(
            "{family}{}",
            segment.strip_suffix('}').unwrap_or(&segment)
        ))
    }

    fn every(start: &str) -> Self {
        let mut pattern = String::with_capacity(start.len() + 1);
        for character in start.chars() {
            if matches!(character, '*' | '?' | '[' | ']' | '\\' | '^') {
                pattern.push('\\');
            }
            pattern.push(character);
        }
        pattern.push('*');
        Self {
            pattern,
            nodes: None,
            cursor: Bytes::from_static(b"0"),
        }
    }

    /// The next page; it may be empty.
    async fn next(&mut self, store: &Store) -> Result<Option<Vec<Bytes>>> {
        let nodes = match &mut self.nodes {
            Some(nodes) => nodes,
            nodes => nodes.insert(store.driver.primaries()?.into()),
        };
        let Some(node) = nodes.front() else {
            return Ok(None);
        };
        // A cursor means nothing to another server, nor to the same one started anew.
        let command = Command::new("SCAN")
            .once()
            .arg(self.cursor.clone())
            .arg("MATCH")
            .arg(self.pattern.clone())
            .arg("COUNT")
            .arg(number(PAGE));
        let reply = store.driver.call_at("doctor", node, command).await?;
        let mut reply = reply.into_array().into_iter();
        self.cursor = reply.next().and_then(Reply::into_bytes).unwrap_or_default();
        if self.cursor.is_empty() || self.cursor == "0" {
            self.cursor = Bytes::from_static(b"0");
            nodes.pop_front();
        }
        Ok(Some(bytes_of(reply.next().unwrap_or(Reply::Nil))))
    }
}
