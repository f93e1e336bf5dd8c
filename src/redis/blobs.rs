//! Blobs: values of channels that are stored apart from their checkpoints, once for each version,
//! as the HTTP service's callers send them. A checkpoint names its blobs by its versions.
//!
//! A registry for each namespace names its blobs, and a member of the thread's set of namespaces
//! says that there is a registry, so that a thread without blobs costs nothing more. Each blob is
//! stored by a script on its key alone, wherever a cluster has it.
//!
//! A blob is stored before its checkpoint. Until the checkpoint is stored, the score of the blob in
//! the registry is the time at which it was registered, and 0 from then on: garbage collection
//! leaves out blobs that may still be waiting for their checkpoint.

use std::borrow::Cow;
#[cfg(feature = "server")]
use std::collections::VecDeque;
use std::collections::{BTreeSet, HashSet};
#[cfg(feature = "server")]
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::args::{milliseconds, text};
use super::driver::Command;
use super::keys::{BlobKeys, PINNED, stored_namespace};
use super::progress::Counter;
use super::replies::strings;
use super::scan::Members;
use super::scripts::{
    ForgetBlobsCall, ForgetBlobsReply, MarkBlobsCall, PutBlobCall, RegisterBlobsCall, Step, TtlVerb,
};
use super::store::Store;
use super::ttl;
#[cfg(feature = "server")]
use crate::blobs::BlobPage;
use crate::blobs::{ChannelBlob, named_by};
use crate::checkpoint::Checkpoint;
use crate::codec::RawJson;
use crate::error::{Error, Result};
use crate::id::{CheckpointNamespace, ThreadId};

/// How many blobs are read in one pipeline.
const PIPELINE: usize = 256;

/// How many blobs the first pipeline reads, and any later one at most.
#[cfg(feature = "server")]
const READ: (usize, usize) = (2, 64);

/// How many bytes a pipeline reads at most, if its blobs are no larger than the largest before
/// them.
#[cfg(feature = "server")]
const READ_BYTES: usize = 4 * 1024 * 1024;

/// How long a blob waits for its checkpoint, in seconds.
pub(super) const PATIENCE: u64 = 600;

impl ChannelBlob {
    fn member(&self) -> String {
        BlobKeys::member(&self.channel, &self.version, self.is_empty())
    }
}

/// The document of a blob.
#[derive(Serialize, Deserialize)]
struct StoredBlob<'a> {
    thread_id: Cow<'a, str>,
    checkpoint_ns: Cow<'a, str>,
    channel: Cow<'a, str>,
    version: Cow<'a, str>,
    #[serde(rename = "type")]
    type_name: Cow<'a, str>,
    blob: Option<Cow<'a, str>>,
}

/// The channels of a checkpoint that have one of these blobs.
pub(super) fn channels_with_blobs(
    checkpoint: &Checkpoint,
    blobs: &BTreeSet<String>,
) -> Vec<Box<str>> {
    if blobs.is_empty() {
        return Vec::new();
    }
    named_by(checkpoint)
        .into_iter()
        .filter(|(channel, version)| blobs.contains(&BlobKeys::member(channel, version, false)))
        .map(|(channel, _)| channel.into_boxed_str())
        .collect()
}

/// Stores blobs of a checkpoint that is stored next, and keeps those that it names beside
/// them as long as it is kept. Returns their names for [`Store::settle_blobs`].
pub(crate) async fn put_blobs(
    store: &Store,
    thread: &ThreadId,
    namespace: &CheckpointNamespace,
    blobs: &[ChannelBlob],
    named: &[(String, String)],
    ttl: Option<Duration>,
) -> Result<Vec<String>> {
    let keys = store.keyspace.blobs(thread, namespace);
    let key_ttl = store.key_ttl(ttl);
    let key_ttl_arg = milliseconds(key_ttl);
    let members: Vec<String> = blobs.iter().map(ChannelBlob::member).collect();
    let mut steps: Vec<Step> = Vec::new();
    let mut sent = HashSet::new();
    if !blobs.is_empty() {
        steps.push(mark_call(store, &keys, ttl));
        let call = RegisterBlobsCall {
            registry: keys.registry.clone(),
            members: members.iter().map(|member| text(member)).collect(),
            ttl: key_ttl,
        };
        steps.push(call.into());
    }
    for blob in blobs {
        let document = RawJson::encode(&StoredBlob {
            thread_id: thread.as_str().into(),
            checkpoint_ns: stored_namespace(namespace).into(),
            channel: blob.channel.as_str().into(),
            version: blob.version.as_str().into(),
            type_name: blob.type_name.as_str().into(),
            blob: blob.blob.as_deref().map(Cow::from),
        })?;
        let what = || format!("the blob of channel `{}`", blob.channel);
        store.check_size(what, document.bytes().len())?;
        let key = keys.blob(&blob.channel, &blob.version);
        sent.insert(key.clone());
        let call = PutBlobCall {
            key,
            document: document.bytes().clone(),
            ttl: key_ttl,
        };
        steps.push(call.into());
    }
    if blobs.is_empty() && !named.is_empty() {
        steps.push(ttl::keep_longer(keys.registry.clone(), &key_ttl_arg).into());
    }
    // Names may be many and long: their keys are made one pipeline at a time.
    let mut named = named.chunks(PIPELINE);
    loop {
        let slice = named.next();
        for (channel, version) in slice.unwrap_or_default() {
            let key = keys.blob(channel, version);
            if !sent.contains(&key) {
                steps.push(ttl::keep_longer(key, &key_ttl_arg).into());
            }
        }
        for reply in store.pipeline("put", std::mem::take(&mut steps)).await? {
            reply?;
        }
        if slice.is_none() || named.len() == 0 {
            return Ok(members);
        }
    }
}

/// Says that the checkpoint of blobs is stored. `false` if some of them may be gone, because
/// their thread was deleted in between.
pub(crate) async fn settle_blobs(
    store: &Store,
    thread: &ThreadId,
    namespace: &CheckpointNamespace,
    members: &[String],
    ttl: Option<Duration>,
) -> Result<bool> {
    if members.is_empty() {
        return Ok(true);
    }
    let keys = store.keyspace.blobs(thread, namespace);
    let settle = members.chunks(PIPELINE).map(|slice| {
        let settled = Command::on("ZADD", keys.registry.clone());
        let settled = slice
            .iter()
            .fold(settled.arg("XX").arg("CH"), |settled, member| {
                settled.arg("0").arg(text(member))
            });
        Step::from(settled)
    });
    // Also for a thread that was deleted in the meantime, and with it the mark.
    let steps = settle.chain([mark_call(store, &keys, ttl)]).collect();
    let mut replies = store.pipeline("put", steps).await?;
    let allowed = replies.pop().unwrap_or(Err(Error::Closed))?;
    let mut settled = 0;
    for reply in replies {
        let count = reply?
            .as_int()
            .and_then(|count| usize::try_from(count).ok());
        settled += count.unwrap_or(0);
    }
    if ttl.is_some() && allowed.as_int() == Some(0) {
        // A pinned thread, or one without a TTL.
        let steps = members
            .iter()
            .map(|member| keys.of_member(member))
            .chain([keys.registry.clone()])
            .map(|key| Command::on("PERSIST", key).into());
        for reply in store.pipeline("put", steps.collect()).await? {
            reply?;
        }
    }
    if ttl.is_some() && rand::random_ratio(1, 16) {
        forget_expired(store, &keys).await?;
    }
    let distinct: HashSet<_> = members.iter().collect();
    Ok(settled >= distinct.len())
}

/// The registered blobs of a namespace that hold a value.
pub(super) async fn valued_blobs(
    store: &Store,
    thread: &ThreadId,
    namespace: &CheckpointNamespace,
) -> Result<BTreeSet<String>> {
    let keys = store.keyspace.blobs(thread, namespace);
    let mut found = BTreeSet::new();
    let mut pages = Pages::new(&keys);
    while let Some(page) = pages.next(store).await? {
        found.extend(page.into_iter().filter(|member| !member.ends_with(':')));
    }
    Ok(found)
}

/// Deletes all blobs of a namespace.
pub(super) async fn delete_blobs(
    store: &Store,
    thread: &ThreadId,
    namespace: &CheckpointNamespace,
    counter: &mut Counter,
) -> Result<()> {
    let keys = store.keyspace.blobs(thread, namespace);
    let mut pages = Pages::new(&keys);
    while let Some(page) = pages.next(store).await? {
        let steps = page.iter().flat_map(|member| {
            let registered = Command::on("ZREM", keys.registry.clone()).arg(text(member));
            [Command::on("UNLINK", keys.of_member(member)), registered]
        });
        let steps: Vec<Step> = steps.map(Step::from).collect();
        for reply in store.pipeline("delete_thread", steps).await? {
            reply?;
        }
        counter.add_blobs(page.len() as u64);
    }
    Ok(())
}

/// Takes blobs out of their registry and removes them, but those that still wait for their
/// checkpoint.
pub(super) async fn remove_blobs(
    store: &Store,
    keys: &BlobKeys,
    members: &[String],
    patience: u64,
    counter: &mut Counter,
) -> Result<()> {
    for slice in members.chunks(PIPELINE) {
        let call = ForgetBlobsCall {
            registry: keys.registry.clone(),
            members: slice.iter().map(|member| text(member)).collect(),
            patience,
        };
        let ForgetBlobsReply(taken) = store.script("prune", call).await?;
        let taken: Vec<_> = taken
            .iter()
            .filter_map(|member| std::str::from_utf8(member).ok())
            .collect();
        let steps = taken
            .iter()
            .map(|member| Command::on("UNLINK", keys.of_member(member)).into());
        for reply in store.pipeline("prune", steps.collect()).await? {
            reply?;
        }
        counter.add_blobs(taken.len() as u64);
    }
    Ok(())
}

/// Takes some blobs out of the registry that have expired, so that the registry of a
/// long-lived thread stays about as small as the set of its blobs.
async fn forget_expired(store: &Store, keys: &BlobKeys) -> Result<()> {
    let some = Command::on("ZRANDMEMBER", keys.registry.clone()).arg("48");
    let some = strings(store.driver().call("put", some).await?);
    let steps = some
        .iter()
        .map(|member| Command::on("EXISTS", keys.of_member(member)).into());
    let replies = store.pipeline("put", steps.collect()).await?;
    let mut gone = Vec::new();
    for (member, reply) in some.into_iter().zip(replies) {
        if reply?.as_int() == Some(0) {
            gone.push(member);
        }
    }
    if gone.is_empty() {
        return Ok(());
    }
    remove_blobs(store, keys, &gone, PATIENCE, &mut Counter::new(None)).await
}

/// Copies the blobs of a namespace to another thread. Returns their names for
/// [`Store::settle_blobs`].
pub(super) async fn copy_blobs(
    store: &Store,
    source: &ThreadId,
    target: &ThreadId,
    namespace: &CheckpointNamespace,
    ttl: Option<Duration>,
) -> Result<Vec<String>> {
    let keys = store.keyspace.blobs(source, namespace);
    let mut copied = Vec::new();
    let mut pages = Pages::new(&keys);
    while let Some(page) = pages.next(store).await? {
        // Blobs may be large: a few at once.
        for slice in page.chunks(16) {
            let steps = slice
                .iter()
                .map(|member| Command::on("JSON.GET", keys.of_member(member)).into());
            let mut blobs = Vec::with_capacity(slice.len());
            for (member, reply) in slice
                .iter()
                .zip(store.pipeline("copy_thread", steps.collect()).await?)
            {
                if let Some(document) = reply?.into_bytes() {
                    blobs.push(parse_blob(&keys.of_member(member), &document)?);
                }
            }
            copied.extend(put_blobs(store, target, namespace, &blobs, &[], ttl).await?);
        }
    }
    Ok(copied)
}

/// Gives the blobs of a namespace another TTL.
pub(super) async fn change_ttl_of_blobs(
    store: &Store,
    thread: &ThreadId,
    namespace: &CheckpointNamespace,
    ttl: Option<Duration>,
    verb: TtlVerb,
) -> Result<()> {
    let keys = store.keyspace.blobs(thread, namespace);
    let change = async |changed: &[Bytes], verb: TtlVerb| -> Result<()> {
        let commands = changed
            .iter()
            .filter_map(|key| ttl::ttl_command(key.clone(), ttl, verb));
        let steps = commands.map(Step::from).collect();
        let replies = store.pipeline("ttl", steps).await?;
        replies.into_iter().try_for_each(|reply| reply.map(drop))
    };
    let is_pinned = async || {
        let pinned = Command::on("SISMEMBER", keys.namespaces.clone()).arg(PINNED);
        let pinned = store.driver().call("ttl", pinned).await?;
        Ok::<_, Error>(pinned.as_int() == Some(1))
    };
    let registry = [keys.registry.clone()];
    if verb != TtlVerb::Unpin {
        change(&registry, verb).await?;
    }
    let mut pages = Pages::new(&keys);
    while let Some(page) = pages.next(store).await? {
        let mut changed: Vec<_> = page.iter().map(|member| keys.of_member(member)).collect();
        change(&changed, verb).await?;
        // A call that pins or unpins it in between visits what was not changed after that.
        let undone = match verb {
            TtlVerb::Pin if !is_pinned().await? => TtlVerb::Unpin,
            TtlVerb::Unpin if is_pinned().await? => TtlVerb::Pin,
            _ => continue,
        };
        changed.extend(registry);
        return change(&changed, undone).await;
    }
    // Last, because it leads to the others.
    if verb == TtlVerb::Unpin {
        change(&registry, verb).await?;
    }
    Ok(())
}

fn mark_call(store: &Store, keys: &BlobKeys, ttl: Option<Duration>) -> Step {
    let call = MarkBlobsCall {
        namespaces: keys.namespaces.clone(),
        mark: keys.mark.clone(),
        ttl: store.key_ttl(ttl),
        thread_ttl: store.thread_ttl(ttl),
    };
    call.into()
}

/// A walk over the blobs that a checkpoint names, one pipeline at a time; those that are not there
/// are left out.
#[cfg(feature = "server")]
pub(crate) struct NamedBlobs {
    store: Arc<Store>,
    keys: BlobKeys,
    document: Bytes,
    named: VecDeque<(String, String)>,
    /// How many the next pipeline reads.
    next: usize,
    /// The bytes of the largest that was read.
    largest: usize,
}

#[cfg(feature = "server")]
impl NamedBlobs {
    pub(crate) fn new(
        store: &Arc<Store>,
        thread: &ThreadId,
        namespace: &CheckpointNamespace,
        checkpoint: &Checkpoint,
    ) -> Self {
        Self {
            keys: store.keyspace.blobs(thread, namespace),
            document: store.keys(thread, namespace).document(checkpoint.id()),
            named: named_by(checkpoint).into(),
            next: READ.0,
            largest: 1,
            store: Arc::clone(store),
        }
    }

    /// The next blobs, `None` after the last. [`BlobPage::Gone`] says that the checkpoint itself is
    /// gone by now, and so perhaps some of its blobs.
    pub(crate) async fn next(&mut self) -> Result<Option<BlobPage>> {
        let count = self.next.min(self.named.len());
        let keys: Vec<Bytes> = self
            .named
            .drain(..count)
            .map(|(channel, version)| self.keys.blob(&channel, &version))
            .collect();
        if keys.is_empty() {
            return Ok(None);
        }
        let store = &self.store;
        let read = |key: &Bytes| Command::on("JSON.GET", key.clone()).into();
        let mut steps: Vec<Step> = keys.iter().map(read).collect();
        let policy = &store.settings.ttl;
        if let Some(ttl) = policy.default.filter(|_| policy.refresh_on_read) {
            let ttl = milliseconds(store.key_ttl(Some(ttl)));
            let all = keys.iter().chain([&self.keys.registry]);
            steps.extend(all.map(|key| ttl::keep_longer(key.clone(), &ttl).into()));
        }
        // Blobs go after the checkpoints that name them.
        steps.push(Command::on("EXISTS", self.document.clone()).into());
        let mut replies = store.pipeline("get_tuple", steps).await?;
        let exists = replies.pop().unwrap_or(Err(Error::Closed))?;
        if exists.as_int() == Some(0) {
            return Ok(Some(BlobPage::Gone));
        }
        let mut found = Vec::with_capacity(keys.len());
        for (key, reply) in keys.iter().zip(replies) {
            if let Some(document) = reply?.into_bytes() {
                self.largest = self.largest.max(document.len());
                found.push(parse_blob(key, &document)?);
            }
        }
        let fitting = READ_BYTES / self.largest;
        self.next = fitting.clamp(1, 2 * count).min(READ.1);
        Ok(Some(BlobPage::Found(found)))
    }
}

pub(super) fn parse_blob(key: &[u8], document: &[u8]) -> Result<ChannelBlob> {
    let stored: StoredBlob<'_> = serde_json::from_slice(document)
        .map_err(|error| Error::corrupt(String::from_utf8_lossy(key), error.to_string()))?;
    Ok(ChannelBlob {
        channel: stored.channel.into_owned(),
        version: stored.version.into_owned(),
        type_name: stored.type_name.into_owned(),
        blob: stored.blob.map(Cow::into_owned),
    })
}

/// A walk over a registry of blobs. A blob that is registered throughout is seen, perhaps more than
/// once.
pub(super) struct Pages(Members);

impl Pages {
    pub(super) fn new(keys: &BlobKeys) -> Self {
        Self(Members::of_sorted_set("blobs", &keys.registry))
    }

    /// The next page; it may be empty.
    pub(super) async fn next(&mut self, store: &Store) -> Result<Option<Vec<String>>> {
        let page = self.next_scored(store).await?;
        Ok(page.map(|page| page.into_iter().map(|(member, _)| member).collect()))
    }

    /// The same with the times at which they were registered, 0 for those whose checkpoint is
    /// there.
    pub(super) async fn next_scored(
        &mut self,
        store: &Store,
    ) -> Result<Option<Vec<(String, f64)>>> {
        let page = self.0.next_scored(store).await?;
        let text = |(member, since): (Bytes, f64)| {
            let member = String::from_utf8(member.into()).ok()?;
            Some((member, since))
        };
        Ok(page.map(|page| page.into_iter().filter_map(text).collect()))
    }
}
