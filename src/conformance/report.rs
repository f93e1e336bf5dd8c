//! The results of the cases.

use std::fmt;
use std::time::Duration;

use super::{Case, Group};

/// The result of one case.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Outcome {
    /// The case.
    pub case: Case,
    /// How long it took.
    pub took: Duration,
    /// Why it failed; `None` if it passed.
    pub failure: Option<String>,
}

impl Outcome {
    pub(super) fn new(case: Case, took: Duration, failure: Option<String>) -> Self {
        Self {
            case,
            took,
            failure,
        }
    }
}

/// The results of the cases that were run; its `Display` is a table by group, with the failures
/// below.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Report {
    /// One for each case.
    pub outcomes: Vec<Outcome>,
}

impl Report {
    pub(super) fn new(outcomes: Vec<Outcome>) -> Self {
        Self { outcomes }
    }

    /// Whether no case failed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.failures().next().is_none()
    }

    /// The cases that failed.
    pub fn failures(&self) -> impl Iterator<Item = &Outcome> {
        self.outcomes
            .iter()
            .filter(|outcome| outcome.failure.is_some())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{:<22} {:>6} {:>6}", "group", "passed", "failed")?;
        let mut groups: Vec<Group> = self
            .outcomes
            .iter()
            .map(|outcome| outcome.case.group())
            .collect();
        groups.dedup();
        for group in groups {
            let of_group = || {
                self.outcomes
                    .iter()
                    .filter(|outcome| outcome.case.group() == group)
            };
            let failed = of_group()
                .filter(|outcome| outcome.failure.is_some())
                .count();
            let passed = of_group().count() - failed;
            writeln!(formatter, "{group:<22} {passed:>6} {failed:>6}")?;
        }
        for outcome in self.failures() {
            let failure = outcome.failure.as_deref().unwrap_or_default();
            writeln!(formatter, "FAILED {:?}: {failure}", outcome.case)?;
        }
        Ok(())
    }
}
