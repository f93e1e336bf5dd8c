//! JSON request bodies, within limits of size and time, and JSON responses.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};

use super::auth::Access;
use super::held_bytes::HeldBytes;
use super::problem::Problem;
use super::state::AppState;
use super::turn::Turn;
use crate::codec::strict;

/// A request body, read within `max_body_bytes`, `max_held_bytes` and `body_timeout`. It counts to
/// the bytes that are held until it is dropped.
#[derive(Debug)]
pub(super) struct JsonBody {
    bytes: Bytes,
    _held: HeldBytes,
}

impl JsonBody {
    /// Parses the body as JSON.
    pub(super) fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Problem> {
        let mut reader = serde_json::Deserializer::from_slice(&self.bytes);
        strict::object(&mut reader)
            .and_then(|read| reader.end().map(|()| read))
            .map_err(|error| Problem::unprocessable(format!("the body is not valid: {error}")))
    }

    /// The slice of the body that a value was parsed from, without a copy.
    pub(super) fn share(&self, part: &str) -> Bytes {
        self.bytes.slice_ref(part.as_bytes())
    }
}

impl FromRequest<AppState> for JsonBody {
    type Rejection = Problem;

    async fn from_request(mut request: Request, state: &AppState) -> Result<Self, Problem> {
        if !is_json(&request) {
            let message = "the content type must be application/json";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
        }
        let extensions = request.extensions_mut();
        let (access, turn) = (extensions.remove::<Access>(), extensions.remove::<Turn>());
        let access = access.unwrap_or_else(Access::nobody);
        let limit = access
            .key()
            .and_then(|key| state.limits_of(key).max_body_bytes);
        let limit = limit.unwrap_or(state.options.max_body_bytes);
        let length = request.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        let length = length.unwrap_or(0);
        if length > limit {
            return Err(too_large(limit));
        }
        let mut held = HeldBytes::take(state, &access, length)?;
        let read = receive(request.into_body(), length, limit, &mut held);
        let bytes = tokio::time::timeout(state.options.body_timeout, read).await;
        let bytes = bytes.map_err(|_| {
            let message = "the body took too long to arrive";
            Problem::new(StatusCode::REQUEST_TIMEOUT, message)
        })??;
        metrics::counter!("langgraph_http_request_bytes_total").increment(bytes.len() as u64);
        if let Some(turn) = turn {
            turn.take()?;
        }
        Ok(Self { bytes, _held: held })
    }
}

fn too_large(limit: usize) -> Problem {
    let message = format!("the body has more than {limit} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, message)
}

/// Reads a body, of which `length` bytes are counted already, without a copy if it is in one piece.
async fn receive(
    mut body: Body,
    length: usize,
    limit: usize,
    held: &mut HeldBytes,
) -> Result<Bytes, Problem> {
    let (mut first, mut pieces) = (Bytes::new(), BytesMut::new());
    let (mut received, mut counted) = (0, length);
    while let Some(frame) = body.frame().await {
        let incomplete = |_| Problem::new(StatusCode::BAD_REQUEST, "the body is incomplete");
        let Ok(piece) = frame.map_err(incomplete)?.into_data() else {
            // Trailers.
            continue;
        };
        received += piece.len();
        if received > limit {
            return Err(too_large(limit));
        }
        if received > counted {
            held.grow(received - counted)?;
            counted = received;
        }
        if first.is_empty() && pieces.is_empty() {
            first = piece;
            continue;
        }
        if pieces.is_empty() {
            pieces.reserve(length.max(received));
            pieces.extend_from_slice(&first);
            first = Bytes::new();
        }
        pieces.extend_from_slice(&piece);
    }
    Ok(if pieces.is_empty() {
        first
    } else {
        pieces.freeze()
    })
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
