//! Checkpoints, their metadata, and the writes of tasks.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::codec::{RawJson, RawObject};
use crate::config::CheckpointConfig;
use crate::error::{Error, Result};
use crate::id::{CheckpointId, TaskId};
use crate::version::ChannelVersion;

/// The state of a thread after a super-step, as LangGraph's `Checkpoint`.
///
/// It is kept as the JSON that it came as, parsed one level deep: documents of hundreds of
/// kilobytes pass through without being turned into a tree. Members that this crate does not
/// know are kept.
///
/// ```
/// use langgraph_checkpoint_redis::Checkpoint;
/// let checkpoint = Checkpoint::builder()
///     .channel("messages", 1, &["hello"])?
///     .build()?;
/// assert_eq!(checkpoint.channel_value::<Vec<String>>("messages")?.unwrap(), ["hello"]);
///
/// let same = Checkpoint::from_json(checkpoint.to_json().bytes().clone())?;
/// assert_eq!(same, checkpoint);
/// # Ok::<(), langgraph_checkpoint_redis::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    id: CheckpointId,
    fields: RawObject,
}

impl Checkpoint {
    /// A builder for callers that make checkpoints themselves.
    #[must_use]
    pub fn builder() -> CheckpointBuilder {
        CheckpointBuilder::default()
    }

    /// Takes a checkpoint as JSON text, in one pass and without copying it.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if the text is not a JSON object with an `id`, or if its
    /// `channel_values` are there and are no object.
    pub fn from_json(text: impl Into<Bytes>) -> Result<Self> {
        Self::from_fields(
            RawObject::parse(text).map_err(|error| in_field("the checkpoint", &error))?,
        )
    }

    /// Takes the members of a checkpoint.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] as [`Checkpoint::from_json`].
    pub fn from_fields(fields: RawObject) -> Result<Self> {
        let id = fields
            .get("id")
            .ok_or_else(|| Error::invalid("checkpoint.id", "it is missing"))?
            .decode::<String>()
            .map_err(|error| in_field("checkpoint.id", &error))?;
        let values = fields.get("channel_values").map(RawJson::bytes);
        if values.is_some_and(|values| values.first() != Some(&b'{')) {
            return Err(Error::invalid(
                "checkpoint.channel_values",
                "it is no object",
            ));
        }
        Ok(Self {
            id: CheckpointId::new(id)?,
            fields,
        })
    }

    /// The id: unique, and greater than those of the checkpoints before it.
    #[must_use]
    pub fn id(&self) -> &CheckpointId {
        &self.id
    }

    /// The members, as they are in JSON.
    #[must_use]
    pub fn fields(&self) -> &RawObject {
        &self.fields
    }

    /// The checkpoint as JSON text.
    #[must_use]
    pub fn to_json(&self) -> RawJson {
        self.fields.to_json()
    }

    /// When the checkpoint was made, in ISO 8601, if it says so.
    #[must_use]
    pub fn ts(&self) -> Option<String> {
        self.fields.get("ts")?.decode().ok()
    }

    /// The values of the channels, each as JSON text.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if they are no object.
    pub fn channel_values(&self) -> Result<RawObject> {
        match self.fields.get("channel_values") {
            Some(values) => RawObject::parse(values.bytes().clone())
                .map_err(|error| in_field("checkpoint.channel_values", &error)),
            None => Ok(RawObject::new()),
        }
    }

    /// The value of one channel, or `None` if it has none.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if the value is not a `T`.
    pub fn channel_value<T: serde::de::DeserializeOwned>(
        &self,
        channel: &str,
    ) -> Result<Option<T>> {
        let values = self.channel_values()?;
        values
            .get(channel)
            .map(|value| {
                value
                    .decode()
                    .map_err(|error| in_field(&format!("the channel `{channel}`"), &error))
            })
            .transpose()
    }

    /// The versions of the channels.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if they are not a map of versions.
    pub fn channel_versions(&self) -> Result<BTreeMap<String, ChannelVersion>> {
        self.field_or_default("channel_versions")
    }

    /// For each node, the versions of the channels that it has seen.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if they are not a map of maps of versions.
    pub fn versions_seen(&self) -> Result<BTreeMap<String, BTreeMap<String, ChannelVersion>>> {
        self.field_or_default("versions_seen")
    }

    fn field_or_default<T: serde::de::DeserializeOwned + Default>(&self, name: &str) -> Result<T> {
        match self.fields.get(name) {
            Some(value) => value
                .decode()
                .map_err(|error| in_field(&format!("checkpoint.{name}"), &error)),
            None => Ok(T::default()),
        }
    }
}

fn in_field(field: &str, error: &Error) -> Error {
    match error {
        Error::InvalidInput { reason, .. } => Error::invalid(field, reason.clone()),
        other => Error::invalid(field, other.to_string()),
    }
}

/// Makes a [`Checkpoint`].
#[derive(Debug, Clone, Default)]
pub struct CheckpointBuilder {
    id: Option<CheckpointId>,
    values: RawObject,
    versions: BTreeMap<String, ChannelVersion>,
    versions_seen: BTreeMap<String, BTreeMap<String, ChannelVersion>>,
}

impl CheckpointBuilder {
    /// The id. Default: a new UUIDv6.
    #[must_use]
    pub fn id(mut self, id: CheckpointId) -> Self {
        self.id = Some(id);
        self
    }

    /// Gives a channel a value and a version.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if the value has no JSON form.
    pub fn channel<T: Serialize + ?Sized>(
        mut self,
        channel: impl Into<String>,
        version: impl Into<ChannelVersion>,
        value: &T,
    ) -> Result<Self> {
        let channel = channel.into();
        self.values
            .insert(channel.as_str(), RawJson::encode(value)?);
        self.versions.insert(channel, version.into());
        Ok(self)
    }

    /// Says which versions a node has seen.
    #[must_use]
    pub fn seen(
        mut self,
        node: impl Into<String>,
        versions: BTreeMap<String, ChannelVersion>,
    ) -> Self {
        self.versions_seen.insert(node.into(), versions);
        self
    }

    /// The checkpoint, made now.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if a version has no JSON form (a float that is not finite).
    pub fn build(self) -> Result<Checkpoint> {
        let id = self.id.unwrap_or_else(CheckpointId::now_v6);
        let fields = [
            ("v", RawJson::encode(&4)?),
            ("ts", RawJson::encode(&jiff::Timestamp::now().to_string())?),
            ("id", RawJson::encode(id.as_str())?),
            ("channel_values", self.values.to_json()),
            ("channel_versions", RawJson::encode(&self.versions)?),
            ("versions_seen", RawJson::encode(&self.versions_seen)?),
            (
                "updated_channels",
                RawJson::encode(&self.versions.keys().collect::<Vec<_>>())?,
            ),
        ];
        Checkpoint::from_fields(fields.into_iter().collect())
    }
}

/// The metadata of a checkpoint: `source`, `step`, `parents`, `run_id`, and any other key.
///
/// ```
/// use langgraph_checkpoint_redis::CheckpointMetadata;
/// let metadata = CheckpointMetadata::new().with("source", "loop")?.with("step", &3)?;
/// assert_eq!(metadata.get::<i64>("step")?, Some(3));
/// # Ok::<(), langgraph_checkpoint_redis::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CheckpointMetadata(RawObject);

impl CheckpointMetadata {
    /// Metadata without keys.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes metadata as JSON text.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if the text is not a JSON object.
    pub fn from_json(text: impl Into<Bytes>) -> Result<Self> {
        RawObject::parse(text)
            .map(Self)
            .map_err(|error| in_field("the metadata", &error))
    }

    /// The same metadata with a key set.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if the value has no JSON form.
    pub fn with<T: Serialize + ?Sized>(mut self, key: &str, value: &T) -> Result<Self> {
        self.0.insert(key, RawJson::encode(value)?);
        Ok(self)
    }

    /// The value of a key, or `None` if it is not there.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if the value is not a `T`.
    pub fn get<'a, T: Deserialize<'a>>(&'a self, key: &str) -> Result<Option<T>> {
        self.0
            .get(key)
            .map(|value| {
                value
                    .decode()
                    .map_err(|error| in_field(&format!("metadata.{key}"), &error))
            })
            .transpose()
    }

    /// The keys and values, as they are in JSON.
    #[must_use]
    pub fn fields(&self) -> &RawObject {
        &self.0
    }

    /// The metadata as JSON text.
    #[must_use]
    pub fn to_json(&self) -> RawJson {
        self.0.to_json()
    }

    /// This metadata joined by that of the config, as LangGraph's `get_checkpoint_metadata`:
    /// what is here already stays, and of the config's only scalars are taken, without keys that
    /// start with `__` and without those that name the checkpoint itself.
    #[must_use]
    pub fn joined_by(&self, config: &CheckpointMetadata) -> Self {
        let mut joined = self.clone();
        for (key, value) in config.0.iter() {
            let scalar = !matches!(value.bytes().first(), Some(b'{' | b'[' | b'n'));
            if scalar
                && joined.0.get(key).is_none()
                && !key.starts_with("__")
                && !EXCLUDED_METADATA_KEYS.contains(&key)
            {
                joined.0.insert(key, value.clone());
            }
        }
        joined
    }
}

impl From<RawObject> for CheckpointMetadata {
    fn from(fields: RawObject) -> Self {
        Self(fields)
    }
}

/// The keys of a config that are not metadata (LangGraph's `EXCLUDED_METADATA_KEYS`).
const EXCLUDED_METADATA_KEYS: [&str; 9] = [
    "thread_id",
    "checkpoint_id",
    "checkpoint_ns",
    "checkpoint_map",
    "langgraph_step",
    "langgraph_node",
    "langgraph_triggers",
    "langgraph_path",
    "langgraph_checkpoint_ns",
];

/// A value as a serializer gave it: a type and bytes, as LangGraph's `dumps_typed`.
///
/// The saver keeps the bytes as they are and never looks into them.
#[derive(Clone, PartialEq, Eq)]
pub struct TypedValue {
    /// How the bytes are encoded: `json`, `msgpack`, `bytes`, `null`, …
    pub type_name: String,
    /// The bytes.
    pub blob: Bytes,
    /// What else the serializer needs to give the value back; readers that do not know it may
    /// leave it aside.
    pub hints: Option<RawJson>,
}

impl TypedValue {
    /// A value of a given type.
    #[must_use]
    pub fn new(type_name: impl Into<String>, blob: impl Into<Bytes>) -> Self {
        Self {
            type_name: type_name.into(),
            blob: blob.into(),
            hints: None,
        }
    }

    /// A value as JSON; `null` gets the type `null` and no bytes, as LangGraph has it.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if the value has no JSON form.
    ///
    /// ```
    /// use langgraph_checkpoint_redis::TypedValue;
    /// let value = TypedValue::json(&[1, 2])?;
    /// assert_eq!((value.type_name.as_str(), &value.blob[..]), ("json", &b"[1,2]"[..]));
    /// assert_eq!(value.decode::<Vec<i64>>()?, [1, 2]);
    /// # Ok::<(), langgraph_checkpoint_redis::Error>(())
    /// ```
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        let json = RawJson::encode(value)?;
        Ok(if json.as_str() == "null" {
            Self::new("null", Bytes::new())
        } else {
            Self::new("json", json.bytes().clone())
        })
    }

    /// Decodes a value of type `json` or `null`.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if it is of another type, or not a `T`.
    pub fn decode<'a, T: Deserialize<'a>>(&'a self) -> Result<T> {
        let text = match self.type_name.as_str() {
            "json" => &self.blob[..],
            "null" => b"null",
            other => {
                return Err(Error::invalid(
                    "the value",
                    format!("it is of type `{other}`, not JSON"),
                ));
            }
        };
        serde_json::from_slice(text).map_err(|error| Error::invalid("the value", error.to_string()))
    }
}

impl fmt::Debug for TypedValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{:?}", self.type_name, self.blob)
    }
}

/// A write that a task makes to a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelWrite {
    /// The channel.
    pub channel: String,
    /// The value.
    pub value: TypedValue,
}

impl ChannelWrite {
    /// A write of a value to a channel.
    #[must_use]
    pub fn new(channel: impl Into<String>, value: TypedValue) -> Self {
        Self {
            channel: channel.into(),
            value,
        }
    }
}

/// The index under which a write is stored: that of its channel if the channel is special, else
/// its position in the call (LangGraph's `WRITES_IDX_MAP`).
///
/// ```
/// use langgraph_checkpoint_redis::write_index;
/// assert_eq!(write_index("messages", 2), 2);
/// assert_eq!(write_index("__interrupt__", 2), -3);
/// ```
#[must_use]
pub fn write_index(channel: &str, position: usize) -> i64 {
    special_index(channel).unwrap_or(i64::try_from(position).unwrap_or(i64::MAX))
}

/// The index of a special channel, `None` for a regular one.
pub(crate) fn special_index(channel: &str) -> Option<i64> {
    match channel {
        "__error__" => Some(-1),
        "__scheduled__" => Some(-2),
        "__interrupt__" => Some(-3),
        "__resume__" => Some(-4),
        _ => None,
    }
}

/// A stored write of a task, not yet part of a checkpoint's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingWrite {
    /// The task.
    pub task_id: TaskId,
    /// The path of the task in the graph; `""` if it was not given.
    pub task_path: String,
    /// The position of the write in its task; negative for special channels.
    pub idx: i64,
    /// The channel.
    pub channel: String,
    /// The value.
    pub value: TypedValue,
}

impl PendingWrite {
    /// LangGraph's `writes_sort_key`: the order in which a super-step applies its writes.
    pub(crate) fn sort_key(&self) -> (&str, &TaskId, i64) {
        (&self.task_path, &self.task_id, self.idx)
    }
}

/// A checkpoint with what belongs to it, as LangGraph's `CheckpointTuple`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointTuple {
    /// What names the checkpoint: thread, namespace and id.
    pub config: CheckpointConfig,
    /// The state.
    pub checkpoint: Checkpoint,
    /// The metadata.
    pub metadata: CheckpointMetadata,
    /// What names the parent, if there is one.
    pub parent_config: Option<CheckpointConfig>,
    /// The writes made since, in the order of (task path, task id, idx).
    pub pending_writes: Vec<PendingWrite>,
}

/// What one channel was given along the ancestors of a checkpoint, as LangGraph's
/// `DeltaChannelHistory`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeltaChannelHistory {
    /// The writes, oldest first.
    pub writes: Vec<PendingWrite>,
    /// The value at the nearest ancestor that has one; `None` if none has.
    pub seed: Option<RawJson>,
    /// The ancestor that the seed was read from, for callers that keep hints beside its values.
    pub seed_checkpoint: Option<Checkpoint>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_without_an_id_is_refused_by_name() {
        for (text, field) in [
            ("{}", "checkpoint.id"),
            (r#"{"id":1}"#, "checkpoint.id"),
            (r#"{"id":""}"#, "checkpoint_id"),
            (
                r#"{"id":"1","channel_values":[]}"#,
                "checkpoint.channel_values",
            ),
            ("[]", "the checkpoint"),
        ] {
            let error = Checkpoint::from_json(text).unwrap_err().to_string();
            assert!(error.starts_with(field), "{text}: {error}");
        }
    }

    #[test]
    fn unknown_members_and_their_order_are_kept() {
        let text = r#"{"id":"1","zebra":[1.0, 2],"ant":{}}"#;
        let checkpoint = Checkpoint::from_json(text).unwrap();
        assert_eq!(checkpoint.to_json().as_str(), text);
    }

    #[test]
    fn the_config_adds_scalars_but_replaces_nothing() {
        let own = CheckpointMetadata::from_json(r#"{"source":"loop","__own":1}"#).unwrap();
        let config = CheckpointMetadata::from_json(
            r#"{"source":"x","user":"u","n":1,"none":null,"list":[1],"__hidden":1,"thread_id":"t"}"#,
        )
        .unwrap();
        assert_eq!(
            own.joined_by(&config).to_json().as_str(),
            r#"{"source":"loop","__own":1,"user":"u","n":1}"#
        );
    }
}
