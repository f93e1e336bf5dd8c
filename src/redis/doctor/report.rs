//! The options of the doctor, and its report.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::options::TtlChoice;

/// Options of [`RedisSaver::doctor`](crate::RedisSaver::doctor).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DoctorOptions {
    /// Whether what is wrong is put right. Default: no.
    pub fix: bool,
    /// Whether an index whose schema differs is made again, which also needs `fix`. The documents
    /// stay. Until the index has read them all again, what other savers wrote may be missing from
    /// lists; savers that are running should be rebuilt. Default: no.
    pub rebuild_indexes: bool,
    /// Only threads whose ids start so. Default: `""`, all.
    pub prefix: String,
    /// The TTL that documents and writes of threads that are not pinned should have, and get if
    /// they have none: [`TtlChoice::Default`] is the saver's, [`TtlChoice::Forever`] asks for none.
    /// Default: the saver's.
    pub expect_ttl: TtlChoice,
    /// How long writes without a checkpoint and without a TTL must have been left alone to be
    /// reported, as a checkpoint may come after its writes. Default: one hour.
    pub orphan_age: Duration,
    /// Whether documents are read completely, to see whether calls can read them. Without, only
    /// their ids are read, which is quicker, and the report says so. Default: yes.
    pub read_values: bool,
    /// How many findings are kept in the report; all are counted. Default: 10,000.
    pub max_findings: usize,
}

impl Default for DoctorOptions {
    fn default() -> Self {
        Self {
            fix: false,
            rebuild_indexes: false,
            prefix: String::new(),
            expect_ttl: TtlChoice::Default,
            orphan_age: Duration::from_secs(3_600),
            read_values: true,
            max_findings: 10_000,
        }
    }
}

impl DoctorOptions {
    /// Sets whether what is wrong is repaired.
    #[must_use]
    pub fn with_fix(mut self, fix: bool) -> Self {
        self.fix = fix;
        self
    }

    /// Sets whether indexes are recreated whose schema differs.
    #[must_use]
    pub fn with_rebuild_indexes(mut self, rebuild_indexes: bool) -> Self {
        self.rebuild_indexes = rebuild_indexes;
        self
    }

    /// Sets how the ids of the threads start that are looked at.
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets which TTL documents and writes should have.
    #[must_use]
    pub fn with_expect_ttl(mut self, expect_ttl: TtlChoice) -> Self {
        self.expect_ttl = expect_ttl;
        self
    }

    /// Sets whether documents are read completely.
    #[must_use]
    pub fn with_read_values(mut self, read_values: bool) -> Self {
        self.read_values = read_values;
        self
    }

    /// Sets how long writes without a checkpoint must have been left alone.
    #[must_use]
    pub fn with_orphan_age(mut self, orphan_age: Duration) -> Self {
        self.orphan_age = orphan_age;
        self
    }
}

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// A checkpoint or a write has no TTL and its thread is not pinned. Fix: it gets the TTL.
    MissingTtl,
    /// A registry, pointer or set of namespaces has no TTL, though all that it stands for has
    /// one. Fix: it gets the longest of them.
    SharedKeyOutlives,
    /// Writes without a TTL whose checkpoint never came. Fix: they are removed.
    WritesWithoutCheckpoint,
    /// A write that its checkpoint's registry does not name, so that it is not read. Fix: it is
    /// registered.
    WriteNotRegistered,
    /// A registry names writes that are gone. Fix: they are taken out.
    WritesGone,
    /// A thread's set of namespaces names something that is not there, or lacks a namespace.
    /// Fix: it is put right.
    NamespaceWrong,
    /// A pointer is missing or names nothing. Fix: it names the newest checkpoint, or goes.
    PointerToNothing,
    /// A pointer does not name the newest checkpoint. Fix: it does.
    PointerNotNewest,
    /// A document whose ids are not those of its key, so that it is never read. It may be
    /// another application's, so it is never fixed.
    DocumentMisplaced,
    /// A document that lacks some of its ids, or has none because it is another application's. It
    /// is left, except the bare flag `{"has_writes":true}` that the Python saver leaves when writes
    /// come first and their checkpoint never. Fix: that flag is removed.
    DocumentWithoutIds,
    /// A document that is named like ours and cannot be read: calls that meet it raise
    /// [`Error::Corrupt`](crate::Error::Corrupt). It is never fixed.
    Unreadable,
    /// A thread is stored without hash tags, and this saver reads threads that have them. It is
    /// never fixed: export it with a saver without them, and import it with this one.
    NotTagged,
    /// Something has no TTL, and whether its thread is pinned is not known, because the set of
    /// namespaces that says so is lost. It is left: `pin` the thread, or `unpin` it.
    PinUnknown,
    /// `has_writes` of a checkpoint is wrong. Fix: it is set.
    WritesFlagWrong,
    /// The registry names a checkpoint that is gone. Fix: it is taken out.
    CheckpointGone,
    /// A checkpoint that the registry does not name. Fix: it is registered.
    CheckpointNotRegistered,
    /// A blob that its namespace's registry does not name, so that it is not deleted with its
    /// thread. Fix: it is registered.
    BlobNotRegistered,
    /// A registry names blobs that are gone. Fix: they are taken out.
    BlobsGone,
    /// Parts of values that nothing names any more, in the layout `compact`. Fix: they are removed.
    PartsUnnamed,
    /// Parts of values that are named and gone, in the layout `compact`: reading what names them is
    /// [`Error::Corrupt`](crate::Error::Corrupt). It is never fixed.
    PartsGone,
    /// A registry or a set has a member that no saver writes there: one that is not UTF-8, or
    /// names another's key. It is never fixed.
    MemberForeign,
    /// A key is named like a pointer or a registry of ours and does not hold what one holds. It is
    /// never fixed.
    Foreign,
    /// A key holds a value of another type. It is never fixed.
    WrongType,
    /// An index is missing. Fix: it is made.
    IndexMissing,
    /// An index has another schema than ours. Fix: it is made again, if the options say so.
    IndexDiffers,
    /// An index is still reading what was stored before it. It only takes time.
    IndexBusy,
    /// An index does not know all documents that there are, so that lists over all threads lack
    /// some; not looked at on a cluster. Fix: it is dropped and made again; the documents stay.
    IndexIncomplete,
    /// A set of recent threads lacks some, as it does where a saver has stored them that keeps no
    /// such sets, or a call was dropped before it was answered. It does no harm but to the order of
    /// [`threads`](crate::CheckpointSaver::threads). Fix: they are put in, at the times of their
    /// newest checkpoints.
    RecentThreadsIncomplete,
}

impl FindingKind {
    /// Whether it can be put right, if the options say so.
    #[cfg(feature = "cli")]
    pub(crate) fn is_fixable(self, options: &DoctorOptions) -> bool {
        match self {
            Self::WrongType
            | Self::IndexBusy
            | Self::DocumentMisplaced
            | Self::Unreadable
            | Self::NotTagged
            | Self::PinUnknown
            | Self::PartsGone
            | Self::MemberForeign
            | Self::Foreign => false,
            Self::IndexDiffers => options.rebuild_indexes,
            _ => true,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::MissingTtl => "it has no TTL",
            Self::SharedKeyOutlives => "it has no TTL, though all that it stands for has one",
            Self::WritesWithoutCheckpoint => "the checkpoint of these writes never came",
            Self::WriteNotRegistered => "no registry names this write",
            Self::WritesGone => "it names writes that are gone",
            Self::NamespaceWrong => "it does not name what the thread has",
            Self::PointerToNothing => "the pointer names nothing",
            Self::PointerNotNewest => "the pointer does not name the newest checkpoint",
            Self::DocumentMisplaced => "its ids are not those of its key",
            Self::DocumentWithoutIds => "it lacks ids",
            Self::Unreadable => "it cannot be read",
            Self::NotTagged => "its thread is stored without a hash tag, and is not read",
            Self::PinUnknown => {
                "it is lost, so whether the thread is pinned is not known: pin or unpin it"
            }
            Self::WritesFlagWrong => "its flag `has_writes` is wrong",
            Self::CheckpointGone => "it names a checkpoint that is gone",
            Self::CheckpointNotRegistered => "no registry names this checkpoint",
            Self::BlobNotRegistered => "no registry names this blob",
            Self::BlobsGone => "it names blobs that are gone",
            Self::PartsUnnamed => "it has parts of values that nothing names",
            Self::PartsGone => "parts of values are gone that something names",
            Self::MemberForeign => "it has a member that no saver writes",
            Self::Foreign => "it is named like a saver's key and is not one",
            Self::WrongType => "it holds a value of another type",
            Self::IndexMissing => "the index is missing",
            Self::IndexDiffers => "the index has another schema",
            Self::IndexBusy => "the index is still reading what was stored before it",
            Self::IndexIncomplete => "the index does not know what is stored",
            Self::RecentThreadsIncomplete => "it lacks threads",
        }
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.words())
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Finding {
    /// What is wrong.
    pub kind: FindingKind,
    /// The key, or the name of the index.
    pub key: String,
    /// More about it; `""` if there is no more.
    pub detail: String,
    /// Whether it was put right.
    pub fixed: bool,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.key.escape_debug(), self.kind)?;
        if !self.detail.is_empty() {
            write!(formatter, " ({})", self.detail.escape_debug())?;
        }
        if self.fixed {
            formatter.write_str("; fixed")?;
        }
        Ok(())
    }
}

/// What a doctor found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DoctorReport {
    findings: Vec<Finding>,
    counts: BTreeMap<FindingKind, u64>,
    fixed: BTreeMap<FindingKind, u64>,
    examined: u64,
    /// Whether only ids were read.
    values_unread: bool,
}

impl DoctorReport {
    pub(crate) fn of(options: &DoctorOptions) -> Self {
        Self {
            values_unread: !options.read_values,
            ..Self::default()
        }
    }

    /// What is wrong, in the order in which it was found; not more than the options keep.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// How often each thing is wrong.
    #[must_use]
    pub fn counts(&self) -> &BTreeMap<FindingKind, u64> {
        &self.counts
    }

    /// How often each thing was put right, also of findings that are not kept.
    #[must_use]
    pub fn fixed(&self) -> &BTreeMap<FindingKind, u64> {
        &self.fixed
    }

    /// How many keys were looked at.
    #[must_use]
    pub fn examined(&self) -> u64 {
        self.examined
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.counts.is_empty()
    }

    pub(crate) fn looked_at(&mut self, keys: usize) {
        self.examined += keys as u64;
    }

    pub(crate) fn add(&mut self, finding: Finding, max: usize) {
        *self.counts.entry(finding.kind).or_default() += 1;
        if finding.fixed {
            *self.fixed.entry(finding.kind).or_default() += 1;
        }
        if self.findings.len() < max {
            self.findings.push(finding);
        }
    }
}

impl fmt::Display for DoctorReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(formatter, "{finding}")?;
        }
        let found: u64 = self.counts.values().sum();
        let kept = self.findings.len() as u64;
        if found > kept {
            writeln!(formatter, "… and {} more", found - kept)?;
        }
        let fixed: u64 = self.fixed.values().sum();
        write!(formatter, "{} keys looked at, ", self.examined)?;
        match found {
            0 if self.values_unread => formatter.write_str("no finding")?,
            0 => formatter.write_str("nothing is wrong")?,
            _ => write!(formatter, "{found} findings, {fixed} fixed")?,
        }
        if self.values_unread {
            formatter.write_str("; what documents hold was not read")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_right_is_counted_also_where_findings_are_not_kept() {
        let mut report = DoctorReport::default();
        for number in 0..5 {
            let finding = Finding {
                kind: FindingKind::WritesGone,
                key: number.to_string(),
                detail: String::new(),
                fixed: number < 4,
            };
            report.add(finding, 1);
        }
        assert_eq!(report.fixed()[&FindingKind::WritesGone], 4);
        assert_eq!(report.counts()[&FindingKind::WritesGone], 5);
        assert!(
            report.to_string().contains("5 findings, 4 fixed"),
            "{report}"
        );
    }
}
