//! A very large thread is copied, pruned and deleted in slices: the server answers others all the
//! while, memory stays bounded, progress is reported, and a call that was dropped is made again.
//!
//! With `LANGGRAPH_REDIS_SCALE=1` the thread has 50,000 checkpoints and 200,000 writes, else 2,000
//! and 8,000. `cargo test --release --test latency scale -- --nocapture` shows what was measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use langgraph_checkpoint_redis::{
    ChannelWrite, Checkpoint, CheckpointConfig, CheckpointId, CheckpointMetadata, CheckpointSaver,
    CopyOptions, DeleteOptions, Progress, ProgressCallback, PruneOptions, PutOptions,
    PutWritesOptions, RedisSaver, Result, TaskId, TypedValue,
};
use tokio::sync::Notify;

use crate::support::server::Server;
use crate::support::stored::thread_id as thread;
use crate::{SLICE, TURN};

const WRITES: usize = 4;
const MEBIBYTE: u64 = 1 << 20;

fn is_large() -> bool {
    std::env::var("LANGGRAPH_REDIS_SCALE").is_ok_and(|scale| scale == "1")
}

fn size() -> usize {
    if is_large() { 50_000 } else { 2_000 }
}

struct Setting {
    server: Server,
    saver: RedisSaver,
}

async fn put_one(saver: &RedisSaver, position: usize) {
    let id = |position: usize| CheckpointId::new(format!("{position:08}")).unwrap();
    let mut config = CheckpointConfig::of_thread(thread("large"));
    if position > 0 {
        config = config.with_checkpoint(id(position - 1));
    }
    let checkpoint = Checkpoint::builder()
        .id(id(position))
        .channel(
            "messages",
            i64::try_from(position).unwrap(),
            &"x".repeat(500),
        )
        .unwrap()
        .build()
        .unwrap();
    let metadata = CheckpointMetadata::new().with("step", &position).unwrap();
    let stored = saver
        .put(&config, &checkpoint, &metadata, &PutOptions::default())
        .await
        .unwrap();
    let writes: Vec<_> = (0..WRITES)
        .map(|_| ChannelWrite::new("messages", TypedValue::json(&"y".repeat(100)).unwrap()))
        .collect();
    let task = TaskId::new("1f1e5438-3693-6fd2-bfff-c562fd0be1e3").unwrap();
    saver
        .put_writes(&stored, &writes, &task, &PutWritesOptions::default())
        .await
        .unwrap();
}

/// The memory of this process.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kibibytes
        .and_then(|number| number.parse::<u64>().ok())
        .unwrap_or(0)
        * 1_024
}

impl Setting {
    async fn new() -> Self {
        let mut server = Server::start().await;
        let saver = server.saver().await;
        stream::iter(0..size())
            .for_each_concurrent(64, |position| put_one(&saver, position))
            .await;
        let micros = SLICE.as_micros().to_string();
        server
            .run(&["CONFIG", "SET", "slowlog-log-slower-than", &micros])
            .await;
        server
            .run(&["CONFIG", "SET", "slowlog-max-len", "10000"])
            .await;
        Self { server, saver }
    }

    async fn count(&mut self, part: &str) -> usize {
        let keys = self.server.keys().await;
        keys.iter().filter(|key| key.contains(part)).count()
    }

    /// Makes a call while another client pings the server, and says what it cost.
    async fn measured(&mut self, name: &str, call: impl Future<Output = Result<()>>) {
        self.server.run(&["SLOWLOG", "RESET"]).await;
        let mut client = self.server.client.clone();
        let ended = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&ended);
        let before = resident();
        let pings = tokio::spawn(async move {
            let (mut waits, mut most) = (Vec::new(), 0);
            while !stop.load(Ordering::Relaxed) {
                let asked = Instant::now();
                let _: String = redis::cmd("PING").query_async(&mut client).await.unwrap();
                waits.push(asked.elapsed());
                if waits.len() % 16 == 0 {
                    most = most.max(resident());
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            waits.sort();
            (waits, most.max(resident()))
        });
        let start = Instant::now();
        call.await.unwrap();
        let took = start.elapsed();
        ended.store(true, Ordering::Relaxed);
        let (waits, most) = pings.await.unwrap();
        let slow: Vec<(u64, u64, u64, Vec<String>)> = self.slow().await;
        let grown = most.saturating_sub(before) / MEBIBYTE;
        let at = |share: usize| waits[(waits.len() - 1) * share / 1_000];
        println!(
            "{name} of {} checkpoints: {took:?}; ping p50 {:?} p99 {:?} p99.9 {:?} max {:?}; {} commands over {SLICE:?}; {grown} MiB more memory",
            size(),
            at(500),
            at(990),
            at(999),
            at(1_000),
            slow.len(),
        );
        for (_, _, micros, command) in slow.iter().take(8) {
            let command = command
                .iter()
                .take(3)
                .cloned()
                .collect::<Vec<_>>()
                .join(" ");
            println!(
                "  {micros} µs: {}",
                command.chars().take(100).collect::<String>()
            );
        }
        assert!(grown < 160, "{name} took {grown} MiB");
    }

    async fn slow(&mut self) -> Vec<(u64, u64, u64, Vec<String>)> {
        let reply: Vec<Vec<redis::Value>> = redis::cmd("SLOWLOG")
            .arg("GET")
            .arg("-1")
            .query_async(&mut self.server.client)
            .await
            .unwrap();
        reply
            .into_iter()
            .map(|entry| {
                let number = |at: usize| redis::from_redis_value_ref::<u64>(&entry[at]).unwrap();
                let command: Vec<Vec<u8>> = redis::from_redis_value_ref(&entry[3]).unwrap();
                let command = command
                    .iter()
                    .map(|part| String::from_utf8_lossy(part).into_owned());
                (number(0), number(1), number(2), command.collect())
            })
            .collect()
    }
}

/// What a call reported, and a call that is dropped once it has reported some.
#[derive(Clone, Default)]
struct Watch {
    reported: Arc<std::sync::Mutex<Vec<Progress>>>,
    enough: Arc<Notify>,
}

impl Watch {
    fn callback(&self) -> ProgressCallback {
        let watch = self.clone();
        ProgressCallback::new(move |progress| {
            let mut reported = watch.reported.lock().unwrap();
            reported.push(progress);
            if reported.len() == 10 {
                watch.enough.notify_one();
            }
        })
    }

    /// Drops a call after its tenth report.
    async fn drop_midway(&self, call: impl Future<Output = Result<()>>) {
        tokio::select! {
            result = call => panic!("it ended with {result:?}"),
            () = self.enough.notified() => {}
        }
        self.reported.lock().unwrap().clear();
    }

    fn last(&self) -> Progress {
        let reported = self.reported.lock().unwrap();
        assert!(
            reported.len() > 5,
            "progress was reported {} times",
            reported.len()
        );
        assert!(reported.is_sorted_by_key(|progress| (progress.checkpoints, progress.writes)));
        *reported.last().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_thread_is_copied_pruned_and_deleted_in_slices() {
    let _turn = TURN.lock().await;
    let mut setting = Setting::new().await;
    let saver = setting.saver.clone();
    let (large, copy) = (thread("large"), thread("copy"));
    let (checkpoints, writes) = (size() as u64, (size() * WRITES) as u64);

    let watch = Watch::default();
    let options = CopyOptions::default().with_progress(watch.callback());
    watch
        .drop_midway(saver.copy_thread(&large, &copy, &options))
        .await;
    setting
        .measured("copy", saver.copy_thread(&large, &copy, &options))
        .await;
    let reported = watch.last();
    assert_eq!(
        (reported.checkpoints, reported.writes),
        (checkpoints, writes)
    );
    assert_eq!(setting.count("checkpoint:copy:").await, size());
    assert_eq!(
        setting.count("checkpoint_write:copy:").await,
        size() * WRITES
    );

    let watch = Watch::default();
    let options = PruneOptions::default().with_progress(watch.callback());
    let both = [copy.clone()];
    watch.drop_midway(saver.prune(&both, &options)).await;
    assert!(setting.count("checkpoint:copy:").await > 1);
    setting
        .measured("prune", saver.prune(&both, &options))
        .await;
    assert!(watch.last().checkpoints < checkpoints);
    assert_eq!(setting.count("checkpoint:copy:").await, 1);
    assert_eq!(setting.count("checkpoint_write:copy:").await, WRITES);
    assert_eq!(setting.count("checkpoint:large:").await, size());

    let watch = Watch::default();
    let options = DeleteOptions::default().with_progress(watch.callback());
    watch
        .drop_midway(saver.delete_thread(&large, &options))
        .await;
    setting
        .measured("delete", saver.delete_thread(&large, &options))
        .await;
    assert!(watch.last().checkpoints < checkpoints);
    assert_eq!(setting.count("large").await, 0);
    saver
        .delete_thread(&copy, &DeleteOptions::default())
        .await
        .unwrap();
    assert_eq!(setting.server.keys().await, Vec::<String>::new());
}
