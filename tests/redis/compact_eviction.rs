//! The compact layout where something else than time has removed a key of a thread, or a part: a
//! `maxmemory-policy` that evicts, or somebody by hand. What is read is complete, absent, or an
//! error that names the key.

use std::collections::BTreeMap;

use langgraph_checkpoint_redis::redis::{DoctorOptions, FindingKind, Layout};
use langgraph_checkpoint_redis::{
    ChannelWrite, Checkpoint, CheckpointConfig, CheckpointId, CheckpointMetadata, CheckpointSaver,
    CheckpointSaverExt, CheckpointTuple, CopyOptions, DeltaChannelHistory, Error, ListOptions,
    MetadataFilter, PruneOptions, PruneStrategy, PutOptions, RedisSaver, Result, TypedValue,
};

use crate::support::server::Server;
use crate::support::stored::{
    checkpoint_with_id, delete, put, put_writes, thread, thread_id, writes,
};

/// A saver that knows nothing of what is stored.
async fn fresh(server: &Server) -> RedisSaver {
    let builder = RedisSaver::builder().url(server.redis.url());
    let saver = builder.layout(Layout::Compact).build().await.unwrap();
    saver.setup().await.unwrap();
    saver
}

/// The keys of a thread.
fn keys(thread: &str) -> [String; 3] {
    ["heads", "parts", "writes"].map(|family| format!("checkpoint_{family}:{{{thread}}}"))
}

/// Long values share parts; short ones stand in the heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Values {
    Short,
    Long,
}

fn value(values: Values, number: usize) -> Vec<String> {
    let count = if values == Values::Long {
        40 + number
    } else {
        1
    };
    let texts = (0..count).map(|n| format!("{n} of a thread: {}", "text ".repeat(20 + n)));
    texts.collect()
}

/// Stores checkpoints with writes: what is stored, oldest first.
async fn store(saver: &RedisSaver, id: &str, values: Values) -> Vec<CheckpointTuple> {
    let mut config = thread(id);
    for number in 0..3 {
        let checkpoint = Checkpoint::builder()
            .id(CheckpointId::new(format!("{number}")).unwrap())
            .channel("a", 1, &value(values, number))
            .unwrap();
        config = put(saver, &config, &checkpoint.build().unwrap()).await;
        for task in ["one", "two"] {
            let text = value(values, number).concat();
            let write = ChannelWrite::new("d", TypedValue::json(&text).unwrap());
            put_writes(saver, &config, &[write], task).await;
        }
    }
    let config = thread(id);
    let all = saver.list_all(Some(&config), ListOptions::default());
    let mut all = all.await.unwrap();
    all.reverse();
    assert!(all.len() == 3 && all.iter().all(|one| one.pending_writes.len() == 2));
    all
}

/// What a thread answers, by the names of calls.
struct Answers {
    tuples: Vec<(&'static str, Result<Vec<CheckpointTuple>>)>,
    history: Result<BTreeMap<String, DeltaChannelHistory>>,
}

async fn answers(saver: &RedisSaver, id: &str) -> Answers {
    let config = thread(id);
    let mut tuples = Vec::new();
    let newest = saver.get_tuple(&config).await;
    tuples.push(("get_tuple", newest.map(Vec::from_iter)));
    for number in ["0", "1", "2"] {
        let named = config
            .clone()
            .with_checkpoint(CheckpointId::new(number).unwrap());
        let found = saver.get_tuple(&named).await;
        tuples.push(("get_tuple by id", found.map(Vec::from_iter)));
    }
    let listed = saver.list_all(Some(&config), ListOptions::default());
    tuples.push(("list", listed.await));
    let copy = thread_id(&format!("copy of {id}"));
    let options = CopyOptions::default();
    let copied = saver.copy_thread(&config.thread_id, &copy, &options);
    let copied = match copied.await {
        Ok(()) => {
            let of_copy = CheckpointConfig::of_thread(copy.clone());
            saver.list_all(Some(&of_copy), ListOptions::default()).await
        }
        Err(error) => Err(error),
    };
    tuples.push(("copy_thread", copied));
    delete(saver, &copy).await;
    let channels = ["d".to_owned(), "a".to_owned()];
    Answers {
        tuples,
        history: saver.delta_channel_history(&config, &channels).await,
    }
}

#[track_caller]
fn assert_says_so(error: &Error, id: &str, what: &str) {
    assert!(
        matches!(error, Error::Corrupt { key, .. } if keys(id).contains(key)),
        "{what}: {error:?}"
    );
}

/// Complete, absent, or an error that names a key of the thread.
#[track_caller]
fn assert_nothing_short(
    found: Answers,
    complete: &Answers,
    all: &[CheckpointTuple],
    id: &str,
    what: &str,
) {
    for (call, tuples) in found.tuples {
        match tuples {
            Ok(tuples) => {
                for tuple in tuples {
                    let number = tuple.checkpoint.id();
                    let stored = all
                        .iter()
                        .find(|one| one.checkpoint.id() == number)
                        .unwrap();
                    assert_eq!(tuple.checkpoint, stored.checkpoint, "{what}: {call}");
                    assert_eq!(
                        tuple.pending_writes, stored.pending_writes,
                        "{what}: {call}"
                    );
                }
            }
            Err(error) => assert_says_so(&error, id, &format!("{what}: {call}")),
        }
    }
    match found.history {
        Ok(history) => {
            let is_absent = history
                .values()
                .all(|one| one.writes.is_empty() && one.seed.is_none());
            let complete = complete.history.as_ref().unwrap();
            assert!(is_absent || history == *complete, "{what}: {history:?}");
        }
        Err(error) => assert_says_so(&error, id, &format!("{what}: history")),
    }
}

#[tokio::test]
async fn what_is_read_of_a_thread_without_some_of_its_keys_is_never_short() {
    let mut server = Server::start().await;
    let warm = fresh(&server).await;
    for values in [Values::Short, Values::Long] {
        for gone in 1..8_usize {
            let id = format!("{values:?} {gone}");
            let all = store(&warm, &id, values).await;
            let complete = answers(&warm, &id).await;
            let mut evicted = Vec::new();
            for (bit, key) in keys(&id).into_iter().enumerate() {
                if gone & 1 << bit != 0 {
                    server.run(&["DEL", &key]).await;
                    evicted.push(key);
                }
            }
            let what = format!("{id}, without {evicted:?}");
            for saver in [&warm, &fresh(&server).await] {
                let found = answers(saver, &id).await;
                assert_nothing_short(found, &complete, &all, &id, &what);
                let touched = saver.touch(&thread_id(&id)).await;
                touched.unwrap();
                let keep = PruneOptions::new(PruneStrategy::KeepLast(9));
                if let Err(error) = saver.prune(&[thread_id(&id)], &keep).await {
                    assert_says_so(&error, &id, &format!("{what}: prune"));
                }
            }
            // Others are as they were.
            store(&warm, "another", Values::Long).await;
            let newest = fresh(&server).await.get_tuple(&thread("another")).await;
            assert!(newest.unwrap().is_some());
            let doctor = fresh(&server).await;
            let fix = DoctorOptions::default().with_fix(true);
            let report = doctor.doctor(&fix).await.unwrap();
            // What is wrong is named, unless nothing that is left needs it.
            let heads_are_there = gone & 1 == 0;
            let needs = gone & 4 != 0 || (gone & 2 != 0 && values == Values::Long);
            assert!(
                !(heads_are_there && needs)
                    || report.counts().keys().any(|kind| {
                        matches!(
                            kind,
                            FindingKind::PartsGone
                                | FindingKind::WritesGone
                                | FindingKind::Unreadable
                        )
                    }),
                "{what}: {report}"
            );
            // Afterwards a graph goes on.
            let checkpoint = Checkpoint::builder()
                .id(CheckpointId::new("9").unwrap())
                .channel("a", 1, &value(values, 3))
                .unwrap();
            let checkpoint = checkpoint.build().unwrap();
            for saver in [&warm, &doctor] {
                let stored = put(saver, &thread(&id), &checkpoint).await;
                put_writes(saver, &stored, &writes(&["a"]), "one").await;
                let read = fresh(&server).await.get_tuple(&thread(&id)).await;
                let read = read.unwrap().unwrap();
                assert_eq!(read.checkpoint, checkpoint, "{what}");
                assert_eq!(read.pending_writes.len(), 1, "{what}");
            }
            delete(&doctor, &thread_id(&id)).await;
            delete(&doctor, &thread_id("another")).await;
            assert_eq!(server.keys().await, ["checkpoint_layout"], "{what}");
        }
    }
}

/// What a put makes again does not hide that more is gone.
#[tokio::test]
async fn a_put_between_two_evictions_does_not_make_a_checkpoint_lack_its_writes() {
    let mut server = Server::start().await;
    let saver = fresh(&server).await;
    for (id, first, second) in [
        ("parts, then writes", &["parts"][..], &["writes"][..]),
        ("both at once", &["parts", "writes"], &[]),
    ] {
        let all = store(&saver, id, Values::Short).await;
        let complete = answers(&saver, id).await;
        let key = |family: &&str| format!("checkpoint_{family}:{{{id}}}");
        for family in first {
            server.run(&["DEL", &key(family)]).await;
        }
        // As after a lost reply: a graph that runs does not read first.
        let parent = all[2].parent_config.clone().unwrap();
        let (metadata, options) = (CheckpointMetadata::new(), PutOptions::default());
        let again = saver.put(&parent, &all[2].checkpoint, &metadata, &options);
        again.await.unwrap();
        for family in second {
            server.run(&["DEL", &key(family)]).await;
        }
        for saver in [&saver, &fresh(&server).await] {
            let found = answers(saver, id).await;
            assert_nothing_short(found, &complete, &all, id, id);
        }
        delete(&saver, &thread_id(id)).await;
    }
}

#[tokio::test]
async fn a_filter_says_that_a_part_of_the_metadata_is_gone() {
    let mut server = Server::start().await;
    let saver = fresh(&server).await;
    let long: Vec<_> = (0..400).map(|n| format!("word {n}")).collect();
    let metadata = CheckpointMetadata::new()
        .with("source", "loop")
        .unwrap()
        .with("long", &long)
        .unwrap();
    let checkpoint = checkpoint_with_id("1");
    let options = PutOptions::default();
    let config = thread("t");
    saver
        .put(&config, &checkpoint, &metadata, &options)
        .await
        .unwrap();
    let [_, parts, _] = keys("t");
    let digests: Vec<Vec<u8>> = redis::cmd("HKEYS")
        .arg(&parts)
        .query_async(&mut server.client)
        .await
        .unwrap();
    let filter = MetadataFilter::new().with("source", "loop").unwrap();
    let list = async |saver: RedisSaver| {
        let options = ListOptions::default().with_filter(filter.clone());
        saver.list_all(Some(&config), options).await
    };
    assert_eq!(list(fresh(&server).await).await.unwrap().len(), 1);
    let digest = digests.into_iter().find(|field| field.len() == 16);
    let _: u64 = redis::cmd("HDEL")
        .arg(&parts)
        .arg(digest.expect("the metadata has parts"))
        .query_async(&mut server.client)
        .await
        .unwrap();
    let found = list(fresh(&server).await).await;
    assert!(
        matches!(&found, Err(Error::Corrupt { key, .. }) if *key == parts),
        "{found:?}"
    );
}

/// The doctor leaves nothing of a thread that has nothing any more.
#[tokio::test]
async fn what_is_left_of_a_thread_without_checkpoints_goes() {
    let mut server = Server::start().await;
    let saver = fresh(&server).await;
    for values in [Values::Short, Values::Long] {
        put(&saver, &thread("t"), &{
            let checkpoint = Checkpoint::builder().channel("a", 1, &value(values, 0));
            checkpoint.unwrap().build().unwrap()
        })
        .await;
        let [heads, parts, _] = keys("t");
        server.run(&["DEL", &heads]).await;
        let report = saver.doctor(&DoctorOptions::default()).await.unwrap();
        assert_eq!(report.findings().len(), 1, "{values:?}: {report}");
        assert_eq!(report.findings()[0].key, parts);
        let fix = DoctorOptions::default().with_fix(true);
        let report = saver.doctor(&fix).await.unwrap();
        assert!(report.findings()[0].fixed, "{report}");
        assert_eq!(server.keys().await, ["checkpoint_layout"], "{values:?}");
        assert!(saver.doctor(&fix).await.unwrap().is_healthy());
    }
}

#[tokio::test]
async fn a_key_of_another_type_is_named_and_goes_with_its_thread() {
    let mut server = Server::start().await;
    let saver = fresh(&server).await;
    for key in keys("t") {
        store(&saver, "t", Values::Long).await;
        server.run(&["DEL", &key]).await;
        server.run(&["SET", &key, "text"]).await;
        let reader = fresh(&server).await;
        let config = thread("t");
        let listed = reader.list_all(Some(&config), ListOptions::default());
        for refused in [
            reader.get_tuple(&config).await.map(drop),
            listed.await.map(drop),
        ] {
            assert!(
                matches!(&refused, Err(Error::WrongType { key: named }) if *named == key),
                "{refused:?}"
            );
        }
        delete(&saver, &thread_id("t")).await;
        assert_eq!(server.keys().await, ["checkpoint_layout"], "{key}");
    }
}
