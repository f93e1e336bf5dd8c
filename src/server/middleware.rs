//! Middleware: request ids, the request log, metrics, the limits of requests and their time limit.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::FutureExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tracing::Instrument;

use super::auth::Access;
use super::keyed_request::KeyedRequest;
use super::problem::Problem;
use super::state::AppState;
use super::turn::Turn;

/// The header that names a request.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Assigns a request id, logs each request and counts it. A panic is answered 500.
pub(super) async fn trace(mut request: Request, next: Next) -> Response {
    let start = Instant::now();
    let id = id_of(&request);
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or_else(|| "unknown".to_owned(), |path| path.as_str().to_owned());
    let span = tracing::info_span!(
        "http_request",
        request_id = id.to_str().unwrap_or_default(),
        %method,
        route,
        key = tracing::field::Empty,
    );
    let served = AssertUnwindSafe(next.run(request)).catch_unwind();
    let mut response = served.instrument(span.clone()).await.unwrap_or_else(|_| {
        tracing::error!(parent: &span, "a request panicked");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the request failed").into_response()
    });
    response.headers_mut().insert(REQUEST_ID, id);
    let (status, took) = (response.status(), start.elapsed());
    tracing::info!(
        parent: &span,
        status = status.as_u16(),
        took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        "answered"
    );
    let status = status.as_str().to_owned();
    // A method is any text of the caller's; unknown ones share a label, which bounds the series.
    let method = match method.as_str() {
        known @ ("GET" | "POST" | "PUT" | "DELETE" | "HEAD" | "OPTIONS" | "PATCH") => {
            known.to_owned()
        }
        _ => "other".to_owned(),
    };
    metrics::counter!(
        "langgraph_http_requests_total",
        "route" => route.clone(), "method" => method, "status" => status
    )
    .increment(1);
    metrics::histogram!("langgraph_http_request_duration_seconds", "route" => route).record(took);
    response.map(|body| {
        let each = |frame: &Frame<Bytes>| {
            if let Some(data) = frame.data_ref() {
                metrics::counter!("langgraph_http_response_bytes_total")
                    .increment(data.len() as u64);
            }
        };
        Body::new(InspectedBody { body, each })
    })
}

/// A body of which each frame is inspected. Its size hint is that of the inner body.
struct InspectedBody<F> {
    body: Body,
    each: F,
}

impl<F: FnMut(&Frame<Bytes>) + Unpin> HttpBody for InspectedBody<F> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let inspected = self.get_mut();
        let frame = ready!(Pin::new(&mut inspected.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame {
            (inspected.each)(frame);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The caller's request id if it is short and printable, else a new one.
fn id_of(request: &Request) -> HeaderValue {
    let given = request.headers().get(&REQUEST_ID).filter(|id| {
        let id = id.as_bytes();
        (1..=128).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
    });
    given.cloned().unwrap_or_else(|| {
        let id = uuid::Uuid::new_v4().to_string();
        // A UUID consists of characters that are valid in a header.
        HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("-"))
    })
}

/// Serves a request within the limits of its key, `max_in_flight` and `request_timeout`. What it
/// takes of them it holds until its response was sent.
pub(super) async fn limit(
    State(state): State<AppState>,
    mut request: Request,
    next: Next,
) -> Response {
    let access = request.extensions().get::<Access>().cloned();
    let access = access.unwrap_or_else(Access::nobody);
    let begun = match KeyedRequest::begin(&state, &access) {
        Ok(begun) => begun,
        Err(problem) => return problem.into_response(),
    };
    let turn = Turn::new(&state.permits);
    // A body that does not arrive takes no turn: `JsonBody` takes it when the body is there.
    let taken = if request.body().is_end_stream() {
        turn.take()
    } else {
        turn.check()
    };
    if let Err(problem) = taken {
        return problem.into_response();
    }
    request.extensions_mut().insert(turn.clone());
    let limit = state.options.request_timeout;
    let response = tokio::time::timeout(limit, next.run(request)).await;
    let response = response.unwrap_or_else(|_| {
        Problem::new(StatusCode::GATEWAY_TIMEOUT, "the request took too long").into_response()
    });
    begun.answered(response.status());
    response.map(|body| {
        let held = access
            .key()
            .zip(body.size_hint().exact())
            .map(|(key, bytes)| {
                let bytes = usize::try_from(bytes).unwrap_or(usize::MAX / 2);
                key.usage.held_bytes.take_anyway(bytes)
            });
        let each = move |_: &Frame<Bytes>| {
            let _until_sent = (&turn, &begun, &held);
        };
        Body::new(InspectedBody { body, each })
    })
}
