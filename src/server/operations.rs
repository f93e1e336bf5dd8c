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

/// Whether the service runs.
#[utoipa::path(
    get, path = "/healthz", tag = "operations", security(()),
    responses((status = 200, description = "It runs", body = String))
)]
pub(super) async fn healthz() -> &'static str {
    "ok"
}

/// Whether the service can serve: Redis answers and takes writes, and no shutdown has begun. What
/// Redis said stands for a second. It can also while calls are served without search, which it says.
#[utoipa::path(
    get, path = "/readyz", tag = "operations", security(()),
    responses(
        (status = 200, description = "It can", body = String),
        (status = 503, description = "It cannot", body = ProblemBody),
    )
)]
pub(super) async fn readyz(State(state): State<AppState>) -> Response {
    const ENDING: &str = "the service is shutting down";
    let refuse =
        |message: &str| Problem::new(StatusCode::SERVICE_UNAVAILABLE, message).into_response();
    if state.is_draining() {
        return refuse(ENDING);
    }
    let limit = state.options.request_timeout;
    let readiness = state.readiness.of(&**state.saver.get_ref(), limit).await;
    // The shutdown may have begun while the store was asked.
    match readiness {
        _ if state.is_draining() => refuse(ENDING),
        StoreReadiness::Ready => "ready".into_response(),
        StoreReadiness::WithoutSearch => "ready; calls are served without search".into_response(),
        StoreReadiness::NotReady(reason) => refuse(&reason),
    }
}

/// Metrics in Prometheus' text format; for keys that reach every thread.
#[utoipa::path(
    get, path = "/metrics", tag = "operations",
    responses(
        (status = 200, description = "The metrics", body = String),
        (status = 403, description = "The key is confined to some threads", body = ProblemBody),
        (status = 404, description = "The program collects them in another way", body = ProblemBody),
    )
)]
pub(super) async fn metrics(
    State(state): State<AppState>,
    access: Option<Extension<Access>>,
) -> Result<Response, Problem> {
    if !access.is_none_or(|Extension(access)| access.is_everywhere()) {
        let message = "the metrics are of all threads, and the key is confined to some";
        return Err(Problem::new(StatusCode::FORBIDDEN, message));
    }
    let Some(collector) = telemetry::collector() else {
        let message = "this program collects its metrics in another way";
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
