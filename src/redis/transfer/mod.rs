//! What carrying threads to another store needs beyond the trait.

#[cfg(feature = "cli")]
mod blobs;
mod checkpoints;

#[cfg(feature = "cli")]
pub(crate) use blobs::{
    PutBlob, TimedBlob, has_blobs, keep_blobs, newly_named, put_timed_blob, timed_blobs,
};
pub use checkpoints::{EarlyWrites, TimedCheckpoint};
pub(crate) use checkpoints::{early_writes, oldest_first};
