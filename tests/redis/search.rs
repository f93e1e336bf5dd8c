//! The search of the server: what it holds is given back, and what it loses is found without it.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt, TryStreamExt};
use langgraph_checkpoint_redis::redis::{
    ConfigKey, DoctorOptions, HealthProblem, SearchMode, StatsOptions,
};
use langgraph_checkpoint_redis::{
    ChannelWrite, Checkpoint, CheckpointConfig, CheckpointId, CheckpointMetadata, CheckpointSaver,
    DeleteOptions, Error, ListOptions, PutOptions, PutWritesOptions, RedisSaver, RunId, TaskId,
    ThreadId, TypedValue,
};
use redis_modules::Standalone;

use crate::support::server::Server;

/// Stores checkpoints as another saver does: documents and a pointer, and nothing that is ours.
const FILL: &str = r#"
for number = tonumber(ARGV[2]), tonumber(ARGV[3]) do
    local id = string.format("1f0%013d", number)
    local key = "checkpoint:" .. ARGV[1] .. ":__empty__:" .. id
    redis.call("JSON.SET", key, "$", string.format(
        '{"thread_id":"%s","run_id":"run","checkpoint_ns":"__empty__","checkpoint_id":"%s",' ..
        '"parent_checkpoint_id":"","checkpoint_ts":%d,"checkpoint":{"v":4,"id":"%s",' ..
        '"ts":"2026-01-01T00:00:00+00:00","channel_values":{},"channel_versions":{},' ..
        '"versions_seen":{},"pending_sends":[],"type":"json"},"metadata":"{\\"step\\":1}",' ..
        '"has_writes":"false","source":"loop","step":1}', ARGV[1], id, number, id))
    redis.call("SET", "checkpoint_latest:" .. ARGV[1] .. ":__empty__", key)
end
"#;

async fn fill(server: &Server, threads: impl IntoIterator<Item = String>, checkpoints: usize) {
    let mut client = server.client.clone();
    for thread in threads {
        // Not all at once, as others use the machine.
        for first in (1..=checkpoints).step_by(100) {
            let mut call = redis::cmd("EVAL");
            call.arg(FILL).arg(0).arg(&thread).arg(first);
            call.arg(checkpoints.min(first + 99));
            call.query_async::<()>(&mut client).await.unwrap();
        }
    }
}

/// How many cursors of a server's searches are open.
async fn open_cursors(server: &Server) -> i64 {
    let mut client = server.client.clone();
    let info: Vec<redis::Value> = redis::cmd("FT.INFO")
        .arg("checkpoint")
        .query_async(&mut client)
        .await
        .unwrap();
    let info = format!("{info:?}");
    let (_, info) = info.split_once("global_total").unwrap();
    let number: String = info
        .chars()
        .skip_while(|one| !one.is_ascii_digit())
        .take_while(char::is_ascii_digit)
        .collect();
    number.parse().unwrap()
}

async fn put(saver: &RedisSaver, thread: &str) -> CheckpointConfig {
    let config = CheckpointConfig::new(thread).unwrap();
    let checkpoint = Checkpoint::builder().build().unwrap();
    let metadata = CheckpointMetadata::new().with("run_id", &"run-1").unwrap();
    saver
        .put(&config, &checkpoint, &metadata, &PutOptions::default())
        .await
        .unwrap()
}

async fn count_all(saver: &RedisSaver) -> usize {
    let found = saver.list(None, ListOptions::default());
    found.try_collect::<Vec<_>>().await.unwrap().len()
}

async fn names(saver: &RedisSaver) -> BTreeSet<String> {
    let threads: Vec<_> = saver.threads("").try_collect().await.unwrap();
    let names = threads.iter();
    names.map(|thread| thread.thread_id.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn abandoned_streams_leave_no_cursor_behind() {
    let server = Server::start().await;
    let saver = server.saver().await;
    fill(&server, (0..600).map(|thread| format!("t{thread}")), 2).await;
    for round in 0..100 {
        let mut one = saver.list(None, ListOptions::default());
        one.next().await.unwrap().unwrap();
        let few = ListOptions::default().with_limit(1);
        let few: Vec<_> = saver.list(None, few).try_collect().await.unwrap();
        assert_eq!(few.len(), 1);
        saver.threads("").next().await.unwrap().unwrap();
        // A caller that gives up in the middle of the search.
        if round % 10 == 0 {
            let mut cut = saver.list(None, ListOptions::default());
            let _ = tokio::time::timeout(Duration::from_micros(round * 20), cut.next()).await;
        }
    }
    assert_eq!(count_all(&saver).await, 1_200);
    let mut left = open_cursors(&server).await;
    for _ in 0..100 {
        if left == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        left = open_cursors(&server).await;
    }
    panic!("{left} cursors are open");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_long_threads_are_deleted_at_once() {
    let server = Server::start().await;
    let saver = server.saver().await;
    fill(&server, (0..160).map(|thread| format!("t{thread}")), 600).await;
    let deletes = (0..160).map(|thread| {
        let saver = saver.clone();
        tokio::spawn(async move {
            let thread = ThreadId::new(format!("t{thread}")).unwrap();
            saver
                .delete_thread(&thread, &DeleteOptions::default())
                .await
        })
    });
    for outcome in join_all(deletes).await {
        outcome.unwrap().unwrap();
    }
    let mut server = server;
    let left = server.keys().await;
    assert!(
        left.is_empty(),
        "{} keys are left: {:?}",
        left.len(),
        &left[..left.len().min(5)]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_is_lost_is_made_again_and_missed_by_nobody() {
    let mut server = Server::start().await;
    let saver = server.saver().await;
    for loss in [
        &["FT.DROPINDEX", "checkpoint"][..],
        &["FT.DROPINDEX", "checkpoint_write"],
        &["FLUSHALL"],
    ] {
        put(&saver, "before").await;
        assert!(count_all(&saver).await > 0);
        server.run(loss).await;
        let stored = put(&saver, "after").await;
        let found = names(&saver).await;
        assert!(found.contains("after"), "{loss:?}: {found:?}");
        let all: Vec<_> = saver
            .list(None, ListOptions::default())
            .try_collect()
            .await
            .unwrap();
        let id = stored.checkpoint_id.as_ref().unwrap();
        assert!(all.iter().any(|one| one.checkpoint.id() == id), "{loss:?}");
        saver
            .delete_for_runs(&[RunId::new("run-1").unwrap()])
            .await
            .unwrap();
        let thread = ThreadId::new("after").unwrap();
        saver
            .delete_thread(&thread, &DeleteOptions::default())
            .await
            .unwrap();
        let of_thread = CheckpointConfig::new("after").unwrap();
        assert!(
            saver.get_tuple(&of_thread).await.unwrap().is_none(),
            "{loss:?}"
        );
        let mut left = 200;
        while saver.health().await.without_search.is_some() {
            left -= 1;
            assert!(left > 0, "{loss:?}: {:?}", saver.health().await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for index in ["checkpoint", "checkpoint_write"] {
            let mut info = redis::cmd("FT.INFO");
            let info = info
                .arg(index)
                .query_async::<redis::Value>(&mut server.client);
            assert!(info.await.is_ok(), "{loss:?}: {index}");
        }
    }
}

/// Checkpoints whose keys RediSearch cuts off at a NUL.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_with_a_nul_are_listed_and_deleted_with_their_run() {
    let server = Server::start().await;
    let saver = server.saver().await;
    for thread in ["before", "with\0nul", "with\0more", "after"] {
        put(&saver, thread).await;
    }
    let only = CheckpointConfig::new("c").unwrap();
    let checkpoint = Checkpoint::builder()
        .id(CheckpointId::new("0\0a").unwrap())
        .build()
        .unwrap();
    let metadata = CheckpointMetadata::new();
    saver
        .put(&only, &checkpoint, &metadata, &PutOptions::default())
        .await
        .unwrap();
    let all: Vec<_> = saver
        .list(None, ListOptions::default())
        .try_collect()
        .await
        .unwrap();
    let order: Vec<_> = all
        .iter()
        .map(|one| one.config.thread_id.as_str())
        .collect();
    assert_eq!(order, ["after", "with\0more", "with\0nul", "before", "c"]);
    let few = ListOptions::default().with_limit(2);
    let few: Vec<_> = saver.list(None, few).try_collect().await.unwrap();
    assert_eq!(few[1].config.thread_id.as_str(), "with\0more");
    assert_eq!(names(&saver).await.len(), 5);
    saver
        .delete_for_runs(&[RunId::new("run-1").unwrap()])
        .await
        .unwrap();
    assert_eq!(names(&saver).await, BTreeSet::from(["c".to_owned()]));
}

/// How often RediSearch was asked anything.
async fn searches(server: &mut Server) -> u64 {
    let calls = server.calls().await.into_iter();
    let searches =
        calls.filter(|(name, _)| name.starts_with("ft.") && !name.starts_with("ft.config"));
    searches.map(|(_, count)| count).sum()
}

async fn every_call_is_served(saver: &RedisSaver) {
    let stored = put(saver, "one").await;
    put(saver, "two").await;
    assert_eq!(count_all(saver).await, 2);
    assert_eq!(names(saver).await.len(), 2);
    assert_eq!(
        saver.get_tuple(&stored).await.unwrap().unwrap().config,
        stored
    );
    let health = saver.health().await;
    assert!(health.is_ready(), "{:?}", health.problems);
    assert!(health.without_search.is_some());
    let thread = ThreadId::new("one").unwrap();
    saver
        .delete_thread(&thread, &DeleteOptions::default())
        .await
        .unwrap();
    saver
        .delete_for_runs(&[RunId::new("run-1").unwrap()])
        .await
        .unwrap();
    assert_eq!(count_all(saver).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_database_is_never_searched() {
    let mut server = Server::start().await;
    let first = server.saver().await;
    put(&first, "kept").await;
    let url = format!("{}/9", server.redis.url());
    let config = fred::types::config::Config::from_url(&url).unwrap();
    let pool = fred::types::Builder::from_config(config)
        .build_pool(1)
        .unwrap();
    fred::interfaces::ClientLike::init(&pool).await.unwrap();
    for other in [
        RedisSaver::connect(url.clone()).await.unwrap(),
        RedisSaver::from_client(pool).await.unwrap(),
    ] {
        server.run(&["CONFIG", "RESETSTAT"]).await;
        other.setup().await.unwrap();
        every_call_is_served(&other).await;
        other.stats(&StatsOptions::default()).await.unwrap();
        assert!(
            other
                .doctor(&DoctorOptions::default().with_fix(true))
                .await
                .unwrap()
                .is_healthy()
        );
        assert_eq!(searches(&mut server).await, 0);
    }
    assert_eq!(names(&first).await, BTreeSet::from(["kept".to_owned()]));
    let required = RedisSaver::builder().url(url).search(SearchMode::Required);
    let refused = required.build().await.unwrap().setup().await.unwrap_err();
    assert!(refused.to_string().contains("database 9"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn search_that_is_off_is_never_used() {
    let mut server = Server::start().await;
    server.run(&["CONFIG", "RESETSTAT"]).await;
    let saver = RedisSaver::builder()
        .url(server.redis.url())
        .set(ConfigKey::Search, "off");
    let saver = saver.build().await.unwrap();
    saver.setup().await.unwrap();
    every_call_is_served(&saver).await;
    assert_eq!(searches(&mut server).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_json_alone_serves_every_call() {
    let redis = Standalone::builder().without_search(true).start().unwrap();
    let server = Server::over(redis).await;
    let saver = server.saver().await;
    every_call_is_served(&saver).await;
    let required = RedisSaver::builder()
        .url(server.redis.url())
        .search(SearchMode::Required);
    let missing = required.build().await.unwrap().setup().await.unwrap_err();
    let Error::MissingModule { module, .. } = missing else {
        panic!("{missing}")
    };
    assert_eq!(module, "RediSearch");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_reports_a_server_without_json() {
    let redis = Standalone::builder().without_modules().start().unwrap();
    let saver = RedisSaver::connect(redis.url()).await.unwrap();
    let config = CheckpointConfig::new("t").unwrap();
    let checkpoint = Checkpoint::builder().build().unwrap();
    let metadata = CheckpointMetadata::new();
    let options = PutOptions::default();
    let put = saver.put(&config, &checkpoint, &metadata, &options).await;
    let write = ChannelWrite::new("channel", TypedValue::json(&1).unwrap());
    let at = CheckpointConfig::new("t")
        .unwrap()
        .with_checkpoint(CheckpointId::now_ulid());
    let task = TaskId::new("task").unwrap();
    let written = saver
        .put_writes(&at, &[write], &task, &PutWritesOptions::default())
        .await;
    for failed in [
        saver.setup().await.unwrap_err(),
        put.unwrap_err(),
        written.unwrap_err(),
    ] {
        let Error::MissingModule { module, .. } = failed else {
            panic!("{failed}")
        };
        assert_eq!(module, "RedisJSON");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_reports_a_lost_index() {
    let mut server = Server::start().await;
    let saver = server.saver().await;
    put(&saver, "t").await;
    assert_eq!(count_all(&saver).await, 1);
    assert_eq!(saver.health().await.without_search, None);
    server.run(&["FT.DROPINDEX", "checkpoint"]).await;
    let health = saver.health().await;
    assert!(health.is_ready());
    let lost = |problem: &HealthProblem| matches!(problem, HealthProblem::SearchLost { .. });
    assert!(health.problems.iter().any(lost), "{health:?}");
    assert_eq!(count_all(&saver).await, 1);
    for _ in 0..100 {
        if saver.health().await.without_search.is_none() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{:?}", saver.health().await);
}

/// One search on another database makes RediSearch forget what it knows.
#[cfg(feature = "cli")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_fails_where_the_index_lacks_threads() {
    let server = Server::start().await;
    let saver = server.saver().await;
    for thread in ["one", "two", "three"] {
        put(&saver, thread).await;
    }
    let url = server.redis.url();
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_langgraph-redis"));
        let ended = command.args(["--url", &url]).args(arguments).output();
        let ended = ended.unwrap();
        let said = String::from_utf8_lossy(&ended.stdout).into_owned();
        let failed = String::from_utf8_lossy(&ended.stderr).into_owned();
        (ended.status.code(), said, failed)
    };
    assert_eq!(run(&["threads"]).0, Some(0));
    let other = redis::Client::open(format!("{url}/9")).unwrap();
    let mut other = other.get_multiplexed_async_connection().await.unwrap();
    let search = redis::cmd("FT.SEARCH")
        .arg("checkpoint")
        .arg("*")
        .to_owned();
    let _: redis::Value = search.query_async(&mut other).await.unwrap();
    for command in [
        &["threads"][..],
        &["export", "--all"],
        &["delete", "--starting-with", "o", "--yes"],
        &["delete", "--run", "run-1", "--yes"],
    ] {
        let (code, said, failed) = run(command);
        assert_eq!(code, Some(7), "{command:?}: {said} {failed}");
        assert!(failed.contains("knows 0 of 3 checkpoints"), "{failed}");
    }
    let (code, said, failed) = run(&["--search", "off", "threads"]);
    assert_eq!((code, said.lines().count()), (Some(0), 4), "{failed}");
    // Nothing is missed by those who do not ask.
    assert_eq!((names(&saver).await.len(), count_all(&saver).await), (3, 3));
    let lost = |problem: &HealthProblem| matches!(problem, HealthProblem::SearchLost { .. });
    assert!(saver.health().await.problems.iter().any(lost));
    run(&["doctor", "--fix", "--yes", "--rebuild-indexes"]);
    let (code, said, failed) = run(&["threads"]);
    assert_eq!((code, said.lines().count()), (Some(0), 4), "{failed}");
}
