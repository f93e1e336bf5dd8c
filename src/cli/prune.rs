//! `prune`: removes old checkpoints of threads.

use std::time::Duration;

use clap::{ArgGroup, Args};
use serde_json::json;

use super::context::Context;
use super::failure::{Failure, Outcome};
use super::progress::Meter;
use super::selection::Selection;
use super::text::{count, shown, thread_or_count};
use crate::ThreadId;
use crate::options::{Progress, PruneOptions, PruneStrategy};
use crate::redis::duration;
use crate::saver::CheckpointSaver;

/// Remove old checkpoints of threads, except those that a kept checkpoint needs
#[derive(Args)]
#[command(group = ArgGroup::new("kept").required(true))]
pub(crate) struct Prune {
    #[command(flatten)]
    threads: Selection,
    /// Keep the newest checkpoint of each namespace
    #[arg(long, group = "kept")]
    keep_latest: bool,
    /// Keep this many of the newest checkpoints of each namespace
    #[arg(long, value_name = "NUMBER", group = "kept")]
    keep_last: Option<usize>,
    /// Remove checkpoints older than this, such as 7d or 12h, except the newest of each namespace
    #[arg(long, value_name = "TIME", group = "kept", value_parser = duration)]
    older_than: Option<Duration>,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    /// Only print what would be removed
    #[arg(long)]
    dry_run: bool,
}

impl Prune {
    pub(crate) async fn run(self, context: &mut Context) -> Outcome {
        let strategy = match (self.keep_last, self.older_than) {
            (Some(number), _) => PruneStrategy::KeepLast(number),
            (_, Some(age)) => PruneStrategy::OlderThan(age),
            (None, None) => PruneStrategy::KeepLatest,
        };
        strategy.check()?;
        let threads = self.threads.required(context).await?;
        let meter = Meter::bar("threads examined", threads.len() as u64);
        let mut prunable: Vec<(ThreadId, Progress)> = Vec::new();
        for thread in threads {
            let found = context.saver.prunable(&thread.thread_id, &strategy).await?;
            if found != Progress::default() {
                prunable.push((thread.thread_id, found));
            }
            meter.add(1);
        }
        drop(meter);
        let checkpoints = prunable.iter().map(|(_, found)| found.checkpoints).sum();
        let writes = prunable.iter().map(|(_, found)| found.writes).sum();
        if prunable.is_empty() {
            return if context.output.is_json() {
                Ok(())
            } else {
                context.output.line("there is nothing to remove")
            };
        }
        if !self.dry_run {
            let what = format!(
                "would remove {} and {} of {}",
                count(checkpoints, "checkpoint"),
                count(writes, "write"),
                thread_or_count(prunable.iter().map(|(thread, _)| thread.as_str()))
            );
            context.confirm(self.yes, &what).await?;
        }
        let meter = Meter::bar("checkpoints removed", checkpoints);
        for (thread, found) in prunable {
            if !self.dry_run {
                let options = PruneOptions::new(strategy.clone()).with_progress(meter.callback());
                let one = std::slice::from_ref(&thread);
                context.saver.prune(one, &options).await?;
            }
            meter.aside(|| self.say(context, &thread, found))?;
        }
        Ok(())
    }

    fn say(
        &self,
        context: &mut Context,
        thread: &ThreadId,
        found: Progress,
    ) -> Result<(), Failure> {
        if context.output.is_json() {
            return context.output.json(&json!({
                "thread_id": thread,
                "checkpoints": found.checkpoints,
                "writes": found.writes,
                "removed": !self.dry_run,
            }));
        }
        context.output.line(format!(
            "{} {} and {} of {}",
            if self.dry_run {
                "would remove"
            } else {
                "removed"
            },
            count(found.checkpoints, "checkpoint"),
            count(found.writes, "write"),
            shown(thread.as_str())
        ))
    }
}
