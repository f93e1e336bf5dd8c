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
