//! Answers that come in pieces, so that none is held whole however much is stored: JSON that is
//! the same text as if it had been made at once.
//!
//! What fails while the first of it is gathered is answered with a status of its own. What fails
//! later ends the connection before the answer is whole: a status was told already, and a part must
//! not pass for the whole.

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures_util::stream::{self, BoxStream, StreamExt};
use serde::Serialize;

use super::body::typed;
use super::problem::Problem;
use crate::error::{Error, Result};

/// How much is gathered before an answer begins, in bytes.
const WHOLE: usize = 64 * 1024;

/// Pieces of a text.
pub(super) type Pieces = BoxStream<'static, Result<Bytes>>;

/// Answers with JSON that comes in pieces; with its length if it is short.
pub(super) async fn answer(mut pieces: Pieces) -> Result<Response, Problem> {
    let mut begun = Vec::new();
    while begun.len() < WHOLE {
        match pieces.next().await.transpose()? {
            Some(piece) => begun.extend_from_slice(&piece),
            None => return Ok(typed(Body::from(begun), "application/json")),
        }
    }
    let rest = pieces.inspect(|piece| {
        if let Err(error) = piece {
            tracing::error!(kind = error.kind(), error = %error.report(), "a request failed after its answer had begun");
        }
    });
    let begun = stream::iter([Ok(Bytes::from(begun))]);
    Ok(typed(
        Body::from_stream(begun.chain(rest)),
        "application/json",
    ))
}

/// A JSON array, an element a piece, between other text.
pub(super) fn array<T: Serialize + Send + 'static>(
    before: impl Into<Bytes>,
    items: BoxStream<'static, Result<T>>,
    after: &'static str,
) -> Pieces {
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
    async fn an_array_is_the_same_text_however_it_is_sent() {
        for count in [0, 1, 5, 500] {
            let pieces = array("[", texts(count, Ok("last".to_owned())), "]");
            let answer = answer(pieces).await.map_err(|_| ()).unwrap();
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            let mut expected = vec!["x".repeat(1_000); count];
            expected.push("last".to_owned());
            assert_eq!(body, serde_json::to_vec(&expected).unwrap());
        }
        let none = array("[", stream::empty::<Result<u8>>().boxed(), "]");
        let body = answer(none).await.map_err(|_| ()).unwrap().into_body();
        assert_eq!(body.collect().await.unwrap().to_bytes(), "[]");
    }

    #[tokio::test]
    async fn what_fails_has_a_status_until_the_answer_has_begun_and_breaks_it_afterwards() {
        let failed = || Err(Error::Closed);
        let problem = answer(array("[", texts(5, failed()), "]")).await;
        assert_eq!(problem.map(|_| ()).unwrap_err().status, 503);
        let begun = answer(array("[", texts(500, failed()), "]")).await;
        let body = begun.map_err(|_| ()).unwrap().into_body();
        assert!(body.collect().await.is_err());
    }
}
