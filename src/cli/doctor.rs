//! `doctor`: looks through what is stored for what should not be there, and mends if asked.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::context::Context;
use super::failure::{Failure, Outcome};
use super::health::{problems, servers_json, warnings};
use super::output::note;
use super::text::count;
use crate::redis::{
    DoctorOptions, DoctorReport, Finding, FindingKind, Health, IdleWrites, duration,
};

/// How often what is stored is walked at most, until nothing is left to be put right.
const MOST_ROUNDS: usize = 5;

/// Look at every key for what should not be there, and put it right with --fix
#[derive(Args)]
#[allow(clippy::struct_excessive_bools)] // Each is a flag of its own.
pub(crate) struct Doctor {
    /// Put right what is wrong
    #[arg(long)]
    fix: bool,
    /// Do it without asking; for --fix
    #[arg(long, requires = "fix")]
    yes: bool,
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
    /// Read the ids of documents alone, not whether calls can read them: quicker where they are large
    #[arg(long)]
    quick: bool,
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
            .with_prefix(&self.starting_with)
            .with_orphan_age(self.orphan_age);
        if self.fix {
            options = options.with_fix(true);
        }
        if self.quick {
            options = options.with_read_values(false);
        }
        if self.rebuild_indexes {
            options = options.with_rebuild_indexes(true);
        }
        // First, as it says why the rest may fail.
        let health = context.saver.health().await;
        let problems = problems(&health);
        for problem in &problems {
            note(&format!("langgraph-redis: warning: {problem}"));
        }
        if !context.output.is_json() {
            for warning in warnings(&health) {
                context.output.line(format!("warning: {warning}"))?;
            }
        }
        // What is looked at is young for the server, and would not be put right afterwards.
        let mut idle_writes = IdleWrites::default();
        if self.fix && !self.yes {
            let looking = DoctorOptions {
                fix: false,
                ..options.clone()
            };
            let found = context
                .saver
                .doctor_again(&looking, &mut idle_writes)
                .await?;
            let kinds = found.counts().iter();
            let fixable: u64 = kinds
                .filter(|(kind, _)| kind.is_fixable(&options))
                .map(|(_, number)| number)
                .sum();
            let rounds = [found];
            say(context, &rounds, &health, &problems)?;
            if fixable == 0 {
                return self.verdict(&rounds, &problems);
            }
            let what = format!(
                "would put right what can be of {}, in part by a TTL or by removing writes without a checkpoint",
                count(fixable, "finding")
            );
            context.confirm(false, &what).await?;
        }
        let mut rounds = Vec::new();
        // One repair shows what only the next round mends.
        while rounds.len() < MOST_ROUNDS && rounds.last().is_none_or(calls_for_another) {
            rounds.push(
                context
                    .saver
                    .doctor_again(&options, &mut idle_writes)
                    .await?,
            );
            options.rebuild_indexes = false;
        }
        say(context, &rounds, &health, &problems)?;
        self.verdict(&rounds, &problems)
    }

    /// What is left after the last round.
    fn verdict(&self, rounds: &[DoctorReport], problems: &[String]) -> Outcome {
        let Some(last) = rounds.last() else {
            return Ok(());
        };
        let found: u64 = last.counts().values().sum();
        let fixed: u64 = last.fixed().values().sum();
        // An index that was made just now only takes time.
        let made: HashSet<&str> = all_findings(rounds)
            .filter(|found| found.fixed && is_of_index(found.kind))
            .map(|found| found.key.as_str())
            .collect();
        let reading = last.findings().iter().filter(|found| {
            found.kind == FindingKind::IndexBusy && made.contains(found.key.as_str())
        });
        match found - fixed - reading.count() as u64 {
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

fn all_findings(rounds: &[DoctorReport]) -> impl Iterator<Item = &Finding> {
    rounds.iter().flat_map(DoctorReport::findings)
}

fn is_of_index(kind: FindingKind) -> bool {
    matches!(kind, FindingKind::IndexMissing | FindingKind::IndexDiffers)
}

/// Whether something was put right that may show more; an index shows nothing.
fn calls_for_another(report: &DoctorReport) -> bool {
    report.fixed().keys().any(|kind| !is_of_index(*kind))
}

/// Tells what was put right in every round, and what is left after the last.
fn say(
    context: &mut Context,
    rounds: &[DoctorReport],
    health: &Health,
    problems: &[String],
) -> Outcome {
    if !context.output.is_json() {
        for (position, report) in rounds.iter().enumerate() {
            if position == 0 || !report.is_healthy() {
                context.output.line(report.to_string())?;
            }
        }
        return Ok(());
    }
    let mut findings = Vec::new();
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for (position, report) in rounds.iter().enumerate() {
        let is_last = position + 1 == rounds.len();
        let told = report.findings().iter();
        findings.extend(told.filter(|found| found.fixed || is_last).map(|finding| {
            json!({
                "kind": format!("{:?}", finding.kind),
                "what": finding.kind.to_string(),
                "key": finding.key,
                "detail": finding.detail,
                "fixed": finding.fixed,
            })
        }));
        for (kind, number) in report.counts() {
            let fixed = report.fixed().get(kind).copied().unwrap_or(0);
            let told = if is_last { *number } else { fixed };
            if told > 0 {
                *counts.entry(format!("{kind:?}")).or_default() += told;
            }
        }
    }
    context.output.json(&json!({
        "healthy": rounds.iter().all(DoctorReport::is_healthy) && problems.is_empty(),
        "keys": rounds.iter().map(DoctorReport::examined).max(),
        "rounds": rounds.len(),
        "counts": counts,
        "findings": findings,
        "servers": servers_json(health),
        "problems": problems,
        "warnings": warnings(health),
    }))
}
