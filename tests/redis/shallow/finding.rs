//! What is found by the index, and without it.

use futures_util::TryStreamExt;
use langgraph_checkpoint_redis::{
    CheckpointConfig, CheckpointMetadata, CheckpointSaver, ListOptions, PutOptions, RedisSaver,
    ThreadId, TtlPolicy,
};

use super::{HOUR, assert_ttl, checkpoint, delete, ids, place, put, put_writes, saver, saver_with};
use crate::support::server::Server;

#[tokio::test]
async fn a_thread_that_only_the_index_knows_is_pinned_and_deleted() {
    let mut server = Server::start().await;
    let saver = saver_with(&server, TtlPolicy::new(HOUR)).await;
    for namespace in ["", "child"] {
        let config = place("t", namespace);
        put(&saver, &config, "2").await;
        put_writes(&saver, &config, "2", &["a"], 1).await;
    }
    let thread = ThreadId::new("t").unwrap();
    server.run(&["DEL", "checkpoint_ns_set:t"]).await;
    let listed = CheckpointConfig::of_thread(thread.clone());
    let listed = ids(&saver, Some(&listed), ListOptions::default()).await;
    assert_eq!(listed, ["2", "2"]);
    assert!(saver.pin(&thread).await.unwrap());
    put(&saver, &place("t", "child"), "3").await;
    assert_ttl(&mut server, false).await;
    for key in server.keys().await {
        if !key.starts_with("checkpoint:") && !key.starts_with("checkpoint_write:") {
            server.run(&["DEL", &key]).await;
        }
    }
    assert_eq!(server.keys().await.len(), 3);
    delete(&saver, "t").await;
    assert_eq!(server.keys().await, Vec::<String>::new());
}

#[tokio::test]
async fn checkpoints_of_a_full_saver_under_the_same_prefix_are_kept_apart() {
    let server = Server::start().await;
    let saver = saver(&server).await;
    let full = server.saver().await;
    let config = place("t", "");
    let metadata = CheckpointMetadata::new();
    let options = PutOptions::default();
    for name in ["1", "2", "3"] {
        full.put(&config, &checkpoint(name), &metadata, &options)
            .await
            .unwrap();
    }
    assert_eq!(saver.get_tuple(&config).await.unwrap(), None);
    put(&saver, &config, "2").await;
    put(&saver, &place("u", ""), "9").await;
    assert_eq!(ids(&saver, None, ListOptions::default()).await, ["9", "2"]);
    let threads: Vec<_> = saver.threads("t").try_collect().await.unwrap();
    assert_eq!((threads.len(), threads[0].checkpoints), (1, 1));
    let tuple = full.get_tuple(&config).await.unwrap().unwrap();
    assert_eq!(tuple.checkpoint, checkpoint("3"));
}

#[tokio::test]
async fn without_an_index_a_scan_finds_all() {
    let mut server = Server::start().await;
    let saver = RedisSaver::builder()
        .url(server.redis.url())
        .build_shallow()
        .await
        .unwrap();
    for (thread, name) in [("a", "1"), ("b:c", "3"), ("d", "2")] {
        put(&saver, &place(thread, ""), name).await;
        put(&saver, &place(thread, "n:1"), &format!("{name}n")).await;
    }
    server.run(&["SET", "checkpoint:other", "x"]).await;
    let listed = ids(&saver, None, ListOptions::default()).await;
    assert_eq!(listed, ["3n", "3", "2n", "2", "1n", "1"]);
    let threads: Vec<_> = saver.threads("").try_collect().await.unwrap();
    assert_eq!(threads.len(), 3);
    assert!(threads.iter().all(|thread| thread.checkpoints == 2));
    for thread in ["a", "b:c", "d"] {
        delete(&saver, thread).await;
    }
    assert_eq!(server.keys().await, ["checkpoint:other"]);
}
