//! Writers that keep a saver busy, and what of it is there afterwards.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use langgraph_checkpoint_redis::{
    ChannelWrite, Checkpoint, CheckpointConfig, CheckpointId, CheckpointMetadata, CheckpointSaver,
    CheckpointTuple, Error, ListOptions, PutOptions, PutWritesOptions, RedisSaver, TaskId,
    ThreadId, TypedValue,
};
use tokio::task::JoinHandle;

/// How long a writer tries one call before it is a failure of the saver.
const PATIENCE: Duration = Duration::from_secs(60);
/// A short rest between two steps, so that there is not more to check than need be.
const REST: Duration = Duration::from_millis(3);

/// What a writer has done.
#[derive(Debug, Default)]
pub struct Record {
    /// How many checkpoints it tried to put: those with the numbers from 0.
    pub tried: usize,
    /// The numbers of those that were acknowledged.
    pub acknowledged: Vec<usize>,
    /// The numbers of those whose writes were.
    pub with_writes: Vec<usize>,
    /// The errors that it was given, by their kind, and how often.
    pub errors: BTreeMap<String, usize>,
    /// The longest time from the first attempt of a call to its acknowledgement.
    pub slowest: Duration,
    /// What must never be.
    pub failures: Vec<String>,
}

/// Writers at work.
pub struct Load {
    threads: Vec<String>,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    writers: Vec<JoinHandle<Record>>,
}

/// Whether an error is an answer that a caller must be ready for during a fault.
pub type Tolerance = fn(&Error) -> bool;

impl Load {
    /// Sets writers to work, each on a thread of its own.
    pub fn start(saver: &RedisSaver, threads: impl IntoIterator<Item = String>) -> Self {
        Self::starting(saver, threads, true, |_| false)
    }

    /// The same where the newest checkpoints may be lost with a server.
    pub fn start_unsafely(saver: &RedisSaver, threads: impl IntoIterator<Item = String>) -> Self {
        Self::starting(saver, threads, false, |_| false)
    }

    /// The same where some errors are answers.
    pub fn start_tolerantly(
        saver: &RedisSaver,
        threads: impl IntoIterator<Item = String>,
        tolerates: Tolerance,
    ) -> Self {
        Self::starting(saver, threads, false, tolerates)
    }

    fn starting(
        saver: &RedisSaver,
        threads: impl IntoIterator<Item = String>,
        is_kept: bool,
        tolerates: Tolerance,
    ) -> Self {
        let threads: Vec<_> = threads.into_iter().collect();
        let (stop, acknowledged) = (Arc::default(), Arc::default());
        let writers = threads.iter().map(|thread| {
            let writer = Writer {
                saver: saver.clone(),
                thread: thread.clone(),
                stop: Arc::clone(&stop),
                acknowledged: Arc::clone(&acknowledged),
                is_kept,
                tolerates,
                record: Record::default(),
            };
            tokio::spawn(writer.work())
        });
        Self {
            writers: writers.collect(),
            threads,
            stop,
            acknowledged,
        }
    }

    /// Waits until this number of further calls is acknowledged.
    pub async fn goes_on(&self, calls: usize) {
        let target = self.acknowledged.load(Ordering::SeqCst) + calls;
        let started = Instant::now();
        while self.acknowledged.load(Ordering::SeqCst) < target {
            assert!(
                started.elapsed() < PATIENCE * 2,
                "nothing is acknowledged any more"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Lets every writer finish; the last call of each must have been acknowledged, so the saver
    /// works again.
    pub async fn stop(self) -> Vec<(String, Record)> {
        self.stop.store(true, Ordering::SeqCst);
        let mut records = Vec::new();
        for (thread, writer) in self.threads.into_iter().zip(self.writers) {
            records.push((thread, writer.await.unwrap()));
        }
        records
    }
}

struct Writer {
    saver: RedisSaver,
    thread: String,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    is_kept: bool,
    tolerates: Tolerance,
    record: Record,
}

impl Writer {
    async fn work(mut self) -> Record {
        let mut number = 0;
        while self.record.failures.is_empty() {
            // Read before the call, so that the last call begins after the fault is over.
            let is_last = self.stop.load(Ordering::SeqCst);
            self.record.tried = number + 1;
            self.step(number).await;
            if is_last {
                break;
            }
            number += 1;
            tokio::time::sleep(REST).await;
        }
        self.record
    }

    async fn step(&mut self, number: usize) {
        let saver = self.saver.clone();
        let config = parent(&self.thread, number);
        let checkpoint = checkpoint(&self.thread, number);
        let (metadata, options) = (metadata(number), PutOptions::default());
        let put = || saver.put(&config, &checkpoint, &metadata, &options);
        if self.acknowledged(put).await.is_none() {
            return;
        }
        self.record.acknowledged.push(number);
        if number.is_multiple_of(3) {
            let config = named(&self.thread, number);
            let mut are_there = true;
            for (task, writes) in calls(&self.thread, number) {
                let options = PutWritesOptions::default();
                let put = || saver.put_writes(&config, &writes, &task, &options);
                are_there &= self.acknowledged(put).await.is_some();
            }
            if are_there {
                self.record.with_writes.push(number);
            }
        }
        if number.is_multiple_of(5) {
            let config = config_of(&self.thread);
            let Some(newest) = self.acknowledged(|| saver.get_tuple(&config)).await else {
                return;
            };
            let newest = newest.map(|tuple| tuple.checkpoint.id().as_str().to_owned());
            if self.is_kept && newest != Some(id(number)) {
                let thread = &self.thread;
                let failure = format!("{thread} {number} was acknowledged; newest: {newest:?}");
                self.record.failures.push(failure);
            }
        }
    }

    /// Makes a call until it is acknowledged, as long as its error says that this may help.
    async fn acknowledged<T, F>(&mut self, call: impl Fn() -> F) -> Option<T>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let started = Instant::now();
        loop {
            match call().await {
                Ok(done) => {
                    self.record.slowest = self.record.slowest.max(started.elapsed());
                    self.acknowledged.fetch_add(1, Ordering::SeqCst);
                    return Some(done);
                }
                Err(error) => {
                    *self.record.errors.entry(kind(&error)).or_default() += 1;
                    if (self.tolerates)(&error) {
                        return None;
                    }
                    if !error.is_retryable() || started.elapsed() > PATIENCE {
                        self.record.failures.push(error.to_string());
                        return None;
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

/// Readers that check all that they are given.
pub struct Readers {
    stop: Arc<AtomicBool>,
    readers: Vec<JoinHandle<Record>>,
}

impl Readers {
    /// Sets some readers to work on threads.
    pub fn start(saver: &RedisSaver, threads: &[String], tolerates: Tolerance) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let readers = (0..4).map(|_| {
            let (saver, stop, threads) = (saver.clone(), Arc::clone(&stop), threads.to_vec());
            tokio::spawn(async move {
                let mut record = Record::default();
                while !stop.load(Ordering::SeqCst) && record.failures.len() < 5 {
                    let thread = &threads[rand::random_range(0..threads.len())];
                    read(&saver, thread, tolerates, &mut record).await;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                record
            })
        });
        Self {
            readers: readers.collect(),
            stop,
        }
    }

    /// What they found, as that of a thread that has nothing.
    pub async fn stop(self) -> Vec<(String, Record)> {
        self.stop.store(true, Ordering::SeqCst);
        let mut records = Vec::new();
        for reader in self.readers {
            records.push(("nobody's".to_owned(), reader.await.unwrap()));
        }
        records
    }
}

async fn read(saver: &RedisSaver, thread: &str, tolerates: Tolerance, record: &mut Record) {
    let config = config_of(thread);
    let newest = saver.get_tuple(&config).await;
    let mut by_id = config.clone();
    let mut options = ListOptions::default().with_limit(5);
    if let Ok(Some(newest)) = &newest {
        let number: usize = newest.checkpoint.id().as_str().parse().unwrap();
        // Most often one of the last, whose keys are the first to go.
        let oldest = if rand::random_ratio(3, 4) {
            number.saturating_sub(15)
        } else {
            0
        };
        let before = rand::random_range(oldest..=number);
        options = options.with_before(CheckpointId::new(id(before)).unwrap());
        by_id = named(thread, before - before % 3);
    }
    let by_id = saver.get_tuple(&by_id).await;
    let listed = saver.list(Some(&config), options).try_collect::<Vec<_>>();
    let answers = [
        (
            "get_tuple",
            newest.map(|newest| newest.into_iter().collect()),
        ),
        (
            "get_tuple by id",
            by_id.map(|one| one.into_iter().collect()),
        ),
        ("list", listed.await),
    ];
    for (call, answer) in answers {
        match answer {
            Ok(tuples) => {
                for tuple in tuples {
                    let number = tuple.checkpoint.id().as_str().parse().unwrap();
                    if !is_whole(thread, number, &tuple) {
                        let writes = tuple.pending_writes.len();
                        let failure = format!("{call} of {thread} {number} with {writes} writes");
                        record.failures.push(format!("not complete: {failure}"));
                    }
                }
            }
            Err(error) => {
                *record.errors.entry(kind(&error)).or_default() += 1;
                if !tolerates(&error) && !error.is_retryable() {
                    record.failures.push(format!("{call}: {error}"));
                }
            }
        }
    }
}

/// The name of an error's variant.
pub fn kind(error: &Error) -> String {
    let text = format!("{error:?}");
    let end = text.find(|char: char| !char.is_alphanumeric());
    text[..end.unwrap_or(text.len())].to_owned()
}

/// What was found of what writers have done.
#[derive(Debug, Default)]
pub struct Found {
    /// What was acknowledged and is not there.
    pub lost: Vec<String>,
    /// What is there and is not what was put.
    pub torn: Vec<String>,
}

/// Reads everything back, one by one and as lists, and compares it with what was put.
pub async fn check(saver: &RedisSaver, records: &[(String, Record)]) -> Found {
    let mut found = Found::default();
    for (thread, record) in records {
        let reads = stream::iter(0..record.tried).map(|number| {
            let config = named(thread, number);
            async move { (number, saver.get_tuple(&config).await.unwrap()) }
        });
        let mut reads = reads.buffered(32);
        let mut newest = None;
        while let Some((number, tuple)) = reads.next().await {
            let what = format!("{thread} {number}");
            let acknowledged = record.acknowledged.binary_search(&number).is_ok();
            let with_writes = record.with_writes.binary_search(&number).is_ok();
            match tuple {
                None if acknowledged => found.lost.push(what),
                None => {}
                Some(tuple) => {
                    newest = Some(number);
                    if !is_whole(thread, number, &tuple) {
                        found.torn.push(format!("{what}: {tuple:?}"));
                    } else if with_writes && tuple.pending_writes.len() < writes(thread) {
                        found.lost.push(format!("{what}: its writes"));
                    }
                }
            }
        }
        let config = config_of(thread);
        let latest = saver.get_tuple(&config).await.unwrap();
        let latest = latest.map(|tuple| tuple.checkpoint.id().as_str().to_owned());
        if latest != newest.map(id) {
            found.torn.push(format!(
                "{thread}: newest is {latest:?} instead of {newest:?}"
            ));
        }
        let listed = saver.list(Some(&config), ListOptions::default());
        let listed: Vec<CheckpointTuple> = listed.try_collect().await.unwrap();
        for tuple in &listed {
            let number = tuple.checkpoint.id().as_str().parse().unwrap();
            if !is_whole(thread, number, tuple) {
                found.torn.push(format!("{thread} {number}, listed"));
            }
        }
        for number in &record.acknowledged {
            // Newest first.
            let id = id(*number);
            let is_listed =
                listed.binary_search_by(|tuple| id.as_str().cmp(tuple.checkpoint.id().as_str()));
            if is_listed.is_err() {
                found.lost.push(format!("{thread} {number}, not listed"));
            }
        }
    }
    found
}

/// Whether a checkpoint is all of what was put, with all of its writes or none.
pub fn is_whole(thread: &str, number: usize, tuple: &CheckpointTuple) -> bool {
    let written: Vec<_> = tuple
        .pending_writes
        .iter()
        .map(|write| {
            let channel_write = ChannelWrite::new(write.channel.clone(), write.value.clone());
            (write.task_id.clone(), channel_write)
        })
        .collect();
    // Each call is there completely or not at all.
    let there = calls(thread, number)
        .into_iter()
        .flat_map(|(task, writes)| {
            let is_there = written.iter().any(|(of, _)| *of == task);
            let writes = if is_there { writes } else { Vec::new() };
            writes.into_iter().map(move |write| (task.clone(), write))
        });
    let parent = parent(thread, number).checkpoint_id;
    tuple.checkpoint == checkpoint(thread, number)
        && tuple.metadata == metadata(number)
        && tuple
            .parent_config
            .as_ref()
            .and_then(|parent| parent.checkpoint_id.clone())
            == parent
        && written == there.collect::<Vec<_>>()
}

/// The config of a thread.
pub fn config_of(thread: &str) -> CheckpointConfig {
    CheckpointConfig::of_thread(ThreadId::new(thread).unwrap())
}

/// What names a checkpoint.
pub fn named(thread: &str, number: usize) -> CheckpointConfig {
    config_of(thread).with_checkpoint(CheckpointId::new(id(number)).unwrap())
}

/// What a checkpoint is put on.
pub fn parent(thread: &str, number: usize) -> CheckpointConfig {
    match number.checked_sub(1) {
        Some(parent) => named(thread, parent),
        None => config_of(thread),
    }
}

pub fn id(number: usize) -> String {
    format!("{number:08}")
}

/// The checkpoint of a number; every tenth is large.
pub fn checkpoint(thread: &str, number: usize) -> Checkpoint {
    let id = id(number);
    let length = if number % 10 == 9 { 20_000 } else { 700 };
    let text = format!("{thread} {number} ").repeat(length / (thread.len() + 10));
    Checkpoint::from_json(format!(
        r#"{{"v":4,"ts":"2026-01-01T00:00:00Z","id":"{id}","channel_values":{{"n":{number},"text":"{text}"}},"channel_versions":{{"n":{number},"text":{number}}},"versions_seen":{{}},"updated_channels":["n","text"]}}"#
    ))
    .unwrap()
}

/// Its metadata.
pub fn metadata(number: usize) -> CheckpointMetadata {
    CheckpointMetadata::from_json(format!(
        r#"{{"source":"loop","step":{number},"parents":{{}}}}"#
    ))
    .unwrap()
}

/// The writes of a checkpoint, by their tasks: very many on threads that are named so.
pub fn calls(thread: &str, number: usize) -> Vec<(TaskId, Vec<ChannelWrite>)> {
    let (tasks, count) = if thread.contains("lots") {
        (2, 30)
    } else {
        (1, 2)
    };
    let writes = |task: usize| {
        (0..count).map(move |idx| {
            let value = format!("{thread} {number} {task} {idx}");
            ChannelWrite::new("text", TypedValue::json(&value).unwrap())
        })
    };
    (0..tasks)
        .map(|task| {
            (
                TaskId::new(format!("task-{task}")).unwrap(),
                writes(task).collect(),
            )
        })
        .collect()
}

/// How many writes a checkpoint has when all are there.
pub fn writes(thread: &str) -> usize {
    calls(thread, 0)
        .iter()
        .map(|(_, writes)| writes.len())
        .sum()
}
