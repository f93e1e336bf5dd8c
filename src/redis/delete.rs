//! `delete_thread` and what else removes checkpoints: in slices, so that the server is never
//! held up and a repeated call goes on where a failed one stopped.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use super::blob;
use super::driver::{Command, Reply, number};
use super::error::is_of_another_type;
use super::index::Kind;
use super::keys::{Member, NamespaceKeys, PINNED, namespace_from_stored, stored_namespace};
use super::scripts;
use super::store::{Step, Store};
use super::write::text;
use crate::error::{Error, Result};
use crate::id::{CheckpointId, CheckpointNamespace, RunId, ThreadId};
use crate::options::{DeleteOptions, Progress, ProgressCallback};

/// How many checkpoints are removed at once.
const SLICE: usize = 32;
/// How many of their writes are looked at in one step.
const WRITES: usize = 400;
/// How many members or rows are read at once.
const PAGE: usize = 256;

/// Counts what a long call has done, and tells who wants to know.
#[derive(Debug)]
pub(crate) struct Counter {
    progress: Progress,
    blobs: u64,
    callback: Option<ProgressCallback>,
}

impl Counter {
    pub(crate) fn new(callback: Option<ProgressCallback>) -> Self {
        Self {
            progress: Progress::default(),
            blobs: 0,
            callback,
        }
    }

    pub(crate) fn add(&mut self, checkpoints: u64, writes: u64) {
        self.progress.checkpoints += checkpoints;
        self.progress.writes += writes;
        if let Some(callback) = &self.callback {
            callback.report(self.progress);
        }
    }

    /// Blobs are counted, but not told of: they are part of their checkpoints.
    pub(crate) fn add_blobs(&mut self, blobs: u64) {
        self.blobs += blobs;
    }

    /// Tells of a call that goes on from here.
    pub(crate) fn onward(&self) -> Option<ProgressCallback> {
        let (callback, before) = (self.callback.clone()?, self.progress);
        Some(ProgressCallback::new(move |mut progress| {
            progress.checkpoints += before.checkpoints;
            progress.writes += before.writes;
            callback.report(progress);
        }))
    }
}

impl Store {
    /// Deletes all of a thread that is there when the call begins, in one pass: what is put in the
    /// meantime may go or stay, and what is put afterwards stays. Nothing is registered for it, so
    /// that it works where there is no memory left.
    pub(crate) async fn delete_thread(
        &self,
        thread: &ThreadId,
        options: &DeleteOptions,
    ) -> Result<()> {
        let mut counter = Counter::new(options.progress.clone());
        let deleted = self.delete_all(thread, &mut counter).await;
        if !deleted.as_ref().is_err_and(is_of_another_type) {
            return deleted;
        }
        self.discard_damaged(thread).await?;
        self.delete_all(thread, &mut counter).await
    }

    async fn delete_all(&self, thread: &ThreadId, counter: &mut Counter) -> Result<()> {
        // A pin ends with what was pinned.
        let pin = Command::on("SREM", self.keyspace.thread(thread).namespaces()).arg(PINNED);
        self.driver.call("delete_thread", pin).await?;
        let members = self.scan_members(thread).await?;
        let root = self.keys(thread, &CheckpointNamespace::root());
        self.delete_namespace(&root, counter).await?;
        for member in &members {
            match Member::of_bytes(member) {
                Some(Member::Namespace(namespace)) if !namespace.is_root() => {
                    let keys = self.keys(thread, &namespace);
                    self.delete_namespace(&keys, counter).await?;
                }
                Some(Member::Writes(namespace, id)) => {
                    let keys = self.keys(thread, &namespace);
                    self.remove(&keys, &[id], counter).await?;
                }
                _ => {}
            }
        }
        if !self.delete_indexed(thread, counter).await? {
            self.delete_leftovers(thread, counter).await?;
        }
        // After the checkpoints that name them.
        for member in &members {
            if let Some(Member::Blobs(namespace)) = Member::of_bytes(member) {
                self.delete_blobs(thread, &namespace, counter).await?;
            }
        }
        self.unlist(thread, members).await
    }

    /// Removes those of a thread's keys that hold a value of another type than they should, as no
    /// saver makes them: deleting could not go past them.
    async fn discard_damaged(&self, thread: &ThreadId) -> Result<()> {
        let namespaces = self.keyspace.thread(thread).namespaces();
        self.discard(vec![(namespaces, "set")]).await?;
        let mut spaces = vec![CheckpointNamespace::root()];
        let mut registries = Vec::new();
        for member in self.scan_members(thread).await? {
            match Member::of_bytes(&member) {
                Some(Member::Namespace(namespace)) if !namespace.is_root() => {
                    spaces.push(namespace);
                }
                Some(Member::Writes(namespace, id)) => {
                    registries.push((self.keys(thread, &namespace).write_registry(&id), "zset"));
                }
                _ => {}
            }
        }
        self.discard(registries).await?;
        for namespace in spaces {
            let keys = self.keys(thread, &namespace);
            let shared = vec![
                (keys.registry.clone(), "zset"),
                (keys.pointer.clone(), "string"),
            ];
            self.discard(shared).await?;
            let mut after = Bytes::from_static(b"(");
            loop {
                let page = Command::on("ZRANGEBYLEX", keys.registry.clone())
                    .arg(after)
                    .args(["+", "LIMIT", "0"].map(Bytes::from))
                    .arg(number(PAGE));
                let ids = names(self.driver.call("delete_thread", page).await?);
                let Some(last) = ids.last() else { break };
                after = Bytes::from([b"(", &last[..]].concat());
                let registries = ids
                    .iter()
                    .map(|id| [&keys.write_registries[..], id].concat());
                let registries = registries.map(|key| (Bytes::from(key), "zset"));
                self.discard(registries.collect()).await?;
            }
        }
        Ok(())
    }

    /// Removes those of some keys that are not of the type that they should be of.
    async fn discard(&self, keys: Vec<(Bytes, &'static str)>) -> Result<()> {
        for page in keys.chunks(PAGE) {
            let steps = page.iter().map(|(key, wanted)| {
                Step::from(scripts::DISCARD.call(vec![key.clone()], vec![Bytes::from(*wanted)]))
            });
            for reply in self.flight("delete_thread", steps.collect()).await? {
                reply?;
            }
        }
        Ok(())
    }

    /// The members of a thread's set of namespaces, a page at a time.
    pub(super) async fn scan_members(&self, thread: &ThreadId) -> Result<Vec<Bytes>> {
        let namespaces = self.keyspace.thread(thread).namespaces();
        let mut members = HashSet::new();
        let mut cursor = Bytes::from_static(b"0");
        loop {
            let scan = Command::on("SSCAN", namespaces.clone())
                .arg(cursor)
                .arg("COUNT")
                .arg(number(PAGE));
            let mut reply = self.driver.call("namespaces", scan).await?.into_array();
            let found = reply.pop().unwrap_or(Reply::Nil).into_array();
            members.extend(found.into_iter().filter_map(Reply::into_bytes));
            cursor = reply.pop().and_then(Reply::into_bytes).unwrap_or_default();
            if cursor.is_empty() || cursor == "0" {
                return Ok(members.into_iter().collect());
            }
        }
    }

    /// Takes those of some members out of a thread's set of namespaces that stand for nothing more.
    async fn unlist(&self, thread: &ThreadId, members: Vec<Bytes>) -> Result<()> {
        let namespaces = self.keyspace.thread(thread).namespaces();
        let is_large = members.len() > PAGE;
        // Marks first, so that it is known which namespaces are there for writes alone.
        let (marks, spaces): (Vec<_>, Vec<_>) = members
            .into_iter()
            .partition(|member| member.first() == Some(&0));
        self.unlist_all(thread, &namespaces, marks).await?;
        if !is_large {
            return self.unlist_all(thread, &namespaces, spaces).await;
        }
        let mut awaited = HashSet::new();
        for member in self.scan_members(thread).await? {
            if let Some(Member::Writes(namespace, _)) = Member::of_bytes(&member) {
                awaited.insert(text(stored_namespace(&namespace)));
            }
        }
        let spaces = spaces
            .into_iter()
            .filter(|member| !awaited.contains(member));
        self.unlist_all(thread, &namespaces, spaces.collect()).await
    }

    async fn unlist_all(
        &self,
        thread: &ThreadId,
        namespaces: &Bytes,
        members: Vec<Bytes>,
    ) -> Result<()> {
        for page in members.chunks(PAGE) {
            let (mut keys, mut known) = (vec![namespaces.clone()], Vec::new());
            let mut unknown = Vec::new();
            for member in page {
                let key = match Member::of_bytes(member) {
                    Some(Member::Namespace(namespace)) => self.keys(thread, &namespace).registry,
                    Some(Member::Writes(namespace, id)) => {
                        self.keys(thread, &namespace).write_registry(&id)
                    }
                    Some(Member::Blobs(namespace)) => {
                        self.keyspace.blobs(thread, &namespace).registry
                    }
                    Some(Member::Pinned) => continue,
                    // Nothing of ours, so it stands for nothing.
                    None => {
                        unknown.push(member.clone());
                        continue;
                    }
                };
                keys.push(key);
                known.push(member.clone());
            }
            if !unknown.is_empty() {
                let srem = Command::on("SREM", namespaces.clone()).args(unknown);
                self.driver.call("delete_thread", srem).await?;
            }
            if !known.is_empty() {
                let call = scripts::UNLIST.call(keys, known);
                self.script("delete_thread", call).await?;
            }
        }
        Ok(())
    }

    /// Deletes the checkpoints of a namespace, upwards to the one that is the greatest now.
    pub(super) async fn delete_namespace(
        &self,
        keys: &NamespaceKeys,
        counter: &mut Counter,
    ) -> Result<()> {
        self.forget(keys);
        let ends = |after: &[u8], last: Bytes| {
            Command::on("ZRANGEBYLEX", keys.registry.clone())
                .arg([b"(", after].concat())
                .arg(last)
                .args(["LIMIT", "0"].map(Bytes::from))
                .arg(number(SLICE))
        };
        let greatest = Command::on("ZREVRANGEBYLEX", keys.registry.clone())
            .args(["+", "(", "LIMIT", "0", "1"].map(Bytes::from));
        let commands = vec![greatest, ends(b"", Bytes::from_static(b"+"))];
        let mut replies = self
            .driver
            .batch("delete_thread", commands)
            .await?
            .into_iter();
        let mut next = || Ok::<_, Error>(names(replies.next().unwrap_or(Err(Error::Closed))?));
        let greatest = next()?.pop();
        let mut ids = next()?;
        let Some(greatest) = greatest else {
            // The pointer and the set may still name something.
            return self.remove_named(keys, &[], counter).await;
        };
        ids.retain(|id| *id <= greatest);
        while let Some(last) = ids.last().cloned() {
            let is_all = ids.len() < SLICE || last == greatest;
            self.remove_named(keys, &ids, counter).await?;
            if is_all {
                break;
            }
            let end = Bytes::from([b"[", &greatest[..]].concat());
            ids = names(self.driver.call("delete_thread", ends(&last, end)).await?);
        }
        Ok(())
    }

    /// Removes checkpoints of a namespace with their writes.
    pub(crate) async fn remove(
        &self,
        keys: &NamespaceKeys,
        ids: &[CheckpointId],
        counter: &mut Counter,
    ) -> Result<()> {
        let ids: Vec<_> = ids.iter().map(|id| text(id.as_str())).collect();
        self.remove_named(keys, &ids, counter).await
    }

    async fn remove_named(
        &self,
        keys: &NamespaceKeys,
        ids: &[Bytes],
        counter: &mut Counter,
    ) -> Result<()> {
        let mut left = ids;
        // How many members of the first one's registries of writes are others'.
        let mut stay = [0, 0];
        loop {
            let slice = &left[..left.len().min(SLICE)];
            let mut args = vec![
                keys.documents.clone(),
                keys.write_registries.clone(),
                keys.writes.clone(),
                keys.shared_write_registries.clone(),
                keys.stored.clone(),
                keys.thread.clone(),
                number(WRITES),
            ];
            args.extend(stay.map(number));
            args.extend_from_slice(slice);
            let call = scripts::REMOVE.call(
                vec![
                    keys.registry.clone(),
                    keys.pointer.clone(),
                    keys.namespaces.clone(),
                ],
                args,
            );
            let reply = self.script("delete", call).await?.into_array();
            let number = |position: usize| {
                reply
                    .get(position)
                    .and_then(Reply::as_int)
                    .and_then(|number| u64::try_from(number).ok())
                    .unwrap_or(0)
            };
            counter.add(number(0), number(1));
            stay = [number(3), number(4)];
            let done = usize::try_from(number(2)).unwrap_or(0);
            left = &left[done.min(slice.len())..];
            // With nothing to remove one call still puts the pointer and the registry right.
            if left.is_empty() {
                break;
            }
        }
        self.forget(keys);
        Ok(())
    }

    /// Deletes what only the index knows of a thread: what other savers wrote, and the writes that
    /// they stored for checkpoints that never came, with the flags that they left in their place.
    /// `false` where search does not serve.
    async fn delete_indexed(&self, thread: &ThreadId, counter: &mut Counter) -> Result<bool> {
        for kind in [Kind::Checkpoints, Kind::Writes] {
            let Some(mut left) = self.count_indexed(thread, kind).await? else {
                return Ok(false);
            };
            let (mut skip, mut seen) = (0, HashSet::new());
            while left > 0 {
                let Some(rows) = self.rows_of_thread(thread, kind, (skip, PAGE)).await? else {
                    return Ok(false);
                };
                if rows.is_empty() {
                    break;
                }
                left = left.saturating_sub(rows.len());
                let mut own: BTreeMap<_, Vec<_>> = BTreeMap::new();
                let (mut rest, mut shown) = (Vec::new(), HashSet::new());
                for row in rows {
                    // What is another's, or is named still after it was removed, is passed over.
                    if row.thread != thread.as_str() || seen.contains(&row.key) {
                        skip += 1;
                        continue;
                    }
                    let owner = self.owner_of(thread, &row.namespace, &row.checkpoint);
                    // A write, or a document whose name is another than ours.
                    let apart = owner
                        .as_ref()
                        .is_none_or(|(keys, id)| keys.document(id) != row.key);
                    if apart {
                        rest.push(row.key.clone());
                    }
                    if let Some((keys, id)) = owner {
                        let of = own.entry(keys.stored.clone()).or_default();
                        of.push((keys, id));
                    }
                    shown.insert(row.key);
                }
                for of in own.into_values() {
                    let Some((keys, _)) = of.first().cloned() else {
                        continue;
                    };
                    let mut ids: Vec<_> = of.into_iter().map(|(_, id)| id).collect();
                    ids.sort();
                    ids.dedup();
                    self.remove(&keys, &ids, counter).await?;
                }
                let removed = self.remove_keys(thread, rest).await?;
                match kind {
                    Kind::Checkpoints => counter.add(removed, 0),
                    Kind::Writes => counter.add(0, removed),
                }
                seen = shown;
            }
        }
        Ok(true)
    }

    /// Removes keys that say that they are a thread's, and tells how many there were.
    pub(super) async fn remove_keys(&self, thread: &ThreadId, keys: Vec<Bytes>) -> Result<u64> {
        let mut removed = 0;
        for page in keys.chunks(PAGE) {
            let steps = page.iter().map(|key| {
                let args = vec![
                    text(thread.as_str()),
                    Bytes::new(),
                    Bytes::new(),
                    Bytes::new(),
                ];
                Step::from(scripts::REMOVE_KEY.call(vec![key.clone()], args))
            });
            for reply in self.flight("delete_thread", steps.collect()).await? {
                removed += u64::from(reply?.as_int() == Some(1));
            }
        }
        Ok(removed)
    }

    /// The checkpoint that a write names.
    pub(super) fn owner_of(
        &self,
        thread: &ThreadId,
        namespace: &str,
        checkpoint: &str,
    ) -> Option<(NamespaceKeys, CheckpointId)> {
        let namespace = namespace_from_stored(namespace).ok()?;
        let id = CheckpointId::new(checkpoint).ok()?;
        Some((self.keys(thread, &namespace), id))
    }

    /// Deletes the checkpoints that runs made, in threads whose ids start with a prefix.
    pub(crate) async fn delete_for_runs(
        store: &Arc<Self>,
        run_ids: &[RunId],
        prefix: &str,
    ) -> Result<()> {
        let mut counter = Counter::new(None);
        for run in run_ids {
            let mut found = store.checkpoints_of_run(run, prefix).await?;
            found.sort();
            for of_thread in found.chunk_by(|one, other| one.0 == other.0) {
                let Some((thread, ..)) = of_thread.first() else {
                    continue;
                };
                // The registry learns of other savers' checkpoints first, so that the newest of
                // those that stay is found.
                store.reconcile(thread).await?;
                let mut blobs = HashSet::new();
                for member in store.scan_members(thread).await? {
                    if let Some(Member::Blobs(namespace)) = Member::of_bytes(&member) {
                        blobs.insert(namespace);
                    }
                }
                for group in of_thread.chunk_by(|one, other| one.1 == other.1) {
                    let Some((_, namespace, _)) = group.first() else {
                        continue;
                    };
                    let ids: Vec<_> = group.iter().map(|(_, _, id)| id.clone()).collect();
                    let keys = store.keys(thread, namespace);
                    store.remove(&keys, &ids, &mut counter).await?;
                    if blobs.contains(namespace) {
                        blob::sweep(store, thread, namespace, &mut counter).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The checkpoints that a run made, in threads whose ids start with a prefix; no document of
    /// another is read.
    pub(super) async fn checkpoints_of_run(
        &self,
        run: &RunId,
        prefix: &str,
    ) -> Result<Vec<(ThreadId, CheckpointNamespace, CheckpointId)>> {
        let mut candidates = match self.indexed_run(run.as_str()).await? {
            Some(found) => found,
            None => self.every_checkpoint(prefix).await?,
        };
        candidates.retain(|one| one.thread_id.as_str().starts_with(prefix));
        let mut found = Vec::new();
        for slice in candidates.chunks(256) {
            let steps = slice.iter().map(|one| {
                let keys = self.keys(&one.thread_id, &one.namespace);
                Command::on("JSON.GET", keys.document(&one.checkpoint_id))
                    .arg("$.run_id")
                    .into()
            });
            let replies = self.flight("delete_for_runs", steps.collect()).await?;
            for (one, reply) in slice.iter().zip(replies) {
                let made_by = reply?.into_bytes().unwrap_or(Bytes::new());
                let made_by = serde_json::from_slice::<[String; 1]>(&made_by).ok();
                if made_by.is_some_and(|[made_by]| made_by == run.as_str()) {
                    found.push((
                        one.thread_id.clone(),
                        one.namespace.clone(),
                        one.checkpoint_id.clone(),
                    ));
                }
            }
        }
        Ok(found)
    }
}

/// The names in a list.
fn names(reply: Reply) -> Vec<Bytes> {
    let parts = reply.into_array().into_iter();
    parts.filter_map(Reply::into_bytes).collect()
}
