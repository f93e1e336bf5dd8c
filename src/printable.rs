//! Makes stored text harmless where people read it: control characters and those that hide or turn
//! text are escaped.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a character may act on a terminal or a page, or hide text: control characters, and those that
/// change the direction of text or have no width.
pub(crate) fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Escapes unsafe characters as `\u…`, except line breaks.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(|character| is_unsafe(character) && character != '\n') {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_unsafe(character) && character != '\n' {
            escape_into(&mut safe, character);
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

/// JSON on one line with unsafe characters escaped, which does not change its meaning.
pub(crate) fn printable_json(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            // Whitespace between values: never part of a JSON string.
            '\n' | '\r' | '\t' => safe.push(' '),
            unsafe_one if is_unsafe(unsafe_one) => escape_into(&mut safe, unsafe_one),
            other => safe.push(other),
        }
    }
    Cow::Owned(safe)
}

fn escape_into(text: &mut String, character: char) {
    for unit in character.encode_utf16(&mut [0; 2]) {
        // Writing to a string does not fail.
        let _ = write!(text, "\\u{unit:04x}");
    }
}

/// An id for printing: verbatim, or, where that would be ambiguous, as a JSON string in quotes,
/// which `--quoted` reads.
pub(crate) fn shown(id: &str) -> Cow<'_, str> {
    let plain = !id.is_empty()
        && !id.contains(is_unsafe)
        && !id.starts_with('"')
        && !id.starts_with(char::is_whitespace)
        && !id.ends_with(char::is_whitespace);
    if plain {
        Cow::Borrowed(id)
    } else {
        Cow::Owned(printable_json(&quoted(id)).into_owned())
    }
}

/// Text as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The depth from which JSON is not indented further: what is nested deep must not become large.
const MAX_INDENT: usize = 64;

/// Indented JSON; the text of each value is unchanged.
pub(crate) fn pretty(json: &str) -> String {
    let mut text = String::with_capacity(json.len() * 2);
    let mut depth = 0;
    let mut in_string = false;
    let mut escaped = false;
    let new_line = |text: &mut String, depth: usize| {
        text.push('\n');
        text.extend(std::iter::repeat_n("  ", depth.min(MAX_INDENT)));
    };
    let mut characters = json.chars().peekable();
    while let Some(character) = characters.next() {
        if in_string {
            text.push(character);
            in_string = escaped || character != '"';
            escaped = character == '\\' && !escaped;
            continue;
        }
        match character {
            '"' => {
                in_string = true;
                text.push('"');
            }
            '{' | '[' => {
                text.push(character);
                while characters.next_if(|next| next.is_whitespace()).is_some() {}
                if let Some(end) = characters.next_if(|next| matches!(next, '}' | ']')) {
                    text.push(end);
                } else {
                    depth += 1;
                    new_line(&mut text, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut text, depth);
                text.push(character);
            }
            ',' => {
                text.push(',');
                new_line(&mut text, depth);
            }
            ':' => text.push_str(": "),
            blank if blank.is_whitespace() => {}
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_act_on_a_terminal_is_escaped() {
        let hostile = "a\u{1b}[31m\u{9b}2J\u{7f}\0\r\u{202e}b\nc";
        let safe = printable(hostile);
        assert_eq!(
            safe,
            "a\\u001b[31m\\u009b2J\\u007f\\u0000\\u000d\\u202eb\nc"
        );
        assert!(matches!(printable("plain ü 🦀"), Cow::Borrowed(_)));
    }

    #[test]
    fn escaped_json_means_the_same() {
        let value = serde_json::json!({"a\u{9b}": "\u{7f}\u{202e}\u{e0041}\n"});
        let safe = printable_json(&value.to_string()).into_owned();
        assert!(!safe.contains(is_unsafe));
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&safe).unwrap(),
            value
        );
        assert_eq!(printable_json("[1,\n2]"), "[1, 2]");
    }

    #[test]
    fn json_is_laid_out_without_a_digit_changed() {
        let json = r#"{"a":[1e400,{"b\"}":"x, y:[z]"},[],{ }],"n":123456789012345678901234567890}"#;
        let pretty = pretty(json);
        assert_eq!(
            pretty,
            "{\n  \"a\": [\n    1e400,\n    {\n      \"b\\\"}\": \"x, y:[z]\"\n    },\n    [],\n    {}\n  ],\n  \"n\": 123456789012345678901234567890\n}"
        );
    }
}
