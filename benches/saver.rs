//! What a call costs beside what Redis itself costs.
//!
//! ```sh
//! cargo bench --bench saver [-- [--reach] [--only TEXT] [--json FILE]]
//! ```
//!
//! Each operation runs with many callers, in turn with two floors in the same run: `same`, the very
//! commands that the saver sends, with the same bytes, through a bare pipelined client; and
//! `least`, the basic commands that would put the same data there, without the guarantees (no
//! check of what is there, no order of ids, no pending writes, not atomic). Beside them stands what
//! `redis-benchmark` says of the one command that moves the document, `JSON.SET` or `JSON.GET`,
//! with as many connections and as many commands in flight. `--reach` runs only the
//! figures that docs/performance.md sets as goals, `--only` the rows that contain a text.
//! `REDIS_URL` picks the server; otherwise one is started, and a cluster for the rows that need it.
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
#[path = "support/floor.rs"]
mod floor;
#[path = "support/load.rs"]
mod load;
#[path = "support/redis_benchmark.rs"]
mod redis_benchmark;
#[path = "support/server.rs"]
mod server;
#[path = "support/work.rs"]
mod work;

use std::sync::Arc;
use std::time::Duration;

use arguments::after;
use langgraph_checkpoint_redis::{
    CheckpointId, CheckpointSaver, DeleteOptions, MemorySaver, RedisSaver, ThreadId, TtlPolicy,
};
use load::{Sample, Side};
use redis_benchmark::Said;
use serde_json::json;
use work::{Bench, Operation, Work};

const ROUNDS: usize = 5;
const TTL: Duration = Duration::from_secs(3_600);

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(compare());
}

/// The rows of the table.
fn rows(reach: bool) -> Vec<Work> {
    let row = |operation, bytes, callers, ttl| Work {
        operation,
        bytes,
        callers,
        ttl,
    };
    let mut rows = Vec::new();
    let callers: &[usize] = if reach { &[16, 64] } else { &[1, 16, 64, 256] };
    for &callers in callers {
        for bytes in [1_000, 20_000] {
            rows.push(row(Operation::Put, bytes, callers, false));
            rows.push(row(Operation::GetTuple, bytes, callers, false));
        }
        rows.push(row(Operation::PutWrites(5), 1_000, callers, false));
    }
    if !reach {
        for bytes in [1_000, 20_000] {
            rows.push(row(Operation::Put, bytes, 16, true));
            rows.push(row(Operation::GetTuple, bytes, 16, true));
            rows.push(row(Operation::List(10), bytes, 1, false));
            rows.push(row(Operation::List(10), bytes, 16, false));
        }
        for callers in [1, 16] {
            rows.push(row(Operation::Put, 500_000, callers, false));
            rows.push(row(Operation::GetTuple, 500_000, callers, false));
        }
        rows.push(row(Operation::PutWrites(1), 1_000, 16, false));
        rows.push(row(Operation::PutWrites(5), 1_000, 16, true));
        rows.push(row(Operation::PutWrites(50), 1_000, 16, false));
    }
    rows
}

async fn compare() {
    let reach = std::env::args().any(|argument| argument == "--reach");
    let only = after("--only").unwrap_or_default();
    println!(
        "{} cores; medians of {ROUNDS} rounds; ratio to `same`, to `least` and to `redis-benchmark`; p50 and p99 in ms; microseconds of processor time a call here and in Redis (those of `same`)",
        std::thread::available_parallelism().map_or(0, usize::from),
    );
    let mut results = Vec::new();
    let url = redis_modules::shared_url().unwrap();
    for work in rows(reach) {
        if work.to_string().contains(&only) {
            results.push(on_redis("standalone", url, work).await);
        }
    }
    if !reach {
        let wanted = |work: &Work| work.to_string().contains(&only) && work.is_common();
        for work in rows(false).into_iter().filter(wanted) {
            results.push(in_memory(work).await);
        }
        let cluster = redis_modules::Cluster::start().unwrap();
        for work in rows(false).into_iter().filter(wanted) {
            results.push(on_redis("cluster", &cluster.url(), work).await);
        }
    }
    if let Some(file) = after("--json") {
        std::fs::write(file, serde_json::to_string_pretty(&results).unwrap()).unwrap();
    }
}

async fn in_memory(work: Work) -> serde_json::Value {
    let bench = Bench::new(Arc::new(MemorySaver::new()), work);
    bench.prepare().await;
    let sides = [bench.side()];
    let nothing: load::ServerTime = Arc::new(|| Box::pin(async { 0.0 }));
    let samples = load::in_turn(ROUNDS, work.callers, work.calls(), &sides, &nothing).await;
    report("memory", work, &samples, None, (0, 0))
}

async fn on_redis(topology: &str, url: &str, work: Work) -> serde_json::Value {
    let prefix = format!("bench-{}", CheckpointId::now_ulid());
    let is_cluster = topology == "cluster";
    let builder = |url: &str| {
        let builder = RedisSaver::builder().url(url).prefix(&prefix);
        let builder = builder.hash_tag_threads(is_cluster);
        if work.ttl {
            builder.ttl(TtlPolicy::new(TTL).with_refresh_on_read(true))
        } else {
            builder
        }
    };
    let saver = builder(url).build().await.unwrap();
    saver.setup().await.unwrap();
    let bench = Bench::new(Arc::new(saver.clone()), work);
    bench.prepare().await;
    let mut sides: Vec<Side> = vec![bench.side()];
    let (mut commands, mut round_trips) = (0, 0);
    let mut repeated = None;
    let used: load::ServerTime;
    if is_cluster {
        used = Arc::new(|| Box::pin(async { 0.0 }));
    } else {
        let client = redis::Client::open(url).unwrap();
        let mut bare = Vec::new();
        for _ in 0..2 {
            bare.push(client.get_multiplexed_async_connection().await.unwrap());
        }
        let looking = bare[0].clone();
        used = Arc::new(move || {
            let mut looking = looking.clone();
            Box::pin(async move { server::used_time(&mut looking).await })
        });
        let port = url::Url::parse(url).unwrap().port().unwrap();
        let recorder = floor::Recorder::start(port).await;
        let watched = builder(&format!("redis://127.0.0.1:{}", recorder.port()));
        let watched = watched.pool_size(1).build().await.unwrap();
        let taken = bench.record(&watched, &recorder).await;
        (commands, round_trips) = (taken.commands(), taken.round_trips());
        sides.push(taken.same(&bare));
        if let Some(least) = bench.least(&saver, &bare, &prefix).await {
            sides.push(least);
        }
        repeated = bench.repeated(&bare, &prefix, url).await;
    }
    let samples = load::in_turn(ROUNDS, work.callers, work.calls(), &sides, &used).await;
    let said = match repeated {
        Some(repeated) => tokio::task::spawn_blocking(move || repeated.run(ROUNDS))
            .await
            .unwrap(),
        None => None,
    };
    for thread in bench.threads() {
        let thread = ThreadId::new(thread).unwrap();
        let options = DeleteOptions::default();
        saver.delete_thread(&thread, &options).await.unwrap();
    }
    report(topology, work, &samples, said, (commands, round_trips))
}

fn report(
    topology: &str,
    work: Work,
    samples: &[Sample],
    said: Option<Said>,
    (commands, round_trips): (usize, usize),
) -> serde_json::Value {
    let (ours, same) = (samples[0], samples.get(1).unwrap_or(&samples[0]));
    let ratio = |side: usize| samples.get(side).map(|floor| ours.rate / floor.rate);
    let shown = |ratio: Option<f64>| ratio.map_or("   -".to_owned(), |ratio| format!("{ratio:.2}"));
    let row = work.to_string();
    println!(
        "{topology:<10} {row:<34} {:>8.0}/s  same {}  least {}  redis-benchmark {}  p50 {:>7.3}  p99 {:>7.3}  here {:>6.1} ({:.1})  Redis {:>6.1} ({:.1})  commands {commands} in {round_trips}",
        ours.rate,
        shown(ratio(1)),
        shown(ratio(2)),
        shown(said.map(|said| ours.rate / said.rate)),
        ours.p50,
        ours.p99,
        ours.client,
        same.client,
        ours.server,
        same.server,
    );
    let floor = |side: usize| samples.get(side).map(|sample| sample.to_json());
    json!({
        "topology": topology, "row": row, "ours": ours.to_json(),
        "same": floor(1), "least": floor(2), "redis_benchmark": said.map(Said::to_json),
        "ratio_to_same": ratio(1), "ratio_to_least": ratio(2),
        "commands": commands, "round_trips": round_trips,
    })
}
