//! `export`: writes threads as JSON Lines.
//!
//! A header; for each thread its checkpoints by namespace, oldest first, each after the blobs that
//! it names, then the writes without a checkpoint, then a trailer with a digest; a trailer for all.
//! Memory is bounded by a page of checkpoints and the ids of the threads.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, IsTerminal, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::context::Context;
use super::failure::{Failure, Outcome};
use super::items::{TakeItems, read_thread};
use super::output::note;
use super::progress::Meter;
use super::record::{Counts, FORMAT, Header, Item, Record, ThreadTrailer, Trailer};
use super::selection::Selection;
use super::text::{count, shown};
use super::verify::{Event, Line, Sum, Verifier, next_line};
use crate::id::ThreadId;

/// Write threads as JSON Lines to a file or a pipe; all threads if none is given
#[derive(Args)]
pub(crate) struct Export {
    #[command(flatten)]
    threads: Selection,
    /// The file, which must not exist; only its owner can read it [default: stdout]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Continue a truncated file after its last complete thread
    #[arg(long, requires = "output")]
    resume: bool,
    /// Only print what would be exported
    #[arg(long)]
    dry_run: bool,
}

impl Export {
    pub(crate) async fn run(self, context: &mut Context) -> Outcome {
        let threads = self.threads.resolve(context).await?;
        let checkpoints: u64 = threads.iter().map(|thread| thread.checkpoints).sum();
        if self.dry_run {
            if context.output.is_json() {
                return context.output.json(&json!({
                    "threads": threads.len(),
                    "checkpoints": checkpoints,
                    "exported": false,
                }));
            }
            return context.output.line(format!(
                "would export {} with {}",
                count(threads.len() as u64, "thread"),
                count(checkpoints, "checkpoint")
            ));
        }
        let header = header(context);
        let (mut sink, done) = match &self.output {
            None if io::stdout().is_terminal() => {
                return Err(Failure::Usage(
                    "an export is not written to a terminal: give a file with --output, or use a pipe".to_owned(),
                ));
            }
            None => (Sink::new(Box::new(BufWriter::new(io::stdout()))), None),
            Some(path) if self.resume => match resume(path, &header)? {
                Resumed::Complete(trailer) => return self.say(context, &trailer),
                Resumed::Started(sink, done) => (*sink, Some(done)),
                Resumed::Empty(file) => (Sink::new(Box::new(BufWriter::new(file))), None),
            },
            Some(path) => (Sink::new(Box::new(BufWriter::new(create(path)?))), None),
        };
        if done.is_none() {
            sink.put(&Record::Header(header))?;
        }
        let done = done.unwrap_or_default();
        let meter = Meter::bar("checkpoints exported", checkpoints);
        for thread in &threads {
            if done.contains(&thread.thread_id) {
                meter.add(thread.checkpoints);
            } else {
                export_thread(context, &mut sink, &thread.thread_id, &meter).await?;
            }
        }
        drop(meter);
        let trailer = sink.finish()?;
        if let Some(path) = &self.output {
            let synced = File::open(path).and_then(|file| file.sync_all());
            synced.map_err(|error| cannot("write", path, &error))?;
        }
        self.say(context, &trailer)
    }

    /// Prints the summary: to stderr if the export itself goes to stdout.
    fn say(&self, context: &mut Context, trailer: &Trailer) -> Outcome {
        let Some(path) = &self.output else {
            note(&summary(trailer, ""));
            return Ok(());
        };
        if context.output.is_json() {
            return context.output.json(&json!({
                "threads": trailer.threads,
                "checkpoints": trailer.checkpoints,
                "writes": trailer.writes,
                "blobs": trailer.blobs,
                "sha256": trailer.sha256,
                "exported": true,
            }));
        }
        let path = path.display().to_string();
        context
            .output
            .line(summary(trailer, &format!(" to {}", shown(&path))))
    }
}

fn summary(trailer: &Trailer, place: &str) -> String {
    format!(
        "exported {} with {}{place}",
        count(trailer.threads, "thread"),
        Counts {
            checkpoints: trailer.checkpoints,
            writes: trailer.writes,
            blobs: trailer.blobs,
        }
        .text()
    )
}

fn header(context: &Context) -> Header {
    let (checkpoint_prefix, checkpoint_write_prefix) = context.saver.prefixes();
    Header {
        format: FORMAT,
        program: concat!("langgraph-redis ", env!("CARGO_PKG_VERSION")).to_owned(),
        made_at: jiff::Timestamp::now().to_string(),
        checkpoint_prefix: checkpoint_prefix.to_owned(),
        checkpoint_write_prefix: checkpoint_write_prefix.to_owned(),
    }
}

/// The destination of lines, with their digest.
struct Sink {
    writer: Box<dyn Write>,
    all: Sum,
    threads: u64,
}

impl Sink {
    fn new(writer: Box<dyn Write>) -> Self {
        Self {
            writer,
            all: Sum::default(),
            threads: 0,
        }
    }

    fn put(&mut self, record: &Record) -> Outcome<Vec<u8>> {
        let line = record.line()?;
        self.all.add_line(&line);
        self.writer
            .write_all(&line)
            .map_err(|error| Failure::output(&error))?;
        Ok(line)
    }

    fn finish(mut self) -> Outcome<Trailer> {
        let trailer = Trailer {
            threads: self.threads,
            checkpoints: self.all.counts.checkpoints,
            writes: self.all.counts.writes,
            blobs: self.all.counts.blobs,
            sha256: self.all.digest(),
        };
        self.put(&Record::End(trailer.clone()))?;
        self.writer
            .flush()
            .map_err(|error| Failure::output(&error))?;
        Ok(trailer)
    }
}

/// The lines of a thread.
struct Lines<'a> {
    sink: &'a mut Sink,
    sum: Sum,
    meter: &'a Meter,
}

impl TakeItems for Lines<'_> {
    async fn take(&mut self, item: Item) -> Outcome {
        let counts = item.counts();
        let line = self.sink.put(&Record::Item(item))?;
        self.sink.all.add_counts(counts);
        self.sum.add_line(&line);
        self.sum.add_counts(counts);
        self.meter.add(counts.checkpoints);
        Ok(())
    }
}

async fn export_thread(
    context: &Context,
    sink: &mut Sink,
    thread_id: &ThreadId,
    meter: &Meter,
) -> Outcome {
    let mut lines = Lines {
        sink,
        sum: Sum::default(),
        meter,
    };
    read_thread(&context.saver, thread_id, &mut lines).await?;
    let Lines { sink, sum, .. } = lines;
    sink.put(&Record::Thread(ThreadTrailer {
        thread_id: thread_id.clone(),
        checkpoints: sum.counts.checkpoints,
        writes: sum.counts.writes,
        blobs: sum.counts.blobs,
        sha256: sum.digest(),
    }))?;
    sink.threads += 1;
    // A thread is written completely before the next one begins.
    sink.writer.flush().map_err(|error| Failure::output(&error))
}

/// The state of a file to continue.
enum Resumed {
    Complete(Trailer),
    Started(Box<Sink>, HashSet<ThreadId>),
    Empty(File),
}

/// Whether a file is empty or a truncated first line of an export.
fn is_begun(path: &Path) -> io::Result<bool> {
    const START: &[u8] = b"{\"kind\":\"header\"";
    let mut start = Vec::new();
    File::open(path)?
        .take(START.len() as u64)
        .read_to_end(&mut start)?;
    Ok(START.starts_with(&start))
}

/// Verifies a truncated file and cuts it after its last complete thread.
fn resume(path: &Path, header: &Header) -> Outcome<Resumed> {
    let failed = |error: io::Error| cannot("continue", path, &error);
    let mut options = OpenOptions::new();
    let mut file = options.read(true).write(true).open(path).map_err(failed)?;
    let mut reader = BufReader::new(file.try_clone().map_err(failed)?);
    let mut verifier = Verifier::default();
    let mut done = HashSet::new();
    let mut position = 0;
    let mut complete = None;
    while let Some(Line::Complete(line)) = next_line(&mut reader).map_err(failed)? {
        position += line.len() as u64;
        match verifier.take(&line)? {
            Event::Item(_) => {}
            Event::Start(found) => {
                let same = found.format == header.format
                    && found.checkpoint_prefix == header.checkpoint_prefix
                    && found.checkpoint_write_prefix == header.checkpoint_write_prefix;
                if !same {
                    return Err(Failure::Conflict(format!(
                        "{} is an export of other prefixes ({} and {})",
                        shown(&path.display().to_string()),
                        shown(&found.checkpoint_prefix),
                        shown(&found.checkpoint_write_prefix)
                    )));
                }
                complete = Some((position, verifier.clone()));
            }
            Event::ThreadDone(trailer) => {
                done.insert(trailer.thread_id);
                complete = Some((position, verifier.clone()));
            }
            Event::Done(trailer) => return Ok(Resumed::Complete(trailer)),
        }
    }
    if complete.is_none() && !is_begun(path).map_err(failed)? {
        return Err(Failure::Damaged(format!(
            "{} is not an export, so it was not changed",
            shown(&path.display().to_string())
        )));
    }
    let end = complete.as_ref().map_or(0, |(position, _)| *position);
    file.set_len(end)
        .and_then(|()| file.seek(SeekFrom::Start(end)))
        .map_err(failed)?;
    let Some((_, verifier)) = complete else {
        return Ok(Resumed::Empty(file));
    };
    let sink = Sink {
        writer: Box::new(BufWriter::new(file)),
        all: verifier.all,
        threads: verifier.threads,
    };
    Ok(Resumed::Started(Box::new(sink), done))
}

fn create(path: &Path) -> Outcome<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|error| {
        if error.kind() == io::ErrorKind::AlreadyExists {
            Failure::Conflict(format!(
                "{} exists: choose another file, or continue this one with --resume",
                shown(&path.display().to_string())
            ))
        } else {
            cannot("write", path, &error)
        }
    })
}

/// A failed operation on a file.
pub(crate) fn cannot(what: &str, path: &Path, error: &io::Error) -> Failure {
    let path = path.display().to_string();
    Failure::File(format!("cannot {what} {}: {error}", shown(&path)))
}
