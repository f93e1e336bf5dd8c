//! What is stored very often, with raw commands.

use std::collections::BTreeMap;

use langgraph_checkpoint_redis::{
    CheckpointConfig, CheckpointId, CheckpointMetadata, CheckpointSaver, DeleteOptions, PutOptions,
    RedisSaver, RunId, ThreadId,
};
use redis::aio::MultiplexedConnection;

use crate::calls::{checkpoint, put_writes};
use crate::size;

/// What stands in templates for what each key has of its own.
const THREAD: &str = "template-thread";
const SPACE: &str = "template-space";
const ID: &str = "template-id";
const PARENT: &str = "template-parent";
pub const TASK: &str = "template-task";

/// A kind of thing that is stored many times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fixture {
    Checkpoints,
    Namespaces,
    Writes,
    Threads,
    Blobs,
    StaleNamespaces,
    ExpiredCheckpoints,
    GoneWrites,
    EarlyWrites,
    UnregisteredCheckpoints,
    UnregisteredThreads,
}

pub struct Templates {
    document: String,
    /// A document that says that it has writes.
    with_writes: String,
    write: String,
}

/// Stores a fixture, once more where it is there already.
#[allow(clippy::too_many_lines)] // A table: one entry a fixture.
pub async fn build(fixture: Fixture, client: &MultiplexedConnection, templates: &Templates) {
    let many = size();
    let mut load = Load::new(client);
    let document = match fixture {
        Fixture::Writes => &templates.with_writes,
        _ => &templates.document,
    };
    let write = &templates.write;
    let document = |thread: &str, space: &str, id: &str, parent: &str| {
        let text = document.replace(THREAD, thread).replace(PARENT, parent);
        let text = text.replace(ID, id);
        text.replace(SPACE, if space == "__empty__" { "" } else { space })
    };
    let write = |id: &str, task: &str, idx: usize| {
        let text = write.replace(THREAD, "t").replace(SPACE, "");
        let text = text.replace(ID, id).replace(TASK, task);
        text.replace("\"idx\":0", &format!("\"idx\":{idx}"))
    };
    match fixture {
        Fixture::Checkpoints | Fixture::UnregisteredCheckpoints | Fixture::ExpiredCheckpoints => {
            let has_registry = fixture != Fixture::UnregisteredCheckpoints;
            for number in 0..many {
                let (id, parent) = (id(number), id(number.wrapping_sub(1)));
                if fixture != Fixture::ExpiredCheckpoints || number == 0 {
                    let text = document("t", "__empty__", &id, &parent);
                    let key = format!("checkpoint:t:__empty__:{id}");
                    load.add(&["JSON.SET", &key, "$", &text]).await;
                }
                if has_registry {
                    load.add(&["ZADD", "checkpoint_keys_zset:t:__empty__", "0", &id])
                        .await;
                }
            }
            let newest = format!("checkpoint:t:__empty__:{}", id(many - 1));
            load.add(&["SET", "checkpoint_latest:t:__empty__", &newest])
                .await;
            if has_registry {
                load.add(&["SADD", "checkpoint_ns_set:t", "__empty__"])
                    .await;
            }
        }
        Fixture::Namespaces | Fixture::StaleNamespaces => {
            for number in 0..many {
                let space = format!("space-{number:08}");
                if fixture == Fixture::Namespaces || number == 0 {
                    load.checkpoint("t", &space, &document("t", &space, &id(0), ""))
                        .await;
                }
                load.add(&["SADD", "checkpoint_ns_set:t", &space]).await;
            }
            load.checkpoint("t", "__empty__", &document("t", "__empty__", &id(0), ""))
                .await;
        }
        Fixture::Writes | Fixture::GoneWrites => {
            load.checkpoint("t", "__empty__", &document("t", "__empty__", &id(0), ""))
                .await;
            let registry = format!("write_keys_zset:t:__empty__:{}", id(0));
            for number in 0..many {
                let (task, idx) = (format!("task-{:04}", number / 10), number % 10);
                let key = format!("checkpoint_write:t:__empty__:{}:{task}:{idx}", id(0));
                if fixture == Fixture::Writes || number < 10 {
                    let text = write(&id(0), &task, idx);
                    load.add(&["JSON.SET", &key, "$", &text]).await;
                }
                load.add(&["ZADD", &registry, &number.to_string(), &key])
                    .await;
            }
        }
        Fixture::EarlyWrites => {
            load.checkpoint("t", "__empty__", &document("t", "__empty__", &id(0), ""))
                .await;
            for number in 1..many {
                let id = id(number);
                let key = format!("checkpoint_write:t:__empty__:{id}:task:0");
                let text = write(&id, "task", 0);
                load.add(&["JSON.SET", &key, "$", &text]).await;
                let registry = format!("write_keys_zset:t:__empty__:{id}");
                load.add(&["ZADD", &registry, "0", &key]).await;
                let awaited = format!("\0writes\0__empty__\0{id}");
                load.add(&["SADD", "checkpoint_ns_set:t", &awaited]).await;
            }
        }
        Fixture::Blobs => {
            load.checkpoint("t", "__empty__", &document("t", "__empty__", &id(0), ""))
                .await;
            load.add(&["SADD", "checkpoint_ns_set:t", "\0blobs\0__empty__"])
                .await;
            for number in 0..many {
                let key = format!("checkpoint_blob:t:__empty__:d:{number}");
                let text = format!(
                    r#"{{"thread_id":"t","checkpoint_ns":"","channel":"d","version":"{number}","type":"json","blob":"MQ=="}}"#
                );
                load.add(&["JSON.SET", &key, "$", &text]).await;
                let member = format!("d:{number}");
                load.add(&[
                    "ZADD",
                    "checkpoint_blob_keys_zset:t:__empty__",
                    "0",
                    &member,
                ])
                .await;
            }
        }
        Fixture::Threads | Fixture::UnregisteredThreads => {
            for number in 0..many {
                let thread = match number {
                    0 => "t".to_owned(),
                    number => format!("t-{number:08}"),
                };
                let text = document(&thread, "__empty__", &id(0), "");
                if fixture == Fixture::Threads {
                    load.checkpoint(&thread, "__empty__", &text).await;
                } else {
                    let key = format!("checkpoint:{thread}:__empty__:{}", id(0));
                    load.add(&["JSON.SET", &key, "$", &text]).await;
                    let pointer = format!("checkpoint_latest:{thread}:__empty__");
                    load.add(&["SET", &pointer, &key]).await;
                }
            }
        }
    }
    load.end().await;
}

/// Puts commands into pipelines.
struct Load {
    client: MultiplexedConnection,
    pipeline: redis::Pipeline,
    waiting: usize,
}

impl Load {
    fn new(client: &MultiplexedConnection) -> Self {
        Self {
            client: client.clone(),
            pipeline: redis::pipe(),
            waiting: 0,
        }
    }

    async fn add(&mut self, command: &[&str]) {
        self.pipeline.cmd(command[0]).arg(&command[1..]).ignore();
        self.waiting += 1;
        if self.waiting == 1_000 {
            self.send().await;
        }
    }

    /// A checkpoint that is the only one of its namespace.
    async fn checkpoint(&mut self, thread: &str, space: &str, document: &str) {
        let key = format!("checkpoint:{thread}:{space}:{}", id(0));
        self.add(&["JSON.SET", &key, "$", document]).await;
        let pointer = format!("checkpoint_latest:{thread}:{space}");
        self.add(&["SET", &pointer, &key]).await;
        let registry = format!("checkpoint_keys_zset:{thread}:{space}");
        self.add(&["ZADD", &registry, "0", &id(0)]).await;
        self.add(&["SADD", &format!("checkpoint_ns_set:{thread}"), space])
            .await;
    }

    async fn send(&mut self) {
        let () = self.pipeline.query_async(&mut self.client).await.unwrap();
        self.pipeline = redis::pipe();
        self.waiting = 0;
    }

    async fn end(mut self) {
        if self.waiting > 0 {
            self.send().await;
        }
    }
}

/// What the saver itself stores, to make more of.
pub async fn templates(saver: &RedisSaver, client: &mut MultiplexedConnection) -> Templates {
    let config = CheckpointConfig::new(THREAD)
        .unwrap()
        .with_namespace(SPACE)
        .unwrap();
    let parent = config
        .clone()
        .with_checkpoint(CheckpointId::new(PARENT).unwrap())
        .with_run(RunId::new("run-many").unwrap());
    let metadata = CheckpointMetadata::new()
        .with("source", "loop")
        .unwrap()
        .with("step", &1)
        .unwrap()
        .with(
            "counters_since_delta_snapshot",
            &BTreeMap::from([("d", [1, 1])]),
        )
        .unwrap();
    let stored = saver
        .put(&parent, &checkpoint(ID), &metadata, &PutOptions::default())
        .await
        .unwrap();
    let read = async |client: &mut MultiplexedConnection, key: String| -> String {
        let text: Option<String> = redis::cmd("JSON.GET")
            .arg(&key)
            .query_async(client)
            .await
            .unwrap();
        text.unwrap_or_else(|| panic!("{key} is not there"))
    };
    let key = || format!("checkpoint:{THREAD}:{SPACE}:{ID}");
    let document = read(client, key()).await;
    put_writes(saver, &stored).await.unwrap();
    let with_writes = read(client, key()).await;
    let write = read(
        client,
        format!("checkpoint_write:{THREAD}:{SPACE}:{ID}:{TASK}:0"),
    )
    .await;
    assert!(write.contains("\"idx\":0"), "{write}");
    saver
        .delete_thread(&ThreadId::new(THREAD).unwrap(), &DeleteOptions::default())
        .await
        .unwrap();
    Templates {
        document,
        with_writes,
        write,
    }
}

pub fn id(number: usize) -> String {
    if number == usize::MAX {
        return String::new();
    }
    format!("{number:08}")
}
