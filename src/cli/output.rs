//! The output of commands: lines of text, or JSON with one document per line.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use tracing_subscriber::fmt::MakeWriter;

use super::failure::{Failure, Outcome};
use super::style::{self, Color, Ink};
use super::text::{printable, printable_json, without_secrets};
use crate::codec::RawJson;

/// The standard output of a command.
pub(crate) struct Output {
    json: bool,
    terminal: bool,
    color: bool,
    width: Option<usize>,
    stdout: BufWriter<Stdout>,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        let stdout = io::stdout();
        Self {
            json,
            color: false,
            width: style::width(),
            terminal: stdout.is_terminal(),
            stdout: BufWriter::new(stdout),
        }
    }

    /// The same in colours; JSON has none.
    pub(crate) fn in_color(mut self, color: Color) -> Self {
        self.color = !self.json && color.applies();
        self
    }

    /// Whether the output is JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a line of text, with control characters escaped.
    pub(crate) fn line(&mut self, text: impl AsRef<str>) -> Outcome {
        let text = printable(text.as_ref());
        self.write(&[text.trim_end_matches(' ').as_bytes(), b"\n"].concat())?;
        self.end_line()
    }

    /// The width of the terminal in columns, if the output is one.
    pub(crate) fn width(&self) -> Option<usize> {
        self.width
    }

    /// Prints a line of texts in their colours, with control characters and line breaks escaped.
    pub(crate) fn spans(&mut self, spans: &[(Ink, &str)]) -> Outcome {
        let mut line = String::new();
        let last = spans
            .iter()
            .rposition(|(_, text)| !text.trim_end_matches(' ').is_empty());
        for (position, (ink, text)) in spans.iter().enumerate() {
            if text.is_empty() || last.is_none_or(|last| position > last) {
                continue;
            }
            let text = printable(text).replace('\n', "\\u000a");
            let text = if Some(position) == last {
                text.trim_end_matches(' ')
            } else {
                &text
            };
            let style = ink.style();
            if self.color && *ink != Ink::Plain {
                // Writing to a string does not fail.
                let _ = write!(line, "{style}{text}{style:#}");
            } else {
                line.push_str(text);
            }
        }
        line.push('\n');
        self.write(line.as_bytes())?;
        self.end_line()
    }

    /// Prints a JSON document on one line.
    pub(crate) fn json<T: Serialize + ?Sized>(&mut self, document: &T) -> Outcome {
        self.raw_json(&RawJson::encode(document)?)
    }

    /// Prints JSON text on one line.
    pub(crate) fn raw_json(&mut self, document: &RawJson) -> Outcome {
        let text = printable_json(document.as_str()).into_owned() + "\n";
        self.write(text.as_bytes())?;
        self.end_line()
    }

    /// Prints bytes verbatim.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Outcome {
        self.stdout
            .write_all(bytes)
            .map_err(|error| Failure::output(&error))
    }

    fn end_line(&mut self) -> Outcome {
        if self.terminal {
            self.flush()?;
        }
        Ok(())
    }

    /// Flushes the output.
    pub(crate) fn flush(&mut self) -> Outcome {
        self.stdout.flush().map_err(|error| Failure::output(&error))
    }
}

/// Prints a message to stderr; a failure to do so is ignored.
pub(crate) fn note(text: &str) {
    let text = printable(text);
    let _ = writeln!(io::stderr(), "{}", without_secrets(&text));
}

/// The number of different warnings that are printed.
const MAX_WARNINGS: usize = 100;

/// Prints warnings of the library, each once.
#[derive(Default)]
pub(crate) struct Warnings(Mutex<HashSet<Vec<u8>>>);

impl Write for &Warnings {
    fn write(&mut self, warning: &[u8]) -> io::Result<usize> {
        // A set is valid even if its holder panicked.
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() < MAX_WARNINGS && said.insert(warning.to_vec()) {
            let text = String::from_utf8_lossy(warning);
            note(&format!("langgraph-redis: warning: {}", text.trim()));
        }
        Ok(warning.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Warnings {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

/// Prints why a command failed.
pub(crate) fn print_failure(failure: &Failure, json: bool) {
    #[derive(Serialize)]
    struct Document<'a> {
        error: &'static str,
        code: u8,
        message: &'a str,
    }
    let message = failure.message();
    let message = without_secrets(&message);
    if json {
        let document = Document {
            error: failure.name(),
            code: failure.code(),
            message: &message,
        };
        if let Ok(document) = RawJson::encode(&document) {
            let _ = writeln!(io::stderr(), "{}", printable_json(document.as_str()));
        }
    } else {
        // An id in the message may contain line breaks.
        note(&format!(
            "langgraph-redis: {}",
            message.replace('\n', "\\u000a")
        ));
    }
}
