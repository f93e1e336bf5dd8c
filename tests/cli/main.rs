//! The command line, run as a process of its own on a prefix of each test's own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod command;
mod commands;
mod conversation;
#[cfg(feature = "server")]
mod demo;
mod doctor;
mod gc;
mod generated;
mod inspect;
#[cfg(feature = "server")]
mod keys;
mod lifetime;
mod migrate;
mod refusals;
#[cfg(all(unix, feature = "server"))]
mod running;
mod sealing;
#[cfg(feature = "server")]
mod serve;
mod threads;
#[cfg(all(feature = "otlp", feature = "server"))]
mod traces;
mod transfer;
