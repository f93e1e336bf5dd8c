//! What a thread has, as its registries say: its namespaces, and the ids of each one's checkpoints.
//!
//! The Python saver does not know the registries. What it wrote is added when it is found: by the
//! index, or by the pointers where search does not serve.

mod ids;
mod members;
mod namespaces;
mod reconcile;

pub(crate) use ids::{every_checkpoint, forget_gone, forget_gone_heads, ids_of, page};
pub(crate) use members::{members, namespaces_with_blobs, scan_members};
pub(crate) use namespaces::namespaces;
pub(crate) use reconcile::reconcile;
