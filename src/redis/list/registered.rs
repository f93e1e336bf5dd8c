//! What a thread has, a page of its set of namespaces at a time.

use std::collections::HashMap;

use bytes::Bytes;

use super::super::driver::{Reply, number};
use super::super::keys::{Member, ThreadKeys};
use super::super::scripts::{self, ScriptCall};

/// How many members of a thread's set of namespaces are read at once, with their registries.
const MEMBERS: usize = 500;

/// What the pages of a thread's set of namespaces have said: its members, and how many checkpoints
/// each registers, -1 where the registry is known to lack some.
#[derive(Debug, Default)]
pub(super) struct Registered {
    members: HashMap<Bytes, i64>,
    cursor: Bytes,
}

impl Registered {
    /// The call that reads the next page.
    pub(super) fn next_page(&self, keys: &ThreadKeys) -> ScriptCall {
        let cursor = match &self.cursor {
            first if first.is_empty() => Bytes::from_static(b"0"),
            cursor => cursor.clone(),
        };
        let args = vec![keys.registries(), cursor, number(MEMBERS)];
        scripts::NAMESPACES.call(vec![keys.namespaces()], args)
    }

    pub(super) fn take(&mut self, reply: Reply) {
        let mut parts = reply.into_array().into_iter();
        let cursor = parts.next().and_then(Reply::into_bytes);
        self.cursor = cursor.unwrap_or_else(|| Bytes::from_static(b"0"));
        while let (Some(member), Some(registered)) = (parts.next(), parts.next()) {
            if let Some(member) = member.into_bytes() {
                self.members
                    .insert(member, registered.as_int().unwrap_or(-1));
            }
        }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.cursor == "0"
    }

    pub(super) fn members(&self) -> Vec<Member> {
        let members = self.members.keys();
        members
            .filter_map(|member| Member::of_bytes(member))
            .collect()
    }

    /// How many checkpoints are registered; -1 if some may not be.
    pub(super) fn total(&self) -> i64 {
        let mut each = self.members.values();
        each.try_fold(0_i64, |total, one| (*one >= 0).then_some(total + one))
            .unwrap_or(-1)
    }
}
