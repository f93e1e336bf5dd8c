//! The parts that a thread is known to have.

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::digest::Digest;
use super::part::Part;
use crate::id::ThreadId;

/// Parts that were sent or read lately, bounded in bytes.
///
/// Content never goes stale, as its digest is its address. That the thread still has the part is a guess
/// that every put checks.
#[derive(Debug)]
pub(crate) struct PartCache(Cache<(ThreadKey, Digest), Part, Weight>);

/// A thread in the keys of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ThreadKey(Digest);

#[derive(Debug, Clone)]
struct Weight;

/// What an entry takes beside the content of its part, about.
const ENTRY: usize = 128;

impl Weighter<(ThreadKey, Digest), Part> for Weight {
    fn weight(&self, _: &(ThreadKey, Digest), part: &Part) -> u64 {
        (part.size() + ENTRY) as u64
    }
}

impl PartCache {
    /// A cache that keeps at most so many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Cache::with_weighter(bytes / 1024, bytes as u64, Weight))
    }

    pub(crate) fn get(&self, thread: ThreadKey, digest: &Digest) -> Option<Part> {
        self.0.get(&(thread, *digest))
    }

    pub(crate) fn insert(&self, thread: ThreadKey, digest: Digest, part: Part) {
        self.0.insert((thread, digest), part);
    }
}

impl ThreadKey {
    pub(crate) fn new(thread: &ThreadId) -> Self {
        Self(super::digest::Digester::plain().leaf(thread.as_str().as_bytes()))
    }
}
