//! Savers around savers.

mod measure;
mod observed;

#[cfg(feature = "server")]
pub(crate) use measure::{checkpoint_bytes, pending_bytes};
pub use observed::ObservedSaver;
