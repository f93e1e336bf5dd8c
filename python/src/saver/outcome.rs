//! What calls give, before and after it is Python's.

use std::collections::BTreeMap;

use bytes::Bytes;
use langgraph_checkpoint_redis::{
    Checkpoint, CheckpointTuple, DeltaChannelHistory, PendingWrite, RawJson, RawObject, Result,
    ThreadSummary, TypedValue,
};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

/// The member of a checkpoint that holds its channels' values.
const VALUES: &str = "channel_values";
/// The member, ours, that says of which types those are.
pub(super) const VALUE_TYPES: &str = "value_types";
/// The member, ours, that says of which types the metadata's values are.
pub(super) const METADATA_TYPES: &str = "metadata_types";

/// What a call gives.
#[derive(Debug)]
pub(super) enum Outcome {
    Done,
    Flag(bool),
    Tuple(Option<Box<Tuple>>),
    /// Some of a listing, and whether there may be more.
    Page(Vec<Tuple>, bool),
    Deltas(Vec<(String, Delta)>),
    Threads(Vec<ThreadSummary>, bool),
}

/// A checkpoint with what belongs to it, as text.
#[derive(Debug)]
pub(super) struct Tuple {
    thread_id: String,
    namespace: String,
    checkpoint_id: String,
    parent: Option<String>,
    /// The checkpoint without its channels' values.
    rest: Bytes,
    values: Option<Bytes>,
    value_types: Option<Bytes>,
    metadata: Bytes,
    metadata_types: Option<Bytes>,
    writes: Vec<PendingWrite>,
}

/// The history of a channel: its writes, and the seed as an object of that one channel with the
/// types of its checkpoint.
#[derive(Debug)]
pub(super) struct Delta {
    writes: Vec<PendingWrite>,
    seed: Option<(Bytes, Option<Bytes>)>,
}

impl Outcome {
    /// What `get_tuple` gives.
    pub(super) fn tuple(tuple: Option<CheckpointTuple>) -> Self {
        Self::Tuple(tuple.map(|tuple| Box::new(Tuple::new(tuple))))
    }

    /// What `delta_channel_history` gives.
    pub(super) fn deltas(histories: BTreeMap<String, DeltaChannelHistory>) -> Self {
        let delta = |(channel, history): (String, DeltaChannelHistory)| {
            let DeltaChannelHistory {
                writes,
                seed,
                seed_checkpoint,
            } = history;
            let seed = seed.map(|seed| {
                let types = seed_checkpoint
                    .as_ref()
                    .and_then(|checkpoint| checkpoint.fields().get(VALUE_TYPES))
                    .map(|types| types.bytes().clone());
                let mut object = RawObject::new();
                object.insert(channel.as_str(), seed);
                (object.to_json().bytes().clone(), types)
            });
            (channel, Delta { writes, seed })
        };
        Self::Deltas(histories.into_iter().map(delta).collect())
    }

    /// The same as a Python object.
    pub(super) fn into_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        Ok(match self {
            Self::Done | Self::Tuple(None) => py.None().into_bound(py),
            Self::Flag(flag) => flag.into_pyobject(py)?.to_owned().into_any(),
            Self::Tuple(Some(tuple)) => tuple.into_python(py)?.into_any(),
            Self::Page(tuples, more) => {
                let page = PyList::empty(py);
                for tuple in tuples {
                    page.append(tuple.into_python(py)?)?;
                }
                (page, more).into_pyobject(py)?.into_any()
            }
            Self::Deltas(histories) => {
                let all = PyDict::new(py);
                for (channel, Delta { writes, seed }) in histories {
                    let seed = seed.map(|(values, types)| (text(py, &values), maybe(py, types)));
                    all.set_item(channel, (writes_list(py, writes)?, seed))?;
                }
                all.into_any()
            }
            Self::Threads(summaries, more) => {
                let page = PyList::empty(py);
                for summary in summaries {
                    page.append((
                        summary.thread_id.as_str(),
                        summary.checkpoints,
                        summary.newest.as_ref().map(AsRef::<str>::as_ref),
                        summary.ttl,
                    ))?;
                }
                (page, more).into_pyobject(py)?.into_any()
            }
        })
    }
}

impl Tuple {
    /// Takes a tuple apart.
    pub(super) fn new(tuple: CheckpointTuple) -> Self {
        let CheckpointTuple {
            config,
            checkpoint,
            metadata,
            parent_config,
            pending_writes,
        } = tuple;
        let mut members = Members::of(&checkpoint);
        Self {
            checkpoint_id: checkpoint.id().as_str().to_owned(),
            parent: parent_config
                .and_then(|parent| parent.checkpoint_id)
                .map(|id| id.as_str().to_owned()),
            values: members.take(VALUES),
            value_types: members.take(VALUE_TYPES),
            metadata_types: members.take(METADATA_TYPES),
            rest: members.rest(),
            metadata: metadata.to_json().bytes().clone(),
            namespace: config.namespace().as_str().to_owned(),
            thread_id: config.thread_id.as_str().to_owned(),
            writes: pending_writes,
        }
    }

    fn into_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
        (
            PyString::new(py, &self.thread_id),
            PyString::new(py, &self.namespace),
            PyString::new(py, &self.checkpoint_id),
            self.parent,
            text(py, &self.rest),
            maybe(py, self.values),
            maybe(py, self.value_types),
            text(py, &self.metadata),
            maybe(py, self.metadata_types),
            writes_list(py, self.writes)?,
        )
            .into_pyobject(py)
    }
}

/// The members of a checkpoint, of which some are taken out.
struct Members(RawObject);

impl Members {
    fn of(checkpoint: &Checkpoint) -> Self {
        Self(checkpoint.fields().clone())
    }

    fn take(&mut self, name: &str) -> Option<Bytes> {
        self.0.remove(name).map(|value| value.bytes().clone())
    }

    fn rest(self) -> Bytes {
        self.0.to_json().bytes().clone()
    }
}

/// The checkpoint that is made of a checkpoint's other members, its values, and their types.
pub(super) fn checkpoint(
    rest: Bytes,
    values: Bytes,
    value_types: Option<Bytes>,
    metadata_types: Option<Bytes>,
) -> Result<Checkpoint> {
    let mut fields = RawObject::parse(rest)?;
    fields.insert(VALUES, RawJson::parse(values)?);
    for (name, types) in [(VALUE_TYPES, value_types), (METADATA_TYPES, metadata_types)] {
        if let Some(types) = types {
            fields.insert(name, RawJson::parse(types)?);
        }
    }
    Checkpoint::from_fields(fields)
}

fn writes_list(py: Python<'_>, writes: Vec<PendingWrite>) -> PyResult<Bound<'_, PyList>> {
    let list = PyList::empty(py);
    for write in writes {
        let TypedValue {
            type_name,
            blob,
            hints,
        } = write.value;
        list.append((
            write.task_id.as_str(),
            write.channel,
            type_name,
            text(py, &blob),
            hints.map(|hints| PyBytes::new(py, hints.bytes())),
        ))?;
    }
    Ok(list)
}

fn text<'py>(py: Python<'py>, bytes: &Bytes) -> Bound<'py, PyBytes> {
    PyBytes::new(py, bytes)
}

fn maybe(py: Python<'_>, bytes: Option<Bytes>) -> Option<Bound<'_, PyBytes>> {
    bytes.map(|bytes| text(py, &bytes))
}
