//! No command of ours holds the server longer than 10 ms, whatever is stored: every call is made
//! on very much of everything, and the server's own log of slow commands stays empty.
//!
//! What is stored is made with raw commands, quickly, on a server of each test's own: 1,000 of a
//! kind, or as many as `LANGGRAPH_REDIS_LATENCY` says. `cargo test --release --test latency --
//! --nocapture` shows what each call took, the slowest command, and the longest wait of a client
//! that pings the server beside.
//!
//! The time of a command is the server's, so a machine that is busy with something else adds to
//! it. The server goes before all others where the test may say so (`chrt`), and a call counts
//! as slow if the same command is slow each time that the call is made, three times at most.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(unreachable_pub)]

#[path = "../support/mod.rs"]
mod support;

mod calls;
mod fixtures;
mod scale;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use calls::{Call, READS, REMOVALS, WRITES};
use fixtures::{Fixture, Templates};
use langgraph_checkpoint_redis::{CheckpointSaver, RedisSaver, TtlPolicy};
use redis::aio::MultiplexedConnection;
use redis_modules::Standalone;
use support::server::connect;
use tokio::sync::Mutex;

/// How long a command may hold the server.
const SLICE: Duration = Duration::from_millis(10);
/// How long a call may take.
const LIMIT: Duration = Duration::from_secs(120);
/// How often a call is made before it counts as slow.
const ATTEMPTS: usize = 3;
const HOUR: Duration = Duration::from_secs(3_600);
/// Commands that cannot be bounded, by the call that needs them, and why.
const EXEMPT: &[(&str, &str, &str)] = &[
    ("threads", "FT.AGGREGATE", GROUPS),
    ("threads by a prefix", "FT.AGGREGATE", GROUPS),
    ("the first of threads", "FT.AGGREGATE", GROUPS),
    ("list over all", "FT.AGGREGATE", SORTS),
    ("list over all before", "FT.AGGREGATE", SORTS),
    ("list over all with a filter", "FT.AGGREGATE", SORTS),
    ("list over all with a limit", "FT.AGGREGATE", SORTS),
];
const GROUPS: &str = "RediSearch groups all documents in one go";
const SORTS: &str = "RediSearch sorts all documents in one go";

/// How much of each is stored unless the environment says another number.
const DEFAULT_SIZE: usize = 1_000;

/// One server at a time may weigh on the machine.
static TURN: Mutex<()> = Mutex::const_new(());

fn size() -> usize {
    std::env::var("LANGGRAPH_REDIS_LATENCY")
        .map_or(DEFAULT_SIZE, |size| size.parse().expect("a number of keys"))
}

struct Setting {
    fixture: Fixture,
    redis: Standalone,
    client: MultiplexedConnection,
    saver: RedisSaver,
    templates: Templates,
    names: BTreeMap<String, String>,
    slow: Vec<String>,
}

impl Setting {
    async fn new(fixture: Fixture) -> Self {
        let redis = Standalone::start().unwrap();
        // Not everybody may, and then the machine had better be at rest.
        let _ = std::process::Command::new("chrt")
            .args([
                "--all-tasks",
                "--fifo",
                "--pid",
                "1",
                &redis.pid().to_string(),
            ])
            .output();
        let mut client = connect(&redis.url()).await.unwrap();
        let saver = RedisSaver::builder()
            .url(redis.url())
            .ttl(TtlPolicy::new(HOUR))
            .command_timeout(Duration::from_secs(120))
            .build()
            .await
            .unwrap();
        saver.setup().await.unwrap();
        let templates = fixtures::templates(&saver, &mut client).await;
        let mut setting = Self {
            fixture,
            redis,
            client,
            saver,
            templates,
            names: script_names(),
            slow: Vec::new(),
        };
        for (key, value) in [
            ("slowlog-log-slower-than", SLICE.as_micros().to_string()),
            ("slowlog-max-len", "100000".to_owned()),
        ] {
            let () = redis::cmd("CONFIG")
                .arg(&["SET", key, &value])
                .query_async(&mut setting.client)
                .await
                .unwrap();
        }
        setting.build().await;
        setting
    }

    /// Stores what the fixture is, once more where it is there already.
    async fn build(&mut self) {
        fixtures::build(self.fixture, &self.client, &self.templates).await;
    }

    /// Makes a call, and says which of its commands held the server for too long each time.
    async fn call(&mut self, name: &str, destroys: bool, call: fn(RedisSaver) -> Call) {
        let mut slow: Option<BTreeMap<String, Duration>> = None;
        for attempt in 0..ATTEMPTS {
            if attempt > 0 && destroys {
                self.build().await;
            }
            let () = redis::cmd("SLOWLOG")
                .arg("RESET")
                .query_async(&mut self.client)
                .await
                .unwrap();
            let pings = Pings::start(&self.redis).await;
            let started = Instant::now();
            let outcome = tokio::time::timeout(LIMIT, call(self.saver.clone())).await;
            let took = started.elapsed();
            let ping = pings.longest().await;
            let outcome = match outcome {
                Ok(Ok(())) => String::new(),
                Ok(Err(error)) => format!(", {error}"),
                Err(_) => ", IT DID NOT END".to_owned(),
            };
            let now = self.slow_commands().await;
            println!(
                "{:?}: {name}: {took:.1?}, longest ping {ping:.1?}{outcome}, slow: {now:.1?}",
                self.fixture
            );
            if !outcome.is_empty() {
                self.slow
                    .push(format!("{:?}: {name}{outcome}", self.fixture));
            }
            let again = match slow.take() {
                None => now,
                Some(before) => now
                    .into_iter()
                    .filter_map(|(command, took)| {
                        let before = *before.get(&command)?;
                        Some((command, took.min(before)))
                    })
                    .collect(),
            };
            if again.is_empty() {
                return;
            }
            slow = Some(again);
        }
        for (command, took) in slow.into_iter().flatten() {
            let is_exempt = EXEMPT
                .iter()
                .any(|(call, exempt, _)| *call == name && command.starts_with(exempt));
            if !is_exempt {
                let line = format!("{:?}: {name}: {command} {took:.1?}", self.fixture);
                println!("SLOW {line}");
                self.slow.push(line);
            }
        }
    }

    /// The commands that took too long, each with its longest time.
    async fn slow_commands(&mut self) -> BTreeMap<String, Duration> {
        let entries: Vec<Vec<redis::Value>> = redis::cmd("SLOWLOG")
            .arg("GET")
            .arg("-1")
            .query_async(&mut self.client)
            .await
            .unwrap();
        let mut slow = BTreeMap::new();
        for entry in entries {
            let micros: u64 = redis::from_redis_value_ref(&entry[2]).unwrap();
            let command: Vec<Vec<u8>> = redis::from_redis_value_ref(&entry[3]).unwrap();
            let command: Vec<_> = command
                .iter()
                .map(|part| String::from_utf8_lossy(part).into_owned())
                .collect();
            let mut name = command[0].to_uppercase();
            if name == "SLOWLOG" {
                continue;
            }
            if let ("EVALSHA" | "EVAL", Some(script)) = (&name[..], command.get(1)) {
                let known = self.names.get(script).cloned();
                let known = known.unwrap_or_else(|| script.chars().take(60).collect());
                name = format!("script {known}");
            } else if let Some(first) = command.get(1) {
                let first: String = first.chars().take(40).collect();
                let _ = write!(name, " {first}");
            }
            let took = slow.entry(name).or_default();
            *took = Duration::from_micros(micros).max(*took);
        }
        slow
    }

    /// Fails if anything was slow.
    fn settle(self) {
        assert!(
            self.slow.is_empty(),
            "commands held the server longer than {SLICE:?}:\n{}",
            self.slow.join("\n")
        );
    }
}

/// A client that pings a server.
struct Pings {
    ended: Arc<AtomicBool>,
    pinging: tokio::task::JoinHandle<Duration>,
}

impl Pings {
    async fn start(redis: &Standalone) -> Self {
        let patient = redis::AsyncConnectionConfig::new().set_response_timeout(None);
        let client = redis::Client::open(redis.url()).unwrap();
        let mut client = client
            .get_multiplexed_async_connection_with_config(&patient)
            .await
            .unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&ended);
        let pinging = tokio::spawn(async move {
            let mut longest = Duration::ZERO;
            while !stop.load(Ordering::Relaxed) {
                let asked = Instant::now();
                let () = redis::cmd("PING").query_async(&mut client).await.unwrap();
                longest = longest.max(asked.elapsed());
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            longest
        });
        Self { ended, pinging }
    }

    async fn longest(self) -> Duration {
        self.ended.store(true, Ordering::Relaxed);
        self.pinging.await.unwrap()
    }
}

/// The scripts by their hashes.
fn script_names() -> BTreeMap<String, String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/redis-modules/scripts");
    let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap_or_default();
    let prelude = read(&std::path::Path::new(folder).join("prelude.lua"));
    let doctor = read(&std::path::Path::new(folder).join("doctor.lua"));
    let mut names = BTreeMap::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let more = if name.starts_with("doctor_") {
            &doctor
        } else {
            ""
        };
        let source = format!("{prelude}\n{more}{}", read(&path));
        let hash = sha1_smol::Sha1::from(&source).digest().to_string();
        names.insert(hash, name.clone());
        names.insert(source, name);
    }
    names
}

async fn all_calls(fixture: Fixture) {
    let _turn = TURN.lock().await;
    let mut setting = Setting::new(fixture).await;
    let only = std::env::var("LANGGRAPH_REDIS_LATENCY_CALL").ok();
    let is_chosen = |name: &str| only.as_ref().is_none_or(|only| name.contains(only));
    for (name, call) in READS.iter().chain(WRITES) {
        if is_chosen(name) {
            setting.call(name, false, *call).await;
        }
    }
    for (name, call) in REMOVALS {
        if is_chosen(name) {
            setting.build().await;
            setting.call(name, true, *call).await;
        }
    }
    setting.settle();
}

macro_rules! fixtures {
    ($($test:ident: $fixture:ident;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                all_calls(Fixture::$fixture).await;
            }
        )*
    };
}

fixtures! {
    many_checkpoints_in_a_thread_hold_nobody_up: Checkpoints;
    many_namespaces_in_a_thread_hold_nobody_up: Namespaces;
    many_writes_on_a_checkpoint_hold_nobody_up: Writes;
    many_threads_hold_nobody_up: Threads;
    many_blobs_hold_nobody_up: Blobs;
    many_stale_namespaces_hold_nobody_up: StaleNamespaces;
    many_expired_checkpoints_hold_nobody_up: ExpiredCheckpoints;
    many_writes_that_are_gone_hold_nobody_up: GoneWrites;
    many_writes_before_their_checkpoints_hold_nobody_up: EarlyWrites;
    many_checkpoints_that_no_registry_names_hold_nobody_up: UnregisteredCheckpoints;
    many_threads_that_no_registry_names_hold_nobody_up: UnregisteredThreads;
}
