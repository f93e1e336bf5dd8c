//! The members of a thread's set of namespaces.

use super::encode::namespace_from_stored;
use crate::id::{CheckpointId, CheckpointNamespace};

/// The member that says that the thread is pinned.
pub(crate) const PINNED: &str = "\0pinned";

/// How a member starts which says that a namespace has blobs.
pub(super) const BLOBS_MARK: &str = "\0blobs\0";

/// A member of a thread's set of namespaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Member {
    /// A namespace.
    Namespace(CheckpointNamespace),
    /// A checkpoint that has writes and may have no document.
    Writes(CheckpointNamespace, CheckpointId),
    /// A checkpoint whose writes are being removed: it has no document, and gets none before the
    /// last of them is gone.
    Removed(CheckpointNamespace, CheckpointId),
    /// A namespace that has blobs.
    Blobs(CheckpointNamespace),
    /// The thread is pinned.
    Pinned,
}

impl Member {
    /// Reads a member as it is stored; `None` for one that no saver of ours has written.
    pub(crate) fn of_bytes(member: &[u8]) -> Option<Self> {
        Self::parse(std::str::from_utf8(member).ok()?)
    }

    /// Reads a member; `None` for one that no saver of ours has written.
    pub(crate) fn parse(member: &str) -> Option<Self> {
        match member.strip_prefix('\0') {
            None => namespace_from_stored(member).ok().map(Self::Namespace),
            Some("pinned") => Some(Self::Pinned),
            Some(_) if member.starts_with(BLOBS_MARK) => {
                let namespace = namespace_from_stored(&member[BLOBS_MARK.len()..]).ok()?;
                Some(Self::Blobs(namespace))
            }
            Some(mark) => {
                let (kind, checkpoint) = mark.split_once('\0')?;
                let (namespace, id) = checkpoint.split_once('\0')?;
                let namespace = namespace_from_stored(namespace).ok()?;
                let id = CheckpointId::new(id).ok()?;
                match kind {
                    "writes" => Some(Self::Writes(namespace, id)),
                    "removed" => Some(Self::Removed(namespace, id)),
                    _ => None,
                }
            }
        }
    }
}
