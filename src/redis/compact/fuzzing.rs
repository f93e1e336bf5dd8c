//! What holds of heads, records and parts, whatever they are.

use bytes::{Bytes, BytesMut};

use super::{Codec, CodecOptions, Digest, Reader, Sealer, Sending, WritePlace};
use crate::checkpoint::{Checkpoint, CheckpointMetadata, PendingWrite, TypedValue};
use crate::id::{CheckpointId, CheckpointNamespace, TaskId, ThreadId};
use crate::redis::keys::CheckpointRef;

/// What others stored is read without harm, also where it is nearly right; and what is stored comes
/// back.
///
/// # Panics
/// If it does not.
#[expect(
    clippy::expect_used,
    reason = "it is a test, and its ids are constants"
)]
pub fn compact(input: &[u8]) {
    let codec = Codec::new(CodecOptions {
        cache_bytes: 1 << 20,
        max_bytes: 1 << 20,
        sealer: Sealer::default(),
    });
    let at = CheckpointRef::new(
        &ThreadId::new("thread").expect("it is an id"),
        &CheckpointNamespace::root(),
        &CheckpointId::new("1").expect("it is an id"),
    );
    let task = TaskId::new("task").expect("it is an id");
    let stored = Bytes::copy_from_slice(input);
    read(&codec, &at, &task, &stored);

    let text = serde_json::Value::from(String::from_utf8_lossy(input));
    let metadata = CheckpointMetadata::new().with("member", &text);
    let metadata = metadata.expect("a text has a JSON form");
    // Many objects, so that there are index parts.
    let values =
        serde_json::json!({ "list": vec![serde_json::json!({ "a": text }); 8], "text": text });
    let checkpoint = serde_json::json!({ "channel_values": values, "id": "1" });
    let checkpoint = Checkpoint::from_json(checkpoint.to_string()).expect("it has an id");
    let write = PendingWrite {
        task_id: task.clone(),
        task_path: String::new(),
        idx: 0,
        channel: "channel".to_owned(),
        value: TypedValue::new("bytes", stored),
    };
    let thread = codec.of_thread(&at.thread_id);
    let head = thread.encode_head(&at, None, &checkpoint, &metadata, Sending::New);
    let head = head.expect("its values are an object");
    let writes = thread.encode_writes(&at, [&write], Sending::All);
    let parts = [&head.parts.stored, &writes.parts.stored]
        .map(Clone::clone)
        .concat();
    thread.remember(head.parts);
    thread.remember(writes.parts);

    let decoded = thread
        .decode_head(&at, &head.head)
        .expect("it was just encoded");
    let mut reader = Reader::new(&thread);
    let read_back = reader.checkpoint(&at.checkpoint_id, &decoded);
    assert_eq!(read_back, Ok((checkpoint, metadata)));
    let place = WritePlace {
        namespace: &at.namespace,
        checkpoint_id: &at.checkpoint_id,
        task_id: &task,
        idx: 0,
    };
    for record in &writes.records {
        let record = thread
            .decode_write(&place, record)
            .expect("it was just encoded");
        assert_eq!(reader.write(task.clone(), 0, &record).as_ref(), Ok(&write));
    }

    for stored in writes.records.iter().chain([&head.head]) {
        read(&codec, &at, &task, &changed(stored, input));
    }
    for (digest, part) in parts {
        let changed = changed(&part, input);
        let is_taken = Reader::new(&thread).add(digest, &changed).is_ok();
        // The same text may be kept in another way.
        assert!(
            !is_taken || changed[..] == part[..] || part[0] != 2,
            "{digest}"
        );
    }
}

/// Reads bytes as everything that they could be.
fn read(codec: &Codec, at: &CheckpointRef, task: &TaskId, stored: &Bytes) {
    let thread = codec.of_thread(&at.thread_id);
    let mut reader = Reader::new(&thread);
    if let Ok(head) = thread.decode_head(at, stored) {
        let _ = reader.missing(head.ropes());
        if let Ok((checkpoint, metadata)) = reader.checkpoint(&at.checkpoint_id, &head) {
            for text in [checkpoint.to_json(), metadata.to_json()] {
                assert!(!text.as_str().is_empty(), "it is no UTF-8");
            }
        }
        let _ = reader.outline(&at.checkpoint_id, &head);
    }
    let place = WritePlace {
        namespace: &at.namespace,
        checkpoint_id: &at.checkpoint_id,
        task_id: task,
        idx: 0,
    };
    if let Ok(record) = thread.decode_write(&place, stored) {
        let _ = reader.missing(record.ropes());
        let _ = reader.write(task.clone(), 0, &record);
    }
    if let Some(digest) = stored.get(..Digest::LEN).and_then(Digest::from_slice) {
        let _ = reader.add(digest, stored);
    }
}

/// Bytes with some changed, cut off or added, as the input says.
fn changed(stored: &Bytes, input: &[u8]) -> Bytes {
    let mut changed = BytesMut::from(&stored[..]);
    for change in input.chunks(3) {
        let [at, with, how] = [0, 1, 2].map(|position| change.get(position).copied().unwrap_or(0));
        let at = usize::from(at) % changed.len().max(1);
        match (how % 8, changed.get_mut(at)) {
            (0, _) => changed.truncate(at),
            (1, _) => changed.extend_from_slice(&[with]),
            (_, Some(byte)) => *byte = with,
            (_, None) => {}
        }
    }
    changed.freeze()
}
