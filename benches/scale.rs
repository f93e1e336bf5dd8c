//! Whether calls cost the same however much is stored, and what memory a checkpoint takes.
//!
//! ```sh
//! cargo bench --bench scale [-- --checkpoints 1000,100000,1000000 --lengths 10,10000
//!     --rounds 5 --only TEXT --json FILE]
//! ```
//!
//! For each number of checkpoints a server of its own is filled with short conversations: ten
//! checkpoints of 1 KB, each with a write. The savers that are measured have not seen them before.
//! The servers take turns in every round, so that whatever else the machine does meets all of them.
//! `JSON.GET` through a bare client is the floor of reads; beside reads of any thread stand those
//! of the same hundred. Then threads of several lengths are compared in the same way, on one more
//! server. A ratio is that of the p50 to the one of the smallest size; docs/performance.md sets 1.3
//! as the goal.
//!
//! A million checkpoints take about 6.5 GB of memory. Nothing is kept on disk.
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
#[path = "support/load.rs"]
mod load;
#[path = "support/server.rs"]
mod server;
#[path = "support/stored.rs"]
mod stored;

use std::sync::Arc;
use std::time::Instant;

use arguments::{after, numbers};
use redis_modules::Standalone;
use serde_json::{Value, json};
use stored::{Memory, Operation, Stored};

/// The most that a p50 may grow.
const REACH: f64 = 1.3;

struct Arguments {
    checkpoints: Vec<usize>,
    lengths: Vec<usize>,
    rounds: usize,
    only: String,
    json: Option<String>,
}

impl Arguments {
    fn read() -> Self {
        Self {
            checkpoints: numbers("--checkpoints", &[1_000, 100_000]),
            lengths: numbers("--lengths", &[10, 10_000]),
            rounds: numbers("--rounds", &[5])[0],
            only: after("--only").unwrap_or_default(),
            json: after("--json"),
        }
    }
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(compare(&Arguments::read()));
}

async fn compare(arguments: &Arguments) {
    println!(
        "{} cores; medians of {} rounds; p50 and p99 in ms; microseconds of processor time a call here and in Redis",
        std::thread::available_parallelism().map_or(0, usize::from),
        arguments.rounds,
    );
    let (memory, all) = by_checkpoints(arguments).await;
    let threads = by_lengths(arguments).await;
    if let Some(file) = &arguments.json {
        let results = json!({"memory": memory, "checkpoints": all, "lengths": threads});
        std::fs::write(file, serde_json::to_string_pretty(&results).unwrap()).unwrap();
    }
}

/// The same calls on stores of several sizes.
async fn by_checkpoints(arguments: &Arguments) -> (Vec<Value>, Vec<Value>) {
    let (mut servers, mut all, mut memories) = (Vec::new(), Vec::new(), Vec::new());
    for &checkpoints in &arguments.checkpoints {
        let server = Standalone::start().unwrap();
        let start = Instant::now();
        let (stored, memory) = Stored::conversations(&server, checkpoints).await;
        println!(
            "{checkpoints} checkpoints filled in {:.1?}",
            start.elapsed()
        );
        servers.push(server);
        all.push(Arc::new(stored));
        memories.push(memory);
    }
    if all.is_empty() {
        return (Vec::new(), Vec::new());
    }
    let kind = "checkpoints";
    let mut results = Vec::new();
    for operation in [
        Operation::JsonGet,
        Operation::GetTupleNewest,
        Operation::GetTupleOfFew,
        Operation::GetTupleById,
        Operation::List,
        Operation::ListEveryNamespace,
    ] {
        results.extend(row(arguments, kind, &all, operation, 1, 1_000).await);
        results.extend(row(arguments, kind, &all, operation, 16, 200).await);
    }
    // These may take long where there is much.
    let largest = arguments.checkpoints.iter().max().copied().unwrap_or(1);
    let calls = (2_000_000 / largest.max(1)).clamp(1, 200);
    for operation in [Operation::ListEveryThread, Operation::Threads] {
        results.extend(row(arguments, kind, &all, operation, 1, calls).await);
    }
    let mut takes = Vec::new();
    for (stored, memory) in all.iter().zip(memories) {
        let dropped = stored.without_indexes().await;
        takes.push(report(stored.size, memory, dropped));
    }
    // Last, as it adds to what there is.
    results.extend(row(arguments, kind, &all, Operation::Put, 1, 1_000).await);
    results.extend(row(arguments, kind, &all, Operation::Put, 16, 200).await);
    (takes, results)
}

fn report(checkpoints: usize, memory: Memory, dropped: f64) -> Value {
    let Memory {
        all,
        indexes_reported: indexes,
    } = memory;
    println!(
        "memory of {checkpoints} checkpoints: {all:.0} bytes each with its write; dropping both indexes frees {dropped:.0} ({:.0} %), FT.INFO says {indexes:.0} ({:.0} %)",
        dropped / all * 100.0,
        indexes / all * 100.0,
    );
    json!({
        "checkpoints": checkpoints, "bytes_each": all,
        "indexes_by_dropping": dropped, "indexes_by_info": indexes,
    })
}

/// The same calls on threads of several lengths.
async fn by_lengths(arguments: &Arguments) -> Vec<Value> {
    let server = Standalone::start().unwrap();
    let mut stores = Vec::new();
    for &length in &arguments.lengths {
        // What grows a little stays about as long: many short threads, or one long one.
        let count = 1 + (20_000 / length.max(1)).clamp(1, 2_000);
        let prefix = format!("length-{length}");
        stores.push(Arc::new(
            Stored::threads(&server, &prefix, count, length).await,
        ));
    }
    let mut results = Vec::new();
    for operation in [
        Operation::GetTupleNewest,
        Operation::GetTupleById,
        Operation::List,
        Operation::ListEveryNamespace,
        Operation::Put,
    ] {
        results.extend(row(arguments, "in a thread", &stores, operation, 1, 300).await);
        results.extend(row(arguments, "in a thread", &stores, operation, 16, 60).await);
    }
    results
}

/// One operation on every store, in turn.
async fn row(
    arguments: &Arguments,
    kind: &str,
    stores: &[Arc<Stored>],
    operation: Operation,
    callers: usize,
    calls: usize,
) -> Vec<Value> {
    if stores.is_empty() || !operation.name().contains(&arguments.only) {
        return Vec::new();
    }
    let sides: Vec<_> = stores
        .iter()
        .map(|store| store.side(operation, callers, calls))
        .collect();
    // Threads of several lengths share a server.
    let servers = if kind == "checkpoints" {
        stores
    } else {
        &stores[..1]
    };
    let used = stored::used_time(servers);
    let samples = load::in_turn(arguments.rounds, callers, calls, &sides, &used).await;
    let mut results = Vec::new();
    for (store, sample) in stores.iter().zip(&samples) {
        let (ratio, size) = (sample.p50 / samples[0].p50, store.size);
        let verdict = if ratio > REACH { "  over" } else { "" };
        println!(
            "{:<26} {callers:>2} callers {size:>9} {kind:<12} {:>8.0}/s  p50 {:>8.3}  p99 {:>8.3}  here {:>6.1}  Redis {:>8.1}  ratio {ratio:.2}{verdict}",
            operation.name(),
            sample.rate,
            sample.p50,
            sample.p99,
            sample.client,
            sample.server,
        );
        let failures = std::mem::take(&mut *store.failures.lock().unwrap());
        if let Some(failure) = failures.first() {
            println!("    {} calls failed: {failure}", failures.len());
        }
        results.push(json!({
            "operation": operation.name(), "callers": callers, "size": size,
            "measured": sample.to_json(), "ratio_of_p50": ratio, "failures": failures,
        }));
    }
    results
}
