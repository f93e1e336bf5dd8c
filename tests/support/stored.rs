//! What tests store and read back, in few words.

use std::time::Duration;

use langgraph_checkpoint_redis::{
    ChannelWrite, Checkpoint, CheckpointConfig, CheckpointId, CheckpointMetadata, CheckpointSaver,
    CheckpointSaverExt, DeleteOptions, ListOptions, PutOptions, PutWritesOptions, TaskId, ThreadId,
    TtlChoice, TypedValue,
};

pub const HOUR: Duration = Duration::from_secs(3_600);

/// A thread's place.
pub fn thread(id: &str) -> CheckpointConfig {
    CheckpointConfig::new(id).unwrap()
}

pub fn thread_id(id: &str) -> ThreadId {
    ThreadId::new(id).unwrap()
}

/// A namespace of a thread.
pub fn place(thread: &str, namespace: &str) -> CheckpointConfig {
    CheckpointConfig::new(thread)
        .unwrap()
        .with_namespace(namespace)
        .unwrap()
}

/// A checkpoint of a place.
pub fn named(place: &CheckpointConfig, id: &str) -> CheckpointConfig {
    let id = CheckpointId::new(id).unwrap();
    place.clone().with_checkpoint(id)
}

/// A checkpoint with a new id and one channel, `n`.
pub fn checkpoint() -> Checkpoint {
    checkpoint_with_id(CheckpointId::now_v6().as_str())
}

pub fn checkpoint_with_id(id: &str) -> Checkpoint {
    Checkpoint::builder()
        .id(CheckpointId::new(id).unwrap())
        .channel("n", 1, &1)
        .unwrap()
        .build()
        .unwrap()
}

/// Puts a checkpoint.
pub async fn put(
    saver: &dyn CheckpointSaver,
    place: &CheckpointConfig,
    checkpoint: &Checkpoint,
) -> CheckpointConfig {
    put_for(saver, place, checkpoint, TtlChoice::Default).await
}

/// Puts a checkpoint with a TTL of its own.
pub async fn put_for(
    saver: &dyn CheckpointSaver,
    place: &CheckpointConfig,
    checkpoint: &Checkpoint,
    ttl: TtlChoice,
) -> CheckpointConfig {
    let options = PutOptions::default().with_ttl(ttl);
    saver
        .put(place, checkpoint, &CheckpointMetadata::new(), &options)
        .await
        .unwrap()
}

/// A write of 1 to each of the channels.
pub fn writes(channels: &[&str]) -> Vec<ChannelWrite> {
    channels
        .iter()
        .map(|channel| ChannelWrite::new(*channel, TypedValue::json(&1).unwrap()))
        .collect()
}

/// Puts writes of a task.
pub async fn put_writes(
    saver: &dyn CheckpointSaver,
    config: &CheckpointConfig,
    writes: &[ChannelWrite],
    task: &str,
) {
    put_writes_for(saver, config, writes, task, TtlChoice::Default).await;
}

/// Puts writes of a task with a TTL of their own.
pub async fn put_writes_for(
    saver: &dyn CheckpointSaver,
    config: &CheckpointConfig,
    writes: &[ChannelWrite],
    task: &str,
    ttl: TtlChoice,
) {
    let task = TaskId::new(task).unwrap();
    let options = PutWritesOptions::default().with_ttl(ttl);
    saver
        .put_writes(config, writes, &task, &options)
        .await
        .unwrap();
}

/// The ids of the checkpoints of a thread or place, newest first.
pub async fn ids(saver: &dyn CheckpointSaver, place: &CheckpointConfig) -> Vec<String> {
    let listed = saver.list_all(Some(place), ListOptions::default()).await;
    let listed = listed.unwrap().into_iter();
    listed
        .map(|tuple| tuple.checkpoint.id().to_string())
        .collect()
}

/// The id of the newest checkpoint of a place.
pub async fn newest(saver: &dyn CheckpointSaver, place: &CheckpointConfig) -> Option<String> {
    let found = saver.get_tuple(place).await.unwrap();
    found.map(|tuple| tuple.checkpoint.id().to_string())
}

pub async fn delete(saver: &dyn CheckpointSaver, thread: &ThreadId) {
    saver
        .delete_thread(thread, &DeleteOptions::default())
        .await
        .unwrap();
}
