//! What a full server does to what is stored, and what is said of it: evicted keys, refused writes,
//! registries full of what has expired.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use langgraph_checkpoint_redis::redis::HealthProblem;
use langgraph_checkpoint_redis::{
    ChannelWrite, Checkpoint, CheckpointConfig, CheckpointId, CheckpointMetadata, CheckpointSaver,
    CheckpointSaverExt, CopyOptions, DeleteOptions, Error, ListOptions, PutOptions,
    PutWritesOptions, RedisSaver, Result, TaskId, ThreadId, TtlPolicy, TypedValue,
};
use redis_modules::Standalone;

use crate::support::server::Server;
use crate::support::stored::thread as config;

/// How many writes each checkpoint has.
const WRITES: usize = 5;

/// A text of its own: RedisJSON stores equal ones once.
fn text(size: usize) -> String {
    format!("{}{}", CheckpointId::now_ulid(), "x".repeat(size))
}

async fn put(saver: &RedisSaver, at: &CheckpointConfig, size: usize) -> Result<CheckpointConfig> {
    let checkpoint = Checkpoint::builder().channel("text", 1, &text(size))?;
    let (checkpoint, metadata) = (checkpoint.build()?, CheckpointMetadata::new());
    let options = PutOptions::default();
    saver.put(at, &checkpoint, &metadata, &options).await
}

async fn put_writes(saver: &RedisSaver, at: &CheckpointConfig, size: usize) -> Result<()> {
    let writes: Vec<_> = (0..WRITES)
        .map(|_| ChannelWrite::new("n", TypedValue::json(&text(size)).unwrap()))
        .collect();
    let task = TaskId::new("task").unwrap();
    let options = PutWritesOptions::default();
    saver.put_writes(at, &writes, &task, &options).await
}

/// Whether an error says that something is lost, and names what.
fn is_lost(error: &Error) -> bool {
    matches!(error, Error::Corrupt { key, reason, .. }
        if reason.contains("maxmemory-policy") && key.contains("write"))
}

/// Reads everything back in every way: complete, absent or an error. Returns how many were an
/// error.
async fn whole_absent_or_an_error(saver: &RedisSaver, stored: &[CheckpointConfig]) -> usize {
    let mut errors = 0;
    let mut judge = |what: &str, of: &CheckpointConfig, writes: Result<Vec<usize>>| match writes {
        Ok(found) => assert!(
            found.iter().all(|found| *found == WRITES),
            "{what} {of:?}: {found:?}"
        ),
        Err(error) => {
            assert!(is_lost(&error), "{what} {of:?}: {error}");
            errors += 1;
        }
    };
    for one in stored {
        let found = saver.get_tuple(one).await;
        let found = found.map(|found| found.iter().map(|one| one.pending_writes.len()).collect());
        judge("get_tuple", one, found);
        let thread = CheckpointConfig::of_thread(one.thread_id.clone());
        let newest = saver.get_tuple(&thread).await;
        let newest = newest.map(|found| found.iter().map(|one| one.pending_writes.len()).collect());
        judge("newest", one, newest);
        let listed = saver.list_all(Some(&thread), ListOptions::default()).await;
        let listed = listed.map(|found| found.iter().map(|one| one.pending_writes.len()).collect());
        judge("list", one, listed);
        // Writes of the ancestors; a checkpoint of its own has none.
        let history = saver.delta_channel_history(one, &["n".to_owned()]).await;
        judge("history", one, history.map(|_| Vec::new()));
        let copy = ThreadId::new(format!("copy-of-{}", one.thread_id)).unwrap();
        let options = CopyOptions::default();
        let copied = saver.copy_thread(&one.thread_id, &copy, &options).await;
        judge("copy_thread", one, copied.map(|()| Vec::new()));
        let copied = saver.get_tuple(&CheckpointConfig::of_thread(copy)).await;
        let copied = copied.map(|found| found.iter().map(|one| one.pending_writes.len()).collect());
        judge("copy", one, copied);
    }
    errors
}

async fn answers_are_whole_absent_or_errors(policy: &str, ttl: TtlPolicy) {
    let redis = Standalone::builder()
        .config("maxmemory", "30mb")
        .config("maxmemory-policy", policy)
        .start()
        .unwrap();
    let server = Server::over(redis).await;
    let saver = RedisSaver::builder()
        .url(server.redis.url())
        .ttl(ttl)
        .build();
    let saver = saver.await.unwrap();
    saver.setup().await.unwrap();
    let refused = Arc::new(AtomicUsize::new(0));
    let writers = (0..8).map(|writer| {
        let (saver, refused) = (saver.clone(), Arc::clone(&refused));
        tokio::spawn(async move {
            let mut stored = Vec::new();
            for n in 0..250 {
                let written = async {
                    let at = put(&saver, &config(&format!("{writer}-{n}")), 4_000).await?;
                    put_writes(&saver, &at, 3_000).await?;
                    Ok::<_, Error>(at)
                };
                match written.await {
                    Ok(at) => stored.push(at),
                    Err(error) => {
                        assert!(
                            is_lost(&error) || matches!(error, Error::OutOfMemory),
                            "{error}"
                        );
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
            stored
        })
    });
    let mut stored = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        stored.extend(writer.await.unwrap());
    }
    let stored: Vec<_> = stored.into_iter().step_by(7).collect();
    let errors = whole_absent_or_an_error(&saver, &stored).await;
    let refused = refused.load(Ordering::Relaxed);
    println!(
        "{policy}: {} read, {errors} errors, {refused} writes refused",
        stored.len()
    );
    assert!(errors > 0, "nothing was evicted");
    let health = saver.health().await;
    let warned = health.problems.iter().any(
        |problem| matches!(problem, HealthProblem::Evicts { policy: found, .. } if found == policy),
    );
    assert!(warned, "{:?}", health.problems);
    assert!(health.is_ready(), "{:?}", health.problems);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_evicted_is_an_error_and_never_a_shorter_answer() {
    answers_are_whole_absent_or_errors("allkeys-lru", TtlPolicy::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_evicted_for_its_ttl_is_an_error_and_never_a_shorter_answer() {
    let ttl = TtlPolicy::new(Duration::from_secs(3_600)).with_refresh_on_read(true);
    answers_are_whole_absent_or_errors("volatile-random", ttl).await;
}

#[tokio::test]
async fn a_checkpoint_that_lost_its_writes_can_be_deleted_and_put_in_order() {
    let mut server = Server::start().await;
    let saver = server.saver().await;
    for (thread, part) in [
        ("write", "checkpoint_write:write:"),
        ("all", "write_keys_zset:all:"),
    ] {
        let at = put(&saver, &config(thread), 10).await.unwrap();
        put_writes(&saver, &at, 10).await.unwrap();
        let keys = server.keys().await;
        let gone = keys.iter().find(|key| key.starts_with(part)).unwrap();
        server.run(&["UNLINK", gone]).await;
        for found in [
            saver.get_tuple(&at).await,
            saver.get_tuple(&config(thread)).await,
        ] {
            let error = found.unwrap_err();
            assert!(
                is_lost(&error) && error.to_string().contains(gone.as_str()),
                "{error}"
            );
        }
        // What was lost is not covered up by what comes later.
        if thread == "all" {
            assert!(is_lost(&put_writes(&saver, &at, 10).await.unwrap_err()));
        }
        saver
            .delete_thread(&at.thread_id, &DeleteOptions::default())
            .await
            .unwrap();
        assert!(saver.get_tuple(&at).await.unwrap().is_none());
    }
    assert_eq!(server.keys().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_write_without_a_ttl_gets_none_by_being_read() {
    let mut server = Server::start().await;
    let saver = RedisSaver::builder()
        .url(server.redis.url())
        .ttl(TtlPolicy::new(Duration::from_secs(3_600)).with_refresh_on_read(true));
    let saver = saver.build().await.unwrap();
    saver.setup().await.unwrap();
    let at = put(&saver, &config("t"), 10).await.unwrap();
    let writes = [ChannelWrite::new("n", TypedValue::json(&1).unwrap())];
    let options =
        PutWritesOptions::default().with_ttl(langgraph_checkpoint_redis::TtlChoice::Forever);
    let task = TaskId::new("task").unwrap();
    saver
        .put_writes(&at, &writes, &task, &options)
        .await
        .unwrap();
    saver.get_tuple(&at).await.unwrap().unwrap();
    saver.get_tuple(&config("t")).await.unwrap().unwrap();
    for key in server.keys().await {
        let left = server.time_left(&key).await;
        let is_of_writes = key.starts_with("checkpoint_write:") || key.starts_with("write_keys");
        if is_of_writes {
            assert_eq!(left, -1, "{key}");
        }
    }
}

#[tokio::test]
async fn the_newest_is_found_behind_very_many_that_have_expired() {
    let mut server = Server::start().await;
    let saver = server.saver().await;
    let at = put(&saver, &config("t"), 10).await.unwrap();
    let oldest = at.checkpoint_id.clone().unwrap();
    let registry = "checkpoint_keys_zset:t:__empty__";
    for first in (0..25_000).step_by(5_000) {
        let mut command = vec!["ZADD".to_owned(), registry.to_owned()];
        for n in first..first + 5_000 {
            command.extend(["0".to_owned(), format!("f-{n:06}")]);
        }
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        server.run(&command).await;
    }
    server
        .run(&[
            "SET",
            "checkpoint_latest:t:__empty__",
            "checkpoint:t:__empty__:f-024999",
        ])
        .await;
    let found = saver
        .get_tuple(&config("t"))
        .await
        .unwrap()
        .expect("it is there");
    assert_eq!(found.checkpoint.id(), &oldest);
    // A put that must know the newest finds it as well.
    let options = PutOptions::default()
        .with_expected_parent(langgraph_checkpoint_redis::ExpectedParent::Is(oldest));
    let newer = Checkpoint::builder()
        .id(CheckpointId::new("g").unwrap())
        .build()
        .unwrap();
    let metadata = CheckpointMetadata::new();
    saver
        .put(&config("t"), &newer, &metadata, &options)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_checkpoint_of_very_many_writes_is_read_completely() {
    let mut server = Server::start().await;
    let ttl = TtlPolicy::new(Duration::from_secs(3_600)).with_refresh_on_read(true);
    let saver = server.saver_with(ttl).await;
    let at = put(&saver, &config("t"), 10).await.unwrap();
    for task in 0..30 {
        let writes: Vec<_> = (0..100)
            .map(|n| ChannelWrite::new("n", TypedValue::json(&n).unwrap()))
            .collect();
        let task = TaskId::new(format!("task-{task:02}")).unwrap();
        let options = PutWritesOptions::default();
        saver
            .put_writes(&at, &writes, &task, &options)
            .await
            .unwrap();
    }
    for found in [
        saver.get_tuple(&at).await,
        saver.get_tuple(&config("t")).await,
    ] {
        assert_eq!(found.unwrap().unwrap().pending_writes.len(), 3_000);
    }
    let listed = saver
        .list_all(Some(&config("t")), ListOptions::default())
        .await
        .unwrap();
    assert_eq!(listed[0].pending_writes.len(), 3_000);
    let child = put(&saver, &at, 10).await.unwrap();
    let history = saver
        .delta_channel_history(&child, &["n".to_owned()])
        .await
        .unwrap();
    assert_eq!(history["n"].writes.len(), 3_000);
    assert!(saver.touch(&at.thread_id).await.unwrap());
    assert_eq!(expiring(&mut server).await, (3_000 + 6, 0));
    assert!(saver.pin(&at.thread_id).await.unwrap());
    assert_eq!(expiring(&mut server).await, (0, 3_000 + 6));
    assert!(saver.unpin(&at.thread_id).await.unwrap());
    assert_eq!(expiring(&mut server).await, (3_000 + 6, 0));
}

/// How many keys have a TTL, and how many have none.
async fn expiring(server: &mut Server) -> (usize, usize) {
    let mut counts = (0, 0);
    for key in server.keys().await {
        match server.time_left(&key).await {
            -1 => counts.1 += 1,
            _ => counts.0 += 1,
        }
    }
    counts
}

async fn is_not_ready(saver: &RedisSaver, part: &str) {
    let health = saver.health().await;
    assert!(!health.is_ready(), "{:?}", health.problems);
    let said: Vec<_> = health.problems.iter().map(ToString::to_string).collect();
    assert!(
        said.iter().any(|problem| problem.contains(part)),
        "{said:?}"
    );
}

#[tokio::test]
async fn a_server_that_refuses_writes_is_not_ready() {
    let mut server = Server::start().await;
    let saver = server.saver().await;
    assert!(saver.health().await.is_ready());
    for (key, value, normal, part) in [
        ("maxmemory", "1mb", "0", "maxmemory"),
        ("min-replicas-to-write", "1", "0", "min-replicas-to-write"),
    ] {
        server.run(&["CONFIG", "SET", key, value]).await;
        assert!(put(&saver, &config("t"), 10).await.is_err());
        is_not_ready(&saver, part).await;
        server.run(&["CONFIG", "SET", key, normal]).await;
        assert!(saver.health().await.is_ready());
    }
    assert_eq!(server.keys().await, Vec::<String>::new());
}

#[tokio::test]
async fn health_warns_of_a_server_that_keeps_nothing_on_disk() {
    let mut server = Server::start().await;
    let saver = server.saver().await;
    let warns = |health: langgraph_checkpoint_redis::redis::Health| {
        let of = |problem: &HealthProblem| matches!(problem, HealthProblem::NotPersistent { .. });
        health.problems.iter().any(of)
    };
    assert!(warns(saver.health().await));
    server.run(&["CONFIG", "SET", "save", "3600 1"]).await;
    assert!(!warns(saver.health().await));
}
