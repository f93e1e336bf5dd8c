//! What names a checkpoint.

use super::encode::namespace_from_stored;
use crate::config::CheckpointConfig;
use crate::id::{CheckpointId, CheckpointNamespace, ThreadId};

/// What names a checkpoint: its thread, its namespace and its id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CheckpointRef {
    pub(crate) thread_id: ThreadId,
    pub(crate) namespace: CheckpointNamespace,
    pub(crate) checkpoint_id: CheckpointId,
}

impl CheckpointRef {
    pub(crate) fn new(
        thread: &ThreadId,
        namespace: &CheckpointNamespace,
        id: &CheckpointId,
    ) -> Self {
        Self {
            thread_id: thread.clone(),
            namespace: namespace.clone(),
            checkpoint_id: id.clone(),
        }
    }

    /// The checkpoint that the ids in a document name; `None` if one of them is no id.
    pub(crate) fn from_stored(thread: &str, namespace: &str, id: &str) -> Option<Self> {
        Some(Self {
            thread_id: ThreadId::new(thread).ok()?,
            namespace: namespace_from_stored(namespace).ok()?,
            checkpoint_id: CheckpointId::new(id).ok()?,
        })
    }

    pub(crate) fn config(&self) -> CheckpointConfig {
        CheckpointConfig::of_checkpoint(
            self.thread_id.clone(),
            self.namespace.clone(),
            self.checkpoint_id.clone(),
        )
    }
}
