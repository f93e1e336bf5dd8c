//! `put` and `put_writes`: one script each, so that all of a call is seen at once.

use std::time::Duration;

use bytes::Bytes;
use indexmap::IndexMap;

#[cfg(feature = "server")]
use super::document::pending_document;
use super::document::{checkpoint_document, write_document};
use super::error::{is_further, is_half_removed};
use super::keys::CheckpointRef;
use super::scripts::{PutCall, PutWritesCall, TtlVerb};
use super::staged::LARGE;
use super::store::Store;
use super::{read, registry, remove, staged, thread_ttl, ttl};
#[cfg(feature = "server")]
use crate::checkpoint::PendingWrite;
use crate::checkpoint::{ChannelWrite, Checkpoint, CheckpointMetadata, special_index, write_index};
use crate::config::CheckpointConfig;
use crate::error::Result;
use crate::id::TaskId;
use crate::options::{ExpectedParent, PutOptions, PutWritesOptions};

/// Stores a checkpoint.
pub(crate) async fn put(
    store: &Store,
    config: &CheckpointConfig,
    checkpoint: &Checkpoint,
    metadata: &CheckpointMetadata,
    options: &PutOptions,
) -> Result<CheckpointConfig> {
    let ttl = options.ttl.resolve(store.settings.ttl.default)?;
    let metadata = config.joined_metadata(metadata)?;
    let identity = CheckpointRef {
        thread_id: config.thread_id.clone(),
        namespace: config.namespace(),
        checkpoint_id: checkpoint.id().clone(),
    };
    let parent = config.checkpoint_id.as_ref();
    let document = checkpoint_document(&identity, parent, checkpoint, &metadata);
    let expected = options.expected_parent.clone();
    put_document(store, &identity, document, ttl, expected).await?;
    Ok(identity.config())
}

/// Stores the document of a checkpoint.
pub(crate) async fn put_document(
    store: &Store,
    identity: &CheckpointRef,
    document: Bytes,
    ttl: Option<Duration>,
    expected: ExpectedParent,
) -> Result<()> {
    let id = &identity.checkpoint_id;
    let bytes = document.len();
    let what = || format!("the checkpoint {id} of thread {}", identity.thread_id);
    store.check_size(what, bytes)?;
    let keys = store.keys(&identity.thread_id, &identity.namespace);
    let call = PutCall {
        keys: keys.clone(),
        id: id.clone(),
        document,
        staged: None,
        ttl: store.key_ttl(ttl),
        thread_ttl: store.thread_ttl(ttl),
        expected,
    };
    let attempt = async || {
        if bytes >= LARGE {
            let staged = store.keyspace.staged(identity);
            let put = Box::pin(staged::put_staged(store, "put", &call, staged));
            if let Some(reply) = put.await? {
                return Ok(reply);
            }
        }
        store.script("put", call.clone()).await
    };
    let reply = loop {
        match attempt().await {
            Err(error) if is_further(&error) => {
                Box::pin(registry::forget_gone_heads(store, &keys)).await?;
            }
            Err(error) if is_half_removed(&error) => {
                Box::pin(remove::finish_removal(store, &keys, id)).await?;
            }
            reply => break reply?,
        }
    };
    if reply.is_newest {
        store.remember(&keys, id.clone(), bytes);
    }
    if reply.has_more_writes {
        let ids = std::slice::from_ref(id);
        Box::pin(ttl::change_ttl_of(
            store,
            &keys,
            ids,
            reply.ttl,
            TtlVerb::Keep,
        ))
        .await?;
    }
    thread_ttl::refresh(store, &identity.thread_id, ttl, reply.refresh_due).await;
    Ok(())
}

/// Stores the writes of a task.
pub(crate) async fn put_writes(
    store: &Store,
    config: &CheckpointConfig,
    writes: &[ChannelWrite],
    task_id: &TaskId,
    options: &PutWritesOptions,
) -> Result<()> {
    let ttl = options.ttl.resolve(store.settings.ttl.default)?;
    let identity = CheckpointRef {
        thread_id: config.thread_id.clone(),
        namespace: config.namespace(),
        checkpoint_id: config.required_checkpoint()?.clone(),
    };
    if writes.is_empty() {
        return Ok(());
    }
    let keys = store.keys(&identity.thread_id, &identity.namespace);
    let (replace, documents) = documents_of(store, writes, task_id, |idx, write| {
        let ChannelWrite { channel, value } = write;
        let key = keys.write(&identity.checkpoint_id, task_id, idx);
        let document = write_document(&identity, task_id, &options.task_path, idx, channel, value)?;
        Ok((key, document))
    })?;
    put_write_documents(store, &identity, documents, replace, ttl).await
}

/// Stores writes that have their indexes, of any tasks.
#[cfg(feature = "server")]
pub(crate) async fn put_indexed_writes(
    store: &Store,
    identity: &CheckpointRef,
    writes: &[PendingWrite],
    replace: bool,
    ttl: Option<Duration>,
) -> Result<()> {
    let keys = store.keys(&identity.thread_id, &identity.namespace);
    let documents = writes.iter().map(|write| {
        let document = pending_document(identity, write)?;
        check_write(store, &write.task_id, &write.channel, &document)?;
        let key = keys.write(&identity.checkpoint_id, &write.task_id, write.idx);
        Ok((key, document))
    });
    let documents: Vec<_> = documents.collect::<Result<_>>()?;
    put_write_documents(store, identity, documents, replace, ttl).await
}

/// The documents of a call's writes under their keys, as `stored` makes them of an index and
/// a write, and whether they replace what is there.
pub(crate) fn documents_of(
    store: &Store,
    writes: &[ChannelWrite],
    task_id: &TaskId,
    stored: impl Fn(i64, &ChannelWrite) -> Result<(Bytes, Bytes)>,
) -> Result<(bool, Vec<(Bytes, Bytes)>)> {
    let replace = writes
        .iter()
        .all(|write| special_index(&write.channel).is_some());
    // Of two writes of one call with one index, the later special one replaces the earlier,
    // and the earlier regular one stays.
    let mut documents: IndexMap<i64, (Bytes, Bytes)> = IndexMap::with_capacity(writes.len());
    for (position, write) in writes.iter().enumerate() {
        let idx = write_index(&write.channel, position);
        if !replace && documents.contains_key(&idx) {
            continue;
        }
        let (key, document) = stored(idx, write)?;
        check_write(store, task_id, &write.channel, &document)?;
        documents.insert(idx, (key, document));
    }
    Ok((replace, documents.into_values().collect()))
}

/// Refuses a write whose document is too large.
fn check_write(store: &Store, task_id: &TaskId, channel: &str, document: &Bytes) -> Result<()> {
    let what = || format!("the write of task {task_id} to channel `{channel}`");
    store.check_size(what, document.len())
}

/// Stores the documents of writes under their keys.
pub(crate) async fn put_write_documents(
    store: &Store,
    identity: &CheckpointRef,
    documents: impl IntoIterator<Item = (Bytes, Bytes)>,
    replace: bool,
    ttl: Option<Duration>,
) -> Result<()> {
    let keys = store.keys(&identity.thread_id, &identity.namespace);
    let id = &identity.checkpoint_id;
    let call = PutWritesCall {
        keys: keys.clone(),
        id: identity.checkpoint_id.clone(),
        writes: documents.into_iter().collect(),
        replace,
        ttl: store.key_ttl(ttl),
        thread_ttl: store.thread_ttl(ttl),
    };
    let reply = loop {
        match read::confirmed(store, "put_writes", call.clone()).await {
            Err(error) if is_half_removed(&error) => {
                Box::pin(remove::finish_removal(store, &keys, id)).await?;
            }
            reply => break reply?,
        }
    };
    thread_ttl::refresh(store, &identity.thread_id, ttl, reply.refresh_due).await;
    Ok(())
}
