//! The pages by their addresses.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};

use super::assets::{self, SCRIPT_NAME, STYLE_NAME};
use super::failure::Failure;
use super::form::Form;
use super::gate::{Entrance, Gate};
use super::pages::confirm::Action;
use super::parameters::Parameters;
use super::site::{Site, Visit};
use super::{actions, bundle, entry, guard, live, pages};
use crate::blobs::BlobStore;
use crate::observed::ObservedSaver;

/// The pages below a path, `""` for the root, over a saver.
pub(crate) fn router(
    saver: ObservedSaver<Arc<dyn BlobStore>>,
    gate: Arc<dyn Gate>,
    base: &'static str,
) -> Router {
    let site = Site::new(saver, gate, base);
    let at = |path: &str| format!("{base}/{path}");
    let mut made = Router::new()
        .route(&at(""), get(pages::threads::show))
        .route(&at("thread"), get(pages::thread::show))
        .route(&at("checkpoint"), get(pages::checkpoint::show))
        .route(&at("raw"), get(pages::checkpoint::raw))
        .route(&at("compare"), get(pages::checkpoint::compare))
        .route(&at("waiting"), get(pages::waiting::show))
        .route(&at("memory"), get(pages::memory::show))
        .route(&at("health"), get(pages::health::show))
        .route(&at("bundle"), get(bundle::download));
    // Where nothing may be changed there is nothing that changes.
    if site.gate.entrance() != Entrance::Token {
        for action in Action::ALL {
            let ask = move |site: State<Site>, visit: Visit, parameters: Parameters| {
                actions::ask(action, site, visit, parameters)
            };
            let act = move |site: State<Site>,
                            visit: Visit,
                            parameters: Parameters,
                            headers: HeaderMap,
                            form: Form| {
                actions::act(action, site, visit, parameters, headers, form)
            };
            made = made.route(&at(action.path()), get(ask).post(act));
        }
        made = made.route(&at("done"), get(pages::confirm::done));
    }
    if site.gate.entrance() == Entrance::Key {
        made = made.route(&at("logout"), post(entry::log_out));
    }
    let made = made
        .route(&at("{*rest}"), get(no_such_page))
        .layer(from_fn_with_state(site.clone(), guard::limit))
        .layer(from_fn_with_state(site.clone(), guard::enter));
    // A page that watches a thread is open for long, and has a limit of its own.
    let watched = Router::new()
        .route(&at("events"), get(live::events))
        .layer(from_fn_with_state(site.clone(), guard::enter));
    let mut router = Router::new()
        .merge(made)
        .merge(watched)
        .route(&at(&STYLE_NAME), get(assets::style))
        .route(&at(&SCRIPT_NAME), get(assets::script));
    if site.gate.entrance() == Entrance::Key {
        router = router.route(&at("login"), get(entry::login).post(entry::log_in));
    }
    if !base.is_empty() {
        let home = at("");
        router = router.route(base, get(async move || Redirect::to(&home)));
    }
    router
        .method_not_allowed_fallback(not_allowed)
        .layer(from_fn_with_state(site.clone(), guard::admit))
        .layer(from_fn(guard::protect))
        .with_state(site)
}

async fn no_such_page(State(site): State<Site>, visit: Visit) -> Response {
    let failure = Failure::new(StatusCode::NOT_FOUND, "There is no such page.");
    pages::failed(&site, Some(&visit), &failure)
}

async fn not_allowed(State(site): State<Site>, _request: Request) -> Response {
    let message = "The page does not take this.";
    let failure = Failure::new(StatusCode::METHOD_NOT_ALLOWED, message);
    pages::failed(&site, None, &failure).into_response()
}
