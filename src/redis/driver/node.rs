//! One server and the connections to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::try_join_all;

use super::address::Endpoint;
use super::connection::Connection;
use super::connector::{Connector, NewConnection};
use super::fred_pool::{FredPool, FredServer};
use super::reconnecting::{ReconnectingConnection, Siblings};
use super::task::Changes;
use crate::redis::error::RedisError;

/// One server and the connections to it.
#[derive(Debug)]
pub(super) struct Node {
    name: String,
    connections: Vec<ReconnectingConnection>,
    /// Of the connections, how many at the end are for commands behind which WAIT is sent: what comes
    /// after WAIT on a connection waits, too. 0 if no call waits for replicas.
    waiting: usize,
    next: AtomicUsize,
}

/// A server that a command without keys can be sent to.
#[derive(Debug, Clone)]
pub(crate) struct NodeHandle {
    pub(super) node: Arc<Node>,
    /// How often a connection to it had been lost when the handle was made.
    losses: u64,
}

/// Makes nodes.
#[derive(Debug, Clone)]
pub(super) struct NodeFactory {
    pub(super) connector: Arc<Connector>,
    pub(super) changes: Arc<Changes>,
    /// How many connections each node has.
    pub(super) pool_size: usize,
    /// How many more it has for commands behind which WAIT is sent.
    pub(super) waiting: usize,
}

impl NodeFactory {
    /// A node with all of its connections made.
    pub(super) async fn connect(&self, endpoint: &Endpoint) -> Result<Arc<Node>, RedisError> {
        let connecting = (0..self.all()).map(|_| self.connector.connect(endpoint));
        let connections = try_join_all(connecting).await?;
        Ok(self.node(endpoint, connections.into_iter().map(Some)))
    }

    /// A node whose connections are made in the background.
    pub(super) fn connect_later(&self, endpoint: &Endpoint) -> Arc<Node> {
        self.node(endpoint, (0..self.all()).map(|_| None))
    }

    fn all(&self) -> usize {
        self.pool_size + self.waiting
    }

    fn node(
        &self,
        endpoint: &Endpoint,
        connections: impl Iterator<Item = Option<NewConnection>>,
    ) -> Arc<Node> {
        let (connector, changes) = (&self.connector, &self.changes);
        let siblings = Siblings::new();
        let connections = connections.map(|first| {
            ReconnectingConnection::start(endpoint, connector, changes, &siblings, first)
        });
        Arc::new(Node {
            name: endpoint.to_string(),
            connections: connections.collect(),
            waiting: self.waiting,
            next: AtomicUsize::new(0),
        })
    }
}

impl Node {
    /// All that a pool of the caller's is connected to.
    pub(super) fn of_pool(pool: &FredPool) -> Self {
        Self::external(pool.name(), pool, None)
    }

    /// One of the servers of a pool's cluster.
    pub(super) fn of_pool_at(pool: &FredPool, server: &FredServer) -> Self {
        Self::external(server.to_string(), pool, Some(server))
    }

    fn external(name: String, pool: &FredPool, server: Option<&FredServer>) -> Self {
        let clients = pool.clients(server).map(Connection::of_client);
        Self {
            name,
            connections: clients.map(ReconnectingConnection::external).collect(),
            waiting: 0,
            next: AtomicUsize::new(0),
        }
    }

    /// The server's address, without credentials.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// A connection that works, if there is one; each takes its turn. `waits` says that WAIT is sent
    /// over it, for which there are connections of their own.
    pub(super) fn connection(&self, waits: bool) -> Option<Arc<Connection>> {
        let shared = self.connections.len() - self.waiting;
        let (shared, waiting) = self.connections.split_at(shared);
        let connections = if waits && !waiting.is_empty() {
            waiting
        } else {
            shared
        };
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let count = connections.len();
        (0..count).find_map(|offset| connections[first.wrapping_add(offset) % count].current())
    }

    /// How many connections work.
    pub(super) fn connected(&self) -> usize {
        let connections = self.connections.iter();
        connections
            .filter(|connection| connection.current().is_some())
            .count()
    }

    /// How often a connection was lost.
    pub(super) fn losses(&self) -> u64 {
        let connections = self.connections.iter();
        connections.map(ReconnectingConnection::losses).sum()
    }

    /// Why no connection works.
    pub(super) fn problem(&self) -> RedisError {
        let mut connections = self.connections.iter();
        let problem = connections.find_map(ReconnectingConnection::problem);
        problem.unwrap_or_else(|| RedisError::lost("the connection is not made yet"))
    }

    /// Replaces all connections, because the server has changed its role.
    pub(super) fn reconnect(&self) {
        let connections = self.connections.iter();
        for connection in connections.filter_map(ReconnectingConnection::current) {
            connection.discard();
        }
    }

    /// Replaces the connections on which a reply is pending whose caller has given up.
    pub(super) fn replace_abandoned(&self) {
        let connections = self.connections.iter();
        for connection in connections.filter_map(ReconnectingConnection::current) {
            if connection.is_abandoned() {
                connection.discard();
            }
        }
    }

    /// Closes all connections for good.
    pub(super) fn stop(&self) {
        for connection in &self.connections {
            connection.stop();
        }
    }
}

impl NodeHandle {
    pub(super) fn new(node: Arc<Node>) -> Self {
        let losses = node.losses();
        Self { node, losses }
    }

    /// Whether a connection was lost since the handle was made. The server may have been restarted
    /// or replaced then, so that a cursor of its is worth nothing.
    pub(super) fn was_lost(&self) -> bool {
        self.node.losses() != self.losses
    }
}
