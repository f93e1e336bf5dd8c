//! API keys, of which only hashes are stored.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::key_limits::{KeyLimits, KeyUsage};
use super::scopes::Scopes;
use super::{key_file, key_line};
use crate::error::{Error, Result};

/// The hash of an empty key.
const EMPTY: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
    0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

/// The API keys that the service accepts, each by its SHA-256 hash.
///
/// A key is a line `name:hash`, `name:hash:prefix`, or either with options in brackets behind the
/// hash. The name appears in logs and metrics; the hash has 64 hexadecimal digits; a key with a
/// prefix reaches only threads whose ids start with the prefix. Names and hashes are unique. Empty
/// lines and lines that start with `#` are ignored; lines that end with a blank are refused. Keys
/// must be long and random, because the hashes are not salted.
///
/// The options have blanks between them:
///
/// | Option | |
/// |---|---|
/// | `expires` | a date (its first instant in UTC) or an RFC 3339 time, from which on the key is refused; default: never |
/// | `scopes` | `read`, `write`, `admin`, with commas between them, of which none includes another; default: all |
/// | `max-in-flight`, `rate`, `burst`, `max-held-bytes`, `max-body-bytes` | as in [`KeyLimits`]; default: those of all keys |
///
/// Clones share what each key has taken of its limits.
///
/// ```
/// use langgraph_checkpoint_redis::server::ApiKeys;
/// let hash = |key| ApiKeys::hash(key);
/// let keys = ApiKeys::parse(&format!(
///     "# API keys\nagents:{}\nteam-a:{}[scopes=read,write rate=50 expires=2030-01-31]:team-a/",
///     hash("a long secret"),
///     hash("another long secret"),
/// ))?;
/// assert_eq!(keys.len(), 2);
/// # Ok::<(), langgraph_checkpoint_redis::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct ApiKeys(Arc<[Arc<ApiKey>]>);

/// An API key.
#[derive(Debug)]
pub(super) struct ApiKey {
    pub(super) name: String,
    hash: [u8; 32],
    /// The prefix of the ids of the threads that the key reaches.
    pub(super) prefix: String,
    expires: Option<Timestamp>,
    pub(super) scopes: Scopes,
    /// The limits of its own.
    pub(super) limits: KeyLimits,
    pub(super) usage: Arc<KeyUsage>,
}

impl ApiKey {
    pub(super) fn is_expired(&self) -> bool {
        self.expires
            .is_some_and(|expires| expires <= Timestamp::now())
    }
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
            let parsed = key_line::parse(line).map_err(|reason| refuse(&reason))?;
            if keys.iter().any(|key| key.name == parsed.name) {
                return Err(refuse("another key has this name; names must be unique"));
            }
            if let Some(other) = keys.iter().find(|key| key.hash == parsed.hash) {
                return Err(refuse(&format!(
                    "the key `{}` has the same hash; create a key for each",
                    other.name
                )));
            }
            if parsed.hash == EMPTY {
                return Err(refuse(
                    "it is the hash of an empty key; create one with `openssl rand -hex 32`",
                ));
            }
            keys.push(Arc::new(ApiKey {
                name: parsed.name.to_owned(),
                hash: parsed.hash,
                prefix: parsed.prefix.to_owned(),
                expires: parsed.expires,
                scopes: parsed.scopes,
                limits: parsed.limits,
                usage: Arc::default(),
            }));
        }
        Ok(Self(keys.into()))
    }

    /// Reads keys from a file; [`KeyFile`](super::KeyFile) also follows its changes.
    ///
    /// # Errors
    /// [`Error::Config`] if the file cannot be read, or if others than its owner and group may read
    /// it or others than its owner may write it (on Unix), and as [`parse`](Self::parse).
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        key_file::read(path.as_ref())
    }

    /// These keys, which go on with what keys of the same names have taken of their limits.
    pub(super) fn following(self, before: &Self) -> Self {
        let keys = self.0.iter().map(|key| {
            let usage = before.0.iter().find(|other| other.name == key.name);
            let Some(before) = usage else {
                return Arc::clone(key);
            };
            Arc::new(ApiKey {
                name: key.name.clone(),
                hash: key.hash,
                prefix: key.prefix.clone(),
                expires: key.expires,
                scopes: key.scopes,
                limits: key.limits,
                usage: Arc::clone(&before.usage),
            })
        });
        Self(keys.collect())
    }

    /// The names of the keys that have expired.
    pub(super) fn expired(&self) -> impl Iterator<Item = &str> {
        let expired = self.0.iter().filter(|key| key.is_expired());
        expired.map(|key| &*key.name)
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
        self.find_hashed(&Sha256::digest(secret).into())
    }

    /// The key whose secret has this hash. Takes constant time for every hash.
    pub(super) fn find_hashed(&self, hash: &[u8; 32]) -> Option<Arc<ApiKey>> {
        let mut found = Choice::from(0);
        let mut position = 0_u64;
        for (index, key) in (0_u64..).zip(&*self.0) {
            let is_equal = key.hash.ct_eq(hash);
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
            format!("empty:{}", ApiKeys::hash("")),
            format!("blank:{}:team-a/ ", ApiKeys::hash("z")),
        ] {
            let error = ApiKeys::parse(&format!("good:{hash}\n{line}")).unwrap_err();
            assert!(error.to_string().contains("line 2"), "{error}");
            assert!(!error.to_string().contains(&hash), "{error}");
        }
    }

    #[test]
    fn line_ends_of_windows_belong_to_no_prefix() {
        let text = format!(
            "a:{}:a/\r\n\r\nb:{}\r\n",
            ApiKeys::hash("a"),
            ApiKeys::hash("b")
        );
        let keys = ApiKeys::parse(&text).unwrap();
        assert_eq!(keys.find(b"a").unwrap().prefix, "a/");
        assert_eq!(keys.find(b"b").unwrap().prefix, "");
    }

    #[test]
    fn a_key_has_expired_from_its_time_on() {
        let text = ["2001-01-01", "9999-01-01"]
            .map(|time| format!("{time}:{}[expires={time}]", ApiKeys::hash(time)));
        let keys = ApiKeys::parse(&text.join("\n")).unwrap();
        assert_eq!(keys.expired().collect::<Vec<_>>(), ["2001-01-01"]);
    }

    #[test]
    fn a_key_of_the_same_name_goes_on_with_what_was_taken() {
        let parse = |secret| {
            let line = format!("a:{}[max-in-flight=1]", ApiKeys::hash(secret));
            ApiKeys::parse(&line).unwrap()
        };
        let before = parse("old");
        let old = before.find(b"old").unwrap();
        let taken = old.usage.begin(&old.limits).unwrap();
        let after = parse("new").following(&before);
        assert!(after.find(b"old").is_none());
        let new = after.find(b"new").unwrap();
        assert!(new.usage.begin(&new.limits).is_err());
        drop(taken);
        assert!(new.usage.begin(&new.limits).is_ok());
    }

    #[test]
    fn hashes_are_not_shown() {
        let keys = ApiKeys::parse(&format!("name:{}", ApiKeys::hash("x"))).unwrap();
        assert_eq!(format!("{keys:?}"), r#"["name"]"#);
    }
}
