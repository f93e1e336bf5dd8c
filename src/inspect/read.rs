//! Reads that count as looking, not as use.

use futures_util::TryStreamExt;

use crate::checkpoint::CheckpointTuple;
use crate::config::CheckpointConfig;
use crate::error::Result;
use crate::id::{CheckpointNamespace, ThreadId};
use crate::options::ListOptions;
use crate::saver::CheckpointSaver;

/// The checkpoint that a config names, or the newest of its namespace. Its TTL is not refreshed,
/// whatever the saver's policy is.
///
/// # Errors
/// As [`CheckpointSaver::list`].
pub(crate) async fn look(
    saver: &dyn CheckpointSaver,
    config: &CheckpointConfig,
) -> Result<Option<CheckpointTuple>> {
    let mut config = config.clone();
    // Without one a list is over all namespaces.
    config.checkpoint_ns = Some(config.namespace());
    saver
        .list(Some(&config), ListOptions::default().with_limit(1))
        .try_next()
        .await
}

/// The newest checkpoint of a namespace, as [`look`] finds it.
///
/// # Errors
/// As [`CheckpointSaver::list`].
pub(crate) async fn newest(
    saver: &dyn CheckpointSaver,
    thread_id: &ThreadId,
    namespace: &CheckpointNamespace,
) -> Result<Option<CheckpointTuple>> {
    let mut config = CheckpointConfig::of_thread(thread_id.clone());
    config.checkpoint_ns = Some(namespace.clone());
    look(saver, &config).await
}
