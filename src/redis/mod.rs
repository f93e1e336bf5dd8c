//! The Redis saver.
//!
//! Modules import downwards only, which `tests/layers.rs` checks:
//!
//! - savers: `saver` asks its layout, of which there are two behind the trait in `layout`: `json`
//!   has a line for each call, and `compact_saver` is a folder of its own over the codec in
//!   `compact`. `shallow` is the saver of shallow mode, `builder` makes both savers, `blob_api` and
//!   `cli_api` are for the front ends.
//! - features of the JSON layout: functions over the store, one module each, from `index`, `scan`
//!   and `registry` up to `transfer` and `doctor`.
//! - session: `scripts` makes commands of Lua, `session` holds what is known of the servers,
//!   `nonatomic` runs operations whose keys are in several slots, `store` has what all calls of a
//!   saver share.
//! - ground: `driver` alone knows a Redis client, `keys` alone names a key, `document` alone makes
//!   documents.

mod args;
#[cfg(feature = "server")]
mod blob_api;
mod blob_gc;
mod blobs;
mod builder;
#[cfg(feature = "cli")]
mod cli_api;
mod compact;
mod compact_saver;
mod config;
mod copy;
mod credentials;
mod delete;
#[cfg(feature = "server")]
mod diagnostics;
mod doctor;
pub(crate) mod document;
mod driver;
mod encryption_keys;
mod error;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod history;
mod index;
mod json;
pub(crate) mod keys;
mod layout;
mod list;
mod marker;
#[cfg(any(feature = "cli", feature = "server"))]
mod memory_usage;
mod names;
mod nonatomic;
mod progress;
mod prune;
mod put;
mod read;
mod recent;
mod registry;
mod remove;
mod replies;
mod reseal;
mod resharding;
mod runs;
mod saver;
mod scan;
mod scripts;
mod search_state;
mod session;
mod setup;
mod shallow;
mod slots;
mod staged;
mod stats;
mod store;
#[cfg(feature = "server")]
mod thread_size;
mod thread_ttl;
mod thread_walk;
mod threads;
mod transfer;
mod ttl;
mod unregistered;
mod url;
#[cfg(feature = "server")]
mod with_blobs;

pub use builder::RedisSaverBuilder;
#[cfg(feature = "cli")]
pub(crate) use config::duration;
pub use config::{ConfigKey, Layout, SearchMode};
pub use credentials::{Credentials, CredentialsProvider};
#[cfg(feature = "cli")]
pub(crate) use doctor::IdleWrites;
pub use doctor::{DoctorOptions, DoctorReport, Finding, FindingKind};
pub use driver::{Health, HealthProblem, ServerHealth};
pub use encryption_keys::{EncryptionKey, EncryptionKeys};
pub use index::IndexStats;
pub use reseal::{ResealOptions, ResealReport};
pub use saver::RedisSaver;
pub use shallow::ShallowRedisSaver;
pub use stats::{LargeCheckpoint, Sizes, Stats, StatsOptions, TtlHistogram};
pub use transfer::{EarlyWrites, TimedCheckpoint};
#[cfg(feature = "cli")]
pub(crate) use transfer::{PutBlob, TimedBlob, newly_named};
#[cfg(feature = "cli")]
pub(crate) use url::has_password;
#[cfg(all(feature = "cli", feature = "server"))]
pub(crate) use url::without_password;
