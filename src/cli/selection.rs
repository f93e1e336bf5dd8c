//! Which threads a command is for.

use clap::Args;
use futures_util::TryStreamExt;

use super::context::Context;
use super::failure::{Failure, Outcome};
use super::text::{count, shown, shown_namespace};
use crate::id::{CheckpointNamespace, ThreadId};
use crate::saver::{CheckpointSaver, ThreadSummary};

/// Threads by name, by how their ids start, or all.
#[derive(Args)]
pub(crate) struct Selection {
    /// The threads
    #[arg(value_name = "THREAD")]
    threads: Vec<String>,
    /// Every thread whose id starts so
    #[arg(long, value_name = "TEXT", conflicts_with = "threads")]
    starting_with: Option<String>,
    /// Every thread there is
    #[arg(long, conflicts_with_all = ["threads", "starting_with"])]
    all: bool,
}

impl Selection {
    /// Whether nothing is said, neither names nor `--all`.
    pub(crate) fn is_empty(&self) -> bool {
        self.threads.is_empty() && self.starting_with.is_none() && !self.all
    }

    /// How the ids start of the threads that are meant where none is named.
    pub(crate) fn prefix(&self) -> &str {
        self.starting_with.as_deref().unwrap_or_default()
    }

    /// The threads, each once, in the order of their ids; a command that changes anything must
    /// have been told which.
    pub(crate) async fn required(&self, context: &Context) -> Outcome<Vec<ThreadSummary>> {
        if self.is_empty() {
            return Err(Failure::Usage(
                "no thread is named: name threads, or give --starting-with or --all".to_owned(),
            ));
        }
        self.resolve(context).await
    }

    /// The threads, each once, in the order of their ids; all if nothing is said. One that was named and is not there is a failure, before anything
    /// is done to the others.
    pub(crate) async fn resolve(&self, context: &Context) -> Outcome<Vec<ThreadSummary>> {
        let mut found: Vec<ThreadSummary> = if self.threads.is_empty() {
            complete(context).await?;
            context.saver.threads(self.prefix()).try_collect().await?
        } else {
            let mut found = Vec::with_capacity(self.threads.len());
            for thread in &self.threads {
                found.push(named(context, &context.thread_id(thread)?).await?);
            }
            found
        };
        found.sort_by(|one, other| one.thread_id.cmp(&other.thread_id));
        found.dedup_by(|one, other| one.thread_id == other.thread_id);
        Ok(found)
    }
}

/// Fails if the index does not know all checkpoints, so that some threads would be missing from what
/// is done to all.
pub(crate) async fn complete(context: &Context) -> Outcome {
    let Some(lacking) = context.saver.search_lacks().await? else {
        return Ok(());
    };
    let (index, _) = context.saver.prefixes();
    Err(Failure::Unhealthy(format!(
        "the index {} knows {} of {}, so threads would be missing: run `langgraph-redis doctor --fix --rebuild-indexes`, or give --search off",
        shown(index),
        lacking.indexed,
        count(lacking.stored, "checkpoint")
    )))
}

/// A thread that must be there, if only with writes that wait for a checkpoint.
pub(crate) async fn named(context: &Context, thread_id: &ThreadId) -> Outcome<ThreadSummary> {
    if let Some(summary) = context.saver.thread(thread_id).await? {
        return Ok(summary);
    }
    let early = context.saver.early_writes(thread_id).try_next().await?;
    match early {
        Some(early) => Ok(ThreadSummary::new(thread_id.clone(), 0, None, early.ttl)),
        None => Err(no_such_thread(thread_id)),
    }
}

/// The failure of naming a thread that is not there.
pub(crate) fn no_such_thread(thread_id: &ThreadId) -> Failure {
    Failure::NotFound(format!(
        "there is no thread {}; `langgraph-redis threads` lists those there are under the prefixes given",
        shown(thread_id.as_str())
    ))
}

/// The failure of naming a namespace without checkpoints.
pub(crate) fn no_checkpoint(thread_id: &ThreadId, namespace: &CheckpointNamespace) -> Failure {
    Failure::NotFound(format!(
        "thread {} has no checkpoint in the namespace {}",
        shown(thread_id.as_str()),
        shown_namespace(namespace),
    ))
}
