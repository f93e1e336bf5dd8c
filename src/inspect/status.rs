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

#[cfg(test)]
mod tests {
    use super::super::recorded::Recorded;
    use super::*;
    use crate::checkpoint::Checkpoint;

    #[test]
    fn a_recorded_thread_has_the_status_that_its_run_ended_with() {
        let expected = |name: &str| match name {
            "chat"
            | "finished"
            | "answered"
            | "functional_finished"
            | "joins"
            | "handled_error" => Status::Idle,
            "static_breakpoint" | "step_limit" | "answered_then_killed" => Status::Unfinished,
            "error_and_interrupt" | "failed_error_handler" => Status::Error,
            _ => Status::Interrupted,
        };
        for (name, recorded) in Recorded::all() {
            let state = of_checkpoint(&recorded.root()[0]);
            assert_eq!(state.status, expected(&name), "{name}: {state:?}");
        }
    }

    #[test]
    fn the_nodes_to_run_are_those_that_langgraph_says() {
        for (name, recorded) in Recorded::all() {
            let mut said = recorded.langgraph.next.clone();
            let mut next = of_checkpoint(&recorded.root()[0]).next;
            said.sort();
            next.sort();
            assert_eq!(next, said, "{name}");
            // Before a task of the step has written anything.
            for (tuple, (id, said)) in recorded.root().iter().zip(&recorded.langgraph.history) {
                let mut tuple = tuple.clone();
                assert_eq!(tuple.checkpoint.id().as_str(), id);
                tuple.pending_writes.clear();
                let (mut next, mut said) = (of_checkpoint(&tuple).next, said.clone());
                if name.starts_with("functional") && !said.is_empty() {
                    // The name of an entrypoint is not stored before it has written something.
                    said = vec!["__start__".to_owned()];
                }
                next.sort();
                said.sort();
                assert_eq!(next, said, "{name}: {id}");
            }
        }
    }

    #[test]
    fn what_failed_is_what_langgraph_says_failed() {
        for (name, recorded) in Recorded::all() {
            if name == "error_handler_interrupt" {
                // It reads the failure, but not that its handler waits.
                continue;
            }
            let state = of_checkpoint(&recorded.root()[0]);
            let errors: Vec<_> = state
                .errors
                .iter()
                .map(|error| (error.node.clone().unwrap(), error.error.text().into_owned()))
                .collect();
            assert_eq!(errors, recorded.langgraph.errors, "{name}");
        }
    }

    #[test]
    fn a_thread_where_one_task_failed_and_another_waits_is_both() {
        let recorded = Recorded::load("error_and_interrupt");
        let state = of_checkpoint(&recorded.root()[0]);
        assert_eq!(state.status, Status::Error);
        assert!(state.is_waiting() && state.has_failed());
    }

    #[test]
    fn a_failure_whose_handler_waits_is_a_wait() {
        let recorded = Recorded::load("error_handler_interrupt");
        let state = of_checkpoint(&recorded.root()[0]);
        assert_eq!(state.status, Status::Interrupted);
        assert_eq!(state.interrupts[0].value.text(), "mend?");
        assert_eq!(state.interrupts[0].node.as_deref(), Some("bad"));
    }

    #[test]
    fn a_checkpoint_whose_values_are_stored_apart_has_not_finished_for_that() {
        // A client of the service stores the values of channels beside their checkpoint.
        for (name, next) in [("static_breakpoint", "b"), ("subgraph_interrupts", "?")] {
            let mut tuple = Recorded::load(name).root().remove(0);
            let mut fields = tuple.checkpoint.fields().clone();
            fields.remove("channel_values");
            tuple.checkpoint = Checkpoint::from_fields(fields).unwrap();
            tuple.pending_writes.clear();
            let state = of_checkpoint(&tuple);
            assert_eq!(
                (state.status, &state.next[..]),
                (Status::Unfinished, &[next.to_owned()][..])
            );
        }
    }

    #[test]
    fn an_answer_that_was_given_and_not_used_is_not_waited_for() {
        let recorded = Recorded::load("answered_then_killed");
        let state = of_checkpoint(&recorded.root()[0]);
        assert!(!state.is_waiting());
        assert!(state.interrupts[0].answered);
    }
}
