//! Commands that are sent to one server together.

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::command::Command;
use super::connection::Connection;
use super::node::{Node, NodeHandle};
use super::replication::{Replication, acknowledged};
use super::reply::Reply;
use super::servers::Servers;
use crate::redis::error::RedisError;

/// A command of a call that has no reply yet.
pub(super) struct PendingCommand {
    /// Its index among the commands of the call.
    pub(super) index: usize,
    /// The server that its slot is being moved to, to be asked this once.
    pub(super) ask: Option<Arc<Node>>,
    /// How often it was redirected.
    pub(super) redirections: u8,
    /// What stood in its way when it was last sent.
    pub(super) problem: Option<RedisError>,
}

/// Pending commands that go to one server together, over one connection.
pub(super) struct Pipeline {
    node: Arc<Node>,
    connection: Arc<Connection>,
    pending: Vec<PendingCommand>,
}

/// The commands of a pipeline, each with what became of it.
pub(super) struct Sent {
    pub(super) node: Arc<Node>,
    pub(super) outcomes: Vec<(PendingCommand, Result<Reply, Failure>)>,
}

/// Why a command has no reply that counts.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// The server refused it, or the connection failed.
    Redis(RedisError),
    /// The deadline of the call has passed.
    DeadlineExceeded,
    /// Too few replicas acknowledged the write.
    NotReplicated { required: usize, got: usize },
}

impl PendingCommand {
    pub(super) fn new(index: usize) -> Self {
        Self {
            index,
            ask: None,
            redirections: 0,
            problem: None,
        }
    }
}

/// Sorts pending commands by the servers that they go to, or all to one that the call names. Also
/// returns those whose server is not known or not connected at the moment. `waits` says that WAIT is
/// sent behind those that write.
pub(super) fn route(
    servers: &Servers,
    commands: &[Command],
    pending: Vec<PendingCommand>,
    at: Option<&NodeHandle>,
    waits: bool,
) -> (Vec<Pipeline>, Vec<PendingCommand>) {
    let mut pipelines: Vec<Pipeline> = Vec::with_capacity(1);
    let mut stranded = Vec::new();
    let waits = waits && pending.iter().any(|one| commands[one.index].writes);
    for mut one in pending {
        one.problem = None;
        let node = match (&one.ask, at) {
            (Some(node), _) | (None, Some(NodeHandle { node, .. })) => Some(Arc::clone(node)),
            (None, None) => servers.node(commands[one.index].slot),
        };
        let Some(node) = node else {
            stranded.push(one);
            continue;
        };
        let pipeline = pipelines
            .iter_mut()
            .find(|pipeline| Arc::ptr_eq(&pipeline.node, &node));
        if let Some(pipeline) = pipeline {
            pipeline.pending.push(one);
        } else if let Some(connection) = node.connection(waits) {
            pipelines.push(Pipeline {
                node,
                connection,
                pending: vec![one],
            });
        } else {
            servers.refresh(&node, false);
            stranded.push(one);
        }
    }
    (pipelines, stranded)
}

impl Pipeline {
    /// Sends the commands, with WAIT behind them if one of them writes and `replication` asks for
    /// it. `in_cluster` says that the mark for WAIT must be in the slot of that command.
    pub(super) async fn send(
        self,
        commands: &[Command],
        replication: Option<&Replication>,
        in_cluster: bool,
        deadline: Instant,
    ) -> Sent {
        let Self {
            node,
            connection,
            pending,
        } = self;
        let asking = Command::new("ASKING");
        let mut sent = Vec::with_capacity(pending.len() + 1);
        for one in &pending {
            if one.ask.is_some() {
                sent.push(&asking);
            }
            sent.push(&commands[one.index]);
        }
        let write = pending.iter().find(|one| commands[one.index].writes);
        let replication = replication.zip(write);
        let mark = replication.map(|(replication, write)| {
            let slot = commands[write.index].slot.filter(|_| in_cluster);
            replication.mark(slot)
        });
        if let (Some((replication, write)), Some(mark)) = (replication, &mark) {
            if write.ask.is_some() {
                sent.push(&asking);
            }
            sent.extend([mark, &replication.wait]);
        }
        let failed = |pending: Vec<PendingCommand>, failure: Failure| {
            let failed = pending.into_iter().map(|one| (one, Err(failure.clone())));
            failed.collect()
        };
        let outcomes = match timeout_at(deadline, connection.run(&sent)).await {
            Err(_) => failed(pending, Failure::DeadlineExceeded),
            Ok(Err(error)) => failed(pending, Failure::Redis(error)),
            Ok(Ok(replies)) => {
                let mut replies = replies.into_iter();
                let replicated = replication.map(|(replication, _)| {
                    let wait = replies.next_back();
                    // What stands in the way of the mark stands in the way of the write.
                    let wait = match replies.next_back() {
                        Some(Err(error)) => Some(Err(error)),
                        _ => wait,
                    };
                    check_replicas(replication.required, wait.as_ref())
                });
                pair(commands, pending, replies, replicated.as_ref())
            }
        };
        Sent { node, outcomes }
    }
}

/// Pairs each command with its reply, which counts for a write only if it is replicated.
fn pair(
    commands: &[Command],
    pending: Vec<PendingCommand>,
    mut replies: impl Iterator<Item = Result<Reply, RedisError>>,
    replicated: Option<&Result<(), Failure>>,
) -> Vec<(PendingCommand, Result<Reply, Failure>)> {
    let mut outcomes = Vec::with_capacity(pending.len());
    for one in pending {
        if one.ask.is_some() {
            replies.next();
        }
        let reply = replies
            .next()
            .unwrap_or_else(|| Err(RedisError::lost("a reply is missing")));
        let outcome = reply.map_err(Failure::Redis);
        let outcome = match replicated {
            Some(replicated) if commands[one.index].writes => {
                outcome.and_then(|reply| replicated.clone().map(|()| reply))
            }
            _ => outcome,
        };
        outcomes.push((one, outcome));
    }
    outcomes
}

fn check_replicas(
    required: usize,
    wait: Option<&Result<Reply, RedisError>>,
) -> Result<(), Failure> {
    let got = acknowledged(wait).map_err(Failure::Redis)?;
    if got < required {
        return Err(Failure::NotReplicated { required, got });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_counts_when_enough_replicas_acknowledge_it() {
        let is_replicated =
            |wait: Option<Result<Reply, RedisError>>| check_replicas(2, wait.as_ref()).is_ok();
        assert!(is_replicated(Some(Ok(Reply::Int(2)))));
        assert!(!is_replicated(Some(Ok(Reply::Int(1)))));
        assert!(!is_replicated(Some(Ok(Reply::Nil))));
        assert!(!is_replicated(Some(Err(RedisError::lost("gone")))));
        assert!(!is_replicated(None));
    }
}
