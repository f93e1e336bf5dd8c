//! The style and the script, under names that change with what they hold.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::session;

const STYLE: &str = include_str!("assets/inspector.css");
const SCRIPT: &str = include_str!("assets/inspector.js");

/// The name of the style below the path of the inspector.
pub(super) static STYLE_NAME: LazyLock<String> = LazyLock::new(|| named(STYLE, "css"));
/// The name of the script.
pub(super) static SCRIPT_NAME: LazyLock<String> = LazyLock::new(|| named(SCRIPT, "js"));

fn named(text: &str, ending: &str) -> String {
    let hash = session::hex(&session::hash(text.as_bytes()));
    format!("assets/{}.{ending}", &hash[..16])
}

pub(super) async fn style() -> Response {
    asset(STYLE, "text/css; charset=utf-8")
}

pub(super) async fn script() -> Response {
    asset(SCRIPT, "text/javascript; charset=utf-8")
}

fn asset(text: &'static str, kind: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (
            header::CACHE_CONTROL,
            "private, max-age=31536000, immutable",
        ),
    ];
    (headers, text).into_response()
}
