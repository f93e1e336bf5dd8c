//! The servers behind a connection string, whatever they are to each other.

use std::sync::Arc;

use fred::clients::Pool;
use fred::error::Error as FredError;
use fred::interfaces::{ClientLike, ClusterInterface};
use fred::types::config::{Config, ServerConfig};
use secrecy::{ExposeSecret, SecretString};

use super::cluster::Cluster;
use super::flight::lost;
use super::link::{Changes, Dialer};
use super::node::{Node, Nodes};
use super::sentinel::Service;
use crate::redis::url::{RedisUrl, Topology};

/// The servers.
#[derive(Debug)]
pub(super) enum Servers {
    /// One server.
    One(Arc<Node>),
    /// Clients of the caller's own, which know their servers themselves.
    Given(Pool, Arc<Node>),
    /// The primary that sentinels name.
    Sentinel(Service),
    /// The primaries of a cluster.
    Cluster(Cluster),
}

/// Where a command is sent elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Redirection {
    /// The slot is there now.
    Moved { slot: u16, host: String, port: u16 },
    /// This once: the slot is being moved there.
    Ask { host: String, port: u16 },
}

impl Servers {
    /// Connects to what a connection string names.
    pub(super) async fn connect(
        url: &RedisUrl,
        mut dialer: Dialer,
        connections: usize,
        changes: &Arc<Changes>,
    ) -> Result<Self, FredError> {
        dialer.primary_only = !matches!(url.topology, Topology::Cluster);
        let sentinels = Dialer {
            primary_only: false,
            // They are for the servers alone.
            credentials: None,
            ..dialer.clone()
        };
        let nodes = Nodes {
            dialer: Arc::new(dialer),
            changes: Arc::clone(changes),
            connections,
        };
        match &url.topology {
            Topology::Standalone => {
                let (host, port) = &url.hosts[0];
                let server = ServerConfig::new_centralized(host, *port);
                nodes.connect(&server).await.map(Self::One)
            }
            Topology::Unix(path) => {
                let server = ServerConfig::Unix { path: path.clone() };
                nodes.connect(&server).await.map(Self::One)
            }
            Topology::Cluster => Cluster::connect(nodes, url.hosts.clone())
                .await
                .map(Self::Cluster),
            Topology::Sentinel {
                service,
                username,
                password,
            } => {
                let config = Config {
                    username: username.clone(),
                    password: password.as_ref().map(exposed),
                    database: None,
                    ..sentinels.config.clone()
                };
                let sentinels = Dialer {
                    config,
                    ..sentinels
                };
                Service::connect(service, sentinels, url.hosts.clone(), nodes)
                    .await
                    .map(Self::Sentinel)
            }
        }
    }

    /// Clients that somebody else keeps.
    pub(super) fn given(pool: &Pool) -> Self {
        Self::Given(pool.clone(), Arc::new(Node::given(pool)))
    }

    /// The server that a slot is on; `None` while there is none.
    pub(super) fn node(&self, slot: Option<u16>) -> Option<Arc<Node>> {
        match self {
            Self::One(node) | Self::Given(_, node) => Some(Arc::clone(node)),
            Self::Sentinel(service) => service.node(),
            Self::Cluster(cluster) => cluster.node(slot),
        }
    }

    /// Why calls to a slot have nowhere to go.
    pub(super) fn problem(&self, slot: Option<u16>) -> FredError {
        match self.node(slot) {
            Some(node) => node.problem(),
            None => lost("another server is being made the primary"),
        }
    }

    /// Says that a server did not do what was expected of it.
    pub(super) fn doubt(&self, node: &Node, is_replica: bool) {
        match self {
            Self::Given(..) => {}
            Self::One(_) => {
                if is_replica {
                    node.renew();
                }
            }
            Self::Sentinel(service) => {
                if is_replica {
                    node.renew();
                }
                service.doubt();
            }
            Self::Cluster(cluster) => cluster.outdated(),
        }
    }

    /// Follows a redirection: the server to ask this once, or `None` when it is known from now
    /// on. `Err` where there is no cluster.
    pub(super) fn follow(
        &self,
        redirection: &Redirection,
        from: &Node,
    ) -> Result<Option<Arc<Node>>, ()> {
        let Self::Cluster(cluster) = self else {
            return Err(());
        };
        Ok(match redirection {
            Redirection::Moved { slot, host, port } => {
                cluster.moved(*slot, host, *port, from);
                None
            }
            Redirection::Ask { host, port } => Some(cluster.node_at(host, *port, from)),
        })
    }

    /// All servers that calls may go to.
    pub(super) fn all(&self) -> Vec<Arc<Node>> {
        match self {
            Self::One(node) | Self::Given(_, node) => vec![Arc::clone(node)],
            Self::Sentinel(service) => vec![service.last()],
            Self::Cluster(cluster) => cluster.all(),
        }
    }

    /// The servers that have the keys, each with its own; none if they are not known yet.
    pub(super) fn primaries(&self) -> Vec<Arc<Node>> {
        match self {
            Self::Given(pool, _) if is_cluster(pool) => {
                let state = pool.next().cached_cluster_state();
                let servers = state.map(|state| state.unique_primary_nodes());
                let servers = servers.unwrap_or_default();
                let nodes = servers.iter().map(|server| Node::given_at(pool, server));
                nodes.map(Arc::new).collect()
            }
            _ => self.all(),
        }
    }

    /// How often a connection was lost.
    pub(super) fn losses(&self) -> u64 {
        match self {
            Self::One(node) | Self::Given(_, node) => node.losses(),
            _ => self.all().iter().map(|node| node.losses()).sum(),
        }
    }

    /// The server that has a slot.
    pub(super) fn owner(&self, slot: u16) -> Option<Arc<Node>> {
        match self {
            Self::Given(pool, _) if is_cluster(pool) => {
                let state = pool.next().cached_cluster_state()?;
                let server = state.get_server(slot)?;
                Some(Arc::new(Node::given_at(pool, server)))
            }
            _ => self.node(Some(slot)),
        }
    }

    /// Ends all connections but those of somebody else.
    pub(super) fn stop(&self) {
        match self {
            Self::Given(..) => {}
            Self::One(node) => node.stop(),
            Self::Sentinel(service) => service.stop(),
            Self::Cluster(cluster) => cluster.stop(),
        }
    }
}

impl Redirection {
    /// Reads `MOVED SLOT HOST:PORT` or `ASK SLOT HOST:PORT`.
    pub(super) fn of(reply: &str) -> Option<Self> {
        let mut words = reply.split(' ');
        let (kind, slot, address) = (words.next()?, words.next()?, words.next()?);
        let slot: u16 = slot.parse().ok()?;
        let (host, port) = address.rsplit_once(':')?;
        let (host, port) = (host.to_owned(), port.parse().ok()?);
        match kind {
            "MOVED" => Some(Self::Moved { slot, host, port }),
            "ASK" => Some(Self::Ask { host, port }),
            _ => None,
        }
    }
}

/// Whether a pool of the caller's own is connected to a cluster.
pub(super) fn is_cluster(pool: &Pool) -> bool {
    pool.client_config().server.is_clustered()
}

pub(super) fn exposed(secret: &SecretString) -> String {
    secret.expose_secret().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirections_are_read() {
        assert_eq!(
            Redirection::of("MOVED 3999 10.0.0.1:6381"),
            Some(Redirection::Moved {
                slot: 3_999,
                host: "10.0.0.1".to_owned(),
                port: 6_381
            })
        );
        assert_eq!(
            Redirection::of("ASK 3999 ::1:6381"),
            Some(Redirection::Ask {
                host: "::1".to_owned(),
                port: 6_381
            })
        );
        assert_eq!(Redirection::of("MOVED here"), None);
        assert_eq!(Redirection::of("ERR no"), None);
    }
}
