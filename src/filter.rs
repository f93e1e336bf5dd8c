//! Filters on metadata, with the equality of LangGraph's savers.

use serde_json::Value;

use crate::checkpoint::CheckpointMetadata;
use crate::codec::RawObject;
use crate::error::{Error, Result};

/// What the metadata of a listed checkpoint must be: every key equal to its value.
///
/// A key that is not there equals `null`, and numbers are equal by value, as in Python.
///
/// ```
/// use langgraph_checkpoint_redis::{CheckpointMetadata, MetadataFilter};
/// let filter = MetadataFilter::new().with("score", 42)?;
/// assert!(filter.matches(&CheckpointMetadata::from_json(r#"{"score": 42.0}"#)?));
/// assert!(!filter.matches(&CheckpointMetadata::from_json(r#"{"score": "42"}"#)?));
/// # Ok::<(), langgraph_checkpoint_redis::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MetadataFilter(Vec<(String, Value)>);

impl MetadataFilter {
    /// A filter that everything passes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a filter as JSON text.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if the text is not a JSON object.
    pub fn from_json(text: impl Into<bytes::Bytes>) -> Result<Self> {
        let object = RawObject::parse(text).map_err(|_| {
            Error::invalid("filter", "it is not an object of metadata keys and values")
        })?;
        object
            .iter()
            .map(|(key, value)| Ok((key.to_owned(), value.decode()?)))
            .collect::<Result<_>>()
            .map(Self)
    }

    /// The same filter with one more key that must be equal.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if the value has no JSON form.
    pub fn with(mut self, key: impl Into<String>, value: impl serde::Serialize) -> Result<Self> {
        let value = serde_json::to_value(value)
            .map_err(|error| Error::invalid("filter", error.to_string()))?;
        self.0.push((key.into(), value));
        Ok(self)
    }

    /// Whether everything passes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The filter as JSON text, as [`from_json`](Self::from_json) takes it.
    #[cfg(feature = "http")]
    pub(crate) fn to_json(&self) -> crate::codec::RawJson {
        let members = self.0.iter();
        let members = members.map(|(key, value)| (key.as_str(), value.clone().into()));
        members.collect::<RawObject>().to_json()
    }

    /// Whether metadata passes.
    #[must_use]
    pub fn matches(&self, metadata: &CheckpointMetadata) -> bool {
        self.0.iter().all(|(key, wanted)| {
            let found = metadata.get::<Value>(key).ok().flatten();
            equal(wanted, &found.unwrap_or(Value::Null))
        })
    }
}

fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            one == other
                || (one.as_i64().is_none() || other.as_i64().is_none())
                    && one.as_f64() == other.as_f64()
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(key, value)| other.get(key).is_some_and(|found| equal(value, found)))
        }
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_key_equals_null_and_nothing_else() {
        let metadata = CheckpointMetadata::from_json(r#"{"a":{"b":[1,null]}}"#).unwrap();
        let passes =
            |text: &'static str| MetadataFilter::from_json(text).unwrap().matches(&metadata);
        assert!(passes("{}"));
        assert!(passes(r#"{"none":null}"#));
        assert!(passes(r#"{"a":{"b":[1.0,null]}}"#));
        assert!(!passes(r#"{"none":false}"#));
        assert!(!passes(r#"{"a":{"b":[1]}}"#));
    }

    #[test]
    fn a_filter_that_is_no_object_is_refused() {
        assert!(MetadataFilter::from_json("[]").is_err());
    }
}
