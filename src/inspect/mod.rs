//! What a person is told of a thread: its status, its open interrupts, its messages, its changes.
//!
//! Pure functions on what a saver gives, below the command line and the HTTP service, which say it
//! each in its own way. Nothing here knows terminals or HTML, and nothing is ever executed.

// Each of those above uses a part.
#![cfg_attr(not(all(feature = "cli", feature = "server")), allow(dead_code))]

pub(crate) mod changes;
pub(crate) mod history;
pub(crate) mod interrupts;
pub(crate) mod lanes;
pub(crate) mod messages;
mod msgpack;
mod python;
pub(crate) mod read;
#[cfg(test)]
mod recorded;
pub(crate) mod status;
pub(crate) mod tasks;
pub(crate) mod threads;
pub(crate) mod time;
pub(crate) mod values;
