//! Arguments of commands and scripts.

use std::time::Duration;

use bytes::Bytes;

/// Text as an argument.
pub(crate) fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// A number as an argument.
pub(crate) fn number(number: impl std::fmt::Display + Copy) -> Bytes {
    Bytes::from(number.to_string())
}

/// A TTL as Redis counts it, 0 for none.
pub(crate) fn milliseconds(ttl: Option<Duration>) -> Bytes {
    number(ttl.map_or(0, |ttl| ttl.as_millis()))
}
