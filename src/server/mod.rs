//! The HTTP service: the five checkpoint endpoints under `/checkpoints` of scale-agentex, every
//! method of [`CheckpointSaver`](crate::CheckpointSaver) under `/v1`, and API keys, limits, health
//! checks and metrics.
//!
//! It serves any [`BlobStore`]: a `RedisSaver`, or a [`MemorySaver`](crate::MemorySaver) in tests.
//! `docs/http.md` describes the endpoints and how to run the service.
//!
//! ```no_run
//! use langgraph_checkpoint_redis::server::{ApiKeys, Authentication, ServerOptions, serve};
//! use langgraph_checkpoint_redis::{CheckpointSaver, RedisSaver};
//!
//! # async fn run() -> langgraph_checkpoint_redis::Result<()> {
//! let saver = RedisSaver::connect("redis://localhost:6379").await?;
//! saver.setup().await?;
//! let keys = ApiKeys::parse(&format!("team-a:{}:team-a/", ApiKeys::hash("a long secret")))?;
//! let options = ServerOptions::new(Authentication::Keys(keys));
//! let interrupted = async { tokio::signal::ctrl_c().await.unwrap_or_default() };
//! serve(saver, options, interrupted).await
//! # }
//! ```

mod api_keys;
mod audit;
mod auth;
mod body;
mod budget;
mod build_info;
mod call;
mod checkpoints;
mod connections;
mod handle;
mod held_bytes;
mod inspector;
mod json_stream;
mod key_file;
mod key_limits;
mod key_line;
mod keyed_request;
mod lingering_close;
mod listen;
mod middleware;
mod ndjson;
mod operations;
mod options;
mod problem;
mod readiness;
mod request_limits;
mod routes;
mod scopes;
mod serve;
#[cfg(unix)]
mod socket_file;
mod state;
mod telemetry;
mod tls;
mod trace;
mod turn;
mod v1;
mod verbatim;
mod watched_files;

pub use crate::blobs::BlobStore;
pub use api_keys::ApiKeys;
pub use handle::ServiceHandle;
pub use key_file::KeyFile;
pub use key_limits::KeyLimits;
pub use listen::{ListenAddress, Listener};
pub use options::{Authentication, ServerOptions};
pub use routes::{openapi, router};
pub use serve::{serve, serve_on};
pub use telemetry::log_as_json;
pub use tls::TlsFiles;
