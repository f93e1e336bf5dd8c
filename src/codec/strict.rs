//! Structs from objects alone: what serde derives takes a list of the fields' values as well.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::{Deserialize, Deserializer, de};

/// A struct that was an object.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> de::Visitor<'de> for Visitor<T> {
            type Value = Object<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a JSON object")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(Visitor(PhantomData))
    }
}

/// Reads a struct from an object.
pub(crate) fn object<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Object::deserialize(deserializer).map(|object| object.0)
}

/// Reads a struct from an object, or nothing from null.
pub(crate) fn optional<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    let object: Option<Object<T>> = Option::deserialize(deserializer)?;
    Ok(object.map(|object| object.0))
}

/// Reads structs from a list of objects.
pub(crate) fn objects<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    let objects: Vec<Object<T>> = Vec::deserialize(deserializer)?;
    Ok(objects.into_iter().map(|object| object.0).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Inner<'a> {
        name: &'a str,
    }

    #[derive(Deserialize)]
    struct Outer<'a> {
        #[serde(borrow, deserialize_with = "object")]
        one: Inner<'a>,
        #[serde(borrow, default, deserialize_with = "optional")]
        other: Option<Inner<'a>>,
        #[serde(borrow, default, deserialize_with = "objects")]
        many: Vec<Inner<'a>>,
    }

    #[test]
    fn a_list_is_no_object() {
        let text = r#"{"one":{"name":"a"},"other":{"name":"b"},"many":[{"name":"c"}]}"#;
        let read: Outer<'_> = serde_json::from_str(text).unwrap();
        assert_eq!(read.one.name, "a");
        assert_eq!(read.other.unwrap().name, "b");
        assert_eq!(read.many[0].name, "c");
        for text in [
            r#"{"one":["a"]}"#,
            r#"{"one":{"name":"a"},"other":["b"]}"#,
            r#"{"one":{"name":"a"},"many":[["c"]]}"#,
        ] {
            assert!(serde_json::from_str::<Outer<'_>>(text).is_err(), "{text}");
        }
        assert!(serde_json::from_str::<Object<Inner<'_>>>(r#"["a"]"#).is_err());
    }
}
