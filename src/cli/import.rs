//! `import`: stores what `export` wrote.
//!
//! A file is read twice: it is verified to its end, then stored. A pipe is verified as it is read:
//! a thread of up to 8 MiB is verified before any of it is stored; a longer one is stored in
//! batches of that size, and its digest is verified afterwards.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use tokio::sync::mpsc;

use super::context::Context;
use super::export::cannot;
use super::failure::{Failure, Outcome};
use super::item_store::{ItemStore, Tally};
use super::progress::Meter;
use super::record::Trailer;
use super::text::{count, shown};
use super::ttl::TtlArgs;
use super::verify::{Event, Line, Verifier, next_line};
use crate::saver::CheckpointSaver;

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
        let mut store = ItemStore::new(&context.saver, self.ttl.rule(&context.settings)?)
            .replacing(self.replace)
            .dry_run(self.dry_run);
        let meter = Meter::spinner("checkpoints imported");
        while max_threads.is_none_or(|max| store.tally.threads < max) {
            let line = match lines.recv().await {
                Some(Ok(Line::Complete(line))) => line,
                Some(Ok(Line::Truncated)) | None => break,
                Some(Err(error)) => {
                    return Err(Failure::File(format!("cannot read the input: {error}")));
                }
            };
            match verifier
                .take(&line)
                .map_err(|failure| store.failed(failure))?
            {
                Event::Start(_) | Event::Done(Trailer { .. }) => {}
                Event::Item(item) => {
                    meter.add(item.counts().checkpoints);
                    store.take(item, line.len()).await?;
                }
                Event::ThreadDone(_) => store.end_thread().await?,
            }
        }
        if self.file.is_none() && !verifier.is_complete() {
            let failure = Failure::Damaged(format!(
                "the input is truncated{}, after {}",
                in_the_middle_of(&verifier),
                count(store.tally.threads, "complete thread")
            ));
            return Err(store.failed(failure));
        }
        Ok(store.tally)
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

fn in_the_middle_of(verifier: &Verifier) -> String {
    verifier.open_thread().map_or_else(String::new, |thread| {
        format!(" in the middle of thread {}", shown(thread.as_str()))
    })
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
