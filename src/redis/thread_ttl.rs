//! `touch`, `pin`, `unpin`, and the TTL of threads with the scope `thread`.

use std::collections::BTreeSet;
use std::time::Duration;

use super::keys::Member;
use super::scripts::TtlVerb;
use super::store::Store;
use super::{blobs, registry, ttl};
use crate::error::Result;
use crate::id::{CheckpointNamespace, ThreadId};

/// How many checkpoints get another TTL at once.
const SLICE: usize = 64;

/// Gives all keys of a thread another TTL.
pub(crate) async fn change_ttl(store: &Store, thread: &ThreadId, verb: TtlVerb) -> Result<bool> {
    let ttl = store.settings.ttl.default;
    if verb == TtlVerb::Touch && ttl.is_none() {
        return Ok(false);
    }
    let key_ttl = store.key_ttl(ttl);
    let found = change_ttl_of_thread(store, thread, key_ttl, verb).await?;
    Ok(found && (verb == TtlVerb::Pin || ttl.is_some()))
}

/// Gives a thread with the scope `thread` its TTL again, if a call found that it needs it. Best
/// effort, since the next call finds the same.
pub(crate) async fn refresh(
    store: &Store,
    thread: &ThreadId,
    ttl: Option<Duration>,
    refresh_due: bool,
) {
    if !refresh_due {
        return;
    }
    let Some(_refresh) = store.session.begin_refresh(thread) else {
        return;
    };
    let kept = Box::pin(async {
        let ttl = store.key_ttl(ttl);
        change_ttl_of_thread(store, thread, ttl, TtlVerb::Keep).await?;
        let root = store.keys(thread, &CheckpointNamespace::root());
        ttl::change_ttl_of(store, &root, &[], ttl, TtlVerb::Kept).await
    });
    if let Err(error) = kept.await {
        let key = store.keyspace.thread(thread).namespaces();
        let key = String::from_utf8_lossy(&key);
        tracing::warn!(%key, error = %error.report(), "a thread did not get its TTL again; the next call retries");
    }
}

async fn change_ttl_of_thread(
    store: &Store,
    thread: &ThreadId,
    ttl: Option<Duration>,
    verb: TtlVerb,
) -> Result<bool> {
    let namespaces = registry::namespaces(store, thread).await?;
    if registry::members(store, thread).await?.is_empty() {
        return Ok(false);
    }
    let root = store.keys(thread, &CheckpointNamespace::root());
    // The mark first: what is stored from now on follows it, and what was stored before is visited.
    let first = match verb {
        TtlVerb::Pin => Some(TtlVerb::Mark),
        TtlVerb::Unpin => Some(TtlVerb::Unmark),
        _ => None,
    };
    if let Some(first) = first {
        ttl::change_ttl_of(store, &root, &[], ttl, first).await?;
    }
    // Writes that wait for their checkpoint now may have it when the walk is over.
    let mut waiting = registry::members(store, thread).await?;
    if verb == TtlVerb::Pin && !waiting.contains(&Member::Pinned) {
        // It has expired, or was unpinned again.
        return Ok(!waiting.is_empty());
    }
    let mut namespaces: BTreeSet<_> = namespaces.into_iter().collect();
    namespaces.extend(waiting.iter().filter_map(|member| match member {
        Member::Namespace(namespace) => Some(namespace.clone()),
        _ => None,
    }));
    for namespace in &namespaces {
        let keys = store.keys(thread, namespace);
        let mut before = None;
        loop {
            let (_, ids) = registry::page(store, &keys, before.as_ref(), SLICE).await?;
            if !ids.is_empty() || verb != TtlVerb::Unpin {
                ttl::change_ttl_of(store, &keys, &ids, ttl, verb).await?;
            }
            match ids.into_iter().next_back() {
                Some(last) => before = Some(last),
                None => break,
            }
        }
    }
    // Read after the thread was pinned, so that what was added in between is visited as well.
    let members = registry::members(store, thread).await?;
    let is_marked = |member: &Member| matches!(member, Member::Writes(..) | Member::Removed(..));
    waiting.retain(|member| is_marked(member) && !members.contains(member));
    for member in members.into_iter().chain(waiting) {
        match member {
            Member::Writes(namespace, id) | Member::Removed(namespace, id) => {
                let keys = store.keys(thread, &namespace);
                ttl::change_ttl_of(store, &keys, &[id], ttl, verb).await?;
            }
            Member::Blobs(namespace) => {
                blobs::change_ttl_of_blobs(store, thread, &namespace, ttl, verb).await?;
            }
            Member::Namespace(_) | Member::Pinned => {}
        }
    }
    if verb == TtlVerb::Unpin {
        // Last, because they lead to all else.
        for namespace in &namespaces {
            ttl::change_ttl_of(store, &store.keys(thread, namespace), &[], ttl, verb).await?;
        }
        ttl::change_ttl_of(store, &root, &[], ttl, TtlVerb::Unpinned).await?;
    }
    Ok(true)
}
