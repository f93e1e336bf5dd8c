//! A document of 500 KB is made once and sent from where it is; what comes back is read into one
//! buffer, which the answer shares.
//!
//! All memory that the process asks for is counted, so this test is alone in its process.
#![allow(missing_docs, clippy::unwrap_used, clippy::cast_precision_loss)]

use langgraph_checkpoint_redis::{
    Checkpoint, CheckpointConfig, CheckpointId, CheckpointMetadata, CheckpointSaver, PutOptions,
    RedisSaver,
};
use redis_modules::Standalone;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const BYTES: usize = 500_000;
/// What may be asked for beside copies of the document, as a share of it.
const SLACK: f64 = 0.3;

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

#[tokio::test]
async fn a_large_document_is_made_once_when_it_is_put_and_read_into_what_is_returned() {
    let redis = Standalone::start().unwrap();
    let builder = RedisSaver::builder().url(redis.url()).pool_size(1);
    let saver = builder.build().await.unwrap();
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

    let tuple = saver.get_tuple(&thread).await.unwrap().unwrap();
    assert!(tuple.checkpoint == checkpoints[7]);
    let copied = asked_for(async |_| tuple.checkpoint.to_json()).await;
    drop(profiler);

    println!("put {put:.2}, get_tuple {get:.2}, one copy {copied:.2} documents");
    assert!((1.0..1.0 + SLACK).contains(&copied), "a copy is not seen");
    assert!(put < 1.0 + SLACK, "put makes {put:.2} copies");
    // What is read into is what the answer shares.
    assert!(get < 1.0 + SLACK, "get_tuple makes {get:.2} copies");
}
