//! TTLs: the one that all of a thread must have, and changes.

use std::time::Duration;

use bytes::Bytes;

use super::super::args::{milliseconds, number};
use super::super::driver::Reply;
use super::super::keys::NamespaceKeys;
use super::{Elements, ScriptCall, count};

/// The TTL that all keys of a thread must still have after a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ThreadTtl {
    /// Each checkpoint has a TTL of its own.
    PerCheckpoint,
    /// None of the keys may have a TTL.
    Never,
    /// This long at least.
    AtLeast(Duration),
}

impl ThreadTtl {
    /// In milliseconds, as scripts take it: 0 for one of each checkpoint, -1 for none.
    pub(crate) fn milliseconds(self) -> i64 {
        match self {
            Self::PerCheckpoint => 0,
            Self::Never => -1,
            Self::AtLeast(ttl) => in_milliseconds(Some(ttl)),
        }
    }

    pub(super) fn arg(self) -> Bytes {
        number(self.milliseconds())
    }
}

/// A TTL in milliseconds, 0 for none.
pub(crate) fn in_milliseconds(ttl: Option<Duration>) -> i64 {
    let ttl = ttl.unwrap_or_default().as_millis();
    i64::try_from(ttl).unwrap_or(i64::MAX)
}

/// What becomes of TTLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TtlVerb {
    /// Keys that have a TTL get this one.
    Touch,
    /// The thread is marked as pinned, and its set of namespaces has no TTL any more.
    Mark,
    /// No key has a TTL any more, of a thread that is marked. The TTL is the one that keys get back
    /// if the mark is taken away at that moment.
    Pin,
    /// The mark is taken away.
    Unmark,
    /// Checkpoints get this TTL, of a thread that is not marked; without any, what they share does,
    /// but the set of namespaces.
    Unpin,
    /// The set of namespaces gets it, when the rest is done.
    Unpinned,
    /// All keys get at least this TTL, but the set of namespaces, of a thread that has one TTL.
    Keep,
    /// The set of namespaces gets it, when the rest is done.
    Kept,
    /// One checkpoint that was read, and what it shares.
    Read,
}

/// Changes the TTL of a namespace's checkpoints with their writes, and of what they share.
#[derive(Debug, Clone)]
pub(crate) struct TtlCall {
    pub(crate) keys: NamespaceKeys,
    pub(crate) ids: Vec<Bytes>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) verb: TtlVerb,
    /// How many writes of the first id were changed by the step before.
    pub(crate) skip: usize,
}

/// How far the script came: after some hundreds of keys the caller goes on in another step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TtlReply {
    /// How many of the ids are done.
    pub(crate) done: usize,
    /// How many writes of the next one are.
    pub(crate) skip: usize,
}

impl TtlCall {
    pub(super) fn script(&self) -> ScriptCall {
        let keys = &self.keys;
        let verb: &[u8] = match self.verb {
            TtlVerb::Touch => b"touch",
            TtlVerb::Mark => b"mark",
            TtlVerb::Pin => b"pin",
            TtlVerb::Unmark => b"unmark",
            TtlVerb::Unpin => b"unpin",
            TtlVerb::Unpinned => b"unpinned",
            TtlVerb::Keep => b"keep",
            TtlVerb::Kept => b"kept",
            TtlVerb::Read => b"read",
        };
        let mut args = vec![
            keys.documents.clone(),
            keys.write_registries.clone(),
            keys.writes.clone(),
            milliseconds(self.ttl),
            Bytes::from_static(verb),
            number(self.skip),
            keys.stored.clone(),
        ];
        args.extend_from_slice(&self.ids);
        let keys = [&keys.registry, &keys.pointer, &keys.namespaces];
        super::TTL.call(keys.map(Bytes::clone).into(), args)
    }
}

impl From<Reply> for TtlReply {
    fn from(reply: Reply) -> Self {
        let mut elements = Elements::from(reply);
        Self {
            done: elements.count(),
            skip: elements.count(),
        }
    }
}

impl From<TtlReply> for Reply {
    fn from(reply: TtlReply) -> Self {
        Self::Array(vec![count(reply.done), count(reply.skip)])
    }
}
