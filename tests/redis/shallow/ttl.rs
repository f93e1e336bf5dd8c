//! How long what is stored is kept.

use std::time::Duration;

use langgraph_checkpoint_redis::{CheckpointSaver, RedisSaver, ThreadId, TtlPolicy, TtlScope};

use super::{HOUR, assert_ttl, place, put, put_writes, read, saver_with};
use crate::support::server::Server;

#[tokio::test]
async fn every_key_has_a_ttl_and_a_pinned_thread_has_none() {
    let mut server = Server::start().await;
    let saver = saver_with(&server, TtlPolicy::new(HOUR).with_refresh_on_read(true)).await;
    let thread = ThreadId::new("t").unwrap();
    assert!(!saver.pin(&thread).await.unwrap());
    assert!(!saver.touch(&thread).await.unwrap());
    let (root, child) = (place("t", ""), place("t", "child"));
    put_writes(&saver, &child, "1", &["early"], 1).await;
    for name in ["1", "2"] {
        put(&saver, &root, name).await;
        put_writes(&saver, &root, name, &["a", "b"], 1).await;
    }
    assert_ttl(&mut server, true).await;
    for key in server.keys().await {
        server.run(&["PEXPIRE", &key, "5000"]).await;
    }
    read(&saver, &root).await;
    for key in server.keys().await {
        let refreshed = server.time_left(&key).await > 5_000;
        assert_eq!(refreshed, !key.contains(":child:"), "{key}");
    }
    assert!(saver.touch(&thread).await.unwrap());
    for key in server.keys().await {
        assert!(server.time_left(&key).await > 5_000, "{key}");
    }
    assert!(saver.pin(&thread).await.unwrap());
    assert_ttl(&mut server, false).await;
    put(&saver, &root, "3").await;
    put_writes(&saver, &root, "3", &["a"], 1).await;
    read(&saver, &root).await;
    assert!(saver.touch(&thread).await.unwrap());
    assert_ttl(&mut server, false).await;
    assert!(saver.unpin(&thread).await.unwrap());
    assert_ttl(&mut server, true).await;
    put(&saver, &root, "4").await;
    assert_ttl(&mut server, true).await;
}

#[tokio::test]
async fn a_ttl_for_whole_threads_is_refused() {
    let server = Server::start().await;
    let ttl = TtlPolicy::new(Duration::from_secs(60)).with_scope(TtlScope::Thread);
    let error = RedisSaver::builder()
        .url(server.redis.url())
        .ttl(ttl)
        .build_shallow()
        .await;
    assert!(error.unwrap_err().to_string().contains("ttl_scope"));
}
