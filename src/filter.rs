//! Filters on metadata, with the equality of LangGraph's savers.

use serde_json::Value;

use crate::checkpoint::CheckpointMetadata;
use crate::codec::RawObject;
use crate::error::{Error, Result};
use crate::id::ThreadId;

/// The key that means the thread of a checkpoint and not its metadata.
const THREAD: &str = "thread_id";

/// What the metadata of a listed checkpoint must be: every key equal to its value.
///
/// Values are equal as JSON, numbers by value: `1` equals `1.0`. A key that is not there equals
/// `null`. The key `thread_id` is not looked for in the metadata: it means the checkpoint's thread.
///
/// ```
/// use langgraph_checkpoint_redis::{CheckpointMetadata, MetadataFilter};
/// let filter = MetadataFilter::new().with("score", 42)?;
/// assert!(filter.matches(&CheckpointMetadata::from_json(r#"{"score": 42.0}"#)?));
/// assert!(!filter.matches(&CheckpointMetadata::from_json(r#"{"score": "42"}"#)?));
/// # Ok::<(), langgraph_checkpoint_redis::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MetadataFilter {
    wanted: Vec<(String, Value)>,
    booleans_are_numbers: bool,
}

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
        let members = object.iter();
        let members = members.map(|(key, value)| Ok((key.to_owned(), value.decode()?)));
        Ok(Self {
            wanted: members.collect::<Result<_>>()?,
            booleans_are_numbers: false,
        })
    }

    /// The same filter with Python's equality, in which `true` equals `1` and `false` equals `0`.
    /// It is lost where a filter is sent over HTTP.
    ///
    /// ```
    /// use langgraph_checkpoint_redis::{CheckpointMetadata, MetadataFilter};
    /// let filter = MetadataFilter::new().with("flags", [1, 0])?;
    /// let metadata = CheckpointMetadata::from_json(r#"{"flags": [true, 0.0]}"#)?;
    /// assert!(!filter.matches(&metadata));
    /// assert!(filter.with_booleans_as_numbers().matches(&metadata));
    /// # Ok::<(), langgraph_checkpoint_redis::Error>(())
    /// ```
    #[must_use]
    pub fn with_booleans_as_numbers(mut self) -> Self {
        self.booleans_are_numbers = true;
        self
    }

    /// The same filter with one more key that must be equal.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if the value has no JSON form.
    pub fn with(mut self, key: impl Into<String>, value: impl serde::Serialize) -> Result<Self> {
        let value = serde_json::to_value(value)
            .map_err(|error| Error::invalid("filter", error.to_string()))?;
        self.wanted.push((key.into(), value));
        Ok(self)
    }

    /// Whether everything passes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// The thread whose checkpoints alone can pass, if the filter names one.
    pub(crate) fn thread(&self) -> Option<ThreadId> {
        let (_, wanted) = self.wanted.iter().find(|(key, _)| key == THREAD)?;
        ThreadId::new(wanted.as_str()?).ok()
    }

    /// The same filter where threads have a prefix more: the thread that it names gets it.
    pub(crate) fn with_thread_prefix(mut self, prefix: &str) -> Self {
        for (key, wanted) in &mut self.wanted {
            if key == THREAD {
                // No thread is named by anything but text that is not empty.
                *wanted = match wanted {
                    Value::String(thread) if !thread.is_empty() => {
                        Value::String(format!("{prefix}{thread}"))
                    }
                    _ => Value::Null,
                };
            }
        }
        self
    }

    /// The filter as JSON text, as [`from_json`](Self::from_json) takes it.
    #[cfg(feature = "http")]
    pub(crate) fn to_json(&self) -> crate::codec::RawJson {
        let members = self.wanted.iter();
        let members = members.map(|(key, value)| (key.as_str(), value.clone().into()));
        members.collect::<RawObject>().to_json()
    }

    /// Whether metadata passes, whatever the thread is.
    #[must_use]
    pub fn matches(&self, metadata: &CheckpointMetadata) -> bool {
        let mut wanted = self.wanted.iter().filter(|(key, _)| key != THREAD);
        wanted.all(|(key, wanted)| {
            let found = metadata.get::<Value>(key).ok().flatten();
            self.equal(wanted, &found.unwrap_or(Value::Null))
        })
    }

    /// Whether the metadata of one of a thread's checkpoints passes.
    pub(crate) fn matches_in(&self, thread: &ThreadId, metadata: &CheckpointMetadata) -> bool {
        let mut threads = self.wanted.iter().filter(|(key, _)| key == THREAD);
        threads.all(|(_, wanted)| wanted.as_str() == Some(thread.as_str()))
            && self.matches(metadata)
    }

    fn equal(&self, one: &Value, other: &Value) -> bool {
        match (one, other) {
            (Value::Number(one), Value::Number(other)) => {
                one == other
                    || (one.as_i64().is_none() || other.as_i64().is_none())
                        && one.as_f64() == other.as_f64()
            }
            (Value::Bool(flag), number @ Value::Number(_))
            | (number @ Value::Number(_), Value::Bool(flag)) => {
                self.booleans_are_numbers && number.as_f64() == Some(f64::from(u8::from(*flag)))
            }
            (Value::Array(one), Value::Array(other)) => {
                one.len() == other.len()
                    && one
                        .iter()
                        .zip(other)
                        .all(|(one, other)| self.equal(one, other))
            }
            (Value::Object(one), Value::Object(other)) => {
                one.len() == other.len()
                    && one.iter().all(|(key, value)| {
                        other.get(key).is_some_and(|found| self.equal(value, found))
                    })
            }
            _ => one == other,
        }
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
    fn a_thread_id_means_the_thread_alone() {
        let metadata = CheckpointMetadata::from_json(r#"{"thread_id":"b","a":1}"#).unwrap();
        let thread = ThreadId::new("a").unwrap();
        let filter = |text: &'static str| MetadataFilter::from_json(text).unwrap();
        assert!(filter(r#"{"thread_id":"a","a":1}"#).matches_in(&thread, &metadata));
        for other in [r#"{"thread_id":"b"}"#, r#"{"thread_id":null}"#] {
            assert!(!filter(other).matches_in(&thread, &metadata), "{other}");
        }
        assert!(!filter(r#"{"thread_id":"a","a":2}"#).matches_in(&thread, &metadata));
    }

    #[test]
    fn booleans_are_numbers_only_where_that_is_asked_for() {
        let text = r#"{"one":1,"yes":true,"no":false,"deep":[{"x":[0,true]}]}"#;
        let metadata = CheckpointMetadata::from_json(text).unwrap();
        for (text, equal) in [
            (r#"{"one":true}"#, true),
            (r#"{"yes":1.0,"no":-0.0}"#, true),
            (r#"{"deep":[{"x":[false,1]}]}"#, true),
            (r#"{"yes":2}"#, false),
            (r#"{"no":null}"#, false),
            (r#"{"no":""}"#, false),
            (r#"{"yes":"1"}"#, false),
        ] {
            let filter = MetadataFilter::from_json(text).unwrap();
            assert!(!filter.matches(&metadata), "{text}");
            assert_eq!(
                filter.with_booleans_as_numbers().matches(&metadata),
                equal,
                "{text}"
            );
        }
    }

    #[test]
    fn a_filter_that_is_no_object_is_refused() {
        assert!(MetadataFilter::from_json("[]").is_err());
    }
}
