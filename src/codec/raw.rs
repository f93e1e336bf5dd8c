//! One JSON value as verbatim text.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::error::{Error, Result};

/// One JSON value, kept as the text that it came as.
///
/// Cloning is cheap: the text is shared, also with the reply of the server that it was cut from.
/// The text is always valid JSON.
///
/// ```
/// use langgraph_checkpoint_redis::RawJson;
/// let value = RawJson::parse(r#"{"n": 1.10}"#)?;
/// assert_eq!(value.as_str(), r#"{"n": 1.10}"#);
/// assert_eq!(value.decode::<serde_json::Value>()?["n"], 1.1);
/// assert!(RawJson::parse("{").is_err());
/// # Ok::<(), langgraph_checkpoint_redis::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RawJson(Bytes);

impl RawJson {
    /// Takes JSON text; one pass checks that it is valid, and nothing is copied when the text is
    /// given as [`Bytes`] or a `Vec`.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if the text is not one JSON value.
    pub fn parse(text: impl Into<Bytes>) -> Result<Self> {
        let text: Bytes = text.into();
        let value = serde_json::from_slice::<&RawValue>(&text)
            .map_err(|error| Error::invalid("the JSON text", error.to_string()))?;
        let value = text.slice_ref(value.get().as_bytes());
        Ok(Self(value))
    }

    /// Encodes a value.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if the value has no JSON form, such as a map with keys that are
    /// not text.
    pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        serde_json::to_vec(value)
            .map(|text| Self(text.into()))
            .map_err(|error| Error::invalid("the value", format!("it has no JSON form: {error}")))
    }

    /// Wraps text that is known to be valid JSON: cut from valid JSON, or just encoded.
    pub(crate) fn trusted(text: impl Into<Bytes>) -> Self {
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // The text is JSON, hence UTF-8: every way to make one checks or keeps that.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The text as bytes, shared.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// Decodes the value, borrowing from the text where `T` can.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if the value is not a `T`.
    pub fn decode<'a, T: Deserialize<'a>>(&'a self) -> Result<T> {
        serde_json::from_slice(&self.0)
            .map_err(|error| Error::invalid("the JSON value", error.to_string()))
    }

    /// The text as `serde_json`'s own raw value.
    ///
    /// # Errors
    /// None in practice: the text is valid JSON. The signature is that of `serde_json`.
    pub fn to_raw_value(&self) -> Result<Box<RawValue>> {
        RawValue::from_string(self.as_str().to_owned())
            .map_err(|error| Error::invalid("the JSON text", error.to_string()))
    }
}

impl From<Box<RawValue>> for RawJson {
    fn from(value: Box<RawValue>) -> Self {
        let text: Box<str> = value.into();
        Self(Bytes::from(text.into_string()))
    }
}

impl From<serde_json::Value> for RawJson {
    fn from(value: serde_json::Value) -> Self {
        Self(Bytes::from(value.to_string()))
    }
}

impl fmt::Debug for RawJson {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl Serialize for RawJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_slice::<&RawValue>(&self.0)
            .map_err(serde::ser::Error::custom)?
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RawJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(Self::from)
    }
}
