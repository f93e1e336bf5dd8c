//! A call of the service, from the head of its request to the end of its response.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::http::{Method, StatusCode};
use tracing::Span;

use super::audit::{self, Audit, Change};

tokio::task_local! {
    static CURRENT: Call;
}

/// A call that is being served. Clones are the same call.
#[derive(Debug, Clone)]
pub(super) struct Call(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    request_id: String,
    route: String,
    span: Span,
    start: Instant,
    progress: Mutex<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    /// What the call changes; `None` if it only reads, or once the audit line was written.
    audit: Option<Audit>,
    /// Whether the response is sent while the call goes on, so that its head does not say how the
    /// call ends.
    is_streamed: bool,
    /// Whether the handler was dropped before it had a response.
    is_interrupted: bool,
    has_ended: bool,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Ok,
    /// The caller's fault, or more than a limit allows; nothing was changed.
    Refused(Option<&'static str>),
    /// The kind of the error, if there was one.
    Failed(Option<&'static str>),
    /// The reason for which nobody waits for the call any more.
    Abandoned(&'static str),
}

impl Outcome {
    /// The client closed the connection, or the service closed it at the end of a shutdown.
    pub(super) const DISCONNECTED: Self = Self::Abandoned("disconnected");
    /// The request took longer than `request_timeout`.
    pub(super) const TIMED_OUT: Self = Self::Abandoned("request_timeout");
    /// The code of the service panicked.
    pub(super) const PANICKED: Self = Self::Failed(Some("panic"));

    /// The outcome of an error.
    pub(super) fn of(status: StatusCode, kind: Option<&'static str>) -> Self {
        // Without an error of the saver, 503 means a limit of the service.
        let is_limit = status == StatusCode::SERVICE_UNAVAILABLE && kind.is_none();
        if status.is_server_error() && !is_limit {
            Self::Failed(kind)
        } else if status.is_client_error() || is_limit {
            Self::Refused(kind)
        } else {
            Self::Ok
        }
    }

    /// The outcome in one word.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused(_) => "refused",
            Self::Failed(_) => "failed",
            Self::Abandoned(_) => "abandoned",
        }
    }

    /// The kind of the error, or the reason for which the call was abandoned.
    pub(super) fn kind(self) -> Option<&'static str> {
        match self {
            Self::Ok => None,
            Self::Refused(kind) | Self::Failed(kind) => kind,
            Self::Abandoned(reason) => Some(reason),
        }
    }
}

impl Call {
    pub(super) fn start(
        request_id: &str,
        method: &Method,
        route: &str,
        peer: Option<String>,
        shows_threads: bool,
        span: Span,
    ) -> Self {
        let progress = Progress {
            audit: audit::operation_of(method, route)
                .map(|operation| Audit::new(operation, peer, shows_threads)),
            ..Progress::default()
        };
        Self(Arc::new(Shared {
            request_id: request_id.to_owned(),
            route: route.to_owned(),
            span,
            start: Instant::now(),
            progress: Mutex::new(progress),
        }))
    }

    /// The call that the current task serves.
    pub(super) fn current() -> Option<Self> {
        CURRENT.try_with(Self::clone).ok()
    }

    /// Makes this the current call of a future.
    pub(super) fn serve<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        CURRENT.scope(self.clone(), future)
    }

    pub(super) fn request_id(&self) -> &str {
        &self.0.request_id
    }

    pub(super) fn span(&self) -> &Span {
        &self.0.span
    }

    pub(super) fn start_time(&self) -> Instant {
        self.0.start
    }

    /// Sets the name of the key that was used.
    pub(super) fn set_key(&self, name: &str) {
        if let Some(audit) = &mut self.progress().audit {
            audit.set_key(name);
        }
    }

    /// Sets what the call changes.
    pub(super) fn set_changes(&self, changes: impl FnOnce(&Audit) -> Vec<Change>) {
        if let Some(audit) = &mut self.progress().audit {
            let changes = changes(audit);
            audit.set_changes(changes);
        }
    }

    /// Says that the call goes on while its response is sent: [`end`](Self::end) is called later.
    pub(super) fn stream(&self) {
        self.progress().is_streamed = true;
    }

    pub(super) fn is_streamed(&self) -> bool {
        self.progress().is_streamed
    }

    /// Says that the handler was dropped before it had a response.
    pub(super) fn interrupt(&self) {
        self.progress().is_interrupted = true;
    }

    pub(super) fn is_interrupted(&self) -> bool {
        self.progress().is_interrupted
    }

    /// Ends the call, once: counts it if it failed or was abandoned, and writes its audit line.
    pub(super) fn end(&self, outcome: Outcome, status: Option<StatusCode>) {
        let audit = {
            let mut progress = self.progress();
            if std::mem::replace(&mut progress.has_ended, true) {
                return;
            }
            progress.audit.take()
        };
        let Shared { route, span, .. } = &*self.0;
        #[cfg(feature = "otlp")]
        if matches!(outcome, Outcome::Failed(_) | Outcome::Abandoned(_)) {
            crate::otlp::fail(span, outcome.kind());
        }
        match outcome {
            Outcome::Ok => {}
            Outcome::Abandoned(reason) => {
                tracing::info!(parent: span, reason, "abandoned");
                metrics::counter!(
                    "langgraph_http_abandoned_total", "route" => route.clone(), "reason" => reason
                )
                .increment(1);
            }
            Outcome::Refused(kind) | Outcome::Failed(kind) => {
                if let Some(kind) = kind {
                    metrics::counter!(
                        "langgraph_http_errors_total", "route" => route.clone(), "kind" => kind
                    )
                    .increment(1);
                }
            }
        }
        if let Some(audit) = audit {
            let took = self.0.start.elapsed();
            audit.write(&self.0.request_id, route, outcome, status, took);
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        // No code that can panic runs with the lock but for a shallow copy of ids.
        self.0
            .progress
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a call as abandoned if it has not ended when this is dropped.
#[derive(Debug)]
pub(super) struct EndsCall(pub(super) Call);

impl Drop for EndsCall {
    fn drop(&mut self) {
        let outcome = if std::thread::panicking() {
            Outcome::PANICKED
        } else {
            Outcome::DISCONNECTED
        };
        self.0.end(outcome, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_refuses_and_a_store_that_is_down_fails() {
        let of = |status: u16, kind| Outcome::of(StatusCode::from_u16(status).unwrap(), kind);
        assert_eq!(of(200, None), Outcome::Ok);
        assert_eq!(of(204, None), Outcome::Ok);
        for status in [400, 401, 404, 409, 413, 422, 429, 503] {
            assert_eq!(of(status, None), Outcome::Refused(None), "{status}");
        }
        assert_eq!(of(500, None), Outcome::Failed(None));
        let down = Some("unavailable");
        assert_eq!(of(503, down), Outcome::Failed(down));
        assert_eq!(
            of(409, Some("conflict")),
            Outcome::Refused(Some("conflict"))
        );
    }
}
