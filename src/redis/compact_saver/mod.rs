//! The compact layout: checkpoints in plain Redis types, each piece of a value once.
//!
//! A thread is three keys in one slot, whose names and contents `lua/compact.lua` lists. Every call
//! is one script, also in a cluster, and what it promises is what the JSON layout promises.

mod blobs;
mod collect;
mod copy;
mod doctor;
mod history;
mod list;
mod outlines;
mod place;
mod prune;
mod put;
mod read;
mod remove;
mod reseal;
mod runs;
mod saver;
mod scripts;
mod stats;
mod threads;
mod transfer;

use std::sync::Arc;

use super::compact::{Codec, CodecOptions, Sealer};
use super::store::Store;

/// The most bytes that the parts take that a saver remembers.
const CACHE_BYTES: usize = 32 * 1024 * 1024;

/// Stores checkpoints in plain Redis types, each piece of a value once.
#[derive(Debug)]
pub(crate) struct CompactLayout(Arc<Compact>);

/// What all calls share.
#[derive(Debug)]
struct Compact {
    store: Arc<Store>,
    codec: Codec,
}

impl CompactLayout {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        let settings = &store.settings;
        let codec = Codec::new(CodecOptions {
            cache_bytes: CACHE_BYTES,
            max_bytes: settings.max_document_bytes,
            sealer: Sealer::new(
                settings.encryption_keys.clone(),
                store.keyspace.checkpoint_prefix(),
                settings.allow_unsealed,
            ),
        });
        Self(Arc::new(Compact { store, codec }))
    }
}
