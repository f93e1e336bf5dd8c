//! What a server answers.

use bytes::Bytes;
use fred::types::Value;

/// The answer to a command.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reply {
    /// Nothing is there.
    Nil,
    /// A number.
    Int(i64),
    /// A string of bytes, or a status.
    Bytes(Bytes),
    /// A list.
    Array(Vec<Reply>),
}

impl Reply {
    /// The bytes, if it is some.
    pub(crate) fn into_bytes(self) -> Option<Bytes> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The text, if it is some.
    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The number, if it is one.
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

impl From<Value> for Reply {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Nil,
            Value::Integer(number) => Self::Int(number),
            Value::Boolean(truth) => Self::Int(i64::from(truth)),
            Value::Double(number) => Self::Bytes(number.to_string().into()),
            Value::Bytes(bytes) => Self::Bytes(bytes),
            Value::String(text) => Self::Bytes(text.into_inner()),
            Value::Queued => Self::Bytes(Bytes::from_static(b"QUEUED")),
            Value::Array(elements) => Self::Array(elements.into_iter().map(Self::from).collect()),
            Value::Map(map) => Self::Array(
                map.inner()
                    .into_iter()
                    .flat_map(|(key, value)| [Self::Bytes(key.into_bytes()), Self::from(value)])
                    .collect(),
            ),
        }
    }
}
