//! The only place that knows a Redis client.
//!
//! A driver runs batches of commands, each routed by the slot of its first key, and says what
//! became of them in this crate's own terms. It is narrow, so that a second client can stand
//! beside the first.

mod client;
mod reply;
mod tls;

use bytes::Bytes;

pub(crate) use client::Driver;
pub(crate) use reply::Reply;

use super::slots::slot;

/// A node that a command without keys can be sent to.
#[derive(Debug, Clone)]
pub(crate) struct Node(Option<fred::types::config::Server>);

/// One command.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its arguments.
    pub(crate) args: Vec<Bytes>,
    /// The slot of its keys; `None` for a command without keys.
    pub(crate) slot: Option<u16>,
}

impl Command {
    /// A command without keys.
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            args: Vec::new(),
            slot: None,
        }
    }

    /// A command on a key.
    pub(crate) fn on(name: &'static str, key: Bytes) -> Self {
        let slot = slot(&key);
        Self {
            name,
            args: vec![key],
            slot: Some(slot),
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
}

/// A number as an argument.
pub(crate) fn number(number: impl std::fmt::Display + Copy) -> Bytes {
    Bytes::from(number.to_string())
}
