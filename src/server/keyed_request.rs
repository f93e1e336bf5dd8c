//! A request of a key, within the limits of the key and in its metrics.

use std::time::Duration;

use axum::http::StatusCode;

use super::auth::{Access, refused};
use super::budget::Share;
use super::key_limits::Exceeded;
use super::problem::Problem;
use super::state::AppState;

/// A request that counts to its key until this is dropped.
#[derive(Debug)]
pub(super) struct KeyedRequest(Option<Counted>);

#[derive(Debug)]
struct Counted {
    name: String,
    _share: Share,
}

impl KeyedRequest {
    /// Begins a request within the limits of its key; without a key there are none.
    pub(super) fn begin(state: &AppState, access: &Access) -> Result<Self, Problem> {
        let Some(key) = access.key() else {
            return Ok(Self(None));
        };
        let share = key.usage.begin(&state.limits_of(key)).map_err(|exceeded| {
            refused(&key.name, exceeded.name());
            let (message, wait) = match exceeded {
                Exceeded::Rate(wait) => ("the key has too many requests per second", wait),
                _ => ("the key has too many concurrent requests", Duration::ZERO),
            };
            // Rounded up; whole seconds are what the header can say.
            Problem::too_many(format!("{message}; try again later"), wait.as_secs() + 1)
        })?;
        in_flight(&key.name).increment(1.0);
        Ok(Self(Some(Counted {
            name: key.name.clone(),
            _share: share,
        })))
    }

    /// Counts the response.
    pub(super) fn answered(&self, status: StatusCode) {
        if let Some(counted) = &self.0 {
            metrics::counter!(
                "langgraph_http_key_requests_total",
                "key" => counted.name.clone(), "status" => status.as_str().to_owned()
            )
            .increment(1);
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        in_flight(&self.name).decrement(1.0);
    }
}

fn in_flight(key: &str) -> metrics::Gauge {
    metrics::gauge!("langgraph_http_key_requests_in_flight", "key" => key.to_owned())
}

/// Describes the metrics of keys.
pub(super) fn describe() {
    use metrics::{describe_counter, describe_gauge};
    describe_counter!(
        "langgraph_http_key_requests_total",
        "Requests answered, by the name of their key"
    );
    describe_counter!(
        "langgraph_http_key_rejected_total",
        "Requests that a key was refused, by reason"
    );
    describe_gauge!(
        "langgraph_http_key_requests_in_flight",
        "Requests of a key, from their heads to the ends of their responses"
    );
}
