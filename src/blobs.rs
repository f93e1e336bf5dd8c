//! Blobs: values of channels that are stored apart from their checkpoints, once for each version.
//!
//! The HTTP service's callers send a channel's value only when it has changed. A checkpoint names
//! its blobs by its `channel_versions`.

// Only the service uses all of it.
#![cfg_attr(not(feature = "server"), allow(dead_code, unreachable_pub))]

use async_trait::async_trait;

use crate::checkpoint::{Checkpoint, CheckpointMetadata, PendingWrite};
use crate::codec::RawObject;
use crate::config::CheckpointConfig;
use crate::diagnostics::Diagnostics;
use crate::error::Result;
use crate::id::{CheckpointNamespace, ThreadId};
use crate::saver::{CheckpointSaver, SaverStream, ThreadSummary};

/// The type of a blob which says that a channel has no value.
pub(crate) const EMPTY: &str = "empty";

/// A saver that the HTTP service can serve, because it also stores the values of channels as
/// blobs: `RedisSaver` and [`MemorySaver`](crate::MemorySaver).
///
/// The trait is sealed: its methods may change in any release.
#[async_trait]
pub trait BlobStore: CheckpointSaver {
    /// Stores a checkpoint and blobs of it.
    ///
    /// A blob that is there already stays as it is; a checkpoint that is there is replaced. The
    /// blobs that the checkpoint names are kept at least as long as the checkpoint. Idempotent.
    ///
    /// # Errors
    /// As [`CheckpointSaver::put`].
    #[doc(hidden)]
    async fn put_with_blobs(
        &self,
        config: &CheckpointConfig,
        checkpoint: &Checkpoint,
        metadata: &CheckpointMetadata,
        blobs: &[ChannelBlob],
    ) -> Result<CheckpointConfig>;

    /// Streams the blobs that a checkpoint names, a page at a time; those that are not there are
    /// left out.
    #[doc(hidden)]
    fn blobs_of(
        &self,
        thread: &ThreadId,
        namespace: &CheckpointNamespace,
        checkpoint: &Checkpoint,
    ) -> SaverStream<BlobPage>;

    /// Stores writes under the tasks and indexes that they name, all of them together. Idempotent.
    ///
    /// # Errors
    /// As [`CheckpointSaver::put_writes`].
    #[doc(hidden)]
    async fn put_indexed_writes(
        &self,
        config: &CheckpointConfig,
        writes: &[PendingWrite],
        existing: ExistingWrites,
    ) -> Result<()>;

    /// The summary of a thread, read by its id, or `None` if it has no checkpoint.
    ///
    /// # Errors
    /// Any storage error.
    #[doc(hidden)]
    async fn summary(&self, thread: &ThreadId) -> Result<Option<ThreadSummary>>;

    /// What the store says of itself; `None` if it says nothing, or if the saver is a view of one
    /// tenant's threads.
    #[doc(hidden)]
    fn diagnostics(&self) -> Option<&dyn Diagnostics>;

    /// How many bytes a thread takes where it is stored, 0 if it is not there: on Redis what the
    /// server reports of its keys. `None` if the user may not ask for it.
    #[doc(hidden)]
    async fn thread_bytes(&self, thread: &ThreadId) -> Result<Option<u64>>;

    /// Whether calls can be served. The reason that they cannot is logged in full; what is
    /// returned names no server, because anybody may ask.
    #[doc(hidden)]
    async fn readiness(&self) -> StoreReadiness;

    /// The connections to the store; `None` if it needs none.
    #[doc(hidden)]
    fn connections(&self) -> Option<ConnectionCounts>;

    /// Waits for the calls in flight and closes the connections; later calls fail.
    #[doc(hidden)]
    async fn close(&self);
}

/// The value of a channel at a version, as the caller encoded it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelBlob {
    pub(crate) channel: String,
    pub(crate) version: String,
    pub(crate) type_name: String,
    /// The bytes in base64.
    pub(crate) blob: Option<String>,
}

impl ChannelBlob {
    /// Whether the blob says that the channel has no value.
    pub(crate) fn is_empty(&self) -> bool {
        self.type_name == EMPTY
    }
}

/// Some of the blobs of a checkpoint.
#[derive(Debug)]
pub enum BlobPage {
    /// The next blobs.
    Found(Vec<ChannelBlob>),
    /// The checkpoint was removed while its blobs were read, and perhaps some of them with it.
    Gone,
}

/// What happens to writes that are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExistingWrites {
    /// They stay.
    Keep,
    /// They are replaced.
    Replace,
}

/// Whether a store can serve calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreReadiness {
    /// It can.
    Ready,
    /// It can, without search.
    WithoutSearch,
    /// It cannot, for a reason that names no server.
    NotReady(String),
}

/// How many connections to a store there are, and how many calls are in flight on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionCounts {
    pub(crate) connections: usize,
    pub(crate) calls_in_flight: usize,
}

/// The channels of a checkpoint with their versions as text, by which its blobs are named.
pub(crate) fn named_by(checkpoint: &Checkpoint) -> Vec<(String, String)> {
    let versions = checkpoint.fields().get("channel_versions");
    let versions = versions
        .and_then(|versions| RawObject::parse(versions.bytes().clone()).ok())
        .unwrap_or_default();
    versions
        .iter()
        .map(|(channel, version)| {
            let text = version.decode::<String>();
            let text = text.unwrap_or_else(|_| version.as_str().to_owned());
            (channel.to_owned(), text)
        })
        .collect()
}
