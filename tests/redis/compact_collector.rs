//! The collector of the compact layout, cut off, beside writers, and beside savers that think to
//! know what a thread has: nothing that is named goes, and what nothing names goes in the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use langgraph_checkpoint_redis::redis::{DoctorOptions, FindingKind, Layout};
use langgraph_checkpoint_redis::{
    Checkpoint, CheckpointConfig, CheckpointMetadata, CheckpointSaver, DeleteOptions, PruneOptions,
    PruneStrategy, PutOptions, RedisSaver, RunId,
};
use rand::random_range;

use crate::support::proxy::Proxy;
use crate::support::server::Server;
use crate::support::stored::{delete, thread, thread_id};

async fn saver_at(port: u16) -> RedisSaver {
    let builder = RedisSaver::builder().url(format!("redis://127.0.0.1:{port}"));
    let builder = builder.recent_threads(false);
    let saver = builder.layout(Layout::Compact).build().await.unwrap();
    saver.setup().await.unwrap();
    saver
}

/// A saver that knows nothing of what is stored.
async fn fresh(server: &Server) -> RedisSaver {
    saver_at(server.redis.port()).await
}

/// Messages of a conversation, each worth a part of its own.
fn messages(count: usize, salt: usize) -> Vec<String> {
    let message = |number: usize| format!("{salt} {number}: {}", "word ".repeat(40 + number % 7));
    (0..count).map(message).collect()
}

async fn put(saver: &RedisSaver, config: &CheckpointConfig, said: &[String]) -> CheckpointConfig {
    let checkpoint = Checkpoint::builder().channel("messages", 1, said);
    let checkpoint = checkpoint.unwrap().build().unwrap();
    let (metadata, options) = (CheckpointMetadata::new(), PutOptions::default());
    let put = saver.put(config, &checkpoint, &metadata, &options);
    put.await.unwrap()
}

/// What was said last; `None` if there is no checkpoint.
async fn read(saver: &RedisSaver, config: &CheckpointConfig) -> Option<Vec<String>> {
    let found = saver.get_tuple(config).await.unwrap()?;
    Some(found.checkpoint.channel_value("messages").unwrap().unwrap())
}

fn keep(count: usize) -> PruneOptions {
    PruneOptions::new(PruneStrategy::KeepLast(count))
}

async fn assert_healthy(server: &Server, what: &str) {
    let doctor = fresh(server).await;
    let report = doctor.doctor(&DoctorOptions::default()).await.unwrap();
    assert!(report.is_healthy(), "{what}: {report}");
}

/// A call that is dropped once it has sent its request of this number.
async fn cut_off(proxy: &Proxy, requests: usize, call: impl Future<Output = ()>) {
    let before = proxy.round_trips();
    tokio::select! {
        biased;
        () = async {
            while proxy.round_trips() - before < requests {
                tokio::task::yield_now().await;
            }
        } => {}
        () = call => {}
    }
    // What was sent is carried out.
    tokio::time::sleep(Duration::from_millis(20)).await;
}

/// How the checkpoints of a thread but the newest are removed.
async fn remove_old(saver: &RedisSaver, by_run: bool) {
    if by_run {
        let runs = [RunId::new("old").unwrap()];
        saver.delete_for_runs(&runs).await.unwrap();
    } else {
        saver.prune(&[thread_id("t")], &keep(1)).await.unwrap();
    }
}

/// A put by a saver that knows the parts of what is being collected refers to all of them or to
/// none.
#[tokio::test]
async fn what_a_collector_that_is_cut_off_has_left_is_whole() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.redis.port()).await;
    // More parts than are removed in one step, in a tree of several levels.
    let (old, new) = (messages(1_200, 1), messages(3, 2));
    for by_run in [false, true] {
        let mut all = 0;
        for before_end in (0..7).rev() {
            let warm = fresh(&server).await;
            let config = thread("t").with_run(RunId::new("old").unwrap());
            put(&warm, &config, &old).await;
            put(&fresh(&server).await, &thread("t"), &new).await;
            let collector = saver_at(proxy.port()).await;
            let started = proxy.round_trips();
            if all == 0 {
                remove_old(&collector, by_run).await;
                all = proxy.round_trips() - started;
                assert!(all > 7, "{all}");
            } else {
                cut_off(&proxy, all - before_end, remove_old(&collector, by_run)).await;
            }
            let stored = put(&warm, &thread("t"), &old).await;
            let what = format!("{before_end} requests before the end of {all}");
            assert_eq!(
                read(&fresh(&server).await, &stored).await,
                Some(old.clone()),
                "{what}"
            );
            warm.prune(&[thread_id("t")], &keep(1)).await.unwrap();
            assert_eq!(
                read(&fresh(&server).await, &thread("t")).await,
                Some(old.clone()),
                "{what}"
            );
            assert_healthy(&server, &what).await;
            delete(&warm, &thread_id("t")).await;
        }
    }
}

/// The next call does what was left undone, though it has nothing to remove itself.
#[tokio::test]
async fn what_a_prune_that_is_cut_off_has_left_goes_with_the_next() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.redis.port()).await;
    let new = messages(3, 2);
    for by_run in [false, true] {
        let mut requests = 1;
        loop {
            let writer = fresh(&server).await;
            let config = thread("t").with_run(RunId::new("old").unwrap());
            put(&writer, &config, &messages(40, 1)).await;
            put(&writer, &thread("t"), &new).await;
            let collector = saver_at(proxy.port()).await;
            let before = proxy.round_trips();
            let ended = AtomicBool::new(false);
            cut_off(&proxy, requests, async {
                remove_old(&collector, by_run).await;
                ended.store(true, Ordering::SeqCst);
            })
            .await;
            remove_old(&fresh(&server).await, by_run).await;
            assert_healthy(&server, &format!("after {requests} requests, {by_run}")).await;
            assert_eq!(read(&writer, &thread("t")).await, Some(new.clone()));
            delete(&writer, &thread_id("t")).await;
            if ended.load(Ordering::SeqCst) {
                assert!(proxy.round_trips() - before > 5);
                break;
            }
            requests += 1;
        }
    }
}

/// What another call removes meanwhile is not gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_misses_nothing_that_is_pruned_meanwhile() {
    let server = Arc::new(Server::start().await);
    let ended = Arc::new(AtomicBool::new(false));
    let pruning = {
        let (server, ended) = (Arc::clone(&server), Arc::clone(&ended));
        tokio::spawn(async move {
            let saver = fresh(&server).await;
            let mut salt = 0;
            while !ended.load(Ordering::SeqCst) {
                salt += 1;
                put(&saver, &thread("t"), &messages(60, salt)).await;
                put(&saver, &thread("t"), &messages(1, salt)).await;
                tokio::time::sleep(Duration::from_millis(random_range(0..5))).await;
                saver.prune(&[thread_id("t")], &keep(1)).await.unwrap();
            }
        })
    };
    let doctor = fresh(&server).await;
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(3) {
        let report = doctor.doctor(&DoctorOptions::default()).await.unwrap();
        let mut kinds = report.counts().keys();
        assert!(
            kinds.all(|kind| *kind == FindingKind::PartsUnnamed),
            "{report}"
        );
    }
    ended.store(true, Ordering::SeqCst);
    pruning.await.unwrap();
}

/// Savers that each know something else of a thread, one call after the other: what any of them
/// reads is what was put last.
#[tokio::test]
async fn savers_whose_caches_disagree_read_what_was_put_last() {
    let mut server = Server::start().await;
    let savers = [
        fresh(&server).await,
        fresh(&server).await,
        fresh(&server).await,
    ];
    let config = thread("t");
    let (mut calls, mut newest) = (Vec::new(), None);
    for _ in 0..250 {
        let by = random_range(0..savers.len());
        let saver = &savers[by];
        let call = match random_range(0..10) {
            0..5 => {
                // Lists that begin alike, come again, and grow.
                let (count, salt) = (random_range(1..60), random_range(0..3));
                let said = messages(count, salt);
                put(saver, &config, &said).await;
                newest = Some(said);
                format!("put {count} {salt}")
            }
            5 => {
                saver.prune(&[thread_id("t")], &keep(1)).await.unwrap();
                "prune".to_owned()
            }
            6 => {
                let fix = DoctorOptions::default().with_fix(true);
                saver.doctor(&fix).await.unwrap();
                "doctor".to_owned()
            }
            7 => {
                saver
                    .delete_thread(&thread_id("t"), &DeleteOptions::default())
                    .await
                    .unwrap();
                newest = None;
                "delete_thread".to_owned()
            }
            _ => {
                assert_eq!(read(saver, &config).await, newest, "{calls:?}");
                "get_tuple".to_owned()
            }
        };
        calls.push(format!("{by}: {call}"));
        assert_eq!(
            read(&fresh(&server).await, &config).await,
            newest,
            "{calls:?}"
        );
    }
    for saver in &savers {
        assert_eq!(read(saver, &config).await, newest, "{calls:?}");
    }
    let fix = DoctorOptions::default().with_fix(true);
    savers[0].doctor(&fix).await.unwrap();
    assert_healthy(&server, &format!("{calls:?}")).await;
    delete(&savers[0], &thread_id("t")).await;
    assert_eq!(server.keys().await, ["checkpoint_layout"]);
}

/// How long the race takes.
fn lasts() -> Duration {
    let seconds = std::env::var("LANGGRAPH_REDIS_RACE_SECONDS");
    Duration::from_secs(seconds.map_or(30, |seconds| seconds.parse().unwrap()))
}

/// Until writers may go on, who rest for a while in each second: else no collector gets to an end.
async fn rest() {
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    if now.subsec_millis() > 700 {
        let rest = 1_000 - u64::from(now.subsec_millis());
        tokio::time::sleep(Duration::from_millis(rest)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn collectors_take_nothing_from_writers() {
    let (server, start, time) = (Arc::new(Server::start().await), Instant::now(), lasts());
    let ended = Arc::new(AtomicBool::new(false));
    let writers = (0..8_usize).map(|writer| {
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            let saver = fresh(&server).await;
            let namespace = format!("writer-{writer}");
            let mut config = thread("t").with_namespace(&namespace).unwrap();
            let (mut turn, mut puts) = (0, 0);
            while start.elapsed() < time {
                rest().await;
                // Values that come, go and come again, so that they name what nothing named
                // meanwhile. One writer's have more parts than are removed in one step.
                let most = if writer == 0 { 700 } else { 20 };
                let said = messages(most + turn % 7, turn % 3);
                config = put(&saver, &config, &said).await;
                assert_eq!(read(&saver, &config).await.as_ref(), Some(&said));
                if puts % 5 == 0 {
                    assert_eq!(
                        read(&fresh(&server).await, &config).await.as_ref(),
                        Some(&said)
                    );
                }
                turn += 1 + writer;
                puts += 1;
            }
            (config, puts)
        })
    });
    let writers: Vec<_> = writers.collect();
    let collectors = (0..3_usize).map(|kind| {
        let (server, ended) = (Arc::clone(&server), Arc::clone(&ended));
        tokio::spawn(async move {
            let saver = fresh(&server).await;
            let mut runs = 0;
            while !ended.load(Ordering::Relaxed) {
                match kind {
                    0 => saver.prune(&[thread_id("t")], &keep(2)).await.unwrap(),
                    // It is dropped wherever it is.
                    1 => {
                        let limit = Duration::from_millis(random_range(1..60));
                        let threads = [thread_id("t")];
                        let options = keep(2);
                        let prune = saver.prune(&threads, &options);
                        let _ = tokio::time::timeout(limit, prune).await;
                    }
                    _ => {
                        let fix = DoctorOptions::default().with_fix(true);
                        let report = saver.doctor(&fix).await.unwrap();
                        let mut kinds = report.counts().keys();
                        assert!(
                            kinds.all(|kind| *kind == FindingKind::PartsUnnamed),
                            "{report}"
                        );
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
                runs += 1;
            }
            runs
        })
    });
    let collectors: Vec<_> = collectors.collect();
    let (mut newest, mut puts) = (Vec::new(), 0);
    for writer in writers {
        let (config, of_writer) = writer.await.unwrap();
        newest.push(config);
        puts += of_writer;
    }
    ended.store(true, Ordering::Relaxed);
    let mut runs = Vec::new();
    for collector in collectors {
        runs.push(collector.await.unwrap());
    }
    let mut server = Arc::into_inner(server).unwrap();
    let removals = server.calls_of("hdel").await;
    println!(
        "{puts} puts beside {runs:?} runs of collectors, which removed parts {removals} times"
    );
    assert!(removals > 0);
    let reader = fresh(&server).await;
    for config in &newest {
        assert!(read(&reader, config).await.is_some());
    }
    reader.prune(&[thread_id("t")], &keep(1)).await.unwrap();
    assert_healthy(&server, "at the end").await;
}
