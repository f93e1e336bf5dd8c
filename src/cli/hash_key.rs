//! `hash-key`: hashes an API key for the service.

use std::io::{self, IsTerminal, Read};

use clap::Args;
use serde_json::json;

use super::failure::{Failure, Outcome};
use super::key_strength;
use super::output::{Output, note};
use crate::server::ApiKeys;

/// The longest key that is read, in bytes.
const MAX_BYTES: u64 = 4_096;

/// Read an API key from stdin and print its line for the file of `serve --api-keys`
///
/// A key that is short or repeats itself is refused; `openssl rand -hex 32` generates one.
#[derive(Args)]
pub(crate) struct HashKey {
    /// The name of the key in logs and metrics
    #[arg(value_name = "NAME")]
    name: String,
    /// Confine the key to threads whose ids start with this text
    #[arg(long, value_name = "TEXT")]
    starting_with: Option<String>,
    /// What the key may do: read, write, admin, with commas between them [default: all]
    #[arg(long, value_name = "SCOPES", value_parser = word)]
    scopes: Option<String>,
    /// When the key expires: a date (its begin in UTC) or an RFC 3339 time [default: never]
    #[arg(long, value_name = "TIME", value_parser = word)]
    expires: Option<String>,
    /// The number of concurrent requests of the key [default: as serve has it for all keys]
    #[arg(long, value_name = "NUMBER")]
    max_in_flight: Option<usize>,
    /// The number of requests of the key per second [default: as serve has it for all keys]
    #[arg(long, value_name = "NUMBER")]
    rate: Option<usize>,
    /// The number of requests that may arrive at once after a pause [default: as --rate]
    #[arg(long, value_name = "NUMBER")]
    burst: Option<usize>,
    /// The bytes of bodies that the key may hold [default: as serve has it for all keys]
    #[arg(long, value_name = "BYTES")]
    max_held_bytes: Option<usize>,
    /// The largest request body of the key [default: as serve has it for all keys]
    #[arg(long, value_name = "BYTES")]
    max_body_bytes: Option<usize>,
}

impl HashKey {
    pub(crate) fn run(self, json: bool) -> Outcome {
        if io::stdin().is_terminal() {
            note("Type the key, then Enter and Ctrl-D; `openssl rand -hex 32` generates one.");
        }
        let key = read()?;
        key_strength::check(&key).map_err(|reason| {
            Failure::Usage(format!("{reason}; `openssl rand -hex 32` generates one"))
        })?;
        let options = self.options();
        let HashKey {
            name,
            starting_with,
            ..
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
        let mut line = format!("{name}:{}{options}", ApiKeys::hash(&key));
        if let Some(prefix) = &starting_with {
            line = line + ":" + prefix;
        }
        // A line break, for example, would change the meaning of the file.
        if ApiKeys::parse(&line)?.len() != 1 || line.contains(char::is_control) {
            return Err(Failure::Usage(
                "the name and the prefix must not contain control characters".to_owned(),
            ));
        }
        if let Some(prefix) = starting_with
            && prefix.ends_with(char::is_alphanumeric)
        {
            note(&format!(
                "The key also reaches the threads of others whose ids go on where `{prefix}` ends, \
                 such as `{prefix}b`; let the prefix end with a delimiter, such as `{prefix}/`."
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

    /// The options of the line, in brackets if there are any.
    fn options(&self) -> String {
        let text = |name: &str, value: &Option<String>| {
            let value = value.as_ref()?;
            Some(format!("{name}={value}"))
        };
        let number = |name: &str, value: Option<usize>| Some(format!("{name}={}", value?));
        let options = [
            text("scopes", &self.scopes),
            text("expires", &self.expires),
            number("max-in-flight", self.max_in_flight),
            number("rate", self.rate),
            number("burst", self.burst),
            number("max-held-bytes", self.max_held_bytes),
            number("max-body-bytes", self.max_body_bytes),
        ];
        let options: Vec<_> = options.into_iter().flatten().collect();
        if options.is_empty() {
            return String::new();
        }
        format!("[{}]", options.join(" "))
    }
}

/// A value that ends neither an option nor the options.
fn word(text: &str) -> Result<String, String> {
    if text.contains([']', '[']) || text.contains(char::is_whitespace) {
        return Err("it must not contain blanks or brackets".to_owned());
    }
    Ok(text.to_owned())
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
