//! `bench`: measures a short load under a random prefix, and deletes what it wrote.

use std::time::{Duration, Instant};

use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueEnum};
use futures_util::future::try_join_all;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde_json::json;

use super::context::Context;
use super::failure::{Failure, Outcome};
use super::output::{Output, note};
use super::progress::Meter;
use super::text::shown;
use crate::checkpoint::{ChannelWrite, Checkpoint, CheckpointMetadata, TypedValue};
use crate::config::CheckpointConfig;
use crate::error::Result;
use crate::id::{CheckpointId, TaskId, ThreadId};
use crate::options::{DeleteOptions, ListOptions, PutOptions, PutWritesOptions};
use crate::redis::duration;
use crate::saver::CheckpointSaver;
use crate::{CheckpointTuple, RedisSaver};

/// The number of writes of a `put_writes`.
const WRITES: usize = 5;
/// The number of checkpoints of a `list`.
const LISTED: usize = 10;

/// Measure throughput and latency under a short load; deletes what it wrote
#[derive(Args)]
pub(crate) struct Bench {
    /// How long each kind of call is measured
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = seconds)]
    time: Duration,
    /// The number of concurrent callers, each with a thread id of its own
    #[arg(long, value_name = "NUMBER", default_value_t = 16, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000))]
    callers: usize,
    /// The size of the state of a checkpoint in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1_024, value_parser = RangedU64ValueParser::<usize>::new().range(1..=16 * 1024 * 1024))]
    size: usize,
    /// Only these kinds of calls
    #[arg(long, value_enum, value_name = "CALL")]
    only: Vec<Call>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Call {
    Put,
    PutWrites,
    GetTuple,
    List,
}

impl Call {
    /// In the order in which they are made: writes come last, so that what is read has none.
    const ALL: [Self; 4] = [Self::Put, Self::GetTuple, Self::List, Self::PutWrites];

    fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::PutWrites => "put_writes",
            Self::GetTuple => "get_tuple",
            Self::List => "list",
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    let range = Duration::from_millis(1)..=Duration::from_secs(600);
    range
        .contains(&time)
        .then_some(time)
        .ok_or_else(|| "it must be between a millisecond and ten minutes".to_owned())
}

/// The measurement of one kind of call.
struct Measured {
    call: Call,
    /// How long each call took, shortest first.
    times: Vec<Duration>,
    took: Duration,
}

impl Measured {
    #[allow(clippy::cast_precision_loss)] // Nobody makes 2^53 calls.
    fn rate(&self) -> f64 {
        self.times.len() as f64 / self.took.as_secs_f64().max(f64::EPSILON)
    }

    /// In milliseconds.
    fn percentile(&self, percent: usize) -> f64 {
        let position = self.times.len().saturating_sub(1) * percent / 100;
        let time = self.times.get(position).copied().unwrap_or_default();
        time.as_secs_f64() * 1_000.0
    }
}

impl Bench {
    pub(crate) async fn run(self, context: &mut Context) -> Outcome {
        let prefix = format!("langgraph-redis-bench-{}", CheckpointId::now_ulid());
        let saver = context.settings.builder().prefix(&prefix).build().await?;
        // What was written is deleted whatever happens.
        let outcome = tokio::select! {
            outcome = self.load(&saver, &mut context.output) => outcome,
            _ = tokio::signal::ctrl_c() => Err(Failure::Interrupted(
                "interrupted; what was written is deleted".to_owned(),
            )),
        };
        let cleaned = self.clean_up(&saver).await;
        saver.close().await;
        if let Err(error) = cleaned {
            note(&format!(
                "not everything was deleted ({error}): run `langgraph-redis delete --all --prefix {prefix}`"
            ));
            return outcome.and(Err(error.into()));
        }
        outcome
    }

    async fn load(&self, saver: &RedisSaver, output: &mut Output) -> Outcome {
        saver.setup().await?;
        for thread in self.threads()? {
            // Lists and reads find something, whichever calls are measured.
            for _ in 0..LISTED {
                self.put(saver, &CheckpointConfig::of_thread(thread.clone()))
                    .await?;
            }
        }
        if !output.is_json() {
            output.line(format!(
                "{:<10}  {:>10}  {:>10}  {:>10}",
                "CALL", "CALLS/S", "P50 MS", "P99 MS"
            ))?;
        }
        for call in Call::ALL {
            if !self.only.is_empty() && !self.only.contains(&call) {
                continue;
            }
            let meter = Meter::spinner(call.name());
            let measured = self.measure(saver, call, &meter).await?;
            drop(meter);
            say(output, &measured)?;
        }
        Ok(())
    }

    async fn measure(&self, saver: &RedisSaver, call: Call, meter: &Meter) -> Result<Measured> {
        let started = Instant::now();
        let callers = self.threads()?.into_iter().map(|thread| async move {
            let mut times = Vec::new();
            let thread = CheckpointConfig::of_thread(thread);
            let newest = saver.get_tuple(&thread).await?.map(|tuple| tuple.config);
            let newest = newest.unwrap_or_else(|| thread.clone());
            while started.elapsed() < self.time {
                let call_started = Instant::now();
                match call {
                    Call::Put => self.put(saver, &newest).await?,
                    Call::PutWrites => self.put_writes(saver, &newest).await?,
                    Call::GetTuple => {
                        saver.get_tuple(&thread).await?;
                    }
                    Call::List => {
                        let options = ListOptions::default().with_limit(LISTED);
                        let _: Vec<CheckpointTuple> =
                            saver.list(Some(&thread), options).try_collect().await?;
                    }
                }
                times.push(call_started.elapsed());
                meter.add(1);
            }
            Ok(times)
        });
        let mut times = try_join_all(callers).await?.concat();
        let took = started.elapsed();
        times.sort_unstable();
        Ok(Measured { call, times, took })
    }

    async fn put(&self, saver: &RedisSaver, config: &CheckpointConfig) -> Result<()> {
        let checkpoint = Checkpoint::builder()
            .channel("state", 1, &self.state())?
            .build()?;
        let metadata = CheckpointMetadata::new()
            .with("source", "loop")?
            .with("step", &1)?;
        saver
            .put(config, &checkpoint, &metadata, &PutOptions::default())
            .await?;
        Ok(())
    }

    async fn put_writes(&self, saver: &RedisSaver, config: &CheckpointConfig) -> Result<()> {
        let value = TypedValue::json(&self.state())?;
        let writes: Vec<_> = (0..WRITES)
            .map(|_| ChannelWrite::new("state", value.clone()))
            .collect();
        // A task of its own each time, up to a number that a checkpoint may have.
        let task = TaskId::new(rand::random_range(0..1_000_u32).to_string())?;
        saver
            .put_writes(config, &writes, &task, &PutWritesOptions::default())
            .await
    }

    fn state(&self) -> String {
        "0123456789abcdef".chars().cycle().take(self.size).collect()
    }

    fn threads(&self) -> Result<Vec<ThreadId>> {
        (0..self.callers)
            .map(|caller| ThreadId::new(format!("caller-{caller}")))
            .collect()
    }

    async fn clean_up(&self, saver: &RedisSaver) -> Result<()> {
        let deletions = self.threads()?.into_iter().map(|thread| async move {
            saver
                .delete_thread(&thread, &DeleteOptions::default())
                .await
        });
        let _: Vec<()> = stream::iter(deletions)
            .buffer_unordered(16)
            .try_collect()
            .await?;
        saver.drop_indexes().await
    }
}

fn say(output: &mut Output, measured: &Measured) -> Outcome {
    let (rate, p50, p99) = (
        measured.rate(),
        measured.percentile(50),
        measured.percentile(99),
    );
    if output.is_json() {
        return output.json(&json!({
            "call": measured.call.name(),
            "calls": measured.times.len(),
            "calls_per_second": rate,
            "p50_ms": p50,
            "p99_ms": p99,
        }));
    }
    output.line(format!(
        "{:<10}  {rate:>10.0}  {p50:>10.2}  {p99:>10.2}",
        shown(measured.call.name())
    ))?;
    output.flush()
}
