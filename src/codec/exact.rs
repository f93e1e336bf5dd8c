//! What RedisJSON cannot keep exactly, and the forms in which it is stored.
//!
//! RedisJSON keeps strings, booleans, null, integers of 64 bits, most floats and 127 levels of
//! nesting. A larger integer silently becomes a float, and a lone surrogate, a float beyond
//! `f64` or deeper nesting is refused. A value that holds any of these is stored as
//! `{"__json__": "…"}`, its own text as a string, and is read back as that text. A value that
//! happens to look like an envelope is put in one as well, so that none is ever mistaken.
//!
//! RedisJSON reads floats fast and not to the last bit: of those with 16 or 17 digits about one
//! in seven is read back as an adjacent float. What it makes of a text is known, so such a float is
//! written with other digits that both it and an exact reader take for the same `f64`; the few
//! for which there are none are stored in an envelope.

use std::borrow::Cow;

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

/// The value as RedisJSON keeps it: itself, with other digits, or in an envelope.
pub(crate) fn wrap(value: &RawJson) -> RawJson {
    if !looks_wrapped(value.bytes()) {
        if is_kept(value.bytes()) {
            return value.clone();
        }
        if let Some(rewritten) = rewrite_floats(value.bytes()) {
            return RawJson::trusted(rewritten);
        }
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
    visit_numbers(text, |number, _| number_is_kept(number)).is_some()
}

/// The same value in digits that RedisJSON keeps, if that is all it takes.
fn rewrite_floats(text: &[u8]) -> Option<Bytes> {
    let mut rewritten = BytesMut::with_capacity(text.len() + 64);
    let mut copied = 0;
    visit_numbers(text, |number, position| {
        let Some(kept) = kept_form(number) else {
            return false;
        };
        if let Cow::Owned(kept) = kept {
            rewritten.put_slice(&text[copied..position]);
            rewritten.put_slice(kept.as_bytes());
            copied = position + number.len();
        }
        true
    })?;
    rewritten.put_slice(&text[copied..]);
    Some(rewritten.freeze())
}

/// Visits each number of a valid JSON text, with its position; `None` if one is
/// refused, or if there is anything else that RedisJSON does not keep.
fn visit_numbers(text: &[u8], mut visit: impl FnMut(&str, usize) -> bool) -> Option<()> {
    let mut depth = 0_usize;
    let mut position = 0;
    while let Some(&byte) = text.get(position) {
        match byte {
            b'"' => position = string_end(text, position + 1)?,
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return None;
                }
                position += 1;
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                position += 1;
            }
            b'-' | b'0'..=b'9' => {
                let end = number_end(text, position);
                let number = std::str::from_utf8(&text[position..end]).ok()?;
                if !visit(number, position) {
                    return None;
                }
                position = end;
            }
            _ => position += 1,
        }
    }
    Some(())
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

fn number_is_kept(number: &str) -> bool {
    matches!(kept_form(number), Some(Cow::Borrowed(_)))
}

/// A number in digits that RedisJSON keeps: its own where it does, else others; `None` if there
/// are none.
fn kept_form(number: &str) -> Option<Cow<'_, str>> {
    if !number.contains(['.', 'e', 'E']) {
        // "-0" is the float -0.0 to some readers and the integer 0 to others.
        let kept = number != "-0"
            && (number.len() < 19
                || number.parse::<i64>().is_ok()
                || number.parse::<u64>().is_ok());
        return kept.then_some(Cow::Borrowed(number));
    }
    let exact: f64 = number.parse().ok()?;
    if !exact.is_finite() {
        return None;
    }
    if same(read_fast(number), exact) {
        return Some(Cow::Borrowed(number));
    }
    (0..=22)
        .find_map(|places| other_digits(exact, places))
        .map(Cow::Owned)
}

/// Other digits for a float, with this many of them behind the decimal point.
fn other_digits(exact: f64, places: usize) -> Option<String> {
    let digits = format!("{:.places$}", exact.abs());
    let integer: u64 = digits.replace('.', "").parse().ok()?;
    if integer < 100_000_000_000_000 {
        return None;
    }
    // An integer that an `f64` holds is read without a loss, and one division rounds it right.
    let step = 1_u64 << (64 - integer.leading_zeros()).saturating_sub(53);
    let base = integer / step * step;
    let near = [0, 1, 2].map(|steps| base.checked_add(steps * step));
    let below = [1, 2].map(|steps| base.checked_sub(steps * step));
    near.into_iter().chain(below).flatten().find_map(|integer| {
        let mut text = format!("{integer:0>width$}", width = places + 1);
        if places == 0 {
            text.push_str(".0");
        } else {
            text.insert(text.len() - places, '.');
        }
        if exact.is_sign_negative() {
            text.insert(0, '-');
        }
        let read: f64 = text.parse().ok()?;
        (same(read, exact) && same(read_fast(&text), exact)).then_some(text)
    })
}

fn same(one: f64, other: f64) -> bool {
    one.to_bits() == other.to_bits()
}

/// What RedisJSON makes of the text of a float: the digits as an integer of 64 bits, those that
/// do not fit left out, times or divided by one power of ten.
#[allow(clippy::cast_precision_loss)] // The loss is what is looked for.
fn read_fast(text: &str) -> f64 {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let mut exponent: i64 = exponent.parse().unwrap_or(i64::from(i32::MAX));
    let mut integer = 0_u64;
    let (mut behind_point, mut full) = (false, false);
    for byte in mantissa.bytes() {
        match byte {
            b'.' => behind_point = true,
            b'0'..=b'9' => {
                let digit = u64::from(byte - b'0');
                let next = integer
                    .checked_mul(10)
                    .and_then(|tens| tens.checked_add(digit));
                full |= next.is_none();
                match next {
                    Some(next) if !full => {
                        integer = next;
                        exponent -= i64::from(behind_point);
                    }
                    _ => exponent += i64::from(!behind_point),
                }
            }
            _ => {}
        }
    }
    let mut value = integer as f64;
    while exponent < -308 && value != 0.0 {
        value /= 1e308;
        exponent += 308;
    }
    let power = power_of_ten(exponent.unsigned_abs());
    value = if exponent >= 0 {
        value * power
    } else {
        value / power
    };
    if mantissa.starts_with('-') {
        -value
    } else {
        value
    }
}

fn power_of_ten(exponent: u64) -> f64 {
    format!("1e{exponent}").parse().unwrap_or(f64::INFINITY)
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

    #[test]
    fn a_float_that_redisjson_reads_to_its_neighbour_is_written_with_other_digits() {
        let value = RawJson::parse("[0.13505660330235703,-1.0]").unwrap();
        assert!(!is_kept(value.bytes()));
        let wrapped = wrap(&value);
        assert_ne!(wrapped, value);
        let read: [f64; 2] = wrapped.decode().unwrap();
        assert!(same(read[0], 0.135_056_603_302_357_03));
        assert!(is_kept(wrapped.bytes()));
        // For a few there are no such digits.
        let value = RawJson::parse("0.11968507039331393").unwrap();
        assert!(looks_wrapped(wrap(&value).bytes()));
    }

    proptest! {
        #[test]
        fn every_float_comes_back(float in any::<f64>().prop_filter("finite", |f| f.is_finite())) {
            let value = RawJson::encode(&float).unwrap();
            let wrapped = wrap(&value);
            prop_assert!(is_kept(wrapped.bytes()));
            let back: f64 = unwrap(&wrapped).decode().unwrap();
            prop_assert_eq!(back.to_bits(), float.to_bits());
        }

        #[test]
        fn every_string_comes_back(text in any::<String>()) {
            let value = RawJson::encode(&text).unwrap();
            prop_assert!(is_kept(value.bytes()));
            prop_assert_eq!(unwrap(&wrap(&value)), value);
        }
    }
}
