//! Blocking calls, for callers without an async runtime.
//!
//! ```
//! use langgraph_checkpoint_redis::blocking::BlockingSaver;
//! use langgraph_checkpoint_redis::{
//!     Checkpoint, CheckpointConfig, CheckpointMetadata, ListOptions, MemorySaver, PutOptions,
//! };
//!
//! let saver = BlockingSaver::new(MemorySaver::new())?;
//! let thread = CheckpointConfig::new("thread-1")?;
//! for step in 1..=3 {
//!     let checkpoint = Checkpoint::builder().channel("step", step, &step)?.build()?;
//!     let metadata = CheckpointMetadata::new().with("step", &step)?;
//!     saver.put(&thread, &checkpoint, &metadata, &PutOptions::default())?;
//! }
//!
//! let newest = saver.get_tuple(&thread)?.expect("three were put");
//! assert_eq!(newest.metadata.get::<i64>("step")?, Some(3));
//! // The iterator fetches no more than it is asked for.
//! let first = saver.list(Some(&thread), ListOptions::default()).next().expect("three were put")?;
//! assert_eq!(first, newest);
//! # Ok::<(), langgraph_checkpoint_redis::Error>(())
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures_util::stream::StreamExt;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::checkpoint::{
    ChannelWrite, Checkpoint, CheckpointMetadata, CheckpointTuple, DeltaChannelHistory,
};
use crate::config::CheckpointConfig;
use crate::error::{Error, Result};
use crate::id::{RunId, TaskId, ThreadId};
use crate::options::{
    CopyOptions, DeleteOptions, ListOptions, PruneOptions, PutOptions, PutWritesOptions,
};
use crate::saver::{CheckpointSaver, SaverStream, ThreadSummary};

/// A saver whose calls block until they are done.
///
/// It brings a runtime with one thread of its own. It can be shared by many threads, whose calls
/// run at the same time; clones share the runtime and the saver.
///
/// The methods are those of [`CheckpointSaver`] and promise the same. Within an async runtime
/// (also within `spawn_blocking`) each of them returns
/// [`Error::InvalidInput`] instead of holding a thread that others wait for: await the saver
/// itself there.
#[derive(Clone)]
pub struct BlockingSaver {
    saver: Arc<dyn CheckpointSaver>,
    runtime: Arc<OwnRuntime>,
}

impl BlockingSaver {
    /// Wraps a saver.
    ///
    /// # Errors
    /// [`Error::Config`] if the system gives no thread for the runtime.
    pub fn new(saver: impl CheckpointSaver) -> Result<Self> {
        Ok(Self {
            saver: Arc::new(saver),
            runtime: Arc::new(OwnRuntime::start()?),
        })
    }

    /// Wraps the saver that a future makes; the future runs on the runtime that the calls will
    /// run on, as a saver with connections of its own wants it.
    ///
    /// # Errors
    /// As the future, as [`BlockingSaver::new`], and [`Error::InvalidInput`] within an async
    /// runtime.
    ///
    /// ```
    /// use langgraph_checkpoint_redis::MemorySaver;
    /// use langgraph_checkpoint_redis::blocking::BlockingSaver;
    /// let saver = BlockingSaver::start(async { Ok(MemorySaver::new()) })?;
    /// saver.setup()?;
    /// # Ok::<(), langgraph_checkpoint_redis::Error>(())
    /// ```
    pub fn start<S: CheckpointSaver>(saver: impl Future<Output = Result<S>>) -> Result<Self> {
        let runtime = OwnRuntime::start()?;
        let saver = runtime.block_on(saver)??;
        Ok(Self {
            saver: Arc::new(saver),
            runtime: Arc::new(runtime),
        })
    }

    /// As [`CheckpointSaver::setup`].
    ///
    /// # Errors
    /// As the saver's, and [`Error::InvalidInput`] within an async runtime.
    pub fn setup(&self) -> Result<()> {
        self.runtime.block_on(self.saver.setup())?
    }

    /// As [`CheckpointSaver::put`].
    ///
    /// # Errors
    /// As the saver's, and [`Error::InvalidInput`] within an async runtime.
    pub fn put(
        &self,
        config: &CheckpointConfig,
        checkpoint: &Checkpoint,
        metadata: &CheckpointMetadata,
        options: &PutOptions,
    ) -> Result<CheckpointConfig> {
        self.runtime
            .block_on(self.saver.put(config, checkpoint, metadata, options))?
    }

    /// As [`CheckpointSaver::put_writes`].
    ///
    /// # Errors
    /// As the saver's, and [`Error::InvalidInput`] within an async runtime.
    pub fn put_writes(
        &self,
        config: &CheckpointConfig,
        writes: &[ChannelWrite],
        task_id: &TaskId,
        options: &PutWritesOptions,
    ) -> Result<()> {
        self.runtime
            .block_on(self.saver.put_writes(config, writes, task_id, options))?
    }

    /// As [`CheckpointSaver::get_tuple`].
    ///
    /// # Errors
    /// As the saver's, and [`Error::InvalidInput`] within an async runtime.
    pub fn get_tuple(&self, config: &CheckpointConfig) -> Result<Option<CheckpointTuple>> {
        self.runtime.block_on(self.saver.get_tuple(config))?
    }

    /// As [`CheckpointSaver::list`]; each step of the iterator blocks until its item is there.
    #[must_use]
    pub fn list(
        &self,
        config: Option<&CheckpointConfig>,
        options: ListOptions,
    ) -> Pulled<CheckpointTuple> {
        self.pull(|saver| saver.list(config, options))
    }

    /// As [`CheckpointSaver::delete_thread`].
    ///
    /// # Errors
    /// As the saver's, and [`Error::InvalidInput`] within an async runtime.
    pub fn delete_thread(&self, thread_id: &ThreadId, options: &DeleteOptions) -> Result<()> {
        self.runtime
            .block_on(self.saver.delete_thread(thread_id, options))?
    }

    /// As [`CheckpointSaver::delete_for_runs`].
    ///
    /// # Errors
    /// As the saver's, and [`Error::InvalidInput`] within an async runtime.
    pub fn delete_for_runs(&self, run_ids: &[RunId]) -> Result<()> {
        self.runtime.block_on(self.saver.delete_for_runs(run_ids))?
    }

    /// As [`CheckpointSaver::copy_thread`].
    ///
    /// # Errors
    /// As the saver's, and [`Error::InvalidInput`] within an async runtime.
    pub fn copy_thread(
        &self,
        source: &ThreadId,
        target: &ThreadId,
        options: &CopyOptions,
    ) -> Result<()> {
        self.runtime
            .block_on(self.saver.copy_thread(source, target, options))?
    }

    /// As [`CheckpointSaver::prune`].
    ///
    /// # Errors
    /// As the saver's, and [`Error::InvalidInput`] within an async runtime.
    pub fn prune(&self, thread_ids: &[ThreadId], options: &PruneOptions) -> Result<()> {
        self.runtime
            .block_on(self.saver.prune(thread_ids, options))?
    }

    /// As [`CheckpointSaver::delta_channel_history`].
    ///
    /// # Errors
    /// As the saver's, and [`Error::InvalidInput`] within an async runtime.
    pub fn delta_channel_history(
        &self,
        config: &CheckpointConfig,
        channels: &[String],
    ) -> Result<BTreeMap<String, DeltaChannelHistory>> {
        self.runtime
            .block_on(self.saver.delta_channel_history(config, channels))?
    }

    /// As [`CheckpointSaver::threads`]; each step of the iterator blocks until its item is there.
    #[must_use]
    pub fn threads(&self, prefix: &str) -> Pulled<ThreadSummary> {
        self.pull(|saver| saver.threads(prefix))
    }

    /// As [`CheckpointSaver::touch`].
    ///
    /// # Errors
    /// As the saver's, and [`Error::InvalidInput`] within an async runtime.
    pub fn touch(&self, thread_id: &ThreadId) -> Result<bool> {
        self.runtime.block_on(self.saver.touch(thread_id))?
    }

    /// As [`CheckpointSaver::pin`].
    ///
    /// # Errors
    /// As the saver's, and [`Error::InvalidInput`] within an async runtime.
    pub fn pin(&self, thread_id: &ThreadId) -> Result<bool> {
        self.runtime.block_on(self.saver.pin(thread_id))?
    }

    /// As [`CheckpointSaver::unpin`].
    ///
    /// # Errors
    /// As the saver's, and [`Error::InvalidInput`] within an async runtime.
    pub fn unpin(&self, thread_id: &ThreadId) -> Result<bool> {
        self.runtime.block_on(self.saver.unpin(thread_id))?
    }

    fn pull<T>(&self, stream: impl FnOnce(&dyn CheckpointSaver) -> SaverStream<T>) -> Pulled<T> {
        // A saver may start tasks when it makes a stream, for which it needs a runtime.
        let _entered = self.runtime.handle.enter();
        Pulled {
            stream: Some(stream(&*self.saver)),
            runtime: Arc::clone(&self.runtime),
        }
    }
}

impl fmt::Debug for BlockingSaver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("BlockingSaver")
            .field(&self.saver)
            .finish()
    }
}

/// The items of a stream, fetched as they are asked for.
pub struct Pulled<T> {
    /// `Some` until dropped or failed.
    stream: Option<SaverStream<T>>,
    runtime: Arc<OwnRuntime>,
}

impl<T> Iterator for Pulled<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.stream.as_mut()?.next();
        self.runtime.block_on(next).unwrap_or_else(|error| {
            // An error that came again and again would make endless loops.
            self.stream = None;
            Some(Err(error))
        })
    }
}

impl<T> Drop for Pulled<T> {
    fn drop(&mut self) {
        let _entered = self.runtime.handle.enter();
        drop(self.stream.take());
    }
}

impl<T> fmt::Debug for Pulled<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Pulled")
    }
}

/// A runtime that is ended without waiting, so that it may be dropped anywhere: tokio panics when
/// a runtime is dropped within another.
struct OwnRuntime {
    handle: Handle,
    /// `Some` until dropped.
    runtime: Option<Runtime>,
}

impl OwnRuntime {
    fn start() -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("checkpoint-saver")
            .enable_all()
            .build()
            .map_err(|error| Error::Config {
                key: "the blocking saver's runtime".to_owned(),
                reason: "it cannot be started".to_owned(),
                source: Some(error.into()),
            })?;
        Ok(Self {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }

    /// Runs a future on the calling thread.
    fn block_on<F: Future>(&self, future: F) -> Result<F::Output> {
        // Whether the thread may block cannot be told within a runtime: tokio's own way to find
        // out is a panic.
        if Handle::try_current().is_ok() {
            return Err(Error::invalid(
                "the blocking call",
                "it was made within an async runtime, whose thread it would hold; await the saver \
                 itself there, or make the call on a thread outside of the runtime",
            ));
        }
        Ok(self.handle.block_on(future))
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemorySaver;

    fn put(saver: &BlockingSaver, thread: &str) -> Result<CheckpointConfig> {
        saver.put(
            &CheckpointConfig::new(thread)?,
            &Checkpoint::builder().build()?,
            &CheckpointMetadata::new(),
            &PutOptions::default(),
        )
    }

    #[test]
    fn many_threads_use_it_at_the_same_time() {
        let saver = BlockingSaver::new(MemorySaver::new()).unwrap();
        std::thread::scope(|scope| {
            for worker in 0..8 {
                let saver = &saver;
                scope.spawn(move || {
                    for _ in 0..50 {
                        put(saver, &format!("t{worker}")).unwrap();
                    }
                });
            }
        });
        assert_eq!(saver.list(None, ListOptions::default()).count(), 400);
        assert_eq!(saver.threads("t").count(), 8);
    }

    #[tokio::test]
    async fn within_a_runtime_a_call_is_an_error_and_dropping_is_none() {
        let saver = BlockingSaver::new(MemorySaver::new()).unwrap();
        let error = put(&saver, "t").unwrap_err();
        assert!(
            error.to_string().contains("within an async runtime"),
            "{error}"
        );
        let mut list = saver.list(None, ListOptions::default());
        assert!(list.next().unwrap().is_err());
        assert!(list.next().is_none());
    }

    #[test]
    fn an_iterator_outlives_the_saver_that_made_it() {
        let saver = BlockingSaver::new(MemorySaver::new()).unwrap();
        put(&saver, "t").unwrap();
        let list = saver.list(None, ListOptions::default());
        drop(saver);
        assert_eq!(list.map(Result::unwrap).count(), 1);
    }

    #[test]
    fn it_can_be_shared_and_sent() {
        fn shared<T: Send + Sync>() {}
        shared::<BlockingSaver>();
    }
}
