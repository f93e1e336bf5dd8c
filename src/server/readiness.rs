//! Whether Redis can serve: asked once for all who want to know at about the same time.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::redis::{HealthProblem, RedisSaver};

/// How long an answer stands.
const FRESH: Duration = Duration::from_secs(1);

/// What is said of it: whether it can, or why not. It names no server, as everyone may ask.
type Verdict = Result<&'static str, String>;

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
            return verdict.clone();
        }
        let asked = tokio::time::timeout(limit, ask(saver)).await;
        let verdict = asked.unwrap_or_else(|_| Err("the store did not answer in time".to_owned()));
        *last = Some((Instant::now(), verdict.clone()));
        verdict
    }
}

async fn ask(saver: &RedisSaver) -> Verdict {
    let health = saver.health().await;
    let mut reasons = Vec::new();
    let mut is_searching = true;
    for problem in &health.problems {
        if let Some(reason) = nameless(problem) {
            tracing::warn!(%problem, "the store is not ready");
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        } else if matches!(problem, HealthProblem::SearchLost { .. }) {
            tracing::warn!(%problem, "the store is ready, without search");
            is_searching = false;
        }
    }
    if !reasons.is_empty() {
        return Err(format!("the store is not ready: {}", reasons.join("; ")));
    }
    if let Err(error) = saver.ready().await {
        tracing::warn!(kind = error.kind(), error = %error.report(), "the store is not ready");
        return Err("the store is not ready".to_owned());
    }
    Ok(if is_searching {
        "ready"
    } else {
        "ready; calls are served without search"
    })
}

/// Why calls fail, without the names of servers; `None` if they do not.
fn nameless(problem: &HealthProblem) -> Option<String> {
    let reason = match problem {
        HealthProblem::Unreachable { .. } => "a server does not answer".to_owned(),
        HealthProblem::NotPrimary { .. } => "a server takes no writes".to_owned(),
        HealthProblem::RefusesWrites { reason, .. } => {
            format!("a server takes no writes: {reason}")
        }
        HealthProblem::TooFewReplicas { .. } => {
            "fewer replicas are in step than must acknowledge a write".to_owned()
        }
        HealthProblem::FailingOver | HealthProblem::UncoveredSlots { .. } => problem.to_string(),
        HealthProblem::Evicts { .. }
        | HealthProblem::NotPersistent { .. }
        | HealthProblem::SearchLost { .. }
        | HealthProblem::Saturated => return None,
    };
    Some(reason)
}
