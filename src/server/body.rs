//! JSON request bodies, within limits of size and time, and JSON responses.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::{Deserialize, Serialize};

use super::problem::Problem;
use super::state::AppState;
use crate::codec::strict;

/// A request body, read within `max_body_bytes` and `body_timeout`.
#[derive(Debug)]
pub(super) struct JsonBody(Bytes);

impl JsonBody {
    /// Parses the body as JSON.
    pub(super) fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Problem> {
        let mut reader = serde_json::Deserializer::from_slice(&self.0);
        strict::object(&mut reader)
            .and_then(|read| reader.end().map(|()| read))
            .map_err(|error| Problem::unprocessable(format!("the body is not valid: {error}")))
    }

    /// The slice of the body that a value was parsed from, without a copy.
    pub(super) fn share(&self, part: &str) -> Bytes {
        self.0.slice_ref(part.as_bytes())
    }
}

impl FromRequest<AppState> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Problem> {
        if !is_json(&request) {
            let message = "the content type must be application/json";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
        }
        let limit = state.options.max_body_bytes;
        let too_large = || {
            Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the body has more than {limit} bytes"),
            )
        };
        let length = request.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if length.is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        let body = Limited::new(request.into_body(), limit).collect();
        match tokio::time::timeout(state.options.body_timeout, body).await {
            Ok(Ok(body)) => {
                let body = body.to_bytes();
                metrics::counter!("langgraph_http_request_bytes_total")
                    .increment(body.len() as u64);
                Ok(Self(body))
            }
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(_)) => Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "the body is incomplete",
            )),
            Err(_) => Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "the body took too long to arrive",
            )),
        }
    }
}

fn is_json(request: &Request) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
        || (kind.len() > 5 && kind[kind.len() - 5..].eq_ignore_ascii_case("+json"))
}

/// A JSON response.
pub(super) fn json<T: Serialize + ?Sized>(value: &T) -> Result<Response, Problem> {
    let text = text_of(value)?;
    Ok(typed(Body::from(text), "application/json"))
}

/// The JSON text of a value.
pub(super) fn text_of<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(value).map_err(|error| {
        tracing::error!(%error, "a response cannot be serialized");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the request failed")
    })
}

/// A response with a content type.
pub(super) fn typed(body: Body, content_type: &'static str) -> Response {
    let mut response = body.into_response();
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
