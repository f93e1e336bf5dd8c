//! Other TTLs for checkpoints with their writes, and for what they share.

use bytes::Bytes;

use super::super::driver::{Command, Reply};
use super::flight::{Group, Part, expire_shared};
use super::thread::{awaited, pexpire};
use super::{PINNED, Plain, after, count, integer, join};
use crate::error::Result;

pub(super) async fn change(plain: &Plain<'_>, keys: &[Bytes], args: &[Bytes]) -> Result<Reply> {
    let [registry, pointer, namespaces] = plain.first::<3>(keys)?;
    let [prefix, registries, writes, ttl, verb, _, namespace] = plain.first::<7>(args)?;
    let (mut ttl, verb, ids) = (integer(ttl), &verb[..], &args[7..]);
    let mut parts = vec![match verb {
        // A thread that has expired since it was looked at is not pinned: nothing would remove the
        // mark.
        b"pin" => Group::on(namespaces)
            .even_when_full()
            .run("EXISTS", [])
            .if_done()
            .run("SADD", [Bytes::from_static(PINNED)])
            .part(),
        b"unpin" => Part::of("SREM", namespaces, [PINNED]),
        _ => Part::of("SISMEMBER", namespaces, [PINNED]),
    }];
    for id in ids {
        let registry = join(&[registries, id]);
        parts.push(Part::of("ZRANGE", &registry, [&b"0"[..], b"-1"]));
        if verb == b"pin" {
            parts.push(Part::of("EXISTS", &join(&[prefix, id]), []));
            let mark = awaited(namespace, id);
            parts.push(Part::of("SISMEMBER", namespaces, [&mark[..]]));
        }
    }
    let mut answers = plain.flight(parts).await?;
    if answers.int()? == 1 && !matches!(verb, b"pin" | b"unpin") {
        ttl = 0;
    }
    let change = |key: &Bytes| change_of(key, ttl, verb);
    if verb == b"kept" {
        let kept = Part::command(expire_shared(namespaces, ttl));
        plain.flight(vec![kept]).await?.finish()?;
        return Ok(Reply::Array(Vec::new()));
    }
    let mut parts = Vec::new();
    for id in ids {
        let own = join(&[writes, id, b":"]);
        let keys = answers.list()?;
        // What nothing leads to any more, for its document has expired, would stay for good.
        if verb == b"pin" && answers.int()? + answers.int()? == 0 {
            continue;
        }
        let keys = keys.iter().filter(|key| after(key, &own).is_some());
        parts.extend(keys.filter_map(change));
        parts.extend(change(&join(&[registries, id])));
        parts.extend(change(&join(&[prefix, id])));
    }
    let shared = |key: &Bytes| match verb {
        b"read" => (ttl > 0).then(|| pexpire(key, ttl, Some("GT"))),
        _ => change(key),
    };
    parts.extend([registry, pointer].into_iter().filter_map(shared));
    if verb != b"keep" {
        parts.extend(shared(namespaces));
    }
    if !parts.is_empty() {
        plain.flight(parts).await?.finish()?;
    }
    Ok(Reply::Array(vec![count(ids.len()), Reply::Int(0)]))
}

/// What a verb does to a key. What is kept for ever stays so when it is touched, and what has no TTL
/// to get back keeps its own.
fn change_of(key: &Bytes, ttl: i64, verb: &[u8]) -> Option<Part> {
    match verb {
        b"touch" | b"read" => (ttl > 0).then(|| pexpire(key, ttl, Some("XX"))),
        b"keep" => Some(Part::command(expire_shared(key, ttl))),
        b"pin" => Some(Part::command(Command::on("PERSIST", key.clone()))),
        _ => (ttl > 0).then(|| pexpire(key, ttl, None)),
    }
}
