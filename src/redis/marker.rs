//! The key that says that the compact layout is under a prefix. The JSON layout leaves none, as others
//! share what it stores; its index says that it is there.

use bytes::Bytes;

use super::config::Layout;
use super::driver::{Command, Reply};
use super::index;
use super::store::Store;
use crate::error::{Error, Result};

/// Leaves the mark of the compact layout.
///
/// # Errors
/// [`Error::Config`] if the JSON layout was there first, and any storage error.
pub(crate) async fn claim(store: &Store) -> Result<()> {
    if let Some(found) = found(store).await? {
        return check(store, &found);
    }
    let prefix = store.keyspace.checkpoint_prefix();
    if index::index_stats(store, prefix).await?.is_some() {
        return check(store, Layout::Json.as_str());
    }
    let name = Bytes::from_static(store.settings.layout.as_str().as_bytes());
    let mark = Command::on("SET", store.keyspace.layout_marker()).arg(name);
    store.driver().call("setup", mark).await?;
    Ok(())
}

/// Refuses a prefix that has the mark of another layout.
///
/// # Errors
/// [`Error::Config`], and any storage error.
pub(crate) async fn look(store: &Store) -> Result<()> {
    match found(store).await? {
        Some(found) => check(store, &found),
        None => Ok(()),
    }
}

async fn found(store: &Store) -> Result<Option<String>> {
    let read = Command::on("GET", store.keyspace.layout_marker());
    let found: Reply = store.driver().call("setup", read).await?;
    Ok(found.as_str().map(str::to_owned))
}

fn check(store: &Store, found: &str) -> Result<()> {
    let layout = store.settings.layout;
    if found == layout.as_str() {
        return Ok(());
    }
    let prefix = store.keyspace.checkpoint_prefix();
    Err(Error::Config {
        key: "layout".to_owned(),
        reason: format!(
            "under the prefix `{prefix}` checkpoints are stored in the layout `{found}`, and the saver has the layout `{layout}`: set `layout` to `{found}`, or give the saver a prefix of its own and move the threads there with `langgraph-redis migrate`"
        ),
        source: None,
    })
}
