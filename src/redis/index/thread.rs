//! What the indexes know of one thread.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::query::{
    CHECKPOINT_LOAD, NO_TIME_LIMIT, Row, WRITE_LOAD, aggregate, field, indexed, load, of_thread,
};
use super::rows::{Page, ROWS, Rows, all_rows};
use super::state;
use crate::error::Result;
use crate::id::{CheckpointNamespace, ThreadId};
use crate::redis::args::{number, text};
use crate::redis::driver::{Command, Reply};
use crate::redis::error::is_unknown_index;
use crate::redis::keys::{CheckpointRef, namespace_from_stored};
use crate::redis::search_state::Search;
use crate::redis::store::Store;

/// What an index is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Checkpoints,
    Writes,
}

/// What an index says of a checkpoint or a write, as it is stored.
#[derive(Debug)]
pub(crate) struct IndexedKey {
    pub(crate) key: Bytes,
    pub(crate) thread: String,
    pub(crate) namespace: String,
    pub(crate) checkpoint: String,
}

/// The command that counts a thread's checkpoints in the index, or `None` if it cannot.
pub(crate) fn count_command(store: &Store, search: Search, thread: &ThreadId) -> Option<Command> {
    count_of_thread(search, thread, store.keyspace.checkpoint_prefix())
}

/// Reads the reply to [`count_command`]; `None` where the index turns out to be gone.
pub(crate) async fn count_of(store: &Store, reply: Result<Reply>) -> Result<Option<u64>> {
    match reply {
        Ok(reply) => {
            let count = reply.into_array().first().and_then(Reply::as_int);
            Ok(Some(u64::try_from(count.unwrap_or(0)).unwrap_or(0)))
        }
        Err(error) if is_unknown_index(&error) => {
            let index = store.keyspace.checkpoint_prefix();
            state::index_is_lost(store, index, &error).await;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Counts a thread's checkpoints where all nodes of a cluster search together, and waits no longer
/// than a call about one thread may; `None` where search does not serve.
pub(crate) async fn count_in_time(store: &Store, count: Command) -> Result<Option<u64>> {
    let counted = async { count_of(store, store.driver().call("search", count).await).await };
    match state::in_time(store, counted).await {
        Some(Ok(count)) => Ok(count),
        Some(Err(error)) => {
            tracing::warn!(error = %error.report(), "a search of the cluster failed");
            state::search_is_slow(store);
            Ok(None)
        }
        None => {
            state::search_is_slow(store);
            Ok(None)
        }
    }
}

/// The checkpoints of a thread that the index knows, exactly its own; `None` where search does
/// not serve.
pub(crate) async fn indexed_checkpoints(
    store: &Store,
    thread: &ThreadId,
) -> Result<Option<Vec<CheckpointRef>>> {
    let index = store.keyspace.checkpoint_prefix();
    own_rows(store, index, thread, CHECKPOINT_LOAD, |row| {
        indexed(row).filter(|one| one.thread_id == *thread)
    })
    .await
}

/// The namespaces of the writes of a thread that the index knows, exactly its own; `None` where
/// search does not serve.
pub(crate) async fn namespaces_of_writes(
    store: &Store,
    thread: &ThreadId,
) -> Result<Option<BTreeSet<CheckpointNamespace>>> {
    let index = store.keyspace.write_prefix();
    let namespace = |row: &Row| {
        let is_own = field(row, "thread_id")? == thread.as_str();
        let stored = field(row, "checkpoint_ns").filter(|_| is_own)?;
        namespace_from_stored(&stored).ok()
    };
    let found = own_rows(store, index, thread, WRITE_LOAD, namespace).await?;
    Ok(found.map(|found| found.into_iter().collect()))
}

/// How many checkpoints or writes the index knows that may be a thread's; `None` where search
/// does not serve.
pub(crate) async fn count_indexed(
    store: &Store,
    thread: &ThreadId,
    kind: Kind,
) -> Result<Option<usize>> {
    let Some(search) = state::search(store).await? else {
        return Ok(None);
    };
    let Some(command) = count_of_thread(search, thread, index_of(store, kind)) else {
        return Ok(None);
    };
    let count = count_in_time(store, command).await?;
    Ok(count.map(|count| usize::try_from(count).unwrap_or(usize::MAX)))
}

/// Some of the checkpoints or writes that the index knows and that may be a thread's, the first
/// that it came to know first: after `skip`, and no more than `limit`. It takes no cursor. `None`
/// where search does not serve.
pub(crate) async fn rows_of_thread(
    store: &Store,
    thread: &ThreadId,
    kind: Kind,
    (skip, limit): (usize, usize),
) -> Result<Option<Vec<IndexedKey>>> {
    let Some(search) = state::search(store).await? else {
        return Ok(None);
    };
    let Some(piece) = search.piece(thread) else {
        return Ok(None);
    };
    let index = index_of(store, kind);
    // The limit comes first, so that only what it leaves is loaded.
    let command = Command::new("FT.AGGREGATE")
        .arg(text(index))
        .args(["@thread_id:{$thread}", "LIMIT"].map(Bytes::from))
        .arg(number(skip))
        .arg(number(limit));
    let command = of_thread(load(command, WRITE_LOAD), piece);
    let rows = rows_in_time(store, index, command).await?;
    Ok(rows.map(|rows| {
        let rows = rows.iter().map(|row| {
            let field = |name: &str| field(row, name).unwrap_or_default();
            IndexedKey {
                key: text(&field("__key")),
                thread: field("thread_id"),
                namespace: field("checkpoint_ns"),
                checkpoint: field("checkpoint_id"),
            }
        });
        rows.collect()
    }))
}

/// What is exactly a thread's own of the rows that may be; `None` where search does not serve. A
/// cursor is opened only if one page is not all.
async fn own_rows<T>(
    store: &Store,
    index: &str,
    thread: &ThreadId,
    fields: &[&'static str],
    own: impl Fn(&Row) -> Option<T>,
) -> Result<Option<Vec<T>>> {
    match first_of_thread(store, index, thread, fields, &own).await? {
        Some((_, true)) => all_of_thread(store, index, thread, fields, own).await,
        first => Ok(first.map(|(found, _)| found)),
    }
}

/// What is exactly a thread's own of the first rows, and whether there may be more. `None` where
/// search does not serve.
async fn first_of_thread<T>(
    store: &Store,
    index: &str,
    thread: &ThreadId,
    fields: &[&'static str],
    own: impl Fn(&Row) -> Option<T>,
) -> Result<Option<(Vec<T>, bool)>> {
    let Some(search) = state::search(store).await? else {
        return Ok(None);
    };
    let Some(piece) = search.piece(thread) else {
        return Ok(None);
    };
    // The limit comes first, so that only what it leaves is loaded.
    let command = Command::new("FT.AGGREGATE")
        .arg(text(index))
        .args(["@thread_id:{$thread}", "LIMIT", "0"].map(Bytes::from))
        .arg(number(ROWS));
    let command = of_thread(load(command, fields), piece);
    let rows = rows_in_time(store, index, command).await?;
    Ok(rows.map(|rows| (rows.iter().filter_map(own).collect(), rows.len() >= ROWS)))
}

/// Asks for rows that are about one thread, and waits no longer than such a call may; `None`
/// where search does not serve. Only one page, so without a cursor.
async fn rows_in_time(store: &Store, index: &str, command: Command) -> Result<Option<Vec<Row>>> {
    let mut rows = Rows::one_page(index, command);
    match state::in_time(store, rows.next(store)).await {
        Some(Ok(Page::Rows(rows))) => Ok(Some(rows)),
        Some(Ok(Page::End)) => Ok(Some(Vec::new())),
        Some(Ok(Page::Lost)) => Ok(None),
        Some(Err(error)) if store.driver().is_cluster() => {
            tracing::warn!(index, error = %error.report(), "a search of the cluster failed");
            state::search_is_slow(store);
            Ok(None)
        }
        Some(Err(error)) => Err(error),
        None => {
            state::search_is_slow(store);
            Ok(None)
        }
    }
}

async fn all_of_thread<T>(
    store: &Store,
    index: &str,
    thread: &ThreadId,
    fields: &[&'static str],
    own: impl Fn(&Row) -> Option<T>,
) -> Result<Option<Vec<T>>> {
    let Some(search) = state::search(store).await? else {
        return Ok(None);
    };
    let Some(piece) = search.piece(thread) else {
        return Ok(None);
    };
    let command = of_thread(aggregate(index, "@thread_id:{$thread}", fields), piece);
    all_rows(store, index, command, own).await
}

fn index_of(store: &Store, kind: Kind) -> &str {
    match kind {
        Kind::Checkpoints => store.keyspace.checkpoint_prefix(),
        Kind::Writes => store.keyspace.write_prefix(),
    }
}

/// The command that counts what an index knows and may be a thread's, or `None` if it cannot.
fn count_of_thread(search: Search, thread: &ThreadId, index: &str) -> Option<Command> {
    let piece = search.piece(thread)?;
    let command = Command::new("FT.SEARCH")
        .arg(text(index))
        .arg("@thread_id:{$thread}")
        .args(["LIMIT", "0", "0"].map(Bytes::from))
        .args(NO_TIME_LIMIT.map(Bytes::from));
    Some(of_thread(command, piece))
}
