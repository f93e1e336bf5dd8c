//! The registries: pages of them, what they learn, and what they no longer name.

use bytes::Bytes;

use super::super::args::{number, text};
use super::super::driver::Reply;
use super::super::keys::NamespaceKeys;
use super::{Elements, ScriptCall, list};
use crate::id::CheckpointId;

/// Reads a page of a namespace's checkpoint ids, newest first.
#[derive(Debug, Clone)]
pub(crate) struct PageCall {
    pub(crate) keys: NamespaceKeys,
    /// Only ids that are less than this one.
    pub(crate) before: Option<CheckpointId>,
    pub(crate) max: usize,
    /// Whether to read what the first of them hold, too. It is left out where keys are in several
    /// slots.
    pub(crate) contents: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PageReply {
    /// `false` if another saver wrote checkpoints that the registry does not name.
    pub(crate) is_complete: bool,
    pub(crate) ids: Vec<Bytes>,
    /// What the first of them hold; `None` for one that must be read by itself.
    pub(crate) contents: Vec<Option<Contents>>,
}

/// What a checkpoint holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) document: Bytes,
    /// The documents of its writes.
    pub(crate) writes: Vec<Bytes>,
}

impl PageCall {
    /// The upper end of the range, as Redis takes it.
    pub(crate) fn upper(&self) -> Bytes {
        self.before.as_ref().map_or_else(
            || Bytes::from_static(b"+"),
            |id| Bytes::from(format!("({id}")),
        )
    }

    pub(super) fn script(&self) -> ScriptCall {
        let keys = &self.keys;
        let mut args = vec![self.upper(), number(self.max), keys.documents.clone()];
        let script = if self.contents {
            args.extend([
                keys.write_registries.clone(),
                keys.writes.clone(),
                keys.shared_write_registries.clone(),
            ]);
            &super::PAGE_CONTENTS
        } else {
            &super::PAGE
        };
        script.call(vec![keys.registry.clone(), keys.pointer.clone()], args)
    }
}

const COMPLETE: &[u8] = b"complete";

impl From<Reply> for PageReply {
    fn from(reply: Reply) -> Self {
        let mut elements = Elements::from(reply);
        let is_complete = elements.bytes().is_some_and(|state| state == COMPLETE);
        let (mut ids, mut contents) = (Vec::new(), Vec::new());
        for element in elements.0 {
            match element {
                Reply::Array(held) => {
                    let mut held = held.into_iter().filter_map(Reply::into_bytes);
                    contents.push(held.next().map(|document| Contents {
                        document,
                        writes: held.collect(),
                    }));
                }
                id => ids.extend(id.into_bytes()),
            }
        }
        Self {
            is_complete,
            ids,
            contents,
        }
    }
}

impl From<PageReply> for Reply {
    fn from(reply: PageReply) -> Self {
        let state: &[u8] = if reply.is_complete {
            COMPLETE
        } else {
            b"incomplete"
        };
        let state = Self::Bytes(Bytes::from_static(state));
        let ids = reply.ids.into_iter().map(Self::Bytes);
        let contents = reply.contents.into_iter().map(|held| {
            let held = held.map(|held| list([Self::Bytes(held.document)], held.writes));
            held.unwrap_or(Self::Array(Vec::new()))
        });
        Self::Array([state].into_iter().chain(ids).chain(contents).collect())
    }
}

/// Reads a page of a thread's set of namespaces.
#[derive(Debug, Clone)]
pub(crate) struct NamespacesCall {
    pub(crate) namespaces: Bytes,
    /// What stands before a namespace in the key of its registry.
    pub(crate) registries: Bytes,
    /// `None` for the first page.
    pub(crate) cursor: Option<Bytes>,
    /// About how many members.
    pub(crate) max: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamespacesReply {
    /// The cursor of the next page; `None` if this was the last.
    pub(crate) cursor: Option<Bytes>,
    /// Members, with how many checkpoints each registers: -1 for a namespace whose registry is
    /// known to be incomplete, 0 for any other member. A member may be in more than one page.
    pub(crate) members: Vec<(Bytes, i64)>,
}

impl NamespacesCall {
    /// The cursor as Redis takes it.
    pub(crate) fn cursor(&self) -> Bytes {
        let cursor = self.cursor.clone();
        cursor.unwrap_or_else(|| Bytes::from_static(b"0"))
    }

    pub(super) fn script(&self) -> ScriptCall {
        let args = vec![self.registries.clone(), self.cursor(), number(self.max)];
        super::NAMESPACES.call(vec![self.namespaces.clone()], args)
    }
}

impl From<Reply> for NamespacesReply {
    fn from(reply: Reply) -> Self {
        let mut elements = Elements::from(reply);
        let cursor = elements.bytes().filter(|cursor| cursor != "0");
        let mut members = Vec::new();
        while let (Some(member), Some(registered)) = (elements.0.next(), elements.0.next()) {
            if let Some(member) = member.into_bytes() {
                members.push((member, registered.as_int().unwrap_or(-1)));
            }
        }
        Self { cursor, members }
    }
}

impl From<NamespacesReply> for Reply {
    fn from(reply: NamespacesReply) -> Self {
        let cursor = reply.cursor.unwrap_or_else(|| Bytes::from_static(b"0"));
        let members = reply
            .members
            .into_iter()
            .flat_map(|(member, registered)| [Self::Bytes(member), Self::Int(registered)]);
        Self::Array([Self::Bytes(cursor)].into_iter().chain(members).collect())
    }
}

/// Registers checkpoints that another saver wrote. Returns how many were added.
#[derive(Debug, Clone)]
pub(crate) struct RegisterCall {
    pub(crate) keys: NamespaceKeys,
    pub(crate) ids: Vec<CheckpointId>,
    /// Whether the registry names all from then on.
    pub(crate) is_complete: bool,
}

impl RegisterCall {
    pub(super) fn script(&self) -> ScriptCall {
        let keys = &self.keys;
        let mode: &[u8] = if self.is_complete { COMPLETE } else { b"" };
        let mut args = vec![
            keys.stored.clone(),
            keys.documents.clone(),
            Bytes::from_static(mode),
        ];
        args.extend(self.ids.iter().map(|id| text(id.as_str())));
        super::REGISTER.call(vec![keys.registry.clone(), keys.namespaces.clone()], args)
    }
}

/// Takes ids out of a registry whose documents are gone. Returns how many were taken out.
#[derive(Debug, Clone)]
pub(crate) struct UnregisterCall {
    pub(crate) registry: Bytes,
    /// How the keys of the namespace's documents start.
    pub(crate) documents: Bytes,
    pub(crate) ids: Vec<Bytes>,
}

impl UnregisterCall {
    /// The same of a namespace's registry.
    pub(crate) fn of<'a>(
        keys: &NamespaceKeys,
        ids: impl IntoIterator<Item = &'a CheckpointId>,
    ) -> Self {
        Self {
            registry: keys.registry.clone(),
            documents: keys.documents.clone(),
            ids: ids.into_iter().map(|id| text(id.as_str())).collect(),
        }
    }

    pub(super) fn script(&self) -> ScriptCall {
        let mut args = vec![self.documents.clone()];
        args.extend_from_slice(&self.ids);
        super::UNREGISTER.call(vec![self.registry.clone()], args)
    }
}

/// Takes members out of a thread's set of namespaces that stand for nothing any more. Returns how
/// many were taken out.
#[derive(Debug, Clone)]
pub(crate) struct UnlistCall {
    pub(crate) namespaces: Bytes,
    /// Members, with the key that each stands for.
    pub(crate) members: Vec<(Bytes, Bytes)>,
}

impl UnlistCall {
    pub(super) fn script(&self) -> ScriptCall {
        let (members, mut keys): (_, Vec<_>) = self.members.iter().cloned().unzip();
        keys.insert(0, self.namespaces.clone());
        super::UNLIST.call(keys, members)
    }
}
