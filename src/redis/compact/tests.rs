//! What goes in comes out; what changes little sends little.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::checkpoint::{Checkpoint, CheckpointMetadata, PendingWrite, TypedValue};
use crate::id::{CheckpointId, CheckpointNamespace, TaskId, ThreadId};
use crate::redis::keys::CheckpointRef;

/// The parts that a thread has, as Redis would keep them.
type Parts = std::collections::BTreeMap<Digest, Bytes>;

fn codec() -> Codec {
    Codec::new(CodecOptions {
        cache_bytes: 1 << 20,
        max_bytes: 1 << 26,
        sealer: Sealer::default(),
    })
}

fn place() -> CheckpointRef {
    CheckpointRef::new(
        &ThreadId::new("thread").unwrap(),
        &CheckpointNamespace::root(),
        &CheckpointId::new("2").unwrap(),
    )
}

fn write_place<'a>(of: &'a CheckpointRef, write: &'a PendingWrite) -> WritePlace<'a> {
    WritePlace {
        namespace: &of.namespace,
        checkpoint_id: &of.checkpoint_id,
        task_id: &write.task_id,
        idx: write.idx,
    }
}

/// Stores what a put sends, as the script does.
fn store(parts: &mut Parts, thread: &ThreadCodec<'_>, new: NewParts) {
    for digest in &new.assumed {
        assert!(parts.contains_key(digest), "{digest} dangles");
    }
    parts.extend(new.stored.iter().cloned());
    thread.remember(new);
}

/// Fetches what a reading lacks, in rounds; gives their number.
fn fetch(reader: &mut Reader<'_>, ropes: &[&Rope], parts: &Parts) -> usize {
    for round in 0.. {
        let missing = reader.missing(ropes.iter().copied()).unwrap();
        if missing.is_empty() {
            return round;
        }
        for digest in missing {
            reader.add(digest, &parts[&digest]).unwrap();
        }
    }
    unreachable!("every round fetches a level")
}

fn comes_back(checkpoint: &Checkpoint, metadata: &CheckpointMetadata) {
    let at = place();
    let parent = CheckpointId::new("1\u{0}\u{1}").unwrap();
    let mut parts = Parts::new();
    let writing = codec();
    let thread = writing.of_thread(&at.thread_id);
    let encoded = thread
        .encode_head(&at, Some(&parent), checkpoint, metadata, Sending::New)
        .unwrap();
    let head = encoded.head.clone();
    store(&mut parts, &thread, encoded.parts);

    for (codec, most) in [(&writing, 0), (&codec(), 8)] {
        let thread = codec.of_thread(&at.thread_id);
        let head = thread.decode_head(&at, &head).unwrap();
        assert_eq!(head.parent.as_ref(), Some(&parent));
        let mut reader = Reader::new(&thread);
        let ropes: Vec<_> = head.ropes().collect();
        let rounds = fetch(&mut reader, &ropes, &parts);
        assert!(rounds <= most, "{rounds} rounds");
        let (read, read_metadata) = reader.checkpoint(&at.checkpoint_id, &head).unwrap();
        assert_eq!(&read, checkpoint);
        assert_eq!(&read_metadata, metadata);
    }
}

fn message(number: usize, length: usize) -> String {
    let text: String = (0..)
        .map(|word| format!("w{} ", (number * 7919 + word * 104_729) % 9973))
        .take(length / 5)
        .collect();
    format!(
        r#"{{"lc":1,"type":"constructor","id":["langchain","schema","messages","HumanMessage"],"kwargs":{{"content":"{text}","type":"human","id":"{number}"}}}}"#
    )
}

#[test]
fn a_checkpoint_comes_back_byte_for_byte() {
    let messages: Vec<_> = (0..100).map(|number| message(number, 300)).collect();
    let text = format!(
        r#"{{"v":4,"ts":"2024","id":"2","channel_values":{{ "messages":[{}],"docs" : "{}", "n":1.0,"e":[]}},"versions_seen":{{}},"x":null}}"#,
        messages.join(","),
        "long text \\u00e4 ".repeat(2000)
    );
    let metadata = CheckpointMetadata::from_json(format!(
        r#"{{"source":"loop","step":1,"writes":"{}"}}"#,
        "w".repeat(3000)
    ))
    .unwrap();
    comes_back(&Checkpoint::from_json(text).unwrap(), &metadata);
    comes_back(
        &Checkpoint::from_json(r#"{"id":"2"}"#.to_owned()).unwrap(),
        &CheckpointMetadata::new(),
    );
}

#[test]
fn a_write_and_the_channel_that_takes_it_over_share_parts() {
    let at = place();
    let codec = codec();
    let thread = codec.of_thread(&at.thread_id);
    let mut parts = Parts::new();
    let write = PendingWrite {
        task_id: TaskId::new("task").unwrap(),
        task_path: "~a".to_owned(),
        idx: 0,
        channel: "messages".to_owned(),
        value: TypedValue::new("json", format!("[{}]", message(3, 300))),
    };
    let encoded = thread.encode_writes(&at, [&write], Sending::New);
    let record = encoded.records[0].clone();
    assert_eq!(encoded.parts.stored.len(), 1);
    store(&mut parts, &thread, encoded.parts);

    let messages: Vec<_> = (0..4).map(|number| message(number, 300)).collect();
    let text = format!(
        r#"{{"id":"2","channel_values":{{"messages":[{}]}}}}"#,
        messages.join(",")
    );
    let checkpoint = Checkpoint::from_json(text).unwrap();
    let metadata = CheckpointMetadata::new();
    let encoded = thread
        .encode_head(&at, None, &checkpoint, &metadata, Sending::New)
        .unwrap();
    assert!(
        !encoded
            .parts
            .stored
            .iter()
            .any(|(digest, _)| parts.contains_key(digest))
    );
    store(&mut parts, &thread, encoded.parts);

    let record = thread
        .decode_write(&write_place(&at, &write), &record)
        .unwrap();
    let read = Reader::new(&thread)
        .write(write.task_id.clone(), 0, &record)
        .unwrap();
    assert_eq!(read, write);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_values_come_back(
        values in proptest::collection::vec(("[a-z\"\\\\]{0,4}", "([ -~]{0,40}\\}, ?\\{){0,60}", 0..4_usize), 0..6),
    ) {
        let members: Vec<_> = values
            .iter()
            .map(|(name, text, kind)| {
                let name = serde_json::to_string(name).unwrap();
                let text = serde_json::to_string(text).unwrap();
                match kind {
                    0 => format!("{name}:{text}"),
                    1 => format!("{name}:[{{\"a\":{text}}},{{\"b\":{text}}}]"),
                    2 => format!("{name} : {{\"b\":[{{\"a\":{text}}}, {{}},{{}}]}}"),
                    _ => format!("{name}:[{{}}, {{\"a\":{text}}},{{}}]"),
                }
            })
            .collect();
        let text = format!(r#"{{"channel_values":{{{}}},"id":"2"}}"#, members.join(","));
        comes_back(&Checkpoint::from_json(text).unwrap(), &CheckpointMetadata::new());
    }
}
