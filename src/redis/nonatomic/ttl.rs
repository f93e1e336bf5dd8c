//! Other TTLs for checkpoints with their writes, and for what they share.

use bytes::Bytes;

use super::pipeline::expire_shared;
use super::thread::{awaited, pexpire};
use super::{PINNED, Run, after, join};
use crate::error::Result;
use crate::redis::driver::Command;
use crate::redis::scripts::{Request, RunOnKey, TtlCall, TtlReply, TtlVerb, in_milliseconds};

pub(super) async fn change(run: &Run<'_>, call: &TtlCall) -> Result<TtlReply> {
    let keys = &call.keys;
    let (namespaces, namespace) = (&keys.namespaces, &keys.stored);
    let (mut ttl, verb, ids) = (in_milliseconds(call.ttl), call.verb, &call.ids[..]);
    let mut requests = vec![match verb {
        // A thread that has expired since it was looked at is not pinned: nothing would remove the
        // mark.
        TtlVerb::Pin => RunOnKey::new(namespaces)
            .even_when_full()
            .run("EXISTS", [])
            .if_done()
            .run("SADD", [Bytes::from_static(PINNED)])
            .into(),
        TtlVerb::Unpin => Request::on("SREM", namespaces, [PINNED]),
        _ => Request::on("SISMEMBER", namespaces, [PINNED]),
    }];
    for id in ids {
        let registry = join(&[&keys.write_registries, id]);
        requests.push(Request::on("ZRANGE", &registry, [&b"0"[..], b"-1"]));
        if verb == TtlVerb::Pin {
            requests.push(Request::on("EXISTS", &join(&[&keys.documents, id]), []));
            let mark = awaited(namespace, id);
            requests.push(Request::on("SISMEMBER", namespaces, [&mark[..]]));
        }
    }
    let mut replies = run.pipeline(requests).await?;
    if replies.int()? == 1 && !matches!(verb, TtlVerb::Pin | TtlVerb::Unpin) {
        ttl = 0;
    }
    let change = |key: &Bytes| change_of(key, ttl, verb);
    if verb == TtlVerb::Kept {
        let kept = Request::from(expire_shared(namespaces, ttl));
        run.pipeline(vec![kept]).await?.finish()?;
        return Ok(TtlReply { done: 0, skip: 0 });
    }
    let mut requests = Vec::new();
    for id in ids {
        let own = join(&[&keys.writes, id, b":"]);
        let writes = replies.list()?;
        // What nothing leads to any more, for its document has expired, would stay for good.
        if verb == TtlVerb::Pin && replies.int()? + replies.int()? == 0 {
            continue;
        }
        let writes = writes.iter().filter(|key| after(key, &own).is_some());
        requests.extend(writes.filter_map(change));
        requests.extend(change(&join(&[&keys.write_registries, id])));
        requests.extend(change(&join(&[&keys.documents, id])));
    }
    let shared = |key: &Bytes| match verb {
        TtlVerb::Read => (ttl > 0).then(|| pexpire(key, ttl, Some("GT"))),
        _ => change(key),
    };
    requests.extend(
        [&keys.registry, &keys.pointer]
            .into_iter()
            .filter_map(shared),
    );
    if verb != TtlVerb::Keep {
        requests.extend(shared(namespaces));
    }
    if !requests.is_empty() {
        run.pipeline(requests).await?.finish()?;
    }
    Ok(TtlReply {
        done: ids.len(),
        skip: 0,
    })
}

/// What a verb does to a key. What has no TTL stays so when it is touched, and what has none to get
/// back keeps its own.
fn change_of(key: &Bytes, ttl: i64, verb: TtlVerb) -> Option<Request> {
    match verb {
        TtlVerb::Touch | TtlVerb::Read => (ttl > 0).then(|| pexpire(key, ttl, Some("XX"))),
        TtlVerb::Keep => Some(Request::from(expire_shared(key, ttl))),
        TtlVerb::Pin => Some(Request::from(Command::on("PERSIST", key.clone()))),
        TtlVerb::Unpin | TtlVerb::Kept => (ttl > 0).then(|| pexpire(key, ttl, None)),
    }
}
