//! The registries: what they name, and what they learn and forget.

use std::time::Duration;

use bytes::Bytes;

use super::super::driver::{Reply, number};
use super::flight::{Group, Part};
use super::thread::ttl_left;
use super::{Plain, after, count, integer, join};
use crate::error::{Error, Result};

/// How long to wait for a registry to name what its pointer names, before another saver is taken to
/// have moved the pointer.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(2),
    Duration::from_millis(8),
    Duration::from_millis(32),
];

/// Whether a registry names a checkpoint that its pointer names. A put tells both at once, on two
/// nodes, so that one may be a moment later than the other.
pub(super) async fn names(plain: &Plain<'_>, registry: &Bytes, id: &[u8]) -> Result<bool> {
    let is_named = async || {
        let score = vec![Part::of("ZSCORE", registry, [id])];
        Ok::<_, Error>(plain.flight(score).await?.one()? != Reply::Nil)
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
    plain: &Plain<'_>,
    registry: &Bytes,
    upper: &Bytes,
    most: usize,
) -> Result<Vec<Bytes>> {
    let mut answers = plain.flight(vec![range(registry, upper, most)]).await?;
    answers.list()
}

/// The part that asks for ids of a registry, newest first.
pub(super) fn range(registry: &Bytes, upper: &[u8], most: usize) -> Part {
    let most = number(most);
    Part::of(
        "ZREVRANGEBYLEX",
        registry,
        [upper, b"(", b"LIMIT", b"0", &most],
    )
}

/// Reads a page of a namespace's checkpoint ids.
pub(super) async fn page(plain: &Plain<'_>, keys: &[Bytes], args: &[Bytes]) -> Result<Reply> {
    let [registry, pointer] = plain.first::<2>(keys)?;
    let [upper, most, prefix] = plain.first::<3>(args)?;
    let most = usize::try_from(integer(most)).unwrap_or(0);
    let parts = vec![
        Part::of("GET", pointer, []),
        Part::of("ZSCORE", registry, [&b""[..]]),
        range(registry, b"+", 1),
        range(registry, upper, most),
    ];
    let mut answers = plain.flight(parts).await?;
    let target = answers.bytes()?;
    let newest = target.as_deref().and_then(|target| after(target, prefix));
    let lacks_some = answers.one()? != Reply::Nil;
    let first = answers.list()?.into_iter().next();
    let page = answers.list()?;
    let is_complete = match newest {
        _ if lacks_some => false,
        None => true,
        Some(newest) => {
            let is_named = |id: &Bytes| *id == newest;
            first.as_ref().is_some_and(is_named)
                || page.iter().any(is_named)
                || names(plain, registry, newest).await?
        }
    };
    let state: &[u8] = if is_complete {
        b"complete"
    } else {
        b"incomplete"
    };
    let page = [Bytes::from_static(state)].into_iter().chain(page);
    Ok(Reply::Array(page.map(Reply::Bytes).collect()))
}

/// Reads a page of what a thread has.
pub(super) async fn namespaces(plain: &Plain<'_>, keys: &[Bytes], args: &[Bytes]) -> Result<Reply> {
    let [namespaces] = plain.first::<1>(keys)?;
    let [registries, cursor, most] = plain.first::<3>(args)?;
    let scan = Part::of("SSCAN", namespaces, [&cursor[..], b"COUNT", most]);
    let mut page = plain.flight(vec![scan]).await?.one()?.into_array();
    let members = page.pop().unwrap_or(Reply::Nil).into_array();
    let members: Vec<_> = members.into_iter().filter_map(Reply::into_bytes).collect();
    let is_namespace = |member: &Bytes| member.first() != Some(&0);
    let parts: Vec<_> = members
        .iter()
        .filter(|member| is_namespace(member))
        .flat_map(|member| {
            let registry = join(&[registries, member]);
            [
                Part::of("ZSCORE", &registry, [&b""[..]]),
                Part::of("ZCARD", &registry, []),
            ]
        })
        .collect();
    let mut answers = if parts.is_empty() {
        None
    } else {
        Some(plain.flight(parts).await?)
    };
    let mut result = vec![page.pop().unwrap_or(Reply::Nil)];
    for member in members {
        let mut registered = 0;
        if is_namespace(&member)
            && let Some(answers) = &mut answers
        {
            let lacks_some = answers.one()? != Reply::Nil;
            let ids = answers.int()?;
            registered = if lacks_some { -1 } else { ids };
        }
        result.extend([Reply::Bytes(member), Reply::Int(registered)]);
    }
    Ok(Reply::Array(result))
}

/// Tells the registry of checkpoints that another saver wrote.
pub(super) async fn register(plain: &Plain<'_>, keys: &[Bytes], args: &[Bytes]) -> Result<Reply> {
    let [registry, namespaces] = plain.first::<2>(keys)?;
    let [namespace, prefix, mode] = plain.first::<3>(args)?;
    let ids = &args[3..];
    if ids.is_empty() && mode != "complete" {
        return Ok(count(0));
    }
    let ask = |id: &Bytes| Part::of("PTTL", &join(&[prefix, id]), []);
    let mut answers = plain.flight(ids.iter().map(ask).collect()).await?;
    let left = answers.ints(ids.len())?;
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

    let mut registered = Group::on(registry).even_when_full();
    if !there.is_empty() {
        let members = there
            .iter()
            .flat_map(|id| [Bytes::from("0"), (*id).clone()]);
        registered = registered.run("ZADD", members);
    }
    if mode == "complete" {
        registered = registered.run("ZREM", [Bytes::new()]);
    }
    let mut parts = Vec::new();
    if there.is_empty() {
        if mode == "complete" {
            parts.push(registered.part());
        }
    } else {
        let ttl = ttl_left(longest);
        let named = Group::on(namespaces).even_when_full();
        let named = named.run("SADD", [namespace.clone()]);
        parts.push(registered.shared_ttl(ttl).part());
        parts.push(named.shared_ttl(ttl).part());
    }
    if parts.is_empty() {
        return Ok(count(0));
    }
    let mut answers = plain.flight(parts).await?;
    let added = answers.int()?;
    answers.finish()?;
    Ok(Reply::Int(if there.is_empty() { 0 } else { added }))
}

/// Takes ids out of a registry whose documents are gone.
pub(super) async fn forget(plain: &Plain<'_>, keys: &[Bytes], args: &[Bytes]) -> Result<Reply> {
    let [registry] = plain.first::<1>(keys)?;
    let [prefix] = plain.first::<1>(args)?;
    let ids = &args[1..];
    let there = plain
        .are_there(ids.iter().map(|id| join(&[prefix, id])))
        .await?;
    let gone: Vec<&[u8]> = ids
        .iter()
        .zip(there)
        .filter(|(_, there)| !there)
        .map(|(id, _)| &id[..])
        .collect();
    if gone.is_empty() {
        return Ok(count(0));
    }
    let mut answers = plain.flight(vec![Part::of("ZREM", registry, gone)]).await?;
    Ok(Reply::Int(answers.int()?))
}
