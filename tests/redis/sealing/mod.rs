//! What is stored is sealed.

mod attacks;
mod keys;
mod reseal;

use std::collections::BTreeMap;

use futures_util::TryStreamExt;
use langgraph_checkpoint_redis::redis::{EarlyWrites, Layout, RedisSaverBuilder};
use langgraph_checkpoint_redis::{
    ChannelWrite, Checkpoint, CheckpointConfig, CheckpointId, CheckpointMetadata, CheckpointSaver,
    CheckpointSaverExt, CheckpointTuple, Error, ListOptions, PutOptions, PutWritesOptions,
    RedisSaver, TaskId, TypedValue,
};

use crate::support::encryption_keys;
use crate::support::server::Server;

const NEW: &[(&str, u8)] = &[("new", 171)];
const OLD: &[(&str, u8)] = &[("old", 172)];
const BOTH: &[(&str, u8)] = &[("new", 171), ("old", 172)];
const TURNED: &[(&str, u8)] = &[("old", 172), ("new", 171)];

fn builder(server: &Server) -> RedisSaverBuilder {
    let builder = RedisSaver::builder().url(server.redis.url());
    builder.layout(Layout::Compact)
}

/// A saver that knows nothing of what is stored.
async fn sealed(server: &Server, keys: &[(&str, u8)]) -> RedisSaver {
    let builder = builder(server).encryption_keys(encryption_keys(keys));
    builder.build().await.unwrap()
}

async fn lenient(server: &Server, keys: &[(&str, u8)]) -> RedisSaver {
    let builder = builder(server).encryption_keys(encryption_keys(keys));
    builder.allow_unsealed(true).build().await.unwrap()
}

async fn without_keys(server: &Server) -> RedisSaver {
    builder(server).build().await.unwrap()
}

fn thread(id: &str) -> CheckpointConfig {
    CheckpointConfig::new(id).unwrap()
}

/// Messages of a conversation, with index parts above their parts.
fn messages(count: usize, salt: &str) -> Vec<String> {
    let message = |number| format!("{salt} secret-{number} {}", "lorem ipsum ".repeat(40));
    (0..count).map(message).collect()
}

async fn put(saver: &RedisSaver, config: &CheckpointConfig, id: &str, messages: &[String]) {
    let checkpoint = Checkpoint::builder()
        .id(CheckpointId::new(id).unwrap())
        .channel("secret-channel", 1, messages)
        .unwrap()
        .channel("small", 1, "secret-small")
        .unwrap()
        .build()
        .unwrap();
    let metadata = CheckpointMetadata::new()
        .with("secret-member", "secret-metadata")
        .unwrap();
    let options = PutOptions::default();
    saver
        .put(config, &checkpoint, &metadata, &options)
        .await
        .unwrap();
}

async fn write(saver: &RedisSaver, config: &CheckpointConfig, id: &str, task: &str, value: &str) {
    let mut config = config.clone();
    config.checkpoint_id = Some(CheckpointId::new(id).unwrap());
    let writes = ["secret-a", "secret-b"].map(|channel| {
        let value = vec![format!("secret-write {channel} {value}"); 20];
        ChannelWrite::new(channel, TypedValue::json(&value).unwrap())
    });
    let options = PutWritesOptions::default().with_task_path("secret-path");
    let task = TaskId::new(task).unwrap();
    saver
        .put_writes(&config, &writes, &task, &options)
        .await
        .unwrap();
}

/// All that a saver reads of a thread, with the writes that wait for their checkpoint.
async fn all(saver: &RedisSaver, config: &CheckpointConfig) -> Vec<CheckpointTuple> {
    let listed = saver.list_all(Some(config), ListOptions::default()).await;
    listed.unwrap()
}

async fn early(saver: &RedisSaver, config: &CheckpointConfig) -> Vec<EarlyWrites> {
    let early = saver.early_writes(&config.thread_id);
    let mut early: Vec<_> = early.try_collect().await.unwrap();
    // That differs from moment to moment.
    for waiting in &mut early {
        waiting.ttl = None;
    }
    early
}

async fn newest(saver: &RedisSaver, config: &CheckpointConfig) -> Result<CheckpointTuple, Error> {
    let found = saver.get_tuple(config).await?;
    Ok(found.expect("there is a checkpoint"))
}

#[track_caller]
fn assert_refused(read: Result<CheckpointTuple, Error>, why: &str) {
    match read {
        Err(Error::Corrupt { reason, .. }) => assert!(reason.contains(why), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn assert_lacks<T: std::fmt::Debug>(read: Result<T, Error>, key: &str) {
    match read {
        Err(Error::Config {
            key: setting,
            reason,
            ..
        }) => {
            assert_eq!(setting, "encryption_keys");
            assert!(reason.contains(&format!("`{key}`")), "{reason}");
            assert!(reason.contains("`reseal`"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

async fn members(server: &mut Server, key: &str) -> Vec<Vec<u8>> {
    let mut range = redis::cmd("ZRANGE");
    range.arg(key).arg(0).arg(-1);
    range.query_async(&mut server.client).await.unwrap()
}

async fn parts(server: &mut Server, key: &str) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut all = redis::cmd("HGETALL");
    all.arg(key);
    let all: BTreeMap<Vec<u8>, Vec<u8>> = all.query_async(&mut server.client).await.unwrap();
    all.into_iter()
        .filter(|(field, _)| field.len() == 16)
        .collect()
}

/// Stores a member in the place of another.
async fn replace(server: &mut Server, key: &str, old: &[u8], new: &[u8]) {
    remove(server, key, old).await;
    add(server, key, new).await;
}

async fn remove(server: &mut Server, key: &str, member: &[u8]) {
    let mut removal = redis::cmd("ZREM");
    removal.arg(key).arg(member);
    let removed: u64 = removal.query_async(&mut server.client).await.unwrap();
    assert_eq!(removed, 1);
}

async fn add(server: &mut Server, key: &str, member: &[u8]) {
    let mut add = redis::cmd("ZADD");
    add.arg(key).arg(0).arg(member);
    let _: u64 = add.query_async(&mut server.client).await.unwrap();
}

async fn set_part(server: &mut Server, key: &str, digest: &[u8], part: &[u8]) {
    let mut set = redis::cmd("HSET");
    set.arg(key).arg(digest).arg(part);
    let _: u64 = set.query_async(&mut server.client).await.unwrap();
}

const HEADS: &str = "checkpoint_heads:{t}";
const PARTS: &str = "checkpoint_parts:{t}";
const WRITES: &str = "checkpoint_writes:{t}";
