//! Threads by the time of their last write: found without a walk, put right where the sets that
//! say so are wrong, and never more than an order.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use langgraph_checkpoint_redis::redis::{DoctorOptions, FindingKind, Layout};
use langgraph_checkpoint_redis::{
    ChannelWrite, Checkpoint, CheckpointConfig, CheckpointId, CheckpointMetadata, CheckpointSaver,
    DeleteOptions, PutOptions, PutWritesOptions, RedisSaver, TaskId, TtlPolicy, TypedValue,
};

use crate::support::server::Server;

const LAYOUTS: [Layout; 2] = [Layout::Json, Layout::Compact];

async fn saver(server: &Server, layout: Layout, ttl: TtlPolicy) -> RedisSaver {
    let builder = RedisSaver::builder().url(server.redis.url()).ttl(ttl);
    let saver = builder.layout(layout).build().await.unwrap();
    saver.setup().await.unwrap();
    saver
}

async fn put(saver: &RedisSaver, thread: &str) {
    let config = CheckpointConfig::new(thread).unwrap();
    let checkpoint = Checkpoint::builder().build().unwrap();
    let (metadata, options) = (CheckpointMetadata::new(), PutOptions::default());
    let put = saver.put(&config, &checkpoint, &metadata, &options);
    put.await.unwrap();
}

async fn listed(saver: &RedisSaver) -> Vec<String> {
    let threads = saver.threads("").map_ok(|one| one.thread_id.to_string());
    threads.try_collect().await.unwrap()
}

/// Puts threads, which are then listed, in whatever order.
async fn assert_all_are_listed(saver: &RedisSaver, layout: Layout) {
    for thread in ["a", "b", "c"] {
        put(saver, thread).await;
    }
    let mut threads = listed(saver).await;
    threads.sort();
    assert_eq!(threads, ["a", "b", "c"], "{layout}");
}

fn sets() -> Vec<String> {
    let sets = 0..16;
    sets.map(|set| format!("checkpoint_recent:{{{set}}}"))
        .collect()
}

async fn members(server: &mut Server, set: &str) -> Vec<String> {
    let mut range = redis::cmd("ZRANGE");
    let range = range.arg(set).arg(&[0, -1]);
    range.query_async(&mut server.client).await.unwrap()
}

/// The threads that the sets name, in order.
async fn named(server: &mut Server) -> Vec<String> {
    let mut named = Vec::new();
    for set in sets() {
        named.extend(members(server, &set).await);
    }
    named.sort();
    named
}

/// Waits until the sets name as many threads, or for the time that they may take.
async fn named_when_stored(server: &mut Server, threads: usize) -> Vec<String> {
    for _ in 0..100 {
        if named(server).await.len() == threads {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    named(server).await
}

#[tokio::test]
async fn the_newest_of_many_threads_are_found_without_a_walk_over_the_keys() {
    for layout in LAYOUTS {
        let mut server = Server::start().await;
        let saver = saver(&server, layout, TtlPolicy::default()).await;
        for number in 0..2_000 {
            put(&saver, &format!("{number:04}")).await;
        }
        let first = saver.threads("").take(10).try_collect::<Vec<_>>();
        first.await.unwrap();
        server.run(&["CONFIG", "RESETSTAT"]).await;
        let first = saver.threads("").take(10);
        let first = first.map_ok(|one| one.thread_id.to_string());
        let first: Vec<_> = first.try_collect().await.unwrap();
        let wanted: Vec<_> = (1_990..2_000)
            .rev()
            .map(|number| format!("{number:04}"))
            .collect();
        assert_eq!(first, wanted, "{layout}");
        let calls = server.calls().await;
        for walk in ["scan", "ft.aggregate", "keys"] {
            assert_eq!(calls.get(walk), None, "{layout}: {calls:?}");
        }
        let all: u64 = calls.values().sum();
        assert!(all < 500, "{layout}: {calls:?}");
    }
}

#[tokio::test]
async fn threads_that_the_sets_lack_come_last_and_are_put_in() {
    for layout in LAYOUTS {
        let mut server = Server::start().await;
        let saver = saver(&server, layout, TtlPolicy::default()).await;
        for thread in ["a", "b", "c", "d"] {
            put(&saver, thread).await;
        }
        named_when_stored(&mut server, 4).await;
        for key in ["a", "d"] {
            for set in sets() {
                server.run(&["ZREM", &set, key]).await;
            }
        }
        let mut first = listed(&saver).await;
        assert_eq!(first[..2], ["c", "b"], "{layout}");
        first[2..].sort();
        assert_eq!(first[2..], ["a", "d"], "{layout}");
        // They have the times of their checkpoints now.
        assert_eq!(named(&mut server).await, ["a", "b", "c", "d"], "{layout}");
        assert_eq!(listed(&saver).await, ["d", "c", "b", "a"], "{layout}");
    }
}

#[tokio::test]
async fn threads_that_are_gone_are_not_listed_and_leave_the_sets() {
    for layout in LAYOUTS {
        let mut server = Server::start().await;
        let saver = saver(&server, layout, TtlPolicy::default()).await;
        for number in 0..300 {
            put(&saver, &number.to_string()).await;
        }
        put(&saver, "kept").await;
        named_when_stored(&mut server, 301).await;
        for key in server.keys().await {
            if key != "checkpoint_layout" && !key.contains("kept") {
                server.run(&["UNLINK", &key]).await;
            }
        }
        assert_eq!(listed(&saver).await, ["kept"], "{layout}");
        assert_eq!(named(&mut server).await, ["kept"], "{layout}");
    }
}

#[tokio::test]
async fn threads_that_expire_do_not_fill_the_sets() {
    for layout in LAYOUTS {
        let mut server = Server::start().await;
        let ttl = TtlPolicy::new(Duration::from_millis(100));
        let saver = saver(&server, layout, ttl).await;
        for batch in 0..30 {
            for number in 0..100 {
                put(&saver, &format!("{batch}-{number}")).await;
            }
            tokio::time::sleep(Duration::from_millis(110)).await;
        }
        let named = named(&mut server).await.len();
        assert!(named < 1_500, "{layout}: {named} of 3,000 are still named");
        // And when nothing is written any more, the sets expire too.
        for set in sets() {
            // -2 says that all of its threads have left it.
            let left = server.time_left(&set).await;
            assert!(
                left == -2 || (1..=7 * 24 * 3_600 * 1_000).contains(&left),
                "{set}: {left}"
            );
        }
    }
}

#[tokio::test]
async fn a_thread_that_is_deleted_by_one_saver_and_stored_by_another_stays_in_its_set() {
    for layout in LAYOUTS {
        let mut server = Server::start().await;
        let one = saver(&server, layout, TtlPolicy::default()).await;
        let other = saver(&server, layout, TtlPolicy::default()).await;
        let mut wanted = Vec::new();
        for number in 0..50 {
            let thread = format!("{number:02}");
            put(&one, &thread).await;
            let config = CheckpointConfig::new(&*thread).unwrap();
            let options = DeleteOptions::default();
            one.delete_thread(&config.thread_id, &options)
                .await
                .unwrap();
            put(&other, &thread).await;
            wanted.push(thread);
        }
        one.close().await;
        other.close().await;
        assert_eq!(named(&mut server).await, wanted, "{layout}");
    }
}

#[tokio::test]
async fn a_deleted_thread_leaves_its_set() {
    for layout in LAYOUTS {
        let mut server = Server::start().await;
        let saver = saver(&server, layout, TtlPolicy::default()).await;
        for thread in ["a", "b"] {
            put(&saver, thread).await;
        }
        named_when_stored(&mut server, 2).await;
        let a = CheckpointConfig::new("a").unwrap().thread_id;
        saver
            .delete_thread(&a, &DeleteOptions::default())
            .await
            .unwrap();
        assert_eq!(named_when_stored(&mut server, 1).await, ["b"], "{layout}");
    }
}

#[tokio::test]
async fn closing_a_saver_stores_what_was_noted() {
    let mut server = Server::start().await;
    for number in 0..20 {
        let saver = saver(&server, Layout::Compact, TtlPolicy::default()).await;
        put(&saver, &format!("{number:02}-a")).await;
        put(&saver, &format!("{number:02}-b")).await;
        saver.close().await;
        let named = named(&mut server).await;
        assert_eq!(named.len(), 2 * (number + 1), "{named:?}");
    }
}

#[tokio::test]
async fn a_set_that_is_another_key_hides_no_thread_and_stops_no_call() {
    for layout in LAYOUTS {
        let mut server = Server::start().await;
        let saver = saver(&server, layout, TtlPolicy::default()).await;
        for set in sets() {
            server.run(&["SET", &set, "another's"]).await;
        }
        assert_all_are_listed(&saver, layout).await;
        let report = saver.doctor(&DoctorOptions::default()).await.unwrap();
        assert_eq!(report.counts()[&FindingKind::WrongType], 16, "{report}");
        let found: String = redis::cmd("GET")
            .arg("checkpoint_recent:{0}")
            .query_async(&mut server.client)
            .await
            .unwrap();
        assert_eq!(found, "another's");
    }
}

#[tokio::test]
async fn the_doctor_finds_what_the_sets_lack_and_puts_it_in() {
    for layout in LAYOUTS {
        let mut server = Server::start().await;
        let saver = saver(&server, layout, TtlPolicy::default()).await;
        for thread in ["a", "b", "c"] {
            put(&saver, thread).await;
        }
        let healthy = saver.doctor(&DoctorOptions::default()).await.unwrap();
        assert!(healthy.is_healthy(), "{layout}: {healthy}");
        for set in sets() {
            server.run(&["ZREM", &set, "b"]).await;
        }
        let options = DoctorOptions::default();
        let report = saver.doctor(&options).await.unwrap();
        let kind = FindingKind::RecentThreadsIncomplete;
        assert_eq!(report.counts()[&kind], 1, "{layout}: {report}");
        assert!(report.to_string().contains("1 of them"), "{report}");
        assert_eq!(named(&mut server).await, ["a", "c"]);
        let report = saver.doctor(&options.with_fix(true)).await.unwrap();
        assert_eq!(report.fixed()[&kind], 1, "{layout}: {report}");
        let healthy = saver.doctor(&DoctorOptions::default()).await.unwrap();
        assert!(healthy.is_healthy(), "{layout}: {healthy}");
        // At the time of its checkpoint.
        assert_eq!(listed(&saver).await, ["c", "b", "a"], "{layout}");
    }
}

/// As many as write at the same time: what they note never ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threads_are_listed_while_others_write_without_a_pause() {
    let server = Server::start().await;
    let saver = saver(&server, Layout::Compact, TtlPolicy::default()).await;
    let writers: Vec<_> = (0..16)
        .map(|writer| {
            let saver = saver.clone();
            tokio::spawn(async move {
                loop {
                    put(&saver, &format!("busy-{writer}")).await;
                }
            })
        })
        .collect();
    for number in 0..20 {
        let thread = format!("{number}");
        put(&saver, &thread).await;
        let begun = std::time::Instant::now();
        let found = saver
            .threads(&thread)
            .try_collect::<Vec<_>>()
            .await
            .unwrap();
        assert!(!found.is_empty());
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
    for writer in &writers {
        writer.abort();
    }
    saver.close().await;
}

#[tokio::test]
async fn a_thread_with_writes_alone_is_no_finding_and_comes_first_with_its_checkpoint() {
    for layout in LAYOUTS {
        let server = Server::start().await;
        let saver = saver(&server, layout, TtlPolicy::default()).await;
        put(&saver, "other").await;
        let early = CheckpointConfig::new("early").unwrap();
        let early = early.with_checkpoint(CheckpointId::now_v6());
        let write = [ChannelWrite::new("a", TypedValue::json(&1).unwrap())];
        let (task, options) = (TaskId::new("task").unwrap(), PutWritesOptions::default());
        saver
            .put_writes(&early, &write, &task, &options)
            .await
            .unwrap();
        assert_eq!(listed(&saver).await, ["other"], "{layout}");
        let report = saver.doctor(&DoctorOptions::default()).await.unwrap();
        assert!(report.is_healthy(), "{layout}: {report}");
        put(&saver, "early").await;
        assert_eq!(listed(&saver).await, ["early", "other"], "{layout}");
    }
}

#[tokio::test]
async fn savers_of_the_compact_layout_with_and_without_hash_tags_share_the_order() {
    let server = Server::start().await;
    let one = saver(&server, Layout::Compact, TtlPolicy::default()).await;
    let builder = RedisSaver::builder().url(server.redis.url());
    let builder = builder.layout(Layout::Compact).hash_tag_threads(true);
    let other = builder.build().await.unwrap();
    put(&one, "a").await;
    assert_eq!(listed(&one).await, ["a"]);
    put(&other, "b").await;
    assert_eq!(listed(&other).await, ["b", "a"]);
    assert_eq!(listed(&one).await, ["b", "a"]);
}

#[tokio::test]
async fn a_saver_without_the_setting_keeps_no_sets_and_lists_all_threads() {
    for layout in LAYOUTS {
        let mut server = Server::start().await;
        let builder = RedisSaver::builder().url(server.redis.url()).layout(layout);
        let saver = builder.recent_threads(false).build().await.unwrap();
        saver.setup().await.unwrap();
        assert_all_are_listed(&saver, layout).await;
        let report = saver.doctor(&DoctorOptions::default()).await.unwrap();
        assert!(report.is_healthy(), "{layout}: {report}");
        saver.close().await;
        assert_eq!(named(&mut server).await, [""; 0], "{layout}");
    }
}

#[tokio::test]
async fn threads_of_one_time_are_all_found() {
    let mut server = Server::start().await;
    let saver = saver(&server, Layout::Compact, TtlPolicy::default()).await;
    for number in 0..1_500 {
        put(&saver, &format!("{number:04}")).await;
    }
    named_when_stored(&mut server, 1_500).await;
    // As a walk over the keys puts them in whose ids do not say when they were made.
    for set in sets() {
        for thread in members(&mut server, &set).await {
            server.run(&["ZADD", &set, "XX", "0", &thread]).await;
        }
    }
    server.run(&["CONFIG", "RESETSTAT"]).await;
    let found = saver.threads("").take(1_500);
    let found = found.map_ok(|one| one.thread_id.to_string());
    let mut found: Vec<_> = found.try_collect().await.unwrap();
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 1_500);
    assert_eq!(server.calls_of("scan").await, 0);
}
