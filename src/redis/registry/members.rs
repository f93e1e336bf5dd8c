//! The set of a thread's namespaces.

use std::collections::{BTreeSet, HashSet};

use bytes::Bytes;

use crate::error::Result;
use crate::id::{CheckpointNamespace, ThreadId};
use crate::redis::keys::Member;
use crate::redis::scan;
use crate::redis::store::Store;

/// The members of a thread's set of namespaces, a page at a time.
pub(crate) async fn scan_members(store: &Store, thread: &ThreadId) -> Result<Vec<Bytes>> {
    let namespaces = store.keyspace.thread(thread).namespaces();
    let mut members = HashSet::new();
    let mut walk = scan::Members::of_set("namespaces", &namespaces);
    while let Some(page) = walk.next(store).await? {
        members.extend(page);
    }
    Ok(members.into_iter().collect())
}

/// The namespaces of a thread that have blobs.
pub(crate) async fn namespaces_with_blobs(
    store: &Store,
    thread: &ThreadId,
) -> Result<BTreeSet<CheckpointNamespace>> {
    let members = members(store, thread).await?.into_iter();
    let namespaces = members.filter_map(|member| match member {
        Member::Blobs(namespace) => Some(namespace),
        _ => None,
    });
    Ok(namespaces.collect())
}

/// The members of a thread's set of namespaces.
pub(crate) async fn members(store: &Store, thread: &ThreadId) -> Result<Vec<Member>> {
    let members = scan_members(store, thread).await?;
    let members = members.iter().filter_map(|member| Member::of_bytes(member));
    Ok(members.collect())
}
