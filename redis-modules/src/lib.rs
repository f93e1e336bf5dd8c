//! A Redis with `RedisJSON` and `RediSearch` for development, examples and tests, without docker
//! and without root.
//!
//! [`Installation`] finds a suitable server on `PATH`, in the cache, or installs one into the
//! cache. [`Standalone`], [`Sentinel`] and [`Cluster`] start throwaway servers from it: on free
//! ports, bound to the loopback address, in temporary folders, and gone when the value is dropped
//! or this process ends, however it ends. [`shared_url`] is the short way for a test suite.
//!
//! ```no_run
//! let server = redis_modules::Standalone::start()?;
//! println!("{}", server.url());
//! # Ok::<(), redis_modules::Error>(())
//! ```
#![deny(missing_docs)]
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod cluster;
mod directives;
mod error;
mod find;
mod group;
mod install;
mod installation;
mod package;
mod ports;
mod resp;
mod sentinel;
mod shared;
mod slot_move;
mod standalone;
mod start;
mod supervisor;
mod tls;
mod topology;
mod users;

pub use cluster::{Cluster, ClusterBuilder};
pub use error::Error;
pub use installation::{Installation, cache_dir};
pub use package::ServerWithoutModules;
pub use sentinel::{Sentinel, SentinelBuilder};
pub use shared::shared_url;
pub use slot_move::SlotMove;
pub use standalone::{Standalone, StandaloneBuilder};
pub use tls::{Certificates, Tls};
pub use topology::Topology;
pub use users::{doctor_rules, saver_rules};
