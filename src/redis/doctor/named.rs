//! What documents say of themselves, and whether they can be read.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::report::FindingKind;
use super::run::Doctor;
use crate::codec::RawJson;
use crate::error::{Error, Result};
use crate::id::{CheckpointId, CheckpointNamespace, TaskId, ThreadId};
use crate::redis::blobs::parse_blob;
use crate::redis::document::{ReadCheckpoint, parse_write};
use crate::redis::driver::Command;
use crate::redis::keys::{CheckpointRef, namespace_from_stored};

/// How many documents are read in one pipeline at most.
const MAX_DOCUMENTS: usize = 256;

/// How many bytes a pipeline reads at most, if its documents are no larger than the largest before.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// What a family of documents holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    Checkpoints,
    Writes,
    Blobs,
}

/// A document that is looked at.
pub(super) struct Looked {
    pub(super) key: Bytes,
    /// Whose it is, or what it lacks.
    pub(super) ids: std::result::Result<Named, String>,
    /// Why calls cannot read it.
    pub(super) unreadable: Option<String>,
}

/// The ids that a document names itself by.
pub(super) struct Named {
    pub(super) thread_id: ThreadId,
    pub(super) namespace: CheckpointNamespace,
    /// What a document of a checkpoint or a write says of whose it is, as JSON.
    pub(super) says: Bytes,
    pub(super) rest: Rest,
}

/// What names a document beside its thread and namespace.
pub(super) enum Rest {
    Checkpoint(CheckpointId),
    Write(CheckpointId, TaskId, i64),
    Blob {
        channel: String,
        version: String,
        is_empty: bool,
    },
}

impl Named {
    /// The checkpoint; `None` for a blob.
    pub(super) fn checkpoint(&self) -> Option<&CheckpointId> {
        match &self.rest {
            Rest::Checkpoint(id) | Rest::Write(id, ..) => Some(id),
            Rest::Blob { .. } => None,
        }
    }
}

/// The members that name a document, whatever they hold.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Ids {
    thread_id: Value,
    checkpoint_ns: Value,
    checkpoint_id: Value,
    task_id: Value,
    idx: Value,
    channel: Value,
    version: Value,
    r#type: Value,
}

impl Doctor<'_> {
    /// Reads the documents of some keys; keys without a document are left out.
    pub(super) async fn look_at(&mut self, keys: Vec<Bytes>, holds: Holds) -> Result<Vec<Looked>> {
        let mut looked = Vec::with_capacity(keys.len());
        let (mut keys, mut largest) = (keys.into_iter().peekable(), 1);
        while keys.peek().is_some() {
            let max = if self.options.read_values {
                (MAX_BYTES / largest).clamp(1, if largest == 1 { 16 } else { MAX_DOCUMENTS })
            } else {
                MAX_DOCUMENTS
            };
            let slice: Vec<_> = keys.by_ref().take(max).collect();
            let steps = slice.iter().map(|key| self.read_command(key, holds).into());
            let replies = self.store.pipeline("doctor", steps.collect()).await?;
            for (key, reply) in slice.into_iter().zip(replies) {
                let document = match reply {
                    Err(error) => {
                        self.refused(&key, error)?;
                        continue;
                    }
                    Ok(reply) => reply.into_bytes(),
                };
                let Some(document) = document else { continue };
                largest = largest.max(document.len());
                let ids = self.ids(&document).and_then(|ids| named(&ids, holds));
                let unreadable = match &ids {
                    Ok(named) if self.options.read_values => unreadable(&key, named, &document),
                    _ => None,
                };
                looked.push(Looked {
                    key,
                    ids,
                    unreadable,
                });
            }
        }
        Ok(looked)
    }

    /// The whole document, or what names it.
    fn read_command(&self, key: &Bytes, holds: Holds) -> Command {
        let command = Command::on("JSON.GET", key.clone());
        if self.options.read_values {
            return command.arg(".");
        }
        let names: &[&str] = match holds {
            Holds::Checkpoints => &["thread_id", "checkpoint_ns", "checkpoint_id"],
            Holds::Writes => &[
                "thread_id",
                "checkpoint_ns",
                "checkpoint_id",
                "task_id",
                "idx",
            ],
            Holds::Blobs => &["thread_id", "checkpoint_ns", "channel", "version", "type"],
        };
        command.args(names.iter().map(|name| Bytes::from(format!("$.{name}"))))
    }

    fn ids(&self, document: &[u8]) -> std::result::Result<Ids, String> {
        if self.options.read_values {
            return serde_json::from_slice(document).map_err(|_| "it is no object".to_owned());
        }
        // A list for each path.
        let paths: serde_json::Map<String, Value> =
            serde_json::from_slice(document).map_err(|_| "it is no object".to_owned())?;
        let members = paths.into_iter().filter_map(|(path, found)| {
            let found = found.as_array()?.first()?.clone();
            Some((path.strip_prefix("$.")?.to_owned(), found))
        });
        serde_json::from_value(members.collect()).map_err(|error| error.to_string())
    }

    /// Reports a document that cannot be read.
    pub(super) fn report_unreadable(&mut self, looked: &Looked) {
        if let Some(reason) = &looked.unreadable {
            self.found(FindingKind::Unreadable, &looked.key, reason.clone(), false);
        }
    }
}

/// Why calls cannot read a document.
fn unreadable(key: &[u8], named: &Named, document: &Bytes) -> Option<String> {
    let read = match &named.rest {
        Rest::Checkpoint(_) => ReadCheckpoint::parse(key, document).map(|_| ()),
        Rest::Write(id, ..) => {
            let identity = CheckpointRef {
                thread_id: named.thread_id.clone(),
                namespace: named.namespace.clone(),
                checkpoint_id: id.clone(),
            };
            parse_write(&identity, document).map(|_| ())
        }
        Rest::Blob { .. } => parse_blob(key, document).and_then(|blob| {
            let decoded = blob.blob.map(|blob| BASE64.decode(blob)).transpose();
            decoded.map(|_| ()).map_err(|error| {
                Error::corrupt(
                    String::from_utf8_lossy(key),
                    format!("its blob is not base64: {error}"),
                )
            })
        }),
    };
    match read {
        Ok(()) => None,
        Err(Error::Corrupt { reason, .. }) => Some(reason),
        Err(error) => Some(error.to_string()),
    }
}

fn named(ids: &Ids, holds: Holds) -> std::result::Result<Named, String> {
    let text = |name: &str, value: &Value| {
        let found = value.as_str().map(str::to_owned);
        found.ok_or_else(|| format!("it has no `{name}`"))
    };
    let bad = |error: Error| error.to_string();
    let thread = text("thread_id", &ids.thread_id)?;
    let namespace = text("checkpoint_ns", &ids.checkpoint_ns)?;
    let checkpoint = |says: &mut Bytes| {
        let id = text("checkpoint_id", &ids.checkpoint_id)?;
        let said = RawJson::encode(&[&thread, &namespace, &id]).map_err(bad)?;
        *says = said.bytes().clone();
        CheckpointId::new(id).map_err(bad)
    };
    let mut says = Bytes::new();
    let rest = match holds {
        Holds::Checkpoints => Rest::Checkpoint(checkpoint(&mut says)?),
        Holds::Writes => {
            let id = checkpoint(&mut says)?;
            let task = TaskId::new(text("task_id", &ids.task_id)?).map_err(bad)?;
            let idx = ids.idx.as_i64().ok_or("it has no `idx`")?;
            Rest::Write(id, task, idx)
        }
        Holds::Blobs => Rest::Blob {
            channel: text("channel", &ids.channel)?,
            version: text("version", &ids.version)?,
            is_empty: ids.r#type == "empty",
        },
    };
    Ok(Named {
        thread_id: ThreadId::new(&thread).map_err(bad)?,
        namespace: namespace_from_stored(&namespace).map_err(bad)?,
        says,
        rest,
    })
}
