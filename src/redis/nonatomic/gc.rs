//! Takes some of what has expired out of a thread's registries, so that those of a thread that
//! never ends hold little more than what is there.
//!
//! A put looks at three members that chance picks, and remembers those that lead to nothing; the
//! next put of the namespace looks at these again and takes them out. Only then it takes another
//! round trip, to put back what was stored in between.

use bytes::Bytes;

use super::pipeline::Replies;
use super::thread::{longest, ttl_left};
use super::{Run, after, join};
use crate::error::Result;
use crate::redis::driver::{Command, Reply};
use crate::redis::keys::NamespaceKeys;
use crate::redis::scripts::{Request, RunOnKey};
use crate::redis::session::{Session, StaleMember};

/// How many members are looked at.
const LOOK_AT: &[u8] = b"3";
/// How many members of a set are gone through to see whether one is awaited.
const MANY: &[u8] = b"10000";

/// What one look found.
#[derive(Debug, Default)]
pub(super) struct Collected {
    /// What still leads to nothing.
    pub(super) gone: Vec<StaleMember>,
    /// What chance has picked to be looked at.
    pub(super) picked: Vec<StaleMember>,
}

/// The gc of a namespace's registries.
pub(super) struct RegistryGc<'a> {
    keys: &'a NamespaceKeys,
    stale: Vec<StaleMember>,
}

impl<'a> RegistryGc<'a> {
    /// Takes up what the last put found.
    pub(super) fn new(session: &Session, keys: &'a NamespaceKeys) -> Self {
        Self {
            keys,
            stale: session.take_stale(&keys.registry),
        }
    }

    /// The requests that look at what the last put found, and pick what this one looks at.
    pub(super) fn look(&self) -> Vec<Request> {
        let mut requests = self.look_at(&self.stale);
        requests.push(Request::on("ZRANDMEMBER", &self.keys.registry, [LOOK_AT]));
        requests.push(Request::on("SRANDMEMBER", &self.keys.namespaces, [LOOK_AT]));
        requests
    }

    /// Reads the replies.
    pub(super) fn read(&self, replies: &mut Replies) -> Result<Collected> {
        let gone = Self::gone(&self.stale, replies)?;
        let ids = replies.list()?.into_iter();
        let ids = ids.filter(|id| !id.is_empty()).map(StaleMember::Checkpoint);
        let members = replies.list()?.into_iter();
        let members = members.filter_map(|member| candidate(self.keys, member));
        Ok(Collected {
            gone,
            picked: ids.chain(members).collect(),
        })
    }

    /// The requests that take members out.
    pub(super) fn remove(&self, members: &[StaleMember]) -> Vec<Request> {
        let requests = members.iter().map(|member| match member {
            StaleMember::Checkpoint(id) => Request::on("ZREM", &self.keys.registry, [&id[..]]),
            StaleMember::Mark(member, _) | StaleMember::Namespace(member) => {
                Request::on("SREM", &self.keys.namespaces, [&member[..]])
            }
        });
        requests.collect()
    }

    /// The requests that look at members.
    pub(super) fn look_at(&self, members: &[StaleMember]) -> Vec<Request> {
        let requests = members.iter().flat_map(|member| match member {
            StaleMember::Checkpoint(id) => vec![exists(&join(&[&self.keys.documents, id]))],
            StaleMember::Mark(_, registry) => vec![exists(registry)],
            StaleMember::Namespace(namespace) => {
                // What marks a checkpoint of the namespace.
                let mark = glob(&join(&[b"\0", namespace, b"\0"]));
                let scan = Command::on("SSCAN", self.keys.namespaces.clone())
                    .arg("0")
                    .arg("MATCH")
                    .arg(join(&[b"\0[wr]*", &mark]))
                    .arg("COUNT")
                    .arg(Bytes::from_static(MANY));
                let [registry, pointer] = namespace_keys(self.keys, namespace);
                vec![exists(&registry), Request::from(scan), exists(&pointer)]
            }
        });
        requests.collect()
    }

    /// Those that lead to nothing.
    pub(super) fn gone(members: &[StaleMember], replies: &mut Replies) -> Result<Vec<StaleMember>> {
        let mut gone = Vec::new();
        for member in members {
            let mut is_gone = replies.int()? == 0;
            if matches!(member, StaleMember::Namespace(_)) {
                let mut found = replies.one()?.into_array().into_iter();
                let (cursor, marks) = (found.next(), found.next());
                let is_all = cursor
                    .and_then(Reply::into_bytes)
                    .is_some_and(|at| at == "0");
                let marks = marks.map_or(0, |marks| marks.into_array().len());
                let has_pointer = replies.int()? == 1;
                is_gone &= is_all && marks == 0 && !has_pointer;
            }
            if is_gone {
                gone.push(member.clone());
            }
        }
        Ok(gone)
    }
}

/// What a member of the set of namespaces stands for.
pub(super) fn candidate(keys: &NamespaceKeys, member: Bytes) -> Option<StaleMember> {
    let mark = after(&member, b"\0writes\0").or_else(|| after(&member, b"\0removed\0"));
    if let Some(mark) = mark {
        let gap = mark.iter().position(|byte| *byte == 0)?;
        let registry = join(&[write_registries(keys), &mark[..gap], b":", &mark[gap + 1..]]);
        return Some(StaleMember::Mark(member, registry));
    }
    (member.first() != Some(&0)).then_some(StaleMember::Namespace(member))
}

/// How the keys of the registries of all writes start.
fn write_registries(keys: &NamespaceKeys) -> &[u8] {
    let registries = &keys.write_registries;
    let rest = registries.strip_suffix(b":");
    let rest = rest.and_then(|rest| rest.strip_suffix(&keys.stored[..]));
    rest.unwrap_or(registries)
}

/// Puts members back that were taken out while another call stored what they lead to. Where all of
/// a thread has one TTL, the set has it already.
pub(super) async fn put_back(
    run: &Run<'_>,
    keys: &NamespaceKeys,
    members: &[StaleMember],
    thread_ttl: i64,
) -> Result<()> {
    // What is stored while writes are removed is not among them.
    let members = members.iter().filter(|member| !is_removed(member));
    let members: Vec<_> = members
        .map(|member| (member, named_by(keys, member)))
        .collect();
    if members.is_empty() {
        return Ok(());
    }
    let named = members.iter().flat_map(|(_, named)| named);
    let left = named.map(|key| Request::on("PTTL", key, []));
    let mut replies = run.pipeline(left.collect()).await?;
    let mut again = Vec::new();
    for (member, named) in members {
        let left = replies.ints(named.len())?;
        let Some(left) = longest(&left) else { continue };
        let requests = match member {
            StaleMember::Checkpoint(id) => {
                let id = [Bytes::from("NX"), Bytes::from("0"), id.clone()];
                let registry = RunOnKey::new(&keys.registry).run("ZADD", id);
                registry.shared_ttl(ttl_left(left))
            }
            StaleMember::Mark(member, _) | StaleMember::Namespace(member) => {
                let set = RunOnKey::new(&keys.namespaces);
                if thread_ttl == 0 {
                    let set = set.run("SADD", [member.clone()]);
                    set.shared_ttl(ttl_left(left))
                } else {
                    let set = set.run("EXISTS", []).if_done();
                    set.run("SADD", [member.clone()])
                }
            }
        };
        again.push(requests.even_when_full().into());
    }
    if again.is_empty() {
        return Ok(());
    }
    run.pipeline(again).await?.finish()
}

fn is_removed(member: &StaleMember) -> bool {
    matches!(member, StaleMember::Mark(mark, _) if mark.starts_with(b"\0removed\0"))
}

/// The keys that a member of a registry, or of the set of namespaces, stands for.
pub(super) fn named_by(keys: &NamespaceKeys, member: &StaleMember) -> Vec<Bytes> {
    match member {
        StaleMember::Checkpoint(id) => vec![join(&[&keys.documents, id])],
        StaleMember::Mark(_, registry) => vec![registry.clone()],
        StaleMember::Namespace(namespace) => {
            let [registry, pointer] = namespace_keys(keys, namespace);
            if keys.thread.contains(&b':') || namespace.contains(&b':') {
                // The pointer may be another thread's whose names have colons, too.
                vec![registry]
            } else {
                vec![registry, pointer]
            }
        }
    }
}

impl Run<'_> {
    /// Remembers what leads to nothing for the next put of a namespace.
    pub(super) fn remember_stale(&self, registry: &Bytes, members: &[StaleMember]) {
        if !members.is_empty() {
            let members = members.iter().map(copied).collect();
            self.session.remember_stale(registry, members);
        }
    }
}

/// The same in memory of its own, apart from the replies that it came in, which may be large.
fn copied(member: &StaleMember) -> StaleMember {
    let copy = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
    match member {
        StaleMember::Checkpoint(id) => StaleMember::Checkpoint(copy(id)),
        StaleMember::Mark(mark, registry) => StaleMember::Mark(copy(mark), copy(registry)),
        StaleMember::Namespace(namespace) => StaleMember::Namespace(copy(namespace)),
    }
}

/// The registry and the pointer of a namespace of the same thread.
fn namespace_keys(keys: &NamespaceKeys, namespace: &[u8]) -> [Bytes; 2] {
    [&keys.registry, &keys.pointer].map(|key| {
        let start = key.strip_suffix(&keys.stored[..]).unwrap_or(key);
        join(&[start, namespace])
    })
}

fn exists(key: &Bytes) -> Request {
    Request::on("EXISTS", key, [])
}

/// A pattern for what starts with some bytes.
fn glob(start: &[u8]) -> Bytes {
    let mut pattern = Vec::with_capacity(start.len() + 1);
    for byte in start {
        if b"*?[]\\^".contains(byte) {
            pattern.push(b'\\');
        }
        pattern.push(*byte);
    }
    pattern.push(b'*');
    Bytes::from(pattern)
}
