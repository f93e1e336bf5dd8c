//! A checkpoint saver for [LangGraph](https://github.com/langchain-ai/langgraph) on Redis.
//!
//! LangGraph keeps the state of a *thread*, a conversation for instance, as a series of
//! *checkpoints*: one after each super-step, with the *writes* of tasks that have not been taken
//! into one yet. A checkpoint saver stores them, so that a thread goes on after an interrupt, a
//! crash or a deployment, and can be listed, forked and rewound. [`CheckpointSaver`] is that
//! interface, and [`RedisSaver`] the saver that this crate is about:
//!
//! - Every `put`, `put_writes` and `get_tuple` is one round trip and atomic where the keys of a
//!   thread share a slot: on one server, behind Sentinel, and in a Cluster with a hash tag.
//!   [`RedisSaver`] says what holds for other threads of a Cluster.
//! - Every write is idempotent, and is sent again by itself when a connection is lost or another
//!   server becomes the primary.
//! - Ids and values come back as they were given, byte for byte.
//! - What is stored is in the format of Python's langgraph-checkpoint-redis 0.5: each reads what
//!   the other wrote.
//!
//! # Quick start
//!
//! Redis 8, or Redis Stack 7.2 or later, has the JSON commands that are needed.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use langgraph_checkpoint_redis::{
//!     Checkpoint, CheckpointConfig, CheckpointMetadata, CheckpointSaver, PutOptions, RedisSaver,
//!     TtlPolicy,
//! };
//!
//! # async fn run() -> langgraph_checkpoint_redis::Result<()> {
//! let saver = RedisSaver::builder()
//!     .url("redis://localhost:6379")
//!     .ttl(TtlPolicy::new(Duration::from_secs(24 * 60 * 60)).with_refresh_on_read(true))
//!     .build()
//!     .await?;
//! saver.setup().await?;
//!
//! let thread = CheckpointConfig::new("user:42")?;
//! let checkpoint = Checkpoint::builder()
//!     .channel("messages", 1, &["hello"])?
//!     .build()?;
//! let metadata = CheckpointMetadata::new().with("source", "input")?.with("step", &-1)?;
//! let stored = saver.put(&thread, &checkpoint, &metadata, &PutOptions::default()).await?;
//!
//! let newest = saver.get_tuple(&thread).await?;
//! assert_eq!(newest.map(|tuple| tuple.config), Some(stored));
//! # Ok(())
//! # }
//! ```
//!
//! # Where to read on
//!
//! - [`CheckpointSaver`]: what each call does and promises, whichever saver it is made on.
//!   [`CheckpointSaverExt`] adds what callers like to have.
//! - [`RedisSaver`] and its [builder](redis::RedisSaverBuilder): connecting, TTLs, Clusters, TLS,
//!   credentials. [`ConfigKey`](redis::ConfigKey) lists the settings, which can also come from the
//!   environment.
//! - [`ShallowRedisSaver`]: only the newest checkpoint of each namespace.
//! - [`MemorySaver`]: the same promises in memory, for tests.
//! - [`HttpSaver`] and [`server`]: savers behind an HTTP service.
//! - [`ObservedSaver`]: spans and metrics around any saver.
//! - [`ScopedSaver`]: the threads of one tenant, of any saver.
//! - [`blocking`]: savers for callers without an async runtime.
//! - [`conformance`]: the suite that a saver of your own can be tested with.
//! - [`Error`]: what can go wrong, and [`Error::is_retryable`] whether the call may be made again.
//!
//! # Features
//!
//! | Feature | Default | What it adds |
//! |---|---|---|
//! | `redis` | yes | [`RedisSaver`] and [`ShallowRedisSaver`] |
//! | `tls` | yes | `rediss://` URLs, with rustls |
//! | `http` | no | [`HttpSaver`] |
//! | `server` | no | [`server`], the HTTP service |
//! | `metrics` | no | counts and times of every operation of an [`ObservedSaver`], through the `metrics` facade |
//! | `conformance` | no | [`conformance`], the suite and the replay of recorded runs |
//! | `cli` | no | the command line, `langgraph-redis` |
//!
//! Without any, the crate is the interface, its types and [`MemorySaver`].
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

// The interface.
mod blobs;
mod diagnostics;
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
mod http_saver;
#[cfg(any(feature = "http", feature = "otlp"))]
mod https;
#[cfg(feature = "inspect")]
mod inspect;
#[cfg(feature = "server")]
mod inspector;
mod observed;
#[cfg(feature = "otlp")]
mod otlp;
#[cfg(any(feature = "cli", feature = "server"))]
mod printable;
mod saver_ext;
mod scoped;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "wire")]
mod wire;

pub use checkpoint::{
    ChannelWrite, Checkpoint, CheckpointBuilder, CheckpointMetadata, CheckpointTuple,
    DeltaChannelHistory, PendingWrite, TypedValue, write_index,
};
pub use codec::{RawJson, RawObject};
pub use config::CheckpointConfig;
pub use error::{Error, Result};
pub use filter::MetadataFilter;
#[cfg(feature = "http")]
pub use http_saver::{HttpSaver, HttpSaverBuilder};
pub use id::{CheckpointId, CheckpointNamespace, MAX_ID_BYTES, RunId, TaskId, ThreadId};
pub use memory::MemorySaver;
pub use observed::ObservedSaver;
pub use options::{
    CopyOptions, DeleteOptions, ExistingTarget, ExpectedParent, ListOptions, MAX_TTL, Progress,
    ProgressCallback, PruneOptions, PruneStrategy, PutOptions, PutWritesOptions, TtlChoice,
    TtlPolicy, TtlScope,
};
#[cfg(feature = "otlp")]
pub use otlp::SpanExport;
#[cfg(feature = "redis")]
pub use redis::{RedisSaver, ShallowRedisSaver};
pub use saver::{CheckpointSaver, SaverStream, ThreadSummary};
pub use saver_ext::CheckpointSaverExt;
pub use scoped::ScopedSaver;
pub use version::ChannelVersion;

/// Compiles the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Compiles the examples of the page on getting started.
#[cfg(all(doctest, feature = "redis"))]
#[doc = include_str!("../docs/getting-started.md")]
struct GettingStarted;

/// Compiles the examples of the page on the HTTP service.
#[cfg(all(doctest, feature = "redis", feature = "server", feature = "http"))]
#[doc = include_str!("../docs/http.md")]
struct HttpService;

/// Compiles the examples of the page on running the service.
#[cfg(all(doctest, unix, feature = "http"))]
#[doc = include_str!("../docs/running.md")]
struct RunningTheService;
