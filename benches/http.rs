//! A load on the HTTP service: many callers for some seconds, each with a thread of its own.
//!
//! ```sh
//! cargo bench --bench http --features server [-- --seconds 10 --callers 64 --bytes 1000]
//! cargo bench --bench http --features server -- --serve [--listen 127.0.0.1:8080]
//! ```
//!
//! The service is a process of its own, so that its memory is seen; `--serve` is that process.
//! `REDIS_URL` picks the server; otherwise one is started. A turn of a caller is what LangGraph
//! does in a super-step: it puts a checkpoint with a blob, puts writes, and reads the newest.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_precision_loss)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use langgraph_checkpoint_redis::server::{ApiKeys, Authentication, ServerOptions, serve_on};
use langgraph_checkpoint_redis::{CheckpointId, CheckpointSaver, RedisSaver};
use reqwest::Client;
use serde_json::{Value, json};

const SECRET: &str = "the key of the load";
const OPERATIONS: [&str; 3] = ["put", "put-writes", "get-tuple"];

/// What became of the requests to one endpoint.
#[derive(Default, Clone)]
struct Tally {
    times: Vec<Duration>,
    refused: usize,
    failed: usize,
}

#[tokio::main]
async fn main() {
    if flag("--serve").is_some() {
        return serve().await;
    }
    let number = |name, otherwise: u32| flag(name).map_or(otherwise, |text| text.parse().unwrap());
    let seconds = Duration::from_secs(number("--seconds", 10).into());
    let (callers, bytes) = (number("--callers", 64), number("--bytes", 1_000) as usize);
    let (mut service, address) = start();
    let client = client();
    let before = memory(&service);
    let start = Instant::now();
    let tallies = join_all((0..callers).map(|caller| {
        let (client, address) = (client.clone(), address.clone());
        tokio::spawn(async move { call(&client, &address, caller, bytes, start + seconds).await })
    }))
    .await;
    let took = start.elapsed().as_secs_f64();
    println!(
        "{} cores, {callers} callers, {bytes} bytes a blob, {took:.1} s",
        std::thread::available_parallelism().map_or(0, usize::from)
    );
    let mut total = 0;
    let tallies: Vec<_> = tallies.into_iter().map(Result::unwrap).collect();
    for (position, name) in OPERATIONS.into_iter().enumerate() {
        let mut of_all = Tally::default();
        for tally in &tallies {
            of_all.times.extend(&tally[position].times);
            of_all.refused += tally[position].refused;
            of_all.failed += tally[position].failed;
        }
        of_all.times.sort();
        total += of_all.times.len();
        let at = |percent: usize| {
            let position = of_all.times.len() * percent / 100;
            let time = of_all.times.get(position).copied();
            time.unwrap_or_default().as_secs_f64() * 1_000.0
        };
        println!(
            "{name:<10} {:>7.0}/s  p50 {:>7.2} ms  p99 {:>7.2} ms  503 {:>6}  errors {}",
            of_all.times.len() as f64 / took,
            at(50),
            at(99),
            of_all.refused,
            of_all.failed
        );
    }
    println!("all        {:>7.0}/s", total as f64 / took);
    println!(
        "memory     {before} KB before, {} KB after",
        memory(&service)
    );
    service.kill().unwrap();
    service.wait().unwrap();
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
    let keys = ApiKeys::parse(&format!("load:{}", ApiKeys::hash(SECRET))).unwrap();
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
fn memory(service: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", service.id()));
    let status = status.unwrap_or_default();
    let resident = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = resident.and_then(|line| line.split_whitespace().nth(1));
    kilobytes.map_or(0, |text| text.parse().unwrap())
}

async fn call(
    client: &Client,
    address: &str,
    caller: u32,
    bytes: usize,
    end: Instant,
) -> [Tally; 3] {
    let mut tallies: [Tally; 3] = Default::default();
    let blob = "A".repeat(bytes / 3 * 4);
    let mut parent = Value::Null;
    for step in 0.. {
        if Instant::now() >= end {
            break;
        }
        let id = CheckpointId::now_v6();
        let version = format!("{step:032}.0.5");
        // A thread of a hundred super-steps, then another one.
        let thread = format!("caller-{caller}-{}", step / 100);
        if step % 100 == 0 {
            parent = Value::Null;
        }
        let task = json!({"task_id": "task", "idx": 0, "channel": "messages", "type": "msgpack",
                          "blob": blob, "task_path": ""});
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
        for ((name, body), tally) in OPERATIONS.iter().zip(bodies).zip(&mut tallies) {
            let request = client
                .post(format!("{address}/checkpoints/{name}"))
                .bearer_auth(SECRET)
                .header("content-type", "application/json")
                .body(body.to_string());
            let start = Instant::now();
            let answered = match request.send().await {
                Ok(response) => {
                    let status = response.status();
                    response.bytes().await.ok().map(|_| status)
                }
                Err(_) => None,
            };
            match answered {
                Some(status) if status.is_success() => tally.times.push(start.elapsed()),
                Some(status) if status.as_u16() == 503 => {
                    tally.refused += 1;
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                _ => tally.failed += 1,
            }
        }
    }
    tallies
}
