//! What callers like to have of every saver, beyond the trait.

use async_trait::async_trait;
use futures_util::stream::TryStreamExt;

use crate::checkpoint::{Checkpoint, CheckpointTuple};
use crate::config::CheckpointConfig;
use crate::error::Result;
use crate::id::ThreadId;
use crate::options::ListOptions;
use crate::saver::{CheckpointSaver, ThreadSummary};
use crate::scoped::ScopedSaver;

/// Convenience methods of every saver.
#[async_trait]
pub trait CheckpointSaverExt: CheckpointSaver {
    /// The checkpoint that `config` names, or the newest, without metadata and pending writes.
    ///
    /// # Errors
    /// As [`CheckpointSaver::get_tuple`].
    async fn get(&self, config: &CheckpointConfig) -> Result<Option<Checkpoint>> {
        Ok(self.get_tuple(config).await?.map(|tuple| tuple.checkpoint))
    }

    /// The summary of a thread, or `None` if it does not exist.
    ///
    /// # Errors
    /// Any storage error.
    ///
    /// ```
    /// use langgraph_checkpoint_redis::{CheckpointSaverExt, MemorySaver, ThreadId};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> langgraph_checkpoint_redis::Result<()> {
    /// let saver = MemorySaver::new();
    /// assert_eq!(saver.thread(&ThreadId::new("nobody's")?).await?, None);
    /// # Ok(())
    /// # }
    /// ```
    async fn thread(&self, thread_id: &ThreadId) -> Result<Option<ThreadSummary>> {
        let mut threads = self.threads(thread_id.as_str());
        while let Some(summary) = threads.try_next().await? {
            if summary.thread_id == *thread_id {
                return Ok(Some(summary));
            }
        }
        Ok(None)
    }

    /// The checkpoints of [`list`](CheckpointSaver::list), collected; a thread may have many.
    ///
    /// # Errors
    /// As [`CheckpointSaver::get_tuple`].
    async fn list_all(
        &self,
        config: Option<&CheckpointConfig>,
        options: ListOptions,
    ) -> Result<Vec<CheckpointTuple>> {
        self.list(config, options).try_collect().await
    }

    /// A view of the threads whose ids start with `prefix`, for one tenant of many: under it they
    /// have their ids without the prefix, and there are no others. See [`ScopedSaver`], also for
    /// which prefixes to choose.
    ///
    /// # Errors
    /// As [`ScopedSaver::new`].
    ///
    /// ```
    /// use langgraph_checkpoint_redis::{
    ///     Checkpoint, CheckpointConfig, CheckpointMetadata, CheckpointSaver, CheckpointSaverExt,
    ///     MemorySaver, PutOptions,
    /// };
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> langgraph_checkpoint_redis::Result<()> {
    /// let saver = MemorySaver::new();
    /// let (ada, bob) = (saver.scoped("tenant-ada/")?, saver.scoped("tenant-bob/")?);
    ///
    /// let thread = CheckpointConfig::new("support")?;
    /// let checkpoint = Checkpoint::builder().channel("n", 1, &1)?.build()?;
    /// let options = PutOptions::default();
    /// ada.put(&thread, &checkpoint, &CheckpointMetadata::new(), &options).await?;
    ///
    /// assert_eq!(ada.get(&thread).await?, Some(checkpoint.clone()));
    /// assert_eq!(bob.get(&thread).await?, None);
    /// let stored = CheckpointConfig::new("tenant-ada/support")?;
    /// assert_eq!(saver.get(&stored).await?, Some(checkpoint));
    /// # Ok(())
    /// # }
    /// ```
    fn scoped(&self, prefix: impl Into<String>) -> Result<ScopedSaver<Self>>
    where
        Self: Clone + Sized,
    {
        ScopedSaver::new(self.clone(), prefix)
    }
}

impl<S: CheckpointSaver + ?Sized> CheckpointSaverExt for S {}
