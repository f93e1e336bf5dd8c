//! `delete_thread` and what else removes checkpoints: in slices, so that the server is never
//! held up and a repeated call goes on where a failed one stopped.

use std::sync::Arc;

use bytes::Bytes;

use super::blob;
use super::driver::{Command, Reply};
use super::index::IndexedWrite;
use super::keys::{Member, NamespaceKeys, namespace_from_stored};
use super::scripts;
use super::store::{Step, Store};
use super::write::text;
use crate::error::Result;
use crate::id::{CheckpointId, CheckpointNamespace, RunId, ThreadId};
use crate::options::{DeleteOptions, Progress, ProgressCallback};

/// How many checkpoints are removed at once.
const SLICE: usize = 32;

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

    pub(crate) fn done(&self) -> u64 {
        self.progress.checkpoints + self.progress.writes + self.blobs
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
    /// Deletes all of a thread.
    pub(crate) async fn delete_thread(
        &self,
        thread: &ThreadId,
        options: &DeleteOptions,
    ) -> Result<()> {
        let mut counter = Counter::new(options.progress.clone());
        loop {
            let before = counter.done();
            // What other savers wrote, as far as search tells.
            let mut searched = self.delete_indexed(thread, &mut counter).await?;
            let mut namespaces = vec![CheckpointNamespace::root()];
            let mut blobs = Vec::new();
            for member in self.members(thread).await? {
                match member {
                    Member::Namespace(namespace) => namespaces.push(namespace),
                    Member::Writes(namespace, id) => {
                        let keys = self.keys(thread, &namespace);
                        self.remove(&keys, &[id], &mut counter).await?;
                    }
                    Member::Blobs(namespace) => blobs.push(namespace),
                    Member::Pinned => {}
                }
            }
            for namespace in &namespaces {
                self.delete_namespace(&self.keys(thread, namespace), &mut counter)
                    .await?;
            }
            // After the checkpoints that name them.
            for namespace in &blobs {
                self.delete_blobs(thread, namespace, &mut counter).await?;
            }
            searched &= self
                .delete_unregistered_writes(thread, &mut counter)
                .await?;
            let rest = Command::on("UNLINK", self.keyspace.thread(thread).namespaces());
            self.driver.call("delete_thread", rest).await?;
            if counter.done() == before && !searched {
                self.delete_leftovers(thread, &mut counter).await?;
            }
            // What another writer added meanwhile is found by the next round.
            if counter.done() == before {
                return Ok(());
            }
        }
    }

    pub(super) async fn delete_namespace(
        &self,
        keys: &NamespaceKeys,
        counter: &mut Counter,
    ) -> Result<()> {
        self.forget(keys);
        loop {
            let (_, ids) = self.page(keys, None, SLICE).await?;
            self.remove(keys, &ids, counter).await?;
            if ids.len() < SLICE {
                return Ok(());
            }
        }
    }

    /// Removes checkpoints of a namespace with their writes.
    pub(crate) async fn remove(
        &self,
        keys: &NamespaceKeys,
        ids: &[CheckpointId],
        counter: &mut Counter,
    ) -> Result<()> {
        // With nothing to remove one call still puts the pointer and the registry right.
        let slices: Vec<&[CheckpointId]> = if ids.is_empty() {
            vec![&[]]
        } else {
            ids.chunks(SLICE).collect()
        };
        for slice in slices {
            let mut args = vec![
                keys.documents.clone(),
                keys.write_registries.clone(),
                keys.writes.clone(),
                keys.shared_write_registries.clone(),
                keys.stored.clone(),
            ];
            args.extend(slice.iter().map(|id| text(id.as_str())));
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
        }
        self.forget(keys);
        Ok(())
    }

    /// Deletes the checkpoints that the index knows, page by page; `false` where search does not
    /// serve.
    async fn delete_indexed(&self, thread: &ThreadId, counter: &mut Counter) -> Result<bool> {
        loop {
            let before = counter.done();
            let Some((mut found, more)) = self.some_indexed_checkpoints(thread).await? else {
                return Ok(false);
            };
            found.sort_by(|one, other| one.namespace.cmp(&other.namespace));
            for group in found.chunk_by(|one, other| one.namespace == other.namespace) {
                let Some(first) = group.first() else { continue };
                let ids: Vec<_> = group.iter().map(|one| one.checkpoint_id.clone()).collect();
                let keys = self.keys(thread, &first.namespace);
                self.remove(&keys, &ids, counter).await?;
            }
            // The index names nothing else, or something that cannot be removed.
            if !more || counter.done() == before {
                return Ok(true);
            }
        }
    }

    /// Deletes the writes that only the index knows: those that the Python saver stored for
    /// checkpoints that never came, with the flags that it left in their place. `false` where search
    /// does not serve.
    async fn delete_unregistered_writes(
        &self,
        thread: &ThreadId,
        counter: &mut Counter,
    ) -> Result<bool> {
        loop {
            let Some((writes, more)) = self.some_indexed_writes(thread).await? else {
                return Ok(false);
            };
            self.delete_writes(thread, &writes, counter).await?;
            if !more || writes.is_empty() {
                return Ok(true);
            }
        }
    }

    async fn delete_writes(
        &self,
        thread: &ThreadId,
        writes: &[IndexedWrite],
        counter: &mut Counter,
    ) -> Result<()> {
        for slice in writes.chunks(SLICE) {
            let mut steps: Vec<Step> = Vec::new();
            for write in slice {
                steps.push(Command::on("UNLINK", write.key.clone()).into());
                let Some((keys, id)) =
                    self.owner_of(thread, &write.namespace, &write.checkpoint_id)
                else {
                    continue;
                };
                steps.push(Command::on("UNLINK", keys.write_registry(&id)).into());
                let document = keys.document(&id);
                let found = Command::on("JSON.GET", document.clone()).arg("$.thread_id");
                let found = self.driver.call("delete_thread", found).await?.into_bytes();
                if found.as_deref() == Some(b"[]".as_slice()) {
                    steps.push(Command::on("UNLINK", document).into());
                }
            }
            for reply in self.flight("delete_thread", steps).await? {
                reply?;
            }
            counter.add(0, slice.len() as u64);
        }
        Ok(())
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
            for group in found.chunk_by(|one, other| (&one.0, &one.1) == (&other.0, &other.1)) {
                let Some((thread, namespace, _)) = group.first() else {
                    continue;
                };
                // The registry learns of other savers' checkpoints first, so that the newest
                // of those that stay is found.
                store.reconcile(thread).await?;
                let ids: Vec<_> = group.iter().map(|(_, _, id)| id.clone()).collect();
                let keys = store.keys(thread, namespace);
                store.remove(&keys, &ids, &mut counter).await?;
                blob::sweep_if_any(store, thread, namespace, &mut counter).await?;
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
