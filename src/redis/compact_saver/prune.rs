//! `prune`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use bytes::Bytes;

use super::blobs::channels_with_blobs;
use super::list::{codecs, readers};
use super::read::damaged;
use super::scripts::{self, Order, page_call, page_of};
use super::{Compact, collect, remove};
use crate::checkpoint::{Checkpoint, CheckpointMetadata};
use crate::error::Result;
use crate::id::{CheckpointId, CheckpointNamespace, ThreadId};
use crate::lineage::{LineageNode, Roots, survivors};
use crate::options::{DeleteOptions, Progress, PruneOptions, PruneStrategy};
use crate::redis::keys::CheckpointRef;
use crate::redis::progress::Counter;

/// How many checkpoints with writes alone are looked for in one step.
const EARLY: usize = 200;

/// Prunes threads, one after the other.
pub(super) async fn prune_all(
    layout: &Compact,
    threads: &[ThreadId],
    options: &PruneOptions,
) -> Result<()> {
    options.strategy.check()?;
    for thread in threads {
        if options.strategy == PruneStrategy::Delete {
            let mut delete = DeleteOptions::default();
            delete.progress.clone_from(&options.progress);
            remove::delete_thread(layout, thread, &delete).await?;
        } else {
            prune(layout, thread, options).await?;
        }
    }
    Ok(())
}

/// Removes old checkpoints of a thread, never one that a kept one needs, and the parts that only they
/// named.
async fn prune(layout: &Compact, thread: &ThreadId, options: &PruneOptions) -> Result<()> {
    let mut counter = Counter::new(options.progress.clone());
    let mut kept_of = BTreeMap::new();
    let mut roots = Roots::default();
    let mut has_removed = false;
    // The root comes first: subgraphs' calls go with the root checkpoint that they started from.
    for namespace in layout.namespaces("prune", thread).await? {
        let plan = plan(layout, thread, &namespace, &options.strategy, &mut roots).await?;
        let removed = &plan.removed;
        has_removed |= !removed.is_empty();
        remove::remove(layout, "prune", thread, &namespace, removed, &mut counter).await?;
        kept_of.insert(namespace, (plan.kept, plan.is_over));
    }
    // Writes that wait for a checkpoint stay only if it can still become the newest.
    for (namespace, id) in layout.early_checkpoints("prune", thread).await? {
        if kept_of.get(&namespace).is_some_and(|(kept, is_over)| {
            *is_over || (Some(&id) <= kept.last() && !kept.contains(&id))
        }) {
            has_removed = true;
            remove::remove(layout, "prune", thread, &namespace, &[id], &mut counter).await?;
        }
    }
    if has_removed {
        collect::collect(layout, "prune", thread).await?;
    }
    Ok(())
}

/// What [`prune`] would remove of a thread, with nothing removed.
pub(super) async fn prunable(
    layout: &Compact,
    thread: &ThreadId,
    strategy: &PruneStrategy,
) -> Result<Progress> {
    strategy.check()?;
    let mut prunable = Progress::default();
    let mut roots = Roots::default();
    for namespace in layout.namespaces("prune", thread).await? {
        let plan = plan(layout, thread, &namespace, strategy, &mut roots).await?;
        prunable.checkpoints += plan.removed.len() as u64;
        prunable.writes += plan.writes;
    }
    Ok(prunable)
}

/// What becomes of a namespace's checkpoints when it is pruned.
struct Plan {
    removed: Vec<CheckpointId>,
    /// How many writes go with them.
    writes: u64,
    kept: BTreeSet<CheckpointId>,
    /// Whether nothing is kept, as it is a subgraph's call that is over.
    is_over: bool,
}

async fn plan(
    layout: &Compact,
    thread: &ThreadId,
    namespace: &CheckpointNamespace,
    strategy: &PruneStrategy,
    roots: &mut Roots,
) -> Result<Plan> {
    let blobs = layout.valued_blobs("prune", thread, namespace).await?;
    let mut nodes = Vec::new();
    let mut ids = Vec::new();
    let mut walk = Outlines::of(thread, namespace);
    while let Some(page) = walk.next(layout, "prune").await? {
        for outline in page {
            let written = outline.written.iter().map(String::as_str);
            ids.push((
                outline.checkpoint.id().clone(),
                outline.written.len() as u64,
            ));
            let (checkpoint, metadata) = (&outline.checkpoint, &outline.metadata);
            let node = LineageNode::new(checkpoint, metadata, outline.parent, written)?;
            nodes.push(node.with_values(channels_with_blobs(checkpoint, &blobs)));
        }
    }
    let is_over = roots.have_left(namespace, &nodes);
    let kept = if is_over {
        BTreeSet::new()
    } else {
        survivors(&nodes, strategy, SystemTime::now())
    };
    if namespace.is_root() {
        *roots = Roots::new(&nodes, kept.clone());
    }
    ids.retain(|(id, _)| !kept.contains(id));
    Ok(Plan {
        writes: ids.iter().map(|(_, writes)| writes).sum(),
        removed: ids.into_iter().map(|(id, _)| id).collect(),
        kept,
        is_over,
    })
}

/// A checkpoint without the values of its channels, and what was written to it.
pub(super) struct Outline {
    pub(super) checkpoint: Checkpoint,
    pub(super) metadata: CheckpointMetadata,
    pub(super) parent: Option<CheckpointId>,
    /// The channels of its writes.
    pub(super) written: Vec<String>,
}

/// A walk over the checkpoints of a namespace, newest first, without the values of their channels.
pub(super) struct Outlines {
    thread: ThreadId,
    namespace: CheckpointNamespace,
    last: Option<CheckpointId>,
    ended: bool,
}

impl Outlines {
    pub(super) fn of(thread: &ThreadId, namespace: &CheckpointNamespace) -> Self {
        Self {
            thread: thread.clone(),
            namespace: namespace.clone(),
            last: None,
            ended: false,
        }
    }

    /// The next page; it may be empty. `None` after the last.
    pub(super) async fn next(
        &mut self,
        layout: &Compact,
        operation: &'static str,
    ) -> Result<Option<Vec<Outline>>> {
        if self.ended {
            return Ok(None);
        }
        let (store, thread) = (&layout.store, &self.thread);
        let keys = store.keyspace.compact(thread);
        let (order, most) = (Order::NewestFirst, store.settings.page_size);
        let call = page_call(&keys, &self.namespace, order, self.last.as_ref(), most);
        let (more, ids) = page_of(&keys, store.script(operation, call).await?)?;
        self.ended = !more;
        self.last = ids.last().cloned().or(self.last.take());
        let refs: Vec<CheckpointRef> = ids
            .iter()
            .map(|id| CheckpointRef::new(thread, &self.namespace, id))
            .collect();
        let codecs = codecs(layout, refs.iter());
        let mut readers = readers(&codecs);
        let mut read = Vec::with_capacity(refs.len());
        for found in layout.read_heads(operation, &refs, &mut readers).await? {
            read.extend(found?);
        }
        let mut outlines = Vec::with_capacity(read.len());
        let Some(reader) = readers.get_mut(thread) else {
            return Ok(Some(outlines));
        };
        for read in read {
            let written = read.writes.iter();
            let written = written.map(|write| write.record.channel.clone()).collect();
            let ropes: Vec<_> = read.head.outline_ropes().collect();
            let fetched = layout.fetch(operation, thread, reader, &ropes);
            let (checkpoint, metadata) = if fetched.await?.is_none() {
                let outline = reader.outline(&read.at.checkpoint_id, &read.head);
                outline.map_err(|damage| damaged(&keys, &read.at, damage))?
            } else {
                // It was removed in the meantime, or cannot be read.
                let alone = layout.read(operation, &read.at.config(), false).await?;
                let Some(alone) = alone else { continue };
                (alone.checkpoint, alone.metadata)
            };
            outlines.push(Outline {
                checkpoint,
                metadata,
                parent: read.head.parent,
                written,
            });
        }
        Ok(Some(outlines))
    }
}

impl Compact {
    /// The checkpoints of a thread that are not there and have writes.
    pub(super) async fn early_checkpoints(
        &self,
        operation: &'static str,
        thread: &ThreadId,
    ) -> Result<Vec<(CheckpointNamespace, CheckpointId)>> {
        let keys = self.store.keyspace.compact(thread);
        let (mut early, mut last) = (Vec::new(), Bytes::new());
        loop {
            let page = scripts::early(&self.store, operation, &keys, last, EARLY).await?;
            early.extend(page.checkpoints);
            if page.next.is_empty() {
                return Ok(early);
            }
            last = page.next;
        }
    }

    /// The namespaces of a thread that have blobs.
    pub(super) async fn namespaces_with_blobs(
        &self,
        operation: &'static str,
        thread: &ThreadId,
    ) -> Result<Vec<CheckpointNamespace>> {
        let keys = self.store.keyspace.compact(thread);
        let (mut found, mut last) = (Vec::new(), Bytes::new());
        loop {
            let page = scripts::early(&self.store, operation, &keys, last, EARLY).await?;
            found.extend(page.with_blobs);
            if page.next.is_empty() {
                return Ok(found);
            }
            last = page.next;
        }
    }
}
