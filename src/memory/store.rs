//! What a [`MemorySaver`](super::MemorySaver) holds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::blobs::Blobs;
use super::lifetime::Lifetime;
use crate::checkpoint::{
    Checkpoint, CheckpointMetadata, CheckpointTuple, PendingWrite, TypedValue,
};
use crate::config::CheckpointConfig;
use crate::error::Result;
use crate::id::{CheckpointId, CheckpointNamespace, TaskId, ThreadId};
use crate::lineage::LineageNode;

/// All threads. What has expired is removed before each call, so that no call sees it.
#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) threads: BTreeMap<ThreadId, Thread>,
    /// How many writes there were.
    writes: u64,
    /// No entry expires before this.
    next_expiry: Option<Instant>,
}

impl Store {
    /// Removes what has expired.
    pub(super) fn remove_expired(&mut self, now: Instant) {
        if self.next_expiry.is_none_or(|expiry| expiry > now) {
            return;
        }
        for thread in self.threads.values_mut() {
            thread.retain_alive(now);
        }
        self.threads.retain(|_, thread| !thread.is_empty());
        self.next_expiry = self
            .threads
            .values()
            .flat_map(Thread::lifetimes)
            .filter_map(|lifetime| lifetime.0)
            .min();
    }

    /// The end of what is written now and kept for `ttl`.
    pub(super) fn lifetime(&mut self, ttl: Option<Duration>, now: Instant) -> Lifetime {
        let expiry = ttl.and_then(|ttl| now.checked_add(ttl));
        if let Some(expiry) = expiry {
            self.next_expiry = Some(self.next_expiry.map_or(expiry, |next| next.min(expiry)));
        }
        Lifetime(expiry)
    }

    pub(super) fn namespace(
        &self,
        thread_id: &ThreadId,
        namespace: &CheckpointNamespace,
    ) -> Option<&Namespace> {
        self.threads.get(thread_id)?.namespaces.get(namespace)
    }

    /// A namespace to write to.
    pub(super) fn written_namespace(
        &mut self,
        thread_id: &ThreadId,
        namespace: &CheckpointNamespace,
    ) -> &mut Namespace {
        self.writes += 1;
        let thread = self.threads.entry(thread_id.clone()).or_default();
        thread.last_write = self.writes;
        self.namespace_mut(thread_id, namespace)
    }

    pub(super) fn namespace_mut(
        &mut self,
        thread_id: &ThreadId,
        namespace: &CheckpointNamespace,
    ) -> &mut Namespace {
        self.threads
            .entry(thread_id.clone())
            .or_default()
            .namespaces
            .entry(namespace.clone())
            .or_default()
    }

    /// Stores a checkpoint, and returns the config that names it.
    pub(super) fn put(
        &mut self,
        config: &CheckpointConfig,
        checkpoint: &Checkpoint,
        metadata: CheckpointMetadata,
        lifetime: Lifetime,
    ) -> CheckpointConfig {
        let (thread_id, namespace, id) = (
            &config.thread_id,
            config.namespace(),
            checkpoint.id().clone(),
        );
        let stored = StoredCheckpoint {
            checkpoint: checkpoint.clone(),
            metadata,
            parent: config.checkpoint_id.clone(),
            lifetime,
        };
        self.written_namespace(thread_id, &namespace)
            .checkpoints
            .insert(id.clone(), stored);
        CheckpointConfig::of_checkpoint(thread_id.clone(), namespace, id)
    }

    /// The checkpoint of a key, with what belongs to it.
    pub(super) fn tuple(&self, key: &Key) -> Option<CheckpointTuple> {
        let namespace = self.namespace(&key.thread_id, &key.namespace)?;
        let stored = namespace.checkpoints.get(&key.checkpoint_id)?;
        let config = |checkpoint_id: &CheckpointId| {
            CheckpointConfig::of_checkpoint(
                key.thread_id.clone(),
                key.namespace.clone(),
                checkpoint_id.clone(),
            )
        };
        Some(CheckpointTuple {
            config: config(&key.checkpoint_id),
            checkpoint: stored.checkpoint.clone(),
            metadata: stored.metadata.clone(),
            parent_config: stored.parent.as_ref().map(config),
            pending_writes: namespace.pending_writes(&key.checkpoint_id),
        })
    }
}

/// What names a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) thread_id: ThreadId,
    pub(super) namespace: CheckpointNamespace,
    pub(super) checkpoint_id: CheckpointId,
}

#[derive(Debug, Default)]
pub(super) struct Thread {
    /// Whether what is written to the thread never expires.
    pub(super) pinned: bool,
    /// Which of all writes the last one was.
    pub(super) last_write: u64,
    pub(super) namespaces: BTreeMap<CheckpointNamespace, Namespace>,
}

impl Thread {
    pub(super) fn is_empty(&self) -> bool {
        self.namespaces.is_empty()
    }

    /// Removes the checkpoints, writes and blobs that have expired, and namespaces left empty.
    fn retain_alive(&mut self, now: Instant) {
        self.namespaces.retain(|_, namespace| {
            namespace
                .checkpoints
                .retain(|_, stored| !stored.lifetime.is_over(now));
            namespace.writes.retain(|_, writes| {
                writes.retain(|_, write| !write.lifetime.is_over(now));
                !writes.is_empty()
            });
            namespace.blobs.retain_alive(now);
            !namespace.is_empty()
        });
    }

    fn lifetimes(&self) -> impl Iterator<Item = Lifetime> {
        self.namespaces.values().flat_map(|namespace| {
            let checkpoints = namespace.checkpoints.values().map(|stored| stored.lifetime);
            let writes = namespace.writes.values().flat_map(BTreeMap::values);
            checkpoints
                .chain(writes.map(|write| write.lifetime))
                .chain(namespace.blobs.lifetimes())
        })
    }

    pub(super) fn lifetimes_mut(&mut self) -> impl Iterator<Item = &mut Lifetime> {
        self.namespaces.values_mut().flat_map(|namespace| {
            let checkpoints = namespace
                .checkpoints
                .values_mut()
                .map(|stored| &mut stored.lifetime);
            let writes = namespace.writes.values_mut().flat_map(BTreeMap::values_mut);
            checkpoints
                .chain(writes.map(|write| &mut write.lifetime))
                .chain(namespace.blobs.lifetimes_mut())
        })
    }

    /// The newest checkpoint of the root namespace, else of any.
    pub(super) fn newest(&self) -> Option<(&CheckpointId, &StoredCheckpoint)> {
        let root = self.namespaces.get(&CheckpointNamespace::root());
        root.and_then(|root| root.checkpoints.last_key_value())
            .or_else(|| {
                self.namespaces
                    .values()
                    .filter_map(|namespace| namespace.checkpoints.last_key_value())
                    .max_by_key(|(id, _)| *id)
            })
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Namespace {
    pub(super) checkpoints: BTreeMap<CheckpointId, StoredCheckpoint>,
    /// By checkpoint, which may not be there (yet); then by task and index.
    pub(super) writes: BTreeMap<CheckpointId, BTreeMap<(TaskId, i64), StoredWrite>>,
    pub(super) blobs: Blobs,
}

impl Namespace {
    /// Whether there is neither a checkpoint nor a write; blobs without a checkpoint do not count.
    pub(super) fn is_empty(&self) -> bool {
        self.checkpoints.is_empty() && self.writes.is_empty()
    }

    pub(super) fn pending_writes(&self, checkpoint_id: &CheckpointId) -> Vec<PendingWrite> {
        let mut writes: Vec<PendingWrite> = self
            .writes
            .get(checkpoint_id)
            .into_iter()
            .flatten()
            .map(|((task_id, idx), write)| PendingWrite {
                task_id: task_id.clone(),
                task_path: write.task_path.clone(),
                idx: *idx,
                channel: write.channel.clone(),
                value: write.value.clone(),
            })
            .collect();
        writes.sort_by(|one, other| one.sort_key().cmp(&other.sort_key()));
        writes
    }

    pub(super) fn remove(&mut self, checkpoint_id: &CheckpointId) {
        self.checkpoints.remove(checkpoint_id);
        self.writes.remove(checkpoint_id);
    }

    /// Removes the blobs that no checkpoint names.
    pub(super) fn remove_unnamed_blobs(&mut self) {
        let checkpoints = self.checkpoints.values();
        self.blobs
            .retain_named(checkpoints.map(|stored| &stored.checkpoint));
    }

    /// Lets a checkpoint and its writes expire later.
    pub(super) fn slide(&mut self, checkpoint_id: &CheckpointId, to: Lifetime) {
        if let Some(stored) = self.checkpoints.get_mut(checkpoint_id) {
            stored.lifetime.slide(to);
        }
        for write in self.writes.get_mut(checkpoint_id).into_iter().flatten() {
            write.1.lifetime.slide(to);
        }
    }

    /// What is known of each checkpoint's ancestors.
    pub(super) fn lineage(&self) -> Result<Vec<LineageNode>> {
        self.checkpoints
            .iter()
            .map(|(id, stored)| {
                let writes = self.writes.get(id).into_iter().flatten();
                let node = LineageNode::new(
                    &stored.checkpoint,
                    &stored.metadata,
                    stored.parent.clone(),
                    writes.map(|(_, write)| write.channel.as_str()),
                )?;
                Ok(node.with_values(self.blobs.channels_of(&stored.checkpoint)))
            })
            .collect()
    }
}

#[derive(Debug, Clone)]
pub(super) struct StoredCheckpoint {
    pub(super) checkpoint: Checkpoint,
    pub(super) metadata: CheckpointMetadata,
    pub(super) parent: Option<CheckpointId>,
    pub(super) lifetime: Lifetime,
}

#[derive(Debug, Clone)]
pub(super) struct StoredWrite {
    pub(super) task_path: String,
    pub(super) channel: String,
    pub(super) value: TypedValue,
    pub(super) lifetime: Lifetime,
}
