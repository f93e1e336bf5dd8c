//! Checkpoints that are any JSON object, returned verbatim.
//!
//! The saver needs an id and channels that are objects, and drops the members that the Python saver
//! adds to a stored checkpoint. A checkpoint that would not be returned verbatim is therefore
//! stored as text in a member of its own.

use axum::body::Bytes;

use crate::checkpoint::Checkpoint;
use crate::codec::{RawJson, RawObject};
use crate::error::{Error, Result};
use crate::id::CheckpointId;

/// The member that holds the text of a checkpoint.
const AS_GIVEN: &str = "__as_given__";

/// The checkpoint to store for an object.
pub(super) fn checkpoint_of(text: Bytes, id: &CheckpointId) -> Result<Checkpoint> {
    let fields = RawObject::parse(text.clone())
        .map_err(|error| Error::invalid("checkpoint", error.to_string()))?;
    if is_returned_verbatim(&fields, id) {
        return Checkpoint::from_fields(fields);
    }
    let given = RawJson::parse(text)?;
    let mut kept = RawObject::new();
    kept.insert("id", RawJson::encode(id.as_str())?);
    kept.insert("channel_values", RawJson::parse("{}")?);
    // The versions name the blobs.
    if let Some(versions) = fields.get("channel_versions").filter(|one| is_object(one)) {
        kept.insert("channel_versions", versions.clone());
    }
    kept.insert(AS_GIVEN, RawJson::encode(given.as_str())?);
    Checkpoint::from_fields(kept)
}

/// The object that a checkpoint was stored for.
pub(super) fn object_of(checkpoint: &Checkpoint) -> RawJson {
    let given = checkpoint.fields().get(AS_GIVEN);
    let given = given.and_then(|text| RawJson::parse(text.decode::<String>().ok()?).ok());
    given.unwrap_or_else(|| checkpoint.to_json())
}

fn is_returned_verbatim(fields: &RawObject, id: &CheckpointId) -> bool {
    let says = |name: &str, text: &str| fields.get(name).is_some_and(|one| one.as_str() == text);
    let names_itself = fields
        .get("id")
        .and_then(|own| own.decode::<String>().ok())
        .is_some_and(|own| own == id.as_str());
    names_itself
        && ["channel_values", "channel_versions"]
            .into_iter()
            .all(|name| fields.get(name).is_none_or(is_object))
        && !says("type", "\"json\"")
        && !says("type", "\"msgpack\"")
        && !says("pending_sends", "[]")
        && fields.get(AS_GIVEN).is_none()
}

fn is_object(value: &RawJson) -> bool {
    RawObject::parse(value.bytes().clone()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_object_is_returned_verbatim() {
        let id = CheckpointId::new("1f").unwrap();
        for (text, is_plain) in [
            (r#"{"id":"1f","channel_values":{"a":1}}"#, true),
            ("{}", false),
            (r#"{"id":"other","channel_versions":{"a":"1"}}"#, false),
            (r#"{"id":"1f","channel_values":[]}"#, false),
            (
                r#"{"id":"1f","channel_values":null,"channel_versions":3}"#,
                false,
            ),
            (r#"{"id":"1f","pending_sends":[]}"#, false),
            (r#"{"id":"1f","type":"json"}"#, false),
            (r#"{"id":"1f","__as_given__":"{}"}"#, false),
        ] {
            let stored = checkpoint_of(Bytes::from(text), &id).unwrap();
            assert_eq!(stored.id(), &id);
            assert_eq!(stored.fields().get(AS_GIVEN).is_none(), is_plain, "{text}");
            assert_eq!(object_of(&stored).as_str(), text);
        }
    }

    #[test]
    fn the_versions_that_name_blobs_stay_readable() {
        let id = CheckpointId::new("1f").unwrap();
        let text = r#"{"id":"other","channel_versions":{"a":"1"}}"#;
        let stored = checkpoint_of(Bytes::from(text), &id).unwrap();
        assert_eq!(stored.channel_versions().unwrap().len(), 1);
    }
}
