//! A saver that keeps everything in the memory of the process: the executable specification.

mod blob_store;
mod blobs;
mod lifetime;
mod store;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt};

use crate::checkpoint::{
    ChannelWrite, Checkpoint, CheckpointMetadata, CheckpointTuple, DeltaChannelHistory,
    special_index, write_index,
};
use crate::config::CheckpointConfig;
use crate::error::{Error, Result};
use crate::id::{CheckpointId, RunId, TaskId, ThreadId};
use crate::lineage::Roots;
use crate::options::{
    CopyOptions, DeleteOptions, ExistingTarget, ExpectedParent, ListOptions, Progress,
    ProgressCallback, PruneOptions, PruneStrategy, PutOptions, PutWritesOptions, TtlPolicy,
    TtlScope,
};
use crate::saver::{CheckpointSaver, SaverStream, ThreadSummary};

use lifetime::Lifetime;
use store::{Key, Namespace, Store, StoredWrite};

/// A saver that keeps everything in the memory of the process.
///
/// It is the executable specification of [`CheckpointSaver`]: every call is implemented in the
/// simplest correct way. Use it in tests, and where threads need not outlive the process. Clones
/// share their contents. The HTTP service can serve it.
///
/// ```
/// use std::time::Duration;
/// use langgraph_checkpoint_redis::{
///     Checkpoint, CheckpointConfig, CheckpointMetadata, CheckpointSaver, MemorySaver, PutOptions,
///     TtlPolicy,
/// };
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> langgraph_checkpoint_redis::Result<()> {
/// let hour = Duration::from_secs(3_600);
/// let saver = MemorySaver::with_ttl(TtlPolicy::new(hour).with_refresh_on_read(true))?;
/// let thread = CheckpointConfig::new("thread-1")?;
/// let checkpoint = Checkpoint::builder().channel("n", 1, &1)?.build()?;
/// saver.put(&thread, &checkpoint, &CheckpointMetadata::new(), &PutOptions::default()).await?;
/// assert!(saver.get_tuple(&thread).await?.is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct MemorySaver {
    store: Arc<Mutex<Store>>,
    ttl: TtlPolicy,
}

impl MemorySaver {
    /// An empty saver without a TTL.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty saver with a TTL.
    ///
    /// # Errors
    /// [`Error::Config`] if the TTL is not valid.
    pub fn with_ttl(ttl: TtlPolicy) -> Result<Self> {
        ttl.check()?;
        Ok(Self {
            store: Arc::default(),
            ttl,
        })
    }

    /// The store, without what has expired.
    fn open(&self) -> (MutexGuard<'_, Store>, Instant) {
        // A store whose holder panicked is consistent: nothing that changes it can panic midway.
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        store.remove_expired(now);
        (store, now)
    }

    /// The lifetime of what a call writes to a thread.
    fn lifetime(
        store: &mut Store,
        thread_id: &ThreadId,
        ttl: Option<Duration>,
        now: Instant,
    ) -> Lifetime {
        let pinned = store
            .threads
            .get(thread_id)
            .is_some_and(|thread| thread.pinned);
        store.lifetime(ttl.filter(|_| !pinned), now)
    }

    /// Extends the lifetimes of all of a thread, if threads expire as a whole.
    fn extend_thread(&self, store: &mut Store, thread_id: &ThreadId, lifetime: Lifetime) {
        if self.ttl.scope == Some(TtlScope::Thread)
            && let Some(thread) = store.threads.get_mut(thread_id)
        {
            thread.lifetimes_mut().for_each(|old| old.extend(lifetime));
        }
    }

    /// Streams the checkpoints of a config, or of all threads whose ids start with a prefix.
    fn list_where(
        &self,
        config: Option<&CheckpointConfig>,
        prefix: &str,
        options: ListOptions,
    ) -> SaverStream<CheckpointTuple> {
        let keys = listed(&self.open().0, config, prefix, options.before.as_ref());
        let saver = self.clone();
        stream::iter(keys)
            .filter_map(move |key| {
                // What was removed since the stream began is not listed.
                let tuple = saver.open().0.tuple(&key);
                let tuple = tuple.filter(|tuple| {
                    let filter = &options.filter;
                    filter.matches_in(&tuple.config.thread_id, &tuple.metadata)
                });
                std::future::ready(tuple.map(Ok))
            })
            .take(options.limit.unwrap_or(usize::MAX))
            .boxed()
    }

    /// Deletes the checkpoints that runs made in threads whose ids start with a prefix.
    fn delete_runs(&self, run_ids: &[RunId], prefix: &str) {
        let run_ids: BTreeSet<&str> = run_ids.iter().map(RunId::as_str).collect();
        let (mut store, _) = self.open();
        for (thread_id, thread) in &mut store.threads {
            if !thread_id.as_str().starts_with(prefix) {
                continue;
            }
            for namespace in thread.namespaces.values_mut() {
                let made: Vec<CheckpointId> = namespace
                    .checkpoints
                    .iter()
                    .filter(|(_, stored)| {
                        let run = stored.metadata.get::<String>("run_id").ok().flatten();
                        run.is_some_and(|run| run_ids.contains(run.as_str()))
                    })
                    .map(|(id, _)| id.clone())
                    .collect();
                for id in &made {
                    namespace.remove(id);
                }
                if !made.is_empty() {
                    namespace.remove_unnamed_blobs();
                }
            }
        }
        remove_empty(&mut store);
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl CheckpointSaver for MemorySaver {
    async fn setup(&self) -> Result<()> {
        Ok(())
    }

    async fn put(
        &self,
        config: &CheckpointConfig,
        checkpoint: &Checkpoint,
        metadata: &CheckpointMetadata,
        options: &PutOptions,
    ) -> Result<CheckpointConfig> {
        let ttl = options.ttl.resolve(self.ttl.default)?;
        let metadata = config.joined_metadata(metadata)?;
        let (mut store, now) = self.open();
        let namespace = store.namespace(&config.thread_id, &config.namespace());
        check_expected_parent(namespace, checkpoint.id(), &options.expected_parent)?;
        let lifetime = Self::lifetime(&mut store, &config.thread_id, ttl, now);
        let stored = store.put(config, checkpoint, metadata, lifetime);
        self.extend_thread(&mut store, &config.thread_id, lifetime);
        Ok(stored)
    }

    async fn put_writes(
        &self,
        config: &CheckpointConfig,
        writes: &[ChannelWrite],
        task_id: &TaskId,
        options: &PutWritesOptions,
    ) -> Result<()> {
        let checkpoint_id = config.required_checkpoint()?;
        let ttl = options.ttl.resolve(self.ttl.default)?;
        if writes.is_empty() {
            return Ok(());
        }
        let replace = writes
            .iter()
            .all(|write| special_index(&write.channel).is_some());
        let (mut store, now) = self.open();
        let lifetime = Self::lifetime(&mut store, &config.thread_id, ttl, now);
        let stored = store
            .written_namespace(&config.thread_id, &config.namespace())
            .writes
            .entry(checkpoint_id.clone())
            .or_default();
        for (position, write) in writes.iter().enumerate() {
            let key = (task_id.clone(), write_index(&write.channel, position));
            if replace || !stored.contains_key(&key) {
                let write = StoredWrite {
                    task_path: options.task_path.clone(),
                    channel: write.channel.clone(),
                    value: write.value.clone(),
                    lifetime,
                };
                stored.insert(key, write);
            }
        }
        self.extend_thread(&mut store, &config.thread_id, lifetime);
        Ok(())
    }

    async fn get_tuple(&self, config: &CheckpointConfig) -> Result<Option<CheckpointTuple>> {
        let (mut store, now) = self.open();
        let Some(key) = named_or_newest(&store, config) else {
            return Ok(None);
        };
        if self.ttl.refresh_on_read && self.ttl.default.is_some() {
            let lifetime = store.lifetime(self.ttl.default, now);
            store
                .namespace_mut(&key.thread_id, &key.namespace)
                .slide(&key.checkpoint_id, lifetime);
            self.extend_thread(&mut store, &key.thread_id, lifetime);
        }
        Ok(store.tuple(&key))
    }

    fn list(
        &self,
        config: Option<&CheckpointConfig>,
        options: ListOptions,
    ) -> SaverStream<CheckpointTuple> {
        self.list_where(config, "", options)
    }

    fn list_within(&self, prefix: &str, options: ListOptions) -> SaverStream<CheckpointTuple> {
        self.list_where(None, prefix, options)
    }

    async fn delete_thread(&self, thread_id: &ThreadId, options: &DeleteOptions) -> Result<()> {
        let removed = self.open().0.threads.remove(thread_id);
        let mut progress = Progress::default();
        for namespace in removed.iter().flat_map(|thread| thread.namespaces.values()) {
            count(&mut progress, namespace);
        }
        report(options.progress.as_ref(), progress);
        Ok(())
    }

    async fn delete_for_runs(&self, run_ids: &[RunId]) -> Result<()> {
        self.delete_runs(run_ids, "");
        Ok(())
    }

    async fn delete_for_runs_within(&self, run_ids: &[RunId], prefix: &str) -> Result<()> {
        self.delete_runs(run_ids, prefix);
        Ok(())
    }

    async fn copy_thread(
        &self,
        source: &ThreadId,
        target: &ThreadId,
        options: &CopyOptions,
    ) -> Result<()> {
        if source == target {
            return Err(Error::invalid(
                "the target thread",
                "it is the source itself",
            ));
        }
        let ttl = options.ttl.resolve(self.ttl.default)?;
        let (mut store, now) = self.open();
        if options.existing == ExistingTarget::Error && store.threads.contains_key(target) {
            return Err(Error::Conflict {
                what: format!("the copy of thread {source:?}"),
                reason: format!("the thread {target:?} exists already; choose another, or merge"),
            });
        }
        let Some(namespaces) = store
            .threads
            .get(source)
            .map(|thread| thread.namespaces.clone())
        else {
            return Ok(());
        };
        let lifetime = Self::lifetime(&mut store, target, ttl, now);
        let mut progress = Progress::default();
        for (namespace_id, mut copied) in namespaces {
            for stored in copied.checkpoints.values_mut() {
                stored.lifetime = lifetime;
            }
            for write in copied.writes.values_mut().flat_map(BTreeMap::values_mut) {
                write.lifetime = lifetime;
            }
            count(&mut progress, &copied);
            let into = store.written_namespace(target, &namespace_id);
            into.checkpoints.extend(copied.checkpoints);
            into.blobs.merge(copied.blobs, lifetime);
            for (checkpoint_id, writes) in copied.writes {
                into.writes.entry(checkpoint_id).or_default().extend(writes);
            }
        }
        report(options.progress.as_ref(), progress);
        Ok(())
    }

    async fn prune(&self, thread_ids: &[ThreadId], options: &PruneOptions) -> Result<()> {
        options.strategy.check()?;
        let mut progress = Progress::default();
        for thread_id in thread_ids {
            let (mut store, _) = self.open();
            if let Some(thread) = store.threads.get_mut(thread_id) {
                // The root is the first of them.
                let mut roots = Roots::default();
                for (id, namespace) in &mut thread.namespaces {
                    let nodes = namespace.lineage()?;
                    let (kept, over) = roots.survivors(id, &nodes, &options.strategy);
                    let is_final = over || options.strategy == PruneStrategy::Delete;
                    let removed = prune(namespace, &kept, is_final);
                    count(&mut progress, &removed);
                }
            }
            remove_empty(&mut store);
            drop(store);
            report(options.progress.as_ref(), progress);
        }
        Ok(())
    }

    async fn delta_channel_history(
        &self,
        config: &CheckpointConfig,
        channels: &[String],
    ) -> Result<BTreeMap<String, DeltaChannelHistory>> {
        let (store, _) = self.open();
        let namespace = store.namespace(&config.thread_id, &config.namespace());
        let target = named_or_newest(&store, config);
        let parent = target
            .and_then(|key| namespace?.checkpoints.get(&key.checkpoint_id))
            .and_then(|stored| stored.parent.as_ref());
        channels
            .iter()
            .map(|channel| Ok((channel.clone(), history(namespace, parent, channel)?)))
            .collect()
    }

    fn threads(&self, prefix: &str) -> SaverStream<ThreadSummary> {
        let (store, now) = self.open();
        let threads = store.threads.iter();
        let mut threads: Vec<_> = threads
            .filter(|(id, _)| id.as_str().starts_with(prefix))
            .collect();
        threads.sort_by_key(|(_, thread)| Reverse(thread.last_write));
        let summaries: Vec<_> = threads
            .into_iter()
            .filter_map(|(id, thread)| {
                let (newest, stored) = thread.newest()?;
                let checkpoints = thread
                    .namespaces
                    .values()
                    .map(|space| space.checkpoints.len());
                Some(Ok(ThreadSummary::new(
                    id.clone(),
                    checkpoints.sum::<usize>() as u64,
                    Some(newest.clone()),
                    stored.lifetime.0.map(|expiry| expiry - now),
                )))
            })
            .collect();
        stream::iter(summaries).boxed()
    }

    async fn touch(&self, thread_id: &ThreadId) -> Result<bool> {
        let (mut store, now) = self.open();
        let lifetime = store.lifetime(self.ttl.default, now);
        let Some(thread) = store.threads.get_mut(thread_id) else {
            return Ok(false);
        };
        if self.ttl.default.is_some() {
            thread.lifetimes_mut().for_each(|old| old.slide(lifetime));
        }
        Ok(self.ttl.default.is_some())
    }

    async fn pin(&self, thread_id: &ThreadId) -> Result<bool> {
        let (mut store, _) = self.open();
        let Some(thread) = store.threads.get_mut(thread_id) else {
            return Ok(false);
        };
        thread.pinned = true;
        thread.lifetimes_mut().for_each(|old| *old = Lifetime(None));
        Ok(true)
    }

    async fn unpin(&self, thread_id: &ThreadId) -> Result<bool> {
        let (mut store, now) = self.open();
        let lifetime = store.lifetime(self.ttl.default, now);
        let Some(thread) = store.threads.get_mut(thread_id) else {
            return Ok(false);
        };
        thread.pinned = false;
        if self.ttl.default.is_some() {
            thread.lifetimes_mut().for_each(|old| *old = lifetime);
        }
        Ok(self.ttl.default.is_some())
    }
}

/// Refuses a put whose condition does not hold. A checkpoint that is there already is being put
/// again after a lost reply, and then the condition held the first time.
fn check_expected_parent(
    namespace: Option<&Namespace>,
    checkpoint_id: &CheckpointId,
    expected: &ExpectedParent,
) -> Result<()> {
    let expected = match expected {
        ExpectedParent::Any => return Ok(()),
        ExpectedParent::None => None,
        ExpectedParent::Is(id) => Some(id),
    };
    let checkpoints = namespace.map(|namespace| &namespace.checkpoints);
    let newest = checkpoints
        .and_then(BTreeMap::last_key_value)
        .map(|(id, _)| id);
    if newest == expected || checkpoints.is_some_and(|there| there.contains_key(checkpoint_id)) {
        return Ok(());
    }
    let name = |id: Option<&CheckpointId>| id.map_or("none".to_owned(), |id| format!("{id:?}"));
    Err(Error::Conflict {
        what: format!("the checkpoint {checkpoint_id:?}"),
        reason: format!(
            "the newest checkpoint was to be {}, but it is {}",
            name(expected),
            name(newest)
        ),
    })
}

/// The checkpoint that a config names, else the newest of its namespace.
fn named_or_newest(store: &Store, config: &CheckpointConfig) -> Option<Key> {
    let namespace = config.namespace();
    let checkpoints = &store.namespace(&config.thread_id, &namespace)?.checkpoints;
    let checkpoint_id = match &config.checkpoint_id {
        Some(id) => checkpoints.contains_key(id).then_some(id)?,
        None => checkpoints.last_key_value()?.0,
    };
    let checkpoint_id = checkpoint_id.clone();
    Some(Key {
        thread_id: config.thread_id.clone(),
        namespace,
        checkpoint_id,
    })
}

/// The checkpoints of a config whose threads start with a prefix, newest first; those of the same
/// id by thread and namespace.
fn listed(
    store: &Store,
    config: Option<&CheckpointConfig>,
    prefix: &str,
    before: Option<&CheckpointId>,
) -> Vec<Key> {
    let wanted_namespace = config.and_then(|config| config.checkpoint_ns.as_ref());
    let wanted_checkpoint = config.and_then(|config| config.checkpoint_id.as_ref());
    let mut keys = Vec::new();
    for (thread_id, thread) in &store.threads {
        if config.is_some_and(|config| config.thread_id != *thread_id)
            || !thread_id.as_str().starts_with(prefix)
        {
            continue;
        }
        for (namespace_id, namespace) in &thread.namespaces {
            if wanted_namespace.is_some_and(|wanted| wanted != namespace_id) {
                continue;
            }
            for checkpoint_id in namespace.checkpoints.keys() {
                if wanted_checkpoint.is_none_or(|wanted| wanted == checkpoint_id)
                    && before.is_none_or(|before| checkpoint_id < before)
                {
                    keys.push(Key {
                        thread_id: thread_id.clone(),
                        namespace: namespace_id.clone(),
                        checkpoint_id: checkpoint_id.clone(),
                    });
                }
            }
        }
    }
    // The sort is stable, so that equal ids stay in the order of thread and namespace.
    keys.sort_by(|one, other| other.checkpoint_id.cmp(&one.checkpoint_id));
    keys
}

/// Removes what is not kept, and returns it.
///
/// Writes whose checkpoint is not there go if they are older than the newest checkpoint. Younger
/// ones are about to get theirs, unless the removal is final.
fn prune(namespace: &mut Namespace, kept: &BTreeSet<CheckpointId>, is_final: bool) -> Namespace {
    let newest = kept.last();
    let old = std::mem::take(namespace);
    let mut removed = Namespace::default();
    for (id, stored) in old.checkpoints {
        let into = if kept.contains(&id) {
            &mut *namespace
        } else {
            &mut removed
        };
        into.checkpoints.insert(id, stored);
    }
    for (id, writes) in old.writes {
        let awaits = !is_final && Some(&id) > newest;
        let into = if awaits || kept.contains(&id) {
            &mut *namespace
        } else {
            &mut removed
        };
        into.writes.insert(id, writes);
    }
    namespace.blobs = old.blobs;
    namespace.remove_unnamed_blobs();
    removed
}

fn remove_empty(store: &mut Store) {
    for thread in store.threads.values_mut() {
        thread
            .namespaces
            .retain(|_, namespace| !namespace.is_empty());
    }
    store.threads.retain(|_, thread| !thread.is_empty());
}

/// What a channel was given from `parent` back to the nearest checkpoint with a value.
fn history<'a>(
    namespace: Option<&'a Namespace>,
    mut parent: Option<&'a CheckpointId>,
    channel: &str,
) -> Result<DeltaChannelHistory> {
    let mut history = DeltaChannelHistory::default();
    let mut seen = BTreeSet::new();
    while let Some(namespace) = namespace
        && let Some(id) = parent
        && let Some(ancestor) = namespace.checkpoints.get(id)
        && seen.insert(id)
    {
        let writes = namespace.pending_writes(id).into_iter().rev();
        history
            .writes
            .extend(writes.filter(|write| write.channel == channel));
        if let Some(value) = ancestor.checkpoint.channel_values()?.get(channel) {
            history.seed = Some(value.clone());
            history.seed_checkpoint = Some(ancestor.checkpoint.clone());
            break;
        }
        parent = ancestor.parent.as_ref();
    }
    history.writes.reverse();
    Ok(history)
}

fn count(progress: &mut Progress, namespace: &Namespace) {
    progress.checkpoints += namespace.checkpoints.len() as u64;
    progress.writes += namespace.writes.values().map(BTreeMap::len).sum::<usize>() as u64;
}

fn report(callback: Option<&ProgressCallback>, progress: Progress) {
    if let Some(callback) = callback {
        callback.report(progress);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_has_expired_takes_no_memory() {
        let ttl = TtlPolicy::new(Duration::from_millis(20));
        let saver = MemorySaver::with_ttl(ttl).unwrap();
        let thread = CheckpointConfig::new("t").unwrap();
        let checkpoint = Checkpoint::builder().build().unwrap();
        let options = PutOptions::default();
        saver
            .put(&thread, &checkpoint, &CheckpointMetadata::new(), &options)
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(40)).await;
        assert!(saver.open().0.threads.is_empty());
    }

    #[test]
    fn a_ttl_of_nothing_is_refused() {
        let error = MemorySaver::with_ttl(TtlPolicy::new(Duration::ZERO)).unwrap_err();
        assert!(error.to_string().contains("ttl"), "{error}");
    }
}
