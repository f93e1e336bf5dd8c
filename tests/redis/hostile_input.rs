//! What cannot be is refused in one clear sentence that names the key or field, and nothing is
//! written.

use std::time::Duration;

use futures_util::TryStreamExt;
use langgraph_checkpoint_redis::{
    ChannelWrite, Checkpoint, CheckpointConfig, CheckpointMetadata, CheckpointSaver, Error,
    PruneOptions, PutOptions, PutWritesOptions, RedisSaver, TaskId, TtlChoice, TypedValue,
};
use redis_modules::Standalone;

use crate::support::server::Server;
use crate::support::stored::{self, checkpoint, place, writes};

fn thread() -> CheckpointConfig {
    stored::thread("thread-1")
}

async fn put(saver: &RedisSaver, checkpoint: &Checkpoint) -> Result<CheckpointConfig, Error> {
    let metadata = CheckpointMetadata::new();
    saver
        .put(&thread(), checkpoint, &metadata, &PutOptions::default())
        .await
}

async fn put_write(saver: &RedisSaver, config: &CheckpointConfig) -> Result<(), Error> {
    let task = TaskId::new("task").unwrap();
    saver
        .put_writes(config, &writes(&["n"]), &task, &PutWritesOptions::default())
        .await
}

#[track_caller]
fn assert_says(error: &Error, parts: &[&str]) {
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
    assert!(!text.contains('\n'), "{text}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let error = RedisSaver::connect(format!("redis://:secret@127.0.0.1:{port}"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Connection { .. }), "{error:?}");
    assert_says(&error, &[&format!("127.0.0.1:{port}")]);
    assert!(!format!("{error} {error:?}").contains("secret"));
    assert!(error.is_retryable());
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let error = RedisSaver::builder()
        .url(format!("redis://127.0.0.1:{port}"))
        .connect_timeout(Duration::from_millis(300))
        .build()
        .await
        .unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
}

#[tokio::test]
async fn a_wrong_password_is_refused_without_showing_it() {
    let redis = Standalone::builder().password("right").start().unwrap();
    for url in [
        format!("redis://:wrong@127.0.0.1:{}", redis.port()),
        format!("redis://127.0.0.1:{}", redis.port()),
    ] {
        let error = match RedisSaver::connect(url).await {
            Err(error) => error,
            Ok(saver) => saver.setup().await.unwrap_err(),
        };
        assert!(matches!(error, Error::Authentication { .. }), "{error:?}");
        let shown = format!("{error} {error:?}");
        assert!(
            !shown.contains(":wrong") && !shown.contains("right"),
            "{shown}"
        );
    }
    let saver = RedisSaver::connect(redis.url()).await.unwrap();
    saver.setup().await.unwrap();
    assert!(!format!("{saver:?}").contains("right"));
}

#[tokio::test]
async fn a_server_without_the_modules_is_refused_with_what_it_lacks() {
    let redis = Standalone::builder().without_modules().start().unwrap();
    let saver = RedisSaver::connect(redis.url()).await.unwrap();
    let error = saver.setup().await.unwrap_err();
    assert!(matches!(error, Error::MissingModule { .. }), "{error:?}");
    assert_says(&error, &["RedisJSON", "Redis 8"]);
}

#[tokio::test]
async fn a_document_over_the_limit_is_refused_and_nothing_is_written() {
    let mut server = Server::start().await;
    let saver = RedisSaver::builder()
        .url(server.redis.url())
        .max_document_bytes(2_000)
        .build()
        .await
        .unwrap();
    let large = Checkpoint::builder()
        .channel("text", 1, &"x".repeat(2_000))
        .unwrap();
    let large = large.build().unwrap();
    let error = put(&saver, &large).await.unwrap_err();
    assert!(
        matches!(error, Error::TooLarge { limit: 2_000, .. }),
        "{error:?}"
    );
    assert_says(&error, &["thread-1", "2000", "max_document_bytes"]);

    let writes = [
        ChannelWrite::new("small", TypedValue::json(&1).unwrap()),
        ChannelWrite::new("large", TypedValue::json(&"x".repeat(3_000)).unwrap()),
    ];
    let config = thread().with_checkpoint(large.id().clone());
    let task = TaskId::new("task").unwrap();
    let error = saver
        .put_writes(&config, &writes, &task, &PutWritesOptions::default())
        .await
        .unwrap_err();
    assert_says(&error, &["`large`"]);
    assert_eq!(server.keys().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_key_of_another_type_is_named_and_nothing_is_written() {
    let checkpoint = checkpoint();
    let id = checkpoint.id().as_str();
    for (key, by_writes) in [
        (format!("checkpoint:thread-1:__empty__:{id}"), true),
        ("checkpoint_latest:thread-1:__empty__".to_owned(), false),
        ("checkpoint_keys_zset:thread-1:__empty__".to_owned(), false),
        ("checkpoint_ns_set:thread-1".to_owned(), true),
        (format!("write_keys_zset:thread-1:__empty__:{id}"), true),
        (
            format!("checkpoint_write:thread-1:__empty__:{id}:task:0"),
            true,
        ),
    ] {
        let mut server = Server::start().await;
        let saver = server.saver().await;
        server.run(&["RPUSH", &key, "x"]).await;
        let before = server.contents().await;
        let config = thread().with_checkpoint(checkpoint.id().clone());
        if !key.starts_with("checkpoint_write:") {
            let error = put(&saver, &checkpoint).await.unwrap_err();
            assert!(
                matches!(&error, Error::WrongType { key: named } if *named == key),
                "{error:?}"
            );
        }
        if by_writes {
            let error = put_write(&saver, &config).await.unwrap_err();
            assert!(
                matches!(&error, Error::WrongType { key: named } if *named == key),
                "{error:?}"
            );
        }
        assert_eq!(server.contents().await, before);
    }
}

#[tokio::test]
async fn a_corrupted_document_is_named() {
    let mut server = Server::start().await;
    let saver = server.saver().await;
    let stored = put(&saver, &checkpoint()).await.unwrap();
    let id = stored.checkpoint_id.clone().unwrap();
    let key = format!("checkpoint:thread-1:__empty__:{id}");
    for (path, value) in [
        ("$.metadata", "\"{\""),
        ("$.checkpoint", "[]"),
        ("$.checkpoint.id", "7"),
    ] {
        put(
            &saver,
            &Checkpoint::from_json(format!(r#"{{"id":"{id}"}}"#)).unwrap(),
        )
        .await
        .unwrap();
        server.run(&["JSON.SET", &key, path, value]).await;
        for config in [&thread(), &stored] {
            let error = saver.get_tuple(config).await.unwrap_err();
            assert!(
                matches!(&error, Error::Corrupt { key: named, .. } if *named == key),
                "{error:?}"
            );
        }
    }
    put_write(&saver, &stored).await.unwrap();
    let write = format!("checkpoint_write:thread-1:__empty__:{id}:task:0");
    server.run(&["JSON.SET", &write, "$.blob", "\"%%\""]).await;
    put(
        &saver,
        &Checkpoint::from_json(format!(r#"{{"id":"{id}"}}"#)).unwrap(),
    )
    .await
    .unwrap();
    let error = saver.get_tuple(&thread()).await.unwrap_err();
    assert_says(&error, &["thread-1", "base64"]);
}

#[tokio::test]
async fn a_document_under_a_foreign_key_is_not_replaced_or_read() {
    let mut server = Server::start().await;
    let saver = server.saver().await;
    let checkpoint = checkpoint();
    let metadata = CheckpointMetadata::new();
    let (one, other) = (place("a:b", "x"), place("a", "b:x"));
    saver
        .put(&one, &checkpoint, &metadata, &PutOptions::default())
        .await
        .unwrap();
    let before = server.contents().await;
    let error = saver
        .put(&other, &checkpoint, &metadata, &PutOptions::default())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
    assert_eq!(server.contents().await, before);
    let found = saver.get_tuple(&one).await.unwrap().unwrap();
    assert_eq!(found.checkpoint, checkpoint);
    let named = other.clone().with_checkpoint(checkpoint.id().clone());
    for config in [&other, &named] {
        assert_eq!(saver.get_tuple(config).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_ttl_that_cannot_be_is_refused() {
    let mut server = Server::start().await;
    let saver = server.saver().await;
    for ttl in [Duration::ZERO, Duration::MAX] {
        let options = PutOptions::default().with_ttl(TtlChoice::For(ttl));
        let error = saver
            .put(
                &thread(),
                &checkpoint(),
                &CheckpointMetadata::new(),
                &options,
            )
            .await
            .unwrap_err();
        assert_says(&error, &["ttl"]);
    }
    assert_eq!(server.keys().await, Vec::<String>::new());
}

#[tokio::test]
async fn writes_without_a_checkpoint_to_belong_to_are_refused() {
    let mut server = Server::start().await;
    let saver = server.saver().await;
    let error = put_write(&saver, &thread()).await.unwrap_err();
    assert_says(&error, &["config.checkpoint_id"]);
    assert_eq!(server.keys().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_server_without_memory_refuses_and_nothing_is_torn() {
    let mut server = Server::start().await;
    let saver = server.saver().await;
    let stored = put(&saver, &checkpoint()).await.unwrap();
    put_write(&saver, &stored).await.unwrap();
    let before = server.contents().await;
    server.run(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let error = put(&saver, &checkpoint()).await.unwrap_err();
    assert!(matches!(error, Error::OutOfMemory), "{error:?}");
    let config = thread().with_checkpoint(checkpoint().id().clone());
    let error = put_write(&saver, &config).await.unwrap_err();
    assert!(matches!(error, Error::OutOfMemory), "{error:?}");
    assert_eq!(server.contents().await, before);
    server.run(&["CONFIG", "SET", "maxmemory", "0"]).await;
    put(&saver, &checkpoint()).await.unwrap();
}

#[tokio::test]
async fn a_closed_saver_fails_with_closed() {
    let server = Server::start().await;
    let saver = server.saver().await;
    saver.close().await;
    let error = put(&saver, &checkpoint()).await.unwrap_err();
    assert!(matches!(error, Error::Closed), "{error:?}");
}

#[tokio::test]
async fn writes_under_a_foreign_key_are_refused_and_leave_the_others_alone() {
    let mut server = Server::start().await;
    let saver = server.saver().await;
    let id = checkpoint().id().clone();
    let config =
        |thread: &str, namespace: &str| place(thread, namespace).with_checkpoint(id.clone());
    put_write(&saver, &config("a:b", "x")).await.unwrap();
    let before = server.contents().await;
    let error = put_write(&saver, &config("a", "b:x")).await.unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
    assert_eq!(server.contents().await, before);
}

#[tokio::test]
async fn a_newest_checkpoint_that_someone_removed_gives_way_to_the_one_before() {
    let mut server = Server::start().await;
    let saver = server.saver().await;
    let large = |size: usize| {
        let builder = Checkpoint::builder()
            .channel("text", 1, &"x".repeat(size))
            .unwrap();
        builder.build().unwrap()
    };
    for size in [10, 20_000] {
        let (older, newer) = (large(size), large(size));
        put(&saver, &older).await.unwrap();
        put(&saver, &newer).await.unwrap();
        let key = format!("checkpoint:thread-1:__empty__:{}", newer.id());
        server.run(&["DEL", &key]).await;
        for _ in 0..2 {
            let found = saver.get_tuple(&thread()).await.unwrap().unwrap();
            assert_eq!(found.checkpoint, older, "{size} bytes");
        }
        let summary = saver.thread(&thread().thread_id).await.unwrap().unwrap();
        assert_eq!(summary.newest.as_ref(), Some(older.id()));
    }
}

#[tokio::test]
async fn pruning_keeps_a_checkpoint_whose_early_writes_have_expired() {
    let server = Server::start().await;
    let saver = server.saver().await;
    let checkpoint = checkpoint();
    let config = thread().with_checkpoint(checkpoint.id().clone());
    let soon = TtlChoice::For(Duration::from_millis(5));
    stored::put_writes_for(&saver, &config, &writes(&["n"]), "task", soon).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    put(&saver, &checkpoint).await.unwrap();
    saver
        .prune(&[thread().thread_id], &PruneOptions::default())
        .await
        .unwrap();
    let kept = saver.get_tuple(&thread()).await.unwrap().unwrap();
    assert_eq!((kept.checkpoint, kept.pending_writes), (checkpoint, vec![]));
}

#[tokio::test]
async fn all_of_many_threads_with_one_prefix_are_listed() {
    let server = Server::start().await;
    let saver = server.saver().await;
    let mut expected: Vec<_> = (0..450).map(|number| format!("user-{number}")).collect();
    expected.sort();
    for id in &expected {
        stored::put(&saver, &stored::thread(id), &checkpoint()).await;
    }
    stored::put(&saver, &stored::thread("use"), &checkpoint()).await;
    let found: Vec<_> = saver.threads("user-").try_collect().await.unwrap();
    let mut found: Vec<_> = found
        .iter()
        .map(|summary| summary.thread_id.as_str())
        .collect();
    found.sort_unstable();
    assert_eq!(found, expected);
}
