//! The tasks of the super-step that is open at a checkpoint, by their pending writes.
//!
//! The rules are LangGraph's `pregel/_task_status.py`: a task has finished if and only if it has
//! written something else than what happened to it; it waits at its interrupt only while it has
//! not. The writes of the task of zeros are the step's input.

use std::collections::{BTreeMap, BTreeSet};

use super::values::{self, Readable};
use crate::checkpoint::{CheckpointTuple, PendingWrite};
use crate::codec::{RawJson, RawObject};
use crate::id::TaskId;

pub(super) const ERROR: &str = "__error__";
pub(super) const ERROR_SOURCE_NODE: &str = "__error_source_node__";
pub(super) const INTERRUPT: &str = "__interrupt__";
pub(super) const RESUME: &str = "__resume__";
/// The channel of the sends that the next step runs.
const TASKS: &str = "__pregel_tasks";
/// The task whose writes are the input of a step.
const NULL_TASK: &str = "00000000-0000-0000-0000-000000000000";

/// What follows the path of a failed task in that of its error handler's.
const HANDLER: &str = ", node_error_handler, ";

/// A task, by what it has written.
#[derive(Debug, Clone)]
pub(crate) struct Task<'a> {
    pub(crate) id: &'a TaskId,
    pub(crate) path: &'a str,
    /// The newest question that it asked, answered or not.
    pub(crate) interrupt: Option<&'a PendingWrite>,
    /// The answers that it has taken.
    pub(crate) resume: Option<&'a PendingWrite>,
    /// How it failed.
    pub(crate) error: Option<&'a PendingWrite>,
    /// Whether its failure was handed to the node's error handler.
    pub(crate) handled: bool,
    /// Whether it ran to its end.
    pub(crate) finished: bool,
}

/// The tasks of a step.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tasks<'a> {
    /// In the order of their writes.
    pub(crate) tasks: Vec<Task<'a>>,
    /// An answer that was given without naming its interrupt.
    pub(crate) resume: Option<&'a PendingWrite>,
}

/// The tasks that have written at a checkpoint.
pub(crate) fn tasks(tuple: &CheckpointTuple) -> Tasks<'_> {
    let mut found = Tasks::default();
    for write in &tuple.pending_writes {
        if write.task_id.as_str() == NULL_TASK {
            if write.channel == RESUME {
                found.resume = Some(write);
            }
            continue;
        }
        if is_call(&write.task_path) {
            continue;
        }
        let known = found
            .tasks
            .iter()
            .position(|task| *task.id == write.task_id);
        let position = known.unwrap_or_else(|| {
            found.tasks.push(Task {
                id: &write.task_id,
                path: &write.task_path,
                interrupt: None,
                resume: None,
                error: None,
                handled: false,
                finished: false,
            });
            found.tasks.len() - 1
        });
        let task = &mut found.tasks[position];
        if task.path.is_empty() {
            task.path = &write.task_path;
        }
        match write.channel.as_str() {
            INTERRUPT => task.interrupt = Some(write),
            RESUME => task.resume = Some(write),
            ERROR => task.error = Some(write),
            ERROR_SOURCE_NODE => task.handled = true,
            _ => task.finished = true,
        }
    }
    found
}

impl Task<'_> {
    /// The node that the task runs, as its path names it: the node itself, or the position of the
    /// send that the checkpoint holds; of a node's error handler, the node. `None` if the
    /// writer gave no path.
    pub(crate) fn node(&self, tuple: &CheckpointTuple) -> Option<String> {
        match Place::of(self.path)? {
            Place::Pull(node) => Some(node.to_owned()),
            Place::Push(position) => sends(tuple).into_iter().nth(position).flatten(),
        }
    }

    /// The path of the task, or of the one whose failure it handles; the id where there is none.
    fn origin(&self) -> &str {
        let handled = self.path.split_once(HANDLER).map(|(path, _)| path);
        match handled.unwrap_or(self.path) {
            "" => self.id.as_str(),
            path => path,
        }
    }

    /// The position of the send that the task runs.
    fn send(&self) -> Option<usize> {
        match Place::of(self.path)? {
            Place::Pull(_) => None,
            Place::Push(position) => Some(position),
        }
    }
}

/// Whether a task is a call of a function by another task, whose path is in its own: what becomes
/// of it is what becomes of its caller, which LangGraph's `get_state` names alone.
fn is_call(path: &str) -> bool {
    path.starts_with("~__pregel_push, ~")
}

/// Where a task comes from, as LangGraph's `task_path_str` writes it.
enum Place<'a> {
    /// A node that a channel triggered.
    Pull(&'a str),
    /// A send, by its position.
    Push(usize),
}

impl<'a> Place<'a> {
    fn of(path: &'a str) -> Option<Self> {
        if let Some(node) = path.strip_prefix("~__pregel_pull, ") {
            let handled = node.split_once(HANDLER);
            return Some(Self::Pull(handled.map_or(node, |(node, _)| node)));
        }
        let rest = path.strip_prefix("~__pregel_push, ")?;
        let number = rest.split(", ").next()?;
        number.parse().ok().map(Self::Push)
    }
}

/// The nodes of the sends that a checkpoint holds, in their order; `None` for what is no send.
fn sends(tuple: &CheckpointTuple) -> Vec<Option<String>> {
    let Some(Readable::Json(list)) = values::channel(&tuple.checkpoint, TASKS) else {
        return Vec::new();
    };
    let Ok(list) = list.decode::<Vec<RawJson>>() else {
        return Vec::new();
    };
    let node = |send: &RawJson| -> Option<String> {
        let form = RawObject::parse(send.bytes().clone()).ok()?;
        let inner = form.get("kwargs").or_else(|| form.get("node"))?;
        match inner.bytes().first() {
            Some(b'{') => RawObject::parse(inner.bytes().clone())
                .ok()?
                .get("node")?
                .decode()
                .ok(),
            _ => inner.decode().ok(),
        }
    };
    list.iter().map(node).collect()
}

/// The nodes that still have to run in the step after a checkpoint, as far as the checkpoint says:
/// LangGraph asks the graph, which is not stored.
///
/// A node is to run if a channel that names it has a value that it has not seen
/// (`branch:to:NODE`, a join whose nodes have all come, `__start__`), if a send names it, or if its
/// task has written something and has not finished. A node of a graph that was made of channels by
/// hand is not found before its task writes.
pub(crate) fn next(tuple: &CheckpointTuple, tasks: &Tasks<'_>) -> Vec<String> {
    let mut next: Vec<String> = Vec::new();
    let mut pulled: BTreeSet<String> = BTreeSet::new();
    let mut pushed: BTreeSet<usize> = BTreeSet::new();
    let mut unfinished: BTreeMap<&str, Option<String>> = BTreeMap::new();
    for task in &tasks.tasks {
        let node = task.node(tuple);
        match (task.send(), &node) {
            (Some(position), _) => drop(pushed.insert(position)),
            (None, Some(node)) => drop(pulled.insert(node.clone())),
            (None, None) => {}
        }
        if !task.finished {
            unfinished.insert(task.origin(), node);
        }
    }
    // A task that failed is done when its error handler is.
    for task in tasks.tasks.iter().filter(|task| task.finished) {
        unfinished.remove(task.origin());
    }
    next.extend(unfinished.into_values().map(or_unknown));
    for node in triggered(tuple) {
        // An entrypoint is triggered by `__start__` but has a name of its own.
        let started = node == START && !pulled.is_empty();
        if !started && !pulled.contains(&node) {
            next.push(node);
        }
    }
    let sends = sends(tuple);
    // Where the value is stored apart, the checkpoint says that there are sends, not which.
    let stored_apart = values::channel(&tuple.checkpoint, TASKS).is_none();
    if stored_apart && pushed.is_empty() && updated(tuple).iter().any(|channel| channel == TASKS) {
        next.push(or_unknown(None));
    }
    for (position, node) in sends.into_iter().enumerate() {
        if !pushed.contains(&position) {
            next.push(or_unknown(node));
        }
    }
    next
}

fn or_unknown(node: Option<String>) -> String {
    node.unwrap_or_else(|| "?".to_owned())
}

const START: &str = "__start__";

/// The nodes that channels of a checkpoint trigger.
fn triggered(tuple: &CheckpointTuple) -> BTreeSet<String> {
    let checkpoint = &tuple.checkpoint;
    let versions = checkpoint.channel_versions().unwrap_or_default();
    let seen = checkpoint.versions_seen().unwrap_or_default();
    let mut available: BTreeSet<String> = updated(tuple).into_iter().collect();
    let values = checkpoint.channel_values().unwrap_or_default();
    available.extend(values.iter().map(|(channel, _)| channel.to_owned()));
    let mut nodes = BTreeSet::new();
    for channel in &available {
        let Some(node) = triggers(channel, values.get(channel)) else {
            continue;
        };
        let Some(version) = versions.get(channel) else {
            continue;
        };
        let known = if node == START {
            seen.values().any(|seen| seen.get(channel) == Some(version))
        } else {
            let seen = seen.get(node).and_then(|seen| seen.get(channel));
            seen == Some(version)
        };
        if !known {
            nodes.insert(node.to_owned());
        }
    }
    nodes
}

/// The channels that the step before a checkpoint gave a value.
fn updated(tuple: &CheckpointTuple) -> Vec<String> {
    let updated = tuple.checkpoint.fields().get("updated_channels");
    updated
        .and_then(|updated| updated.decode().ok())
        .unwrap_or_default()
}

/// The node that a channel with a value triggers, by the names that `StateGraph` gives.
fn triggers<'a>(channel: &'a str, value: Option<&RawJson>) -> Option<&'a str> {
    if channel == START {
        return Some(START);
    }
    if let Some(node) = channel.strip_prefix("branch:to:") {
        return Some(node);
    }
    // `join:a+b:c` holds which of its nodes have come.
    let (from, node) = channel.strip_prefix("join:")?.rsplit_once(':')?;
    let come: BTreeSet<String> = names(value?)?;
    let all: BTreeSet<String> = from.split('+').map(str::to_owned).collect();
    (come == all).then_some(node)
}

/// The texts of a list or of a stored set.
fn names(value: &RawJson) -> Option<BTreeSet<String>> {
    if let Ok(names) = value.decode() {
        return Some(names);
    }
    let form = RawObject::parse(value.bytes().clone()).ok()?;
    let arguments: Vec<BTreeSet<String>> = form.get("args")?.decode().ok()?;
    arguments.into_iter().next()
}
