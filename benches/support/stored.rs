//! Many conversations on a server of their own, and calls on them.
#![allow(unreachable_pub)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use langgraph_checkpoint_redis::redis::{Stats, StatsOptions};
use langgraph_checkpoint_redis::{
    Checkpoint, CheckpointConfig, CheckpointId, CheckpointSaver, CheckpointSaverExt, ListOptions,
    PutOptions, PutWritesOptions, RedisSaver, Result, TaskId,
};
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use redis_modules::Standalone;
use serde_json::json;

use crate::documents::{metadata, writes};
use crate::load::{Call, ServerTime, Side};
use crate::server;

/// How many checkpoints a conversation has.
pub const CONVERSATION: usize = 10;
/// How many bytes of state a checkpoint holds.
pub const BYTES: usize = 1_000;
/// How many threads are few.
const FEW: usize = 100;
const FILLERS: usize = 128;
const TASK: &str = "1f1e5438-3693-6fd2-bfff-c562fd0be1e3";

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Operation {
    Put,
    GetTupleNewest,
    /// The same few threads whatever there is beside them: what is left of a difference is the
    /// machine's memory, not the store.
    GetTupleOfFew,
    GetTupleById,
    /// The floor: one document by its key, through a bare client.
    JsonGet,
    /// One thread's root namespace, as LangGraph asks for it.
    List,
    /// One thread, whatever its namespaces.
    ListEveryNamespace,
    ListEveryThread,
    Threads,
}

impl Operation {
    pub fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::GetTupleNewest => "get_tuple newest",
            Self::GetTupleOfFew => "get_tuple, 100 threads",
            Self::GetTupleById => "get_tuple by id",
            Self::JsonGet => "JSON.GET by bare client",
            Self::List => "list(10) of a thread",
            Self::ListEveryNamespace => "list(10), every namespace",
            Self::ListEveryThread => "list(10), every thread",
            Self::Threads => "threads, the first 10",
        }
    }
}

/// A server, a saver on it, and the threads that are there.
pub struct Stored {
    pub saver: RedisSaver,
    pub looking: MultiplexedConnection,
    /// What is compared: how many checkpoints there are, or how many a thread has.
    pub size: usize,
    /// The threads, each as long.
    pub threads: Vec<String>,
    pub length: usize,
    /// The threads that puts make longer; none where they begin new conversations.
    grows: Vec<String>,
    put: AtomicUsize,
    /// What calls said that failed.
    pub failures: Mutex<Vec<String>>,
}

/// A UUIDv6 whose time is the position: the later, the greater.
pub fn id(position: usize) -> String {
    let time = 0x1f1_e543_8000_0000_u64 + position as u64 * 10_000;
    let (high, middle, low) = (time >> 28, (time >> 12) & 0xffff, time & 0xfff);
    format!("{high:08x}-{middle:04x}-6{low:03x}-8000-c562fd0be1e3")
}

/// A number that looks random.
fn scattered(seed: usize) -> usize {
    let mut number = (seed as u64)
        .wrapping_add(1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    usize::try_from((number ^ (number >> 31)) >> 1).unwrap()
}

/// A checkpoint with text that no other one has: Redis keeps equal strings once.
fn checkpoint(position: usize) -> Checkpoint {
    let messages: Vec<_> = (0..BYTES / 130)
        .map(|n| {
            let words =
                (0..5).map(|word| format!("{:016x}", scattered(position * 64 + n * 5 + word)));
            let content = words.collect::<Vec<_>>().join(" ");
            json!({"type": "human", "content": content, "id": n})
        })
        .collect();
    Checkpoint::builder()
        .id(CheckpointId::new(id(position)).unwrap())
        .channel("messages", 1, &messages)
        .unwrap()
        .build()
        .unwrap()
}

fn config(thread: &str) -> CheckpointConfig {
    CheckpointConfig::new(thread)
        .unwrap()
        .with_namespace("")
        .unwrap()
}

async fn put(saver: &RedisSaver, thread: &str, checkpoint: &Checkpoint) -> CheckpointConfig {
    let options = PutOptions::default();
    saver
        .put(&config(thread), checkpoint, &metadata(), &options)
        .await
        .unwrap()
}

/// Puts this many checkpoints, each with a write; their positions start at `from`.
async fn fill_thread(saver: &RedisSaver, thread: &str, from: usize, length: usize) {
    let task = TaskId::new(TASK).unwrap();
    stream::iter(from..from + length)
        .map(async |position| {
            let stored = put(saver, thread, &checkpoint(position)).await;
            let options = PutWritesOptions::default();
            saver
                .put_writes(&stored, &writes(1), &task, &options)
                .await
                .unwrap();
        })
        // A conversation comes in its order, a long thread faster than one by one.
        .buffered(if length > CONVERSATION { FILLERS } else { 1 })
        .collect::<()>()
        .await;
}

/// Puts threads of one length. The position of the first checkpoint of thread `n` is `n * length`.
async fn fill(saver: &RedisSaver, threads: &[String], length: usize) {
    stream::iter(threads.iter().enumerate())
        .for_each_concurrent(FILLERS, |(number, thread)| async move {
            fill_thread(saver, thread, number * length, length).await;
        })
        .await;
}

/// What a checkpoint takes, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// With its write and both indexes.
    pub all: f64,
    /// What the server says that both indexes take of it.
    pub indexes_reported: f64,
}

async fn used(looking: &mut MultiplexedConnection) -> f64 {
    server::info(looking, "memory", "used_memory").await
}

impl Stored {
    /// Conversations with this many checkpoints in all, and the memory that they take.
    pub async fn conversations(server: &Standalone, checkpoints: usize) -> (Self, Memory) {
        let (mut looking, empty) = connect(server).await;
        let threads = names("thread", checkpoints.div_ceil(CONVERSATION));
        let saver = filler(server).await;
        saver.setup().await.unwrap();
        fill(&saver, &threads, CONVERSATION).await;
        let stored = Self {
            saver: self::saver(server).await,
            looking: looking.clone(),
            size: checkpoints,
            grows: Vec::new(),
            put: AtomicUsize::new(threads.len() * CONVERSATION),
            failures: Mutex::default(),
            threads,
            length: CONVERSATION,
        };
        let stats = stored.stats().await;
        let indexes = stats.indexes.iter().map(|index| index.memory as f64);
        let memory = Memory {
            all: (used(&mut looking).await - empty) / stored.checkpoints() as f64,
            indexes_reported: indexes.sum::<f64>() / stored.checkpoints() as f64,
        };
        assert_eq!(stats.checkpoints, stored.checkpoints() as u64);
        (stored, memory)
    }

    /// This many threads of one length: one to read, and others that puts make longer.
    pub async fn threads(server: &Standalone, prefix: &str, count: usize, length: usize) -> Self {
        let (looking, _) = connect(server).await;
        let saver = filler(server).await;
        saver.setup().await.unwrap();
        let mut threads = names(prefix, count);
        fill(&saver, &threads, length).await;
        let grows = threads.split_off(1);
        Self {
            saver: self::saver(server).await,
            looking,
            size: length,
            threads,
            length,
            grows,
            // Greater than all that are there.
            put: AtomicUsize::new(1 << 24),
            failures: Mutex::default(),
        }
    }

    /// Drops both indexes for a while, and gives the memory that is free then, in bytes a
    /// checkpoint.
    pub async fn without_indexes(&self) -> f64 {
        let mut looking = self.looking.clone();
        let before = used(&mut looking).await;
        for index in ["checkpoint", "checkpoint_write"] {
            let _: redis::Value = redis::cmd("FT.DROPINDEX")
                .arg(index)
                .query_async(&mut looking)
                .await
                .unwrap();
        }
        // It is given back in the background.
        let mut after = before;
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let now = used(&mut looking).await;
            let settled = (now - after).abs() < 100_000.0;
            after = now;
            if settled && now < before {
                break;
            }
        }
        self.saver.setup().await.unwrap();
        while self.stats().await.indexes.iter().any(|index| index.busy) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        (before - after) / self.checkpoints() as f64
    }

    fn checkpoints(&self) -> usize {
        self.threads.len() * self.length
    }

    async fn stats(&self) -> Stats {
        let options = StatsOptions::default().with_sample(1);
        let options = options.with_max_counted(0);
        self.saver.stats(&options).await.unwrap()
    }

    /// Makes the calls of a round.
    pub fn side(self: &Arc<Self>, operation: Operation, callers: usize, calls: usize) -> Side {
        let stored = Arc::clone(self);
        Box::new(move |round| {
            // Made before the time is taken: building it is the caller's work.
            let checkpoints: Arc<Vec<_>> = if operation == Operation::Put {
                let first = stored.put.fetch_add(callers * calls, Ordering::Relaxed);
                (first..first + callers * calls)
                    .map(|position| (stored.grown(position), checkpoint(position)))
                    .collect()
            } else {
                Vec::new()
            }
            .into();
            let stored = Arc::clone(&stored);
            let call: Call = Arc::new(move |caller, n| {
                let (stored, checkpoints) = (Arc::clone(&stored), Arc::clone(&checkpoints));
                Box::pin(async move {
                    let number = (round * callers + caller) * calls + n;
                    match checkpoints.get(caller * calls + n) {
                        Some((thread, checkpoint)) => {
                            put(&stored.saver, thread, checkpoint).await;
                        }
                        None => stored.read(operation, number).await,
                    }
                })
            });
            call
        })
    }

    /// The thread that the checkpoint at a position goes to.
    fn grown(&self, position: usize) -> String {
        if self.grows.is_empty() {
            return format!("new-{:07}", position / CONVERSATION);
        }
        self.grows[position % self.grows.len()].clone()
    }

    async fn read(&self, operation: Operation, number: usize) {
        if let Err(error) = self.try_read(operation, number).await {
            self.failures.lock().unwrap().push(error.to_string());
        }
    }

    /// One of the ids of the thread at a position.
    fn any_id(&self, position: usize, number: usize) -> CheckpointId {
        let of_thread = scattered(number + 1) % self.length;
        CheckpointId::new(id(position * self.length + of_thread)).unwrap()
    }

    async fn try_read(&self, operation: Operation, number: usize) -> Result<()> {
        let position = scattered(number) % self.threads.len();
        let config = config(&self.threads[position]);
        let ten = ListOptions::default().with_limit(10);
        let found = match operation {
            Operation::Put => unreachable!("the checkpoints of a round are made for all calls"),
            Operation::GetTupleNewest => {
                self.saver.get_tuple(&config).await?.unwrap();
                return Ok(());
            }
            Operation::GetTupleOfFew => {
                let config = self::config(&self.threads[position % FEW]);
                self.saver.get_tuple(&config).await?.unwrap();
                return Ok(());
            }
            Operation::GetTupleById => {
                let config = config.with_checkpoint(self.any_id(position, number));
                self.saver.get_tuple(&config).await?.unwrap();
                return Ok(());
            }
            Operation::JsonGet => {
                let (thread, id) = (&self.threads[position], self.any_id(position, number));
                let mut get = redis::cmd("JSON.GET");
                get.arg(format!("checkpoint:{thread}:__empty__:{id}"));
                let document: String = get.query_async(&mut self.looking.clone()).await.unwrap();
                assert!(document.len() > BYTES / 2);
                return Ok(());
            }
            Operation::List => self.saver.list_all(Some(&config), ten).await?.len(),
            Operation::ListEveryNamespace => {
                let config = CheckpointConfig::of_thread(config.thread_id);
                self.saver.list_all(Some(&config), ten).await?.len()
            }
            Operation::ListEveryThread => self.saver.list_all(None, ten).await?.len(),
            Operation::Threads => {
                let page = self.saver.threads("").take(10);
                page.try_collect::<Vec<_>>().await?.len()
            }
        };
        assert_eq!(found, 10);
        Ok(())
    }
}

/// The processor time that several servers have used.
pub fn used_time(stores: &[Arc<Stored>]) -> ServerTime {
    let looking: Vec<_> = stores.iter().map(|store| store.looking.clone()).collect();
    Arc::new(move || {
        let looking = looking.clone();
        Box::pin(async move {
            let mut used = 0.0;
            for mut looking in looking {
                used += server::used_time(&mut looking).await;
            }
            used
        })
    })
}

/// A connection, and the memory that the server takes now.
async fn connect(server: &Standalone) -> (MultiplexedConnection, f64) {
    let client = redis::Client::open(server.url()).unwrap();
    // A search through all there is may hold the server up for long.
    let patient = AsyncConnectionConfig::new().set_response_timeout(None);
    let looking = client.get_multiplexed_async_connection_with_config(&patient);
    let mut looking = looking.await.unwrap();
    let empty = used(&mut looking).await;
    (looking, empty)
}

/// A saver that waits for a server that is busy: with
/// millions of strings RedisJSON's table of them takes seconds to grow.
async fn filler(server: &Standalone) -> RedisSaver {
    let builder = RedisSaver::builder().url(server.url());
    let patient = builder.command_timeout(Duration::from_secs(120));
    patient.build().await.unwrap()
}

/// A saver that knows nothing yet of what is there, with the default settings.
async fn saver(server: &Standalone) -> RedisSaver {
    let saver = RedisSaver::connect(server.url()).await.unwrap();
    saver.setup().await.unwrap();
    saver
}

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("{prefix}-{number:07}"))
        .collect()
}
