//! What keeps threads in order: pruning, copies, TTLs, the history of delta channels.

use super::delete;
use super::list;
use super::read;
use super::write;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::stream::TryStreamExt;

use super::blob;
use super::delete::Counter;
use super::document::{ReadCheckpoint, checkpoint_document, pending_document};
use super::driver::number;
use super::error::is_further;
use super::keys::{Member, NamespaceKeys};
use super::list::list;
use super::read::{identity, parse_writes};
use super::scripts;
use super::store::{Store, milliseconds};
use super::write::{numbers, text};
use crate::checkpoint::{CheckpointTuple, DeltaChannelHistory, PendingWrite};
use crate::codec::RawJson;
use crate::config::CheckpointConfig;
use crate::error::{Error, Result};
use crate::id::{CheckpointId, CheckpointNamespace, ThreadId};
use crate::lineage::{LineageNode, Roots, survivors};
use crate::options::{
    CopyOptions, ExistingTarget, ListOptions, Progress, PruneOptions, PruneStrategy,
};

/// How many checkpoints get another TTL at once.
const SLICE: usize = 64;
/// How many ancestors are walked in one round trip.
const ANCESTORS: usize = 200;

/// What becomes of a thread's TTLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TtlVerb {
    Touch,
    Pin,
    Unpin,
    /// All but the set of namespaces, of a thread that is kept whole.
    Keep,
    /// The set of namespaces, when the rest is done.
    Kept,
    /// One checkpoint that was read, and what it shares.
    Read,
}

/// A thread that is being given its TTL.
struct Keeping<'a>(&'a Store, &'a ThreadId);

impl Drop for Keeping<'_> {
    fn drop(&mut self) {
        self.0.end_keeping(self.1);
    }
}

/// Removes old checkpoints of a thread, never one that a kept one needs.
pub(crate) async fn prune(
    store: &Arc<Store>,
    thread: &ThreadId,
    options: &PruneOptions,
) -> Result<()> {
    let mut counter = Counter::new(options.progress.clone());
    let mut kept_of = BTreeMap::new();
    let mut roots = Roots::default();
    for (namespace, has_blobs) in prunable_namespaces(store, thread).await? {
        let strategy = &options.strategy;
        let plan = plan(store, thread, &namespace, strategy, has_blobs, &mut roots).await?;
        if !plan.removed.is_empty() {
            let keys = store.keys(thread, &namespace);
            delete::remove(store, &keys, &plan.removed, &mut counter).await?;
        }
        if has_blobs {
            blob::sweep(store, thread, &namespace, &mut counter).await?;
        }
        kept_of.insert(namespace, (plan.kept, plan.is_over));
    }
    // Writes that wait for a checkpoint stay only if it can still become the newest; what another
    // saver has put in the meantime is no longer waited for.
    for member in delete::scan_members(store, thread).await? {
        if let Some(Member::Writes(namespace, id)) = Member::of_bytes(&member)
            && kept_of.get(&namespace).is_some_and(|(kept, is_over)| {
                *is_over || (Some(&id) <= kept.last() && !kept.contains(&id))
            })
        {
            delete::remove(store, &store.keys(thread, &namespace), &[id], &mut counter).await?;
        }
    }
    Ok(())
}

/// The namespaces of a thread, and whether each has blobs. The root comes first: subgraphs' calls
/// go with the root checkpoint that they started from.
async fn prunable_namespaces(
    store: &Arc<Store>,
    thread: &ThreadId,
) -> Result<Vec<(CheckpointNamespace, bool)>> {
    let mut blobs = BTreeSet::new();
    for member in delete::scan_members(store, thread).await? {
        if let Some(Member::Blobs(namespace)) = Member::of_bytes(&member) {
            blobs.insert(namespace);
        }
    }
    let mut namespaces = list::namespaces(store, thread).await?;
    namespaces.sort_by_key(|namespace| !namespace.is_root());
    let namespaces = namespaces.into_iter().map(|namespace| {
        let has_blobs = blobs.contains(&namespace);
        (namespace, has_blobs)
    });
    Ok(namespaces.collect())
}

/// What [`prune`] would remove of a thread, with nothing removed.
pub(crate) async fn prunable(
    store: &Arc<Store>,
    thread: &ThreadId,
    strategy: &PruneStrategy,
) -> Result<Progress> {
    strategy.check()?;
    let mut prunable = Progress::default();
    let mut roots = Roots::default();
    for (namespace, has_blobs) in prunable_namespaces(store, thread).await? {
        let plan = plan(store, thread, &namespace, strategy, has_blobs, &mut roots).await?;
        prunable.checkpoints += plan.removed.len() as u64;
        prunable.writes += plan.writes;
    }
    Ok(prunable)
}

/// What becomes of a namespace's checkpoints when it is pruned.
struct Plan {
    removed: Vec<CheckpointId>,
    /// How many writes go with them.
    writes: u64,
    kept: BTreeSet<CheckpointId>,
    /// Whether nothing is kept, as it is a subgraph's call that is over.
    is_over: bool,
}

async fn plan(
    store: &Arc<Store>,
    thread: &ThreadId,
    namespace: &CheckpointNamespace,
    strategy: &PruneStrategy,
    has_blobs: bool,
    roots: &mut Roots,
) -> Result<Plan> {
    let blobs = if has_blobs {
        blob::valued_blobs(store, thread, namespace).await?
    } else {
        BTreeSet::new()
    };
    let mut nodes = Vec::new();
    let mut ids = Vec::new();
    let mut checkpoints = tuples(store, thread, namespace);
    while let Some(tuple) = checkpoints.try_next().await? {
        let parent = tuple.parent_config.and_then(|parent| parent.checkpoint_id);
        let written = tuple
            .pending_writes
            .iter()
            .map(|write| write.channel.as_str());
        let writes = tuple.pending_writes.len() as u64;
        ids.push((tuple.checkpoint.id().clone(), writes));
        let apart = blob::channels_with_blobs(&tuple.checkpoint, &blobs);
        let node = LineageNode::new(&tuple.checkpoint, &tuple.metadata, parent, written)?;
        nodes.push(node.with_values(apart));
    }
    let is_over = roots.have_left(namespace, &nodes);
    let kept = if is_over {
        BTreeSet::new()
    } else {
        survivors(&nodes, strategy, SystemTime::now())
    };
    if namespace.is_root() {
        *roots = Roots::new(&nodes, kept.clone());
    }
    ids.retain(|(id, _)| !kept.contains(id));
    Ok(Plan {
        writes: ids.iter().map(|(_, writes)| writes).sum(),
        removed: ids.into_iter().map(|(id, _)| id).collect(),
        kept,
        is_over,
    })
}

/// Copies all of a thread.
pub(crate) async fn copy_thread(
    store: &Arc<Store>,
    source: &ThreadId,
    target: &ThreadId,
    options: &CopyOptions,
) -> Result<()> {
    if source == target {
        return Err(Error::invalid(
            "target_thread_id",
            "it is the source as well",
        ));
    }
    let ttl = options.ttl.resolve(store.settings.ttl.default)?;
    if options.existing == ExistingTarget::Error
        && !list::namespaces(store, target).await?.is_empty()
    {
        return Err(Error::Conflict {
            what: format!("the copy of thread {source}"),
            reason: format!("thread {target} exists already"),
        });
    }
    let mut counter = Counter::new(options.progress.clone());
    let mut copied = Vec::new();
    let members = delete::scan_members(store, source).await?;
    let members: Vec<_> = members
        .iter()
        .filter_map(|member| Member::of_bytes(member))
        .collect();
    for member in &members {
        if let Member::Blobs(namespace) = member {
            let blobs = blob::copy_blobs(store, source, target, namespace, ttl).await?;
            copied.push((namespace, blobs));
        }
    }
    for namespace in list::namespaces(store, source).await? {
        let mut checkpoints = tuples(store, source, &namespace);
        while let Some(tuple) = checkpoints.try_next().await? {
            let writes = tuple.pending_writes.len() as u64;
            copy_checkpoint(store, target, &namespace, tuple, ttl).await?;
            counter.add(1, writes);
        }
    }
    for member in delete::scan_members(store, source).await? {
        if let Some(Member::Writes(namespace, id)) = Member::of_bytes(&member) {
            let writes = writes_of(store, source, &namespace, &id).await?;
            counter.add(0, writes.len() as u64);
            copy_writes(store, target, &namespace, &id, &writes, ttl).await?;
        }
    }
    for (namespace, blobs) in copied {
        blob::settle_blobs(store, target, namespace, &blobs, ttl).await?;
    }
    Ok(())
}

pub(super) fn tuples(
    store: &Arc<Store>,
    thread: &ThreadId,
    namespace: &CheckpointNamespace,
) -> crate::saver::SaverStream<CheckpointTuple> {
    let mut config = CheckpointConfig::of_thread(thread.clone());
    config.checkpoint_ns = Some(namespace.clone());
    list(Arc::clone(store), Some(&config), ListOptions::default())
}

pub(super) async fn copy_checkpoint(
    store: &Store,
    target: &ThreadId,
    namespace: &CheckpointNamespace,
    tuple: CheckpointTuple,
    ttl: Option<Duration>,
) -> Result<()> {
    let id = tuple.checkpoint.id().clone();
    copy_writes(store, target, namespace, &id, &tuple.pending_writes, ttl).await?;
    let identity = identity(target, namespace, &id);
    let parent = tuple.parent_config.and_then(|parent| parent.checkpoint_id);
    let document = checkpoint_document(
        &identity,
        parent.as_ref(),
        &tuple.checkpoint,
        &tuple.metadata,
    );
    write::put_document(store, &identity, document, ttl, Bytes::new()).await
}

pub(super) async fn copy_writes(
    store: &Store,
    target: &ThreadId,
    namespace: &CheckpointNamespace,
    id: &CheckpointId,
    writes: &[PendingWrite],
    ttl: Option<Duration>,
) -> Result<()> {
    if writes.is_empty() {
        return Ok(());
    }
    let identity = identity(target, namespace, id);
    let keys = store.keys(target, namespace);
    for slice in writes.chunks(SLICE) {
        let stored = slice
            .iter()
            .map(|write| {
                let key = keys.write(id, &write.task_id, write.idx);
                Ok((key, pending_document(&identity, write)?))
            })
            .collect::<Result<Vec<_>>>()?;
        write::put_write_documents(store, &identity, stored, true, ttl).await?;
    }
    Ok(())
}

/// The writes of a checkpoint that may have no document.
pub(super) async fn writes_of(
    store: &Store,
    thread: &ThreadId,
    namespace: &CheckpointNamespace,
    id: &CheckpointId,
) -> Result<Vec<PendingWrite>> {
    let keys = store.keys(thread, namespace);
    let (_, documents) = read::all_writes(store, "copy_thread", &keys, id).await?;
    parse_writes(&identity(thread, namespace, id), documents)
}

/// Gives all keys of a thread another TTL.
pub(crate) async fn change_ttl(store: &Store, thread: &ThreadId, verb: TtlVerb) -> Result<bool> {
    let ttl = match verb {
        TtlVerb::Pin => None,
        _ => store.settings.ttl.default,
    };
    if verb == TtlVerb::Touch && ttl.is_none() {
        return Ok(false);
    }
    let key_ttl = store.key_ttl(ttl);
    let found = change_ttl_of_thread(store, thread, key_ttl, verb).await?;
    Ok(found && (verb == TtlVerb::Pin || ttl.is_some()))
}

/// Gives a thread that is kept whole its TTL, if a call found that it is due; best effort,
/// since the next call finds the same.
pub(crate) async fn keep_whole(store: &Store, thread: &ThreadId, ttl: Option<Duration>, due: bool) {
    if !due || !store.start_keeping(thread) {
        return;
    }
    // Also where the call is dropped midway.
    let _keeping = Keeping(store, thread);
    let kept = async {
        let ttl = store.key_ttl(ttl);
        change_ttl_of_thread(store, thread, ttl, TtlVerb::Keep).await?;
        let root = store.keys(thread, &CheckpointNamespace::root());
        change_ttl_of(store, &root, &[], ttl, TtlVerb::Kept).await
    };
    if let Err(error) = kept.await {
        let key = store.keyspace.thread(thread).namespaces();
        let key = String::from_utf8_lossy(&key);
        tracing::warn!(%key, %error, "a thread did not get its TTL anew; the next call tries again");
    }
}

async fn change_ttl_of_thread(
    store: &Store,
    thread: &ThreadId,
    ttl: Option<Duration>,
    verb: TtlVerb,
) -> Result<bool> {
    let namespaces = list::namespaces(store, thread).await?;
    if list::members(store, thread).await?.is_empty() {
        return Ok(false);
    }
    if matches!(verb, TtlVerb::Pin | TtlVerb::Unpin) {
        // The mark first: what is stored from now on follows it, and what was stored before
        // is visited.
        let root = store.keys(thread, &CheckpointNamespace::root());
        change_ttl_of(store, &root, &[], ttl, verb).await?;
    }
    // Writes that wait for their checkpoint now may have it when the walk is over.
    let mut waiting = list::members(store, thread).await?;
    for namespace in &namespaces {
        let keys = store.keys(thread, namespace);
        let mut before = None;
        loop {
            let (_, ids) = list::page(store, &keys, before.as_ref(), SLICE).await?;
            change_ttl_of(store, &keys, &ids, ttl, verb).await?;
            match ids.into_iter().next_back() {
                Some(last) => before = Some(last),
                None => break,
            }
        }
    }
    // Read after the thread was pinned, so that what was added meanwhile is visited as well.
    let members = list::members(store, thread).await?;
    waiting.retain(|member| matches!(member, Member::Writes(..)) && !members.contains(member));
    for member in members.into_iter().chain(waiting) {
        match member {
            Member::Writes(namespace, id) => {
                let keys = store.keys(thread, &namespace);
                change_ttl_of(store, &keys, &[id], ttl, verb).await?;
            }
            Member::Blobs(namespace) => {
                blob::change_ttl_of_blobs(store, thread, &namespace, ttl, verb).await?;
            }
            Member::Namespace(_) | Member::Pinned => {}
        }
    }
    Ok(true)
}

/// Gives checkpoints with their writes another TTL, in as many steps as they need.
pub(super) async fn change_ttl_of(
    store: &Store,
    keys: &NamespaceKeys,
    ids: &[CheckpointId],
    ttl: Option<Duration>,
    verb: TtlVerb,
) -> Result<()> {
    let name: &[u8] = match verb {
        TtlVerb::Touch => b"touch",
        TtlVerb::Pin => b"pin",
        TtlVerb::Unpin => b"unpin",
        TtlVerb::Keep => b"keep",
        TtlVerb::Kept => b"kept",
        TtlVerb::Read => b"read",
    };
    let (mut left, mut leave_out) = (ids, 0);
    loop {
        let mut args = vec![
            keys.documents.clone(),
            keys.write_registries.clone(),
            keys.writes.clone(),
            milliseconds(ttl),
            Bytes::from_static(name),
            number(leave_out),
            keys.stored.clone(),
        ];
        args.extend(left.iter().map(|id| text(id.as_str())));
        let call = scripts::TTL.call(
            vec![
                keys.registry.clone(),
                keys.pointer.clone(),
                keys.namespaces.clone(),
            ],
            args,
        );
        let [done, next] = numbers(store.script("ttl", call).await?);
        let done = usize::try_from(done).unwrap_or(usize::MAX).min(left.len());
        left = &left[done..];
        // Every step but the last gets on.
        if left.is_empty() || (done == 0 && next <= leave_out) {
            return Ok(());
        }
        leave_out = next;
    }
}

/// The history of delta channels along the ancestors of a checkpoint.
pub(crate) async fn delta_channel_history(
    store: &Store,
    config: &CheckpointConfig,
    channels: &[String],
) -> Result<BTreeMap<String, DeltaChannelHistory>> {
    let mut histories: BTreeMap<String, DeltaChannelHistory> = channels
        .iter()
        .map(|channel| (channel.clone(), DeltaChannelHistory::default()))
        .collect();
    let namespace = config.namespace();
    let keys = store.keys(&config.thread_id, &namespace);
    let mut next = text(
        config
            .checkpoint_id
            .as_ref()
            .map_or("", CheckpointId::as_str),
    );
    let mut from_parent = true;
    // Parents may form a circle that is larger than what is walked at once.
    let mut seen = BTreeSet::new();
    'walk: loop {
        let missing: Vec<_> = histories
            .iter()
            .filter(|(_, history)| history.seed.is_none())
            .map(|(channel, _)| channel.clone())
            .collect();
        if missing.is_empty() {
            break;
        }
        let call = scripts::HISTORY.call(
            vec![keys.pointer.clone(), keys.registry.clone()],
            vec![
                next.clone(),
                keys.documents.clone(),
                keys.write_registries.clone(),
                keys.writes.clone(),
                number(ANCESTORS),
                Bytes::from_static(if from_parent { b"1" } else { b"0" }),
                RawJson::encode(&missing)?.bytes().clone(),
            ],
        );
        let reply = match read::confirmed(store, "delta_channel_history", call).await {
            Err(error) if is_further(&error) => {
                read::forget_gone_heads(store, &keys).await?;
                continue;
            }
            reply => reply?,
        };
        let mut reply = reply.into_array().into_iter();
        next = reply
            .next()
            .and_then(super::driver::Reply::into_bytes)
            .unwrap_or_default();
        from_parent = false;
        for ancestor in reply {
            let mut parts = ancestor.into_array().into_iter();
            let mut bytes = || parts.next().and_then(super::driver::Reply::into_bytes);
            let id = CheckpointId::from_bytes(&bytes().unwrap_or_default())?;
            if !seen.insert(id.clone()) {
                break 'walk;
            }
            let document = bytes().unwrap_or_default();
            let has_more = parts.next().and_then(|more| more.as_int()) == Some(1);
            let documents: Vec<_> = if has_more {
                read::all_writes(store, "delta_channel_history", &keys, &id)
                    .await?
                    .1
            } else {
                parts.filter_map(super::driver::Reply::into_bytes).collect()
            };
            let identity = identity(&config.thread_id, &namespace, &id);
            let mut writes = parse_writes(&identity, documents)?;
            writes.sort_by(|one, other| one.sort_key().cmp(&other.sort_key()));
            collect(&mut histories, &writes);
            if !document.is_empty()
                && let Some(read) = ReadCheckpoint::parse(&keys.document(&id), &document)?
            {
                take_seeds(&mut histories, &read)?;
            }
        }
        if next.is_empty() {
            break;
        }
    }
    for history in histories.values_mut() {
        history.writes.reverse();
    }
    Ok(histories)
}

/// Adds an ancestor's writes to the channels that still look for a value, newest first.
fn collect(histories: &mut BTreeMap<String, DeltaChannelHistory>, writes: &[PendingWrite]) {
    for write in writes.iter().rev() {
        if let Some(history) = histories.get_mut(&write.channel)
            && history.seed.is_none()
        {
            history.writes.push(write.clone());
        }
    }
}

fn take_seeds(
    histories: &mut BTreeMap<String, DeltaChannelHistory>,
    read: &ReadCheckpoint,
) -> Result<()> {
    let values = read.checkpoint.channel_values()?;
    for (channel, history) in histories {
        if history.seed.is_none()
            && let Some(value) = values.get(channel)
        {
            history.seed = Some(value.clone());
            history.seed_checkpoint = Some(read.checkpoint.clone());
        }
    }
    Ok(())
}

/// Prunes threads, one after the other.
pub(crate) async fn prune_all(
    store: &Arc<Store>,
    threads: &[ThreadId],
    options: &PruneOptions,
) -> Result<()> {
    options.strategy.check()?;
    for thread in threads {
        if options.strategy == PruneStrategy::Delete {
            let mut delete = crate::options::DeleteOptions::default();
            delete.progress.clone_from(&options.progress);
            delete::delete_thread(store, thread, &delete).await?;
        } else {
            prune(store, thread, options).await?;
        }
    }
    Ok(())
}
