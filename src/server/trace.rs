//! Middleware: request ids, the request log, metrics of requests, spans, and the end of calls.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{Extensions, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::FutureExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tracing::Instrument;

use super::call::{Call, EndsCall, Outcome};
use super::listen::Peer;
use super::problem::{Failure, Problem};
use super::state::AppState;

/// The header that names a request.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Assigns a request id, logs each request and counts it, and ends its call. A panic is answered
/// 500.
pub(super) async fn trace(
    State(state): State<AppState>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = id_of(&request);
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or_else(|| "unknown".to_owned(), |path| path.as_str().to_owned());
    let id_text = id.to_str().unwrap_or_default();
    let span = tracing::info_span!(
        "http_request",
        request_id = id_text,
        %method,
        route,
        key = tracing::field::Empty,
        trace_id = tracing::field::Empty,
        otel.name = tracing::field::Empty,
        otel.kind = tracing::field::Empty,
        otel.status_code = tracing::field::Empty,
    );
    let method = label_of(&method);
    #[cfg(feature = "otlp")]
    export(&span, method, &route, request.headers());
    let peer = peer_of(request.extensions());
    let shows_threads = state.options.shows_threads;
    let call = Call::start(
        id_text,
        request.method(),
        &route,
        peer,
        shows_threads,
        span.clone(),
    );
    let ends = EndsCall(call.clone());
    let served = AssertUnwindSafe(call.serve(next.run(request))).catch_unwind();
    let served = served.instrument(span.clone()).await;
    let panicked = served.is_err();
    let mut response = served.unwrap_or_else(|_| {
        tracing::error!(parent: &span, "a request panicked");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the request failed").into_response()
    });
    response.headers_mut().insert(REQUEST_ID, id);
    let (status, took) = (response.status(), call.start_time().elapsed());
    tracing::info!(
        parent: &span,
        status = status.as_u16(),
        took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        "answered"
    );
    count(method, &route, status);
    metrics::histogram!("langgraph_http_request_duration_seconds", "route" => route).record(took);
    #[cfg(feature = "otlp")]
    crate::otlp::set(
        &span,
        "http.response.status_code",
        i64::from(status.as_u16()),
    );
    if !call.is_streamed() || !status.is_success() {
        let kind = response.extensions().get::<Failure>();
        let outcome = if panicked {
            Outcome::PANICKED
        } else if call.is_interrupted() {
            Outcome::TIMED_OUT
        } else {
            Outcome::of(status, kind.map(|Failure(kind)| *kind))
        };
        call.end(outcome, Some(status));
    }
    response.map(|body| Body::new(TracedBody { body, ends }))
}

/// A method as a label. It is any text of the caller's; unknown ones share a label, which bounds
/// the series.
fn label_of(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        "PATCH" => "PATCH",
        _ => "other",
    }
}

fn count(method: &'static str, route: &str, status: StatusCode) {
    let status = status.as_str().to_owned();
    metrics::counter!(
        "langgraph_http_requests_total",
        "route" => route.to_owned(), "method" => method, "status" => status
    )
    .increment(1);
}

/// Prepares a span that has not begun for the collector.
#[cfg(feature = "otlp")]
fn export(
    span: &tracing::Span,
    method: &'static str,
    route: &str,
    headers: &axum::http::HeaderMap,
) {
    // OpenTelemetry's conventions for HTTP call a method that is none of HTTP's so.
    let method = if method == "other" { "HTTP" } else { method };
    let name = match route.strip_prefix('/') {
        Some(_) => format!("{method} {route}"),
        None => method.to_owned(),
    };
    crate::otlp::name(span, &name, "server");
    if let Some(trace) = crate::otlp::continue_trace(span, headers) {
        span.record("trace_id", trace);
        crate::otlp::set(span, "http.request.method", method);
        crate::otlp::set(span, "http.route", route.to_owned());
    }
}

/// The body of a response. It is counted and read within the span of its request, and its call
/// has ended when it has.
struct TracedBody {
    body: Body,
    ends: EndsCall,
}

impl HttpBody for TracedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let traced = self.get_mut();
        let EndsCall(call) = &traced.ends;
        let _entered = call.span().enter();
        let frame = ready!(Pin::new(&mut traced.body).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    metrics::counter!("langgraph_http_response_bytes_total")
                        .increment(data.len() as u64);
                }
            }
            Some(Err(_)) => call.end(Outcome::Failed(None), Some(StatusCode::OK)),
            None => call.end(Outcome::Ok, Some(StatusCode::OK)),
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

/// The address that a request comes from: of the connection, as headers can say anything.
fn peer_of(extensions: &Extensions) -> Option<String> {
    if let Some(peer) = extensions.get::<Peer>() {
        return Some(peer.to_string());
    }
    // Of a program that serves the router by itself.
    let peer = extensions.get::<ConnectInfo<SocketAddr>>();
    peer.map(|ConnectInfo(address)| address.to_string())
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

/// Notes that a handler was dropped before it had a response.
pub(super) async fn watch(request: Request, next: Next) -> Response {
    let mut running = Running(Call::current());
    let response = next.run(request).await;
    running.0 = None;
    response
}

/// The call of a handler that is running.
struct Running(Option<Call>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(call) = &self.0 {
            call.interrupt();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::middleware::from_fn_with_state;
    use axum::routing::post;
    use http_body_util::BodyExt;
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;

    use super::super::{Authentication, ServerOptions};
    use super::*;
    use crate::MemorySaver;

    /// Keeps what is logged.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(text)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_panic_is_answered_and_has_an_audit_line() {
        let log = Log::default();
        let written = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || written.clone());
        let _default = tracing::subscriber::set_default(subscriber.finish());
        let options = ServerOptions::new(Authentication::Off);
        let state = AppState::new(Arc::new(MemorySaver::new()), &options).unwrap();
        let router = Router::new()
            .route("/v1/pin", post(async || -> &'static str { panic!("once") }))
            .layer(from_fn_with_state(state, trace));
        let request = Request::post("/v1/pin").header(REQUEST_ID, "r-1");
        let service = TowerToHyperService::new(router);
        let request = request.body(Body::empty()).unwrap();
        let response = service.call(request).await.unwrap();
        assert_eq!(response.status(), 500);
        assert_eq!(response.headers()[REQUEST_ID], "r-1");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(!String::from_utf8_lossy(&body).contains("once"));
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let line = log.lines().find(|line| line.contains("::audit")).unwrap();
        for part in ["pin", "failed", "panic", "r-1"] {
            assert!(line.contains(part), "{part}: {line}");
        }
    }
}
