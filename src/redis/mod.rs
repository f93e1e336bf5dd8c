//! The Redis saver.
//!
//! Modules import downwards only, which `tests/layers.rs` checks:
//!
//! - savers: `saver` has a line for each call, `shallow` is the saver of shallow mode, `builder`
//!   makes both, `blob_api` and `cli_api` are for the front ends.
//! - features: functions over the store, one module each, from `index`, `scan` and `registry` up to
//!   `transfer` and `doctor`.
//! - session: `scripts` makes commands of Lua, `session` holds what is known of the servers,
//!   `nonatomic` runs operations whose keys are in several slots, `store` has what all calls of a
//!   saver share.
//! - ground: `driver` alone knows a Redis client, `keys` alone names a key, `document` alone makes
//!   documents.
//!
//! A second layout of what is stored would be a set of operations and features of its own, chosen in
//! `saver`. It would share the ground, the session and the machinery of `scripts`.

mod args;
#[cfg(feature = "server")]
mod blob_api;
mod blob_gc;
mod blobs;
mod builder;
#[cfg(feature = "cli")]
mod cli_api;
#[cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "the features of the compact layout are not there yet"
    )
)]
mod compact;
mod config;
mod copy;
mod credentials;
mod delete;
mod doctor;
pub(crate) mod document;
mod driver;
mod error;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod history;
mod index;
pub(crate) mod keys;
mod list;
mod names;
mod nonatomic;
mod progress;
mod prune;
mod put;
mod read;
mod registry;
mod remove;
mod replies;
mod runs;
mod saver;
mod scan;
mod scripts;
mod search_state;
mod session;
mod shallow;
mod slots;
mod staged;
mod stats;
mod store;
mod thread_ttl;
mod threads;
mod transfer;
mod ttl;
mod unregistered;
mod url;

pub use builder::RedisSaverBuilder;
#[cfg(feature = "cli")]
pub(crate) use config::duration;
pub use config::{ConfigKey, SearchMode};
pub use credentials::{Credentials, CredentialsProvider};
#[cfg(feature = "cli")]
pub(crate) use doctor::IdleWrites;
pub use doctor::{DoctorOptions, DoctorReport, Finding, FindingKind};
pub use driver::{Health, HealthProblem, ServerHealth};
pub use index::IndexStats;
pub use saver::RedisSaver;
pub use shallow::ShallowRedisSaver;
pub use stats::{LargeCheckpoint, Sizes, Stats, StatsOptions, TtlHistogram};
pub use transfer::{EarlyWrites, TimedCheckpoint};
#[cfg(feature = "cli")]
pub(crate) use transfer::{PutBlob, TimedBlob, newly_named};
