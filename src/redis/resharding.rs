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
    /// The ids of the nodes that slots of this one are on their way to.
    targets: Vec<String>,
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
        let targets = nodes.iter().flat_map(|node| &node.targets);
        let is_known = |id: &String| nodes.iter().any(|node| node.id == *id);
        if let Some(id) = targets.into_iter().find(|id| !is_known(id)) {
            tracing::warn!(
                %id,
                "slots are on their way to a node that has none yet: keys that have moved there already \
                 may be passed over"
            );
        }
        Some(Self(nodes))
    }

    /// The nodes that have taken over slots since, or are about to: keys may have come to them from
    /// nodes that were walked later.
    pub(crate) fn with_more_than(&self, before: &Self) -> Vec<NodeHandle> {
        self.with(|node, slot| {
            let before = before.of(node);
            !before.is_some_and(|before| before.owns(slot) || before.importing.contains(&slot))
        })
    }

    /// Those, and the nodes that some slots are on their way to.
    ///
    /// Those that were on their way already when a walk began are among them: some of their keys
    /// have come since.
    pub(crate) fn with_more_than_or_importing(&self, before: &Self) -> Vec<NodeHandle> {
        self.with(|node, slot| {
            let owned = before.of(node).is_some_and(|before| before.owns(slot));
            node.importing.contains(&slot) || !owned
        })
    }

    fn with(&self, is_met: impl Fn(&Node, u16) -> bool) -> Vec<NodeHandle> {
        let nodes = self.0.iter().filter(|node| {
            let owned = node.owned.iter().cloned().flatten();
            let mut slots = owned.chain(node.importing.iter().copied());
            slots.any(|slot| is_met(node, slot))
        });
        nodes.map(|node| node.handle.clone()).collect()
    }

    /// The same node.
    fn of(&self, node: &Node) -> Option<&Node> {
        self.0.iter().find(|other| other.id == node.id)
    }
}

impl Node {
    fn owns(&self, slot: u16) -> bool {
        self.owned.iter().any(|range| range.contains(&slot))
    }

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
        let (mut owned, mut importing, mut targets) = (Vec::new(), Vec::new(), Vec::new());
        for slots in fields.skip(7) {
            if let Some(moving) = slots.strip_prefix('[') {
                let taken = moving.split_once("-<-");
                importing.extend(taken.and_then(|(slot, _)| slot.parse::<u16>().ok()));
                let given = moving.split_once("->-").map(|(_, id)| id);
                targets.extend(given.map(|id| id.trim_end_matches(']').to_owned()));
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
            targets,
        })
    }
}
