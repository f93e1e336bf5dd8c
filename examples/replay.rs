//! Replays recorded LangGraph runs through a saver and compares every answer.
//!
//! ```text
//! cargo run --release --example replay -- tests/golden/traces/*.jsonl
//! cargo run --release --example replay -- --saver memory FILE…
//! cargo run --release --example replay -- --url redis://127.0.0.1:6379 FILE…
//! ```
//!
//! Without `--url` it uses the Redis of `REDIS_URL`, or starts one. Each file is replayed under
//! keys of its own, which are deleted afterwards. Exits with 1 if an answer differs, and with 2 if
//! the replay could not be made.

use std::process::ExitCode;

use langgraph_checkpoint_redis::conformance::replay::{Replay, Trace};
use langgraph_checkpoint_redis::{CheckpointSaver, MemorySaver};

const USAGE: &str = "usage: replay [--url URL] [--saver redis|memory] FILE…";

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(1),
        Err(sentence) => {
            eprintln!("replay: {sentence}");
            ExitCode::from(2)
        }
    }
}

/// Replays every file and returns the number of differences.
async fn run() -> Result<usize, String> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    // All files are read before anything is written.
    let mut traces = Vec::new();
    for file in &arguments.files {
        let text = std::fs::read_to_string(file)
            .map_err(|error| format!("the file {file} cannot be read: {error}"))?;
        let trace = Trace::parse(&text).map_err(|error| format!("{file}: {error}"))?;
        traces.push((file, trace));
    }
    let savers = Savers::open(&arguments)?;
    let mut calls = 0;
    let mut differences = 0;
    for (file, trace) in &traces {
        let replay = savers
            .replay(trace)
            .await
            .map_err(|error| format!("{file}: {error}"))?;
        println!(
            "{file}: {} calls, {} differences",
            replay.calls,
            replay.differences.len()
        );
        for difference in &replay.differences {
            println!("  {difference}");
        }
        calls += replay.calls;
        differences += replay.differences.len();
    }
    println!(
        "{} files, {calls} calls, {differences} differences",
        traces.len()
    );
    Ok(differences)
}

#[derive(Debug)]
struct Arguments {
    memory: bool,
    url: Option<String>,
    files: Vec<String>,
}

impl Arguments {
    fn parse(mut given: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self {
            memory: false,
            url: None,
            files: Vec::new(),
        };
        while let Some(argument) = given.next() {
            match argument.as_str() {
                "--url" => {
                    let url = given
                        .next()
                        .ok_or_else(|| format!("--url needs a URL; {USAGE}"))?;
                    arguments.url = Some(url);
                }
                "--saver" => match given.next().as_deref() {
                    Some("memory") => arguments.memory = true,
                    Some("redis") => arguments.memory = false,
                    other => {
                        let other = other.unwrap_or("nothing");
                        return Err(format!("--saver is redis or memory, not {other}; {USAGE}"));
                    }
                },
                option if option.starts_with('-') => {
                    return Err(format!("{option} is not known; {USAGE}"));
                }
                _ => arguments.files.push(argument),
            }
        }
        if arguments.files.is_empty() {
            return Err(format!("there is no file to replay; {USAGE}"));
        }
        if arguments.memory && arguments.url.is_some() {
            return Err(format!(
                "--url is for the saver redis, not for memory; {USAGE}"
            ));
        }
        Ok(arguments)
    }
}

/// Where traces are replayed.
enum Savers {
    Memory,
    #[cfg(feature = "redis")]
    Redis {
        url: String,
    },
}

impl Savers {
    fn open(arguments: &Arguments) -> Result<Self, String> {
        if arguments.memory {
            return Ok(Self::Memory);
        }
        #[cfg(feature = "redis")]
        {
            let url = match &arguments.url {
                Some(url) => url.clone(),
                None => redis_modules::shared_url()
                    .map_err(|error| format!("there is no Redis: {error}"))?
                    .to_owned(),
            };
            Ok(Self::Redis { url })
        }
        #[cfg(not(feature = "redis"))]
        Err("this build has no Redis saver; use --saver memory".to_owned())
    }

    /// Replays one trace on a saver of its own, and cleans up after it.
    async fn replay(&self, trace: &Trace) -> langgraph_checkpoint_redis::Result<Replay> {
        let saver: Box<dyn CheckpointSaver> = match self {
            Self::Memory => Box::new(MemorySaver::new()),
            #[cfg(feature = "redis")]
            Self::Redis { url } => {
                let id = langgraph_checkpoint_redis::CheckpointId::now_ulid();
                let builder = langgraph_checkpoint_redis::RedisSaver::builder();
                Box::new(
                    builder
                        .url(url)
                        .prefix(format!("replay-{id}"))
                        .build()
                        .await?,
                )
            }
        };
        saver.setup().await?;
        let replay = trace.replay(&*saver).await;
        trace.clean_up(&*saver).await?;
        Ok(replay)
    }
}
