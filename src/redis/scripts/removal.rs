//! Removing checkpoints with their writes.

use bytes::Bytes;

use super::super::args::number;
use super::super::driver::Reply;
use super::super::keys::NamespaceKeys;
use super::{Elements, ScriptCall, count};

/// Removes checkpoints of a namespace with their writes. Without ids it still corrects the pointer
/// and the registries.
#[derive(Debug, Clone)]
pub(crate) struct RemoveCall {
    pub(crate) keys: NamespaceKeys,
    pub(crate) ids: Vec<Bytes>,
    /// About how many writes one call looks at.
    pub(crate) max_writes: usize,
    /// How many members of the first id's registries of writes were looked at and stay.
    pub(crate) skip: [usize; 2],
    /// Whether an earlier step has begun to remove the first id: if another call has come to the
    /// end of that since, nothing of it is removed.
    pub(crate) goes_on: bool,
}

/// Removes writes that the registry of their checkpoint does not name. Returns how many were
/// removed.
#[derive(Debug, Clone)]
pub(crate) struct RemoveUnregisteredCall {
    pub(crate) registry: Bytes,
    pub(crate) writes: Vec<Bytes>,
    /// The thread that the writes must say they are of.
    pub(crate) thread: Bytes,
}

impl RemoveUnregisteredCall {
    pub(super) fn script(&self) -> ScriptCall {
        let mut keys = vec![self.registry.clone()];
        keys.extend_from_slice(&self.writes);
        super::REMOVE_UNREGISTERED.call(keys, vec![self.thread.clone()])
    }
}

/// What was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RemoveReply {
    pub(crate) documents: usize,
    pub(crate) writes: usize,
    /// How many of the ids are done. One that is not has lost its document, and is marked: nothing
    /// of it is stored before it is done, and a later call finds it.
    pub(crate) done: usize,
    /// The `skip` of the call that goes on with the next one.
    pub(crate) skip: [usize; 2],
}

impl RemoveCall {
    pub(super) fn script(&self) -> ScriptCall {
        let keys = &self.keys;
        let mut args = vec![
            keys.documents.clone(),
            keys.write_registries.clone(),
            keys.writes.clone(),
            keys.shared_write_registries.clone(),
            keys.stored.clone(),
            keys.thread.clone(),
            number(self.max_writes),
        ];
        args.extend(self.skip.map(number));
        args.push(number(usize::from(self.goes_on)));
        args.extend_from_slice(&self.ids);
        let keys = [&keys.registry, &keys.pointer, &keys.namespaces];
        super::REMOVE.call(keys.map(Bytes::clone).into(), args)
    }
}

impl From<Reply> for RemoveReply {
    fn from(reply: Reply) -> Self {
        let mut elements = Elements::from(reply);
        Self {
            documents: elements.count(),
            writes: elements.count(),
            done: elements.count(),
            skip: [elements.count(), elements.count()],
        }
    }
}

impl From<RemoveReply> for Reply {
    fn from(reply: RemoveReply) -> Self {
        let [first, second] = reply.skip;
        let counts = [reply.documents, reply.writes, reply.done, first, second];
        Self::Array(counts.map(count).into())
    }
}
