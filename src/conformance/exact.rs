//! Whether two JSON texts mean the same, to the last digit.

use std::collections::BTreeMap;

/// Where two valid JSON texts differ and how; `None` if they mean the same.
///
/// Blanks and the order of members do not count. Integers are the same if their digits are,
/// floats if their bits are; a number beyond `f64` is compared as text. Strings are compared by
/// UTF-16 unit, lone surrogates included.
pub(super) fn difference(expected: &str, found: &str) -> Option<String> {
    let expected = parse(expected);
    let found = parse(found);
    compare(&expected, &found, "$")
}

#[derive(Debug, PartialEq)]
enum Json {
    Word(&'static str),
    Integer(String),
    Float(u64),
    String(Vec<u16>),
    Array(Vec<Json>),
    Object(BTreeMap<Vec<u16>, Json>),
}

fn compare(expected: &Json, found: &Json, path: &str) -> Option<String> {
    match (expected, found) {
        (Json::Array(expected), Json::Array(found)) if expected.len() == found.len() => expected
            .iter()
            .zip(found)
            .enumerate()
            .find_map(|(position, (one, other))| {
                compare(one, other, &format!("{path}[{position}]"))
            }),
        (Json::Object(expected), Json::Object(found)) => {
            let name = |key: &[u16]| format!("{path}.{}", String::from_utf16_lossy(key));
            expected
                .iter()
                .find_map(|(key, one)| match found.get(key) {
                    Some(other) => compare(one, other, &name(key)),
                    None => Some(format!("{} is missing", name(key))),
                })
                .or_else(|| {
                    let extra = found.keys().find(|key| !expected.contains_key(*key))?;
                    Some(format!("{} should not be there", name(extra)))
                })
        }
        _ if expected == found => None,
        _ => Some(format!(
            "{path} should be {}, but is {}",
            show(expected),
            show(found)
        )),
    }
}

fn show(json: &Json) -> String {
    let text = match json {
        Json::Word(word) => (*word).to_owned(),
        Json::Integer(digits) => digits.clone(),
        Json::Float(bits) => format!("{:?}", f64::from_bits(*bits)),
        Json::String(units) => format!("{:?}", String::from_utf16_lossy(units)),
        Json::Array(items) => format!("an array of {}", items.len()),
        Json::Object(members) => format!("an object of {}", members.len()),
    };
    text.chars().take(200).collect()
}

fn parse(text: &str) -> Json {
    let mut rest = text.as_bytes();
    let json = value(&mut rest);
    blanks(&mut rest);
    assert!(rest.is_empty(), "more than one JSON value: {text}");
    json
}

fn blanks(rest: &mut &[u8]) {
    *rest = rest.trim_ascii_start();
}

fn value(rest: &mut &[u8]) -> Json {
    blanks(rest);
    match rest.first() {
        Some(b'"') => Json::String(string(rest)),
        Some(b'[') => {
            let mut items = Vec::new();
            each_item(rest, b']', |rest| items.push(value(rest)));
            Json::Array(items)
        }
        Some(b'{') => {
            let mut members = BTreeMap::new();
            each_item(rest, b'}', |rest| {
                blanks(rest);
                let key = string(rest);
                blanks(rest);
                *rest = &rest[1..];
                members.insert(key, value(rest));
            });
            Json::Object(members)
        }
        Some(b't') => word(rest, "true"),
        Some(b'f') => word(rest, "false"),
        Some(b'n') => word(rest, "null"),
        _ => number(rest),
    }
}

fn word(rest: &mut &[u8], word: &'static str) -> Json {
    *rest = rest.strip_prefix(word.as_bytes()).expect("valid JSON");
    Json::Word(word)
}

fn each_item(rest: &mut &[u8], end: u8, mut item: impl FnMut(&mut &[u8])) {
    *rest = &rest[1..];
    blanks(rest);
    while rest[0] != end {
        item(rest);
        blanks(rest);
        if rest[0] == b',' {
            *rest = &rest[1..];
        }
    }
    *rest = &rest[1..];
}

fn number(rest: &mut &[u8]) -> Json {
    let is_part = |byte: &u8| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
    let length = rest
        .iter()
        .position(|byte| !is_part(byte))
        .unwrap_or(rest.len());
    let (digits, after) = rest.split_at(length);
    *rest = after;
    let digits = String::from_utf8(digits.to_vec()).expect("digits are ASCII");
    assert!(!digits.is_empty(), "valid JSON");
    match digits.parse::<f64>() {
        Ok(float) if digits.contains(['.', 'e', 'E']) && float.is_finite() => {
            Json::Float(float.to_bits())
        }
        _ => Json::Integer(digits),
    }
}

fn string(rest: &mut &[u8]) -> Vec<u16> {
    let mut units = Vec::new();
    let mut position = 1;
    loop {
        let unescaped = rest[position..]
            .iter()
            .position(|byte| matches!(byte, b'"' | b'\\'));
        let end = position + unescaped.expect("valid JSON");
        units.extend(
            std::str::from_utf8(&rest[position..end])
                .expect("UTF-8")
                .encode_utf16(),
        );
        if rest[end] == b'"' {
            *rest = &rest[end + 1..];
            return units;
        }
        position = end + 2;
        units.push(match rest[end + 1] {
            b'u' => {
                let digits = std::str::from_utf8(&rest[position..position + 4]).expect("ASCII");
                position += 4;
                u16::from_str_radix(digits, 16).expect("valid JSON")
            }
            b'n' => 10,
            b'r' => 13,
            b't' => 9,
            b'b' => 8,
            b'f' => 12,
            other => u16::from(other),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn what_means_the_same_is_the_same() {
        for (one, other) in [
            (
                r#"{"a": [1, "x"], "b": null}"#,
                r#"{"b":null,"a":[1,"\u0078"]}"#,
            ),
            ("1e2", "100.0"),
            (r#""\ud83d\ude00\/""#, r#""😀/""#),
            ("[]", " [ ] "),
            ("{}", "{ }"),
            (r#""\ud800""#, r#""\uD800""#),
        ] {
            assert_eq!(difference(one, other), None, "{one} {other}");
        }
    }

    #[test]
    fn a_difference_in_meaning_is_reported_with_its_path() {
        for (one, other, expected) in [
            (
                r#"{"a":[1]}"#,
                r#"{"a":[1.0]}"#,
                "$.a[0] should be 1, but is 1.0",
            ),
            ("-0.0", "0.0", "$ should be -0.0, but is 0.0"),
            (
                "1180591620717411303424",
                "1180591620717411303425",
                "$ should be 118",
            ),
            ("1e400", "1e401", "$ should be 1e400"),
            (r#"{"a":1}"#, "{}", "$.a is missing"),
            ("{}", r#"{"a":1}"#, "$.a should not be there"),
            (r#""\ud800""#, r#""\ud801""#, "$ should be"),
            ("null", "false", "$ should be null, but is false"),
            (
                "[1]",
                "[1,2]",
                "$ should be an array of 1, but is an array of 2",
            ),
        ] {
            let difference = difference(one, other).unwrap_or_default();
            assert!(difference.starts_with(expected), "{difference}");
        }
    }
}
