//! `traceparent`: traces that go on from one process to the next.

use opentelemetry::propagation::TextMapPropagator;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use reqwest::header::HeaderMap;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::is_exporting;

/// Makes a span that has not begun a child of the caller's, whose `traceparent` came with a
/// request. A header that is not valid is ignored. Returns the id of the trace.
#[cfg(feature = "server")]
pub(crate) fn continue_trace(span: &Span, headers: &HeaderMap) -> Option<String> {
    use opentelemetry::trace::TraceContextExt;
    use opentelemetry_http::HeaderExtractor;

    if !is_exporting() {
        return None;
    }
    let parent = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
    if parent.span().span_context().is_valid() {
        // It fails only where no layer exports this span.
        let _ = span.set_parent(parent);
    }
    let context = span.context();
    let context = context.span().span_context().clone();
    context.is_valid().then(|| context.trace_id().to_string())
}

/// Adds the `traceparent` of the current span to a request.
#[cfg(feature = "http")]
pub(crate) fn pass_trace_on(headers: &mut HeaderMap) {
    use opentelemetry_http::HeaderInjector;

    if is_exporting() {
        let context = Span::current().context();
        TraceContextPropagator::new().inject_context(&context, &mut HeaderInjector(headers));
    }
}
