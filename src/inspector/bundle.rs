//! The structure of a thread without its ids and values, to attach to a report of a bug.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use futures_util::TryStreamExt;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::failure::Failure;
use super::pages::{Page, or_failed};
use super::parameters::Parameters;
use super::session;
use super::site::{Site, Visit};
use crate::checkpoint::CheckpointTuple;
use crate::codec::{RawJson, RawObject};
use crate::config::CheckpointConfig;
use crate::id::ThreadId;
use crate::inspect::time::made;
use crate::options::ListOptions;
use crate::saver::CheckpointSaver;

/// How many checkpoints a bundle has; the newest.
const MAX_CHECKPOINTS: usize = 1_000;

/// How long checkpoints are read for a bundle.
const TIME: Duration = Duration::from_secs(20);

/// LangGraph's own values of the metadata `source`.
const SOURCES: [&str; 4] = ["input", "loop", "update", "fork"];

pub(super) async fn download(
    State(site): State<Site>,
    visit: Visit,
    parameters: Parameters,
) -> Page {
    let failed = or_failed(&site, &visit);
    let thread = parameters.thread(&visit.viewer).map_err(&failed)?;
    let bundle = bundle(&site, &thread).await.map_err(&failed)?;
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"thread-structure.json\"",
        ),
    ];
    Ok((headers, format!("{bundle:#}\n")).into_response())
}

async fn bundle(site: &Site, thread: &ThreadId) -> Result<Value, Failure> {
    let summary = site.summary(thread).await?;
    let redaction = Redaction::new();
    let begun = Instant::now();
    let config = CheckpointConfig::of_thread(thread.clone());
    let options = ListOptions::default().with_limit(MAX_CHECKPOINTS + 1);
    let mut list = site.saver.list(Some(&config), options);
    let (mut checkpoints, mut truncated) = (Vec::new(), false);
    let mut newest = None;
    while let Some(tuple) = list.try_next().await? {
        if checkpoints.len() == MAX_CHECKPOINTS || begun.elapsed() > TIME {
            truncated = true;
            break;
        }
        let first = *newest.get_or_insert(made(&tuple.checkpoint));
        checkpoints.push(redaction.checkpoint(&tuple, first));
    }
    let (layout, taken) = match site.diagnostics() {
        Some(diagnostics) => (
            Some(diagnostics.layout()),
            diagnostics.size_of(thread).await?,
        ),
        None => (None, None),
    };
    Ok(json!({
        "about": "The structure of a LangGraph thread. Ids are hashed with a key that was thrown away; there are no values. Names of channels, nodes and metadata are as they are.",
        "version": env!("CARGO_PKG_VERSION"),
        "layout": layout,
        "thread": redaction.id(thread.as_str()),
        "thread_id_bytes": thread.as_str().len(),
        "checkpoints_stored": summary.checkpoints,
        "ttl_seconds": summary.ttl.map(|ttl| ttl.as_secs()),
        "memory_bytes": taken.map(|taken| taken.bytes),
        "memory_is_estimated": taken.map(|taken| taken.estimated),
        "truncated": truncated,
        "checkpoints": checkpoints,
    }))
}

/// Hides ids: the same in one bundle, another in each.
struct Redaction(String);

impl Redaction {
    fn new() -> Self {
        Self(session::secret())
    }

    fn id(&self, id: &str) -> String {
        let hash = Sha256::new()
            .chain_update(self.0.as_bytes())
            .chain_update(id.as_bytes());
        session::hex(&hash.finalize()[..8])
    }

    /// A namespace with the names of its nodes, and the ids of tasks hidden.
    fn namespace(&self, namespace: &str) -> String {
        let levels = namespace
            .split('|')
            .map(|level| match level.split_once(':') {
                Some((node, task)) => format!("{node}:{}", self.id(task)),
                None => level.to_owned(),
            });
        levels.collect::<Vec<_>>().join("|")
    }

    fn checkpoint(&self, tuple: &CheckpointTuple, newest: Option<SystemTime>) -> Value {
        let checkpoint = &tuple.checkpoint;
        let fields = checkpoint.fields();
        let values = object(fields.get("channel_values"));
        let versions = object(fields.get("channel_versions"));
        let mut channels: BTreeMap<&str, Value> = BTreeMap::new();
        for (name, value) in values.iter() {
            channels.insert(
                name,
                json!({ "bytes": value.bytes().len(), "shape": shape(value), "version": versions.get(name).map(|one| self.version(one)) }),
            );
        }
        for (name, version) in versions.iter() {
            let lacking = json!({ "bytes": null, "version": self.version(version) });
            channels.entry(name).or_insert(lacking);
        }
        let seen = object(fields.get("versions_seen"));
        let parent = tuple.parent_config.as_ref();
        let parent = parent.and_then(|parent| parent.checkpoint_id.as_ref());
        let before = newest.zip(made(checkpoint));
        let before = before.and_then(|(newest, made)| newest.duration_since(made).ok());
        json!({
            "id": self.id(checkpoint.id().as_str()),
            "id_bytes": checkpoint.id().as_str().len(),
            "namespace": self.namespace(tuple.config.namespace().as_str()),
            "parent": parent.map(|parent| self.id(parent.as_str())),
            "seconds_before_the_newest": before.map(|before| before.as_secs_f64()),
            "fields": fields.iter().map(|(name, value)| (name.to_owned(), json!({ "bytes": value.bytes().len(), "shape": shape(value) }))).collect::<serde_json::Map<_, _>>(),
            "format": fields.get("v").filter(|v| is_number(v)).map(RawJson::as_str),
            "channels": channels,
            "nodes_seen": seen.iter().map(|(node, _)| node).collect::<Vec<_>>(),
            "metadata": self.metadata(tuple),
            "writes": self.writes(tuple),
        })
    }

    fn metadata(&self, tuple: &CheckpointTuple) -> serde_json::Map<String, Value> {
        let members = tuple.metadata.fields().iter();
        let members = members.map(|(name, value)| {
            let text = value.decode::<String>().ok();
            let shown = match (name, &text) {
                ("source", Some(source)) if SOURCES.contains(&source.as_str()) => json!(source),
                ("step", _) if is_number(value) => json!(value.as_str()),
                ("run_id", Some(run)) => json!(self.id(run)),
                _ => json!({ "bytes": value.bytes().len(), "shape": shape(value) }),
            };
            (name.to_owned(), shown)
        });
        members.collect()
    }

    fn writes(&self, tuple: &CheckpointTuple) -> Vec<Value> {
        let writes = tuple.pending_writes.iter();
        let writes = writes.map(|write| {
            json!({
                "task": self.id(write.task_id.as_str()),
                "path_bytes": write.task_path.len(),
                "idx": write.idx,
                "channel": write.channel,
                "type": write.value.type_name,
                "bytes": write.value.blob.len(),
            })
        });
        writes.collect()
    }

    /// The version of a channel: a number, or LangGraph's text of digits, as it is.
    fn version(&self, version: &RawJson) -> Value {
        match version.decode::<String>() {
            Ok(text)
                if text
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || byte == b'.') =>
            {
                json!(text)
            }
            Ok(text) => json!({ "hashed": self.id(&text), "bytes": text.len() }),
            Err(_) if is_number(version) => json!(version.as_str()),
            Err(_) => json!(shape(version)),
        }
    }
}

fn object(json: Option<&RawJson>) -> RawObject {
    json.and_then(|json| RawObject::parse(json.bytes().clone()).ok())
        .unwrap_or_default()
}

fn is_number(json: &RawJson) -> bool {
    matches!(json.bytes().first(), Some(b'-' | b'0'..=b'9'))
}

/// What a value is, without what it holds.
fn shape(json: &RawJson) -> String {
    match json.bytes().first() {
        Some(b'{') => match RawObject::parse(json.bytes().clone()) {
            Ok(members) => format!("object of {}", members.len()),
            Err(_) => "object".to_owned(),
        },
        Some(b'[') => match json.decode::<Vec<serde::de::IgnoredAny>>() {
            Ok(items) => format!("list of {}", items.len()),
            Err(_) => "list".to_owned(),
        },
        Some(b'"') => "string".to_owned(),
        Some(b't' | b'f') => "boolean".to_owned(),
        Some(b'n') => "null".to_owned(),
        _ => "number".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_the_same_in_one_bundle_alone() {
        let (one, other) = (Redaction::new(), Redaction::new());
        assert_eq!(one.id("a"), one.id("a"));
        assert_ne!(one.id("a"), one.id("b"));
        assert_ne!(one.id("a"), other.id("a"));
        let namespace = one.namespace("outer:secret|inner");
        assert!(namespace.starts_with("outer:") && namespace.ends_with("|inner"));
        assert!(!namespace.contains("secret"));
    }

    #[test]
    fn a_shape_tells_nothing_of_the_value() {
        for (json, wanted) in [
            (r#"{"secret":1,"b":[2]}"#, "object of 2"),
            (r#"["secret",2,3]"#, "list of 3"),
            (r#""secret""#, "string"),
            ("12345", "number"),
            ("true", "boolean"),
            ("null", "null"),
        ] {
            assert_eq!(shape(&RawJson::parse(json).unwrap()), wanted);
        }
    }
}
