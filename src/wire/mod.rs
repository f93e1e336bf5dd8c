//! The JSON types of the endpoints under `/v1`, which the service and its client share. Every type
//! of the trait round-trips without loss.

// The service and its client each use one half.
#![cfg_attr(not(all(feature = "server", feature = "http")), allow(dead_code))]

mod convert;
#[cfg(feature = "server")]
mod schemas;

#[cfg(feature = "server")]
pub(crate) use schemas::{
    AnyId, Base64Text, CheckpointObject, ConfigOfCheckpoint, Int64, ShortId, ShortName,
    ShortNamespace, ShortPath, ShortVersion,
};

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::checkpoint::CheckpointMetadata;
use crate::codec::{RawJson, strict};
use crate::id::{CheckpointId, CheckpointNamespace, RunId, TaskId, ThreadId};

/// The number of writes, blobs, channels, runs or threads that one request may hold.
pub(crate) const MAX_ITEMS: usize = 10_000;
/// The longest id, channel, version or type under `/checkpoints`, in characters.
#[cfg(feature = "server")]
pub(crate) const MAX_NAME_CHARS: usize = 1_024;
/// The longest namespace or task path under `/checkpoints`, in characters.
#[cfg(feature = "server")]
pub(crate) const MAX_PATH_CHARS: usize = 4_096;

/// Derives the traits that the service and its client need.
macro_rules! wire {
    ($($(#[$meta:meta])* $visibility:vis $kind:ident $name:ident $body:tt)*) => {
        $(
            #[derive(Debug, Clone, Serialize, Deserialize)]
            #[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
            $(#[$meta])*
            $visibility $kind $name $body
        )*
    };
}

/// A count.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Count(#[serde(deserialize_with = "strict::integer")] pub(crate) u64);

/// A count of at least one.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Positive(#[serde(deserialize_with = "strict::integer")] pub(crate) usize);

/// A duration in milliseconds, from one to a hundred years.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Milliseconds(#[serde(deserialize_with = "strict::integer")] pub(crate) u64);

wire! {
    /// A thread, a namespace in it, or one checkpoint.
    pub(crate) struct Config {
        pub(crate) thread_id: ThreadId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub(crate) checkpoint_ns: Option<CheckpointNamespace>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub(crate) checkpoint_id: Option<CheckpointId>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub(crate) run_id: Option<RunId>,
        /// Merged into the metadata of each checkpoint that is put.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "server", schema(value_type = Option<Object>))]
        pub(crate) metadata: Option<RawJson>,
    }

    /// A time to live.
    #[derive(Copy, Default)]
    #[serde(rename_all = "snake_case")]
    pub(crate) enum Ttl {
        /// The default of the service's saver.
        #[default]
        Saver,
        /// No expiry.
        Forever,
        /// This many milliseconds.
        ForMs(Milliseconds),
    }

    /// The checkpoint that must be the newest of the namespace for another one to be put.
    #[derive(Default)]
    #[serde(rename_all = "snake_case")]
    pub(crate) enum Expected {
        /// Any or none.
        #[default]
        Any,
        /// None: the namespace has no checkpoint.
        None,
        /// This checkpoint.
        Is(CheckpointId),
    }

    /// A checkpoint to store.
    pub(crate) struct PutCall {
        #[serde(deserialize_with = "strict::object")]
        pub(crate) config: Config,
        #[cfg_attr(feature = "server", schema(value_type = CheckpointObject))]
        pub(crate) checkpoint: RawJson,
        #[serde(default = "no_metadata")]
        #[cfg_attr(feature = "server", schema(value_type = Object))]
        pub(crate) metadata: RawJson,
        #[serde(default)]
        pub(crate) ttl: Ttl,
        #[serde(default)]
        pub(crate) expected_parent: Expected,
    }

    /// The checkpoint that was stored.
    pub(crate) struct PutDone {
        #[serde(deserialize_with = "strict::object")]
        pub(crate) config: Config,
    }

    /// A value as a serializer encoded it.
    pub(crate) struct Serialized {
        /// The encoding of the bytes.
        #[serde(rename = "type")]
        pub(crate) type_name: String,
        /// The bytes in base64.
        #[serde(with = "base64_text")]
        #[cfg_attr(feature = "server", schema(value_type = Base64Text))]
        pub(crate) blob: Bytes,
        /// What else the serializer needs to decode the value.
        #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
        pub(crate) hints: Option<RawJson>,
    }

    /// A write that a task makes to a channel.
    pub(crate) struct Write {
        pub(crate) channel: String,
        #[serde(deserialize_with = "strict::object")]
        pub(crate) value: Serialized,
    }

    /// Writes of a task to store.
    pub(crate) struct PutWritesCall {
        #[serde(deserialize_with = "strict::object")]
        #[cfg_attr(feature = "server", schema(value_type = ConfigOfCheckpoint))]
        pub(crate) config: Config,
        #[serde(deserialize_with = "strict::objects")]
        pub(crate) writes: Vec<Write>,
        pub(crate) task_id: TaskId,
        #[serde(default)]
        pub(crate) task_path: String,
        #[serde(default)]
        pub(crate) ttl: Ttl,
    }

    /// Names what to read.
    pub(crate) struct GetTupleCall {
        #[serde(deserialize_with = "strict::object")]
        pub(crate) config: Config,
    }

    /// A stored write.
    pub(crate) struct Pending {
        pub(crate) task_id: TaskId,
        pub(crate) task_path: String,
        pub(crate) idx: i64,
        pub(crate) channel: String,
        #[serde(deserialize_with = "strict::object")]
        pub(crate) value: Serialized,
    }

    /// A checkpoint with what belongs to it.
    pub(crate) struct CheckpointAndWrites {
        #[serde(deserialize_with = "strict::object")]
        pub(crate) config: Config,
        #[cfg_attr(feature = "server", schema(value_type = Object))]
        pub(crate) checkpoint: RawJson,
        #[cfg_attr(feature = "server", schema(value_type = Object))]
        pub(crate) metadata: RawJson,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub(crate) parent_config: Option<Config>,
        pub(crate) pending_writes: Vec<Pending>,
    }

    /// Which checkpoints to list.
    pub(crate) struct ListCall {
        /// Without it every thread is listed.
        #[serde(
            default,
            deserialize_with = "strict::optional",
            skip_serializing_if = "Option::is_none"
        )]
        pub(crate) config: Option<Config>,
        /// Only threads whose ids start with this.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        pub(crate) prefix: String,
        /// Only checkpoints whose metadata contains these members.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "server", schema(value_type = Option<Object>))]
        pub(crate) filter: Option<RawJson>,
        /// Only checkpoints with smaller ids.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub(crate) before: Option<CheckpointId>,
        /// The maximum number of checkpoints.
        #[serde(
            default,
            deserialize_with = "strict::optional_integer",
            skip_serializing_if = "Option::is_none"
        )]
        #[cfg_attr(feature = "server", schema(value_type = Option<Count>))]
        pub(crate) limit: Option<usize>,
    }

    /// A thread to delete.
    pub(crate) struct DeleteThreadCall {
        pub(crate) thread_id: ThreadId,
    }

    /// The runs whose checkpoints to delete.
    pub(crate) struct DeleteForRunsCall {
        #[cfg_attr(feature = "server", schema(max_items = 10_000))]
        pub(crate) run_ids: Vec<RunId>,
        /// Only in threads whose ids start with this.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        pub(crate) prefix: String,
    }

    /// What a copy does if its target exists.
    #[derive(Copy, Default)]
    #[serde(rename_all = "snake_case")]
    pub(crate) enum Existing {
        /// Adds to it.
        #[default]
        Merge,
        /// Fails.
        Error,
    }

    /// A thread to copy, and its target.
    pub(crate) struct CopyThreadCall {
        pub(crate) source: ThreadId,
        pub(crate) target: ThreadId,
        #[serde(default)]
        pub(crate) existing: Existing,
        #[serde(default)]
        pub(crate) ttl: Ttl,
    }

    /// What pruning keeps.
    #[derive(Copy)]
    #[serde(rename_all = "snake_case")]
    pub(crate) enum Strategy {
        /// The newest checkpoint of each namespace.
        KeepLatest,
        /// This many of the newest checkpoints of each namespace.
        KeepLast(Positive),
        /// Checkpoints younger than this many milliseconds, and the newest of each namespace.
        YoungerThanMs(Count),
        /// Nothing.
        Delete,
    }

    /// The threads to prune.
    pub(crate) struct PruneCall {
        #[cfg_attr(feature = "server", schema(max_items = 10_000))]
        pub(crate) thread_ids: Vec<ThreadId>,
        pub(crate) strategy: Strategy,
    }

    /// The progress of a call.
    #[derive(Copy)]
    pub(crate) struct Done {
        pub(crate) checkpoints: u64,
        pub(crate) writes: u64,
    }

    /// A checkpoint, and channels of it.
    pub(crate) struct HistoryCall {
        #[serde(deserialize_with = "strict::object")]
        pub(crate) config: Config,
        #[cfg_attr(feature = "server", schema(max_items = 10_000))]
        pub(crate) channels: Vec<String>,
    }

    /// The writes to one channel along the ancestors of a checkpoint.
    pub(crate) struct History {
        /// Oldest first.
        pub(crate) writes: Vec<Pending>,
        /// The value at the nearest ancestor that has one; absent if none does.
        #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
        pub(crate) seed: Option<RawJson>,
        /// That ancestor.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "server", schema(value_type = Option<Object>))]
        pub(crate) seed_checkpoint: Option<RawJson>,
    }

    /// The order of threads.
    #[derive(Copy, Default, PartialEq, Eq)]
    #[serde(rename_all = "snake_case")]
    pub(crate) enum Sort {
        /// Those first that were written to last.
        #[default]
        Newest,
        /// Those first that have the most checkpoints.
        Checkpoints,
        /// Those first that take the most bytes.
        Size,
        /// Those first that expire next; those that never do come last.
        Expiry,
    }

    /// The threads to list, and what to tell of them.
    #[derive(Default)]
    pub(crate) struct ThreadsCall {
        /// Only threads whose ids start with this.
        #[serde(default)]
        pub(crate) prefix: String,
        /// Only threads that wait for an answer; with `failed`, those that failed too.
        #[serde(default, skip_serializing_if = "is_false")]
        pub(crate) waiting: bool,
        /// Only threads where a task has failed; with `waiting`, those that wait too.
        #[serde(default, skip_serializing_if = "is_false")]
        pub(crate) failed: bool,
        /// Whether to tell the status of each thread. Its newest checkpoint is read.
        #[serde(default, skip_serializing_if = "is_false")]
        pub(crate) status: bool,
        /// Whether to tell how many bytes each thread takes. The store is asked for each of its keys.
        #[serde(default, skip_serializing_if = "is_false")]
        pub(crate) bytes: bool,
        /// The order. All but the newest first look at every thread.
        #[serde(default, skip_serializing_if = "is_newest")]
        pub(crate) sort: Sort,
        /// The maximum number of threads. In another order than the newest first it is 1,000 if it
        /// is not given, and 10,000 at most.
        #[serde(
            default,
            deserialize_with = "strict::optional_integer",
            skip_serializing_if = "Option::is_none"
        )]
        #[cfg_attr(feature = "server", schema(value_type = Option<Count>))]
        pub(crate) limit: Option<usize>,
    }

    /// The status of a thread.
    #[derive(Copy, PartialEq, Eq)]
    #[serde(rename_all = "snake_case")]
    pub(crate) enum Status {
        /// Nothing is left to run.
        Idle,
        /// Nodes are left to run, without an interrupt or an error: a run goes on, was stopped or
        /// has died.
        Unfinished,
        /// A task waits for an answer.
        Interrupted,
        /// A task has failed.
        Error,
    }

    /// What a thread holds.
    pub(crate) struct Summary {
        pub(crate) thread_id: ThreadId,
        pub(crate) checkpoints: u64,
        /// The newest checkpoint of the root namespace, else of any.
        pub(crate) newest: Option<CheckpointId>,
        /// The remaining time to live of the newest checkpoint in milliseconds; null if it never
        /// expires.
        pub(crate) ttl_ms: Option<u64>,
        /// The status; absent if it was not asked for, or is not known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub(crate) status: Option<Status>,
        /// Whether a task waits for an answer; absent if the status is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub(crate) waiting: Option<bool>,
        /// Whether a task has failed; absent if the status is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub(crate) failed: Option<bool>,
        /// The bytes that the thread takes; absent if they were not asked for, or are not known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub(crate) bytes: Option<u64>,
    }

    /// A thread.
    pub(crate) struct ThreadCall {
        pub(crate) thread_id: ThreadId,
    }

    /// Whether the thread exists and its TTL was changed.
    pub(crate) struct Changed {
        pub(crate) changed: bool,
    }

    /// An error by its kind. Details are given only of errors that the caller can fix.
    #[derive(Default)]
    pub(crate) struct Fault {
        pub(crate) kind: Cow<'static, str>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub(crate) field: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub(crate) what: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub(crate) reason: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub(crate) size: Option<usize>,
        /// The limit that was exceeded, in bytes or milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub(crate) limit: Option<usize>,
        /// The id of the request, in the last line of a response in lines.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub(crate) request_id: Option<String>,
    }

    /// A line of a streamed response: a checkpoint. The last line has `end` or `error`.
    #[derive(Default)]
    pub(crate) struct CheckpointLine {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub(crate) item: Option<CheckpointAndWrites>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub(crate) error: Option<Fault>,
        #[serde(default, skip_serializing_if = "is_false")]
        pub(crate) end: bool,
    }

    /// A line of a streamed response: a thread. The last line has `end` or `error`.
    #[derive(Default)]
    pub(crate) struct ThreadLine {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub(crate) item: Option<Summary>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub(crate) error: Option<Fault>,
        #[serde(default, skip_serializing_if = "is_false")]
        pub(crate) end: bool,
    }

    /// A line of a streamed response: the progress of the call. The last line has `end` or `error`.
    #[derive(Default)]
    pub(crate) struct ProgressLine {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub(crate) item: Option<Done>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub(crate) error: Option<Fault>,
        #[serde(default, skip_serializing_if = "is_false")]
        pub(crate) end: bool,
    }
}

/// A line of a streamed response.
pub(crate) trait Line: Serialize + for<'de> Deserialize<'de> + Send + 'static {
    /// The type of the items.
    type Item: Send + 'static;

    /// A line with an item.
    fn of(item: Self::Item) -> Self;
    /// The last line after a failure.
    fn fault(fault: Fault) -> Self;
    /// The last line after success.
    fn end() -> Self;
    /// The item, the failure, and whether the line is the last.
    fn read(self) -> (Option<Self::Item>, Option<Fault>, bool);
}

macro_rules! lines {
    ($($line:ident of $item:ty;)*) => {
        $(
            impl Line for $line {
                type Item = $item;

                fn of(item: $item) -> Self {
                    Self { item: Some(item), ..Self::default() }
                }

                fn fault(fault: Fault) -> Self {
                    Self { error: Some(fault), ..Self::default() }
                }

                fn end() -> Self {
                    Self { end: true, ..Self::default() }
                }

                fn read(self) -> (Option<$item>, Option<Fault>, bool) {
                    (self.item, self.error, self.end)
                }
            }
        )*
    };
}

lines! {
    CheckpointLine of CheckpointAndWrites;
    ThreadLine of Summary;
    ProgressLine of Done;
}

fn no_metadata() -> RawJson {
    CheckpointMetadata::new().to_json()
}

#[allow(clippy::trivially_copy_pass_by_ref)] // The signature is serde's.
fn is_false(value: &bool) -> bool {
    !value
}

#[allow(clippy::trivially_copy_pass_by_ref)] // The signature is serde's.
fn is_newest(sort: &Sort) -> bool {
    *sort == Sort::Newest
}

/// A value that is present, even if it is null.
fn some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<RawJson>, D::Error> {
    RawJson::deserialize(deserializer).map(Some)
}

mod base64_text {
    use super::{BASE64, Bytes, Cow, Deserialize, Deserializer, Engine, Serializer};

    pub(super) fn serialize<S: Serializer>(
        bytes: &Bytes,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Bytes, D::Error> {
        let text: Cow<'de, str> = Cow::deserialize(deserializer)?;
        let bytes = BASE64.decode(text.as_bytes());
        bytes
            .map(Bytes::from)
            .map_err(|error| serde::de::Error::custom(format!("it is not base64: {error}")))
    }
}

/// The histories of channels, by their names.
pub(crate) type Histories = BTreeMap<String, History>;
