//! The five endpoints, as scale-agentex's client speaks them.

use futures_util::TryStreamExt;
use langgraph_checkpoint_redis::redis::DoctorOptions;
use langgraph_checkpoint_redis::{
    CheckpointConfig, CheckpointSaver, CopyOptions, ListOptions, PruneOptions, PruneStrategy,
    RedisSaver, ThreadId, TtlPolicy,
};
use serde_json::{Value, json};
use std::time::Duration;

use crate::support::server::Server;
use crate::support::service::{Service, options};

const FIRST: &str = "1f1e5438-3693-6fd2-8000-c562fd0be1e3";
const SECOND: &str = "1f1e5438-3693-6fd2-8001-c562fd0be1e3";
const V1: &str = "00000000000000000000000000000001.0.5312";
const V2: &str = "00000000000000000000000000000002.0.1234";

fn checkpoint(id: &str, version: &str) -> Value {
    json!({
        "v": 4, "ts": "2026-11-21T00:00:00+00:00", "id": id,
        "channel_values": {"n": 1, "name": "Ada"},
        "channel_versions": {"n": 1, "name": V1, "messages": version, "branch:to:agent": V1},
        "versions_seen": {"agent": {"messages": version}},
        "updated_channels": ["messages"],
    })
}

fn put(thread: &str, id: &str, parent: Option<&str>, version: &str) -> Value {
    json!({
        "thread_id": thread, "checkpoint_ns": "", "checkpoint_id": id,
        "parent_checkpoint_id": parent,
        "checkpoint": checkpoint(id, version),
        "metadata": {"source": "loop", "step": 1, "parents": {}},
        "blobs": [{"channel": "messages", "version": version, "type": "msgpack", "blob": "kaJoaQ=="}],
    })
}

/// Stores two checkpoints of which the second changes the messages.
async fn conversation(service: &Service, thread: &str) {
    let mut first = put(thread, FIRST, None, V1);
    let empty = json!({"channel": "branch:to:agent", "version": V1, "type": "empty", "blob": null});
    first["blobs"].as_array_mut().unwrap().push(empty);
    service.ok("/checkpoints/put", first).await;
    let second = put(thread, SECOND, Some(FIRST), V2);
    service.ok("/checkpoints/put", second).await;
}

fn named(thread: &str) -> Value {
    json!({"thread_id": thread})
}

#[tokio::test]
async fn a_checkpoint_comes_back_as_it_went_in() {
    let service = Service::start().await;
    assert_eq!(
        service.ok("/checkpoints/get-tuple", named("t")).await,
        Value::Null
    );
    let stored = service
        .ok("/checkpoints/put", put("t", FIRST, None, V1))
        .await;
    assert_eq!(
        stored,
        json!({"thread_id": "t", "checkpoint_ns": "", "checkpoint_id": FIRST})
    );
    for id in [Value::Null, json!(""), json!(FIRST)] {
        let request = json!({"thread_id": "t", "checkpoint_ns": "", "checkpoint_id": id});
        let tuple = service.ok("/checkpoints/get-tuple", request).await;
        assert_eq!(
            tuple,
            json!({
                "thread_id": "t", "checkpoint_ns": "", "checkpoint_id": FIRST,
                "parent_checkpoint_id": null,
                "checkpoint": checkpoint(FIRST, V1),
                "metadata": {"source": "loop", "step": 1, "parents": {}},
                "blobs": [{"channel": "messages", "version": V1, "type": "msgpack", "blob": "kaJoaQ=="}],
                "pending_writes": [],
            })
        );
    }
}

#[tokio::test]
async fn a_checkpoint_comes_with_the_blobs_that_it_names_whoever_stored_them() {
    let service = Service::start().await;
    conversation(&service, "t").await;
    let newest = service.ok("/checkpoints/get-tuple", named("t")).await;
    assert_eq!(newest["checkpoint_id"], SECOND);
    assert_eq!(newest["parent_checkpoint_id"], FIRST);
    assert_eq!(
        newest["blobs"],
        json!([
            {"channel": "branch:to:agent", "version": V1, "type": "empty", "blob": null},
            {"channel": "messages", "version": V2, "type": "msgpack", "blob": "kaJoaQ=="},
        ])
    );
}

#[tokio::test]
async fn a_blob_that_is_there_is_left_and_a_checkpoint_that_is_there_is_replaced() {
    let service = Service::start().await;
    service
        .ok("/checkpoints/put", put("t", FIRST, None, V1))
        .await;
    let mut again = put("t", FIRST, None, V1);
    again["blobs"][0]["blob"] = json!("AAAA");
    again["metadata"] = json!({"step": 2});
    again["checkpoint"]["channel_values"] = json!({"n": 2});
    service.ok("/checkpoints/put", again).await;
    let tuple = service.ok("/checkpoints/get-tuple", named("t")).await;
    assert_eq!(tuple["blobs"][0]["blob"], "kaJoaQ==");
    assert_eq!(tuple["metadata"], json!({"step": 2}));
    assert_eq!(tuple["checkpoint"]["channel_values"], json!({"n": 2}));
}

#[tokio::test]
async fn a_checkpoint_of_any_shape_comes_back() {
    let service = Service::start().await;
    let shapes = [
        json!({}),
        json!({"id": "another", "channel_values": null}),
        json!({"id": FIRST, "channel_values": [1], "channel_versions": "none"}),
        json!({"id": FIRST, "type": "json", "pending_sends": []}),
        json!({"id": 7, "nested": {"deep": [1.5, null, {"": "\u{0}"}]}, "big": u64::MAX}),
    ];
    for (position, shape) in shapes.into_iter().enumerate() {
        let thread = format!("shape-{position}");
        let body = json!({"thread_id": thread, "checkpoint_id": FIRST, "checkpoint": shape});
        service.ok("/checkpoints/put", body).await;
        let tuple = service.ok("/checkpoints/get-tuple", named(&thread)).await;
        assert_eq!(tuple["checkpoint"], shape);
        assert_eq!(tuple["checkpoint_id"], FIRST);
        assert_eq!(tuple["metadata"], json!({}));
        let prune = [ThreadId::new(&thread).unwrap()];
        let options = PruneOptions::new(PruneStrategy::KeepLatest);
        service.saver.prune(&prune, &options).await.unwrap();
    }
}

fn write(task: &str, idx: i64, channel: &str, blob: &str) -> Value {
    json!({"task_id": task, "idx": idx, "channel": channel, "type": "json", "blob": blob, "task_path": ""})
}

#[tokio::test]
async fn writes_come_back_by_task_and_index() {
    let service = Service::start().await;
    // The body that their own tests send, before its checkpoint.
    let theirs = json!({
        "thread_id": "t", "checkpoint_ns": "", "checkpoint_id": FIRST,
        "writes": [{"task_id": "lg-task-1", "idx": 0, "channel": "messages", "type": "json",
                    "blob": "eyJyb2xlIjogImFpIn0=", "task_path": ""}],
        "upsert": false,
    });
    let answer = service.post("/checkpoints/put-writes", theirs).await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (204, ""));
    let more = json!({
        "thread_id": "t", "checkpoint_id": FIRST,
        "writes": [
            write("b", 10, "x", "MQ=="), write("b", 2, "x", "Mg=="), write("b", -3, "__interrupt__", "Mw=="),
            {"task_id": "a", "idx": 0, "channel": "y", "type": null, "blob": ""},
            {"task_id": "a:b", "idx": 0, "channel": "y", "blob": "AA=="},
        ],
    });
    service.ok("/checkpoints/put-writes", more).await;
    service
        .ok("/checkpoints/put", put("t", FIRST, None, V1))
        .await;
    let tuple = service.ok("/checkpoints/get-tuple", named("t")).await;
    let read = |task: &str, idx: i64, channel: &str, kind: Option<&str>, blob: &str| json!({"task_id": task, "idx": idx, "channel": channel, "type": kind, "blob": blob});
    assert_eq!(
        tuple["pending_writes"],
        json!([
            read("a", 0, "y", None, ""),
            read("a:b", 0, "y", None, "AA=="),
            read("b", -3, "__interrupt__", Some("json"), "Mw=="),
            read("b", 2, "x", Some("json"), "Mg=="),
            read("b", 10, "x", Some("json"), "MQ=="),
            read(
                "lg-task-1",
                0,
                "messages",
                Some("json"),
                "eyJyb2xlIjogImFpIn0="
            ),
        ])
    );
}

#[tokio::test]
async fn a_write_that_is_there_is_left_unless_it_is_to_be_replaced() {
    let service = Service::start().await;
    service
        .ok("/checkpoints/put", put("t", FIRST, None, V1))
        .await;
    let send = async |channel: &str, blob: &str, upsert: bool| {
        let body = json!({
            "thread_id": "t", "checkpoint_id": FIRST, "upsert": upsert,
            "writes": [write("task", 0, channel, blob)],
        });
        service.ok("/checkpoints/put-writes", body).await;
        let tuple = service.ok("/checkpoints/get-tuple", named("t")).await;
        assert_eq!(tuple["pending_writes"].as_array().unwrap().len(), 1);
        let found = &tuple["pending_writes"][0];
        (found["channel"].clone(), found["blob"].clone())
    };
    assert_eq!(
        send("one", "MQ==", false).await,
        (json!("one"), json!("MQ=="))
    );
    assert_eq!(
        send("two", "Mg==", false).await,
        (json!("one"), json!("MQ=="))
    );
    assert_eq!(
        send("two", "Mg==", true).await,
        (json!("two"), json!("Mg=="))
    );
}

#[tokio::test]
async fn checkpoints_are_listed_newest_first() {
    let service = Service::start().await;
    conversation(&service, "t").await;
    let mut child = put("t", FIRST, None, V1);
    child["checkpoint_ns"] = json!("child:1");
    child["metadata"] = json!({"step": 7});
    service.ok("/checkpoints/put", child).await;
    let list = async |more: Value| {
        let mut body = named("t");
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let found = service.ok("/checkpoints/list", body).await;
        let found = found.as_array().unwrap().iter();
        found
            .map(|one| {
                format!(
                    "{}/{}",
                    one["checkpoint_ns"].as_str().unwrap(),
                    &one["checkpoint_id"].as_str().unwrap()[19..23]
                )
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(list(json!({})).await, ["/8001", "/8000", "child:1/8000"]);
    assert_eq!(
        list(json!({"checkpoint_ns": null, "limit": 1})).await,
        ["/8001"]
    );
    assert_eq!(list(json!({"checkpoint_ns": ""})).await, ["/8001", "/8000"]);
    assert_eq!(
        list(json!({"before_checkpoint_id": SECOND, "checkpoint_ns": ""})).await,
        ["/8000"]
    );
    assert_eq!(
        list(json!({"filter_metadata": {"step": 7}})).await,
        ["child:1/8000"]
    );
    assert_eq!(
        list(json!({"filter_metadata": {"step": "7"}})).await,
        [""; 0]
    );
    let page = service
        .ok("/checkpoints/list", json!({"thread_id": "t", "limit": 1}))
        .await;
    assert_eq!(
        page,
        json!([{
            "thread_id": "t", "checkpoint_ns": "", "checkpoint_id": SECOND,
            "parent_checkpoint_id": FIRST, "checkpoint": checkpoint(SECOND, V2),
            "metadata": {"source": "loop", "step": 1, "parents": {}},
        }])
    );
}

async fn own_service(ttl: TtlPolicy) -> (Server, Service) {
    let server = Server::start().await;
    let saver = RedisSaver::builder()
        .url(server.redis.url())
        .ttl(ttl)
        .build()
        .await
        .unwrap();
    let service = Service::over(saver, options()).await;
    (server, service)
}

#[tokio::test]
async fn deleting_a_thread_leaves_no_blob_behind() {
    let (mut server, service) = own_service(TtlPolicy::default()).await;
    for thread in ["t", "a:b", "other"] {
        conversation(&service, thread).await;
    }
    let keys = server.keys().await;
    assert!(
        keys.contains(&format!("checkpoint_blob:t:__empty__:messages:{V2}")),
        "{keys:?}"
    );
    assert!(
        keys.contains(&format!("checkpoint_blob@3:a:b:__empty__:messages:{V2}")),
        "{keys:?}"
    );
    for thread in ["t", "a:b", "never"] {
        let answer = service
            .post("/checkpoints/delete-thread", named(thread))
            .await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (204, ""));
    }
    let left = server.keys().await;
    assert!(left.iter().all(|key| key.contains(":other")), "{left:?}");
    let other = service.ok("/checkpoints/get-tuple", named("other")).await;
    assert_eq!(other["blobs"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_pruned_thread_keeps_the_blobs_that_a_kept_checkpoint_names() {
    let (mut server, service) = own_service(TtlPolicy::default()).await;
    conversation(&service, "t").await;
    // A write to a channel with a blob is not taken for one to a delta channel.
    let writes = json!({"thread_id": "t", "checkpoint_id": FIRST, "writes": [write("a", 0, "messages", "")]});
    service.ok("/checkpoints/put-writes", writes).await;
    let options = PruneOptions::new(PruneStrategy::KeepLatest);
    let thread = [ThreadId::new("t").unwrap()];
    service.saver.prune(&thread, &options).await.unwrap();
    let keys = server.keys().await;
    let blobs: Vec<_> = keys
        .iter()
        .filter(|key| key.starts_with("checkpoint_blob:"))
        .collect();
    assert_eq!(
        blobs,
        [
            &format!("checkpoint_blob:t:__empty__:branch%3Ato%3Aagent:{V1}"),
            &format!("checkpoint_blob:t:__empty__:messages:{V2}"),
        ]
    );
    assert!(
        !keys.contains(&format!("checkpoint:t:__empty__:{FIRST}")),
        "{keys:?}"
    );
    let tuple = service.ok("/checkpoints/get-tuple", named("t")).await;
    assert_eq!(tuple["blobs"].as_array().unwrap().len(), 2);
    let report = service
        .saver
        .doctor(&DoctorOptions::default())
        .await
        .unwrap();
    assert!(report.is_healthy(), "{report}");
}

#[tokio::test]
async fn a_copied_thread_has_blobs_of_its_own() {
    let service = Service::start().await;
    conversation(&service, "t").await;
    let (source, target) = (ThreadId::new("t").unwrap(), ThreadId::new("copy").unwrap());
    let options = CopyOptions::default();
    let copied = service.saver.copy_thread(&source, &target, &options);
    copied.await.unwrap();
    let before = service.ok("/checkpoints/get-tuple", named("t")).await;
    service.ok("/checkpoints/delete-thread", named("t")).await;
    let mut after = service.ok("/checkpoints/get-tuple", named("copy")).await;
    after["thread_id"] = json!("t");
    assert_eq!(after, before);
}

#[tokio::test]
async fn blobs_live_as_long_as_the_newest_checkpoint_that_names_them() {
    let hour = Duration::from_secs(3_600);
    let (mut server, service) = own_service(TtlPolicy::new(hour).with_refresh_on_read(true)).await;
    conversation(&service, "t").await;
    let unchanged = format!("checkpoint_blob:t:__empty__:branch%3Ato%3Aagent:{V1}");
    let changed = format!("checkpoint_blob:t:__empty__:messages:{V2}");
    let is_whole = |left: i64| (3_500_000..=3_600_000).contains(&left);
    for key in server.keys().await {
        let left = server.time_left(&key).await;
        assert!(is_whole(left), "{key} has {left} ms left");
    }
    for key in [&unchanged, &changed] {
        server.run(&["PEXPIRE", key, "60000"]).await;
    }
    service.ok("/checkpoints/get-tuple", named("t")).await;
    for key in [&unchanged, &changed] {
        assert!(is_whole(server.time_left(key).await), "{key} was read");
        server.run(&["PEXPIRE", key, "60000"]).await;
    }
    service
        .ok("/checkpoints/put", put("t", SECOND, Some(FIRST), V2))
        .await;
    for key in [&unchanged, &changed] {
        assert!(is_whole(server.time_left(key).await), "{key} was named");
    }

    let thread = ThreadId::new("t").unwrap();
    assert!(service.saver.pin(&thread).await.unwrap());
    service
        .ok("/checkpoints/put", put("t", "2", Some(SECOND), "3"))
        .await;
    for key in server.keys().await {
        assert_eq!(server.time_left(&key).await, -1, "{key}");
    }
    assert!(service.saver.unpin(&thread).await.unwrap());
    for key in server.keys().await {
        assert!(is_whole(server.time_left(&key).await), "{key}");
    }
}

#[tokio::test]
async fn the_doctor_registers_a_blob_and_takes_out_those_that_are_gone() {
    let (mut server, service) = own_service(TtlPolicy::default()).await;
    conversation(&service, "t").await;
    let report = service
        .saver
        .doctor(&DoctorOptions::default())
        .await
        .unwrap();
    assert!(report.is_healthy(), "{report}");
    let registry = "checkpoint_blob_keys_zset:t:__empty__";
    server
        .run(&["ZREM", registry, &format!("messages:{V1}")])
        .await;
    server
        .run(&["DEL", &format!("checkpoint_blob:t:__empty__:messages:{V2}")])
        .await;
    server
        .run(&["SREM", "checkpoint_ns_set:t", "\0blobs\0__empty__"])
        .await;
    let look = DoctorOptions::default();
    let found = service.saver.doctor(&look).await.unwrap();
    let kinds: Vec<_> = found.counts().keys().map(ToString::to_string).collect();
    assert_eq!(kinds.len(), 3, "{found}");
    service
        .saver
        .doctor(&look.clone().with_fix(true))
        .await
        .unwrap();
    let report = service.saver.doctor(&look).await.unwrap();
    assert!(report.is_healthy(), "{report}");
    service.ok("/checkpoints/delete-thread", named("t")).await;
    assert_eq!(server.keys().await, [""; 0]);
}

#[tokio::test]
async fn what_was_stored_over_http_is_read_by_the_saver() {
    let service = Service::start().await;
    conversation(&service, "t").await;
    let writes =
        json!({"thread_id": "t", "checkpoint_id": SECOND, "writes": [write("a", 3, "x", "MQ==")]});
    service.ok("/checkpoints/put-writes", writes).await;
    let config = CheckpointConfig::new("t").unwrap();
    let tuple = service.saver.get_tuple(&config).await.unwrap().unwrap();
    assert_eq!(tuple.pending_writes[0].idx, 3);
    assert_eq!(tuple.pending_writes[0].value.decode::<i64>().unwrap(), 1);
    let listed: Vec<_> = service
        .saver
        .list(Some(&config), ListOptions::default())
        .try_collect()
        .await
        .unwrap();
    assert_eq!(listed.len(), 2);
}

#[tokio::test]
async fn a_checkpoint_that_is_put_while_its_thread_is_deleted_is_whole_or_gone() {
    let service = Service::start().await;
    for round in 0..60 {
        let thread = format!("t{}", round % 3);
        let body = put(&thread, FIRST, None, V1);
        let (stored, deleted) = tokio::join!(
            service.post("/checkpoints/put", body),
            service.post("/checkpoints/delete-thread", named(&thread)),
        );
        assert_eq!(
            (stored.status.as_u16(), deleted.status.as_u16()),
            (200, 204)
        );
        let tuple = service.ok("/checkpoints/get-tuple", named(&thread)).await;
        if tuple != Value::Null {
            assert_eq!(
                tuple["blobs"].as_array().unwrap().len(),
                1,
                "round {round}: {tuple}"
            );
        }
    }
}

#[tokio::test]
async fn deleting_runs_removes_the_blobs_that_only_they_named() {
    let (mut server, service) = own_service(TtlPolicy::default()).await;
    for (id, version, run) in [(FIRST, V1, "one"), (SECOND, V2, "two")] {
        let mut body = put("t", id, None, version);
        body["metadata"]["run_id"] = json!(run);
        service.ok("/checkpoints/put", body).await;
    }
    service
        .ok("/v1/delete-for-runs", json!({"run_ids": ["two"]}))
        .await;
    let keys = server.keys().await;
    let blobs: Vec<_> = keys
        .iter()
        .filter(|key| key.starts_with("checkpoint_blob:"))
        .collect();
    assert_eq!(
        blobs,
        [&format!("checkpoint_blob:t:__empty__:messages:{V1}")]
    );
    let runs = json!({"run_ids": ["one", "none"]});
    service.ok("/v1/delete-for-runs", runs).await;
    let left = server.keys().await;
    assert!(
        left.iter()
            .all(|key| !key.contains("blob") && !key.contains(":t")),
        "{left:?}"
    );
}

#[tokio::test]
async fn a_cluster_keeps_the_blobs_of_a_thread_with_its_other_keys() {
    let cluster = redis_modules::Cluster::start().unwrap();
    let builder = RedisSaver::builder().url(cluster.url());
    let saver = builder.hash_tag_threads(true).build().await.unwrap();
    let service = Service::over(saver, options()).await;
    conversation(&service, "a:b").await;
    let newest = service.ok("/checkpoints/get-tuple", named("a:b")).await;
    assert_eq!(newest["blobs"].as_array().unwrap().len(), 2);
    let thread = [ThreadId::new("a:b").unwrap()];
    let options = PruneOptions::new(PruneStrategy::KeepLatest);
    service.saver.prune(&thread, &options).await.unwrap();
    let after = service.ok("/checkpoints/get-tuple", named("a:b")).await;
    assert_eq!(after, newest);
    service.ok("/checkpoints/delete-thread", named("a:b")).await;
    assert_eq!(
        service.ok("/checkpoints/get-tuple", named("a:b")).await,
        Value::Null
    );
}

/// The versions of so many channels, and their blobs.
fn channels(count: usize) -> (serde_json::Map<String, Value>, Vec<Value>) {
    (0..count)
        .map(|number| {
            let channel = format!("c{number}");
            let blob = json!({"channel": channel, "version": "1", "type": "b", "blob": "AAAA"});
            ((channel, json!("1")), blob)
        })
        .unzip()
}

#[tokio::test]
async fn every_blob_that_a_checkpoint_names_is_kept_with_it_however_many() {
    let (mut server, service) = own_service(TtlPolicy::new(Duration::from_secs(3_600))).await;
    let (versions, blobs) = channels(600);
    let put = |id: &str, blobs: &[Value]| {
        json!({
            "thread_id": "t", "checkpoint_id": id, "blobs": blobs,
            "checkpoint": {"id": id, "channel_versions": versions},
        })
    };
    service.ok("/checkpoints/put", put("1", &blobs)).await;
    let mut keys = server.keys().await;
    keys.retain(|key| key.starts_with("checkpoint_blob") && key.contains(":c"));
    assert_eq!(keys.len(), 600);
    for key in &keys {
        server.run(&["PEXPIRE", key, "60000"]).await;
    }
    service.ok("/checkpoints/put", put("2", &[])).await;
    for key in &keys {
        let left = server.time_left(key).await;
        assert!(left > 60_000, "{key} is not kept: {left}");
    }
    let newest = service.ok("/checkpoints/get-tuple", named("t")).await;
    assert_eq!(newest["blobs"].as_array().unwrap().len(), 600);
}

#[tokio::test]
async fn a_checkpoint_that_is_deleted_while_it_is_read_is_null_or_whole() {
    let service = Service::start().await;
    let (versions, blobs) = channels(300);
    let body = json!({
        "thread_id": "t", "checkpoint_id": "1", "blobs": blobs,
        "checkpoint": {"id": "1", "channel_versions": versions},
    });
    for _ in 0..30 {
        service.ok("/checkpoints/put", body.clone()).await;
        let read = async || service.post("/checkpoints/get-tuple", named("t")).await;
        let delete = service.post("/checkpoints/delete-thread", named("t"));
        let (one, other, third, deleted) = tokio::join!(read(), read(), read(), delete);
        assert_eq!(deleted.status, 204, "{deleted:?}");
        for told in [one, other, third] {
            assert_eq!(told.status, 200, "{told:?}");
            let tuple = told.json();
            let blobs = tuple["blobs"].as_array().map_or(300, Vec::len);
            assert_eq!(blobs, 300, "{tuple}");
        }
    }
}
