//! Digests: the addresses of parts.

use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::OnceLock;

/// The address of a part: the first 16 bytes of the keyed BLAKE3 hash of its content.
///
/// Same content, same address; leaves and index parts have keys of their own, so that no text
/// passes for an index part.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Digest([u8; Self::LEN]);

impl Digest {
    /// How many bytes a digest has.
    pub(crate) const LEN: usize = 16;

    /// Takes a digest as it is stored; `None` if it has another length.
    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The digest as it is stored.
    pub(crate) fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    fn of(hash: blake3::Hash) -> Self {
        let mut digest = [0; Self::LEN];
        digest.copy_from_slice(&hash.as_bytes()[..Self::LEN]);
        Self(digest)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// As hexadecimal digits.
impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// A digest is a hash already, so half of it is its hash.
impl Hash for Digest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (half, _) = self.0.split_at(8);
        state.write_u64(
            half.iter()
                .fold(0, |hash, byte| hash << 8 | u64::from(*byte)),
        );
    }
}

/// Passes the hash of a digest on as it is.
#[derive(Default)]
pub(crate) struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 ^= hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// How maps and sets of digests hash.
pub(crate) type BuildDigestHasher = BuildHasherDefault<DigestHasher>;

/// Computes the digests of parts.
#[derive(Clone)]
pub(crate) struct Digester {
    leaf: [u8; blake3::KEY_LEN],
    index: [u8; blake3::KEY_LEN],
}

impl Digester {
    /// The digester where nothing is sealed: anybody can compute the same digests.
    pub(crate) fn plain() -> &'static Self {
        static PLAIN: OnceLock<Digester> = OnceLock::new();
        PLAIN.get_or_init(|| Self::keyed(b""))
    }

    /// A digester whose digests tell nothing to those who do not know the secret.
    pub(crate) fn keyed(secret: &[u8]) -> Self {
        Self {
            leaf: blake3::derive_key("langgraph-checkpoint-redis compact 1 leaf", secret),
            index: blake3::derive_key("langgraph-checkpoint-redis compact 1 index", secret),
        }
    }

    /// The digest of a piece of text.
    pub(crate) fn leaf(&self, text: &[u8]) -> Digest {
        Digest::of(blake3::keyed_hash(&self.leaf, text))
    }

    /// The digest of the content of an index part.
    pub(crate) fn index(&self, content: &[u8]) -> Digest {
        Digest::of(blake3::keyed_hash(&self.index, content))
    }
}

impl fmt::Debug for Digester {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Digester")
    }
}
