//! What is answered where a page cannot be shown.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::error::Error;

/// Why a page cannot be shown.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    pub(super) message: String,
}

impl Failure {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { status, message }
    }

    /// A thread that does not exist or is not shown, which are answered alike.
    pub(super) fn no_such_thread() -> Self {
        Self::new(StatusCode::NOT_FOUND, "There is no such thread.")
    }

    /// A checkpoint that does not exist.
    pub(super) fn no_such_checkpoint() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "The thread has no such checkpoint; it may have expired or been pruned.",
        )
    }

    /// A form that was not sent by a page of the inspector.
    pub(super) fn forged() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "The form did not come from a page of this session: go back, reload the page and try again.",
        )
    }
}

/// As plain text, where there is no page around it.
impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, self.message).into_response()
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (status, message) = match &error {
            Error::InvalidInput { .. } | Error::TooLarge { .. } => {
                (StatusCode::UNPROCESSABLE_ENTITY, sentence(&error))
            }
            Error::Conflict { .. } => (StatusCode::CONFLICT, sentence(&error)),
            Error::Timeout { .. } => (
                StatusCode::GATEWAY_TIMEOUT,
                "The store did not answer in time.".to_owned(),
            ),
            Error::Connection { .. }
            | Error::Unavailable { .. }
            | Error::Overloaded { .. }
            | Error::OutOfMemory
            | Error::Closed => (
                StatusCode::SERVICE_UNAVAILABLE,
                "The store is unavailable; try again later.".to_owned(),
            ),
            _ => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "What is stored cannot be read; the log of the service says why.".to_owned(),
            ),
        };
        if status.is_server_error() {
            // Keys, addresses and replies of Redis are for the log alone.
            tracing::error!(kind = error.kind(), error = %error.report(), "a page cannot be shown");
        }
        Self { status, message }
    }
}

fn sentence(error: &Error) -> String {
    let mut text = error.to_string();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text.push('.');
    text
}
