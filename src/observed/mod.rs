//! A wrapper that traces, counts and times every call of a saver.

pub(crate) mod measure;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use futures_util::stream::{Stream, StreamExt};

use crate::checkpoint::{
    ChannelWrite, Checkpoint, CheckpointMetadata, CheckpointTuple, DeltaChannelHistory,
};
use crate::config::CheckpointConfig;
use crate::error::Result;
use crate::id::{RunId, TaskId, ThreadId};
use crate::options::{
    CopyOptions, DeleteOptions, ListOptions, PruneOptions, PutOptions, PutWritesOptions,
};
use crate::saver::{CheckpointSaver, SaverStream, ThreadSummary};
use measure::{Measure, checkpoint_bytes, pending_bytes, thread_label, tuple_bytes, write_bytes};

/// Wraps a saver and records every call in a `tracing` span: the operation, the thread, the
/// namespace, the approximate number of bytes written and read, the number of round trips, and the
/// kind of the error if the call failed.
///
/// A thread is recorded as the first sixteen hexadecimal digits of the SHA-256 of its id
/// (`printf %s THREAD | sha256sum`), which are the same in every process; ids that can be guessed
/// can be found out. [`showing_threads`](Self::showing_threads) records the id itself.
///
/// With the feature `metrics` every call is also counted and timed through the `metrics` facade:
/// `langgraph_checkpoint_calls_total`, `langgraph_checkpoint_errors_total`,
/// `langgraph_checkpoint_duration_seconds`, `langgraph_checkpoint_bytes_total`,
/// `langgraph_checkpoint_round_trips_total` and `langgraph_checkpoint_in_flight`, each with the
/// label `operation`.
///
/// ```
/// use langgraph_checkpoint_redis::{CheckpointConfig, CheckpointSaver, MemorySaver, ObservedSaver};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> langgraph_checkpoint_redis::Result<()> {
/// let saver = ObservedSaver::new(MemorySaver::new());
/// let thread = CheckpointConfig::new("thread-1")?;
/// assert!(saver.get_tuple(&thread).await?.is_none());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ObservedSaver<S> {
    saver: S,
    shows_threads: bool,
}

impl<S> ObservedSaver<S> {
    /// Wraps a saver.
    #[must_use]
    pub fn new(saver: S) -> Self {
        Self {
            saver,
            shows_threads: false,
        }
    }

    /// Whether threads are recorded by their ids instead of a hash. Default: `false`.
    #[must_use]
    pub fn showing_threads(mut self, shows_threads: bool) -> Self {
        self.shows_threads = shows_threads;
        self
    }

    /// The wrapped saver.
    #[must_use]
    pub fn get_ref(&self) -> &S {
        &self.saver
    }

    /// Starts to measure a call on a thread.
    pub(crate) fn measure(
        &self,
        operation: &'static str,
        thread: &ThreadId,
        namespace: Option<&str>,
        written: usize,
    ) -> Measure {
        let thread = thread_label(thread.as_str(), self.shows_threads);
        Measure::start(operation, Some(&thread), namespace, written)
    }

    fn measure_config(
        &self,
        operation: &'static str,
        config: &CheckpointConfig,
        written: usize,
    ) -> Measure {
        let namespace = config.checkpoint_ns.as_ref();
        let namespace = namespace.map(AsRef::as_ref);
        self.measure(operation, &config.thread_id, namespace, written)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: CheckpointSaver> CheckpointSaver for ObservedSaver<S> {
    async fn setup(&self) -> Result<()> {
        let measure = Measure::start("setup", None, None, 0);
        measure.run(self.saver.setup(), |()| 0).await
    }

    async fn put(
        &self,
        config: &CheckpointConfig,
        checkpoint: &Checkpoint,
        metadata: &CheckpointMetadata,
        options: &PutOptions,
    ) -> Result<CheckpointConfig> {
        let written = checkpoint_bytes(checkpoint) + metadata.fields().text_len();
        let call = self.saver.put(config, checkpoint, metadata, options);
        let measure = self.measure_config("put", config, written);
        measure.run(call, |_| 0).await
    }

    async fn put_writes(
        &self,
        config: &CheckpointConfig,
        writes: &[ChannelWrite],
        task_id: &TaskId,
        options: &PutWritesOptions,
    ) -> Result<()> {
        let call = self.saver.put_writes(config, writes, task_id, options);
        let measure = self.measure_config("put_writes", config, write_bytes(writes));
        measure.run(call, |()| 0).await
    }

    async fn get_tuple(&self, config: &CheckpointConfig) -> Result<Option<CheckpointTuple>> {
        let measure = self.measure_config("get_tuple", config, 0);
        let call = self.saver.get_tuple(config);
        measure
            .run(call, |tuple| tuple.as_ref().map_or(0, tuple_bytes))
            .await
    }

    fn list(
        &self,
        config: Option<&CheckpointConfig>,
        options: ListOptions,
    ) -> SaverStream<CheckpointTuple> {
        let measure = match config {
            Some(config) => self.measure_config("list", config, 0),
            None => Measure::start("list", None, None, 0),
        };
        observe(self.saver.list(config, options), measure, tuple_bytes)
    }

    fn list_within(&self, prefix: &str, options: ListOptions) -> SaverStream<CheckpointTuple> {
        let measure = Measure::start("list", None, None, 0);
        observe(
            self.saver.list_within(prefix, options),
            measure,
            tuple_bytes,
        )
    }

    async fn delete_thread(&self, thread_id: &ThreadId, options: &DeleteOptions) -> Result<()> {
        let measure = self.measure("delete_thread", thread_id, None, 0);
        let call = self.saver.delete_thread(thread_id, options);
        measure.run(call, |()| 0).await
    }

    async fn delete_for_runs(&self, run_ids: &[RunId]) -> Result<()> {
        let measure = Measure::start("delete_for_runs", None, None, 0);
        let call = self.saver.delete_for_runs(run_ids);
        measure.run(call, |()| 0).await
    }

    async fn delete_for_runs_within(&self, run_ids: &[RunId], prefix: &str) -> Result<()> {
        let measure = Measure::start("delete_for_runs", None, None, 0);
        let call = self.saver.delete_for_runs_within(run_ids, prefix);
        measure.run(call, |()| 0).await
    }

    async fn copy_thread(
        &self,
        source: &ThreadId,
        target: &ThreadId,
        options: &CopyOptions,
    ) -> Result<()> {
        let measure = self.measure("copy_thread", source, None, 0);
        let call = self.saver.copy_thread(source, target, options);
        measure.run(call, |()| 0).await
    }

    async fn prune(&self, thread_ids: &[ThreadId], options: &PruneOptions) -> Result<()> {
        let measure = match thread_ids {
            [thread] => self.measure("prune", thread, None, 0),
            _ => Measure::start("prune", None, None, 0),
        };
        let call = self.saver.prune(thread_ids, options);
        measure.run(call, |()| 0).await
    }

    async fn delta_channel_history(
        &self,
        config: &CheckpointConfig,
        channels: &[String],
    ) -> Result<BTreeMap<String, DeltaChannelHistory>> {
        let measure = self.measure_config("delta_channel_history", config, 0);
        let call = self.saver.delta_channel_history(config, channels);
        measure
            .run(call, |histories| {
                histories
                    .values()
                    .map(|history| pending_bytes(&history.writes))
                    .sum()
            })
            .await
    }

    fn threads(&self, prefix: &str) -> SaverStream<ThreadSummary> {
        let measure = Measure::start("threads", None, None, 0);
        observe(self.saver.threads(prefix), measure, |_| 0)
    }

    async fn touch(&self, thread_id: &ThreadId) -> Result<bool> {
        let measure = self.measure("touch", thread_id, None, 0);
        measure.run(self.saver.touch(thread_id), |_| 0).await
    }

    async fn pin(&self, thread_id: &ThreadId) -> Result<bool> {
        let measure = self.measure("pin", thread_id, None, 0);
        measure.run(self.saver.pin(thread_id), |_| 0).await
    }

    async fn unpin(&self, thread_id: &ThreadId) -> Result<bool> {
        let measure = self.measure("unpin", thread_id, None, 0);
        measure.run(self.saver.unpin(thread_id), |_| 0).await
    }
}

/// A stream that is measured as one call until it ends or is dropped.
struct ObservedStream<T> {
    stream: SaverStream<T>,
    measure: Option<Measure>,
    size: fn(&T) -> usize,
}

/// Measures a stream as one call.
pub(crate) fn observe<T: 'static>(
    stream: SaverStream<T>,
    measure: Measure,
    size: fn(&T) -> usize,
) -> SaverStream<T> {
    let observed = ObservedStream {
        stream,
        measure: Some(measure),
        size,
    };
    observed.boxed()
}

impl<T> Stream for ObservedStream<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let stream = &mut this.stream;
        let next = match &this.measure {
            Some(measure) => measure.poll(|| stream.poll_next_unpin(context)),
            None => stream.poll_next_unpin(context),
        };
        let next = std::task::ready!(next);
        match (&next, &mut this.measure) {
            (Some(Ok(item)), Some(measure)) => measure.add_read((this.size)(item)),
            (Some(Err(error)), Some(measure)) => measure.fail(error),
            (None, measure) => drop(measure.take()),
            (_, None) => {}
        }
        Poll::Ready(next)
    }
}
