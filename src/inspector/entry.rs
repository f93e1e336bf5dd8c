//! Coming in with a key, and going out.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};

use super::failure::Failure;
use super::form::Form;
use super::gate::Entrance;
use super::guard;
use super::pages;
use super::parameters::Parameters;
use super::session::{self, LIFETIME};
use super::site::{Site, Visit};

/// The form for the key.
pub(super) async fn login(
    State(site): State<Site>,
    headers: HeaderMap,
    parameters: Parameters,
) -> Response {
    if site.gate.entrance() != Entrance::Key || guard::visit_of(&site, &headers).is_some() {
        return Redirect::to(&site.links().page("", &[])).into_response();
    }
    pages::login(&site, parameters.get("then"), StatusCode::OK)
}

/// Opens a session for a key.
pub(super) async fn log_in(State(site): State<Site>, headers: HeaderMap, form: Form) -> Response {
    if let Err(failure) = guard::check_origin(&headers) {
        return pages::failed(&site, None, &failure);
    }
    let Form(form) = form;
    come_in(
        &site,
        &headers,
        form.get("key").as_bytes(),
        form.get("then"),
    )
}

/// Opens a session for a key or token, and goes on to a page.
pub(super) fn come_in(site: &Site, headers: &HeaderMap, secret: &[u8], then: &str) -> Response {
    let key = session::hash(secret);
    let Some(viewer) = site.gate.viewer(&key) else {
        tracing::warn!("somebody tried to come into the inspector with an unknown key");
        return match site.gate.entrance() {
            Entrance::Key => pages::login(site, then, StatusCode::UNAUTHORIZED),
            Entrance::Token | Entrance::Open => {
                let message = "The token is not the one of this process: open the address that it has printed.";
                pages::failed(site, None, &Failure::new(StatusCode::UNAUTHORIZED, message))
            }
        };
    };
    let Some(cookie) = site.sessions.open(key) else {
        let message = "Too many sessions are open; try again later.";
        let failure = Failure::new(StatusCode::SERVICE_UNAVAILABLE, message);
        return pages::failed(site, None, &failure);
    };
    tracing::info!(key = viewer.name, "a session of the inspector was opened");
    let cookie = set_cookie(site, headers, &cookie, LIFETIME.as_secs());
    let to = format!("{}/{}", site.base, safe(then));
    ([(header::SET_COOKIE, cookie)], Redirect::to(&to)).into_response()
}

/// Ends the session.
pub(super) async fn log_out(
    State(site): State<Site>,
    visit: Visit,
    headers: HeaderMap,
    form: Form,
) -> Response {
    let Form(form) = form;
    if let Err(failure) = guard::check_form(&visit, &headers, &form) {
        return pages::failed(&site, Some(&visit), &failure);
    }
    if let Some(cookie) = &visit.cookie {
        site.sessions.close(cookie);
    }
    let cookie = set_cookie(&site, &headers, "", 0);
    let to = site.links().page("login", &[]);
    ([(header::SET_COOKIE, cookie)], Redirect::to(&to)).into_response()
}

fn set_cookie(site: &Site, headers: &HeaderMap, value: &str, seconds: u64) -> HeaderValue {
    let secure = if site.gate.is_secure(headers) {
        "; Secure"
    } else {
        ""
    };
    let path = if site.base.is_empty() { "/" } else { site.base };
    let cookie = format!(
        "{}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}",
        site.cookie
    );
    // It is made of visible ASCII.
    HeaderValue::from_str(&cookie).unwrap_or(HeaderValue::from_static(""))
}

/// A page below the inspector's path; none if the text could lead elsewhere.
fn safe(then: &str) -> &str {
    let path = then.split('?').next().unwrap_or_default();
    let is_page = path.bytes().all(|byte| byte.is_ascii_lowercase());
    let is_plain = then.bytes().all(|byte| byte.is_ascii_graphic());
    if is_page && is_plain { then } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_the_login_it_goes_to_a_page_of_the_inspector_alone() {
        for good in ["", "thread?id=a%2F..%2Fb", "memory"] {
            assert_eq!(safe(good), good);
        }
        for bad in [
            "/evil.example",
            "//evil.example",
            "https://evil.example",
            "..",
            "thread?id=a b",
            "thread?id=\r\nset-cookie: a=b",
            "\\evil.example",
        ] {
            assert_eq!(safe(bad), "", "{bad}");
        }
    }
}
