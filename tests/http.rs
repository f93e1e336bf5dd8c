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

#[path = "http/access.rs"]
mod access;
#[path = "http/agentex.rs"]
mod agentex;
#[cfg(feature = "http")]
#[path = "http/client.rs"]
mod client;
#[path = "http/limits.rs"]
mod limits;
#[path = "http/lingering.rs"]
mod lingering;
#[path = "http/operations.rs"]
mod operations;
#[path = "http/readiness.rs"]
mod readiness;
#[path = "http/refusals.rs"]
mod refusals;
