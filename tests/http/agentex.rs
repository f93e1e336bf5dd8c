//! The five endpoints, as scale-agentex's client calls them, over every saver that can be served.

use futures_util::TryStreamExt;
use langgraph_checkpoint_redis::{
    CheckpointConfig, CheckpointSaver, CopyOptions, ListOptions, PruneOptions, PruneStrategy,
    ThreadId,
};
use serde_json::{Value, json};

use crate::support::service::{CONFINED, Service};

pub(crate) const FIRST: &str = "1f1e5438-3693-6fd2-8000-c562fd0be1e3";
pub(crate) const SECOND: &str = "1f1e5438-3693-6fd2-8001-c562fd0be1e3";
pub(crate) const V1: &str = "00000000000000000000000000000001.0.5312";
pub(crate) const V2: &str = "00000000000000000000000000000002.0.1234";

fn checkpoint(id: &str, version: &str) -> Value {
    json!({
        "v": 4, "ts": "2026-11-21T00:00:00+00:00", "id": id,
        "channel_values": {"n": 1, "name": "Ada"},
        "channel_versions": {"n": 1, "name": V1, "messages": version, "branch:to:agent": V1},
        "versions_seen": {"agent": {"messages": version}},
        "updated_channels": ["messages"],
    })
}

pub(crate) fn put(thread: &str, id: &str, parent: Option<&str>, version: &str) -> Value {
    json!({
        "thread_id": thread, "checkpoint_ns": "", "checkpoint_id": id,
        "parent_checkpoint_id": parent,
        "checkpoint": checkpoint(id, version),
        "metadata": {"source": "loop", "step": 1, "parents": {}},
        "blobs": [{"channel": "messages", "version": version, "type": "msgpack", "blob": "kaJoaQ=="}],
    })
}

/// Stores two checkpoints of which the second changes the messages.
pub(crate) async fn conversation(service: &Service<impl CheckpointSaver>, thread: &str) {
    let mut first = put(thread, FIRST, None, V1);
    let empty = json!({"channel": "branch:to:agent", "version": V1, "type": "empty", "blob": null});
    first["blobs"].as_array_mut().unwrap().push(empty);
    service.ok("/checkpoints/put", first).await;
    let second = put(thread, SECOND, Some(FIRST), V2);
    service.ok("/checkpoints/put", second).await;
}

pub(crate) fn named(thread: &str) -> Value {
    json!({"thread_id": thread})
}

async fn a_checkpoint_comes_back_as_it_went_in(service: Service<impl CheckpointSaver>) {
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

async fn a_checkpoint_comes_with_the_blobs_that_it_names_whoever_stored_them(
    service: Service<impl CheckpointSaver>,
) {
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

async fn a_blob_that_is_there_is_left_and_a_checkpoint_that_is_there_is_replaced(
    service: Service<impl CheckpointSaver>,
) {
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

async fn a_checkpoint_of_any_shape_comes_back(service: Service<impl CheckpointSaver>) {
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

pub(crate) fn write(task: &str, idx: i64, channel: &str, blob: &str) -> Value {
    json!({"task_id": task, "idx": idx, "channel": channel, "type": "json", "blob": blob, "task_path": ""})
}

async fn writes_come_back_by_task_and_index(service: Service<impl CheckpointSaver>) {
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

async fn a_write_that_is_there_is_left_unless_it_is_to_be_replaced(
    service: Service<impl CheckpointSaver>,
) {
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

async fn checkpoints_are_listed_newest_first(service: Service<impl CheckpointSaver>) {
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

async fn a_copied_thread_has_blobs_of_its_own(service: Service<impl CheckpointSaver>) {
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

async fn what_was_stored_over_http_is_read_by_the_saver(service: Service<impl CheckpointSaver>) {
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

async fn a_checkpoint_that_is_put_while_its_thread_is_deleted_is_whole_or_gone(
    service: Service<impl CheckpointSaver>,
) {
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

/// The versions of this many channels, and their blobs.
pub(crate) fn channels(count: usize) -> (serde_json::Map<String, Value>, Vec<Value>) {
    (0..count)
        .map(|number| {
            let channel = format!("c{number}");
            let blob = json!({"channel": channel, "version": "1", "type": "b", "blob": "AAAA"});
            ((channel, json!("1")), blob)
        })
        .unzip()
}

async fn a_checkpoint_that_is_deleted_while_it_is_read_is_null_or_whole(
    service: Service<impl CheckpointSaver>,
) {
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
        for response in [one, other, third] {
            assert_eq!(response.status, 200, "{response:?}");
            let tuple = response.json();
            let blobs = tuple["blobs"].as_array().map_or(300, Vec::len);
            assert_eq!(blobs, 300, "{tuple}");
        }
    }
}

async fn a_blob_that_no_checkpoint_names_any_more_is_removed(
    service: Service<impl CheckpointSaver>,
) {
    let runs = ["one", "two"];
    for thread in ["pruned", "runs", "deleted"] {
        for (run, (id, parent, version)) in runs
            .iter()
            .zip([(FIRST, None, V1), (SECOND, Some(FIRST), V2)])
        {
            let mut body = put(thread, id, parent, version);
            body["metadata"]["run_id"] = json!(format!("{thread}-{run}"));
            service.ok("/checkpoints/put", body).await;
        }
    }
    let prune = json!({"thread_ids": ["pruned"], "strategy": "keep_latest"});
    service.ok_lines("/v1/prune", prune).await;
    let runs = json!({"run_ids": ["runs-one"]});
    service.ok("/v1/delete-for-runs", runs).await;
    service
        .ok("/checkpoints/delete-thread", named("deleted"))
        .await;
    for (thread, kept) in [("pruned", 1), ("runs", 1), ("deleted", 0)] {
        // Checkpoints that name either version, without its blob.
        for (id, version, expected) in [("2", V1, 0), ("3", V2, kept)] {
            let mut body = put(thread, id, None, version);
            body["blobs"] = json!([]);
            service.ok("/checkpoints/put", body).await;
            let tuple = service.ok("/checkpoints/get-tuple", named(thread)).await;
            let blobs = tuple["blobs"].as_array().unwrap();
            assert_eq!(blobs.len(), expected, "{thread} {version}: {tuple}");
        }
    }
}

async fn a_thread_with_blobs_is_pruned_to_its_newest_checkpoint(
    service: Service<impl CheckpointSaver>,
) {
    conversation(&service, "t").await;
    // A write to a channel with a blob is not taken for one to a delta channel.
    let writes = json!({"thread_id": "t", "checkpoint_id": FIRST, "writes": [write("a", 0, "messages", "")]});
    service.ok("/checkpoints/put-writes", writes).await;
    let prune = json!({"thread_ids": ["t"], "strategy": "keep_latest"});
    service.ok_lines("/v1/prune", prune).await;
    let listed = service.ok("/checkpoints/list", named("t")).await;
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    let tuple = service.ok("/checkpoints/get-tuple", named("t")).await;
    assert_eq!(tuple["checkpoint_id"], SECOND);
    assert_eq!(tuple["blobs"].as_array().unwrap().len(), 2);
}

async fn a_confined_key_reaches_no_thread_outside_its_prefix(
    service: Service<impl CheckpointSaver>,
) {
    for thread in ["mine/1", "theirs"] {
        let mut body = put(thread, FIRST, None, V1);
        body["metadata"]["run_id"] = json!("r");
        service.ok("/checkpoints/put", body).await;
    }
    let read = service
        .post_as(CONFINED, "/checkpoints/get-tuple", named("theirs"))
        .await;
    assert_eq!(read.status, 404);
    let listed = service.post_as(CONFINED, "/v1/list", json!({})).await;
    assert!(listed.text.contains("mine/1") && !listed.text.contains("theirs"));
    let runs = json!({"run_ids": ["r"]});
    let deleted = service.post_as(CONFINED, "/v1/delete-for-runs", runs).await;
    assert_eq!(deleted.status, 204);
    for (thread, is_left) in [("mine/1", false), ("theirs", true)] {
        let tuple = service.ok("/checkpoints/get-tuple", named(thread)).await;
        assert_eq!(tuple != Value::Null, is_left, "{thread}");
    }
}

async fn the_service_is_ready(service: Service<impl CheckpointSaver>) {
    let ready = service.get("/readyz").await;
    assert_eq!((ready.status.as_u16(), ready.text.as_str()), (200, "ready"));
}

/// Makes a test of each behaviour over a Redis saver and over a memory saver.
macro_rules! behaviours {
    ($($name:ident,)*) => {
        mod redis {
            use crate::support::service::Service;
            $(#[tokio::test] async fn $name() { super::$name(Service::start().await).await; })*
        }

        mod memory {
            use crate::support::service::Service;
            $(#[tokio::test] async fn $name() { super::$name(Service::in_memory().await).await; })*
        }
    };
}

behaviours! {
    a_checkpoint_comes_back_as_it_went_in,
    a_checkpoint_comes_with_the_blobs_that_it_names_whoever_stored_them,
    a_blob_that_is_there_is_left_and_a_checkpoint_that_is_there_is_replaced,
    a_checkpoint_of_any_shape_comes_back,
    writes_come_back_by_task_and_index,
    a_write_that_is_there_is_left_unless_it_is_to_be_replaced,
    checkpoints_are_listed_newest_first,
    a_copied_thread_has_blobs_of_its_own,
    what_was_stored_over_http_is_read_by_the_saver,
    a_checkpoint_that_is_put_while_its_thread_is_deleted_is_whole_or_gone,
    a_checkpoint_that_is_deleted_while_it_is_read_is_null_or_whole,
    a_blob_that_no_checkpoint_names_any_more_is_removed,
    a_thread_with_blobs_is_pruned_to_its_newest_checkpoint,
    a_confined_key_reaches_no_thread_outside_its_prefix,
    the_service_is_ready,
}
