//! Stored values, made readable.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;

use super::msgpack::{self, Undecoded};
use crate::checkpoint::{Checkpoint, TypedValue};
use crate::codec::{RawJson, RawObject};
use crate::error::Result;

/// A stored value as it can be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Readable {
    /// The value as JSON text.
    Json(RawJson),
    /// A value that is not shown.
    Opaque {
        /// Its type, as the serializer named it.
        type_name: String,
        /// Its size.
        bytes: u64,
        /// Why it is not shown: a phrase such as `it is pickled`.
        reason: &'static str,
    },
}

impl Readable {
    /// The JSON text, if it can be shown.
    pub(crate) fn json(&self) -> Option<&RawJson> {
        match self {
            Self::Json(json) => Some(json),
            Self::Opaque { .. } => None,
        }
    }

    /// The value as one text: a string without its quotes, other JSON as it is, or the type and
    /// size of what is not shown.
    pub(crate) fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Json(json) => plain_text(json),
            Self::Opaque {
                type_name,
                bytes,
                reason,
            } => Cow::Owned(format!("({type_name}, {bytes} bytes: {reason})")),
        }
    }
}

/// The value of a write, of any type that LangGraph's serializer or this project's gives.
pub(crate) fn readable(value: &TypedValue) -> Readable {
    let json = match value.type_name.as_str() {
        "json" => RawJson::parse(value.blob.clone()).map_err(|_| "it is not JSON"),
        "null" | "empty" => Ok(RawJson::trusted("null")),
        // JSON beside the types of what JSON has no form for.
        "json_typed" => RawObject::parse(value.blob.clone())
            .ok()
            .and_then(|joined| joined.get("value").cloned())
            .ok_or("it is not JSON"),
        "msgpack" => msgpack::to_json(&value.blob).map_err(|undecoded| match undecoded {
            Undecoded::Malformed => "it is not MessagePack",
            Undecoded::TooDeep => "it is nested too deep",
            Undecoded::TooLarge => "it is too large to be decoded here",
        }),
        "pickle" => Err("it is pickled, and to read it could run code"),
        "bytes" | "bytearray" => msgpack::small_binary(&value.blob).ok_or("it is binary"),
        other if other.contains('+') => Err("it is encrypted by the writer"),
        _ => Err("only the writer's serializer can read it"),
    };
    json.map_or_else(
        |reason| Readable::Opaque {
            type_name: value.type_name.clone(),
            bytes: value.blob.len() as u64,
            reason,
        },
        Readable::Json,
    )
}

/// The values of a checkpoint's channels in their stored order, with the bytes that each takes.
///
/// A saver with a serializer of its own keeps each value as a type and bytes in base64, which are
/// decoded here.
///
/// # Errors
/// [`Error::InvalidInput`](crate::Error::InvalidInput) if they are no object.
pub(crate) fn channels(checkpoint: &Checkpoint) -> Result<Vec<Channel>> {
    let typed = has_envelopes(checkpoint);
    let values = checkpoint.channel_values()?;
    Ok(values
        .iter()
        .map(|(name, stored)| Channel {
            name: name.to_owned(),
            bytes: stored.bytes().len() as u64,
            value: if typed {
                opened(stored)
            } else {
                Readable::Json(stored.clone())
            },
        })
        .collect())
}

/// The value of one channel; `None` if it has none, or if the values are no object.
pub(crate) fn channel(checkpoint: &Checkpoint, name: &str) -> Option<Readable> {
    let values = checkpoint.channel_values().ok()?;
    let stored = values.get(name)?;
    Some(if has_envelopes(checkpoint) {
        opened(stored)
    } else {
        Readable::Json(stored.clone())
    })
}

/// Whether an object is the constructor form, `{"lc":…,"type":"constructor","id":[…]}`, of a class
/// of this name.
pub(crate) fn is_constructor(form: &RawObject, name: &str) -> bool {
    constructed(form).is_some_and(|class| class == name)
}

/// The name of the class of which an object is the constructor form.
pub(crate) fn constructed(form: &RawObject) -> Option<String> {
    let kind: String = form.get("type")?.decode().ok()?;
    let id: Vec<String> = form.get("id")?.decode().ok()?;
    let ours = form.get("lc").is_some() && kind == "constructor";
    ours.then(|| id.into_iter().next_back()).flatten()
}

/// A channel of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Channel {
    pub(crate) name: String,
    /// The length of the stored value.
    pub(crate) bytes: u64,
    pub(crate) value: Readable,
}

/// Whether the values of a checkpoint are envelopes of a type and bytes, as the Python package says
/// in `value_types`.
fn has_envelopes(checkpoint: &Checkpoint) -> bool {
    let types = checkpoint.fields().get("value_types");
    types.is_some_and(|types| types.as_str() == "\"typed\"")
}

/// The value in an envelope; what is none stays as it is.
fn opened(stored: &RawJson) -> Readable {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(rename = "type")]
        type_name: Cow<'a, str>,
        blob: Cow<'a, str>,
    }
    let Ok(envelope) = stored.decode::<Envelope<'_>>() else {
        return Readable::Json(stored.clone());
    };
    match BASE64.decode(envelope.blob.as_bytes()) {
        Ok(blob) => readable(&TypedValue::new(envelope.type_name, blob)),
        Err(_) => Readable::Json(stored.clone()),
    }
}

/// JSON as text for people: a string without its quotes, all else as it is.
pub(crate) fn plain_text(json: &RawJson) -> Cow<'_, str> {
    match json.decode::<String>() {
        Ok(text) => Cow::Owned(text),
        Err(_) => Cow::Borrowed(json.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What LangGraph's `JsonPlusSerializer` made of values, in base64.
    const MIXED: &str = "i6FkxzsDlKhkYXRldGltZahkYXRldGltZbkyMDI0LTA1LTA2VDA3OjA4OjA5KzAwOjAwrWZyb21pc29mb3JtYXShdcctAJOkdXVpZKRVVUlE2SAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMaNkZWPHFgCTp2RlY2ltYWynRGVjaW1hbKQxLjEwoXPYAJOoYnVpbHRpbnOjc2V0kQGhYsQCAP+hcMcaAZOncGF0aGxpYqlQb3NpeFBhdGiToS+hYaFio3NlY8ciAJOucHlkYW50aWMudHlwZXOpU2VjcmV0U3Ryp2h1bnRlcjIBoWukc2VuZMcdAZOvbGFuZ2dyYXBoLnR5cGVzpFNlbmSSoW6BoWEBoW7Lf/gAAAAAAACidGTHGAGTqGRhdGV0aW1lqXRpbWVkZWx0YZMBAAA=";

    fn packed(base64: &str) -> TypedValue {
        TypedValue::new("msgpack", BASE64.decode(base64).unwrap())
    }

    fn reason(value: &TypedValue) -> &'static str {
        match readable(value) {
            Readable::Json(json) => panic!("{json:?}"),
            Readable::Opaque { reason, .. } => reason,
        }
    }

    #[test]
    fn what_langgraph_packs_is_read_and_a_secret_is_not_shown() {
        let Readable::Json(json) = readable(&packed(MIXED)) else {
            panic!("it is decoded");
        };
        assert_eq!(
            json.as_str(),
            concat!(
                r#"{"d":"2024-05-06T07:08:09+00:00","u":"00000000000000000000000000000001","#,
                r#""dec":"1.10","s":{"lc":2,"type":"constructor","id":["builtins","set"],"#,
                r#""args":[[1]]},"b":{"__bytes__":"AP8="},"p":"/a/b","sec":"**********","1":"k","#,
                r#""send":{"__send__":true,"node":"n","arg":{"a":1}},"n":"nan","#,
                r#""td":{"lc":2,"type":"constructor","id":["datetime","timedelta"],"args":[1,0,0]}}"#
            )
        );
    }

    #[test]
    fn what_cannot_be_read_says_what_it_is_and_why() {
        let value = |kind: &str| TypedValue::new(kind, "abc");
        assert_eq!(
            readable(&value("pickle")).text(),
            "(pickle, 3 bytes: it is pickled, and to read it could run code)"
        );
        assert_eq!(reason(&value("json")), "it is not JSON");
        assert_eq!(reason(&value("msgpack")), "it is not MessagePack");
        assert_eq!(
            reason(&value("msgpack+aes")),
            "it is encrypted by the writer"
        );
        assert_eq!(
            reason(&value("custom")),
            "only the writer's serializer can read it"
        );
    }

    #[test]
    fn bytes_that_others_wrote_cannot_exhaust_stack_or_memory() {
        let deep = TypedValue::new("msgpack", [vec![0x91; 100_000], vec![0xc0]].concat());
        assert_eq!(reason(&deep), "it is nested too deep");
        // An array that says it has four billion items.
        let long = TypedValue::new("msgpack", vec![0xdd, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(reason(&long), "it is not MessagePack");
        let large = TypedValue::new(
            "msgpack",
            [vec![0xc6, 0, 32, 0, 0], vec![0; 1 << 21]].concat(),
        );
        assert_eq!(reason(&large), "it is too large to be decoded here");
        // Extensions in extensions, each of one argument.
        let mut nested = vec![0xc0];
        for _ in 0..200 {
            let inner = [&[0x93, 0xa1, b'm', 0xa1, b'n'][..], &nested].concat();
            let length = u32::try_from(inner.len()).unwrap().to_be_bytes();
            nested = [&[0xc9][..], &length, &[0], &inner].concat();
        }
        assert_eq!(
            reason(&TypedValue::new("msgpack", nested)),
            "it is nested too deep"
        );
    }

    #[test]
    fn the_values_of_a_serializer_of_its_own_are_taken_out_of_their_envelopes() {
        let checkpoint = Checkpoint::from_json(
            r#"{"id":"1","value_types":"typed","channel_values":{"a":{"type":"json","blob":"WzFd"},"b":{"type":"null","blob":""},"c":3}}"#,
        )
        .unwrap();
        let shown = |json: &'static str| Readable::Json(RawJson::parse(json).unwrap());
        let values: Vec<_> = channels(&checkpoint)
            .unwrap()
            .into_iter()
            .map(|channel| channel.value)
            .collect();
        assert_eq!(values, [shown("[1]"), shown("null"), shown("3")]);
        assert_eq!(channel(&checkpoint, "a"), Some(shown("[1]")));
    }
}
