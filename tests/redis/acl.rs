//! The ACL of a saver permits what it needs, and nothing else.

use std::time::Duration;

use futures_util::TryStreamExt;
use langgraph_checkpoint_redis::redis::DoctorOptions;
use langgraph_checkpoint_redis::{
    CheckpointMetadata, CheckpointSaver, DeleteOptions, Error, ListOptions, PutOptions, RedisSaver,
    TtlPolicy,
};
use redis_modules::{Standalone, doctor_rules, saver_rules};

use crate::support::stored::{HOUR, checkpoint, put, put_writes, thread, writes};

/// A server with a user that the URL names, and a connection as its administrator.
async fn server(rules: &str) -> (Standalone, redis::aio::MultiplexedConnection) {
    let server = Standalone::builder()
        .password("administrator")
        .user("saver", "se cret", rules)
        .start()
        .unwrap();
    let url = format!("redis://:administrator@127.0.0.1:{}", server.port());
    let client = redis::Client::open(url).unwrap();
    let connection = client.get_multiplexed_async_connection().await.unwrap();
    (server, connection)
}

#[tokio::test]
async fn the_acl_of_a_saver_permits_nothing_else() {
    let (server, _administrator) = server(saver_rules()).await;
    let client = redis::Client::open(server.url()).unwrap();
    let mut client = client.get_multiplexed_async_connection().await.unwrap();
    for command in [
        &["KEYS", "*"][..],
        &["CONFIG", "GET", "*"],
        &["CONFIG", "SET", "maxmemory", "1"],
        &["MODULE", "LIST"],
        &["ACL", "LIST"],
        &["FLUSHALL"],
        &["SHUTDOWN", "NOSAVE"],
        &["CLIENT", "LIST"],
        &["INFO"],
        &["SCRIPT", "FLUSH"],
        &["FUNCTION", "LIST"],
        &["MIGRATE", "127.0.0.1", "1", "checkpoint:k", "0", "1"],
        &["REPLICAOF", "127.0.0.1", "1"],
        &["CLUSTER", "RESET"],
        &["MONITOR"],
        &["PUBLISH", "channel", "message"],
        &["FT.DROPINDEX", "checkpoint"],
        &["GET", "session:1"],
        &["SET", "session:1", "x"],
        &["JSON.GET", "session:1"],
        &[
            "EVAL",
            "return redis.call('GET', KEYS[1])",
            "1",
            "session:1",
        ],
        &["EVAL", "return redis.call('KEYS', '*')", "0"],
    ] {
        let answer: redis::RedisResult<redis::Value> = redis::cmd(command[0])
            .arg(&command[1..])
            .query_async(&mut client)
            .await;
        let error = answer.expect_err(&command.join(" ")).to_string();
        assert!(
            error.contains("permission") || error.contains("NOPERM"),
            "{command:?}: {error}"
        );
    }
}

#[tokio::test]
async fn a_shallow_saver_works_with_the_acl_of_a_saver() {
    let (server, _administrator) = server(saver_rules()).await;
    let saver = RedisSaver::builder()
        .url(server.url())
        .ttl(TtlPolicy::new(HOUR).with_refresh_on_read(true))
        .build_shallow()
        .await
        .unwrap();
    saver.setup().await.unwrap();
    let config = put(&saver, &thread("thread"), &checkpoint()).await;
    put_writes(&saver, &config, &writes(&["n"]), "task").await;
    let tuple = saver.get_tuple(&config).await.unwrap().unwrap();
    assert_eq!(tuple.pending_writes.len(), 1);
    let all = saver.list(None, ListOptions::default());
    assert_eq!(all.try_collect::<Vec<_>>().await.unwrap().len(), 1);
    let threads: Vec<_> = saver.threads("").try_collect().await.unwrap();
    assert_eq!(threads.len(), 1);
    let thread = config.thread_id.clone();
    assert!(saver.pin(&thread).await.unwrap());
    assert!(saver.unpin(&thread).await.unwrap());
    assert!(saver.touch(&thread).await.unwrap());
    saver
        .delete_thread(&thread, &DeleteOptions::default())
        .await
        .unwrap();
    assert!(saver.get_tuple(&config).await.unwrap().is_none());
}

#[tokio::test]
async fn the_doctor_repairs_with_an_acl_of_its_own() {
    let (server, mut administrator) = server(doctor_rules()).await;
    // An index of the Python saver's kind, a pointer to nothing, a document at another's place.
    let saver = RedisSaver::connect(server.url()).await.unwrap();
    saver.setup().await.unwrap();
    put(&saver, &thread("thread"), &checkpoint()).await;
    let () = redis::cmd("SET")
        .arg("checkpoint_latest:thread:__empty__")
        .arg("checkpoint:thread:__empty__:gone")
        .query_async(&mut administrator)
        .await
        .unwrap();
    let () = redis::cmd("FT.DROPINDEX")
        .arg("checkpoint")
        .query_async(&mut administrator)
        .await
        .unwrap();
    let () = redis::cmd("FT.CREATE")
        .arg(
            "checkpoint ON JSON PREFIX 1 checkpoint: SCHEMA $.thread_id AS thread_id TAG"
                .split(' ')
                .collect::<Vec<_>>(),
        )
        .query_async(&mut administrator)
        .await
        .unwrap();
    let saver = RedisSaver::connect(server.url()).await.unwrap();
    let report = saver.doctor(&DoctorOptions::default()).await.unwrap();
    assert!(!report.is_healthy(), "{report}");
    // An index that still reads what was stored before it is looked at again later.
    let mending = async {
        let options = DoctorOptions::default()
            .with_fix(true)
            .with_rebuild_indexes(true);
        loop {
            saver.doctor(&options).await.unwrap();
            let report = saver.doctor(&DoctorOptions::default()).await.unwrap();
            if report.is_healthy() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), mending)
        .await
        .expect("nothing is left to mend");
}

#[tokio::test]
async fn a_permission_that_is_missing_is_named_also_where_a_script_needs_it() {
    for missing in ["+zadd", "+json.set"] {
        let rules = saver_rules().replace(missing, "");
        let (server, _administrator) = server(&rules).await;
        let saver = RedisSaver::connect(server.url()).await.unwrap();
        let (thread, checkpoint) = (thread("thread"), checkpoint());
        let metadata = CheckpointMetadata::new();
        let error = match saver.setup().await {
            Ok(()) => saver
                .put(&thread, &checkpoint, &metadata, &PutOptions::default())
                .await
                .unwrap_err(),
            Err(error) => error,
        };
        assert!(matches!(error, Error::Permission { .. }), "{error:?}");
        assert!(!error.is_retryable());
        let name = missing.trim_start_matches('+');
        let text = error.report().to_string().to_lowercase();
        assert!(text.contains(name), "{text}");
    }
}

#[tokio::test]
async fn the_error_of_a_user_without_scripting_names_what_to_allow() {
    for rules in ["~* &* +@all -@scripting", "~* &* +@all -eval"] {
        let (server, _administrator) = server(rules).await;
        let saver = RedisSaver::connect(server.url()).await.unwrap();
        let (thread, checkpoint) = (thread("thread"), checkpoint());
        let metadata = CheckpointMetadata::new();
        let options = PutOptions::default();
        let put = saver.put(&thread, &checkpoint, &metadata, &options);
        for refused in [saver.setup().await.err(), put.await.err()] {
            let error = refused.expect("no script may run");
            assert!(matches!(error, Error::Permission { .. }), "{error:?}");
            assert!(!error.is_retryable());
            assert!(
                error.to_string().contains("allow EVAL and EVALSHA"),
                "{error}"
            );
        }
    }
}
