//! Health, readiness and metrics.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::auth::Access;
use super::body::typed;
use super::problem::{Problem, ProblemBody};
use super::state::AppState;
use super::telemetry;
use crate::blobs::StoreReadiness;

/// Liveness: the service is running.
#[utoipa::path(
    get, path = "/healthz", tag = "operations", security(()),
    responses((status = 200, description = "The service is running", body = String))
)]
pub(super) async fn healthz() -> &'static str {
    "ok"
}

/// Readiness: the store answers and accepts writes, and no shutdown has begun. The result is
/// cached for a second. The service is also ready without search, which the response mentions.
#[utoipa::path(
    get, path = "/readyz", tag = "operations", security(()),
    responses(
        (status = 200, description = "The service is ready", body = String),
        (status = 503, description = "The service is not ready", body = ProblemBody),
    )
)]
pub(super) async fn readyz(State(state): State<AppState>) -> Response {
    const SHUTTING_DOWN: &str = "the service is shutting down";
    let refuse =
        |message: &str| Problem::new(StatusCode::SERVICE_UNAVAILABLE, message).into_response();
    if state.is_draining() {
        return refuse(SHUTTING_DOWN);
    }
    let limit = state.options.request_timeout;
    let readiness = state.readiness.of(&**state.saver.get_ref(), limit).await;
    // The shutdown may have begun while the store was asked.
    match readiness {
        _ if state.is_draining() => refuse(SHUTTING_DOWN),
        StoreReadiness::Ready => "ready".into_response(),
        StoreReadiness::WithoutSearch => "ready; calls are served without search".into_response(),
        StoreReadiness::NotReady(reason) => refuse(&reason),
    }
}

/// Metrics in the Prometheus text format, for keys that reach every thread.
#[utoipa::path(
    get, path = "/metrics", tag = "operations",
    security(("agent_api_key" = []), ("bearer" = [])),
    responses(
        (status = 200, description = "The metrics", body = String),
        (status = 401, description = "The API key is missing or unknown"),
        (status = 403, description = "The key has a prefix", body = ProblemBody),
        (status = 404, description = "The program has its own metrics recorder", body = ProblemBody),
    )
)]
pub(super) async fn metrics(
    State(state): State<AppState>,
    access: Option<Extension<Access>>,
) -> Result<Response, Problem> {
    if !access.is_none_or(|Extension(access)| access.is_everywhere()) {
        let message = "the metrics cover all threads: use a key without a prefix";
        return Err(Problem::new(StatusCode::FORBIDDEN, message));
    }
    let Some(collector) = telemetry::collector() else {
        let message = "this program has its own metrics recorder";
        return Err(Problem::new(StatusCode::NOT_FOUND, message));
    };
    if let Some(counts) = state.saver.get_ref().connections() {
        gauge("langgraph_redis_connections", counts.connections);
        gauge("langgraph_redis_calls_in_flight", counts.calls_in_flight);
    }
    gauge("langgraph_http_requests_in_flight", state.in_flight());
    collector.run_upkeep();
    let text = Body::from(collector.render());
    Ok(typed(text, "text/plain; version=0.0.4; charset=utf-8"))
}

#[allow(clippy::cast_precision_loss)] // Nothing counted here comes near 2^52.
fn gauge(name: &'static str, value: usize) {
    metrics::gauge!(name).set(value as f64);
}
