//! What spans tell of calls on Redis.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::TryStreamExt;
use langgraph_checkpoint_redis::{
    ChannelWrite, Checkpoint, CheckpointConfig, CheckpointMetadata, CheckpointSaver, ListOptions,
    ObservedSaver, PutOptions, PutWritesOptions, RedisSaver, TaskId, TtlPolicy, TypedValue,
};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// The fields of every span, by its id.
static SPANS: Mutex<Option<HashMap<u64, HashMap<&'static str, String>>>> = Mutex::new(None);

struct Recorder(AtomicU64);

struct Fields<'a>(&'a mut HashMap<&'static str, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        self.0
            .insert(field.name(), text.trim_matches('"').to_owned());
    }
}

fn record(id: u64, tell: impl FnOnce(&mut Fields<'_>)) {
    let mut spans = SPANS.lock().unwrap();
    let fields = spans.get_or_insert_default().entry(id).or_default();
    tell(&mut Fields(fields));
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.name() == "checkpoint_saver"
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let id = self.0.fetch_add(1, Ordering::Relaxed);
        record(id, |fields| attributes.record(fields));
        Id::from_u64(id)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        record(id.into_u64(), |fields| values.record(fields));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// What was told of an operation.
fn told(operation: &str) -> HashMap<&'static str, String> {
    let spans = SPANS.lock().unwrap();
    let found = spans.as_ref().into_iter().flat_map(HashMap::values);
    let mut found = found.filter(|fields| fields["operation"] == operation);
    let one = found.next().expect("nothing was told").clone();
    assert!(found.next().is_none(), "{operation} was told of twice");
    one
}

#[tokio::test]
async fn a_span_tells_the_round_trips_the_sizes_and_the_thread_by_its_hash() {
    tracing::subscriber::set_global_default(Recorder(AtomicU64::new(1))).unwrap();
    let prefix = support::random_prefix();
    let redis = support::redis_saver(&prefix, TtlPolicy::default())
        .await
        .unwrap();
    redis.setup().await.unwrap();
    let saver: ObservedSaver<RedisSaver> = ObservedSaver::new(redis.clone());
    // A script that the server does not know yet takes a round trip more.
    calls(&redis, &CheckpointConfig::new("before").unwrap()).await;
    calls(&saver, &CheckpointConfig::new("user:42").unwrap()).await;
    for operation in ["put", "put_writes", "get_tuple"] {
        let told = told(operation);
        assert_eq!(told["round_trips"], "1", "{told:?}");
        // What `printf %s user:42 | sha256sum` begins with.
        assert_eq!(told["thread"], "ea3fd43be1e57d62", "{told:?}");
    }
    assert_eq!(told("put_writes")["written_bytes"], "10");
    let told = told("list");
    let round_trips: u64 = told["round_trips"].parse().unwrap();
    assert!((1..10).contains(&round_trips), "{told:?}");
    assert_ne!(told["read_bytes"], "0", "{told:?}");
}

async fn calls(saver: &dyn CheckpointSaver, thread: &CheckpointConfig) {
    let metadata = CheckpointMetadata::new();
    let checkpoint = Checkpoint::builder().build().unwrap();
    let stored = saver
        .put(thread, &checkpoint, &metadata, &PutOptions::default())
        .await
        .unwrap();
    let write = ChannelWrite::new("c", TypedValue::new("b", vec![0; 10]));
    let task = TaskId::new("task").unwrap();
    saver
        .put_writes(&stored, &[write], &task, &PutWritesOptions::default())
        .await
        .unwrap();
    saver.get_tuple(thread).await.unwrap().unwrap();
    let listed: Vec<_> = saver
        .list(Some(thread), ListOptions::default())
        .try_collect()
        .await
        .unwrap();
    assert_eq!(listed.len(), 1);
}
