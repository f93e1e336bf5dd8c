//! What the pages share, and one visit of a page.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use tokio::sync::Semaphore;

use super::failure::Failure;
use super::gate::{Entrance, Gate, Viewer};
use super::links::Links;
use super::session::{self, Sessions};
use crate::blobs::BlobStore;
use crate::observed::ObservedSaver;

/// How many pages are made at the same time, and how many threads are watched: more are refused.
const MAX_PAGES: usize = 32;
const MAX_WATCHED: usize = 64;

/// What the pages share; cloning is cheap.
#[derive(Debug, Clone)]
pub(super) struct Site(Arc<Shared>);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) saver: ObservedSaver<Arc<dyn BlobStore>>,
    pub(super) gate: Arc<dyn Gate>,
    /// The path below which the pages are; `""` for the root.
    pub(super) base: &'static str,
    pub(super) sessions: Sessions,
    /// What a form must hold where there are no sessions.
    pub(super) open_csrf: String,
    /// The name of the cookie. Browsers share cookies between the ports of a host.
    pub(super) cookie: String,
    pub(super) pages: Arc<Semaphore>,
    pub(super) watched: Arc<Semaphore>,
    /// One examination of all keys at a time.
    pub(super) examinations: Semaphore,
}

impl Site {
    pub(super) fn new(
        saver: ObservedSaver<Arc<dyn BlobStore>>,
        gate: Arc<dyn Gate>,
        base: &'static str,
    ) -> Self {
        let cookie = match gate.entrance() {
            Entrance::Token => format!("langgraph_inspect_{}", &session::secret()[..8]),
            Entrance::Key | Entrance::Open => "langgraph_inspector".to_owned(),
        };
        Self(Arc::new(Shared {
            saver,
            gate,
            base,
            sessions: Sessions::default(),
            open_csrf: session::secret(),
            cookie,
            pages: Arc::new(Semaphore::new(MAX_PAGES)),
            watched: Arc::new(Semaphore::new(MAX_WATCHED)),
            examinations: Semaphore::new(1),
        }))
    }
}

impl std::ops::Deref for Site {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Shared {
    pub(super) fn links(&self) -> Links<'_> {
        Links(self.base)
    }
}

/// One visit of a page: by whom, and what a form of it must hold.
#[derive(Debug, Clone)]
pub(super) struct Visit {
    pub(super) viewer: Viewer,
    pub(super) csrf: String,
    /// The cookie of the session; `None` where there are no sessions.
    pub(super) cookie: Option<String>,
}

impl<S: Sync> FromRequestParts<S> for Visit {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Failure> {
        let visit = parts.extensions.get::<Self>().cloned();
        visit.ok_or_else(|| {
            Failure::new(
                axum::http::StatusCode::UNAUTHORIZED,
                "Nobody has come in with this request.",
            )
        })
    }
}
