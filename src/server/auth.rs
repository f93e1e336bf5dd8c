//! Authentication by API keys, and the threads that a key reaches.

use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::api_keys::ApiKey;
use super::call::Call;
use super::options::Authentication;
use super::problem::Problem;
use super::scopes::Scope;
use super::state::AppState;
use crate::id::ThreadId;

/// The header in which scale-agentex's client sends its key.
pub(super) const API_KEY_HEADER: &str = "x-agent-api-key";

/// The threads that a request may reach.
#[derive(Debug, Clone)]
pub(super) struct Access(Option<Arc<ApiKey>>);

impl Access {
    /// The prefix of the ids of the threads that the request reaches.
    pub(super) fn prefix(&self) -> &str {
        self.0.as_ref().map_or("", |key| &key.prefix)
    }

    /// Whether the request reaches every thread.
    pub(super) fn is_everywhere(&self) -> bool {
        self.prefix().is_empty()
    }

    /// The prefix of the threads that the request asks for by a prefix and that it reaches; `None`
    /// if there are none.
    pub(super) fn within<'a>(&'a self, asked: &'a str) -> Option<&'a str> {
        let reached = self.prefix();
        if asked.starts_with(reached) {
            Some(asked)
        } else {
            reached.starts_with(asked).then_some(reached)
        }
    }

    /// That of a request which was not authenticated, as none needs to be.
    pub(super) fn nobody() -> Self {
        Self(None)
    }

    /// The key, unless authentication is off.
    pub(super) fn key(&self) -> Option<&ApiKey> {
        self.0.as_deref()
    }

    /// Whether the request may do what a scope is for.
    pub(super) fn may(&self, scope: Scope) -> bool {
        self.key().is_none_or(|key| key.scopes.include(scope))
    }

    /// Refuses a request whose key lacks a scope.
    pub(super) fn require(&self, scope: Scope) -> Result<(), Problem> {
        if self.may(scope) {
            return Ok(());
        }
        refused(self.name(), "scope");
        let message = format!("the key does not have the scope `{}`", scope.name());
        Err(Problem::new(StatusCode::FORBIDDEN, message))
    }

    /// The name of the key, for logs.
    pub(super) fn name(&self) -> &str {
        self.0.as_ref().map_or("-", |key| &key.name)
    }

    /// Whether the request reaches a thread.
    pub(super) fn reaches(&self, thread: &ThreadId) -> bool {
        thread.as_str().starts_with(self.prefix())
    }

    /// Refuses a thread that the request does not reach, as if it did not exist.
    pub(super) fn check(&self, thread: &ThreadId) -> Result<(), Problem> {
        if self.reaches(thread) {
            Ok(())
        } else {
            Err(Problem::no_such_thread())
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Access {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let access = parts.extensions.get::<Self>().cloned();
        access.ok_or_else(unauthorized)
    }
}

fn unauthorized() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "Unauthorized")
}

/// Counts a request that a key was refused.
pub(super) fn refused(key: &str, reason: &'static str) {
    let key = key.to_owned();
    metrics::counter!("langgraph_http_key_rejected_total", "key" => key, "reason" => reason)
        .increment(1);
}

/// What a secret gives access to; `None` if it is of no key, or of one that has expired.
fn identify(state: &AppState, secret: &[u8]) -> Option<Access> {
    in_force(state.keys()?.find(secret)?)
}

/// As [`identify`], of a secret that has this hash.
pub(super) fn identify_hashed(state: &AppState, hash: &[u8; 32]) -> Option<Access> {
    in_force(state.keys()?.find_hashed(hash)?)
}

fn in_force(key: Arc<ApiKey>) -> Option<Access> {
    if key.is_expired() {
        refused(&key.name, "expired");
        return None;
    }
    Some(Access(Some(key)))
}

/// Refuses requests without a key or without the scope that their endpoint needs, and attaches an
/// [`Access`] to the others.
pub(super) async fn authenticate(
    State(state): State<AppState>,
    mut request: Request,
    next: Next,
) -> Response {
    let access = match &state.options.authentication {
        Authentication::Keys(_) | Authentication::KeyFile(_) => {
            match secrets(request.headers()).find_map(|secret| identify(&state, secret)) {
                Some(access) => access,
                None => return unauthorized().into_response(),
            }
        }
        // DNS rebinding: a web page must not reach the service under a name of its own.
        Authentication::Off if !is_local(request.headers()) => {
            let message = "without API keys the service answers only to a loopback host name";
            return Problem::new(StatusCode::FORBIDDEN, message).into_response();
        }
        Authentication::Off => Access(None),
    };
    tracing::Span::current().record("key", access.name());
    if let Some(call) = Call::current() {
        call.set_key(access.name());
    }
    let route = request.extensions().get::<MatchedPath>();
    let needed = route.map_or(Scope::Admin, |route| Scope::of(route.as_str()));
    if let Err(problem) = access.require(needed) {
        return problem.into_response();
    }
    request.extensions_mut().insert(access);
    next.run(request).await
}

/// The secrets that a request has in its headers.
fn secrets(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let own = headers.get(API_KEY_HEADER).map(HeaderValue::as_bytes);
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, secret) = value.as_bytes().split_at_checked("Bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"Bearer ").then_some(secret)
    });
    [own, bearer].into_iter().flatten()
}

/// Whether a request names a loopback host, or none.
pub(super) fn is_local(headers: &HeaderMap) -> bool {
    let Some(host) = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
    else {
        return true;
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_are_local() {
        let local = |host: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            is_local(&headers)
        };
        for host in [
            "localhost",
            "LOCALHOST:80",
            "127.0.0.1:8080",
            "[::1]:1",
            "127.9.9.9",
        ] {
            assert!(local(host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:80",
            "10.0.0.1",
            "localhost.evil.example",
            "",
        ] {
            assert!(!local(host), "{host}");
        }
        assert!(is_local(&HeaderMap::new()));
    }
}
