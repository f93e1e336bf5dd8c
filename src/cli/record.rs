//! Checkpoints and writes as JSON: the output of `show --json`, and the export format.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::json_eq::canonical;
use super::text::{count, milliseconds};
use crate::blobs::ChannelBlob;
use crate::checkpoint::{
    Checkpoint, CheckpointMetadata, CheckpointTuple, PendingWrite, TypedValue,
};
use crate::codec::{RawJson, RawObject};
use crate::config::CheckpointConfig;
use crate::error::{Error, Result};
use crate::id::{CheckpointId, TaskId, ThreadId};
use crate::redis::{EarlyWrites, TimedBlob, TimedCheckpoint};

/// A pending write, with its value as the serializer encoded it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WriteRecord {
    task_id: TaskId,
    task_path: String,
    idx: i64,
    channel: String,
    #[serde(rename = "type")]
    type_name: String,
    /// In base64.
    blob: String,
    /// Text that the writer's serializer needs, verbatim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hints: Option<String>,
}

impl From<&PendingWrite> for WriteRecord {
    fn from(write: &PendingWrite) -> Self {
        Self {
            task_id: write.task_id.clone(),
            task_path: write.task_path.clone(),
            idx: write.idx,
            channel: write.channel.clone(),
            type_name: write.value.type_name.clone(),
            blob: BASE64.encode(&write.value.blob),
            hints: write
                .value
                .hints
                .as_ref()
                .map(|hints| hints.as_str().to_owned()),
        }
    }
}

impl TryFrom<WriteRecord> for PendingWrite {
    type Error = Error;

    fn try_from(record: WriteRecord) -> Result<Self> {
        let blob = decoded(&record.blob)?;
        Ok(Self {
            task_id: record.task_id,
            task_path: record.task_path,
            idx: record.idx,
            channel: record.channel,
            value: TypedValue {
                type_name: record.type_name,
                blob: blob.into(),
                hints: record.hints.map(RawJson::parse).transpose()?,
            },
        })
    }
}

fn decoded(blob: &str) -> Result<Vec<u8>> {
    BASE64
        .decode(blob)
        .map_err(|error| Error::invalid("blob", format!("it is not base64: {error}")))
}

/// Writes as JSON.
pub(crate) fn writes_json(writes: &[PendingWrite]) -> Result<RawJson> {
    RawJson::encode(&writes.iter().map(WriteRecord::from).collect::<Vec<_>>())
}

/// The members of a checkpoint with its metadata and pending writes, each value as it is stored.
pub(crate) fn tuple_members(tuple: &CheckpointTuple) -> Result<Vec<(&'static str, RawJson)>> {
    let parent = tuple.parent_config.as_ref();
    let parent = parent.and_then(|parent| parent.checkpoint_id.as_ref());
    Ok(vec![
        ("thread_id", RawJson::encode(&tuple.config.thread_id)?),
        ("checkpoint_ns", RawJson::encode(&tuple.config.namespace())?),
        ("checkpoint_id", RawJson::encode(tuple.checkpoint.id())?),
        ("parent_checkpoint_id", RawJson::encode(&parent)?),
        ("checkpoint", tuple.checkpoint.to_json()),
        ("metadata", tuple.metadata.to_json()),
        ("pending_writes", writes_json(&tuple.pending_writes)?),
    ])
}

/// A checkpoint with its metadata and pending writes as one JSON document.
pub(crate) fn tuple_json(tuple: &CheckpointTuple) -> Result<RawJson> {
    let members: RawObject = tuple_members(tuple)?.into_iter().collect();
    Ok(members.to_json())
}

/// The member that says how long a part of a thread has left, in milliseconds.
const TTL: &str = "ttl_ms";

/// The version of the export format that is written, and the newest that is read.
pub(crate) const FORMAT: u32 = 1;

/// The first line of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) format: u32,
    pub(crate) program: String,
    pub(crate) made_at: String,
    pub(crate) checkpoint_prefix: String,
    pub(crate) checkpoint_write_prefix: String,
}

/// The line after the records of a thread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ThreadTrailer {
    pub(crate) thread_id: ThreadId,
    pub(crate) checkpoints: u64,
    pub(crate) writes: u64,
    #[serde(default)]
    pub(crate) blobs: u64,
    /// The digest of the thread's lines with their line breaks, in hexadecimal.
    pub(crate) sha256: String,
}

/// The last line of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trailer {
    pub(crate) threads: u64,
    pub(crate) checkpoints: u64,
    pub(crate) writes: u64,
    #[serde(default)]
    pub(crate) blobs: u64,
    /// The digest of all lines before this one with their line breaks, in hexadecimal.
    pub(crate) sha256: String,
}

/// A part of a thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    /// A checkpoint with its pending writes.
    Checkpoint(Box<TimedCheckpoint>),
    /// Writes whose checkpoint is not stored yet.
    Writes(EarlyWrites),
    /// A blob; it precedes the checkpoints that name it.
    Blob(Box<TimedBlob>),
}

/// The number of parts of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) checkpoints: u64,
    pub(crate) writes: u64,
    pub(crate) blobs: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        self.checkpoints += more.checkpoints;
        self.writes += more.writes;
        self.blobs += more.blobs;
    }
}

impl Counts {
    /// As text; blobs only if there are any.
    pub(crate) fn text(self) -> String {
        let checkpoints = count(self.checkpoints, "checkpoint");
        let writes = count(self.writes, "write");
        if self.blobs == 0 {
            return format!("{checkpoints} and {writes}");
        }
        format!("{checkpoints}, {writes} and {}", count(self.blobs, "blob"))
    }
}

/// One line of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    Header(Header),
    Item(Item),
    Thread(ThreadTrailer),
    End(Trailer),
}

impl Item {
    /// The thread of this part.
    pub(crate) fn thread_id(&self) -> &ThreadId {
        match self {
            Self::Checkpoint(checkpoint) => &checkpoint.tuple.config.thread_id,
            Self::Writes(early) => &early.config.thread_id,
            Self::Blob(blob) => &blob.thread_id,
        }
    }

    /// The number of checkpoints, writes and blobs in this part.
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        match self {
            Self::Checkpoint(checkpoint) => {
                counts.checkpoints = 1;
                counts.writes = checkpoint.tuple.pending_writes.len() as u64;
            }
            Self::Writes(early) => counts.writes = early.writes.len() as u64,
            Self::Blob(_) => counts.blobs = 1,
        }
        counts
    }

    /// The digest of what is stored, which is the same in every layout: of all but the TTL. With
    /// it, how many bytes it was made from.
    pub(crate) fn digest(&self) -> Result<([u8; 32], usize)> {
        let (kind, members) = self.members()?;
        let mut sha256 = Sha256::new();
        sha256.update(kind);
        let mut bytes = 0;
        for (name, value) in members {
            if name != TTL {
                sha256.update(name);
                let value = canonical(&value);
                bytes += value.len();
                sha256.update(value);
            }
        }
        Ok((sha256.finalize().into(), bytes))
    }

    fn members(&self) -> Result<(&'static str, Vec<(&'static str, RawJson)>)> {
        let ttl = |ttl: Option<Duration>| RawJson::encode(&ttl.map(milliseconds));
        match self {
            Self::Checkpoint(checkpoint) => {
                let TimedCheckpoint { tuple, ttl: left } = &**checkpoint;
                let mut members = tuple_members(tuple)?;
                members.push((TTL, ttl(*left)?));
                Ok(("checkpoint", members))
            }
            Self::Writes(early) => Ok((
                "writes",
                vec![
                    ("thread_id", RawJson::encode(&early.config.thread_id)?),
                    ("checkpoint_ns", RawJson::encode(&early.config.namespace())?),
                    (
                        "checkpoint_id",
                        RawJson::encode(&early.config.checkpoint_id)?,
                    ),
                    ("pending_writes", writes_json(&early.writes)?),
                    (TTL, ttl(early.ttl)?),
                ],
            )),
            Self::Blob(timed) => {
                let blob = &timed.blob;
                Ok((
                    "blob",
                    vec![
                        ("thread_id", RawJson::encode(&timed.thread_id)?),
                        ("checkpoint_ns", RawJson::encode(&timed.namespace)?),
                        ("channel", RawJson::encode(&blob.channel)?),
                        ("version", RawJson::encode(&blob.version)?),
                        ("type", RawJson::encode(&blob.type_name)?),
                        ("blob", RawJson::encode(&blob.blob)?),
                        (TTL, ttl(timed.ttl)?),
                    ],
                ))
            }
        }
    }
}

impl Record {
    /// The record as a line, its line break included.
    pub(crate) fn line(&self) -> Result<Vec<u8>> {
        let (kind, members): (_, RawObject) = match self {
            Self::Header(header) => ("header", RawJson::encode(header)?.decode()?),
            Self::Thread(trailer) => ("thread", RawJson::encode(trailer)?.decode()?),
            Self::End(trailer) => ("end", RawJson::encode(trailer)?.decode()?),
            Self::Item(item) => {
                let (kind, members) = item.members()?;
                (kind, members.into_iter().collect())
            }
        };
        let mut all = RawObject::new();
        all.insert("kind", RawJson::encode(kind)?);
        for (name, value) in members.iter() {
            all.insert(name, value.clone());
        }
        let mut line = all.to_json().bytes().to_vec();
        // Raw line breaks are whitespace between values: never part of a JSON string.
        for byte in &mut line {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        line.push(b'\n');
        Ok(line)
    }

    /// Parses a line.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if it is not a record.
    pub(crate) fn parse(line: Bytes) -> Result<Self> {
        let members = RawObject::parse(line)?;
        let kind: String = required(&members, "kind")?.decode()?;
        match kind.as_str() {
            "header" => Ok(Self::Header(members.to_json().decode()?)),
            "thread" => Ok(Self::Thread(members.to_json().decode()?)),
            "end" => Ok(Self::End(members.to_json().decode()?)),
            "checkpoint" => {
                let config = config_of(&members)?;
                let parent: Option<CheckpointId> =
                    required(&members, "parent_checkpoint_id")?.decode()?;
                let checkpoint =
                    Checkpoint::from_json(required(&members, "checkpoint")?.bytes().clone())?;
                let metadata =
                    CheckpointMetadata::from_json(required(&members, "metadata")?.bytes().clone())?;
                if Some(checkpoint.id()) != config.checkpoint_id.as_ref() {
                    return Err(Error::invalid(
                        "checkpoint_id",
                        "it is not the id of the checkpoint beside it",
                    ));
                }
                let parent_config = parent.map(|parent| config.clone().with_checkpoint(parent));
                let tuple = CheckpointTuple {
                    config,
                    checkpoint,
                    metadata,
                    parent_config,
                    pending_writes: writes_of(&members)?,
                };
                let ttl = ttl_of(&members)?;
                let checkpoint = TimedCheckpoint { tuple, ttl };
                Ok(Self::Item(Item::Checkpoint(Box::new(checkpoint))))
            }
            "writes" => Ok(Self::Item(Item::Writes(EarlyWrites {
                config: config_of(&members)?,
                writes: writes_of(&members)?,
                ttl: ttl_of(&members)?,
            }))),
            "blob" => {
                let blob: Option<String> = required(&members, "blob")?.decode()?;
                if let Some(blob) = &blob {
                    decoded(blob)?;
                }
                Ok(Self::Item(Item::Blob(Box::new(TimedBlob {
                    thread_id: required(&members, "thread_id")?.decode()?,
                    namespace: required(&members, "checkpoint_ns")?.decode()?,
                    blob: ChannelBlob {
                        channel: required(&members, "channel")?.decode()?,
                        version: required(&members, "version")?.decode()?,
                        type_name: required(&members, "type")?.decode()?,
                        blob,
                    },
                    ttl: ttl_of(&members)?,
                }))))
            }
            other => Err(Error::invalid(
                "kind",
                format!("`{other}` is unknown; a newer langgraph-redis may have written it"),
            )),
        }
    }
}

fn required<'a>(members: &'a RawObject, name: &str) -> Result<&'a RawJson> {
    members
        .get(name)
        .ok_or_else(|| Error::invalid(name, "it is missing"))
}

fn config_of(members: &RawObject) -> Result<CheckpointConfig> {
    Ok(CheckpointConfig::of_checkpoint(
        required(members, "thread_id")?.decode()?,
        required(members, "checkpoint_ns")?.decode()?,
        required(members, "checkpoint_id")?.decode()?,
    ))
}

fn writes_of(members: &RawObject) -> Result<Vec<PendingWrite>> {
    let records: Vec<WriteRecord> = required(members, "pending_writes")?.decode()?;
    records.into_iter().map(PendingWrite::try_from).collect()
}

fn ttl_of(members: &RawObject) -> Result<Option<Duration>> {
    let left: Option<u64> = required(members, TTL)?.decode()?;
    Ok(left.map(Duration::from_millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Record> {
        Record::parse(Bytes::copy_from_slice(line.as_bytes()))
    }

    #[test]
    fn a_record_is_one_line_that_reads_back_the_same() {
        let checkpoint = Checkpoint::from_json(
            "{\"id\":\"1\",\"n\":[123456789012345678901234567890,\n1e400,\"\\ud800\",\"\u{9b}\"]}",
        )
        .unwrap();
        let thread = ThreadId::new("a\n\0\"b").unwrap();
        let namespace = crate::CheckpointNamespace::root();
        let id = checkpoint.id().clone();
        let item = Item::Checkpoint(Box::new(TimedCheckpoint {
            tuple: CheckpointTuple {
                config: CheckpointConfig::of_checkpoint(thread, namespace, id),
                checkpoint,
                metadata: CheckpointMetadata::from_json("{\"a\" : 1.10}").unwrap(),
                parent_config: None,
                pending_writes: vec![PendingWrite {
                    task_id: TaskId::new("t").unwrap(),
                    task_path: "p".to_owned(),
                    idx: -3,
                    channel: "c".to_owned(),
                    value: TypedValue {
                        type_name: "msgpack".to_owned(),
                        blob: Bytes::from_static(b"\xff\0"),
                        hints: Some(RawJson::parse("[ 1 ]").unwrap()),
                    },
                }],
            },
            ttl: Some(Duration::from_millis(5)),
        }));
        let line = Record::Item(item).line().unwrap();
        let text = String::from_utf8(line.clone()).unwrap();
        assert_eq!(text.lines().count(), 1);
        assert!(text.contains("123456789012345678901234567890, 1e400,\"\\ud800\""));
        assert!(text.contains("{\"a\":1.10}"));
        assert_eq!(parsed(&text).unwrap().line().unwrap(), line);
    }

    #[test]
    fn a_line_that_is_not_a_record_is_refused() {
        for line in [
            "",
            "[]",
            "{}",
            r#"{"kind":"checkpoint"}"#,
            r#"{"kind":"wormhole"}"#,
            r#"{"kind":"blob","thread_id":"t","checkpoint_ns":"","channel":"c","version":"1","type":"msgpack","blob":"?","ttl_ms":null}"#,
            r#"{"kind":"writes","thread_id":"","checkpoint_ns":"","checkpoint_id":"1","pending_writes":[],"ttl_ms":null}"#,
            r#"{"kind":"checkpoint","thread_id":"t","checkpoint_ns":"","checkpoint_id":"1","parent_checkpoint_id":null,"checkpoint":{"id":"2"},"metadata":{},"pending_writes":[],"ttl_ms":null}"#,
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
