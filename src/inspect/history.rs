//! The history of a thread: its steps, newest first, with the tree of its forks, and what became of
//! the tasks of each.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use futures_util::TryStreamExt;

use super::lanes::{Lanes, Place};
use super::values::readable;
use super::{interrupts, status, tasks, time};
use crate::checkpoint::CheckpointTuple;
use crate::config::CheckpointConfig;
use crate::error::Result;
use crate::id::{CheckpointId, CheckpointNamespace, RunId, TaskId, ThreadId};
use crate::options::ListOptions;
use crate::saver::CheckpointSaver;

/// The length to which questions and errors are cut, in characters.
const MAX_CHARS: usize = 400;

/// A checkpoint in a history. It holds nothing of the state, so that long histories stay small.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_field_names)] // LangGraph calls the number `step`.
pub(crate) struct Step {
    pub(crate) id: CheckpointId,
    pub(crate) parent: Option<CheckpointId>,
    pub(crate) namespace: CheckpointNamespace,
    /// Where it is in the tree of its namespace.
    pub(crate) place: Place,
    pub(crate) made: Option<SystemTime>,
    /// The time since its parent was made.
    pub(crate) took: Option<Duration>,
    /// What made it: `input`, `loop`, `update` or `fork`.
    pub(crate) source: Option<String>,
    /// The number of the step in its run, from -1.
    pub(crate) step: Option<i64>,
    pub(crate) run_id: Option<RunId>,
    /// The checkpoints of the graphs around a subgraph, by their namespaces, that it was called at.
    pub(crate) parents: BTreeMap<String, String>,
    /// The tasks that ran from this checkpoint, in the order of their writes.
    pub(crate) tasks: Vec<StepTask>,
    /// The nodes that were left to run when it was looked at.
    pub(crate) next: Vec<String>,
    pub(crate) status: status::Status,
    /// The length of the checkpoint as JSON.
    pub(crate) bytes: u64,
    /// The number of its pending writes.
    pub(crate) writes: usize,
}

/// A task that ran from a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StepTask {
    pub(crate) id: TaskId,
    /// The node; `None` if the checkpoint does not say.
    pub(crate) node: Option<String>,
    pub(crate) finished: bool,
    /// How it failed, cut to 400 characters. An error of a task that has finished is one that a
    /// later try made good.
    pub(crate) error: Option<String>,
    /// The newest questions that it asked, each cut to 400 characters, answered if it has finished.
    pub(crate) interrupts: Vec<String>,
}

impl Step {
    /// A checkpoint as a step; steps come newest first.
    pub(crate) fn of(tuple: &CheckpointTuple, lanes: &mut Lanes) -> Self {
        let checkpoint = &tuple.checkpoint;
        let parent = tuple.parent_config.as_ref();
        let parent = parent.and_then(|parent| parent.checkpoint_id.clone());
        let made = time::made(checkpoint);
        let before = parent.as_ref().and_then(CheckpointId::time);
        let state = status::of_checkpoint(tuple);
        let metadata = &tuple.metadata;
        let bytes = checkpoint.fields().iter();
        Self {
            id: checkpoint.id().clone(),
            place: lanes.place(checkpoint.id(), parent.as_ref()),
            took: made
                .zip(before)
                .and_then(|(made, before)| made.duration_since(before).ok()),
            parent,
            namespace: tuple.config.namespace(),
            made,
            source: metadata.get("source").ok().flatten(),
            step: metadata.get("step").ok().flatten(),
            run_id: metadata.get("run_id").ok().flatten(),
            parents: metadata.get("parents").ok().flatten().unwrap_or_default(),
            tasks: step_tasks(tuple),
            next: state.next,
            status: state.status,
            bytes: bytes.map(|(_, value)| value.bytes().len() as u64).sum(),
            writes: tuple.pending_writes.len(),
        }
    }
}

fn step_tasks(tuple: &CheckpointTuple) -> Vec<StepTask> {
    let step = tasks::tasks(tuple);
    step.tasks
        .iter()
        .map(|task| StepTask {
            id: task.id.clone(),
            node: task.node(tuple),
            finished: task.finished,
            error: task.error.map(|error| cut(&readable(&error.value).text())),
            interrupts: interrupts::questions(task)
                .iter()
                .map(|question| cut(&question.text()))
                .collect(),
        })
        .collect()
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// The history of a thread in all its namespaces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct History {
    /// The root graph's first if it has one, then the subgraphs' by their names.
    pub(crate) namespaces: Vec<NamespaceHistory>,
    /// Whether there are more checkpoints.
    pub(crate) is_cut: bool,
}

/// The history of one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamespaceHistory {
    pub(crate) namespace: CheckpointNamespace,
    /// Newest first.
    pub(crate) steps: Vec<Step>,
}

impl History {
    /// The steps of a namespace.
    pub(crate) fn steps(&self, namespace: &str) -> &[Step] {
        let found = self
            .namespaces
            .iter()
            .find(|one| one.namespace.as_str() == namespace);
        found.map_or(&[], |found| &found.steps)
    }

    /// The namespaces of the subgraphs that a step called: those whose first checkpoints say that
    /// they were called at it.
    pub(crate) fn called_by(&self, step: &Step) -> Vec<&NamespaceHistory> {
        let outer = step.namespace.as_str();
        let called = |one: &&NamespaceHistory| {
            outer_namespace(one.namespace.as_str()) == Some(outer)
                && one.steps.iter().any(|inner| {
                    let at = inner.parents.get(outer);
                    at.is_some_and(|at| at == step.id.as_str())
                })
        };
        self.namespaces.iter().filter(called).collect()
    }
}

/// The namespace of the graph around a subgraph; `None` of the root.
pub(crate) fn outer_namespace(namespace: &str) -> Option<&str> {
    if namespace.is_empty() {
        return None;
    }
    Some(namespace.rsplit_once('|').map_or("", |(outer, _)| outer))
}

/// The newest steps of a thread, at most `limit` of them, in all namespaces. Nothing's TTL is
/// refreshed.
///
/// # Errors
/// As [`CheckpointSaver::list`].
pub(crate) async fn of_thread(
    saver: &dyn CheckpointSaver,
    thread_id: &ThreadId,
    options: ListOptions,
    limit: usize,
) -> Result<History> {
    let config = CheckpointConfig::of_thread(thread_id.clone());
    // One more, to find out whether there are more.
    let options = options.with_limit(limit.saturating_add(1));
    let mut checkpoints = saver.list(Some(&config), options);
    let mut namespaces: BTreeMap<CheckpointNamespace, (Lanes, Vec<Step>)> = BTreeMap::new();
    let mut history = History::default();
    let mut left = limit;
    while let Some(tuple) = checkpoints.try_next().await? {
        if left == 0 {
            history.is_cut = true;
            break;
        }
        left -= 1;
        let (lanes, steps) = namespaces.entry(tuple.config.namespace()).or_default();
        steps.push(Step::of(&tuple, lanes));
    }
    history.namespaces = namespaces
        .into_iter()
        .map(|(namespace, (_, steps))| NamespaceHistory { namespace, steps })
        .collect();
    Ok(history)
}

#[cfg(test)]
mod tests {
    use super::super::recorded::Recorded;
    use super::*;

    async fn history(name: &str, limit: usize) -> History {
        let recorded = Recorded::load(name);
        let saver = recorded.saver().await;
        let thread = ThreadId::new(&recorded.thread_id).unwrap();
        let options = ListOptions::default();
        of_thread(&saver, &thread, options, limit).await.unwrap()
    }

    #[tokio::test]
    async fn subgraphs_are_under_the_step_that_called_them() {
        let history = history("subgraph_interrupts", 100).await;
        assert!(!history.is_cut);
        let root = history.steps("");
        assert_eq!(root.len(), 2);
        let called = history.called_by(&root[0]);
        assert_eq!(called.len(), 2, "{called:?}");
        for one in called {
            assert!(one.namespace.as_str().starts_with("middle:"));
            let inner = history.called_by(&one.steps[0]);
            assert_eq!(inner.len(), 1);
            assert!(inner[0].namespace.as_str().contains("|inner:"));
            assert_eq!(inner[0].steps[0].tasks[0].interrupts, ["inner?"]);
        }
        assert!(history.called_by(&root[1]).is_empty());
    }

    #[tokio::test]
    async fn a_step_tells_its_tasks_and_the_time_that_it_took() {
        let history = history("error_and_interrupt", 100).await;
        let newest = &history.steps("")[0];
        assert_eq!(newest.status, status::Status::Error);
        assert_eq!(
            (newest.step, newest.source.as_deref()),
            (Some(1), Some("loop"))
        );
        assert!(newest.took.is_some() && newest.bytes > 0);
        let said: Vec<_> = newest
            .tasks
            .iter()
            .map(|task| (task.node.as_deref().unwrap(), task.error.is_some()))
            .collect();
        assert_eq!(said, [("ask", false), ("bad", true)]);
        assert_eq!(newest.tasks[0].interrupts, ["and?"]);
    }

    #[tokio::test]
    async fn a_long_history_is_cut_and_says_so() {
        let history = history("step_limit", 2).await;
        assert!(history.is_cut);
        assert_eq!(history.steps("").len(), 2);
    }
}
