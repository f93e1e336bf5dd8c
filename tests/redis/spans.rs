//! The spans of calls on Redis.

use std::collections::HashMap;

use futures_util::TryStreamExt;
use langgraph_checkpoint_redis::{
    ChannelWrite, Checkpoint, CheckpointConfig, CheckpointMetadata, CheckpointSaver, ListOptions,
    ObservedSaver, PutOptions, PutWritesOptions, RedisSaver, TaskId, TtlPolicy, TypedValue,
};

use crate::support::recorder;

type Fields = HashMap<&'static str, String>;

/// The span of an operation.
fn of<'a>(spans: &'a [Fields], operation: &str) -> &'a Fields {
    let mut found = spans
        .iter()
        .filter(|fields| fields["operation"] == operation);
    let one = found.next().expect("there is no span");
    assert!(found.next().is_none(), "{operation} has two spans");
    one
}

#[tokio::test]
async fn a_span_has_the_round_trips_the_sizes_and_the_thread_by_its_hash() {
    let prefix = crate::support::random_prefix();
    let redis = crate::support::redis_saver(&prefix, TtlPolicy::default())
        .await
        .unwrap();
    redis.setup().await.unwrap();
    let saver: ObservedSaver<RedisSaver> = ObservedSaver::new(redis.clone());
    // A script that the server does not know yet takes a round trip more.
    calls(&redis, &CheckpointConfig::new("before").unwrap()).await;
    let thread = CheckpointConfig::new("user:42").unwrap();
    let (spans, ()) = recorder::spans(calls(&saver, &thread)).await;
    assert_eq!(spans.len(), 4, "{spans:?}");
    for operation in ["put", "put_writes", "get_tuple"] {
        let span = of(&spans, operation);
        assert_eq!(span["round_trips"], "1", "{span:?}");
        // What `printf %s user:42 | sha256sum` begins with.
        assert_eq!(span["thread"], "ea3fd43be1e57d62", "{span:?}");
    }
    assert_eq!(of(&spans, "put_writes")["written_bytes"], "10");
    let span = of(&spans, "list");
    let round_trips: u64 = span["round_trips"].parse().unwrap();
    assert!((1..10).contains(&round_trips), "{span:?}");
    assert_ne!(span["read_bytes"], "0", "{span:?}");
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
