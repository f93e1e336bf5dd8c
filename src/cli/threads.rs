//! `threads`: lists threads.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use clap::Args;
use futures_util::TryStreamExt;
use serde_json::{Value, json};

use super::context::Context;
use super::failure::Outcome;
use super::output::Output;
use super::progress::Meter;
use super::selection::require_complete_index;
use super::text::{duration, milliseconds, shown, time};
use crate::saver::{CheckpointSaver, ThreadSummary};

/// List threads with the number of their checkpoints and their time to live
#[derive(Args)]
pub(crate) struct Threads {
    /// Only threads whose ids start with this text
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    starting_with: String,
    /// Only this many threads, those with the most checkpoints
    #[arg(long, value_name = "NUMBER", conflicts_with = "limit")]
    top: Option<usize>,
    /// At most this many threads
    #[arg(long, value_name = "NUMBER")]
    limit: Option<usize>,
}

impl Threads {
    pub(crate) async fn run(self, context: &mut Context) -> Outcome {
        require_complete_index(context).await?;
        let mut threads = context.saver.threads(&self.starting_with);
        let output = &mut context.output;
        if !output.is_json() {
            let heads = ["CHECKPOINTS", "NEWEST (UTC)", "EXPIRES IN", "THREAD"];
            output.line(row(heads[0], heads[1], heads[2], heads[3]))?;
        }
        let Some(top) = self.top else {
            let mut left = self.limit.unwrap_or(usize::MAX);
            while left > 0 {
                let Some(summary) = threads.try_next().await? else {
                    break;
                };
                say(output, &summary)?;
                left -= 1;
            }
            return Ok(());
        };
        let meter = Meter::spinner("threads");
        let mut largest = BinaryHeap::new();
        while let Some(summary) = threads.try_next().await? {
            meter.add(1);
            largest.push(Reverse(Ranked(summary)));
            if largest.len() > top {
                largest.pop();
            }
        }
        drop(meter);
        for Reverse(Ranked(summary)) in largest.into_sorted_vec() {
            say(output, &summary)?;
        }
        Ok(())
    }
}

/// A thread, ordered by the number of its checkpoints, then by its id.
#[derive(PartialEq, Eq)]
struct Ranked(ThreadSummary);

impl Ranked {
    fn rank(&self) -> (u64, Reverse<&str>) {
        (self.0.checkpoints, Reverse(self.0.thread_id.as_str()))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

fn row(checkpoints: &str, newest: &str, left: &str, thread: &str) -> String {
    format!("{checkpoints:>11}  {newest:<19}  {left:<12}  {thread}")
}

fn say(output: &mut Output, summary: &ThreadSummary) -> Outcome {
    if output.is_json() {
        return output.json(&document(summary));
    }
    let newest = summary.newest.as_ref();
    output.line(row(
        &summary.checkpoints.to_string(),
        &newest.map_or_else(|| "-".to_owned(), |id| time(id, None)),
        &summary.ttl.map_or_else(|| "never".to_owned(), duration),
        &shown(summary.thread_id.as_str()),
    ))
}

fn document(summary: &ThreadSummary) -> Value {
    json!({
        "thread_id": summary.thread_id,
        "checkpoints": summary.checkpoints,
        "newest": summary.newest,
        "ttl_ms": summary.ttl.map(milliseconds),
    })
}
