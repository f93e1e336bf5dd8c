//! What `fuzz/` and `tests/fuzzing.rs` ask of code that reads what others wrote: properties over
//! any bytes, which panic where one does not hold. No part of the interface.

use bytes::Bytes;
use serde_json::Value;

use crate::checkpoint::TypedValue;
use crate::codec::{RawJson, RawObject, exact};
use crate::inspect::messages::messages;
use crate::inspect::values::{Readable, readable};
pub use crate::redis::fuzzing::{compact, keys, replies};

/// JSON is taken as serde_json takes it and kept as it is, and what RedisJSON would change comes
/// back.
///
/// # Panics
/// If it does not.
pub fn json(input: &[u8]) {
    let text = Bytes::copy_from_slice(input);
    let is_json = serde_json::from_slice::<&serde_json::value::RawValue>(input).is_ok();
    let parsed = RawJson::parse(text.clone());
    assert_eq!(parsed.is_ok(), is_json, "RawJson and serde_json disagree");
    if let Ok(value) = parsed {
        assert_eq!(value.as_str().as_bytes(), input.trim_ascii());
        let stored = exact::wrap(&value);
        assert!(exact::is_kept(stored.bytes()), "{stored:?} is not kept");
        let read = exact::unwrap(&stored);
        if read != value {
            // Floats may come back in other digits.
            let values = [read, value].map(|json| json.decode::<Value>().ok());
            assert!(values[0].is_some() && values[0] == values[1], "{values:?}");
        }
    }
    if let Ok(object) = RawObject::parse(text) {
        let again = RawObject::parse(object.to_json().bytes().clone());
        assert_eq!(again.ok(), Some(object), "an object reads back as another");
    }
}

/// What others wrote as a value is told as JSON or as what it is, however it is made, and its
/// messages are found in it.
///
/// # Panics
/// If what is told is no JSON.
pub fn values(input: &[u8]) {
    for kind in ["msgpack", "json", "json_typed", "bytes"] {
        let value = TypedValue::new(kind, Bytes::copy_from_slice(input));
        if let Readable::Json(json) = readable(&value) {
            let again = RawJson::parse(json.bytes().clone());
            assert_eq!(
                again.ok().as_ref(),
                Some(&json),
                "{kind} is told as no JSON"
            );
            messages(&json);
        }
    }
}
