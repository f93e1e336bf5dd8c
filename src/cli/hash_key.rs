//! `hash-key`: what the service keeps of an API key.

use std::io::{self, IsTerminal, Read};

use clap::Args;
use serde_json::json;

use super::failure::{Failure, Outcome};
use super::output::{Output, note};
use crate::server::ApiKeys;

/// The longest key that is read, in bytes.
const MOST_BYTES: u64 = 4_096;

/// Print the line of an API key, which is read from stdin, for the file of `serve --api-keys`
#[derive(Args)]
pub(crate) struct HashKey {
    /// How the key is called in logs
    #[arg(value_name = "NAME")]
    name: String,
    /// Let it reach only threads whose ids start so
    #[arg(long, value_name = "TEXT")]
    starting_with: Option<String>,
}

impl HashKey {
    pub(crate) fn run(self, json: bool) -> Outcome {
        if io::stdin().is_terminal() {
            note("Type the key, then Enter and Ctrl-D; `openssl rand -hex 32` makes one.");
        }
        let key = read()?;
        let HashKey {
            name,
            starting_with,
        } = self;
        if name.contains(':') || name.starts_with('#') || name.trim() != name {
            return Err(Failure::Usage(
                "the name cannot hold a colon, start with `#`, or start or end with a blank"
                    .to_owned(),
            ));
        }
        if starting_with.as_deref() == Some("") {
            return Err(Failure::Usage(
                "--starting-with needs a text; leave it out for a key of all threads".to_owned(),
            ));
        }
        let mut line = format!("{name}:{}", ApiKeys::hash(&key));
        if let Some(prefix) = starting_with {
            line = line + ":" + &prefix;
        }
        // A line break, say, would make something else of it.
        if ApiKeys::parse(&line)?.len() != 1 || line.contains(char::is_control) {
            return Err(Failure::Usage(
                "the name and the start of threads' ids must fit on a line, without control characters".to_owned(),
            ));
        }
        let mut output = Output::new(json);
        if json {
            output.json(&json!({ "line": line }))?;
        } else {
            // As it is: it must fit the ids to the letter.
            output.write(line.as_bytes())?;
            output.write(b"\n")?;
        }
        output.flush()
    }
}

/// Reads a key that a header can carry.
fn read() -> Outcome<String> {
    let mut key = String::new();
    io::stdin()
        .lock()
        .take(MOST_BYTES + 1)
        .read_to_string(&mut key)
        .map_err(|error| Failure::Usage(format!("the key cannot be read: {error}")))?;
    let key = key.strip_suffix('\n').unwrap_or(&key);
    let key = key.strip_suffix('\r').unwrap_or(key);
    if key.is_empty() || key.len() as u64 > MOST_BYTES {
        return Err(Failure::Usage(format!(
            "there is no key on stdin of up to {MOST_BYTES} bytes"
        )));
    }
    let fits = key.chars().all(|character| matches!(character, ' '..='~'));
    if !fits || key.trim() != key {
        return Err(Failure::Usage(
            "a key has only ASCII letters, digits, signs, and blanks between them, as a header carries it".to_owned(),
        ));
    }
    Ok(key.to_owned())
}
