//! Tells an open page that its thread has changed, by server-sent events.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::OwnedSemaphorePermit;

use super::failure::Failure;
use super::guard;
use super::parameters::Parameters;
use super::site::{Site, Visit};
use crate::config::CheckpointConfig;
use crate::error::Result as SaverResult;
use crate::id::{CheckpointId, ThreadId};

/// How often a thread is asked for its newest checkpoint.
const INTERVAL: Duration = Duration::from_secs(1);

/// After how many of these its pending writes are counted as well, which reads the checkpoint.
const COUNT_EVERY: u32 = 3;

/// How long a stream lasts; the browser opens another.
const LIFETIME: Duration = Duration::from_secs(30 * 60);

/// What a thread was when it was looked at.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Seen {
    newest: Option<CheckpointId>,
    checkpoints: u64,
    writes: usize,
}

/// A page that is kept up to date.
struct Watch {
    site: Site,
    visit: Visit,
    thread: ThreadId,
    seen: Option<Seen>,
    looks: u32,
    begun: Instant,
    ended: bool,
    _permit: OwnedSemaphorePermit,
}

/// Streams an event for each change of a thread, until the session or the service ends.
pub(super) async fn events(
    State(site): State<Site>,
    visit: Visit,
    parameters: Parameters,
) -> Result<Response, Failure> {
    let thread = parameters.thread(&visit.viewer)?;
    let Ok(permit) = site.watched.clone().try_acquire_owned() else {
        let message = "Too many threads are being watched; reload the page to see changes.";
        return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, message));
    };
    let watch = Watch {
        site,
        visit,
        thread,
        seen: None,
        looks: 0,
        begun: Instant::now(),
        ended: false,
        _permit: permit,
    };
    let events = stream::unfold(watch, |mut watch| async move {
        let event = watch.next().await?;
        Some((Ok::<_, std::convert::Infallible>(event), watch))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        // A proxy that collects the response would hold events back.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(events)).into_response())
}

impl Watch {
    /// The next event, or a comment that keeps the connection open; `None` after the end.
    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        if self.seen.is_some() {
            tokio::time::sleep(INTERVAL).await;
        }
        let viewer = guard::still_there(&self.site, &self.visit);
        let reaches = viewer.is_some_and(|viewer| viewer.reaches(&self.thread));
        if !reaches || self.site.gate.is_draining() {
            self.ended = true;
            return Some(Bytes::from_static(b"event: end\ndata: end\n\n"));
        }
        if self.begun.elapsed() > LIFETIME {
            return None;
        }
        let first = self.seen.is_none();
        match self.look().await {
            Ok(true) if !first => Some(Bytes::from_static(b"event: change\ndata: change\n\n")),
            Ok(true) => Some(Bytes::from_static(b"retry: 5000\n: watching\n\n")),
            Ok(false) => Some(Bytes::from_static(b": unchanged\n\n")),
            Err(error) => {
                tracing::warn!(kind = error.kind(), error = %error.report(), "a thread cannot be watched");
                self.ended = true;
                Some(Bytes::from_static(b"event: failed\ndata: failed\n\n"))
            }
        }
    }

    /// Whether the thread has changed since it was looked at.
    async fn look(&mut self) -> SaverResult<bool> {
        let summary = self.site.saver.get_ref().summary(&self.thread).await?;
        let mut now = self.seen.clone().unwrap_or_default();
        let (newest, checkpoints) = summary.map_or((None, 0), |one| (one.newest, one.checkpoints));
        let is_other = newest != now.newest;
        (now.newest, now.checkpoints) = (newest, checkpoints);
        if is_other || self.looks.is_multiple_of(COUNT_EVERY) {
            let root = CheckpointConfig::of_thread(self.thread.clone());
            let newest = self.site.look(&root).await?;
            now.writes = newest.map_or(0, |newest| newest.pending_writes.len());
        }
        self.looks = self.looks.wrapping_add(1);
        let changed = self.seen.as_ref() != Some(&now);
        self.seen = Some(now);
        Ok(changed)
    }
}
