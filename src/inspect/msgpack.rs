//! MessagePack as LangGraph writes it, turned into JSON to be read by people.
//!
//! The extension types are those of LangGraph's `JsonPlusSerializer`. An object becomes what the
//! Python saver stores of it as JSON: `{"lc":2,"type":"constructor","id":[…],"kwargs":{…}}`.
//! Nothing is imported or called.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{BufMut, BytesMut};
use rmpv::ValueRef;
use rmpv::decode::read_value_ref_with_max_depth;
use serde::Serialize;

use crate::codec::RawJson;

/// The depth to which values are decoded, extension types included.
const MAX_DEPTH: usize = 64;
/// The levels that the decoder counts for the bytes of a text or an extension.
const LEAF: usize = 4;
/// The longest text that is decoded, in bytes: a decoded value takes up to 40 times as much memory.
const MAX_BYTES: usize = 1024 * 1024;
/// The longest JSON text that is made, in bytes.
const MAX_JSON: usize = 8 * MAX_BYTES;
/// The longest binary value that is given in full, in bytes.
const MAX_BINARY: usize = 256;

/// Why a value is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Undecoded {
    Malformed,
    TooDeep,
    TooLarge,
}

/// Turns one MessagePack value into JSON.
pub(super) fn to_json(packed: &[u8]) -> Result<RawJson, Undecoded> {
    let mut json = BytesMut::with_capacity(packed.len() * 2);
    write_packed(&mut json, packed, MAX_DEPTH)?;
    // Every branch below writes one JSON value.
    RawJson::parse(json.freeze()).map_err(|_| Undecoded::Malformed)
}

fn write_packed(json: &mut BytesMut, packed: &[u8], depth: usize) -> Result<(), Undecoded> {
    write(json, &read(packed, depth)?, depth)
}

fn read(packed: &[u8], depth: usize) -> Result<ValueRef<'_>, Undecoded> {
    if packed.len() > MAX_BYTES {
        return Err(Undecoded::TooLarge);
    }
    let mut rest = packed;
    let value =
        read_value_ref_with_max_depth(&mut rest, depth + LEAF).map_err(|error| match error {
            rmpv::decode::Error::DepthLimitExceeded => Undecoded::TooDeep,
            _ => Undecoded::Malformed,
        })?;
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(Undecoded::Malformed)
    }
}

fn write(json: &mut BytesMut, value: &ValueRef<'_>, depth: usize) -> Result<(), Undecoded> {
    if json.len() > MAX_JSON {
        return Err(Undecoded::TooLarge);
    }
    let inner = depth.checked_sub(1).ok_or(Undecoded::TooDeep)?;
    match value {
        ValueRef::Nil => json.put_slice(b"null"),
        ValueRef::Boolean(value) => put(json, value),
        ValueRef::Integer(value) => match (value.as_u64(), value.as_i64()) {
            (Some(value), _) => put(json, &value),
            (None, value) => put(json, &value),
        },
        ValueRef::F32(value) => float(json, f64::from(*value)),
        ValueRef::F64(value) => float(json, *value),
        ValueRef::String(text) => put(json, &String::from_utf8_lossy(text.as_bytes())),
        ValueRef::Binary(bytes) => binary(json, bytes),
        ValueRef::Array(items) => list(json, items, inner)?,
        ValueRef::Map(members) => {
            json.put_u8(b'{');
            for (position, (name, value)) in members.iter().enumerate() {
                if position > 0 {
                    json.put_u8(b',');
                }
                key(json, name, inner)?;
                json.put_u8(b':');
                write(json, value, inner)?;
            }
            json.put_u8(b'}');
        }
        ValueRef::Ext(kind, payload) => extension(json, *kind, payload, inner)?,
    }
    Ok(())
}

fn list(json: &mut BytesMut, items: &[ValueRef<'_>], depth: usize) -> Result<(), Undecoded> {
    json.put_u8(b'[');
    for (position, item) in items.iter().enumerate() {
        if position > 0 {
            json.put_u8(b',');
        }
        write(json, item, depth)?;
    }
    json.put_u8(b']');
    Ok(())
}

/// The name of a member: what is not text is its JSON.
fn key(json: &mut BytesMut, name: &ValueRef<'_>, depth: usize) -> Result<(), Undecoded> {
    if let ValueRef::String(text) = name {
        put(json, &String::from_utf8_lossy(text.as_bytes()));
        return Ok(());
    }
    let mut text = BytesMut::new();
    write(&mut text, name, depth)?;
    put(json, &String::from_utf8_lossy(&text));
    Ok(())
}

/// JSON has no name for a number that is not finite; Python's is shown.
fn float(json: &mut BytesMut, value: f64) {
    if value.is_finite() {
        put(json, &value);
    } else if value.is_nan() {
        put(json, "nan");
    } else {
        put(json, if value > 0.0 { "inf" } else { "-inf" });
    }
}

fn binary(json: &mut BytesMut, bytes: &[u8]) {
    match small_binary(bytes) {
        Some(form) => json.put_slice(form.bytes()),
        None => put(json, &format!("({} bytes)", bytes.len())),
    }
}

/// A short binary value as the Python saver stores it in JSON, `{"__bytes__":"base64"}`.
pub(super) fn small_binary(bytes: &[u8]) -> Option<RawJson> {
    let short = bytes.len() <= MAX_BINARY;
    short.then(|| serde_json::json!({"__bytes__": BASE64.encode(bytes)}).into())
}

/// The extension types of LangGraph's serializer, by the numbers that it gives them.
fn extension(json: &mut BytesMut, kind: i8, payload: &[u8], depth: usize) -> Result<(), Undecoded> {
    if kind == 7 {
        // The value of a delta channel.
        return write_packed(json, payload, depth);
    }
    let form = (0..=6).contains(&kind).then(|| read(payload, depth));
    let parts = match form.transpose()? {
        Some(ValueRef::Array(parts)) => parts,
        Some(_) => return Err(Undecoded::Malformed),
        None => {
            put(
                json,
                &format!("(extension type {kind}, {} bytes)", payload.len()),
            );
            return Ok(());
        }
    };
    if kind == 6 {
        return array(json, &parts, depth);
    }
    let [module, name, argument, ..] = &parts[..] else {
        return Err(Undecoded::Malformed);
    };
    let (Some(module), Some(name)) = (text(module), text(name)) else {
        return Err(Undecoded::Malformed);
    };
    match (kind, argument) {
        // As pydantic itself prints a secret.
        (0, _) if matches!(name, "SecretStr" | "SecretBytes") => put(json, "**********"),
        // A UUID, a decimal, an address, a member of an enumeration, a time: its text says it.
        (0 | 3, ValueRef::String(_) | ValueRef::Integer(_)) => write(json, argument, depth)?,
        (0 | 3, _) => constructor(json, module, name, "args", |json| {
            list(json, std::slice::from_ref(argument), depth)
        })?,
        (1, ValueRef::Array(parts)) if is_path(module, name) => {
            let parts: Vec<_> = parts.iter().filter_map(text).collect();
            put(json, &parts.join("/").replacen("//", "/", 1));
        }
        (1, ValueRef::Array(arguments)) if (module, name) == ("langgraph.types", "Send") => {
            send(json, arguments, depth)?;
        }
        (1, _) => constructor(json, module, name, "args", |json| {
            write(json, argument, depth)
        })?,
        _ => constructor(json, module, name, "kwargs", |json| {
            write(json, argument, depth)
        })?,
    }
    Ok(())
}

fn is_path(module: &str, name: &str) -> bool {
    module.starts_with("pathlib") && name.ends_with("Path")
}

/// `Send(node, arg)`, as the Python saver stores it in JSON.
fn send(json: &mut BytesMut, arguments: &[ValueRef<'_>], depth: usize) -> Result<(), Undecoded> {
    let [node, argument, ..] = arguments else {
        return Err(Undecoded::Malformed);
    };
    json.put_slice(b"{\"__send__\":true,\"node\":");
    write(json, node, depth)?;
    json.put_slice(b",\"arg\":");
    write(json, argument, depth)?;
    json.put_u8(b'}');
    Ok(())
}

/// A numpy array: its type and shape.
fn array(json: &mut BytesMut, parts: &[ValueRef<'_>], depth: usize) -> Result<(), Undecoded> {
    let [kind, shape, ..] = parts else {
        return Err(Undecoded::Malformed);
    };
    constructor(json, "numpy", "ndarray", "kwargs", |json| {
        json.put_slice(b"{\"dtype\":");
        write(json, kind, depth)?;
        json.put_slice(b",\"shape\":");
        write(json, shape, depth)?;
        json.put_u8(b'}');
        Ok(())
    })
}

fn constructor(
    json: &mut BytesMut,
    module: &str,
    name: &str,
    with: &str,
    arguments: impl FnOnce(&mut BytesMut) -> Result<(), Undecoded>,
) -> Result<(), Undecoded> {
    let id: Vec<&str> = module.split('.').chain([name]).collect();
    json.put_slice(b"{\"lc\":2,\"type\":\"constructor\",\"id\":");
    put(json, &id);
    json.put_u8(b',');
    put(json, with);
    json.put_u8(b':');
    arguments(json)?;
    json.put_u8(b'}');
    Ok(())
}

fn text<'a>(value: &'a ValueRef<'_>) -> Option<&'a str> {
    match value {
        ValueRef::String(text) => text.as_str(),
        _ => None,
    }
}

/// Writes a value that has a JSON form: text, a number, a list of texts.
fn put<T: Serialize + ?Sized>(json: &mut BytesMut, value: &T) {
    // A buffer in memory takes it, so this cannot fail.
    let _ = serde_json::to_writer(json.writer(), value);
}
