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
}

/// What was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RemoveReply {
    pub(crate) documents: usize,
    pub(crate) writes: usize,
    /// How many of the ids are done. One that is not has lost its document, and is listed among those
    /// whose writes may wait for one, so that a later call finds it.
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
