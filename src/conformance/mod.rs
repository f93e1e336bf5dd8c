//! The conformance suite: what every [`CheckpointSaver`] must do, as cases to run.
//!
//! It covers the behaviours that LangGraph's own conformance package checks, and beyond them what
//! [`CheckpointSaver`] promises: exact ids, exact values, atomic and repeatable writes, TTLs.
//!
//! Each case uses threads with random names, so that all cases can run at the same time, on a
//! store that holds other things as well, and leaves nothing that another one would see. A saver
//! of your own is checked like this:
//!
//! ```
//! use std::sync::Arc;
//! use langgraph_checkpoint_redis::conformance::{self, Group, Subject};
//! use langgraph_checkpoint_redis::{CheckpointSaver, MemorySaver};
//!
//! # #[tokio::main]
//! # async fn main() {
//! let subject = Subject::new(|ttl| async move {
//!     Ok(Arc::new(MemorySaver::with_ttl(ttl)?) as Arc<dyn CheckpointSaver>)
//! });
//! let report = conformance::run(&subject, |case| case.group() == Group::Put).await;
//! assert!(report.passed(), "{report}");
//! # }
//! ```
//!
//! Under a test harness, make each of [`cases`] a test of its own and let it await
//! [`Case::run`].
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod concurrency;
mod delete;
mod delta;
mod exact;
mod fixture;
mod get_tuple;
mod hostile_ids;
mod list;
mod maintenance;
mod prune;
mod put;
mod put_writes;
pub mod replay;
mod report;
mod ttl;
mod values;

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use tokio::sync::OnceCell;

use crate::error::{Error, Result};
use crate::options::TtlPolicy;
use crate::saver::CheckpointSaver;

pub use report::{Outcome, Report};

/// How long a case may take.
const TIME_LIMIT: Duration = Duration::from_secs(60);
/// How many cases [`run`] runs at the same time.
const AT_ONCE: usize = 8;

/// The subject of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Group {
    /// Storing checkpoints.
    Put,
    /// Storing writes.
    PutWrites,
    /// Reading one checkpoint.
    GetTuple,
    /// Listing checkpoints.
    List,
    /// Deleting threads.
    DeleteThread,
    /// Deleting by run.
    DeleteForRuns,
    /// Copying threads.
    CopyThread,
    /// Removing old checkpoints.
    Prune,
    /// The history of delta channels.
    DeltaChannelHistory,
    /// Listing threads.
    Threads,
    /// Ids that are easily mistaken for others.
    HostileIds,
    /// Values that are easily changed by a codec.
    Values,
    /// Calls at the same time, and calls that are dropped.
    Concurrency,
    /// TTLs.
    Ttl,
}

impl fmt::Display for Group {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Put => "put",
            Self::PutWrites => "put_writes",
            Self::GetTuple => "get_tuple",
            Self::List => "list",
            Self::DeleteThread => "delete_thread",
            Self::DeleteForRuns => "delete_for_runs",
            Self::CopyThread => "copy_thread",
            Self::Prune => "prune",
            Self::DeltaChannelHistory => "delta_channel_history",
            Self::Threads => "threads",
            Self::HostileIds => "hostile_ids",
            Self::Values => "values",
            Self::Concurrency => "concurrency",
            Self::Ttl => "ttl",
        })
    }
}

/// One behaviour, and the code that checks it.
#[derive(Clone, Copy)]
pub struct Case {
    name: &'static str,
    group: Group,
    check: fn(Subject) -> BoxFuture<'static, ()>,
}

impl Case {
    /// The behaviour.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What it is about.
    #[must_use]
    pub fn group(&self) -> Group {
        self.group
    }

    /// Checks the behaviour, for a minute at most.
    ///
    /// # Panics
    /// If the saver behaves otherwise; the message names the difference.
    pub async fn run(&self, subject: &Subject) {
        let check = (self.check)(subject.clone());
        let done = tokio::time::timeout(TIME_LIMIT, check).await;
        assert!(done.is_ok(), "it was not done after {TIME_LIMIT:?}");
    }

    /// Checks the behaviour and returns the result.
    pub async fn outcome(&self, subject: &Subject) -> Outcome {
        let start = Instant::now();
        let result = AssertUnwindSafe(self.run(subject)).catch_unwind().await;
        Outcome::new(
            *self,
            start.elapsed(),
            result.err().map(|panic| message(&*panic)),
        )
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}::{}", self.group, self.name)
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("it panicked without a message")
        .to_owned()
}

/// Makes the table of a module's cases.
macro_rules! case_table {
    ($($group:ident { $($name:ident,)* })*) => {
        pub(super) const CASES: &[super::Case] = &[$($(
            super::Case {
                name: stringify!($name),
                group: super::Group::$group,
                check: |subject| Box::pin($name(subject)),
            },
        )*)*];
    };
}
use case_table;

/// All cases, by group.
#[must_use]
pub fn cases() -> &'static [Case] {
    static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
        let mut cases = [
            put::CASES,
            put_writes::CASES,
            get_tuple::CASES,
            list::CASES,
            delete::CASES,
            maintenance::CASES,
            prune::CASES,
            delta::CASES,
            hostile_ids::CASES,
            values::CASES,
            concurrency::CASES,
            ttl::CASES,
        ]
        .concat();
        cases.sort_by_key(Case::group);
        cases
    });
    &CASES
}

/// Runs the cases that pass a filter, some at the same time.
pub async fn run(subject: &Subject, filter: impl Fn(&Case) -> bool) -> Report {
    let chosen: Vec<Case> = cases().iter().copied().filter(filter).collect();
    let outcomes = stream::iter(chosen)
        .map(|case| async move { case.outcome(subject).await })
        .buffered(AT_ONCE)
        .collect()
        .await;
    Report::new(outcomes)
}

type Factory =
    dyn Fn(TtlPolicy) -> BoxFuture<'static, Result<Arc<dyn CheckpointSaver>>> + Send + Sync;

/// The saver that is checked: a way to make it with a TTL policy.
///
/// Savers that it makes must share their store, or each have one that is empty at first. The one
/// without a TTL is made once.
#[derive(Clone)]
pub struct Subject {
    make: Arc<Factory>,
    without_ttl: Arc<OnceCell<Arc<dyn CheckpointSaver>>>,
}

impl Subject {
    /// A subject that is made by a function.
    pub fn new<M, F>(make: M) -> Self
    where
        M: Fn(TtlPolicy) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Arc<dyn CheckpointSaver>>> + Send + 'static,
    {
        Self {
            make: Arc::new(move |ttl| make(ttl).boxed()),
            without_ttl: Arc::default(),
        }
    }

    /// The saver that keeps things for ever.
    async fn saver(&self) -> Arc<dyn CheckpointSaver> {
        let made = self
            .without_ttl
            .get_or_init(|| self.with_ttl(TtlPolicy::default()))
            .await;
        Arc::clone(made)
    }

    /// A new saver that keeps things for a time.
    async fn with_ttl(&self, ttl: TtlPolicy) -> Arc<dyn CheckpointSaver> {
        let saver = self.with_ttl_if_taken(ttl).await;
        saver.expect("the saver does not take the policy")
    }

    /// The same; `None` if it refuses the scope of the policy.
    async fn with_ttl_if_taken(&self, ttl: TtlPolicy) -> Option<Arc<dyn CheckpointSaver>> {
        let saver = match (self.make)(ttl).await {
            Err(Error::Config { key, .. }) if key == "ttl_scope" => return None,
            saver => saver.expect("the saver cannot be made"),
        };
        saver.setup().await.expect("setup failed");
        Some(saver)
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Subject")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_case_has_a_name_of_its_own() {
        let names: BTreeSet<_> = cases().iter().map(Case::name).collect();
        assert_eq!(names.len(), cases().len());
    }
}
