//! Other TTLs for checkpoints with their writes, and for what they share.

use bytes::Bytes;

use super::pipeline::{Replies, expire_shared};
use super::thread::{Thread, awaited, pexpire};
use super::{PINNED, Run, after, join};
use crate::error::Result;
use crate::redis::args::number;
use crate::redis::driver::{Command, Reply};
use crate::redis::keys::NamespaceKeys;
use crate::redis::scripts::{Request, RunOnKey, TtlCall, TtlReply, TtlVerb, in_milliseconds};

/// How long in milliseconds the set of namespaces leads to what has no TTL yet while a thread is
/// unpinned: 30 days.
const UNPINNING: i64 = 30 * 24 * 60 * 60 * 1000;

/// How long in milliseconds what a checkpoint shares with others stays at least: other calls may be on
/// their way along it.
const LEAST: i64 = 1000;

pub(super) async fn change(run: &Run<'_>, call: &TtlCall) -> Result<TtlReply> {
    let keys = &call.keys;
    let namespaces = &keys.namespaces;
    let (mut ttl, verb, ids) = (in_milliseconds(call.ttl), call.verb, &call.ids[..]);
    let done = TtlReply {
        done: ids.len(),
        skip: 0,
    };
    let mark = match verb {
        // A thread that has expired since it was looked at is not pinned: nothing would remove the
        // mark.
        TtlVerb::Mark => RunOnKey::new(namespaces)
            .even_when_full()
            .run("EXISTS", [])
            .if_done()
            .run("SADD", [Bytes::from_static(PINNED)])
            .run("PERSIST", [])
            .into(),
        // What is stored while all else gets its TTL gets its own too: a set without one says that the
        // thread has something that is kept for ever.
        TtlVerb::Unmark if ttl > 0 => RunOnKey::new(namespaces)
            .run("SREM", [Bytes::from_static(PINNED)])
            .run("PEXPIRE", [number(ttl.max(UNPINNING))])
            .into(),
        TtlVerb::Unmark => Request::on("SREM", namespaces, [PINNED]),
        _ => Thread::pinned(namespaces),
    };
    let mut requests = vec![mark];
    for id in ids {
        let registry = join(&[&keys.write_registries, id]);
        requests.push(Request::on("ZRANGE", &registry, [&b"0"[..], b"-1"]));
        if verb == TtlVerb::Pin {
            requests.extend(look_at(keys, id));
        }
    }
    let mut replies = run.pipeline(requests).await?;
    let is_pinned = replies.int()? == 1;
    match verb {
        TtlVerb::Mark | TtlVerb::Unmark => return Ok(done),
        // Another call has unpinned or pinned it since, and visits all of it.
        TtlVerb::Pin if !is_pinned => return Ok(done),
        TtlVerb::Unpin | TtlVerb::Unpinned if is_pinned => return Ok(done),
        TtlVerb::Kept | TtlVerb::Unpinned => {
            let ttl = if is_pinned { 0 } else { ttl };
            let kept = match verb {
                TtlVerb::Kept => Some(Request::from(expire_shared(namespaces, ttl))),
                _ => (ttl > 0).then(|| pexpire(namespaces, ttl.max(LEAST), None)),
            };
            run.pipeline(kept.into_iter().collect()).await?.finish()?;
            return Ok(done);
        }
        TtlVerb::Pin => {}
        _ if is_pinned => ttl = 0,
        _ => {}
    }
    let mut changed = Vec::new();
    for id in ids {
        let own = join(&[&keys.writes, id, b":"]);
        let mut writes = replies.list()?;
        writes.retain(|key| after(key, &own).is_some());
        if verb == TtlVerb::Pin {
            let leads = Leads::read(&mut replies)?;
            // What nothing leads to any more, for the registry or its document has expired, would
            // stay for good. A checkpoint that is being put comes without a TTL by itself.
            let is_kept = leads.are_awaited || (leads.is_registered && leads.is_there);
            if !is_kept {
                continue;
            }
        }
        writes.push(join(&[&keys.write_registries, id]));
        changed.push(Changed {
            id,
            writes,
            document: join(&[&keys.documents, id]),
        });
    }
    let change = |key: &Bytes| change_of(key, ttl, verb);
    let own = changed.iter().flat_map(Changed::keys);
    let mut requests: Vec<_> = own.filter_map(change).collect();
    let lasting = if ttl > 0 { ttl.max(LEAST) } else { 0 };
    let shared = |key: &Bytes| match verb {
        TtlVerb::Read => (ttl > 0).then(|| pexpire(key, ttl, Some("GT"))),
        TtlVerb::Keep => change(key),
        _ => change_of(key, lasting, verb),
    };
    if verb != TtlVerb::Unpin || ids.is_empty() {
        let keys = [&keys.registry, &keys.pointer].into_iter();
        requests.extend(keys.filter_map(shared));
    } else if ttl > 0 {
        // It leads to what has no TTL yet, also when a call that unpinned the thread before ends only
        // now.
        requests.push(pexpire(&keys.registry, lasting, Some("GT")));
    }
    if !matches!(verb, TtlVerb::Keep | TtlVerb::Unpin) {
        requests.extend(shared(namespaces));
    }
    if !requests.is_empty() {
        run.pipeline(requests).await?.finish()?;
    }
    match verb {
        _ if changed.is_empty() => {}
        TtlVerb::Pin => unpinned_since(run, call, &changed).await?,
        TtlVerb::Unpin => pinned_since(run, call, &changed).await?,
        _ => {}
    }
    Ok(done)
}

/// A checkpoint whose TTL was changed, with the keys that are its own.
struct Changed<'a> {
    id: &'a Bytes,
    /// Its writes, and their registry.
    writes: Vec<Bytes>,
    document: Bytes,
}

impl Changed<'_> {
    fn keys(&self) -> impl Iterator<Item = &Bytes> {
        self.writes.iter().chain([&self.document])
    }
}

/// The requests that ask whether something leads to a checkpoint and its writes.
fn look_at(keys: &NamespaceKeys, id: &Bytes) -> [Request; 3] {
    let mark = awaited(&keys.stored, id);
    [
        Request::on("ZSCORE", &keys.registry, [&id[..]]),
        Request::on("EXISTS", &join(&[&keys.documents, id]), []),
        Request::on("SISMEMBER", &keys.namespaces, [&mark[..]]),
    ]
}

/// What leads to a checkpoint and its writes.
struct Leads {
    is_registered: bool,
    is_there: bool,
    are_awaited: bool,
}

impl Leads {
    fn read(replies: &mut Replies) -> Result<Self> {
        Ok(Self {
            is_registered: !matches!(replies.one()?, Reply::Nil),
            is_there: replies.int()? == 1,
            are_awaited: replies.int()? == 1,
        })
    }
}

/// Takes back what an unpinning has done to checkpoints and their writes if the thread was pinned since.
async fn pinned_since(run: &Run<'_>, call: &TtlCall, changed: &[Changed<'_>]) -> Result<()> {
    let pinned = vec![Thread::pinned(&call.keys.namespaces)];
    if run.pipeline(pinned).await?.int()? == 0 {
        return Ok(());
    }
    let keys = changed.iter().flat_map(Changed::keys);
    let persist = keys.filter_map(|key| change_of(key, 0, TtlVerb::Pin));
    run.pipeline(persist.collect()).await?.finish()?;
    unpinned_since(run, call, changed).await
}

/// Takes back what a pinning has done to checkpoints and their writes if the thread was unpinned since,
/// and lets writes go that were pinned when their checkpoint expired.
async fn unpinned_since(run: &Run<'_>, call: &TtlCall, changed: &[Changed<'_>]) -> Result<()> {
    let keys = &call.keys;
    let mut requests = vec![Thread::pinned(&keys.namespaces)];
    requests.extend(changed.iter().flat_map(|one| look_at(keys, one.id)));
    let mut replies = run.pipeline(requests).await?;
    let is_pinned = replies.int()? == 1;
    let ttl = in_milliseconds(call.ttl);
    let mut requests = Vec::new();
    for one in changed {
        let leads = Leads::read(&mut replies)?;
        if !leads.is_there && !leads.are_awaited {
            requests.extend(one.writes.iter().map(|key| pexpire(key, 1, None)));
        } else if !is_pinned {
            let unpin = |key: &Bytes| change_of(key, ttl, TtlVerb::Unpin);
            requests.extend(one.keys().filter_map(unpin));
        }
    }
    if requests.is_empty() {
        return Ok(());
    }
    run.pipeline(requests).await?.finish()
}

/// What a verb does to a key. What has no TTL stays so when it is touched, and what has none to get
/// back keeps its own.
fn change_of(key: &Bytes, ttl: i64, verb: TtlVerb) -> Option<Request> {
    match verb {
        TtlVerb::Touch | TtlVerb::Read => (ttl > 0).then(|| pexpire(key, ttl, Some("XX"))),
        TtlVerb::Keep => Some(Request::from(expire_shared(key, ttl))),
        TtlVerb::Pin => Some(Request::from(Command::on("PERSIST", key.clone()))),
        TtlVerb::Unpin | TtlVerb::Unpinned => (ttl > 0).then(|| pexpire(key, ttl, None)),
        TtlVerb::Mark | TtlVerb::Unmark | TtlVerb::Kept => None,
    }
}
