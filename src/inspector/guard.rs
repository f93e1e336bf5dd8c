//! What every request passes: the headers of each response, who comes in, and the limits.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use subtle::ConstantTimeEq;

use super::entry;
use super::failure::Failure;
use super::gate::{Entrance, Viewer};
use super::pages;
use super::parameters::Parameters;
use super::session;
use super::site::{Site, Visit};

/// How long a page may take to be made.
const TIME: Duration = Duration::from_secs(30);

/// What a page may load and where it may send forms: only here. No script or style is in a page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      img-src 'self' data:; connect-src 'self'; form-action 'self'; \
                      frame-ancestors 'none'; base-uri 'none'";

/// Gives every response the headers that protect it.
pub(super) async fn protect(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // With `no-referrer` browsers would send forms from no origin, which are refused.
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Styles and scripts alone say for themselves how long they stay.
    let entry = headers.entry(header::CACHE_CONTROL);
    entry.or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Refuses requests that name a host which they may not.
pub(super) async fn admit(State(site): State<Site>, request: Request, next: Next) -> Response {
    if site.gate.admits(request.headers()) {
        return next.run(request).await;
    }
    let message = "The inspector answers only to a loopback host name, such as 127.0.0.1.";
    pages::failed(&site, None, &Failure::new(StatusCode::FORBIDDEN, message))
}

/// Finds out who comes in, and sends everybody else to the entrance.
pub(super) async fn enter(State(site): State<Site>, mut request: Request, next: Next) -> Response {
    if let Some(visit) = visit_of(&site, request.headers()) {
        tracing::Span::current().record("key", visit.viewer.name.as_str());
        request.extensions_mut().insert(visit);
        return next.run(request).await;
    }
    let is_page = request.method() == Method::GET;
    let query = request.uri().query().unwrap_or_default();
    if is_page && site.gate.entrance() == Entrance::Token {
        let parameters = Parameters::parse(query.as_bytes());
        let token = parameters.get("token");
        if !token.is_empty() {
            return entry::come_in(&site, request.headers(), token.as_bytes(), "");
        }
    }
    if is_page && site.gate.entrance() == Entrance::Key {
        let path = request.uri().path().strip_prefix(site.base);
        let wanted = path.map(|path| path.trim_start_matches('/'));
        let wanted = match (wanted, query) {
            (None | Some("" | "events"), _) => String::new(),
            (Some(path), "") => path.to_owned(),
            (Some(path), query) => format!("{path}?{query}"),
        };
        let login = if wanted.is_empty() {
            site.links().page("login", &[])
        } else {
            site.links().page("login", &[("then", &wanted)])
        };
        return Redirect::to(&login).into_response();
    }
    let message = match site.gate.entrance() {
        Entrance::Token => {
            "Open the address that `langgraph-redis inspect` has printed: it has the token that lets you in."
        }
        Entrance::Key | Entrance::Open => "The session has ended: log in again.",
    };
    pages::failed(
        &site,
        None,
        &Failure::new(StatusCode::UNAUTHORIZED, message),
    )
}

/// The visit that a request is part of: of the session of its cookie, as long as the key is good.
pub(super) fn visit_of(site: &Site, headers: &HeaderMap) -> Option<Visit> {
    if site.gate.entrance() == Entrance::Open {
        return Some(Visit {
            viewer: site.gate.anybody(),
            csrf: site.open_csrf.clone(),
            cookie: None,
        });
    }
    let cookie = cookie_of(site, headers)?;
    let session = site.sessions.find(cookie)?;
    let Some(viewer) = site.gate.viewer(&session.key) else {
        site.sessions.close(cookie);
        return None;
    };
    Some(Visit {
        viewer,
        csrf: session.csrf,
        cookie: Some(cookie.to_owned()),
    })
}

/// Who has a session, if it goes on.
pub(super) fn still_there(site: &Site, visit: &Visit) -> Option<Viewer> {
    match &visit.cookie {
        None => Some(visit.viewer.clone()),
        Some(cookie) => site.gate.viewer(&site.sessions.find(cookie)?.key),
    }
}

fn cookie_of<'a>(site: &Site, headers: &'a HeaderMap) -> Option<&'a str> {
    let cookies = headers.get_all(header::COOKIE).into_iter();
    let cookies = cookies.filter_map(|cookies| cookies.to_str().ok());
    cookies
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .find_map(|(name, value)| (name == site.cookie).then_some(value))
}

/// Refuses a form that another site has sent, as far as the browser says where it comes from.
pub(super) fn check_origin(headers: &HeaderMap) -> Result<(), Failure> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    if let Some(site) = text("sec-fetch-site")
        && site != "same-origin"
    {
        return Err(Failure::forged());
    }
    if let Some(origin) = text("origin") {
        let host = origin.split_once("://").map(|(_, host)| host);
        if host.is_none() || host != text("host") {
            return Err(Failure::forged());
        }
    }
    Ok(())
}

/// Refuses a form that has not come from a page of the visit.
pub(super) fn check_form(
    visit: &Visit,
    headers: &HeaderMap,
    form: &Parameters,
) -> Result<(), Failure> {
    check_origin(headers)?;
    let given = session::hash(form.get("csrf").as_bytes());
    let wanted = session::hash(visit.csrf.as_bytes());
    if bool::from(given.ct_eq(&wanted)) {
        Ok(())
    } else {
        Err(Failure::forged())
    }
}

/// Makes a page if not too many are being made, and within the time for it.
pub(super) async fn limit(State(site): State<Site>, request: Request, next: Next) -> Response {
    let visit = request.extensions().get::<Visit>().cloned();
    let failed = |status: StatusCode, message: &str| {
        let failure = Failure::new(status, message);
        pages::failed(&site, visit.as_ref(), &failure)
    };
    let Ok(permit) = site.pages.clone().try_acquire_owned() else {
        return failed(
            StatusCode::SERVICE_UNAVAILABLE,
            "Too many pages are being made; try again in a moment.",
        );
    };
    let made = tokio::time::timeout(TIME, next.run(request)).await;
    drop(permit);
    made.unwrap_or_else(|_| {
        failed(
            StatusCode::GATEWAY_TIMEOUT,
            "The page took too long to be made; ask for less, or use the command line.",
        )
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::id::ThreadId;
    use crate::inspector::gate::Gate;
    use crate::memory::MemorySaver;
    use crate::observed::ObservedSaver;

    /// Has one key, until it is taken away.
    #[derive(Debug)]
    struct OneKey(Arc<AtomicBool>);

    impl Gate for OneKey {
        fn entrance(&self) -> Entrance {
            Entrance::Key
        }

        fn admits(&self, _headers: &HeaderMap) -> bool {
            true
        }

        fn viewer(&self, _hash: &[u8; 32]) -> Option<Viewer> {
            let is_there = self.0.load(Ordering::Relaxed);
            is_there.then(|| self.anybody())
        }

        fn anybody(&self) -> Viewer {
            Viewer {
                name: "a key".to_owned(),
                prefix: String::new(),
                may_write: true,
                may_remove: true,
            }
        }

        fn is_secure(&self, _headers: &HeaderMap) -> bool {
            false
        }

        fn changes(&self, _: &Viewer, _: &ThreadId, _: Option<&ThreadId>) {}

        fn is_draining(&self) -> bool {
            false
        }
    }

    #[test]
    fn a_session_ends_when_its_key_is_taken_away() {
        let is_there = Arc::new(AtomicBool::new(true));
        let saver: Arc<dyn crate::blobs::BlobStore> = Arc::new(MemorySaver::new());
        let gate = Arc::new(OneKey(Arc::clone(&is_there)));
        let site = Site::new(ObservedSaver::new(saver), gate, "");
        let cookie = site.sessions.open([1; 32]).unwrap();
        let mut headers = HeaderMap::new();
        let sent = format!("other=1; {}={cookie}", site.cookie);
        headers.insert(header::COOKIE, HeaderValue::from_str(&sent).unwrap());
        let visit = visit_of(&site, &headers).unwrap();
        assert!(still_there(&site, &visit).is_some());
        is_there.store(false, Ordering::Relaxed);
        assert!(still_there(&site, &visit).is_none());
        assert!(visit_of(&site, &headers).is_none());
        // It does not come back with the key.
        is_there.store(true, Ordering::Relaxed);
        assert!(visit_of(&site, &headers).is_none());
    }

    #[test]
    fn a_form_is_taken_from_its_own_origin_alone() {
        let check = |given: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in given {
                headers.insert(*name, HeaderValue::from_static(value));
            }
            check_origin(&headers).is_ok()
        };
        let host = ("host", "inspector.example:8080");
        assert!(check(&[host]));
        assert!(check(&[host, ("sec-fetch-site", "same-origin")]));
        assert!(check(&[host, ("origin", "https://inspector.example:8080")]));
        for foreign in ["cross-site", "same-site", "none", ""] {
            assert!(!check(&[host, ("sec-fetch-site", foreign)]), "{foreign}");
        }
        for foreign in [
            "null",
            "https://evil.example",
            "https://inspector.example",
            "http://inspector.example:80801",
            "",
        ] {
            assert!(!check(&[host, ("origin", foreign)]), "{foreign}");
        }
        assert!(!check(&[("origin", "https://inspector.example:8080")]));
    }
}
