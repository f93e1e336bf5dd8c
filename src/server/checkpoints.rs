//! The five endpoints under `/checkpoints`, as scale-agentex's client calls them.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::audit;
use super::auth::Access;
use super::body::{JsonBody, json, text_of};
use super::json_stream;
use super::problem::{Problem, ProblemBody};
use super::request_limits::{self, check_count, check_together};
use super::state::AppState;
use super::verbatim;
use crate::blobs::{BlobPage, ChannelBlob, ExistingWrites};
use crate::checkpoint::{
    Checkpoint, CheckpointMetadata, CheckpointTuple, PendingWrite, TypedValue,
};
use crate::codec::{RawJson, RawObject, strict};
use crate::config::CheckpointConfig;
use crate::error::{Error, Result};
use crate::filter::MetadataFilter;
use crate::id::{CheckpointId, CheckpointNamespace, TaskId, ThreadId};
use crate::observed::measure::{checkpoint_bytes, pending_bytes};
use crate::observed::observe;
use crate::options::{DeleteOptions, ListOptions};
use crate::saver::CheckpointSaver;
use crate::wire::{
    AnyId, Base64Text, Int64, ShortId, ShortName, ShortNamespace, ShortPath, ShortVersion,
};

/// How often a checkpoint is read at most if it is removed while it is read.
const MAX_ATTEMPTS: usize = 8;
/// The largest `limit` of a list.
const MAX_LIMIT: usize = 1_000;

/// A checkpoint, or the newest of a namespace.
#[derive(Deserialize, utoipa::ToSchema)]
pub(super) struct GetTuple {
    thread_id: ThreadId,
    #[serde(default)]
    #[schema(default = "")]
    checkpoint_ns: CheckpointNamespace,
    /// Null or `""` means the newest.
    #[schema(value_type = Option<AnyId>)]
    checkpoint_id: Option<String>,
}

/// The value of a channel at a version.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub(super) struct VersionedValue {
    #[schema(value_type = ShortName)]
    channel: String,
    #[schema(value_type = ShortVersion)]
    version: String,
    /// The encoding of the bytes; `empty` means that the channel has no value.
    #[serde(rename = "type")]
    #[schema(value_type = ShortName)]
    type_name: String,
    /// The bytes in base64.
    #[schema(value_type = Option<Base64Text>)]
    blob: Option<String>,
}

/// A stored write of a task.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct StoredWrite {
    task_id: String,
    idx: i64,
    channel: String,
    #[serde(rename = "type")]
    type_name: Option<String>,
    /// The bytes in base64.
    #[schema(value_type = Option<Base64Text>)]
    blob: Option<String>,
}

/// A checkpoint with its blobs and pending writes.
#[allow(dead_code)] // The response is streamed; this type describes it.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Tuple {
    #[serde(flatten)]
    listed: Listed,
    blobs: Vec<VersionedValue>,
    /// Ordered by `task_id` and `idx`.
    pending_writes: Vec<StoredWrite>,
}

/// A checkpoint.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Listed {
    thread_id: String,
    checkpoint_ns: String,
    checkpoint_id: String,
    parent_checkpoint_id: Option<String>,
    #[schema(value_type = Object)]
    checkpoint: RawJson,
    #[schema(value_type = Object)]
    metadata: RawJson,
}

/// A checkpoint to store.
#[derive(Deserialize, utoipa::ToSchema)]
pub(super) struct Put<'a> {
    #[schema(value_type = ShortId)]
    thread_id: ThreadId,
    #[serde(default)]
    #[schema(value_type = ShortNamespace, default = "")]
    checkpoint_ns: CheckpointNamespace,
    #[schema(value_type = ShortId)]
    checkpoint_id: CheckpointId,
    #[schema(value_type = Option<ShortName>)]
    parent_checkpoint_id: Option<String>,
    #[serde(borrow)]
    #[schema(value_type = Object)]
    checkpoint: &'a RawValue,
    #[serde(borrow, default, deserialize_with = "some")]
    #[schema(value_type = Object)]
    metadata: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "strict::objects")]
    #[schema(max_items = 10_000)]
    blobs: Vec<VersionedValue>,
}

/// The checkpoint that was stored.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Stored {
    thread_id: String,
    checkpoint_ns: String,
    checkpoint_id: String,
}

/// Writes to store.
#[derive(Deserialize, utoipa::ToSchema)]
pub(super) struct PutWrites<'a> {
    #[schema(value_type = ShortId)]
    thread_id: ThreadId,
    #[serde(default)]
    #[schema(value_type = ShortNamespace, default = "")]
    checkpoint_ns: CheckpointNamespace,
    #[schema(value_type = ShortId)]
    checkpoint_id: CheckpointId,
    #[serde(borrow, deserialize_with = "strict::objects")]
    #[schema(max_items = 10_000)]
    writes: Vec<TaskWrite<'a>>,
    /// Whether existing writes are replaced.
    #[serde(default)]
    upsert: bool,
}

/// A write to store.
#[derive(Deserialize, utoipa::ToSchema)]
pub(super) struct TaskWrite<'a> {
    #[schema(value_type = ShortId)]
    task_id: TaskId,
    #[serde(deserialize_with = "strict::integer")]
    #[schema(value_type = Int64)]
    idx: i64,
    #[serde(borrow)]
    #[schema(value_type = ShortName)]
    channel: Cow<'a, str>,
    #[serde(borrow, rename = "type", default)]
    #[schema(value_type = Option<ShortName>)]
    type_name: Option<Cow<'a, str>>,
    /// The bytes in base64.
    #[serde(borrow)]
    #[schema(value_type = Base64Text)]
    blob: Cow<'a, str>,
    #[serde(borrow, default)]
    #[schema(value_type = ShortPath, default = "")]
    task_path: Cow<'a, str>,
}

/// Which checkpoints to list.
#[derive(Deserialize, utoipa::ToSchema)]
pub(super) struct List<'a> {
    thread_id: ThreadId,
    /// Null means every namespace.
    checkpoint_ns: Option<CheckpointNamespace>,
    /// Only checkpoints with smaller ids.
    #[schema(value_type = Option<AnyId>)]
    before_checkpoint_id: Option<String>,
    /// Only checkpoints whose metadata contains these members.
    #[serde(borrow)]
    #[schema(value_type = Option<Object>)]
    filter_metadata: Option<&'a RawValue>,
    #[serde(default = "default_limit", deserialize_with = "strict::integer")]
    #[schema(default = 100, minimum = 1, maximum = 1_000)]
    limit: usize,
}

/// A value that is present, even if it is null.
fn some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

fn default_limit() -> usize {
    100
}

/// A thread to delete.
#[derive(Deserialize, utoipa::ToSchema)]
pub(super) struct DeleteThread {
    thread_id: ThreadId,
}

/// Returns a checkpoint, or the newest, with its blobs and pending writes; `null` if there is none.
#[utoipa::path(
    post, path = "/checkpoints/get-tuple", tag = "checkpoints", request_body = GetTuple,
    responses(
        (status = 200, description = "The checkpoint, or null", body = Option<Tuple>),
        (status = 404, description = "The key does not reach the thread", body = ProblemBody),
        (status = 422, description = "The body is not valid", body = ProblemBody),
    )
)]
pub(super) async fn get_tuple(
    State(state): State<AppState>,
    access: Access,
    body: JsonBody,
) -> Result<Response, Problem> {
    let request: GetTuple = body.parse()?;
    access.check(&request.thread_id)?;
    let mut config = CheckpointConfig::of_thread(request.thread_id);
    config.checkpoint_ns = Some(request.checkpoint_ns);
    config.checkpoint_id = optional_id(request.checkpoint_id)?;
    let mut attempts = MAX_ATTEMPTS;
    loop {
        attempts -= 1;
        let Some(tuple) = state.saver.get_tuple(&config).await? else {
            return json(&None::<Tuple>);
        };
        let is_gone = Arc::new(AtomicBool::new(false));
        match tuple_answer(&state, &config, tuple, &is_gone).await {
            // It was removed after it was read: read again, to find that or its successor.
            Err(_) if attempts > 0 && is_gone.load(Ordering::Relaxed) => {}
            answer => return answer,
        }
    }
}

/// Responds with a checkpoint. Sets `is_gone` if that failed because the checkpoint was removed.
async fn tuple_answer(
    state: &AppState,
    config: &CheckpointConfig,
    mut tuple: CheckpointTuple,
    is_gone: &Arc<AtomicBool>,
) -> Result<Response, Problem> {
    let (thread, namespace) = (&config.thread_id, config.namespace());
    let saver = state.saver.get_ref();
    let read = saver.blobs_of(thread, &namespace, &tuple.checkpoint);
    let measure = state
        .saver
        .measure("get_blobs", thread, Some(namespace.as_str()), 0);
    let blobs = observe(read, measure, page_bytes);
    let mut writes = std::mem::take(&mut tuple.pending_writes);
    writes.sort_by(|one, other| (&one.task_id, one.idx).cmp(&(&other.task_id, other.idx)));
    let is_gone = Arc::clone(is_gone);
    let pages = blobs.map(move |page| match page? {
        BlobPage::Found(blobs) => Ok(stream::iter(blobs.into_iter().map(sent_blob).map(Ok))),
        BlobPage::Gone => {
            is_gone.store(true, Ordering::Relaxed);
            Err(Error::Unavailable {
                reason: "the checkpoint was removed while it was read; read it again".to_owned(),
                source: None,
            })
        }
    });
    let blobs = pages.try_flatten().boxed();
    let writes = stream::iter(writes.into_iter().map(sent_write).map(Ok)).boxed();
    // Blobs may be many and large: only a page of them is held, and the text of one.
    let before = opened(&listed(tuple), "blobs")?;
    let blobs = json_stream::array(before, blobs, "],");
    let writes = json_stream::array(&b"\"pending_writes\":["[..], writes, "]}");
    json_stream::respond(blobs.chain(writes).boxed()).await
}

/// The text of an object up to the elements of a further member, which is a list.
fn opened<T: Serialize>(object: &T, list: &str) -> Result<Vec<u8>, Problem> {
    let mut text = text_of(object)?;
    text.pop();
    text.extend_from_slice(format!(",\"{list}\":[").as_bytes());
    Ok(text)
}

fn page_bytes(page: &BlobPage) -> usize {
    match page {
        BlobPage::Found(blobs) => blobs.iter().map(blob_bytes).sum(),
        BlobPage::Gone => 0,
    }
}

/// Stores a checkpoint and the blobs that are not stored yet. An existing checkpoint is replaced,
/// an existing blob is not.
#[utoipa::path(
    post, path = "/checkpoints/put", tag = "checkpoints", request_body = Put<'_>,
    responses(
        (status = 200, description = "The checkpoint is stored", body = Stored),
        (status = 404, description = "The key does not reach the thread", body = ProblemBody),
        (status = 422, description = "The body is not valid", body = ProblemBody),
    )
)]
pub(super) async fn put(
    State(state): State<AppState>,
    access: Access,
    body: JsonBody,
) -> Result<Response, Problem> {
    let request: Put<'_> = body.parse()?;
    let (namespace, id) = (&request.checkpoint_ns, &request.checkpoint_id);
    audit::checkpoint(&request.thread_id, Some(namespace), Some(id));
    access.check(&request.thread_id)?;
    check_place(&request.thread_id, &request.checkpoint_ns)?;
    request_limits::check("checkpoint_id", request.checkpoint_id.as_str())?;
    check_count("blobs", request.blobs.len())?;
    let place = [request.thread_id.as_str(), request.checkpoint_ns.as_str()];
    let limit = state.options.max_body_bytes;
    check_together("blobs", request.blobs.len(), &place, limit)?;
    let blobs = request
        .blobs
        .into_iter()
        .map(received_blob)
        .collect::<Result<Vec<_>, _>>()?;
    let mut config = CheckpointConfig::of_thread(request.thread_id);
    config.checkpoint_ns = Some(request.checkpoint_ns);
    config.checkpoint_id = optional_id(request.parent_checkpoint_id)?;
    if let Some(parent) = &config.checkpoint_id {
        request_limits::check("parent_checkpoint_id", parent.as_str())?;
    }
    let checkpoint =
        verbatim::checkpoint_of(body.share(request.checkpoint.get()), &request.checkpoint_id)?;
    check_count("channel versions", channel_count(&checkpoint))?;
    let metadata = match request.metadata {
        Some(metadata) => CheckpointMetadata::from_json(body.share(metadata.get()))?,
        None => CheckpointMetadata::new(),
    };
    let written = checkpoint_bytes(&checkpoint) + blobs.iter().map(blob_bytes).sum::<usize>();
    let saver = state.saver.get_ref();
    let stored = saver.put_with_blobs(&config, &checkpoint, &metadata, &blobs);
    let namespace = config.namespace();
    state
        .saver
        .measure("put", &config.thread_id, Some(namespace.as_str()), written)
        .run(stored, |_| 0)
        .await?;
    json(&Stored {
        thread_id: config.thread_id.to_string(),
        checkpoint_ns: namespace.to_string(),
        checkpoint_id: request.checkpoint_id.to_string(),
    })
}

/// Stores writes of tasks atomically.
#[utoipa::path(
    post, path = "/checkpoints/put-writes", tag = "checkpoints", request_body = PutWrites<'_>,
    responses(
        (status = 204, description = "The writes are stored"),
        (status = 404, description = "The key does not reach the thread", body = ProblemBody),
        (status = 422, description = "The body is not valid", body = ProblemBody),
    )
)]
pub(super) async fn put_writes(
    State(state): State<AppState>,
    access: Access,
    body: JsonBody,
) -> Result<StatusCode, Problem> {
    let request: PutWrites<'_> = body.parse()?;
    let (namespace, id) = (&request.checkpoint_ns, &request.checkpoint_id);
    audit::checkpoint(&request.thread_id, Some(namespace), Some(id));
    access.check(&request.thread_id)?;
    check_place(&request.thread_id, &request.checkpoint_ns)?;
    request_limits::check("checkpoint_id", request.checkpoint_id.as_str())?;
    check_count("writes", request.writes.len())?;
    let (thread, namespace) = (&request.thread_id, &request.checkpoint_ns);
    let id = request.checkpoint_id.as_str();
    let place = [thread.as_str(), namespace.as_str(), id];
    let limit = state.options.max_body_bytes;
    check_together("writes", request.writes.len(), &place, limit)?;
    let writes = request
        .writes
        .into_iter()
        .map(received_write)
        .collect::<Result<Vec<_>, _>>()?;
    let config = CheckpointConfig::of_checkpoint(
        request.thread_id,
        request.checkpoint_ns,
        request.checkpoint_id,
    );
    let saver = state.saver.get_ref();
    let existing = if request.upsert {
        ExistingWrites::Replace
    } else {
        ExistingWrites::Keep
    };
    let stored = saver.put_indexed_writes(&config, &writes, existing);
    let (namespace, written) = (config.namespace(), pending_bytes(&writes));
    state
        .saver
        .measure(
            "put_writes",
            &config.thread_id,
            Some(namespace.as_str()),
            written,
        )
        .run(stored, |()| 0)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists checkpoints, newest first, without blobs and writes.
#[utoipa::path(
    post, path = "/checkpoints/list", tag = "checkpoints", request_body = List<'_>,
    responses(
        (status = 200, description = "The checkpoints, newest first", body = [Listed]),
        (status = 404, description = "The key does not reach the thread", body = ProblemBody),
        (status = 422, description = "The body is not valid", body = ProblemBody),
    )
)]
pub(super) async fn list(
    State(state): State<AppState>,
    access: Access,
    body: JsonBody,
) -> Result<Response, Problem> {
    let request: List<'_> = body.parse()?;
    access.check(&request.thread_id)?;
    if !(1..=MAX_LIMIT).contains(&request.limit) {
        let message = format!("limit cannot be used: it must be from 1 to {MAX_LIMIT}");
        return Err(Problem::unprocessable(message));
    }
    let mut config = CheckpointConfig::of_thread(request.thread_id);
    config.checkpoint_ns = request.checkpoint_ns;
    let mut options = ListOptions::default().with_limit(request.limit);
    options.before = optional_id(request.before_checkpoint_id)?;
    if let Some(filter) = request.filter_metadata {
        options.filter = MetadataFilter::from_json(body.share(filter.get()))?;
    }
    let tuples = state.saver.list(Some(&config), options);
    let list = json_stream::array(&b"["[..], tuples.map_ok(listed).boxed(), "]");
    json_stream::respond(list).await
}

/// Deletes a thread.
#[utoipa::path(
    post, path = "/checkpoints/delete-thread", tag = "checkpoints", request_body = DeleteThread,
    responses(
        (status = 204, description = "The thread is deleted"),
        (status = 404, description = "The key does not reach the thread", body = ProblemBody),
        (status = 422, description = "The body is not valid", body = ProblemBody),
    )
)]
pub(super) async fn delete_thread(
    State(state): State<AppState>,
    access: Access,
    body: JsonBody,
) -> Result<StatusCode, Problem> {
    let request: DeleteThread = body.parse()?;
    audit::thread(&request.thread_id);
    access.check(&request.thread_id)?;
    let options = DeleteOptions::default();
    state
        .saver
        .delete_thread(&request.thread_id, &options)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The id of a checkpoint; null and `""` mean none.
fn optional_id(id: Option<String>) -> Result<Option<CheckpointId>> {
    let id = id.filter(|id| !id.is_empty());
    id.map(CheckpointId::new).transpose()
}

fn check_place(thread: &ThreadId, namespace: &CheckpointNamespace) -> Result<()> {
    request_limits::check("thread_id", thread.as_str())?;
    request_limits::check_path("checkpoint_ns", namespace.as_str())
}

/// The number of channels that a checkpoint has versions of; each may have a blob.
fn channel_count(checkpoint: &Checkpoint) -> usize {
    let versions = checkpoint.fields().get("channel_versions");
    let versions = versions.and_then(|versions| RawObject::parse(versions.bytes().clone()).ok());
    versions.map_or(0, |versions| versions.iter().count())
}

fn decoded(field: &str, text: &str) -> Result<Vec<u8>, Problem> {
    BASE64.decode(text).map_err(|error| {
        Problem::unprocessable(format!(
            "{field} cannot be used: it is not base64 ({error})"
        ))
    })
}

fn received_blob(blob: VersionedValue) -> Result<ChannelBlob, Problem> {
    request_limits::check("channel", &blob.channel)?;
    request_limits::check("version", &blob.version)?;
    request_limits::check("type", &blob.type_name)?;
    if blob.version.is_empty() {
        return Err(Problem::unprocessable(format!(
            "the version of channel `{}` cannot be used: it is empty",
            blob.channel
        )));
    }
    if let Some(text) = &blob.blob {
        decoded(&format!("the blob of channel `{}`", blob.channel), text)?;
    }
    Ok(ChannelBlob {
        channel: blob.channel,
        version: blob.version,
        type_name: blob.type_name,
        blob: blob.blob,
    })
}

fn sent_blob(blob: ChannelBlob) -> VersionedValue {
    VersionedValue {
        channel: blob.channel,
        version: blob.version,
        type_name: blob.type_name,
        blob: blob.blob,
    }
}

fn blob_bytes(blob: &ChannelBlob) -> usize {
    blob.blob.as_ref().map_or(0, |text| text.len() / 4 * 3)
}

fn received_write(write: TaskWrite<'_>) -> Result<PendingWrite, Problem> {
    request_limits::check("task_id", write.task_id.as_str())?;
    request_limits::check("channel", &write.channel)?;
    request_limits::check("type", write.type_name.as_deref().unwrap_or_default())?;
    request_limits::check_path("task_path", &write.task_path)?;
    let field = format!("the write to channel `{}`", write.channel);
    let mut value = TypedValue::new(
        write.type_name.as_deref().unwrap_or_default(),
        decoded(&field, &write.blob)?,
    );
    if write.type_name.is_none() {
        value.hints = Some(no_type());
    }
    Ok(PendingWrite {
        task_id: write.task_id,
        task_path: write.task_path.into_owned(),
        idx: write.idx,
        channel: write.channel.into_owned(),
        value,
    })
}

fn sent_write(write: PendingWrite) -> StoredWrite {
    let value = write.value;
    let has_type = !value.type_name.is_empty() || value.hints != Some(no_type());
    StoredWrite {
        task_id: write.task_id.to_string(),
        idx: write.idx,
        channel: write.channel,
        type_name: has_type.then_some(value.type_name),
        blob: Some(BASE64.encode(&value.blob)),
    }
}

/// The hints that mark a write without a type.
fn no_type() -> RawJson {
    RawJson::from(serde_json::json!({"type": null}))
}

fn listed(tuple: CheckpointTuple) -> Listed {
    let parent = tuple.parent_config.and_then(|parent| parent.checkpoint_id);
    Listed {
        checkpoint_ns: tuple.config.namespace().to_string(),
        thread_id: tuple.config.thread_id.to_string(),
        checkpoint_id: tuple.checkpoint.id().to_string(),
        parent_checkpoint_id: parent.map(String::from),
        checkpoint: verbatim::object_of(&tuple.checkpoint),
        metadata: tuple.metadata.to_json(),
    }
}
