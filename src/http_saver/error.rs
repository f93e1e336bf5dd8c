//! Error responses of the service as this crate's errors.

use std::time::Duration;

use serde::Deserialize;

use crate::error::Error;
use crate::wire::Fault;

/// The context of an error response.
#[derive(Debug, Clone, Copy)]
pub(super) struct Problem<'a> {
    pub(super) operation: &'static str,
    pub(super) server: &'a str,
    pub(super) status: Option<u16>,
    pub(super) request_id: Option<&'a str>,
}

/// The body of an error response.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    message: Option<String>,
    detail: Option<String>,
    data: Option<Fault>,
}

impl Problem<'_> {
    /// The error of a response body.
    pub(super) fn read(&self, body: &[u8]) -> Error {
        let body: Body = serde_json::from_slice(body).unwrap_or_default();
        if let Some(fault) = body.data {
            return error_of(self.operation, self.server, fault, self.request_id);
        }
        let message = body.message.or(body.detail);
        let status = self.status.unwrap_or_default();
        match status {
            422 => Error::InvalidInput {
                field: "the request".to_owned(),
                reason: message.unwrap_or_else(|| "the service refused it".to_owned()),
                source: None,
            },
            504 => Error::Service {
                server: self.server.to_owned(),
                reason: self.with_request_id(message.as_deref(), "it took too long"),
                retryable: true,
                source: None,
            },
            _ => Error::Service {
                server: self.server.to_owned(),
                reason: self.with_request_id(message.as_deref(), &format!("it answered {status}")),
                retryable: matches!(status, 408 | 429 | 502 | 503),
                source: None,
            },
        }
    }

    fn with_request_id(&self, message: Option<&str>, otherwise: &str) -> String {
        with_request_id(message.unwrap_or(otherwise), self.request_id)
    }
}

fn with_request_id(message: &str, request_id: Option<&str>) -> String {
    match request_id {
        Some(id) => format!("{message} (request {id})"),
        None => message.to_owned(),
    }
}

/// The error of a fault.
pub(super) fn error_of(
    operation: &'static str,
    server: &str,
    fault: Fault,
    request_id: Option<&str>,
) -> Error {
    let text = Option::unwrap_or_default;
    match &*fault.kind {
        "invalid_input" => Error::InvalidInput {
            field: text(fault.field),
            reason: text(fault.reason),
            source: None,
        },
        "too_large" => Error::TooLarge {
            what: text(fault.what),
            size: fault.size.unwrap_or_default(),
            limit: fault.limit.unwrap_or_default(),
        },
        "conflict" => Error::Conflict {
            what: text(fault.what),
            reason: text(fault.reason),
        },
        "timeout" => Error::Timeout {
            operation,
            limit: Duration::from_millis(fault.limit.unwrap_or_default() as u64),
            source: None,
        },
        "out_of_memory" => Error::OutOfMemory,
        "unavailable" => Error::Unavailable {
            reason: with_request_id("the service gave no reason; its log has it", request_id),
            source: None,
        },
        kind => Error::Service {
            server: server.to_owned(),
            reason: with_request_id(&format!("it failed ({kind})"), request_id),
            retryable: matches!(kind, "connection" | "closed" | "service"),
            source: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, body: &str) -> Error {
        let problem = Problem {
            operation: "put",
            server: "http://localhost",
            status: Some(status),
            request_id: Some("r1"),
        };
        problem.read(body.as_bytes())
    }

    #[test]
    fn an_error_with_a_kind_round_trips() {
        for error in [
            Error::invalid("thread_id", "it is empty"),
            Error::TooLarge {
                what: "the checkpoint".to_owned(),
                size: 7,
                limit: 5,
            },
            Error::Conflict {
                what: "the copy".to_owned(),
                reason: "it exists".to_owned(),
            },
            Error::OutOfMemory,
            Error::Timeout {
                operation: "put",
                limit: Duration::from_secs(10),
                source: None,
            },
        ] {
            let data = serde_json::to_string(&Fault::from(&error)).unwrap();
            let body = format!(r#"{{"message":"m","code":1,"data":{data}}}"#);
            let found = read(500, &body);
            assert_eq!(found.to_string(), error.to_string());
            assert_eq!(found.is_retryable(), error.is_retryable());
        }
    }

    #[test]
    fn an_error_without_a_kind_is_named_by_its_status() {
        for (status, is_retryable) in [(401, false), (404, false), (500, false), (503, true)] {
            for body in ["", "{}", "<html>", r#"{"detail":"Unauthorized"}"#] {
                let error = read(status, body);
                assert_eq!(error.is_retryable(), is_retryable, "{error}");
                assert!(error.to_string().contains("r1"), "{error}");
            }
        }
        assert!(matches!(read(422, "{}"), Error::InvalidInput { .. }));
    }
}
