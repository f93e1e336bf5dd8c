//! Equality of JSON texts, exact to the last digit, and the one text that all equal ones have.

use crate::codec::{RawJson, RawObject};

/// The depth to which values are compared; deeper ones are equal only if their text is.
const MAX_DEPTH: usize = 64;

/// Whether two JSON texts are equal, apart from whitespace, the order of members and the notation
/// of floats.
pub(crate) fn json_eq(one: &RawJson, other: &RawJson) -> bool {
    same(one, other, 0)
}

fn same(one: &RawJson, other: &RawJson, level: usize) -> bool {
    if one == other {
        return true;
    }
    let starts = |json: &RawJson| json.bytes().first().copied();
    match (starts(one), starts(other)) {
        (Some(b'{'), Some(b'{')) if level < MAX_DEPTH => {
            let (Ok(one), Ok(other)) = (one.decode::<RawObject>(), other.decode::<RawObject>())
            else {
                return false;
            };
            one.len() == other.len()
                && one.iter().all(|(name, value)| {
                    other
                        .get(name)
                        .is_some_and(|other| same(value, other, level + 1))
                })
        }
        (Some(b'['), Some(b'[')) if level < MAX_DEPTH => {
            let (Ok(one), Ok(other)) =
                (one.decode::<Vec<RawJson>>(), other.decode::<Vec<RawJson>>())
            else {
                return false;
            };
            one.len() == other.len()
                && one
                    .iter()
                    .zip(&other)
                    .all(|(one, other)| same(one, other, level + 1))
        }
        (Some(b'"'), Some(b'"')) => {
            let text = |json: &RawJson| json.decode::<String>().ok();
            text(one).is_some() && text(one) == text(other)
        }
        (Some(b'-' | b'0'..=b'9'), Some(b'-' | b'0'..=b'9')) => {
            float(one).is_some() && float(one) == float(other)
        }
        _ => false,
    }
}

/// The text that all JSON texts have that are equal by [`json_eq`], and no others.
pub(crate) fn canonical(json: &RawJson) -> Vec<u8> {
    let mut text = Vec::new();
    write_canonical(json, 0, &mut text);
    text
}

fn write_canonical(json: &RawJson, level: usize, text: &mut Vec<u8>) {
    match json.bytes().first() {
        Some(b'{') if level < MAX_DEPTH => {
            if let Ok(object) = json.decode::<RawObject>() {
                let mut members: Vec<_> = object.iter().collect();
                members.sort_unstable_by_key(|(name, _)| *name);
                text.push(b'{');
                for (name, value) in members {
                    text.extend(name.len().to_string().bytes());
                    text.push(b':');
                    text.extend(name.bytes());
                    write_canonical(value, level + 1, text);
                    text.push(b',');
                }
                text.push(b'}');
                return;
            }
        }
        Some(b'[') if level < MAX_DEPTH => {
            if let Ok(list) = json.decode::<Vec<RawJson>>() {
                text.push(b'[');
                for value in &list {
                    write_canonical(value, level + 1, text);
                    text.push(b',');
                }
                text.push(b']');
                return;
            }
        }
        Some(b'"') => {
            if let Ok(string) = json.decode::<String>() {
                // With its length, so that it needs no escapes.
                text.extend(format!("\"{}:", string.len()).bytes());
                text.extend(string.bytes());
                return;
            }
        }
        Some(b'-' | b'0'..=b'9') => {
            if let Some(bits) = float(json) {
                text.extend(format!("float {bits:x}").bytes());
                return;
            }
        }
        _ => {}
    }
    text.extend(json.bytes());
}

/// The bits of a number that is written as a float.
fn float(json: &RawJson) -> Option<u64> {
    let text = json.as_str();
    if !text.contains(['.', 'e', 'E']) {
        return None;
    }
    let number: f64 = text.parse().ok()?;
    number.is_finite().then(|| number.to_bits())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meaning_is_compared_not_text() {
        let same = |one: &str, other: &str| {
            let [one, other] = [one, other].map(|text| RawJson::parse(text.to_owned()).unwrap());
            let are_equal = json_eq(&one, &other);
            assert_eq!(are_equal, canonical(&one) == canonical(&other));
            are_equal
        };
        for (one, other) in [
            (r#"{"a":[1, 2.50],"b":null}"#, r#"{"b":null,"a":[1,2.5]}"#),
            (r#""\u00e9""#, "\"é\""),
            ("1e2", "100.0"),
        ] {
            assert!(same(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("1", "1.0"),
            ("0.0", "-0.0"),
            ("100000000000000000000000001", "100000000000000000000000002"),
            (r#"{"a":1}"#, r#"{"a":1,"b":1}"#),
            ("[1]", "[1,1]"),
            ("null", "false"),
            ("1", "\"1\""),
            (r#"["a","b"]"#, r#"["a,\"1:b"]"#),
            (r#"{"a":1}"#, r#"{"a:1":1}"#),
        ] {
            assert!(!same(one, other), "{one} {other}");
        }
    }
}
