//! Formats stored text for people: readable, unambiguous, and harmless to a terminal.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use indicatif::{HumanBytes, HumanDuration};

use crate::error::Error;
use crate::id::{CheckpointId, CheckpointNamespace};
pub(crate) use crate::printable::{pretty, printable, printable_json, shown};

/// A namespace for printing.
pub(crate) fn shown_namespace(namespace: &CheckpointNamespace) -> Cow<'_, str> {
    if namespace.is_root() {
        Cow::Borrowed("(root)")
    } else {
        shown(namespace.as_str())
    }
}

/// An id from an argument, quoted or verbatim.
pub(crate) fn unquoted(argument: &str) -> Result<String, Error> {
    if !argument.starts_with('"') {
        return Ok(argument.to_owned());
    }
    serde_json::from_str(argument).map_err(|error| {
        Error::invalid("the quoted id", format!("it is not a JSON string: {error}"))
    })
}

/// The time of a checkpoint to the second.
pub(crate) fn time(id: &CheckpointId, ts: Option<&str>) -> String {
    let of_id = id.time();
    let of_ts = || Some(SystemTime::from(ts?.parse::<jiff::Timestamp>().ok()?));
    of_id
        .or_else(of_ts)
        .and_then(|time| jiff::Timestamp::try_from(time).ok())
        .map_or_else(
            || "-".to_owned(),
            |time| time.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        )
}

/// A duration.
pub(crate) fn duration(duration: Duration) -> String {
    HumanDuration(duration).to_string()
}

/// The remaining time to live: `expires in 5 minutes`, `never expires`.
pub(crate) fn expiry(ttl: Option<Duration>) -> String {
    ttl.map_or_else(
        || "never expires".to_owned(),
        |ttl| format!("expires in {}", duration(ttl)),
    )
}

/// A duration in JSON.
#[allow(clippy::cast_possible_truncation)] // The longest TTL has 42 bits.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

/// The id of one thread, or the number of several.
pub(crate) fn thread_or_count<'a>(mut threads: impl ExactSizeIterator<Item = &'a str>) -> String {
    match (threads.len(), threads.next()) {
        (1, Some(thread)) => format!("thread {}", shown(thread)),
        (number, _) => count(number as u64, "thread"),
    }
}

/// A size.
pub(crate) fn bytes(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}

/// A number with its unit: `1 checkpoint`, `2 checkpoints`.
pub(crate) fn count(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// Removes the credentials of URLs from text.
pub(crate) fn without_secrets(text: &str) -> Cow<'_, str> {
    if !text.contains("://") {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(position) = rest.find("://") {
        let (before, after) = rest.split_at(position + 3);
        safe.push_str(before);
        // An unescaped password may contain slashes and blanks: up to the last `@` of the line.
        let line = after.find('\n').unwrap_or(after.len());
        let end = after[..line].rfind('@');
        if end.is_some() {
            safe.push('…');
        }
        rest = &after[end.unwrap_or(0)..];
    }
    safe.push_str(rest);
    // Sentinel's password is a query parameter.
    Cow::Owned(without_query_secrets(&safe))
}

fn without_query_secrets(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(position) = rest.to_ascii_lowercase().find("password=") {
        let (before, after) = rest.split_at(position + "password=".len());
        safe.push_str(before);
        safe.push('…');
        let end = after
            .find(|character: char| {
                character == '&' || character == '\'' || character.is_whitespace()
            })
            .unwrap_or(after.len());
        rest = &after[end..];
    }
    safe.push_str(rest);
    safe
}

/// Text cut to a number of characters, with an ellipsis.
pub(crate) fn cut(text: &str, max: usize) -> Cow<'_, str> {
    match text.char_indices().nth(max) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::printable::is_unsafe;

    #[test]
    fn every_id_is_printed_so_that_it_can_be_taken_back() {
        for id in [
            "plain",
            "a b",
            "",
            " ",
            "a\0b",
            "\"quoted\"",
            "--flag",
            "\u{1b}[2J",
            "é\n",
            "🦀",
        ] {
            let shown = shown(id);
            assert!(!shown.contains(is_unsafe), "{shown}");
            assert_eq!(unquoted(&shown).unwrap(), id);
        }
        assert!(unquoted("\"open").is_err());
    }

    #[test]
    fn credentials_of_urls_are_left_out() {
        for (text, safe) in [
            ("no URL", "no URL"),
            ("at redis://host:1/0", "at redis://host:1/0"),
            (
                "'redis://u:pass@host' is wrong",
                "'redis://…@host' is wrong",
            ),
            ("redis://u:p/a s@s@host\nx@y", "redis://…@host\nx@y"),
            (
                "redis-sentinel://h?sentinelPassword=secret&node=x",
                "redis-sentinel://h?sentinelPassword=…&node=x",
            ),
        ] {
            assert_eq!(without_secrets(text), safe);
        }
    }

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(cut("🦀🦀", 1), "🦀…");
        assert_eq!(cut("ab", 2), "ab");
    }
}
