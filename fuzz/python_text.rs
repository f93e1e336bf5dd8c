//! The property of the Python package's JSON text: what serde_json reads is read the same, and what
//! is written reads back as it was. Anything else is refused or, as in Python's json module, taken.

#[path = "../python/src/value/text.rs"]
mod text;

use serde_json::{Map, Value};
use text::{Malformed, Number, Reader, Text, write_float, write_int, write_str};

/// # Panics
/// If the property does not hold.
pub(crate) fn python_text(input: &[u8]) {
    let read = Reader::new(input).and_then(|mut reader| {
        let value = value(&mut reader, 0)?;
        if reader.is_at_end() {
            Ok(value)
        } else {
            Err(reader.error("trailing characters"))
        }
    });
    if let Ok(expected) = serde_json::from_slice::<Value>(input) {
        match read {
            Ok(value) => assert_eq!(value, expected),
            Err(Malformed(reason)) => panic!("{reason}, but it is {expected}"),
        }
    }
    if let Ok(text) = std::str::from_utf8(input) {
        let mut written = Vec::new();
        write_str(&mut written, text);
        let mut reader = Reader::new(&written).expect("it is UTF-8");
        assert!(matches!(reader.string(), Ok(Text::Str(read)) if read == text));
        assert!(reader.is_at_end());
        assert_eq!(
            serde_json::from_slice::<String>(&written).ok().as_deref(),
            Some(text)
        );
    }
    if let Some(bytes) = input.first_chunk::<8>() {
        let (float, whole) = (f64::from_le_bytes(*bytes), i64::from_le_bytes(*bytes));
        let mut written = Vec::new();
        write_int(&mut written, whole);
        assert!(matches!(number(&written), Number::Signed(read) if read == whole));
        if float.is_finite() {
            written.clear();
            write_float(&mut written, float);
            assert!(
                matches!(number(&written), Number::Float(read) if read.to_bits() == float.to_bits())
            );
        }
    }
}

fn number(text: &[u8]) -> Number<'_> {
    Reader::new(text)
        .and_then(|mut reader| reader.number())
        .expect("it was written as a number")
}

/// Reads a value as the package's decoder does, into what can be compared.
fn value(reader: &mut Reader<'_>, depth: usize) -> Result<Value, Malformed> {
    // serde_json goes no deeper.
    if depth > 128 {
        return Err(reader.error("too deep"));
    }
    match reader.peek() {
        b'[' => {
            reader.bump();
            let mut items = Vec::new();
            if reader.peek() == b']' {
                reader.bump();
                return Ok(Value::Array(items));
            }
            loop {
                items.push(value(reader, depth + 1)?);
                if reader.peek() != b',' {
                    reader.expect(b']')?;
                    return Ok(Value::Array(items));
                }
                reader.bump();
            }
        }
        b'{' => {
            reader.bump();
            let mut members = Map::new();
            if reader.peek() == b'}' {
                reader.bump();
                return Ok(Value::Object(members));
            }
            loop {
                reader.peek();
                let name = string(reader)?;
                reader.expect(b':')?;
                members.insert(name, value(reader, depth + 1)?);
                if reader.peek() != b',' {
                    reader.expect(b'}')?;
                    return Ok(Value::Object(members));
                }
                reader.bump();
            }
        }
        b'"' => string(reader).map(Value::String),
        b'n' if reader.keyword("null") => Ok(Value::Null),
        b't' if reader.keyword("true") => Ok(Value::Bool(true)),
        b'f' if reader.keyword("false") => Ok(Value::Bool(false)),
        first => Ok(match reader.number()? {
            // Python reads an integer, serde_json a float.
            Number::Signed(0) if first == b'-' => Value::from(-0.0),
            Number::Signed(number) => number.into(),
            // As serde_json has them: up to 64 bits as they are, beyond as floats.
            Number::Digits(digits) => match digits.parse::<u64>() {
                Ok(number) => number.into(),
                Err(_) => digits.parse::<f64>().map_or(Value::Null, Value::from),
            },
            Number::Float(number) => number.into(),
        }),
    }
}

fn string(reader: &mut Reader<'_>) -> Result<String, Malformed> {
    Ok(match reader.string()? {
        Text::Str(text) => text.into_owned(),
        // serde_json refuses these.
        Text::Surrogates(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
    })
}
