//! `doctor`: finds problems in the stored data and fixes them with `--fix`.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::context::Context;
use super::failure::{Failure, Outcome};
use super::output::note;
use super::server_health::{problems, servers_json, warnings};
use super::text::count;
use crate::redis::{
    DoctorOptions, DoctorReport, Finding, FindingKind, Health, IdleWrites, duration,
};

/// How often the data is examined at most, until nothing is left to fix.
const MAX_ROUNDS: usize = 5;

/// Find problems in the stored data, and fix them with --fix
#[derive(Args)]
#[allow(clippy::struct_excessive_bools)] // Each is a flag of its own.
pub(crate) struct Doctor {
    /// Fix the problems that can be fixed safely
    #[arg(long)]
    fix: bool,
    /// Do not ask for confirmation; for --fix
    #[arg(long, requires = "fix")]
    yes: bool,
    /// Drop and create indexes whose schema differs; the documents stay
    #[arg(long, requires = "fix")]
    rebuild_indexes: bool,
    /// Only threads whose ids start with this text
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    starting_with: String,
    /// Check only the ids of documents, not whether they can be read; faster for large documents
    #[arg(long)]
    quick: bool,
    /// How long writes without a checkpoint must be idle to be reported
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
    orphan_age: Duration,
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
        // First, because a problem of a server explains why the rest fails.
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
        // Reading a key resets its idle time, so the first pass remembers which keys were idle.
        let mut idle = IdleWrites::default();
        if self.fix && !self.yes {
            let dry_run = DoctorOptions {
                fix: false,
                ..options.clone()
            };
            let found = context.saver.doctor_again(&dry_run, &mut idle).await?;
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
                "would fix {}, which may set TTLs or remove writes without a checkpoint",
                count(fixable, "finding")
            );
            context.confirm(false, &what).await?;
        }
        let mut rounds = Vec::new();
        // A repair may reveal problems that the next round fixes.
        while rounds.len() < MAX_ROUNDS && rounds.last().is_none_or(calls_for_another) {
            rounds.push(context.saver.doctor_again(&options, &mut idle).await?);
            options.rebuild_indexes = false;
        }
        say(context, &rounds, &health, &problems)?;
        self.verdict(&rounds, &problems)
    }

    /// The result: what is left after the last round.
    fn verdict(&self, rounds: &[DoctorReport], problems: &[String]) -> Outcome {
        let Some(last) = rounds.last() else {
            return Ok(());
        };
        let found: u64 = last.counts().values().sum();
        let fixed: u64 = last.fixed().values().sum();
        // An index that was created in this run needs time to read the documents.
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
                "the stored data has no problems, but some calls fail: {}",
                problems.join("; ")
            ))),
            left if self.fix => Err(Failure::Unhealthy(format!(
                "{} left that could not be fixed, or not in this run",
                count(left, "finding")
            ))),
            left => Err(Failure::Unhealthy(format!(
                "{}; --fix fixes what can be fixed safely",
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

/// Whether something was fixed that may reveal more; an index reveals nothing.
fn calls_for_another(report: &DoctorReport) -> bool {
    report.fixed().keys().any(|kind| !is_of_index(*kind))
}

/// Prints what was fixed in every round, and what is left after the last.
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
        let found = report.findings().iter();
        findings.extend(found.filter(|found| found.fixed || is_last).map(|finding| {
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
            let counted = if is_last { *number } else { fixed };
            if counted > 0 {
                *counts.entry(format!("{kind:?}")).or_default() += counted;
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
