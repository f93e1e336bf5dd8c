//! `import`: what `export` wrote, into any store.
//!
//! A file is read twice: first it is checked to its end, then it is written. A pipe is checked as
//! it comes: a thread of up to [`BATCH`] bytes is whole and checked before any of it is written,
//! a longer one is written in such pieces, and its digest is known only afterwards.

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
use super::ttl::{Lifetime, Rule};
use super::verify::{Checker, Event, Line, next_line};
use crate::RedisSaver;
use crate::checkpoint::{CheckpointTuple, PendingWrite};
use crate::config::CheckpointConfig;
use crate::id::CheckpointNamespace;
use crate::redis::{EarlyWrites, PutBlob, TimedCheckpoint};
use crate::saver::CheckpointSaver;

/// How much of a thread is held, in bytes of the export.
const BATCH: usize = 8 * 1024 * 1024;
/// How many checkpoints are written at once.
const AT_ONCE: usize = 16;

/// Read what `export` wrote, and store what is not there yet
///
/// May be repeated, also after it was ended: what is there already is left alone. Everything gets
/// the time that it had left when it was exported, unless --ttl or --forever is given.
#[derive(Args)]
#[allow(clippy::struct_excessive_bools)] // Each is a flag of its own.
pub(crate) struct Import {
    /// The file [default: stdin]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Take the whole threads of a file that was cut
    #[arg(long, requires = "file")]
    resume: bool,
    #[command(flatten)]
    lifetime: Lifetime,
    /// Replace checkpoints and writes that are there and differ
    #[arg(long)]
    replace: bool,
    /// Do it without asking; for --replace
    #[arg(long)]
    yes: bool,
    /// Only check that the file is what was exported
    #[arg(long)]
    dry_run: bool,
}

/// What an import came to.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    threads: u64,
    stored: Counts,
    /// Checkpoints that were there already, with all their writes.
    there: u64,
    /// Blobs of which there were others already, which stay.
    other_blobs: u64,
}

/// What became of one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stored,
    There,
    /// Something else is in its place, and stays.
    Other,
}

impl Import {
    pub(crate) async fn run(self, context: &mut Context) -> Outcome {
        if self.file.is_none() && io::stdin().is_terminal() {
            return Err(Failure::Usage(
                "there is nothing to import: give a file, or a pipe from `export`".to_owned(),
            ));
        }
        self.lifetime.rule(&context.settings)?;
        if self.replace && !self.dry_run {
            let what = "would replace checkpoints and writes that are there and differ";
            context.confirm(self.yes, what).await?;
        }
        // A file is checked to its end before anything is written.
        let mut whole_threads = None;
        let mut first_pass = None;
        if let Some(path) = &self.file {
            let checker = self.check(path).await?;
            if !checker.is_whole() && !self.resume {
                return Err(Failure::Damaged(format!(
                    "{} was cut{}: `export --resume` completes it, `import --resume` takes its {}",
                    shown(&path.display().to_string()),
                    in_the_middle_of(&checker),
                    count(checker.threads, "whole thread")
                )));
            }
            whole_threads = Some(checker.threads);
            first_pass = Some(checker);
        }
        if !self.dry_run {
            context.saver.setup().await?;
        }
        let tally = if let (true, Some(checker)) = (self.dry_run, &first_pass) {
            Tally {
                threads: checker.threads,
                stored: checker.all.counts,
                ..Tally::default()
            }
        } else {
            self.import(context, whole_threads).await?
        };
        self.say(context, tally)?;
        match first_pass.filter(|checker| !checker.is_whole()) {
            Some(checker) => Err(Failure::Damaged(format!(
                "the file was cut{}: its {} done, the rest is missing",
                in_the_middle_of(&checker),
                if checker.threads == 1 {
                    "one whole thread is".to_owned()
                } else {
                    format!("{} are", count(checker.threads, "whole thread"))
                }
            ))),
            None => Ok(()),
        }
    }

    async fn check(&self, path: &PathBuf) -> Outcome<Checker> {
        let file = File::open(path).map_err(|error| cannot("read", path, &error))?;
        let mut lines = lines_of(BufReader::new(file));
        let mut checker = Checker::default();
        let meter = Meter::spinner("records checked");
        while let Some(line) = lines.recv().await {
            match line.map_err(|error| cannot("read", path, &error))? {
                Line::Whole(line) => {
                    checker.take(&line)?;
                    meter.add(1);
                }
                Line::Cut => break,
            }
        }
        Ok(checker)
    }

    /// Stores what the input holds; of a file only so many whole threads, as it may be cut.
    async fn import(&self, context: &mut Context, max_threads: Option<u64>) -> Outcome<Tally> {
        let mut lines = match &self.file {
            Some(path) => {
                let file = File::open(path).map_err(|error| cannot("read", path, &error))?;
                lines_of(BufReader::new(file))
            }
            None => lines_of(BufReader::new(io::stdin())),
        };
        let mut checker = Checker::default();
        let mut tally = Tally::default();
        let mut held = Held::default();
        let meter = Meter::spinner("checkpoints imported");
        while max_threads.is_none_or(|most| tally.threads < most) {
            let line = match lines.recv().await {
                Some(Ok(Line::Whole(line))) => line,
                Some(Ok(Line::Cut)) | None => break,
                Some(Err(error)) => {
                    return Err(Failure::File(format!("the input cannot be read: {error}")));
                }
            };
            match checker
                .take(&line)
                .map_err(|failure| held.spoiled(failure))?
            {
                Event::Start(_) | Event::Done(Trailer { .. }) => {}
                Event::Item(item) => {
                    meter.add(item.counts().checkpoints);
                    held.bytes += line.len();
                    if let Item::Blob(blob) = &item {
                        held.with_blobs.insert(blob.namespace.clone());
                    }
                    held.items.push(item);
                    if held.bytes > BATCH {
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
        if self.file.is_none() && !checker.is_whole() {
            let failure = Failure::Damaged(format!(
                "the input was cut{}, after {}",
                in_the_middle_of(&checker),
                count(tally.threads, "whole thread")
            ));
            return Err(held.spoiled(failure));
        }
        Ok(tally)
    }

    /// Stores what is held of a thread.
    async fn store(&self, context: &Context, held: &mut Held, tally: &mut Tally) -> Outcome {
        held.bytes = 0;
        let items = std::mem::take(&mut held.items);
        // A checkpoint that can be read finds its blobs.
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
        let rule = self.lifetime.rule(&context.settings)?;
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
            .try_buffer_unordered(AT_ONCE);
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

    /// Stores one item unless it is there.
    async fn store_one(
        &self,
        saver: &RedisSaver,
        item: Item,
        with_blobs: &HashSet<CheckpointNamespace>,
        rule: Rule,
    ) -> Outcome<Fate> {
        match item {
            Item::Blob(blob) => {
                return Ok(
                    match saver.put_timed_blob(&blob, rule.ttl(blob.ttl)).await? {
                        PutBlob::Stored => Fate::Stored,
                        PutBlob::There => Fate::There,
                        PutBlob::Differs => {
                            note(&format!(
                                "langgraph-redis: warning: thread {} has another blob of channel {} at version {}, which stays",
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
                let found = writes_there(saver, &config).await?;
                let difference = difference(&found, &writes);
                if !self.is_missing(&config, difference, &found, &writes)? {
                    return Ok(Fate::There);
                }
                // If their checkpoint has come in the meantime they join it.
                saver
                    .put_pending_writes(&config, &writes, rule.ttl(ttl))
                    .await?;
            }
        }
        Ok(Fate::Stored)
    }

    /// Whether something of what comes is to be stored, and nothing is in its way.
    fn is_missing(
        &self,
        config: &CheckpointConfig,
        difference: Option<String>,
        found: &[PendingWrite],
        writes: &[PendingWrite],
    ) -> Outcome<bool> {
        match difference {
            Some(difference) if !self.replace => Err(in_the_way(config, &difference)),
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
            tally.stored.told()
        );
        if self.dry_run {
            let line = format!("{what} are what was exported; nothing was imported");
            return context.output.line(line);
        }
        let mut parts = vec![format!("imported {what}")];
        if tally.there > 0 {
            let were = if tally.there == 1 { "was" } else { "were" };
            let there = count(tally.there, "checkpoint");
            parts.push(format!("{there} {were} there already"));
        }
        if tally.other_blobs > 0 {
            let others = count(tally.other_blobs, "blob");
            parts.push(format!("{others} left out, as others were there"));
        }
        context.output.line(parts.join("; "))
    }
}

/// What is held of a thread until it is stored.
#[derive(Debug, Default)]
struct Held {
    items: Vec<Item>,
    bytes: usize,
    partly_stored: bool,
    /// The namespaces of the thread that have blobs.
    with_blobs: HashSet<CheckpointNamespace>,
}

impl Held {
    /// What went wrong, and what became of the thread that it went wrong in.
    fn spoiled(&self, failure: Failure) -> Failure {
        if self.partly_stored {
            note(
                "a part of the thread was stored before that was known: delete the thread, or import it again from a whole export",
            );
        }
        failure
    }
}

fn in_the_middle_of(checker: &Checker) -> String {
    checker.open_thread().map_or_else(String::new, |thread| {
        format!(" in the middle of thread {}", shown(thread.as_str()))
    })
}

/// The writes that there are for a checkpoint, which may not be there itself.
async fn writes_there(saver: &RedisSaver, config: &CheckpointConfig) -> Outcome<Vec<PendingWrite>> {
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

/// How the checkpoint that is there is another than the one that comes.
fn state_difference(found: &CheckpointTuple, tuple: &CheckpointTuple) -> Option<String> {
    let parent = |tuple: &CheckpointTuple| tuple.parent_config.as_ref()?.checkpoint_id.clone();
    let what = if !json_eq(&found.checkpoint.to_json(), &tuple.checkpoint.to_json()) {
        "its state is another"
    } else if !json_eq(&found.metadata.to_json(), &tuple.metadata.to_json()) {
        "its metadata is other"
    } else if parent(found) != parent(tuple) {
        "its parent is another"
    } else {
        return None;
    };
    Some(what.to_owned())
}

/// How writes that are there contradict those that come; what is merely missing does not.
fn difference(found: &[PendingWrite], writes: &[PendingWrite]) -> Option<String> {
    let differs =
        |write: &&PendingWrite| same_place(found, write).is_some_and(|found| found != *write);
    let write = writes.iter().find(differs)?;
    Some(format!(
        "the write {} of its task {} is another",
        write.idx,
        shown(write.task_id.as_str())
    ))
}

fn same_place<'a>(found: &'a [PendingWrite], write: &PendingWrite) -> Option<&'a PendingWrite> {
    found
        .iter()
        .find(|one| one.task_id == write.task_id && one.idx == write.idx)
}

fn in_the_way(config: &CheckpointConfig, difference: &str) -> Failure {
    let id = config.checkpoint_id.as_ref().map_or("", |id| id.as_str());
    Failure::Conflict(format!(
        "thread {} has another checkpoint {}, {difference}: --replace takes that of the export",
        shown(config.thread_id.as_str()),
        shown(id),
    ))
}

/// Reads lines on a thread of its own, so that Ctrl-C is heard while a pipe is quiet.
fn lines_of(mut reader: impl BufRead + Send + 'static) -> mpsc::Receiver<io::Result<Line>> {
    let (sender, receiver) = mpsc::channel(2);
    std::thread::spawn(move || {
        while let Some(line) = next_line(&mut reader).transpose() {
            let last = !matches!(line, Ok(Line::Whole(_)));
            if sender.blocking_send(line).is_err() || last {
                return;
            }
        }
    });
    receiver
}
