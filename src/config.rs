//! The config of a call: LangGraph's `config["configurable"]`.

use crate::checkpoint::CheckpointMetadata;
use crate::error::{Error, Result};
use crate::id::{CheckpointId, CheckpointNamespace, RunId, ThreadId};

/// Names a thread, a namespace of a thread, or a checkpoint.
///
/// ```
/// use langgraph_checkpoint_redis::CheckpointConfig;
/// let root = CheckpointConfig::new("thread-1")?;
/// let child = CheckpointConfig::new("thread-1")?.with_namespace("child:1")?;
/// assert_eq!(root.namespace().as_str(), "");
/// assert!(root.checkpoint_ns.is_none() && child.checkpoint_ns.is_some());
/// # Ok::<(), langgraph_checkpoint_redis::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckpointConfig {
    /// The thread.
    pub thread_id: ThreadId,
    /// The namespace. `None` means all namespaces in `list`, and the root in other calls.
    pub checkpoint_ns: Option<CheckpointNamespace>,
    /// The checkpoint. `None` means the newest in reads. In `put` it is the parent.
    pub checkpoint_id: Option<CheckpointId>,
    /// The run that makes the call. `None` means the metadata's `run_id`.
    pub run_id: Option<RunId>,
    /// Metadata that is merged into that of each checkpoint that is put.
    pub metadata: CheckpointMetadata,
}

impl CheckpointConfig {
    /// Names a thread.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if the id cannot be a thread's.
    pub fn new(thread_id: impl AsRef<str>) -> Result<Self> {
        Ok(Self::of_thread(ThreadId::new(thread_id)?))
    }

    /// Names a thread.
    #[must_use]
    pub fn of_thread(thread_id: ThreadId) -> Self {
        Self {
            thread_id,
            checkpoint_ns: None,
            checkpoint_id: None,
            run_id: None,
            metadata: CheckpointMetadata::new(),
        }
    }

    /// Names one checkpoint.
    #[must_use]
    pub fn of_checkpoint(
        thread_id: ThreadId,
        namespace: CheckpointNamespace,
        checkpoint_id: CheckpointId,
    ) -> Self {
        Self {
            checkpoint_ns: Some(namespace),
            checkpoint_id: Some(checkpoint_id),
            ..Self::of_thread(thread_id)
        }
    }

    /// Sets the namespace.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if the id cannot be a namespace's.
    pub fn with_namespace(mut self, namespace: impl AsRef<str>) -> Result<Self> {
        self.checkpoint_ns = Some(CheckpointNamespace::new(namespace)?);
        Ok(self)
    }

    /// Sets the checkpoint.
    #[must_use]
    pub fn with_checkpoint(mut self, checkpoint_id: CheckpointId) -> Self {
        self.checkpoint_id = Some(checkpoint_id);
        self
    }

    /// Sets the run.
    #[must_use]
    pub fn with_run(mut self, run_id: RunId) -> Self {
        self.run_id = Some(run_id);
        self
    }

    /// Sets metadata for the checkpoints that are put.
    #[must_use]
    pub fn with_metadata(mut self, metadata: CheckpointMetadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// The namespace, the root if none was given.
    #[must_use]
    pub fn namespace(&self) -> CheckpointNamespace {
        self.checkpoint_ns.clone().unwrap_or_default()
    }

    /// The metadata under which a checkpoint is put: its own, then the run of this config if it
    /// names none, then the metadata of this config.
    pub(crate) fn joined_metadata(&self, own: &CheckpointMetadata) -> Result<CheckpointMetadata> {
        let mut metadata = own.clone();
        if let Some(run_id) = &self.run_id
            && metadata.fields().get("run_id").is_none()
        {
            metadata = metadata.with("run_id", run_id)?;
        }
        Ok(metadata.joined_by(&self.metadata))
    }

    /// The checkpoint, for calls that need one.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if none is given.
    pub fn required_checkpoint(&self) -> Result<&CheckpointId> {
        self.checkpoint_id.as_ref().ok_or_else(|| {
            Error::invalid(
                "config.checkpoint_id",
                "it is missing: name the checkpoint that the writes belong to",
            )
        })
    }
}
