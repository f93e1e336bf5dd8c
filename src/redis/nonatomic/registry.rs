//! The registries: what they name, what they learn, and what they no longer name.

use std::time::Duration;

use bytes::Bytes;

use super::thread::ttl_left;
use super::{Run, after, join};
use crate::error::{Error, Result};
use crate::redis::args::{number, text};
use crate::redis::driver::Reply;
use crate::redis::scripts::{
    Count, NamespacesCall, NamespacesReply, PageCall, PageReply, RegisterCall, Request, RunOnKey,
    UnregisterCall,
};

/// How long to wait for a registry to name what its pointer names, before another saver is taken to
/// have moved the pointer.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(2),
    Duration::from_millis(8),
    Duration::from_millis(32),
];

/// Whether a registry names a checkpoint that its pointer names. A put changes both at the same
/// time, on two nodes, so that one may be a moment later than the other.
pub(super) async fn names(run: &Run<'_>, registry: &Bytes, id: &[u8]) -> Result<bool> {
    let is_named = async || {
        let score = vec![Request::on("ZSCORE", registry, [id])];
        Ok::<_, Error>(run.pipeline(score).await?.one()? != Reply::Nil)
    };
    for pause in PAUSES {
        if is_named().await? {
            return Ok(true);
        }
        tokio::time::sleep(pause).await;
    }
    is_named().await
}

/// Ids of a registry, newest first.
pub(super) async fn ids(
    run: &Run<'_>,
    registry: &Bytes,
    upper: &Bytes,
    max: usize,
) -> Result<Vec<Bytes>> {
    let mut replies = run.pipeline(vec![range(registry, upper, max)]).await?;
    replies.list()
}

/// The request for ids of a registry, newest first.
pub(super) fn range(registry: &Bytes, upper: &[u8], max: usize) -> Request {
    let max = number(max);
    Request::on(
        "ZREVRANGEBYLEX",
        registry,
        [upper, b"(", b"LIMIT", b"0", &max],
    )
}

/// Reads a page of a namespace's checkpoint ids.
pub(super) async fn page(run: &Run<'_>, call: &PageCall) -> Result<PageReply> {
    let (registry, pointer) = (&call.keys.registry, &call.keys.pointer);
    let requests = vec![
        Request::on("GET", pointer, []),
        Request::on("ZSCORE", registry, [&b""[..]]),
        range(registry, b"+", 1),
        range(registry, &call.upper(), call.max),
    ];
    let mut replies = run.pipeline(requests).await?;
    let target = replies.bytes()?;
    let newest = target
        .as_deref()
        .and_then(|target| after(target, &call.keys.documents));
    let lacks_some = replies.one()? != Reply::Nil;
    let first = replies.list()?.into_iter().next();
    let page = replies.list()?;
    let is_complete = match newest {
        _ if lacks_some => false,
        None => true,
        Some(newest) => {
            let is_named = |id: &Bytes| *id == newest;
            first.as_ref().is_some_and(is_named)
                || page.iter().any(is_named)
                || names(run, registry, newest).await?
        }
    };
    Ok(PageReply {
        is_complete,
        ids: page,
        contents: Vec::new(),
    })
}

/// Reads a page of a thread's set of namespaces.
pub(super) async fn namespaces(run: &Run<'_>, call: &NamespacesCall) -> Result<NamespacesReply> {
    let (cursor, max) = (call.cursor(), number(call.max));
    let args = [&cursor[..], b"COUNT", &max];
    let scan = Request::on("SSCAN", &call.namespaces, args);
    let mut page = run.pipeline(vec![scan]).await?.one()?.into_array();
    let members = page.pop().unwrap_or(Reply::Nil).into_array();
    let members: Vec<_> = members.into_iter().filter_map(Reply::into_bytes).collect();
    let is_namespace = |member: &Bytes| member.first() != Some(&0);
    let requests: Vec<_> = members
        .iter()
        .filter(|member| is_namespace(member))
        .flat_map(|member| {
            let registry = join(&[&call.registries, member]);
            [
                Request::on("ZSCORE", &registry, [&b""[..]]),
                Request::on("ZCARD", &registry, []),
            ]
        })
        .collect();
    let mut replies = run.pipeline(requests).await?;
    let mut found = Vec::with_capacity(members.len());
    for member in members {
        let mut registered = 0;
        if is_namespace(&member) {
            let lacks_some = replies.one()? != Reply::Nil;
            let ids = replies.int()?;
            registered = if lacks_some { -1 } else { ids };
        }
        found.push((member, registered));
    }
    let cursor = page.pop().and_then(Reply::into_bytes);
    Ok(NamespacesReply {
        cursor: cursor.filter(|cursor| cursor != "0"),
        members: found,
    })
}

/// Registers checkpoints that another saver wrote.
pub(super) async fn register(run: &Run<'_>, call: &RegisterCall) -> Result<Count> {
    let keys = &call.keys;
    let (registry, namespaces) = (&keys.registry, &keys.namespaces);
    let ids: Vec<_> = call.ids.iter().map(|id| text(id.as_str())).collect();
    if ids.is_empty() && !call.is_complete {
        return Ok(Count(0));
    }
    let ask = |id: &Bytes| Request::on("PTTL", &join(&[&keys.documents, id]), []);
    let mut replies = run.pipeline(ids.iter().map(ask).collect()).await?;
    let left = replies.ints(ids.len())?;
    let mut there = Vec::new();
    let mut longest = -2;
    for (id, left) in ids.iter().zip(left) {
        if left != -2 {
            there.push(id);
            longest = if left == -1 || longest == -1 {
                -1
            } else {
                longest.max(left)
            };
        }
    }

    let mut registered = RunOnKey::new(registry).even_when_full();
    if !there.is_empty() {
        let members = there
            .iter()
            .flat_map(|id| [Bytes::from("0"), (*id).clone()]);
        registered = registered.run("ZADD", members);
    }
    if call.is_complete {
        registered = registered.run("ZREM", [Bytes::new()]);
    }
    let mut requests = Vec::new();
    if there.is_empty() {
        if call.is_complete {
            requests.push(registered.into());
        }
    } else {
        let ttl = ttl_left(longest);
        let named = RunOnKey::new(namespaces).even_when_full();
        let named = named.run("SADD", [keys.stored.clone()]);
        requests.push(registered.shared_ttl(ttl).into());
        requests.push(named.shared_ttl(ttl).into());
    }
    if requests.is_empty() {
        return Ok(Count(0));
    }
    let mut replies = run.pipeline(requests).await?;
    let added = replies.int()?;
    replies.finish()?;
    Ok(Count(if there.is_empty() { 0 } else { added }))
}

/// Takes ids out of a registry whose documents are gone.
pub(super) async fn unregister(run: &Run<'_>, call: &UnregisterCall) -> Result<Count> {
    let documents = call.ids.iter().map(|id| join(&[&call.documents, id]));
    let there = run.are_there(documents).await?;
    let gone: Vec<&[u8]> = call
        .ids
        .iter()
        .zip(there)
        .filter(|(_, there)| !there)
        .map(|(id, _)| &id[..])
        .collect();
    if gone.is_empty() {
        return Ok(Count(0));
    }
    let zrem = Request::on("ZREM", &call.registry, gone.iter().copied());
    let taken_out = run.pipeline(vec![zrem]).await?.int()?;
    // What was stored again in between is named again.
    let left = gone.iter().map(|id| {
        let document = join(&[&call.documents, id]);
        Request::on("PTTL", &document, [])
    });
    let mut replies = run.pipeline(left.collect()).await?;
    let left = replies.ints(gone.len())?;
    let there = gone.iter().zip(&left).filter(|(_, left)| **left != -2);
    let members: Vec<_> = there
        .flat_map(|(id, _)| [Bytes::from_static(b"0"), Bytes::copy_from_slice(id)])
        .collect();
    if !members.is_empty() {
        let ttl = match left.iter().max() {
            Some(longest) if !left.contains(&-1) => ttl_left(*longest),
            _ => 0,
        };
        let members = [Bytes::from_static(b"NX")].into_iter().chain(members);
        let again = RunOnKey::new(&call.registry).even_when_full();
        let again = again.run("ZADD", members).shared_ttl(ttl);
        run.pipeline(vec![again.into()]).await?.finish()?;
    }
    Ok(Count(taken_out))
}
