//! Whether Redis can serve: asked once for all who want to know at about the same time.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::redis::RedisSaver;

/// How long an answer stands.
const FRESH: Duration = Duration::from_secs(1);

/// Whether it can, or why not.
type Verdict = Result<(), &'static str>;

/// What was found last, and when.
#[derive(Debug, Default)]
pub(super) struct Readiness(Mutex<Option<(Instant, Verdict)>>);

impl Readiness {
    /// What was found a moment ago, else what is found now. Who comes while somebody asks waits for
    /// that answer.
    pub(super) async fn of(&self, saver: &RedisSaver, limit: Duration) -> Verdict {
        let mut last = self.0.lock().await;
        if let Some((at, verdict)) = &*last
            && at.elapsed() < FRESH
        {
            return *verdict;
        }
        let asked = tokio::time::timeout(limit, ask(saver)).await;
        let verdict = asked.unwrap_or(Err("the store did not answer in time"));
        *last = Some((Instant::now(), verdict));
        verdict
    }
}

async fn ask(saver: &RedisSaver) -> Verdict {
    const NOT_READY: Verdict = Err("the store is not ready");
    let health = saver.health().await;
    for problem in &health.problems {
        if problem.stops_calls() {
            tracing::warn!(%problem, "the store is not ready");
        }
    }
    if !health.is_ready() {
        return NOT_READY;
    }
    match saver.ready().await {
        Ok(()) => Ok(()),
        Err(error) => {
            tracing::warn!(kind = error.kind(), %error, "the store is not ready");
            NOT_READY
        }
    }
}
