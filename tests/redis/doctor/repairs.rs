//! Keys that disagree with each other agree again.

use langgraph_checkpoint_redis::redis::{DoctorOptions, FindingKind};
use langgraph_checkpoint_redis::{CheckpointId, CheckpointSaver};

use super::{Ward, config, of_key, put_write};

#[tokio::test]
async fn writes_whose_checkpoint_never_came_go_once_they_are_old() {
    let mut ward = Ward::without_ttl().await;
    let id = CheckpointId::new("9").unwrap();
    put_write(&ward.saver, &config("t", "").with_checkpoint(id), "task").await;
    let report = ward.saver.doctor(&DoctorOptions::default()).await.unwrap();
    assert!(report.is_healthy(), "they are young: {report}");
    ward.cures(
        FindingKind::WritesWithoutCheckpoint,
        "write_keys_zset:t:__empty__:9",
    )
    .await;
    let left = ward.server.keys().await;
    assert!(!left.iter().any(|key| key.contains(":9")), "{left:?}");
}

#[tokio::test]
async fn a_write_that_no_registry_names_is_read_again() {
    let mut ward = Ward::without_ttl().await;
    let write = "checkpoint_write:t:child:1:2:task:0";
    ward.run(&["UNLINK", "write_keys_zset:t:child:1:2"]).await;
    ward.run(&[
        "JSON.SET",
        "checkpoint:t:child:1:2",
        "$.has_writes",
        "false",
    ])
    .await;
    ward.cures(FindingKind::WriteNotRegistered, write).await;
    let named = config("t", "child:1").with_checkpoint(CheckpointId::new("2").unwrap());
    let found = ward.saver.get_tuple(&named).await.unwrap().unwrap();
    assert_eq!(found.pending_writes.len(), 1);
}

#[tokio::test]
async fn a_registry_forgets_writes_that_are_gone() {
    let mut ward = Ward::without_ttl().await;
    ward.run(&["UNLINK", "checkpoint_write:a:b:__empty__:2:task:0"])
        .await;
    ward.cures(FindingKind::WritesGone, "write_keys_zset:a:b:__empty__:2")
        .await;
    let named = config("a:b", "").with_checkpoint(CheckpointId::new("2").unwrap());
    let found = ward.saver.get_tuple(&named).await.unwrap().unwrap();
    assert_eq!(found.pending_writes, []);
}

#[tokio::test]
async fn a_mark_of_writes_that_are_gone_and_a_pin_of_nothing_go() {
    let mut ward = Ward::without_ttl().await;
    ward.run(&["SADD", "checkpoint_ns_set:t", "\0writes\0child:1\x009"])
        .await;
    ward.cures(FindingKind::NamespaceWrong, "checkpoint_ns_set:t")
        .await;
    ward.run(&["SADD", "checkpoint_ns_set:t", "nothing"]).await;
    ward.cures(FindingKind::NamespaceWrong, "checkpoint_ns_set:t")
        .await;
    ward.run(&["SADD", "checkpoint_ns_set:gone", "\0pinned"])
        .await;
    ward.cures(FindingKind::NamespaceWrong, "checkpoint_ns_set:gone")
        .await;
    assert!(
        !ward
            .server
            .keys()
            .await
            .contains(&"checkpoint_ns_set:gone".to_owned())
    );
}

#[tokio::test]
async fn a_namespace_that_is_not_listed_is_listed_again() {
    let mut ward = Ward::without_ttl().await;
    ward.run(&["UNLINK", "checkpoint_ns_set:a:b"]).await;
    ward.cures(FindingKind::NamespaceWrong, "checkpoint_ns_set:a:b")
        .await;
    assert_eq!(ward.lists("a:b", "child:1").await, ["3", "2", "1"]);
}

#[tokio::test]
async fn a_pointer_names_the_newest_again() {
    let mut ward = Ward::without_ttl().await;
    let pointer = "checkpoint_latest:a:b:__empty__";
    ward.run(&["SET", pointer, "checkpoint:a:b:__empty__:1"])
        .await;
    ward.cures(FindingKind::PointerNotNewest, pointer).await;
    ward.run(&["SET", pointer, "elsewhere"]).await;
    ward.cures(FindingKind::PointerToNothing, pointer).await;
    ward.run(&["UNLINK", pointer]).await;
    ward.cures(FindingKind::PointerToNothing, pointer).await;
    assert_eq!(ward.newest("a:b", "").await.as_deref(), Some("3"));
    ward.run(&["SET", "checkpoint_latest:gone:x:y", "checkpoint:gone:x:y:1"])
        .await;
    ward.cures(FindingKind::PointerToNothing, "checkpoint_latest:gone:x:y")
        .await;
    assert!(
        !ward
            .server
            .keys()
            .await
            .contains(&"checkpoint_latest:gone:x:y".to_owned())
    );
}

#[tokio::test]
async fn a_document_that_is_not_where_its_ids_say_is_named_and_left() {
    let mut ward = Ward::without_ttl().await;
    let (home, elsewhere) = ("checkpoint:t:__empty__:3", "checkpoint:t:elsewhere");
    ward.run(&["COPY", home, elsewhere]).await;
    let report = ward
        .saver
        .doctor(&Ward::options().with_fix(true))
        .await
        .unwrap();
    let [finding] = report.findings() else {
        panic!("{report}")
    };
    assert_eq!(
        (finding.kind, &*finding.key, finding.fixed),
        (FindingKind::DocumentMisplaced, elsewhere, false)
    );
    assert!(finding.detail.contains(home), "{finding}");
    assert_eq!(
        ward.server.json(elsewhere).await,
        ward.server.json(home).await
    );
}

#[tokio::test]
async fn a_bare_flag_of_the_python_saver_is_removed() {
    let mut ward = Ward::without_ttl().await;
    let key = "checkpoint:t:__empty__:9";
    ward.run(&["JSON.SET", key, "$", r#"{"has_writes":true}"#])
        .await;
    ward.cures(FindingKind::DocumentWithoutIds, key).await;
}

#[tokio::test]
async fn a_wrong_flag_is_set_right() {
    let mut ward = Ward::without_ttl().await;
    let key = "checkpoint:t:__empty__:2";
    ward.run(&["JSON.SET", key, "$.has_writes", "false"]).await;
    ward.cures(FindingKind::WritesFlagWrong, key).await;
    assert!(ward.server.json(key).await.contains(r#""has_writes":true"#));
}

#[tokio::test]
async fn a_registry_and_its_documents_agree_again() {
    let mut ward = Ward::without_ttl().await;
    ward.run(&["ZADD", "checkpoint_keys_zset:t:__empty__", "0", "9"])
        .await;
    ward.cures(
        FindingKind::CheckpointGone,
        "checkpoint_keys_zset:t:__empty__",
    )
    .await;
    ward.run(&["ZREM", "checkpoint_keys_zset@3:a:b:child:1", "2"])
        .await;
    ward.cures(
        FindingKind::CheckpointNotRegistered,
        "checkpoint:a:b:child:1:2",
    )
    .await;
    ward.run(&["UNLINK", "checkpoint_keys_zset@3:a:b:child:1"])
        .await;
    ward.cures(
        FindingKind::CheckpointNotRegistered,
        "checkpoint:a:b:child:1:1",
    )
    .await;
    assert_eq!(ward.lists("a:b", "child:1").await, ["3", "2", "1"]);
}

#[tokio::test]
async fn a_pointer_set_back_is_found_also_without_its_registry() {
    for loses in ["", "checkpoint_keys_zset:t:__empty__"] {
        let mut ward = Ward::without_ttl().await;
        let pointer = "checkpoint_latest:t:__empty__";
        ward.run(&["SET", pointer, "checkpoint:t:__empty__:2"])
            .await;
        if !loses.is_empty() {
            ward.run(&["UNLINK", loses]).await;
        }
        let report = ward.saver.doctor(&Ward::options()).await.unwrap();
        assert!(!report.is_healthy(), "{report}");
        let report = ward.fix_all(&Ward::options()).await;
        assert!(report.is_healthy(), "{report}");
        assert_eq!(ward.newest("t", "").await.as_deref(), Some("3"));
    }
}

#[tokio::test]
async fn a_registry_of_writes_that_is_lost_is_made_again() {
    let mut ward = Ward::without_ttl().await;
    let named = config("t", "child:1").with_checkpoint(CheckpointId::new("2").unwrap());
    put_write(&ward.saver, &named, "other").await;
    ward.run(&["UNLINK", "write_keys_zset:t:child:1:2"]).await;
    for task in ["task", "other"] {
        let write = format!("checkpoint_write:t:child:1:2:{task}:0");
        let report = ward.saver.doctor(&Ward::options()).await.unwrap();
        assert_eq!(
            of_key(&report, &write),
            [(FindingKind::WriteNotRegistered, false)]
        );
    }
    let report = ward.fix_all(&Ward::options()).await;
    assert!(report.is_healthy(), "{report}");
    let found = ward.saver.get_tuple(&named).await.unwrap().unwrap();
    assert_eq!(found.pending_writes.len(), 2);
}
