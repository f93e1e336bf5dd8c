//! Who may look, and at what: asked of whoever serves the inspector.

use std::fmt::Debug;

use axum::http::HeaderMap;

use crate::id::ThreadId;

/// What the inspector asks of whoever serves it.
pub(crate) trait Gate: Debug + Send + Sync + 'static {
    /// How people come in.
    fn entrance(&self) -> Entrance;

    /// Whether a request is answered at all: it may be refused by the host that it names.
    fn admits(&self, headers: &HeaderMap) -> bool;

    /// Who has the key of this SHA-256 hash; `None` if there is no such key, or none any more.
    fn viewer(&self, hash: &[u8; 32]) -> Option<Viewer>;

    /// Who looks where there are no keys.
    fn anybody(&self) -> Viewer;

    /// Whether the browser's connection is encrypted.
    fn is_secure(&self, headers: &HeaderMap) -> bool;

    /// Takes down that the current request changes a thread, or makes one as a copy of another.
    fn changes(&self, viewer: &Viewer, thread: &ThreadId, source: Option<&ThreadId>);

    /// Whether the shutdown has begun.
    fn is_draining(&self) -> bool;
}

/// How people come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entrance {
    /// With an API key, in a form.
    Key,
    /// With the token in the URL that was printed.
    Token,
    /// Everybody who reaches the service.
    Open,
}

/// Who looks, and what is shown.
#[derive(Debug, Clone)]
pub(crate) struct Viewer {
    /// The name of the key.
    pub(crate) name: String,
    /// The prefix of the ids of the threads that are shown.
    pub(crate) prefix: String,
    /// Whether threads may be copied and pinned.
    pub(crate) may_write: bool,
    /// Whether threads may be deleted and pruned.
    pub(crate) may_remove: bool,
}

impl Viewer {
    /// Whether every thread is shown, and with them what concerns all.
    pub(super) fn is_everywhere(&self) -> bool {
        self.prefix.is_empty()
    }

    /// Whether a thread is shown.
    pub(super) fn reaches(&self, thread: &ThreadId) -> bool {
        thread.as_str().starts_with(&self.prefix)
    }

    /// The prefix of the threads that are asked for by a prefix and shown; `None` if there are
    /// none.
    pub(super) fn within<'a>(&'a self, asked: &'a str) -> Option<&'a str> {
        if asked.starts_with(&self.prefix) {
            Some(asked)
        } else {
            self.prefix.starts_with(asked).then_some(&self.prefix)
        }
    }
}
