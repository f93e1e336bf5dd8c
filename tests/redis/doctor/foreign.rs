//! What is not certainly the saver's is named and left.

use langgraph_checkpoint_redis::redis::FindingKind;
use langgraph_checkpoint_redis::{CheckpointId, CheckpointSaver, ThreadId, TtlPolicy};

use super::{HOUR, Ward, config, of_key, put_write};

#[tokio::test]
async fn a_key_of_another_type_is_named_and_left() {
    let mut ward = Ward::without_ttl().await;
    for key in [
        "checkpoint:x:__empty__:1",
        "checkpoint_write:x:__empty__:1:task:0",
        "checkpoint_keys_zset:x:__empty__",
        "checkpoint_latest:x:__empty__",
        "checkpoint_ns_set:x",
        "write_keys_zset:x:__empty__:1",
    ] {
        ward.run(&["RPUSH", key, "mine"]).await;
        let report = ward
            .saver
            .doctor(&Ward::options().with_fix(true))
            .await
            .unwrap();
        let [finding] = report.findings() else {
            panic!("{key}: {report}")
        };
        assert_eq!((finding.kind, &*finding.key), (FindingKind::WrongType, key));
        ward.run(&["LPOP", key]).await;
    }
}

#[tokio::test]
async fn what_others_keep_under_our_prefixes_is_reported_and_neither_removed_nor_given_a_ttl() {
    let mut ward = Ward::new(TtlPolicy::new(HOUR)).await;
    let ids = r#""thread_id":"t","checkpoint_ns":"__empty__","checkpoint_id":"7""#;
    let audit = format!(r#"{{{ids},"who":"me"}}"#);
    let copy = ward.server.json("checkpoint:t:__empty__:3").await;
    let documents = [
        ("checkpoint:settings", r#"{"theme":"dark"}"#),
        ("checkpoint:app:user:1", r#"{"theme":"dark"}"#),
        (
            "checkpoint:app:user:2",
            r#"{"has_writes":true,"theme":"dark"}"#,
        ),
        ("checkpoint:app:user:3", "[1,2]"),
        ("checkpoint:flag", r#"{"has_writes":true}"#),
        ("checkpoint:audit:1", &audit),
        ("checkpoint:backup:t:3", &copy),
        ("checkpoint_write:settings", r#"{"theme":"dark"}"#),
        ("checkpoint_write:t:__empty__:3:audit", &audit),
        ("checkpoint_blob:settings", r#"{"theme":"dark"}"#),
    ];
    for (key, document) in documents {
        ward.run(&["JSON.SET", key, "$", document]).await;
    }
    ward.run(&["ZADD", "write_keys_zset:scores", "3", "alice"])
        .await;
    ward.run(&["ZADD", "write_keys_zset:game:eu:scores", "3", "alice"])
        .await;
    ward.run(&["ZADD", "write_keys_zset:t:__empty__:3", "3", "alice"])
        .await;
    ward.run(&["ZADD", "checkpoint_keys_zset:game:scores", "3", "alice"])
        .await;
    ward.run(&["SET", "checkpoint_latest:version", "1.2"]).await;
    ward.run(&["SET", "checkpoint_latest:app:version", "1.2"])
        .await;
    let others = [
        "write_keys_zset:scores",
        "write_keys_zset:game:eu:scores",
        "write_keys_zset:t:__empty__:3",
        "checkpoint_keys_zset:game:scores",
        "checkpoint_latest:version",
        "checkpoint_latest:app:version",
    ];
    let before = ward.server.keys().await;
    let report = ward.fix_all(&Ward::options()).await;
    assert_eq!(ward.server.keys().await, before);
    for key in documents.iter().map(|(key, _)| *key).chain(others) {
        let found = of_key(&report, key);
        assert!(!found.is_empty(), "{key} is reported: {report}");
        assert!(found.iter().all(|(_, fixed)| !fixed), "{key}: {report}");
        if key != "write_keys_zset:t:__empty__:3" {
            assert_eq!(ward.server.time_left(key).await, -1, "{key}");
        }
    }
    for (key, document) in documents {
        assert_eq!(ward.server.json(key).await, document, "{key}");
    }
    for key in &others[..4] {
        let score: f64 = redis::cmd("ZSCORE")
            .arg(key)
            .arg("alice")
            .query_async(&mut ward.server.client)
            .await
            .unwrap();
        assert!((score - 3.0).abs() < 0.1, "{key}");
    }
    assert_eq!(
        report.findings().len(),
        documents.len() + others.len(),
        "{report}"
    );
}

#[tokio::test]
async fn writes_of_another_thread_in_one_registry_stay_when_those_of_a_checkpoint_that_never_came_go()
 {
    let mut ward = Ward::without_ttl().await;
    let nine = CheckpointId::new("9").unwrap();
    for (thread, namespace) in [("q:b", "x"), ("q", "b:x")] {
        let config = config(thread, namespace).with_checkpoint(nine.clone());
        put_write(&ward.saver, &config, &format!("of-{namespace}")).await;
    }
    ward.saver.pin(&ThreadId::new("q").unwrap()).await.unwrap();
    ward.saver
        .doctor(&Ward::options().with_fix(true))
        .await
        .unwrap();
    let left = ward.server.keys().await;
    assert!(
        left.contains(&"checkpoint_write:q:b:x:9:of-b%3Ax:0".to_owned()),
        "{left:?}"
    );
    assert!(
        !left.contains(&"checkpoint_write:q:b:x:9:of-x:0".to_owned()),
        "{left:?}"
    );
}

#[tokio::test]
async fn a_key_of_another_type_does_not_end_the_doctor() {
    for key in [
        "checkpoint_latest:t:__empty__",
        "checkpoint_keys_zset:t:__empty__",
        "checkpoint_ns_set:t",
        "write_keys_zset:t:__empty__:2",
        "checkpoint:t:__empty__:2",
        "checkpoint_write:t:__empty__:2:task:0",
    ] {
        let mut ward = Ward::new(TtlPolicy::new(HOUR)).await;
        ward.run(&["UNLINK", key]).await;
        ward.run(&["HSET", key, "mine", "1"]).await;
        // Something else that is wrong, which is still put right.
        ward.run(&["UNLINK", "checkpoint_latest:a:b:__empty__"])
            .await;
        for fix in [false, true] {
            let options = Ward::fixing_if(fix);
            let report = ward.saver.doctor(&options).await.unwrap();
            assert_eq!(
                of_key(&report, key),
                [(FindingKind::WrongType, false)],
                "{report}"
            );
            let other = of_key(&report, "checkpoint_latest:a:b:__empty__");
            assert_eq!(
                other,
                [(FindingKind::PointerToNothing, fix)],
                "{key}: {report}"
            );
        }
        let kind: String = redis::cmd("TYPE")
            .arg(key)
            .query_async(&mut ward.server.client)
            .await
            .unwrap();
        assert_eq!(kind, "hash", "{key}");
    }
}

#[tokio::test]
async fn a_member_that_is_not_utf8_does_not_end_the_doctor() {
    for key in [
        "checkpoint_keys_zset:t:__empty__",
        "checkpoint_ns_set:t",
        "write_keys_zset:t:__empty__:2",
        "checkpoint_blob_keys_zset:t:__empty__",
    ] {
        let mut ward = Ward::without_ttl().await;
        let mut add = redis::cmd(if key.contains("ns_set") {
            "SADD"
        } else {
            "ZADD"
        });
        add.arg(key);
        if !key.contains("ns_set") {
            add.arg(0);
        }
        let _: redis::Value = add
            .arg(&b"\xff\xfe"[..])
            .query_async(&mut ward.server.client)
            .await
            .unwrap();
        ward.run(&["UNLINK", "checkpoint_latest:a:b:__empty__"])
            .await;
        let report = ward.saver.doctor(&Ward::options()).await.unwrap();
        let found = of_key(&report, key);
        assert!(
            found.contains(&(FindingKind::MemberForeign, false)),
            "{key}: {report}"
        );
        let other = of_key(&report, "checkpoint_latest:a:b:__empty__");
        assert_eq!(
            other,
            [(FindingKind::PointerToNothing, false)],
            "{key}: {report}"
        );
    }
}

#[tokio::test]
async fn a_document_that_lacks_an_id_is_named() {
    for (key, path) in [
        ("checkpoint:t:__empty__:2", "$.thread_id"),
        ("checkpoint:t:__empty__:2", "$.checkpoint_id"),
        ("checkpoint:t:__empty__:2", "$.checkpoint_ns"),
        ("checkpoint_write:t:__empty__:2:task:0", "$.thread_id"),
        ("checkpoint_write:t:__empty__:2:task:0", "$.idx"),
    ] {
        let mut ward = Ward::without_ttl().await;
        ward.run(&["JSON.DEL", key, path]).await;
        for options in [Ward::options().with_read_values(false), Ward::options()] {
            let report = ward.saver.doctor(&options).await.unwrap();
            let found = of_key(&report, key);
            assert_eq!(
                found,
                [(FindingKind::DocumentWithoutIds, false)],
                "{path}: {report}"
            );
        }
        let fixed = ward.fix_all(&Ward::options()).await;
        assert_eq!(
            of_key(&fixed, key),
            [(FindingKind::DocumentWithoutIds, false)]
        );
    }
}

#[tokio::test]
async fn what_calls_cannot_read_is_not_called_healthy() {
    let blob = "checkpoint_blob:t:__empty__:c:1";
    for (key, path, value) in [
        ("checkpoint:t:__empty__:2", "$.metadata", r#""{not json""#),
        ("checkpoint:t:__empty__:2", "$.metadata", "7"),
        ("checkpoint:t:__empty__:2", "$.checkpoint", "[]"),
        (
            "checkpoint:t:__empty__:2",
            "$.checkpoint.channel_values",
            "7",
        ),
        ("checkpoint:t:__empty__:2", "$.parent_checkpoint_id", "7"),
        (
            "checkpoint_write:t:__empty__:2:task:0",
            "$.blob",
            r#""%%%""#,
        ),
        ("checkpoint_write:t:__empty__:2:task:0", "$.type", "7"),
        (blob, "$.blob", r#""%%%""#),
    ] {
        let mut ward = Ward::without_ttl().await;
        if key == blob {
            let document = r#"{"thread_id":"t","checkpoint_ns":"__empty__","channel":"c","version":"1","type":"json","blob":"MQ=="}"#;
            ward.run(&["JSON.SET", blob, "$", document]).await;
            ward.run(&["ZADD", "checkpoint_blob_keys_zset:t:__empty__", "0", "c:1"])
                .await;
            ward.run(&["SADD", "checkpoint_ns_set:t", "\0blobs\0__empty__"])
                .await;
        }
        let report = ward.saver.doctor(&Ward::options()).await.unwrap();
        assert!(report.is_healthy(), "{report}");
        ward.run(&["JSON.SET", key, path, value]).await;
        let named = config("t", "").with_checkpoint(CheckpointId::new("2").unwrap());
        let read = ward.saver.get_tuple(&named).await;
        let expected = read.is_err() || key == blob;
        assert!(
            expected || path == "$.checkpoint.channel_values",
            "{path} {value}: {read:?}"
        );
        let before = ward.server.json(key).await;
        for fix in [false, true] {
            let options = Ward::fixing_if(fix);
            let report = ward.saver.doctor(&options).await.unwrap();
            let found = of_key(&report, key);
            assert_eq!(
                found == [(FindingKind::Unreadable, false)],
                expected,
                "{path}: {report}"
            );
        }
        assert_eq!(ward.server.json(key).await, before);
        let quick = ward
            .saver
            .doctor(&Ward::options().with_read_values(false))
            .await
            .unwrap();
        assert!(quick.to_string().contains("not read"), "{quick}");
    }
}
