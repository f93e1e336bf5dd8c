//! The namespaces of a thread, those included that another saver wrote.

use std::collections::HashMap;

use bytes::Bytes;

use super::ids::page;
use super::members::members;
use super::reconcile::reconcile;
use crate::error::{Error, Result};
use crate::id::{CheckpointNamespace, ThreadId};
use crate::redis::driver::Command;
use crate::redis::index;
use crate::redis::keys::{Member, ThreadKeys};
use crate::redis::scripts::{NamespacesCall, NamespacesReply, Step, UnregisterCall};
use crate::redis::store::Store;

/// How many members of a thread's set of namespaces are read at once, with their registries.
const MEMBERS: usize = 500;

/// What the pages of a thread's set of namespaces have said: its members, and how many checkpoints
/// each registers, -1 where the registry is known to lack some.
#[derive(Debug, Default)]
pub(super) struct Registered {
    members: HashMap<Bytes, i64>,
    at: Position,
}

/// Where the next page begins.
#[derive(Debug, Default)]
enum Position {
    #[default]
    Start,
    Next(Bytes),
    End,
}

impl Registered {
    /// The call that reads the next page; `None` after the last.
    pub(super) fn next_page(&self, keys: &ThreadKeys) -> Option<NamespacesCall> {
        let cursor = match &self.at {
            Position::Start => None,
            Position::Next(cursor) => Some(cursor.clone()),
            Position::End => return None,
        };
        Some(NamespacesCall {
            namespaces: keys.namespaces(),
            registries: keys.registries(),
            cursor,
            max: MEMBERS,
        })
    }

    pub(super) fn take(&mut self, reply: NamespacesReply) {
        self.at = reply.cursor.map_or(Position::End, Position::Next);
        self.members.extend(reply.members);
    }

    pub(super) fn members(&self) -> Vec<Member> {
        let members = self.members.keys();
        members
            .filter_map(|member| Member::of_bytes(member))
            .collect()
    }

    /// How many checkpoints are registered; -1 if some may not be.
    pub(super) fn total(&self) -> i64 {
        let mut each = self.members.values();
        each.try_fold(0_i64, |total, one| (*one >= 0).then_some(total + one))
            .unwrap_or(-1)
    }
}

/// The namespaces of a thread, those included that only the index knows.
pub(crate) async fn namespaces(
    store: &Store,
    thread: &ThreadId,
) -> Result<Vec<CheckpointNamespace>> {
    let (differs, found) = registered(store, thread).await?;
    let members = if differs {
        forget_all_gone(store, thread, &found).await?;
        reconcile(store, thread).await?;
        members(store, thread).await?
    } else if has_only_a_pointer(store, thread, &found).await? {
        reconcile(store, thread).await?;
        members(store, thread).await?
    } else {
        found
    };
    Ok(members
        .into_iter()
        .filter_map(|member| match member {
            Member::Namespace(namespace) => Some(namespace),
            _ => None,
        })
        .collect())
}

/// Reads a thread's registry, and whether the index knows another number: in one round trip for
/// each page, or at the same time where all nodes of a cluster search together.
async fn registered(store: &Store, thread: &ThreadId) -> Result<(bool, Vec<Member>)> {
    let mut registered = Registered::default();
    let keys = store.keyspace.thread(thread);
    let mut steps: Vec<_> = registered
        .next_page(&keys)
        .map(Step::from)
        .into_iter()
        .collect();
    let search = index::search(store).await?;
    let count = search.and_then(|search| index::count_command(store, search, thread));
    let (mut replies, indexed) = match count {
        Some(count) if store.driver().is_cluster() => {
            let read = store.pipeline("list", steps);
            let (replies, indexed) = tokio::join!(read, index::count_in_time(store, count));
            (replies?.into_iter(), indexed?)
        }
        Some(count) => {
            steps.push(count.into());
            let mut replies = store.pipeline("list", steps).await?.into_iter();
            let indexed = index::count_of(store, replies.next_back().unwrap_or(Err(Error::Closed)));
            let indexed = indexed.await?;
            (replies, indexed)
        }
        None => (store.pipeline("list", steps).await?.into_iter(), None),
    };
    registered.take(replies.next().unwrap_or(Err(Error::Closed))?.into());
    while let Some(call) = registered.next_page(&keys) {
        registered.take(store.script("list", call).await?);
    }
    let total = registered.total();
    let members = registered.members();
    let Some(indexed) = indexed else {
        return Ok((false, members));
    };
    // As many here as there may still be others: what has expired is registered for a while.
    let indexed = i64::try_from(indexed).unwrap_or(i64::MAX);
    Ok((indexed != total && (indexed > 0 || total > 0), members))
}

/// Whether a thread whose set does not name the root has a pointer to a checkpoint there, and
/// no search that finds it.
pub(super) async fn has_only_a_pointer(
    store: &Store,
    thread: &ThreadId,
    members: &[Member],
) -> Result<bool> {
    let root = CheckpointNamespace::root();
    if members.contains(&Member::Namespace(root.clone())) {
        return Ok(false);
    }
    let search = index::search(store).await?;
    if search.is_some_and(|search| search.piece(thread).is_some()) {
        return Ok(false);
    }
    let pointer = Command::on("EXISTS", store.keys(thread, &root).pointer);
    Ok(store.driver().call("list", pointer).await?.as_int() == Some(1))
}

/// Takes what is gone out of a thread's registries.
async fn forget_all_gone(store: &Store, thread: &ThreadId, members: &[Member]) -> Result<()> {
    for member in members {
        let Member::Namespace(namespace) = member else {
            continue;
        };
        let keys = store.keys(thread, namespace);
        let mut before = None;
        loop {
            let (_, ids) = page(store, &keys, before.as_ref(), 500).await?;
            let Some(last) = ids.last() else { break };
            before = Some(last.clone());
            store
                .script("list", UnregisterCall::of(&keys, &ids))
                .await?;
        }
    }
    Ok(())
}
