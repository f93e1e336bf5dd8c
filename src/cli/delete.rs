//! `delete`: deletes threads, or the checkpoints of runs.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use serde_json::json;

use super::context::Context;
use super::failure::{Failure, Outcome};
use super::output::Output;
use super::progress::Meter;
use super::selection::{Selection, require_complete_index};
use super::text::{count, shown, thread_or_count};
use crate::id::{RunId, ThreadId};
use crate::options::DeleteOptions;
use crate::saver::{CheckpointSaver, ThreadSummary};

/// Delete threads, or with --run the checkpoints of runs
#[derive(Args)]
pub(crate) struct Delete {
    #[command(flatten)]
    threads: Selection,
    /// Delete the checkpoints of a run with their writes, in every thread or in those of
    /// --starting-with; can be repeated
    #[arg(long, value_name = "RUN", conflicts_with_all = ["threads", "all"])]
    run: Vec<String>,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    /// Only print what would be deleted
    #[arg(long)]
    dry_run: bool,
}

impl Delete {
    pub(crate) async fn run(self, context: &mut Context) -> Outcome {
        if !self.run.is_empty() {
            return self.delete_runs(context).await;
        }
        let threads = self.threads.required(context).await?;
        let checkpoints: u64 = threads.iter().map(|thread| thread.checkpoints).sum();
        if !self.dry_run && !threads.is_empty() {
            let what = format!(
                "would delete {} with {} and their writes",
                thread_or_count(threads.iter().map(|thread| thread.thread_id.as_str())),
                count(checkpoints, "checkpoint")
            );
            context.confirm(self.yes, &what).await?;
        }
        let meter = Meter::bar("checkpoints deleted", checkpoints);
        for thread in &threads {
            if !self.dry_run {
                let options = DeleteOptions::default().with_progress(meter.callback());
                context
                    .saver
                    .delete_thread(&thread.thread_id, &options)
                    .await?;
            }
            meter.aside(|| self.say(&mut context.output, thread))?;
        }
        drop(meter);
        if threads.is_empty() && !context.output.is_json() {
            context.output.line("there is nothing to delete")?;
        }
        Ok(())
    }

    async fn delete_runs(self, context: &mut Context) -> Outcome {
        let prefix = self.threads.prefix();
        let runs = self.run.iter().map(|run| context.run_id(run));
        let runs: BTreeSet<RunId> = runs.collect::<Outcome<_>>()?;
        let runs = Vec::from_iter(runs);
        let mut found: BTreeMap<ThreadId, u64> = BTreeMap::new();
        require_complete_index(context).await?;
        for run in &runs {
            for thread in context.saver.checkpoints_of_run(run, prefix).await? {
                *found.entry(thread).or_default() += 1;
            }
        }
        if found.is_empty() {
            let runs = match &runs[..] {
                [run] => format!("run {}", shown(run.as_str())),
                _ => "these runs".to_owned(),
            };
            return Err(Failure::NotFound(format!(
                "there is no checkpoint of {runs}; nothing was deleted"
            )));
        }
        if !self.dry_run {
            let what = format!(
                "would delete {} and their writes in {}",
                count(found.values().sum(), "checkpoint"),
                thread_or_count(found.keys().map(ThreadId::as_str))
            );
            context.confirm(self.yes, &what).await?;
            context.saver.delete_runs(&runs, prefix).await?;
        }
        for (thread, checkpoints) in found {
            let thread = ThreadSummary::new(thread, checkpoints, None, None);
            if context.output.is_json() {
                self.say(&mut context.output, &thread)?;
                continue;
            }
            context.output.line(format!(
                "{} {} of {}",
                self.verb(),
                count(thread.checkpoints, "checkpoint"),
                shown(thread.thread_id.as_str())
            ))?;
        }
        Ok(())
    }

    fn verb(&self) -> &'static str {
        if self.dry_run {
            "would delete"
        } else {
            "deleted"
        }
    }

    fn say(&self, output: &mut Output, thread: &ThreadSummary) -> Outcome {
        if output.is_json() {
            return output.json(&json!({
                "thread_id": thread.thread_id,
                "checkpoints": thread.checkpoints,
                "deleted": !self.dry_run,
            }));
        }
        output.line(format!(
            "{} {} with {}",
            self.verb(),
            shown(thread.thread_id.as_str()),
            count(thread.checkpoints, "checkpoint")
        ))
    }
}
