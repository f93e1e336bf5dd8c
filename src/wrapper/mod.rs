//! Savers around savers.

mod measure;
mod observed;

#[cfg(feature = "server")]
pub(crate) use measure::{Measure, checkpoint_bytes, pending_bytes, tuple_bytes};
pub use observed::ObservedSaver;
#[cfg(feature = "server")]
pub(crate) use observed::observed;
