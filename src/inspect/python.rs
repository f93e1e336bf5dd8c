//! Text as Python literals, to be pasted.

use std::fmt::Write as _;

/// A Python string literal of ASCII alone: it cannot end early, and nothing in it acts on a
/// terminal or hides.
pub(crate) fn string(text: &str) -> String {
    let mut literal = String::with_capacity(text.len() + 2);
    literal.push('"');
    for character in text.chars() {
        match character {
            '"' => literal.push_str("\\\""),
            '\\' => literal.push_str("\\\\"),
            ' '..='~' => literal.push(character),
            // Writing to a string does not fail.
            _ => match u32::from(character) {
                code @ ..=0xff => drop(write!(literal, "\\x{code:02x}")),
                code @ ..=0xffff => drop(write!(literal, "\\u{code:04x}")),
                code => drop(write!(literal, "\\U{code:08x}")),
            },
        }
    }
    literal.push('"');
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_cannot_end_early_or_hide_anything() {
        assert_eq!(
            string("a\"); import os #\\\n\u{202e}é😀{x}"),
            r#""a\"); import os #\\\x0a\u202e\xe9\U0001f600{x}""#
        );
    }
}
