//! What real LangGraph programs stored, and what LangGraph said of it: see
//! `tests/golden/states/README.md`.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;

use crate::checkpoint::{
    ChannelWrite, Checkpoint, CheckpointMetadata, CheckpointTuple, PendingWrite, TypedValue,
};
use crate::codec::RawJson;
use crate::config::CheckpointConfig;
use crate::id::{CheckpointId, TaskId};
use crate::memory::MemorySaver;
use crate::options::{PutOptions, PutWritesOptions};
use crate::saver::CheckpointSaver;

/// A thread as it was recorded.
#[derive(Deserialize)]
pub(crate) struct Recorded {
    pub(crate) thread_id: String,
    pub(crate) langgraph: Said,
    tuples: Vec<Stored>,
}

/// What `get_state` and `get_state_history` said of the thread.
#[derive(Deserialize)]
pub(crate) struct Said {
    pub(crate) next: Vec<String>,
    pub(crate) interrupts: Vec<Asked>,
    pub(crate) errors: Vec<(String, String)>,
    /// The nodes that came after each root checkpoint.
    pub(crate) history: Vec<(String, Vec<String>)>,
}

#[derive(Deserialize)]
pub(crate) struct Asked {
    pub(crate) id: String,
    pub(crate) value: RawJson,
}

#[derive(Deserialize)]
struct Stored {
    checkpoint_ns: String,
    parent: Option<String>,
    checkpoint: RawJson,
    metadata: RawJson,
    writes: Vec<Write>,
}

#[derive(Deserialize)]
struct Write {
    task_id: String,
    task_path: String,
    idx: i64,
    channel: String,
    #[serde(rename = "type")]
    type_name: String,
    blob: String,
}

impl Recorded {
    /// All that was recorded, by name.
    pub(crate) fn all() -> BTreeMap<String, Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/states");
        let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap());
        files
            .filter_map(|file| {
                let path = file.path();
                let name = path.file_stem()?.to_str()?.to_owned();
                let json = path.extension().is_some_and(|end| end == "json");
                json.then(|| {
                    let text = std::fs::read(&path).unwrap();
                    (name, serde_json::from_slice(&text).unwrap())
                })
            })
            .collect()
    }

    /// What was recorded under a name.
    pub(crate) fn load(name: &str) -> Self {
        Self::all().remove(name).unwrap()
    }

    /// The checkpoints of all namespaces, newest first.
    pub(crate) fn tuples(&self) -> Vec<CheckpointTuple> {
        let tuple = |stored: &Stored| {
            let checkpoint = Checkpoint::from_json(stored.checkpoint.bytes().clone()).unwrap();
            let thread = CheckpointConfig::new(&self.thread_id).unwrap();
            let namespace = thread.with_namespace(&stored.checkpoint_ns).unwrap();
            let parent = stored.parent.as_ref().map(|parent| {
                let parent = CheckpointId::new(parent).unwrap();
                namespace.clone().with_checkpoint(parent)
            });
            CheckpointTuple {
                config: namespace.with_checkpoint(checkpoint.id().clone()),
                checkpoint,
                metadata: CheckpointMetadata::from_json(stored.metadata.bytes().clone()).unwrap(),
                parent_config: parent,
                pending_writes: stored.writes.iter().map(Write::pending).collect(),
            }
        };
        let mut tuples: Vec<_> = self.tuples.iter().map(tuple).collect();
        tuples.sort_by(|one, other| other.checkpoint.id().cmp(one.checkpoint.id()));
        tuples
    }

    /// The root checkpoints, newest first.
    pub(crate) fn root(&self) -> Vec<CheckpointTuple> {
        let mut tuples = self.tuples();
        tuples.retain(|tuple| tuple.config.namespace().is_root());
        tuples
    }

    /// A saver that holds the thread.
    pub(crate) async fn saver(&self) -> MemorySaver {
        let saver = MemorySaver::new();
        for tuple in self.tuples().iter().rev() {
            let mut config = tuple.config.clone();
            config.checkpoint_id = tuple
                .parent_config
                .as_ref()
                .and_then(|parent| parent.checkpoint_id.clone());
            let options = PutOptions::default();
            let (checkpoint, metadata) = (&tuple.checkpoint, &tuple.metadata);
            saver
                .put(&config, checkpoint, metadata, &options)
                .await
                .unwrap();
            for write in &tuple.pending_writes {
                let options = PutWritesOptions::default().with_task_path(&write.task_path);
                let writes = [ChannelWrite::new(&write.channel, write.value.clone())];
                saver
                    .put_writes(&tuple.config, &writes, &write.task_id, &options)
                    .await
                    .unwrap();
            }
        }
        saver
    }
}

impl Write {
    fn pending(&self) -> PendingWrite {
        PendingWrite {
            task_id: TaskId::new(&self.task_id).unwrap(),
            task_path: self.task_path.clone(),
            idx: self.idx,
            channel: self.channel.clone(),
            value: TypedValue::new(self.type_name.as_str(), BASE64.decode(&self.blob).unwrap()),
        }
    }
}
