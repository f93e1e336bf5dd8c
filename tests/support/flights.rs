//! Counts round trips by what the driver tells of them.
#![allow(dead_code, unreachable_pub)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// The round trips of a call, all of which is polled by this thread.
pub async fn flights<T>(call: impl Future<Output = T>) -> (usize, T) {
    let flights = Arc::new(AtomicUsize::new(0));
    let counting = tracing::subscriber::set_default(Counter(Arc::clone(&flights)));
    let result = call.await;
    drop(counting);
    (flights.load(Ordering::SeqCst), result)
}

struct Counter(Arc<AtomicUsize>);

impl Subscriber for Counter {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "langgraph_checkpoint_redis::flights"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
