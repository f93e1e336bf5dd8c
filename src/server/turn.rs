//! The turn of a request among those that are served at the same time.

use std::sync::{Arc, OnceLock};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::Problem;

/// The turn of a request. It is taken once the body of the request is there, so that requests whose
/// bodies do not arrive take none from others, and given back when the response was sent.
#[derive(Debug, Clone)]
pub(super) struct Turn(Arc<Place>);

#[derive(Debug)]
struct Place {
    permits: Arc<Semaphore>,
    permit: OnceLock<OwnedSemaphorePermit>,
}

impl Turn {
    pub(super) fn new(permits: &Arc<Semaphore>) -> Self {
        Self(Arc::new(Place {
            permits: Arc::clone(permits),
            permit: OnceLock::new(),
        }))
    }

    /// Takes the turn; once it is taken, this does nothing.
    pub(super) fn take(&self) -> Result<(), Problem> {
        if self.0.permit.get().is_some() {
            return Ok(());
        }
        let permit = Arc::clone(&self.0.permits).try_acquire_owned();
        let permit = permit.map_err(|_| overloaded())?;
        // A second permit, if another task was first, is given back here.
        let _ = self.0.permit.set(permit);
        Ok(())
    }

    /// Refuses a request if there is no turn left, before its body is read.
    pub(super) fn check(&self) -> Result<(), Problem> {
        if self.0.permits.available_permits() == 0 {
            return Err(overloaded());
        }
        Ok(())
    }
}

fn overloaded() -> Problem {
    metrics::counter!("langgraph_http_rejected_total", "what" => "request").increment(1);
    Problem::overloaded()
}

/// Takes the turn of a request whose body is not looked at.
impl<S: Send + Sync> FromRequestParts<S> for Turn {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let turn = parts.extensions.get::<Self>().cloned();
        let turn = turn.ok_or_else(overloaded)?;
        turn.take()?;
        Ok(turn)
    }
}
