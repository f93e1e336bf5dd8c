//! Primaries that share the keys, each with a replica.

use crate::error::Error;
use crate::group::{start_all, wait_until_nothing};
use crate::installation::Installation;
use crate::resp::Reply;
use crate::standalone::{Role, Standalone, StandaloneBuilder};
use crate::tls::{Certificates, Tls};

const PRIMARIES: usize = 3;
const NODES: usize = 2 * PRIMARIES;
const SLOTS: usize = 16_384;

/// A throwaway cluster of three primaries and three replicas, each a server like a [`Standalone`]
/// one, with the same promise: gone when this value is dropped or this process ends.
///
/// A node that is silent for two seconds is taken for down.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Standalone>,
    /// What each node was made of.
    plan: StandaloneBuilder,
}

/// Settings of a [`Cluster`].
#[derive(Debug, Clone, Default)]
pub struct ClusterBuilder {
    node: StandaloneBuilder,
    installation: Option<Installation>,
}

impl Cluster {
    /// Starts a cluster with the default settings and waits until every node finds it complete
    /// and every replica is in step.
    ///
    /// # Errors
    /// Those of [`ClusterBuilder::start`].
    pub fn start() -> Result<Self, Error> {
        Self::builder().start()
    }

    /// Starts from the default settings.
    #[must_use]
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::default()
    }

    /// `redis+cluster://127.0.0.1:P1,…,127.0.0.1:P6`, with `default:PASSWORD@` before the hosts
    /// if there is a password, with the first of the [users](ClusterBuilder::user) instead, and
    /// `rediss+cluster` with [TLS](ClusterBuilder::tls). [`Standalone::url`] of a node is the URL
    /// of that node alone.
    #[must_use]
    pub fn url(&self) -> String {
        let (scheme, credentials) = (self.plan.scheme(), self.plan.credentials());
        let url = format!("{scheme}+cluster://{credentials}");
        let hosts: Vec<_> = self
            .nodes
            .iter()
            .map(|node| format!("127.0.0.1:{}", node.port()))
            .collect();
        url + &hosts.join(",")
    }

    /// The files that a client needs, if the nodes have TLS.
    #[must_use]
    pub fn certificates(&self) -> Option<Certificates> {
        self.nodes[0].certificates()
    }

    /// The nodes. At the start the first three are primaries, and the node three places later is
    /// the replica of each.
    #[must_use]
    pub fn nodes(&self) -> &[Standalone] {
        &self.nodes
    }

    /// The nodes, to kill, pause or restart one.
    pub fn nodes_mut(&mut self) -> &mut [Standalone] {
        &mut self.nodes
    }

    /// The password of the default user, if there is one.
    pub(crate) fn password(&self) -> Option<String> {
        let password = self.plan.administrator();
        password.map(|password| password.0.clone())
    }

    /// The indexes of the nodes that are primaries now; a node that does not answer is none.
    #[must_use]
    pub fn primaries(&self) -> Vec<usize> {
        let is_primary = |node: &Standalone| {
            node.call(&["INFO", "replication"])
                .is_ok_and(|info| info.field("role") == Some("master"))
        };
        (0..self.nodes.len())
            .filter(|&n| is_primary(&self.nodes[n]))
            .collect()
    }

    /// Waits until every node runs, finds the cluster complete, and every replica is in step, for
    /// instance after a killed node was restarted.
    ///
    /// # Errors
    /// [`Error::NotReady`] when it takes too long.
    pub fn wait_until_whole(&self) -> Result<(), Error> {
        wait_until_nothing(|| self.what_is_missing(), self.nodes.iter())
    }

    fn what_is_missing(&self) -> Result<Option<String>, Error> {
        let mut replicas = 0;
        for node in &self.nodes {
            let port = node.port();
            let info = node.expect_ok(&["CLUSTER", "INFO"])?;
            let (nodes, slots) = (NODES.to_string(), SLOTS.to_string());
            let expected = [
                ("cluster_known_nodes", &nodes[..]),
                ("cluster_slots_ok", &slots[..]),
                ("cluster_state", "ok"),
            ];
            for (field, value) in expected {
                let found = info.field(field).unwrap_or("nothing");
                if found != value {
                    return Ok(Some(format!("node {port} has {found} for {field}")));
                }
            }
            let table = node.expect_ok(&["CLUSTER", "NODES"])?;
            let table = table.text().unwrap_or_default();
            let seen = table
                .lines()
                .filter(|line| line.contains("slave ") && !line.contains("fail"))
                .count();
            if seen != NODES - PRIMARIES {
                return Ok(Some(format!("node {port} sees {seen} replicas")));
            }
            // The nodes learn only by gossip which of them form a shard, and one that is killed
            // before that has a configuration file that it refuses to read.
            let shards = node.expect_ok(&["CLUSTER", "SHARDS"])?;
            if !matches!(&shards, Reply::Array(shards) if shards.len() == PRIMARIES) {
                return Ok(Some(format!("node {port} sees {shards} shards")));
            }
            let replication = node.expect_ok(&["INFO", "replication"])?;
            if replication.field("role") == Some("slave") {
                replicas += 1;
                if replication.field("master_link_status") != Some("up") {
                    return Ok(Some(format!("the replica on port {port} is not in step")));
                }
            }
        }
        Ok((replicas != NODES - PRIMARIES).then(|| format!("{replicas} nodes are replicas")))
    }

    /// Joins nodes that know nothing of each other.
    fn join(&self) -> Result<(), Error> {
        for (n, node) in self.nodes.iter().enumerate() {
            node.expect_ok(&["CLUSTER", "SET-CONFIG-EPOCH", &(n + 1).to_string()])?;
        }
        for (n, node) in self.nodes[..PRIMARIES].iter().enumerate() {
            let (first, end) = (n * SLOTS / PRIMARIES, (n + 1) * SLOTS / PRIMARIES);
            let (first, last) = (first.to_string(), (end - 1).to_string());
            node.expect_ok(&["CLUSTER", "ADDSLOTSRANGE", &first, &last])?;
        }
        // Gossip would spread the word too, but takes seconds.
        for (n, node) in self.nodes.iter().enumerate() {
            for other in &self.nodes[n + 1..] {
                let (port, bus) = (other.port().to_string(), other.bus_port().to_string());
                node.expect_ok(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus])?;
            }
        }
        for (primary, replica) in self.nodes.iter().zip(&self.nodes[PRIMARIES..]) {
            let id = primary.expect_ok(&["CLUSTER", "MYID"])?;
            // It refuses until it knows that node.
            let replicate = || {
                replica.expect_ok(&["CLUSTER", "REPLICATE", id.text().unwrap_or_default()])?;
                Ok(None)
            };
            wait_until_nothing(replicate, self.nodes.iter())?;
        }
        Ok(())
    }
}

impl ClusterBuilder {
    /// The password of the default user of each node. Default: none.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.node = self.node.password(password);
        self
    }

    /// As [`StandaloneBuilder::tls`], for each node and between the nodes. Default: no TLS.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.node = self.node.tls(tls);
        self
    }

    /// As [`StandaloneBuilder::user`], for each node. The replicas have a user of their own.
    #[must_use]
    pub fn user(mut self, name: &str, password: &str, rules: &str) -> Self {
        self.node = self.node.user(name, password, rules);
        self
    }

    /// Adds a directive to each node, as [`StandaloneBuilder::config`] does.
    #[must_use]
    pub fn config(mut self, key: &str, value: &str) -> Self {
        self.node = self.node.config(key, value);
        self
    }

    /// As [`StandaloneBuilder::persistence`], for each node. Default: false.
    #[must_use]
    pub fn persistence(mut self, persistence: bool) -> Self {
        self.node = self.node.persistence(persistence);
        self
    }

    /// As [`StandaloneBuilder::without_modules`], for each node.
    #[must_use]
    pub fn without_modules(mut self) -> Self {
        self.node = self.node.without_modules();
        self
    }

    /// As [`StandaloneBuilder::without_search`], for each node. Default: they have search.
    #[must_use]
    pub fn without_search(mut self, without_search: bool) -> Self {
        self.node = self.node.without_search(without_search);
        self
    }

    /// The server to run. Default: [`Installation::find_or_install`].
    #[must_use]
    pub fn installation(mut self, installation: Installation) -> Self {
        self.installation = Some(installation);
        self
    }

    /// Starts all nodes, joins them, and waits until the cluster is complete.
    ///
    /// # Errors
    /// Those of [`StandaloneBuilder::start`], and [`Error::NotReady`] with the ends of all logs
    /// when the nodes do not find each other.
    pub fn start(self) -> Result<Cluster, Error> {
        let installation = match self.installation {
            Some(installation) => installation,
            None => Installation::find_or_install()?,
        };
        let node = self
            .node
            .installation(installation)
            .role(Role::ClusterNode)
            .config("cluster-enabled", "yes")
            .config("cluster-config-file", "nodes.conf")
            .config("cluster-node-timeout", "2000")
            .config("cluster-replica-validity-factor", "0")
            .config("repl-diskless-sync", "yes")
            .config("repl-diskless-sync-delay", "0")
            .prepared()?;
        let cluster = Cluster {
            nodes: start_all(vec![node.clone(); NODES])?,
            plan: node,
        };
        cluster.join()?;
        cluster.wait_until_whole()?;
        Ok(cluster)
    }
}
