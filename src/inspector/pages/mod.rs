//! The pages, each a module, and the frame around them.

mod changed;
pub(super) mod checkpoint;
pub(super) mod confirm;
pub(super) mod health;
pub(super) mod memory;
mod questions;
pub(super) mod thread;
pub(super) mod threads;
pub(super) mod waiting;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use super::assets::{SCRIPT_NAME, STYLE_NAME};
use super::failure::Failure;
use super::gate::Entrance;
use super::parts::{Id, Stored};
use super::site::{Shared, Site, Visit};

/// The result of a page.
pub(super) type Page = Result<Response, Shown>;

/// A failure with what its page needs.
pub(super) struct Shown(Box<Response>);

impl IntoResponse for Shown {
    fn into_response(self) -> Response {
        *self.0
    }
}

/// The pages that the navigation names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tab {
    Threads,
    Waiting,
    Memory,
    Health,
    /// None of them.
    Other,
}

const TABS: [(Tab, &str, &str); 4] = [
    (Tab::Threads, "Threads", ""),
    (Tab::Waiting, "Waiting", "waiting"),
    (Tab::Memory, "Memory", "memory"),
    (Tab::Health, "Health", "health"),
];

/// Turns a failure into its page.
pub(super) fn or_failed(site: &Site, visit: &Visit) -> impl Fn(Failure) -> Shown {
    move |failure| Shown(Box::new(failed(site, Some(visit), &failure)))
}

/// A page within the frame.
pub(super) fn page(
    site: &Site,
    visit: &Visit,
    tab: Tab,
    title: &str,
    content: &Markup,
) -> Response {
    respond(
        StatusCode::OK,
        &frame(site, Some(visit), tab, title, content),
    )
}

/// The page of a failure.
pub(super) fn failed(site: &Site, visit: Option<&Visit>, failure: &Failure) -> Response {
    let title = failure.status.canonical_reason().unwrap_or("Failure");
    let content = html! {
        h1 { (title) }
        p.problem role="alert" { (failure.message) }
        @if visit.is_some() {
            p { a href=(site.links().page("", &[])) { "All threads" } }
        }
    };
    let content = frame(site, visit, Tab::Other, title, &content);
    respond(failure.status, &content)
}

/// The form for the key.
pub(super) fn login(site: &Site, then: &str, status: StatusCode) -> Response {
    let content = html! {
        h1 { "Log in" }
        @if status != StatusCode::OK {
            p.problem role="alert" { "The key is not known, or has expired." }
        }
        form.stacked method="post" action=(site.links().page("login", &[])) {
            input type="hidden" name="then" value=(then);
            label for="key" { "API key" }
            input #key type="password" name="key" required autofocus autocomplete="current-password";
            p.hint { "The key of the HTTP service. It is sent once, and this browser gets a session of 12 hours." }
            button type="submit" { "Log in" }
        }
    };
    respond(status, &frame(site, None, Tab::Other, "Log in", &content))
}

fn respond(status: StatusCode, content: &Markup) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
    (status, kind, content.0.clone()).into_response()
}

fn frame(site: &Shared, visit: Option<&Visit>, tab: Tab, title: &str, content: &Markup) -> Markup {
    let links = site.links();
    let asset = |name: &str| format!("{}/{name}", site.base);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (Stored(title)) " · LangGraph inspector" }
                link rel="icon" href="data:,";
                link rel="stylesheet" href=(asset(&STYLE_NAME));
                script src=(asset(&SCRIPT_NAME)) defer {}
            }
            body {
                a.skip href="#content" { "Skip to the content" }
                header.top {
                    a.home href=(links.page("", &[])) { "LangGraph " span.faint { "inspector" } }
                    @if let Some(visit) = visit {
                        nav aria-label="Pages" {
                            @for (other, name, path) in TABS {
                                a href=(links.page(path, &[])) aria-current=[(other == tab).then_some("page")] { (name) }
                            }
                        }
                        (who(site, visit))
                    }
                }
                main #content tabindex="-1" { (content) }
                footer {
                    span { "langgraph-redis " (env!("CARGO_PKG_VERSION")) }
                    @if visit.is_some() {
                        span.keys { kbd { "j" } " " kbd { "k" } " move · " kbd { "Enter" } " open · " kbd { "/" } " filter" }
                    }
                }
            }
        }
    }
}

/// Who looks, and the way out.
fn who(site: &Shared, visit: &Visit) -> Markup {
    let viewer = &visit.viewer;
    html! {
        div.who {
            @if !viewer.may_write && !viewer.may_remove {
                span.badge { "read only" }
            }
            @if !viewer.prefix.is_empty() {
                span.badge title="The threads that this key reaches" { (Id(&viewer.prefix)) "…" }
            }
            @if site.gate.entrance() == Entrance::Key {
                span.name { (Id(&viewer.name)) }
                form method="post" action=(site.links().page("logout", &[])) {
                    input type="hidden" name="csrf" value=(visit.csrf);
                    button.plain type="submit" { "Log out" }
                }
            }
        }
    }
}

/// The links to the pages before and after, if there are any.
pub(super) fn pager(before: Option<String>, after: Option<String>, note: &str) -> Markup {
    html! {
        @if before.is_some() || after.is_some() || !note.is_empty() {
            nav.pager aria-label="Pages of the list" {
                @if let Some(before) = before { a rel="prev" href=(before) { "← Newer" } }
                @if let Some(after) = after { a rel="next" href=(after) { "Older →" } }
                @if !note.is_empty() { span.faint { (note) } }
            }
        }
    }
}
