//! `stats`: the number, size and TTL of what is stored.

use clap::Args;
use serde_json::{Value, json};

use super::context::Context;
use super::failure::Outcome;
use super::output::Output;
use super::text::{bytes, count, shown, shown_namespace};
use crate::redis::{Sizes, Stats as Report, StatsOptions};

/// Show the number of checkpoints and writes, and the sizes and TTLs of a sample
#[derive(Args)]
pub(crate) struct Stats {
    /// The number of checkpoints and writes in the sample
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000)]
    sample: usize,
    /// Count threads even if there are many checkpoints, which blocks the server for about a second
    /// per million
    #[arg(long)]
    count_threads: bool,
}

impl Stats {
    pub(crate) async fn run(self, context: &mut Context) -> Outcome {
        let mut options = StatsOptions::default().with_sample(self.sample);
        if self.count_threads {
            options = options.with_max_counted(u64::MAX);
        }
        let stats = context.saver.stats(&options).await?;
        if context.output.is_json() {
            return context.output.json(&document(&stats));
        }
        say(&mut context.output, &stats)
    }
}

fn ttl_counts(stats: &Report) -> [(&'static str, &'static str, u64); 6] {
    let ttl = &stats.ttl;
    [
        ("within_hour", "under an hour", ttl.within_hour),
        ("within_day", "under a day", ttl.within_day),
        ("within_week", "under a week", ttl.within_week),
        ("within_month", "under 30 days", ttl.within_month),
        ("longer", "longer", ttl.longer),
        ("forever", "no TTL", ttl.forever),
    ]
}

fn say(output: &mut Output, stats: &Report) -> Outcome {
    let known = |number: Option<u64>| {
        number.map_or_else(|| "not counted".to_owned(), |number| number.to_string())
    };
    output.line(format!("threads      {}", known(stats.threads)))?;
    output.line(format!("checkpoints  {}", stats.checkpoints))?;
    output.line(format!("writes       {}", known(stats.writes)))?;
    for (name, sizes) in [
        ("checkpoint", stats.checkpoint_sizes),
        ("write", stats.write_sizes),
    ] {
        if sizes.sampled > 0 {
            output.line(format!(
                "size of a {name}: median {}, p99 {}, largest {}, total about {} (of {} sampled)",
                bytes(sizes.median),
                bytes(sizes.p99),
                bytes(sizes.max),
                bytes(sizes.estimated_total),
                sizes.sampled
            ))?;
        }
    }
    let counts = ttl_counts(stats);
    let sampled: u64 = counts.iter().map(|(_, _, number)| number).sum();
    if sampled > 0 {
        output.line("checkpoints by remaining TTL")?;
        for (_, name, number) in counts {
            if number > 0 {
                let share =
                    usize::try_from((number * 30).checked_div(sampled).unwrap_or(0)).unwrap_or(0);
                output.line(format!(
                    "  {name:<14} {number:>6}  {}",
                    "#".repeat(share.max(1))
                ))?;
            }
        }
    }
    if !stats.largest.is_empty() {
        output.line("largest of the sample")?;
    }
    for large in &stats.largest {
        output.line(format!(
            "  {:>11}  {}  {}  {}",
            bytes(large.bytes),
            shown(large.checkpoint_id.as_str()),
            shown_namespace(&large.namespace),
            shown(large.thread_id.as_str()),
        ))?;
    }
    for index in &stats.indexes {
        let failures = if index.failures > 0 {
            format!(", {} not indexed", count(index.failures, "document"))
        } else {
            String::new()
        };
        let busy = if index.busy { ", still indexing" } else { "" };
        output.line(format!(
            "index {}: {}, {}{failures}{busy}",
            shown(&index.name),
            count(index.documents, "document"),
            bytes(index.memory)
        ))?;
    }
    if let Some(memory) = stats.server_memory {
        let limit = stats.server_memory_limit;
        let limit = limit.map_or_else(
            || "no limit".to_owned(),
            |limit| format!("of {}", bytes(limit)),
        );
        output.line(format!("server memory: {}, {limit}", bytes(memory)))?;
    }
    Ok(())
}

fn document(stats: &Report) -> Value {
    let sizes = |sizes: &Sizes| {
        json!({
            "sampled": sizes.sampled,
            "median": sizes.median,
            "p99": sizes.p99,
            "max": sizes.max,
            "mean": sizes.mean,
            "estimated_total": sizes.estimated_total,
        })
    };
    let ttl: serde_json::Map<_, _> = ttl_counts(stats)
        .into_iter()
        .map(|(name, _, number)| (name.to_owned(), number.into()))
        .collect();
    let largest: Vec<_> = stats
        .largest
        .iter()
        .map(|large| {
            json!({
                "thread_id": large.thread_id,
                "checkpoint_ns": large.namespace,
                "checkpoint_id": large.checkpoint_id,
                "bytes": large.bytes,
            })
        })
        .collect();
    let indexes: Vec<_> = stats
        .indexes
        .iter()
        .map(|index| {
            json!({
                "name": index.name,
                "documents": index.documents,
                "memory": index.memory,
                "failures": index.failures,
                "busy": index.busy,
            })
        })
        .collect();
    json!({
        "threads": stats.threads,
        "checkpoints": stats.checkpoints,
        "writes": stats.writes,
        "checkpoint_sizes": sizes(&stats.checkpoint_sizes),
        "write_sizes": sizes(&stats.write_sizes),
        "ttl": ttl,
        "largest": largest,
        "indexes": indexes,
        "server_memory": stats.server_memory,
        "server_memory_limit": stats.server_memory_limit,
    })
}
