//! What is answered when a request is not served.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use crate::error::Error;

/// The code that stands for a body that does not fit, in the answer to it.
const UNPROCESSABLE: u16 = 10_422;

/// Why a request is not served.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    message: String,
    data: Value,
}

/// An answer to a request that is not served. `code` is the status; a body that does not fit has
/// `status_code`, 10422, instead.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct ProblemBody {
    message: String,
    #[schema(example = 404)]
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<u16>,
    /// Under `/v1` what the error is, by its kind; else null.
    #[schema(value_type = Option<Object>)]
    data: Value,
}

impl Problem {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            data: Value::Null,
        }
    }

    /// A body that does not fit.
    pub(super) fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    /// A thread that the key does not reach, told as one that is not there.
    pub(super) fn no_such_thread() -> Self {
        Self::new(StatusCode::NOT_FOUND, "there is no such thread")
    }

    /// More requests than are served at once.
    pub(super) fn overloaded() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many requests are being served; try again later",
        )
    }

    /// The same, telling the kind of error as `/v1` does.
    pub(super) fn with_data(mut self, data: Value) -> Self {
        self.data = data;
        self
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let status = status_of(&error);
        if status.is_server_error() {
            // Keys, addresses and replies of the server stay in the log.
            tracing::error!(kind = error.kind(), error = %error.report(), "a request failed");
            return Self::new(status, words_of(status));
        }
        Self::new(status, error.to_string())
    }
}

/// The status that stands for an error.
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

/// What is said of a failure that is not the caller's.
fn words_of(status: StatusCode) -> &'static str {
    match status {
        StatusCode::SERVICE_UNAVAILABLE => "the store cannot serve the request at the moment",
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
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            let second = HeaderValue::from_static("1");
            response.headers_mut().insert(header::RETRY_AFTER, second);
        }
        response
    }
}
