//! Faults of what is stored: it is evicted, expires, is deleted while others write, is damaged by
//! hand, and is read by those who do not read to the end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use langgraph_checkpoint_redis::redis::{DoctorOptions, Layout};
use langgraph_checkpoint_redis::{
    CheckpointSaver, CopyOptions, DeleteOptions, Error, ListOptions, MetadataFilter, PruneOptions,
    PruneStrategy, PutOptions, PutWritesOptions, RedisSaver, RunId, ThreadId, TtlChoice, TtlPolicy,
    TtlScope,
};
use rand::random_range;
use redis_modules::Standalone;
use tokio::time::{sleep, timeout};

use crate::damages::{NOT_OURS, damages};
use crate::load::{
    Load, Readers, Record, calls, checkpoint, config_of, id, is_whole, kind, metadata, named,
    parent, writes,
};
use crate::report::{MARKER, keys_without_ttl, note};
use crate::support::server::is_recent;
use crate::wire::{Condition, Wire};
use crate::{Fault, command, connect};

async fn put(saver: &RedisSaver, thread: &str, number: usize, ttl: TtlChoice) -> Result<(), Error> {
    let (config, checkpoint) = (parent(thread, number), checkpoint(thread, number));
    let options = PutOptions::default().with_ttl(ttl);
    let stored = saver
        .put(&config, &checkpoint, &metadata(number), &options)
        .await;
    stored.map(drop)
}

async fn put_writes(
    saver: &RedisSaver,
    thread: &str,
    number: usize,
    ttl: TtlChoice,
) -> Result<(), Error> {
    for (task, writes) in calls(thread, number) {
        let options = PutWritesOptions::default().with_ttl(ttl);
        saver
            .put_writes(&named(thread, number), &writes, &task, &options)
            .await?;
    }
    Ok(())
}

fn thread_id(thread: &str) -> ThreadId {
    ThreadId::new(thread).unwrap()
}

async fn keys(url: &str) -> Vec<String> {
    let mut client = connect(url).await.unwrap();
    let keys: Vec<Vec<u8>> = redis::cmd("KEYS")
        .arg("*")
        .query_async(&mut client)
        .await
        .unwrap();
    keys.iter()
        .map(|key| String::from_utf8_lossy(key).into_owned())
        .filter(|key| !is_recent(key))
        .collect()
}

/// A server that evicts gives complete results, none, or an error that says so.
pub async fn keys_are_evicted(fault: Fault) {
    let says_so = |error: &Error| matches!(error, Error::Corrupt { .. });
    let server = Standalone::builder()
        .config("maxmemory-policy", "allkeys-lru")
        .start()
        .unwrap();
    let url = server.url();
    let saver = fault.builder(&url).build().await.unwrap();
    saver.setup().await.unwrap();
    let info = async |section: &str, field: &str| -> u64 {
        let info = command(&url, &["INFO", section]).await.unwrap();
        let info: String = redis::from_redis_value(info).unwrap();
        let value = info.lines().find_map(|line| line.strip_prefix(field));
        value.unwrap().parse().unwrap()
    };
    // All that a thread has goes with three keys.
    let (count, bytes, evictions) = match fault.layout {
        Layout::Compact => (32, 2_000_000, 200),
        _ => (8, 6_000_000, 3_000),
    };
    let most = info("memory", "used_memory:").await + bytes;
    command(&url, &["CONFIG", "SET", "maxmemory", &most.to_string()])
        .await
        .unwrap();
    let threads: Vec<_> = (0..count).map(|n| format!("lots-{n}")).collect();
    let load = Load::start_tolerantly(&saver, threads.clone(), says_so);
    let readers = Readers::start(&saver, &threads, says_so);
    let started = Instant::now();
    while info("stats", "evicted_keys:").await < evictions {
        assert!(started.elapsed() < Duration::from_secs(90), "{fault}");
        sleep(Duration::from_millis(50)).await;
    }
    let mut records = load.stop().await;
    let (mut lost, mut torn) = (0, Vec::new());
    for (thread, record) in &mut records {
        for number in record.acknowledged.clone() {
            let named = named(thread, number);
            let with_writes = record.with_writes.binary_search(&number).is_ok();
            match saver.get_tuple(&named).await {
                Ok(None) => lost += 1,
                Ok(Some(tuple)) => {
                    let found = tuple.pending_writes.len();
                    if !is_whole(thread, number, &tuple) || (with_writes && found < writes(thread))
                    {
                        torn.push(format!("{thread} {number}: {found} writes"));
                    }
                }
                Err(error) => {
                    *record.errors.entry(kind(&error)).or_default() += 1;
                    if !says_so(&error) && !error.is_retryable() {
                        record.failures.push(error.to_string());
                    }
                }
            }
        }
    }
    records.extend(readers.stop().await);
    let without_ttl = keys_without_ttl(&url).await;
    let failures = note(fault, records, lost, torn.len(), without_ttl.len());
    assert!(lost > 0, "{fault}: nothing was evicted");
    assert!(
        torn.is_empty(),
        "{fault}: {} torn: {:?}",
        torn.len(),
        &torn[..torn.len().min(5)]
    );
    assert!(failures.is_empty(), "{fault}: {failures:?}");
    assert!(without_ttl.is_empty(), "{fault}: {without_ttl:?}");
}

/// Keys in their last millisecond are not made permanent, and what is read is complete.
pub async fn keys_expire_within_milliseconds(fault: Fault) {
    let server = Standalone::start().unwrap();
    let short = TtlPolicy::new(Duration::from_millis(15)).with_refresh_on_read(true);
    let mut savers = Vec::new();
    let thread = short.with_scope(TtlScope::Thread);
    let scopes = match fault.layout {
        Layout::Compact => vec![thread],
        _ => vec![short, thread],
    };
    for ttl in scopes {
        let saver = fault.builder(server.url()).ttl(ttl).build().await.unwrap();
        saver.setup().await.unwrap();
        savers.push(saver);
    }
    let names = ["one", "two-lots", "three", "four-lots"];
    let tasks = (0..8_usize).map(|player| {
        let scope = player % savers.len();
        let saver = savers[scope].clone();
        tokio::spawn(async move {
            let mut record = Record::default();
            let started = Instant::now();
            let mut number = player;
            while started.elapsed() < Duration::from_secs(4) && record.failures.len() < 5 {
                let name = names[random_range(0..names.len())];
                // The scopes do not share threads, for one would keep what the other lets go.
                let thread = format!("{name}-{scope}");
                number += 8;
                if let Err(error) = churn(&saver, &thread, number, &mut record).await {
                    record.failures.push(error.to_string());
                }
            }
            record
        })
    });
    let mut records = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        records.push((String::new(), task.await.unwrap()));
    }
    for (scope, saver) in savers.iter().enumerate() {
        for name in names.into_iter().chain(["copy"]) {
            let thread = thread_id(&format!("{name}-{scope}"));
            saver.unpin(&thread).await.unwrap();
        }
    }
    let without_ttl = keys_without_ttl(&server.url()).await;
    // What leads to others stays for a second.
    sleep(Duration::from_millis(1_500)).await;
    let mut left = keys(&server.url()).await;
    left.retain(|key| key != MARKER);
    let failures = note(fault, records, 0, 0, without_ttl.len().max(left.len()));
    assert!(failures.is_empty(), "{fault}: {failures:?}");
    assert!(without_ttl.is_empty(), "{fault}: {without_ttl:?}");
    assert!(left.is_empty(), "{fault}: left: {left:?}");
}

async fn churn(
    saver: &RedisSaver,
    thread: &str,
    number: usize,
    record: &mut Record,
) -> Result<(), Error> {
    let ttl = match random_range(0..3) {
        0 => TtlChoice::Default,
        _ => TtlChoice::For(Duration::from_millis(random_range(1..25))),
    };
    let of = thread_id(thread);
    match random_range(0..20) {
        0..6 => {
            record.tried += 1;
            put(saver, thread, number, ttl).await?;
            record.acknowledged.push(number);
        }
        6..11 => {
            let number = record.acknowledged.last().copied().unwrap_or(number);
            put_writes(saver, thread, number, ttl).await?;
        }
        11..14 => {
            let config = match record.acknowledged.last() {
                Some(number) if random_range(0..2) == 0 => named(thread, *number),
                _ => config_of(thread),
            };
            let tuple = saver.get_tuple(&config).await?;
            check_whole(thread, tuple.as_ref(), record);
        }
        14..16 => {
            let config = config_of(thread);
            let listed = saver.list(Some(&config), ListOptions::default().with_limit(10));
            for tuple in listed.try_collect::<Vec<_>>().await? {
                check_whole(thread, Some(&tuple), record);
            }
        }
        16 => drop(saver.touch(&of).await?),
        17 => {
            saver.pin(&of).await?;
            saver.unpin(&of).await?;
        }
        18 => {
            let options = PruneOptions::new(PruneStrategy::KeepLast(3));
            saver.prune(&[of], &options).await?;
        }
        _ => {
            let copy = format!("copy-{}", &thread[thread.len() - 1..]);
            let options = CopyOptions::default();
            saver.copy_thread(&of, &thread_id(&copy), &options).await?;
        }
    }
    Ok(())
}

fn check_whole(
    thread: &str,
    tuple: Option<&langgraph_checkpoint_redis::CheckpointTuple>,
    record: &mut Record,
) {
    let Some(tuple) = tuple else { return };
    let number = tuple.checkpoint.id().as_str().parse().unwrap();
    if !is_whole(thread, number, tuple) {
        let writes = tuple.pending_writes.len();
        let failure = format!("{thread} {number} is not complete, with {writes} writes");
        record.failures.push(failure);
    }
}

/// Deleting ends while others write, and what is put afterwards lives; so does what is put after a
/// delete was dropped.
pub async fn a_thread_is_deleted_while_others_write(fault: Fault) {
    const BEFORE: usize = 500;
    let server = Standalone::start().unwrap();
    let saver = fault.builder(server.url()).build().await.unwrap();
    saver.setup().await.unwrap();
    // Who deletes is further away than who writes.
    let wire = Wire::start(server.port()).await;
    let far = fault.builder(format!("redis://127.0.0.1:{}", wire.port()));
    let far = far.build().await.unwrap();
    wire.set(Condition::Slow(Duration::from_millis(8)));
    let (thread, of) = ("busy", thread_id("busy"));
    let next = Arc::new(AtomicUsize::new(0));
    let fill = async || {
        let puts = stream::iter(0..BEFORE).map(|_| {
            let (saver, number) = (saver.clone(), next.fetch_add(1, Ordering::SeqCst));
            async move { put(&saver, thread, number, TtlChoice::Default).await }
        });
        puts.buffer_unordered(32).try_collect::<()>().await.unwrap();
    };
    fill().await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers = (0..4).map(|_| {
        let (saver, next, stop) = (saver.clone(), Arc::clone(&next), Arc::clone(&stop));
        tokio::spawn(async move {
            // For each number when its put began and when it was acknowledged.
            let mut puts = Vec::new();
            while !stop.load(Ordering::SeqCst) {
                let number = next.fetch_add(1, Ordering::SeqCst);
                let began = Instant::now();
                put(&saver, thread, number, TtlChoice::Default)
                    .await
                    .unwrap();
                puts.push((number, began, Instant::now()));
                sleep(Duration::from_millis(1)).await;
            }
            puts
        })
    });
    let writers: Vec<_> = writers.collect();
    let options = DeleteOptions::default();
    let mut slowest = Duration::ZERO;
    let (mut began, mut ended) = (Instant::now(), Instant::now());
    for _ in 0..3 {
        began = Instant::now();
        let deleted = timeout(Duration::from_secs(20), far.delete_thread(&of, &options)).await;
        deleted
            .unwrap_or_else(|_| panic!("{fault}: deleting does not end"))
            .unwrap();
        ended = Instant::now();
        slowest = slowest.max(ended - began);
        sleep(Duration::from_millis(200)).await;
    }
    // Dropped while it is at work: it stops there.
    fill().await;
    let dropped = timeout(
        Duration::from_millis(20),
        saver.delete_thread(&of, &options),
    )
    .await;
    let was_dropped = dropped.is_err();
    sleep(Duration::from_millis(300)).await;
    let settled = Instant::now();
    sleep(Duration::from_millis(700)).await;
    stop.store(true, Ordering::SeqCst);
    let mut puts = Vec::new();
    for writer in writers {
        puts.extend(writer.await.unwrap());
    }
    let listed = saver.list(Some(&config_of(thread)), ListOptions::default());
    let listed: Vec<_> = listed.try_collect().await.unwrap();
    let there: BTreeSet<_> = listed
        .iter()
        .map(|tuple| tuple.checkpoint.id().to_string())
        .collect();
    let is_there = |number: &usize| there.contains(&id(*number));
    let back: Vec<_> = puts
        .iter()
        .filter(|(number, _, acknowledged)| *acknowledged < began && is_there(number))
        .collect();
    let lost: Vec<_> = puts
        .iter()
        .filter(|(number, put, _)| *put > settled && !is_there(number))
        .collect();
    let record = Record {
        tried: puts.len(),
        acknowledged: puts.iter().map(|(number, ..)| *number).collect(),
        slowest,
        ..Record::default()
    };
    let without_ttl = keys_without_ttl(&server.url()).await;
    let records = vec![(thread.to_owned(), record)];
    note(fault, records, lost.len(), back.len(), without_ttl.len());
    // In the layout `compact` one command deletes all of them.
    assert!(
        was_dropped || fault.is_of(Layout::Compact),
        "{fault}: {BEFORE} were deleted within 20 ms"
    );
    assert!(ended < settled && puts.iter().any(|(_, put, _)| *put > settled));
    assert!(lost.is_empty(), "{fault}: lost: {lost:?}");
    assert!(back.is_empty(), "{fault}: still there: {back:?}");
    assert!(without_ttl.is_empty(), "{fault}: {without_ttl:?}");
}

/// Streams that are dropped early leave no cursor, and nobody is refused one.
pub async fn streams_are_abandoned(fault: Fault) {
    let server = Standalone::start().unwrap();
    let url = server.url();
    let saver = fault.builder(&url).build().await.unwrap();
    saver.setup().await.unwrap();
    let puts = stream::iter(0..2_400).map(|number| {
        let saver = saver.clone();
        async move {
            let thread = format!("thread-{}", number % 40);
            put(&saver, &thread, number / 40, TtlChoice::Default).await
        }
    });
    puts.buffer_unordered(32).try_collect::<()>().await.unwrap();
    let players = (0..16).map(|player| {
        let saver = saver.clone();
        tokio::spawn(async move {
            let mut record = Record::default();
            let mut done = |call: &str, outcome: Result<(), Error>| {
                record.tried += 1;
                match outcome {
                    Ok(()) => record.acknowledged.push(record.tried),
                    Err(error) => {
                        *record.errors.entry(kind(&error)).or_default() += 1;
                        record.failures.push(format!("{call}: {error}"));
                    }
                }
            };
            for round in 0..30 {
                let filter = MetadataFilter::new().with("source", "loop").unwrap();
                let mut listed = match round % 3 {
                    0 => saver.list(None, ListOptions::default()),
                    1 => saver.list(None, ListOptions::default().with_filter(filter)),
                    _ => saver.list(Some(&config_of("thread-1")), ListOptions::default()),
                };
                for _ in 0..=round % 4 {
                    done("list", listed.next().await.transpose().map(drop));
                }
                // At most 16 of a saver's streams over all threads are open, and each player has
                // its own: if all kept it while they wait for a second one, none would get that.
                drop(listed);
                let mut threads = saver.threads("thread");
                done("threads", threads.next().await.transpose().map(drop));
                if round == 10 {
                    let runs = [RunId::new("nobody's").unwrap()];
                    done("delete_for_runs", saver.delete_for_runs(&runs).await);
                }
                if round == 20 {
                    let of = thread_id(&format!("thread-{}", 20 + player));
                    let options = DeleteOptions::default();
                    done("delete_thread", saver.delete_thread(&of, &options).await);
                }
            }
            record
        })
    });
    let mut records = Vec::new();
    for player in players.collect::<Vec<_>>() {
        records.push((String::new(), player.await.unwrap()));
    }
    // Those that are dropped are closed soon after.
    let started = Instant::now();
    let mut open = open_cursors(&url).await;
    while open > 0 && started.elapsed() < Duration::from_secs(5) {
        sleep(Duration::from_millis(50)).await;
        open = open_cursors(&url).await;
    }
    let without_ttl = keys_without_ttl(&url).await;
    let failures = note(fault, records, 0, 0, without_ttl.len());
    assert!(
        failures.is_empty(),
        "{fault}: {} failures: {:?}",
        failures.len(),
        failures.first()
    );
    assert_eq!(open, 0, "{fault}: cursors that are left open");
}

/// How many cursors the indexes of a server have open.
async fn open_cursors(url: &str) -> usize {
    let mut open = 0;
    for index in ["checkpoint", "checkpoint_write"] {
        let info = command(url, &["FT.INFO", index]).await.unwrap();
        let info: Vec<redis::Value> = redis::from_redis_value(info).unwrap();
        let at = info.iter().position(|field| {
            redis::from_redis_value_ref::<String>(field).is_ok_and(|name| name == "cursor_stats")
        });
        let stats: Vec<redis::Value> = redis::from_redis_value_ref(&info[at.unwrap() + 1]).unwrap();
        let at = stats.iter().position(|field| {
            redis::from_redis_value_ref::<String>(field).is_ok_and(|name| name == "index_total")
        });
        open += redis::from_redis_value_ref::<usize>(&stats[at.unwrap() + 1]).unwrap();
    }
    open
}

/// One bad key reaches no further than its thread, is named, and goes with it.
pub async fn keys_are_damaged(fault: Fault) {
    let server = Standalone::start().unwrap();
    let url = server.url();
    let saver = fault.builder(&url).build().await.unwrap();
    saver.setup().await.unwrap();
    let damages = damages(fault);
    let witness = "witness";
    let threads = (0..damages.len()).map(|n| format!("damaged-{n:02}"));
    let threads: Vec<_> = threads.chain([witness.to_owned()]).collect();
    for thread in &threads {
        for number in 0..3 {
            put(&saver, thread, number, TtlChoice::Default)
                .await
                .unwrap();
        }
        put_writes(&saver, thread, 0, TtlChoice::Default)
            .await
            .unwrap();
    }
    let mut client = connect(&url).await.unwrap();
    let mut failures = Vec::new();
    let mut record = Record::default();
    for damage in &damages {
        for command in &damage.commands {
            let mut packed = redis::Cmd::new();
            for part in command {
                packed.arg(part);
            }
            let _: redis::Value = packed.query_async(&mut client).await.unwrap();
        }
        record.tried += 1;
        if let Err(what) = others_are_well(&saver, witness).await {
            failures.push(format!("{:?} reaches others: {what}", damage.key));
        }
    }
    let fresh = fault.builder(&url).build().await.unwrap();
    match fresh.doctor(&DoctorOptions::default()).await {
        Err(error) => failures.push(format!("the doctor ends with: {error}")),
        Ok(report) => {
            for (number, damage) in damages.iter().enumerate() {
                let is_named = report
                    .findings()
                    .iter()
                    .any(|found| found.key == damage.key);
                if is_named {
                    record.acknowledged.push(number);
                } else if damage.is_ours {
                    failures.push(format!(
                        "the doctor does not name {:?} {number}",
                        damage.key
                    ));
                }
            }
        }
    }
    // A saver that knows nothing yet says the same, and reads of what is damaged end.
    for thread in &threads {
        for saver in [&saver, &fresh] {
            let _ = saver.get_tuple(&config_of(thread)).await;
            let _ = saver.get_tuple(&named(thread, 0)).await;
            let listed = saver.list(Some(&config_of(thread)), ListOptions::default());
            let _ = listed.try_collect::<Vec<_>>().await;
        }
    }
    if let Err(error) = fresh.doctor(&DoctorOptions::default().with_fix(true)).await {
        failures.push(format!("the doctor that puts right ends with: {error}"));
    }
    if let Err(what) = others_are_well(&fresh, witness).await {
        failures.push(format!("the doctor reaches others: {what}"));
    }
    for (number, damage) in damages.iter().enumerate() {
        let of = format!("damaged-{number:02}");
        let deleted = fresh
            .delete_thread(&thread_id(&of), &DeleteOptions::default())
            .await;
        if let Err(error) = deleted {
            failures.push(format!(
                "{of} with {:?} is not deleted: {error}",
                damage.key
            ));
        }
    }
    for key in keys(&url).await {
        if key.contains("damaged-") {
            failures.push(format!("{key:?} is left"));
        }
    }
    if !keys(&url).await.contains(&NOT_OURS.to_owned()) {
        failures.push("what is not ours was removed".to_owned());
    }
    note(fault, vec![(String::new(), record)], 0, 0, 0);
    assert!(failures.is_empty(), "{fault}:\n{}", failures.join("\n"));
}

async fn others_are_well(saver: &RedisSaver, witness: &str) -> Result<(), String> {
    let say = |what: &str, error: &Error| format!("{what}: {error}");
    let newest = saver.get_tuple(&config_of(witness)).await;
    let newest = newest.map_err(|error| say("get_tuple", &error))?;
    if newest.is_none_or(|newest| !is_whole(witness, 2, &newest)) {
        return Err("get_tuple".to_owned());
    }
    let listed = saver.list(Some(&config_of(witness)), ListOptions::default());
    let listed: Vec<_> = listed
        .try_collect()
        .await
        .map_err(|error| say("list", &error))?;
    if listed.len() != 3 {
        return Err(format!("list: {}", listed.len()));
    }
    let threads: Vec<_> = saver
        .threads("")
        .try_collect()
        .await
        .map_err(|error| say("threads", &error))?;
    if !threads
        .iter()
        .any(|thread| thread.thread_id.as_str() == witness)
    {
        return Err("threads".to_owned());
    }
    let (gone, options) = ("gone", DeleteOptions::default());
    put(saver, gone, 0, TtlChoice::Default)
        .await
        .map_err(|error| say("put", &error))?;
    let deleted = saver.delete_thread(&thread_id(gone), &options).await;
    deleted.map_err(|error| say("delete_thread", &error))?;
    let runs = [RunId::new("nobody's").unwrap()];
    let deleted = saver.delete_for_runs(&runs).await;
    deleted.map_err(|error| say("delete_for_runs", &error))
}
