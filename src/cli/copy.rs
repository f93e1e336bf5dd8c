//! `copy`: all of a thread under another name.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Args;
use serde_json::json;

use super::context::Context;
use super::failure::Outcome;
use super::progress::Meter;
use super::select;
use super::text::{count, shown};
use crate::options::{CopyOptions, ExistingTarget, ProgressCallback};
use crate::saver::CheckpointSaver;

/// Copy all of a thread, its history and pending writes included
#[derive(Args)]
pub(crate) struct Copy {
    /// The thread to copy
    #[arg(value_name = "SOURCE")]
    source: String,
    /// What the copy is called
    #[arg(value_name = "TARGET")]
    target: String,
    /// Add to a target that is there; checkpoints of the same id are replaced
    #[arg(long)]
    merge: bool,
    /// Only say what would be copied
    #[arg(long)]
    dry_run: bool,
}

impl Copy {
    pub(crate) async fn run(self, context: &mut Context) -> Outcome {
        let source = context.thread_id(&self.source)?;
        let target = context.thread_id(&self.target)?;
        let found = select::named(context, &source).await?;
        let mut copied = (found.checkpoints, None);
        if !self.dry_run {
            let meter = Meter::bar("checkpoints copied", found.checkpoints);
            let writes = Arc::new(AtomicU64::new(0));
            let checkpoints = Arc::new(AtomicU64::new(0));
            let (seen_writes, seen, shown) = (
                Arc::clone(&writes),
                Arc::clone(&checkpoints),
                meter.callback(),
            );
            let progress = ProgressCallback::new(move |progress| {
                seen_writes.store(progress.writes, Ordering::Relaxed);
                seen.store(progress.checkpoints, Ordering::Relaxed);
                shown.report(progress);
            });
            let existing = if self.merge {
                ExistingTarget::Merge
            } else {
                ExistingTarget::Error
            };
            let options = CopyOptions::default()
                .with_existing(existing)
                .with_progress(progress);
            context
                .saver
                .copy_thread(&source, &target, &options)
                .await?;
            copied = (
                checkpoints.load(Ordering::Relaxed),
                Some(writes.load(Ordering::Relaxed)),
            );
        }
        let (checkpoints, writes) = copied;
        if context.output.is_json() {
            return context.output.json(&json!({
                "source": source,
                "target": target,
                "checkpoints": checkpoints,
                "writes": writes,
                "copied": !self.dry_run,
            }));
        }
        let writes = writes.map_or_else(String::new, |writes| {
            format!(" and {}", count(writes, "write"))
        });
        context.output.line(format!(
            "{} {}{writes} of {} to {}",
            if self.dry_run { "would copy" } else { "copied" },
            count(checkpoints, "checkpoint"),
            shown(source.as_str()),
            shown(target.as_str())
        ))
    }
}
