//! What the pages read: nothing's TTL is refreshed by being looked at.

use std::time::SystemTime;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::failure::Failure;
use super::site::Shared;
use crate::checkpoint::CheckpointTuple;
use crate::config::CheckpointConfig;
use crate::diagnostics::{Diagnostics, ThreadSize};
use crate::error::{Error, Result};
use crate::id::{CheckpointNamespace, ThreadId};
use crate::inspect::status::{self, ThreadState};
use crate::inspect::{read, time};
use crate::saver::ThreadSummary;

/// How many threads are read at the same time.
const CONCURRENT: usize = 8;

/// A thread as the list of threads shows it.
#[derive(Debug)]
pub(super) struct Overview {
    pub(super) summary: ThreadSummary,
    /// What its newest root checkpoint says; `None` if it has none.
    pub(super) newest: Option<Newest>,
    /// Why the newest checkpoint cannot be shown.
    pub(super) unreadable: bool,
    pub(super) size: Option<ThreadSize>,
}

/// What a newest checkpoint says.
#[derive(Debug)]
pub(super) struct Newest {
    pub(super) state: ThreadState,
    pub(super) made: Option<SystemTime>,
    /// How many bytes its values have.
    pub(super) bytes: u64,
}

impl Shared {
    /// What the store says of itself.
    pub(super) fn diagnostics(&self) -> Option<&dyn Diagnostics> {
        self.saver.get_ref().diagnostics()
    }

    /// The summary of a thread that must exist.
    pub(super) async fn summary(&self, thread: &ThreadId) -> Result<ThreadSummary, Failure> {
        let summary = self.saver.get_ref().summary(thread).await?;
        summary.ok_or_else(Failure::no_such_thread)
    }

    /// Reads a checkpoint, or the newest of its namespace.
    pub(super) async fn look(&self, config: &CheckpointConfig) -> Result<Option<CheckpointTuple>> {
        read::look(&self.saver, config).await
    }

    /// Reads a checkpoint that must exist.
    pub(super) async fn checkpoint(
        &self,
        config: &CheckpointConfig,
    ) -> Result<CheckpointTuple, Failure> {
        let found = self.look(config).await?;
        found.ok_or_else(Failure::no_such_checkpoint)
    }

    /// Reads threads together, in their order; one that cannot be read says so.
    pub(super) async fn overviews(&self, threads: Vec<ThreadSummary>) -> Result<Vec<Overview>> {
        stream::iter(threads)
            .map(|summary| self.overview(summary))
            .buffered(CONCURRENT)
            .try_collect()
            .await
    }

    async fn overview(&self, summary: ThreadSummary) -> Result<Overview> {
        let root = CheckpointConfig {
            checkpoint_ns: Some(CheckpointNamespace::root()),
            ..CheckpointConfig::of_thread(summary.thread_id.clone())
        };
        let size = async {
            match self.diagnostics() {
                Some(diagnostics) => diagnostics.size_of(&summary.thread_id).await,
                None => Ok(None),
            }
        };
        let (newest, size) = tokio::join!(self.look(&root), size);
        let (newest, unreadable) = match newest {
            Ok(newest) => (newest, false),
            Err(error) if hides_its_thread_alone(&error) => (None, true),
            Err(error) => return Err(error),
        };
        let size = match size {
            Err(error) if hides_its_thread_alone(&error) => None,
            size => size?,
        };
        Ok(Overview {
            newest: newest.as_ref().map(Newest::of),
            unreadable,
            size,
            summary,
        })
    }
}

/// Whether an error is about what is stored of one thread.
pub(super) fn hides_its_thread_alone(error: &Error) -> bool {
    matches!(error, Error::WrongType { .. } | Error::Corrupt { .. })
}

impl Newest {
    pub(super) fn of(tuple: &CheckpointTuple) -> Self {
        Self {
            state: status::of_checkpoint(tuple),
            made: time::made(&tuple.checkpoint),
            bytes: state_bytes(tuple),
        }
    }
}

/// How many bytes the values of a checkpoint have.
pub(super) fn state_bytes(tuple: &CheckpointTuple) -> u64 {
    let values = tuple.checkpoint.fields().get("channel_values");
    values.map_or(0, |values| values.bytes().len() as u64)
}
