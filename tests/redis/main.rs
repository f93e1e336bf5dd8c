//! The Redis saver against real servers, a module for each threat or behaviour.
//!
//! The tests of one module run with `cargo test --test redis ttl::`. Each has a key prefix or a
//! server of its own, so all run at the same time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

#[cfg(feature = "tls")]
mod acl;
mod cluster_slots;
mod compact;
mod compact_collector;
mod compact_eviction;
mod compat;
mod connecting;
mod credentials;
mod dead_connections;
mod deletes;
mod doctor;
mod full_server;
mod hanging_search;
mod hostile_input;
mod idempotency;
mod large_documents;
mod model;
mod model_neighbours;
mod race;
mod recent;
mod resharding;
mod round_trips;
mod sealing;
mod search;
mod server_limits;
mod shallow;
mod single_endpoint;
mod spans;
mod tenants;
#[cfg(feature = "tls")]
mod tls;
mod ttl;
mod ttl_churn;
