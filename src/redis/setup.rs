//! `setup`.

use super::store::Store;
use super::{index, marker};
use crate::error::Result;

/// Sets up the JSON layout: checks that the server has the commands that are needed and that the
/// prefix has no other layout, makes the indexes where there is search, and warns of a
/// configuration that loses what is stored.
///
/// # Errors
/// [`Error::Config`](crate::Error::Config) for a prefix of another layout, and any storage error.
pub(crate) async fn setup(store: &Store) -> Result<()> {
    store.check_commands().await?;
    marker::look(store).await?;
    index::create_indexes(store).await?;
    let has_ttl = store.settings.ttl.default.is_some();
    store.driver().warn_of_loss(has_ttl).await;
    Ok(())
}
