//! The servers of a cluster, and which slots each has.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use fred::error::{Error as FredError, ErrorKind};
use fred::types::config::ServerConfig;
use futures_util::future::{join_all, select_ok};
use tokio::sync::Notify;

use super::flight::{Live, lost};
use super::link::Task;
use super::node::{Node, Nodes};
use super::{Command, Reply};
use crate::redis::slots::SLOTS;

/// How long a server may take to tell the slots; then another is asked.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the slots are asked for without a reason, since nobody tells of replicas gone.
const NOW_AND_THEN: Duration = Duration::from_secs(60);
/// How long nothing more is asked after an answer: many calls find out at once.
const PAUSE: Duration = Duration::from_millis(50);
/// A slot that no server has.
const NOBODY: u16 = u16::MAX;

/// The servers of a cluster.
#[derive(Debug)]
pub(super) struct Cluster {
    shared: Arc<Shared>,
    task: Task,
}

#[derive(Debug)]
struct Shared {
    nodes: Nodes,
    seeds: Vec<Address>,
    map: RwLock<Map>,
    outdated: Notify,
}

/// Where a server is.
pub(super) type Address = (String, u16);

/// Which server has which slot.
#[derive(Debug)]
struct Map {
    servers: Vec<(Address, Arc<Node>)>,
    /// For each slot its server, by its place in `servers`.
    owners: Box<[u16]>,
}

/// What CLUSTER SLOTS says.
#[derive(Debug, PartialEq, Eq)]
struct Range {
    first: u16,
    last: u16,
    primary: Address,
}

impl Cluster {
    /// Finds the servers by asking the first seed that answers, and connects to them.
    pub(super) async fn connect(nodes: Nodes, seeds: Vec<Address>) -> Result<Self, FredError> {
        let ranges = ask_seeds(&nodes, &seeds).await?;
        let mut addresses: Vec<Address> =
            ranges.iter().map(|range| range.primary.clone()).collect();
        addresses.sort();
        addresses.dedup();
        let servers: Vec<_> = addresses
            .into_iter()
            .map(|address| {
                let node = nodes.later(&centralized(&address));
                (address, node)
            })
            .collect();
        wait_for_all(&nodes, &servers).await?;
        let mut map = Map {
            servers,
            owners: vec![NOBODY; usize::from(SLOTS)].into(),
        };
        map.take(ranges, &nodes);
        let shared = Arc::new(Shared {
            nodes,
            seeds,
            map: RwLock::new(map),
            outdated: Notify::new(),
        });
        let task = Task::start(keep_current(Arc::clone(&shared)));
        Ok(Self { shared, task })
    }

    /// The server of a slot; any for `None`.
    pub(super) fn node(&self, slot: Option<u16>) -> Option<Arc<Node>> {
        let map = self.shared.map();
        let owner = if let Some(slot) = slot {
            usize::from(map.owners[usize::from(slot)])
        } else {
            let live = |(_, node): &(Address, Arc<Node>)| node.connections() > 0;
            map.servers.iter().position(live).unwrap_or(0)
        };
        map.servers.get(owner).map(|(_, node)| Arc::clone(node))
    }

    /// The server at an address, as a redirection names it; without a host it is the one that
    /// redirects.
    pub(super) fn node_at(&self, host: &str, port: u16, from: &Node) -> Arc<Node> {
        let address = address_in_reply(host, port, from);
        self.shared.map_mut().server(&address, &self.shared.nodes).1
    }

    /// Learns that a slot is elsewhere, and asks for all of them in the background.
    pub(super) fn moved(&self, slot: u16, host: &str, port: u16, from: &Node) {
        let address = address_in_reply(host, port, from);
        let mut map = self.shared.map_mut();
        let (owner, _) = map.server(&address, &self.shared.nodes);
        if let Some(of_slot) = map.owners.get_mut(usize::from(slot)) {
            *of_slot = owner;
        }
        drop(map);
        self.outdated();
    }

    /// Asks for the slots in the background.
    pub(super) fn outdated(&self) {
        self.shared.outdated.notify_one();
    }

    /// All servers that have slots.
    pub(super) fn all(&self) -> Vec<Arc<Node>> {
        let map = self.shared.map();
        let with_slots = map
            .servers
            .iter()
            .enumerate()
            .filter(|(place, _)| map.owners.iter().any(|owner| usize::from(*owner) == *place));
        with_slots.map(|(_, (_, node))| Arc::clone(node)).collect()
    }

    /// How many slots no server has.
    pub(super) fn uncovered(&self) -> usize {
        let map = self.shared.map();
        map.owners.iter().filter(|owner| **owner == NOBODY).count()
    }

    /// Ends all connections, for good.
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

    /// Asks the servers that answer, all at once, then the seeds. Of several views the one of the
    /// latest epoch counts: a server that was cut off from the others, or has been started anew and
    /// not heard from them, takes slots for its own that others have taken over.
    async fn ask(&self) -> Result<Vec<Range>, FredError> {
        let live: Vec<_> = {
            let map = self.map();
            let servers = map.servers.iter();
            servers
                .filter_map(|(address, node)| Some((address.0.clone(), node.live()?)))
                .collect()
        };
        let asking = live.iter().map(|(host, live)| async move {
            match ask(live, host).await {
                Ok(view) => Some(view),
                Err(error) => {
                    tracing::debug!(host, %error, "the slots are not told");
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
    /// The place of a server, which is connected to if it is new.
    fn server(&mut self, address: &Address, nodes: &Nodes) -> (u16, Arc<Node>) {
        let known = self.servers.iter().position(|(known, _)| known == address);
        let place = known.unwrap_or_else(|| {
            let node = nodes.later(&centralized(address));
            self.servers.push((address.clone(), node));
            self.servers.len() - 1
        });
        // There are never more servers than slots.
        let owner = u16::try_from(place).unwrap_or(NOBODY);
        (owner, Arc::clone(&self.servers[place].1))
    }

    /// Takes what a server says for the truth; what has no slot any more is let go.
    fn take(&mut self, ranges: Vec<Range>, nodes: &Nodes) {
        let mut fresh = Self {
            servers: Vec::new(),
            owners: vec![NOBODY; usize::from(SLOTS)].into(),
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

/// Waits until all servers are connected to. One that cannot be reached does not hold up the
/// others for long, as long as there are others.
async fn wait_for_all(nodes: &Nodes, servers: &[(Address, Arc<Node>)]) -> Result<(), FredError> {
    let all = async {
        loop {
            let mut changes = nodes.changes.listen();
            if servers.iter().all(|(_, node)| node.connections() > 0) {
                return;
            }
            // Those who tell of changes outlive this.
            let _ = changes.changed().await;
        }
    };
    if tokio::time::timeout(nodes.dialer.limit / 2, all)
        .await
        .is_ok()
    {
        return Ok(());
    }
    let mut problem = None;
    let mut connected = false;
    for (address, node) in servers {
        if node.connections() > 0 {
            connected = true;
        } else {
            let error = node.problem();
            tracing::warn!(server = %name(address), %error, "a server of the cluster cannot be reached yet");
            problem.get_or_insert(error);
        }
    }
    match problem {
        Some(problem) if !connected => Err(problem),
        _ => Ok(()),
    }
}

/// Asks for the slots whenever somebody found them outdated.
async fn keep_current(shared: Arc<Shared>) {
    loop {
        let _ = tokio::time::timeout(NOW_AND_THEN, shared.outdated.notified()).await;
        match shared.ask().await {
            Ok(ranges) if !ranges.is_empty() => {
                shared.map_mut().take(ranges, &shared.nodes);
                shared.nodes.changes.tell();
            }
            Ok(_) => tracing::debug!("no server of the cluster has any slot"),
            Err(error) => tracing::warn!(%error, "no server of the cluster tells the slots"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Asks all seeds at once; the first that answers counts.
async fn ask_seeds(nodes: &Nodes, seeds: &[Address]) -> Result<Vec<Range>, FredError> {
    let asking = seeds.iter().map(|seed| {
        Box::pin(async move {
            let connection = nodes.dialer.dial(centralized(seed)).await?;
            let ranges = ask(&connection.live, &seed.0).await?.ranges;
            if ranges.is_empty() {
                let nobody = "CLUSTERDOWN no slot has a server";
                return Err(FredError::new(ErrorKind::Cluster, nobody));
            }
            Ok(ranges)
        })
    });
    // There is at least one: every URL names a host.
    let (ranges, _) = select_ok(asking).await?;
    Ok(ranges)
}

/// What a server takes for the truth.
struct View {
    /// How many elections it knows of; 0 where it does not say.
    epoch: u64,
    ranges: Vec<Range>,
}

async fn ask(live: &Live, host: &str) -> Result<View, FredError> {
    let slots = Command::new("CLUSTER").arg("SLOTS");
    let info = Command::new("CLUSTER").arg("INFO");
    let replies = tokio::time::timeout(PATIENCE, async { live.run(&[&slots, &info]).await });
    let replies = replies
        .await
        .map_err(|_| lost(format!("no answer within {PATIENCE:?}")))??;
    let mut replies = replies.into_iter();
    let reply = replies.next().ok_or_else(|| lost("no answer"))??;
    let ranges = reply.into_array().into_iter();
    let info = replies.next().and_then(Result::ok);
    Ok(View {
        epoch: info.as_ref().and_then(epoch_of).unwrap_or(0),
        ranges: ranges.filter_map(|range| range_of(range, host)).collect(),
    })
}

/// The epoch that a server's CLUSTER INFO tells.
fn epoch_of(info: &Reply) -> Option<u64> {
    let mut lines = info.as_str()?.lines();
    lines.find_map(|line| line.strip_prefix("cluster_current_epoch:")?.parse().ok())
}

/// Reads one range of slots; a server that does not know its own address is where it was asked.
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
        primary: (host.to_owned(), port),
    })
}

fn address_in_reply(host: &str, port: u16, from: &Node) -> Address {
    let host = if host.is_empty() || host == "?" {
        from.name().rsplit_once(':').map_or("", |(host, _)| host)
    } else {
        host
    };
    (host.to_owned(), port)
}

fn centralized((host, port): &Address) -> ServerConfig {
    ServerConfig::new_centralized(host, *port)
}

fn name((host, port): &Address) -> String {
    format!("{host}:{port}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &'static str) -> Reply {
        Reply::Bytes(bytes::Bytes::from_static(text.as_bytes()))
    }

    fn told(host: Reply, first: i64, last: i64) -> Reply {
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
    fn slots_belong_to_the_primary_that_is_told() {
        let read = |reply| range_of(reply, "asked");
        let here = |host: &str| {
            Some(Range {
                first: 0,
                last: 5_460,
                primary: (host.to_owned(), 7_001),
            })
        };
        assert_eq!(read(told(bytes("10.0.0.1"), 0, 5_460)), here("10.0.0.1"));
        assert_eq!(read(told(bytes(""), 0, 5_460)), here("asked"));
        assert_eq!(read(told(Reply::Nil, 0, 5_460)), here("asked"));
        assert_eq!(read(told(bytes("10.0.0.1"), 0, 16_384)), None);
        assert_eq!(read(told(bytes("10.0.0.1"), 9, 8)), None);
        assert_eq!(read(Reply::Nil), None);
    }
}
