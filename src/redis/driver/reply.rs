//! Replies.

use bytes::Bytes;

use crate::redis::error::RedisError;

/// The reply to a command that was served.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reply {
    /// No value.
    Nil,
    /// A number.
    Int(i64),
    /// A string of bytes, or a status.
    Bytes(Bytes),
    /// A list.
    Array(Vec<Reply>),
}

/// The replies to the commands of a pipeline, in their order.
pub(super) type Replies = Vec<Result<Reply, RedisError>>;

impl Reply {
    /// The bytes of a string or status.
    pub(crate) fn into_bytes(self) -> Option<Bytes> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The text of a string or status that is UTF-8.
    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The number, also of a string that holds one in decimal digits.
    pub(crate) fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            Self::Bytes(_) => self.as_str()?.parse().ok(),
            _ => None,
        }
    }

    /// The elements of a list; none for anything else.
    pub(crate) fn into_array(self) -> Vec<Reply> {
        match self {
            Self::Array(elements) => elements,
            _ => Vec::new(),
        }
    }
}
