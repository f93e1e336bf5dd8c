//! Threads in a Redis Cluster: spread over its servers, each thread whole on one of them.
//!
//! ```text
//! cargo run --example cluster
//! ```
//!
//! It starts a cluster of its own, which ends with it.

use std::error::Error;

use futures_util::TryStreamExt;
use langgraph_checkpoint_redis::{
    Checkpoint, CheckpointConfig, CheckpointMetadata, CheckpointSaver, PutOptions, RedisSaver,
};
use redis_modules::Cluster;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    println!("Starting a cluster…");
    let cluster = Cluster::start()?;

    // With hash tags around thread ids, the keys of a thread share a slot, and each call is one
    // round trip and atomic. It is a choice for good: it is part of the keys.
    let saver = RedisSaver::builder()
        .url(cluster.url())
        .hash_tag_threads(true)
        .build()
        .await?;
    saver.setup().await?;

    let health = saver.health().await;
    println!(
        "Ready: {}. The servers that take writes:",
        health.is_ready()
    );
    for server in &health.servers {
        println!("  {}", server.server);
    }

    for user in ["ada", "grace", "katherine"] {
        let thread = CheckpointConfig::new(user)?;
        let checkpoint = Checkpoint::builder()
            .channel("messages", 1, &["hello"])?
            .build()?;
        let metadata = CheckpointMetadata::new().with("source", "input")?;
        let options = PutOptions::default();
        saver.put(&thread, &checkpoint, &metadata, &options).await?;
    }
    let mut threads: Vec<_> = saver.threads("").try_collect().await?;
    threads.sort_by(|one, other| one.thread_id.cmp(&other.thread_id));
    println!("Threads, from all servers:");
    for thread in threads {
        println!(
            "  {}, {} checkpoint(s)",
            thread.thread_id, thread.checkpoints
        );
    }
    Ok(())
}
