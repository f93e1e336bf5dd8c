//! The keys of one thread: of its namespaces, in either mode, and of its blobs.

use bytes::Bytes;

use super::encode::{append, escaped, join, namespace_from_stored, stored_namespace};
use crate::id::{CheckpointId, CheckpointNamespace, EMPTY_NAMESPACE, TaskId};

/// What ends the name of the registry of a namespace's writes in shallow mode.
pub(super) const SHALLOW_REGISTRY: &str = ":shallow";

/// The names of a thread's keys.
#[derive(Debug, Clone)]
pub(crate) struct ThreadKeys {
    pub(super) id: String,
    pub(super) documents: String,
    pub(super) pointers: String,
    pub(super) registries: String,
    pub(super) namespaces: String,
    pub(super) writes: String,
    pub(super) write_registries: String,
    pub(super) shared_write_registries: Option<String>,
    pub(super) blocking_shallow_registries: String,
}

impl ThreadKeys {
    /// The set of the thread's namespaces.
    pub(crate) fn namespaces(&self) -> Bytes {
        Bytes::copy_from_slice(self.namespaces.as_bytes())
    }

    /// What stands before a namespace in the key of its registry.
    pub(crate) fn registries(&self) -> Bytes {
        Bytes::copy_from_slice(self.registries.as_bytes())
    }

    /// What a key is to the thread, by its name alone: another thread with a colon may have one of
    /// the same name in the families that the Python saver has.
    pub(crate) fn family_of(&self, key: &[u8]) -> Option<Family> {
        let starts = |start: &String| key.starts_with(start.as_bytes());
        let rest = |start: &String| {
            let rest = std::str::from_utf8(key)
                .ok()?
                .strip_prefix(start.as_str())?;
            namespace_from_stored(rest).ok()
        };
        if starts(&self.documents) {
            Some(Family::Document)
        } else if starts(&self.writes) {
            Some(Family::Write)
        } else if starts(&self.write_registries)
            || self.shared_write_registries.as_ref().is_some_and(starts)
            || starts(&self.blocking_shallow_registries)
        {
            Some(Family::WriteRegistry)
        } else if starts(&self.pointers) {
            rest(&self.pointers).map(Family::Pointer)
        } else {
            rest(&self.registries).map(Family::Registry)
        }
    }

    /// The names of a namespace's keys in shallow mode.
    pub(crate) fn shallow(&self, namespace: &CheckpointNamespace) -> ShallowKeys {
        let stored = stored_namespace(namespace);
        let registry = [stored, SHALLOW_REGISTRY].concat();
        ShallowKeys {
            document: join(&self.documents, namespace.as_str(), ""),
            registry: join(&self.write_registries, &registry, ""),
            registries_of_others: self
                .shared_write_registries
                .iter()
                .chain([&self.blocking_shallow_registries])
                .map(|start| join(start, &registry, ""))
                .collect(),
            namespaces: self.namespaces(),
            writes: join(&self.writes, stored, ":"),
            stored: Bytes::copy_from_slice(stored.as_bytes()),
        }
    }

    /// The names of a namespace's keys.
    pub(crate) fn namespace(&self, namespace: &CheckpointNamespace) -> NamespaceKeys {
        let stored = stored_namespace(namespace);
        NamespaceKeys {
            documents: join(&self.documents, stored, ":"),
            pointer: join(&self.pointers, stored, ""),
            registry: join(&self.registries, stored, ""),
            namespaces: self.namespaces(),
            writes: join(&self.writes, stored, ":"),
            write_registries: join(&self.write_registries, stored, ":"),
            shared_write_registries: self
                .shared_write_registries
                .as_ref()
                .map_or_else(Bytes::new, |start| join(start, stored, ":")),
            stored: Bytes::copy_from_slice(stored.as_bytes()),
            thread: Bytes::copy_from_slice(self.id.as_bytes()),
        }
    }
}

/// What a key of a thread is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Family {
    Document,
    Write,
    WriteRegistry,
    /// The pointer of a namespace.
    Pointer(CheckpointNamespace),
    /// The registry of a namespace's checkpoints.
    Registry(CheckpointNamespace),
}

/// The names of a namespace's keys.
#[derive(Debug, Clone)]
pub(crate) struct NamespaceKeys {
    /// How the keys of its documents start.
    pub(crate) documents: Bytes,
    /// The pointer to its newest document.
    pub(crate) pointer: Bytes,
    /// The registry of its checkpoints.
    pub(crate) registry: Bytes,
    /// The set of the thread's namespaces.
    pub(crate) namespaces: Bytes,
    /// How the keys of its writes start.
    pub(crate) writes: Bytes,
    /// How the registries of its writes start.
    pub(crate) write_registries: Bytes,
    /// How the registries start that the Python saver keeps under a custom prefix; or empty.
    pub(crate) shared_write_registries: Bytes,
    /// The namespace as it is stored.
    pub(crate) stored: Bytes,
    /// The thread.
    pub(crate) thread: Bytes,
}

impl NamespaceKeys {
    /// The document of a checkpoint.
    pub(crate) fn document(&self, checkpoint: &CheckpointId) -> Bytes {
        append(&self.documents, &[checkpoint.as_str()])
    }

    /// The registry of a checkpoint's writes.
    pub(crate) fn write_registry(&self, checkpoint: &CheckpointId) -> Bytes {
        append(&self.write_registries, &[checkpoint.as_str()])
    }

    /// Every registry that may name a checkpoint's writes: our own, and under a custom prefix the
    /// one that the Python saver keeps all the same.
    pub(crate) fn write_registries_of(&self, checkpoint: &CheckpointId) -> Vec<Bytes> {
        [&self.write_registries, &self.shared_write_registries]
            .into_iter()
            .filter(|start| !start.is_empty())
            .map(|start| append(start, &[checkpoint.as_str()]))
            .collect()
    }

    /// The registry of a checkpoint's writes that the Python saver keeps under a custom prefix.
    pub(crate) fn shared_write_registry(&self, checkpoint: &CheckpointId) -> Option<Bytes> {
        let start = &self.shared_write_registries;
        (!start.is_empty()).then(|| append(start, &[checkpoint.as_str()]))
    }

    /// The registry of the namespace's writes in shallow mode.
    pub(crate) fn shallow_write_registry(&self) -> Bytes {
        append(&self.write_registries, &[&SHALLOW_REGISTRY[1..]])
    }

    /// The keys that the namespace's document may have in shallow mode, where it ends in no id.
    pub(crate) fn shallow_documents(&self) -> impl Iterator<Item = &[u8]> {
        let stored = &self.documents[..self.documents.len().saturating_sub(1)];
        [
            Some(stored),
            stored.strip_suffix(EMPTY_NAMESPACE.as_bytes()),
        ]
        .into_iter()
        .flatten()
    }

    /// How the keys of a checkpoint's writes start.
    pub(crate) fn writes_of(&self, checkpoint: &CheckpointId) -> Bytes {
        append(&self.writes, &[checkpoint.as_str(), ":"])
    }

    /// One write.
    pub(crate) fn write(&self, checkpoint: &CheckpointId, task: &TaskId, idx: i64) -> Bytes {
        write_key(&self.writes, checkpoint, task, idx)
    }
}

/// The names of a namespace's keys in shallow mode, in which it has one document.
#[derive(Debug, Clone)]
pub(crate) struct ShallowKeys {
    /// The document.
    pub(crate) document: Bytes,
    /// The registry of its writes, whichever checkpoint they are for.
    pub(crate) registry: Bytes,
    /// The registries in which the Python package's savers keep writes: the async one's, if the
    /// prefix is a custom one, and the blocking one's.
    pub(crate) registries_of_others: Vec<Bytes>,
    /// The set of the thread's namespaces.
    pub(crate) namespaces: Bytes,
    /// How the keys of its writes start.
    pub(crate) writes: Bytes,
    /// The namespace as it is stored.
    pub(crate) stored: Bytes,
}

impl ShallowKeys {
    /// One write.
    pub(crate) fn write(&self, checkpoint: &CheckpointId, task: &TaskId, idx: i64) -> Bytes {
        write_key(&self.writes, checkpoint, task, idx)
    }
}

/// The names of the keys of a namespace's blobs: values of channels that are stored apart from
/// their checkpoints.
#[derive(Debug, Clone)]
pub(crate) struct BlobKeys {
    /// How the keys of its blobs start.
    pub(crate) blobs: Bytes,
    /// The registry of its blobs.
    pub(crate) registry: Bytes,
    /// The set of the thread's namespaces.
    pub(crate) namespaces: Bytes,
    /// The member of that set which says that the namespace has blobs.
    pub(crate) mark: Bytes,
}

impl BlobKeys {
    /// The blob of a channel at a version.
    pub(crate) fn blob(&self, channel: &str, version: &str) -> Bytes {
        append(&self.blobs, &[&escaped(channel), ":", &escaped(version)])
    }

    /// What names a blob in the registry: the end of its key, and a colon more for one that says
    /// that the channel has no value.
    pub(crate) fn member(channel: &str, version: &str, is_empty: bool) -> String {
        let end = if is_empty { ":" } else { "" };
        format!("{}:{}{end}", escaped(channel), escaped(version))
    }

    /// The blob that a member of the registry names.
    pub(crate) fn of_member(&self, member: &str) -> Bytes {
        append(&self.blobs, &[Self::without_mark(member)])
    }

    /// The end of the key that a member names.
    pub(crate) fn without_mark(member: &str) -> &str {
        member.strip_suffix(':').unwrap_or(member)
    }
}

fn write_key(writes: &Bytes, checkpoint: &CheckpointId, task: &TaskId, idx: i64) -> Bytes {
    let (task, idx) = (escaped(task.as_str()), idx.to_string());
    append(writes, &[checkpoint.as_str(), ":", &task, ":", &idx])
}
