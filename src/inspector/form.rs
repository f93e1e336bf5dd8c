//! The body of a form, within limits of size and time.

use std::time::Duration;

use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::failure::Failure;
use super::parameters::Parameters;
use crate::id::MAX_ID_BYTES;

/// The largest form: two ids, each byte as three, and the rest.
const MAX_BYTES: usize = 2 * 3 * MAX_ID_BYTES + 16 * 1024;

/// How long a form may take to arrive.
const TIME: Duration = Duration::from_secs(10);

/// The fields of a form.
#[derive(Debug)]
pub(super) struct Form(pub(super) Parameters);

impl<S: Sync> FromRequest<S> for Form {
    type Rejection = Failure;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Failure> {
        let kind = request.headers().get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(Failure::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "The body is not a form.",
            ));
        }
        let body = Limited::new(request.into_body(), MAX_BYTES).collect();
        match tokio::time::timeout(TIME, body).await {
            Ok(Ok(body)) => Ok(Self(Parameters::parse(&body.to_bytes()))),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Failure::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "The form is too large.",
            )),
            Ok(Err(_)) => Err(Failure::new(
                StatusCode::BAD_REQUEST,
                "The form is incomplete.",
            )),
            Err(_) => Err(Failure::new(
                StatusCode::REQUEST_TIMEOUT,
                "The form took too long to arrive.",
            )),
        }
    }
}
