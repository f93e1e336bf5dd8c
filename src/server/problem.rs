//! Error responses.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use crate::error::Error;
use crate::wire::Fault;

/// The `status_code` of a response to a body that is not valid.
const UNPROCESSABLE: u16 = 10_422;

/// The kind of the error that a response reports, among the extensions of the response.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failure(pub(super) &'static str);

/// An error response.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    /// The kind of the saver's error, if it is one.
    kind: Option<&'static str>,
    message: String,
    data: Value,
    /// When the request may be sent again, in seconds.
    retry_after: Option<u64>,
}

/// The body of an error response. `code` is the HTTP status; for a body that is not valid it is
/// absent, and `status_code` is 10422.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct ProblemBody {
    message: String,
    #[schema(example = 404)]
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<u16>,
    /// Under `/v1` the kind of the error and its details; otherwise null.
    #[schema(value_type = Option<Object>)]
    data: Value,
}

impl Problem {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            kind: None,
            message: message.into(),
            data: Value::Null,
            retry_after: (status == StatusCode::SERVICE_UNAVAILABLE).then_some(1),
        }
    }

    /// More than the limits of a key, which has room again after some seconds.
    pub(super) fn too_many(message: impl Into<String>, retry_after: u64) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, message)
        }
    }

    /// A body that is not valid.
    pub(super) fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    /// A thread that the key does not reach, reported as if it did not exist.
    pub(super) fn no_such_thread() -> Self {
        Self::new(StatusCode::NOT_FOUND, "there is no such thread")
    }

    /// More concurrent requests than the limit.
    pub(super) fn overloaded() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many concurrent requests; try again later",
        )
    }
}

/// An error response under `/v1`, whose `data` holds the kind of the error.
#[derive(Debug)]
pub(super) struct V1Problem(Problem);

impl V1Problem {
    pub(super) fn with_status(mut self, status: StatusCode) -> Self {
        self.0.status = status;
        self
    }
}

impl From<Problem> for V1Problem {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<Error> for V1Problem {
    fn from(error: Error) -> Self {
        let data = serde_json::to_value(Fault::from(&error)).unwrap_or_default();
        let problem = Problem::from(error);
        Self(Problem { data, ..problem })
    }
}

impl IntoResponse for V1Problem {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let status = status_of(&error);
        if status.is_server_error() {
            // Keys, addresses and replies of Redis are for the log alone.
            tracing::error!(kind = error.kind(), error = %error.report(), "a request failed");
        }
        let message = if status.is_server_error() {
            public_message(status).to_owned()
        } else {
            error.to_string()
        };
        Self {
            kind: Some(error.kind()),
            ..Self::new(status, message)
        }
    }
}

/// The status of an error.
pub(super) fn status_of(error: &Error) -> StatusCode {
    match error {
        Error::InvalidInput { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        Error::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        Error::Conflict { .. } => StatusCode::CONFLICT,
        Error::Connection { .. }
        | Error::Unavailable { .. }
        | Error::Overloaded { .. }
        | Error::NotReplicated { .. }
        | Error::OutOfMemory
        | Error::Closed => StatusCode::SERVICE_UNAVAILABLE,
        Error::Timeout { .. } => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The message for a failure of the service, which discloses nothing of the store.
fn public_message(status: StatusCode) -> &'static str {
    match status {
        StatusCode::SERVICE_UNAVAILABLE => "the store is unavailable; try again later",
        StatusCode::GATEWAY_TIMEOUT => "the store did not answer in time",
        _ => "the request failed",
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
            let body = Json(json!({"detail": "Unauthorized"}));
            return (self.status, challenge, body).into_response();
        }
        let is_unprocessable = self.status == StatusCode::UNPROCESSABLE_ENTITY;
        let body = ProblemBody {
            message: self.message,
            code: (!is_unprocessable).then_some(self.status.as_u16()),
            status_code: is_unprocessable.then_some(UNPROCESSABLE),
            data: self.data,
        };
        let mut response = (self.status, Json(body)).into_response();
        if let Some(seconds) = self.retry_after {
            let seconds = HeaderValue::from(seconds);
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        if let Some(kind) = self.kind {
            response.extensions_mut().insert(Failure(kind));
        }
        response
    }
}
