//! Middleware: the limits of requests and their time limit.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::auth::Access;
use super::keyed_request::KeyedRequest;
use super::problem::Problem;
use super::state::AppState;
use super::turn::Turn;

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
