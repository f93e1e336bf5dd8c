//! Other TTLs for checkpoints with their writes, and for what they share.

use bytes::Bytes;

use super::pipeline::{Replies, expire_shared};
use super::registry::range;
use super::thread::{Thread, awaited, pexpire, ttl_left};
use super::{PINNED, Run, after, join};
use crate::error::{Error, Result};
use crate::redis::args::number;
use crate::redis::driver::{Command, Reply};
use crate::redis::keys::NamespaceKeys;
use crate::redis::scripts::{Request, RunOnKey, TtlCall, TtlReply, TtlVerb, in_milliseconds};

/// How long in milliseconds the set of namespaces leads to what has no TTL yet while a thread is
/// unpinned: 30 days.
const UNPINNING: i64 = 30 * 24 * 60 * 60 * 1000;

/// How long in milliseconds what a checkpoint shares with others stays at least: other calls may be
/// on their way along it.
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
        // What is stored while all else gets its TTL gets its own too: a set without one says that
        // the thread has something that is kept for ever.
        TtlVerb::Unmark if ttl > 0 => RunOnKey::new(namespaces)
            .run("SREM", [Bytes::from_static(PINNED)])
            .run("PEXPIRE", [number(ttl.max(UNPINNING))])
            .into(),
        TtlVerb::Unmark => Request::on("SREM", namespaces, [PINNED]),
        _ => Thread::pinned(namespaces),
    };
    let mut requests = vec![mark];
    for id in ids {
        requests.push(written(keys, id));
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
            if verb == TtlVerb::Unpinned {
                stay_if_pinned_since(run, keys).await?;
            }
            return Ok(done);
        }
        TtlVerb::Pin => {}
        _ if is_pinned => ttl = 0,
        _ => {}
    }
    let mut changed = Vec::new();
    for id in ids {
        let mut writes = own_of(keys, id, replies.list()?);
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
        // It leads to what has no TTL yet, also when a call that unpinned the thread before ends
        // only now.
        requests.push(pexpire(&keys.registry, lasting, Some("GT")));
    }
    if !matches!(verb, TtlVerb::Keep | TtlVerb::Unpin) {
        requests.extend(shared(namespaces));
    }
    if !requests.is_empty() {
        run.pipeline(requests).await?.finish()?;
    }
    match verb {
        TtlVerb::Unpin if ids.is_empty() => stay_if_pinned_since(run, keys).await?,
        _ if changed.is_empty() => {}
        TtlVerb::Pin => unpinned_since(run, keys, in_milliseconds(call.ttl), &changed).await?,
        TtlVerb::Unpin => pinned_since(run, keys, ttl, &changed).await?,
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

/// The request for the writes that a checkpoint's registry names.
fn written(keys: &NamespaceKeys, id: &Bytes) -> Request {
    let registry = join(&[&keys.write_registries, id]);
    Request::on("ZRANGE", &registry, [&b"0"[..], b"-1"])
}

/// Those that are the checkpoint's own.
fn own_of(keys: &NamespaceKeys, id: &Bytes, mut writes: Vec<Bytes>) -> Vec<Bytes> {
    let own = join(&[&keys.writes, id, b":"]);
    writes.retain(|key| after(key, &own).is_some());
    writes
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

/// Takes back what an unpinning has done to checkpoints and their writes if the thread was pinned
/// since.
async fn pinned_since(
    run: &Run<'_>,
    keys: &NamespaceKeys,
    ttl: i64,
    changed: &[Changed<'_>],
) -> Result<()> {
    let pinned = vec![Thread::pinned(&keys.namespaces)];
    if run.pipeline(pinned).await?.int()? == 0 {
        return Ok(());
    }
    let own = changed.iter().flat_map(Changed::keys);
    let persist = own.filter_map(|key| change_of(key, 0, TtlVerb::Pin));
    run.pipeline(persist.collect()).await?.finish()?;
    unpinned_since(run, keys, ttl, changed).await
}

/// Takes back what a pinning has done to checkpoints and their writes if the thread was unpinned
/// since, and lets writes go that were pinned when their checkpoint expired.
async fn unpinned_since(
    run: &Run<'_>,
    keys: &NamespaceKeys,
    ttl: i64,
    changed: &[Changed<'_>],
) -> Result<()> {
    let mut requests = vec![Thread::pinned(&keys.namespaces)];
    for one in changed {
        requests.extend(look_at(keys, one.id));
        requests.push(written(keys, one.id));
    }
    let mut replies = run.pipeline(requests).await?;
    let is_pinned = replies.int()? == 1;
    let mut requests = Vec::new();
    for one in changed {
        let leads = Leads::read(&mut replies)?;
        // Some may have come in between, and without the registry nothing leads to them.
        let mut writes = own_of(keys, one.id, replies.list()?);
        writes.extend(one.writes.iter().cloned());
        if !leads.is_there && !leads.are_awaited {
            requests.extend(writes.iter().map(|key| pexpire(key, 1, None)));
        } else if !is_pinned {
            let unpin = |key: &Bytes| change_of(key, ttl, TtlVerb::Unpin);
            requests.extend(writes.iter().chain([&one.document]).filter_map(unpin));
        }
    }
    if requests.is_empty() {
        return Ok(());
    }
    run.pipeline(requests).await?.finish()
}

/// What a call has stored without a TTL since the thread was pinned when it began.
pub(super) enum StoredWhilePinned {
    /// A checkpoint, to which writes may belong.
    Checkpoint,
    /// Writes, under these keys.
    Writes(Vec<Bytes>),
}

/// Ends such a call: if the thread is not pinned any more, what was stored gets the call's TTL, as
/// the unpinning gave all else one. Returns false if nothing leads to it, so that it must be stored
/// again.
pub(super) async fn is_still_pinned_or_expires(
    run: &Run<'_>,
    keys: &NamespaceKeys,
    id: &Bytes,
    stored: StoredWhilePinned,
    ttl: i64,
) -> Result<bool> {
    let document = join(&[&keys.documents, id]);
    let mut requests = vec![
        Thread::pinned(&keys.namespaces),
        Request::on("SISMEMBER", &keys.namespaces, [&keys.stored[..]]),
        Request::on("PTTL", &document, []),
        written(keys, id),
    ];
    requests.extend(look_at(keys, id));
    let mut replies = run.pipeline(requests).await?;
    let (is_pinned, is_named) = (replies.int()? == 1, replies.int()? == 1);
    let (left, mut writes) = (replies.int()?, own_of(keys, id, replies.list()?));
    let leads = Leads::read(&mut replies)?;
    let is_kept = is_named && (leads.is_there || leads.are_awaited);
    if is_pinned {
        return Ok(is_kept);
    }
    if let StoredWhilePinned::Writes(stored) = stored {
        if left == -1 {
            // They live as long as their checkpoint, whose own call sees to it.
            return Ok(is_kept);
        }
        writes.extend(stored);
    }
    let lasting = ttl.max(left);
    writes.push(join(&[&keys.write_registries, id]));
    let changed = [Changed {
        id,
        writes,
        document,
    }];
    let expire = changed[0]
        .keys()
        .map(|key| pexpire(key, lasting, Some("NX")));
    run.pipeline(expire.collect()).await?.finish()?;
    expire_what_is_shared(run, keys, lasting).await?;
    pinned_since(run, keys, ttl, &changed).await?;
    Ok(is_kept)
}

/// Takes back what an unpinning has done to what checkpoints share if the thread was pinned since.
async fn stay_if_pinned_since(run: &Run<'_>, keys: &NamespaceKeys) -> Result<()> {
    let pinned = vec![Thread::pinned(&keys.namespaces)];
    if run.pipeline(pinned).await?.int()? == 1 {
        persist_what_is_shared(run, keys).await?;
    }
    Ok(())
}

async fn persist_what_is_shared(run: &Run<'_>, keys: &NamespaceKeys) -> Result<()> {
    let shared = [&keys.registry, &keys.pointer, &keys.namespaces];
    let persist = shared.map(|key| Request::on("PERSIST", key, []));
    run.pipeline(persist.into()).await?.finish()
}

/// How many of the newest checkpoints are looked at.
const NEWEST: usize = 100;

/// Gives the registry and the pointer a TTL if they have none and the newest checkpoints have one.
async fn expire_what_is_shared(run: &Run<'_>, keys: &NamespaceKeys, ttl: i64) -> Result<()> {
    // As long as the last of them; nothing if one has no TTL.
    let longest = async || {
        let newest = range(&keys.registry, b"+", NEWEST);
        let ids = run.pipeline(vec![newest]).await?.list()?;
        let document = |id: &Bytes| join(&[&keys.documents, id]);
        let mut requests: Vec<_> = ids
            .iter()
            .map(|id| Request::on("PTTL", &document(id), []))
            .collect();
        requests.push(Thread::pinned(&keys.namespaces));
        let mut replies = run.pipeline(requests).await?;
        let left = replies.ints(ids.len())?;
        let is_kept = left.contains(&-1) || replies.int()? == 1;
        let longest = left.into_iter().map(ttl_left).max().unwrap_or(0);
        Ok::<_, Error>((!is_kept).then_some(longest.max(ttl)))
    };
    let shared = [&keys.registry, &keys.pointer];
    let Some(ttl) = longest().await? else {
        return Ok(());
    };
    let expire = shared.map(|key| pexpire(key, ttl.max(LEAST), Some("NX")));
    let set = pexpire(&keys.namespaces, ttl.max(UNPINNING), Some("NX"));
    let requests = expire.into_iter().chain([set]).collect();
    run.pipeline(requests).await?.finish()?;
    if longest().await?.is_none() {
        // Something without a TTL has come since.
        persist_what_is_shared(run, keys).await?;
    }
    Ok(())
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
