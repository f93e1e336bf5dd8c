//! Long answers: lines of JSON, of which the last says that all was well, or what was not.
//!
//! What fails before the first line is answered with a status of its own.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::body::typed;
use super::problem::status_of;
use super::v1::Told;
use crate::error::{Error, Result};
use crate::options::{Progress, ProgressCallback};
use crate::wire::{Fault, Line, ProgressLine};

/// How many lines are sent together, if so many are ready.
const TOGETHER: usize = 32;
/// How long a call may go on before its answer begins without a line.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often an empty line says that a call still goes on.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Answers with the items of a stream.
pub(super) async fn lines<L: Line>(
    mut items: BoxStream<'static, Result<L::Item>>,
) -> Result<Response, Told> {
    let first = match items.next().await {
        Some(Err(error)) => return Err(error.into()),
        first => first,
    };
    let items = stream::iter(first).chain(items);
    let lines = stream::unfold(Some(items), async |items| {
        let mut items = items?;
        Some(match items.next().await {
            Some(Ok(item)) => (line(&L::of(item)), Some(items)),
            Some(Err(error)) => (failed::<L>(&error), None),
            None => (line(&L::end()), None),
        })
    });
    Ok(answer(lines.boxed()))
}

/// Answers with how far a call has come.
pub(super) async fn progress(
    call: impl FnOnce(ProgressCallback) -> BoxFuture<'static, Result<()>>,
) -> Result<Response, Told> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let told = ProgressCallback::new(move |progress| {
        // Nobody listens any more once the call was dropped.
        let _ = sender.send(progress);
    });
    let mut heartbeat = tokio::time::interval_at(Instant::now() + PATIENCE, HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut call = LongCall {
        call: call(told),
        receiver,
        heartbeat,
        state: State::Running,
    };
    let first = match call.next().await {
        Some(Event::Ended(Err(error))) => return Err(error.into()),
        first => first,
    };
    let events = stream::iter(first).chain(stream::unfold(call, async |mut call| {
        call.next().await.map(|event| (event, call))
    }));
    let lines = events.map(|event| match event {
        Event::Progress(progress) => line(&ProgressLine::of(progress.into())),
        Event::Heartbeat => Bytes::from_static(b"\n"),
        Event::Ended(Ok(())) => line(&ProgressLine::end()),
        Event::Ended(Err(error)) => failed::<ProgressLine>(&error),
    });
    Ok(answer(lines.boxed()))
}

struct LongCall {
    call: BoxFuture<'static, Result<()>>,
    receiver: UnboundedReceiver<Progress>,
    heartbeat: Interval,
    state: State,
}

enum State {
    Running,
    /// What became of the call, until what it told before was sent.
    Ended(Result<()>),
    Told,
}

enum Event {
    Progress(Progress),
    Heartbeat,
    Ended(Result<()>),
}

impl LongCall {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Ok(progress) = self.receiver.try_recv() {
                return Some(Event::Progress(progress));
            }
            match std::mem::replace(&mut self.state, State::Told) {
                State::Running => self.state = State::Running,
                State::Ended(result) => return Some(Event::Ended(result)),
                State::Told => return None,
            }
            tokio::select! {
                biased;
                result = &mut self.call => self.state = State::Ended(result),
                Some(progress) = self.receiver.recv() => return Some(Event::Progress(progress)),
                _ = self.heartbeat.tick() => return Some(Event::Heartbeat),
            }
        }
    }
}

fn failed<L: Line>(error: &Error) -> Bytes {
    if status_of(error).is_server_error() {
        tracing::error!(kind = error.kind(), %error, "a request failed");
    }
    line(&L::fault(Fault::from(error)))
}

fn line<L: Line>(line: &L) -> Bytes {
    let mut text = serde_json::to_vec(line).unwrap_or_else(|error| {
        // Without its last line the answer is known to be broken.
        tracing::error!(%error, "a line has no JSON form");
        Vec::new()
    });
    text.push(b'\n');
    Bytes::from(text)
}

fn answer(lines: BoxStream<'static, Bytes>) -> Response {
    let chunks = lines.ready_chunks(TOGETHER).map(|lines| {
        Ok::<_, std::convert::Infallible>(match <[Bytes; 1]>::try_from(lines) {
            Ok([line]) => line,
            Err(lines) => lines.concat().into(),
        })
    });
    typed(Body::from_stream(chunks), "application/x-ndjson")
}
