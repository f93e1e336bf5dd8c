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

/// Reads an integer as JSON Schema knows it: a number without a fraction, so that `5.0` is 5.
pub(crate) fn integer<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: TryFrom<i64>,
    D: Deserializer<'de>,
{
    struct Visitor;

    impl de::Visitor<'_> for Visitor {
        type Value = i64;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an integer of 64 bits")
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<i64, E> {
            Ok(number)
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<i64, E> {
            let unfit = || E::invalid_value(de::Unexpected::Unsigned(number), &self);
            i64::try_from(number).map_err(|_| unfit())
        }

        #[allow(clippy::cast_possible_truncation)] // It has no fraction and fits.
        fn visit_f64<E: de::Error>(self, number: f64) -> Result<i64, E> {
            // 2^53: beyond it another number may have been written than the one that was read.
            const EXACT: f64 = 9_007_199_254_740_992.0;
            if number.fract() == 0.0 && number.abs() <= EXACT {
                Ok(number as i64)
            } else {
                Err(E::invalid_value(de::Unexpected::Float(number), &self))
            }
        }
    }

    let number = deserializer.deserialize_i64(Visitor)?;
    T::try_from(number).map_err(|_| {
        let unfit = de::Unexpected::Signed(number);
        de::Error::invalid_value(unfit, &"a number that is not less than 0")
    })
}

/// The same, or nothing from null.
pub(crate) fn optional_integer<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: TryFrom<i64>,
    D: Deserializer<'de>,
{
    struct Integer<T>(T);

    impl<'de, T: TryFrom<i64>> Deserialize<'de> for Integer<T> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            integer(deserializer).map(Self)
        }
    }

    let number: Option<Integer<T>> = Option::deserialize(deserializer)?;
    Ok(number.map(|number| number.0))
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

    #[derive(Deserialize)]
    struct Numbers {
        #[serde(deserialize_with = "integer")]
        any: i64,
        #[serde(default, deserialize_with = "optional_integer")]
        count: Option<u32>,
    }

    #[test]
    fn an_integer_is_a_number_without_a_fraction() {
        for (text, any) in [
            ("5", 5),
            ("5.0", 5),
            ("-0.0", 0),
            ("1e2", 100),
            ("9007199254740991.0", 9_007_199_254_740_991),
            ("9007199254740993", 9_007_199_254_740_993),
            ("-9223372036854775808", i64::MIN),
            ("9223372036854775807", i64::MAX),
        ] {
            let numbers: Numbers = serde_json::from_str(&format!("{{\"any\":{text}}}")).unwrap();
            assert_eq!((numbers.any, numbers.count), (any, None));
        }
        for text in [
            "1.5",
            "1e40",
            "1e16",
            "-9007199254740994.0",
            "9223372036854775808",
            "-9223372036854775809",
            "1.8446744073709552e19",
            "\"5\"",
            "null",
            "true",
        ] {
            let text = format!("{{\"any\":{text}}}");
            assert!(serde_json::from_str::<Numbers>(&text).is_err(), "{text}");
        }
        let count = |text| {
            let numbers = serde_json::from_str::<Numbers>(text);
            numbers.map(|numbers| numbers.count).ok()
        };
        assert_eq!(count(r#"{"any":1,"count":null}"#), Some(None));
        assert_eq!(count(r#"{"any":1,"count":7.0}"#), Some(Some(7)));
        assert_eq!(count(r#"{"any":1,"count":-1}"#), None);
        assert_eq!(count(r#"{"any":1,"count":4294967296}"#), None);
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
