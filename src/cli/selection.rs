//! The threads and namespaces that a command is for.

use clap::Args;
use futures_util::TryStreamExt;

use super::context::Context;
use super::failure::{Failure, Outcome};
use super::text::{count, shown};
use crate::config::CheckpointConfig;
use crate::id::ThreadId;
use crate::saver::{CheckpointSaver, ThreadSummary};

/// Threads by id, by the prefix of their ids, or all.
#[derive(Args)]
pub(crate) struct Selection {
    /// The ids of the threads
    #[arg(value_name = "THREAD")]
    threads: Vec<String>,
    /// Every thread whose id starts with this text
    #[arg(long, value_name = "TEXT", conflicts_with = "threads")]
    starting_with: Option<String>,
    /// Every thread
    #[arg(long, conflicts_with_all = ["threads", "starting_with"])]
    all: bool,
}

impl Selection {
    /// Whether neither ids nor `--starting-with` nor `--all` are given.
    pub(crate) fn is_empty(&self) -> bool {
        self.threads.is_empty() && self.starting_with.is_none() && !self.all
    }

    /// The prefix of the ids if none is given in full.
    pub(crate) fn prefix(&self) -> &str {
        self.starting_with.as_deref().unwrap_or_default()
    }

    /// The ids if they are given in full, each of a thread that must exist; `None` if they are not,
    /// and it is left to a library call to find the threads. A command that changes something needs
    /// a selection.
    pub(crate) async fn named(&self, context: &Context) -> Outcome<Option<Vec<ThreadId>>> {
        if self.threads.is_empty() && !self.is_empty() {
            return Ok(None);
        }
        let found = self.required(context).await?;
        Ok(Some(found.into_iter().map(|one| one.thread_id).collect()))
    }

    /// The threads, each once, ordered by id; a command that changes something needs a selection.
    pub(crate) async fn required(&self, context: &Context) -> Outcome<Vec<ThreadSummary>> {
        if self.is_empty() {
            return Err(Failure::Usage(
                "no thread is given: give ids, --starting-with or --all".to_owned(),
            ));
        }
        self.resolve(context).await
    }

    /// The threads, each once, ordered by id; all if there is no selection. An id that does not
    /// exist is a failure before anything is changed.
    pub(crate) async fn resolve(&self, context: &Context) -> Outcome<Vec<ThreadSummary>> {
        let mut found: Vec<ThreadSummary> = if self.threads.is_empty() {
            require_complete_index(context).await?;
            context.saver.threads(self.prefix()).try_collect().await?
        } else {
            let mut found = Vec::with_capacity(self.threads.len());
            for thread in &self.threads {
                found.push(existing(context, &context.thread_id(thread)?).await?);
            }
            found
        };
        found.sort_by(|one, other| one.thread_id.cmp(&other.thread_id));
        found.dedup_by(|one, other| one.thread_id == other.thread_id);
        Ok(found)
    }
}

/// A thread, and a namespace of it.
#[derive(Args)]
pub(crate) struct NamespaceSelection {
    /// The id of the thread
    #[arg(value_name = "THREAD")]
    thread: String,
    /// The namespace; "" is the root graph's
    #[arg(
        long,
        value_name = "NAMESPACE",
        default_value = "",
        hide_default_value = true
    )]
    namespace: String,
}

impl NamespaceSelection {
    pub(crate) fn config(&self, context: &Context) -> Outcome<CheckpointConfig> {
        let mut config = CheckpointConfig::of_thread(context.thread_id(&self.thread)?);
        config.checkpoint_ns = Some(context.namespace(&self.namespace)?);
        Ok(config)
    }
}

/// Fails if the index lacks checkpoints, because a command for all threads would miss some.
pub(crate) async fn require_complete_index(context: &Context) -> Outcome {
    let Some(lacking) = context.saver.search_lacks().await? else {
        return Ok(());
    };
    let (index, _) = context.saver.prefixes();
    Err(Failure::Unhealthy(format!(
        "the index {} knows {} of {}, so threads would be missed: run `langgraph-redis doctor --fix --rebuild-indexes`, or use --search off",
        shown(index),
        lacking.indexed,
        count(lacking.stored, "checkpoint")
    )))
}

/// A thread that must exist, if only with writes that have no checkpoint yet.
pub(crate) async fn existing(context: &Context, thread_id: &ThreadId) -> Outcome<ThreadSummary> {
    if let Some(summary) = context.saver.thread(thread_id).await? {
        return Ok(summary);
    }
    let early = context.saver.early_writes(thread_id).try_next().await?;
    match early {
        Some(early) => Ok(ThreadSummary::new(thread_id.clone(), 0, None, early.ttl)),
        None => Err(Failure::no_such_thread(thread_id)),
    }
}
