//! A document of 500 KB is copied once on its way to the server, and not at all on its way back,
//! beyond what the client's own buffers take.
//!
//! All memory that the process asks for is counted, and that for the same document through a bare
//! client of the same kind is taken off. This test is alone in its process for that.
#![cfg(feature = "redis")]
#![allow(missing_docs, clippy::unwrap_used, clippy::cast_precision_loss)]

use bytes::Bytes;
use fred::clients::Pool;
use fred::prelude::{Builder, ClientLike, Config};
use fred::types::{CustomCommand, Value};
use langgraph_checkpoint_redis::{
    Checkpoint, CheckpointConfig, CheckpointId, CheckpointMetadata, CheckpointSaver, PutOptions,
    RedisSaver,
};
use redis_modules::Standalone;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const BYTES: usize = 500_000;
/// What may be asked for beside copies of the document, as a share of it.
const SLACK: f64 = 0.1;

/// The memory that a call asks for, in documents: the least of several calls, as others may be
/// under way in the background.
async fn asked_for<T>(mut call: impl AsyncFnMut(usize) -> T) -> f64 {
    let mut least = u64::MAX;
    // The first calls let buffers grow.
    for n in 0..8 {
        let before = dhat::HeapStats::get().total_bytes;
        let answer = call(n).await;
        let after = dhat::HeapStats::get().total_bytes;
        drop(answer);
        if n > 2 {
            least = least.min(after - before);
        }
    }
    least as f64 / BYTES as f64
}

/// Sends commands through a bare client in one flight, and gives the answer to the second.
async fn bare(client: &Pool, commands: &[(&'static str, &[Bytes])]) -> Value {
    let pipeline = client.next().pipeline();
    for (name, args) in commands {
        let command = CustomCommand::new_static(name, None, false);
        let args: Vec<_> = args.iter().cloned().map(Value::Bytes).collect();
        pipeline.custom::<(), Value>(command, args).await.unwrap();
    }
    let mut answers: Vec<Value> = pipeline.all().await.unwrap();
    answers.swap_remove(1)
}

#[tokio::test]
async fn a_large_document_is_copied_once_when_it_is_put_and_never_when_it_is_read() {
    let redis = Standalone::start().unwrap();
    let config = Config::from_url(&redis.url()).unwrap();
    let client = Builder::from_config(config).build_pool(1).unwrap();
    client.init().await.unwrap();
    let saver = RedisSaver::from_client(client.clone()).await.unwrap();
    saver.setup().await.unwrap();

    let thread = CheckpointConfig::new("thread").unwrap();
    let checkpoints: Vec<_> = (0..8)
        .map(|n| {
            Checkpoint::builder()
                .id(CheckpointId::new(format!("{n}")).unwrap())
                .channel("text", 1, &"a word ".repeat(BYTES / 7))
                .unwrap()
                .build()
                .unwrap()
        })
        .collect();
    let (metadata, options) = (CheckpointMetadata::new(), PutOptions::default());
    let profiler = dhat::Profiler::builder().testing().build();
    let put = asked_for(async |n| {
        let checkpoint = &checkpoints[n];
        saver
            .put(&thread, checkpoint, &metadata, &options)
            .await
            .unwrap()
    })
    .await;
    let get = asked_for(async |_| saver.get_tuple(&thread).await.unwrap().unwrap()).await;

    let key = Bytes::from_static(b"checkpoint:thread:__empty__:7");
    let read = [("PING", &[][..]), ("JSON.GET", &[key.clone()])];
    let get_bare = asked_for(async |_| bare(&client, &read).await).await;
    let document = bare(&client, &read).await.into_bytes().unwrap();
    let set = [key.clone(), Bytes::from_static(b"$"), document];
    let lease = [key, Bytes::from_static(b"60000")];
    let write = [
        ("MULTI", &[][..]),
        ("JSON.SET", &set),
        ("PEXPIRE", &lease),
        ("EXEC", &[]),
    ];
    let put_bare = asked_for(async |_| bare(&client, &write).await).await;
    drop(profiler);

    println!("put {put:.2}, bare {put_bare:.2}; get_tuple {get:.2}, bare {get_bare:.2} documents");
    let (put, get) = (put - put_bare, get - get_bare);
    assert!(put < 1.0 + SLACK, "put makes {put:.2} copies");
    assert!(get < SLACK, "get_tuple makes {get:.2} copies");
}
