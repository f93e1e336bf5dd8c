//! The HTTP service, and the saver that asks it: a program that has no Redis at hand keeps its
//! threads there by the same trait.
//!
//! ```text
//! cargo run --all-features --example http_saver
//! ```
//!
//! It uses the Redis of `REDIS_URL`, or starts one. Its keys have a prefix of their own, and its
//! thread is deleted in the end.

use std::error::Error;
use std::sync::Arc;

use langgraph_checkpoint_redis::server::{ApiKeys, Authentication, ServerOptions, serve_on};
use langgraph_checkpoint_redis::{
    Checkpoint, CheckpointConfig, CheckpointId, CheckpointMetadata, CheckpointSaver, DeleteOptions,
    HttpSaver, PutOptions, RedisSaver,
};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The service: `langgraph-redis serve` does this.
    let redis = RedisSaver::builder()
        .url(redis_modules::shared_url()?)
        .prefix(format!("http-{}", CheckpointId::now_ulid()))
        .build()
        .await?;
    redis.setup().await?;
    // A line names a key, has its hash, and the prefix of the threads that it is for.
    let keys = ApiKeys::parse(&format!(
        "team-a:{}:team-a/",
        ApiKeys::hash("a long secret")
    ))?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let (stop, stopped) = oneshot::channel::<()>();
    let options = ServerOptions::new(Authentication::Keys(keys));
    let service = tokio::spawn(serve_on(listener, redis, options, stopped));

    // The client, in another program. It is a `CheckpointSaver` like any other.
    let saver: Arc<dyn CheckpointSaver> =
        Arc::new(HttpSaver::builder(&url).api_key("a long secret").build()?);
    let thread = CheckpointConfig::new("team-a/user:42")?;
    let checkpoint = Checkpoint::builder().channel("note", 1, "hello")?.build()?;
    let metadata = CheckpointMetadata::new().with("source", "input")?;
    let options = PutOptions::default();
    saver.put(&thread, &checkpoint, &metadata, &options).await?;
    let found = saver.get_tuple(&thread).await?.ok_or("nothing is stored")?;
    let note: Option<String> = found.checkpoint.channel_value("note")?;
    println!("Through {url}: {} says {note:?}", thread.thread_id);

    // The key is for the threads of one team.
    let foreign = CheckpointConfig::new("team-b/user:42")?;
    if let Err(error) = saver.get_tuple(&foreign).await {
        println!("A thread of others: {error}");
    }

    saver
        .delete_thread(&thread.thread_id, &DeleteOptions::default())
        .await?;
    drop(stop);
    Ok(service.await??)
}
