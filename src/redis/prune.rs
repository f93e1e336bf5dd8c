//! `prune`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::stream::TryStreamExt;

use super::keys::Member;
use super::progress::Counter;
use super::store::Store;
use super::{blob_gc, blobs, delete, list, registry, remove};
use crate::error::Result;
use crate::id::{CheckpointNamespace, ThreadId};
use crate::lineage::{LineageNode, Plan, Roots};
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
    let mut plans = BTreeMap::new();
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
        plans.insert(namespace, plan);
    }
    // What another saver has put in the meantime is no longer waited for.
    for member in registry::members(store, thread).await? {
        if let Member::Removed(namespace, id) = &member {
            remove::finish_removal(store, &store.keys(thread, namespace), id).await?;
        }
        if let Member::Writes(namespace, id) = member
            && let Some(plan) = plans.get(&namespace)
            && plan.ends_writes_of(&id)
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
    let mut writes = Vec::new();
    let mut checkpoints = list::list_namespace(store, thread, namespace);
    while let Some(tuple) = checkpoints.try_next().await? {
        let parent = tuple.parent_config.and_then(|parent| parent.checkpoint_id);
        let written = tuple
            .pending_writes
            .iter()
            .map(|write| write.channel.as_str());
        writes.push(tuple.pending_writes.len() as u64);
        let apart = blobs::channels_with_blobs(&tuple.checkpoint, &blobs);
        let node = LineageNode::new(&tuple.checkpoint, &tuple.metadata, parent, written)?;
        nodes.push(node.with_values(apart));
    }
    Ok(Plan::new(namespace, &nodes, &writes, strategy, roots))
}
