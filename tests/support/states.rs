//! Threads that real LangGraph programs made: see `tests/golden/states/README.md`.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use langgraph_checkpoint_redis::{
    ChannelWrite, Checkpoint, CheckpointConfig, CheckpointId, CheckpointMetadata, CheckpointSaver,
    PutOptions, PutWritesOptions, TaskId, TypedValue,
};
use serde_json::Value;

/// Stores a recorded thread under an id of its own.
pub async fn store(saver: &dyn CheckpointSaver, name: &str, thread: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/states")
        .join(format!("{name}.json"));
    let recorded: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    for tuple in recorded["tuples"].as_array().unwrap().iter().rev() {
        let place = CheckpointConfig::new(thread)
            .unwrap()
            .with_namespace(tuple["checkpoint_ns"].as_str().unwrap())
            .unwrap();
        let parent = tuple["parent"].as_str();
        let config = match parent {
            Some(parent) => place.with_checkpoint(CheckpointId::new(parent).unwrap()),
            None => place,
        };
        let checkpoint = Checkpoint::from_json(tuple["checkpoint"].to_string()).unwrap();
        let metadata = CheckpointMetadata::from_json(tuple["metadata"].to_string()).unwrap();
        let options = PutOptions::default();
        let put = saver.put(&config, &checkpoint, &metadata, &options);
        let stored = put.await.unwrap();
        for write in tuple["writes"].as_array().unwrap() {
            let text = |name: &str| write[name].as_str().unwrap();
            let blob = STANDARD.decode(text("blob")).unwrap();
            let value = TypedValue::new(text("type"), blob);
            let options = PutWritesOptions::default().with_task_path(text("task_path"));
            let writes = [ChannelWrite::new(text("channel"), value)];
            let task = TaskId::new(text("task_id")).unwrap();
            let put = saver.put_writes(&stored, &writes, &task, &options);
            put.await.unwrap();
        }
    }
}
