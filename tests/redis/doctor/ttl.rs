//! What lost its TTL gets one, and what is kept permanently keeps none.

use langgraph_checkpoint_redis::redis::FindingKind;
use langgraph_checkpoint_redis::{CheckpointSaver, RedisSaver, ThreadId, TtlChoice, TtlPolicy};

use super::{HOUR, Ward, config, of_key};
use crate::support::server::Server;
use crate::support::stored::{checkpoint, put};

#[tokio::test]
async fn a_checkpoint_or_write_without_a_ttl_gets_one_unless_it_is_pinned() {
    let mut ward = Ward::new(TtlPolicy::new(HOUR)).await;
    for key in [
        "checkpoint:t:__empty__:2",
        "checkpoint_write:a:b:child:1:1:task:0",
    ] {
        ward.run(&["PERSIST", key]).await;
        let forever = Ward::options().with_expect_ttl(TtlChoice::Forever);
        assert!(ward.saver.doctor(&forever).await.unwrap().is_healthy());
        ward.cures(FindingKind::MissingTtl, key).await;
        assert!(ward.server.time_left(key).await > 3_500_000);
    }
    ward.saver.pin(&ThreadId::new("t").unwrap()).await.unwrap();
    let report = ward.saver.doctor(&Ward::options()).await.unwrap();
    assert!(report.is_healthy(), "{report}");
}

#[tokio::test]
async fn a_shared_key_does_not_outlive_what_it_stands_for() {
    let mut ward = Ward::new(TtlPolicy::new(HOUR)).await;
    for key in [
        "checkpoint_latest:t:__empty__",
        "checkpoint_keys_zset@3:a:b:child:1",
        "checkpoint_ns_set:a:b",
        "write_keys_zset:t:child:1:3",
    ] {
        ward.run(&["PERSIST", key]).await;
        ward.cures(FindingKind::SharedKeyOutlives, key).await;
        assert!(ward.server.time_left(key).await > 3_500_000);
    }
    // One thing without a TTL keeps what is shared.
    ward.run(&["PERSIST", "checkpoint:t:__empty__:1"]).await;
    ward.run(&["PERSIST", "checkpoint_keys_zset:t:__empty__"])
        .await;
    ward.run(&["PERSIST", "checkpoint_ns_set:t"]).await;
    let forever = Ward::options().with_expect_ttl(TtlChoice::Forever);
    let report = ward.saver.doctor(&forever).await.unwrap();
    assert!(report.is_healthy(), "{report}");
}

#[tokio::test]
async fn nothing_of_a_thread_that_may_be_pinned_gets_a_ttl() {
    let mut ward = Ward::without_ttl().await;
    let blobs = [(
        "checkpoint_blob:t:__empty__:c:1",
        "checkpoint_blob_keys_zset:t:__empty__",
    )];
    for (blob, registry) in blobs {
        let document = r#"{"thread_id":"t","checkpoint_ns":"__empty__","channel":"c","version":"1","type":"json","blob":"MQ=="}"#;
        ward.run(&["JSON.SET", blob, "$", document]).await;
        ward.run(&["ZADD", registry, "0", "c:1"]).await;
        ward.run(&["SADD", "checkpoint_ns_set:t", "\0blobs\0__empty__"])
            .await;
    }
    ward.saver.pin(&ThreadId::new("t").unwrap()).await.unwrap();
    ward.run(&["UNLINK", "checkpoint_ns_set:t"]).await;
    let expecting = Ward::options().with_expect_ttl(TtlChoice::For(HOUR));
    let report = ward.fix_all(&expecting).await;
    assert_eq!(
        of_key(&report, "checkpoint_ns_set:t"),
        [(FindingKind::PinUnknown, false)],
        "{report}"
    );
    for key in ward.server.keys().await {
        let left = ward.server.time_left(&key).await;
        assert_eq!(left > 0, key.contains(":a:b"), "{key}: {left}");
    }
    // Whoever knows says so, and the rest is put right.
    ward.saver.pin(&ThreadId::new("t").unwrap()).await.unwrap();
    let report = ward.fix_all(&expecting).await;
    assert!(report.is_healthy(), "{report}");
    assert_eq!(ward.server.time_left("checkpoint:t:__empty__:3").await, -1);
    assert_eq!(ward.lists("t", "child:1").await, ["3", "2", "1"]);
}

#[tokio::test]
async fn what_the_python_saver_wrote_gets_its_ttl() {
    let mut ward = Ward::without_ttl().await;
    for key in ward.server.keys().await {
        let ours = ["checkpoint_keys_zset", "checkpoint_ns_set"];
        if ours.iter().any(|family| key.starts_with(family)) {
            ward.run(&["UNLINK", &key]).await;
        }
    }
    let expecting = Ward::options().with_expect_ttl(TtlChoice::For(HOUR));
    let report = ward.fix_all(&expecting).await;
    assert!(report.is_healthy(), "{report}");
    for key in ward.server.keys().await {
        assert!(ward.server.time_left(&key).await > 0, "{key}");
    }
}

#[tokio::test]
async fn a_shallow_thread_keeps_its_namespaces_and_its_pin() {
    let mut server = Server::start().await;
    let shallow = RedisSaver::builder()
        .url(server.redis.url())
        .build_shallow()
        .await
        .unwrap();
    shallow.setup().await.unwrap();
    put(&shallow, &config("s", "child:1"), &checkpoint()).await;
    shallow.pin(&ThreadId::new("s").unwrap()).await.unwrap();
    let before: Vec<String> = redis::cmd("SMEMBERS")
        .arg("checkpoint_ns_set:s")
        .query_async(&mut server.client)
        .await
        .unwrap();
    let saver = server.saver().await;
    let report = saver.doctor(&Ward::options().with_fix(true)).await.unwrap();
    assert!(report.is_healthy(), "{report}");
    let after: Vec<String> = redis::cmd("SMEMBERS")
        .arg("checkpoint_ns_set:s")
        .query_async(&mut server.client)
        .await
        .unwrap();
    let sorted = |mut members: Vec<String>| {
        members.sort();
        members
    };
    assert!(before.len() > 1, "the namespace and the pin: {before:?}");
    assert_eq!(sorted(after), sorted(before));
}
