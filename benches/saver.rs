//! What a call costs beside what Redis itself costs: each operation with many callers, next to
//! the same Redis commands with the same bytes through a bare pipelined client, in one run.
//!
//! ```sh
//! cargo bench --bench saver [-- --json FILE]
//! ```
//!
//! `REDIS_URL` picks the server; otherwise one is started. Every figure is the median of several
//! rounds, the saver and the bare client taking turns.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_precision_loss)]
#![allow(clippy::too_many_lines)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use langgraph_checkpoint_redis::{
    ChannelWrite, Checkpoint, CheckpointConfig, CheckpointId, CheckpointMetadata, CheckpointSaver,
    PutOptions, PutWritesOptions, RedisSaver, TaskId, TypedValue,
};
use redis::aio::MultiplexedConnection;
use serde_json::json;

const ROUNDS: usize = 5;
const CALLERS: [usize; 3] = [1, 16, 64];
const SIZES: [usize; 3] = [1_000, 20_000, 500_000];

/// One side of a comparison: makes the call number `n` of a caller.
type Call = Arc<dyn Fn(usize, usize) -> futures_util::future::BoxFuture<'static, ()> + Send + Sync>;

#[tokio::main]
async fn main() {
    let url = redis_modules::shared_url().unwrap();
    let prefix = format!("bench-{}", CheckpointId::now_ulid());
    let saver = RedisSaver::builder()
        .url(url)
        .prefix(&prefix)
        .build()
        .await
        .unwrap();
    saver.setup().await.unwrap();
    let client = redis::Client::open(url).unwrap();
    let bare = [
        client.get_multiplexed_async_connection().await.unwrap(),
        client.get_multiplexed_async_connection().await.unwrap(),
    ];
    println!(
        "{} cores, {} rounds; calls a second (ratio to the bare client), p50 and p99 in ms",
        std::thread::available_parallelism().map_or(0, usize::from),
        ROUNDS
    );
    let mut results = Vec::new();
    for size in SIZES {
        for callers in CALLERS {
            for (name, ours, theirs) in operations(&saver, &bare, &prefix, size).await {
                let result = compare(callers, size, &ours, &theirs).await;
                println!(
                    "{name:<14} {:>4} KB {callers:>3} callers  {:>7.0}/s  bare {:>7.0}/s  ratio {:.2}  p50 {:>7.3} ({:>7.3})  p99 {:>7.3} ({:>7.3})",
                    size / 1_000,
                    result.ours.rate,
                    result.bare.rate,
                    result.ours.rate / result.bare.rate,
                    result.ours.p50,
                    result.bare.p50,
                    result.ours.p99,
                    result.bare.p99,
                );
                results.push(json!({
                    "operation": name, "bytes": size, "callers": callers,
                    "ours": result.ours.to_json(), "bare": result.bare.to_json(),
                }));
            }
        }
    }
    let mut arguments = std::env::args()
        .skip_while(|argument| argument != "--json")
        .skip(1);
    if let Some(file) = arguments.next() {
        std::fs::write(file, serde_json::to_string_pretty(&results).unwrap()).unwrap();
    }
}

struct Sample {
    rate: f64,
    p50: f64,
    p99: f64,
}

impl Sample {
    fn to_json(&self) -> serde_json::Value {
        json!({ "per_second": self.rate, "p50_ms": self.p50, "p99_ms": self.p99 })
    }
}

struct Comparison {
    ours: Sample,
    bare: Sample,
}

async fn compare(callers: usize, size: usize, ours: &Call, bare: &Call) -> Comparison {
    let calls = (40_000_000 / (size + 4_000)).clamp(40, 4_000) / callers.max(1) + 1;
    let (mut of_ours, mut of_bare) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let (one, other) = (
            run(callers, calls, ours).await,
            run(callers, calls, bare).await,
        );
        // The first round warms up.
        if round > 0 {
            of_ours.push(one);
            of_bare.push(other);
        }
    }
    Comparison {
        ours: median(&of_ours),
        bare: median(&of_bare),
    }
}

fn median(samples: &[Sample]) -> Sample {
    let of = |field: fn(&Sample) -> f64| {
        let mut values: Vec<_> = samples.iter().map(field).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Sample {
        rate: of(|sample| sample.rate),
        p50: of(|sample| sample.p50),
        p99: of(|sample| sample.p99),
    }
}

async fn run(callers: usize, calls: usize, call: &Call) -> Sample {
    let start = Instant::now();
    let tasks = (0..callers).map(|caller| {
        let call = Arc::clone(call);
        tokio::spawn(async move {
            let mut times = Vec::with_capacity(calls);
            for n in 0..calls {
                let start = Instant::now();
                call(caller, n).await;
                times.push(start.elapsed());
            }
            times
        })
    });
    let mut times: Vec<Duration> = join_all(tasks)
        .await
        .into_iter()
        .flat_map(Result::unwrap)
        .collect();
    let rate = times.len() as f64 / start.elapsed().as_secs_f64();
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1_000.0;
    Sample {
        rate,
        p50: at(50),
        p99: at(99),
    }
}

fn checkpoint(size: usize) -> Checkpoint {
    let messages: Vec<_> = (0..size.div_ceil(130))
        .map(|n| json!({"type": "human", "content": "It is a truth universally acknowledged, ".repeat(2), "id": n}))
        .collect();
    Checkpoint::builder()
        .channel("messages", 1, &messages)
        .unwrap()
        .build()
        .unwrap()
}

fn metadata() -> CheckpointMetadata {
    CheckpointMetadata::new()
        .with("source", "loop")
        .unwrap()
        .with("step", &1)
        .unwrap()
}

fn thread(name: &str, caller: usize) -> CheckpointConfig {
    CheckpointConfig::new(format!("{name}-{caller}")).unwrap()
}

fn writes() -> Vec<ChannelWrite> {
    (0..5)
        .map(|n| {
            ChannelWrite::new(
                format!("channel-{n}"),
                TypedValue::json(&"x".repeat(100)).unwrap(),
            )
        })
        .collect()
}

/// The operations with both sides: the saver, and the commands that it needs, bare. Each caller
/// has a thread of its own and puts the same few checkpoints again and again, so that the memory
/// of the server does not grow.
async fn operations(
    saver: &RedisSaver,
    bare: &[MultiplexedConnection; 2],
    prefix: &str,
    size: usize,
) -> Vec<(&'static str, Call, Call)> {
    let checkpoints: Arc<Vec<_>> = Arc::new((0..8).map(|_| checkpoint(size)).collect());
    let document = {
        let config = thread("sample", 0);
        saver
            .put(
                &config,
                &checkpoints[0],
                &metadata(),
                &PutOptions::default(),
            )
            .await
            .unwrap();
        let key = format!(
            "{prefix}:checkpoint:sample-0:__empty__:{}",
            checkpoints[0].id()
        );
        let mut bare = bare[0].clone();
        let text: String = redis::cmd("JSON.GET")
            .arg(key)
            .query_async(&mut bare)
            .await
            .unwrap();
        Arc::new(text)
    };
    for caller in 0..64 {
        let config = thread("read", caller);
        let stored = saver
            .put(
                &config,
                &checkpoints[0],
                &metadata(),
                &PutOptions::default(),
            )
            .await
            .unwrap();
        saver.get_tuple(&stored).await.unwrap();
    }
    let ours = |call: fn(
        RedisSaver,
        Arc<Vec<Checkpoint>>,
        usize,
        usize,
    ) -> futures_util::future::BoxFuture<'static, ()>|
     -> Call {
        let (saver, checkpoints) = (saver.clone(), Arc::clone(&checkpoints));
        Arc::new(move |caller, n| call(saver.clone(), Arc::clone(&checkpoints), caller, n))
    };
    let theirs = |call: fn(
        MultiplexedConnection,
        Arc<String>,
        String,
        usize,
    ) -> futures_util::future::BoxFuture<'static, ()>|
     -> Call {
        let (bare, document, prefix) = (bare.clone(), Arc::clone(&document), prefix.to_owned());
        Arc::new(move |caller, n| {
            let key = format!("{prefix}:checkpoint:bare-{caller}:{}", n % 8);
            call(bare[caller % 2].clone(), Arc::clone(&document), key, n)
        })
    };
    vec![
        (
            "put",
            ours(|saver, checkpoints, caller, n| {
                Box::pin(async move {
                    let checkpoint = &checkpoints[n % checkpoints.len()];
                    let options = PutOptions::default();
                    saver
                        .put(&thread("put", caller), checkpoint, &metadata(), &options)
                        .await
                        .unwrap();
                })
            }),
            theirs(|mut bare, document, key, _| {
                Box::pin(async move {
                    let _: redis::Value = redis::pipe()
                        .cmd("JSON.SET")
                        .arg(&key)
                        .arg("$")
                        .arg(&*document)
                        .cmd("SET")
                        .arg(format!("latest-{key}"))
                        .arg(&key)
                        .cmd("ZADD")
                        .arg(format!("keys-{key}"))
                        .arg(0)
                        .arg(&key)
                        .cmd("SADD")
                        .arg(format!("ns-{key}"))
                        .arg("__empty__")
                        .query_async(&mut bare)
                        .await
                        .unwrap();
                })
            }),
        ),
        (
            "put_writes(5)",
            ours(|saver, checkpoints, caller, n| {
                Box::pin(async move {
                    let id = checkpoints[0].id().clone();
                    let config = thread("put", caller).with_checkpoint(id);
                    let task = TaskId::new(format!("task-{}", n % 8)).unwrap();
                    let options = PutWritesOptions::default();
                    saver
                        .put_writes(&config, &writes(), &task, &options)
                        .await
                        .unwrap();
                })
            }),
            theirs(|mut bare, _, key, _| {
                Box::pin(async move {
                    let mut pipe = redis::pipe();
                    let write = json!({"thread_id": "bare", "checkpoint_ns": "__empty__", "checkpoint_id": "1f1e5438-3693-6fd2-bfff-c562fd0be1e3", "task_id": "task", "task_path": "", "idx": 0, "channel": "channel-0", "type": "json", "blob": "x".repeat(140)}).to_string();
                    for n in 0..5 {
                        pipe.cmd("JSON.SET")
                            .arg(format!("{key}-{n}").replace(":checkpoint:", ":checkpoint_write:"))
                            .arg("$")
                            .arg(&write)
                            .arg("NX");
                    }
                    pipe.cmd("ZADD").arg(format!("w-{key}"));
                    for n in 0..5 {
                        pipe.arg(n).arg(format!("{key}-{n}"));
                    }
                    let _: redis::Value = pipe.query_async(&mut bare).await.unwrap();
                })
            }),
        ),
        (
            "get_tuple",
            ours(|saver, _, caller, _| {
                Box::pin(async move {
                    saver
                        .get_tuple(&thread("read", caller))
                        .await
                        .unwrap()
                        .unwrap();
                })
            }),
            theirs(|mut bare, _, key, _| {
                Box::pin(async move {
                    let _: redis::Value = redis::pipe()
                        .cmd("GET")
                        .arg(format!("latest-{key}"))
                        .cmd("JSON.GET")
                        .arg(&key)
                        .cmd("ZRANGE")
                        .arg(format!("w-{key}"))
                        .arg(0)
                        .arg(-1)
                        .query_async(&mut bare)
                        .await
                        .unwrap();
                })
            }),
        ),
    ]
}
