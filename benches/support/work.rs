//! The operations that are measured, and both floors of each.
#![allow(unreachable_pub)]

use std::fmt;
use std::sync::Arc;

use futures_util::StreamExt;
use langgraph_checkpoint_redis::{
    Checkpoint, CheckpointConfig, CheckpointId, CheckpointSaver, ListOptions, PutOptions,
    PutWritesOptions, RedisSaver, TaskId,
};
use redis::aio::MultiplexedConnection;

use crate::documents::{self, checkpoint, metadata, writes};
use crate::floor::{self, Commands, Recorder};
use crate::load::{Call, Side};
use crate::redis_benchmark::Repeated;

/// What a caller does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Operation {
    Put,
    PutWrites(usize),
    GetTuple,
    List(usize),
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    pub operation: Operation,
    pub bytes: usize,
    pub callers: usize,
    pub ttl: bool,
}

impl Work {
    /// How many calls each caller makes in a round: about 40 MB in all, or 20,000 calls.
    pub fn calls(&self) -> usize {
        let each = match self.operation {
            Operation::List(limit) => self.bytes * limit,
            Operation::PutWrites(count) => 300 * count,
            _ => self.bytes,
        };
        (40_000_000 / (each + 1_000)).clamp(40, 16_000) / self.callers + 1
    }

    /// Whether the row is also run in memory and on a cluster.
    pub fn is_common(&self) -> bool {
        self.callers == 16 && !self.ttl && self.bytes < 100_000
    }
}

impl fmt::Display for Work {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operation = match self.operation {
            Operation::Put => "put".to_owned(),
            Operation::PutWrites(count) => format!("put_writes({count})"),
            Operation::GetTuple => "get_tuple".to_owned(),
            Operation::List(limit) => format!("list({limit})"),
        };
        let ttl = if self.ttl { " ttl" } else { "" };
        let kilobytes = self.bytes / 1_000;
        let callers = self.callers;
        write!(
            formatter,
            "{operation} {kilobytes} KB{ttl} {callers} callers"
        )
    }
}

/// The thread of a caller. All names are of one length, so that one can stand for another.
fn thread(side: &str, caller: usize) -> String {
    format!("{side}-{caller:04}")
}

/// A checkpoint's id: greater than those before it.
fn id(round: usize, n: usize) -> String {
    format!("1f1e5438-{round:04x}-6fd2-bfff-{n:012x}")
}

fn task(round: usize, n: usize) -> String {
    format!("00000000-0000-0000-{round:04x}-{n:012x}")
}

fn config(side: &str, caller: usize) -> CheckpointConfig {
    CheckpointConfig::new(thread(side, caller)).unwrap()
}

/// A row with the saver that it is measured on.
pub struct Bench {
    saver: Arc<dyn CheckpointSaver>,
    work: Work,
}

impl Bench {
    pub fn new(saver: Arc<dyn CheckpointSaver>, work: Work) -> Self {
        Self { saver, work }
    }

    /// Every thread that the row uses.
    pub fn threads(&self) -> Vec<String> {
        ["ours", "same", "less"]
            .into_iter()
            .flat_map(|side| (0..self.work.callers).map(move |caller| thread(side, caller)))
            .collect()
    }

    /// Puts what is read, and the checkpoints that writes belong to.
    pub async fn prepare(&self) {
        for side in ["ours", "same", "less"] {
            for caller in 0..self.work.callers {
                for n in 0..12 {
                    let checkpoint = checkpoint(self.work.bytes, &id(0, n));
                    let (config, options) = (config(side, caller), PutOptions::default());
                    self.saver
                        .put(&config, &checkpoint, &metadata(), &options)
                        .await
                        .unwrap();
                }
                self.saver.get_tuple(&config(side, caller)).await.unwrap();
            }
        }
    }

    /// The calls of the saver.
    pub fn side(&self) -> Side {
        let (saver, work) = (Arc::clone(&self.saver), self.work);
        Box::new(move |round| {
            let saver = Arc::clone(&saver);
            // Made before the time is taken: building it is the caller's work.
            let checkpoints: Arc<Vec<Checkpoint>> = match work.operation {
                Operation::Put => (0..work.calls())
                    .map(|n| checkpoint(work.bytes, &id(round + 1, n)))
                    .collect(),
                _ => Vec::new(),
            }
            .into();
            let calls: Call = Arc::new(move |caller, n| {
                let (saver, checkpoints) = (Arc::clone(&saver), Arc::clone(&checkpoints));
                Box::pin(async move {
                    let config = config("ours", caller);
                    let checkpoint = checkpoints.get(n);
                    let number = (round + 1, n);
                    call(&*saver, work.operation, config, checkpoint, number).await;
                })
            });
            calls
        })
    }

    /// Makes the call once and keeps its commands.
    pub async fn record(&self, saver: &RedisSaver, recorder: &Recorder) -> Recorded {
        let operation = self.work.operation;
        let number = (0, 15);
        let checkpoint = checkpoint(self.work.bytes, &id(number.0, number.1));
        let config = config("ours", 0);
        // The saver learns what is the newest, and the server the scripts.
        call(saver, operation, config.clone(), Some(&checkpoint), number).await;
        let number = (0, 16);
        let id = id(number.0, number.1);
        let checkpoint = documents::checkpoint(self.work.bytes, &id);
        recorder.take();
        call(saver, operation, config, Some(&checkpoint), number).await;
        let (commands, round_trips) = recorder.take();
        Recorded {
            commands,
            round_trips,
            work: self.work,
            id,
            task: task(number.0, number.1),
        }
    }

    /// The basic commands that put, or read, the same data.
    pub async fn least(
        &self,
        saver: &RedisSaver,
        bare: &[MultiplexedConnection],
        prefix: &str,
    ) -> Option<Side> {
        let sample = id(0, 11);
        let (key, document) = stored(bare, prefix).await;
        let mut connection = bare[0].clone();
        let strings = |command: &[&str]| -> Vec<Vec<u8>> {
            command
                .iter()
                .map(|part| part.as_bytes().to_vec())
                .collect()
        };
        let pointer = format!("{prefix}:checkpoint_latest:less-0000:__empty__");
        let registered =
            format!("{prefix}:checkpoint_write_keys_zset:less-0000:__empty__:{sample}");
        let commands = match self.work.operation {
            Operation::Put => vec![
                strings(&["JSON.SET", &key, "$", &document]),
                strings(&["SET", &pointer, &key]),
                strings(&[
                    "ZADD",
                    &format!("{prefix}:checkpoint_keys_zset:less-0000:__empty__"),
                    "0",
                    &sample,
                ]),
                strings(&[
                    "SADD",
                    &format!("{prefix}:checkpoint_ns_set:less-0000"),
                    "__empty__",
                ]),
            ],
            Operation::PutWrites(count) => {
                let task = task(0, 16);
                let config = config("less", 0).with_checkpoint(CheckpointId::new(&sample).unwrap());
                let (task_id, options) = (TaskId::new(&task).unwrap(), PutWritesOptions::default());
                saver
                    .put_writes(&config, &writes(1), &task_id, &options)
                    .await
                    .unwrap();
                let write = |n: usize| {
                    format!("{prefix}:checkpoint_write:less-0000:__empty__:{sample}:{task}:{n}")
                };
                let document: String = redis::cmd("JSON.GET")
                    .arg(write(0))
                    .query_async(&mut connection)
                    .await
                    .unwrap();
                let mut register = strings(&["ZADD", &registered]);
                let mut commands = Vec::new();
                for n in 0..count {
                    commands.push(strings(&["JSON.SET", &write(n), "$", &document, "NX"]));
                    register.extend(strings(&[&n.to_string(), &write(n)]));
                }
                commands.push(register);
                commands
            }
            Operation::GetTuple => vec![
                strings(&["GET", &pointer]),
                strings(&["JSON.GET", &key]),
                strings(&["ZRANGE", &registered, "0", "-1"]),
            ],
            Operation::List(_) => return None,
        };
        let recorded = Recorded {
            commands,
            round_trips: 1,
            work: self.work,
            id: sample,
            task: task(0, 16),
        };
        Some(recorded.side("less", "less", bare))
    }

    /// The one command that moves the document, for `redis-benchmark`.
    pub async fn repeated(
        &self,
        bare: &[MultiplexedConnection],
        prefix: &str,
        url: &str,
    ) -> Option<Repeated> {
        let (key, document) = stored(bare, prefix).await;
        let (command, last) = match self.work.operation {
            Operation::Put => {
                let key = format!("{key}-__rand_int__");
                let command = vec!["JSON.SET".to_owned(), key, "$".to_owned()];
                (command, Some(document))
            }
            Operation::GetTuple => (vec!["JSON.GET".to_owned(), key], None),
            Operation::PutWrites(_) | Operation::List(_) => return None,
        };
        let connections = bare.len().min(self.work.callers);
        Some(Repeated {
            url: url.to_owned(),
            connections,
            pipelined: self.work.callers / connections,
            requests: self.work.calls() * self.work.callers,
            command,
            last,
        })
    }
}

/// A document that is there, and its key.
async fn stored(bare: &[MultiplexedConnection], prefix: &str) -> (String, String) {
    let key = format!("{prefix}:checkpoint:less-0000:__empty__:{}", id(0, 11));
    let mut connection = bare[0].clone();
    let document = redis::cmd("JSON.GET")
        .arg(&key)
        .query_async(&mut connection)
        .await
        .unwrap();
    (key, document)
}

async fn call(
    saver: &dyn CheckpointSaver,
    operation: Operation,
    config: CheckpointConfig,
    checkpoint: Option<&Checkpoint>,
    (round, n): (usize, usize),
) {
    match operation {
        Operation::Put => {
            let options = PutOptions::default();
            let checkpoint = checkpoint.unwrap();
            saver
                .put(&config, checkpoint, &metadata(), &options)
                .await
                .unwrap();
        }
        Operation::PutWrites(count) => {
            let config = config.with_checkpoint(CheckpointId::new(id(0, 11)).unwrap());
            let (task, options) = (
                TaskId::new(task(round, n)).unwrap(),
                PutWritesOptions::default(),
            );
            saver
                .put_writes(&config, &writes(count), &task, &options)
                .await
                .unwrap();
        }
        Operation::GetTuple => {
            saver.get_tuple(&config).await.unwrap().unwrap();
        }
        Operation::List(limit) => {
            let mut options = ListOptions::default();
            options.limit = Some(limit);
            let found = saver.list(Some(&config), options).count().await;
            assert_eq!(found, limit);
        }
    }
}

/// The commands of one call.
pub struct Recorded {
    commands: Commands,
    round_trips: usize,
    work: Work,
    id: String,
    task: String,
}

impl Recorded {
    pub fn commands(&self) -> usize {
        self.commands.len()
    }

    pub fn round_trips(&self) -> usize {
        self.round_trips
    }

    /// The very same, through the bare client.
    pub fn same(self, bare: &[MultiplexedConnection]) -> Side {
        self.side("ours", "same", bare)
    }

    fn side(self, from: &'static str, to: &'static str, bare: &[MultiplexedConnection]) -> Side {
        let bare = bare.to_vec();
        Box::new(move |round| {
            let writes = matches!(
                self.work.operation,
                Operation::Put | Operation::PutWrites(_)
            );
            let calls = if writes { self.work.calls() } else { 1 };
            // Made before the time is taken.
            let pipelines: Vec<Vec<_>> = (0..self.work.callers)
                .map(|caller| {
                    let one = |n| {
                        let mut names = vec![(from_thread(from), thread(to, caller))];
                        match self.work.operation {
                            Operation::Put => names.push((self.id.clone(), id(round + 1, n))),
                            Operation::PutWrites(_) => {
                                names.push((self.task.clone(), task(round + 1, n)));
                            }
                            _ => {}
                        }
                        floor::renamed(&self.commands, &names)
                    };
                    (0..calls).map(one).collect()
                })
                .collect();
            let (pipelines, bare) = (Arc::new(pipelines), bare.clone());
            let calls: Call = Arc::new(move |caller, n| {
                let pipeline = Arc::clone(&pipelines[caller][n % pipelines[caller].len()]);
                let connection = bare[caller % bare.len()].clone();
                Box::pin(async move { floor::send(connection, &pipeline).await })
            });
            calls
        })
    }
}

fn from_thread(side: &str) -> String {
    thread(side, 0)
}
