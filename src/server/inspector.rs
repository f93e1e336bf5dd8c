//! The inspector under `/inspector`, behind the same keys as the API, or alone and read only.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, HeaderName};

use super::call::Call;
use super::options::Authentication;
use super::scopes::Scope;
use super::state::AppState;
use super::{audit, auth};
use crate::id::ThreadId;
use crate::inspector::{Entrance, Gate, Viewer, router};

/// Where the inspector is beside the API.
const BASE: &str = "/inspector";

/// The header by which a proxy says how the browser has connected.
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The pages beside the API.
pub(super) fn beside(state: &AppState) -> Router {
    router(state.saver.clone(), Arc::new(Keys(state.clone())), BASE)
}

/// The pages alone, for whoever has the token of this hash; nothing can be changed.
pub(super) fn alone(state: &AppState, token: [u8; 32]) -> Router {
    let gate = Token {
        state: state.clone(),
        hash: token,
    };
    router(state.saver.clone(), Arc::new(gate), "")
}

/// Lets in whom the API would.
#[derive(Debug)]
struct Keys(AppState);

impl Gate for Keys {
    fn entrance(&self) -> Entrance {
        match self.0.options.authentication {
            Authentication::Keys(_) | Authentication::KeyFile(_) => Entrance::Key,
            Authentication::Off => Entrance::Open,
        }
    }

    fn admits(&self, headers: &HeaderMap) -> bool {
        self.entrance() == Entrance::Key || auth::is_local(headers)
    }

    fn viewer(&self, hash: &[u8; 32]) -> Option<Viewer> {
        let access = auth::identify_hashed(&self.0, hash)?;
        access.may(Scope::Read).then(|| Viewer {
            name: access.name().to_owned(),
            prefix: access.prefix().to_owned(),
            may_write: access.may(Scope::Write),
            may_remove: access.may(Scope::Admin),
        })
    }

    fn anybody(&self) -> Viewer {
        Viewer {
            name: "-".to_owned(),
            prefix: String::new(),
            may_write: true,
            may_remove: true,
        }
    }

    fn is_secure(&self, headers: &HeaderMap) -> bool {
        let forwarded = headers.get(FORWARDED_PROTO);
        self.0.options.tls.is_some()
            || forwarded.is_some_and(|scheme| scheme.as_bytes().eq_ignore_ascii_case(b"https"))
    }

    fn changes(&self, viewer: &Viewer, thread: &ThreadId, source: Option<&ThreadId>) {
        if let Some(call) = Call::current() {
            call.set_key(&viewer.name);
        }
        match source {
            Some(source) => audit::copy(source, thread),
            None => audit::thread(thread),
        }
    }

    fn is_draining(&self) -> bool {
        self.0.is_draining()
    }
}

/// Lets in who has a token, to look at everything and change nothing.
#[derive(Debug)]
struct Token {
    state: AppState,
    hash: [u8; 32],
}

impl Gate for Token {
    fn entrance(&self) -> Entrance {
        Entrance::Token
    }

    fn admits(&self, headers: &HeaderMap) -> bool {
        auth::is_local(headers)
    }

    fn viewer(&self, hash: &[u8; 32]) -> Option<Viewer> {
        use subtle::ConstantTimeEq;
        bool::from(self.hash.ct_eq(hash)).then(|| self.anybody())
    }

    fn anybody(&self) -> Viewer {
        Viewer {
            name: "inspect".to_owned(),
            prefix: String::new(),
            may_write: false,
            may_remove: false,
        }
    }

    fn is_secure(&self, _headers: &HeaderMap) -> bool {
        false
    }

    /// There is nothing that changes anything.
    fn changes(&self, _: &Viewer, _: &ThreadId, _: Option<&ThreadId>) {}

    fn is_draining(&self) -> bool {
        self.state.is_draining()
    }
}
