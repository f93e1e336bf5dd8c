//! Other TTLs for checkpoints with their writes, and for what they share.

use bytes::Bytes;

use super::pipeline::expire_shared;
use super::thread::{LEAST, Thread, pexpire};
use super::unpinned::{Changed, Leads, look_at};
use super::unpinned::{pinned_since, stay_if_pinned_since, unpinned_since};
use super::written::{own_of, written};
use super::{PINNED, Run, join};
use crate::error::Result;
use crate::redis::args::number;
use crate::redis::driver::Command;
use crate::redis::scripts::{Request, RunOnKey, TtlCall, TtlReply, TtlVerb, in_milliseconds};

/// How long in milliseconds the set of namespaces leads to what has no TTL yet while a thread is
/// unpinned: 30 days.
const UNPINNING: i64 = 30 * 24 * 60 * 60 * 1000;

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
            let is_kept = leads.are_awaited || (leads.is_registered && leads.is_there());
            if !is_kept {
                continue;
            }
        }
        writes.push(join(&[&keys.write_registries, id]));
        changed.push(Changed {
            id,
            writes,
            document: Some(join(&[&keys.documents, id])),
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
