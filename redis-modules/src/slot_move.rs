//! Moves a slot of a cluster from one primary to another while it is in use.

use crate::cluster::Cluster;
use crate::error::Error;
use crate::resp::Reply;
use crate::standalone::Standalone;

/// How long MIGRATE may take, in milliseconds.
const LIMIT: &str = "5000";

/// A slot on its way. Until it is [finished](Self::finish), keys that have moved are found at the
/// target only, and their old place answers ASK.
#[derive(Debug)]
pub struct SlotMove<'a> {
    cluster: &'a Cluster,
    slot: String,
    source: &'a Standalone,
    target: &'a Standalone,
    target_id: String,
}

impl Cluster {
    /// The index of the node that has a slot.
    ///
    /// # Errors
    /// [`Error::NotRunning`] when no primary says so.
    pub fn owner(&self, slot: u16) -> Result<usize, Error> {
        for primary in self.primaries() {
            let Ok(Reply::Array(ranges)) = self.nodes()[primary].call(&["CLUSTER", "SLOTS"]) else {
                continue;
            };
            let Some(id) = ranges.iter().find_map(|range| owner_in(range, slot)) else {
                continue;
            };
            let owner = self
                .nodes()
                .iter()
                .position(|node| id_of(node).is_ok_and(|found| found == id));
            if let Some(owner) = owner {
                return Ok(owner);
            }
        }
        Err(Error::NotRunning {
            detail: format!("no primary names the node of slot {slot}"),
        })
    }

    /// Starts to move a slot to the node with this index, which must be a primary.
    ///
    /// # Errors
    /// [`Error::UnexpectedReply`] when a node refuses.
    pub fn start_moving(&self, slot: u16, target: usize) -> Result<SlotMove<'_>, Error> {
        let (source, target) = (&self.nodes()[self.owner(slot)?], &self.nodes()[target]);
        let (source_id, target_id) = (id_of(source)?, id_of(target)?);
        let slot = slot.to_string();
        target.expect_ok(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source_id])?;
        source.expect_ok(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target_id])?;
        Ok(SlotMove {
            cluster: self,
            slot,
            source,
            target,
            target_id,
        })
    }
}

impl SlotMove<'_> {
    /// Moves some of the keys; returns how many there were to move.
    ///
    /// # Errors
    /// [`Error::UnexpectedReply`] when a node refuses.
    pub fn move_keys(&self, most: usize) -> Result<usize, Error> {
        let most = most.to_string();
        let keys = self
            .source
            .expect_ok(&["CLUSTER", "GETKEYSINSLOT", &self.slot, &most])?;
        let Reply::Array(keys) = keys else {
            return Ok(0);
        };
        let keys: Vec<_> = keys.iter().filter_map(Reply::text).collect();
        if !keys.is_empty() {
            let port = self.target.port().to_string();
            let mut command = vec!["MIGRATE", "127.0.0.1", &port, "", "0", LIMIT];
            let password = self.cluster.password();
            if let Some(password) = &password {
                command.extend(["AUTH", password]);
            }
            command.push("KEYS");
            command.extend(&keys);
            self.source.expect_ok(&command)?;
        }
        Ok(keys.len())
    }

    /// Moves what is left, and gives the slot to the target.
    ///
    /// # Errors
    /// [`Error::UnexpectedReply`] when a node refuses.
    pub fn finish(self) -> Result<(), Error> {
        while self.move_keys(100)? > 0 {}
        let primaries = self.cluster.primaries().into_iter();
        let others = primaries
            .map(|primary| &self.cluster.nodes()[primary])
            .filter(|node| node.port() != self.target.port());
        // The target first, so that the slot always has somebody.
        for node in std::iter::once(self.target).chain(others) {
            node.expect_ok(&["CLUSTER", "SETSLOT", &self.slot, "NODE", &self.target_id])?;
        }
        Ok(())
    }
}

/// The name that a node has among the others. Its port says less: with TLS it has two.
fn id_of(node: &Standalone) -> Result<String, Error> {
    let id = node.expect_ok(&["CLUSTER", "MYID"])?;
    Ok(id.text().unwrap_or_default().to_owned())
}

/// The id of the primary in one range of CLUSTER SLOTS, if the slot is in it.
fn owner_in(range: &Reply, slot: u16) -> Option<&str> {
    let Reply::Array(parts) = range else {
        return None;
    };
    let number = |at: usize| parts.get(at)?.text()?.parse::<u16>().ok();
    let Some(Reply::Array(primary)) = parts.get(2) else {
        return None;
    };
    (number(0)?..=number(1)?)
        .contains(&slot)
        .then(|| primary.get(2)?.text())?
}
