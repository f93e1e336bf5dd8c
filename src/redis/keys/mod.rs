//! The names of keys. Only this module makes or takes apart one.
//!
//! The families that are shared with the Python saver are named as it names them:
//! `checkpoint:{thread}:{ns}:{id}`. There a thread `a:b` with a namespace `x` and a thread `a`
//! with a namespace `b:x` have one name, which is why every document that is read is compared
//! with what was asked for. The families that are ours alone distinguish the two: where a thread
//! holds a colon, its length stands in the family's name.

mod compact;
mod encode;
mod keyspace;
mod member;
mod reference;
mod thread;

#[cfg(test)]
mod tests;

pub(crate) use compact::CompactKeys;
pub(crate) use encode::{glob_escaped, namespace_from_stored, stored_namespace};
pub(crate) use keyspace::{
    CHECKPOINT_PREFIX, Keyspace, RECENT_SETS, WRITE_PREFIX, WritesOf, replication_mark,
};
pub(crate) use member::{Member, PINNED};
pub(crate) use reference::CheckpointRef;
pub(crate) use thread::{BlobKeys, Family, NamespaceKeys, ShallowKeys, ThreadKeys};
