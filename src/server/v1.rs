//! The endpoints under `/v1`: every method of `CheckpointSaver`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::stream::{StreamExt, TryStreamExt};

use super::audit;
use super::auth::Access;
use super::body::{JsonBody, json};
use super::ndjson;
use super::problem::{ProblemBody, V1Problem};
use super::request_limits::{check_count, check_together};
use super::state::AppState;
use super::turn::Turn;
use crate::checkpoint::{ChannelWrite, Checkpoint, CheckpointMetadata};
use crate::config::CheckpointConfig;
use crate::error::Error;
use crate::filter::MetadataFilter;
use crate::id::ThreadId;
use crate::inspect::threads::{self, BytesOf, Query};
use crate::options::{
    CopyOptions, DeleteOptions, ListOptions, PruneOptions, PutOptions, PutWritesOptions,
};
use crate::saver::CheckpointSaver;
use crate::wire::{
    Changed, CheckpointAndWrites, CheckpointLine, Config, CopyThreadCall, DeleteForRunsCall,
    DeleteThreadCall, GetTupleCall, Histories, History, HistoryCall, ListCall, MAX_ITEMS,
    ProgressLine, PruneCall, PutCall, PutDone, PutWritesCall, Sort, ThreadCall, ThreadLine,
    ThreadsCall,
};

/// How many threads are listed in an order that needs all of them, without a limit.
const SORTED: usize = 1_000;

/// The config of a request, unless its thread is out of reach.
fn reached(access: &Access, config: Config) -> Result<CheckpointConfig, V1Problem> {
    access.check(&config.thread_id)?;
    Ok(config.try_into()?)
}

fn check_all<'a>(
    access: &Access,
    threads: impl IntoIterator<Item = &'a ThreadId>,
) -> Result<(), V1Problem> {
    for thread in threads {
        access.check(thread)?;
    }
    Ok(())
}

/// Creates the indexes. Idempotent.
#[utoipa::path(
    post, path = "/v1/setup", tag = "v1",
    responses((status = 204, description = "The indexes exist"))
)]
pub(super) async fn setup(
    State(state): State<AppState>,
    _access: Access,
    _turn: Turn,
) -> Result<Response, V1Problem> {
    state.saver.setup().await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Stores a checkpoint. It becomes the newest of its namespace if its id is the greatest.
#[utoipa::path(
    post, path = "/v1/put", tag = "v1", request_body = PutCall,
    responses(
        (status = 200, description = "The checkpoint is stored", body = PutDone),
        (status = 409, description = "The expected parent is not the newest checkpoint", body = ProblemBody),
        (status = 422, description = "The body is not valid", body = ProblemBody),
    )
)]
pub(super) async fn put(
    State(state): State<AppState>,
    access: Access,
    body: JsonBody,
) -> Result<Response, V1Problem> {
    let call: PutCall = body.parse()?;
    audit::thread(&call.config.thread_id);
    let config = reached(&access, call.config)?;
    let checkpoint = Checkpoint::from_json(call.checkpoint.bytes().clone())?;
    audit::put(&config, &checkpoint);
    let metadata = CheckpointMetadata::from_json(call.metadata.bytes().clone())?;
    let options = PutOptions::default()
        .with_ttl(call.ttl.into())
        .with_expected_parent(call.expected_parent.into());
    let stored = state
        .saver
        .put(&config, &checkpoint, &metadata, &options)
        .await?;
    let config = Config::from(&stored);
    Ok(json(&PutDone { config })?)
}

/// Stores the writes of a task atomically.
#[utoipa::path(
    post, path = "/v1/put-writes", tag = "v1", request_body = PutWritesCall,
    responses(
        (status = 204, description = "The writes are stored"),
        (status = 422, description = "The body is not valid", body = ProblemBody),
    )
)]
pub(super) async fn put_writes(
    State(state): State<AppState>,
    access: Access,
    body: JsonBody,
) -> Result<Response, V1Problem> {
    let call: PutWritesCall = body.parse()?;
    let (namespace, id) = (&call.config.checkpoint_ns, &call.config.checkpoint_id);
    audit::checkpoint(&call.config.thread_id, namespace.as_ref(), id.as_ref());
    let config = reached(&access, call.config)?;
    check_count("writes", call.writes.len())?;
    let id = config.checkpoint_id.as_ref().map_or("", |id| id.as_str());
    let (thread, namespace) = (config.thread_id.as_str(), config.namespace());
    let names = [thread, namespace.as_str(), id, call.task_id.as_str()];
    let limit = state.options.max_body_bytes;
    check_together("writes", call.writes.len(), &names, limit)?;
    let writes: Vec<_> = call.writes.into_iter().map(ChannelWrite::from).collect();
    let options = PutWritesOptions::default()
        .with_ttl(call.ttl.into())
        .with_task_path(call.task_path);
    state
        .saver
        .put_writes(&config, &writes, &call.task_id, &options)
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Returns a checkpoint, or the newest of its namespace, with its pending writes; `null` if there
/// is none.
#[utoipa::path(
    post, path = "/v1/get-tuple", tag = "v1", request_body = GetTupleCall,
    responses(
        (status = 200, description = "The checkpoint, or null", body = Option<CheckpointAndWrites>),
        (status = 422, description = "The body is not valid", body = ProblemBody),
    )
)]
pub(super) async fn get_tuple(
    State(state): State<AppState>,
    access: Access,
    body: JsonBody,
) -> Result<Response, V1Problem> {
    let call: GetTupleCall = body.parse()?;
    let config = reached(&access, call.config)?;
    let tuple = state.saver.get_tuple(&config).await?;
    Ok(json(&tuple.map(CheckpointAndWrites::from))?)
}

/// Streams checkpoints with their pending writes, newest first, as one line each.
#[utoipa::path(
    post, path = "/v1/list", tag = "v1", request_body = ListCall,
    responses(
        (status = 200, description = "The checkpoints, one a line; the last line has `end` or `error`", body = CheckpointLine, content_type = "application/x-ndjson"),
        (status = 422, description = "The body is not valid", body = ProblemBody),
    )
)]
pub(super) async fn list(
    State(state): State<AppState>,
    access: Access,
    body: JsonBody,
) -> Result<Response, V1Problem> {
    let call: ListCall = body.parse()?;
    let config = call.config.map(|config| reached(&access, config));
    let config = config.transpose()?;
    let mut options = ListOptions {
        before: call.before,
        ..ListOptions::default()
    };
    if let Some(filter) = call.filter {
        options.filter = MetadataFilter::from_json(filter.bytes().clone())?;
    }
    options.limit = call.limit;
    let tuples = match (&config, access.within(&call.prefix)) {
        (Some(config), _) if config.thread_id.as_str().starts_with(&call.prefix) => {
            state.saver.list(Some(config), options)
        }
        (None, Some("")) => state.saver.list(None, options),
        (None, Some(prefix)) => state.saver.list_within(prefix, options),
        _ => futures_util::stream::empty().boxed(),
    };
    let tuples = tuples.map_ok(CheckpointAndWrites::from).boxed();
    ndjson::lines::<CheckpointLine>(tuples, &state.options).await
}

/// Deletes a thread. Streams the progress as lines.
#[utoipa::path(
    post, path = "/v1/delete-thread", tag = "v1", request_body = DeleteThreadCall,
    responses(
        (status = 200, description = "The progress, a line each time; the last line has `end` or `error`", body = ProgressLine, content_type = "application/x-ndjson"),
        (status = 422, description = "The body is not valid", body = ProblemBody),
    )
)]
pub(super) async fn delete_thread(
    State(state): State<AppState>,
    access: Access,
    body: JsonBody,
) -> Result<Response, V1Problem> {
    let call: DeleteThreadCall = body.parse()?;
    audit::thread(&call.thread_id);
    access.check(&call.thread_id)?;
    let shared = state.clone();
    ndjson::progress(&shared.options, |report| {
        let options = DeleteOptions::default().with_progress(report);
        async move { state.saver.delete_thread(&call.thread_id, &options).await }.boxed()
    })
    .await
}

/// Deletes the checkpoints of runs in every thread that the key reaches.
#[utoipa::path(
    post, path = "/v1/delete-for-runs", tag = "v1", request_body = DeleteForRunsCall,
    responses(
        (status = 204, description = "The checkpoints are deleted"),
        (status = 422, description = "The body is not valid", body = ProblemBody),
    )
)]
pub(super) async fn delete_for_runs(
    State(state): State<AppState>,
    access: Access,
    body: JsonBody,
) -> Result<Response, V1Problem> {
    let call: DeleteForRunsCall = body.parse()?;
    check_count("run_ids", call.run_ids.len())?;
    audit::runs(&call.run_ids);
    match access.within(&call.prefix) {
        Some("") => state.saver.delete_for_runs(&call.run_ids).await?,
        Some(prefix) => {
            let deleted = state.saver.delete_for_runs_within(&call.run_ids, prefix);
            deleted.await?;
        }
        None => {}
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Copies a thread. Streams the progress as lines.
#[utoipa::path(
    post, path = "/v1/copy-thread", tag = "v1", request_body = CopyThreadCall,
    responses(
        (status = 200, description = "The progress, a line each time; the last line has `end` or `error`", body = ProgressLine, content_type = "application/x-ndjson"),
        (status = 409, description = "The target exists or is the source", body = ProblemBody),
        (status = 422, description = "The body is not valid", body = ProblemBody),
    )
)]
pub(super) async fn copy_thread(
    State(state): State<AppState>,
    access: Access,
    body: JsonBody,
) -> Result<Response, V1Problem> {
    let call: CopyThreadCall = body.parse()?;
    audit::copy(&call.source, &call.target);
    check_all(&access, [&call.source, &call.target])?;
    if call.source == call.target {
        // The schema cannot express it. The target exists, hence the status of a conflict.
        let error = Error::invalid("target_thread_id", "it is the source as well");
        return Err(V1Problem::from(error).with_status(StatusCode::CONFLICT));
    }
    let shared = state.clone();
    ndjson::progress(&shared.options, |report| {
        let options = CopyOptions::default()
            .with_existing(call.existing.into())
            .with_ttl(call.ttl.into())
            .with_progress(report);
        async move {
            let (source, target) = (&call.source, &call.target);
            state.saver.copy_thread(source, target, &options).await
        }
        .boxed()
    })
    .await
}

/// Removes old checkpoints of threads. Streams the progress as lines.
#[utoipa::path(
    post, path = "/v1/prune", tag = "v1", request_body = PruneCall,
    responses(
        (status = 200, description = "The progress, a line each time; the last line has `end` or `error`", body = ProgressLine, content_type = "application/x-ndjson"),
        (status = 422, description = "The body is not valid", body = ProblemBody),
    )
)]
pub(super) async fn prune(
    State(state): State<AppState>,
    access: Access,
    body: JsonBody,
) -> Result<Response, V1Problem> {
    let call: PruneCall = body.parse()?;
    check_count("thread_ids", call.thread_ids.len())?;
    audit::threads(&call.thread_ids);
    check_all(&access, &call.thread_ids)?;
    let shared = state.clone();
    ndjson::progress(&shared.options, |report| {
        let options = PruneOptions::new(call.strategy.into()).with_progress(report);
        async move { state.saver.prune(&call.thread_ids, &options).await }.boxed()
    })
    .await
}

/// Returns the writes to channels along the ancestors of a checkpoint.
#[utoipa::path(
    post, path = "/v1/delta-channel-history", tag = "v1", request_body = HistoryCall,
    responses(
        (status = 200, description = "The writes to each channel", body = BTreeMap<String, History>),
        (status = 422, description = "The body is not valid", body = ProblemBody),
    )
)]
pub(super) async fn delta_channel_history(
    State(state): State<AppState>,
    access: Access,
    body: JsonBody,
) -> Result<Response, V1Problem> {
    let call: HistoryCall = body.parse()?;
    check_count("channels", call.channels.len())?;
    let config = reached(&access, call.config)?;
    let histories = state
        .saver
        .delta_channel_history(&config, &call.channels)
        .await?;
    let histories: Histories = histories
        .into_iter()
        .map(|(channel, history)| (channel, history.into()))
        .collect();
    Ok(json(&histories)?)
}

/// Streams the threads that the key reaches as one line each: by default all, those first that were
/// written to last. Nothing's TTL is refreshed.
#[utoipa::path(
    post, path = "/v1/threads", tag = "v1", request_body = ThreadsCall,
    responses(
        (status = 200, description = "The threads, one a line; the last line has `end` or `error`", body = ThreadLine, content_type = "application/x-ndjson"),
        (status = 422, description = "The body is not valid", body = ProblemBody),
    )
)]
pub(super) async fn threads(
    State(state): State<AppState>,
    access: Access,
    body: JsonBody,
) -> Result<Response, V1Problem> {
    let call: ThreadsCall = body.parse()?;
    let sorted = call.sort != Sort::Newest;
    if sorted && call.limit.is_some_and(|limit| limit > MAX_ITEMS) {
        let reason =
            format!("it is more than {MAX_ITEMS}, and only the newest first have no limit");
        return Err(Error::invalid("limit", reason).into());
    }
    let query = Query {
        waiting: call.waiting,
        failed: call.failed,
        status: call.status,
        bytes: call.bytes,
        sort: call.sort.into(),
        limit: call
            .limit
            .unwrap_or(if sorted { SORTED } else { usize::MAX }),
    };
    let threads = match access.within(&call.prefix) {
        Some(prefix) => state.saver.threads(prefix),
        None => futures_util::stream::empty().boxed(),
    };
    let store = Arc::clone(state.saver.get_ref());
    let saver: Arc<dyn CheckpointSaver> = Arc::clone(&store) as _;
    let bytes_of: BytesOf = Arc::new(move |thread| {
        let store = Arc::clone(&store);
        async move { store.thread_bytes(&thread).await }.boxed()
    });
    let threads = threads::threads(threads, &saver, &bytes_of, query);
    ndjson::lines::<ThreadLine>(threads.map_ok(Into::into).boxed(), &state.options).await
}

/// Resets the TTL of every key of a thread to the saver's; a pinned thread stays pinned.
#[utoipa::path(
    post, path = "/v1/touch", tag = "v1", request_body = ThreadCall,
    responses(
        (status = 200, description = "Whether the thread exists and its TTL was changed", body = Changed),
        (status = 422, description = "The body is not valid", body = ProblemBody),
    )
)]
pub(super) async fn touch(
    State(state): State<AppState>,
    access: Access,
    body: JsonBody,
) -> Result<Response, V1Problem> {
    let thread = thread_of(&access, &body)?;
    changed(state.saver.touch(&thread).await?)
}

/// Removes the TTL from every key of a thread, until it is unpinned.
#[utoipa::path(
    post, path = "/v1/pin", tag = "v1", request_body = ThreadCall,
    responses(
        (status = 200, description = "Whether the thread exists and its TTL was changed", body = Changed),
        (status = 422, description = "The body is not valid", body = ProblemBody),
    )
)]
pub(super) async fn pin(
    State(state): State<AppState>,
    access: Access,
    body: JsonBody,
) -> Result<Response, V1Problem> {
    let thread = thread_of(&access, &body)?;
    changed(state.saver.pin(&thread).await?)
}

/// Gives every key of a thread the saver's TTL, also when the thread is pinned.
#[utoipa::path(
    post, path = "/v1/unpin", tag = "v1", request_body = ThreadCall,
    responses(
        (status = 200, description = "Whether the thread exists and its TTL was changed", body = Changed),
        (status = 422, description = "The body is not valid", body = ProblemBody),
    )
)]
pub(super) async fn unpin(
    State(state): State<AppState>,
    access: Access,
    body: JsonBody,
) -> Result<Response, V1Problem> {
    let thread = thread_of(&access, &body)?;
    changed(state.saver.unpin(&thread).await?)
}

/// The thread that a request names, unless it is out of reach.
fn thread_of(access: &Access, body: &JsonBody) -> Result<ThreadId, V1Problem> {
    let call: ThreadCall = body.parse()?;
    audit::thread(&call.thread_id);
    access.check(&call.thread_id)?;
    Ok(call.thread_id)
}

fn changed(changed: bool) -> Result<Response, V1Problem> {
    Ok(json(&Changed { changed })?)
}
