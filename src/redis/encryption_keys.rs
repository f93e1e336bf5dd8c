//! The keys that the layout `compact` seals with what it stores.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretBox};

use crate::error::{Error, Result, Source};

/// The environment variable that holds keys.
const VARIABLE: &str = "LANGGRAPH_REDIS_ENCRYPTION_KEYS";

/// The most bytes that the id of a key has: it stands in every sealed piece.
const MAX_ID: usize = 32;

/// The most bytes that a file of keys has.
const MAX_FILE: usize = 64 * 1024;

/// Base64, with its padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A key of 32 bytes for AES-256, and the id under which sealed data names it.
///
/// Sealed data names its key by the id alone, so an id must always stand for the same bytes. The
/// bytes are never shown, and are overwritten when the key is dropped.
#[derive(Debug)]
pub struct EncryptionKey {
    id: Box<str>,
    secret: SecretBox<[u8; Self::LEN]>,
}

impl EncryptionKey {
    /// How many bytes a key has.
    pub const LEN: usize = 32;

    /// A key. Its bytes must be random: they are used as they are, so a password is none.
    ///
    /// # Errors
    /// [`Error::Config`] if the id is not 1 to 32 letters, digits, dots, dashes and underscores of ASCII, or
    /// if there are not 32 bytes.
    pub fn new(id: impl AsRef<str>, key: impl AsRef<[u8]>) -> Result<Self> {
        Self::check(id.as_ref(), key.as_ref()).map_err(refused)
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn secret(&self) -> &[u8; Self::LEN] {
        self.secret.expose_secret()
    }

    /// A key, or what is wrong with it. An id that cannot be one is not shown: it may be the key
    /// itself, in the wrong place.
    fn check(id: &str, key: &[u8]) -> Result<Self, String> {
        let is_allowed =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if id.is_empty() || id.len() > MAX_ID || !id.bytes().all(is_allowed) {
            return Err(format!(
                "the id of a key is 1 to {MAX_ID} letters, digits, dots, dashes and underscores of ASCII"
            ));
        }
        if key.len() != Self::LEN {
            return Err(format!(
                "the key `{id}` has {} bytes: make one of {}, as `openssl rand -base64 {}` does",
                key.len(),
                Self::LEN,
                Self::LEN
            ));
        }
        Ok(Self {
            id: id.into(),
            secret: SecretBox::init_with_mut(|secret: &mut [u8; Self::LEN]| {
                secret.copy_from_slice(key);
            }),
        })
    }

    /// Reads `id:key` or `id key`, with the key in base64.
    fn parse(entry: &str) -> Result<Self, String> {
        let is_mark = |character: char| character == ':' || character.is_whitespace();
        let (id, key) = entry.split_once(is_mark).ok_or_else(|| {
            "a key is written as its id, a colon and 32 bytes in base64".to_owned()
        })?;
        let key = BASE64.decode(key.trim()).map(Zeroizing::new);
        // What a decoder says quotes what it was given.
        let key = key.map_err(|_| match Self::check(id, &[0; Self::LEN]) {
            Ok(_) => format!("the key `{id}` is not in base64"),
            Err(reason) => reason,
        })?;
        Self::check(id, &key)
    }
}

/// The keys of a saver, in their order: the first seals what is stored from now on, and all open
/// what is there.
///
/// Keys are replaced by a new one in front. What the old ones sealed is read as long as they are
/// among them, and [`RedisSaver::reseal`](crate::RedisSaver::reseal) seals it with the first, so
/// that they may go.
///
/// ```
/// use langgraph_checkpoint_redis::redis::{EncryptionKey, EncryptionKeys};
///
/// // What `openssl rand 32` gives, from where the application keeps its secrets.
/// let (new, old) = ([7; 32], [9; 32]);
/// let keys = EncryptionKeys::new([
///     EncryptionKey::new("2026-11", new)?,
///     EncryptionKey::new("2026-05", old)?,
/// ])?;
/// assert_eq!(keys.first().id(), "2026-11");
/// # Ok::<(), langgraph_checkpoint_redis::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct EncryptionKeys {
    first: Arc<EncryptionKey>,
    others: Arc<[EncryptionKey]>,
}

impl EncryptionKeys {
    /// Keys in this order.
    ///
    /// # Errors
    /// [`Error::Config`] if there is none, or if two have the same id or the same bytes.
    pub fn new(keys: impl IntoIterator<Item = EncryptionKey>) -> Result<Self> {
        Self::check(keys).map_err(refused)
    }

    /// Reads keys: each as `id:key` or `id key`, with the 32 bytes of the key in base64, one a line
    /// or separated by commas. Empty lines, and lines that start with `#`, are passed over, as are
    /// blanks at the ends of lines.
    ///
    /// # Errors
    /// As [`new`](Self::new) and [`EncryptionKey::new`], with the number of the line.
    pub fn parse(text: &str) -> Result<Self> {
        Self::read(text).map_err(refused)
    }

    /// Reads keys from a file, in the form that [`parse`](Self::parse) reads. On Unix nobody but
    /// the owner and the group of the file may have access to it.
    ///
    /// # Errors
    /// [`Error::Config`] if the file cannot be read or others have access to it, and as
    /// [`parse`](Self::parse).
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let refuse = |reason: &str, source: Option<Source>| Error::Config {
            key: "encryption_keys_file".to_owned(),
            reason: format!("{}: {reason}", path.display()),
            source,
        };
        let unreadable =
            |error: std::io::Error| refuse("the file cannot be read", Some(error.into()));
        let file = File::open(path).map_err(unreadable)?;
        if is_open_to_others(&file).map_err(unreadable)? {
            let reason = "others than its owner and its group have access to the file: take that away, as `chmod o= FILE` does";
            return Err(refuse(reason, None));
        }
        // As large as it gets, so that no part of it is left behind where it grew.
        let mut text = Zeroizing::new(Vec::with_capacity(1 + MAX_FILE));
        file.take(1 + MAX_FILE as u64)
            .read_to_end(&mut text)
            .map_err(unreadable)?;
        if text.len() > MAX_FILE {
            return Err(refuse("the file has more than 64 KiB", None));
        }
        let text = std::str::from_utf8(&text);
        let text = text.map_err(|_| refuse("the file is not UTF-8", None))?;
        Self::read(text).map_err(|reason| refuse(&reason, None))
    }

    /// The keys in the environment variable `LANGGRAPH_REDIS_ENCRYPTION_KEYS`, in the form that
    /// [`parse`](Self::parse) reads; `None` if it is not set.
    pub(crate) fn from_env() -> Result<Option<Self>> {
        match std::env::var(VARIABLE).map(Zeroizing::new) {
            Ok(text) => Self::read(&text)
                .map(Some)
                .map_err(|reason| refused(format!("{VARIABLE}: {reason}"))),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => {
                Err(refused(format!("{VARIABLE}: it is not UTF-8")))
            }
        }
    }

    /// The key that seals.
    #[must_use]
    pub fn first(&self) -> &EncryptionKey {
        &self.first
    }

    /// All keys, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &EncryptionKey> {
        std::iter::once(&*self.first).chain(&*self.others)
    }

    fn read(text: &str) -> Result<Self, String> {
        let mut keys = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            for entry in line.split(',') {
                let key = EncryptionKey::parse(entry.trim());
                keys.push(key.map_err(|reason| format!("line {}: {reason}", number + 1))?);
            }
        }
        Self::check(keys)
    }

    fn check(keys: impl IntoIterator<Item = EncryptionKey>) -> Result<Self, String> {
        let mut keys: Vec<EncryptionKey> = keys.into_iter().collect();
        for (position, key) in keys.iter().enumerate() {
            for other in &keys[..position] {
                if other.id == key.id {
                    return Err(format!("two keys have the id `{}`: rename one", key.id));
                }
                if other.secret() == key.secret() {
                    return Err(format!(
                        "the keys `{}` and `{}` are the same: make a new one",
                        other.id, key.id
                    ));
                }
            }
        }
        if keys.is_empty() {
            return Err("there is no key".to_owned());
        }
        Ok(Self {
            first: Arc::new(keys.remove(0)),
            others: keys.into(),
        })
    }
}

fn refused(reason: String) -> Error {
    Error::Config {
        key: "encryption_keys".to_owned(),
        reason,
        source: None,
    }
}

/// Whether others than the owner and the group of a file have access to it.
#[cfg(unix)]
fn is_open_to_others(file: &File) -> std::io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    Ok(file.metadata()?.permissions().mode() & 0o007 != 0)
}

/// As far as the mode of a file says, which there is none of here.
#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps)] // As on Unix.
fn is_open_to_others(_: &File) -> std::io::Result<bool> {
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base64(byte: u8) -> String {
        BASE64.encode([byte; 32])
    }

    #[test]
    fn keys_are_read_in_their_order_with_comments_and_blanks() {
        let (one, other) = (base64(1), base64(2));
        let bare = other.trim_end_matches('=');
        for text in [
            format!("new:{one},old:{other}"),
            format!("# keys\n\n  new:{one}  \r\nold {other}\t\n"),
            format!("new: {one} , old:\t{bare}"),
            format!("new   {one}\n#old:x\nold:{bare}\n"),
        ] {
            let keys = EncryptionKeys::parse(&text).unwrap();
            let found: Vec<_> = keys.iter().map(|key| (key.id(), key.secret()[0])).collect();
            assert_eq!(found, [("new", 1), ("old", 2)], "{text}");
            assert_eq!(keys.first().id(), "new");
        }
    }

    #[test]
    fn what_is_no_key_is_refused_and_never_shown() {
        let (key, short) = (base64(171), BASE64.encode([171; 31]));
        let long_id = "k".repeat(33);
        for text in [
            String::new(),
            "# none\n".to_owned(),
            key.clone(),
            format!(":{key}"),
            format!("{key}:a"),
            format!("{key}:{key}"),
            format!("{long_id}:{key}"),
            format!("ä:{key}"),
            format!("a:{short}"),
            format!("a:{key}{key}"),
            format!("a:{}", key.replace('q', "*")),
            format!("a:{key},"),
            format!("a:{key},b:{}\na {}", base64(2), base64(3)),
            format!("a:{key},b:{key}"),
            format!("a:{key} # new"),
        ] {
            let error = EncryptionKeys::parse(&text).unwrap_err();
            assert!(matches!(&error, Error::Config { key, .. } if key == "encryption_keys"));
            let shown = format!("{error} {error:?}");
            let secrets = [&key[..10], &short[..10], &long_id];
            for secret in secrets.map(|secret| secret.trim_end_matches('=')) {
                assert!(!shown.contains(secret), "{shown}");
            }
        }
        for length in [0, 16, 31, 33, 64] {
            assert!(EncryptionKey::new("a", vec![171; length]).is_err());
        }
        let shown = format!("{:?}", EncryptionKeys::parse(&format!("k:{key}")).unwrap());
        assert!(shown.contains("REDACTED"), "{shown}");
        assert!(!shown.contains("171") && !shown.contains(&key), "{shown}");
    }
}
