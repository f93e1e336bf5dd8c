//! The number of round trips of a call: drivers count them, `ObservedSaver` records the sum. A call
//! that is not observed counts nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

tokio::task_local! {
    static COUNTER: Arc<AtomicU64>;
}

/// The round trips of one call.
#[derive(Debug, Clone, Default)]
pub(crate) struct RoundTrips(Arc<AtomicU64>);

impl RoundTrips {
    /// Counts the round trips of a future.
    pub(crate) async fn of<T>(&self, call: impl Future<Output = T>) -> T {
        COUNTER.scope(Arc::clone(&self.0), call).await
    }

    /// Counts the round trips that are made while a stream is polled.
    pub(crate) fn within<T>(&self, poll: impl FnOnce() -> T) -> T {
        COUNTER.sync_scope(Arc::clone(&self.0), poll)
    }

    /// The number counted so far.
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A future whose round trips count for this call, on whichever task it runs.
#[cfg(feature = "redis")]
pub(crate) fn carried<T>(future: impl Future<Output = T>) -> impl Future<Output = T> {
    // Read here, on the task of the call.
    let counter = COUNTER.try_with(Arc::clone).unwrap_or_default();
    COUNTER.scope(counter, future)
}

/// Counts a round trip.
#[cfg(any(feature = "redis", feature = "http"))]
pub(crate) fn made() {
    // The call may be unobserved.
    let _ = COUNTER.try_with(|counter| counter.fetch_add(1, Ordering::Relaxed));
}
