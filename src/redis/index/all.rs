//! What the indexes know of all threads.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::query::{CHECKPOINT_LOAD, Row, aggregate, indexed, load};
use super::rows::{ROWS, Rows, all_rows};
use super::state;
use crate::error::{Error, Result};
use crate::id::{CheckpointId, CheckpointNamespace, ThreadId};
use crate::redis::args::{number, text};
use crate::redis::driver::Command;
use crate::redis::keys::{glob_escaped, namespace_from_stored};
use crate::redis::scan;
use crate::redis::store::Store;

/// A checkpoint that the index knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Indexed {
    pub(crate) thread_id: ThreadId,
    pub(crate) namespace: CheckpointNamespace,
    pub(crate) checkpoint_id: CheckpointId,
}

/// All checkpoints that the index knows, newest first, and no more than `most`.
pub(crate) fn newest_checkpoints(store: &Store, most: Option<usize>) -> Rows {
    // More than the server counts is all.
    let all = usize::MAX >> 33;
    let most = most.map_or(all, |most| most.min(all));
    // Sorted by what the index holds; only the documents of what is left are opened.
    let command = Command::new("FT.AGGREGATE")
        .arg(text(store.keyspace.checkpoint_prefix()))
        .args(["*", "SORTBY", "2", "@checkpoint_id", "DESC", "MAX"].map(Bytes::from))
        .arg(number(most))
        .args(["LIMIT", "0"].map(Bytes::from))
        .arg(number(most));
    let command = load(command, CHECKPOINT_LOAD);
    let index = store.keyspace.checkpoint_prefix();
    if most <= ROWS {
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

/// The checkpoints that may be a run's, as far as the index knows; `None` where search does not
/// serve.
pub(crate) async fn indexed_run(store: &Store, run: &str) -> Result<Option<Vec<Indexed>>> {
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
    let Some(mut found) = all_rows(store, index, command, read).await? else {
        return Ok(None);
    };
    if unopened.into_inner() {
        // Of any run; whose they are is looked up with the others.
        let documents = unopened_documents(store).await?;
        found.extend(checkpoints_at(store, &documents).await?);
    }
    Ok(Some(found))
}

/// The keys of the documents that the index knows and cannot open: those with a NUL, which
/// RediSearch takes for the end of a key. It walks over all keys, so only where a row says
/// nothing, as that of such a document does.
pub(crate) async fn unopened_documents(store: &Store) -> Result<Vec<Bytes>> {
    let family = glob_escaped(&store.keyspace.document_family());
    scan::scan_pattern(store, &format!("{family}*\0*")).await
}

/// The checkpoints that these documents are.
pub(crate) async fn checkpoints_at(store: &Store, documents: &[Bytes]) -> Result<Vec<Indexed>> {
    let mut found = Vec::new();
    for chunk in documents.chunks(ROWS / 2) {
        let commands = chunk.iter().map(|key| {
            let command = Command::on("JSON.GET", key.clone());
            command.arg("$['thread_id','checkpoint_ns','checkpoint_id']")
        });
        let replies = store.driver.batch("search", commands.collect()).await?;
        for (key, reply) in chunk.iter().zip(replies) {
            let names = match reply {
                // Something else than a document has the name of one.
                Err(Error::WrongType { .. } | Error::Server { .. }) => continue,
                reply => reply?.into_bytes().unwrap_or_default(),
            };
            let names = serde_json::from_slice::<[String; 3]>(&names);
            let one = names.ok().and_then(|[thread, namespace, id]| {
                Some(Indexed {
                    thread_id: ThreadId::new(thread).ok()?,
                    namespace: namespace_from_stored(&namespace).ok()?,
                    checkpoint_id: CheckpointId::new(id).ok()?,
                })
            });
            found.extend(one.filter(|one| {
                let keys = store.keys(&one.thread_id, &one.namespace);
                keys.document(&one.checkpoint_id) == *key
            }));
        }
    }
    Ok(found)
}
