//! A JSON object, parsed one level deep.

use std::borrow::Cow;
use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use indexmap::IndexMap;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::RawJson;
use crate::error::{Error, Result};

/// A JSON object whose values are kept as the text that they came as, in their order.
///
/// ```
/// use langgraph_checkpoint_redis::{RawJson, RawObject};
/// let object = RawObject::parse(r#"{"b": [1, 2], "a": null}"#)?;
/// assert_eq!(object.get("b").map(RawJson::as_str), Some("[1, 2]"));
/// assert_eq!(object.to_json().as_str(), r#"{"b":[1, 2],"a":null}"#);
/// # Ok::<(), langgraph_checkpoint_redis::Error>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RawObject(IndexMap<Box<str>, RawJson>);

impl RawObject {
    /// An object without members.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Parses an object in one pass; the values are not copied but share its text.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if the text is not one JSON object.
    pub fn parse(text: impl Into<Bytes>) -> Result<Self> {
        let text: Bytes = text.into();
        let members: Members<'_> = serde_json::from_slice(&text)
            .map_err(|error| Error::invalid("the JSON object", error.to_string()))?;
        Ok(members.share(&text))
    }

    /// The value of a member.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&RawJson> {
        self.0.get(name)
    }

    /// Sets a member; a new one comes last.
    pub fn insert(&mut self, name: impl Into<Box<str>>, value: RawJson) -> Option<RawJson> {
        self.0.insert(name.into(), value)
    }

    /// Removes a member, keeping the order of the others.
    pub fn remove(&mut self, name: &str) -> Option<RawJson> {
        self.0.shift_remove(name)
    }

    /// The members in their order.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &RawJson)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    /// How many members there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The object as JSON text.
    #[must_use]
    pub fn to_json(&self) -> RawJson {
        let mut text = BytesMut::with_capacity(self.text_len() + 2);
        text.put_u8(b'{');
        self.write_members(&mut text);
        text.put_u8(b'}');
        RawJson::trusted(text.freeze())
    }

    /// About how many bytes the members take as text.
    pub(crate) fn text_len(&self) -> usize {
        self.iter()
            .map(|(name, value)| name.len() + value.bytes().len() + 4)
            .sum()
    }

    /// Writes `"name":value,…` without braces.
    pub(crate) fn write_members(&self, text: &mut BytesMut) {
        for (position, (name, value)) in self.iter().enumerate() {
            if position > 0 {
                text.put_u8(b',');
            }
            write_string(text, name);
            text.put_u8(b':');
            text.put_slice(value.bytes());
        }
    }
}

/// Writes a JSON string.
pub(crate) fn write_string(text: &mut BytesMut, string: &str) {
    // A string has a JSON form and a buffer in memory takes it, so this cannot fail.
    let _ = serde_json::to_writer(text.writer(), string);
}

impl fmt::Debug for RawObject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Into<Box<str>>> FromIterator<(K, RawJson)> for RawObject {
    fn from_iter<I: IntoIterator<Item = (K, RawJson)>>(members: I) -> Self {
        Self(
            members
                .into_iter()
                .map(|(name, value)| (name.into(), value))
                .collect(),
        )
    }
}

impl Serialize for RawObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for RawObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IndexMap::deserialize(deserializer).map(Self)
    }
}

/// The members of an object, borrowed from its text.
#[derive(Debug, Default)]
pub(crate) struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl Members<'_> {
    /// The same members, sharing `text`, which they were parsed from.
    pub(crate) fn share(self, text: &Bytes) -> RawObject {
        self.0
            .into_iter()
            .map(|(name, value)| {
                (
                    name,
                    RawJson::trusted(text.slice_ref(value.get().as_bytes())),
                )
            })
            .collect()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    members.push((name, map.next_value()?));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}

/// The name of a member: borrowed unless it holds an escape.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_share_the_text_they_were_parsed_from() {
        let text = Bytes::from_static(br#"{"a":{"b":[1,2,3]},"n\u0000":1}"#);
        let object = RawObject::parse(text.clone()).unwrap();
        let value = object.get("a").unwrap().bytes();
        assert!(text.as_ptr_range().contains(&value.as_ptr()));
        assert_eq!(object.get("n\0").unwrap().as_str(), "1");
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["[]", "1", "{", "{\"a\":}", "{\"a\":1} x"] {
            assert!(RawObject::parse(text).is_err(), "{text}");
        }
    }
}
