//! What the cases are made of.

use futures_util::TryStreamExt;
use serde_json::Value;

use super::exact;
use crate::checkpoint::{
    ChannelWrite, Checkpoint, CheckpointMetadata, CheckpointTuple, PendingWrite, TypedValue,
};
use crate::codec::RawJson;
use crate::config::CheckpointConfig;
use crate::id::{CheckpointId, TaskId};
use crate::options::{ListOptions, PutOptions, PutWritesOptions};
use crate::saver::{CheckpointSaver, ThreadSummary};

pub(super) fn random() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// A thread that nothing else uses.
pub(super) fn thread() -> CheckpointConfig {
    named(random())
}

pub(super) fn named(thread: impl AsRef<str>) -> CheckpointConfig {
    CheckpointConfig::new(thread).unwrap()
}

pub(super) fn within(thread: &CheckpointConfig, namespace: &str) -> CheckpointConfig {
    thread.clone().with_namespace(namespace).unwrap()
}

pub(super) fn id(id: impl AsRef<str>) -> CheckpointId {
    CheckpointId::new(id).unwrap()
}

pub(super) fn task(id: impl AsRef<str>) -> TaskId {
    TaskId::new(id).unwrap()
}

/// A checkpoint as LangGraph makes them, without channels.
pub(super) fn empty() -> Checkpoint {
    Checkpoint::builder().build().unwrap()
}

pub(super) fn empty_with_id(checkpoint_id: impl AsRef<str>) -> Checkpoint {
    Checkpoint::builder().id(id(checkpoint_id)).build().unwrap()
}

/// A checkpoint with one channel.
pub(super) fn holding(channel: &str, version: i64, value: &Value) -> Checkpoint {
    Checkpoint::builder()
        .channel(channel, version, value)
        .unwrap()
        .build()
        .unwrap()
}

/// A checkpoint whose members are given as JSON; it gets a new id.
pub(super) fn with_members(members: &str) -> Checkpoint {
    let id = CheckpointId::now_v6();
    let comma = if members.is_empty() { "" } else { "," };
    Checkpoint::from_json(format!(r#"{{"v":4,"id":"{id}"{comma}{members}}}"#)).unwrap()
}

/// The metadata of a step.
pub(super) fn step(step: i64) -> CheckpointMetadata {
    metadata(&format!(
        r#"{{"source":"loop","step":{step},"parents":{{}}}}"#
    ))
}

pub(super) fn metadata(text: &str) -> CheckpointMetadata {
    CheckpointMetadata::from_json(text.to_owned()).unwrap()
}

pub(super) async fn put(
    saver: &dyn CheckpointSaver,
    config: &CheckpointConfig,
    checkpoint: &Checkpoint,
    metadata: &CheckpointMetadata,
) -> CheckpointConfig {
    saver
        .put(config, checkpoint, metadata, &PutOptions::default())
        .await
        .unwrap_or_else(|error| panic!("put: {error}"))
}

/// Puts an empty checkpoint.
pub(super) async fn put_empty(
    saver: &dyn CheckpointSaver,
    config: &CheckpointConfig,
) -> CheckpointConfig {
    put(saver, config, &empty(), &step(0)).await
}

/// Puts checkpoints, each the parent of the next, with their step in a channel and the metadata.
pub(super) async fn put_chain(
    saver: &dyn CheckpointSaver,
    config: &CheckpointConfig,
    count: i64,
) -> Vec<CheckpointConfig> {
    let mut config = config.clone();
    let mut stored = Vec::new();
    for position in 0..count {
        let checkpoint = holding("step", position + 1, &position.into());
        config = put(saver, &config, &checkpoint, &step(position)).await;
        stored.push(config.clone());
    }
    stored
}

pub(super) fn writes(writes: &[(&str, Value)]) -> Vec<ChannelWrite> {
    writes
        .iter()
        .map(|(channel, value)| ChannelWrite::new(*channel, TypedValue::json(value).unwrap()))
        .collect()
}

pub(super) async fn put_writes(
    saver: &dyn CheckpointSaver,
    config: &CheckpointConfig,
    given: &[(&str, Value)],
    task_id: &str,
) {
    put_writes_at(saver, config, given, task_id, "").await;
}

pub(super) async fn put_writes_at(
    saver: &dyn CheckpointSaver,
    config: &CheckpointConfig,
    given: &[(&str, Value)],
    task_id: &str,
    task_path: &str,
) {
    let options = PutWritesOptions::default().with_task_path(task_path);
    saver
        .put_writes(config, &writes(given), &task(task_id), &options)
        .await
        .unwrap_or_else(|error| panic!("put_writes: {error}"));
}

pub(super) async fn get(
    saver: &dyn CheckpointSaver,
    config: &CheckpointConfig,
) -> Option<CheckpointTuple> {
    saver
        .get_tuple(config)
        .await
        .unwrap_or_else(|error| panic!("get_tuple: {error}"))
}

/// The checkpoint of a config, which must be there.
pub(super) async fn got(saver: &dyn CheckpointSaver, config: &CheckpointConfig) -> CheckpointTuple {
    get(saver, config)
        .await
        .unwrap_or_else(|| panic!("there is no checkpoint for {config:?}"))
}

pub(super) async fn list(
    saver: &dyn CheckpointSaver,
    config: &CheckpointConfig,
) -> Vec<CheckpointTuple> {
    list_with(saver, Some(config), ListOptions::default()).await
}

pub(super) async fn list_with(
    saver: &dyn CheckpointSaver,
    config: Option<&CheckpointConfig>,
    options: ListOptions,
) -> Vec<CheckpointTuple> {
    saver
        .list(config, options)
        .try_collect()
        .await
        .unwrap_or_else(|error| panic!("list: {error}"))
}

pub(super) async fn list_within(
    saver: &dyn CheckpointSaver,
    prefix: &str,
    options: ListOptions,
) -> Vec<CheckpointTuple> {
    saver
        .list_within(prefix, options)
        .try_collect()
        .await
        .unwrap_or_else(|error| panic!("list_within: {error}"))
}

pub(super) async fn threads(saver: &dyn CheckpointSaver, prefix: &str) -> Vec<ThreadSummary> {
    saver
        .threads(prefix)
        .try_collect()
        .await
        .unwrap_or_else(|error| panic!("threads: {error}"))
}

/// The ids of listed checkpoints.
pub(super) fn ids(tuples: &[CheckpointTuple]) -> Vec<CheckpointId> {
    tuples
        .iter()
        .map(|tuple| tuple.checkpoint.id().clone())
        .collect()
}

/// The ids of stored checkpoints, newest first.
pub(super) fn newest_first(stored: &[CheckpointConfig]) -> Vec<CheckpointId> {
    let mut ids: Vec<_> = stored
        .iter()
        .filter_map(|config| config.checkpoint_id.clone())
        .collect();
    ids.sort();
    ids.reverse();
    ids
}

/// The pending writes as (channel, value).
pub(super) fn values(writes: &[PendingWrite]) -> Vec<(String, Value)> {
    writes
        .iter()
        .map(|write| (write.channel.clone(), write.value.decode().unwrap()))
        .collect()
}

/// The same writes as given to [`put_writes`].
pub(super) fn pairs(given: &[(&str, Value)]) -> Vec<(String, Value)> {
    given
        .iter()
        .map(|(channel, value)| ((*channel).to_owned(), value.clone()))
        .collect()
}

/// Requires that JSON came back as it was.
#[track_caller]
pub(super) fn assert_same_json(expected: &RawJson, found: &RawJson) {
    if let Some(difference) = exact::difference(expected.as_str(), found.as_str()) {
        panic!("{difference}");
    }
}

/// Requires that a checkpoint came back as it was put.
#[track_caller]
pub(super) fn assert_same(expected: &Checkpoint, found: &Checkpoint) {
    assert_eq!(found.id(), expected.id());
    assert_same_json(&expected.to_json(), &found.to_json());
}
