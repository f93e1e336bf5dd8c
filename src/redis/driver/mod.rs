//! The only place that knows a Redis client.
//!
//! A driver runs batches of commands, each routed by the slot of its first key, and says what
//! became of them in this crate's own terms. It is narrow, so that a second client can stand
//! beside the first.
//!
//! The client, fred, is used for what it does best: one connection to one server that many calls
//! share. What happens when something breaks is decided here. `link` keeps one connection alive,
//! `node` the connections to one server, `cluster` and `sentinel` know which servers there are,
//! and `client` runs commands on them and decides which are sent again.

mod backoff;
mod client;
mod cluster;
mod flight;
mod frames;
#[cfg(feature = "fuzzing")]
pub(super) mod fuzzing;
mod health;
mod link;
mod multiplexed;
mod node;
mod reply;
mod sentinel;
mod servers;
mod tls;

use bytes::Bytes;

pub(crate) use client::{Driver, Node};
pub use health::{Health, HealthProblem, ServerHealth};
pub(crate) use reply::Reply;

use super::slots::slot;

/// The plain commands that change what is stored.
const WRITES: [&str; 18] = [
    "DEL",
    "EXEC",
    "EXPIRE",
    "JSON.DEL",
    "JSON.MERGE",
    "JSON.SET",
    "PERSIST",
    "PEXPIRE",
    "RENAME",
    "SADD",
    "SET",
    "SREM",
    "UNLINK",
    "ZADD",
    "ZREM",
    "ZREMRANGEBYLEX",
    "ZREMRANGEBYRANK",
    "ZREMRANGEBYSCORE",
];

/// One command.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its arguments.
    pub(crate) args: Vec<Bytes>,
    /// The slot of its keys; `None` for a command without keys.
    pub(crate) slot: Option<u16>,
    /// Whether it changes what is stored, so that replicas may have to acknowledge it.
    pub(crate) writes: bool,
    /// Whether it is sent once at most: the answer to a second one would be another.
    pub(crate) once: bool,
}

impl Command {
    /// A command without keys.
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            args: Vec::new(),
            slot: None,
            writes: WRITES.contains(&name),
            once: false,
        }
    }

    /// A command on a key.
    pub(crate) fn on(name: &'static str, key: Bytes) -> Self {
        let slot = slot(&key);
        Self {
            args: vec![key],
            slot: Some(slot),
            ..Self::new(name)
        }
    }

    /// The same with one more argument.
    pub(crate) fn arg(mut self, arg: impl Into<Bytes>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// The same with more arguments.
    pub(crate) fn args(mut self, args: impl IntoIterator<Item = Bytes>) -> Self {
        self.args.extend(args);
        self
    }

    /// The same, sent once at most. Every other command may run twice.
    pub(crate) fn once(mut self) -> Self {
        self.once = true;
        self
    }
}

/// A number as an argument.
pub(crate) fn number(number: impl std::fmt::Display + Copy) -> Bytes {
    Bytes::from(number.to_string())
}
