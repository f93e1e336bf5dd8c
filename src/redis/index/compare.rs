//! Whether the index knows all that is stored: its number of documents against the keys there are.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;

use super::info;
use super::query::NO_TIME_LIMIT;
use super::rows::is_blind;
use super::schema::value_of;
use crate::error::{Error, Result};
use crate::redis::args::{number, text};
use crate::redis::driver::Command;
use crate::redis::scan::Scan;
use crate::redis::store::Store;

/// An index that does not know all documents, so that what is found by it is not all there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lacking {
    /// How many documents it knows.
    pub(crate) indexed: u64,
    /// How many there are.
    pub(crate) stored: u64,
}

/// Whether an index lacks documents; `None` if it knows them all, or search does not serve. It
/// walks over all keys, in steps. What is stored or removed at the same time raises no false
/// alarm.
#[cfg_attr(not(feature = "cli"), allow(dead_code))] // The doctor alone asks.
pub(crate) async fn index_lacks(store: &Store, index: &str) -> Result<Option<Lacking>> {
    if !info::searches_all(store).await? {
        return Ok(None);
    }
    let Some((indexed, first)) = number_known(store, index).await? else {
        return Ok(None);
    };
    let stored = count_documents(store, &format!("{index}:")).await?;
    let indexed = if is_blind(store, index).await? {
        0
    } else {
        indexed
    };
    let Some((_, last)) = number_known(store, index).await? else {
        return Ok(None);
    };
    // Every document that came since, or was changed, has a number of its own.
    let came = last.saturating_sub(first);
    let lacks = stored > indexed.saturating_add(came);
    Ok(lacks.then_some(Lacking { indexed, stored }))
}

/// The keys among some whose documents an index knows and reads; `None` if it does not answer. An
/// index that was searched on another database still names documents and reads nothing of them.
pub(crate) async fn known_to(
    store: &Store,
    index: &str,
    keys: &[Bytes],
) -> Result<Option<HashSet<Bytes>>> {
    if keys.is_empty() {
        return Ok(Some(HashSet::new()));
    }
    let command = Command::new("FT.SEARCH")
        .arg(text(index))
        .args(["*", "INKEYS"].map(Bytes::from))
        .arg(number(keys.len()))
        .args(keys.iter().cloned())
        .args(["RETURN", "1", "$.thread_id", "LIMIT", "0"].map(Bytes::from))
        .arg(number(keys.len()))
        .args(NO_TIME_LIMIT.map(Bytes::from));
    let reply = match store.driver().call("search", command).await {
        Err(error @ Error::Server { .. }) => {
            tracing::warn!(index, error = %error.report(),
                "the index does not answer which documents it knows"
            );
            return Ok(None);
        }
        reply => reply?,
    };
    // The first element counts the pairs that follow: a key and what was read.
    let mut found = reply.into_array().into_iter().skip(1);
    let mut known = HashSet::new();
    while let (Some(key), Some(read)) = (found.next(), found.next()) {
        if !read.into_array().is_empty() {
            known.extend(key.into_bytes());
        }
    }
    Ok(Some(known))
}

/// How many documents an index knows, and the number of the last that it read.
async fn number_known(store: &Store, index: &str) -> Result<Option<(u64, u64)>> {
    let Some(info) = info::info(store, index).await? else {
        return Ok(None);
    };
    let number = |name| {
        let number = value_of(info.clone(), name).and_then(|value| value.as_int());
        number.and_then(|number| u64::try_from(number).ok())
    };
    Ok(number("num_docs").zip(number("max_doc_id")))
}

async fn count_documents(store: &Store, start: &str) -> Result<u64> {
    // The walk may give a key twice.
    let (mut seen, hasher) = (HashSet::new(), RandomState::new());
    let mut documents = Scan::starting("scan", start).of_type("ReJSON-RL");
    while let Some(page) = documents.next(store).await? {
        seen.extend(page.iter().map(|key| hasher.hash_one(key)));
    }
    Ok(seen.len() as u64)
}
