//! Streamed responses in `application/x-ndjson`. The last line reports success or the error.
//!
//! A failure before the first line has an HTTP status of its own.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::body::typed;
use super::call::{Call, Outcome};
use super::options::ServerOptions;
use super::problem::{V1Problem, status_of};
use crate::error::{Error, Result};
use crate::options::{Progress, ProgressCallback};
use crate::wire::{Fault, Line, ProgressLine};

/// How many lines that are ready are sent in one chunk.
const MAX_CHUNK_LINES: usize = 32;
/// How long a response waits for its first line before it begins with an empty one.
const FIRST_HEARTBEAT: Duration = Duration::from_secs(2);
/// The interval of empty lines while there is nothing to send.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Paces the empty lines. The first is sent well within `request_timeout`, which ends a response
/// that has not begun.
fn heartbeat(options: &ServerOptions) -> Interval {
    let first = FIRST_HEARTBEAT.min(options.request_timeout / 2);
    let mut heartbeat = tokio::time::interval_at(Instant::now() + first, HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    heartbeat
}

/// Responds with the items of a stream.
pub(super) async fn lines<L: Line>(
    items: BoxStream<'static, Result<L::Item>>,
    options: &ServerOptions,
) -> Result<Response, V1Problem> {
    let mut items = ItemsWithHeartbeat {
        items,
        heartbeat: heartbeat(options),
    };
    let first = match items.next().await {
        Next::Item(Err(error)) => return Err(error.into()),
        first => first,
    };
    let call = RespondingCall::begin();
    let lines = stream::unfold(Some((Some(first), items, call)), async |state| {
        let (first, mut items, call) = state?;
        let next = match first {
            Some(first) => first,
            None => items.next().await,
        };
        Some(match next {
            Next::Item(Ok(item)) => (line(&L::of(item)), Some((None, items, call))),
            Next::Item(Err(error)) => (call.failed::<L>(&error), None),
            Next::Heartbeat => (Bytes::from_static(b"\n"), Some((None, items, call))),
            Next::End => (call.ended::<L>(), None),
        })
    });
    Ok(respond(lines.boxed()))
}

/// Items, and heartbeats while none is ready.
struct ItemsWithHeartbeat<T> {
    items: BoxStream<'static, Result<T>>,
    heartbeat: Interval,
}

enum Next<T> {
    Item(Result<T>),
    Heartbeat,
    End,
}

impl<T> ItemsWithHeartbeat<T> {
    async fn next(&mut self) -> Next<T> {
        let next = tokio::select! {
            biased;
            item = self.items.next() => item.map_or(Next::End, Next::Item),
            _ = self.heartbeat.tick() => return Next::Heartbeat,
        };
        self.heartbeat.reset();
        next
    }
}

/// Responds with the progress of a call.
pub(super) async fn progress(
    options: &ServerOptions,
    call: impl FnOnce(ProgressCallback) -> BoxFuture<'static, Result<()>>,
) -> Result<Response, V1Problem> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let report = ProgressCallback::new(move |progress| {
        // The receiver is gone once the response was dropped.
        let _ = sender.send(progress);
    });
    let mut call = LongCall {
        call: call(report),
        receiver,
        heartbeat: heartbeat(options),
        state: State::Running,
    };
    let first = match call.next().await {
        Some(Event::Ended(Err(error))) => return Err(error.into()),
        first => first,
    };
    let events = stream::iter(first).chain(stream::unfold(call, async |mut call| {
        call.next().await.map(|event| (event, call))
    }));
    let responding = RespondingCall::begin();
    let lines = events.map(move |event| match event {
        Event::Progress(progress) => line(&ProgressLine::of(progress.into())),
        Event::Heartbeat => Bytes::from_static(b"\n"),
        Event::Ended(Ok(())) => responding.ended::<ProgressLine>(),
        Event::Ended(Err(error)) => responding.failed::<ProgressLine>(&error),
    });
    Ok(respond(lines.boxed()))
}

struct LongCall {
    call: BoxFuture<'static, Result<()>>,
    receiver: UnboundedReceiver<Progress>,
    heartbeat: Interval,
    state: State,
}

enum State {
    Running,
    /// The result is held until the progress before it was sent.
    Ended(Result<()>),
    Done,
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
                self.heartbeat.reset();
                return Some(Event::Progress(progress));
            }
            match std::mem::replace(&mut self.state, State::Done) {
                State::Running => self.state = State::Running,
                State::Ended(result) => return Some(Event::Ended(result)),
                State::Done => return None,
            }
            tokio::select! {
                biased;
                result = &mut self.call => self.state = State::Ended(result),
                Some(progress) = self.receiver.recv() => {
                    self.heartbeat.reset();
                    return Some(Event::Progress(progress));
                }
                _ = self.heartbeat.tick() => return Some(Event::Heartbeat),
            }
        }
    }
}

/// The call that is answered in lines, if it is one of the service.
struct RespondingCall(Option<Call>);

impl RespondingCall {
    /// The head of the response does not say how the call ends; its last line does.
    fn begin() -> Self {
        let call = Call::current();
        if let Some(call) = &call {
            call.stream();
        }
        Self(call)
    }

    fn ended<L: Line>(&self) -> Bytes {
        self.end(Outcome::Ok);
        line(&L::end())
    }

    fn failed<L: Line>(&self, error: &Error) -> Bytes {
        let status = status_of(error);
        if status.is_server_error() {
            tracing::error!(kind = error.kind(), error = %error.report(), "a request failed");
        }
        self.end(Outcome::of(status, Some(error.kind())));
        let mut fault = Fault::from(error);
        fault.request_id = self.0.as_ref().map(|call| call.request_id().to_owned());
        line(&L::fault(fault))
    }

    fn end(&self, outcome: Outcome) {
        if let Some(call) = &self.0 {
            call.end(outcome, Some(StatusCode::OK));
        }
    }
}

fn line<L: Line>(line: &L) -> Bytes {
    let mut text = serde_json::to_vec(line).unwrap_or_else(|error| {
        // A client sees that the response is broken, because its last line is missing.
        tracing::error!(%error, "a line has no JSON form");
        Vec::new()
    });
    text.push(b'\n');
    Bytes::from(text)
}

fn respond(lines: BoxStream<'static, Bytes>) -> Response {
    let chunks = lines.ready_chunks(MAX_CHUNK_LINES).map(|lines| {
        Ok::<_, std::convert::Infallible>(match <[Bytes; 1]>::try_from(lines) {
            Ok([line]) => line,
            Err(lines) => lines.concat().into(),
        })
    });
    typed(Body::from_stream(chunks), "application/x-ndjson")
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, future};
    use http_body_util::BodyExt;
    use tokio::sync::oneshot;

    use super::super::Authentication;
    use super::*;
    use crate::saver::ThreadSummary;
    use crate::wire::ThreadLine;
    use crate::{Error, ThreadId};

    fn options() -> ServerOptions {
        let mut options = ServerOptions::new(Authentication::Off);
        options.request_timeout = Duration::from_millis(20);
        options
    }

    #[tokio::test]
    async fn a_quiet_stream_sends_heartbeats_until_there_is_an_item() {
        let (found, waits) = oneshot::channel::<()>();
        let thread = ThreadId::new("t").unwrap();
        let item = ThreadSummary::new(thread, 1, None, None).into();
        let items = stream::once(async move {
            waits.await.map_err(|_| Error::Closed)?;
            Ok(item)
        });
        let answer = lines::<ThreadLine>(items.boxed(), &options()).await;
        let mut body = answer.map_err(|_| ()).unwrap().into_body();
        let first = body.frame().await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), "\n");
        found.send(()).unwrap();
        let rest = body.collect().await.unwrap().to_bytes();
        let rest: Vec<_> = rest.split(|byte| *byte == b'\n').collect();
        assert!(rest[0].starts_with(b"{\"item\":"), "{rest:?}");
        assert_eq!(rest[1], b"{\"end\":true}");
    }

    #[tokio::test]
    async fn a_call_that_reports_progress_sends_no_heartbeat() {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut call = LongCall {
            call: future::pending().boxed(),
            receiver,
            // The first is due at once.
            heartbeat: tokio::time::interval(Duration::from_secs(3_600)),
            state: State::Running,
        };
        sender.send(Progress::default()).unwrap();
        assert!(matches!(call.next().await, Some(Event::Progress(_))));
        assert!(call.next().now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_failure_before_the_first_line_is_no_response_in_lines() {
        let items = stream::once(future::ready(Err(Error::Closed)));
        let answer = lines::<ThreadLine>(items.boxed(), &options()).await;
        assert!(answer.is_err());
    }
}
