//! A new thread from a checkpoint of another: it, its ancestors, and what its next step needs.

use axum::http::StatusCode;
use futures_util::TryStreamExt;

use super::failure::Failure;
use super::site::Site;
use crate::blobs::{BlobPage, ChannelBlob, ExistingWrites, named_by};
use crate::checkpoint::CheckpointTuple;
use crate::config::CheckpointConfig;
use crate::error::Result;
use crate::id::{CheckpointId, CheckpointNamespace, ThreadId};
use crate::options::{ListOptions, PutOptions};
use crate::saver::CheckpointSaver;

/// How many ancestors are copied; a thread with more is copied by the command line.
const MAX_ANCESTORS: u64 = 20_000;

/// How many checkpoints are looked through for those of subgraphs.
const MAX_LOOKED_THROUGH: usize = 1_000;

/// Copies a checkpoint of the root graph to a thread that is new, with its ancestors, and returns
/// how many checkpoints that are.
///
/// The pending writes of the newest checkpoint of a thread come along, and the subgraphs that it
/// has called: the copy waits where the thread waits. From an older one, whose step has run, the
/// copy runs the step again. The checkpoint itself is stored last: a copy that is cut off does not
/// look complete, and may be made again once it is deleted.
pub(super) async fn copy_from(
    site: &Site,
    from: &CheckpointConfig,
    target: &ThreadId,
) -> Result<u64, Failure> {
    if site.saver.get_ref().summary(target).await?.is_some() {
        return Err(Failure::new(
            StatusCode::CONFLICT,
            "There is a thread of this id already; choose another.",
        ));
    }
    let first = site.checkpoint(from).await?;
    let newest = site
        .look(&CheckpointConfig::of_thread(from.thread_id.clone()))
        .await?;
    let is_newest = newest.is_some_and(|newest| newest.checkpoint.id() == first.checkpoint.id());
    let mut copied = copy_subgraphs(site, &first, target, is_newest).await?;
    let mut next = first.parent_config.clone();
    while let Some(config) = next {
        // An ancestor that has expired or was pruned ends the history, as it does in the source.
        let Some(tuple) = site.look(&config).await? else {
            break;
        };
        put(site, &tuple, target, true).await?;
        copied += 1;
        if copied > MAX_ANCESTORS {
            return Err(Failure::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "The checkpoint has too many ancestors: copy the thread with `langgraph-redis copy`, and delete what was copied by now.",
            ));
        }
        // Parents are older than their children; what is not would lead in a circle.
        next = tuple
            .parent_config
            .filter(|parent| parent.checkpoint_id.as_ref() < Some(tuple.checkpoint.id()));
    }
    put(site, &first, target, is_newest).await?;
    Ok(copied + 1)
}

/// Copies what the next step of a checkpoint needs of subgraphs: those that it has called, if it
/// is the newest, and the newest state of each that keeps its state between runs.
async fn copy_subgraphs(
    site: &Site,
    first: &CheckpointTuple,
    target: &ThreadId,
    is_newest: bool,
) -> Result<u64, Failure> {
    let config = CheckpointConfig::of_thread(first.config.thread_id.clone());
    let options = ListOptions::default().with_limit(MAX_LOOKED_THROUGH);
    let mut checkpoints = site.saver.list(Some(&config), options);
    let mut kept: Vec<CheckpointNamespace> = Vec::new();
    let mut copied = 0;
    let id = first.checkpoint.id();
    while let Some(tuple) = checkpoints.try_next().await? {
        let namespace = tuple.config.namespace();
        if namespace.is_root() {
            continue;
        }
        let called_here = is_newest && root_of(&tuple).as_ref() == Some(id);
        let keeps_state = !namespace.as_str().contains(':') && !kept.contains(&namespace);
        if called_here || (keeps_state && tuple.checkpoint.id() < id) {
            put(site, &tuple, target, true).await?;
            copied += 1;
            if keeps_state {
                kept.push(namespace);
            }
        }
    }
    Ok(copied)
}

/// The root checkpoint from which a subgraph was called.
fn root_of(tuple: &CheckpointTuple) -> Option<CheckpointId> {
    let parents: std::collections::BTreeMap<String, String> =
        tuple.metadata.get("parents").ok()??;
    CheckpointId::new(parents.get("")?).ok()
}

/// Stores a checkpoint in another thread, with the values that are stored apart from it.
async fn put(
    site: &Site,
    tuple: &CheckpointTuple,
    target: &ThreadId,
    with_writes: bool,
) -> Result<()> {
    let namespace = tuple.config.namespace();
    let mut config = CheckpointConfig::of_thread(target.clone());
    config.checkpoint_ns = Some(namespace.clone());
    let parent = tuple.parent_config.as_ref();
    config.checkpoint_id = parent.and_then(|parent| parent.checkpoint_id.clone());
    let store = site.saver.get_ref();
    let (checkpoint, metadata) = (&tuple.checkpoint, &tuple.metadata);
    let blobs = blobs_of(site, tuple).await?;
    if with_writes && !tuple.pending_writes.is_empty() {
        let at = CheckpointConfig::of_checkpoint(
            target.clone(),
            namespace,
            tuple.checkpoint.id().clone(),
        );
        // They come first, so that who finds the checkpoint finds them as well.
        let writes = store.put_indexed_writes(&at, &tuple.pending_writes, ExistingWrites::Replace);
        writes.await?;
    }
    if blobs.is_empty() {
        let options = PutOptions::default();
        let put = site.saver.put(&config, checkpoint, metadata, &options);
        put.await?;
    } else {
        let put = store.put_with_blobs(&config, checkpoint, metadata, &blobs);
        put.await?;
    }
    Ok(())
}

/// The values of a checkpoint that are stored apart from it.
async fn blobs_of(site: &Site, tuple: &CheckpointTuple) -> Result<Vec<ChannelBlob>> {
    let values = tuple.checkpoint.channel_values()?;
    let lacking = named_by(&tuple.checkpoint)
        .into_iter()
        .any(|(channel, _)| values.get(&channel).is_none());
    if !lacking {
        return Ok(Vec::new());
    }
    let (thread, namespace) = (&tuple.config.thread_id, tuple.config.namespace());
    let store = site.saver.get_ref();
    let mut pages = store.blobs_of(thread, &namespace, &tuple.checkpoint);
    let mut blobs = Vec::new();
    while let Some(page) = pages.try_next().await? {
        match page {
            BlobPage::Found(found) => blobs.extend(found),
            BlobPage::Gone => break,
        }
    }
    Ok(blobs)
}
