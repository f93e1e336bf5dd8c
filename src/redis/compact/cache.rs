//! The parts that a thread is known to have.

use bytes::{BufMut, BytesMut};
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{UnitWeighter, Weighter};

use super::cursor::put_text;
use super::digest::{BuildDigestHasher, Digest, Digester};
use super::part::Part;
use super::rope::Rope;
use crate::id::{CheckpointNamespace, ThreadId};

/// Parts that were sent or read lately, bounded in bytes.
///
/// Content never goes stale, as its digest is its address. That the thread still has the part is a
/// guess that every put checks.
#[derive(Debug)]
pub(crate) struct PartCache {
    parts: Cache<(ThreadKey, Digest), Part, Weight, BuildDigestHasher>,
    /// For the channels of threads the ropes of their last values.
    ropes: Cache<(ThreadKey, Digest), Rope, UnitWeighter, BuildDigestHasher>,
}

/// A thread in the keys of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ThreadKey(Digest);

#[derive(Debug, Clone)]
struct Weight;

/// What an entry takes beside the content of its part, about.
const ENTRY: usize = 128;
/// One rope is kept for this number of bytes of parts.
const BYTES_PER_ROPE: usize = 4 * 1024;

impl Weighter<(ThreadKey, Digest), Part> for Weight {
    fn weight(&self, _: &(ThreadKey, Digest), part: &Part) -> u64 {
        (part.size() + ENTRY) as u64
    }
}

impl PartCache {
    /// A cache that keeps at most this number of bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        let ropes = bytes / BYTES_PER_ROPE;
        Self {
            parts: Cache::with(
                bytes / 1024,
                bytes as u64,
                Weight,
                BuildDigestHasher::default(),
                DefaultLifecycle::default(),
            ),
            ropes: Cache::with(
                ropes,
                ropes as u64,
                UnitWeighter,
                BuildDigestHasher::default(),
                DefaultLifecycle::default(),
            ),
        }
    }

    pub(crate) fn get(&self, thread: ThreadKey, digest: &Digest) -> Option<Part> {
        self.parts.get(&(thread, *digest))
    }

    pub(crate) fn insert(&self, thread: ThreadKey, digest: Digest, part: Part) {
        self.parts.insert((thread, digest), part);
    }

    /// The rope of the value that a channel had last.
    pub(crate) fn rope(&self, thread: ThreadKey, channel: Digest) -> Option<Rope> {
        self.ropes.get(&(thread, channel))
    }

    pub(crate) fn set_rope(&self, thread: ThreadKey, channel: Digest, rope: Rope) {
        self.ropes.insert((thread, channel), rope);
    }
}

/// What a channel of a namespace is called in [`PartCache::rope`].
pub(crate) fn channel_key(namespace: &CheckpointNamespace, channel: &str) -> Digest {
    let mut name = BytesMut::with_capacity(64);
    put_text(&mut name, namespace.as_str().as_bytes());
    name.put_slice(channel.as_bytes());
    Digester::plain().leaf(&name)
}

impl ThreadKey {
    pub(crate) fn new(thread: &ThreadId) -> Self {
        Self(Digester::plain().leaf(thread.as_str().as_bytes()))
    }
}
