//! The keys in which Redis keeps blobs, and how long they live.

use std::time::Duration;

use langgraph_checkpoint_redis::redis::{DoctorOptions, Layout, ResealOptions};
use langgraph_checkpoint_redis::{
    CheckpointSaver, PruneOptions, PruneStrategy, RedisSaver, ThreadId, TtlPolicy,
};
use serde_json::{Value, json};

use crate::agentex::{FIRST, SECOND, V1, V2, channels, conversation, named, put, write};
use crate::support::encryption_keys;
use crate::support::server::Server;
use crate::support::service::{Service, options};

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
async fn the_compact_layout_answers_as_the_json_layout_does() {
    let (mut server, json) = own_service(TtlPolicy::default()).await;
    let builder = RedisSaver::builder().url(server.redis.url());
    let builder = builder.prefix("compact").layout(Layout::Compact);
    let compact = Service::over(builder.build().await.unwrap(), options()).await;
    let thread = [ThreadId::new("t {1}").unwrap()];
    let prune = PruneOptions::new(PruneStrategy::KeepLatest);
    let (versions, blobs) = channels(600);
    let many = json!({
        "thread_id": "many", "checkpoint_id": "1", "blobs": blobs,
        "checkpoint": {"id": "1", "channel_versions": versions},
    });
    let mut runs = put("run", SECOND, None, V2);
    runs["metadata"]["run_id"] = json!("two");
    let mut answers = Vec::new();
    for service in [&json, &compact] {
        let mut said = Vec::new();
        conversation(service, "t {1}").await;
        let write = json!({"thread_id": "t {1}", "checkpoint_id": FIRST, "writes": [write("a", 0, "messages", "")]});
        service.ok("/checkpoints/put-writes", write).await;
        said.push(service.ok("/checkpoints/list", named("t {1}")).await);
        said.push(service.ok("/checkpoints/get-tuple", named("t {1}")).await);
        service.saver.prune(&thread, &prune).await.unwrap();
        said.push(service.ok("/checkpoints/list", named("t {1}")).await);
        service.ok("/checkpoints/put", many.clone()).await;
        service.ok("/checkpoints/put", runs.clone()).await;
        service
            .ok("/v1/delete-for-runs", json!({"run_ids": ["two"]}))
            .await;
        said.push(service.ok("/checkpoints/get-tuple", named("run")).await);
        let mut newest = service.ok("/checkpoints/get-tuple", named("many")).await;
        let blobs = newest["blobs"].as_array_mut().unwrap();
        blobs.sort_by_key(ToString::to_string);
        assert_eq!(blobs.len(), 600);
        said.push(newest);
        let look = DoctorOptions::default();
        let report = service.saver.doctor(&look).await.unwrap();
        assert!(report.is_healthy(), "{report}");
        for thread in ["t {1}", "many"] {
            service
                .ok("/checkpoints/delete-thread", named(thread))
                .await;
        }
        said.push(service.ok("/checkpoints/get-tuple", named("t {1}")).await);
        answers.push(said);
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(server.keys().await, ["compact:checkpoint_layout"]);
}

#[tokio::test]
async fn blobs_are_sealed_and_sealed_again_with_a_new_key() {
    let mut server = Server::start().await;
    let service = async |server: &Server, keys: &[(&str, u8)]| {
        let builder = RedisSaver::builder().url(server.redis.url());
        let builder = builder.layout(Layout::Compact);
        let builder = builder.encryption_keys(encryption_keys(keys));
        Service::over(builder.build().await.unwrap(), options()).await
    };
    let (old, both) = ([("old", 2)], [("new", 1), ("old", 2)]);
    let old = service(&server, &old).await;
    conversation(&old, "t").await;
    let mut large = put("t", "2", Some(SECOND), "3");
    // Of several parts.
    let text = "c2VjcmV0".repeat(4_000);
    large["blobs"][0]["blob"] = json!(text);
    old.ok("/checkpoints/put", large).await;
    let all = async |service: &Service| {
        let mut all = Vec::new();
        for id in [FIRST, SECOND, "2"] {
            let one = json!({"thread_id": "t", "checkpoint_id": id});
            all.push(service.ok("/checkpoints/get-tuple", one).await);
        }
        all
    };
    let before = all(&old).await;
    assert!(before[2].to_string().contains(&text));
    for value in server.contents().await.into_values() {
        let secret = b"secretsecret";
        assert!(!value.0.windows(secret.len()).any(|window| window == secret));
    }

    let both = service(&server, &both).await;
    let report = both.saver.reseal(&ResealOptions::default()).await.unwrap();
    // A blob of each version of the messages, and the empty one.
    assert_eq!((report.checkpoints, report.writes), (3, 4), "{report}");
    let new = service(&server, &[("new", 1)]).await;
    assert_eq!(all(&new).await, before);
    let report = new.saver.doctor(&DoctorOptions::default()).await.unwrap();
    assert!(report.is_healthy(), "{report}");
    // Those that nothing names any more are found.
    let thread = [ThreadId::new("t").unwrap()];
    let prune = PruneOptions::new(PruneStrategy::KeepLatest);
    new.saver.prune(&thread, &prune).await.unwrap();
    let newest = new.ok("/checkpoints/get-tuple", named("t")).await;
    assert_eq!(newest, before[2]);
}
