//! Metrics and logs.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::{build_info, keyed_request};
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
/// by target: `info`, `warn,langgraph_checkpoint_redis=debug`.
///
/// # Errors
/// [`Error::Config`] if the filter is not valid, or if the program has a subscriber already.
pub fn log_as_json(filter: &str) -> Result<()> {
    let refuse = |reason: String, source| Error::Config {
        key: "log".to_owned(),
        reason,
        source,
    };
    let targets: Targets = filter.parse().map_err(|error: ParseError| {
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
        .with_writer(std::io::stderr);
    tracing_subscriber::registry()
        .with(lines)
        .with(targets)
        .try_init()
        .map_err(|_| {
            refuse(
                "this process has a `tracing` subscriber already".to_owned(),
                None,
            )
        })
}
