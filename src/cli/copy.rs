//! `copy`: copies a thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Args;
use serde_json::json;

use super::context::Context;
use super::failure::Outcome;
use super::progress::Meter;
use super::selection;
use super::text::{count, expiry, milliseconds, shown};
use super::ttl::TtlArgs;
use crate::options::{CopyOptions, ExistingTarget, ProgressCallback};
use crate::saver::CheckpointSaver;

/// Copy a thread with its history and pending writes
///
/// The copy has the remaining TTL of the newest checkpoint of the thread, unless --ttl or
/// --forever is given.
#[derive(Args)]
pub(crate) struct Copy {
    /// The thread to copy
    #[arg(value_name = "SOURCE")]
    source: String,
    /// The id of the copy
    #[arg(value_name = "TARGET")]
    target: String,
    /// Add to a target that exists; checkpoints with the same id are replaced
    #[arg(long)]
    merge: bool,
    #[command(flatten)]
    ttl: TtlArgs,
    /// Only print what would be copied
    #[arg(long)]
    dry_run: bool,
}

impl Copy {
    pub(crate) async fn run(self, context: &mut Context) -> Outcome {
        let rule = self.ttl.rule(&context.settings)?;
        let source = context.thread_id(&self.source)?;
        let target = context.thread_id(&self.target)?;
        let found = selection::existing(context, &source).await?;
        let mut copied = (found.checkpoints, None);
        let mut left = None;
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
                .with_ttl(rule.ttl(found.ttl))
                .with_progress(progress);
            context
                .saver
                .copy_thread(&source, &target, &options)
                .await?;
            left = context.saver.thread(&target).await?;
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
                "ttl_ms": left.and_then(|copy| copy.ttl).map(milliseconds),
                "copied": !self.dry_run,
            }));
        }
        let writes = writes.map_or_else(String::new, |writes| {
            format!(" and {}", count(writes, "write"))
        });
        let expiry = left.map_or_else(String::new, |copy| format!(", which {}", expiry(copy.ttl)));
        context.output.line(format!(
            "{} {}{writes} of {} to {}{expiry}",
            if self.dry_run { "would copy" } else { "copied" },
            count(checkpoints, "checkpoint"),
            shown(source.as_str()),
            shown(target.as_str())
        ))
    }
}
