//! Metrics and logs.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::{audit, build_info, keyed_request};
use crate::error::{Error, Result};

/// The upper bounds of the histogram buckets, in seconds.
const SECONDS: [f64; 14] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// The Prometheus recorder of this process; `None` if the program has installed another one.
pub(super) fn collector() -> Option<&'static PrometheusHandle> {
    static COLLECTOR: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    let collector = COLLECTOR.get_or_init(|| {
        let seconds = Matcher::Suffix("_seconds".to_owned());
        let builder = PrometheusBuilder::new().set_buckets_for_metric(seconds, &SECONDS);
        let recorder = builder.ok()?.build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).ok()?;
        describe();
        build_info::record();
        keyed_request::describe();
        Some(handle)
    });
    collector.as_ref()
}

fn describe() {
    use metrics::{describe_counter, describe_gauge, describe_histogram};
    describe_counter!("langgraph_http_requests_total", "Requests answered");
    describe_histogram!(
        "langgraph_http_request_duration_seconds",
        "Time from the head of a request to the head of its response"
    );
    describe_counter!(
        "langgraph_http_request_bytes_total",
        "Bytes of bodies received"
    );
    describe_counter!(
        "langgraph_http_response_bytes_total",
        "Bytes of bodies sent"
    );
    describe_counter!(
        "langgraph_http_rejected_total",
        "Requests and connections refused because of a limit"
    );
    describe_counter!(
        "langgraph_http_errors_total",
        "Requests that ended in an error of the saver, by kind, also after the response had begun"
    );
    describe_counter!(
        "langgraph_http_abandoned_total",
        "Requests that ended before their response: the client disconnected, or the time limit"
    );
    describe_gauge!("langgraph_http_requests_in_flight", "Requests being served");
    describe_gauge!("langgraph_http_connections", "Open connections");
    describe_gauge!("langgraph_redis_connections", "Connections to Redis");
    describe_gauge!(
        "langgraph_redis_calls_in_flight",
        "Calls to Redis in flight"
    );
    describe_counter!("langgraph_checkpoint_calls_total", "Calls of the saver");
    describe_counter!(
        "langgraph_checkpoint_errors_total",
        "Calls that failed, by kind"
    );
    describe_histogram!(
        "langgraph_checkpoint_duration_seconds",
        "Duration of calls of the saver"
    );
    describe_counter!("langgraph_checkpoint_bytes_total", "Bytes read and written");
    describe_counter!(
        "langgraph_checkpoint_round_trips_total",
        "Round trips of calls of the saver"
    );
    describe_gauge!(
        "langgraph_checkpoint_in_flight",
        "Calls of the saver in flight"
    );
}

/// Writes the events of `tracing` to standard error as lines of JSON. `filter` is a level or levels
/// by target: `info`, `warn,langgraph_checkpoint_redis=debug`. The audit log, whose target is
/// `langgraph_checkpoint_redis::audit`, is written at any level but `off`, unless the filter names
/// that target.
///
/// With the feature `otlp` the spans of this crate are exported, too, if the environment asks for
/// it; [`serve`](super::serve) exports what is left of them when it ends.
///
/// # Errors
/// [`Error::Config`] if the filter is not valid, if a variable of OpenTelemetry is not, or if the
/// program has a subscriber already.
pub fn log_as_json(filter: &str) -> Result<()> {
    let refuse = |reason: String, source| Error::Config {
        key: "log".to_owned(),
        reason,
        source,
    };
    let targets = targets_of(filter).map_err(|error| {
        refuse(
            format!("`{filter}` is not a valid filter"),
            Some(error.into()),
        )
    })?;
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_writer(std::io::stderr)
        .with_filter(targets);
    let subscriber = tracing_subscriber::registry().with(lines);
    #[cfg(feature = "otlp")]
    let subscriber = {
        use tracing_subscriber::filter::filter_fn;
        let export = crate::SpanExport::from_env()?;
        // Not those of the client that sends them.
        let own = |metadata: &tracing::Metadata<'_>| {
            metadata.target().starts_with("langgraph_checkpoint_redis")
        };
        let spans = export.map(|export| {
            let layer = export.layer().with_filter(filter_fn(own));
            // Without a subscriber of this process nothing is exported.
            let _ = EXPORT.set(export);
            layer
        });
        subscriber.with(spans)
    };
    subscriber.try_init().map_err(|_| {
        refuse(
            "this process has a `tracing` subscriber already".to_owned(),
            None,
        )
    })?;
    #[cfg(not(feature = "otlp"))]
    if std::env::var_os("OTEL_EXPORTER_OTLP_ENDPOINT").is_some() {
        tracing::warn!(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, but this program was built without the feature \
             `otlp`: no span is exported"
        );
    }
    Ok(())
}

fn targets_of(filter: &str) -> Result<Targets, ParseError> {
    let targets: Targets = filter.parse()?;
    let is_named = targets.iter().any(|(target, _)| target == audit::TARGET);
    if is_named || targets.default_level() == Some(LevelFilter::OFF) {
        return Ok(targets);
    }
    Ok(targets.with_target(audit::TARGET, LevelFilter::INFO))
}

/// The export of this process' spans.
#[cfg(feature = "otlp")]
static EXPORT: OnceLock<crate::SpanExport> = OnceLock::new();

/// Exports the spans that are not exported yet.
#[cfg(feature = "otlp")]
pub(super) async fn flush() {
    /// The time for it at the end of a service.
    const LIMIT: std::time::Duration = std::time::Duration::from_secs(5);
    if let Some(export) = EXPORT.get()
        && let Err(error) = export.flush(LIMIT).await
    {
        tracing::warn!(error = %error.report(), "the last spans were not exported");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_audit_log_is_off_only_where_the_filter_says_so() {
        for (filter, expected) in [
            ("info", true),
            ("error", true),
            ("warn,langgraph_checkpoint_redis=error", true),
            ("off", false),
            ("info,langgraph_checkpoint_redis::audit=off", false),
        ] {
            let targets = targets_of(filter).unwrap();
            let level = tracing::Level::INFO;
            assert_eq!(
                targets.would_enable(audit::TARGET, &level),
                expected,
                "{filter}"
            );
        }
    }
}
