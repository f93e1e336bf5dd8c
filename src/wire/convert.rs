//! Conversions between the types of the trait and those of the service.

use std::borrow::Cow;
use std::time::Duration;

use super::{
    CheckpointAndWrites, Config, Count, Done, Existing, Expected, Fault, History, Milliseconds,
    Pending, Positive, Serialized, Strategy, Summary, Ttl, Write,
};
#[cfg(feature = "server")]
use super::{Sort, Status};
use crate::checkpoint::{
    ChannelWrite, Checkpoint, CheckpointMetadata, CheckpointTuple, DeltaChannelHistory,
    PendingWrite, TypedValue,
};
use crate::config::CheckpointConfig;
use crate::error::{Error, Result};
#[cfg(feature = "server")]
use crate::inspect::{
    status,
    threads::{self, ListedThread},
};
use crate::options::{
    CopyOptions, ExistingTarget, ExpectedParent, Progress, PruneStrategy, TtlChoice,
};
use crate::saver::ThreadSummary;

impl From<&CheckpointConfig> for Config {
    fn from(config: &CheckpointConfig) -> Self {
        let metadata = config.metadata.fields();
        Self {
            thread_id: config.thread_id.clone(),
            checkpoint_ns: config.checkpoint_ns.clone(),
            checkpoint_id: config.checkpoint_id.clone(),
            run_id: config.run_id.clone(),
            metadata: (!metadata.is_empty()).then(|| metadata.to_json()),
        }
    }
}

impl TryFrom<Config> for CheckpointConfig {
    type Error = Error;

    fn try_from(config: Config) -> Result<Self> {
        let mut read = Self::of_thread(config.thread_id);
        read.checkpoint_ns = config.checkpoint_ns;
        read.checkpoint_id = config.checkpoint_id;
        read.run_id = config.run_id;
        if let Some(metadata) = config.metadata {
            read.metadata = CheckpointMetadata::from_json(metadata.bytes().clone())?;
        }
        Ok(read)
    }
}

impl From<TtlChoice> for Ttl {
    fn from(ttl: TtlChoice) -> Self {
        match ttl {
            TtlChoice::Default => Self::Saver,
            TtlChoice::Forever => Self::Forever,
            TtlChoice::For(ttl) => Self::ForMs(Milliseconds(milliseconds(ttl))),
        }
    }
}

impl From<Ttl> for TtlChoice {
    fn from(ttl: Ttl) -> Self {
        match ttl {
            Ttl::Saver => Self::Default,
            Ttl::Forever => Self::Forever,
            Ttl::ForMs(Milliseconds(ttl)) => Self::For(Duration::from_millis(ttl)),
        }
    }
}

/// Milliseconds in 63 bits, as the service reads them.
fn milliseconds(duration: Duration) -> u64 {
    i64::try_from(duration.as_millis())
        .unwrap_or(i64::MAX)
        .unsigned_abs()
}

impl From<&ExpectedParent> for Expected {
    fn from(expected: &ExpectedParent) -> Self {
        match expected {
            ExpectedParent::Any => Self::Any,
            ExpectedParent::None => Self::None,
            ExpectedParent::Is(id) => Self::Is(id.clone()),
        }
    }
}

impl From<Expected> for ExpectedParent {
    fn from(expected: Expected) -> Self {
        match expected {
            Expected::Any => Self::Any,
            Expected::None => Self::None,
            Expected::Is(id) => Self::Is(id),
        }
    }
}

impl From<&PruneStrategy> for Strategy {
    fn from(strategy: &PruneStrategy) -> Self {
        match strategy {
            PruneStrategy::KeepLatest => Self::KeepLatest,
            PruneStrategy::KeepLast(count) => {
                Self::KeepLast(Positive((*count).min(isize::MAX.unsigned_abs())))
            }
            PruneStrategy::OlderThan(age) => Self::YoungerThanMs(Count(milliseconds(*age))),
            PruneStrategy::Delete => Self::Delete,
        }
    }
}

impl From<Strategy> for PruneStrategy {
    fn from(strategy: Strategy) -> Self {
        match strategy {
            Strategy::KeepLatest => Self::KeepLatest,
            Strategy::KeepLast(Positive(count)) => Self::KeepLast(count),
            Strategy::YoungerThanMs(Count(age)) => Self::OlderThan(Duration::from_millis(age)),
            Strategy::Delete => Self::Delete,
        }
    }
}

impl From<&CopyOptions> for Existing {
    fn from(options: &CopyOptions) -> Self {
        match options.existing {
            ExistingTarget::Merge => Self::Merge,
            ExistingTarget::Error => Self::Error,
        }
    }
}

impl From<Existing> for ExistingTarget {
    fn from(existing: Existing) -> Self {
        match existing {
            Existing::Merge => Self::Merge,
            Existing::Error => Self::Error,
        }
    }
}

impl From<Progress> for Done {
    fn from(progress: Progress) -> Self {
        Self {
            checkpoints: progress.checkpoints,
            writes: progress.writes,
        }
    }
}

impl From<Done> for Progress {
    fn from(done: Done) -> Self {
        Self {
            checkpoints: done.checkpoints,
            writes: done.writes,
        }
    }
}

impl From<TypedValue> for Serialized {
    fn from(value: TypedValue) -> Self {
        Self {
            type_name: value.type_name,
            blob: value.blob,
            hints: value.hints,
        }
    }
}

impl From<Serialized> for TypedValue {
    fn from(value: Serialized) -> Self {
        Self {
            type_name: value.type_name,
            blob: value.blob,
            hints: value.hints,
        }
    }
}

impl From<&ChannelWrite> for Write {
    fn from(write: &ChannelWrite) -> Self {
        Self {
            channel: write.channel.clone(),
            value: write.value.clone().into(),
        }
    }
}

impl From<Write> for ChannelWrite {
    fn from(write: Write) -> Self {
        Self::new(write.channel, write.value.into())
    }
}

impl From<PendingWrite> for Pending {
    fn from(write: PendingWrite) -> Self {
        Self {
            task_id: write.task_id,
            task_path: write.task_path,
            idx: write.idx,
            channel: write.channel,
            value: write.value.into(),
        }
    }
}

impl From<Pending> for PendingWrite {
    fn from(write: Pending) -> Self {
        Self {
            task_id: write.task_id,
            task_path: write.task_path,
            idx: write.idx,
            channel: write.channel,
            value: write.value.into(),
        }
    }
}

impl From<CheckpointTuple> for CheckpointAndWrites {
    fn from(tuple: CheckpointTuple) -> Self {
        Self {
            config: Config::from(&tuple.config),
            checkpoint: tuple.checkpoint.to_json(),
            metadata: tuple.metadata.to_json(),
            parent_config: tuple.parent_config.as_ref().map(Config::from),
            pending_writes: tuple
                .pending_writes
                .into_iter()
                .map(Pending::from)
                .collect(),
        }
    }
}

impl TryFrom<CheckpointAndWrites> for CheckpointTuple {
    type Error = Error;

    fn try_from(tuple: CheckpointAndWrites) -> Result<Self> {
        let parent = tuple.parent_config.map(CheckpointConfig::try_from);
        Ok(Self {
            config: tuple.config.try_into()?,
            checkpoint: Checkpoint::from_json(tuple.checkpoint.bytes().clone())?,
            metadata: CheckpointMetadata::from_json(tuple.metadata.bytes().clone())?,
            parent_config: parent.transpose()?,
            pending_writes: tuple
                .pending_writes
                .into_iter()
                .map(PendingWrite::from)
                .collect(),
        })
    }
}

impl From<DeltaChannelHistory> for History {
    fn from(history: DeltaChannelHistory) -> Self {
        Self {
            writes: history.writes.into_iter().map(Pending::from).collect(),
            seed: history.seed,
            seed_checkpoint: history.seed_checkpoint.map(|seed| seed.to_json()),
        }
    }
}

impl TryFrom<History> for DeltaChannelHistory {
    type Error = Error;

    fn try_from(history: History) -> Result<Self> {
        let seed_checkpoint = history.seed_checkpoint;
        let seed_checkpoint = seed_checkpoint.map(|one| Checkpoint::from_json(one.bytes().clone()));
        Ok(Self {
            writes: history.writes.into_iter().map(PendingWrite::from).collect(),
            seed: history.seed,
            seed_checkpoint: seed_checkpoint.transpose()?,
        })
    }
}

impl From<ThreadSummary> for Summary {
    fn from(summary: ThreadSummary) -> Self {
        Self {
            thread_id: summary.thread_id,
            checkpoints: summary.checkpoints,
            newest: summary.newest,
            ttl_ms: summary.ttl.map(milliseconds),
            status: None,
            waiting: None,
            failed: None,
            bytes: None,
        }
    }
}

#[cfg(feature = "server")]
impl From<ListedThread> for Summary {
    fn from(thread: ListedThread) -> Self {
        let known = thread.status.is_some();
        Self {
            status: thread.status.map(Status::from),
            waiting: known.then_some(thread.is_waiting),
            failed: known.then_some(thread.has_failed),
            bytes: thread.bytes,
            ..Self::from(thread.summary)
        }
    }
}

#[cfg(feature = "server")]
impl From<status::Status> for Status {
    fn from(status: status::Status) -> Self {
        match status {
            status::Status::Idle => Self::Idle,
            status::Status::Unfinished => Self::Unfinished,
            status::Status::Interrupted => Self::Interrupted,
            status::Status::Error => Self::Error,
        }
    }
}

#[cfg(feature = "server")]
impl From<Sort> for threads::Sort {
    fn from(sort: Sort) -> Self {
        match sort {
            Sort::Newest => Self::Newest,
            Sort::Checkpoints => Self::Checkpoints,
            Sort::Size => Self::Size,
            Sort::Expiry => Self::Expiry,
        }
    }
}

impl From<Summary> for ThreadSummary {
    fn from(summary: Summary) -> Self {
        let ttl = summary.ttl_ms.map(Duration::from_millis);
        Self::new(summary.thread_id, summary.checkpoints, summary.newest, ttl)
    }
}

impl From<&Error> for Fault {
    fn from(error: &Error) -> Self {
        let kind = Cow::Borrowed(error.kind());
        match error {
            Error::InvalidInput { field, reason, .. } => Self {
                kind,
                field: Some(field.clone()),
                reason: Some(reason.clone()),
                ..Self::default()
            },
            Error::TooLarge { what, size, limit } => Self {
                kind,
                what: Some(what.clone()),
                size: Some(*size),
                limit: Some(*limit),
                ..Self::default()
            },
            Error::Conflict { what, reason } => Self {
                kind,
                what: Some(what.clone()),
                reason: Some(reason.clone()),
                ..Self::default()
            },
            Error::Timeout { limit, .. } => Self {
                kind,
                limit: usize::try_from(milliseconds(*limit)).ok(),
                ..Self::default()
            },
            _ => Self {
                kind,
                ..Self::default()
            },
        }
    }
}
