//! What is told of one call: a span, and through the `metrics` facade counts and times.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Instant;

use tracing::{Instrument, Span};

use crate::checkpoint::{ChannelWrite, Checkpoint, CheckpointTuple, PendingWrite};
use crate::error::{Error, Result};

/// One call, from its start until it is dropped.
#[derive(Debug)]
pub(crate) struct Measure {
    operation: &'static str,
    start: Instant,
    span: Span,
    failed: Option<&'static str>,
    read: usize,
}

impl Measure {
    /// Begins a call. `written` is about how many bytes it writes.
    pub(crate) fn start(
        operation: &'static str,
        thread: Option<&str>,
        namespace: Option<&str>,
        written: usize,
    ) -> Self {
        let span = tracing::info_span!(
            "checkpoint_saver",
            operation,
            thread,
            namespace,
            written_bytes = written,
            read_bytes = tracing::field::Empty,
            error = tracing::field::Empty,
        );
        #[cfg(feature = "metrics")]
        {
            metrics::gauge!("langgraph_checkpoint_in_flight", "operation" => operation)
                .increment(1.0);
            count_bytes(operation, "written", written);
        }
        Self {
            operation,
            start: Instant::now(),
            span,
            failed: None,
            read: 0,
        }
    }

    /// Runs the call; `size` is about how many bytes its result has.
    pub(crate) async fn run<T>(
        mut self,
        call: impl Future<Output = Result<T>>,
        size: impl FnOnce(&T) -> usize,
    ) -> Result<T> {
        let result = call.instrument(self.span.clone()).await;
        match &result {
            Ok(value) => self.add_read(size(value)),
            Err(error) => self.fail(error),
        }
        result
    }

    /// The span of the call.
    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// Adds to what was read.
    pub(crate) fn add_read(&mut self, bytes: usize) {
        self.read += bytes;
    }

    /// Says that the call has failed.
    pub(crate) fn fail(&mut self, error: &Error) {
        self.failed = Some(error.kind());
    }
}

impl Drop for Measure {
    fn drop(&mut self) {
        self.span.record("read_bytes", self.read);
        if let Some(kind) = self.failed {
            self.span.record("error", kind);
        }
        let took = self.start.elapsed();
        tracing::debug!(
            parent: &self.span,
            took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            "the call has ended"
        );
        #[cfg(feature = "metrics")]
        {
            let operation = self.operation;
            metrics::gauge!("langgraph_checkpoint_in_flight", "operation" => operation)
                .decrement(1.0);
            metrics::counter!("langgraph_checkpoint_calls_total", "operation" => operation)
                .increment(1);
            if let Some(kind) = self.failed {
                metrics::counter!(
                    "langgraph_checkpoint_errors_total",
                    "operation" => operation, "kind" => kind
                )
                .increment(1);
            }
            metrics::histogram!(
                "langgraph_checkpoint_duration_seconds",
                "operation" => operation
            )
            .record(took);
            count_bytes(operation, "read", self.read);
        }
        #[cfg(not(feature = "metrics"))]
        let _ = self.operation;
    }
}

#[cfg(feature = "metrics")]
fn count_bytes(operation: &'static str, direction: &'static str, bytes: usize) {
    if bytes > 0 {
        metrics::counter!(
            "langgraph_checkpoint_bytes_total",
            "operation" => operation, "direction" => direction
        )
        .increment(bytes as u64);
    }
}

/// A thread's id as logs have it: sixteen digits that stand for it, or the id itself.
pub(crate) fn thread_label(thread: &str, shown: bool) -> String {
    if shown {
        return thread.to_owned();
    }
    let mut hasher = DefaultHasher::new();
    thread.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// About how many bytes a checkpoint has.
pub(crate) fn checkpoint_bytes(checkpoint: &Checkpoint) -> usize {
    checkpoint.fields().text_len()
}

/// About how many bytes writes have.
pub(super) fn write_bytes(writes: &[ChannelWrite]) -> usize {
    writes.iter().map(|write| write.value.blob.len()).sum()
}

/// About how many bytes stored writes have.
pub(crate) fn pending_bytes(writes: &[PendingWrite]) -> usize {
    writes.iter().map(|write| write.value.blob.len()).sum()
}

/// About how many bytes a checkpoint has with what belongs to it.
pub(crate) fn tuple_bytes(tuple: &CheckpointTuple) -> usize {
    checkpoint_bytes(&tuple.checkpoint)
        + tuple.metadata.fields().text_len()
        + pending_bytes(&tuple.pending_writes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_known_by_a_hash_unless_it_may_be_shown() {
        let label = thread_label("user:42", false);
        assert_eq!(label, thread_label("user:42", false));
        assert_ne!(label, thread_label("user:43", false));
        assert!(label.len() == 16 && !label.contains("user"));
        assert_eq!(thread_label("user:42", true), "user:42");
    }
}
