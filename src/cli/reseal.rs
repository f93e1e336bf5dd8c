//! `reseal`: seals what is stored with the first encryption key.

use clap::Args;
use serde_json::json;

use super::context::Context;
use super::failure::{Failure, Outcome};
use super::progress::Meter;
use super::selection::Selection;
use super::text::count;
use crate::redis::{ResealOptions, ResealReport};

/// Seal what is stored with the first encryption key, so that the other keys may go
///
/// For the layout compact. Before it runs, every application that writes must have the new key, as
/// the first one. It can be interrupted and repeated, and runs beside readers and writers.
#[derive(Args)]
pub(crate) struct Reseal {
    #[command(flatten)]
    threads: Selection,
    /// Only print what would be sealed again
    #[arg(long)]
    dry_run: bool,
}

impl Reseal {
    pub(crate) async fn run(self, context: &mut Context) -> Outcome {
        let meter = Meter::spinner("checkpoints sealed");
        let mut options = ResealOptions::default()
            .with_prefix(self.threads.prefix())
            .with_dry_run(self.dry_run)
            .with_progress(meter.callback());
        options.threads = self.threads.named(context).await?;
        let report = context.saver.reseal(&options).await;
        drop(meter);
        let report = report?;
        self.say(context, &report)?;
        if report.unreadable > 0 {
            return Err(Failure::Unhealthy(format!(
                "{} of what is stored cannot be read, and is as it was",
                report.unreadable
            )));
        }
        if report.changed > 0 {
            return Err(Failure::Unavailable(format!(
                "{} of what is stored changed in every attempt, and may be sealed with another key: run the same command again",
                report.changed
            )));
        }
        Ok(())
    }

    fn say(&self, context: &mut Context, report: &ResealReport) -> Outcome {
        if context.output.is_json() {
            let findings = report.findings().iter();
            let findings: Vec<_> = findings
                .map(|finding| {
                    json!({
                        "what": finding.kind.to_string(),
                        "key": finding.key,
                        "detail": finding.detail,
                    })
                })
                .collect();
            return context.output.json(&json!({
                "threads": report.threads,
                "checkpoints": report.checkpoints,
                "writes": report.writes,
                "current": report.current,
                "changed": report.changed,
                "unreadable": report.unreadable,
                "parts_removed": report.parts_removed,
                "findings": findings,
                "resealed": !self.dry_run,
            }));
        }
        for finding in report.findings() {
            context.output.line(finding.to_string())?;
        }
        context.output.line(format!(
            "{} {} and {} of {}; {} sealed with the first key already",
            if self.dry_run { "would seal" } else { "sealed" },
            count(report.checkpoints, "checkpoint"),
            count(report.writes, "write"),
            count(report.threads, "thread"),
            if report.current == 1 {
                "1 was".to_owned()
            } else {
                format!("{} were", report.current)
            },
        ))
    }
}
