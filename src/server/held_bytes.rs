//! The memory that the bodies of requests take, of all keys and of each.

use super::auth::{Access, refused};
use super::budget::Share;
use super::key_limits::Exceeded;
use super::problem::Problem;
use super::state::AppState;

/// The bytes of a body, which count to the service and to a key until this is dropped.
#[derive(Debug)]
pub(super) struct HeldBytes {
    all: Share,
    all_limit: usize,
    of_key: Option<OfKey>,
}

#[derive(Debug)]
struct OfKey {
    share: Share,
    limit: usize,
    name: String,
}

impl HeldBytes {
    /// Counts the bytes of a body that is about to be read.
    pub(super) fn take(state: &AppState, access: &Access, bytes: usize) -> Result<Self, Problem> {
        let of_key = match access.key() {
            Some(key) => {
                let limit = state.limits_of(key).max_held_bytes.unwrap_or(usize::MAX);
                let share = key.usage.held_bytes.take(bytes, limit);
                Some(OfKey {
                    share: share.ok_or_else(|| key_exceeded(&key.name))?,
                    limit,
                    name: key.name.clone(),
                })
            }
            None => None,
        };
        let all_limit = state.options.max_held_bytes;
        let all = state.held_bytes.take(bytes, all_limit);
        Ok(Self {
            all: all.ok_or_else(all_exceeded)?,
            all_limit,
            of_key,
        })
    }

    /// Counts more bytes of the same body.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        if let Some(key) = &mut self.of_key
            && !key.share.grow(bytes, key.limit)
        {
            return Err(key_exceeded(&key.name));
        }
        if self.all.grow(bytes, self.all_limit) {
            Ok(())
        } else {
            Err(all_exceeded())
        }
    }
}

fn key_exceeded(key: &str) -> Problem {
    refused(key, Exceeded::HeldBytes.name());
    let message = "the key has too many bytes in bodies at once; try again later";
    Problem::too_many(message, 1)
}

fn all_exceeded() -> Problem {
    metrics::counter!("langgraph_http_rejected_total", "what" => "bytes").increment(1);
    let message = "too many bytes in bodies at once; try again later";
    Problem::new(axum::http::StatusCode::SERVICE_UNAVAILABLE, message)
}
