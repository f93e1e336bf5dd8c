//! Encodes checkpoints and writes, and says which parts a put sends.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use indexmap::IndexMap;

use super::cache::{PartCache, ThreadKey, channel_key};
use super::cut::{Before, WORTH_A_PART, cut};
use super::damage::Damage;
use super::digest::{BuildDigestHasher, Digest};
use super::head::{CHANNEL_VALUES, Head};
use super::part::Part;
use super::record::{WritePlace, WriteRecord};
use super::seal::{Sealer, ThreadSealer};
use super::value::{MAX_ROOTS, Segment, Value};
use crate::checkpoint::{Checkpoint, CheckpointMetadata, PendingWrite};
use crate::codec::RawObject;
use crate::id::{CheckpointId, CheckpointNamespace, ThreadId};
use crate::redis::keys::CheckpointRef;

/// Turns checkpoints and writes into what is stored, and back; one for a saver.
#[derive(Debug)]
pub(crate) struct Codec {
    cache: PartCache,
    options: CodecOptions,
}

/// The settings of a [`Codec`].
#[derive(Debug, Clone)]
pub(crate) struct CodecOptions {
    /// The most bytes that the cache of parts keeps.
    pub(crate) cache_bytes: usize,
    /// The keys that all is sealed with. Without keys nothing is.
    pub(crate) sealer: Sealer,
    /// `max_document_bytes`: what a caller checks before a text is encoded. A text of more than
    /// twice as many bytes is not read, so that no length that is stored makes a reader take any
    /// amount of memory.
    pub(crate) max_bytes: usize,
}

/// Which parts go with a put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sending {
    /// Those that the thread is not known to have.
    New,
    /// All, after the server missed some that it was thought to have.
    All,
}

/// A checkpoint as it is stored.
#[derive(Debug)]
pub(crate) struct EncodedHead {
    /// The head.
    pub(crate) head: Bytes,
    /// The parts to send.
    pub(crate) parts: NewParts,
}

/// Pending writes as they are stored.
#[derive(Debug)]
pub(crate) struct EncodedWrites {
    /// A record for each write, in their order.
    pub(crate) records: Vec<Bytes>,
    /// The parts to send.
    pub(crate) parts: NewParts,
}

/// The parts that go with a put.
#[derive(Debug, Default)]
pub(crate) struct NewParts {
    /// What to store under which digest.
    pub(crate) stored: Vec<(Digest, Bytes)>,
    /// The digests that the put refers to and does not bring along: the script checks that the
    /// thread has them.
    pub(crate) assumed: Vec<Digest>,
    /// The contents of what is sent, for the cache.
    contents: Vec<(Digest, Part)>,
}

impl Codec {
    pub(crate) fn new(options: CodecOptions) -> Self {
        Self {
            cache: PartCache::new(options.cache_bytes),
            options,
        }
    }

    /// The same for one thread.
    pub(crate) fn of_thread(&self, thread: &ThreadId) -> ThreadCodec<'_> {
        ThreadCodec {
            codec: self,
            thread: ThreadKey::new(thread),
            sealer: self.options.sealer.of_thread(thread.as_str()),
        }
    }
}

/// A [`Codec`] at work on one thread.
pub(crate) struct ThreadCodec<'a> {
    codec: &'a Codec,
    thread: ThreadKey,
    sealer: ThreadSealer,
}

impl fmt::Debug for ThreadCodec<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ThreadCodec")
            .finish_non_exhaustive()
    }
}

impl ThreadCodec<'_> {
    /// A checkpoint as it is stored at its place.
    ///
    /// # Errors
    /// As [`Checkpoint::channel_values`].
    pub(crate) fn encode_head(
        &self,
        at: &CheckpointRef,
        parent: Option<&CheckpointId>,
        checkpoint: &Checkpoint,
        metadata: &CheckpointMetadata,
        sending: Sending,
    ) -> crate::error::Result<EncodedHead> {
        let mut encoder = Encoder::new(self, sending);
        let mut fields = Vec::with_capacity(checkpoint.fields().len());
        for (name, value) in checkpoint.fields().iter() {
            let text = value.bytes();
            let value = if name == CHANNEL_VALUES {
                encoder.channels(&at.namespace, text)?
            } else {
                encoder.value(text, WORTH_A_ROPE)
            };
            fields.push((name.into(), value));
        }
        let metadata = metadata.fields().iter();
        let metadata = metadata
            .map(|(name, value)| (name.into(), encoder.value(value.bytes(), WORTH_A_ROPE)))
            .collect();
        let head = Head {
            parent: parent.cloned(),
            fields,
            metadata,
        };
        let (head, roots) = head.encode(at, &self.sealer);
        Ok(EncodedHead {
            head,
            parts: encoder.finish(roots),
        })
    }

    /// Pending writes of a checkpoint as they are stored.
    pub(crate) fn encode_writes<'w>(
        &self,
        of: &CheckpointRef,
        writes: impl IntoIterator<Item = &'w PendingWrite>,
        sending: Sending,
    ) -> EncodedWrites {
        let mut encoder = Encoder::new(self, sending);
        let mut records = Vec::new();
        let mut roots = Vec::new();
        for write in writes {
            let place = WritePlace {
                namespace: &of.namespace,
                checkpoint_id: &of.checkpoint_id,
                task_id: &write.task_id,
                idx: write.idx,
            };
            let value = &write.value;
            let hints = value.hints.as_ref();
            let record = WriteRecord {
                task_path: write.task_path.clone(),
                channel: write.channel.clone(),
                type_name: value.type_name.clone(),
                value: encoder.value(&value.blob, 0),
                hints: hints.map(|hints| encoder.value(hints.bytes(), 0)),
            };
            let (record, named) = record.encode(&place, &self.sealer);
            records.push(record);
            roots.extend(named);
        }
        EncodedWrites {
            records,
            parts: encoder.finish(roots),
        }
    }

    /// Takes note that the thread has these parts: the put that brought them is done.
    pub(crate) fn remember(&self, parts: NewParts) {
        for (digest, part) in parts.contents {
            self.codec.cache.insert(self.thread, digest, part);
        }
    }

    /// Reads the head of a checkpoint.
    ///
    /// # Errors
    /// [`Damage`] if it is not the head that was stored there.
    pub(crate) fn decode_head(&self, at: &CheckpointRef, stored: &Bytes) -> Result<Head, Damage> {
        Head::decode(at, stored, &self.sealer, self.limit())
    }

    /// Reads the record of a pending write.
    ///
    /// # Errors
    /// [`Damage`] if it is not the record that was stored there.
    pub(crate) fn decode_write(
        &self,
        at: &WritePlace<'_>,
        stored: &Bytes,
    ) -> Result<WriteRecord, Damage> {
        WriteRecord::decode(at, stored, &self.sealer, self.limit())
    }

    /// Whether a head is sealed as it would be now.
    ///
    /// # Errors
    /// [`Damage`] if it is no head.
    pub(crate) fn is_current_head(&self, stored: &Bytes) -> Result<bool, Damage> {
        Head::piece(stored).map(|piece| self.sealer.is_current(&piece))
    }

    /// Whether the record of a write is sealed as it would be now.
    ///
    /// # Errors
    /// [`Damage`] if it is no record.
    pub(crate) fn is_current_write(&self, stored: &Bytes) -> Result<bool, Damage> {
        WriteRecord::piece(stored).map(|piece| self.sealer.is_current(&piece))
    }

    /// Takes a part as it is stored, into the cache.
    pub(super) fn open_part(&self, digest: Digest, stored: &Bytes) -> Result<Part, Damage> {
        let part = Part::unpack(digest, stored, &self.sealer)?.detached();
        self.codec.cache.insert(self.thread, digest, part.clone());
        Ok(part)
    }

    /// A part that the cache has.
    pub(super) fn cached(&self, digest: &Digest) -> Option<Part> {
        self.codec.cache.get(self.thread, digest)
    }

    /// The most bytes of a text that is read: a head has names and lengths beside its texts.
    pub(super) fn limit(&self) -> usize {
        self.codec.options.max_bytes.saturating_mul(2)
    }
}

/// A member of a checkpoint or of its metadata that has fewer bytes stays in the head, where all of
/// them are compressed together. A channel's value is compared with [`WORTH_A_PART`](super::cut)
/// alone, as it is the same in many heads.
const WORTH_A_ROPE: usize = 1024;

/// Gathers the parts of one put.
struct Encoder<'a> {
    thread: &'a ThreadCodec<'a>,
    sending: Sending,
    ropes: usize,
    new: IndexMap<Digest, Part, BuildDigestHasher>,
}

impl<'a> Encoder<'a> {
    fn new(thread: &'a ThreadCodec<'a>, sending: Sending) -> Self {
        Self {
            thread,
            sending,
            ropes: 0,
            new: IndexMap::default(),
        }
    }

    /// A text, as a rope if it has at least this number of bytes and is worth it.
    fn value(&mut self, text: &Bytes, least: usize) -> Value {
        let mut value = Vec::new();
        let mut done = 0;
        if text.len() >= least {
            self.add_rope(text, 0..text.len(), None, &mut done, &mut value);
        }
        value.push(Segment::Text(text.slice(done..)));
        value.into_iter().collect()
    }

    /// The values of the channels: the text of an object, some of whose values are ropes.
    fn channels(
        &mut self,
        namespace: &CheckpointNamespace,
        text: &Bytes,
    ) -> crate::error::Result<Value> {
        let channels = RawObject::parse(text.clone())?;
        let mut value = Vec::with_capacity(2 * channels.len() + 1);
        let mut done = 0;
        let start = text.as_ptr().addr();
        for (name, channel) in channels.iter() {
            // The values are slices of the text that they were parsed from.
            let first = channel.bytes().as_ptr().addr() - start;
            let range = first..first + channel.bytes().len();
            let channel = (range.len() >= WORTH_A_PART).then(|| channel_key(namespace, name));
            self.add_rope(text, range, channel, &mut done, &mut value);
        }
        value.push(Segment::Text(text.slice(done..)));
        Ok(value.into_iter().collect())
    }

    /// Adds the text up to a rope for a range of it, and the rope, if the range is worth one.
    fn add_rope(
        &mut self,
        text: &Bytes,
        range: Range<usize>,
        channel: Option<Digest>,
        done: &mut usize,
        value: &mut Vec<Segment>,
    ) {
        // Of members with the same name only the last counts.
        if range.start < *done || self.ropes == MAX_ROOTS {
            return;
        }
        let first = range.start;
        let (thread, sending, new) = (self.thread, self.sending, &mut self.new);
        let cache = &thread.codec.cache;
        let before = channel
            .filter(|_| sending == Sending::New)
            .and_then(|channel| cache.rope(thread.thread, channel));
        let mut find = |digest: &Digest| thread.cached(digest);
        let before: Before<'_> = match before {
            Some(rope) => Some((rope, &mut find)),
            None => None,
        };
        let digester = thread.sealer.digester();
        let cut = cut(&text.slice(range), digester, before, |digest, part| {
            if sending == Sending::All || thread.cached(&digest).is_none() {
                new.entry(digest).or_insert_with(|| part.detached());
            }
        });
        if let Some(cut) = cut {
            value.push(Segment::Text(text.slice(*done..first + cut.range.start)));
            value.push(Segment::Rope(cut.rope));
            if let Some(channel) = channel {
                cache.set_rope(thread.thread, channel, cut.rope);
            }
            *done = first + cut.range.end;
            self.ropes += 1;
        }
    }

    /// The parts to send for heads or records that name these roots.
    fn finish(self, roots: Vec<Digest>) -> NewParts {
        let mut assumed = indexmap::IndexSet::<Digest, BuildDigestHasher>::default();
        assumed.extend(roots);
        for part in self.new.values() {
            if let Part::Index(index) = part {
                assumed.extend(index.children().map(|child| child.digest));
            }
        }
        assumed.retain(|digest| !self.new.contains_key(digest));
        NewParts {
            stored: self
                .new
                .iter()
                .map(|(digest, part)| (*digest, part.pack(*digest, &self.thread.sealer)))
                .collect(),
            assumed: assumed.into_iter().collect(),
            contents: self.new.into_iter().collect(),
        }
    }
}
