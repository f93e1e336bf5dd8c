//! `put` and `put_writes`: one script each, so that all of a call is seen at once.

use std::time::Duration;

use bytes::Bytes;
use indexmap::IndexMap;

use super::args::{milliseconds, text};
use super::document::{checkpoint_document, write_document};
use super::error::is_further;
use super::keys::{CheckpointRef, stored_namespace};
use super::replies::numbers;
use super::staged::LARGE;
use super::store::Store;
use super::ttl::TtlVerb;
use super::{read, registry, scripts, staged, thread_ttl, ttl};
use crate::checkpoint::{ChannelWrite, Checkpoint, CheckpointMetadata, special_index, write_index};
use crate::codec::RawJson;
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
    let expected = expected(&options.expected_parent);
    put_document(store, &identity, document, ttl, expected).await?;
    Ok(identity.config())
}

/// Stores the document of a checkpoint.
pub(crate) async fn put_document(
    store: &Store,
    identity: &CheckpointRef,
    document: Bytes,
    ttl: Option<Duration>,
    expected: Bytes,
) -> Result<()> {
    let id = &identity.checkpoint_id;
    let bytes = document.len();
    let what = || format!("the checkpoint {id} of thread {}", identity.thread_id);
    store.check_size(what, bytes)?;
    let keys = store.keys(&identity.thread_id, &identity.namespace);
    let thread_json = json_list(identity.thread_id.as_str())?;
    let namespace_json = json_list(stored_namespace(&identity.namespace))?;
    let call = |document: Bytes, staged: Option<Bytes>| {
        let mut script_keys = vec![
            keys.document(id),
            keys.pointer.clone(),
            keys.registry.clone(),
            keys.namespaces.clone(),
            keys.write_registry(id),
        ];
        script_keys.extend(staged);
        scripts::PUT.call(
            script_keys,
            vec![
                document,
                text(id.as_str()),
                keys.stored.clone(),
                milliseconds(store.key_ttl(ttl)),
                keys.documents.clone(),
                expected.clone(),
                thread_json.clone(),
                namespace_json.clone(),
                store.thread_ttl(ttl),
                keys.writes.clone(),
            ],
        )
    };
    let attempt = async || {
        if bytes >= LARGE {
            let staged = store.keyspace.staged(identity);
            let script = call(Bytes::new(), Some(staged.clone()));
            if !store.runs_plainly(script.keys())
                && let Some(reply) =
                    staged::staged(store, "put", staged, document.clone(), script).await?
            {
                return Ok(reply);
            }
        }
        store.script("put", call(document.clone(), None)).await
    };
    let reply = loop {
        match attempt().await {
            Err(error) if is_further(&error) => registry::forget_gone_heads(store, &keys).await?,
            reply => break reply?,
        }
    };
    let [newest, refresh_due, has_more, given] = numbers(reply);
    if newest == 1 {
        store.remember(&keys, id.clone(), bytes);
    }
    if has_more == 1 {
        let given = u64::try_from(given).ok().filter(|given| *given > 0);
        let ids = std::slice::from_ref(id);
        ttl::change_ttl_of(
            store,
            &keys,
            ids,
            given.map(Duration::from_millis),
            TtlVerb::Keep,
        )
        .await?;
    }
    thread_ttl::refresh(store, &identity.thread_id, ttl, refresh_due == 1).await;
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
        let what = || format!("the write of task {task_id} to channel `{}`", write.channel);
        store.check_size(what, document.len())?;
        documents.insert(idx, (key, document));
    }
    Ok((replace, documents.into_values().collect()))
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
    let mut script_keys = vec![
        keys.write_registry(&identity.checkpoint_id),
        keys.document(&identity.checkpoint_id),
        keys.namespaces.clone(),
    ];
    let mut args = vec![
        Bytes::from_static(if replace { b"replace" } else { b"keep" }),
        milliseconds(store.key_ttl(ttl)),
        keys.stored.clone(),
        text(identity.checkpoint_id.as_str()),
        store.thread_ttl(ttl),
        text(identity.thread_id.as_str()),
    ];
    for (key, document) in documents {
        script_keys.push(key);
        args.push(document);
    }
    let call = scripts::PUT_WRITES.call(script_keys, args);
    let [_, refresh_due] = numbers(read::confirmed(store, "put_writes", call).await?);
    thread_ttl::refresh(store, &identity.thread_id, ttl, refresh_due == 1).await;
    Ok(())
}

/// What must be the newest, as an argument.
pub(crate) fn expected(parent: &ExpectedParent) -> Bytes {
    match parent {
        ExpectedParent::Any => Bytes::new(),
        ExpectedParent::None => Bytes::from_static(b"-"),
        ExpectedParent::Is(id) => Bytes::from(format!("={id}")),
    }
}

/// A JSON list of one string, as RedisJSON answers to a path.
fn json_list(string: &str) -> Result<Bytes> {
    RawJson::encode(&[string]).map(|list| list.bytes().clone())
}
