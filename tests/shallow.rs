//! Shallow mode: the Python package's format, the newest checkpoint only, and nothing left behind.
#![cfg(feature = "redis")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/golden.rs"]
mod golden;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/server.rs"]
mod server;

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::TryStreamExt;
use golden::{Case, Kind};
use langgraph_checkpoint_redis::{
    ChannelWrite, Checkpoint, CheckpointConfig, CheckpointId, CheckpointMetadata, CheckpointSaver,
    CheckpointSaverExt, CheckpointTuple, CopyOptions, DeleteOptions, Error, ExistingTarget,
    ExpectedParent, ListOptions, MetadataFilter, PruneOptions, PruneStrategy, PutOptions,
    PutWritesOptions, RedisSaver, RunId, ShallowRedisSaver, TaskId, ThreadId, TtlPolicy,
    TypedValue,
};
use proxy::Proxy;
use serde_json::Value;
use server::Server;

const HOUR: Duration = Duration::from_secs(3_600);

async fn saver_with(server: &Server, ttl: TtlPolicy) -> ShallowRedisSaver {
    let builder = RedisSaver::builder().url(server.redis.url()).ttl(ttl);
    let saver = builder.build_shallow().await.unwrap();
    saver.setup().await.unwrap();
    saver
}

async fn saver(server: &Server) -> ShallowRedisSaver {
    saver_with(server, TtlPolicy::default()).await
}

fn place(thread: &str, namespace: &str) -> CheckpointConfig {
    let config = CheckpointConfig::new(thread).unwrap();
    config.with_namespace(namespace).unwrap()
}

fn id(id: &str) -> CheckpointId {
    CheckpointId::new(id).unwrap()
}

fn checkpoint(name: &str) -> Checkpoint {
    let text = format!(r#"{{"v":4,"id":"{name}","channel_values":{{"v":"{name}"}}}}"#);
    Checkpoint::from_json(text).unwrap()
}

async fn try_put(
    saver: &ShallowRedisSaver,
    config: &CheckpointConfig,
    name: &str,
    options: &PutOptions,
) -> Result<CheckpointConfig, Error> {
    let metadata = CheckpointMetadata::new().with("source", "loop").unwrap();
    let metadata = metadata.with("step", &1).unwrap().with("name", name);
    saver
        .put(config, &checkpoint(name), &metadata.unwrap(), options)
        .await
}

async fn put(saver: &ShallowRedisSaver, config: &CheckpointConfig, name: &str) -> CheckpointConfig {
    try_put(saver, config, name, &PutOptions::default())
        .await
        .unwrap()
}

async fn put_writes(
    saver: &ShallowRedisSaver,
    config: &CheckpointConfig,
    name: &str,
    channels: &[&str],
    value: i64,
) {
    let writes: Vec<_> = channels
        .iter()
        .map(|channel| ChannelWrite::new(*channel, TypedValue::json(&value).unwrap()))
        .collect();
    let config = config.clone().with_checkpoint(id(name));
    let task = TaskId::new("task").unwrap();
    saver
        .put_writes(&config, &writes, &task, &PutWritesOptions::default())
        .await
        .unwrap();
}

/// The writes of a tuple, by channel.
fn writes(tuple: &CheckpointTuple) -> Vec<(String, i64)> {
    let writes = tuple.pending_writes.iter();
    writes
        .map(|write| (write.channel.clone(), write.value.decode().unwrap()))
        .collect()
}

async fn read(saver: &ShallowRedisSaver, config: &CheckpointConfig) -> CheckpointTuple {
    saver.get_tuple(config).await.unwrap().unwrap()
}

async fn ids(
    saver: &ShallowRedisSaver,
    config: Option<&CheckpointConfig>,
    options: ListOptions,
) -> Vec<String> {
    let listed = saver.list_all(config, options).await.unwrap();
    listed
        .iter()
        .map(|tuple| tuple.checkpoint.id().to_string())
        .collect()
}

async fn delete(saver: &ShallowRedisSaver, thread: &str) {
    let thread = ThreadId::new(thread).unwrap();
    saver
        .delete_thread(&thread, &DeleteOptions::default())
        .await
        .unwrap();
}

/// The state as LangGraph gave it to the saver.
fn state_of(document: &Value) -> Value {
    let mut state = document["checkpoint"].clone();
    let fields = state.as_object_mut().unwrap();
    fields.remove("type");
    fields.remove("pending_sends");
    state
}

#[tokio::test]
async fn what_the_python_saver_wrote_is_read_and_deleted() {
    let mut server = Server::start().await;
    let case = Case::load("shallow");
    case.store(&mut server).await;
    golden::create_python_indexes(&mut server).await;
    let saver = saver(&server).await;
    let document = &case.checkpoints()[0];
    let stored = document["checkpoint_id"].as_str().unwrap();
    let config = CheckpointConfig::new("shallow-1").unwrap();

    let tuple = read(&saver, &config).await;
    assert_eq!(tuple.checkpoint.id().as_str(), stored);
    let found: Value = tuple.checkpoint.to_json().decode().unwrap();
    assert_eq!(found, state_of(document));
    assert_eq!(
        tuple.metadata.to_json().as_str(),
        document["metadata"].as_str().unwrap()
    );
    assert_eq!(tuple.parent_config, None);
    // Its one write is for an older checkpoint and was consumed.
    assert_eq!(tuple.pending_writes, []);

    assert_eq!(ids(&saver, None, ListOptions::default()).await, [stored]);
    let listed = ids(&saver, Some(&config), ListOptions::default()).await;
    assert_eq!(listed, [stored]);
    let threads: Vec<_> = saver.threads("shallow").try_collect().await.unwrap();
    assert_eq!(threads.len(), 1);
    assert_eq!((threads[0].checkpoints, threads[0].ttl), (1, None));

    let run = document["run_id"].as_str().unwrap();
    let other = RunId::new("1f0c2f4e-0000-6000-8000-000000000000").unwrap();
    saver.delete_for_runs(&[other]).await.unwrap();
    assert!(saver.get_tuple(&config).await.unwrap().is_some());
    let run = RunId::new(run).unwrap();
    saver.delete_for_runs(&[run]).await.unwrap();
    assert_eq!(saver.get_tuple(&config).await.unwrap(), None);

    case.store(&mut server).await;
    delete(&saver, "shallow-1").await;
    assert_eq!(server.keys().await, Vec::<String>::new());
}

/// The calls that made the sample, made again: what they leave is the same, but for the write
/// that was consumed, which the Python saver leaves behind.
#[tokio::test]
async fn what_is_written_equals_what_the_python_saver_wrote() {
    let mut server = Server::start().await;
    let saver = saver(&server).await;
    let case = Case::load("shallow");
    let document = &case.checkpoints()[0];
    let config = CheckpointConfig::new("shallow-1").unwrap();
    let (identity, stored) = case.writes_by_checkpoint().into_iter().next().unwrap();
    let write = &stored[0];
    let text = |document: &Value, field: &str| document[field].as_str().unwrap().to_owned();

    let blob = golden::decode_base64(&text(write, "blob"));
    let value = TypedValue::new(text(write, "type"), blob);
    let writes = [ChannelWrite::new(text(write, "channel"), value)];
    let task = TaskId::new(text(write, "task_id")).unwrap();
    let older = config.clone().with_checkpoint(id(&identity.2));
    saver
        .put_writes(&older, &writes, &task, &PutWritesOptions::default())
        .await
        .unwrap();
    let mut expected: BTreeSet<_> = case.keys.iter().map(|(key, _)| key.clone()).collect();
    for (key, kind) in &case.keys {
        match kind {
            Kind::Json(json) if key.starts_with("checkpoint_write:") => {
                let found: Value = serde_json::from_str(&server.json(key).await).unwrap();
                assert_eq!(found, serde_json::from_str::<Value>(json).unwrap());
                expected.remove(key);
            }
            Kind::SortedSet(members) => {
                let found: Vec<(String, String)> = redis::cmd("ZRANGE")
                    .arg(&[key.as_str(), "0", "-1", "WITHSCORES"])
                    .query_async(&mut server.client)
                    .await
                    .unwrap();
                assert_eq!(found, *members);
                expected.remove(key);
            }
            _ => {}
        }
    }

    let state = Checkpoint::from_json(state_of(document).to_string()).unwrap();
    let metadata = CheckpointMetadata::from_json(text(document, "metadata")).unwrap();
    saver
        .put(&older, &state, &metadata, &PutOptions::default())
        .await
        .unwrap();
    expected.insert("checkpoint_ns_set:shallow-1".to_owned());
    assert_eq!(server.keys().await, Vec::from_iter(expected));
    let found = server.json("checkpoint:shallow-1:").await;
    let mut found: Value = serde_json::from_str(&found).unwrap();
    let (ours, theirs) = (&found["checkpoint_ts"], &document["checkpoint_ts"]);
    assert!((ours.as_f64().unwrap() - theirs.as_f64().unwrap()).abs() < 60_000.0);
    found["checkpoint_ts"] = theirs.clone();
    assert_eq!(found, *document);
}

#[tokio::test]
async fn a_thread_that_only_the_index_knows_is_pinned_and_deleted() {
    let mut server = Server::start().await;
    let saver = saver_with(&server, TtlPolicy::of(HOUR)).await;
    for namespace in ["", "child"] {
        let config = place("t", namespace);
        put(&saver, &config, "2").await;
        put_writes(&saver, &config, "2", &["a"], 1).await;
    }
    let thread = ThreadId::new("t").unwrap();
    server.run(&["DEL", "checkpoint_ns_set:t"]).await;
    let listed = CheckpointConfig::of_thread(thread.clone());
    let listed = ids(&saver, Some(&listed), ListOptions::default()).await;
    assert_eq!(listed, ["2", "2"]);
    assert!(saver.pin(&thread).await.unwrap());
    put(&saver, &place("t", "child"), "3").await;
    assert_ttl(&mut server, false).await;
    for key in server.keys().await {
        if !key.starts_with("checkpoint:") && !key.starts_with("checkpoint_write:") {
            server.run(&["DEL", &key]).await;
        }
    }
    assert_eq!(server.keys().await.len(), 3);
    delete(&saver, "t").await;
    assert_eq!(server.keys().await, Vec::<String>::new());
}

#[tokio::test]
async fn only_the_newest_checkpoint_is_kept_and_an_older_one_changes_nothing() {
    let mut server = Server::start().await;
    let saver = saver(&server).await;
    let (root, child) = (place("t", ""), place("t", "child:1"));
    for name in ["1", "2", "4"] {
        put(&saver, &root, name).await;
    }
    put(&saver, &child, "3").await;
    put_writes(&saver, &root, "4", &["a"], 1).await;
    let keys = server.keys().await;
    let before = read(&saver, &root).await;
    put(&saver, &root, "3").await;
    put_writes(&saver, &root, "3", &["b"], 1).await;
    assert_eq!(server.keys().await, keys);
    assert_eq!(read(&saver, &root).await, before);
    assert_eq!(before.checkpoint, checkpoint("4"));

    // Whichever is asked for, the newest is what there is to go on from.
    for name in ["4", "3", "5"] {
        let named = root.clone().with_checkpoint(id(name));
        assert_eq!(read(&saver, &named).await, before);
    }
    let thread = CheckpointConfig::new("t").unwrap();
    let list = |options| ids(&saver, Some(&thread), options);
    assert_eq!(list(ListOptions::default()).await, ["4", "3"]);
    assert_eq!(list(ListOptions::default().with_limit(1)).await, ["4"]);
    assert_eq!(
        list(ListOptions::default().with_before(id("4"))).await,
        ["3"]
    );
    let filter = MetadataFilter::new().with("name", "3").unwrap();
    assert_eq!(
        list(ListOptions::default().with_filter(filter)).await,
        ["3"]
    );
    let listed = ids(&saver, Some(&root), ListOptions::default()).await;
    assert_eq!(listed, ["4"]);
    put(&saver, &place("u", ""), "35").await;
    let listed = ids(&saver, None, ListOptions::default()).await;
    assert_eq!(listed, ["4", "35", "3"]);

    let pruned = [thread.thread_id.clone()];
    for strategy in [
        PruneStrategy::KeepLatest,
        PruneStrategy::KeepLast(1),
        PruneStrategy::OlderThan(Duration::ZERO),
    ] {
        saver
            .prune(&pruned, &PruneOptions::new(strategy))
            .await
            .unwrap();
    }
    assert_eq!(list(ListOptions::default()).await, ["4", "3"]);
    let options = PruneOptions::new(PruneStrategy::KeepLast(0));
    assert!(saver.prune(&pruned, &options).await.is_err());
    let options = PruneOptions::new(PruneStrategy::Delete);
    saver.prune(&pruned, &options).await.unwrap();
    assert_eq!(list(ListOptions::default()).await, [""; 0]);
    delete(&saver, "u").await;
    assert_eq!(server.keys().await, Vec::<String>::new());
}

#[tokio::test]
async fn writes_and_interrupts_stay_until_they_are_consumed() {
    let mut server = Server::start().await;
    let saver = saver(&server).await;
    let config = place("t", "");
    put(&saver, &config, "1").await;
    put_writes(&saver, &config, "1", &["a", "b"], 1).await;
    // A regular write stays as it was, an interrupt is replaced.
    put_writes(&saver, &config, "1", &["a"], 2).await;
    put_writes(&saver, &config, "1", &["__interrupt__"], 1).await;
    put_writes(&saver, &config, "1", &["__interrupt__"], 2).await;
    // Writes that come before their checkpoint.
    put_writes(&saver, &config, "2", &["c"], 3).await;
    let open = [("__interrupt__", 2), ("a", 1), ("b", 1)].map(|(c, v)| (c.to_owned(), v));
    assert_eq!(writes(&read(&saver, &config).await), open);
    // Putting the same again consumes nothing.
    put(&saver, &config, "1").await;
    assert_eq!(writes(&read(&saver, &config).await), open);
    put_writes(&saver, &config, "1", &["__resume__"], 4).await;
    assert_eq!(writes(&read(&saver, &config).await).len(), 4);
    put(&saver, &config, "2").await;
    assert_eq!(writes(&read(&saver, &config).await), [("c".to_owned(), 3)]);
    assert_eq!(
        server.keys().await,
        [
            "checkpoint:t:",
            "checkpoint_ns_set:t",
            "checkpoint_write:t:__empty__:2:task:0",
            "write_keys_zset:t:__empty__:shallow"
        ]
    );
    // A call that is made again after all that is too late.
    put_writes(&saver, &config, "1", &["a"], 1).await;
    assert_eq!(server.keys().await.len(), 4);
    put(&saver, &config, "3").await;
    assert_eq!(
        server.keys().await,
        ["checkpoint:t:", "checkpoint_ns_set:t"]
    );
}

#[tokio::test]
async fn an_expected_parent_is_compared_with_the_newest() {
    let server = Server::start().await;
    let saver = saver(&server).await;
    let config = place("t", "");
    let expecting = |parent| PutOptions::default().with_expected_parent(parent);
    let is = |name| expecting(ExpectedParent::Is(id(name)));
    let error = try_put(&saver, &config, "1", &is("0")).await.unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
    for _ in 0..2 {
        let options = expecting(ExpectedParent::None);
        try_put(&saver, &config, "1", &options).await.unwrap();
    }
    try_put(&saver, &config, "3", &is("1")).await.unwrap();
    for options in [is("1"), expecting(ExpectedParent::None)] {
        let error = try_put(&saver, &config, "2", &options).await.unwrap_err();
        assert!(error.to_string().contains('3'), "{error}");
    }
    assert_eq!(read(&saver, &config).await.checkpoint, checkpoint("3"));
}

#[tokio::test]
async fn a_put_replaces_the_parent_that_its_config_names_and_nothing_else() {
    let mut server = Server::start().await;
    let saver = saver(&server).await;
    let config = place("t", "");
    let after = |name| config.clone().with_checkpoint(id(name));
    // A parent that is gone, or never was, replaces nothing.
    let first = put(&saver, &after("0"), "1").await;
    let (one, other) = (first.clone(), first);
    let kept = put(&saver, &one, "2").await;
    put_writes(&saver, &config, "2", &["__interrupt__"], 1).await;
    let before = read(&saver, &config).await;
    let keys = server.keys().await;

    // Another run that went on from the same checkpoint, and one that read none of these.
    for stale in [other, after("0")] {
        let error = try_put(&saver, &stale, "3", &PutOptions::default()).await;
        let error = error.unwrap_err();
        assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
        assert!(error.to_string().contains('2'), "{error}");
        assert!(!error.is_retryable());
    }
    assert_eq!(read(&saver, &config).await, before);
    assert_eq!(server.keys().await, keys);

    // An older one that comes late changes nothing; the same one may be put again.
    put(&saver, &after("0"), "1").await;
    put(&saver, &one, "2").await;
    assert_eq!(read(&saver, &config).await, before);
    put(&saver, &kept, "4").await;
    // A config that names no parent, or the checkpoint itself, asks for no comparison.
    put(&saver, &after("5"), "5").await;
    put(&saver, &config, "6").await;
    assert_eq!(read(&saver, &config).await.checkpoint, checkpoint("6"));
    let nothing = PutOptions::default().with_expected_parent(ExpectedParent::None);
    let error = try_put(&saver, &config, "7", &nothing).await.unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
}

/// A thread as langgraph-checkpoint-redis' blocking shallow saver leaves it: the root under the name
/// that it has in keys, metadata as an object, and a registry of that saver's own.
async fn store_as_the_blocking_saver(server: &mut Server, write_prefix: &str) {
    let write = format!("{write_prefix}:t:__empty__:5:task:0");
    let consumed = format!("{write_prefix}:t:__empty__:4:task:0");
    let document = r#"{"thread_id":"t","run_id":"r","checkpoint_ns":"__empty__","checkpoint_id":"5","checkpoint_ts":1,"checkpoint":{"type":"json","v":4,"id":"5","channel_values":{"v":"5"}},"metadata":{"source":"loop","step":1},"source":"loop","step":1}"#;
    server
        .run(&["JSON.SET", "checkpoint:t:", "$", document])
        .await;
    for (key, id) in [(&write, "5"), (&consumed, "4")] {
        let document = format!(
            r#"{{"thread_id":"t","checkpoint_ns":"__empty__","checkpoint_id":"{id}","task_id":"task","task_path":"","idx":0,"channel":"a","type":"json","blob":"MQ=="}}"#
        );
        server.run(&["JSON.SET", key, "$", &document]).await;
        let registry = "write_registry:t:__empty__:shallow";
        server.run(&["ZADD", registry, "0", key]).await;
    }
}

#[tokio::test]
async fn a_thread_of_the_blocking_python_saver_is_taken_over() {
    for write_prefix in ["checkpoint_write", "w"] {
        let mut server = Server::start().await;
        let builder = RedisSaver::builder().url(server.redis.url());
        let builder = builder.prefixes("checkpoint", write_prefix);
        let saver = builder.build_shallow().await.unwrap();
        saver.setup().await.unwrap();
        store_as_the_blocking_saver(&mut server, write_prefix).await;
        let (config, everything) = (place("t", ""), CheckpointConfig::new("t").unwrap());
        let found = read(&saver, &config).await;
        assert_eq!(found.checkpoint, checkpoint("5"));
        assert_eq!(found.metadata.get::<i64>("step").unwrap(), Some(1));
        assert_eq!(writes(&found), [("a".to_owned(), 1)]);
        let listed = ids(&saver, Some(&everything), ListOptions::default()).await;
        assert_eq!(listed, ["5"]);
        assert_eq!(ids(&saver, None, ListOptions::default()).await, ["5"]);
        let threads: Vec<_> = saver.threads("").try_collect().await.unwrap();
        assert_eq!(threads.len(), 1);

        put_writes(&saver, &config, "5", &["b"], 2).await;
        put_writes(&saver, &config, "6", &["c"], 3).await;
        let thread = ThreadId::new("t").unwrap();
        assert!(saver.pin(&thread).await.unwrap());
        let copy = ThreadId::new("copy").unwrap();
        let options = CopyOptions::default();
        saver.copy_thread(&thread, &copy, &options).await.unwrap();
        assert_eq!(
            read(&saver, &place("copy", "")).await.checkpoint,
            checkpoint("5")
        );
        delete(&saver, "copy").await;
        put(&saver, &found.config, "6").await;
        assert_eq!(
            server.keys().await,
            [
                "checkpoint:t:".to_owned(),
                "checkpoint_ns_set:t".to_owned(),
                format!("{write_prefix}:t:__empty__:6:task:0"),
                if write_prefix == "w" {
                    "w_keys_zset:t:__empty__:shallow".to_owned()
                } else {
                    "write_keys_zset:t:__empty__:shallow".to_owned()
                },
            ]
        );
        assert_eq!(writes(&read(&saver, &config).await), [("c".to_owned(), 3)]);
        delete(&saver, "t").await;

        store_as_the_blocking_saver(&mut server, write_prefix).await;
        saver
            .delete_for_runs(&[RunId::new("r").unwrap()])
            .await
            .unwrap();
        assert!(saver.get_tuple(&config).await.unwrap().is_none());
        store_as_the_blocking_saver(&mut server, write_prefix).await;
        delete(&saver, "t").await;
        assert_eq!(server.keys().await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn threads_with_one_name_are_kept_apart_or_refused() {
    let mut server = Server::start().await;
    let saver = saver(&server).await;
    let (one, other) = (place("a:b", "x"), place("a", "b:x"));
    // Writes come first, so both threads share a registry.
    put_writes(&saver, &one, "1", &["v"], 1).await;
    let waits = server.keys().await;
    put(&saver, &other, "2").await;
    assert!(waits.iter().all(|key| !key.starts_with("checkpoint:")));
    assert!(
        server.keys().await.contains(&waits[1]),
        "consumed by another thread"
    );
    let keys = server.keys().await;
    let error = try_put(&saver, &one, "3", &PutOptions::default())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
    let task = TaskId::new("task").unwrap();
    let write = [ChannelWrite::new("v", TypedValue::json(&1).unwrap())];
    let named = one.clone().with_checkpoint(id("3"));
    let error = saver
        .put_writes(&named, &write, &task, &PutWritesOptions::default())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
    assert_eq!(server.keys().await, keys);
    assert_eq!(saver.get_tuple(&one).await.unwrap(), None);
    assert_eq!(
        ids(&saver, Some(&one), ListOptions::default()).await,
        [""; 0]
    );
    assert_eq!(read(&saver, &other).await.pending_writes, []);
    delete(&saver, "a").await;
    assert_eq!(server.keys().await, waits);
    delete(&saver, "a:b").await;
    assert_eq!(server.keys().await, Vec::<String>::new());

    let odd = [
        "CaseThread",
        "casethread",
        "a,b",
        "a b",
        "ü\"\\\n",
        "{x}",
        "*",
        "t:",
    ];
    for thread in odd {
        for namespace in ["", "n:1"] {
            put(&saver, &place(thread, namespace), "1").await;
            put_writes(&saver, &place(thread, namespace), "1", &["v"], 1).await;
        }
    }
    assert_eq!(
        ids(&saver, None, ListOptions::default()).await.len(),
        odd.len() * 2
    );
    for thread in odd {
        let config = CheckpointConfig::new(thread).unwrap();
        let listed = saver.list_all(Some(&config), ListOptions::default()).await;
        let listed = listed.unwrap();
        assert_eq!(listed.len(), 2, "{thread:?}");
        assert!(
            listed
                .iter()
                .all(|tuple| tuple.config.thread_id == config.thread_id)
        );
        assert!(listed.iter().all(|tuple| tuple.pending_writes.len() == 1));
        delete(&saver, thread).await;
    }
    assert_eq!(server.keys().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_thread_with_a_nul_is_as_any_other() {
    let mut server = Server::start().await;
    let saver = saver(&server).await;
    let (nul, other) = (place("nul\0t", ""), place("nul", ""));
    for config in [&nul, &other] {
        put(&saver, config, "1").await;
        put_writes(&saver, config, "1", &["v"], 1).await;
    }
    assert_eq!(read(&saver, &nul).await.pending_writes.len(), 1);
    assert_eq!(ids(&saver, Some(&nul), ListOptions::default()).await, ["1"]);
    delete(&saver, "nul\0t").await;
    assert_eq!(saver.get_tuple(&nul).await.unwrap(), None);
    assert_eq!(read(&saver, &other).await.pending_writes.len(), 1);
    delete(&saver, "nul").await;
    assert_eq!(server.keys().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_key_of_another_type_is_named_and_nothing_is_written() {
    for (key, by_put) in [
        ("checkpoint:t:", true),
        ("write_keys_zset:t:__empty__:shallow", true),
        ("checkpoint_ns_set:t", true),
        ("checkpoint_write:t:__empty__:1:task:0", false),
    ] {
        let mut server = Server::start().await;
        let saver = saver(&server).await;
        server.run(&["RPUSH", key, "x"]).await;
        let named =
            |error: &Error| matches!(error, Error::WrongType { key: named } if named == key);
        let config = place("t", "");
        if by_put {
            let error = try_put(&saver, &config, "1", &PutOptions::default()).await;
            assert!(named(&error.unwrap_err()), "{key}");
        }
        let write = [ChannelWrite::new("v", TypedValue::json(&1).unwrap())];
        let (config, task) = (
            config.with_checkpoint(id("1")),
            TaskId::new("task").unwrap(),
        );
        let options = PutWritesOptions::default();
        let error = saver.put_writes(&config, &write, &task, &options).await;
        assert!(named(&error.unwrap_err()), "{key}");
        if key == "checkpoint:t:" {
            assert!(named(&saver.get_tuple(&config).await.unwrap_err()));
        }
        assert_eq!(server.keys().await, [key]);
    }
}

#[tokio::test]
async fn checkpoints_of_a_full_saver_under_the_same_prefix_are_told_apart() {
    let server = Server::start().await;
    let saver = saver(&server).await;
    let full = server.saver().await;
    let config = place("t", "");
    let metadata = CheckpointMetadata::new();
    let options = PutOptions::default();
    for name in ["1", "2", "3"] {
        full.put(&config, &checkpoint(name), &metadata, &options)
            .await
            .unwrap();
    }
    assert_eq!(saver.get_tuple(&config).await.unwrap(), None);
    put(&saver, &config, "2").await;
    put(&saver, &place("u", ""), "9").await;
    assert_eq!(ids(&saver, None, ListOptions::default()).await, ["9", "2"]);
    let threads: Vec<_> = saver.threads("t").try_collect().await.unwrap();
    assert_eq!((threads.len(), threads[0].checkpoints), (1, 1));
    let tuple = full.get_tuple(&config).await.unwrap().unwrap();
    assert_eq!(tuple.checkpoint, checkpoint("3"));
}

#[tokio::test]
async fn without_an_index_a_scan_finds_all() {
    let mut server = Server::start().await;
    let saver = RedisSaver::builder()
        .url(server.redis.url())
        .build_shallow()
        .await
        .unwrap();
    for (thread, name) in [("a", "1"), ("b:c", "3"), ("d", "2")] {
        put(&saver, &place(thread, ""), name).await;
        put(&saver, &place(thread, "n:1"), &format!("{name}n")).await;
    }
    server.run(&["SET", "checkpoint:other", "x"]).await;
    let listed = ids(&saver, None, ListOptions::default()).await;
    assert_eq!(listed, ["3n", "3", "2n", "2", "1n", "1"]);
    let threads: Vec<_> = saver.threads("").try_collect().await.unwrap();
    assert_eq!(threads.len(), 3);
    assert!(threads.iter().all(|thread| thread.checkpoints == 2));
    for thread in ["a", "b:c", "d"] {
        delete(&saver, thread).await;
    }
    assert_eq!(server.keys().await, ["checkpoint:other"]);
}

#[tokio::test]
async fn every_key_has_a_ttl_and_a_pinned_thread_has_none() {
    let mut server = Server::start().await;
    let saver = saver_with(&server, TtlPolicy::of(HOUR).refreshed_on_read()).await;
    let thread = ThreadId::new("t").unwrap();
    assert!(!saver.pin(&thread).await.unwrap());
    assert!(!saver.touch(&thread).await.unwrap());
    let (root, child) = (place("t", ""), place("t", "child"));
    put_writes(&saver, &child, "1", &["early"], 1).await;
    for name in ["1", "2"] {
        put(&saver, &root, name).await;
        put_writes(&saver, &root, name, &["a", "b"], 1).await;
    }
    assert_ttl(&mut server, true).await;
    for key in server.keys().await {
        server.run(&["PEXPIRE", &key, "5000"]).await;
    }
    read(&saver, &root).await;
    for key in server.keys().await {
        let refreshed = server.time_left(&key).await > 5_000;
        assert_eq!(refreshed, !key.contains(":child:"), "{key}");
    }
    assert!(saver.touch(&thread).await.unwrap());
    for key in server.keys().await {
        assert!(server.time_left(&key).await > 5_000, "{key}");
    }
    assert!(saver.pin(&thread).await.unwrap());
    assert_ttl(&mut server, false).await;
    put(&saver, &root, "3").await;
    put_writes(&saver, &root, "3", &["a"], 1).await;
    read(&saver, &root).await;
    assert!(saver.touch(&thread).await.unwrap());
    assert_ttl(&mut server, false).await;
    assert!(saver.unpin(&thread).await.unwrap());
    assert_ttl(&mut server, true).await;
    put(&saver, &root, "4").await;
    assert_ttl(&mut server, true).await;
}

async fn assert_ttl(server: &mut Server, has_one: bool) {
    for key in server.keys().await {
        assert_eq!(server.time_left(&key).await > 0, has_one, "{key}");
    }
}

#[tokio::test]
async fn a_copy_has_the_writes_too() {
    let mut server = Server::start().await;
    let saver = saver(&server).await;
    let (source, target) = (place("s", ""), place("t", ""));
    put(&saver, &source, "2").await;
    put_writes(&saver, &source, "2", &["__interrupt__", "a"], 1).await;
    put_writes(&saver, &source, "3", &["later"], 1).await;
    put(&saver, &place("s", "child"), "1").await;
    let copy = |options: CopyOptions| {
        let (source, target) = (&source.thread_id, &target.thread_id);
        let saver = &saver;
        async move { saver.copy_thread(source, target, &options).await }
    };
    copy(CopyOptions::default()).await.unwrap();
    let copied = read(&saver, &target).await;
    let original = read(&saver, &source).await;
    assert_eq!(copied.pending_writes, original.pending_writes);
    assert_eq!(copied.metadata, original.metadata);
    assert!(
        saver
            .get_tuple(&place("t", "child"))
            .await
            .unwrap()
            .is_some()
    );
    put(&saver, &target, "3").await;
    assert_eq!(writes(&read(&saver, &target).await).len(), 1);
    // A target that is further stays as it is.
    copy(CopyOptions::default()).await.unwrap();
    assert_eq!(read(&saver, &target).await.checkpoint, checkpoint("3"));
    let options = CopyOptions::default().with_existing(ExistingTarget::Error);
    let error = copy(options).await.unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
    for thread in ["s", "t"] {
        delete(&saver, thread).await;
    }
    assert_eq!(server.keys().await, Vec::<String>::new());
}

#[tokio::test]
async fn delta_channels_are_refused() {
    let mut server = Server::start().await;
    let saver = saver(&server).await;
    let config = place("t", "");
    let put = |counters: &'static str| {
        let (saver, config) = (&saver, &config);
        async move {
            let text = format!(r#"{{"counters_since_delta_snapshot":{counters}}}"#);
            let metadata = CheckpointMetadata::from_json(text).unwrap();
            let options = PutOptions::default();
            saver
                .put(config, &checkpoint("1"), &metadata, &options)
                .await
        }
    };
    let error = put(r#"{"messages":[1,2]}"#).await.unwrap_err();
    assert!(matches!(error, Error::InvalidInput { .. }), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains("`messages`") && text.contains("full saver"),
        "{text}"
    );
    assert_eq!(server.keys().await, Vec::<String>::new());
    put("{}").await.unwrap();
    let channels = ["messages".to_owned()];
    let history = saver
        .delta_channel_history(&config, &channels)
        .await
        .unwrap();
    assert_eq!(
        (history["messages"].writes.len(), &history["messages"].seed),
        (0, &None)
    );
}

#[tokio::test]
async fn custom_prefixes_rename_every_key() {
    let mut server = Server::start().await;
    let saver = RedisSaver::builder()
        .url(server.redis.url())
        .prefixes("c", "w")
        .build_shallow()
        .await
        .unwrap();
    saver.setup().await.unwrap();
    let config = place("t", "");
    put(&saver, &config, "1").await;
    put_writes(&saver, &config, "1", &["a"], 1).await;
    assert_eq!(
        server.keys().await,
        [
            "c:t:",
            "c_ns_set:t",
            "w:t:__empty__:1:task:0",
            "w_keys_zset:t:__empty__:shallow"
        ]
    );
    // The Python saver has its registry under the default name whatever the prefixes are.
    let (ours, theirs) = (
        "w_keys_zset:t:__empty__:shallow",
        "write_keys_zset:t:__empty__:shallow",
    );
    server.run(&["RENAME", ours, theirs]).await;
    assert_eq!(writes(&read(&saver, &config).await), [("a".to_owned(), 1)]);
    put(&saver, &config, "2").await;
    assert_eq!(server.keys().await, ["c:t:", "c_ns_set:t"]);
}

#[tokio::test]
async fn every_call_is_one_round_trip() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.redis.port()).await;
    let saver = RedisSaver::builder()
        .url(format!("redis://127.0.0.1:{}", proxy.port()))
        .pool_size(1)
        .ttl(TtlPolicy::of(HOUR).refreshed_on_read())
        .build_shallow()
        .await
        .unwrap();
    saver.setup().await.unwrap();
    let config = place("t", "");
    // The first call of each kind sends its script along.
    put(&saver, &config, "1").await;
    put_writes(&saver, &config, "1", &["a"], 1).await;
    read(&saver, &config).await;
    for name in ["2", "3"] {
        let before = proxy.flights();
        put(&saver, &config, name).await;
        assert_eq!(proxy.flights() - before, 1, "put");
        put_writes(&saver, &config, name, &["a", "b", "c"], 1).await;
        assert_eq!(proxy.flights() - before, 2, "put_writes");
        assert_eq!(read(&saver, &config).await.pending_writes.len(), 3);
        assert_eq!(proxy.flights() - before, 3, "get_tuple");
    }
}

#[tokio::test]
async fn two_savers_leave_the_newest_and_its_writes() {
    let mut server = Server::start().await;
    let savers = [saver(&server).await, saver(&server).await];
    let config = place("t", "");
    let mut tasks = tokio::task::JoinSet::new();
    for (number, saver) in savers.iter().cloned().enumerate() {
        let config = config.clone();
        tasks.spawn(async move {
            for step in 0..100 {
                let name = format!("{:03}", step * 2 + number);
                put(&saver, &config, &name).await;
                put_writes(&saver, &config, &name, &["a"], 1).await;
                let found = read(&saver, &config).await;
                assert!(found.checkpoint.id().as_str() >= name.as_str());
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let found = read(&savers[0], &config).await;
    assert_eq!(found.checkpoint, checkpoint("199"));
    assert_eq!(found.pending_writes.len(), 1);
    assert_eq!(server.keys().await.len(), 4);
    delete(&savers[1], "t").await;
    assert_eq!(server.keys().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_ttl_for_whole_threads_is_refused() {
    let server = Server::start().await;
    let ttl = TtlPolicy::of(Duration::from_secs(60)).of_whole_threads();
    let error = RedisSaver::builder()
        .url(server.redis.url())
        .ttl(ttl)
        .build_shallow()
        .await;
    assert!(error.unwrap_err().to_string().contains("ttl_scope"));
}
