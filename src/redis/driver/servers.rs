//! The servers that a connection string stands for, in any topology.

use std::sync::Arc;

use super::address::{Address, Endpoint};
use super::cluster::Cluster;
use super::connector::{ConnectOptions, Connector};
use super::fred_pool::FredPool;
use super::node::{Node, NodeFactory};
use super::sentinel::SentinelService;
use super::task::Changes;
use crate::redis::error::{Redirection, RedisError};
use crate::redis::url::{RedisUrl, Topology};

/// The servers.
#[derive(Debug)]
pub(super) enum Servers {
    /// One server.
    Standalone(Arc<Node>),
    /// A pool of the caller's, which finds its servers by itself.
    Pool(FredPool, Arc<Node>),
    /// The primary that sentinels name.
    Sentinel(SentinelService),
    /// The primaries of a cluster.
    Cluster(Cluster),
}

impl Servers {
    /// Connects to the servers of a connection string.
    pub(super) async fn connect(
        url: &RedisUrl,
        mut connector: Connector,
        pool_size: usize,
        waiting: usize,
        changes: &Arc<Changes>,
    ) -> Result<Self, RedisError> {
        connector.primary_only = !matches!(url.topology, Topology::Cluster);
        let nodes = NodeFactory {
            connector: Arc::new(connector.clone()),
            changes: Arc::clone(changes),
            pool_size,
            waiting,
        };
        let hosts = || url.hosts.iter().map(Address::from).collect::<Vec<_>>();
        match &url.topology {
            Topology::Standalone => {
                let endpoint = Endpoint::Tcp(Address::from(&url.hosts[0]));
                nodes.connect(&endpoint).await.map(Self::Standalone)
            }
            Topology::Unix(path) => {
                let endpoint = Endpoint::Unix(path.clone());
                nodes.connect(&endpoint).await.map(Self::Standalone)
            }
            Topology::Cluster => Cluster::connect(nodes, hosts()).await.map(Self::Cluster),
            Topology::Sentinel {
                service,
                username,
                password,
            } => {
                let sentinels = Connector {
                    options: ConnectOptions {
                        username: username.clone(),
                        password: password.clone(),
                        database: None,
                        ..connector.options
                    },
                    primary_only: false,
                    // The provider's credentials are for the servers alone.
                    credentials: None,
                    ..connector
                };
                SentinelService::connect(service, sentinels, hosts(), nodes)
                    .await
                    .map(Self::Sentinel)
            }
        }
    }

    /// The servers of a pool of the caller's.
    pub(super) fn of_pool(pool: &FredPool) -> Self {
        Self::Pool(pool.clone(), Arc::new(Node::of_pool(pool)))
    }

    /// Where commands on a slot go; `None` while there is no such server.
    pub(super) fn node(&self, slot: Option<u16>) -> Option<Arc<Node>> {
        match self {
            Self::Standalone(node) | Self::Pool(_, node) => Some(Arc::clone(node)),
            Self::Sentinel(service) => service.node(),
            Self::Cluster(cluster) => cluster.node(slot),
        }
    }

    /// Why no server takes commands on a slot.
    pub(super) fn problem(&self, slot: Option<u16>) -> RedisError {
        match self.node(slot) {
            Some(node) => node.problem(),
            None => RedisError::lost("a failover is under way"),
        }
    }

    /// Looks for the servers again, because one did not do what was expected of it. `is_replica`
    /// says that it has turned out to be a replica.
    pub(super) fn refresh(&self, node: &Node, is_replica: bool) {
        match self {
            Self::Pool(..) => {}
            Self::Standalone(_) => {
                if is_replica {
                    node.reconnect();
                }
            }
            Self::Sentinel(service) => {
                if is_replica {
                    node.reconnect();
                }
                service.refresh();
            }
            Self::Cluster(cluster) => cluster.refresh(),
        }
    }

    /// Follows a redirection. Returns the server to ask this once, or `None` if the slot has moved
    /// for good; `Err` outside of a cluster.
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

    /// The servers that commands may go to.
    pub(super) fn all(&self) -> Vec<Arc<Node>> {
        match self {
            Self::Standalone(node) | Self::Pool(_, node) => vec![Arc::clone(node)],
            Self::Sentinel(service) => vec![service.last()],
            Self::Cluster(cluster) => cluster.all(),
        }
    }

    /// The servers that hold keys, one by one; none while they are not known.
    pub(super) fn primaries(&self) -> Vec<Arc<Node>> {
        match self {
            Self::Pool(pool, _) if pool.is_cluster() => {
                let servers = pool.primaries().into_iter();
                let nodes = servers.map(|server| Node::of_pool_at(pool, &server));
                nodes.map(Arc::new).collect()
            }
            _ => self.all(),
        }
    }

    /// How often a connection was lost.
    pub(super) fn losses(&self) -> u64 {
        match self {
            Self::Standalone(node) | Self::Pool(_, node) => node.losses(),
            _ => self.all().iter().map(|node| node.losses()).sum(),
        }
    }

    /// The server that has a slot.
    pub(super) fn owner(&self, slot: u16) -> Option<Arc<Node>> {
        match self {
            Self::Pool(pool, _) if pool.is_cluster() => {
                let server = pool.owner(slot)?;
                Some(Arc::new(Node::of_pool_at(pool, &server)))
            }
            _ => self.node(Some(slot)),
        }
    }

    /// Closes all connections for good, but for those of the caller's.
    pub(super) fn stop(&self) {
        match self {
            Self::Pool(..) => {}
            Self::Standalone(node) => node.stop(),
            Self::Sentinel(service) => service.stop(),
            Self::Cluster(cluster) => cluster.stop(),
        }
    }
}
