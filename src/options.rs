//! What a call can be told beyond its arguments: one struct a verb.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::config::CheckpointConfig;
use crate::error::{Error, Result};
use crate::filter::MetadataFilter;
use crate::id::CheckpointId;

/// The longest TTL that is taken: 100 years. Redis counts in milliseconds of 64 bits.
pub const MAX_TTL: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// How long what a call writes is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TtlChoice {
    /// The default of the saver.
    #[default]
    Default,
    /// For ever.
    Forever,
    /// For a time, from now on.
    For(Duration),
}

impl TtlChoice {
    /// The TTL of a call on a saver with a default of its own.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if the TTL is zero or longer than [`MAX_TTL`].
    pub fn resolve(self, saver: Option<Duration>) -> Result<Option<Duration>> {
        match self {
            Self::Default => Ok(saver),
            Self::Forever => Ok(None),
            Self::For(ttl) => {
                check_ttl(ttl).map_err(|reason| Error::invalid("ttl", reason))?;
                Ok(Some(ttl))
            }
        }
    }
}

/// How long a saver keeps what it is given.
///
/// ```
/// use std::time::Duration;
/// use langgraph_checkpoint_redis::TtlPolicy;
/// let day = TtlPolicy::new(Duration::from_secs(24 * 60 * 60)).with_refresh_on_read(true);
/// assert!(day.refresh_on_read);
/// assert_eq!(TtlPolicy::default().default, None);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TtlPolicy {
    /// The TTL of everything that is written, unless the call says otherwise. Default: none, so
    /// that it is kept for ever.
    pub default: Option<Duration>,
    /// Whether reading a checkpoint with [`get_tuple`](crate::CheckpointSaver::get_tuple) gives
    /// it and its writes the default TTL anew. What is kept for ever stays so. Default: no.
    pub refresh_on_read: bool,
    /// What is kept together. Default: each checkpoint is kept by itself.
    pub scope: TtlScope,
}

/// What a TTL keeps together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TtlScope {
    /// Each checkpoint is kept by itself, with its writes: the history of a thread that lives on
    /// expires step by step.
    #[default]
    Checkpoint,
    /// A thread is kept whole: nothing of it expires before the TTL has passed since the last
    /// write (or read, if reading refreshes), and all of it soon after. In Redis that is up to a
    /// quarter of the TTL later, so that the whole thread need not be visited by every call but
    /// once in that time.
    Thread,
}

impl TtlPolicy {
    /// A policy with a default TTL.
    #[must_use]
    pub fn new(ttl: Duration) -> Self {
        Self {
            default: Some(ttl),
            ..Self::default()
        }
    }

    /// Sets whether reading a checkpoint resets its TTL.
    #[must_use]
    pub fn with_refresh_on_read(mut self, refresh_on_read: bool) -> Self {
        self.refresh_on_read = refresh_on_read;
        self
    }

    /// Sets what expires together.
    #[must_use]
    pub fn with_scope(mut self, scope: TtlScope) -> Self {
        self.scope = scope;
        self
    }

    /// Refuses a TTL that cannot be one.
    ///
    /// # Errors
    /// [`Error::Config`] if the default is zero or longer than [`MAX_TTL`].
    pub fn check(&self) -> Result<()> {
        self.default
            .map_or(Ok(()), check_ttl)
            .map_err(|reason| Error::Config {
                key: "ttl".to_owned(),
                reason,
            })
    }
}

/// Says what is wrong with a TTL.
pub(crate) fn check_ttl(ttl: Duration) -> Result<(), String> {
    if ttl < Duration::from_millis(1) {
        Err("it is shorter than a millisecond, so nothing would be kept".to_owned())
    } else if ttl > MAX_TTL {
        Err("it is longer than 100 years; use none to keep things for ever".to_owned())
    } else {
        Ok(())
    }
}

macro_rules! with {
    ($(#[$doc:meta])* $name:ident, $field:ident: $type:ty) => {
        $(#[$doc])*
        #[must_use]
        pub fn $name(mut self, $field: $type) -> Self {
            self.$field = $field;
            self
        }
    };
}

/// Options of [`put`](crate::CheckpointSaver::put).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PutOptions {
    /// How long the checkpoint is kept. Default: as the saver is set.
    pub ttl: TtlChoice,
    /// What must be the newest checkpoint of the namespace for this one to be put. Default:
    /// anything.
    pub expected_parent: ExpectedParent,
}

impl PutOptions {
    with!(
        /// Sets how long the checkpoint is kept.
        with_ttl, ttl: TtlChoice
    );
    with!(
        /// Sets what must be the newest checkpoint.
        with_expected_parent, expected_parent: ExpectedParent
    );
}

/// What must be the newest checkpoint of a namespace for a put to happen: a compare-and-set, by
/// which of two workers on one thread only one goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExpectedParent {
    /// Anything.
    #[default]
    Any,
    /// Nothing: the namespace has no checkpoint yet.
    None,
    /// This checkpoint.
    Is(CheckpointId),
}

/// Options of [`put_writes`](crate::CheckpointSaver::put_writes).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PutWritesOptions {
    /// How long the writes are kept; in Redis at least as long as their checkpoint. Default: as the
    /// saver is set.
    pub ttl: TtlChoice,
    /// The path of the task in the graph. Default: `""`.
    pub task_path: String,
}

impl PutWritesOptions {
    with!(
        /// Sets how long the writes are kept.
        with_ttl, ttl: TtlChoice
    );

    /// Sets the path of the task.
    #[must_use]
    pub fn with_task_path(mut self, task_path: impl Into<String>) -> Self {
        self.task_path = task_path.into();
        self
    }
}

/// Options of [`list`](crate::CheckpointSaver::list).
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct ListOptions {
    /// Only checkpoints whose metadata passes. Default: all.
    pub filter: MetadataFilter,
    /// Only checkpoints older than this one, by id, itself left out. Default: all.
    pub before: Option<CheckpointId>,
    /// At most so many. Default: all.
    pub limit: Option<usize>,
}

impl ListOptions {
    with!(
        /// Sets the filter.
        with_filter, filter: MetadataFilter
    );

    /// Sets the checkpoint that all must be older than.
    #[must_use]
    pub fn with_before(mut self, before: CheckpointId) -> Self {
        self.before = Some(before);
        self
    }

    /// Sets the checkpoint that all must be older than from a config, if it names one.
    #[must_use]
    pub fn with_before_config(mut self, before: &CheckpointConfig) -> Self {
        self.before.clone_from(&before.checkpoint_id);
        self
    }

    /// Sets how many at most.
    #[must_use]
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self
    }
}

/// What [`prune`](crate::CheckpointSaver::prune) keeps.
///
/// Beside what a strategy keeps, the ancestors stay that a kept checkpoint's delta channels need:
/// those on the way back to the channel's newest snapshot, with their writes. A channel counts as
/// a delta channel if any checkpoint of the namespace says so: its metadata's
/// `counters_since_delta_snapshot` names the channel, or it has no value right after a write to
/// the channel, or its parent has a value of the same version and it has none. The pending writes
/// of a kept checkpoint stay, open interrupts among them. A kept checkpoint goes on naming its
/// parent, also if that is removed.
///
/// The namespace of a single call of a subgraph (`node:task-id`) goes as a whole, also its newest
/// checkpoint, once the root checkpoint that the call started from is removed: its metadata's
/// `parents` name that one. A subgraph compiled with `checkpointer=True` has one namespace for all
/// calls (`node`), which keeps its newest checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PruneStrategy {
    /// Keep the newest checkpoint of each namespace (LangGraph's `keep_latest`).
    KeepLatest,
    /// Keep the newest `n` checkpoints of each namespace; at least one.
    KeepLast(usize),
    /// Keep what is younger than this, and the newest checkpoint of each namespace. The age is
    /// that of the checkpoint's id, else of its `checkpoint_ts`.
    OlderThan(Duration),
    /// Keep nothing (LangGraph's `delete`).
    Delete,
}

impl PruneStrategy {
    /// Refuses what would keep nothing by mistake.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for `KeepLast(0)`.
    pub fn check(&self) -> Result<()> {
        if *self == Self::KeepLast(0) {
            return Err(Error::invalid(
                "keep_last",
                "it is 0, which would keep nothing: keep 1 at least, or delete the thread",
            ));
        }
        Ok(())
    }
}

impl std::str::FromStr for PruneStrategy {
    type Err = Error;

    /// Reads LangGraph's names of strategies, `keep_latest` and `delete`.
    fn from_str(name: &str) -> Result<Self> {
        match name {
            "keep_latest" => Ok(Self::KeepLatest),
            "delete" => Ok(Self::Delete),
            other => Err(Error::invalid(
                "strategy",
                format!("`{other}` is not known; use `keep_latest`, `keep_last` or `delete`"),
            )),
        }
    }
}

/// Options of [`prune`](crate::CheckpointSaver::prune).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PruneOptions {
    /// What is kept. Default: the newest checkpoint of each namespace.
    pub strategy: PruneStrategy,
    /// Is told how far the call has come. Default: nobody.
    pub progress: Option<ProgressCallback>,
}

impl Default for PruneOptions {
    fn default() -> Self {
        Self::new(PruneStrategy::KeepLatest)
    }
}

impl PruneOptions {
    /// Options with a strategy.
    #[must_use]
    pub fn new(strategy: PruneStrategy) -> Self {
        Self {
            strategy,
            progress: None,
        }
    }

    /// Sets who is told how far the call has come.
    #[must_use]
    pub fn with_progress(mut self, progress: ProgressCallback) -> Self {
        self.progress = Some(progress);
        self
    }
}

/// Options of [`delete_thread`](crate::CheckpointSaver::delete_thread).
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct DeleteOptions {
    /// Is told how far the call has come. Default: nobody.
    pub progress: Option<ProgressCallback>,
}

impl DeleteOptions {
    /// Sets who is told how far the call has come.
    #[must_use]
    pub fn with_progress(mut self, progress: ProgressCallback) -> Self {
        self.progress = Some(progress);
        self
    }
}

/// Options of [`copy_thread`](crate::CheckpointSaver::copy_thread).
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct CopyOptions {
    /// What to do when the target has checkpoints already. Default: merge.
    pub existing: ExistingTarget,
    /// How long the copy is kept. Default: as the saver is set.
    pub ttl: TtlChoice,
    /// Is told how far the call has come. Default: nobody.
    pub progress: Option<ProgressCallback>,
}

impl CopyOptions {
    with!(
        /// Sets what to do when the target exists.
        with_existing, existing: ExistingTarget
    );
    with!(
        /// Sets how long the copy is kept.
        with_ttl, ttl: TtlChoice
    );

    /// Sets who is told how far the call has come.
    #[must_use]
    pub fn with_progress(mut self, progress: ProgressCallback) -> Self {
        self.progress = Some(progress);
        self
    }
}

/// What a copy does when its target has checkpoints already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExistingTarget {
    /// Adds to them; a checkpoint of the same namespace and id is replaced.
    #[default]
    Merge,
    /// Fails and changes nothing.
    Error,
}

/// How far a long call has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Checkpoints done so far.
    pub checkpoints: u64,
    /// Writes done so far.
    pub writes: u64,
}

/// Is told how far a long call has come, after each slice of its work.
#[derive(Clone)]
pub struct ProgressCallback(Arc<dyn Fn(Progress) + Send + Sync>);

impl ProgressCallback {
    /// Wraps a function.
    pub fn new(callback: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self(Arc::new(callback))
    }

    /// Tells it.
    pub fn report(&self, progress: Progress) {
        (self.0)(progress);
    }
}

impl fmt::Debug for ProgressCallback {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ProgressCallback")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_that_redis_would_not_keep_is_refused() {
        for ttl in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
            assert!(TtlChoice::For(ttl).resolve(None).is_err(), "{ttl:?}");
        }
        assert_eq!(
            TtlChoice::Default.resolve(Some(MAX_TTL)).unwrap(),
            Some(MAX_TTL)
        );
    }

    #[test]
    fn an_unknown_strategy_is_refused_by_name() {
        let error = "keep_all".parse::<PruneStrategy>().unwrap_err().to_string();
        assert!(error.contains("keep_all"), "{error}");
        assert!(PruneStrategy::KeepLast(0).check().is_err());
    }
}
