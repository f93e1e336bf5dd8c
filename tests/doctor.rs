//! What is broken by hand is found, put right, and found no more; what is whole is left alone,
//! whatever others do meanwhile.
#![cfg(feature = "redis")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/server.rs"]
mod server;

use std::time::Duration;

use langgraph_checkpoint_redis::redis::{DoctorOptions, DoctorReport, FindingKind};
use langgraph_checkpoint_redis::{
    ChannelWrite, Checkpoint, CheckpointConfig, CheckpointId, CheckpointMetadata, CheckpointSaver,
    CheckpointSaverExt, DeleteOptions, ListOptions, PruneOptions, PutOptions, PutWritesOptions,
    RedisSaver, TaskId, ThreadId, TtlChoice, TtlPolicy, TypedValue,
};
use server::Server;

const HOUR: Duration = Duration::from_secs(3_600);

fn config(thread: &str, namespace: &str) -> CheckpointConfig {
    CheckpointConfig::new(thread)
        .unwrap()
        .with_namespace(namespace)
        .unwrap()
}

async fn put(saver: &RedisSaver, config: &CheckpointConfig, id: &str) -> CheckpointConfig {
    let id = CheckpointId::new(id).unwrap();
    let checkpoint = Checkpoint::builder()
        .id(id)
        .channel("n", 1, &1)
        .unwrap()
        .build()
        .unwrap();
    let metadata = CheckpointMetadata::new();
    saver
        .put(config, &checkpoint, &metadata, &PutOptions::default())
        .await
        .unwrap()
}

async fn put_write(saver: &RedisSaver, config: &CheckpointConfig, task: &str) {
    let writes = [ChannelWrite::new("n", TypedValue::json(&1).unwrap())];
    let task = TaskId::new(task).unwrap();
    let options = PutWritesOptions::default();
    saver
        .put_writes(config, &writes, &task, &options)
        .await
        .unwrap();
}

/// A server with the threads `t` and `a:b`: checkpoints 1, 2 and 3 in two namespaces each, with a
/// write each.
struct Ward {
    server: Server,
    saver: RedisSaver,
}

impl Ward {
    async fn new(ttl: TtlPolicy) -> Self {
        let server = Server::start().await;
        let saver = RedisSaver::builder()
            .url(server.redis.url())
            .ttl(ttl)
            .build()
            .await
            .unwrap();
        saver.setup().await.unwrap();
        for thread in ["t", "a:b"] {
            for namespace in ["", "child:1"] {
                for id in ["1", "2", "3"] {
                    let stored = put(&saver, &config(thread, namespace), id).await;
                    put_write(&saver, &stored, "task").await;
                }
            }
        }
        Self { server, saver }
    }

    async fn without_ttl() -> Self {
        Self::new(TtlPolicy::default()).await
    }

    async fn run(&mut self, command: &[&str]) {
        self.server.run(command).await;
    }

    fn options() -> DoctorOptions {
        DoctorOptions::default().with_orphan_age(Duration::ZERO)
    }

    fn fixing_if(fix: bool) -> DoctorOptions {
        let options = Self::options();
        if fix { options.fixing() } else { options }
    }

    /// The fault is found, nothing else is, and once put right it is found no more.
    async fn cures(&self, kind: FindingKind, key: &str) {
        self.cures_with(kind, key, &Self::options()).await;
    }

    async fn cures_with(&self, kind: FindingKind, key: &str, options: &DoctorOptions) {
        let report = self.saver.doctor(options).await.unwrap();
        let found: Vec<_> = report
            .findings()
            .iter()
            .map(|found| (found.kind, &*found.key))
            .collect();
        assert!(found.contains(&(kind, key)), "{kind:?} {key}: {report}");
        assert!(
            report.findings().iter().all(|finding| !finding.fixed),
            "{report}"
        );
        let fixed = self.saver.doctor(&options.clone().fixing()).await.unwrap();
        let cure = fixed
            .findings()
            .iter()
            .find(|found| (found.kind, &*found.key) == (kind, key));
        assert!(cure.is_some_and(|cure| cure.fixed), "{fixed}");
        let after = self.saver.doctor(options).await.unwrap();
        assert!(after.is_healthy(), "{after}");
    }

    async fn lists(&self, thread: &str, namespace: &str) -> Vec<String> {
        let config = config(thread, namespace);
        let listed = self
            .saver
            .list_all(Some(&config), ListOptions::default())
            .await
            .unwrap();
        listed
            .iter()
            .map(|tuple| tuple.checkpoint.id().to_string())
            .collect()
    }

    async fn newest(&self, thread: &str, namespace: &str) -> Option<String> {
        let found = self
            .saver
            .get_tuple(&config(thread, namespace))
            .await
            .unwrap();
        found.map(|tuple| tuple.checkpoint.id().to_string())
    }
}

#[tokio::test]
async fn what_is_whole_is_left_alone() {
    for ttl in [TtlPolicy::default(), TtlPolicy::of(HOUR)] {
        let ward = Ward::new(ttl).await;
        let report = ward.saver.doctor(&Ward::options()).await.unwrap();
        assert!(report.is_healthy(), "{report}");
        assert!(report.examined() > 40, "{report}");
        assert!(report.to_string().ends_with("nothing is wrong"), "{report}");
    }
}

#[tokio::test]
async fn a_checkpoint_or_write_without_a_ttl_gets_one_unless_it_is_pinned() {
    let mut ward = Ward::new(TtlPolicy::of(HOUR)).await;
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
    let mut ward = Ward::new(TtlPolicy::of(HOUR)).await;
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
    // One thing that is kept for ever keeps what is shared.
    ward.run(&["PERSIST", "checkpoint:t:__empty__:1"]).await;
    ward.run(&["PERSIST", "checkpoint_keys_zset:t:__empty__"])
        .await;
    ward.run(&["PERSIST", "checkpoint_ns_set:t"]).await;
    let forever = Ward::options().with_expect_ttl(TtlChoice::Forever);
    let report = ward.saver.doctor(&forever).await.unwrap();
    assert!(report.is_healthy(), "{report}");
}

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
    let report = ward.saver.doctor(&Ward::options().fixing()).await.unwrap();
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
async fn a_bare_flag_of_the_python_saver_goes() {
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
        let report = ward.saver.doctor(&Ward::options().fixing()).await.unwrap();
        let [finding] = report.findings() else {
            panic!("{key}: {report}")
        };
        assert_eq!((finding.kind, &*finding.key), (FindingKind::WrongType, key));
        ward.run(&["LPOP", key]).await;
    }
}

#[tokio::test]
async fn an_index_that_is_missing_is_made() {
    let mut ward = Ward::without_ttl().await;
    for index in ["checkpoint", "checkpoint_write"] {
        ward.run(&["FT.DROPINDEX", index]).await;
        ward.cures(FindingKind::IndexMissing, index).await;
    }
    assert_eq!(ward.lists("t", "").await, ["3", "2", "1"]);
}

#[tokio::test]
async fn an_index_of_another_schema_is_made_anew_if_asked() {
    let mut ward = Ward::without_ttl().await;
    for schema in [
        "$.thread_id AS thread_id TAG SEPARATOR ,",
        "$.thread_id AS thread_id NUMERIC",
        "$.other AS other TAG",
    ] {
        ward.run(&["FT.DROPINDEX", "checkpoint"]).await;
        let start = "FT.CREATE checkpoint ON JSON PREFIX 1 checkpoint: SCHEMA";
        let command: Vec<_> = start.split(' ').chain(schema.split(' ')).collect();
        ward.run(&command).await;
        let report = loop {
            let report = ward.saver.doctor(&Ward::options().fixing()).await.unwrap();
            if !report.counts().contains_key(&FindingKind::IndexBusy) {
                break report;
            }
        };
        let [finding] = report.findings() else {
            panic!("{report}")
        };
        assert_eq!(
            (finding.kind, finding.fixed),
            (FindingKind::IndexDiffers, false)
        );
        assert!(finding.detail.contains("`thread_id`"), "{finding}");
        let options = Ward::options().rebuilding_indexes();
        ward.cures_with(FindingKind::IndexDiffers, "checkpoint", &options)
            .await;
    }
    let all = ward
        .saver
        .list_all(None, ListOptions::default())
        .await
        .unwrap();
    assert_eq!(all.len(), 12);
}

#[tokio::test]
async fn only_threads_of_the_prefix_are_looked_at() {
    let mut ward = Ward::without_ttl().await;
    ward.run(&["UNLINK", "checkpoint:a:b:__empty__:2"]).await;
    let report = ward
        .saver
        .doctor(&Ward::options().with_prefix("t"))
        .await
        .unwrap();
    assert!(report.is_healthy(), "{report}");
    let report = ward
        .saver
        .doctor(&Ward::options().with_prefix("a:"))
        .await
        .unwrap();
    assert!(
        report.counts().contains_key(&FindingKind::CheckpointGone),
        "{report}"
    );
}

#[tokio::test]
async fn under_other_prefixes_and_hash_tags_all_is_found_as_well() {
    let mut server = Server::start().await;
    let saver = RedisSaver::builder()
        .url(server.redis.url())
        .prefix("app[1]")
        .hash_tag_threads(true)
        .build()
        .await
        .unwrap();
    saver.setup().await.unwrap();
    let stored = put(&saver, &config("a:b", "x:y"), "1").await;
    put_write(&saver, &stored, "task").await;
    let report = saver.doctor(&Ward::options()).await.unwrap();
    assert!(report.is_healthy() && report.examined() > 5, "{report}");
    server
        .run(&["UNLINK", "app[1]:checkpoint:{a:b}:x:y:1"])
        .await;
    let report = saver
        .doctor(&Ward::options().with_prefix("a:").fixing())
        .await
        .unwrap();
    assert!(
        report.counts().contains_key(&FindingKind::CheckpointGone),
        "{report}"
    );
    assert!(
        report.counts().contains_key(&FindingKind::PointerToNothing),
        "{report}"
    );
    assert!(
        report
            .counts()
            .contains_key(&FindingKind::WritesWithoutCheckpoint),
        "{report}"
    );
    assert_eq!(server.keys().await, Vec::<String>::new());
}

#[tokio::test]
async fn nothing_is_found_or_lost_while_others_write() {
    let ward = Ward::new(TtlPolicy::of(HOUR)).await;
    let mut writers = Vec::new();
    for worker in 0..4 {
        let saver = ward.saver.clone();
        writers.push(tokio::spawn(async move {
            for round in 0..12 {
                let thread = ThreadId::new(format!("w:{worker}")).unwrap();
                let config = CheckpointConfig::of_thread(thread.clone());
                for id in 10..20 {
                    let checkpoint = CheckpointId::new(id.to_string()).unwrap();
                    // Writes come before their checkpoint and after it.
                    put_write(&saver, &config.clone().with_checkpoint(checkpoint), "one").await;
                    let stored = put(&saver, &config, &id.to_string()).await;
                    put_write(&saver, &stored, "two").await;
                }
                let found = saver
                    .list_all(Some(&config), ListOptions::default())
                    .await
                    .unwrap();
                assert_eq!(found.len(), 10, "round {round}");
                assert!(found.iter().all(|tuple| tuple.pending_writes.len() == 2));
                let both = [thread.clone()];
                saver.prune(&both, &PruneOptions::default()).await.unwrap();
                let copy = ThreadId::new(format!("copy:{worker}")).unwrap();
                let options = langgraph_checkpoint_redis::CopyOptions::default();
                saver.copy_thread(&thread, &copy, &options).await.unwrap();
                saver
                    .delete_thread(&copy, &DeleteOptions::default())
                    .await
                    .unwrap();
                saver
                    .delete_thread(&thread, &DeleteOptions::default())
                    .await
                    .unwrap();
            }
        }));
    }
    let mut rounds = 0;
    while writers.iter().any(|writer| !writer.is_finished()) {
        let report = ward.saver.doctor(&Ward::options().fixing()).await.unwrap();
        assert!(report.is_healthy(), "{report}");
        rounds += 1;
    }
    assert!(rounds > 1);
    for writer in writers {
        writer.await.unwrap();
    }
}

/// What is reported of a key, fixed or not.
fn of_key(report: &DoctorReport, key: &str) -> Vec<(FindingKind, bool)> {
    let found = report.findings().iter().filter(|found| found.key == key);
    found.map(|found| (found.kind, found.fixed)).collect()
}

impl Ward {
    /// Runs the doctor with and without mending until that changes nothing more.
    async fn fix_all(&self, options: &DoctorOptions) -> DoctorReport {
        for _ in 0..3 {
            self.saver.doctor(&options.clone().fixing()).await.unwrap();
        }
        self.saver.doctor(options).await.unwrap()
    }
}

#[tokio::test]
async fn what_others_keep_under_our_prefixes_is_told_and_neither_removed_nor_given_a_ttl() {
    let mut ward = Ward::new(TtlPolicy::of(HOUR)).await;
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
        assert!(!found.is_empty(), "{key} is told: {report}");
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
async fn writes_of_another_thread_in_one_registry_stay_when_those_of_a_checkpoint_that_never_came_go()
 {
    let mut ward = Ward::without_ttl().await;
    let nine = CheckpointId::new("9").unwrap();
    for (thread, namespace) in [("q:b", "x"), ("q", "b:x")] {
        let config = config(thread, namespace).with_checkpoint(nine.clone());
        put_write(&ward.saver, &config, &format!("of-{namespace}")).await;
    }
    ward.saver.pin(&ThreadId::new("q").unwrap()).await.unwrap();
    ward.saver.doctor(&Ward::options().fixing()).await.unwrap();
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
async fn a_shallow_thread_keeps_its_namespaces_and_its_pin() {
    let mut server = Server::start().await;
    let shallow = RedisSaver::builder()
        .url(server.redis.url())
        .build_shallow()
        .await
        .unwrap();
    shallow.setup().await.unwrap();
    let checkpoint = Checkpoint::builder()
        .channel("n", 1, &1)
        .unwrap()
        .build()
        .unwrap();
    let metadata = CheckpointMetadata::new();
    let config = config("s", "child:1");
    shallow
        .put(&config, &checkpoint, &metadata, &PutOptions::default())
        .await
        .unwrap();
    shallow.pin(&ThreadId::new("s").unwrap()).await.unwrap();
    let before: Vec<String> = redis::cmd("SMEMBERS")
        .arg("checkpoint_ns_set:s")
        .query_async(&mut server.client)
        .await
        .unwrap();
    let saver = server.saver().await;
    let report = saver.doctor(&Ward::options().fixing()).await.unwrap();
    assert!(report.is_healthy(), "{report}");
    let after: Vec<String> = redis::cmd("SMEMBERS")
        .arg("checkpoint_ns_set:s")
        .query_async(&mut server.client)
        .await
        .unwrap();
    assert_eq!(after.len(), before.len());
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
        let mut ward = Ward::new(TtlPolicy::of(HOUR)).await;
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
        for options in [Ward::options().without_reading_values(), Ward::options()] {
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
            .doctor(&Ward::options().without_reading_values())
            .await
            .unwrap();
        assert!(quick.to_string().contains("not read"), "{quick}");
    }
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

#[tokio::test]
async fn an_index_that_forgot_what_is_stored_is_found_and_made_again() {
    for family in ["checkpoint", "checkpoint_write"] {
        let mut ward = Ward::without_ttl().await;
        // It is said to be there, and does not know what was stored before it.
        ward.run(&["FT.DROPINDEX", family]).await;
        let schema =
            "SKIPINITIALSCAN SCHEMA $.thread_id AS thread_id TAG SEPARATOR \u{1} CASESENSITIVE";
        let mut create = redis::cmd("FT.CREATE");
        create.arg(&[family, "ON", "JSON", "PREFIX", "1", &format!("{family}:")]);
        let _: redis::Value = create
            .arg(schema.split(' ').collect::<Vec<_>>())
            .query_async(&mut ward.server.client)
            .await
            .unwrap();
        let report = ward.saver.doctor(&Ward::options()).await.unwrap();
        let found = of_key(&report, family);
        assert!(
            found.contains(&(FindingKind::IndexIncomplete, false)),
            "{report}"
        );
        assert!(
            report.to_string().contains("it lacks 12 of 12 documents"),
            "{report}"
        );
        let fixed = ward.saver.doctor(&Ward::options().fixing()).await.unwrap();
        let found = of_key(&fixed, family);
        assert!(
            found.contains(&(FindingKind::IndexIncomplete, true)),
            "{fixed}"
        );
        let after = ward.saver.doctor(&Ward::options()).await.unwrap();
        assert!(after.is_healthy(), "{after}");
    }
    // As after a search on another database.
    let ward = Ward::without_ttl().await;
    let url = format!("{}/9", ward.server.redis.url());
    let mut elsewhere = redis::Client::open(url)
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .unwrap();
    let _: redis::Value = redis::cmd("FT.SEARCH")
        .arg(&["checkpoint", "*"])
        .query_async(&mut elsewhere)
        .await
        .unwrap();
    ward.cures(FindingKind::IndexIncomplete, "checkpoint").await;
    let all = ward.saver.list_all(None, ListOptions::default()).await;
    assert_eq!(all.unwrap().len(), 12);
}
