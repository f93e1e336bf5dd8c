//! Checkpoints with blobs, and writes under the indexes that their caller gives, as the HTTP
//! service stores them.

use super::blobs;
use super::keys::CheckpointRef;
use super::put;
use super::store::Store;
use crate::blobs::{ChannelBlob, ExistingWrites, named_by};
use crate::checkpoint::{Checkpoint, CheckpointMetadata, PendingWrite};
use crate::config::CheckpointConfig;
use crate::error::Result;
use crate::options::{PutOptions, TtlChoice};

/// Stores a checkpoint and blobs of it.
pub(crate) async fn put_with_blobs(
    store: &Store,
    config: &CheckpointConfig,
    checkpoint: &Checkpoint,
    metadata: &CheckpointMetadata,
    blobs: &[ChannelBlob],
) -> Result<CheckpointConfig> {
    let ttl = TtlChoice::Default.resolve(store.settings.ttl.default)?;
    let (thread, namespace) = (&config.thread_id, config.namespace());
    let named = named_by(checkpoint);
    let put_blobs = async || blobs::put_blobs(store, thread, &namespace, blobs, &named, ttl).await;
    let members = put_blobs().await?;
    let options = PutOptions::default();
    let stored = put::put(store, config, checkpoint, metadata, &options).await?;
    let settled = async || blobs::settle_blobs(store, thread, &namespace, &members, ttl).await;
    // A concurrent delete of the thread may have removed them before the checkpoint was put.
    if !settled().await? {
        put_blobs().await?;
        settled().await?;
    }
    Ok(stored)
}

/// Stores writes under the tasks and indexes that they name, all of them together.
pub(crate) async fn put_indexed_writes(
    store: &Store,
    config: &CheckpointConfig,
    writes: &[PendingWrite],
    existing: ExistingWrites,
) -> Result<()> {
    let id = config.required_checkpoint()?;
    if writes.is_empty() {
        return Ok(());
    }
    let ttl = TtlChoice::Default.resolve(store.settings.ttl.default)?;
    let identity = CheckpointRef::new(&config.thread_id, &config.namespace(), id);
    let replace = existing == ExistingWrites::Replace;
    put::put_indexed_writes(store, &identity, writes, replace, ttl).await
}
