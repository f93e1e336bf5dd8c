//! API keys, of which only hashes are stored.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::error::{Error, Result};

/// The API keys that the service accepts, each by its SHA-256 hash.
///
/// A key is a line `name:hash` or `name:hash:prefix`. The name appears in logs; the hash has 64
/// hexadecimal digits; a key with a prefix reaches only threads whose ids start with the prefix.
/// Names and hashes are unique. Empty lines and lines that start with `#` are ignored. Keys must be
/// long and random, because the hashes are not salted.
///
/// ```
/// use langgraph_checkpoint_redis::server::ApiKeys;
/// let (all, team) = (ApiKeys::hash("a long secret"), ApiKeys::hash("another long secret"));
/// let keys = ApiKeys::parse(&format!("# API keys\nagents:{all}\nteam-a:{team}:team-a/"))?;
/// assert_eq!(keys.len(), 2);
/// # Ok::<(), langgraph_checkpoint_redis::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct ApiKeys(Vec<Arc<ApiKey>>);

/// An API key.
#[derive(Debug)]
pub(super) struct ApiKey {
    pub(super) name: String,
    hash: [u8; 32],
    /// The prefix of the ids of the threads that the key reaches.
    pub(super) prefix: String,
}

impl ApiKeys {
    /// Parses keys, one a line.
    ///
    /// # Errors
    /// [`Error::Config`] with the number of the first line that is not valid.
    pub fn parse(text: &str) -> Result<Self> {
        let mut keys: Vec<Arc<ApiKey>> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim_end_matches('\r');
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let refuse = |reason: &str| Error::Config {
                key: "api_keys".to_owned(),
                reason: format!("line {}: {reason}", number + 1),
                source: None,
            };
            let mut parts = line.splitn(3, ':');
            let name = parts.next().unwrap_or_default().trim();
            let hash = parts.next().unwrap_or_default().trim();
            if name.is_empty() {
                return Err(refuse("the key has no name; write `name:hash`"));
            }
            if keys.iter().any(|key| key.name == name) {
                return Err(refuse("another key has this name; names must be unique"));
            }
            let hash = from_hex(hash)
                .ok_or_else(|| refuse("the hash is not a SHA-256 of 64 hexadecimal digits"))?;
            if let Some(other) = keys.iter().find(|key| key.hash == hash) {
                return Err(refuse(&format!(
                    "the key `{}` has the same hash; create a key for each",
                    other.name
                )));
            }
            let prefix = parts.next();
            if prefix == Some("") {
                return Err(refuse(
                    "the prefix is empty; leave out the second colon for a key that reaches every thread",
                ));
            }
            keys.push(Arc::new(ApiKey {
                name: name.to_owned(),
                hash,
                prefix: prefix.unwrap_or_default().to_owned(),
            }));
        }
        Ok(Self(keys))
    }

    /// Reads keys from a file.
    ///
    /// # Errors
    /// [`Error::Config`] if the file cannot be read, and as [`parse`](Self::parse).
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|error| Error::Config {
            key: "api_keys".to_owned(),
            reason: format!("{} cannot be read", path.display()),
            source: Some(error.into()),
        })?;
        Self::parse(&text)
    }

    /// The hash of a key in the form that [`parse`](Self::parse) reads.
    #[must_use]
    pub fn hash(key: &str) -> String {
        use fmt::Write;
        let mut text = String::with_capacity(64);
        for byte in Sha256::digest(key) {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    /// The number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key with this secret. Takes constant time for every secret.
    pub(super) fn find(&self, secret: &[u8]) -> Option<Arc<ApiKey>> {
        let hash: [u8; 32] = Sha256::digest(secret).into();
        let mut found = Choice::from(0);
        let mut position = 0_u64;
        for (index, key) in (0_u64..).zip(&self.0) {
            let is_equal = key.hash.ct_eq(&hash);
            position.conditional_assign(&index, is_equal);
            found |= is_equal;
        }
        let position = usize::try_from(position).ok()?;
        bool::from(found).then(|| self.0.get(position).cloned())?
    }
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_list()
            .entries(self.0.iter().map(|key| &key.name))
            .finish()
    }
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).ok()?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_its_secret_alone() {
        let text = ["one", "two", "three"].map(|name| {
            format!(
                "{name}:{}:{name}:",
                ApiKeys::hash(&format!("secret {name}"))
            )
        });
        let keys = ApiKeys::parse(&text.join("\n")).unwrap();
        for name in ["one", "two", "three"] {
            let found = keys.find(format!("secret {name}").as_bytes()).unwrap();
            assert_eq!(found.name, name);
            assert_eq!(found.prefix, format!("{name}:"));
            assert!(keys.find(ApiKeys::hash(name).as_bytes()).is_none());
        }
        assert!(keys.find(b"").is_none());
        assert!(ApiKeys::default().find(b"").is_none());
    }

    #[test]
    fn a_line_that_is_no_key_is_refused_by_its_number() {
        let hash = ApiKeys::hash("x");
        for line in [
            "name".to_owned(),
            format!(":{hash}"),
            "name:abc".to_owned(),
            format!("name:{}é", &hash[2..]),
            format!("good:{}", ApiKeys::hash("y")),
            format!("same:{hash}:team-a/"),
            format!("same:{}", hash.to_uppercase()),
        ] {
            let error = ApiKeys::parse(&format!("good:{hash}\n{line}")).unwrap_err();
            assert!(error.to_string().contains("line 2"), "{error}");
            assert!(!error.to_string().contains(&hash), "{error}");
        }
    }

    #[test]
    fn hashes_are_not_shown() {
        let keys = ApiKeys::parse(&format!("name:{}", ApiKeys::hash("x"))).unwrap();
        assert_eq!(format!("{keys:?}"), r#"["name"]"#);
    }
}
