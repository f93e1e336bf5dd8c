//! Options of calls: one struct for each.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::config::CheckpointConfig;
use crate::error::{Error, Result};
use crate::filter::MetadataFilter;
use crate::id::CheckpointId;

/// The longest TTL: 100 years. Redis counts milliseconds in 64 bits.
pub const MAX_TTL: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The TTL of what a call writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TtlChoice {
    /// The default of the saver.
    #[default]
    Default,
    /// No TTL: it never expires.
    Forever,
    /// This TTL, counted from the call.
    For(Duration),
}

impl TtlChoice {
    /// The TTL of a call, given the saver's default.
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

/// The TTLs of a saver.
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
    /// The TTL of everything that is written, unless the call sets another. Default: none, so that
    /// nothing expires.
    pub default: Option<Duration>,
    /// Whether reading a checkpoint with [`get_tuple`](crate::CheckpointSaver::get_tuple) resets
    /// its TTL and that of its pending writes. What has no TTL does not get one. Default: no.
    pub refresh_on_read: bool,
    /// What expires together. Default, `None`: each checkpoint by itself, or in the compact layout
    /// of Redis, which has no other scope, the whole thread.
    pub scope: Option<TtlScope>,
}

/// What expires together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TtlScope {
    /// Each checkpoint by itself, with its pending writes: the history of an active thread expires
    /// step by step.
    #[default]
    Checkpoint,
    /// The whole thread: nothing of it expires until the TTL has passed since the last write (or
    /// read, with `refresh_on_read`), and all of it expires soon after. In Redis that is up to a
    /// quarter of the TTL later, so that a call rarely has to visit the whole thread.
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
        self.scope = Some(scope);
        self
    }

    /// Rejects a TTL out of range.
    ///
    /// # Errors
    /// [`Error::Config`] if the default is zero or longer than [`MAX_TTL`].
    pub fn check(&self) -> Result<()> {
        self.default
            .map_or(Ok(()), check_ttl)
            .map_err(|reason| Error::Config {
                key: "ttl".to_owned(),
                reason,
                source: None,
            })
    }
}

/// Rejects a TTL that is too short or too long.
pub(crate) fn check_ttl(ttl: Duration) -> Result<(), String> {
    if ttl < Duration::from_millis(1) {
        Err("it is shorter than a millisecond: use at least 1 ms".to_owned())
    } else if ttl > MAX_TTL {
        Err("it is longer than 100 years: use no TTL for what never expires".to_owned())
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
    /// The TTL of the checkpoint. Default: the saver's.
    pub ttl: TtlChoice,
    /// The checkpoint that must be the newest of the namespace for this one to be stored. Default:
    /// any.
    pub expected_parent: ExpectedParent,
}

impl PutOptions {
    with!(
        /// Sets the TTL of the checkpoint.
        with_ttl, ttl: TtlChoice
    );
    with!(
        /// Sets the checkpoint that must be the newest.
        with_expected_parent, expected_parent: ExpectedParent
    );
}

/// The checkpoint that must be the newest of a namespace for a put to store another: a
/// compare-and-set, so that only one of two workers on the same thread continues it.
///
/// If another checkpoint is the newest, the put stores nothing and fails with
/// [`Conflict`](crate::Error::Conflict). A put of a checkpoint that is already stored is a repeated
/// call: it succeeds whatever is the newest, since the condition held the first time. So a put that
/// failed with a retryable error can be repeated with the same expected parent, also if it was
/// stored, and even if another checkpoint follows it by now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExpectedParent {
    /// Any checkpoint, or none.
    #[default]
    Any,
    /// None: the namespace has no checkpoint yet.
    None,
    /// This checkpoint.
    Is(CheckpointId),
}

/// Options of [`put_writes`](crate::CheckpointSaver::put_writes).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PutWritesOptions {
    /// The TTL of the writes; in Redis they live at least as long as their checkpoint. Default: the
    /// saver's.
    pub ttl: TtlChoice,
    /// The path of the task in the graph. Default: `""`.
    pub task_path: String,
}

impl PutWritesOptions {
    with!(
        /// Sets the TTL of the writes.
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
    /// Only checkpoints whose metadata matches. Default: all.
    pub filter: MetadataFilter,
    /// Only checkpoints whose ids are less than this one. Default: all.
    pub before: Option<CheckpointId>,
    /// The maximum number of checkpoints. Default: all.
    pub limit: Option<usize>,
}

impl ListOptions {
    with!(
        /// Sets the filter.
        with_filter, filter: MetadataFilter
    );

    /// Sets the checkpoint before which all must be.
    #[must_use]
    pub fn with_before(mut self, before: CheckpointId) -> Self {
        self.before = Some(before);
        self
    }

    /// Sets the checkpoint before which all must be from a config, if it names one.
    #[must_use]
    pub fn with_before_config(mut self, before: &CheckpointConfig) -> Self {
        self.before.clone_from(&before.checkpoint_id);
        self
    }

    /// Sets the maximum number of checkpoints.
    #[must_use]
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self
    }
}

/// What [`prune`](crate::CheckpointSaver::prune) keeps.
///
/// Every strategy also keeps the ancestors that the delta channels of a kept checkpoint need, back
/// to the channel's newest snapshot, with their pending writes. A channel is a delta channel if any
/// checkpoint of the namespace shows it: its metadata's `counters_since_delta_snapshot` names the
/// channel, or it has no value right after a write to the channel, or its parent has a value of the
/// same version and it has none. The pending writes of a kept checkpoint are kept, open interrupts
/// among them. A kept checkpoint still names its parent, even if that was removed.
///
/// The namespace of a single call of a subgraph (`node:task-id`) is removed with its newest
/// checkpoint once the root checkpoint from which the call started, named by its metadata's
/// `parents`, is removed. A subgraph compiled with `checkpointer=True` has one namespace for all
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
    /// Rejects a strategy that would keep nothing by mistake.
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
    /// Which checkpoints are kept. Default: the newest of each namespace.
    pub strategy: PruneStrategy,
    /// A callback that gets the progress of the call. Default: none.
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

    /// Sets a callback that gets the progress of the call.
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
    /// A callback that gets the progress of the call. Default: none.
    pub progress: Option<ProgressCallback>,
}

impl DeleteOptions {
    /// Sets a callback that gets the progress of the call.
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
    /// What happens if the target has checkpoints already. Default: merge.
    pub existing: ExistingTarget,
    /// The TTL of the copy. Default: the saver's.
    pub ttl: TtlChoice,
    /// A callback that gets the progress of the call. Default: none.
    pub progress: Option<ProgressCallback>,
}

impl CopyOptions {
    with!(
        /// Sets what happens if the target exists.
        with_existing, existing: ExistingTarget
    );
    with!(
        /// Sets the TTL of the copy.
        with_ttl, ttl: TtlChoice
    );

    /// Sets a callback that gets the progress of the call.
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

/// The progress of a long call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Checkpoints done so far.
    pub checkpoints: u64,
    /// Writes done so far.
    pub writes: u64,
}

/// A callback that gets the progress of a long call, after each page of its work.
#[derive(Clone)]
pub struct ProgressCallback(Arc<dyn Fn(Progress) + Send + Sync>);

impl ProgressCallback {
    /// Wraps a function.
    pub fn new(callback: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self(Arc::new(callback))
    }

    /// Reports progress.
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
