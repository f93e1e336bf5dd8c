//! What is recorded of one call: a span, and counts and times through the `metrics` facade.

use std::fmt::Write;
use std::time::Instant;

use sha2::{Digest, Sha256};
use tracing::{Instrument, Span};

use crate::checkpoint::{ChannelWrite, Checkpoint, CheckpointTuple, PendingWrite};
use crate::error::{Error, Result};
use crate::round_trips::RoundTrips;

/// The measurement of one call, from its start until it is dropped.
#[derive(Debug)]
pub(crate) struct Measure {
    operation: &'static str,
    start: Instant,
    span: Span,
    failed: Option<&'static str>,
    read: usize,
    round_trips: RoundTrips,
}

impl Measure {
    /// Starts a measurement. `written` is the approximate number of bytes that the call writes.
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
            round_trips = tracing::field::Empty,
            error = tracing::field::Empty,
            otel.name = tracing::field::Empty,
            otel.kind = tracing::field::Empty,
            otel.status_code = tracing::field::Empty,
        );
        #[cfg(feature = "otlp")]
        crate::otlp::name(&span, operation, "internal");
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
            round_trips: RoundTrips::default(),
        }
    }

    /// Runs the call; `size` returns the approximate number of bytes of its result.
    pub(crate) async fn run<T>(
        mut self,
        call: impl Future<Output = Result<T>>,
        size: impl FnOnce(&T) -> usize,
    ) -> Result<T> {
        let call = call.instrument(self.span.clone());
        let result = self.round_trips.of(call).await;
        match &result {
            Ok(value) => self.add_read(size(value)),
            Err(error) => self.fail(error),
        }
        result
    }

    /// Polls a stream as part of the call.
    pub(crate) fn poll<T>(&self, poll: impl FnOnce() -> T) -> T {
        let _entered = self.span.enter();
        self.round_trips.within(poll)
    }

    /// Adds to the bytes that were read.
    pub(crate) fn add_read(&mut self, bytes: usize) {
        self.read += bytes;
    }

    /// Marks the call as failed.
    pub(crate) fn fail(&mut self, error: &Error) {
        self.failed = Some(error.kind());
    }
}

impl Drop for Measure {
    fn drop(&mut self) {
        let round_trips = self.round_trips.count();
        self.span.record("read_bytes", self.read);
        self.span.record("round_trips", round_trips);
        if let Some(kind) = self.failed {
            self.span.record("error", kind);
            #[cfg(feature = "otlp")]
            crate::otlp::fail(&self.span, Some(kind));
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
            metrics::counter!(
                "langgraph_checkpoint_round_trips_total",
                "operation" => operation
            )
            .increment(round_trips);
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

/// A thread's id as it is logged: the first sixteen hexadecimal digits of its SHA-256, or the id
/// itself. The hash has no salt, so that the logs of several services can be joined by it.
pub(crate) fn thread_label(thread: &str, shown: bool) -> String {
    if shown {
        return thread.to_owned();
    }
    let mut label = String::with_capacity(16);
    for byte in &Sha256::digest(thread)[..8] {
        // Writing to a string cannot fail.
        let _ = write!(label, "{byte:02x}");
    }
    label
}

/// The approximate size of a checkpoint in bytes.
pub(crate) fn checkpoint_bytes(checkpoint: &Checkpoint) -> usize {
    checkpoint.fields().text_len()
}

/// The approximate size of writes in bytes.
pub(super) fn write_bytes(writes: &[ChannelWrite]) -> usize {
    writes.iter().map(|write| write.value.blob.len()).sum()
}

/// The approximate size of stored writes in bytes.
pub(crate) fn pending_bytes(writes: &[PendingWrite]) -> usize {
    writes.iter().map(|write| write.value.blob.len()).sum()
}

/// The approximate size of a checkpoint with its metadata and pending writes in bytes.
pub(crate) fn tuple_bytes(tuple: &CheckpointTuple) -> usize {
    checkpoint_bytes(&tuple.checkpoint)
        + tuple.metadata.fields().text_len()
        + pending_bytes(&tuple.pending_writes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_logged_by_a_hash_unless_ids_are_shown() {
        let label = thread_label("user:42", false);
        // What `printf %s user:42 | sha256sum` begins with.
        assert_eq!(label, "ea3fd43be1e57d62");
        assert_ne!(label, thread_label("user:43", false));
        assert!(label.len() == 16 && !label.contains("user"));
        assert_eq!(thread_label("user:42", true), "user:42");
    }
}
