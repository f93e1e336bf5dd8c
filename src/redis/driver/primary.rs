//! Commands without keys, sent to each primary.

use std::sync::Arc;

use fred::interfaces::ClusterInterface;
use fred::types::config::Server;
use tokio::time::{Instant, timeout_at};

use super::backoff::Backoff;
use super::client::Driver;
use super::flight::lost;
use super::node::Node;
use super::servers::Servers;
use super::{Command, Reply};
use crate::error::{Error, Result};
use crate::redis::error::{Meaning, meaning};

/// A server that holds keys of its own.
#[derive(Debug, Clone)]
pub(crate) struct Primary {
    node: Arc<Node>,
    /// Which one it is, where clients of the caller's own know all of a cluster.
    given: Option<Server>,
}

impl Driver {
    /// The primaries of a cluster; elsewhere the one server.
    pub(crate) fn primaries(&self) -> Result<Vec<Primary>> {
        let own = |node| Primary { node, given: None };
        let primaries: Vec<_> = match &self.servers {
            Servers::Given(node) if self.is_cluster() => {
                let state = node
                    .live()
                    .and_then(|live| live.client().cached_cluster_state());
                let servers = state.map(|state| state.unique_primary_nodes());
                let given = |server| Primary {
                    node: Arc::clone(node),
                    given: Some(server),
                };
                servers.into_iter().flatten().map(given).collect()
            }
            servers => servers.all().into_iter().map(own).collect(),
        };
        if primaries.is_empty() {
            return Err(Error::Unavailable {
                reason: "the servers of the cluster are not known yet".to_owned(),
            });
        }
        Ok(primaries)
    }

    /// The primary that a slot is on.
    pub(crate) fn owner(&self, slot: u16) -> Option<Primary> {
        let node = self.servers.node(Some(slot))?;
        let given = match &self.servers {
            Servers::Given(_) if self.is_cluster() => {
                let state = node.live()?.client().cached_cluster_state()?;
                Some(state.get_server(slot)?.clone())
            }
            _ => None,
        };
        Some(Primary { node, given })
    }

    /// Runs a command that has no keys, and that may run twice, on one primary.
    pub(crate) async fn call_at(
        &self,
        operation: &'static str,
        primary: &Primary,
        command: Command,
    ) -> Result<Reply> {
        let deadline = Instant::now() + self.limit;
        let _turn = self.turn(operation).await?;
        let mut backoff = Backoff::asking_again();
        loop {
            let asking = Box::pin(primary.run(&command));
            let error = match timeout_at(deadline, asking).await {
                Ok(Ok(reply)) => return Ok(reply),
                Ok(Err(error)) => error,
                Err(_) => {
                    return Err(Error::Timeout {
                        operation,
                        limit: self.limit,
                    });
                }
            };
            let passes = matches!(meaning(&error), Meaning::Lost | Meaning::NotNow);
            let again = Instant::now() + backoff.next();
            if !passes || again >= deadline {
                return Err(self.error(operation, command.name, &error));
            }
            tokio::time::sleep_until(again).await;
        }
    }
}

impl Primary {
    async fn run(&self, command: &Command) -> Result<Reply, fred::error::Error> {
        let Some(live) = self.node.live() else {
            return Err(self.node.problem());
        };
        let mut replies = match &self.given {
            None => live.run(&[command]).await?,
            Some(server) => live.run_at(server, command).await?,
        };
        let reply = replies
            .pop()
            .unwrap_or_else(|| Err(lost("there is no answer")));
        reply.map(Reply::from)
    }
}
