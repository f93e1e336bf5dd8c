//! Sealing: stored pieces encrypted and bound to their place, or only compressed where no keys are
//! given.
//!
//! A piece is sealed with AES-256-GCM-SIV by a key that is derived, by BLAKE3, from one of the
//! saver's keys, the prefix of its keys in Redis and the thread. What names the place in the thread
//! is authenticated with it: for a part its digest; for a head or a record the ids and what stands
//! in front of the piece. So a piece that is changed, or moved to another place, thread or prefix,
//! is refused. The nonce comes from the place: sealing the same twice gives the same bytes, so a
//! put may run twice, and a place that is written again tells no more than whether the content is
//! the same, which is what the SIV construction is for.
//!
//! Digests are keyed then, by thread, and tell nothing about the content. Index parts hold digests
//! and lengths only. They stay readable for scripts, and their own keyed digests authenticate them.

use std::fmt;

use aes_gcm_siv::aead::{Aead, KeyInit, Payload};
use aes_gcm_siv::{Aes256GcmSiv, Key, Nonce};
use bytes::{BufMut, Bytes, BytesMut};

use super::compress::{self, SEALED};
use super::cursor::put_text;
use super::damage::Damage;
use super::digest::{Digest, Digester};
use crate::redis::encryption_keys::EncryptionKeys;

/// The keys of a saver, and where they are used.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sealer {
    keys: Option<EncryptionKeys>,
    prefix: Box<str>,
    allow_unsealed: bool,
}

impl Sealer {
    /// A sealer whose first key seals and whose keys all open, for what is stored under a prefix.
    /// Without keys nothing is sealed. With `allow_unsealed` it also reads what is not sealed.
    pub(crate) fn new(
        keys: Option<EncryptionKeys>,
        prefix: impl Into<Box<str>>,
        allow_unsealed: bool,
    ) -> Self {
        Self {
            keys,
            prefix: prefix.into(),
            allow_unsealed,
        }
    }

    /// The same for one thread.
    pub(super) fn of_thread(&self, thread: &str) -> ThreadSealer {
        let keys = self.keys.iter().flat_map(EncryptionKeys::iter).map(|key| {
            let mut material = BytesMut::with_capacity(128);
            material.put_slice(key.secret());
            put_text(&mut material, self.prefix.as_bytes());
            material.put_slice(thread.as_bytes());
            let secret =
                blake3::derive_key("langgraph-checkpoint-redis compact 1 sealing", &material);
            ThreadKey {
                id: key.id().into(),
                cipher: Aes256GcmSiv::new(&Key::<Aes256GcmSiv>::from(secret)),
                digester: Digester::keyed(&material),
            }
        });
        ThreadSealer {
            keys: keys.collect(),
            allow_unsealed: self.allow_unsealed,
        }
    }
}

/// Seals and opens the pieces of one thread.
pub(crate) struct ThreadSealer {
    keys: Vec<ThreadKey>,
    allow_unsealed: bool,
}

/// What one key comes to for a thread.
struct ThreadKey {
    id: Box<str>,
    cipher: Aes256GcmSiv,
    digester: Digester,
}

/// Where a piece belongs in its thread, and what it stands for there.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place<'a> {
    /// A part.
    Part(Digest),
    /// The piece of a head: its namespace and checkpoint, and what stands in front of it.
    Head([&'a str; 2], &'a [u8]),
    /// The piece of a record: its namespace, checkpoint and task, its index, and what stands in
    /// front.
    Record([&'a str; 3], i64, &'a [u8]),
}

impl Place<'_> {
    /// The place in bytes, no two the same.
    fn encode(&self) -> BytesMut {
        let mut bytes = BytesMut::with_capacity(160);
        match self {
            Self::Part(digest) => {
                bytes.put_u8(0);
                bytes.put_slice(digest.as_bytes());
            }
            Self::Head(ids, front) => {
                bytes.put_u8(1);
                for id in ids {
                    put_text(&mut bytes, id.as_bytes());
                }
                bytes.put_slice(front);
            }
            Self::Record(ids, idx, front) => {
                bytes.put_u8(2);
                for id in ids {
                    put_text(&mut bytes, id.as_bytes());
                }
                bytes.put_i64(*idx);
                bytes.put_slice(front);
            }
        }
        bytes
    }
}

impl ThreadSealer {
    /// Computes the digests of the parts that are stored from now on.
    pub(super) fn digester(&self) -> &Digester {
        self.keys
            .first()
            .map_or_else(|| Digester::plain(), |key| &key.digester)
    }

    /// Whether an index part has the content that its digest says, under any of the keys.
    pub(super) fn is_index(&self, digest: Digest, content: &[u8]) -> bool {
        let is_keyed = || {
            self.keys
                .iter()
                .any(|key| key.digester.index(content) == digest)
        };
        let is_plain = || Digester::plain().index(content) == digest;
        is_keyed() || ((self.keys.is_empty() || self.allow_unsealed) && is_plain())
    }

    /// Whether a piece is as one that is stored from now on: sealed with the first key, or not at
    /// all where there is none.
    pub(super) fn is_current(&self, piece: &[u8]) -> bool {
        let sealed = piece.strip_prefix(&[SEALED]);
        match (self.keys.first(), sealed.and_then(key_id)) {
            (Some(first), Some((id, _))) => id == first.id.as_bytes(),
            (None, None) => sealed.is_none(),
            _ => false,
        }
    }

    /// The piece for a text that is stored at a place: compressed if that saves anything, and
    /// sealed.
    pub(super) fn pack(&self, place: Place<'_>, text: &[u8]) -> Bytes {
        let piece = compress::pack(text);
        let Some(key) = self.keys.first() else {
            return piece;
        };
        let place = place.encode();
        let payload = Payload {
            msg: &piece,
            aad: &place,
        };
        let mut sealed = BytesMut::with_capacity(piece.len() + key.id.len() + 18);
        sealed.put_u8(SEALED);
        put_text(&mut sealed, key.id.as_bytes());
        // The cipher takes 64 GB and Redis 512 MB, so this does not fail. If it did, what is stored
        // would be refused when it is read, and tell nothing.
        let ciphertext = key.cipher.encrypt(&key.nonce(&place), payload);
        sealed.put_slice(&ciphertext.unwrap_or_default());
        sealed.freeze()
    }

    /// The text of a piece that is stored at a place, which is not allowed to have more than
    /// `limit` bytes.
    ///
    /// # Errors
    /// [`Damage`] if it is not the text that was stored there.
    pub(super) fn unpack(
        &self,
        place: Place<'_>,
        piece: &Bytes,
        limit: usize,
    ) -> Result<Bytes, Damage> {
        let Some(sealed) = piece.strip_prefix(&[SEALED]) else {
            if !self.keys.is_empty() && !self.allow_unsealed {
                return Err(Damage::Unsealed);
            }
            let text = compress::unpack(piece, limit).map_err(Damage::text)?;
            return match place {
                Place::Part(digest) if Digester::plain().leaf(&text) != digest => {
                    Err(Damage::text("its content has another digest"))
                }
                _ => Ok(text),
            };
        };
        let (id, ciphertext) = key_id(sealed).ok_or_else(|| Damage::text("it ends early"))?;
        let key = self.keys.iter().find(|key| key.id.as_bytes() == id);
        let key = key.ok_or_else(|| {
            Damage::UnknownKey(String::from_utf8_lossy(id).escape_debug().to_string())
        })?;
        let place = place.encode();
        let payload = Payload {
            msg: ciphertext,
            aad: &place,
        };
        let opened = key.cipher.decrypt(&key.nonce(&place), payload);
        let piece = opened.map_err(|_| Damage::Forged)?;
        compress::unpack(&piece.into(), limit).map_err(Damage::text)
    }
}

/// The id of the key of what is sealed, and the ciphertext behind it.
fn key_id(sealed: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = sealed.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

impl ThreadKey {
    fn nonce(&self, place: &[u8]) -> Nonce {
        let mut nonce = Nonce::default();
        nonce.copy_from_slice(&self.digester.leaf(place).as_bytes()[..12]);
        nonce
    }
}

impl fmt::Debug for ThreadSealer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<_> = self.keys.iter().map(|key| &key.id).collect();
        formatter
            .debug_struct("ThreadSealer")
            .field("keys", &ids)
            .finish_non_exhaustive()
    }
}
