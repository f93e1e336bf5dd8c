//! What the indexes know of all threads.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::query::{CHECKPOINT_LOAD, Row, aggregate, indexed, load};
use super::rows::{ROWS, Rows, all_rows};
use super::state;
use crate::error::Result;
use crate::redis::args::{number, text};
use crate::redis::driver::Command;
use crate::redis::keys::{CheckpointRef, glob_escaped};
use crate::redis::names;
use crate::redis::scan::Scan;
use crate::redis::store::Store;

/// All checkpoints that the index knows, newest first, and no more than `limit`.
pub(crate) fn newest_checkpoints(store: &Store, limit: Option<usize>) -> Rows {
    // More than the server counts is all.
    let all = usize::MAX >> 33;
    let limit = limit.map_or(all, |limit| limit.min(all));
    // Sorted by what the index holds; only the documents of what is left are opened.
    let command = Command::new("FT.AGGREGATE")
        .arg(text(store.keyspace.checkpoint_prefix()))
        .args(["*", "SORTBY", "2", "@checkpoint_id", "DESC", "MAX"].map(Bytes::from))
        .arg(number(limit))
        .args(["LIMIT", "0"].map(Bytes::from))
        .arg(number(limit));
    let command = load(command, CHECKPOINT_LOAD);
    let index = store.keyspace.checkpoint_prefix();
    if limit <= ROWS {
        Rows::one_page(index, command)
    } else {
        Rows::paged(index, command)
    }
}

/// The threads that the index knows, each once. Not by their prefix: a search for one gives up
/// after 200 different ids.
pub(crate) fn indexed_threads(store: &Store) -> Rows {
    let index = store.keyspace.checkpoint_prefix();
    let command = aggregate(index, "*", &["@thread_id"])
        .args(["GROUPBY", "1", "@thread_id"].map(Bytes::from));
    Rows::paged(index, command)
}

/// The thread of every checkpoint that the index knows, page by page.
pub(crate) fn indexed_thread_of_each(store: &Store) -> Rows {
    let index = store.keyspace.checkpoint_prefix();
    let command = aggregate(index, "*", &["@thread_id"]);
    Rows::paged(index, command)
}

/// The checkpoints that may be a run's, as far as the index knows, and the keys of documents that
/// it cannot open, of any run; `None` where search does not serve.
pub(crate) async fn indexed_run(
    store: &Store,
    run: &str,
) -> Result<Option<(Vec<CheckpointRef>, Vec<Bytes>)>> {
    if state::search(store).await?.is_none() {
        return Ok(None);
    }
    let index = store.keyspace.checkpoint_prefix();
    let command = aggregate(index, "@run_id:{$run}", CHECKPOINT_LOAD)
        .args(["PARAMS", "2", "run"].map(Bytes::from))
        .arg(text(run))
        .args(["DIALECT", "2"].map(Bytes::from));
    let unopened = AtomicBool::new(false);
    let read = |row: &Row| {
        let found = indexed(row);
        unopened.fetch_or(found.is_none(), Ordering::Relaxed);
        found
    };
    let Some(found) = all_rows(store, index, command, read).await? else {
        return Ok(None);
    };
    let documents = if unopened.into_inner() {
        unopened_documents(store).await?
    } else {
        Vec::new()
    };
    Ok(Some((found, documents)))
}

/// The keys of the documents that the index knows and cannot open: those with a NUL, which
/// RediSearch takes for the end of a key. It walks over all keys, so only where a row says
/// nothing, as that of such a document does.
pub(crate) async fn unopened_documents(store: &Store) -> Result<Vec<Bytes>> {
    let family = glob_escaped(&store.keyspace.document_family());
    Scan::matching("scan", format!("{family}*\0*"))
        .all(store)
        .await
}

/// The checkpoints that these documents are.
pub(crate) async fn checkpoints_at(
    store: &Store,
    documents: &[Bytes],
) -> Result<Vec<CheckpointRef>> {
    let found = names::checkpoints_at(store, "search", documents).await?;
    let own = found.into_iter().filter(|(key, one)| {
        let keys = store.keys(&one.thread_id, &one.namespace);
        keys.document(&one.checkpoint_id) == *key
    });
    Ok(own.map(|(_, one)| one).collect())
}
