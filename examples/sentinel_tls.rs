//! A primary and its replicas behind Sentinel, with TLS, and a failover while the saver is in use.
//!
//! ```text
//! cargo run --example sentinel_tls
//! ```
//!
//! It starts servers of its own, with certificates of their own, which end with it.

use std::error::Error;
use std::time::Duration;

use langgraph_checkpoint_redis::{
    Checkpoint, CheckpointConfig, CheckpointMetadata, CheckpointSaver, PutOptions, RedisSaver,
};
use redis_modules::{Sentinel, Tls};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    println!("Starting a primary, replicas and sentinels…");
    let servers = Sentinel::builder().tls(Tls::new()).start()?;
    let certificates = servers.certificates().ok_or("the servers have no TLS")?;

    let saver = RedisSaver::builder()
        .url(servers.url())
        // The authority that signed the servers' certificates, beside the system's.
        .tls_ca_file(certificates.ca_file())
        // A put returns when a replica has it, too: then no failover loses it.
        .wait_for_replicas(1, Duration::from_secs(2))
        .build()
        .await?;
    saver.setup().await?;

    let thread = CheckpointConfig::new("user:42")?;
    let first = put(&saver, &thread, "before the failover").await?;
    println!("Stored on {}", primary(&saver).await);

    servers.fail_over()?;
    // The same saver goes on: it asks the sentinels and sends again what was not answered.
    put(&saver, &first, "after the failover").await?;
    println!("Stored on {}", primary(&saver).await);

    let newest = saver.get_tuple(&thread).await?.ok_or("nothing is stored")?;
    let note: Option<String> = newest.checkpoint.channel_value("note")?;
    println!("The newest checkpoint says: {}", note.unwrap_or_default());
    println!(
        "The one before is there: {}",
        saver.get_tuple(&first).await?.is_some()
    );
    Ok(())
}

async fn put(
    saver: &RedisSaver,
    after: &CheckpointConfig,
    note: &str,
) -> langgraph_checkpoint_redis::Result<CheckpointConfig> {
    let checkpoint = Checkpoint::builder().channel("note", 1, note)?.build()?;
    let metadata = CheckpointMetadata::new().with("source", "loop")?;
    saver
        .put(after, &checkpoint, &metadata, &PutOptions::default())
        .await
}

async fn primary(saver: &RedisSaver) -> String {
    let servers = saver.health().await.servers;
    servers.into_iter().map(|server| server.server).collect()
}
