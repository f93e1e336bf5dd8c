//! `threads`: lists threads.

use std::sync::Arc;

use clap::{Args, ValueEnum};
use futures_util::{FutureExt, TryStreamExt};
use serde_json::{Map, Value, json};

use super::context::Context;
use super::failure::Outcome;
use super::output::Output;
use super::progress::Meter;
use super::selection::require_complete_index;
use super::style::Ink;
use super::text::{bytes, duration, milliseconds, shown, time};
use crate::inspect::status::Status;
use crate::inspect::threads::{self, BytesOf, ListedThread, Query};
use crate::saver::CheckpointSaver;

/// How many threads are listed in an order that needs all of them, without a limit.
const SORTED: usize = 1_000;

/// List threads with the number of their checkpoints and their time to live
#[derive(Args)]
#[allow(clippy::struct_excessive_bools)] // Each is a flag.
pub(crate) struct Threads {
    /// Only threads whose ids start with this text
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    starting_with: String,
    /// Only threads that wait for an answer; with --failed, those that failed too
    #[arg(long)]
    waiting: bool,
    /// Only threads where a task has failed; with --waiting, those that wait too
    #[arg(long)]
    failed: bool,
    /// Show the status of each thread: its newest checkpoint is read
    #[arg(long)]
    status: bool,
    /// Show the memory that each thread takes: Redis is asked for each of its keys
    #[arg(long)]
    size: bool,
    /// The order; all but the newest look at every thread
    #[arg(long, value_enum, value_name = "ORDER", default_value = "newest")]
    sort: Sort,
    /// Only this many threads, those with the most checkpoints: --sort checkpoints --limit NUMBER
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["limit", "sort"])]
    top: Option<usize>,
    /// At most this many threads [default: all; in another order than the newest 1000]
    #[arg(long, value_name = "NUMBER")]
    limit: Option<usize>,
}

/// The order of threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sort {
    /// Those first that were written to last
    Newest,
    /// Those first that take the most memory
    Size,
    /// Those first that expire next
    Expiry,
    /// Those first that have the most checkpoints
    Checkpoints,
}

impl Sort {
    fn order(self) -> threads::Sort {
        match self {
            Self::Newest => threads::Sort::Newest,
            Self::Size => threads::Sort::Size,
            Self::Expiry => threads::Sort::Expiry,
            Self::Checkpoints => threads::Sort::Checkpoints,
        }
    }
}

impl Threads {
    pub(crate) async fn run(self, context: &mut Context) -> Outcome {
        require_complete_index(context).await?;
        let found = context.saver.threads(&self.starting_with);
        let query = self.query();
        let saver = context.saver.clone();
        let bytes_of: BytesOf = Arc::new(move |thread| {
            let saver = saver.clone();
            async move { saver.thread_bytes(&thread).await }.boxed()
        });
        let saver: Arc<dyn CheckpointSaver> = Arc::new(context.saver.clone());
        let mut threads = threads::threads(found, &saver, &bytes_of, query.clone());
        let output = &mut context.output;
        if !output.is_json() {
            let row = Row {
                checkpoints: "CHECKPOINTS",
                newest: "NEWEST (UTC)",
                left: "EXPIRES IN",
                bytes: query.reads_bytes().then_some("SIZE"),
                status: query.reads_status().then_some("STATUS"),
                thread: "THREAD",
            };
            row.say(output, Ink::Heading, Ink::Heading)?;
        }
        let meter = (query.sort != threads::Sort::Newest).then(|| Meter::spinner("threads"));
        let first = threads.try_next().await?;
        drop(meter);
        let mut next = first;
        while let Some(thread) = next {
            say(output, &query, &thread)?;
            next = threads.try_next().await?;
        }
        Ok(())
    }

    fn query(self) -> Query {
        let sort = match self.top {
            Some(_) => threads::Sort::Checkpoints,
            None => self.sort.order(),
        };
        let all = match sort {
            threads::Sort::Newest => usize::MAX,
            _ => SORTED,
        };
        Query {
            waiting: self.waiting,
            failed: self.failed,
            status: self.status,
            bytes: self.size,
            sort,
            limit: self.top.or(self.limit).unwrap_or(all),
        }
    }
}

/// A line of the table.
struct Row<'a> {
    checkpoints: &'a str,
    newest: &'a str,
    left: &'a str,
    bytes: Option<&'a str>,
    status: Option<&'a str>,
    thread: &'a str,
}

impl Row<'_> {
    fn say(&self, output: &mut Output, ink: Ink, status_ink: Ink) -> Outcome {
        let Self {
            checkpoints,
            newest,
            left,
            thread,
            ..
        } = self;
        let start = format!("{checkpoints:>11}  {newest:<19}  {left:<12}  ");
        let bytes = self.bytes.map(|bytes| format!("{bytes:>10}  "));
        let status = self.status.map(|status| format!("{status:<11}  "));
        output.spans(&[
            (ink, &start),
            (ink, bytes.as_deref().unwrap_or_default()),
            (status_ink, status.as_deref().unwrap_or_default()),
            (ink, thread),
        ])
    }
}

fn say(output: &mut Output, query: &Query, thread: &ListedThread) -> Outcome {
    if output.is_json() {
        return output.json(&document(query, thread));
    }
    let summary = &thread.summary;
    let newest = summary.newest.as_ref();
    let status_ink = match thread.status {
        Some(Status::Interrupted) => Ink::Attention,
        Some(Status::Error) => Ink::Bad,
        _ => Ink::Plain,
    };
    let size = thread.bytes.map_or_else(|| "-".to_owned(), bytes);
    let row = Row {
        checkpoints: &summary.checkpoints.to_string(),
        newest: &newest.map_or_else(|| "-".to_owned(), |id| time(id, None)),
        left: &summary.ttl.map_or_else(|| "never".to_owned(), duration),
        bytes: query.reads_bytes().then_some(&size),
        status: query
            .reads_status()
            .then_some(thread.status.map_or("-", Status::as_str)),
        thread: &shown(summary.thread_id.as_str()),
    };
    row.say(output, Ink::Plain, status_ink)
}

/// A thread in JSON: the status and the bytes only if they were asked for.
fn document(query: &Query, thread: &ListedThread) -> Map<String, Value> {
    let summary = &thread.summary;
    let mut document = Map::from_iter([
        ("thread_id".to_owned(), json!(summary.thread_id)),
        ("checkpoints".to_owned(), json!(summary.checkpoints)),
        ("newest".to_owned(), json!(summary.newest)),
        ("ttl_ms".to_owned(), json!(summary.ttl.map(milliseconds))),
    ]);
    if query.reads_status() {
        document.insert("status".to_owned(), json!(thread.status));
        document.insert("waiting".to_owned(), json!(thread.is_waiting));
        document.insert("failed".to_owned(), json!(thread.has_failed));
    }
    if query.reads_bytes() {
        document.insert("bytes".to_owned(), json!(thread.bytes));
    }
    document
}
