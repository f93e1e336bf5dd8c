//! Threads whose keys are in several slots of a cluster: the same promises in a few round trips.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::future::join_all;
use langgraph_checkpoint_redis::redis::{DoctorOptions, FindingKind};
use langgraph_checkpoint_redis::{
    ChannelWrite, Checkpoint, CheckpointConfig, CheckpointMetadata, CheckpointSaver,
    CheckpointSaverExt, DeleteOptions, Error, ExpectedParent, ListOptions, PruneOptions,
    PruneStrategy, PutOptions, PutWritesOptions, RedisSaver, RunId, TaskId, ThreadSummary,
    TtlPolicy, TtlScope, TypedValue,
};
use redis_modules::Cluster;
use serde_json::json;

use crate::support::nodes::Nodes;
use crate::support::recorder::round_trips;
use crate::support::stored::{HOUR, checkpoint, thread};

fn metadata() -> CheckpointMetadata {
    CheckpointMetadata::new().with("source", "loop").unwrap()
}

async fn put_of(
    saver: &RedisSaver,
    config: &CheckpointConfig,
    checkpoint: &Checkpoint,
) -> CheckpointConfig {
    let options = PutOptions::default();
    saver
        .put(config, checkpoint, &metadata(), &options)
        .await
        .unwrap()
}

async fn put(saver: &RedisSaver, config: &CheckpointConfig) -> CheckpointConfig {
    put_of(saver, config, &checkpoint()).await
}

async fn put_writes(saver: &RedisSaver, config: &CheckpointConfig, channel: &str, count: usize) {
    let writes: Vec<_> = (0..count)
        .map(|n| ChannelWrite::new(channel, TypedValue::json(&n).unwrap()))
        .collect();
    let task = TaskId::new(format!("task-{channel}-{count}")).unwrap();
    let options = PutWritesOptions::default();
    saver
        .put_writes(config, &writes, &task, &options)
        .await
        .unwrap();
}

async fn delete(saver: &RedisSaver, config: &CheckpointConfig) {
    let options = DeleteOptions::default();
    saver
        .delete_thread(&config.thread_id, &options)
        .await
        .unwrap();
}

async fn listed(saver: &RedisSaver, config: Option<&CheckpointConfig>) -> Vec<CheckpointConfig> {
    let found = saver.list_all(config, ListOptions::default()).await;
    found
        .unwrap()
        .into_iter()
        .map(|tuple| tuple.config)
        .collect()
}

/// Counts the round trips of a thread's calls: put, put_writes, the first get_tuple and later ones.
async fn assert_round_trips(nodes: &Nodes, id: &str, ttl: TtlPolicy, expected: [usize; 4]) {
    let [puts, writes, first, later] = expected;
    let builder = nodes.builder().ttl(ttl).recent_threads(false);
    let saver = builder.build().await.unwrap();
    saver.setup().await.unwrap();
    // The first call of each kind sends its scripts along, to each node.
    for turn in 0..24 {
        let config = thread(&format!("{id}-first-{turn}"));
        let stored = put(&saver, &config).await;
        put_writes(&saver, &stored, "a", 2).await;
        let other = nodes.saver_with(ttl).await;
        other.get_tuple(&config).await.unwrap();
        delete(&saver, &config).await;
        other.close().await;
    }
    let config = thread(id);
    let given = checkpoint();
    for what in ["a put", "the same put again"] {
        let (count, _) = round_trips(put_of(&saver, &config, &given)).await;
        assert_eq!(count, puts, "{what}");
    }
    let (count, stored) = round_trips(put(&saver, &config)).await;
    assert_eq!(count, puts, "a newer put");
    for count in [1, 5, 50] {
        for channel in ["a", "__interrupt__"] {
            for what in ["", " again"] {
                let call = put_writes(&saver, &stored, channel, count);
                let (trips, ()) = round_trips(call).await;
                assert_eq!(trips, writes, "{count} writes to {channel}{what}");
            }
        }
    }
    let fresh = nodes.saver_with(ttl).await;
    for (reader, trips, what) in [
        (&fresh, first, "the first"),
        (&fresh, later, "the second"),
        (&saver, later, "the writer's"),
    ] {
        let (count, tuple) = round_trips(reader.get_tuple(&config)).await;
        let tuple = tuple.unwrap().unwrap();
        assert_eq!((tuple.config, count), (stored.clone(), trips), "{what}");
        assert_eq!(tuple.pending_writes.len(), 59);
    }
    let (count, tuple) = round_trips(fresh.get_tuple(&stored)).await;
    assert_eq!(count, later, "one by its id");
    assert_eq!(tuple.unwrap().unwrap().pending_writes.len(), 59);
    let absent = thread(&format!("{id}-absent"));
    let (count, tuple) = round_trips(fresh.get_tuple(&absent)).await;
    assert_eq!((count, tuple.unwrap()), (1, None));
}

#[tokio::test]
async fn a_thread_in_several_slots_takes_few_round_trips() {
    let nodes = Nodes::of_the_cluster().await;
    assert_round_trips(&nodes, "a", TtlPolicy::default(), [2, 2, 3, 2]).await;
    let ttl = TtlPolicy::new(HOUR).with_refresh_on_read(true);
    assert_round_trips(&nodes, "b", ttl, [2, 2, 3, 2]).await;
    assert_round_trips(&nodes, "c", ttl.with_scope(TtlScope::Thread), [2, 2, 3, 2]).await;
}

#[tokio::test]
async fn a_thread_with_a_hash_tag_takes_one() {
    let nodes = Nodes::of_the_cluster().await;
    let ttl = TtlPolicy::new(HOUR).with_refresh_on_read(true);
    assert_round_trips(&nodes, "{user}:a", ttl, [1, 1, 1, 1]).await;
}

#[tokio::test]
async fn an_expectation_costs_one_round_trip_more() {
    let nodes = Nodes::of_the_cluster().await;
    let saver = nodes.saver().await;
    let mut parent = thread("t").with_namespace("").unwrap();
    for turn in 0..24 {
        let expected = parent.checkpoint_id.clone();
        let expected = expected.map_or(ExpectedParent::None, ExpectedParent::Is);
        let options = PutOptions::default().with_expected_parent(expected);
        let (checkpoint, metadata) = (checkpoint(), metadata());
        let call = saver.put(&parent, &checkpoint, &metadata, &options);
        let (count, stored) = round_trips(call).await;
        parent = stored.unwrap();
        // In the first turns scripts are sent along.
        assert!(count == 3 || turn < 20, "{count}");
    }
    let stale = PutOptions::default().with_expected_parent(ExpectedParent::None);
    let refused = saver.put(&parent, &checkpoint(), &metadata(), &stale).await;
    assert!(refused.unwrap_err().to_string().contains("not the newest"));
    assert_eq!(listed(&saver, Some(&thread("t"))).await.len(), 24);
    delete(&saver, &parent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_and_writes_at_once_leave_the_flag() {
    let mut nodes = Nodes::of_the_cluster().await;
    let saver = nodes.saver().await;
    for turn in 0..60 {
        let config = thread(&format!("t-{turn}"));
        let checkpoint = checkpoint();
        let at = config.clone().with_checkpoint(checkpoint.id().clone());
        tokio::join!(
            put_of(&saver, &config, &checkpoint),
            put_writes(&saver, &at, "a", 2)
        );
        let tuple = saver.get_tuple(&config).await.unwrap().unwrap();
        assert_eq!(tuple.pending_writes.len(), 2);
        let name = format!("checkpoint:t-{turn}:__empty__:{}", checkpoint.id());
        let document = nodes.key(&name);
        let flag: String = nodes.run(&["JSON.GET", &document, "$.has_writes"]).await;
        assert_eq!(flag, "[true]", "turn {turn}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn puts_while_a_thread_is_deleted_are_complete_or_gone() {
    let mut nodes = Nodes::of_the_cluster().await;
    let saver = Arc::new(nodes.saver().await);
    let config = thread("t");
    for turn in 0..25 {
        put(&saver, &config).await;
        let puts = (0..4).map(|_| {
            let (saver, config) = (Arc::clone(&saver), config.clone());
            tokio::spawn(async move {
                let stored = put(&saver, &config).await;
                put_writes(&saver, &stored, "a", 2).await;
            })
        });
        let puts: Vec<_> = puts.collect();
        delete(&saver, &config).await;
        for put in join_all(puts).await {
            put.unwrap();
        }
        let found = listed(&saver, Some(&config)).await;
        let newest = saver.get_tuple(&config).await.unwrap();
        assert_eq!(
            newest.map(|tuple| tuple.config),
            found.first().cloned(),
            "turn {turn}"
        );
        for one in &found {
            assert!(saver.get_tuple(one).await.unwrap().is_some());
        }
        delete(&saver, &config).await;
        assert_eq!(nodes.keys().await, Vec::<String>::new(), "turn {turn}");
    }
}

#[tokio::test]
async fn every_key_gets_the_ttl() {
    let mut nodes = Nodes::of_the_cluster().await;
    let saver = nodes.saver_with(TtlPolicy::new(HOUR)).await;
    for turn in 0..3 {
        let stored = put(&saver, &thread("t")).await;
        put_writes(&saver, &stored, "a", 2 + turn).await;
        put_writes(&saver, &stored, "__resume__", 1).await;
        put_writes(&saver, &stored, "__resume__", 1).await;
    }
    let keys = nodes.keys().await;
    assert_eq!(keys.len(), 21, "{keys:?}");
    for key in &keys {
        let left: i64 = nodes.run(&["PTTL", key]).await;
        assert!((3_500_000..=3_600_000).contains(&left), "{key} has {left}");
    }
    assert!(saver.pin(&thread("t").thread_id).await.unwrap());
    let stored = put(&saver, &thread("t")).await;
    put_writes(&saver, &stored, "a", 2).await;
    for key in nodes.keys().await {
        let left: i64 = nodes.run(&["PTTL", &key]).await;
        assert_eq!(left, -1, "{key} of a pinned thread");
    }
    delete(&saver, &thread("t")).await;
    assert_eq!(nodes.keys().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_pointer_that_another_saver_moved_back_hides_nothing() {
    let mut nodes = Nodes::of_the_cluster().await;
    let saver = nodes.saver().await;
    let older = put(&saver, &thread("t")).await;
    let newer = put(&saver, &older).await;
    let key = |config: &CheckpointConfig| {
        let id = config.checkpoint_id.as_ref().unwrap();
        nodes.key(&format!("checkpoint:t:__empty__:{id}"))
    };
    let (back, forth) = (key(&older), key(&newer));
    let pointer = nodes.key("checkpoint_latest:t:__empty__");
    nodes.run::<()>(&["SET", &pointer, &back]).await;
    for reader in [&saver, &nodes.saver().await] {
        let newest = reader.get_tuple(&thread("t")).await.unwrap().unwrap();
        assert_eq!(newest.config, newer);
    }
    assert_eq!(nodes.run::<String>(&["GET", &pointer]).await, forth);
    delete(&saver, &older).await;
}

/// Stores a thread as the Python saver does: what it knows nothing of is not there.
async fn put_as_python(nodes: &mut Nodes, saver: &RedisSaver, id: &str, count: usize) {
    let mut config = thread(id);
    for _ in 0..count {
        config = put(saver, &config).await;
        put_writes(saver, &config, "a", 2).await;
    }
    for key in nodes.keys().await {
        let ours = ["checkpoint_keys_zset", "checkpoint_ns_set"];
        if ours.iter().any(|family| key.contains(family)) && key.contains(id) {
            nodes.run::<i64>(&["UNLINK", &key]).await;
        }
    }
}

#[tokio::test]
async fn what_another_saver_wrote_is_found_by_its_pointer() {
    let mut nodes = Nodes::of_the_cluster().await;
    let saver = nodes.saver().await;
    put_as_python(&mut nodes, &saver, "theirs", 5).await;
    let fresh = nodes.saver().await;
    let newest = fresh.get_tuple(&thread("theirs")).await.unwrap().unwrap();
    assert_eq!(newest.pending_writes.len(), 2);
    let all: Vec<ThreadSummary> = fresh.threads("").try_collect().await.unwrap();
    assert_eq!((all.len(), all[0].checkpoints), (1, 5));
    let found = listed(&fresh, Some(&thread("theirs"))).await;
    assert_eq!((found.len(), &found[0]), (5, &newest.config));
    assert_eq!(listed(&fresh, None).await, found);
    put(&fresh, &newest.config).await;
    assert_eq!(listed(&saver, Some(&thread("theirs"))).await.len(), 6);
    delete(&fresh, &thread("theirs")).await;
    assert_eq!(nodes.keys().await, Vec::<String>::new());
}

#[tokio::test]
async fn deleting_a_thread_leaves_no_key_of_any_saver() {
    let mut nodes = Nodes::of_the_cluster().await;
    let saver = nodes.saver().await;
    for id in ["a*b", "a?b", "aXb", "a*b:c", "[a]b"] {
        put_as_python(&mut nodes, &saver, id, 3).await;
        // A pointer would lead to the rest.
        let pointer = nodes.key(&format!("checkpoint_latest:{id}:__empty__"));
        nodes.run::<i64>(&["UNLINK", &pointer]).await;
    }
    let before: BTreeSet<_> = nodes.keys().await.into_iter().collect();
    assert_eq!(before.len(), 5 * (3 + 6 + 3));
    delete(&saver, &thread("a*b")).await;
    let left: BTreeSet<_> = nodes.keys().await.into_iter().collect();
    let is_of = |key: &&String| key.contains(":a*b:") && !key.contains(":a*b:c:");
    let expected: BTreeSet<_> = before.iter().filter(|key| !is_of(key)).cloned().collect();
    assert_eq!(left, expected);
    for id in ["a?b", "aXb", "a*b:c", "[a]b"] {
        delete(&saver, &thread(id)).await;
    }
    assert_eq!(nodes.keys().await, Vec::<String>::new());
}

#[tokio::test]
async fn calls_across_threads_see_all_nodes() {
    let nodes = Nodes::of_the_cluster().await;
    let saver = nodes.saver().await;
    let run = RunId::new("run").unwrap();
    let mut expected = BTreeSet::new();
    for turn in 0..20 {
        let config = thread(&format!("t-{turn}")).with_run(run.clone());
        put(&saver, &config).await;
        let stored = put(&saver, &thread(&format!("t-{turn}"))).await;
        put_writes(&saver, &stored, "a", 1).await;
        expected.insert(stored.thread_id.clone());
    }
    let all: Vec<ThreadSummary> = saver.threads("").try_collect().await.unwrap();
    let all: BTreeSet<_> = all.into_iter().map(|one| one.thread_id).collect();
    assert_eq!(all, expected);
    let some: Vec<ThreadSummary> = saver.threads("t-1").try_collect().await.unwrap();
    assert_eq!(some.len(), 11);
    let found = saver.list_all(None, ListOptions::default()).await.unwrap();
    assert_eq!(found.len(), 40);
    let ids: Vec<_> = found.iter().map(|tuple| tuple.checkpoint.id()).collect();
    assert!(ids.is_sorted_by(|one, other| one >= other));
    let writes = found.iter().map(|tuple| tuple.pending_writes.len());
    assert_eq!(writes.sum::<usize>(), 20);
    saver.delete_for_runs(&[run]).await.unwrap();
    assert_eq!(listed(&saver, None).await.len(), 20);
    for thread_id in expected {
        let options = DeleteOptions::default();
        saver.delete_thread(&thread_id, &options).await.unwrap();
    }
}

#[tokio::test]
async fn a_shallow_saver_refuses_keys_in_several_slots_before_it_writes() {
    let mut nodes = Nodes::of_the_cluster().await;
    let saver = nodes.builder().build_shallow().await.unwrap();
    let (given, metadata, options) = (checkpoint(), metadata(), PutOptions::default());
    let apart = thread("t").with_checkpoint(given.id().clone());
    let write = [ChannelWrite::new("a", TypedValue::json(&1).unwrap())];
    let (task, writing) = (TaskId::new("task").unwrap(), PutWritesOptions::default());
    let deleting = DeleteOptions::default();
    for refused in [
        saver.put(&apart, &given, &metadata, &options).await.err(),
        saver
            .put_writes(&apart, &write, &task, &writing)
            .await
            .err(),
        saver.get_tuple(&apart).await.err(),
        saver.pin(&apart.thread_id).await.err(),
        saver.delete_thread(&apart.thread_id, &deleting).await.err(),
    ] {
        let error = refused.expect("the keys are in several slots");
        assert!(matches!(error, Error::InvalidInput { .. }), "{error:?}");
        assert!(error.to_string().contains("hash_tag_threads"), "{error}");
    }
    assert_eq!(nodes.keys().await, Vec::<String>::new());

    let tagging = nodes.builder().hash_tag_threads(true).build_shallow().await;
    for (saver, id) in [(saver, "{t}"), (tagging.unwrap(), "t")] {
        let stored = saver.put(&thread(id), &given, &metadata, &options).await;
        let stored = stored.unwrap();
        let written = saver.put_writes(&stored, &write, &task, &writing);
        written.await.unwrap();
        let tuple = saver.get_tuple(&thread(id)).await.unwrap().unwrap();
        assert_eq!(tuple.pending_writes.len(), 1);
        // One that another saver left hides nothing in a list of all threads.
        let text = format!(
            r#"{{"thread_id":"other","checkpoint_ns":"","checkpoint_id":"{}"}}"#,
            given.id()
        );
        let other = nodes.key("checkpoint:other:");
        nodes.run::<()>(&["JSON.SET", &other, "$", &text]).await;
        let found = saver.list_all(None, ListOptions::default()).await;
        assert_eq!(found.unwrap(), [tuple]);
        nodes.run::<i64>(&["UNLINK", &other]).await;
        let deleted = saver.delete_thread(&stored.thread_id, &deleting);
        deleted.await.unwrap();
        assert_eq!(nodes.keys().await, Vec::<String>::new());
    }
}

/// Reads a thread in every way, and returns where a tuple has only some of this number of writes.
async fn halves(saver: &RedisSaver, config: &CheckpointConfig, writes: usize) -> Vec<String> {
    let mut halves = Vec::new();
    let mut look = |what: &str, found: usize| {
        if !found.is_multiple_of(writes) || (found == 0 && what != "delta_channel_history") {
            halves.push(format!("{what}: {found} writes"));
        }
    };
    let newest = CheckpointConfig::of_thread(config.thread_id.clone());
    let newest = newest.with_namespace("").unwrap();
    for (what, config) in [("the newest", &newest), ("one by its id", config)] {
        if let Some(tuple) = saver.get_tuple(config).await.unwrap() {
            look(what, tuple.pending_writes.len());
        }
    }
    let listed = saver.list_all(Some(&newest), ListOptions::default()).await;
    for tuple in listed.unwrap() {
        look("list", tuple.pending_writes.len());
    }
    let channels = ["a".to_owned()];
    let history = saver.delta_channel_history(&newest, &channels).await;
    look("delta_channel_history", history.unwrap()["a"].writes.len());
    halves
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_see_all_of_a_checkpoint_or_nothing_while_it_is_removed() {
    let nodes = Nodes::of_the_cluster().await;
    let mut found = Vec::new();
    for turn in 0..40 {
        let id = ["t", "{t}"][turn % 2];
        let saver = Arc::new(nodes.saver().await);
        let mut stored = thread(&format!("{id}-{turn}")).with_namespace("").unwrap();
        let mut first = None;
        for _ in 0..6 {
            stored = put(&saver, &stored).await;
            put_writes(&saver, &stored, "a", 5).await;
            first.get_or_insert_with(|| stored.clone());
        }
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let readers = [first.unwrap(), stored.clone()].map(|config| {
            let (saver, stopped) = (Arc::clone(&saver), stopped.clone());
            tokio::spawn(async move {
                let mut found = Vec::new();
                while !*stopped.borrow() {
                    found.extend(halves(&saver, &config, 5).await);
                }
                found
            })
        });
        tokio::time::sleep(Duration::from_millis(5)).await;
        let thread_id = stored.thread_id.clone();
        if turn % 4 < 2 {
            let keep = PruneOptions::new(PruneStrategy::KeepLatest);
            let pruned = saver.prune(std::slice::from_ref(&thread_id), &keep).await;
            pruned.unwrap();
        }
        delete(&saver, &stored).await;
        stop.send(true).unwrap();
        for reader in readers {
            let halves = reader.await.unwrap().into_iter();
            found.extend(halves.map(|half| format!("{id}: {half}")));
        }
    }
    assert!(found.is_empty(), "{} half: {found:?}", found.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_at_once_leave_a_registry_that_lacks_nothing() {
    let mut nodes = Nodes::of_the_cluster().await;
    for turn in 0..5 {
        let id = format!("t-{turn}");
        let mut writers = Vec::new();
        for _ in 0..4 {
            let (saver, config) = (nodes.saver().await, thread(&id));
            writers.push(tokio::spawn(async move {
                for _ in 0..40 {
                    put(&saver, &config).await;
                }
            }));
        }
        for writer in join_all(writers).await {
            writer.unwrap();
        }
        let registry = nodes.key(&format!("checkpoint_keys_zset:{id}:__empty__"));
        let lacks_some: Option<String> = nodes.run(&["ZSCORE", &registry, ""]).await;
        assert_eq!(lacks_some, None, "turn {turn}");
        delete(&nodes.saver().await, &thread(&id)).await;
    }
}

#[tokio::test]
async fn a_full_node_is_not_reported_as_nothing_stored_when_others_have_stored() {
    let cluster = Cluster::start().unwrap();
    let saver = RedisSaver::builder().url(cluster.url()).build().await;
    let saver = saver.unwrap();
    saver.setup().await.unwrap();
    let client = redis::Client::open(cluster.nodes()[0].url()).unwrap();
    let mut full = client.get_multiplexed_async_connection().await.unwrap();
    let _: () = redis::cmd("CONFIG")
        .arg(&["SET", "maxmemory", "1"])
        .query_async(&mut full)
        .await
        .unwrap();
    let (mut nothing, mut some) = (0, 0);
    for turn in 0..40 {
        let (config, given) = (thread(&format!("t-{turn}")), checkpoint());
        let (metadata, options) = (metadata(), PutOptions::default());
        let put = saver.put(&config, &given, &metadata, &options).await;
        let at = config.clone().with_checkpoint(given.id().clone());
        let is_there = saver.get_tuple(&at).await.unwrap().is_some()
            || saver.get_tuple(&config).await.unwrap().is_some();
        match put {
            Ok(_) => assert!(is_there, "turn {turn}"),
            Err(Error::OutOfMemory) => {
                assert!(!is_there, "turn {turn}: stored, and said to be not");
                nothing += 1;
            }
            Err(error) => {
                assert!(error.is_retryable(), "{error:?}");
                some += 1;
            }
        }
        let write = [ChannelWrite::new("a", TypedValue::json(&1).unwrap())];
        let (task, writing) = (TaskId::new("task").unwrap(), PutWritesOptions::default());
        let written = saver.put_writes(&at, &write, &task, &writing).await;
        let found = saver.get_tuple(&at).await.unwrap();
        let are_there = found.is_some_and(|tuple| !tuple.pending_writes.is_empty());
        if matches!(written, Err(Error::OutOfMemory)) {
            assert!(!are_there, "turn {turn}: writes stored, and said to be not");
        }
    }
    assert!(nothing > 0 && some > 0, "{nothing} {some}");
}

#[tokio::test]
async fn the_doctor_walks_all_nodes_where_threads_have_hash_tags() {
    let mut nodes = Nodes::of_the_cluster().await;
    let saver = nodes.builder().hash_tag_threads(true).build().await;
    let saver = saver.unwrap();
    // Where the nodes search together an index is missing without it.
    saver.setup().await.unwrap();
    let mut broken = Vec::new();
    for turn in 0..12 {
        let config = thread(&format!("t-{turn}"));
        let stored = put(&saver, &config).await;
        put_writes(&saver, &stored, "a", 2).await;
        broken.push(nodes.key(&format!("checkpoint_keys_zset:{{t-{turn}}}:__empty__")));
    }
    let healthy = saver.doctor(&DoctorOptions::default()).await.unwrap();
    assert!(healthy.is_healthy(), "{healthy}");
    for registry in &broken {
        nodes.run::<i64>(&["UNLINK", registry]).await;
    }
    let fixing = DoctorOptions::default().with_fix(true);
    let found = saver.doctor(&fixing).await.unwrap();
    let kinds: Vec<_> = found.counts().iter().collect();
    assert_eq!(
        kinds,
        [(&FindingKind::CheckpointNotRegistered, &12)],
        "{found}"
    );
    let again = saver.doctor(&DoctorOptions::default()).await.unwrap();
    assert!(again.is_healthy(), "{again}");
    assert_eq!(listed(&saver, None).await.len(), 12);
    for turn in 0..12 {
        delete(&saver, &thread(&format!("t-{turn}"))).await;
    }
    let apart = nodes.saver().await;
    let refused = apart.doctor(&DoctorOptions::default()).await.unwrap_err();
    assert!(
        refused.to_string().contains("hash_tag_threads"),
        "{refused}"
    );
}

#[tokio::test]
async fn the_doctor_names_threads_that_are_stored_without_the_hash_tags_of_its_saver() {
    let mut nodes = Nodes::of_the_cluster().await;
    let apart = nodes.saver().await;
    let mut stored = Vec::new();
    for turn in 0..6 {
        let config = thread(&format!("apart:{turn}"));
        let newest = put(&apart, &config).await;
        put_writes(&apart, &newest, "a", 2).await;
        stored.push(config);
    }
    let tagged = nodes.builder().hash_tag_threads(true).build().await;
    let tagged = tagged.unwrap();
    tagged.setup().await.unwrap();
    put(&tagged, &thread("tagged")).await;
    let before = nodes.keys().await;
    for options in [
        DoctorOptions::default(),
        DoctorOptions::default().with_fix(true),
    ] {
        let report = tagged.doctor(&options).await.unwrap();
        let kinds: Vec<_> = report.counts().iter().collect();
        assert_eq!(kinds, [(&FindingKind::NotTagged, &6)], "{report}");
    }
    assert_eq!(nodes.keys().await, before);
    for config in &stored {
        delete(&apart, config).await;
    }
    delete(&tagged, &thread("tagged")).await;
}

#[tokio::test]
async fn a_key_of_another_type_is_refused_and_nothing_is_left() {
    let mut nodes = Nodes::of_the_cluster().await;
    let saver = nodes.saver().await;
    for family in ["checkpoint_latest", "checkpoint_keys_zset"] {
        let key = nodes.key(&format!("{family}:{family}:__empty__"));
        nodes.run::<i64>(&["HSET", &key, "a", "b"]).await;
        let options = PutOptions::default();
        let given = checkpoint();
        let refused = saver
            .put(&thread(family), &given, &metadata(), &options)
            .await;
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains(&key), "{refused}");
        assert_eq!(nodes.keys().await, std::slice::from_ref(&key));
        nodes.run::<i64>(&["UNLINK", &key]).await;
    }
    let at = thread("w").with_checkpoint(checkpoint().id().clone());
    let id = at.checkpoint_id.clone().unwrap();
    let key = nodes.key(&format!("checkpoint_write:w:__empty__:{id}:task:1"));
    nodes.run::<i64>(&["HSET", &key, "a", "b"]).await;
    let writes = [json!(1), json!(2), json!(3)]
        .map(|value| ChannelWrite::new("a", TypedValue::json(&value).unwrap()));
    let task = TaskId::new("task").unwrap();
    let options = PutWritesOptions::default();
    let refused = saver.put_writes(&at, &writes, &task, &options).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains(&key), "{refused}");
    assert_eq!(nodes.keys().await, [key]);
}
