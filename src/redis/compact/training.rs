//! Makes the dictionary of [`compress`](super::compress) from recorded runs of LangGraph and from
//! made conversations.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde_json::Value as Json;

use super::growth::{Conversation, Step, is_leaf};
use super::value::Roots;
use super::*;
use crate::checkpoint::{Checkpoint, CheckpointMetadata, PendingWrite, TypedValue};
use crate::id::{CheckpointId, CheckpointNamespace, TaskId, ThreadId};
use crate::redis::keys::CheckpointRef;

/// How many bytes the dictionary has: twice as many save one in a hundred more.
const SIZE: usize = 4096;

/// The texts that are compressed: of heads, records and leaves.
struct Samples {
    codec: Codec,
    thread: ThreadId,
    texts: Vec<Vec<u8>>,
}

impl Samples {
    fn head(
        &mut self,
        parent: Option<&CheckpointId>,
        checkpoint: &Checkpoint,
        metadata: &CheckpointMetadata,
    ) {
        let thread = self.codec.of_thread(&self.thread);
        let root = CheckpointNamespace::root();
        let at = CheckpointRef::new(&self.thread, &root, checkpoint.id());
        let encoded = thread
            .encode_head(&at, parent, checkpoint, metadata, Sending::New)
            .unwrap();
        let head = thread.decode_head(&at, &encoded.head).unwrap();
        let body = head.body(checkpoint.id(), &mut Roots::default());
        self.texts.push(body.to_vec());
        self.texts.extend(leaves(&encoded.parts));
        thread.remember(encoded.parts);
    }

    fn writes(&mut self, checkpoint_id: &CheckpointId, writes: &[PendingWrite]) {
        let thread = self.codec.of_thread(&self.thread);
        let at = CheckpointRef::new(&self.thread, &CheckpointNamespace::root(), checkpoint_id);
        let encoded = thread.encode_writes(&at, writes, Sending::New);
        for (write, record) in writes.iter().zip(&encoded.records) {
            let place = WritePlace {
                namespace: &at.namespace,
                checkpoint_id,
                task_id: &write.task_id,
                idx: write.idx,
            };
            let record = thread.decode_write(&place, record).unwrap();
            self.texts.push(record.body(&mut Roots::default()).to_vec());
        }
        self.texts.extend(leaves(&encoded.parts));
        thread.remember(encoded.parts);
    }

    /// A call of a recorded run.
    fn call(&mut self, call: &Json) {
        let id = |id: &Json| id.as_str().map(|id| CheckpointId::new(id).unwrap());
        let parent = id(&call["config"]["checkpoint_id"]);
        let json = |name: &str| call[name].to_string();
        match call["op"].as_str() {
            Some("put") => {
                let metadata = CheckpointMetadata::from_json(json("metadata")).unwrap();
                let config = CheckpointMetadata::from_json(json("config_metadata")).unwrap();
                let checkpoint = Checkpoint::from_json(json("checkpoint")).unwrap();
                self.head(parent.as_ref(), &checkpoint, &metadata.joined_by(&config));
            }
            Some("put_writes") => {
                let writes = call["writes"].as_array().unwrap();
                let writes = (0..).zip(writes).map(|(idx, write)| {
                    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
                    let blob = BASE64.decode(text(&write[1]["blob"])).unwrap();
                    PendingWrite {
                        task_id: TaskId::new(text(&call["task_id"])).unwrap(),
                        task_path: text(&call["task_path"]),
                        idx,
                        channel: text(&write[0]),
                        value: TypedValue::new(text(&write[1]["type"]), Bytes::from(blob)),
                    }
                });
                self.writes(&parent.unwrap(), &writes.collect::<Vec<_>>());
            }
            _ => {}
        }
    }
}

/// The texts of leaves, with little of what people and models say: it has nothing in common with
/// what others say.
fn leaves(parts: &NewParts) -> Vec<Vec<u8>> {
    let leaf = |(_, stored): &(_, Bytes)| {
        let text = compress::unpack(stored, 1 << 20).unwrap();
        let text = String::from_utf8(text.to_vec()).unwrap();
        let mut shortened = String::new();
        let mut rest = &*text;
        while let Some(start) = rest.find("content\":\"") {
            let (before, content) = rest.split_at(start + 10);
            let end = content.find('"').unwrap_or(content.len());
            shortened.push_str(before);
            shortened.extend(content[..end].chars().take(60));
            rest = &content[end..];
        }
        (shortened + rest).into_bytes()
    };
    parts
        .stored
        .iter()
        .filter(|(_, part)| is_leaf(part))
        .map(leaf)
        .collect()
}

#[test]
#[ignore = "it replaces the dictionary, which belongs to the format once a version with it is out"]
fn the_dictionary_is_made_from_recorded_runs() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut samples = Samples {
        codec: growth::codec(),
        thread: ThreadId::new("thread").unwrap(),
        texts: Vec::new(),
    };
    for run in std::fs::read_dir(folder.join("tests/golden/traces")).unwrap() {
        let run = run.unwrap().path();
        samples.thread = ThreadId::new(run.to_str().unwrap()).unwrap();
        for line in std::fs::read_to_string(&run).unwrap().lines() {
            samples.call(&serde_json::from_str(line).unwrap());
        }
    }
    let nodes = [
        [["agent", "branch:to:agent"], ["tools", "branch:to:tools"]],
        [
            ["chatbot", "branch:to:chatbot"],
            ["summarize", "branch:to:summarize"],
        ],
        [
            ["planner", "branch:to:planner"],
            ["executor", "branch:to:executor"],
        ],
        [
            ["call_model", "branch:to:call_model"],
            ["call_tool", "branch:to:call_tool"],
        ],
    ];
    for (seed, nodes) in (1_000..1_040).zip(nodes.into_iter().cycle()) {
        samples.thread = ThreadId::new(seed.to_string()).unwrap();
        let mut conversation = Conversation::new(seed, nodes);
        for step in (0..4).flat_map(|_| conversation.turn()) {
            let Step {
                id,
                parent,
                checkpoint,
                metadata,
                writes,
            } = &step;
            samples.head(parent.as_ref(), checkpoint, metadata);
            samples.writes(id, writes);
        }
    }
    let dictionary = zstd::dict::from_samples(&samples.texts, SIZE).unwrap();
    std::fs::write(
        folder.join("src/redis/compact/dictionary_1.bin"),
        dictionary,
    )
    .unwrap();
}
