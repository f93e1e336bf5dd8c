//! Shallow mode: the Python package's format, the newest checkpoint only, and nothing left behind.

mod finding;
mod many_writes;
mod names;
mod python;
mod ttl;
mod writing;

use langgraph_checkpoint_redis::{
    ChannelWrite, Checkpoint, CheckpointConfig, CheckpointId, CheckpointMetadata, CheckpointSaver,
    CheckpointSaverExt, CheckpointTuple, Error, ListOptions, PutOptions, RedisSaver,
    ShallowRedisSaver, TtlPolicy, TypedValue,
};

use crate::support::server::Server;
use crate::support::stored::{self, HOUR, named, place};

async fn saver_with(server: &Server, ttl: TtlPolicy) -> ShallowRedisSaver {
    let builder = RedisSaver::builder().url(server.redis.url()).ttl(ttl);
    let saver = builder.build_shallow().await.unwrap();
    saver.setup().await.unwrap();
    saver
}

async fn saver(server: &Server) -> ShallowRedisSaver {
    saver_with(server, TtlPolicy::default()).await
}

fn id(id: &str) -> CheckpointId {
    CheckpointId::new(id).unwrap()
}

fn checkpoint(name: &str) -> Checkpoint {
    let text = format!(r#"{{"v":4,"id":"{name}","channel_values":{{"v":"{name}"}}}}"#);
    Checkpoint::from_json(text).unwrap()
}

async fn try_put(
    saver: &ShallowRedisSaver,
    config: &CheckpointConfig,
    name: &str,
    options: &PutOptions,
) -> Result<CheckpointConfig, Error> {
    let metadata = CheckpointMetadata::new().with("source", "loop").unwrap();
    let metadata = metadata.with("step", &1).unwrap().with("name", name);
    saver
        .put(config, &checkpoint(name), &metadata.unwrap(), options)
        .await
}

async fn put(saver: &ShallowRedisSaver, config: &CheckpointConfig, name: &str) -> CheckpointConfig {
    try_put(saver, config, name, &PutOptions::default())
        .await
        .unwrap()
}

async fn put_writes(
    saver: &ShallowRedisSaver,
    config: &CheckpointConfig,
    name: &str,
    channels: &[&str],
    value: i64,
) {
    let value = TypedValue::json(&value).unwrap();
    let writes = channels.iter();
    let writes: Vec<_> = writes
        .map(|channel| ChannelWrite::new(*channel, value.clone()))
        .collect();
    stored::put_writes(saver, &named(config, name), &writes, "task").await;
}

/// The writes of a tuple, by channel.
fn writes(tuple: &CheckpointTuple) -> Vec<(String, i64)> {
    let writes = tuple.pending_writes.iter();
    writes
        .map(|write| (write.channel.clone(), write.value.decode().unwrap()))
        .collect()
}

async fn read(saver: &ShallowRedisSaver, config: &CheckpointConfig) -> CheckpointTuple {
    saver.get_tuple(config).await.unwrap().unwrap()
}

async fn ids(
    saver: &ShallowRedisSaver,
    config: Option<&CheckpointConfig>,
    options: ListOptions,
) -> Vec<String> {
    let listed = saver.list_all(config, options).await.unwrap();
    listed
        .iter()
        .map(|tuple| tuple.checkpoint.id().to_string())
        .collect()
}

async fn delete(saver: &ShallowRedisSaver, thread: &str) {
    stored::delete(saver, &stored::thread_id(thread)).await;
}

async fn assert_ttl(server: &mut Server, has_one: bool) {
    for key in server.keys().await {
        assert_eq!(server.time_left(&key).await > 0, has_one, "{key}");
    }
}
