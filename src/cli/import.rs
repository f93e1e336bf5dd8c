//! `import`: stores what `export` wrote.
//!
//! A file is read twice: it is verified to its end, then stored. A pipe is verified as it is read: a
//! thread of up to [`MAX_BATCH_BYTES`] is verified before any of it is stored; a longer one is stored
//! in batches of that size, and its digest is verified afterwards.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::path::PathBuf;

use clap::Args;
use futures_util::stream::{self, TryStreamExt};
use serde_json::json;
use tokio::sync::mpsc;

use super::context::Context;
use super::export::cannot;
use super::failure::{Failure, Outcome};
use super::json_eq::json_eq;
use super::output::note;
use super::progress::Meter;
use super::record::{Counts, Item, Trailer};
use super::text::{count, shown};
use super::ttl::{TtlArgs, TtlRule};
use super::verify::{Event, Line, Verifier, next_line};
use crate::RedisSaver;
use crate::checkpoint::{CheckpointTuple, PendingWrite};
use crate::config::CheckpointConfig;
use crate::id::CheckpointNamespace;
use crate::redis::{EarlyWrites, PutBlob, TimedCheckpoint};
use crate::saver::CheckpointSaver;

/// How much of a thread is held in memory, in bytes of the export.
const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;
/// How many checkpoints are stored concurrently.
const CONCURRENCY: usize = 16;

/// Store what `export` wrote and is not stored yet
///
/// Idempotent: an interrupted import can be run again. Everything gets the TTL that remained when
/// it was exported, unless --ttl or --forever is given.
#[derive(Args)]
#[allow(clippy::struct_excessive_bools)] // Each is a flag of its own.
pub(crate) struct Import {
    /// The file [default: stdin]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Import the complete threads of a truncated file
    #[arg(long, requires = "file")]
    resume: bool,
    #[command(flatten)]
    ttl: TtlArgs,
    /// Replace existing checkpoints and writes that differ
    #[arg(long)]
    replace: bool,
    /// Do not ask for confirmation; for --replace
    #[arg(long)]
    yes: bool,
    /// Only verify the file
    #[arg(long)]
    dry_run: bool,
}

/// The result of an import.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    threads: u64,
    stored: Counts,
    /// Checkpoints that exist already, with all their writes.
    there: u64,
    /// Blobs that exist with another content and stay.
    other_blobs: u64,
}

/// The result for one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stored,
    There,
    /// Another value exists and stays.
    Other,
}

impl Import {
    pub(crate) async fn run(self, context: &mut Context) -> Outcome {
        if self.file.is_none() && io::stdin().is_terminal() {
            return Err(Failure::Usage(
                "there is nothing to import: give a file, or pipe the output of `export`"
                    .to_owned(),
            ));
        }
        self.ttl.rule(&context.settings)?;
        if self.replace && !self.dry_run {
            let what = "would replace existing checkpoints and writes that differ";
            context.confirm(self.yes, what).await?;
        }
        // A file is verified to its end before anything is stored.
        let mut complete_threads = None;
        let mut first_pass = None;
        if let Some(path) = &self.file {
            let verifier = self.check(path).await?;
            if !verifier.is_complete() && !self.resume {
                return Err(Failure::Damaged(format!(
                    "{} is truncated{}: `export --resume` completes it, `import --resume` imports its {}",
                    shown(&path.display().to_string()),
                    in_the_middle_of(&verifier),
                    count(verifier.threads, "complete thread")
                )));
            }
            complete_threads = Some(verifier.threads);
            first_pass = Some(verifier);
        }
        if !self.dry_run {
            context.saver.setup().await?;
        }
        let tally = if let (true, Some(verifier)) = (self.dry_run, &first_pass) {
            Tally {
                threads: verifier.threads,
                stored: verifier.all.counts,
                ..Tally::default()
            }
        } else {
            self.import(context, complete_threads).await?
        };
        self.say(context, tally)?;
        match first_pass.filter(|verifier| !verifier.is_complete()) {
            Some(verifier) => Err(Failure::Damaged(format!(
                "the file was cut{}: its {} done, the rest is missing",
                in_the_middle_of(&verifier),
                if verifier.threads == 1 {
                    "one whole thread is".to_owned()
                } else {
                    format!("{} are", count(verifier.threads, "complete thread"))
                }
            ))),
            None => Ok(()),
        }
    }

    async fn check(&self, path: &PathBuf) -> Outcome<Verifier> {
        let file = File::open(path).map_err(|error| cannot("read", path, &error))?;
        let mut lines = lines_of(BufReader::new(file));
        let mut verifier = Verifier::default();
        let meter = Meter::spinner("records verified");
        while let Some(line) = lines.recv().await {
            match line.map_err(|error| cannot("read", path, &error))? {
                Line::Complete(line) => {
                    verifier.take(&line)?;
                    meter.add(1);
                }
                Line::Truncated => break,
            }
        }
        Ok(verifier)
    }

    /// Stores the input; of a file at most `max_threads` threads, because it may be truncated.
    async fn import(&self, context: &mut Context, max_threads: Option<u64>) -> Outcome<Tally> {
        let mut lines = match &self.file {
            Some(path) => {
                let file = File::open(path).map_err(|error| cannot("read", path, &error))?;
                lines_of(BufReader::new(file))
            }
            None => lines_of(BufReader::new(io::stdin())),
        };
        let mut verifier = Verifier::default();
        let mut tally = Tally::default();
        let mut held = Held::default();
        let meter = Meter::spinner("checkpoints imported");
        while max_threads.is_none_or(|max| tally.threads < max) {
            let line = match lines.recv().await {
                Some(Ok(Line::Complete(line))) => line,
                Some(Ok(Line::Truncated)) | None => break,
                Some(Err(error)) => {
                    return Err(Failure::File(format!("cannot read the input: {error}")));
                }
            };
            match verifier
                .take(&line)
                .map_err(|failure| held.failed(failure))?
            {
                Event::Start(_) | Event::Done(Trailer { .. }) => {}
                Event::Item(item) => {
                    meter.add(item.counts().checkpoints);
                    held.bytes += line.len();
                    if let Item::Blob(blob) = &item {
                        held.with_blobs.insert(blob.namespace.clone());
                    }
                    held.items.push(item);
                    if held.bytes > MAX_BATCH_BYTES {
                        self.store(context, &mut held, &mut tally).await?;
                        held.partly_stored = true;
                    }
                }
                Event::ThreadDone(_) => {
                    self.store(context, &mut held, &mut tally).await?;
                    held.partly_stored = false;
                    held.with_blobs.clear();
                    tally.threads += 1;
                }
            }
        }
        if self.file.is_none() && !verifier.is_complete() {
            let failure = Failure::Damaged(format!(
                "the input is truncated{}, after {}",
                in_the_middle_of(&verifier),
                count(tally.threads, "complete thread")
            ));
            return Err(held.failed(failure));
        }
        Ok(tally)
    }

    /// Stores the held items of a thread.
    async fn store(&self, context: &Context, held: &mut Held, tally: &mut Tally) -> Outcome {
        held.bytes = 0;
        let items = std::mem::take(&mut held.items);
        // Blobs first, so that a reader of a checkpoint finds them.
        let (blobs, others) = items
            .into_iter()
            .partition(|item| matches!(item, Item::Blob(_)));
        let with_blobs = &held.with_blobs;
        self.store_all(context, blobs, with_blobs, tally).await?;
        self.store_all(context, others, with_blobs, tally).await
    }

    async fn store_all(
        &self,
        context: &Context,
        items: Vec<Item>,
        with_blobs: &HashSet<CheckpointNamespace>,
        tally: &mut Tally,
    ) -> Outcome {
        let saver = &context.saver;
        let rule = self.ttl.rule(&context.settings)?;
        let stored = stream::iter(items.into_iter().map(Ok::<_, Failure>))
            .map_ok(|item| async move {
                let counts = item.counts();
                let fate = if self.dry_run {
                    Fate::Stored
                } else {
                    self.store_one(saver, item, with_blobs, rule).await?
                };
                Ok((counts, fate))
            })
            .try_buffer_unordered(CONCURRENCY);
        stored
            .try_fold(tally, |tally, (counts, fate)| async move {
                match fate {
                    Fate::Stored => tally.stored += counts,
                    Fate::There => tally.there += counts.checkpoints,
                    Fate::Other => tally.other_blobs += counts.blobs,
                }
                Ok(tally)
            })
            .await
            .map(|_| ())
    }

    /// Stores one item unless it exists.
    async fn store_one(
        &self,
        saver: &RedisSaver,
        item: Item,
        with_blobs: &HashSet<CheckpointNamespace>,
        rule: TtlRule,
    ) -> Outcome<Fate> {
        match item {
            Item::Blob(blob) => {
                return Ok(
                    match saver.put_timed_blob(&blob, rule.ttl(blob.ttl)).await? {
                        PutBlob::Stored => Fate::Stored,
                        PutBlob::There => Fate::There,
                        PutBlob::Differs => {
                            note(&format!(
                                "langgraph-redis: warning: thread {} has another blob of channel {} at version {}, which is kept",
                                shown(blob.thread_id.as_str()),
                                shown(&blob.blob.channel),
                                shown(&blob.blob.version),
                            ));
                            Fate::Other
                        }
                    },
                );
            }
            Item::Checkpoint(checkpoint) => {
                let TimedCheckpoint { tuple, ttl } = *checkpoint;
                if let Some(found) = saver.get_tuple(&tuple.config).await? {
                    let state = state_difference(&found, &tuple);
                    let writes = &tuple.pending_writes;
                    let difference = state.or_else(|| difference(&found.pending_writes, writes));
                    if !self.is_missing(&tuple.config, difference, &found.pending_writes, writes)? {
                        return Ok(Fate::There);
                    }
                }
                let namespace = tuple.config.namespace();
                let named = with_blobs
                    .contains(&namespace)
                    .then(|| (tuple.config.thread_id.clone(), tuple.checkpoint.clone()));
                saver.put_tuple(tuple, rule.ttl(ttl)).await?;
                if let Some((thread_id, checkpoint)) = named {
                    saver
                        .keep_blobs(&thread_id, &namespace, &checkpoint, rule.ttl(ttl))
                        .await?;
                }
            }
            Item::Writes(EarlyWrites {
                config,
                writes,
                ttl,
            }) => {
                let found = stored_writes(saver, &config).await?;
                let difference = difference(&found, &writes);
                if !self.is_missing(&config, difference, &found, &writes)? {
                    return Ok(Fate::There);
                }
                // They belong to their checkpoint even if it was stored since the export.
                saver
                    .put_pending_writes(&config, &writes, rule.ttl(ttl))
                    .await?;
            }
        }
        Ok(Fate::Stored)
    }

    /// Whether something is missing; fails if something that exists differs and is not replaced.
    fn is_missing(
        &self,
        config: &CheckpointConfig,
        difference: Option<String>,
        found: &[PendingWrite],
        writes: &[PendingWrite],
    ) -> Outcome<bool> {
        match difference {
            Some(difference) if !self.replace => Err(conflict(config, &difference)),
            Some(_) => Ok(true),
            None => Ok(writes
                .iter()
                .any(|write| same_place(found, write).is_none())),
        }
    }

    fn say(&self, context: &mut Context, tally: Tally) -> Outcome {
        if context.output.is_json() {
            return context.output.json(&json!({
                "threads": tally.threads,
                "checkpoints": tally.stored.checkpoints,
                "writes": tally.stored.writes,
                "blobs": tally.stored.blobs,
                "there_already": tally.there,
                "other_blobs": tally.other_blobs,
                "imported": !self.dry_run,
            }));
        }
        let what = format!(
            "{} with {}",
            count(tally.threads, "thread"),
            tally.stored.text()
        );
        if self.dry_run {
            let line = format!("{what} verified; nothing was imported");
            return context.output.line(line);
        }
        let mut parts = vec![format!("imported {what}")];
        if tally.there > 0 {
            let were = if tally.there == 1 { "was" } else { "were" };
            let there = count(tally.there, "checkpoint");
            parts.push(format!("{there} {were} stored already"));
        }
        if tally.other_blobs > 0 {
            let others = count(tally.other_blobs, "blob");
            parts.push(format!("{others} skipped, because others exist"));
        }
        context.output.line(parts.join("; "))
    }
}

/// The items of a thread that are not stored yet.
#[derive(Debug, Default)]
struct Held {
    items: Vec<Item>,
    bytes: usize,
    partly_stored: bool,
    /// The namespaces of the thread that have blobs.
    with_blobs: HashSet<CheckpointNamespace>,
}

impl Held {
    /// Notes that the thread of a failure was stored in part.
    fn failed(&self, failure: Failure) -> Failure {
        if self.partly_stored {
            note(
                "the thread was stored in part: delete the thread, or import it again from an intact export",
            );
        }
        failure
    }
}

fn in_the_middle_of(verifier: &Verifier) -> String {
    verifier.open_thread().map_or_else(String::new, |thread| {
        format!(" in the middle of thread {}", shown(thread.as_str()))
    })
}

/// The stored writes of a checkpoint, which may not exist itself.
async fn stored_writes(
    saver: &RedisSaver,
    config: &CheckpointConfig,
) -> Outcome<Vec<PendingWrite>> {
    if let Some(tuple) = saver.get_tuple(config).await? {
        return Ok(tuple.pending_writes);
    }
    let mut early = saver.early_writes(&config.thread_id);
    while let Some(found) = early.try_next().await? {
        if found.config == *config {
            return Ok(found.writes);
        }
    }
    Ok(Vec::new())
}

/// How an existing checkpoint differs from the imported one.
fn state_difference(found: &CheckpointTuple, tuple: &CheckpointTuple) -> Option<String> {
    let parent = |tuple: &CheckpointTuple| tuple.parent_config.as_ref()?.checkpoint_id.clone();
    let what = if !json_eq(&found.checkpoint.to_json(), &tuple.checkpoint.to_json()) {
        "whose state differs"
    } else if !json_eq(&found.metadata.to_json(), &tuple.metadata.to_json()) {
        "whose metadata differs"
    } else if parent(found) != parent(tuple) {
        "whose parent differs"
    } else {
        return None;
    };
    Some(what.to_owned())
}

/// How existing writes differ from the imported ones; missing ones do not count.
fn difference(found: &[PendingWrite], writes: &[PendingWrite]) -> Option<String> {
    let differs =
        |write: &&PendingWrite| same_place(found, write).is_some_and(|found| found != *write);
    let write = writes.iter().find(differs)?;
    Some(format!(
        "whose write {} of task {} differs",
        write.idx,
        shown(write.task_id.as_str())
    ))
}

fn same_place<'a>(found: &'a [PendingWrite], write: &PendingWrite) -> Option<&'a PendingWrite> {
    found
        .iter()
        .find(|one| one.task_id == write.task_id && one.idx == write.idx)
}

fn conflict(config: &CheckpointConfig, difference: &str) -> Failure {
    let id = config.checkpoint_id.as_ref().map_or("", |id| id.as_str());
    Failure::Conflict(format!(
        "thread {} has a checkpoint {} {difference}: --replace replaces it",
        shown(config.thread_id.as_str()),
        shown(id),
    ))
}

/// Reads lines on a separate thread, so that Ctrl-C is handled while a pipe is idle.
fn lines_of(mut reader: impl BufRead + Send + 'static) -> mpsc::Receiver<io::Result<Line>> {
    let (sender, receiver) = mpsc::channel(2);
    std::thread::spawn(move || {
        while let Some(line) = next_line(&mut reader).transpose() {
            let last = !matches!(line, Ok(Line::Complete(_)));
            if sender.blocking_send(line).is_err() || last {
                return;
            }
        }
    });
    receiver
}
