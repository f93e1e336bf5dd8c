//! `prune`.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::blobs::channels_with_blobs;
use super::outlines::Outlines;
use super::scripts;
use super::{Compact, collect, remove};
use crate::error::Result;
use crate::id::{CheckpointId, CheckpointNamespace, ThreadId};
use crate::lineage::{LineageNode, Plan, Roots};
use crate::options::{DeleteOptions, Progress, PruneOptions, PruneStrategy};
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

/// Removes old checkpoints of a thread, never one that a kept one needs, and the parts that only
/// they named.
async fn prune(layout: &Compact, thread: &ThreadId, options: &PruneOptions) -> Result<()> {
    let mut counter = Counter::new(options.progress.clone());
    let mut plans = BTreeMap::new();
    let mut roots = Roots::default();
    // The root comes first: subgraphs' calls go with the root checkpoint that they started from.
    for namespace in layout.namespaces("prune", thread).await? {
        let plan = plan(layout, thread, &namespace, &options.strategy, &mut roots).await?;
        let removed = &plan.removed;
        remove::remove(layout, "prune", thread, &namespace, removed, &mut counter).await?;
        plans.insert(namespace, plan);
    }
    for (namespace, id) in layout.early_checkpoints("prune", thread).await? {
        if let Some(plan) = plans.get(&namespace)
            && plan.ends_writes_of(&id)
        {
            remove::remove(layout, "prune", thread, &namespace, &[id], &mut counter).await?;
        }
    }
    collect::collect_what_was_left(layout, "prune", thread).await
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

async fn plan(
    layout: &Compact,
    thread: &ThreadId,
    namespace: &CheckpointNamespace,
    strategy: &PruneStrategy,
    roots: &mut Roots,
) -> Result<Plan> {
    let blobs = layout.valued_blobs("prune", thread, namespace).await?;
    let mut nodes = Vec::new();
    let mut writes = Vec::new();
    let mut walk = Outlines::of(thread, namespace);
    while let Some(page) = walk.next(layout, "prune").await? {
        for outline in page {
            let written = outline.written.iter().map(String::as_str);
            writes.push(outline.written.len() as u64);
            let (checkpoint, metadata) = (&outline.checkpoint, &outline.metadata);
            let node = LineageNode::new(checkpoint, metadata, outline.parent, written)?;
            nodes.push(node.with_values(channels_with_blobs(checkpoint, &blobs)));
        }
    }
    Ok(Plan::new(namespace, &nodes, &writes, strategy, roots))
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
