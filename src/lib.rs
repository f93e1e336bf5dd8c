#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
#![forbid(unsafe_code)]

// The interface.
mod round_trips;
mod saver;

mod checkpoint;
mod config;
mod error;
mod filter;
mod id;
mod options;
mod version;

mod codec;
mod lineage;

// The implementations.
mod memory;
#[cfg(feature = "redis")]
pub mod redis;

// Around them.
#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
pub mod blocking;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "wire")]
mod wire;
mod wrapper;

pub use checkpoint::{
    ChannelWrite, Checkpoint, CheckpointBuilder, CheckpointMetadata, CheckpointTuple,
    DeltaChannelHistory, PendingWrite, TypedValue, write_index,
};
pub use codec::{RawJson, RawObject};
pub use config::CheckpointConfig;
pub use error::{Error, Result};
pub use filter::MetadataFilter;
#[cfg(feature = "http")]
pub use http::{HttpSaver, HttpSaverBuilder};
pub use id::{CheckpointId, CheckpointNamespace, MAX_ID_BYTES, RunId, TaskId, ThreadId};
pub use memory::MemorySaver;
pub use options::{
    CopyOptions, DeleteOptions, ExistingTarget, ExpectedParent, ListOptions, MAX_TTL, Progress,
    ProgressCallback, PruneOptions, PruneStrategy, PutOptions, PutWritesOptions, TtlChoice,
    TtlPolicy, TtlScope,
};
#[cfg(feature = "redis")]
pub use redis::{RedisSaver, ShallowRedisSaver};
pub use saver::{CheckpointSaver, CheckpointSaverExt, SaverStream, ThreadSummary};
pub use version::ChannelVersion;
pub use wrapper::ObservedSaver;
