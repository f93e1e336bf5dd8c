//! What became of a fault, and the table of all.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use langgraph_checkpoint_redis::RedisSaver;
use langgraph_checkpoint_redis::redis::{DoctorOptions, FindingKind, Layout};
use redis::aio::MultiplexedConnection;

use crate::Fault;
use crate::load::{Found, Record, check};

/// A row of the table.
struct Row {
    fault: Fault,
    tried: usize,
    acknowledged: usize,
    errors: BTreeMap<String, usize>,
    lost: usize,
    torn: usize,
    without_ttl: usize,
    slowest: Duration,
}

static ROWS: Mutex<Vec<Row>> = Mutex::new(Vec::new());

/// What may be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// Nothing that was acknowledged.
    Kept,
    /// What the servers had not replicated: the caller did not ask for more.
    AsReplicated,
}

/// Checks all promises after a fault, and adds it to the table.
pub async fn settle(
    fault: Fault,
    promise: Promise,
    saver: &RedisSaver,
    records: Vec<(String, Record)>,
    primaries: &[String],
) {
    let Found { lost, torn } = check(saver, &records).await;
    let mut without_ttl = Vec::new();
    for primary in primaries {
        without_ttl.extend(keys_without_ttl(primary).await);
    }
    let failures = note(fault, records, lost.len(), torn.len(), without_ttl.len());
    assert!(failures.is_empty(), "{fault}: {failures:?}");
    assert!(torn.is_empty(), "{fault}: torn: {torn:?}");
    if fault.is_of(Layout::Compact) {
        // No fault leaves a value without a part of it, or a checkpoint without its writes. A call
        // that was dropped, or was killed with its process, may not have noted its thread.
        let report = saver.doctor(&DoctorOptions::default()).await.unwrap();
        let mut kinds = report.counts().keys();
        let are_whole = kinds.all(|kind| {
            matches!(
                kind,
                FindingKind::PartsUnnamed | FindingKind::RecentThreadsIncomplete
            )
        });
        assert!(are_whole, "{fault}: {report}");
    }
    assert!(
        without_ttl.is_empty(),
        "{fault}: without a TTL: {without_ttl:?}"
    );
    assert!(
        promise == Promise::AsReplicated || lost.is_empty(),
        "{fault}: lost: {lost:?}"
    );
}

/// Adds what writers and readers met to the table, and what was found of it; what must never be is
/// returned.
pub fn note(
    fault: Fault,
    records: Vec<(String, Record)>,
    lost: usize,
    torn: usize,
    without_ttl: usize,
) -> Vec<String> {
    let mut row = Row {
        fault,
        tried: 0,
        acknowledged: 0,
        errors: BTreeMap::new(),
        lost,
        torn,
        without_ttl,
        slowest: Duration::ZERO,
    };
    let mut failures = Vec::new();
    for (_, record) in records {
        row.tried += record.tried;
        row.acknowledged += record.acknowledged.len();
        row.slowest = row.slowest.max(record.slowest);
        failures.extend(record.failures);
        for (kind, count) in record.errors {
            *row.errors.entry(kind).or_default() += count;
        }
    }
    assert!(row.acknowledged > 0, "{fault}: nothing was acknowledged");
    ROWS.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(row);
    failures
}

/// What says which layout is under a prefix: it stays.
pub const MARKER: &str = "checkpoint_layout";

/// The keys of a server that never expire.
pub async fn keys_without_ttl(url: &str) -> Vec<String> {
    let mut client = crate::connect(url).await.unwrap();
    let mut forever = Vec::new();
    let mut cursor = 0_u64;
    loop {
        let (next, keys): (u64, Vec<String>) = redis::cmd("SCAN")
            .arg(cursor)
            .arg("COUNT")
            .arg(1_000)
            .query_async(&mut client)
            .await
            .unwrap();
        let times = times_left(&mut client, &keys).await;
        let without = keys.into_iter().zip(times).filter(|(_, time)| *time == -1);
        let without = without.map(|(key, _)| key);
        forever.extend(without.filter(|key| key != MARKER));
        cursor = next;
        if cursor == 0 {
            return forever;
        }
    }
}

async fn times_left(client: &mut MultiplexedConnection, keys: &[String]) -> Vec<i64> {
    let mut pipeline = redis::pipe();
    for key in keys {
        pipeline.cmd("PTTL").arg(key);
    }
    if keys.is_empty() {
        return Vec::new();
    }
    pipeline.query_async(client).await.unwrap()
}

/// Prints the table.
pub fn print() {
    let mut rows = ROWS.lock().unwrap_or_else(PoisonError::into_inner);
    if rows.is_empty() {
        return;
    }
    rows.sort_by_key(|row| (row.fault.name, row.fault.layout()));
    println!(
        "| fault | layout | checkpoints tried | acknowledged | errors that callers saw | lost | torn | keys without TTL | slowest call |"
    );
    println!("|---|---|---:|---:|---|---:|---:|---:|---:|");
    for row in rows.iter() {
        let errors = row.errors.iter();
        let errors: Vec<_> = errors
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        let errors = if errors.is_empty() {
            "none".to_owned()
        } else {
            errors.join(", ")
        };
        println!(
            "| {} | `{}` | {} | {} | {errors} | {} | {} | {} | {:.2} s |",
            row.fault.name.replace('_', " "),
            row.fault.layout(),
            row.tried,
            row.acknowledged,
            row.lost,
            row.torn,
            row.without_ttl,
            row.slowest.as_secs_f64()
        );
    }
}
