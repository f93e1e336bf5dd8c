//! The key that says which layout is under a prefix.

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::redis::driver::Command;
use crate::redis::store::Store;

/// Leaves the name of the layout that the saver has under its prefix.
///
/// # Errors
/// [`Error::Config`] if the other layout was there first, and any storage error.
pub(crate) async fn claim(store: &Store) -> Result<()> {
    let layout = store.settings.layout;
    let key = store.keyspace.layout_marker();
    let name = Bytes::from_static(layout.as_str().as_bytes());
    let claim = Command::on("SET", key.clone()).arg(name).arg("NX");
    store.driver().call("setup", claim).await?;
    let found = store
        .driver()
        .call("setup", Command::on("GET", key))
        .await?;
    let Some(found) = found.as_str() else {
        return Ok(());
    };
    if found == layout.as_str() {
        return Ok(());
    }
    let prefix = store.keyspace.checkpoint_prefix();
    Err(Error::Config {
        key: "layout".to_owned(),
        reason: format!(
            "under the prefix `{prefix}` checkpoints are stored in the layout `{found}`, and the saver has the layout `{layout}`: set `layout` to `{found}`, or a prefix of its own and move the threads there with `langgraph-redis export` and `import`"
        ),
    })
}
