//! Whoever can write to Redis, and does not have the keys, changes nothing that is read as true.

use bytes::{BufMut, Bytes, BytesMut};

use super::*;
use crate::checkpoint::{Checkpoint, CheckpointMetadata, PendingWrite, TypedValue};
use crate::error::Error;
use crate::id::{CheckpointId, CheckpointNamespace, TaskId, ThreadId};
use crate::redis::encryption_keys::{EncryptionKey, EncryptionKeys};
use crate::redis::keys::CheckpointRef;

fn with_keys(prefix: &str, keys: &[(&str, u8)], allow_unsealed: bool) -> Codec {
    let keys = keys
        .iter()
        .map(|(id, byte)| EncryptionKey::new(id, [*byte; 32]).unwrap());
    let keys: Vec<_> = keys.collect();
    let keys = (!keys.is_empty()).then(|| EncryptionKeys::new(keys).unwrap());
    Codec::new(CodecOptions {
        cache_bytes: 1 << 20,
        max_bytes: 1 << 20,
        sealer: Sealer::new(keys, prefix, allow_unsealed),
    })
}

const KEY: &[(&str, u8)] = &[("new", 1)];

fn at(thread: &str, namespace: &str, id: &str) -> CheckpointRef {
    CheckpointRef::new(
        &ThreadId::new(thread).unwrap(),
        &CheckpointNamespace::new(namespace).unwrap(),
        &CheckpointId::new(id).unwrap(),
    )
}

/// A checkpoint with a text of several parts, and a write of it.
struct Stored {
    head: Bytes,
    record: Bytes,
    parts: Vec<(Digest, Bytes)>,
}

fn write(task: &str) -> PendingWrite {
    PendingWrite {
        task_id: TaskId::new(task).unwrap(),
        task_path: "path".to_owned(),
        idx: -1,
        channel: "secret-channel".to_owned(),
        value: TypedValue::new("json", "\"secret-write\""),
    }
}

fn checkpoint(id: &str) -> Checkpoint {
    let messages: Vec<_> = (0..20)
        .map(|number| format!(r#"{{"secret-{number}":"{}"}}"#, "s".repeat(300)))
        .collect();
    Checkpoint::from_json(format!(
        r#"{{"id":"{id}","channel_values":{{"m":[{}]}}}}"#,
        messages.join(",")
    ))
    .unwrap()
}

fn store(codec: &Codec, at: &CheckpointRef) -> Stored {
    let thread = codec.of_thread(&at.thread_id);
    let checkpoint = checkpoint(at.checkpoint_id.as_str());
    let metadata = CheckpointMetadata::new();
    let head = thread
        .encode_head(at, None, &checkpoint, &metadata, Sending::New)
        .unwrap();
    let writes = thread.encode_writes(at, [&write("task")], Sending::New);
    Stored {
        head: head.head,
        record: writes.records[0].clone(),
        parts: head.parts.stored,
    }
}

/// Reads a head with all of its parts.
fn read(codec: &Codec, at: &CheckpointRef, stored: &Stored) -> Result<Checkpoint, Damage> {
    let thread = codec.of_thread(&at.thread_id);
    let head = thread.decode_head(at, &stored.head)?;
    let mut reader = Reader::new(&thread);
    for (digest, part) in &stored.parts {
        reader.add(*digest, part)?;
    }
    reader
        .checkpoint(&at.checkpoint_id, &head)
        .map(|(checkpoint, _)| checkpoint)
}

fn read_write(
    codec: &Codec,
    of: &CheckpointRef,
    task: &str,
    record: &Bytes,
) -> Result<PendingWrite, Damage> {
    let thread = codec.of_thread(&of.thread_id);
    let write = write(task);
    let place = WritePlace {
        namespace: &of.namespace,
        checkpoint_id: &of.checkpoint_id,
        task_id: &write.task_id,
        idx: write.idx,
    };
    let record = thread.decode_write(&place, record)?;
    Reader::new(&thread).write(write.task_id.clone(), write.idx, &record)
}

#[test]
fn what_is_sealed_comes_back_and_shows_nothing() {
    let (place, codec) = (at("thread", "", "1"), with_keys("p", KEY, false));
    let stored = store(&codec, &place);
    assert_eq!(read(&codec, &place, &stored).unwrap(), checkpoint("1"));
    assert_eq!(
        read_write(&codec, &place, "task", &stored.record).unwrap(),
        write("task")
    );
    let again = store(&with_keys("p", KEY, false), &place);
    assert_eq!(
        (again.head, again.record),
        (stored.head.clone(), stored.record.clone())
    );
    assert_eq!(again.parts, stored.parts, "a second run leaves the same");

    let mut all: Vec<&[u8]> = vec![&stored.head, &stored.record];
    all.extend(stored.parts.iter().map(|(_, part)| &part[..]));
    for piece in all {
        for secret in [&b"secret"[..], b"ssss", b"channel_values"] {
            assert!(memchr::memmem::find(piece, secret).is_none());
        }
    }
}

#[test]
fn digests_tell_nothing_about_the_content() {
    let digests = |codec: &Codec, thread: &str| {
        let stored = store(codec, &at(thread, "", "1"));
        stored
            .parts
            .iter()
            .map(|(digest, _)| *digest)
            .collect::<Vec<_>>()
    };
    let sealing = with_keys("p", KEY, false);
    let first = digests(&sealing, "thread");
    let others = [
        digests(&with_keys("p", &[], false), "thread"),
        digests(&with_keys("p", &[("new", 2)], false), "thread"),
        digests(&with_keys("q", KEY, false), "thread"),
        digests(&sealing, "other"),
    ];
    for other in others {
        assert!(first.iter().all(|digest| !other.contains(digest)));
    }
}

#[test]
fn a_head_that_is_moved_is_refused() {
    let codec = with_keys("p", KEY, false);
    let stored = store(&codec, &at("thread", "", "1"));
    for place in [
        at("thread", "", "2"),
        at("thread", "1", "1"),
        at("other", "", "1"),
    ] {
        let head = codec
            .of_thread(&place.thread_id)
            .decode_head(&place, &stored.head);
        assert_eq!(head, Err(Damage::Forged), "{place:?}");
    }
    let place = at("thread", "", "1");
    let other = with_keys("q", KEY, false);
    let head = other
        .of_thread(&place.thread_id)
        .decode_head(&place, &stored.head);
    assert_eq!(head, Err(Damage::Forged), "another prefix");
}

#[test]
fn what_stands_in_front_of_a_head_is_sealed_with_it() {
    let (place, codec) = (at("thread", "", "1"), with_keys("p", KEY, false));
    let stored = store(&codec, &place);
    let thread = codec.of_thread(&place.thread_id);
    // Another parent: the first byte behind its length of 0 is that of the number of roots.
    let mut forged = BytesMut::from(&stored.head[..1]);
    forged.put_u32(1);
    forged.put_u8(b'0');
    forged.put_slice(&stored.head[5..]);
    assert_eq!(
        thread.decode_head(&place, &forged.freeze()),
        Err(Damage::Forged)
    );
    // Another root.
    let mut forged = BytesMut::from(&stored.head[..]);
    forged[9] ^= 1;
    assert_eq!(
        thread.decode_head(&place, &forged.freeze()),
        Err(Damage::Forged)
    );
}

#[test]
fn a_write_that_is_moved_is_refused() {
    let codec = with_keys("p", KEY, false);
    let stored = store(&codec, &at("thread", "", "1"));
    for (place, task) in [
        (at("thread", "", "1"), "other"),
        (at("thread", "", "2"), "task"),
        (at("thread", "1", "1"), "task"),
        (at("other", "", "1"), "task"),
    ] {
        let read = read_write(&codec, &place, task, &stored.record);
        assert_eq!(read, Err(Damage::Forged), "{place:?} {task}");
    }
    let place = at("thread", "", "1");
    let head = codec
        .of_thread(&place.thread_id)
        .decode_head(&place, &stored.record);
    assert!(head.is_err(), "a write for a head");
}

#[test]
fn a_part_that_is_moved_or_swapped_is_refused() {
    let codec = with_keys("p", KEY, false);
    let place = at("thread", "", "1");
    let stored = store(&codec, &place);
    for first in 0..stored.parts.len() {
        let second = (first + 1) % stored.parts.len();
        let mut swapped = store(&with_keys("p", KEY, false), &place);
        swapped.parts[first].1 = stored.parts[second].1.clone();
        let read = read(&with_keys("p", KEY, false), &place, &swapped);
        assert!(matches!(read, Err(Damage::Part { .. })), "{read:?}");
    }
    // The parts of another thread with the same text, under the digests of this one.
    let other = store(&codec, &at("other", "", "1"));
    let mut swapped = stored;
    for (own, other) in swapped.parts.iter_mut().zip(&other.parts) {
        own.1 = other.1.clone();
    }
    let read = read(&with_keys("p", KEY, false), &place, &swapped);
    assert!(matches!(read, Err(Damage::Part { .. })), "{read:?}");
}

#[test]
fn any_bit_turned_over_is_noticed() {
    let (place, codec) = (at("thread", "", "1"), with_keys("p", KEY, false));
    let stored = store(&codec, &place);
    let thread = codec.of_thread(&place.thread_id);
    let flips = |piece: &Bytes| {
        let piece = piece.clone();
        (0..piece.len() * 8).map(move |bit| {
            let mut flipped = BytesMut::from(&piece[..]);
            flipped[bit / 8] ^= 1 << (bit % 8);
            flipped.freeze()
        })
    };
    for head in flips(&stored.head) {
        assert!(thread.decode_head(&place, &head).is_err());
    }
    for record in flips(&stored.record) {
        assert!(read_write(&codec, &place, "task", &record).is_err());
    }
    let is_index = |(_, part): &&(Digest, Bytes)| part[0] == 2;
    let leaf = stored.parts.iter().find(|part| !is_index(part)).unwrap();
    let index = stored.parts.iter().find(is_index).unwrap();
    for (digest, part) in [leaf, index] {
        for part in flips(part) {
            assert!(Reader::new(&thread).add(*digest, &part).is_err());
        }
    }
}

#[test]
fn a_plain_piece_that_is_slipped_in_is_refused_unless_it_is_allowed() {
    let place = at("thread", "", "1");
    let plain = store(&with_keys("p", &[], false), &place);
    let strict = with_keys("p", KEY, false);
    assert_eq!(read(&strict, &place, &plain), Err(Damage::Unsealed));
    let write = read_write(&strict, &place, "task", &plain.record);
    assert_eq!(write, Err(Damage::Unsealed));
    let thread = strict.of_thread(&place.thread_id);
    for (digest, part) in &plain.parts {
        assert!(Reader::new(&thread).add(*digest, part).is_err());
    }
    let lenient = with_keys("p", KEY, true);
    assert_eq!(read(&lenient, &place, &plain).unwrap(), checkpoint("1"));
    assert!(read_write(&lenient, &place, "task", &plain.record).is_ok());
}

#[test]
fn a_key_in_front_seals_and_one_that_is_retired_is_named() {
    let place = at("thread", "", "1");
    let old = store(&with_keys("p", &[("old", 2)], false), &place);
    let both = with_keys("p", &[("new", 1), ("old", 2)], false);
    assert_eq!(read(&both, &place, &old).unwrap(), checkpoint("1"));
    let new = store(&both, &place);
    assert_eq!(
        read(&with_keys("p", KEY, false), &place, &new).unwrap(),
        checkpoint("1")
    );

    for codec in [with_keys("p", KEY, false), with_keys("p", &[], false)] {
        let damage = read(&codec, &place, &old).unwrap_err();
        assert_eq!(damage, Damage::UnknownKey("old".to_owned()));
        let error = damage.at("checkpoint_heads:{thread}");
        assert!(matches!(error, Error::Config { .. }), "{error}");
        let error = error.to_string();
        assert!(
            error.contains("`old`") && error.contains("{thread}"),
            "{error}"
        );
    }
    // The same id with other bytes is another key.
    let read = read(&with_keys("p", &[("old", 3)], false), &place, &old);
    assert_eq!(read, Err(Damage::Forged));
}

#[test]
fn keys_are_never_shown() {
    let shown = format!("{:?}", with_keys("p", &[("k", 171)], false));
    assert!(
        shown.contains("REDACTED") && !shown.contains("171"),
        "{shown}"
    );
}
