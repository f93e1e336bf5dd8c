//! The set of a thread's namespaces.

use std::collections::HashSet;

use bytes::Bytes;

use crate::error::Result;
use crate::id::ThreadId;
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

/// The members of a thread's set of namespaces.
pub(crate) async fn members(store: &Store, thread: &ThreadId) -> Result<Vec<Member>> {
    let members = scan_members(store, thread).await?;
    let members = members.iter().filter_map(|member| Member::of_bytes(member));
    Ok(members.collect())
}
