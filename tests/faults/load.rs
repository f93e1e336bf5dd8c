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

impl Load {
    /// Sets writers to work, each on a thread of its own.
    pub fn start(saver: &RedisSaver, threads: impl IntoIterator<Item = String>) -> Self {
        Self::starting(saver, threads, true)
    }

    /// The same where the newest checkpoints may be lost with a server.
    pub fn start_unsafely(saver: &RedisSaver, threads: impl IntoIterator<Item = String>) -> Self {
        Self::starting(saver, threads, false)
    }

    fn starting(
        saver: &RedisSaver,
        threads: impl IntoIterator<Item = String>,
        is_kept: bool,
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

    /// Waits until so many more calls were acknowledged.
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
            let (config, writes) = (named(&self.thread, number), writes(&self.thread, number));
            let (task, options) = (task(), PutWritesOptions::default());
            let put = || saver.put_writes(&config, &writes, &task, &options);
            if self.acknowledged(put).await.is_some() {
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
                    } else if with_writes && tuple.pending_writes.is_empty() {
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
fn is_whole(thread: &str, number: usize, tuple: &CheckpointTuple) -> bool {
    let written = |tuple: &CheckpointTuple| -> Vec<ChannelWrite> {
        let writes = tuple.pending_writes.iter();
        writes
            .map(|write| ChannelWrite::new(write.channel.clone(), write.value.clone()))
            .collect()
    };
    let parent = parent(thread, number).checkpoint_id;
    tuple.checkpoint == checkpoint(thread, number)
        && tuple.metadata == metadata(number)
        && tuple
            .parent_config
            .as_ref()
            .and_then(|parent| parent.checkpoint_id.clone())
            == parent
        && (tuple.pending_writes.is_empty() || written(tuple) == writes(thread, number))
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

fn id(number: usize) -> String {
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

fn writes(thread: &str, number: usize) -> Vec<ChannelWrite> {
    let values = [
        format!("{thread} {number} a"),
        format!("{thread} {number} b"),
    ];
    values
        .iter()
        .map(|value| ChannelWrite::new("text", TypedValue::json(value).unwrap()))
        .collect()
}

fn task() -> TaskId {
    TaskId::new("task").unwrap()
}
