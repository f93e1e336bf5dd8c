//! The status of a thread, in LangGraph's words.

use serde::Serialize;

use super::interrupts::{self, OpenInterrupt};
use super::read::newest;
use super::tasks::{next, tasks};
use super::values::{self, Readable};
use crate::checkpoint::CheckpointTuple;
use crate::error::Result;
use crate::id::{CheckpointNamespace, TaskId, ThreadId};
use crate::saver::CheckpointSaver;

/// The status of a thread, as LangGraph's `ThreadStatus`, but for `busy`: whether a process runs a
/// thread is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// Nothing is left to run.
    Idle,
    /// Nodes are left to run, without an interrupt or an error: a run goes on, was stopped (at a
    /// static breakpoint, by a limit of steps) or has died. Which of them is not stored.
    Unfinished,
    /// A task waits for an answer.
    Interrupted,
    /// A task has failed.
    Error,
}

impl Status {
    /// The word for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Unfinished => "unfinished",
            Self::Interrupted => "interrupted",
            Self::Error => "error",
        }
    }
}

/// What a checkpoint says of the run that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ThreadState {
    pub(crate) status: Status,
    /// The interrupts at which tasks wait.
    pub(crate) interrupts: Vec<OpenInterrupt>,
    /// The tasks that have failed.
    pub(crate) errors: Vec<TaskError>,
    /// The nodes that are left to run, `?` for one whose name is not stored, as LangGraph's
    /// `StateSnapshot.next`.
    pub(crate) next: Vec<String>,
}

impl ThreadState {
    /// Whether a task waits for an answer that nobody has given, also where another has failed.
    pub(crate) fn is_waiting(&self) -> bool {
        self.interrupts.iter().any(|interrupt| !interrupt.answered)
    }

    /// Whether a task has failed.
    pub(crate) fn has_failed(&self) -> bool {
        !self.errors.is_empty()
    }
}

/// A task that has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TaskError {
    pub(crate) task_id: TaskId,
    /// The node that failed; `None` if the checkpoint does not say.
    pub(crate) node: Option<String>,
    /// The exception.
    pub(crate) error: Readable,
}

/// What a checkpoint says of its run: that of a thread is its newest root checkpoint's.
///
/// A failed task comes before one that waits, as LangGraph's server has it; a failure that was
/// handed to the node's error handler is none.
pub(crate) fn of_checkpoint(tuple: &CheckpointTuple) -> ThreadState {
    let step = tasks(tuple);
    let failed = |task: &&super::tasks::Task<'_>| !task.finished && !task.handled;
    let errors: Vec<TaskError> = step
        .tasks
        .iter()
        .filter(failed)
        .filter_map(|task| {
            Some(TaskError {
                task_id: task.id.clone(),
                node: task.node(tuple),
                error: values::readable(&task.error?.value),
            })
        })
        .collect();
    let mut state = ThreadState {
        status: Status::Idle,
        interrupts: interrupts::of_checkpoint(tuple),
        errors,
        next: next(tuple, &step),
    };
    state.status = if state.has_failed() {
        Status::Error
    } else if state.is_waiting() {
        Status::Interrupted
    } else if !state.next.is_empty() || !step.tasks.is_empty() {
        // A step is open as long as a newer checkpoint has not taken in its writes.
        Status::Unfinished
    } else {
        Status::Idle
    };
    state
}

/// The state of a thread; `None` if it has no root checkpoint. Nothing's TTL is refreshed.
///
/// # Errors
/// As [`CheckpointSaver::list`].
pub(crate) async fn of_thread(
    saver: &dyn CheckpointSaver,
    thread_id: &ThreadId,
) -> Result<Option<ThreadState>> {
    let root = newest(saver, thread_id, &CheckpointNamespace::root()).await?;
    Ok(root.as_ref().map(of_checkpoint))
}
