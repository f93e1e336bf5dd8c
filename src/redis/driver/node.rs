//! One server and the connections to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fred::clients::Pool;
use fred::error::Error as FredError;
use fred::types::config::{Server, ServerConfig};
use futures_util::future::try_join_all;

use super::flight::{Live, lost};
use super::link::{Changes, Connection, Dialer, Link};

/// One server and the connections to it.
#[derive(Debug)]
pub(super) struct Node {
    name: String,
    links: Vec<Link>,
    next: AtomicUsize,
}

/// How nodes are made.
#[derive(Debug, Clone)]
pub(super) struct Nodes {
    pub(super) dialer: Arc<Dialer>,
    pub(super) changes: Arc<Changes>,
    /// How many connections each node has.
    pub(super) connections: usize,
}

impl Nodes {
    /// A server that answers, all connections made.
    pub(super) async fn connect(&self, server: &ServerConfig) -> Result<Arc<Node>, FredError> {
        let dials = (0..self.connections).map(|_| self.dialer.dial(server.clone()));
        let made = try_join_all(dials).await?;
        Ok(self.node(server, made.into_iter().map(Some)))
    }

    /// A server whose connections are made in the background.
    pub(super) fn later(&self, server: &ServerConfig) -> Arc<Node> {
        self.node(server, (0..self.connections).map(|_| None))
    }

    fn node(
        &self,
        server: &ServerConfig,
        made: impl Iterator<Item = Option<Connection>>,
    ) -> Arc<Node> {
        let links = made.map(|made| Link::keep(server, &self.dialer, &self.changes, made));
        Arc::new(Node {
            name: name_of(server),
            links: links.collect(),
            next: AtomicUsize::new(0),
        })
    }
}

impl Node {
    /// Clients that somebody else keeps.
    pub(super) fn given(pool: &Pool) -> Self {
        Self {
            name: name_of(&fred::prelude::ClientLike::client_config(pool).server),
            links: links_of(pool, |live| live),
            next: AtomicUsize::new(0),
        }
    }

    /// The same, for one of the servers of a cluster.
    pub(super) fn given_at(pool: &Pool, server: &Server) -> Self {
        Self {
            name: server.to_string(),
            links: links_of(pool, |live| live.at(server.clone())),
            next: AtomicUsize::new(0),
        }
    }

    /// The server, without credentials.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// A connection that works, if there is one; each in its turn.
    pub(super) fn live(&self) -> Option<Arc<Live>> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let count = self.links.len();
        (0..count).find_map(|offset| self.links[first.wrapping_add(offset) % count].live())
    }

    /// How many connections work.
    pub(super) fn connections(&self) -> usize {
        self.links
            .iter()
            .filter(|link| link.live().is_some())
            .count()
    }

    /// How often a connection was lost.
    pub(super) fn losses(&self) -> u64 {
        self.links.iter().map(Link::losses).sum()
    }

    /// Why none works.
    pub(super) fn problem(&self) -> FredError {
        let problem = self.links.iter().find_map(Link::problem);
        problem.unwrap_or_else(|| lost("it is being connected to"))
    }

    /// Makes all connections anew: the server is not what it was.
    pub(super) fn renew(&self) {
        for live in self.links.iter().filter_map(Link::live) {
            live.give_up();
        }
    }

    /// Ends all connections, for good.
    pub(super) fn stop(&self) {
        for link in &self.links {
            link.stop();
        }
    }
}

fn links_of(pool: &Pool, live: impl Fn(Live) -> Live) -> Vec<Link> {
    let clients = pool.clients().iter().cloned();
    clients
        .map(|client| Link::given(live(Live::of_client(client))))
        .collect()
}

/// What a server is called in errors and logs.
pub(super) fn name_of(server: &ServerConfig) -> String {
    match server {
        ServerConfig::Centralized { server } => server.to_string(),
        ServerConfig::Clustered { hosts, .. } | ServerConfig::Sentinel { hosts, .. } => hosts
            .iter()
            .map(Server::to_string)
            .collect::<Vec<_>>()
            .join(","),
        ServerConfig::Unix { path } => path.display().to_string(),
    }
}
