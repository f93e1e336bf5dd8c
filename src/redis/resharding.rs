//! Slots that move from node to node while keys are walked: which nodes have taken some over.

use std::ops::RangeInclusive;

use futures_util::future::join_all;

use super::driver::{Command, NodeHandle};
use super::store::Store;

/// The slots of every primary, as each says of itself.
pub(crate) struct NodeSlots(Vec<Node>);

struct Node {
    handle: NodeHandle,
    /// The name that it has among the others.
    id: String,
    owned: Vec<RangeInclusive<u16>>,
    importing: Vec<u16>,
}

impl NodeSlots {
    /// Asks every primary of a cluster. Elsewhere, and when one does not say, there is none: a walk
    /// is then what SCAN of each node makes it.
    pub(crate) async fn read(store: &Store, operation: &'static str) -> Option<Self> {
        if !store.driver().is_cluster() {
            return None;
        }
        let primaries = store.driver().primaries().ok()?;
        let asked = primaries.into_iter().map(|handle| async move {
            let nodes = Command::new("CLUSTER").arg("NODES");
            let reply = store.driver().call_at(operation, &handle, nodes).await;
            let text = reply.map(|reply| reply.into_bytes().unwrap_or_default());
            text.map(|text| Node::of(handle, &String::from_utf8_lossy(&text)))
        });
        let mut nodes = Vec::new();
        for node in join_all(asked).await {
            match node {
                Ok(Some(node)) => nodes.push(node),
                Ok(None) => return None,
                Err(error) => {
                    store.session.warn_of_slots(&error);
                    return None;
                }
            }
        }
        Some(Self(nodes))
    }

    /// The nodes that have taken over slots since, or are about to: keys may have come to them from
    /// nodes that were walked later.
    pub(crate) fn with_more_than(&self, before: &Self) -> Vec<NodeHandle> {
        self.with(|node, slot| !before.has(node, slot))
    }

    /// Those, and the nodes that some slots are on their way to.
    pub(crate) fn with_more_than_or_importing(&self, before: &Self) -> Vec<NodeHandle> {
        self.with(|node, slot| node.importing.contains(&slot) || !before.has(node, slot))
    }

    fn with(&self, is_met: impl Fn(&Node, u16) -> bool) -> Vec<NodeHandle> {
        let nodes = self.0.iter().filter(|node| {
            let owned = node.owned.iter().cloned().flatten();
            let mut slots = owned.chain(node.importing.iter().copied());
            slots.any(|slot| is_met(node, slot))
        });
        nodes.map(|node| node.handle.clone()).collect()
    }

    /// Whether a node had a slot, or was taking it over.
    fn has(&self, node: &Node, slot: u16) -> bool {
        let same = self.0.iter().find(|other| other.id == node.id);
        same.is_some_and(|same| {
            same.owned.iter().any(|range| range.contains(&slot)) || same.importing.contains(&slot)
        })
    }
}

impl Node {
    /// Reads what the node that is asked says of itself in the reply to CLUSTER NODES: its id,
    /// address, flags, primary, three numbers, state of the link, and then its slots; one that is
    /// taken over stands in brackets, with the node that it comes from.
    fn of(handle: NodeHandle, nodes: &str) -> Option<Self> {
        let mut fields = nodes.lines().find_map(|line| {
            let fields = line.split(' ');
            let flags = fields.clone().nth(2)?;
            flags
                .split(',')
                .any(|flag| flag == "myself")
                .then_some(fields)
        })?;
        let id = fields.next()?.to_owned();
        let (mut owned, mut importing) = (Vec::new(), Vec::new());
        for slots in fields.skip(7) {
            if let Some(moving) = slots.strip_prefix('[') {
                let taken = moving.split_once("-<-");
                importing.extend(taken.and_then(|(slot, _)| slot.parse::<u16>().ok()));
                continue;
            }
            let (first, last) = slots.split_once('-').unwrap_or((slots, slots));
            if let (Ok(first), Ok(last)) = (first.parse(), last.parse()) {
                owned.push(first..=last);
            }
        }
        Some(Self {
            handle,
            id,
            owned,
            importing,
        })
    }
}
