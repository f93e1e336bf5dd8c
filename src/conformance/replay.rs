//! Recorded calls of LangGraph, made again and compared.
//!
//! A trace has a call a line, as JSON: the method as `op`, its arguments, and under `returns` what
//! the saver answered then. Values of writes are `{"type": …, "blob": base64}`.
//!
//! ```
//! use langgraph_checkpoint_redis::MemorySaver;
//! use langgraph_checkpoint_redis::conformance::replay::Trace;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> langgraph_checkpoint_redis::Result<()> {
//! let trace = Trace::parse(r#"{"op": "get_tuple", "config": {"thread_id": "t"}, "returns": null}"#)?;
//! let replay = trace.replay(&MemorySaver::new()).await;
//! assert_eq!(replay.calls, 1);
//! assert!(replay.differences.is_empty());
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeSet;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};

use super::exact;
use crate::checkpoint::{
    ChannelWrite, Checkpoint, CheckpointMetadata, CheckpointTuple, TypedValue,
};
use crate::codec::{RawJson, RawObject};
use crate::config::CheckpointConfig;
use crate::error::{Error, Result};
use crate::filter::MetadataFilter;
use crate::id::{CheckpointId, TaskId, ThreadId};
use crate::options::{DeleteOptions, ListOptions, PutOptions, PutWritesOptions};
use crate::saver::CheckpointSaver;

/// Recorded calls.
#[derive(Debug, Clone)]
pub struct Trace {
    calls: Vec<(usize, Call)>,
}

/// The result of replaying a trace.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Replay {
    /// How many calls were made.
    pub calls: usize,
    /// The calls whose results differ from the recorded ones.
    pub differences: Vec<Difference>,
}

/// A call whose result differs from the recorded one.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Difference {
    /// The line of the call in its trace, from 1.
    pub line: usize,
    /// The method.
    pub op: &'static str,
    /// What is different, with its path in the result.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}, {}: {}", self.line, self.op, self.what)
    }
}

impl Trace {
    /// Reads a trace.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] with the number of the line that is no call.
    pub fn parse(text: &str) -> Result<Self> {
        let mut calls = Vec::new();
        for (position, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let call = serde_json::from_str(line).map_err(|error| {
                Error::invalid(
                    format!("line {} of the trace", position + 1),
                    format!("it is no recorded call: {error}"),
                )
            })?;
            calls.push((position + 1, call));
        }
        Ok(Self { calls })
    }

    /// Makes the calls on a saver, one after the other, and compares each answer: JSON by meaning
    /// and to the last digit, listed checkpoints and pending writes in their order.
    ///
    /// A list of several namespaces is compared newest first, as it is promised here; LangGraph's
    /// own memory saver, which traces are recorded with, goes namespace by namespace. The saver
    /// must hold nothing of the trace's threads, and nothing at all if it lists every thread.
    pub async fn replay(&self, saver: &dyn CheckpointSaver) -> Replay {
        let mut replay = Replay::default();
        for (line, call) in &self.calls {
            replay.calls += 1;
            let what = match call.replay(saver).await {
                Ok(difference) => difference,
                Err(error) => Some(format!("it failed: {error}")),
            };
            replay.differences.extend(what.map(|what| Difference {
                line: *line,
                op: call.op.name(),
                what,
            }));
        }
        replay
    }

    /// Makes the calls of the trace that read on two savers and compares their answers with each
    /// other: for stores of which one should hold what the other does.
    pub async fn compare(&self, one: &dyn CheckpointSaver, other: &dyn CheckpointSaver) -> Replay {
        let mut replay = Replay::default();
        for (line, call) in &self.calls {
            if !matches!(call.op, Op::GetTuple | Op::List) {
                continue;
            }
            replay.calls += 1;
            let what = match (call.answer(one).await, call.answer(other).await) {
                (Ok(one), Ok(other)) => difference(&one, &other),
                (Err(error), _) | (_, Err(error)) => Some(format!("it failed: {error}")),
            };
            replay.differences.extend(what.map(|what| Difference {
                line: *line,
                op: call.op.name(),
                what,
            }));
        }
        replay
    }

    /// Deletes the threads of the trace.
    ///
    /// # Errors
    /// As [`CheckpointSaver::delete_thread`].
    pub async fn clean_up(&self, saver: &dyn CheckpointSaver) -> Result<()> {
        let threads: BTreeSet<&str> = self
            .calls
            .iter()
            .filter_map(|(_, call)| call.thread_id())
            .collect();
        for thread_id in threads {
            saver
                .delete_thread(&ThreadId::new(thread_id)?, &DeleteOptions::default())
                .await?;
        }
        Ok(())
    }
}

/// A call as it was recorded. One struct holds the members of every method: serde reads an enum
/// by way of a buffer that would round numbers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    op: Op,
    config: Option<Config>,
    config_metadata: Option<RawJson>,
    checkpoint: Option<RawJson>,
    metadata: Option<RawJson>,
    #[serde(rename = "new_versions")]
    _new_versions: Option<RawJson>,
    writes: Option<Vec<(String, Typed)>>,
    task_id: Option<String>,
    task_path: Option<String>,
    filter: Option<RawJson>,
    before: Option<Config>,
    limit: Option<usize>,
    thread_id: Option<String>,
    returns: Option<RawJson>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Op {
    Put,
    PutWrites,
    GetTuple,
    List,
    DeleteThread,
}

impl Op {
    fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::PutWrites => "put_writes",
            Self::GetTuple => "get_tuple",
            Self::List => "list",
            Self::DeleteThread => "delete_thread",
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    thread_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint_ns: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint_id: Option<String>,
}

impl Config {
    fn read(&self) -> Result<CheckpointConfig> {
        let mut config = CheckpointConfig::new(&self.thread_id)?;
        if let Some(namespace) = &self.checkpoint_ns {
            config = config.with_namespace(namespace)?;
        }
        if let Some(checkpoint_id) = &self.checkpoint_id {
            config = config.with_checkpoint(CheckpointId::new(checkpoint_id)?);
        }
        Ok(config)
    }

    fn of(config: &CheckpointConfig) -> Self {
        Self {
            thread_id: config.thread_id.to_string(),
            checkpoint_ns: config.checkpoint_ns.as_ref().map(ToString::to_string),
            checkpoint_id: config.checkpoint_id.as_ref().map(ToString::to_string),
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Typed {
    #[serde(rename = "type")]
    type_name: String,
    blob: String,
}

impl Typed {
    fn read(&self) -> Result<TypedValue> {
        let blob = BASE64
            .decode(&self.blob)
            .map_err(|error| Error::invalid("the blob of a write", error.to_string()))?;
        Ok(TypedValue::new(&self.type_name, blob))
    }

    fn of(value: &TypedValue) -> Self {
        Self {
            type_name: value.type_name.clone(),
            blob: BASE64.encode(&value.blob),
        }
    }
}

/// A member that the method needs.
fn needed<'a, T>(member: Option<&'a T>, name: &str) -> Result<&'a T> {
    member.ok_or_else(|| Error::invalid(format!("the call's `{name}`"), "it is missing"))
}

impl Call {
    fn thread_id(&self) -> Option<&str> {
        let of_config = self.config.as_ref().map(|config| config.thread_id.as_str());
        of_config.or(self.thread_id.as_deref())
    }

    /// Makes the call, and returns how the result differs.
    async fn replay(&self, saver: &dyn CheckpointSaver) -> Result<Option<String>> {
        let config = self.config.as_ref().map(Config::read).transpose()?;
        match self.op {
            Op::Put => {
                self.put(saver, needed(config.as_ref(), "config")?.clone())
                    .await
            }
            Op::PutWrites => {
                self.put_writes(saver, needed(config.as_ref(), "config")?)
                    .await?;
                Ok(None)
            }
            Op::GetTuple => {
                let null = RawJson::encode(&())?;
                Ok(difference(
                    self.returns.as_ref().unwrap_or(&null),
                    &self.answer(saver).await?,
                ))
            }
            Op::List => self.list(saver, config.as_ref()).await,
            Op::DeleteThread => {
                let thread_id = ThreadId::new(needed(self.thread_id.as_ref(), "thread_id")?)?;
                saver
                    .delete_thread(&thread_id, &DeleteOptions::default())
                    .await?;
                Ok(None)
            }
        }
    }

    async fn put(
        &self,
        saver: &dyn CheckpointSaver,
        mut config: CheckpointConfig,
    ) -> Result<Option<String>> {
        if let Some(metadata) = &self.config_metadata {
            config.metadata = CheckpointMetadata::from_json(metadata.bytes().clone())?;
        }
        let text = needed(self.checkpoint.as_ref(), "checkpoint")?
            .bytes()
            .clone();
        let checkpoint = Checkpoint::from_json(text)?;
        let text = needed(self.metadata.as_ref(), "metadata")?.bytes().clone();
        let metadata = CheckpointMetadata::from_json(text)?;
        let stored = saver
            .put(&config, &checkpoint, &metadata, &PutOptions::default())
            .await?;
        let expected = needed(self.returns.as_ref(), "returns")?;
        Ok(difference(
            expected,
            &RawJson::encode(&Config::of(&stored))?,
        ))
    }

    async fn put_writes(
        &self,
        saver: &dyn CheckpointSaver,
        config: &CheckpointConfig,
    ) -> Result<()> {
        let writes: Vec<ChannelWrite> = needed(self.writes.as_ref(), "writes")?
            .iter()
            .map(|(channel, value)| Ok(ChannelWrite::new(channel, value.read()?)))
            .collect::<Result<_>>()?;
        let task_id = TaskId::new(needed(self.task_id.as_ref(), "task_id")?)?;
        let options = PutWritesOptions::default()
            .with_task_path(self.task_path.as_deref().unwrap_or_default());
        saver.put_writes(config, &writes, &task_id, &options).await
    }

    async fn list(
        &self,
        saver: &dyn CheckpointSaver,
        config: Option<&CheckpointConfig>,
    ) -> Result<Option<String>> {
        let found = self.listed(saver, config).await?;
        let mut expected: Vec<RawJson> = needed(self.returns.as_ref(), "returns")?.decode()?;
        if config.is_none_or(|config| config.checkpoint_ns.is_none()) {
            expected.sort_by_cached_key(|tuple| std::cmp::Reverse(checkpoint_id(tuple)));
        }
        Ok(difference(
            &RawJson::encode(&expected)?,
            &RawJson::encode(&found)?,
        ))
    }

    /// What the saver lists, as it is recorded.
    async fn listed(
        &self,
        saver: &dyn CheckpointSaver,
        config: Option<&CheckpointConfig>,
    ) -> Result<Vec<RawJson>> {
        let mut options = ListOptions::default();
        if let Some(filter) = &self.filter {
            options.filter = MetadataFilter::from_json(filter.bytes().clone())?;
        }
        if let Some(before) = &self.before {
            options = options.with_before_config(&before.read()?);
        }
        options.limit = self.limit;
        let found: Vec<CheckpointTuple> = saver.list(config, options).try_collect().await?;
        found.iter().map(recorded).collect()
    }

    /// What a call that reads returns, as it is recorded.
    async fn answer(&self, saver: &dyn CheckpointSaver) -> Result<RawJson> {
        let config = self.config.as_ref().map(Config::read).transpose()?;
        if let Op::List = self.op {
            return RawJson::encode(&self.listed(saver, config.as_ref()).await?);
        }
        let found = saver.get_tuple(needed(config.as_ref(), "config")?).await?;
        match &found {
            Some(found) => recorded(found),
            None => RawJson::encode(&()),
        }
    }
}

/// The id of a recorded tuple.
fn checkpoint_id(tuple: &RawJson) -> Option<String> {
    let tuple: RawObject = tuple.decode().ok()?;
    tuple.get("config")?.decode::<Config>().ok()?.checkpoint_id
}

/// A tuple as it is recorded.
fn recorded(tuple: &CheckpointTuple) -> Result<RawJson> {
    let writes: Vec<(&str, &str, Typed)> = tuple
        .pending_writes
        .iter()
        .map(|write| {
            (
                write.task_id.as_str(),
                write.channel.as_str(),
                Typed::of(&write.value),
            )
        })
        .collect();
    let members: RawObject = [
        ("config", RawJson::encode(&Config::of(&tuple.config))?),
        ("checkpoint", tuple.checkpoint.to_json()),
        ("metadata", tuple.metadata.to_json()),
        (
            "parent_config",
            RawJson::encode(&tuple.parent_config.as_ref().map(Config::of))?,
        ),
        ("pending_writes", RawJson::encode(&writes)?),
    ]
    .into_iter()
    .collect();
    Ok(members.to_json())
}

fn difference(expected: &RawJson, found: &RawJson) -> Option<String> {
    exact::difference(expected.as_str(), found.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemorySaver;

    #[tokio::test]
    async fn a_different_answer_is_reported_with_its_line_and_path() {
        let trace = Trace::parse(
            r#"{"op":"put","config":{"thread_id":"t"},"checkpoint":{"id":"1","n":1.0},"metadata":{},"returns":{"thread_id":"t","checkpoint_ns":"","checkpoint_id":"1"}}

{"op":"get_tuple","config":{"thread_id":"t"},"returns":{"config":{"thread_id":"t","checkpoint_ns":"","checkpoint_id":"1"},"checkpoint":{"id":"1","n":1},"metadata":{},"parent_config":null,"pending_writes":[]}}
{"op":"put_writes","config":{"thread_id":"t"},"writes":[],"task_id":"a"}"#,
        )
        .unwrap();
        let saver = MemorySaver::new();
        let replay = trace.replay(&saver).await;
        let shown: Vec<String> = replay.differences.iter().map(ToString::to_string).collect();
        assert_eq!(replay.calls, 3);
        assert_eq!(shown.len(), 2, "{shown:?}");
        assert_eq!(
            shown[0],
            "line 3, get_tuple: $.checkpoint.n should be 1, but is 1.0"
        );
        assert!(shown[1].starts_with("line 4, put_writes: it failed: config.checkpoint_id"));
        trace.clean_up(&saver).await.unwrap();
        assert_eq!(
            saver
                .list(None, ListOptions::default())
                .try_collect::<Vec<_>>()
                .await
                .unwrap(),
            []
        );
    }

    #[test]
    fn a_line_that_is_no_call_is_refused_with_its_number() {
        for line in [
            "{",
            "[]",
            r#"{"op":"merge"}"#,
            r#"{"op":"put","unknown":1}"#,
        ] {
            let error = Trace::parse(&format!("\n{line}")).unwrap_err().to_string();
            assert!(error.starts_with("line 2 of the trace"), "{error}");
        }
    }
}
