//! Decides which commands are sent again.

use std::sync::Arc;

use super::command::Command;
use super::node::Node;
use super::pipeline::{Failure, PendingCommand};
use super::reply::Reply;
use super::servers::Servers;
use crate::redis::error::{ErrorKind, Redirection, RedisError, RetryClass};

/// How often a command follows redirections at once; then it waits before each.
const MAX_REDIRECTIONS: u8 = 5;

/// What happens to a command after it was sent.
pub(super) enum RetryDecision {
    /// It is done.
    Return(Result<Reply, Failure>),
    /// It is sent again at once, as the servers that are known have changed.
    Now,
    /// It is sent once to the server that its slot is being moved to.
    Ask(Arc<Node>),
    /// It is sent again after a wait.
    Later(RedisError),
}

/// Decides about an outcome of a command that was sent to `node`. All commands are idempotent and
/// may be sent again, but for those that say otherwise.
pub(super) fn decide(
    servers: &Servers,
    command: &Command,
    pending: &mut PendingCommand,
    node: &Node,
    outcome: Result<Reply, Failure>,
) -> RetryDecision {
    let error = match outcome {
        Err(Failure::Redis(error)) => error,
        outcome => return RetryDecision::Return(outcome),
    };
    match error.retry_class() {
        RetryClass::Redirect => redirect(servers, command, pending, node, error),
        RetryClass::Later => RetryDecision::Later(error),
        RetryClass::WrongServer { is_replica } => {
            servers.refresh(node, is_replica);
            RetryDecision::Later(error)
        }
        RetryClass::Lost => {
            servers.refresh(node, false);
            if command.once {
                RetryDecision::Return(Err(Failure::Redis(error)))
            } else {
                RetryDecision::Later(error)
            }
        }
        RetryClass::Never => RetryDecision::Return(Err(Failure::Redis(error))),
    }
}

fn redirect(
    servers: &Servers,
    command: &Command,
    pending: &mut PendingCommand,
    node: &Node,
    error: RedisError,
) -> RetryDecision {
    let ErrorKind::Redirected(Some(redirection)) = error.kind() else {
        return RetryDecision::Return(Err(Failure::Redis(error)));
    };
    // Where a slot is being moved to, a script takes a key that has not arrived yet for one that
    // does not exist. So it waits until the whole slot has moved.
    let is_script = command.name.starts_with("EVAL");
    if is_script && matches!(redirection, Redirection::Ask { .. }) {
        return RetryDecision::Later(error);
    }
    match servers.follow(redirection, node) {
        Ok(Some(node)) => RetryDecision::Ask(node),
        Ok(None) if pending.redirections < MAX_REDIRECTIONS => {
            pending.redirections += 1;
            RetryDecision::Now
        }
        Ok(None) => RetryDecision::Later(error),
        Err(()) => RetryDecision::Return(Err(Failure::Redis(error))),
    }
}
