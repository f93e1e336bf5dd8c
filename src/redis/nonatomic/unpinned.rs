//! What was pinned or unpinned while another call changed or stored it: in several slots a call
//! looks again when it is done.

use bytes::Bytes;

use super::gc::{candidate, named_by};
use super::pipeline::Replies;
use super::registry::range;
use super::thread::{LEAST, Thread, awaited, longest, pexpire, ttl_left};
use super::written::{own_of, surely_own, written};
use super::{Run, is_shared, join};
use crate::error::Result;
use crate::redis::driver::Reply;
use crate::redis::keys::NamespaceKeys;
use crate::redis::scripts::Request;

/// Of a registry or a set with more members not each is looked at.
const MANY: usize = 1_000;

/// A checkpoint whose TTL was changed, with the keys that are its own.
pub(super) struct Changed<'a> {
    pub(super) id: &'a Bytes,
    /// Its writes, and their registry.
    pub(super) writes: Vec<Bytes>,
    /// `None` if only writes were changed.
    pub(super) document: Option<Bytes>,
}

impl Changed<'_> {
    pub(super) fn keys(&self) -> impl Iterator<Item = &Bytes> {
        self.writes.iter().chain(&self.document)
    }

    /// Those of some writes with its names that are its own and have come since.
    async fn later(
        &self,
        run: &Run<'_>,
        keys: &NamespaceKeys,
        named: Vec<Bytes>,
    ) -> Result<Vec<Bytes>> {
        let mut later = own_of(keys, self.id, named);
        later.retain(|key| !self.writes.contains(key));
        surely_own(run, keys, self.id, later).await
    }
}

/// The requests that ask whether something leads to a checkpoint and its writes.
pub(super) fn look_at(keys: &NamespaceKeys, id: &Bytes) -> [Request; 3] {
    let mark = awaited(&keys.stored, id);
    [
        Request::on("ZSCORE", &keys.registry, [&id[..]]),
        Request::on("PTTL", &join(&[&keys.documents, id]), []),
        Request::on("SISMEMBER", &keys.namespaces, [&mark[..]]),
    ]
}

/// What leads to a checkpoint and its writes.
pub(super) struct Leads {
    pub(super) is_registered: bool,
    /// The time that the document has left in milliseconds; -1 without a TTL, -2 if it is not
    /// there.
    left: i64,
    pub(super) are_awaited: bool,
}

impl Leads {
    pub(super) fn read(replies: &mut Replies) -> Result<Self> {
        Ok(Self {
            is_registered: !matches!(replies.one()?, Reply::Nil),
            left: replies.int()?,
            are_awaited: replies.int()? == 1,
        })
    }

    pub(super) fn is_there(&self) -> bool {
        self.left != -2
    }
}

/// Takes back what an unpinning has done to checkpoints and their writes if the thread was pinned
/// since; if not, what was stored in between gets its TTL too.
pub(super) async fn pinned_since(
    run: &Run<'_>,
    keys: &NamespaceKeys,
    ttl: i64,
    changed: &[Changed<'_>],
) -> Result<()> {
    let mut requests = vec![Thread::pinned(&keys.namespaces)];
    requests.extend(changed.iter().map(|one| written(keys, one.id)));
    let mut replies = run.pipeline(requests).await?;
    if replies.int()? == 0 {
        let mut requests = Vec::new();
        for one in changed {
            let later = one.later(run, keys, replies.list()?).await?;
            if ttl > 0 {
                requests.extend(later.iter().map(|key| pexpire(key, ttl, Some("NX"))));
            }
        }
        if requests.is_empty() {
            return Ok(());
        }
        return run.pipeline(requests).await?.finish();
    }
    let own = changed.iter().flat_map(Changed::keys);
    let persist = own.map(|key| Request::on("PERSIST", key, []));
    run.pipeline(persist.collect()).await?.finish()?;
    unpinned_since(run, keys, ttl, changed).await
}

/// Takes back what a pinning has done to checkpoints and their writes if the thread was unpinned
/// since, and lets writes go that were pinned when their checkpoint expired.
pub(super) async fn unpinned_since(
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
        let mut writes = one.later(run, keys, replies.list()?).await?;
        writes.extend(one.writes.iter().cloned());
        if !leads.is_there() && !leads.are_awaited {
            requests.extend(writes.iter().map(|key| pexpire(key, 1, None)));
        } else if !is_pinned && ttl > 0 {
            // Writes live as long as their checkpoint.
            let lasting = if one.document.is_some() {
                ttl
            } else {
                ttl.max(leads.left)
            };
            requests.extend(writes.iter().map(|key| pexpire(key, lasting, None)));
            requests.extend(one.document.iter().map(|key| pexpire(key, ttl, None)));
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
    let mut requests = vec![
        Thread::pinned(&keys.namespaces),
        Request::on("SISMEMBER", &keys.namespaces, [&keys.stored[..]]),
        written(keys, id),
    ];
    requests.extend(look_at(keys, id));
    let mut replies = run.pipeline(requests).await?;
    let (is_pinned, is_named) = (replies.int()? == 1, replies.int()? == 1);
    let named = own_of(keys, id, replies.list()?);
    let leads = Leads::read(&mut replies)?;
    let is_kept = match &stored {
        StoredWhilePinned::Checkpoint => is_named && leads.is_there(),
        StoredWhilePinned::Writes(_) => is_named && (leads.is_there() || leads.are_awaited),
    };
    if is_pinned {
        return Ok(is_kept);
    }
    let lasting = ttl.max(leads.left);
    let changed = match stored {
        StoredWhilePinned::Checkpoint => {
            let mut writes = surely_own(run, keys, id, named.clone()).await?;
            if writes.len() == named.len() {
                writes.push(join(&[&keys.write_registries, id]));
            }
            Changed {
                id,
                writes,
                document: Some(join(&[&keys.documents, id])),
            }
        }
        // Writes live as long as their checkpoint, whose own call sees to it.
        StoredWhilePinned::Writes(_) if leads.left == -1 => return Ok(is_kept),
        StoredWhilePinned::Writes(mut writes) => {
            let others = named.iter().any(|key| !writes.contains(key));
            if !(others && is_shared(keys, id)) {
                writes.push(join(&[&keys.write_registries, id]));
            }
            Changed {
                id,
                writes,
                document: None,
            }
        }
    };
    let mut requests: Vec<_> = changed
        .keys()
        .map(|key| pexpire(key, lasting, Some("NX")))
        .collect();
    let document = join(&[&keys.documents, id]);
    requests.push(Request::on("PTTL", &document, []));
    let keys_changed = requests.len() - 1;
    let mut replies = run.pipeline(requests).await?;
    for _ in 0..keys_changed {
        replies.all()?;
    }
    if changed.document.is_none() && replies.int()? == -1 {
        // Another call has put the checkpoint, without a TTL.
        let persist = changed.keys().map(|key| Request::on("PERSIST", key, []));
        run.pipeline(persist.collect()).await?.finish()?;
        return Ok(is_kept);
    }
    expire_registry(run, keys, lasting).await?;
    pinned_since(run, keys, lasting, &[changed]).await?;
    Ok(is_kept)
}

/// Takes back what an unpinning has done to what checkpoints share if the thread was pinned since.
pub(super) async fn stay_if_pinned_since(run: &Run<'_>, keys: &NamespaceKeys) -> Result<()> {
    let pinned = vec![Thread::pinned(&keys.namespaces)];
    if run.pipeline(pinned).await?.int()? == 1 {
        persist_what_is_shared(run, keys).await?;
    }
    Ok(())
}

async fn persist_what_is_shared(run: &Run<'_>, keys: &NamespaceKeys) -> Result<()> {
    let shared = of_namespace(keys).into_iter().chain([&keys.namespaces]);
    let persist = shared.map(|key| Request::on("PERSIST", key, []));
    run.pipeline(persist.collect()).await?.finish()
}

/// The registry and the pointer of the namespace; not the pointer if it may be another's whose
/// names have colons, too.
fn of_namespace(keys: &NamespaceKeys) -> Vec<&Bytes> {
    let mut own = vec![&keys.registry];
    own.extend((!is_shared(keys, b"")).then_some(&keys.pointer));
    own
}

/// Gives the registry, the pointer and the set of namespaces a TTL if they have none and all that
/// they lead to has one.
async fn expire_registry(run: &Run<'_>, keys: &NamespaceKeys, ttl: i64) -> Result<()> {
    let Some(lasting) = longest_named(run, keys).await? else {
        return Ok(());
    };
    let lasting = lasting.max(ttl).max(LEAST);
    let expire = of_namespace(keys).into_iter();
    let expire = expire.map(|key| pexpire(key, lasting, Some("NX")));
    run.pipeline(expire.collect()).await?.finish()?;
    if let Some(lasting) = longest_in_thread(run, keys).await? {
        let lasting = lasting.max(ttl).max(LEAST);
        let set = pexpire(&keys.namespaces, lasting, Some("NX"));
        run.pipeline(vec![set]).await?.finish()?;
    }
    if longest_named(run, keys).await?.is_none() {
        // Something without a TTL has come since.
        persist_what_is_shared(run, keys).await?;
    }
    Ok(())
}

/// The longest time that a checkpoint of the namespace has left; `None` if one has no TTL, if the
/// thread is pinned, or if there are too many to look at each.
async fn longest_named(run: &Run<'_>, keys: &NamespaceKeys) -> Result<Option<i64>> {
    let newest = range(&keys.registry, b"+", MANY);
    let ids = run.pipeline(vec![newest]).await?.list()?;
    if ids.len() == MANY {
        return Ok(None);
    }
    let mut requests = vec![Thread::pinned(&keys.namespaces)];
    let document = |id: &Bytes| Request::on("PTTL", &join(&[&keys.documents, id]), []);
    requests.extend(ids.iter().map(document));
    let mut replies = run.pipeline(requests).await?;
    let is_pinned = replies.int()? == 1;
    let left = longest(&replies.ints(ids.len())?).unwrap_or(0);
    Ok((!is_pinned && left != -1).then(|| ttl_left(left)))
}

/// The longest time that a key has left to which the set of namespaces leads; `None` if one has no
/// TTL, or if there are too many to look at each.
async fn longest_in_thread(run: &Run<'_>, keys: &NamespaceKeys) -> Result<Option<i64>> {
    let size = Request::on("SCARD", &keys.namespaces, []);
    if run.pipeline(vec![size]).await?.count()? > MANY {
        return Ok(None);
    }
    let members = Request::on("SMEMBERS", &keys.namespaces, []);
    let members = run.pipeline(vec![members]).await?.list()?.into_iter();
    let members = members.filter_map(|member| candidate(keys, member));
    let named: Vec<_> = members.flat_map(|member| named_by(keys, &member)).collect();
    let left = named.iter().map(|key| Request::on("PTTL", key, []));
    let mut replies = run.pipeline(left.collect()).await?;
    let left = longest(&replies.ints(named.len())?).unwrap_or(0);
    Ok((left != -1).then(|| ttl_left(left)))
}
