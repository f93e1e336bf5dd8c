//! The audit log: a line for every call that changes something.

use std::time::Duration;

use axum::http::{Method, StatusCode};

use super::call::{Call, Outcome};
use crate::checkpoint::Checkpoint;
use crate::config::CheckpointConfig;
use crate::id::{CheckpointId, CheckpointNamespace, RunId, ThreadId};
use crate::observed::measure::thread_label;

/// The `tracing` target of the lines.
pub(super) const TARGET: &str = "langgraph_checkpoint_redis::audit";

/// The `POST` routes that change nothing. Any other is audited.
const READS: [&str; 6] = [
    "/checkpoints/get-tuple",
    "/checkpoints/list",
    "/v1/delta-channel-history",
    "/v1/get-tuple",
    "/v1/list",
    "/v1/threads",
];

/// What is known of a call for its line.
#[derive(Debug)]
pub(super) struct Audit {
    operation: String,
    peer: Option<String>,
    shows_threads: bool,
    key: Option<String>,
    changes: Vec<Change>,
}

/// What a call changes. Threads are recorded as in the log.
#[derive(Debug, Default)]
pub(super) struct Change {
    thread: Option<String>,
    /// The thread that is copied.
    source: Option<String>,
    namespace: Option<String>,
    checkpoint: Option<String>,
    run: Option<String>,
}

/// The operation of a route, as the saver's method is called; `None` if it only reads.
pub(super) fn operation_of(method: &Method, route: &str) -> Option<String> {
    let is_safe = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    if is_safe || !route.starts_with('/') || READS.contains(&route) {
        return None;
    }
    let (_, operation) = route.rsplit_once('/')?;
    Some(operation.replace('-', "_"))
}

impl Audit {
    pub(super) fn new(operation: String, peer: Option<String>, shows_threads: bool) -> Self {
        Self {
            operation,
            peer,
            shows_threads,
            key: None,
            changes: Vec::new(),
        }
    }

    pub(super) fn set_key(&mut self, name: &str) {
        self.key = Some(name.to_owned());
    }

    pub(super) fn set_changes(&mut self, changes: Vec<Change>) {
        self.changes = changes;
    }

    fn label(&self, thread: &ThreadId) -> String {
        thread_label(thread.as_str(), self.shows_threads)
    }

    /// Writes the line: one for each thread or run that the call names.
    pub(super) fn write(
        mut self,
        request_id: &str,
        route: &str,
        outcome: Outcome,
        status: Option<StatusCode>,
        took: Duration,
    ) {
        if self.changes.is_empty() {
            self.changes.push(Change::default());
        }
        for change in &self.changes {
            tracing::info!(
                target: TARGET,
                parent: None,
                operation = &*self.operation,
                route,
                key = self.key.as_deref(),
                peer = self.peer.as_deref(),
                thread = change.thread.as_deref(),
                source = change.source.as_deref(),
                checkpoint_ns = change.namespace.as_deref(),
                checkpoint = change.checkpoint.as_deref(),
                run = change.run.as_deref(),
                outcome = outcome.name(),
                kind = outcome.kind(),
                status = status.map(|status| status.as_u16()),
                request_id,
                took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
                "audit"
            );
        }
    }
}

/// Notes what the current call changes.
fn note(changes: impl FnOnce(&Audit) -> Vec<Change>) {
    if let Some(call) = Call::current() {
        call.set_changes(changes);
    }
}

/// Notes that the current call changes a thread.
pub(super) fn thread(thread: &ThreadId) {
    threads([thread]);
}

/// Notes that the current call changes threads.
pub(super) fn threads<'a>(threads: impl IntoIterator<Item = &'a ThreadId>) {
    note(|audit| {
        let changes = threads.into_iter().map(|thread| Change {
            thread: Some(audit.label(thread)),
            ..Change::default()
        });
        changes.collect()
    });
}

/// Notes that the current call stores a checkpoint, or writes of one.
pub(super) fn checkpoint(
    thread: &ThreadId,
    namespace: Option<&CheckpointNamespace>,
    checkpoint: Option<&CheckpointId>,
) {
    note(|audit| {
        vec![Change {
            thread: Some(audit.label(thread)),
            namespace: namespace.map(|namespace| namespace.as_str().to_owned()),
            checkpoint: checkpoint.map(|checkpoint| checkpoint.as_str().to_owned()),
            ..Change::default()
        }]
    });
}

/// Notes that the current call stores a checkpoint in the place of a config.
pub(super) fn put(config: &CheckpointConfig, stored: &Checkpoint) {
    let namespace = config.checkpoint_ns.as_ref();
    checkpoint(&config.thread_id, namespace, Some(stored.id()));
}

/// Notes that the current call copies a thread.
pub(super) fn copy(source: &ThreadId, target: &ThreadId) {
    note(|audit| {
        vec![Change {
            thread: Some(audit.label(target)),
            source: Some(audit.label(source)),
            ..Change::default()
        }]
    });
}

/// Notes that the current call deletes the checkpoints of runs.
pub(super) fn runs(runs: &[RunId]) {
    note(|_| {
        let changes = runs.iter().map(|run| Change {
            run: Some(run.as_str().to_owned()),
            ..Change::default()
        });
        changes.collect()
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_that_may_change_something_is_audited() {
        let document = super::super::openapi().unwrap();
        let document: serde_json::Value = serde_json::from_str(&document).unwrap();
        let mut reads = Vec::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for method in methods.as_object().unwrap().keys() {
                let method: Method = method.to_uppercase().parse().unwrap();
                let operation = operation_of(&method, path);
                assert!(method == Method::POST || operation.is_none(), "{path}");
                if method == Method::POST && operation.is_none() {
                    reads.push(path.clone());
                }
            }
        }
        assert_eq!(reads, READS);
        let operation = operation_of(&Method::POST, "/v1/put-writes");
        assert_eq!(operation.as_deref(), Some("put_writes"));
        assert_eq!(operation_of(&Method::POST, "unknown"), None);
    }
}
