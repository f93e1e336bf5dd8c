//! Storing and reading checkpoints and their writes.

use std::time::Duration;

use bytes::Bytes;

use super::super::args::{milliseconds, number, text};
use super::super::driver::Reply;
use super::super::keys::NamespaceKeys;
use super::{Elements, ScriptCall, ThreadTtl, count, flag, list};
use crate::id::CheckpointId;
use crate::options::ExpectedParent;

/// Stores a checkpoint, and makes it the newest of its namespace if its id is the greatest.
#[derive(Debug, Clone)]
pub(crate) struct PutCall {
    pub(crate) keys: NamespaceKeys,
    pub(crate) id: CheckpointId,
    pub(crate) document: Bytes,
    /// The key under which the document was staged; then the script is not handed it as well.
    pub(crate) staged: Option<Bytes>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) thread_ttl: ThreadTtl,
    /// What must be the newest.
    pub(crate) expected: ExpectedParent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PutReply {
    /// Whether the checkpoint is the newest.
    pub(crate) is_newest: bool,
    /// Whether the thread's TTL must be refreshed.
    pub(crate) refresh_due: bool,
    /// Whether it has more writes than one step gives a TTL, so that the caller must.
    pub(crate) has_more_writes: bool,
    /// The TTL of those writes.
    pub(crate) ttl: Option<Duration>,
}

impl PutCall {
    /// The script that stores it.
    pub(crate) fn script(&self) -> ScriptCall {
        let keys = &self.keys;
        let mut script_keys = vec![
            keys.document(&self.id),
            keys.pointer.clone(),
            keys.registry.clone(),
            keys.namespaces.clone(),
            keys.write_registry(&self.id),
        ];
        script_keys.extend(self.staged.clone());
        let document = match self.staged {
            Some(_) => Bytes::new(),
            None => self.document.clone(),
        };
        super::PUT.call(
            script_keys,
            vec![
                document,
                text(self.id.as_str()),
                keys.stored.clone(),
                milliseconds(self.ttl),
                keys.documents.clone(),
                expected_parent(&self.expected),
                json_list(&keys.thread),
                json_list(&keys.stored),
                self.thread_ttl.arg(),
                keys.writes.clone(),
            ],
        )
    }
}

/// What must be the newest, as scripts take it: '' for anything, '-' for none, '=ID' for that one.
pub(crate) fn expected_parent(parent: &ExpectedParent) -> Bytes {
    match parent {
        ExpectedParent::Any => Bytes::new(),
        ExpectedParent::None => Bytes::from_static(b"-"),
        ExpectedParent::Is(id) => Bytes::from(format!("={id}")),
    }
}

/// A JSON list of one string, as RedisJSON answers to a path.
fn json_list(string: &Bytes) -> Bytes {
    let string = String::from_utf8_lossy(string);
    Bytes::from(serde_json::Value::from(vec![string]).to_string())
}

impl From<Reply> for PutReply {
    fn from(reply: Reply) -> Self {
        let mut elements = Elements::from(reply);
        Self {
            is_newest: elements.flag(),
            refresh_due: elements.flag(),
            has_more_writes: elements.flag(),
            ttl: u64::try_from(elements.int())
                .ok()
                .filter(|ttl| *ttl > 0)
                .map(Duration::from_millis),
        }
    }
}

impl From<PutReply> for Reply {
    fn from(reply: PutReply) -> Self {
        Self::Array(vec![
            flag(reply.is_newest),
            flag(reply.refresh_due),
            flag(reply.has_more_writes),
            Self::Int(super::ttl::in_milliseconds(reply.ttl)),
        ])
    }
}

/// Stores the writes of a task, all together.
#[derive(Debug, Clone)]
pub(crate) struct PutWritesCall {
    pub(crate) keys: NamespaceKeys,
    pub(crate) id: CheckpointId,
    /// The keys and the documents of the writes.
    pub(crate) writes: Vec<(Bytes, Bytes)>,
    /// Whether writes that are there are replaced; else they are kept.
    pub(crate) replace: bool,
    pub(crate) ttl: Option<Duration>,
    pub(crate) thread_ttl: ThreadTtl,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PutWritesReply {
    /// How many writes were stored.
    pub(crate) stored: usize,
    /// Whether the thread's TTL must be refreshed.
    pub(crate) refresh_due: bool,
}

impl PutWritesCall {
    pub(super) fn script(&self) -> ScriptCall {
        let keys = &self.keys;
        let mut script_keys = vec![
            keys.write_registry(&self.id),
            keys.document(&self.id),
            keys.namespaces.clone(),
        ];
        let mut args = vec![
            Bytes::from_static(if self.replace { b"replace" } else { b"keep" }),
            milliseconds(self.ttl),
            keys.stored.clone(),
            text(self.id.as_str()),
            self.thread_ttl.arg(),
            keys.thread.clone(),
        ];
        for (key, document) in &self.writes {
            script_keys.push(key.clone());
            args.push(document.clone());
        }
        super::PUT_WRITES.call(script_keys, args)
    }
}

impl From<Reply> for PutWritesReply {
    fn from(reply: Reply) -> Self {
        let mut elements = Elements::from(reply);
        Self {
            stored: elements.count(),
            refresh_due: elements.flag(),
        }
    }
}

impl From<PutWritesReply> for Reply {
    fn from(reply: PutWritesReply) -> Self {
        Self::Array(vec![count(reply.stored), flag(reply.refresh_due)])
    }
}

/// Reads one checkpoint, or the newest of a namespace, with its writes.
#[derive(Debug, Clone)]
pub(crate) struct ReadCall {
    pub(crate) keys: NamespaceKeys,
    /// The checkpoint; `None` for the newest.
    pub(crate) id: Option<CheckpointId>,
    /// The checkpoint whose document the caller reads by itself, so that it is not returned.
    pub(crate) without_document_of: Option<CheckpointId>,
    /// The TTL to give to what was read; `None` to leave it.
    pub(crate) ttl: Option<Duration>,
    pub(crate) thread_ttl: ThreadTtl,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReadReply {
    /// There is none.
    Absent,
    /// There is none, but another saver may have written something that only the index knows.
    Unknown,
    Found(FoundCheckpoint),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoundCheckpoint {
    pub(crate) id: Bytes,
    /// `None` if the caller reads it by itself.
    pub(crate) document: Option<Bytes>,
    /// The documents of its writes; `None` if they are too many, so that the caller must read them
    /// and refresh the TTL.
    pub(crate) writes: Option<Vec<Bytes>>,
    /// Whether the thread's TTL must be refreshed.
    pub(crate) refresh_due: bool,
}

const UNKNOWN: &[u8] = b"unknown";

impl ReadCall {
    pub(super) fn script(&self) -> ScriptCall {
        let keys = &self.keys;
        let id = |id: &Option<CheckpointId>| text(id.as_ref().map_or("", CheckpointId::as_str));
        super::READ.call(
            vec![
                keys.pointer.clone(),
                keys.registry.clone(),
                keys.namespaces.clone(),
            ],
            vec![
                id(&self.id),
                keys.documents.clone(),
                keys.write_registries.clone(),
                keys.writes.clone(),
                keys.shared_write_registries.clone(),
                milliseconds(self.ttl),
                id(&self.without_document_of),
                self.thread_ttl.arg(),
            ],
        )
    }
}

impl From<Reply> for ReadReply {
    fn from(reply: Reply) -> Self {
        let mut elements = Elements::from(reply);
        let id = elements.bytes();
        let document = elements.bytes();
        let Some(id) = id else {
            return match document {
                Some(state) if state == UNKNOWN => Self::Unknown,
                _ => Self::Absent,
            };
        };
        let refresh_due = elements.flag();
        let has_more_writes = elements.flag();
        Self::Found(FoundCheckpoint {
            id,
            document,
            writes: (!has_more_writes).then(|| elements.rest()),
            refresh_due,
        })
    }
}

impl From<ReadReply> for Reply {
    fn from(reply: ReadReply) -> Self {
        let none = |state: &'static [u8]| {
            let state = Bytes::from_static(state);
            Self::Array(vec![Self::Bytes(Bytes::new()), Self::Bytes(state)])
        };
        let found = match reply {
            ReadReply::Absent => return none(b"absent"),
            ReadReply::Unknown => return none(UNKNOWN),
            ReadReply::Found(found) => found,
        };
        let first = [
            Self::Bytes(found.id),
            Self::Bytes(found.document.unwrap_or_default()),
            flag(found.refresh_due),
            flag(found.writes.is_none()),
        ];
        list(first, found.writes.unwrap_or_default())
    }
}

/// Reads the writes of several checkpoints.
#[derive(Debug, Clone)]
pub(crate) struct WritesCall {
    pub(crate) registries: Vec<RegisteredWrites>,
}

/// A registry of a checkpoint's writes.
#[derive(Debug, Clone)]
pub(crate) struct RegisteredWrites {
    pub(crate) registry: Bytes,
    /// The checkpoint's document.
    pub(crate) document: Bytes,
    /// How the keys of the checkpoint's writes start.
    pub(crate) prefix: Bytes,
}

/// What was found of each registry, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WritesReply(pub(crate) Vec<RegistryWrites>);

/// The writes that a registry names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RegistryWrites {
    /// All of them.
    All(Vec<Bytes>),
    /// The step has ended before it came to them.
    NotReached,
    /// The checkpoint must be read by itself: its writes are many, or one of them is gone or of
    /// another type, or it is gone itself by now, and perhaps some of them.
    ReadAlone,
}

impl WritesCall {
    /// The script that reads them.
    pub(crate) fn script(&self) -> ScriptCall {
        let each = self.registries.iter();
        let keys = each
            .clone()
            .flat_map(|one| [one.registry.clone(), one.document.clone()]);
        super::WRITES.call(keys.collect(), each.map(|one| one.prefix.clone()).collect())
    }
}

impl From<Reply> for WritesReply {
    fn from(reply: Reply) -> Self {
        let registries = reply.into_array().into_iter().map(|registry| {
            let mut elements = Elements::from(registry);
            match elements.reply().as_int() {
                Some(0) => RegistryWrites::All(elements.rest()),
                Some(2) => RegistryWrites::ReadAlone,
                _ => RegistryWrites::NotReached,
            }
        });
        Self(registries.collect())
    }
}

impl From<WritesReply> for Reply {
    fn from(reply: WritesReply) -> Self {
        let registries = reply.0.into_iter().map(|registry| match registry {
            RegistryWrites::All(documents) => list([Self::Int(0)], documents),
            RegistryWrites::NotReached => list([Self::Int(1)], []),
            RegistryWrites::ReadAlone => list([Self::Int(2)], []),
        });
        Self::Array(registries.collect())
    }
}

/// Reads a page of the writes of one checkpoint, which may have no document.
#[derive(Debug, Clone)]
pub(crate) struct WritesPageCall {
    pub(crate) registry: Bytes,
    pub(crate) document: Bytes,
    /// How the keys of the checkpoint's writes start.
    pub(crate) prefix: Bytes,
    /// How many members of the registry earlier pages were of.
    pub(crate) skip: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WritesPageReply {
    pub(crate) has_document: bool,
    /// How many members the registry has.
    pub(crate) registered: usize,
    /// The `skip` of the next page; `None` if this was the last.
    pub(crate) next: Option<usize>,
    pub(crate) documents: Vec<Bytes>,
}

impl WritesPageCall {
    pub(super) fn script(&self) -> ScriptCall {
        super::WRITES_PAGE.call(
            vec![self.registry.clone(), self.document.clone()],
            vec![self.prefix.clone(), number(self.skip)],
        )
    }
}

impl From<Reply> for WritesPageReply {
    fn from(reply: Reply) -> Self {
        let mut elements = Elements::from(reply);
        Self {
            has_document: elements.flag(),
            registered: elements.count(),
            next: Some(elements.count()).filter(|next| *next > 0),
            documents: elements.rest(),
        }
    }
}

impl From<WritesPageReply> for Reply {
    fn from(reply: WritesPageReply) -> Self {
        let first = [
            flag(reply.has_document),
            count(reply.registered),
            count(reply.next.unwrap_or(0)),
        ];
        list(first, reply.documents)
    }
}

/// Walks from a checkpoint towards the root and collects what channels were given on the way.
#[derive(Debug, Clone)]
pub(crate) struct HistoryCall {
    pub(crate) keys: NamespaceKeys,
    /// The id to start from; `None` for the newest.
    pub(crate) start: Option<Bytes>,
    /// Whether to start with the parent of that one.
    pub(crate) from_parent: bool,
    /// How many checkpoints at most.
    pub(crate) max: usize,
    /// The channels that still look for a value.
    pub(crate) channels: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HistoryReply {
    /// Where to go on; `None` if the walk has ended.
    pub(crate) next: Option<Bytes>,
    /// What was walked past.
    pub(crate) ancestors: Vec<Ancestor>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ancestor {
    pub(crate) id: Bytes,
    /// Only of a checkpoint in which a channel has a value.
    pub(crate) document: Option<Bytes>,
    /// The documents of its writes; `None` if they are too many, so that the caller must read them.
    pub(crate) writes: Option<Vec<Bytes>>,
}

impl HistoryCall {
    pub(super) fn script(&self) -> ScriptCall {
        let keys = &self.keys;
        let channels = serde_json::Value::from(&self.channels[..]);
        super::HISTORY.call(
            vec![keys.pointer.clone(), keys.registry.clone()],
            vec![
                self.start.clone().unwrap_or_default(),
                keys.documents.clone(),
                keys.write_registries.clone(),
                keys.writes.clone(),
                number(self.max),
                Bytes::from_static(if self.from_parent { b"1" } else { b"0" }),
                Bytes::from(channels.to_string()),
                keys.shared_write_registries.clone(),
            ],
        )
    }
}

impl From<Reply> for HistoryReply {
    fn from(reply: Reply) -> Self {
        let mut elements = Elements::from(reply);
        let next = elements.bytes();
        let ancestors = elements.0.map(|ancestor| {
            let mut elements = Elements::from(ancestor);
            let (id, document) = (elements.bytes(), elements.bytes());
            let has_more_writes = elements.flag();
            Ancestor {
                id: id.unwrap_or_default(),
                document,
                writes: (!has_more_writes).then(|| elements.rest()),
            }
        });
        Self {
            next,
            ancestors: ancestors.collect(),
        }
    }
}

impl From<HistoryReply> for Reply {
    fn from(reply: HistoryReply) -> Self {
        let next = Self::Bytes(reply.next.unwrap_or_default());
        let ancestors = reply.ancestors.into_iter().map(|ancestor| {
            let first = [
                Self::Bytes(ancestor.id),
                Self::Bytes(ancestor.document.unwrap_or_default()),
                flag(ancestor.writes.is_none()),
            ];
            list(first, ancestor.writes.unwrap_or_default())
        });
        Self::Array([next].into_iter().chain(ancestors).collect())
    }
}
