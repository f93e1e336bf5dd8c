//! The HTTP service: what scale-agentex's client sends and expects, and what is answered to what
//! cannot be served.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod agentex;
mod audit;
mod auth;
mod blobs;
#[cfg(feature = "http")]
mod client;
mod inspector;
mod limits;
mod lingering_close;
mod operations;
mod readiness;
mod refusals;
mod tenants;
mod threads;
