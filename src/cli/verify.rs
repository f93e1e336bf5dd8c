//! Verifies an export line by line: the order of its records, its counts and its digests.

use std::fmt::Write;
use std::io::{self, BufRead, Read};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::failure::{Failure, Outcome};
use super::record::{Counts, FORMAT, Header, Item, Record, ThreadTrailer, Trailer};
use super::text::shown;
use crate::id::ThreadId;

/// The longest line that is read: a document of the largest size and as much again for writes.
const MAX_LINE_BYTES: u64 = 1 << 30;

/// A line of an export.
#[derive(Debug)]
pub(crate) enum Line {
    /// With its line break.
    Complete(Bytes),
    /// The input ends in the middle of it.
    Truncated,
}

/// Reads the next line; `None` at the end.
pub(crate) fn next_line(reader: &mut impl BufRead) -> io::Result<Option<Line>> {
    let mut line = Vec::new();
    reader
        .by_ref()
        .take(MAX_LINE_BYTES)
        .read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        return Ok(Some(Line::Complete(line.into())));
    }
    if line.len() as u64 == MAX_LINE_BYTES {
        let problem = format!("a line is longer than {MAX_LINE_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    }
    Ok(Some(Line::Truncated))
}

/// The meaning of a line.
#[derive(Debug)]
pub(crate) enum Event {
    /// The start of an export.
    Start(Header),
    /// A part of a thread, whose digest is not verified yet.
    Item(Item),
    /// The end of a thread that is verified.
    ThreadDone(ThreadTrailer),
    /// The end of an export that is verified.
    Done(Trailer),
}

/// The digest of lines, and the counts of their parts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sum {
    sha256: Sha256,
    pub(crate) counts: Counts,
}

impl Sum {
    pub(crate) fn add_line(&mut self, line: &[u8]) {
        self.sha256.update(line);
    }

    pub(crate) fn add_counts(&mut self, counts: Counts) {
        self.counts += counts;
    }

    pub(crate) fn digest(&self) -> String {
        let mut digits = String::with_capacity(64);
        for byte in self.sha256.clone().finalize() {
            // Writing to a string does not fail.
            let _ = write!(digits, "{byte:02x}");
        }
        digits
    }
}

/// Verifies an export line by line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Verifier {
    lines: u64,
    started: bool,
    thread: Option<(ThreadId, Sum)>,
    pub(crate) threads: u64,
    pub(crate) all: Sum,
}

impl Verifier {
    /// Verifies the next line.
    pub(crate) fn take(&mut self, line: &Bytes) -> Outcome<Event> {
        self.lines += 1;
        let record = Record::parse(line.clone())
            .map_err(|error| self.damaged(format!("it is not a record of an export: {error}")))?;
        match (record, self.started) {
            (Record::Header(header), false) => {
                if header.format > FORMAT {
                    return Err(Failure::Usage(format!(
                        "the export has format {}, and this langgraph-redis reads up to {FORMAT}: use a newer version",
                        header.format
                    )));
                }
                *self = Self {
                    lines: self.lines,
                    started: true,
                    ..Self::default()
                };
                self.all.add_line(line);
                Ok(Event::Start(header))
            }
            (_, false) => Err(self.damaged("an export starts with a header")),
            (Record::Header(_), true) => {
                Err(self.damaged("there is a header in the middle of an export"))
            }
            (Record::Item(item), true) => self.item(item, line),
            (Record::Thread(trailer), true) => self.thread(trailer, line),
            (Record::End(trailer), true) => self.end(trailer),
        }
    }

    fn item(&mut self, item: Item, line: &Bytes) -> Outcome<Event> {
        let (thread, sum) = self
            .thread
            .get_or_insert_with(|| (item.thread_id().clone(), Sum::default()));
        if thread != item.thread_id() {
            return Err(self.damaged("a thread starts before the end of the previous one"));
        }
        sum.add_line(line);
        sum.add_counts(item.counts());
        self.all.add_line(line);
        self.all.add_counts(item.counts());
        Ok(Event::Item(item))
    }

    fn thread(&mut self, trailer: ThreadTrailer, line: &Bytes) -> Outcome<Event> {
        let (thread, sum) = match self.thread.take() {
            Some(thread) => thread,
            None => (trailer.thread_id.clone(), Sum::default()),
        };
        let found = ThreadTrailer {
            checkpoints: sum.counts.checkpoints,
            writes: sum.counts.writes,
            blobs: sum.counts.blobs,
            sha256: sum.digest(),
            thread_id: thread,
        };
        if found != trailer {
            let thread = shown(found.thread_id.as_str());
            return Err(self.damaged(format!(
                "thread {thread} is damaged: its digest or its counts differ"
            )));
        }
        self.threads += 1;
        self.all.add_line(line);
        Ok(Event::ThreadDone(trailer))
    }

    fn end(&mut self, trailer: Trailer) -> Outcome<Event> {
        let found = Trailer {
            threads: self.threads,
            checkpoints: self.all.counts.checkpoints,
            writes: self.all.counts.writes,
            blobs: self.all.counts.blobs,
            sha256: self.all.digest(),
        };
        if self.thread.is_some() || found != trailer {
            return Err(self.damaged("the export is damaged: its digest or its counts differ"));
        }
        self.started = false;
        Ok(Event::Done(trailer))
    }

    /// Whether the input may end here.
    pub(crate) fn is_complete(&self) -> bool {
        !self.started && self.lines > 0
    }

    /// The thread that is not complete yet.
    pub(crate) fn open_thread(&self) -> Option<&ThreadId> {
        self.thread.as_ref().map(|(thread, _)| thread)
    }

    fn damaged(&self, what: impl AsRef<str>) -> Failure {
        Failure::Damaged(format!("line {}: {}", self.lines, what.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_truncated_line_is_recognized() {
        let mut reader = io::Cursor::new(b"one\n\ntwo");
        assert!(
            matches!(next_line(&mut reader), Ok(Some(Line::Complete(line))) if line == "one\n")
        );
        assert!(matches!(next_line(&mut reader), Ok(Some(Line::Complete(line))) if line == "\n"));
        assert!(matches!(next_line(&mut reader), Ok(Some(Line::Truncated))));
        assert!(matches!(next_line(&mut reader), Ok(None)));
    }
}
