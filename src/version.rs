//! Channel versions, as LangGraph has them: integers, floats or strings that only ever grow.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The version of a channel.
///
/// LangGraph compares versions of one channel with each other only; a version of one kind is
/// never compared with one of another kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ChannelVersion {
    /// An integer, as `BaseCheckpointSaver` makes them by default.
    Int(i64),
    /// A float.
    Float(f64),
    /// A string that sorts by age, as LangGraph's database savers make them.
    String(String),
}

impl ChannelVersion {
    /// The version after `current`: for a string (or none) 32 digits and a random fraction, as
    /// `get_next_version` of LangGraph's database savers; for a number, one more.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if `current` is a string that does not start with a number, or
    /// the largest integer.
    ///
    /// ```
    /// use langgraph_checkpoint_redis::ChannelVersion;
    /// let first = ChannelVersion::next(None)?;
    /// let second = ChannelVersion::next(Some(&first))?;
    /// assert!(first < second);
    /// assert!(second.to_string().starts_with("00000000000000000000000000000002."));
    /// assert_eq!(ChannelVersion::next(Some(&3.into()))?, 4.into());
    /// # Ok::<(), langgraph_checkpoint_redis::Error>(())
    /// ```
    pub fn next(current: Option<&Self>) -> Result<Self> {
        let invalid = |reason: &str| Error::invalid("the channel version", reason);
        Ok(match current {
            None => Self::string(1),
            Some(Self::Int(version)) => Self::Int(
                version
                    .checked_add(1)
                    .ok_or_else(|| invalid("it is the largest integer; start again at 1"))?,
            ),
            Some(Self::Float(version)) => Self::Float(version + 1.0),
            Some(Self::String(version)) => {
                let number = version.split('.').next().unwrap_or_default();
                let number: u128 = number
                    .parse()
                    .map_err(|_| invalid("it does not start with a number"))?;
                Self::string(number.saturating_add(1))
            }
        })
    }

    fn string(number: u128) -> Self {
        Self::String(format!("{number:032}.{:016}", rand::random::<f64>()))
    }
}

impl From<i64> for ChannelVersion {
    fn from(version: i64) -> Self {
        Self::Int(version)
    }
}

impl From<&str> for ChannelVersion {
    fn from(version: &str) -> Self {
        Self::String(version.to_owned())
    }
}

impl fmt::Display for ChannelVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(version) => version.fmt(formatter),
            Self::Float(version) => version.fmt(formatter),
            Self::String(version) => version.fmt(formatter),
        }
    }
}

impl PartialOrd for ChannelVersion {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(one), Self::Int(other)) => one.partial_cmp(other),
            (Self::Float(one), Self::Float(other)) => one.partial_cmp(other),
            (Self::String(one), Self::String(other)) => one.partial_cmp(other),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_keeps_its_kind_in_json() {
        for text in ["3", "1.5", "\"00000000000000000000000000000002.0.95\""] {
            let version: ChannelVersion = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&version).unwrap(), text);
        }
    }

    #[test]
    fn a_string_without_a_number_is_refused() {
        assert!(ChannelVersion::next(Some(&"abc".into())).is_err());
    }
}
