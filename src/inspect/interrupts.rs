//! Open interrupts: questions that a graph has asked and nobody has answered.

use std::collections::BTreeMap;
use std::time::SystemTime;

use futures_util::future::{BoxFuture, FutureExt};

use super::read::newest;
use super::tasks::{Task, tasks};
use super::values::{self, Readable};
use super::{python, time};
use crate::checkpoint::CheckpointTuple;
use crate::codec::{RawJson, RawObject};
use crate::config::CheckpointConfig;
use crate::error::Result;
use crate::id::{CheckpointId, CheckpointNamespace, TaskId};
use crate::saver::CheckpointSaver;

/// How deep subgraphs are followed to the node that asked.
const MAX_DEPTH: usize = 16;

/// A question that a task has asked, and waits at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpenInterrupt {
    /// The question.
    pub(crate) value: Readable,
    /// The id by which it is answered; LangGraph before 0.4 stored none.
    pub(crate) id: Option<String>,
    /// The JSON schema of the answer, if the graph gave one.
    pub(crate) response_schema: Option<RawJson>,
    /// The node that asked; `None` if the checkpoint does not say.
    pub(crate) node: Option<String>,
    pub(crate) task_id: TaskId,
    /// The namespace of the graph that asked.
    pub(crate) namespace: CheckpointNamespace,
    /// The checkpoint that the task started from.
    pub(crate) checkpoint_id: CheckpointId,
    /// When that checkpoint was made; the time of the question itself is not stored.
    pub(crate) since: Option<SystemTime>,
    /// Whether an answer was given that the task has not used up to now: a run goes on with it, or
    /// has died with it.
    pub(crate) answered: bool,
}

/// The interrupts at which tasks of a checkpoint wait, in the order of the tasks; those of its
/// subgraphs are among them, as LangGraph writes them at each level.
pub(crate) fn of_checkpoint(tuple: &CheckpointTuple) -> Vec<OpenInterrupt> {
    let step = tasks(tuple);
    let waiting = step.tasks.iter().filter(|task| !task.finished);
    waiting
        .flat_map(|task| {
            // Without an id an answer is for a task that has had none.
            let answered = step.resume.is_some() && task.resume.is_none();
            of_task(tuple, task, answered)
        })
        .collect()
}

fn of_task(tuple: &CheckpointTuple, task: &Task<'_>, answered: bool) -> Vec<OpenInterrupt> {
    let node = task.node(tuple);
    asked(task)
        .into_iter()
        .map(|question| OpenInterrupt {
            value: question.value,
            id: question.id,
            response_schema: question.response_schema,
            node: node.clone(),
            task_id: task.id.clone(),
            namespace: tuple.config.namespace(),
            checkpoint_id: tuple.checkpoint.id().clone(),
            since: time::made(&tuple.checkpoint),
            answered,
        })
        .collect()
}

/// The newest questions that a task asked, answered or not.
pub(crate) fn questions(task: &Task<'_>) -> Vec<Readable> {
    asked(task).into_iter().map(|one| one.value).collect()
}

fn asked(task: &Task<'_>) -> Vec<Question> {
    let Some(write) = task.interrupt else {
        return Vec::new();
    };
    match values::readable(&write.value) {
        Readable::Json(json) => match json.decode::<Vec<RawJson>>() {
            Ok(list) => list.iter().map(Question::of).collect(),
            Err(_) => vec![Question::of(&json)],
        },
        opaque @ Readable::Opaque { .. } => vec![Question {
            value: opaque,
            id: None,
            response_schema: None,
        }],
    }
}

/// LangGraph's `Interrupt`.
struct Question {
    value: Readable,
    id: Option<String>,
    response_schema: Option<RawJson>,
}

impl Question {
    /// As the Python saver stores it, `{"__interrupt__":true,"value":…,"id":…}`, or as the
    /// constructor that LangGraph's serializer writes; what is neither is the question itself.
    fn of(form: &RawJson) -> Self {
        let members = RawObject::parse(form.bytes().clone()).unwrap_or_default();
        let members = match members.get("kwargs") {
            Some(arguments) if values::is_constructor(&members, "Interrupt") => {
                RawObject::parse(arguments.bytes().clone()).unwrap_or_default()
            }
            _ if members.get("__interrupt__").is_some() => members,
            _ => RawObject::new(),
        };
        let text = |name: &str| members.get(name)?.decode::<String>().ok();
        let schema = members.get("response_schema");
        Self {
            value: Readable::Json(members.get("value").unwrap_or(form).clone()),
            // LangGraph 0.4 and 0.5 named it so.
            id: text("id").or_else(|| text("interrupt_id")),
            response_schema: schema.filter(|schema| schema.as_str() != "null").cloned(),
        }
    }
}

/// The interrupts at which the tasks of a checkpoint wait, each with the node and the namespace of
/// the innermost graph that asked. Reads the newest checkpoint of each subgraph that waits; nothing's
/// TTL is refreshed.
///
/// # Errors
/// As [`CheckpointSaver::list`].
pub(crate) async fn innermost(
    saver: &dyn CheckpointSaver,
    tuple: &CheckpointTuple,
) -> Result<Vec<OpenInterrupt>> {
    follow(saver, tuple, MAX_DEPTH).await
}

fn follow<'a>(
    saver: &'a dyn CheckpointSaver,
    tuple: &'a CheckpointTuple,
    depth: usize,
) -> BoxFuture<'a, Result<Vec<OpenInterrupt>>> {
    async move {
        let mut open = of_checkpoint(tuple);
        if depth == 0 {
            return Ok(open);
        }
        let mut asked: BTreeMap<(String, TaskId), Vec<OpenInterrupt>> = BTreeMap::new();
        for interrupt in &mut open {
            let (Some(node), Some(_)) = (&interrupt.node, &interrupt.id) else {
                continue;
            };
            let task = (node.clone(), interrupt.task_id.clone());
            if !asked.contains_key(&task) {
                let inner = subgraph(saver, tuple, node, &interrupt.task_id).await?;
                let inner = match &inner {
                    Some(inner) => follow(saver, inner, depth - 1).await?,
                    None => Vec::new(),
                };
                asked.insert(task.clone(), inner);
            }
            let inner = asked.get(&task).into_iter().flatten();
            if let Some(inner) = inner.clone().find(|inner| inner.id == interrupt.id) {
                let answered = interrupt.answered || inner.answered;
                *interrupt = inner.clone();
                interrupt.answered = answered;
            }
        }
        Ok(open)
    }
    .boxed()
}

/// The newest checkpoint of the subgraph that a task runs: of the namespace of the task, or of the
/// node if the subgraph keeps its state between runs.
async fn subgraph(
    saver: &dyn CheckpointSaver,
    tuple: &CheckpointTuple,
    node: &str,
    task_id: &TaskId,
) -> Result<Option<CheckpointTuple>> {
    let outer = tuple.config.namespace();
    let prefix = if outer.is_root() {
        String::new()
    } else {
        format!("{outer}|")
    };
    for name in [
        format!("{prefix}{node}:{task_id}"),
        format!("{prefix}{node}"),
    ] {
        // A name that cannot be a namespace's has no checkpoints.
        let Ok(namespace) = CheckpointNamespace::new(name) else {
            continue;
        };
        let found = newest(saver, &tuple.config.thread_id, &namespace).await?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// The config that resumes a thread, as a Python literal.
pub(crate) fn python_config(config: &CheckpointConfig) -> String {
    let thread = python::string(config.thread_id.as_str());
    format!("{{\"configurable\": {{\"thread_id\": {thread}}}}}")
}

/// The command that answers one of the open interrupts of a thread, as Python: `answer` is left to
/// be defined. `None` if it has no id and is not the only one, so that LangGraph would refuse it.
pub(crate) fn python_command(open: &[OpenInterrupt], interrupt: &OpenInterrupt) -> Option<String> {
    if open.len() == 1 {
        return Some("Command(resume=answer)".to_owned());
    }
    let id = python::string(interrupt.id.as_deref()?);
    Some(format!("Command(resume={{{id}: answer}})"))
}

#[cfg(test)]
mod tests {
    use super::super::recorded::Recorded;
    use super::*;

    #[test]
    fn the_open_interrupts_are_those_that_langgraph_says() {
        for (name, recorded) in Recorded::all() {
            if name == "error_handler_interrupt" {
                // It does not look at the tasks of error handlers.
                continue;
            }
            let open = of_checkpoint(&recorded.root()[0]);
            let open: BTreeMap<_, _> = open
                .into_iter()
                .map(|one| (one.id.unwrap(), one.value))
                .collect();
            let said: BTreeMap<_, _> = recorded
                .langgraph
                .interrupts
                .into_iter()
                .map(|one| (one.id, Readable::Json(one.value)))
                .collect();
            assert_eq!(open, said, "{name}");
        }
    }

    #[tokio::test]
    async fn an_interrupt_is_followed_to_the_innermost_graph_that_asked() {
        for (name, node, namespace) in [
            ("interrupt", "approve", ""),
            ("subgraph_interrupts", "wait", "middle:|inner:"),
            ("kept_subgraph_interrupt", "wait", "child"),
            ("functional_interrupt", "flow", ""),
        ] {
            let recorded = Recorded::load(name);
            let saver = recorded.saver().await;
            let open = innermost(&saver, &recorded.root()[0]).await.unwrap();
            assert_eq!(open.len(), recorded.langgraph.interrupts.len(), "{name}");
            for interrupt in open {
                assert_eq!(interrupt.node.as_deref(), Some(node), "{name}");
                let parts = interrupt.namespace.as_str().split('|');
                let graphs: Vec<_> = parts
                    .map(|part| part.find(':').map_or(part, |colon| &part[..=colon]))
                    .collect();
                assert_eq!(graphs.join("|"), namespace, "{name}");
                assert!(interrupt.since.is_some());
            }
        }
    }

    #[test]
    fn what_is_pasted_names_the_interrupt_only_where_there_are_several() {
        let one = Recorded::load("interrupt").root();
        let open = of_checkpoint(&one[0]);
        let command = python_command(&open, &open[0]).unwrap();
        assert_eq!(command, "Command(resume=answer)");

        let two = Recorded::load("two_interrupts").root();
        let open = of_checkpoint(&two[0]);
        let id = open[1].id.as_ref().unwrap();
        let command = python_command(&open, &open[1]).unwrap();
        assert_eq!(command, format!("Command(resume={{\"{id}\": answer}})"));

        let mut nameless = open.clone();
        nameless[0].id = None;
        assert_eq!(python_command(&nameless, &nameless[0]), None);
    }

    #[test]
    fn a_thread_cannot_break_out_of_the_config_that_is_pasted() {
        let config = CheckpointConfig::new("t\"}}) or evil({\n\u{202e}").unwrap();
        assert_eq!(
            python_config(&config),
            r#"{"configurable": {"thread_id": "t\"}}) or evil({\x0a\u202e"}}"#
        );
    }
}
