//! `prune`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::stream::TryStreamExt;

use super::keys::Member;
use super::progress::Counter;
use super::store::Store;
use super::{blob_gc, blobs, delete, list, registry, remove};
use crate::error::Result;
use crate::id::{CheckpointId, CheckpointNamespace, ThreadId};
use crate::lineage::{LineageNode, Roots, survivors};
use crate::options::{DeleteOptions, Progress, PruneOptions, PruneStrategy};

/// Prunes threads, one after the other.
pub(crate) async fn prune_all(
    store: &Arc<Store>,
    threads: &[ThreadId],
    options: &PruneOptions,
) -> Result<()> {
    options.strategy.check()?;
    for thread in threads {
        if options.strategy == PruneStrategy::Delete {
            let mut delete = DeleteOptions::default();
            delete.progress.clone_from(&options.progress);
            delete::delete_thread(store, thread, &delete).await?;
        } else {
            prune(store, thread, options).await?;
        }
    }
    Ok(())
}

/// Removes old checkpoints of a thread, never one that a kept one needs.
pub(crate) async fn prune(
    store: &Arc<Store>,
    thread: &ThreadId,
    options: &PruneOptions,
) -> Result<()> {
    let mut counter = Counter::new(options.progress.clone());
    let mut kept_of = BTreeMap::new();
    let mut roots = Roots::default();
    for (namespace, has_blobs) in prunable_namespaces(store, thread).await? {
        let strategy = &options.strategy;
        let plan = plan(store, thread, &namespace, strategy, has_blobs, &mut roots).await?;
        if !plan.removed.is_empty() {
            let keys = store.keys(thread, &namespace);
            remove::remove(store, &keys, &plan.removed, &mut counter).await?;
        }
        if has_blobs {
            blob_gc::gc(store, thread, &namespace, &mut counter).await?;
        }
        kept_of.insert(namespace, (plan.kept, plan.is_over));
    }
    // Writes that wait for a checkpoint stay only if it can still become the newest; what another
    // saver has put in the meantime is no longer waited for.
    for member in registry::members(store, thread).await? {
        if let Member::Removed(namespace, id) = &member {
            remove::finish_removal(store, &store.keys(thread, namespace), id).await?;
        }
        if let Member::Writes(namespace, id) = member
            && kept_of.get(&namespace).is_some_and(|(kept, is_over)| {
                *is_over || (Some(&id) <= kept.last() && !kept.contains(&id))
            })
        {
            remove::remove(store, &store.keys(thread, &namespace), &[id], &mut counter).await?;
        }
    }
    Ok(())
}

/// What [`prune`] would remove of a thread, with nothing removed.
pub(crate) async fn prunable(
    store: &Arc<Store>,
    thread: &ThreadId,
    strategy: &PruneStrategy,
) -> Result<Progress> {
    strategy.check()?;
    let mut prunable = Progress::default();
    let mut roots = Roots::default();
    for (namespace, has_blobs) in prunable_namespaces(store, thread).await? {
        let plan = plan(store, thread, &namespace, strategy, has_blobs, &mut roots).await?;
        prunable.checkpoints += plan.removed.len() as u64;
        prunable.writes += plan.writes;
    }
    Ok(prunable)
}

/// The namespaces of a thread, and whether each has blobs. The root comes first: subgraphs' calls
/// go with the root checkpoint that they started from.
async fn prunable_namespaces(
    store: &Arc<Store>,
    thread: &ThreadId,
) -> Result<Vec<(CheckpointNamespace, bool)>> {
    let blobs = registry::namespaces_with_blobs(store, thread).await?;
    let mut namespaces = registry::namespaces(store, thread).await?;
    namespaces.sort_by_key(|namespace| !namespace.is_root());
    let namespaces = namespaces.into_iter().map(|namespace| {
        let has_blobs = blobs.contains(&namespace);
        (namespace, has_blobs)
    });
    Ok(namespaces.collect())
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
    store: &Arc<Store>,
    thread: &ThreadId,
    namespace: &CheckpointNamespace,
    strategy: &PruneStrategy,
    has_blobs: bool,
    roots: &mut Roots,
) -> Result<Plan> {
    let blobs = if has_blobs {
        blobs::valued_blobs(store, thread, namespace).await?
    } else {
        BTreeSet::new()
    };
    let mut nodes = Vec::new();
    let mut ids = Vec::new();
    let mut checkpoints = list::list_namespace(store, thread, namespace);
    while let Some(tuple) = checkpoints.try_next().await? {
        let parent = tuple.parent_config.and_then(|parent| parent.checkpoint_id);
        let written = tuple
            .pending_writes
            .iter()
            .map(|write| write.channel.as_str());
        let writes = tuple.pending_writes.len() as u64;
        ids.push((tuple.checkpoint.id().clone(), writes));
        let apart = blobs::channels_with_blobs(&tuple.checkpoint, &blobs);
        let node = LineageNode::new(&tuple.checkpoint, &tuple.metadata, parent, written)?;
        nodes.push(node.with_values(apart));
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
