//! What RedisJSON cannot keep exactly, and the envelope in which it travels.
//!
//! RedisJSON keeps strings, booleans, null, integers of 64 bits, floats and 127 levels of
//! nesting. A larger integer silently becomes a float, and a lone surrogate, a float beyond
//! `f64` or deeper nesting is refused. A value that holds any of these is stored as
//! `{"__json__": "…"}`, its own text as a string, and comes back as that text. A value that
//! happens to look like an envelope is put in one as well, so that none is ever mistaken.

use bytes::{BufMut, Bytes, BytesMut};

use super::RawJson;
use super::object::write_string;

/// The one member of an envelope.
const MEMBER: &str = "__json__";
/// How an envelope starts, as RedisJSON prints it.
const START: &[u8] = br#"{"__json__":"#;
/// How deep a value may be nested: RedisJSON takes 127 levels, of which the document around a
/// channel's value takes three.
const MAX_DEPTH: usize = 120;

/// The value as RedisJSON keeps it: itself, or in an envelope.
pub(crate) fn wrap(value: &RawJson) -> RawJson {
    if is_kept(value.bytes()) && !looks_wrapped(value.bytes()) {
        return value.clone();
    }
    let mut text = BytesMut::with_capacity(value.bytes().len() + 32);
    text.put_slice(START);
    write_string(&mut text, value.as_str());
    text.put_u8(b'}');
    RawJson::trusted(text.freeze())
}

/// The value that [`wrap`] was given.
pub(crate) fn unwrap(value: &RawJson) -> RawJson {
    if !looks_wrapped(value.bytes()) {
        return value.clone();
    }
    let Ok(envelope) = value.decode::<std::collections::BTreeMap<String, String>>() else {
        return value.clone();
    };
    match envelope.into_iter().next() {
        Some((member, text)) if member == MEMBER => {
            RawJson::parse(Bytes::from(text)).unwrap_or_else(|_| value.clone())
        }
        _ => value.clone(),
    }
}

/// Whether a value may be an envelope: an object that starts with its member.
fn looks_wrapped(text: &[u8]) -> bool {
    let mut rest = text.iter().filter(|byte| !byte.is_ascii_whitespace());
    START.iter().all(|expected| rest.next() == Some(expected))
}

/// Whether RedisJSON keeps a valid JSON text as the same value.
pub(crate) fn is_kept(text: &[u8]) -> bool {
    let mut depth = 0_usize;
    let mut position = 0;
    while let Some(&byte) = text.get(position) {
        match byte {
            b'"' => match string_end(text, position + 1) {
                Some(end) => position = end,
                None => return false,
            },
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return false;
                }
                position += 1;
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                position += 1;
            }
            b'-' | b'0'..=b'9' => {
                let end = number_end(text, position);
                if !number_is_kept(&text[position..end]) {
                    return false;
                }
                position = end;
            }
            _ => position += 1,
        }
    }
    true
}

/// The position behind a string whose text starts at `position`, or `None` if it holds a
/// surrogate without its partner.
fn string_end(text: &[u8], mut position: usize) -> Option<usize> {
    loop {
        let rest = text.get(position..)?;
        let found = memchr::memchr2(b'"', b'\\', rest)?;
        position += found;
        if text[position] == b'"' {
            return Some(position + 1);
        }
        if text.get(position + 1) != Some(&b'u') {
            position += 2;
            continue;
        }
        match escaped_unit(text, position)? {
            0xD800..=0xDBFF => {
                if text.get(position + 6..position + 8) != Some(b"\\u") {
                    return None;
                }
                if !(0xDC00..=0xDFFF).contains(&escaped_unit(text, position + 6)?) {
                    return None;
                }
                position += 12;
            }
            0xDC00..=0xDFFF => return None,
            _ => position += 6,
        }
    }
}

/// The UTF-16 unit of the escape `\uXXXX` at `position`.
fn escaped_unit(text: &[u8], position: usize) -> Option<u16> {
    let digits = std::str::from_utf8(text.get(position + 2..position + 6)?).ok()?;
    u16::from_str_radix(digits, 16).ok()
}

fn number_end(text: &[u8], position: usize) -> usize {
    text[position..]
        .iter()
        .position(|byte| !matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9'))
        .map_or(text.len(), |length| position + length)
}

fn number_is_kept(number: &[u8]) -> bool {
    let Ok(number) = std::str::from_utf8(number) else {
        return false;
    };
    if number.contains(['.', 'e', 'E']) {
        number.parse::<f64>().is_ok_and(f64::is_finite)
    } else {
        // "-0" is the float -0.0 to some readers and the integer 0 to others.
        number != "-0"
            && (number.len() < 19 || number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_redisjson_keeps_stays_as_it_is() {
        for text in [
            "null",
            "[1,-1,18446744073709551615,-9223372036854775808]",
            "[1.0,-0.0,1e22,5e-324]",
            r#"{"a":"\ud83d\ude00 \u0000 \\ud800","b":[]}"#,
        ] {
            assert!(is_kept(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn what_redisjson_changes_or_refuses_travels_in_an_envelope() {
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        for text in [
            "1180591620717411303424",
            "-9223372036854775809",
            "1e400",
            "-0",
            r#""\ud800""#,
            r#"{"\udc00":1}"#,
            r#"["\ud800\u0041"]"#,
            r#"{"__json__": "1"}"#,
            r#"{"__json__":"not json"}"#,
            r#"{"__json__":"1","other":2}"#,
            &deep,
        ] {
            let value = RawJson::parse(text.to_owned()).unwrap();
            let wrapped = wrap(&value);
            assert_ne!(wrapped, value, "{text}");
            assert!(is_kept(wrapped.bytes()), "{text}");
            assert_eq!(unwrap(&wrapped), value, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_string_comes_back(text in any::<String>()) {
            let value = RawJson::encode(&text).unwrap();
            prop_assert!(is_kept(value.bytes()));
            prop_assert_eq!(unwrap(&wrap(&value)), value);
        }
    }
}
