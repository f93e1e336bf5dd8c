//! Counts round trips by what the driver tells of them.
#![allow(dead_code, unreachable_pub)]

use std::cell::Cell;
use std::sync::Once;

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

thread_local! {
    static FLIGHTS: Cell<usize> = const { Cell::new(0) };
}

/// The round trips of a call, all of which is polled by this thread.
pub async fn flights<T>(call: impl Future<Output = T>) -> (usize, T) {
    // One for all threads: what each of them has by itself is not told of reliably while others
    // come and go.
    static COUNTING: Once = Once::new();
    COUNTING.call_once(|| tracing::subscriber::set_global_default(Counter).unwrap());
    let before = FLIGHTS.get();
    let result = call.await;
    (FLIGHTS.get() - before, result)
}

struct Counter;

impl Subscriber for Counter {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "langgraph_checkpoint_redis::round_trips"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        FLIGHTS.set(FLIGHTS.get() + 1);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
