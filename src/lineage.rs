//! Which checkpoints others need: the ancestors that hold the history of delta channels.
//!
//! Most channels have their value in every checkpoint, so that any checkpoint can be removed
//! without a loss to the others. A channel of LangGraph's `DeltaChannel` has a value only in some
//! checkpoints, its snapshots; elsewhere its value is made from the newest snapshot among the
//! ancestors and the writes made since, all of which must stay as long as the checkpoint does.
//!
//! Nothing stored says of which kind a channel is, and channels that lose their value when they
//! are read (`branch:to:…`, `__start__`) look much the same. What is known of LangGraph tells them
//! apart; one sign in one checkpoint of a namespace is enough:
//!
//! - The metadata's `counters_since_delta_snapshot` names the channel. LangGraph counts every
//!   delta channel there that has no snapshot in the checkpoint.
//! - A checkpoint gave the channel a new version, and its parent's writes hold one to the channel,
//!   yet it has no value. Any other channel that was written has a value right after.
//! - A checkpoint has no value for the channel, but its parent has one at the same version. Any
//!   other channel gets a new version when it loses its value.
//!
//! The second and third sign are for checkpoints without counters: those that LangGraph copies
//! for a state update, and those of callers who do not count. When a sign is wrong, a checkpoint
//! too many is kept.
//!
//! A subgraph that is called has a namespace for each call (`node:task-id`), of which nobody reads
//! any more once the root checkpoint that the call started from has been superseded and pruned:
//! the metadata's `parents` name it under `""`. So the namespace goes with it. That of a subgraph
//! compiled with `checkpointer=True` has no task's id, and goes on from call to call.
//!
//! Of the ancestors, those stay that lie on the way to the last one that adds something, that is
//! a value or a write. So a delta channel's history is the same before and after.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::SystemTime;

use bytes::Bytes;

use crate::checkpoint::{Checkpoint, CheckpointMetadata};
use crate::codec::{RawJson, RawObject};
use crate::error::Result;
use crate::id::{CheckpointId, CheckpointNamespace};
use crate::options::PruneStrategy;

/// What is to be known of one checkpoint of a namespace to decide what it needs.
#[derive(Debug, Clone)]
pub(crate) struct LineageNode {
    id: CheckpointId,
    parent: Option<CheckpointId>,
    /// The checkpoint of the root namespace that a subgraph was called from.
    root: Option<CheckpointId>,
    made_at: Option<SystemTime>,
    versions: BTreeMap<Box<str>, RawJson>,
    valued: BTreeSet<Box<str>>,
    counted: BTreeSet<Box<str>>,
    written: BTreeSet<Box<str>>,
}

impl LineageNode {
    /// The node of a checkpoint; `written` are the channels of its pending writes.
    ///
    /// # Errors
    /// [`Error::InvalidInput`](crate::Error::InvalidInput) if the values or versions of the
    /// checkpoint's channels are no object: what it needs is not known then.
    pub(crate) fn new<'a>(
        checkpoint: &Checkpoint,
        metadata: &CheckpointMetadata,
        parent: Option<CheckpointId>,
        written: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self> {
        let versions = match checkpoint.fields().get("channel_versions") {
            Some(versions) if versions.as_str() != "null" => {
                RawObject::parse(versions.bytes().clone())?
            }
            _ => RawObject::new(),
        };
        // Counters that are no object name no channel.
        let counters = metadata
            .fields()
            .get("counters_since_delta_snapshot")
            .and_then(|counters| RawObject::parse(counters.bytes().clone()).ok())
            .unwrap_or_default();
        Ok(Self {
            id: checkpoint.id().clone(),
            parent,
            root: root_of(metadata),
            made_at: made_at(checkpoint),
            versions: versions
                .iter()
                // A copy, so that the document that it stands in is not kept in memory.
                .map(|(channel, version)| {
                    let version = Bytes::copy_from_slice(version.bytes());
                    (channel.into(), RawJson::trusted(version))
                })
                .collect(),
            valued: names(&checkpoint.channel_values()?),
            counted: names(&counters),
            written: written.into_iter().map(Into::into).collect(),
        })
    }

    /// The same checkpoint with values of channels that are stored apart from it.
    #[must_use]
    pub(crate) fn with_values(mut self, channels: impl IntoIterator<Item = Box<str>>) -> Self {
        self.valued.extend(channels);
        self
    }

    fn lacks(&self, channel: &str) -> bool {
        self.versions.contains_key(channel) && !self.valued.contains(channel)
    }

    fn contributes(&self, channel: &str) -> bool {
        self.valued.contains(channel) || self.written.contains(channel)
    }
}

fn names(object: &RawObject) -> BTreeSet<Box<str>> {
    object.iter().map(|(name, _)| name.into()).collect()
}

fn root_of(metadata: &CheckpointMetadata) -> Option<CheckpointId> {
    let parents = metadata.fields().get("parents")?;
    let parents = RawObject::parse(parents.bytes().clone()).ok()?;
    let root = parents.get("")?.decode::<String>().ok()?;
    CheckpointId::new(root).ok()
}

/// What becomes of the root namespace's checkpoints, for the namespaces of the subgraphs that were
/// called from them.
#[derive(Debug, Default)]
pub(crate) struct Roots {
    saved: BTreeSet<CheckpointId>,
    kept: BTreeSet<CheckpointId>,
}

impl Roots {
    /// The checkpoints of a namespace that stay when it is pruned, and whether none does because it
    /// is a subgraph's call that is over. The root namespace comes before all others.
    pub(crate) fn survivors(
        &mut self,
        namespace: &CheckpointNamespace,
        nodes: &[LineageNode],
        strategy: &PruneStrategy,
    ) -> (BTreeSet<CheckpointId>, bool) {
        let is_over = self.have_left(namespace, nodes);
        let kept = if is_over {
            BTreeSet::new()
        } else {
            survivors(nodes, strategy, SystemTime::now())
        };
        if namespace.is_root() {
            self.saved = nodes.iter().map(|node| node.id.clone()).collect();
            self.kept.clone_from(&kept);
        }
        (kept, is_over)
    }

    /// Whether a namespace with these checkpoints is a subgraph's call that is over: the root
    /// checkpoint that it started from goes, or is gone. A call may be saved before its root
    /// checkpoint is, which is newer than all others then.
    fn have_left(&self, namespace: &CheckpointNamespace, nodes: &[LineageNode]) -> bool {
        let newest = nodes.iter().max_by_key(|node| &node.id);
        let Some(root) = newest.and_then(|node| node.root.as_ref()) else {
            return false;
        };
        let is_superseded = self.saved.contains(root) || Some(root) < self.kept.last();
        namespace.as_str().contains(':') && is_superseded && !self.kept.contains(root)
    }
}

/// What becomes of a namespace's checkpoints when it is pruned.
#[cfg(feature = "redis")]
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) removed: Vec<CheckpointId>,
    /// How many writes go with them.
    pub(crate) writes: u64,
    kept: BTreeSet<CheckpointId>,
    /// Whether nothing is kept, as it is a subgraph's call that is over.
    is_over: bool,
}

#[cfg(feature = "redis")]
impl Plan {
    /// `nodes` are all checkpoints of the namespace, each with how many writes it has.
    pub(crate) fn new(
        namespace: &CheckpointNamespace,
        nodes: &[LineageNode],
        writes: &[u64],
        strategy: &PruneStrategy,
        roots: &mut Roots,
    ) -> Self {
        let (kept, is_over) = roots.survivors(namespace, nodes, strategy);
        let (mut removed, mut removed_writes) = (Vec::new(), 0);
        for (node, writes) in nodes.iter().zip(writes) {
            if !kept.contains(&node.id) {
                removed.push(node.id.clone());
                removed_writes += writes;
            }
        }
        Self {
            removed,
            writes: removed_writes,
            kept,
            is_over,
        }
    }

    /// Whether writes that wait for a checkpoint go too: they stay if it can still become the
    /// newest.
    pub(crate) fn ends_writes_of(&self, id: &CheckpointId) -> bool {
        self.is_over || (Some(id) <= self.kept.last() && !self.kept.contains(id))
    }
}

/// When a checkpoint was made: as its id says, else as its `ts` says.
pub(crate) fn made_at(checkpoint: &Checkpoint) -> Option<SystemTime> {
    checkpoint.id().time().or_else(|| {
        let ts: jiff::Timestamp = checkpoint.ts()?.parse().ok()?;
        Some(ts.into())
    })
}

/// The checkpoints of a namespace that stay when it is pruned: those that the strategy keeps, and
/// the ancestors that their delta channels need.
///
/// `nodes` are all checkpoints of the namespace, in any order.
fn survivors(
    nodes: &[LineageNode],
    strategy: &PruneStrategy,
    now: SystemTime,
) -> BTreeSet<CheckpointId> {
    let nodes: BTreeMap<&CheckpointId, &LineageNode> =
        nodes.iter().map(|node| (&node.id, node)).collect();
    let newest_first = nodes.values().rev();
    let kept: Vec<&LineageNode> = match strategy {
        PruneStrategy::Delete => Vec::new(),
        PruneStrategy::KeepLatest => newest_first.take(1).copied().collect(),
        PruneStrategy::KeepLast(count) => newest_first.take((*count).max(1)).copied().collect(),
        PruneStrategy::OlderThan(age) => {
            let limit = now.checked_sub(*age);
            newest_first
                .enumerate()
                .filter(|(position, node)| {
                    // A checkpoint of unknown age is kept.
                    *position == 0
                        || limit.is_none_or(|limit| node.made_at.is_none_or(|made| made > limit))
                })
                .map(|(_, node)| *node)
                .collect()
        }
    };
    with_ancestors(&nodes, &kept)
}

fn with_ancestors(
    nodes: &BTreeMap<&CheckpointId, &LineageNode>,
    kept: &[&LineageNode],
) -> BTreeSet<CheckpointId> {
    let delta = delta_channels(nodes);
    let mut survivors: BTreeSet<CheckpointId> = kept.iter().map(|node| node.id.clone()).collect();
    // For each ancestor the channels that were looked for from there on already. Kept checkpoints
    // share most of their ancestors; without this the walk would take quadratic time. It also
    // ends the walk if parents form a circle.
    let mut searched: HashMap<&CheckpointId, BTreeSet<&str>> = HashMap::new();
    for node in kept {
        let mut missing: BTreeSet<&str> = delta
            .iter()
            .copied()
            .filter(|channel| node.lacks(channel))
            .collect();
        let mut path = Vec::new();
        let mut needed = 0;
        let mut parent = node.parent.as_ref();
        while let Some(ancestor) = parent.and_then(|id| nodes.get(id))
            && !missing.is_empty()
        {
            let before = searched.entry(&ancestor.id).or_default();
            if missing.is_subset(before) {
                if survivors.contains(&ancestor.id) {
                    needed = path.len();
                }
                break;
            }
            before.extend(&missing);
            path.push(&ancestor.id);
            if missing.iter().any(|channel| ancestor.contributes(channel)) {
                needed = path.len();
            }
            missing.retain(|channel| !ancestor.valued.contains(*channel));
            parent = ancestor.parent.as_ref();
        }
        survivors.extend(path.into_iter().take(needed).cloned());
    }
    survivors
}

/// The channels of which a sign says that they are delta channels.
fn delta_channels<'a>(nodes: &BTreeMap<&CheckpointId, &'a LineageNode>) -> BTreeSet<&'a str> {
    let mut delta = BTreeSet::new();
    for node in nodes.values() {
        delta.extend(node.counted.iter().map(|channel| &**channel));
        let Some(parent) = node.parent.as_ref().and_then(|id| nodes.get(id)) else {
            continue;
        };
        for (channel, version) in &node.versions {
            let renewed = parent.versions.get(channel) != Some(version);
            let lost = if renewed {
                parent.written.contains(channel)
            } else {
                parent.valued.contains(channel)
            };
            if lost && !node.valued.contains(channel) {
                delta.insert(&**channel);
            }
        }
    }
    delta
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    /// A checkpoint `id` after `parent`: its versions and values as JSON, the channels that its
    /// metadata counts, and those of its pending writes.
    fn node(
        id: &str,
        parent: &str,
        versions: &str,
        values: &str,
        counted: &[&str],
        written: &[&str],
    ) -> LineageNode {
        let checkpoint = Checkpoint::from_json(format!(
            r#"{{"id":"{id}","channel_versions":{versions},"channel_values":{values}}}"#
        ))
        .unwrap();
        let counters: BTreeMap<_, _> = counted.iter().map(|name| (name, (1, 1))).collect();
        let metadata = if counted.is_empty() {
            CheckpointMetadata::new()
        } else {
            CheckpointMetadata::new()
                .with("counters_since_delta_snapshot", &counters)
                .unwrap()
        };
        let parent = (!parent.is_empty()).then(|| CheckpointId::new(parent).unwrap());
        LineageNode::new(&checkpoint, &metadata, parent, written.iter().copied()).unwrap()
    }

    fn ids(survivors: &BTreeSet<CheckpointId>) -> Vec<&str> {
        survivors.iter().map(CheckpointId::as_str).collect()
    }

    fn keep_latest(nodes: &[LineageNode]) -> Vec<String> {
        survivors(nodes, &PruneStrategy::KeepLatest, SystemTime::now())
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_checkpoint_whose_channels_all_have_values_needs_no_other() {
        let nodes = [
            node("1", "", r#"{"a":1}"#, r#"{"a":0}"#, &[], &["a"]),
            node("2", "1", r#"{"a":2}"#, r#"{"a":null}"#, &[], &["a"]),
        ];
        assert_eq!(keep_latest(&nodes), ["2"]);
    }

    #[test]
    fn a_channel_that_loses_its_value_when_read_is_no_delta_channel() {
        let nodes = [
            node(
                "1",
                "",
                r#"{"__start__":1}"#,
                r#"{"__start__":{}}"#,
                &[],
                &["branch:to:a"],
            ),
            node(
                "2",
                "1",
                r#"{"__start__":2,"branch:to:a":2}"#,
                r#"{"branch:to:a":null}"#,
                &[],
                &[],
            ),
            node(
                "3",
                "2",
                r#"{"__start__":2,"branch:to:a":3}"#,
                "{}",
                &[],
                &[],
            ),
        ];
        assert_eq!(keep_latest(&nodes), ["3"]);
    }

    #[test]
    fn a_counted_channel_keeps_its_ancestors_back_to_the_snapshot() {
        let nodes = [
            node("1", "", r#"{"d":1}"#, r#"{"d":[]}"#, &[], &["d"]),
            node("2", "1", r#"{"d":2}"#, r#"{"d":[1]}"#, &[], &["d"]),
            node("3", "2", r#"{"d":3}"#, "{}", &["d"], &[]),
            node("4", "3", r#"{"d":3}"#, "{}", &["d"], &["d"]),
            node("5", "4", r#"{"d":4}"#, "{}", &["d"], &[]),
        ];
        assert_eq!(keep_latest(&nodes), ["2", "3", "4", "5"]);
    }

    #[test]
    fn a_channel_without_counters_is_known_by_a_write_that_left_no_value() {
        let nodes = [
            node("1", "", "{}", "{}", &[], &[]),
            node("2", "1", "{}", "{}", &[], &["d"]),
            node("3", "2", r#"{"d":1}"#, "{}", &[], &[]),
        ];
        assert_eq!(keep_latest(&nodes), ["2", "3"], "checkpoint 1 adds nothing");
    }

    #[test]
    fn a_channel_without_counters_is_known_by_a_value_lost_at_the_same_version() {
        let nodes = [
            node("1", "", r#"{"d":1}"#, r#"{"d":[1]}"#, &[], &[]),
            node("2", "1", r#"{"d":1}"#, "{}", &[], &[]),
        ];
        assert_eq!(keep_latest(&nodes), ["1", "2"]);
    }

    #[test]
    fn a_sign_in_one_checkpoint_holds_for_the_namespace() {
        let nodes = [
            node("1", "", r#"{"d":1}"#, r#"{"d":[1]}"#, &[], &[]),
            node("2", "1", r#"{"d":2}"#, "{}", &["d"], &[]),
            node("3", "2", r#"{"d":3}"#, "{}", &[], &[]),
        ];
        assert_eq!(keep_latest(&nodes), ["1", "2", "3"]);
    }

    #[test]
    fn only_the_ancestors_of_a_fork_are_needed_by_it() {
        let nodes = [
            node("1", "", r#"{"d":1}"#, r#"{"d":[1]}"#, &[], &["d"]),
            node("2", "1", r#"{"d":2}"#, "{}", &["d"], &["d"]),
            node("3", "2", r#"{"d":3}"#, "{}", &["d"], &[]),
            node("4", "1", r#"{"d":2}"#, "{}", &["d"], &[]),
        ];
        assert_eq!(keep_latest(&nodes), ["1", "4"]);
        let two = survivors(&nodes, &PruneStrategy::KeepLast(2), SystemTime::now());
        assert_eq!(ids(&two), ["1", "2", "3", "4"]);
    }

    #[test]
    fn each_channel_keeps_what_it_needs_of_ancestors_that_are_shared() {
        let nodes = [
            node("1", "", r#"{"d":1,"e":1}"#, r#"{"e":[]}"#, &["d"], &["d"]),
            node("2", "1", r#"{"d":2,"e":1}"#, "{}", &["d", "e"], &[]),
            node("3", "2", r#"{"d":3,"e":2}"#, r#"{"d":[]}"#, &["e"], &[]),
            node("4", "3", r#"{"d":4,"e":2}"#, r#"{"e":[]}"#, &["d"], &[]),
        ];
        assert_eq!(keep_latest(&nodes), ["3", "4"]);
        let two = survivors(&nodes, &PruneStrategy::KeepLast(2), SystemTime::now());
        assert_eq!(ids(&two), ["1", "2", "3", "4"]);
    }

    #[test]
    fn parents_in_a_circle_or_missing_end_the_walk() {
        let nodes = [
            node("1", "2", r#"{"d":1}"#, "{}", &["d"], &["d"]),
            node("2", "1", r#"{"d":2}"#, "{}", &["d"], &["d"]),
            node("3", "gone", r#"{"d":2}"#, "{}", &["d"], &[]),
        ];
        assert_eq!(keep_latest(&nodes), ["3"]);
        assert_eq!(keep_latest(&nodes[..2]), ["1", "2"]);
    }

    #[test]
    fn a_subgraphs_call_is_over_when_its_root_checkpoint_goes() {
        let of_root = |id: &str| node(id, "", "{}", "{}", &[], &[]);
        let of_root = ["1", "2", "3"].map(of_root);
        let mut roots = Roots::default();
        let root = CheckpointNamespace::root();
        let (kept, is_over) = roots.survivors(&root, &of_root, &PruneStrategy::KeepLatest);
        assert_eq!((ids(&kept), is_over), (vec!["3"], false));
        let is_over = |namespace: &str, root: &str| {
            let parents = BTreeMap::from([("", root)]);
            let metadata = CheckpointMetadata::new().with("parents", &parents).unwrap();
            let checkpoint = Checkpoint::from_json(r#"{"id":"c"}"#.to_owned()).unwrap();
            let call = LineageNode::new(&checkpoint, &metadata, None, []).unwrap();
            roots.have_left(&CheckpointNamespace::new(namespace).unwrap(), &[call])
        };
        assert!(is_over("a:task", "2"), "its root checkpoint goes");
        assert!(is_over("a:task|b", "10"), "it is gone");
        assert!(!is_over("a:task", "3"), "it stays");
        assert!(!is_over("a:task", "4"), "it comes yet");
        assert!(!is_over("a", "2"), "the subgraph goes on");
        assert!(!Roots::default().have_left(&CheckpointNamespace::new("a:t").unwrap(), &[]));
    }

    #[test]
    fn an_age_is_that_of_the_id_else_of_the_ts_and_the_newest_stays() {
        let timed = |id: &str, ts: &str| {
            let checkpoint =
                Checkpoint::from_json(format!(r#"{{"id":"{id}","ts":"{ts}"}}"#)).unwrap();
            LineageNode::new(&checkpoint, &CheckpointMetadata::new(), None, []).unwrap()
        };
        let nodes = [
            timed("a", "2020-01-01T00:00:00Z"),
            timed("b", "2020-01-01T00:00:50+00:00"),
            timed("c", "of no known age"),
            timed("d", "2020-01-01T00:00:00Z"),
        ];
        let start = Duration::from_secs(1_577_836_800);
        let now = UNIX_EPOCH + start + Duration::from_secs(60);
        let minute = PruneStrategy::OlderThan(Duration::from_secs(30));
        assert_eq!(ids(&survivors(&nodes, &minute, now)), ["b", "c", "d"]);
    }

    #[test]
    fn a_long_history_takes_one_walk() {
        let nodes: Vec<_> = (1..=3_000)
            .map(|position| {
                let parent = if position == 1 {
                    String::new()
                } else {
                    format!("{:06}", position - 1)
                };
                let versions = format!(r#"{{"d":{position}}}"#);
                node(
                    &format!("{position:06}"),
                    &parent,
                    &versions,
                    "{}",
                    &["d"],
                    &["d"],
                )
            })
            .collect();
        let kept = survivors(&nodes, &PruneStrategy::KeepLast(2_000), SystemTime::now());
        assert_eq!(kept.len(), 3_000);
    }
}
