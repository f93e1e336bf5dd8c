//! Runs commands on the servers that a connection string names.
//!
//! A call hands in commands, each with the slot of its first key, and gets a reply or an error for
//! each. The driver routes them, follows redirections and failovers, and decides which ones are
//! sent again. Every command is idempotent unless it says otherwise.
//!
//! From the bottom up, each module importing only those above it in this list:
//!
//! | modules | job |
//! |---|---|
//! | `command`, `reply`, `address`, `backoff`, `task` | the vocabulary |
//! | `resp` | commands and replies as RESP2 writes them |
//! | `tls` | which servers are trusted |
//! | `multiplexed`, `fred_pool`, `connection` | one connection, shared by many calls |
//! | `connector`, `subscriber`, `reconnecting` | how a connection is made, authenticated and replaced |
//! | `node`, `cluster`, `sentinel`, `servers` | which servers there are, and which has a slot |
//! | `replication`, `pipeline`, `retry` | what is sent together, and what is sent again |
//! | `client`, `connect`, `health` | the driver itself |
//!
//! The crate fred is used for clients that the caller brings along (`fred_pool`), for subscribing
//! to sentinels (`subscriber`), and for its choice of a TLS library (`tls`). Its types stay in
//! those modules, and those of redis-protocol, which parses RESP2, in `resp`. All others speak of
//! [`Command`], [`Reply`] and [`RedisError`](crate::redis::error::RedisError).

mod address;
mod backoff;
mod client;
mod cluster;
mod command;
mod connect;
mod connection;
mod connector;
mod fred_pool;
#[cfg(feature = "fuzzing")]
pub(super) mod fuzzing;
mod health;
mod multiplexed;
mod node;
mod pipeline;
mod reconnecting;
mod replication;
mod reply;
mod resp;
mod retry;
mod sentinel;
mod servers;
mod subscriber;
mod task;
mod tls;

pub(crate) use client::Driver;
pub(crate) use command::Command;
#[cfg(all(feature = "cli", feature = "server"))]
pub(in crate::redis) use connect::check_tls;
pub use health::{Health, HealthProblem, ServerHealth};
pub(crate) use node::NodeHandle;
pub(crate) use reply::Reply;
pub(crate) use task::Task;
