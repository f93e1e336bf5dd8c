//! How long threads are kept: a TTL for all, another one for a call, threads that are read, touched
//! or pinned.
//!
//! ```text
//! cargo run --example ttl_and_pinning
//! ```
//!
//! It uses the Redis of `REDIS_URL`, or starts one. Its keys have a prefix of their own, and its
//! threads are deleted in the end.

use std::error::Error;
use std::time::Duration;

use langgraph_checkpoint_redis::{
    Checkpoint, CheckpointConfig, CheckpointId, CheckpointMetadata, CheckpointSaver, DeleteOptions,
    PutOptions, RedisSaver, TtlChoice, TtlPolicy,
};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome {
    let saver = RedisSaver::builder()
        .url(redis_modules::shared_url()?)
        .prefix(format!("ttl-{}", CheckpointId::now_ulid()))
        // Reading a checkpoint gives it the TTL again, in the same round trip.
        .ttl(TtlPolicy::new(Duration::from_secs(60)).with_refresh_on_read(true))
        .build()
        .await?;
    saver.setup().await?;
    let thread = CheckpointConfig::new("user:42")?;

    put(&saver, &thread, TtlChoice::Default).await?;
    show(&saver, &thread, "put, with the saver's TTL").await?;

    tokio::time::sleep(Duration::from_millis(1_500)).await;
    show(&saver, &thread, "a second and a half later").await?;
    saver.get_tuple(&thread).await?;
    show(&saver, &thread, "read").await?;

    put(&saver, &thread, TtlChoice::For(Duration::from_secs(10))).await?;
    show(&saver, &thread, "put again, with a TTL of its own").await?;
    saver.touch(&thread.thread_id).await?;
    show(&saver, &thread, "touched").await?;

    saver.pin(&thread.thread_id).await?;
    show(&saver, &thread, "pinned").await?;
    saver.touch(&thread.thread_id).await?;
    show(&saver, &thread, "touched while it is pinned").await?;
    saver.unpin(&thread.thread_id).await?;
    show(&saver, &thread, "unpinned").await?;

    let options = DeleteOptions::default();
    Ok(saver.delete_thread(&thread.thread_id, &options).await?)
}

async fn put(saver: &RedisSaver, thread: &CheckpointConfig, ttl: TtlChoice) -> Outcome {
    let checkpoint = Checkpoint::builder().channel("note", 1, "hello")?.build()?;
    let metadata = CheckpointMetadata::new().with("source", "input")?;
    let options = PutOptions::default().with_ttl(ttl);
    saver.put(thread, &checkpoint, &metadata, &options).await?;
    Ok(())
}

async fn show(saver: &RedisSaver, thread: &CheckpointConfig, when: &str) -> Outcome {
    let summary = saver.thread(&thread.thread_id).await?;
    let summary = summary.ok_or("there is no such thread")?;
    match summary.ttl {
        Some(ttl) => println!("{when:<34} expires in {:>4.1} s", ttl.as_secs_f64()),
        None => println!("{when:<34} never expires"),
    }
    Ok(())
}
