//! What a conversation costs as it grows, in both layouts.
//!
//! ```sh
//! cargo bench --bench growth [-- --turns 5,50,100,200,400 --rounds 5 --only append,middle,sizes
//!     --sizes 1000,20000,200000 --json FILE]
//! ```
//!
//! A conversation of two nodes grows as LangGraph stores it: 4 checkpoints a turn, 600 characters
//! of new text a turn and 8 KB of documents in the state. Each layout has a server of its own.
//! Memory is the `MEMORY USAGE` of all keys; *sent* and *received* are what the server got and gave
//! since the first turn; the server's time is the processor time of its process for a put, and for
//! a get_tuple by a saver that has not seen the thread, of the last turns before. Then a
//! conversation in which messages are inserted, changed and removed in the middle, and calls of
//! many threads with a state of one size, by 16 callers, on one server and, of 1 KB, on a cluster.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_precision_loss,
    missing_docs
)]

#[path = "support/arguments.rs"]
mod arguments;
#[path = "support/documents.rs"]
mod documents;
#[path = "support/server.rs"]
mod server;

use std::time::Instant;

use arguments::{after, numbers};
use langgraph_checkpoint_redis::redis::Layout;
use langgraph_checkpoint_redis::{
    ChannelWrite, Checkpoint, CheckpointConfig, CheckpointId, CheckpointMetadata, CheckpointSaver,
    PutOptions, PutWritesOptions, RedisSaver, TaskId, ThreadId, TypedValue,
};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use redis::aio::MultiplexedConnection;
use redis_modules::{Cluster, Standalone};
use serde_json::{Value, json};

const LAYOUTS: [Layout; 2] = [Layout::Json, Layout::Compact];
const CALLERS: usize = 16;
/// How many turns the server's time is taken from.
const LAST: usize = 25;

struct Arguments {
    turns: Vec<usize>,
    sizes: Vec<usize>,
    rounds: usize,
    only: Option<String>,
    json: Option<String>,
}

impl Arguments {
    fn read() -> Self {
        Self {
            turns: numbers("--turns", &[5, 50, 100, 200, 400]),
            sizes: numbers("--sizes", &[1_000, 20_000, 200_000]),
            rounds: numbers("--rounds", &[5])[0],
            only: after("--only"),
            json: after("--json"),
        }
    }

    fn includes(&self, part: &str) -> bool {
        let only = self.only.as_ref();
        only.is_none_or(|only| only.split(',').any(|named| named == part))
    }
}

/// How a turn changes the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Append,
    /// Inserts, changes or removes one anywhere, and appends one.
    Middle,
}

/// A conversation, and what is known of it at a time.
struct Conversation {
    random: StdRng,
    words: Vec<String>,
    messages: Vec<Value>,
    documents: Value,
    change: Change,
    steps: usize,
}

impl Conversation {
    fn new(change: Change) -> Self {
        let mut random = StdRng::seed_from_u64(7);
        let mut word = || -> String {
            let length = random.random_range(2..11);
            (0..length)
                .map(|_| char::from(random.random_range(b'a'..=b'z')))
                .collect()
        };
        let words = (0..4_000).map(|_| word()).collect();
        let mut new = Self {
            random,
            words,
            messages: Vec::new(),
            documents: Value::Null,
            change,
            steps: 0,
        };
        let pages = (0..8).map(|page| json!({"page": page, "page_content": new.text(1_000)}));
        new.documents = pages.collect();
        new
    }

    fn text(&mut self, length: usize) -> String {
        let mut text = String::new();
        while text.len() < length {
            text.push_str(self.words.choose(&mut self.random).unwrap());
            text.push(' ');
        }
        text
    }

    fn message(&mut self, role: &str) -> Value {
        let (content, id) = (self.text(300), self.random.random::<u128>());
        json!({"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", role],
            "kwargs": {"content": content, "type": role, "id": format!("{id:032x}")}})
    }

    fn say(&mut self, role: &str) {
        let message = self.message(role);
        if self.change == Change::Middle && !self.messages.is_empty() {
            let at = self.random.random_range(0..self.messages.len());
            match self.random.random_range(0..3) {
                0 => self.messages.insert(at, message.clone()),
                1 => self.messages[at] = message.clone(),
                _ => drop(self.messages.remove(at)),
            }
        }
        self.messages.push(message);
    }

    /// The next checkpoint.
    fn checkpoint(&mut self) -> Checkpoint {
        self.steps += 1;
        let version = format!("{:032}.{}", self.steps, self.steps * 7_919);
        let id = CheckpointId::new(format!("{:08}", self.steps)).unwrap();
        let builder = Checkpoint::builder().id(id);
        let builder = builder
            .channel("messages", version.as_str(), &self.messages)
            .unwrap();
        let builder = builder.channel("documents", 1, &self.documents).unwrap();
        builder
            .channel("branch:to:model", version.as_str(), &Value::Null)
            .unwrap()
            .build()
            .unwrap()
    }
}

fn metadata(step: usize) -> CheckpointMetadata {
    let metadata = CheckpointMetadata::new().with("source", "loop").unwrap();
    metadata.with("step", &step).unwrap()
}

fn thread(id: &str) -> CheckpointConfig {
    CheckpointConfig::of_thread(ThreadId::new(id).unwrap())
}

/// A saver of a layout, its server and a client that looks into it.
struct Side {
    layout: Layout,
    server: Standalone,
    saver: RedisSaver,
    client: MultiplexedConnection,
    sent: f64,
    received: f64,
}

async fn saver(url: &str, layout: Layout) -> RedisSaver {
    let builder = RedisSaver::builder().url(url).layout(layout);
    let saver = builder.hash_tag_threads(true).build().await.unwrap();
    saver.setup().await.unwrap();
    saver
}

impl Side {
    async fn new(layout: Layout) -> Self {
        let server = Standalone::start().unwrap();
        let mut client = client(&server.url()).await;
        let saver = saver(&server.url(), layout).await;
        let [sent, received] = traffic(&mut client).await;
        Self {
            layout,
            server,
            saver,
            client,
            sent,
            received,
        }
    }

    /// The bytes of all keys.
    async fn memory(&mut self) -> u64 {
        let mut all = redis::cmd("KEYS");
        let keys: Vec<String> = all.arg("*").query_async(&mut self.client).await.unwrap();
        let mut memory = 0;
        for key in keys {
            let mut usage = redis::cmd("MEMORY");
            usage.arg("USAGE").arg(key).arg("SAMPLES").arg(0);
            memory += usage.query_async::<u64>(&mut self.client).await.unwrap();
        }
        memory
    }

    /// One turn: 4 checkpoints, each with a write.
    async fn turn(&mut self, conversation: &mut Conversation, times: &mut Vec<f64>) {
        let mut config = thread("conversation");
        if conversation.steps > 0 {
            let id = CheckpointId::new(format!("{:08}", conversation.steps)).unwrap();
            config = config.with_checkpoint(id);
        }
        for step in 0..4 {
            match step {
                1 => conversation.say("human"),
                3 => conversation.say("ai"),
                _ => {}
            }
            let (checkpoint, metadata) = (conversation.checkpoint(), metadata(conversation.steps));
            let options = PutOptions::default();
            let began = Instant::now();
            let put = self.saver.put(&config, &checkpoint, &metadata, &options);
            config = put.await.unwrap();
            times.push(began.elapsed().as_secs_f64() * 1e3);
            let value = conversation.messages.last().cloned().unwrap_or_default();
            let writes = [ChannelWrite::new(
                "messages",
                TypedValue::json(&value).unwrap(),
            )];
            let (task, options) = (TaskId::new("task").unwrap(), PutWritesOptions::default());
            let written = self.saver.put_writes(&config, &writes, &task, &options);
            written.await.unwrap();
        }
    }
}

async fn client(url: &str) -> MultiplexedConnection {
    let client = redis::Client::open(url).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

async fn traffic(client: &mut MultiplexedConnection) -> [f64; 2] {
    [
        server::info(client, "stats", "total_net_input_bytes").await,
        server::info(client, "stats", "total_net_output_bytes").await,
    ]
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A conversation in both layouts, looked at after some numbers of turns.
async fn grow(change: Change, turns: &[usize]) -> Vec<Value> {
    let mut sides = Vec::new();
    for layout in LAYOUTS {
        sides.push((Side::new(layout).await, Conversation::new(change)));
    }
    let mut rows = Vec::new();
    let mut times = [Vec::new(), Vec::new()];
    let mut used = [0.0; 2];
    let most = turns.iter().copied().max().unwrap_or(0);
    for turn in 1..=most {
        for (at, (side, conversation)) in sides.iter_mut().enumerate() {
            if turns.iter().any(|end| turn == end + 1 - LAST.min(*end)) {
                times[at].clear();
                used[at] = server::used_time(&mut side.client).await;
            }
            side.turn(conversation, &mut times[at]).await;
            if !turns.contains(&turn) {
                continue;
            }
            let calls = (8 * LAST.min(turn)) as f64;
            let written = server::used_time(&mut side.client).await - used[at];
            let [sent, received] = traffic(&mut side.client).await;
            let (config, reads) = (thread("conversation"), 40);
            let mut cold = Vec::new();
            for _ in 0..reads {
                cold.push(saver(&side.server.url(), side.layout).await);
            }
            let before = server::used_time(&mut side.client).await;
            for saver in &cold {
                let found = saver.get_tuple(&config).await.unwrap().unwrap();
                let newest = format!("{:08}", conversation.steps);
                assert_eq!(found.checkpoint.id().as_str(), newest);
            }
            let first_read = server::used_time(&mut side.client).await - before;
            for saver in cold {
                saver.close().await;
            }
            let before = server::used_time(&mut side.client).await;
            for _ in 0..reads {
                side.saver.get_tuple(&config).await.unwrap().unwrap();
            }
            let read = server::used_time(&mut side.client).await - before;
            let row = json!({
                "change": format!("{change:?}").to_lowercase(),
                "layout": side.layout.as_str(),
                "turns": turn,
                "memory_mb": side.memory().await as f64 / 1e6,
                "sent_mb": (sent - side.sent) / 1e6,
                "received_mb": (received - side.received) / 1e6,
                "put_ms": median(&mut times[at]),
                "server_us_a_write_call": written * 1e6 / calls,
                "server_us_a_read": read * 1e6 / f64::from(reads),
                "server_us_a_first_read": first_read * 1e6 / f64::from(reads),
            });
            println!(
                "{:6} {:7} {turn:4} turns  memory {:8.2} MB  sent {:8.2} MB  received {:6.2} MB  put {:6.2} ms  server: put or put_writes {:6.0} us, get_tuple {:6.0} us, the first {:6.0} us",
                row["change"].as_str().unwrap(),
                row["layout"].as_str().unwrap(),
                row["memory_mb"].as_f64().unwrap(),
                row["sent_mb"].as_f64().unwrap(),
                row["received_mb"].as_f64().unwrap(),
                row["put_ms"].as_f64().unwrap(),
                row["server_us_a_write_call"].as_f64().unwrap(),
                row["server_us_a_read"].as_f64().unwrap(),
                row["server_us_a_first_read"].as_f64().unwrap(),
            );
            rows.push(row);
            // What was asked here is no part of the conversation.
            let [sent_since, received_since] = traffic(&mut side.client).await;
            side.sent += sent_since - sent;
            side.received += received_since - received;
        }
    }
    rows
}

/// Calls a second by all callers, each on a thread of its own. What they put was made before.
async fn rate(saver: &RedisSaver, bytes: usize, calls: usize, reads: bool, round: usize) -> f64 {
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let saver = saver.clone();
            let put = if reads { 0 } else { calls };
            let ids = (0..put).map(|call| format!("{round:04}-{call:08}"));
            let put: Vec<_> = ids.map(|id| documents::checkpoint(bytes, &id)).collect();
            async move {
                let config = thread(&format!("{bytes}-{caller}"));
                let (metadata, options) = (documents::metadata(), PutOptions::default());
                for checkpoint in &put {
                    let put = saver.put(&config, checkpoint, &metadata, &options);
                    put.await.unwrap();
                }
                for _ in put.len()..calls {
                    saver.get_tuple(&config).await.unwrap().unwrap();
                }
            }
        })
        .collect();
    let began = Instant::now();
    let called: Vec<_> = callers.into_iter().map(tokio::spawn).collect();
    for caller in called {
        caller.await.unwrap();
    }
    (CALLERS * calls) as f64 / began.elapsed().as_secs_f64()
}

fn primaries(cluster: &Cluster) -> Vec<&Standalone> {
    let primaries = cluster.primaries().into_iter();
    primaries.map(|at| &cluster.nodes()[at]).collect()
}

/// The processor time of several servers, in seconds.
async fn used_by_all(clients: &mut [MultiplexedConnection]) -> f64 {
    let mut used = 0.0;
    for client in clients {
        used += server::used_time(client).await;
    }
    used
}

/// The calls of states of one size, in turns.
async fn sizes(sizes: &[usize], rounds: usize) -> Vec<Value> {
    let cluster = Cluster::start().unwrap();
    let mut rows = Vec::new();
    let standalone = sizes.iter().map(|bytes| ("standalone", *bytes));
    let clustered = sizes.iter().filter(|bytes| **bytes == 1_000);
    for (place, bytes) in standalone.chain(clustered.map(|bytes| ("cluster", *bytes))) {
        let servers = LAYOUTS.map(|_| Standalone::start().unwrap());
        let mut savers = Vec::new();
        for (layout, server) in LAYOUTS.into_iter().zip(&servers) {
            let builder = RedisSaver::builder().layout(layout).hash_tag_threads(true);
            let (builder, nodes) = match place {
                "cluster" => (
                    builder.url(cluster.url()).prefix(layout.as_str()),
                    primaries(&cluster),
                ),
                _ => (builder.url(server.url()), vec![server]),
            };
            let saver = builder.build().await.unwrap();
            saver.setup().await.unwrap();
            let mut clients = Vec::new();
            for node in nodes {
                clients.push(client(&node.url()).await);
            }
            savers.push((layout, clients, saver));
        }
        let calls = (20_000_000 / (bytes + 1_000)).clamp(200, 10_000) / CALLERS;
        let mut found = vec![[Vec::new(), Vec::new(), Vec::new(), Vec::new()]; LAYOUTS.len()];
        for round in 0..rounds {
            for (at, (_, clients, saver)) in savers.iter_mut().enumerate() {
                for (kind, reads) in [(0, false), (2, true)] {
                    let before = used_by_all(clients).await;
                    let rate = rate(saver, bytes, calls, reads, round).await;
                    let used = used_by_all(clients).await - before;
                    found[at][kind].push(rate);
                    found[at][kind + 1].push(used * 1e6 / (CALLERS * calls) as f64);
                }
            }
        }
        for ((layout, ..), found) in savers.iter().zip(&mut found) {
            let [puts, put_us, gets, get_us] = found.each_mut().map(|values| median(values));
            println!(
                "{place:10} {bytes:7} bytes {:7}  put {puts:6.0}/s, server {put_us:4.0} us  get_tuple {gets:6.0}/s, server {get_us:4.0} us",
                layout.as_str(),
            );
            rows.push(
                json!({"place": place, "bytes": bytes, "layout": layout.as_str(), "puts": puts,
                "server_us_a_put": put_us, "gets": gets, "server_us_a_get_tuple": get_us}),
            );
        }
    }
    rows
}

fn main() {
    let arguments = Arguments::read();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let rows = runtime.block_on(async {
        let mut rows = Vec::new();
        if arguments.includes("append") {
            rows.extend(grow(Change::Append, &arguments.turns).await);
        }
        if arguments.includes("middle") {
            rows.extend(grow(Change::Middle, &arguments.turns).await);
        }
        if arguments.includes("sizes") {
            rows.extend(sizes(&arguments.sizes, arguments.rounds).await);
        }
        rows
    });
    if let Some(file) = arguments.json {
        std::fs::write(file, serde_json::to_vec_pretty(&rows).unwrap()).unwrap();
    }
}
