//! `doctor`: looks through what is stored for what should not be there, and mends if asked.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::context::Context;
use super::failure::{Failure, Outcome};
use super::health::{problems, servers_json};
use super::output::note;
use super::text::count;
use crate::redis::{DoctorOptions, duration};

/// Look at every key for what should not be there, and put it right with --fix
#[derive(Args)]
pub(crate) struct Doctor {
    /// Put right what is wrong
    #[arg(long)]
    fix: bool,
    /// Make indexes anew whose schema differs; the documents stay
    #[arg(long, requires = "fix")]
    rebuild_indexes: bool,
    /// Only threads whose ids start so
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    starting_with: String,
    /// How long writes without a checkpoint must have been left alone to be reported
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = age)]
    orphan_age: Duration,
}

fn age(text: &str) -> Result<Duration, String> {
    duration(text)
}

impl Doctor {
    pub(crate) async fn run(self, context: &mut Context) -> Outcome {
        let mut options = DoctorOptions::default()
            .with_prefix(self.starting_with)
            .with_orphan_age(self.orphan_age);
        if self.fix {
            options = options.fixing();
        }
        if self.rebuild_indexes {
            options = options.rebuilding_indexes();
        }
        // First, as it says why the rest may fail.
        let health = context.saver.health().await;
        let problems = problems(&health);
        for problem in &problems {
            note(&format!("langgraph-redis: warning: {problem}"));
        }
        let report = context.saver.doctor(&options).await?;
        if context.output.is_json() {
            let findings: Vec<_> = report
                .findings()
                .iter()
                .map(|finding| {
                    json!({
                        "kind": format!("{:?}", finding.kind),
                        "what": finding.kind.to_string(),
                        "key": finding.key,
                        "detail": finding.detail,
                        "fixed": finding.fixed,
                    })
                })
                .collect();
            let counts: serde_json::Map<_, _> = report
                .counts()
                .iter()
                .map(|(kind, number)| (format!("{kind:?}"), (*number).into()))
                .collect();
            context.output.json(&json!({
                "healthy": report.is_healthy() && problems.is_empty(),
                "keys": report.examined(),
                "counts": counts,
                "findings": findings,
                "servers": servers_json(&health),
                "problems": problems,
            }))?;
        } else {
            context.output.line(report.to_string())?;
        }
        // Of those that are not kept in the report it is not known whether they were fixed.
        let found: u64 = report.counts().values().sum();
        let fixed = report.findings().iter().filter(|found| found.fixed).count() as u64;
        match found - fixed {
            0 if problems.is_empty() => Ok(()),
            0 => Err(Failure::Unhealthy(format!(
                "what is stored is in order, but not every call can be served: {}",
                problems.join("; ")
            ))),
            left if self.fix => Err(Failure::Unhealthy(format!(
                "{} left that could not be put right, or not in this run",
                count(left, "finding")
            ))),
            left => Err(Failure::Unhealthy(format!(
                "{}; --fix puts right what can be",
                count(left, "finding")
            ))),
        }
    }
}
