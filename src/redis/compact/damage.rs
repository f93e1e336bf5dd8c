//! Why something stored cannot be read.

use super::digest::Digest;
use crate::error::Error;

/// Why a head, a record or a part cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Damage {
    /// A part that is referred to is not there.
    #[error("the part {0} of a value is gone: it was evicted or removed")]
    Absent(Digest),
    /// A part is not what its address says.
    #[error("the part {digest} of a value is not what was stored: {reason}")]
    Part {
        /// Its address.
        digest: Digest,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A head or a record is not what was stored.
    #[error("{0}")]
    Text(String),
}

impl Damage {
    /// A head or a record that cannot be read.
    pub(crate) fn text(reason: impl Into<String>) -> Self {
        Self::Text(reason.into())
    }

    /// The error for callers: what was stored at this key cannot be read.
    pub(crate) fn at(self, key: impl Into<String>) -> Error {
        Error::corrupt(key, self.to_string())
    }
}
