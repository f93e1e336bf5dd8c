//! The HTTP service: what scale-agentex's client sends and expects, and what is answered to what
//! cannot be served.
#![cfg(feature = "server")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/server.rs"]
mod server;
#[path = "support/service.rs"]
mod service;
#[path = "support/mod.rs"]
mod support;

#[path = "http/agentex.rs"]
mod agentex;
#[path = "http/auth.rs"]
mod auth;
#[path = "http/blobs.rs"]
mod blobs;
#[cfg(feature = "http")]
#[path = "http/client.rs"]
mod client;
#[path = "http/limits.rs"]
mod limits;
#[path = "http/lingering_close.rs"]
mod lingering_close;
#[path = "http/operations.rs"]
mod operations;
#[path = "http/readiness.rs"]
mod readiness;
#[path = "http/refusals.rs"]
mod refusals;
