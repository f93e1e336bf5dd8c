//! What carrying threads to another store needs beyond the trait.

#[cfg(feature = "cli")]
mod blobs;
mod checkpoints;

#[cfg(feature = "cli")]
pub(crate) use blobs::{PutBlob, TimedBlob, newly_named};
pub use checkpoints::{EarlyWrites, TimedCheckpoint};
