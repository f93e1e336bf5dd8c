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

use super::ServerOptions;
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
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How often an answer that has nothing to say yet says that, so that its time limit ends only what
/// does not begin.
fn heartbeat(options: &ServerOptions) -> Interval {
    let patience = PATIENCE.min(options.request_timeout / 2);
    let mut heartbeat = tokio::time::interval_at(Instant::now() + patience, HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    heartbeat
}

/// Answers with the items of a stream.
pub(super) async fn lines<L: Line>(
    items: BoxStream<'static, Result<L::Item>>,
    options: &ServerOptions,
) -> Result<Response, Told> {
    let mut items = PatientItems {
        items,
        heartbeat: heartbeat(options),
    };
    let first = match items.next().await {
        Sign::Item(Err(error)) => return Err(error.into()),
        first => first,
    };
    let lines = stream::unfold(Some((Some(first), items)), async |state| {
        let (first, mut items) = state?;
        let sign = match first {
            Some(first) => first,
            None => items.next().await,
        };
        Some(match sign {
            Sign::Item(Ok(item)) => (line(&L::of(item)), Some((None, items))),
            Sign::Item(Err(error)) => (failed::<L>(&error), None),
            Sign::Waiting => (Bytes::from_static(b"\n"), Some((None, items))),
            Sign::End => (line(&L::end()), None),
        })
    });
    Ok(answer(lines.boxed()))
}

/// Items, and a sign of life while they are awaited.
struct PatientItems<T> {
    items: BoxStream<'static, Result<T>>,
    heartbeat: Interval,
}

enum Sign<T> {
    Item(Result<T>),
    Waiting,
    End,
}

impl<T> PatientItems<T> {
    async fn next(&mut self) -> Sign<T> {
        let sign = tokio::select! {
            biased;
            item = self.items.next() => item.map_or(Sign::End, Sign::Item),
            _ = self.heartbeat.tick() => return Sign::Waiting,
        };
        self.heartbeat.reset();
        sign
    }
}

/// Answers with how far a call has come.
pub(super) async fn progress(
    options: &ServerOptions,
    call: impl FnOnce(ProgressCallback) -> BoxFuture<'static, Result<()>>,
) -> Result<Response, Told> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let told = ProgressCallback::new(move |progress| {
        // Nobody listens any more once the call was dropped.
        let _ = sender.send(progress);
    });
    let mut call = LongCall {
        call: call(told),
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
                self.heartbeat.reset();
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
                Some(progress) = self.receiver.recv() => {
                    self.heartbeat.reset();
                    return Some(Event::Progress(progress));
                }
                _ = self.heartbeat.tick() => return Some(Event::Heartbeat),
            }
        }
    }
}

fn failed<L: Line>(error: &Error) -> Bytes {
    if status_of(error).is_server_error() {
        tracing::error!(kind = error.kind(), error = %error.report(), "a request failed");
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
    async fn a_quiet_stream_gives_signs_of_life_until_there_is_something() {
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
    async fn a_call_that_tells_how_far_it_has_come_needs_no_other_sign_of_life() {
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
    async fn what_fails_at_once_is_no_answer_in_lines() {
        let items = stream::once(future::ready(Err(Error::Closed)));
        let answer = lines::<ThreadLine>(items.boxed(), &options()).await;
        assert!(answer.is_err());
    }
}
