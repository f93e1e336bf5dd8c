//! The documents that are stored, as the Python saver stores them.

use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::keys::{CheckpointRef, namespace_from_stored, stored_namespace};
use crate::checkpoint::{
    Checkpoint, CheckpointMetadata, CheckpointTuple, PendingWrite, TypedValue,
};
use crate::codec::{Members, RawJson, RawObject, exact, write_string};
use crate::config::CheckpointConfig;
use crate::error::{Error, Result};
use crate::id::{CheckpointId, TaskId, ThreadId};

/// The document of a checkpoint.
pub(crate) fn checkpoint_document(
    identity: &CheckpointRef,
    parent: Option<&CheckpointId>,
    checkpoint: &Checkpoint,
    metadata: &CheckpointMetadata,
) -> Bytes {
    document(identity, &Layout::Full { parent }, checkpoint, metadata)
}

/// The document of a checkpoint in shallow mode.
pub(crate) fn shallow_document(
    identity: &CheckpointRef,
    checkpoint: &Checkpoint,
    metadata: &CheckpointMetadata,
) -> Bytes {
    document(identity, &Layout::Shallow, checkpoint, metadata)
}

/// What documents hold beside the checkpoint.
enum Layout<'a> {
    /// The parent, and whether there are writes.
    Full { parent: Option<&'a CheckpointId> },
    /// Neither; and the root namespace stands as it is.
    Shallow,
}

fn document(
    identity: &CheckpointRef,
    layout: &Layout<'_>,
    checkpoint: &Checkpoint,
    metadata: &CheckpointMetadata,
) -> Bytes {
    let fields = checkpoint.fields();
    let metadata_text = metadata.to_json();
    let enveloped = !fields
        .iter()
        .all(|(_, value)| exact::is_kept(value.bytes()));
    let wrapped;
    let fields = if enveloped {
        wrapped = map_fields(fields, exact::wrap);
        &wrapped
    } else {
        fields
    };

    let capacity = fields.text_len() + metadata_text.bytes().len() * 5 / 4 + 512;
    let mut text = BytesMut::with_capacity(capacity);
    let member = |name: &str, value: &str, text: &mut BytesMut| {
        text.put_slice(if text.is_empty() { b"{\"" } else { b",\"" });
        text.put_slice(name.as_bytes());
        text.put_slice(b"\":");
        write_string(text, value);
    };
    member("thread_id", identity.thread_id.as_str(), &mut text);
    let run_id = metadata.get::<String>("run_id").ok().flatten();
    member("run_id", run_id.as_deref().unwrap_or_default(), &mut text);
    let namespace = match layout {
        Layout::Full { .. } => stored_namespace(&identity.namespace),
        Layout::Shallow => identity.namespace.as_str(),
    };
    member("checkpoint_ns", namespace, &mut text);
    member("checkpoint_id", identity.checkpoint_id.as_str(), &mut text);
    if let Layout::Full { parent } = layout {
        let parent = parent.map_or("", CheckpointId::as_str);
        member("parent_checkpoint_id", parent, &mut text);
    }
    text.put_slice(b",\"checkpoint_ts\":");
    text.put_slice(milliseconds(&identity.checkpoint_id).to_string().as_bytes());
    text.put_slice(b",\"checkpoint\":{");
    if fields.get("type").is_none() {
        text.put_slice(b"\"type\":\"json\",");
    }
    fields.write_members(&mut text);
    if fields.get("pending_sends").is_none() {
        text.put_slice(b",\"pending_sends\":[]");
    }
    text.put_u8(b'}');
    member("metadata", metadata_text.as_str(), &mut text);
    if matches!(layout, Layout::Full { .. }) {
        text.put_slice(b",\"has_writes\":false");
    }
    if enveloped {
        text.put_slice(b",\"enveloped\":true");
    }
    // As the Python saver: both or none. A value of another type would keep the whole document
    // out of the index, so it stays in the metadata alone.
    let source = metadata.get::<String>("source").ok().flatten();
    let step = metadata.get::<i64>("step").ok().flatten();
    if let (Some(source), Some(step)) = (source, step) {
        member("source", &source, &mut text);
        text.put_slice(b",\"step\":");
        text.put_slice(step.to_string().as_bytes());
    }
    text.put_u8(b'}');
    text.freeze()
}

/// The members of a checkpoint, each changed; of the channels each value by itself, so that those
/// that need no envelope stay readable to everyone.
fn map_fields(fields: &RawObject, change: fn(&RawJson) -> RawJson) -> RawObject {
    fields
        .iter()
        .map(|(name, value)| {
            let changed = match (name, RawObject::parse(value.bytes().clone())) {
                ("channel_values", Ok(values)) => values
                    .iter()
                    .map(|(channel, value)| (channel, change(value)))
                    .collect::<RawObject>()
                    .to_json(),
                _ => change(value),
            };
            (name, changed)
        })
        .collect()
}

/// When a checkpoint was made, in milliseconds, from its id where it holds a time, so that a
/// repeated put writes the same.
#[allow(clippy::cast_precision_loss)] // Milliseconds since 1970 are exact in 53 bits.
fn milliseconds(id: &CheckpointId) -> f64 {
    let time = id.time().unwrap_or_else(SystemTime::now);
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    (since_epoch.as_micros() as f64) / 1_000.0
}

/// A stored checkpoint document, taken apart in one pass.
#[derive(Deserialize)]
struct StoredCheckpoint<'a> {
    #[serde(default)]
    thread_id: Option<String>,
    #[serde(default)]
    checkpoint_ns: Option<String>,
    #[serde(default)]
    checkpoint_id: Option<String>,
    #[serde(default)]
    parent_checkpoint_id: Option<String>,
    #[serde(borrow, default)]
    checkpoint: Members<'a>,
    #[serde(borrow, default)]
    metadata: Option<&'a RawValue>,
    #[serde(default)]
    enveloped: bool,
    #[serde(borrow, default)]
    has_writes: Option<&'a RawValue>,
}

/// The flag of a document.
#[derive(Deserialize)]
struct Flag<'a> {
    #[serde(borrow, default)]
    has_writes: Option<&'a RawValue>,
}

/// Whether the document of a checkpoint says that writes were made since.
pub(crate) fn says_it_has_writes(document: &[u8]) -> bool {
    let flag = serde_json::from_slice::<Flag<'_>>(document);
    flag.is_ok_and(|flag| is_true(flag.has_writes))
}

fn is_true(flag: Option<&RawValue>) -> bool {
    flag.is_some_and(|flag| flag.get() == "true")
}

/// A checkpoint as read, before its writes.
#[derive(Debug, Clone)]
pub(crate) struct ReadCheckpoint {
    pub(crate) identity: CheckpointRef,
    pub(crate) parent: Option<CheckpointId>,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) metadata: CheckpointMetadata,
    /// Whether writes were made since.
    pub(crate) has_writes: bool,
}

impl ReadCheckpoint {
    /// Reads a document. `None` if it is not a checkpoint's, as the flag that the Python saver
    /// leaves when writes come first.
    pub(crate) fn parse(key: &[u8], document: &Bytes) -> Result<Option<Self>> {
        let corrupt = |reason: String| Error::corrupt(String::from_utf8_lossy(key), reason);
        let stored: StoredCheckpoint<'_> =
            serde_json::from_slice(document).map_err(|error| corrupt(error.to_string()))?;
        let (Some(thread_id), Some(namespace), Some(checkpoint_id)) =
            (stored.thread_id, stored.checkpoint_ns, stored.checkpoint_id)
        else {
            return Ok(None);
        };
        let identity = CheckpointRef {
            thread_id: ThreadId::new(thread_id).map_err(|error| corrupt(error.to_string()))?,
            namespace: namespace_from_stored(&namespace)
                .map_err(|error| corrupt(error.to_string()))?,
            checkpoint_id: CheckpointId::new(checkpoint_id)
                .map_err(|error| corrupt(error.to_string()))?,
        };
        let mut fields = stored.checkpoint.share(document);
        let added = |fields: &RawObject, name: &str, value: &str| {
            fields
                .get(name)
                .is_some_and(|found| found.as_str() == value)
        };
        if added(&fields, "type", "\"json\"") || added(&fields, "type", "\"msgpack\"") {
            fields.remove("type");
        }
        if added(&fields, "pending_sends", "[]") {
            fields.remove("pending_sends");
        }
        if stored.enveloped {
            fields = map_fields(&fields, exact::unwrap);
        }
        let parent = stored
            .parent_checkpoint_id
            .filter(|parent| !parent.is_empty() && parent != "None")
            .map(CheckpointId::new)
            .transpose()
            .map_err(|error| corrupt(error.to_string()))?;
        Ok(Some(Self {
            identity,
            parent,
            checkpoint: Checkpoint::from_fields(fields)
                .map_err(|error| corrupt(error.to_string()))?,
            metadata: parse_metadata(stored.metadata).map_err(corrupt)?,
            has_writes: is_true(stored.has_writes),
        }))
    }

    /// The same with the writes made since.
    pub(crate) fn with_writes(self, mut writes: Vec<PendingWrite>) -> CheckpointTuple {
        writes.sort_by(|one, other| one.sort_key().cmp(&other.sort_key()));
        writes.dedup_by(|one, other| one.task_id == other.task_id && one.idx == other.idx);
        let parent_config = self.parent.map(|parent| {
            CheckpointConfig::of_checkpoint(
                self.identity.thread_id.clone(),
                self.identity.namespace.clone(),
                parent,
            )
        });
        CheckpointTuple {
            config: self.identity.config(),
            checkpoint: self.checkpoint,
            metadata: self.metadata,
            parent_config,
            pending_writes: writes,
        }
    }
}

fn parse_metadata(stored: Option<&RawValue>) -> Result<CheckpointMetadata, String> {
    let Some(stored) = stored else {
        return Ok(CheckpointMetadata::new());
    };
    if stored.get().starts_with('{') {
        return CheckpointMetadata::from_json(stored.get().to_owned())
            .map_err(|error| error.to_string());
    }
    let text: String = serde_json::from_str(stored.get()).map_err(|error| error.to_string())?;
    CheckpointMetadata::from_json(text.clone())
        .or_else(|error| CheckpointMetadata::from_json(mend_escapes(&text)).map_err(|_| error))
        .map_err(|error| error.to_string())
}

/// Doubles backslashes that escape nothing: the Python saver takes the text `\u0000` out of
/// metadata and leaves its own escape of a backslash in two.
fn mend_escapes(text: &str) -> String {
    let mut mended = String::with_capacity(text.len() + 8);
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        mended.push(character);
        if character == '\\' {
            match rest.peek() {
                Some('"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't' | 'u') => {
                    mended.extend(rest.next());
                }
                _ => mended.push('\\'),
            }
        }
    }
    mended
}

/// A stored write document. Strings are borrowed where they hold no escape.
#[derive(Serialize, Deserialize)]
struct StoredWrite<'a> {
    thread_id: Cow<'a, str>,
    checkpoint_ns: Cow<'a, str>,
    checkpoint_id: Cow<'a, str>,
    task_id: Cow<'a, str>,
    #[serde(default)]
    task_path: Cow<'a, str>,
    idx: i64,
    channel: Cow<'a, str>,
    #[serde(rename = "type")]
    type_name: Cow<'a, str>,
    #[serde(borrow)]
    blob: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hints: Option<Cow<'a, str>>,
}

/// The document of a write that was read before.
pub(crate) fn pending_document(identity: &CheckpointRef, write: &PendingWrite) -> Result<Bytes> {
    let PendingWrite {
        task_id,
        task_path,
        idx,
        channel,
        value,
    } = write;
    write_document(identity, task_id, task_path, *idx, channel, value)
}

/// The document of a write in shallow mode, where the root namespace stands as it is.
pub(crate) fn shallow_write_document(
    identity: &CheckpointRef,
    write: &PendingWrite,
) -> Result<Bytes> {
    let PendingWrite {
        task_id,
        task_path,
        idx,
        channel,
        value,
    } = write;
    let namespace = identity.namespace.as_str();
    stored_write(
        identity, namespace, task_id, task_path, *idx, channel, value,
    )
}

/// The document of a write.
pub(crate) fn write_document(
    identity: &CheckpointRef,
    task_id: &TaskId,
    task_path: &str,
    idx: i64,
    channel: &str,
    value: &TypedValue,
) -> Result<Bytes> {
    let namespace = stored_namespace(&identity.namespace);
    stored_write(identity, namespace, task_id, task_path, idx, channel, value)
}

fn stored_write(
    identity: &CheckpointRef,
    namespace: &str,
    task_id: &TaskId,
    task_path: &str,
    idx: i64,
    channel: &str,
    value: &TypedValue,
) -> Result<Bytes> {
    let document = StoredWrite {
        thread_id: identity.thread_id.as_str().into(),
        checkpoint_ns: namespace.into(),
        checkpoint_id: identity.checkpoint_id.as_str().into(),
        task_id: task_id.as_str().into(),
        task_path: task_path.into(),
        idx,
        channel: channel.into(),
        type_name: value.type_name.as_str().into(),
        blob: BASE64.encode(&value.blob).into(),
        hints: value.hints.as_ref().map(|hints| hints.as_str().into()),
    };
    RawJson::encode(&document).map(|document| document.bytes().clone())
}

/// The checkpoint that the document of a write names.
pub(crate) fn checkpoint_of_write(document: &Bytes) -> Option<CheckpointId> {
    let stored: StoredWrite<'_> = serde_json::from_slice(document).ok()?;
    CheckpointId::new(&stored.checkpoint_id).ok()
}

/// Reads the documents of a checkpoint's writes, leaving out those of others.
pub(crate) fn parse_writes(
    identity: &CheckpointRef,
    writes: impl IntoIterator<Item = Bytes>,
) -> Result<Vec<PendingWrite>> {
    writes
        .into_iter()
        .filter_map(|write| parse_write(identity, &write).transpose())
        .collect()
}

/// Reads the document of a write. `None` if it belongs to another checkpoint.
pub(crate) fn parse_write(
    identity: &CheckpointRef,
    document: &Bytes,
) -> Result<Option<PendingWrite>> {
    let corrupt = |reason: String| {
        Error::corrupt(
            format!(
                "a write of checkpoint {} of thread {}",
                identity.checkpoint_id, identity.thread_id
            ),
            reason,
        )
    };
    let stored: StoredWrite<'_> =
        serde_json::from_slice(document).map_err(|error| corrupt(error.to_string()))?;
    if stored.thread_id != identity.thread_id.as_str()
        || stored.checkpoint_id != identity.checkpoint_id.as_str()
        || (stored.checkpoint_ns != stored_namespace(&identity.namespace)
            && stored.checkpoint_ns != identity.namespace.as_str())
    {
        return Ok(None);
    }
    let blob = BASE64
        .decode(stored.blob.as_bytes())
        .map_err(|error| corrupt(format!("its blob is not base64: {error}")))?;
    let hints = stored
        .hints
        .map(|hints| RawJson::parse(hints.into_owned()))
        .transpose()
        .map_err(|error| corrupt(error.to_string()))?;
    Ok(Some(PendingWrite {
        task_id: TaskId::new(&stored.task_id).map_err(|error| corrupt(error.to_string()))?,
        task_path: stored.task_path.into_owned(),
        idx: stored.idx,
        channel: stored.channel.into_owned(),
        value: TypedValue {
            type_name: stored.type_name.into_owned(),
            blob: blob.into(),
            hints,
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::CheckpointNamespace;

    fn identity() -> CheckpointRef {
        CheckpointRef {
            thread_id: ThreadId::new("t\"\n").unwrap(),
            namespace: CheckpointNamespace::root(),
            checkpoint_id: CheckpointId::new("1f1e5438-3693-6fd2-bfff-c562fd0be1e3").unwrap(),
        }
    }

    fn round_trip(checkpoint: &str, metadata: &str) -> ReadCheckpoint {
        let checkpoint = Checkpoint::from_json(checkpoint.to_owned()).unwrap();
        let metadata = CheckpointMetadata::from_json(metadata.to_owned()).unwrap();
        let document = checkpoint_document(&identity(), None, &checkpoint, &metadata);
        let read = ReadCheckpoint::parse(b"key", &document).unwrap().unwrap();
        assert_eq!(read.checkpoint, checkpoint);
        assert_eq!(read.metadata, metadata);
        assert_eq!(read.identity, identity());
        read
    }

    #[test]
    fn a_document_gives_back_what_it_was_made_of() {
        let id = identity().checkpoint_id;
        round_trip(
            &format!(r#"{{"v":4,"id":"{id}","channel_values":{{"a":[1.0,{{}}]}},"own":1}}"#),
            r#"{"source":"loop","step":1,"text":"literal \\u0000 text"}"#,
        );
        round_trip(
            &format!(r#"{{"id":"{id}","channel_values":{{"big":1180591620717411303424,"ok":1}}}}"#),
            r#"{"source":1,"step":"x"}"#,
        );
    }

    #[test]
    fn metadata_that_the_python_saver_broke_is_mended() {
        let stored =
            RawValue::from_string(r#""{\"txt\":\"literal \\ text\"}""#.to_owned()).unwrap();
        let metadata = parse_metadata(Some(&stored)).unwrap();
        assert_eq!(
            metadata.get::<String>("txt").unwrap().unwrap(),
            r"literal \ text"
        );
    }

    #[test]
    fn a_document_without_ids_is_no_checkpoint() {
        let document = Bytes::from_static(br#"{"has_writes":true}"#);
        assert!(ReadCheckpoint::parse(b"key", &document).unwrap().is_none());
    }

    #[test]
    fn a_write_of_another_checkpoint_is_left_out() {
        let value = TypedValue::json("x").unwrap();
        let task = TaskId::new("t").unwrap();
        let document = write_document(&identity(), &task, "p", 3, "c", &value).unwrap();
        let read = parse_write(&identity(), &document).unwrap().unwrap();
        assert_eq!((read.idx, read.channel.as_str()), (3, "c"));
        let mut other = identity();
        other.thread_id = ThreadId::new("other").unwrap();
        assert!(parse_write(&other, &document).unwrap().is_none());
    }
}
