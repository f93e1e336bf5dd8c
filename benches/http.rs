//! A load on the HTTP service: many callers for some seconds, each with threads of its own, and
//! then more callers than are served at once.
//!
//! ```sh
//! cargo bench --bench http --features server -- --seconds 60 --callers 16
//! cargo bench --bench http --features server -- --half-sent 256 --seconds 10 --callers 16
//! cargo bench --bench http --features server -- --serve [--listen 127.0.0.1:8080]
//! ```
//!
//! `--bytes 1000` is the size of a blob; `--overload 400` the callers of the second phase, which
//! takes a fifth of the seconds (0 leaves it out). The service is a process of its own, so that
//! its memory is seen; `--serve` is that process. `REDIS_URL` picks the server; otherwise one is
//! started. A turn of a caller is what LangGraph does in a super-step: it puts a checkpoint with a
//! blob, puts writes, and reads the newest. At the end every checkpoint whose put was acknowledged
//! is looked for. Ends with a failure if one is lost, if nothing was put, if a request of the load
//! failed, or if the service does not recover.
//!
//! With `--half-sent` another key opens so many requests whose bodies do not arrive, and opens each
//! again once it ends. The load runs before that and beside it; the run ends with a failure if a
//! request of the load fails or is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_precision_loss)]

use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use langgraph_checkpoint_redis::server::{ApiKeys, Authentication, ServerOptions, serve_on};
use langgraph_checkpoint_redis::{CheckpointId, CheckpointSaver, RedisSaver};
use reqwest::{Client, Response};
use serde_json::{Value, json};

#[path = "support/half_sent.rs"]
mod half_sent;

const SECRET: &str = "the key of the load";
const OPERATIONS: [&str; 3] = ["put", "put-writes", "get-tuple"];
/// How many checkpoints a thread gets before its caller begins another.
const STEPS: u32 = 100;

/// What became of the requests to one endpoint.
#[derive(Default, Clone)]
struct Tally {
    times: Vec<Duration>,
    refused: usize,
    /// Refused without a word of when to come again.
    without_retry_after: usize,
    failed: usize,
}

/// The checkpoints whose puts were acknowledged, by their threads.
type Acknowledged = BTreeMap<String, Vec<String>>;

#[derive(Default)]
struct Caller {
    tallies: [Tally; 3],
    acknowledged: Acknowledged,
}

#[tokio::main]
async fn main() -> ExitCode {
    if flag("--serve").is_some() {
        serve().await;
        return ExitCode::SUCCESS;
    }
    let number = |name, otherwise: u32| flag(name).map_or(otherwise, |text| text.parse().unwrap());
    let seconds = Duration::from_secs(number("--seconds", 10).into());
    let (callers, bytes) = (number("--callers", 64), number("--bytes", 1_000) as usize);
    let overload = number("--overload", 400);
    let (mut service, address) = start();
    let load = Load {
        client: client(),
        address,
        bytes,
    };
    println!(
        "{} cores, {callers} callers, {bytes} bytes a blob",
        std::thread::available_parallelism().map_or(0, usize::from)
    );

    if let Some(count) = flag("--half-sent") {
        let is_well = load
            .beside(count.parse().unwrap_or(256), callers, seconds)
            .await;
        service.kill().unwrap();
        service.wait().unwrap();
        return if is_well {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        };
    }
    let memory = tokio::spawn(watch(service.id(), seconds));
    let (mut acknowledged, failed, _) = load.phase("load", callers, seconds).await;
    let memory = memory.await.unwrap();
    println!("memory     {}", report(&memory));

    let mut is_well = true;
    if overload > 0 {
        let (overloaded, ..) = load.phase("overload", overload, seconds / 5).await;
        acknowledged.extend(overloaded);
        // Whoever comes afterwards is served again.
        let (after, ..) = load.phase("afterwards", 1, Duration::from_secs(1)).await;
        is_well = !after.is_empty();
        acknowledged.extend(after);
        println!(
            "memory     {} KB after the overload",
            resident(service.id())
        );
        println!("recovered  {}", if is_well { "yes" } else { "no" });
    }

    let put: usize = acknowledged.values().map(Vec::len).sum();
    let lost = load.lost(acknowledged).await;
    println!("lost       {lost} of {put} checkpoints whose put was acknowledged");
    service.kill().unwrap();
    service.wait().unwrap();
    if lost == 0 && put > 0 && failed == 0 && is_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn flag(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.next()?;
    Some(arguments.next().unwrap_or_default())
}

/// The service as a process of its own, and its address.
fn start() -> (Child, String) {
    let mut service = Command::new(std::env::current_exe().unwrap())
        .args(["--serve", "--listen", "127.0.0.1:0"])
        .args(flag("--half-sent").map(|_| "--half-sent"))
        .env("REDIS_URL", redis_modules::shared_url().unwrap())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(service.stdout.take().unwrap()).lines();
    let address = lines.next().unwrap().unwrap();
    (service, address)
}

async fn serve() {
    let url = std::env::var("REDIS_URL");
    let url = url.unwrap_or_else(|_| redis_modules::shared_url().unwrap().to_owned());
    let prefix = format!("load-{}", CheckpointId::now_ulid());
    let saver = RedisSaver::builder().url(url).prefix(prefix).build();
    let saver = saver.await.unwrap();
    saver.setup().await.unwrap();
    let mut lines = format!("load:{}", ApiKeys::hash(SECRET));
    if flag("--half-sent").is_some() {
        lines = format!("{lines}\nhalf-sent:{}", ApiKeys::hash(half_sent::SECRET));
    }
    let keys = ApiKeys::parse(&lines).unwrap();
    let listen = flag("--listen").unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let listener = tokio::net::TcpListener::bind(listen).await.unwrap();
    println!("http://{}", listener.local_addr().unwrap());
    eprintln!("the key is `{SECRET}`");
    let options = ServerOptions::new(Authentication::Keys(keys));
    serve_on(listener, saver, options, tokio::signal::ctrl_c())
        .await
        .unwrap();
}

fn client() -> Client {
    // Reqwest wants to know how it would speak TLS, also where it never does.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().tcp_nodelay(true).build().unwrap()
}

/// The memory that a process has, in kilobytes.
fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"));
    let status = status.unwrap_or_default();
    let resident = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = resident.and_then(|line| line.split_whitespace().nth(1));
    kilobytes.map_or(0, |text| text.parse().unwrap())
}

/// The memory of a process, eleven times from the start of the load to its end.
async fn watch(process: u32, seconds: Duration) -> Vec<u64> {
    let mut seen = vec![resident(process)];
    for _ in 0..10 {
        tokio::time::sleep(seconds / 10).await;
        seen.push(resident(process));
    }
    seen
}

/// What was seen of the memory. The middle half of the load says whether it stays as it is: before,
/// connections and pools come to be.
fn report(memory: &[u64]) -> String {
    let at = |part: usize| memory[part.min(memory.len() - 1)];
    let grown = at(10) as f64 / at(5).max(1) as f64 - 1.0;
    format!(
        "{} KB at the start, {} KB at the middle, {} KB at the end ({:+.1} % since the middle), at most {} KB",
        at(0),
        at(5),
        at(10),
        grown * 100.0,
        memory.iter().max().unwrap()
    )
}

#[derive(Clone)]
struct Load {
    client: Client,
    address: String,
    bytes: usize,
}

impl Load {
    /// Has callers call for a while, first alone and then beside requests of another key that are
    /// half sent; whether no request failed or was refused.
    async fn beside(&self, half_sent: usize, callers: u32, seconds: Duration) -> bool {
        let (alone, failed, _) = self.phase("alone", callers, seconds).await;
        let address = self.address.trim_start_matches("http://").to_owned();
        let others = half_sent::HalfSent::start(&address, half_sent).await;
        let (beside, failed_beside, refused) = self.phase("beside", callers, seconds).await;
        println!("half sent  {}", others.stop());
        let lost = self.lost(alone.into_iter().chain(beside).collect()).await;
        println!("lost       {lost} of the checkpoints whose put was acknowledged");
        failed + failed_beside + refused + lost == 0
    }

    /// Has callers call for a while, and counts the outcomes. Returns what was acknowledged,
    /// how many requests failed, and how many were refused.
    async fn phase(
        &self,
        name: &'static str,
        callers: u32,
        seconds: Duration,
    ) -> (Acknowledged, usize, usize) {
        let start = Instant::now();
        let of_callers = join_all((0..callers).map(|caller| {
            let load = self.clone();
            let caller = format!("{name}-{caller}");
            tokio::spawn(async move { load.call(&caller, start + seconds).await })
        }))
        .await;
        let took = start.elapsed().as_secs_f64();
        println!("{name}: {callers} callers, {took:.1} s");
        let mut acknowledged = Acknowledged::new();
        let mut tallies: [Tally; 3] = Default::default();
        for caller in of_callers {
            let caller = caller.unwrap();
            acknowledged.extend(caller.acknowledged);
            for (all, one) in tallies.iter_mut().zip(caller.tallies) {
                all.times.extend(one.times);
                all.refused += one.refused;
                all.without_retry_after += one.without_retry_after;
                all.failed += one.failed;
            }
        }
        let mut served = 0;
        for (name, tally) in OPERATIONS.into_iter().zip(&mut tallies) {
            tally.times.sort();
            served += tally.times.len();
            let at = |percent: usize| {
                let time = tally.times.get(tally.times.len() * percent / 100).copied();
                time.unwrap_or_default().as_secs_f64() * 1_000.0
            };
            println!(
                "{name:<10} {:>7.0}/s  p50 {:>7.2} ms  p99 {:>7.2} ms  429 and 503 {:>6} ({} without Retry-After)  errors {}",
                tally.times.len() as f64 / took,
                at(50),
                at(99),
                tally.refused,
                tally.without_retry_after,
                tally.failed
            );
        }
        println!("all        {:>7.0}/s", served as f64 / took);
        let failed = tallies.iter().map(|tally| tally.failed).sum();
        let refused = tallies.iter().map(|tally| tally.refused).sum();
        (acknowledged, failed, refused)
    }

    async fn call(&self, caller: &str, end: Instant) -> Caller {
        let mut found = Caller::default();
        let blob = "A".repeat(self.bytes / 3 * 4);
        let mut parent = Value::Null;
        for step in 0_u32.. {
            if Instant::now() >= end {
                break;
            }
            let id = CheckpointId::now_v6();
            let version = format!("{step:032}.0.5");
            let thread = format!("{caller}-{}", step / STEPS);
            if step % STEPS == 0 {
                parent = Value::Null;
            }
            let task = json!({"task_id": "task", "idx": 0, "channel": "messages",
                              "type": "msgpack", "blob": blob, "task_path": ""});
            let bodies = [
                json!({
                    "thread_id": thread, "checkpoint_ns": "", "checkpoint_id": id,
                    "parent_checkpoint_id": parent,
                    "checkpoint": {"v": 4, "id": id, "channel_values": {"n": step},
                                   "channel_versions": {"n": version, "messages": version},
                                   "versions_seen": {}},
                    "metadata": {"source": "loop", "step": step},
                    "blobs": [{"channel": "messages", "version": version, "type": "msgpack",
                               "blob": blob}],
                }),
                json!({"thread_id": thread, "checkpoint_id": id, "writes": [task]}),
                json!({"thread_id": thread}),
            ];
            parent = json!(id);
            for (position, body) in bodies.into_iter().enumerate() {
                let name = OPERATIONS[position];
                let is_done = self.ask(name, &body, &mut found.tallies[position]).await;
                if is_done && name == "put" {
                    let ids = found.acknowledged.entry(thread.clone()).or_default();
                    ids.push(id.to_string());
                }
            }
        }
        found
    }

    /// Asks an endpoint once; whether it was done.
    async fn ask(&self, name: &str, body: &Value, tally: &mut Tally) -> bool {
        let start = Instant::now();
        match self.send(name, body).await {
            Some(response) if response.status().is_success() => {
                let is_whole = response.bytes().await.is_ok();
                if is_whole {
                    tally.times.push(start.elapsed());
                } else {
                    tally.failed += 1;
                }
                is_whole
            }
            Some(response) if matches!(response.status().as_u16(), 429 | 503) => {
                tally.refused += 1;
                if !response.headers().contains_key("retry-after") {
                    tally.without_retry_after += 1;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
                false
            }
            _ => {
                tally.failed += 1;
                false
            }
        }
    }

    async fn send(&self, name: &str, body: &Value) -> Option<Response> {
        let request = self
            .client
            .post(format!("{}/checkpoints/{name}", self.address))
            .bearer_auth(SECRET)
            .header("content-type", "application/json")
            .body(body.to_string());
        request.send().await.ok()
    }

    /// How many acknowledged checkpoints are not there, or not with their blob.
    async fn lost(&self, acknowledged: Acknowledged) -> usize {
        let threads = stream::iter(acknowledged);
        let lost = threads.map(|(thread, ids)| async move {
            let listed = self
                .read("list", &json!({"thread_id": thread, "limit": 1_000}))
                .await;
            let listed: HashSet<&str> = listed
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|one| one["checkpoint_id"].as_str())
                .collect();
            let gone = ids
                .iter()
                .filter(|id| !listed.contains(id.as_str()))
                .count();
            let newest = self.read("get-tuple", &json!({"thread_id": thread})).await;
            let has_blob = newest["blobs"]
                .as_array()
                .is_some_and(|blobs| !blobs.is_empty());
            gone + usize::from(!has_blob)
        });
        lost.buffer_unordered(8)
            .fold(0, async |all, one| all + one)
            .await
    }

    async fn read(&self, name: &str, body: &Value) -> Value {
        let response = self.send(name, body).await;
        let text = match response {
            Some(response) => response.bytes().await.unwrap_or_default(),
            None => return Value::Null,
        };
        serde_json::from_slice(&text).unwrap_or_default()
    }
}
