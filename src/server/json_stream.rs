//! JSON responses that are streamed, so that memory is bounded however much is stored.
//!
//! A failure while the start of the response is buffered has an HTTP status of its own. A later one
//! aborts the connection, so that no client takes a part for the whole.

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::stream::{self, BoxStream, StreamExt};
use serde::Serialize;

use super::body::typed;
use super::call::{Call, Outcome};
use super::problem::Problem;
use crate::error::{Error, Result};

/// How many bytes are buffered before a response begins.
const BUFFERED: usize = 64 * 1024;

/// The chunks of a JSON text.
pub(super) type Chunks = BoxStream<'static, Result<Bytes>>;

/// Responds with chunks of JSON; a short response has its length.
pub(super) async fn respond(mut chunks: Chunks) -> Result<Response, Problem> {
    let mut begun = Vec::new();
    while begun.len() < BUFFERED {
        match chunks.next().await.transpose()? {
            Some(chunk) => begun.extend_from_slice(&chunk),
            None => return Ok(typed(Body::from(begun), "application/json")),
        }
    }
    let call = Call::current();
    if let Some(call) = &call {
        call.stream();
    }
    let rest = chunks.inspect(move |chunk| {
        if let Err(error) = chunk {
            if let Some(call) = &call {
                call.end(Outcome::Failed(Some(error.kind())), Some(StatusCode::OK));
            }
            tracing::error!(kind = error.kind(), error = %error.report(), "a request failed after its response had begun");
        }
    });
    let begun = stream::iter([Ok(Bytes::from(begun))]);
    Ok(typed(
        Body::from_stream(begun.chain(rest)),
        "application/json",
    ))
}

/// A JSON array, one chunk an element, between other text.
pub(super) fn array<T: Serialize + Send + 'static>(
    before: impl Into<Bytes>,
    items: BoxStream<'static, Result<T>>,
    after: &'static str,
) -> Chunks {
    let mut is_first = true;
    let elements = items.map(move |item| {
        let mut text = if std::mem::take(&mut is_first) {
            Vec::new()
        } else {
            vec![b',']
        };
        serde_json::to_writer(&mut text, &item?)
            .map_err(|error| Error::invalid("an answer", error.to_string()))?;
        Ok(Bytes::from(text))
    });
    let before = stream::iter([Ok(before.into())]);
    let after = stream::iter([Ok(Bytes::from_static(after.as_bytes()))]);
    before.chain(elements).chain(after).boxed()
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn texts(count: usize, last: Result<String>) -> BoxStream<'static, Result<String>> {
        let texts = std::iter::repeat_n("x".repeat(1_000), count).map(Ok);
        stream::iter(texts.chain([last])).boxed()
    }

    #[tokio::test]
    async fn a_streamed_array_is_the_same_text_as_one_that_is_not() {
        for count in [0, 1, 5, 500] {
            let chunks = array("[", texts(count, Ok("last".to_owned())), "]");
            let response = respond(chunks).await.map_err(|_| ()).unwrap();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let mut expected = vec!["x".repeat(1_000); count];
            expected.push("last".to_owned());
            assert_eq!(body, serde_json::to_vec(&expected).unwrap());
        }
        let none = array("[", stream::empty::<Result<u8>>().boxed(), "]");
        let body = respond(none).await.map_err(|_| ()).unwrap().into_body();
        assert_eq!(body.collect().await.unwrap().to_bytes(), "[]");
    }

    #[tokio::test]
    async fn a_failure_has_a_status_before_the_response_begins_and_aborts_it_afterwards() {
        let failed = || Err(Error::Closed);
        let problem = respond(array("[", texts(5, failed()), "]")).await;
        assert_eq!(problem.map(|_| ()).unwrap_err().status, 503);
        let begun = respond(array("[", texts(500, failed()), "]")).await;
        let body = begun.map_err(|_| ()).unwrap().into_body();
        assert!(body.collect().await.is_err());
    }
}
