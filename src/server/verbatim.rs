//! Checkpoints as the service's callers give them: any JSON object.
//!
//! The saver wants an id, and channels that are objects; and of what the Python saver adds to a
//! stored checkpoint it takes away what looks the same. A checkpoint that would not come back as
//! it went in is therefore stored whole as text, in a member of its own.

use axum::body::Bytes;

use crate::checkpoint::Checkpoint;
use crate::codec::{RawJson, RawObject};
use crate::error::{Error, Result};
use crate::id::CheckpointId;

/// The member that holds a checkpoint as it was given.
const AS_GIVEN: &str = "__as_given__";

/// A checkpoint to store for an object that was given.
pub(super) fn stored(text: Bytes, id: &CheckpointId) -> Result<Checkpoint> {
    let fields = RawObject::parse(text.clone())
        .map_err(|error| Error::invalid("checkpoint", error.to_string()))?;
    if comes_back(&fields, id) {
        return Checkpoint::from_fields(fields);
    }
    let given = RawJson::parse(text)?;
    let mut kept = RawObject::new();
    kept.insert("id", RawJson::encode(id.as_str())?);
    kept.insert("channel_values", RawJson::parse("{}")?);
    // They name the blobs.
    if let Some(versions) = fields.get("channel_versions").filter(|one| is_object(one)) {
        kept.insert("channel_versions", versions.clone());
    }
    kept.insert(AS_GIVEN, RawJson::encode(given.as_str())?);
    Checkpoint::from_fields(kept)
}

/// The object that was given for a checkpoint.
pub(super) fn given(checkpoint: &Checkpoint) -> RawJson {
    let given = checkpoint.fields().get(AS_GIVEN);
    let given = given.and_then(|text| RawJson::parse(text.decode::<String>().ok()?).ok());
    given.unwrap_or_else(|| checkpoint.to_json())
}

fn comes_back(fields: &RawObject, id: &CheckpointId) -> bool {
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
    fn any_object_comes_back_as_it_went_in() {
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
            let stored = stored(Bytes::from(text), &id).unwrap();
            assert_eq!(stored.id(), &id);
            assert_eq!(stored.fields().get(AS_GIVEN).is_none(), is_plain, "{text}");
            assert_eq!(given(&stored).as_str(), text);
        }
    }

    #[test]
    fn the_versions_that_name_blobs_stay_outside() {
        let id = CheckpointId::new("1f").unwrap();
        let text = r#"{"id":"other","channel_versions":{"a":"1"}}"#;
        let stored = stored(Bytes::from(text), &id).unwrap();
        assert_eq!(stored.channel_versions().unwrap().len(), 1);
    }
}
