//! How many round trips a call takes: counted where they are made, told where calls are observed.
//! A call that nobody observes counts nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

tokio::task_local! {
    static COUNTER: Arc<AtomicU64>;
}

/// The round trips of one call.
#[derive(Debug, Clone, Default)]
pub(crate) struct RoundTrips(Arc<AtomicU64>);

impl RoundTrips {
    /// Counts those of a future.
    pub(crate) async fn of<T>(&self, call: impl Future<Output = T>) -> T {
        COUNTER.scope(Arc::clone(&self.0), call).await
    }

    /// Counts those that are made while a stream is polled.
    pub(crate) fn within<T>(&self, poll: impl FnOnce() -> T) -> T {
        COUNTER.sync_scope(Arc::clone(&self.0), poll)
    }

    /// How many there were.
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A future whose round trips are those of this call, whatever task it runs on.
#[cfg(feature = "redis")]
pub(crate) fn carried<T>(future: impl Future<Output = T>) -> impl Future<Output = T> {
    // Read now, on the task of the call.
    let counter = COUNTER.try_with(Arc::clone).unwrap_or_default();
    COUNTER.scope(counter, future)
}

/// Says that a round trip is made.
#[cfg(any(feature = "redis", feature = "http"))]
pub(crate) fn made() {
    // Nobody may observe the call.
    let _ = COUNTER.try_with(|counter| counter.fetch_add(1, Ordering::Relaxed));
}
