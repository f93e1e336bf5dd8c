//! `hash-key`: hashes an API key for the service.

use std::io::{self, IsTerminal, Read};

use clap::Args;
use serde_json::json;

use super::failure::{Failure, Outcome};
use super::output::{Output, note};
use crate::server::ApiKeys;

/// The longest key that is read, in bytes.
const MAX_BYTES: u64 = 4_096;

/// Read an API key from stdin and print its line for the file of `serve --api-keys`
#[derive(Args)]
pub(crate) struct HashKey {
    /// The name of the key in logs
    #[arg(value_name = "NAME")]
    name: String,
    /// Confine the key to threads whose ids start with this text
    #[arg(long, value_name = "TEXT")]
    starting_with: Option<String>,
}

impl HashKey {
    pub(crate) fn run(self, json: bool) -> Outcome {
        if io::stdin().is_terminal() {
            note("Type the key, then Enter and Ctrl-D; `openssl rand -hex 32` generates one.");
        }
        let key = read()?;
        let HashKey {
            name,
            starting_with,
        } = self;
        if name.contains(':') || name.starts_with('#') || name.trim() != name {
            return Err(Failure::Usage(
                "the name must not contain a colon, start with `#`, or start or end with a blank"
                    .to_owned(),
            ));
        }
        if starting_with.as_deref() == Some("") {
            return Err(Failure::Usage(
                "--starting-with is empty; leave it out for a key that reaches every thread"
                    .to_owned(),
            ));
        }
        let mut line = format!("{name}:{}", ApiKeys::hash(&key));
        if let Some(prefix) = starting_with {
            line = line + ":" + &prefix;
        }
        // A line break, for example, would change the meaning of the file.
        if ApiKeys::parse(&line)?.len() != 1 || line.contains(char::is_control) {
            return Err(Failure::Usage(
                "the name and the prefix must not contain control characters".to_owned(),
            ));
        }
        let mut output = Output::new(json);
        if json {
            output.json(&json!({ "line": line }))?;
        } else {
            // Verbatim: the prefix must match ids exactly.
            output.write(line.as_bytes())?;
            output.write(b"\n")?;
        }
        output.flush()
    }
}

/// Reads a key that is valid in a header.
fn read() -> Outcome<String> {
    let mut key = String::new();
    io::stdin()
        .lock()
        .take(MAX_BYTES + 1)
        .read_to_string(&mut key)
        .map_err(|error| Failure::Usage(format!("cannot read the key: {error}")))?;
    let key = key.strip_suffix('\n').unwrap_or(&key);
    let key = key.strip_suffix('\r').unwrap_or(key);
    if key.is_empty() || key.len() as u64 > MAX_BYTES {
        return Err(Failure::Usage(format!(
            "stdin must contain a key of 1 to {MAX_BYTES} bytes"
        )));
    }
    let fits = key.chars().all(|character| matches!(character, ' '..='~'));
    if !fits || key.trim() != key {
        return Err(Failure::Usage(
            "a key consists of printable ASCII characters and does not start or end with a blank"
                .to_owned(),
        ));
    }
    Ok(key.to_owned())
}
