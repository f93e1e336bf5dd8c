//! The registry of a namespace's checkpoints: their ids, in order.

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::id::CheckpointId;
use crate::redis::keys::{CheckpointRef, NamespaceKeys};
use crate::redis::scan;
use crate::redis::scripts::{Count, PageCall, RegisterCall, UnregisterCall};
use crate::redis::store::Store;

/// How many ids whose documents are gone are taken out of a registry at once.
const GONE: usize = 1_000;

/// A page of a namespace's ids, newest first, and whether the registry may lack some.
pub(crate) async fn page(
    store: &Store,
    keys: &NamespaceKeys,
    before: Option<&CheckpointId>,
    size: usize,
) -> Result<(bool, Vec<CheckpointId>)> {
    let call = PageCall {
        keys: keys.clone(),
        before: before.cloned(),
        max: size,
        contents: false,
    };
    let reply = store.script("list", call).await?;
    Ok((!reply.is_complete, ids_of(keys, reply.ids)?))
}

/// The ids that a registry names.
pub(crate) fn ids_of(keys: &NamespaceKeys, members: Vec<Bytes>) -> Result<Vec<CheckpointId>> {
    let ids = members.into_iter().map(|id| {
        CheckpointId::from_bytes(&id).map_err(|error| {
            Error::corrupt(String::from_utf8_lossy(&keys.registry), error.to_string())
        })
    });
    ids.collect()
}

/// Every checkpoint of the threads whose ids start with a prefix, found by scanning the
/// pointers.
pub(crate) async fn every_checkpoint(store: &Store, prefix: &str) -> Result<Vec<CheckpointRef>> {
    let mut found = Vec::new();
    for (thread_id, namespace) in scan::scanned_namespaces(store, prefix).await? {
        let keys = store.keys(&thread_id, &namespace);
        let mut before: Option<CheckpointId> = None;
        loop {
            let size = store.settings.page_size;
            let (_, ids) = page(store, &keys, before.as_ref(), size).await?;
            let Some(last) = ids.last() else { break };
            before = Some(last.clone());
            found.extend(ids.into_iter().map(|checkpoint_id| CheckpointRef {
                thread_id: thread_id.clone(),
                namespace: namespace.clone(),
                checkpoint_id,
            }));
        }
    }
    Ok(found)
}

/// Adds to a registry all ids that it lacked.
pub(super) async fn register_ids(
    store: &Store,
    keys: &NamespaceKeys,
    ids: &[&CheckpointId],
) -> Result<()> {
    let mut slices: Vec<_> = ids.chunks(500).collect();
    if slices.is_empty() {
        slices.push(&[]);
    }
    for (position, slice) in slices.iter().enumerate() {
        let last = position + 1 == slices.len();
        let call = RegisterCall {
            keys: keys.clone(),
            ids: slice.iter().map(|id| (*id).clone()).collect(),
            is_complete: last,
        };
        store.script("list", call).await?;
    }
    Ok(())
}

/// Takes an id out of the registry if its document is gone; best effort.
pub(crate) async fn forget_gone(store: &Store, keys: &NamespaceKeys, id: &CheckpointId) {
    let call = UnregisterCall::of(keys, [id]);
    if let Err(error) = store.script("list", call).await {
        let key = String::from_utf8_lossy(&keys.registry);
        tracing::warn!(%key, error = %error.report(), "an id whose document is gone stays in the registry");
    }
}

/// Takes the newest ids of a registry whose documents are gone out of it, up to the first whose
/// document is there.
pub(crate) async fn forget_gone_heads(store: &Store, keys: &NamespaceKeys) -> Result<()> {
    loop {
        let (_, ids) = page(store, keys, None, GONE).await?;
        let call = UnregisterCall::of(keys, &ids);
        let Count(taken_out) = store.script("list", call).await?;
        if ids.is_empty() || usize::try_from(taken_out).unwrap_or(0) < ids.len() {
            return Ok(());
        }
    }
}
