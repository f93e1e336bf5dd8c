//! `put` and `put_writes`: one script each, which stores nothing if it lacks parts that the saver
//! thought it has; then all are sent.

use std::time::Duration;

use bytes::Bytes;
use indexmap::IndexMap;

use super::scripts::{PutCall, PutWritesCall, lacks_parts};
use super::{Compact, place};
use crate::blobs::ChannelBlob;
use crate::checkpoint::{
    ChannelWrite, Checkpoint, CheckpointMetadata, PendingWrite, special_index, write_index,
};
use crate::config::CheckpointConfig;
use crate::error::{Error, Result};
use crate::id::{CheckpointId, TaskId};
use crate::options::{ExpectedParent, PutOptions, PutWritesOptions};
use crate::redis::compact::Sending;
use crate::redis::keys::CheckpointRef;

/// Stores a checkpoint and blobs of it.
pub(super) async fn put(
    layout: &Compact,
    config: &CheckpointConfig,
    checkpoint: &Checkpoint,
    metadata: &CheckpointMetadata,
    blobs: &[ChannelBlob],
    options: &PutOptions,
) -> Result<CheckpointConfig> {
    let ttl = options.ttl.resolve(layout.store.settings.ttl.default)?;
    let metadata = config.joined_metadata(metadata)?;
    let at = CheckpointRef {
        thread_id: config.thread_id.clone(),
        namespace: config.namespace(),
        checkpoint_id: checkpoint.id().clone(),
    };
    let new = NewCheckpoint {
        parent: config.checkpoint_id.as_ref(),
        checkpoint,
        metadata: &metadata,
        blobs,
        expected: &options.expected_parent,
    };
    put_checkpoint(layout, &at, &new, ttl).await?;
    Ok(at.config())
}

/// A checkpoint to store.
pub(super) struct NewCheckpoint<'a> {
    pub(super) parent: Option<&'a CheckpointId>,
    pub(super) checkpoint: &'a Checkpoint,
    pub(super) metadata: &'a CheckpointMetadata,
    /// Blobs that it names; those that are there stay.
    pub(super) blobs: &'a [ChannelBlob],
    pub(super) expected: &'a ExpectedParent,
}

/// Stores a checkpoint at its place.
pub(super) async fn put_checkpoint(
    layout: &Compact,
    at: &CheckpointRef,
    new: &NewCheckpoint<'_>,
    ttl: Option<Duration>,
) -> Result<()> {
    let NewCheckpoint {
        parent,
        checkpoint,
        metadata,
        blobs,
        expected,
    } = *new;
    let store = &layout.store;
    let what = || {
        format!(
            "the checkpoint {} of thread {}",
            at.checkpoint_id, at.thread_id
        )
    };
    let size = checkpoint.fields().text_len() + metadata.fields().text_len();
    store.check_size(what, size)?;
    let keys = store.keyspace.compact(&at.thread_id);
    let thread = layout.codec.of_thread(&at.thread_id);
    for sending in [Sending::New, Sending::All] {
        let encoded = thread.encode_head(at, parent, checkpoint, metadata, sending)?;
        let blobs = layout.encode_blobs(&at.thread_id, &at.namespace, blobs, sending)?;
        let call = PutCall {
            at,
            head: encoded.head,
            parts: &encoded.parts,
            blobs: &blobs,
            ttl,
            expected,
        };
        if !lacks_parts(store.script("put", call.on(&keys)).await?) {
            thread.remember(encoded.parts);
            thread.remember(blobs.parts);
            layout.remember_newest(&keys, at);
            return Ok(());
        }
    }
    Err(lacking(&keys.parts))
}

/// Stores the writes of a task.
pub(super) async fn put_writes(
    layout: &Compact,
    config: &CheckpointConfig,
    writes: &[ChannelWrite],
    task_id: &TaskId,
    options: &PutWritesOptions,
) -> Result<()> {
    let ttl = options.ttl.resolve(layout.store.settings.ttl.default)?;
    let at = CheckpointRef {
        thread_id: config.thread_id.clone(),
        namespace: config.namespace(),
        checkpoint_id: config.required_checkpoint()?.clone(),
    };
    let replace = writes
        .iter()
        .all(|write| special_index(&write.channel).is_some());
    // Of two writes of one call with one index, the later special one replaces the earlier,
    // and the earlier regular one stays.
    let mut pending: IndexMap<i64, PendingWrite> = IndexMap::with_capacity(writes.len());
    for (position, write) in writes.iter().enumerate() {
        let idx = write_index(&write.channel, position);
        if !replace && pending.contains_key(&idx) {
            continue;
        }
        let write = PendingWrite {
            task_id: task_id.clone(),
            task_path: options.task_path.clone(),
            idx,
            channel: write.channel.clone(),
            value: write.value.clone(),
        };
        pending.insert(idx, write);
    }
    put_pending(layout, &at, pending.values(), replace, ttl).await
}

/// Stores writes under the tasks and indexes that they have, all together.
pub(super) async fn put_pending<'w>(
    layout: &Compact,
    at: &CheckpointRef,
    writes: impl Iterator<Item = &'w PendingWrite> + Clone + Send,
    replace: bool,
    ttl: Option<Duration>,
) -> Result<()> {
    let store = &layout.store;
    if writes.clone().next().is_none() {
        return Ok(());
    }
    for write in writes.clone() {
        let (task, channel) = (&write.task_id, &write.channel);
        let what = || format!("the write of task {task} to channel `{channel}`");
        let hints = write.value.hints.as_ref();
        let hints = hints.map_or(0, |hints| hints.bytes().len());
        store.check_size(what, write.value.blob.len() + hints)?;
    }
    let keys = store.keyspace.compact(&at.thread_id);
    let thread = layout.codec.of_thread(&at.thread_id);
    for sending in [Sending::New, Sending::All] {
        let encoded = thread.encode_writes(at, writes.clone(), sending);
        let places = writes
            .clone()
            .map(|write| place::of_write(&write.task_id, write.idx));
        let call = PutWritesCall {
            place: place::of_checkpoint(at),
            writes: places.zip(encoded.records).collect(),
            parts: &encoded.parts,
            replace,
            ttl,
        };
        if !lacks_parts(store.script("put_writes", call.on(&keys)).await?) {
            thread.remember(encoded.parts);
            return Ok(());
        }
    }
    Err(lacking(&keys.parts))
}

/// The error of a put that sent all parts and whose reply says that some are missing.
pub(super) fn lacking(parts: &Bytes) -> Error {
    Error::corrupt(
        String::from_utf8_lossy(parts),
        "parts of a value that were sent along are said to be lacking: something between the saver and the server changes commands",
    )
}
