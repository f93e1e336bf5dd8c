//! `setup`.

use super::index;
use super::store::Store;
use crate::error::Result;

/// Checks that the server has the commands that are needed, makes the indexes where there is search,
/// and warns of a configuration that loses what is stored.
pub(crate) async fn setup(store: &Store) -> Result<()> {
    store.check_commands().await?;
    index::create_indexes(store).await?;
    let has_ttl = store.settings.ttl.default.is_some();
    store.driver().warn_of_loss(has_ttl).await;
    Ok(())
}
