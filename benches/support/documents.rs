//! The checkpoints and writes that are measured with.
#![allow(dead_code, unreachable_pub)]

use langgraph_checkpoint_redis::{
    ChannelWrite, Checkpoint, CheckpointId, CheckpointMetadata, TypedValue,
};
use serde_json::json;

/// A checkpoint of about this many bytes, a conversation.
pub fn checkpoint(bytes: usize, id: &str) -> Checkpoint {
    let messages: Vec<_> = (0..bytes.div_ceil(130))
        .map(|n| {
            let content = "It is a truth universally acknowledged, ".repeat(2);
            json!({"type": "human", "content": content, "id": n})
        })
        .collect();
    Checkpoint::builder()
        .id(CheckpointId::new(id).unwrap())
        .channel("messages", 1, &messages)
        .unwrap()
        .build()
        .unwrap()
}

/// Metadata as LangGraph's.
pub fn metadata() -> CheckpointMetadata {
    let metadata = CheckpointMetadata::new().with("source", "loop").unwrap();
    metadata.with("step", &1).unwrap()
}

/// Writes of 100 bytes each.
pub fn writes(count: usize) -> Vec<ChannelWrite> {
    (0..count)
        .map(|n| {
            let value = TypedValue::json(&"x".repeat(100)).unwrap();
            ChannelWrite::new(format!("channel-{n}"), value)
        })
        .collect()
}
