//! Dumps of the Python saver's keys.

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::server::Server;

/// What a key holds.
pub enum Kind {
    Json(String),
    String(String),
    SortedSet(Vec<(String, String)>),
}

/// The keys of one sample.
pub struct Case {
    pub keys: Vec<(String, Kind)>,
}

impl Case {
    pub fn load(name: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden/wire-format")
            .join(name);
        let read = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap();
        let keys = read("keys.tsv")
            .lines()
            .map(|line| {
                let fields: Vec<_> = line.split('\t').collect();
                let content = read(fields[0]);
                let kind = match fields[2] {
                    "ReJSON-RL" => Kind::Json(content),
                    "string" => Kind::String(content.trim_end_matches('\n').to_owned()),
                    "zset" => Kind::SortedSet(
                        content
                            .lines()
                            .map(|line| line.split_once('\t').unwrap())
                            .map(|(member, score)| (member.to_owned(), score.to_owned()))
                            .collect(),
                    ),
                    other => panic!("{other} is not expected"),
                };
                (fields[1].to_owned(), kind)
            })
            .collect();
        Self { keys }
    }

    /// Puts the keys into a server.
    pub async fn store(&self, server: &mut Server) {
        for (key, kind) in &self.keys {
            match kind {
                Kind::Json(document) => server.run(&["JSON.SET", key, "$", document]).await,
                Kind::String(text) => server.run(&["SET", key, text]).await,
                Kind::SortedSet(members) => {
                    for (member, score) in members {
                        server.run(&["ZADD", key, score, member]).await;
                    }
                }
            }
        }
    }

    fn documents(&self) -> impl Iterator<Item = Value> {
        self.keys.iter().filter_map(|(_, kind)| match kind {
            Kind::Json(document) => serde_json::from_str(document).ok(),
            _ => None,
        })
    }

    /// The checkpoint documents.
    pub fn checkpoints(&self) -> Vec<Value> {
        self.documents()
            .filter(|document| document.get("checkpoint").is_some())
            .collect()
    }

    /// The write documents by thread, namespace and checkpoint.
    pub fn writes_by_checkpoint(&self) -> BTreeMap<(String, String, String), Vec<Value>> {
        let mut writes: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for document in self
            .documents()
            .filter(|document| document.get("blob").is_some())
        {
            writes
                .entry(identity(&document))
                .or_default()
                .push(document);
        }
        writes
    }
}

/// The state as LangGraph gave it to the saver.
pub fn state_of(document: &Value) -> Value {
    let mut state = document["checkpoint"].clone();
    let fields = state.as_object_mut().unwrap();
    fields.remove("type");
    fields.remove("pending_sends");
    state
}

/// The thread, namespace and checkpoint that a document names.
pub fn identity(document: &Value) -> (String, String, String) {
    let text = |field: &str| document[field].as_str().unwrap().to_owned();
    (
        text("thread_id"),
        text("checkpoint_ns"),
        text("checkpoint_id"),
    )
}

/// Makes the indexes as the Python saver makes them.
pub async fn create_python_indexes(server: &mut Server) {
    let tag = ["TAG", "SEPARATOR", ","];
    let tags = |names: &[&'static str]| -> Vec<String> {
        names
            .iter()
            .flat_map(|name| {
                [format!("$.{name}"), "AS".to_owned(), (*name).to_owned()]
                    .into_iter()
                    .chain(tag.map(str::to_owned))
            })
            .collect()
    };
    for (prefix, fields) in [
        (
            "checkpoint",
            tags(&[
                "thread_id",
                "run_id",
                "checkpoint_ns",
                "checkpoint_id",
                "parent_checkpoint_id",
                "source",
                "has_writes",
            ]),
        ),
        (
            "checkpoint_write",
            tags(&[
                "thread_id",
                "checkpoint_ns",
                "checkpoint_id",
                "task_id",
                "channel",
                "type",
            ]),
        ),
    ] {
        let start = format!("{prefix}:");
        let mut command = vec![
            "FT.CREATE",
            prefix,
            "ON",
            "JSON",
            "PREFIX",
            "1",
            &start,
            "SCORE",
            "1.0",
            "SCHEMA",
        ];
        command.extend(fields.iter().map(String::as_str));
        server.run(&command).await;
    }
}

pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub fn decode_base64(text: &str) -> Vec<u8> {
    STANDARD.decode(text).unwrap()
}
