//! Whether the indexes are as they should be, and what makes them so.

use super::info::{info, search_is_barred};
use super::schema::{CHECKPOINT_FIELDS, WRITE_FIELDS, difference, value_of};
use super::state::create_indexes;
use crate::error::Result;
use crate::redis::args::text;
use crate::redis::driver::Command;
use crate::redis::error::is_unknown_index;
use crate::redis::store::Store;

/// What is wrong with an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IndexProblem {
    Missing,
    Busy,
    Differs(String),
}

/// What an index holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IndexStats {
    /// Its name.
    pub name: String,
    /// How many documents it knows.
    pub documents: u64,
    /// The memory that it takes, in bytes.
    pub memory: u64,
    /// How many documents it could not take.
    pub failures: u64,
    /// Whether it is still reading what was stored before it.
    pub busy: bool,
}

impl IndexStats {
    pub(super) fn new(
        name: String,
        documents: u64,
        memory: u64,
        failures: u64,
        busy: bool,
    ) -> Self {
        Self {
            name,
            documents,
            memory,
            failures,
            busy,
        }
    }
}

/// What is wrong with an index, in words; nothing if all is well.
pub(crate) async fn index_problem(store: &Store, index: &str) -> Result<Option<IndexProblem>> {
    let fields = if index == store.keyspace.write_prefix() {
        WRITE_FIELDS
    } else {
        CHECKPOINT_FIELDS
    };
    if search_is_barred(store).is_some() {
        return Ok(None);
    }
    let Some(info) = info(store, index).await? else {
        return Ok(Some(IndexProblem::Missing));
    };
    let number = |name| value_of(info.clone(), name).and_then(|value| value.as_int());
    if number("indexing").unwrap_or(0) != 0 {
        return Ok(Some(IndexProblem::Busy));
    }
    let mut differences: Vec<String> = fields
        .iter()
        .filter_map(|(name, kind)| difference(&info, name, kind))
        .collect();
    let failures = number("hash_indexing_failures").unwrap_or(0);
    if failures > 0 {
        differences.push(format!("it could not take {failures} documents"));
    }
    Ok((!differences.is_empty()).then(|| IndexProblem::Differs(differences.join(", "))))
}

/// What an index holds; `None` if there is none.
pub(crate) async fn index_stats(store: &Store, index: &str) -> Result<Option<IndexStats>> {
    let Some(info) = info(store, index).await? else {
        return Ok(None);
    };
    let number = |name| {
        let value = value_of(info.clone(), name)?;
        u64::try_from(value.as_int()?).ok()
    };
    let megabytes = value_of(info.clone(), "total_index_memory_sz_mb")
        .and_then(|value| value.as_str()?.parse::<f64>().ok())
        .unwrap_or(0.0);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    // It is no more than memory.
    let memory = (megabytes.max(0.0) * 1_048_576.0) as u64;
    Ok(Some(IndexStats::new(
        index.to_owned(),
        number("num_docs").unwrap_or(0),
        memory,
        number("hash_indexing_failures").unwrap_or(0),
        number("indexing").unwrap_or(0) != 0,
    )))
}

/// Drops an index and makes it again; the documents stay.
pub(crate) async fn rebuild_index(store: &Store, index: &str) -> Result<()> {
    drop_index(store, index).await?;
    store.session.searching.forget();
    create_indexes(store).await
}

/// Drops an index; the documents stay.
pub(crate) async fn drop_index(store: &Store, index: &str) -> Result<()> {
    if search_is_barred(store).is_some() {
        return Ok(());
    }
    let drop = Command::new("FT.DROPINDEX").arg(text(index));
    match store.driver().call("doctor", drop).await {
        Err(error) if is_unknown_index(&error) => Ok(()),
        reply => reply.map(|_| ()),
    }
}
