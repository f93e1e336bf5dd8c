//! A large document goes to the server beside the script that stores it. It is stored as one
//! step all the same, and nothing that was on the way is left.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use langgraph_checkpoint_redis::{
    Checkpoint, CheckpointConfig, CheckpointId, CheckpointMetadata, CheckpointSaver,
    CheckpointSaverExt, DeleteOptions, Error, ExpectedParent, ListOptions, PutOptions, RedisSaver,
    ThreadId, TtlPolicy,
};

use crate::support::server::Server;

fn large(id: &str, text: &str) -> Checkpoint {
    Checkpoint::builder()
        .id(CheckpointId::new(id).unwrap())
        .channel("text", 1, &text.repeat(20_000 / text.len()))
        .unwrap()
        .build()
        .unwrap()
}

async fn put(saver: &RedisSaver, thread: &str, checkpoint: &Checkpoint) -> Result<(), Error> {
    let config = CheckpointConfig::new(thread).unwrap();
    let metadata = CheckpointMetadata::new();
    let options = PutOptions::default();
    saver
        .put(&config, checkpoint, &metadata, &options)
        .await
        .map(drop)
}

async fn read(saver: &RedisSaver, thread: &str) -> Option<Checkpoint> {
    let config = CheckpointConfig::new(thread).unwrap();
    let tuple = saver.get_tuple(&config).await.unwrap();
    tuple.map(|tuple| tuple.checkpoint)
}

async fn nothing_is_staged(server: &mut Server) {
    let keys = server.keys().await;
    let staged: Vec<_> = keys.iter().filter(|key| key.contains("staged")).collect();
    assert!(staged.is_empty(), "{staged:?}");
}

#[tokio::test]
async fn a_large_checkpoint_comes_back_and_the_index_finds_it() {
    let mut server = Server::start().await;
    let saver = server.saver().await;
    let (one, other) = (large("1", "a"), large("2", "b"));
    put(&saver, "t", &one).await.unwrap();
    put(&saver, "t", &other).await.unwrap();
    put(&saver, "t", &other).await.unwrap();
    assert!(read(&saver, "t").await == Some(other.clone()));
    let listed = saver.list_all(None, ListOptions::default()).await.unwrap();
    let listed: Vec<_> = listed.into_iter().map(|tuple| tuple.checkpoint).collect();
    assert!(listed == [other, one]);
    nothing_is_staged(&mut server).await;
    let thread = ThreadId::new("t").unwrap();
    saver
        .delete_thread(&thread, &DeleteOptions::default())
        .await
        .unwrap();
    assert!(server.keys().await.is_empty());
}

#[tokio::test]
async fn what_is_refused_changes_nothing_and_leaves_nothing_behind() {
    let mut server = Server::start().await;
    let saver = server.saver().await;
    let stored = large("1", "a");
    put(&saver, "a:b", &stored).await.unwrap();
    let before = server.contents().await;

    // Another thread's document under the same key.
    let config = CheckpointConfig::new("a").unwrap();
    let config = config.with_namespace("b:__empty__").unwrap();
    let (checkpoint, metadata) = (large("1", "b"), CheckpointMetadata::new());
    let foreign = saver
        .put(&config, &checkpoint, &metadata, &PutOptions::default())
        .await
        .unwrap_err();
    assert!(matches!(foreign, Error::Conflict { .. }), "{foreign}");

    let mut expected = PutOptions::default();
    expected.expected_parent = ExpectedParent::None;
    let config = CheckpointConfig::new("a:b").unwrap();
    let conflict = saver
        .put(&config, &large("2", "b"), &metadata, &expected)
        .await
        .unwrap_err();
    assert!(matches!(conflict, Error::Conflict { .. }), "{conflict}");

    server
        .run(&["SET", "checkpoint:w:__empty__:1", "text"])
        .await;
    let wrong = put(&saver, "w", &large("1", "c")).await.unwrap_err();
    assert!(matches!(wrong, Error::WrongType { .. }), "{wrong}");
    server.run(&["DEL", "checkpoint:w:__empty__:1"]).await;

    assert_eq!(server.contents().await, before);
    assert!(read(&saver, "a:b").await == Some(stored));
}

#[tokio::test]
async fn a_ttl_holds_for_large_documents_and_none_is_left_where_there_is_none() {
    let mut server = Server::start().await;
    let saver = RedisSaver::builder()
        .url(server.redis.url())
        .ttl(TtlPolicy::new(Duration::from_secs(3_600)))
        .build()
        .await
        .unwrap();
    let forever = RedisSaver::connect(server.redis.url()).await.unwrap();
    put(&saver, "t", &large("1", "a")).await.unwrap();
    put(&forever, "u", &large("1", "a")).await.unwrap();
    for key in server.keys().await {
        let left = server.time_left(&key).await;
        if key.contains(":u") {
            assert_eq!(left, -1, "{key}");
        } else {
            assert!((3_500_000..=3_600_000).contains(&left), "{key} has {left}");
        }
    }
}

#[tokio::test]
async fn scripts_that_the_server_has_forgotten_are_sent_again() {
    let mut server = Server::start().await;
    let saver = server.saver().await;
    for id in ["1", "2", "3"] {
        server.run(&["SCRIPT", "FLUSH"]).await;
        let checkpoint = large(id, id);
        put(&saver, "t", &checkpoint).await.unwrap();
        assert!(read(&saver, "t").await == Some(checkpoint));
    }
    nothing_is_staged(&mut server).await;
}

#[tokio::test]
async fn a_server_that_takes_no_transactions_gets_the_document_in_the_script() {
    let mut server = Server::start().await;
    let user = [
        "ACL", "SETUSER", "saver", "on", ">secret", "~*", "+@all", "-multi", "-exec",
    ];
    server.run(&user).await;
    let url = server
        .redis
        .url()
        .replace("redis://", "redis://saver:secret@");
    let saver = RedisSaver::connect(&url).await.unwrap();
    saver.setup().await.unwrap();
    for id in ["1", "2"] {
        let checkpoint = large(id, id);
        put(&saver, "t", &checkpoint).await.unwrap();
        assert!(read(&saver, "t").await == Some(checkpoint));
    }
    nothing_is_staged(&mut server).await;
}

#[tokio::test]
async fn no_reader_ever_sees_half_of_one_while_many_write_the_same() {
    let server = Server::start().await;
    let saver = server.saver().await;
    let versions: Vec<_> = ["a", "b", "c", "d"].map(|text| large("1", text)).into();
    put(&saver, "t", &versions[0]).await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let writers = versions.iter().map(|version| {
        let (saver, version) = (saver.clone(), version.clone());
        tokio::spawn(async move {
            for _ in 0..100 {
                put(&saver, "t", &version).await.unwrap();
            }
        })
    });
    let reader = {
        let (saver, versions, done) = (saver.clone(), versions.clone(), Arc::clone(&done));
        tokio::spawn(async move {
            while !done.load(Ordering::Relaxed) {
                let found = read(&saver, "t").await.unwrap();
                assert!(versions.contains(&found));
            }
        })
    };
    for writer in join_all(writers).await {
        writer.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    reader.await.unwrap();
}
