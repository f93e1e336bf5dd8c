//! Blobs: values of channels that callers of the HTTP service send apart from their checkpoints,
//! once for each version. They stand among the writes of their namespace, without a checkpoint, and
//! are stored in the same step as a checkpoint that names them. They last as long as the thread, or
//! until no checkpoint names them any more and the collector comes.

#[cfg(feature = "server")]
use std::collections::VecDeque;
use std::collections::{BTreeSet, HashSet};
#[cfg(feature = "server")]
use std::sync::Arc;
#[cfg(feature = "cli")]
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
#[cfg(feature = "server")]
use futures_util::stream::{self, StreamExt};

use super::outlines::Outlines;
use super::read::{ReadWrite, WRITES};
use super::scripts::{self, NewBlobs, unreadable};
use super::{Compact, place};
#[cfg(feature = "server")]
use crate::blobs::BlobPage;
use crate::blobs::{ChannelBlob, named_by};
use crate::checkpoint::{Checkpoint, PendingWrite, TypedValue};
#[cfg(feature = "cli")]
use crate::error::Error;
use crate::error::Result;
use crate::id::{CheckpointId, CheckpointNamespace, TaskId, ThreadId};
use crate::redis::compact::{Damage, Reader, Rope, Sending, WritePlace};
use crate::redis::keys::{CheckpointRef, CompactKeys};
#[cfg(feature = "server")]
use crate::saver::SaverStream;

/// How many blobs are looked up in one step.
const NAMES: usize = 64;

/// How many bytes of blobs are read at once, but for one that has more.
#[cfg(feature = "server")]
const READ_BYTES: usize = 4 * 1024 * 1024;

/// How often blobs are read again of which a part had gone.
const ATTEMPTS: usize = 3;

/// How the bytes of a blob are kept, in the record: as they are, as the text that came, or not at
/// all.
const BYTES: &str = "bytes";
const TEXT: &str = "text";
const NOTHING: &str = "nothing";

/// A blob that was read, without the parts of its value.
struct ReadBlob {
    channel: String,
    version: String,
    write: ReadWrite,
}

/// The checkpoint that the records of a namespace's blobs are said to be of: there is none of that
/// name beside them, as their places have no id.
pub(super) fn owner(thread: &ThreadId, namespace: &CheckpointNamespace) -> Result<CheckpointRef> {
    Ok(CheckpointRef::new(
        thread,
        namespace,
        &CheckpointId::new("blobs")?,
    ))
}

/// The task that the record of a blob is said to be of.
pub(super) fn task_of(channel: &str, version: &str) -> Result<TaskId> {
    TaskId::new(format!("{channel}\0{version}"))
}

/// A blob as a write, as the codec takes it.
fn as_write(blob: &ChannelBlob) -> Result<PendingWrite> {
    let (form, bytes) = match &blob.blob {
        None => (NOTHING, Bytes::new()),
        Some(text) => match BASE64.decode(text) {
            Ok(bytes) if BASE64.encode(&bytes) == *text => (BYTES, Bytes::from(bytes)),
            _ => (TEXT, Bytes::copy_from_slice(text.as_bytes())),
        },
    };
    Ok(PendingWrite {
        task_id: task_of(&blob.channel, &blob.version)?,
        task_path: form.to_owned(),
        idx: 0,
        channel: blob.channel.clone(),
        value: TypedValue::new(blob.type_name.clone(), bytes),
    })
}

/// The blob of a write; `None` if it is no blob's.
fn as_blob(version: String, write: PendingWrite) -> Option<ChannelBlob> {
    let blob = match write.task_path.as_str() {
        NOTHING => None,
        BYTES => Some(BASE64.encode(&write.value.blob)),
        TEXT => Some(String::from_utf8(write.value.blob.into()).ok()?),
        _ => return None,
    };
    Some(ChannelBlob {
        channel: write.channel,
        version,
        type_name: write.value.type_name,
        blob,
    })
}

impl Compact {
    /// Encodes blobs of a namespace.
    pub(super) fn encode_blobs(
        &self,
        thread: &ThreadId,
        namespace: &CheckpointNamespace,
        blobs: &[ChannelBlob],
        sending: Sending,
    ) -> Result<NewBlobs> {
        let mut writes = Vec::with_capacity(blobs.len());
        for blob in blobs {
            let write = as_write(blob)?;
            let what = || format!("the blob of channel `{}`", blob.channel);
            self.store.check_size(what, write.value.blob.len())?;
            writes.push(write);
        }
        let owner = owner(thread, namespace)?;
        let codec = self.codec.of_thread(thread);
        let encoded = codec.encode_writes(&owner, &writes, sending);
        let places = blobs
            .iter()
            .map(|blob| place::of_blob(&blob.channel, &blob.version));
        Ok(NewBlobs {
            blobs: places.zip(encoded.records).collect(),
            parts: encoded.parts,
        })
    }

    /// Stores blobs whose checkpoint is stored next; what is there stays.
    #[cfg(feature = "cli")]
    pub(super) async fn put_blobs(
        &self,
        thread: &ThreadId,
        namespace: &CheckpointNamespace,
        blobs: &[ChannelBlob],
        ttl: Option<Duration>,
    ) -> Result<()> {
        let keys = self.store.keyspace.compact(thread);
        for sending in [Sending::New, Sending::All] {
            let new = self.encode_blobs(thread, namespace, blobs, sending)?;
            let call = scripts::PutWritesCall {
                place: place::of_blobs(namespace),
                writes: new.blobs,
                parts: &new.parts,
                replace: false,
                ttl,
            };
            let reply = self.store.script("put", call.on(&keys)).await?;
            if !scripts::lacks_parts(reply) {
                self.codec.of_thread(thread).remember(new.parts);
                return Ok(());
            }
        }
        Err(super::put::lacking(&keys.parts))
    }

    fn read_blobs(
        &self,
        keys: &CompactKeys,
        owner: &CheckpointRef,
        members: &[Bytes],
    ) -> Result<Vec<ReadBlob>> {
        let codec = self.codec.of_thread(&owner.thread_id);
        let blobs = place::of_blobs(&owner.namespace);
        let read = |member: &Bytes| {
            let found = place::read_blob(member, &blobs);
            let (channel, version, record) = found.ok_or_else(|| unreadable(&keys.writes))?;
            let task_id = task_of(&channel, &version)?;
            let blob = WritePlace {
                namespace: &owner.namespace,
                checkpoint_id: &owner.checkpoint_id,
                task_id: &task_id,
                idx: 0,
            };
            let record = codec.decode_write(&blob, &record);
            let record =
                record.map_err(|damage| damage.at(String::from_utf8_lossy(&keys.writes)))?;
            let write = ReadWrite {
                task_id,
                idx: 0,
                record,
            };
            Ok(ReadBlob {
                channel,
                version,
                write,
            })
        };
        members.iter().map(read).collect()
    }

    /// Looks up blobs by their channels and versions: whether a checkpoint is there, the
    /// milliseconds that the thread is left, and those that are there.
    async fn look_up(
        &self,
        operation: &'static str,
        owner: &CheckpointRef,
        checkpoint: Option<&CheckpointRef>,
        named: &[(String, String)],
    ) -> Result<(bool, i64, Vec<ReadBlob>)> {
        let keys = self.store.keyspace.compact(&owner.thread_id);
        let places = named
            .iter()
            .map(|(channel, version)| place::of_blob(channel, version));
        let call = scripts::BlobsCall {
            namespace: &owner.namespace,
            checkpoint,
            places: places.collect(),
        };
        let (is_there, left, members) = call.run(&self.store, operation, &keys).await?;
        Ok((is_there, left, self.read_blobs(&keys, owner, &members)?))
    }

    /// Reads the values of blobs, or says which part of them is not there any more.
    async fn whole_blobs(
        &self,
        operation: &'static str,
        owner: &CheckpointRef,
        mut blobs: Vec<ReadBlob>,
    ) -> Result<Result<Vec<ChannelBlob>, Damage>> {
        let keys = self.store.keyspace.compact(&owner.thread_id);
        let codec = self.codec.of_thread(&owner.thread_id);
        let mut reader = Reader::new(&codec);
        for attempt in 1.. {
            let ropes: Vec<&Rope> = blobs.iter().flat_map(ropes_of).collect();
            let thread = &owner.thread_id;
            let fetched = self.fetch(operation, thread, &mut reader, &ropes).await?;
            let Some(absent) = fetched else {
                break;
            };
            // They were removed in the meantime, or sealed again, with other parts.
            let names: Vec<_> = blobs
                .iter()
                .map(|blob| (blob.channel.clone(), blob.version.clone()))
                .collect();
            let (_, _, again) = self.look_up(operation, owner, None, &names).await?;
            if attempt == ATTEMPTS || again.len() < blobs.len() {
                return Ok(Err(Damage::Absent(absent)));
            }
            blobs = again;
        }
        let mut whole = Vec::with_capacity(blobs.len());
        for ReadBlob { version, write, .. } in blobs {
            let read = reader.write(write.task_id, write.idx, &write.record);
            let read = read.map_err(|damage| damage.at(String::from_utf8_lossy(&keys.writes)))?;
            whole.push(as_blob(version, read).ok_or_else(|| unreadable(&keys.writes))?);
        }
        Ok(Ok(whole))
    }

    /// The channels with their versions of which a namespace has a blob that holds a value.
    pub(super) async fn valued_blobs(
        &self,
        operation: &'static str,
        thread: &ThreadId,
        namespace: &CheckpointNamespace,
    ) -> Result<BTreeSet<(String, String)>> {
        let all = self.all_blobs(operation, thread, namespace).await?;
        let valued = all.into_iter().filter(|blob| !is_empty(blob));
        Ok(valued.map(|blob| (blob.channel, blob.version)).collect())
    }

    async fn all_blobs(
        &self,
        operation: &'static str,
        thread: &ThreadId,
        namespace: &CheckpointNamespace,
    ) -> Result<Vec<ReadBlob>> {
        let (store, keys) = (&self.store, self.store.keyspace.compact(thread));
        let owner = owner(thread, namespace)?;
        let place = place::of_blobs(namespace);
        let (mut all, mut last) = (Vec::new(), None);
        loop {
            let page = scripts::writes(store, operation, &keys, &place, last.as_ref(), WRITES);
            let (_, page) = page.await?;
            all.extend(self.read_blobs(&keys, &owner, &page)?);
            if page.len() < WRITES {
                return Ok(all);
            }
            last = page.last().cloned();
        }
    }

    /// The places of a namespace's blobs that none of its checkpoints names.
    pub(super) async fn unnamed_blobs(
        &self,
        operation: &'static str,
        thread: &ThreadId,
        namespace: &CheckpointNamespace,
    ) -> Result<Vec<Bytes>> {
        let mut named = HashSet::new();
        let mut walk = Outlines::of(thread, namespace);
        while let Some(page) = walk.next(self, operation).await? {
            named.extend(
                page.iter()
                    .flat_map(|outline| named_by(&outline.checkpoint)),
            );
        }
        let all = self.all_blobs(operation, thread, namespace).await?;
        let unnamed = all
            .into_iter()
            .map(|blob| (blob.channel, blob.version))
            .filter(|blob| !named.contains(blob));
        let start = place::of_blobs(namespace);
        let places = unnamed.map(|(channel, version)| {
            Bytes::from([start.clone(), place::of_blob(&channel, &version)].concat())
        });
        Ok(places.collect())
    }

    /// The blobs that a checkpoint names, all at once.
    pub(super) async fn blobs_named_by(
        &self,
        operation: &'static str,
        thread: &ThreadId,
        namespace: &CheckpointNamespace,
        checkpoint: &Checkpoint,
    ) -> Result<Vec<ChannelBlob>> {
        let owner = owner(thread, namespace)?;
        let mut found = Vec::new();
        for names in named_by(checkpoint).chunks(NAMES) {
            let (_, _, blobs) = self.look_up(operation, &owner, None, names).await?;
            let keys = self.store.keyspace.compact(thread);
            let whole = self.whole_blobs(operation, &owner, blobs).await?;
            found.extend(whole.map_err(|damage| damage.at(String::from_utf8_lossy(&keys.parts)))?);
        }
        Ok(found)
    }
}

/// The channels of a checkpoint that have one of these blobs.
pub(super) fn channels_with_blobs(
    checkpoint: &Checkpoint,
    blobs: &BTreeSet<(String, String)>,
) -> Vec<Box<str>> {
    if blobs.is_empty() {
        return Vec::new();
    }
    let named = named_by(checkpoint).into_iter();
    let with_blobs = named.filter(|name| blobs.contains(name));
    with_blobs
        .map(|(channel, _)| channel.into_boxed_str())
        .collect()
}

fn ropes_of(blob: &ReadBlob) -> impl Iterator<Item = &Rope> {
    blob.write.record.ropes()
}

fn is_empty(blob: &ReadBlob) -> bool {
    blob.write.record.type_name == crate::blobs::EMPTY
}

/// Streams the blobs that a checkpoint names, a page at a time; those that are not there are left
/// out.
#[cfg(feature = "server")]
pub(super) fn blobs_of(
    layout: &Arc<Compact>,
    thread: &ThreadId,
    namespace: &CheckpointNamespace,
    checkpoint: &Checkpoint,
) -> SaverStream<BlobPage> {
    let walk = NamedBlobs {
        layout: Arc::clone(layout),
        checkpoint: CheckpointRef::new(thread, namespace, checkpoint.id()),
        named: named_by(checkpoint).into(),
        found: VecDeque::new(),
        has_gone: false,
    };
    stream::try_unfold(walk, |mut walk| async move {
        Ok(walk.next().await?.map(|page| (page, walk)))
    })
    .boxed()
}

/// A walk over the blobs that a checkpoint names.
#[cfg(feature = "server")]
struct NamedBlobs {
    layout: Arc<Compact>,
    checkpoint: CheckpointRef,
    named: VecDeque<(String, String)>,
    /// Those that were looked up and not read yet.
    found: VecDeque<ReadBlob>,
    has_gone: bool,
}

#[cfg(feature = "server")]
impl NamedBlobs {
    async fn next(&mut self) -> Result<Option<BlobPage>> {
        if self.has_gone {
            return Ok(None);
        }
        let owner = owner(&self.checkpoint.thread_id, &self.checkpoint.namespace)?;
        while self.found.is_empty() {
            let count = self.named.len().min(NAMES);
            if count == 0 {
                return Ok(None);
            }
            let names: Vec<_> = self.named.drain(..count).collect();
            let checkpoint = Some(&self.checkpoint);
            let found = self.layout.look_up("get_tuple", &owner, checkpoint, &names);
            let (is_there, _, found) = found.await?;
            if !is_there {
                self.has_gone = true;
                return Ok(Some(BlobPage::Gone));
            }
            self.found.extend(found);
        }
        let (mut page, mut bytes) = (Vec::new(), 0_usize);
        while let Some(blob) = self.found.front() {
            let lengths = ropes_of(blob).map(|rope| rope.length);
            let length = lengths.fold(0, usize::saturating_add);
            if !page.is_empty() && bytes.saturating_add(length) > READ_BYTES {
                break;
            }
            bytes = bytes.saturating_add(length);
            page.extend(self.found.pop_front());
        }
        match self.layout.whole_blobs("get_tuple", &owner, page).await? {
            Ok(page) => Ok(Some(BlobPage::Found(page))),
            Err(damage) => {
                let checkpoint = Some(&self.checkpoint);
                let again = self
                    .layout
                    .look_up("get_tuple", &owner, checkpoint, &[])
                    .await?;
                if again.0 {
                    let keys = self.layout.store.keyspace.compact(&owner.thread_id);
                    return Err(damage.at(String::from_utf8_lossy(&keys.parts)));
                }
                self.has_gone = true;
                Ok(Some(BlobPage::Gone))
            }
        }
    }
}

#[cfg(feature = "cli")]
pub(super) use carried::{has_blobs, put_timed_blob, timed_blobs};

/// Carrying blobs to another store.
#[cfg(feature = "cli")]
mod carried {
    use super::{
        ChannelBlob, CheckpointNamespace, Compact, Duration, Error, Result, ThreadId, owner,
    };
    use crate::options::TtlChoice;
    use crate::redis::compact_saver::{place, scripts};
    use crate::redis::transfer::{PutBlob, TimedBlob};

    /// Whether a namespace has blobs.
    pub(in crate::redis::compact_saver) async fn has_blobs(
        layout: &Compact,
        thread: &ThreadId,
        namespace: &CheckpointNamespace,
    ) -> Result<bool> {
        let (store, keys) = (&layout.store, layout.store.keyspace.compact(thread));
        let place = place::of_blobs(namespace);
        let (_, page) = scripts::writes(store, "list", &keys, &place, None, 1).await?;
        Ok(!page.is_empty())
    }

    /// Reads blobs by their channels and versions; those that are not there are left out.
    pub(in crate::redis::compact_saver) async fn timed_blobs(
        layout: &Compact,
        thread: &ThreadId,
        namespace: &CheckpointNamespace,
        named: &[(String, String)],
    ) -> Result<Vec<TimedBlob>> {
        let owner = owner(thread, namespace)?;
        let (_, left, found) = layout.look_up("list", &owner, None, named).await?;
        let ttl = u64::try_from(left).ok().map(Duration::from_millis);
        let keys = layout.store.keyspace.compact(thread);
        let blobs = layout.whole_blobs("list", &owner, found).await?;
        let blobs = blobs.map_err(|damage| damage.at(String::from_utf8_lossy(&keys.parts)))?;
        let timed = blobs.into_iter().map(|blob| TimedBlob {
            thread_id: thread.clone(),
            namespace: namespace.clone(),
            blob,
            ttl,
        });
        Ok(timed.collect())
    }

    /// Stores a blob whose checkpoint is stored next, unless there is one already.
    pub(in crate::redis::compact_saver) async fn put_timed_blob(
        layout: &Compact,
        blob: &TimedBlob,
        ttl: TtlChoice,
    ) -> Result<PutBlob> {
        let (thread, namespace) = (&blob.thread_id, &blob.namespace);
        let ttl = ttl.resolve(layout.store.settings.ttl.default)?;
        let blob = &blob.blob;
        let name = [(blob.channel.clone(), blob.version.clone())];
        let there = timed_blobs(layout, thread, namespace, &name).await;
        let there: Option<ChannelBlob> = match there {
            Ok(found) => found.into_iter().next().map(|found| found.blob),
            // What cannot be read is something else as well, and not ours to replace.
            Err(Error::Corrupt { .. }) => return Ok(PutBlob::Differs),
            Err(error) => return Err(error),
        };
        layout
            .put_blobs(thread, namespace, std::slice::from_ref(blob), ttl)
            .await?;
        Ok(match there {
            None => PutBlob::Stored,
            Some(there) if there == *blob => PutBlob::There,
            Some(_) => PutBlob::Differs,
        })
    }
}
