//! An axum service with endpoints of its own that has the checkpoint service below one path.
//!
//! ```text
//! cargo run --all-features --example embedded_service
//! ```
//!
//! It uses the Redis of `REDIS_URL`, or starts one, asks itself, and ends.

use std::error::Error;

use axum::Router;
use axum::routing::get;
use langgraph_checkpoint_redis::server::{Authentication, ServerOptions, router};
use langgraph_checkpoint_redis::{
    Checkpoint, CheckpointConfig, CheckpointId, CheckpointMetadata, CheckpointSaver, DeleteOptions,
    HttpSaver, PutOptions, RedisSaver,
};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let saver = RedisSaver::builder()
        .url(redis_modules::shared_url()?)
        .prefix(format!("embedded-{}", CheckpointId::now_ulid()))
        .build()
        .await?;
    saver.setup().await?;

    // Without keys it may listen on this machine only. Limits on connections and on slow clients
    // are this program's matter: `axum::serve` has none, `server::serve` has.
    let checkpoints = router(saver, &ServerOptions::new(Authentication::Off))?;
    let app = Router::new()
        .route("/", get(|| async { "an application" }))
        .nest("/state", checkpoints);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async { stopped.await.unwrap_or_default() };
    let service = axum::serve(listener, app).with_graceful_shutdown(shutdown);
    let service = tokio::spawn(service.into_future());

    let client = HttpSaver::builder(format!("{url}/state")).build()?;
    let thread = CheckpointConfig::new("user:42")?;
    let checkpoint = Checkpoint::builder().channel("note", 1, "hello")?.build()?;
    let metadata = CheckpointMetadata::new().with("source", "input")?;
    let options = PutOptions::default();
    client
        .put(&thread, &checkpoint, &metadata, &options)
        .await?;
    let found = client.get_tuple(&thread).await?;
    let found = found.ok_or("nothing is stored")?;
    println!(
        "Stored through {url}/state and read again: {}",
        found.checkpoint.id()
    );
    client
        .delete_thread(&thread.thread_id, &DeleteOptions::default())
        .await?;

    drop((client, stop));
    Ok(service.await??)
}
