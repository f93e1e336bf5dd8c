//! The key that says that the compact layout is under a prefix, and whether all of it has to be
//! sealed. The JSON layout leaves none, as others share what it stores; its index says that it is
//! there, or else its keys do.

use bytes::Bytes;

use super::config::Layout;
use super::driver::{Command, Reply};
use super::index;
use super::scan::Scan;
use super::store::Store;
use crate::error::{Error, Result};

/// How many pages of keys are looked at for what another layout stored.
const PAGES: usize = 16;

/// What follows the name of the layout where savers read nothing that is not sealed.
const SEALED: &str = " sealed";

/// Leaves the mark of the compact layout.
///
/// # Errors
/// [`Error::Config`] if the JSON layout was there first, or if all has to be sealed and the saver has no
/// keys; and any storage error.
pub(crate) async fn claim(store: &Store) -> Result<()> {
    let settings = &store.settings;
    let has_keys = settings.encryption_keys.is_some();
    let seals_all = has_keys && !settings.allow_unsealed;
    if let Some(found) = found(store).await? {
        check(store, &found)?;
        let is_sealed = found.ends_with(SEALED);
        if is_sealed && !has_keys {
            return Err(Error::Config {
                key: "encryption_keys".to_owned(),
                reason: format!(
                    "what is stored under the prefix `{}` is sealed, and the saver has no keys: set them",
                    store.keyspace.checkpoint_prefix()
                ),
                source: None,
            });
        }
        if is_sealed || !seals_all {
            return Ok(());
        }
        return mark(store, seals_all).await;
    }
    let prefix = store.keyspace.checkpoint_prefix();
    if index::index_stats(store, prefix).await?.is_some() || has_documents(store).await? {
        return check(store, Layout::Json.as_str());
    }
    mark(store, seals_all).await
}

/// Whether a walk over some of the keys comes to one of the JSON layout, which has no index where
/// the server does not search.
async fn has_documents(store: &Store) -> Result<bool> {
    let keyspace = &store.keyspace;
    let (pointers, namespaces) = (keyspace.pointer_family(), keyspace.namespaces_family());
    let mut scan = Scan::matching("setup", keyspace.heads_pattern(""));
    for _ in 0..PAGES {
        let Some(keys) = scan.next(store).await? else {
            break;
        };
        let is_ours = |key: &Bytes| {
            key.starts_with(pointers.as_bytes()) || key.starts_with(namespaces.as_bytes())
        };
        if keys.iter().any(is_ours) {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn mark(store: &Store, seals_all: bool) -> Result<()> {
    let mut mark = store.settings.layout.to_string();
    if seals_all {
        mark += SEALED;
    }
    let mark = Command::on("SET", store.keyspace.layout_marker()).arg(mark);
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
    let found = found.strip_suffix(SEALED).unwrap_or(found);
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
