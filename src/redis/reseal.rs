//! The options of `reseal`, and its report.

use std::fmt;

use super::doctor::Finding;
use crate::id::ThreadId;
use crate::options::ProgressCallback;

/// How many findings a report keeps; all are counted.
const MAX_FINDINGS: usize = 1_000;

/// Options of [`RedisSaver::reseal`](crate::RedisSaver::reseal).
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ResealOptions {
    /// The threads. Default: `None`, all whose ids start with `prefix`.
    pub threads: Option<Vec<ThreadId>>,
    /// How the ids of the threads start, where none are named. Default: `""`, all.
    pub prefix: String,
    /// Whether what would be sealed again is only counted. Default: no.
    pub dry_run: bool,
    /// A callback that gets the number of checkpoints and writes that were sealed again. Default:
    /// none.
    pub progress: Option<ProgressCallback>,
}

impl ResealOptions {
    /// Sets the threads.
    #[must_use]
    pub fn with_threads(mut self, threads: Vec<ThreadId>) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Sets how the ids of the threads start.
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets whether what would be sealed again is only counted.
    #[must_use]
    pub fn with_dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// Sets a callback that gets the progress of the call.
    #[must_use]
    pub fn with_progress(mut self, progress: ProgressCallback) -> Self {
        self.progress = Some(progress);
        self
    }
}

/// What [`RedisSaver::reseal`](crate::RedisSaver::reseal) has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResealReport {
    /// How many threads were looked at.
    pub threads: u64,
    /// How many checkpoints were sealed with the first key, or would be.
    pub checkpoints: u64,
    /// How many pending writes were sealed with the first key, or would be. Blobs count as writes.
    pub writes: u64,
    /// How many checkpoints and writes were sealed with the first key before.
    pub current: u64,
    /// How many others were replaced by writers in every attempt, and may be sealed with another
    /// key: call it again.
    pub changed: u64,
    /// How many cannot be read, and are as they were.
    pub unreadable: u64,
    /// How many parts of values were removed that nothing names any more.
    pub parts_removed: u64,
    findings: Vec<Finding>,
}

impl ResealReport {
    /// What cannot be read, in the order in which it was found; not more than 1,000 of it.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Whether all that was looked at is sealed with the first key now, or would be.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.changed == 0 && self.unreadable == 0
    }

    pub(crate) fn add(&mut self, finding: Finding) {
        self.unreadable += 1;
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(finding);
        }
    }
}

impl fmt::Display for ResealReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(formatter, "{finding}")?;
        }
        let kept = self.findings.len() as u64;
        if self.unreadable > kept {
            writeln!(formatter, "… and {} more", self.unreadable - kept)?;
        }
        write!(
            formatter,
            "{} threads looked at, {} checkpoints and {} writes sealed again, {} sealed with the first key before",
            self.threads, self.checkpoints, self.writes, self.current
        )?;
        if self.changed > 0 {
            write!(formatter, ", {} changed in every attempt", self.changed)?;
        }
        if self.unreadable > 0 {
            write!(formatter, ", {} unreadable", self.unreadable)?;
        }
        Ok(())
    }
}
