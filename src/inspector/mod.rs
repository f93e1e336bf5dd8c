//! The inspector: pages that show what is stored of each thread to the people who look after it.
//!
//! An axum router over any [`BlobStore`](crate::blobs::BlobStore). Who may look, and at what, is
//! for its [`Gate`] to say, which the HTTP service has. Pages are made on the server and work
//! without JavaScript; what is stored is shown as text, whatever it holds.

mod actions;
mod assets;
mod bundle;
mod copy;
mod entry;
mod failure;
mod form;
mod gate;
mod guard;
mod links;
mod live;
mod pages;
mod parameters;
mod parts;
mod plot;
mod routes;
mod session;
mod site;
mod store;

pub(crate) use gate::{Entrance, Gate, Viewer};
pub(crate) use routes::router;
#[cfg(feature = "cli")]
pub(crate) use session::{hash, secret};
