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
    #[error("the part {digest} of a value cannot be read: {damage}")]
    Part {
        /// Its address.
        digest: Digest,
        /// What is wrong with it.
        #[source]
        damage: Box<Damage>,
    },
    /// It is not sealed, where all has to be.
    #[error(
        "it is not sealed: if it was stored before the saver had keys, set `allow_unsealed` and run `reseal`, else somebody else wrote it"
    )]
    Unsealed,
    /// It is sealed with a key that the saver does not have.
    #[error("it is sealed with the key `{0}`")]
    UnknownKey(String),
    /// It is not what was sealed for this place.
    #[error("it was changed, or moved here from another place, since it was sealed")]
    Forged,
    /// A head or a record is not what was stored.
    #[error("{0}")]
    Text(String),
}

impl Damage {
    /// A head or a record that cannot be read.
    pub(crate) fn text(reason: impl Into<String>) -> Self {
        Self::Text(reason.into())
    }

    /// A part that cannot be read.
    pub(crate) fn part(digest: Digest, damage: Self) -> Self {
        Self::Part {
            digest,
            damage: Box::new(damage),
        }
    }

    fn unknown_key(&self) -> Option<&str> {
        match self {
            Self::UnknownKey(id) => Some(id),
            Self::Part { damage, .. } => damage.unknown_key(),
            _ => None,
        }
    }

    /// The error for callers: what was stored at this key cannot be read.
    pub(crate) fn at(self, key: impl Into<String>) -> Error {
        if let Some(id) = self.unknown_key() {
            return Error::Config {
                key: "encryption_keys".to_owned(),
                reason: format!(
                    "{} has data that is sealed with the key `{id}`, which the saver does not have: give it that key behind the first until `reseal` has run",
                    key.into()
                ),
                source: None,
            };
        }
        Error::corrupt(key, self.to_string())
    }
}
