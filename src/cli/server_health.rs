//! The health of the servers in the output of `setup` and `doctor`.

use serde_json::{Value, json};

use super::text::{count, shown};
use crate::redis::{Health, ServerHealth};

/// The servers as JSON.
pub(crate) fn servers_json(health: &Health) -> Vec<Value> {
    let servers = health.servers.iter().map(|server| {
        let answered = server.answered_in.map(|time| time.as_secs_f64() * 1_000.0);
        json!({
            "server": server.server,
            "answered_in_ms": answered,
            "is_primary": server.is_primary,
            "replicas": server.replicas,
        })
    });
    servers.collect()
}

/// The problems that make calls fail, each in a sentence.
pub(crate) fn problems(health: &Health) -> Vec<String> {
    let stopping = health
        .problems
        .iter()
        .filter(|problem| problem.stops_calls());
    stopping.map(ToString::to_string).collect()
}

/// The problems that do not make calls fail, each in a sentence.
pub(crate) fn warnings(health: &Health) -> Vec<String> {
    let problems = health.problems.iter();
    problems
        .filter(|problem| !problem.stops_calls())
        .map(ToString::to_string)
        .collect()
}

/// A server as a line of text.
pub(crate) fn server_line(server: &ServerHealth) -> String {
    let mut line = format!("server {}", shown(&server.server));
    line += match server.is_primary {
        Some(true) => ": primary",
        Some(false) => ": replica",
        None => ": role unknown",
    };
    if let Some(replicas) = server.replicas {
        line = line + " with " + &count(replicas as u64, "replica");
    }
    if let Some(time) = server.answered_in {
        line = format!("{line}, answers in {:.1} ms", time.as_secs_f64() * 1_000.0);
    }
    line
}
