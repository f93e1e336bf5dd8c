//! `delete`: all of a thread, or of many.

use clap::Args;
use serde_json::json;

use super::context::Context;
use super::failure::Outcome;
use super::output::Output;
use super::progress::Meter;
use super::select::Selection;
use super::text::{count, shown};
use crate::options::DeleteOptions;
use crate::saver::{CheckpointSaver, ThreadSummary};

/// Delete threads: every checkpoint and write of theirs
#[derive(Args)]
pub(crate) struct Delete {
    #[command(flatten)]
    threads: Selection,
    /// Do it without asking
    #[arg(long)]
    yes: bool,
    /// Only say what would be deleted
    #[arg(long)]
    dry_run: bool,
}

impl Delete {
    pub(crate) async fn run(self, context: &mut Context) -> Outcome {
        let threads = self.threads.required(context).await?;
        let checkpoints: u64 = threads.iter().map(|thread| thread.checkpoints).sum();
        if !self.dry_run && !threads.is_empty() {
            let what = format!(
                "would delete {} with {} and their writes",
                named(threads.iter().map(|thread| thread.thread_id.as_str())),
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
            if self.dry_run {
                "would delete"
            } else {
                "deleted"
            },
            shown(thread.thread_id.as_str()),
            count(thread.checkpoints, "checkpoint")
        ))
    }
}

/// One thread by name, or how many.
pub(crate) fn named<'a>(mut threads: impl ExactSizeIterator<Item = &'a str>) -> String {
    match (threads.len(), threads.next()) {
        (1, Some(thread)) => format!("thread {}", shown(thread)),
        (number, _) => count(number as u64, "thread"),
    }
}
