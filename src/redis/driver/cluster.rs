//! The servers of a cluster, and which slots each has.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use futures_util::future::{join_all, select_ok};
use tokio::sync::Notify;

use super::address::{Address, Endpoint};
use super::command::Command;
use super::connection::Connection;
use super::node::{Node, NodeFactory};
use super::reply::Reply;
use super::task::Task;
use crate::redis::error::RedisError;
use crate::redis::slots::SLOTS;

/// How long a server may take to return its slots.
const TIMEOUT: Duration = Duration::from_secs(1);
/// How often the slots are asked for without a redirection, to notice servers that have left.
const REFRESH: Duration = Duration::from_secs(60);
/// The shortest time between two requests for the slots: many calls are redirected at once.
const MIN_REFRESH: Duration = Duration::from_millis(50);
/// In place of the server of a slot that none has.
const NO_SERVER: u16 = u16::MAX;

/// The servers of a cluster.
#[derive(Debug)]
pub(super) struct Cluster {
    shared: Arc<Shared>,
    task: Task,
}

#[derive(Debug)]
struct Shared {
    nodes: NodeFactory,
    seeds: Vec<Address>,
    map: RwLock<Map>,
    outdated: Notify,
}

/// Which server has which slot.
#[derive(Debug)]
struct Map {
    servers: Vec<(Address, Arc<Node>)>,
    /// For each slot the index of its server in `servers`.
    owners: Box<[u16]>,
}

/// An element of the reply to CLUSTER SLOTS.
#[derive(Debug, PartialEq, Eq)]
struct Range {
    first: u16,
    last: u16,
    primary: Address,
}

impl Cluster {
    /// Finds the servers by asking the first seed that answers, and connects to them.
    pub(super) async fn connect(
        nodes: NodeFactory,
        seeds: Vec<Address>,
    ) -> Result<Self, RedisError> {
        let ranges = ask_seeds(&nodes, &seeds).await?;
        let mut addresses: Vec<Address> =
            ranges.iter().map(|range| range.primary.clone()).collect();
        addresses.sort();
        addresses.dedup();
        let servers: Vec<_> = addresses
            .into_iter()
            .map(|address| {
                let node = nodes.connect_later(&Endpoint::Tcp(address.clone()));
                (address, node)
            })
            .collect();
        wait_for_all(&nodes, &servers).await?;
        let mut map = Map {
            servers,
            owners: vec![NO_SERVER; usize::from(SLOTS)].into(),
        };
        map.replace(ranges, &nodes);
        let shared = Arc::new(Shared {
            nodes,
            seeds,
            map: RwLock::new(map),
            outdated: Notify::new(),
        });
        let task = Task::start(keep_current(Arc::clone(&shared)));
        Ok(Self { shared, task })
    }

    /// The server of a slot; for `None` one that is connected.
    pub(super) fn node(&self, slot: Option<u16>) -> Option<Arc<Node>> {
        let map = self.shared.map();
        let owner = if let Some(slot) = slot {
            usize::from(map.owners[usize::from(slot)])
        } else {
            let works = |(_, node): &(Address, Arc<Node>)| node.connected() > 0;
            map.servers.iter().position(works).unwrap_or(0)
        };
        map.servers.get(owner).map(|(_, node)| Arc::clone(node))
    }

    /// The server at the address of a redirection. An empty host means that of the server that
    /// redirects.
    pub(super) fn node_at(&self, host: &str, port: u16, from: &Node) -> Arc<Node> {
        let address = address_in_reply(host, port, from);
        self.shared.map_mut().server(&address, &self.shared.nodes).1
    }

    /// Assigns a slot to another server, and refreshes all slots in the background.
    pub(super) fn moved(&self, slot: u16, host: &str, port: u16, from: &Node) {
        let address = address_in_reply(host, port, from);
        let mut map = self.shared.map_mut();
        let (owner, _) = map.server(&address, &self.shared.nodes);
        if let Some(of_slot) = map.owners.get_mut(usize::from(slot)) {
            *of_slot = owner;
        }
        drop(map);
        self.refresh();
    }

    /// Refreshes the slots in the background.
    pub(super) fn refresh(&self) {
        self.shared.outdated.notify_one();
    }

    /// The servers that have slots.
    pub(super) fn all(&self) -> Vec<Arc<Node>> {
        let map = self.shared.map();
        let with_slots = map
            .servers
            .iter()
            .enumerate()
            .filter(|(place, _)| map.owners.iter().any(|owner| usize::from(*owner) == *place));
        with_slots.map(|(_, (_, node))| Arc::clone(node)).collect()
    }

    /// How many slots have no server.
    pub(super) fn uncovered(&self) -> usize {
        let map = self.shared.map();
        map.owners
            .iter()
            .filter(|owner| **owner == NO_SERVER)
            .count()
    }

    /// Closes all connections for good.
    pub(super) fn stop(&self) {
        self.task.stop();
        for (_, node) in &self.shared.map().servers {
            node.stop();
        }
    }
}

impl Shared {
    fn map(&self) -> RwLockReadGuard<'_, Map> {
        self.map.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn map_mut(&self) -> RwLockWriteGuard<'_, Map> {
        self.map.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the servers that are connected, all at once; if none answers, the seeds. The view of
    /// the latest epoch counts: a server that was cut off from the others, or was restarted and has
    /// not heard from them, claims slots that others have taken over.
    async fn ask(&self) -> Result<Vec<Range>, RedisError> {
        let connections: Vec<_> = {
            let map = self.map();
            let servers = map.servers.iter();
            servers
                .filter_map(|(address, node)| Some((address.host.clone(), node.connection(false)?)))
                .collect()
        };
        let asking = connections.iter().map(|(host, connection)| async move {
            match ask(connection, host).await {
                Ok(view) => Some(view),
                Err(error) => {
                    tracing::debug!(host, %error, "a server does not return the slots");
                    None
                }
            }
        });
        let views = join_all(asking).await;
        let latest = views.into_iter().flatten().max_by_key(|view| view.epoch);
        if let Some(view) = latest {
            return Ok(view.ranges);
        }
        ask_seeds(&self.nodes, &self.seeds).await
    }
}

impl Map {
    /// The index of a server, which is connected to if it is new.
    fn server(&mut self, address: &Address, nodes: &NodeFactory) -> (u16, Arc<Node>) {
        let known = self.servers.iter().position(|(known, _)| known == address);
        let place = known.unwrap_or_else(|| {
            let node = nodes.connect_later(&Endpoint::Tcp(address.clone()));
            self.servers.push((address.clone(), node));
            self.servers.len() - 1
        });
        // There are never more servers than slots.
        let owner = u16::try_from(place).unwrap_or(NO_SERVER);
        (owner, Arc::clone(&self.servers[place].1))
    }

    /// Replaces the map. Servers that have no slot any more are disconnected.
    fn replace(&mut self, ranges: Vec<Range>, nodes: &NodeFactory) {
        let mut fresh = Self {
            servers: Vec::new(),
            owners: vec![NO_SERVER; usize::from(SLOTS)].into(),
        };
        for range in ranges {
            let known = self
                .servers
                .iter()
                .find(|(known, _)| *known == range.primary);
            if let Some((address, node)) = known
                && fresh.servers.iter().all(|(known, _)| known != address)
            {
                fresh.servers.push((address.clone(), Arc::clone(node)));
            }
            let (owner, _) = fresh.server(&range.primary, nodes);
            let slots = usize::from(range.first)..=usize::from(range.last);
            if let Some(slots) = fresh.owners.get_mut(slots) {
                slots.fill(owner);
            }
        }
        *self = fresh;
    }
}

/// Waits until all servers are connected. Servers that cannot be reached are waited for half of the
/// time limit, if there are others.
async fn wait_for_all(
    nodes: &NodeFactory,
    servers: &[(Address, Arc<Node>)],
) -> Result<(), RedisError> {
    let all = async {
        loop {
            let mut changes = nodes.changes.subscribe();
            if servers.iter().all(|(_, node)| node.connected() > 0) {
                return;
            }
            // The sender outlives this.
            let _ = changes.changed().await;
        }
    };
    if tokio::time::timeout(nodes.connector.limit / 2, all)
        .await
        .is_ok()
    {
        return Ok(());
    }
    let mut problem = None;
    let mut connected = false;
    for (address, node) in servers {
        if node.connected() > 0 {
            connected = true;
        } else {
            let error = node.problem();
            tracing::warn!(server = %address, %error, "a server of the cluster cannot be reached yet");
            problem.get_or_insert(error);
        }
    }
    match problem {
        Some(problem) if !connected => Err(problem),
        _ => Ok(()),
    }
}

/// Asks for the slots whenever they turn out to be outdated.
async fn keep_current(shared: Arc<Shared>) {
    loop {
        let _ = tokio::time::timeout(REFRESH, shared.outdated.notified()).await;
        match shared.ask().await {
            Ok(ranges) if !ranges.is_empty() => {
                shared.map_mut().replace(ranges, &shared.nodes);
                shared.nodes.changes.notify();
            }
            Ok(_) => tracing::debug!("no server of the cluster has a slot"),
            Err(error) => tracing::warn!(%error, "no server of the cluster returns the slots"),
        }
        tokio::time::sleep(MIN_REFRESH).await;
    }
}

/// Asks all seeds at once; the first reply counts.
async fn ask_seeds(nodes: &NodeFactory, seeds: &[Address]) -> Result<Vec<Range>, RedisError> {
    let asking = seeds.iter().map(|seed| {
        Box::pin(async move {
            let endpoint = Endpoint::Tcp(seed.clone());
            let new = nodes.connector.connect(&endpoint).await?;
            let ranges = ask(&new.connection, &seed.host).await?.ranges;
            if ranges.is_empty() {
                return Err(RedisError::reply("CLUSTERDOWN no slot has a server"));
            }
            Ok(ranges)
        })
    });
    // There is at least one, as every URL names a host.
    let (ranges, _) = select_ok(asking).await?;
    Ok(ranges)
}

/// The cluster as one server sees it.
struct View {
    /// The latest election that the server knows of; 0 if it does not report it.
    epoch: u64,
    ranges: Vec<Range>,
}

async fn ask(connection: &Connection, host: &str) -> Result<View, RedisError> {
    let slots = Command::new("CLUSTER").arg("SLOTS");
    let info = Command::new("CLUSTER").arg("INFO");
    let commands = [&slots, &info];
    let replies = tokio::time::timeout(TIMEOUT, connection.run(&commands))
        .await
        .map_err(|_| RedisError::lost(format!("no reply within {TIMEOUT:?}")))??;
    let mut replies = replies.into_iter();
    let reply = replies
        .next()
        .ok_or_else(|| RedisError::lost("no reply"))??;
    let ranges = reply.into_array().into_iter();
    let info = replies.next().and_then(Result::ok);
    Ok(View {
        epoch: info.as_ref().and_then(epoch_of).unwrap_or(0),
        ranges: ranges.filter_map(|range| range_of(range, host)).collect(),
    })
}

/// The epoch in a reply to CLUSTER INFO.
fn epoch_of(info: &Reply) -> Option<u64> {
    let mut lines = info.as_str()?.lines();
    lines.find_map(|line| line.strip_prefix("cluster_current_epoch:")?.parse().ok())
}

/// Reads one range of slots. A server that does not know its own host is at the one that was asked.
fn range_of(range: Reply, asked: &str) -> Option<Range> {
    let mut parts = range.into_array().into_iter();
    let mut number = || u16::try_from(parts.next()?.as_int()?).ok();
    let (first, last) = (number()?, number()?);
    let mut primary = parts.next()?.into_array().into_iter();
    let host = primary.next()?;
    let host = match host.as_str() {
        None | Some("" | "?") => asked,
        Some(host) => host,
    };
    let port = u16::try_from(primary.next()?.as_int()?).ok()?;
    (first <= last && last < SLOTS).then(|| Range {
        first,
        last,
        primary: Address::new(host, port),
    })
}

fn address_in_reply(host: &str, port: u16, from: &Node) -> Address {
    let host = if host.is_empty() || host == "?" {
        from.name().rsplit_once(':').map_or("", |(host, _)| host)
    } else {
        host
    };
    Address::new(host, port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &'static str) -> Reply {
        Reply::Bytes(bytes::Bytes::from_static(text.as_bytes()))
    }

    fn range(host: Reply, first: i64, last: i64) -> Reply {
        let primary = Reply::Array(vec![host, Reply::Int(7_001), bytes("id")]);
        let replica = Reply::Array(vec![bytes("10.0.0.9"), Reply::Int(7_009)]);
        Reply::Array(vec![Reply::Int(first), Reply::Int(last), primary, replica])
    }

    #[test]
    fn the_epoch_of_a_view_is_read() {
        let info = "cluster_state:ok\r\ncluster_current_epoch:7\r\ncluster_my_epoch:3\r\n";
        assert_eq!(epoch_of(&Reply::Bytes(info.into())), Some(7));
        assert_eq!(epoch_of(&Reply::Bytes("cluster_state:ok".into())), None);
    }

    #[test]
    fn slots_belong_to_the_primary_of_their_range() {
        let read = |reply| range_of(reply, "asked");
        let here = |host: &str| {
            Some(Range {
                first: 0,
                last: 5_460,
                primary: Address::new(host, 7_001),
            })
        };
        assert_eq!(read(range(bytes("10.0.0.1"), 0, 5_460)), here("10.0.0.1"));
        assert_eq!(read(range(bytes(""), 0, 5_460)), here("asked"));
        assert_eq!(read(range(Reply::Nil, 0, 5_460)), here("asked"));
        assert_eq!(read(range(bytes("10.0.0.1"), 0, 16_384)), None);
        assert_eq!(read(range(bytes("10.0.0.1"), 9, 8)), None);
        assert_eq!(read(Reply::Nil), None);
    }
}
