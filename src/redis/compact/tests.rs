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

/// A list of messages, some of which are too small for a part of their own.
fn list(messages: &[String]) -> Bytes {
    Bytes::from(format!("[{}]", messages.join(",")))
}

/// Cuts a text into parts that are added to `known`; gives the cut and how many of them are new.
fn cut_into(
    known: &mut std::collections::HashMap<Digest, part::Part>,
    text: &Bytes,
) -> (cut::Cut, usize) {
    let before = known.len();
    let found = |digest, part| drop(known.insert(digest, part));
    let cut = cut::cut(text, digest::Digester::plain(), None, found).unwrap();
    (cut, known.len() - before)
}

/// The most new parts of an edit: one or two on each level of the tree.
const MOST_NEW_PARTS: usize = 15;

#[test]
fn an_edit_anywhere_in_ten_thousand_messages_makes_few_new_parts() {
    let mut random = 11_u64;
    let mut next = |below: usize| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 33).unwrap() % below
    };
    let new_message = |number: usize, size: usize| match size {
        0 => format!("{{\"n\":{number}}}"),
        size => message(number, size * 40),
    };
    let mut messages: Vec<_> = (0..10_000)
        .map(|number| new_message(number, next(12)))
        .collect();
    let mut known = std::collections::HashMap::new();
    let (mut last, all) = cut_into(&mut known, &list(&messages));
    assert!(all > 5_000, "{all}");
    let mut most = 0;
    for edit in 0..24 {
        let place = next(messages.len());
        match edit % 4 {
            0 => messages.push(new_message(20_000 + edit, next(12))),
            1 => messages.insert(place, new_message(20_000 + edit, next(12))),
            2 => messages[place] = new_message(20_000 + edit, next(12)),
            _ => drop(messages.remove(place)),
        }
        let text = list(&messages);
        let (cut, new) = cut_into(&mut known, &text);
        assert!(new <= MOST_NEW_PARTS, "edit {edit}: {new} new parts");
        most = most.max(new);

        // What the text has in common with the one before saves time, and changes nothing.
        let mut find = |digest: &Digest| known.get(digest).cloned();
        let mut hashed = 0;
        let found = |_, part| hashed += usize::from(matches!(part, part::Part::Leaf(_)));
        let plain = digest::Digester::plain();
        let again = cut::cut(&text, plain, Some((last.rope, &mut find)), found);
        assert_eq!(again.as_ref(), Some(&cut));
        assert!(
            edit % 4 != 0 || hashed < 50,
            "an append hashes {hashed} leaves"
        );
        last = cut;
    }
    println!("{all} parts; at most {most} new ones an edit");
}

#[test]
fn an_edit_anywhere_in_a_long_text_makes_few_new_parts() {
    let mut text = growth::Conversation::new(5, [["a", "b"]; 2]).text(2_000_000);
    let mut known = std::collections::HashMap::new();
    cut_into(&mut known, &Bytes::from(text.clone()));
    for place in [1, 7_777, 500_000, 1_999_000] {
        text.insert_str(place, "something that was not there");
        let (_, new) = cut_into(&mut known, &Bytes::from(text.clone()));
        assert!(
            new <= MOST_NEW_PARTS,
            "inserted at {place}: {new} new parts"
        );
        text.replace_range(place..place + 10, "");
        let (_, new) = cut_into(&mut known, &Bytes::from(text.clone()));
        assert!(new <= MOST_NEW_PARTS, "removed at {place}: {new} new parts");
    }
}

#[test]
fn a_missing_part_is_named_and_sending_all_brings_it_back() {
    let at = place();
    let writing = codec();
    let thread = writing.of_thread(&at.thread_id);
    let messages: Vec<_> = (0..30).map(|number| message(number, 300)).collect();
    let text = format!(
        r#"{{"id":"2","channel_values":{{"messages":[{}]}}}}"#,
        messages.join(",")
    );
    let checkpoint = Checkpoint::from_json(text).unwrap();
    let metadata = CheckpointMetadata::new();
    let encode = |sending| {
        thread
            .encode_head(&at, None, &checkpoint, &metadata, sending)
            .unwrap()
    };
    let first = encode(Sending::New);
    let mut parts: Parts = first.parts.stored.iter().cloned().collect();
    let head = first.head.clone();
    thread.remember(first.parts);

    let again = encode(Sending::New).parts;
    assert!(again.stored.is_empty());
    assert_eq!(
        again.assumed.len(),
        1,
        "the root vouches for what is below it"
    );
    let all = encode(Sending::All).parts;
    assert_eq!(all.stored.iter().cloned().collect::<Parts>(), parts);
    assert!(all.assumed.is_empty());

    let gone = *parts.keys().next().unwrap();
    parts.remove(&gone);
    let reading = codec();
    let thread = reading.of_thread(&at.thread_id);
    let head = thread.decode_head(&at, &head).unwrap();
    let mut reader = Reader::new(&thread);
    loop {
        let missing = reader.missing(head.ropes()).unwrap();
        let there: Vec<_> = missing
            .iter()
            .filter(|digest| parts.contains_key(digest))
            .collect();
        if there.is_empty() {
            assert_eq!(missing, [gone]);
            break;
        }
        for digest in there {
            reader.add(*digest, &parts[digest]).unwrap();
        }
    }
    let read = reader.checkpoint(&at.checkpoint_id, &head);
    assert_eq!(read, Err(Damage::Absent(gone)));
    let error = Damage::Absent(gone)
        .at("checkpoint_parts:{thread}")
        .to_string();
    assert!(
        error.contains(&gone.to_string()) && error.contains("doctor"),
        "{error}"
    );
}

/// A rope over leaves of one byte, and its parts.
fn rope_of_bytes(count: usize) -> (Rope, std::collections::HashMap<Digest, part::Part>) {
    let mut known = std::collections::HashMap::new();
    let plain = digest::Digester::plain();
    let text = Bytes::from_static(b"x");
    let leaf = part::Child {
        separator: part::Separator::None,
        digest: plain.leaf(&text),
        length: 1,
    };
    known.insert(leaf.digest, part::Part::Leaf(text));
    let rope = Rope::over(vec![leaf; count], plain, |digest, part| {
        drop(known.insert(digest, part));
    });
    (rope.unwrap(), known)
}

#[test]
fn a_rope_that_does_not_fit_its_parts_is_refused() {
    let (rope, mut known) = rope_of_bytes(64);
    let read = |rope: &Rope, known: &std::collections::HashMap<Digest, part::Part>| {
        let mut text = bytes::BytesMut::new();
        rope.append_to(&mut text, |digest| known.get(digest).cloned())
            .map(|()| text.len())
    };
    assert_eq!(read(&rope, &known), Ok(64));
    for (level, length) in [(0, 64), (2, 64), (1, 63), (1, 65)] {
        let other = Rope {
            level,
            length,
            ..rope
        };
        assert!(
            matches!(read(&other, &known), Err(Damage::Part { .. })),
            "{other:?}"
        );
    }
    known.retain(|_, part| matches!(part, part::Part::Index(_)));
    assert!(matches!(read(&rope, &known), Err(Damage::Absent(_))));
}

#[test]
fn a_text_in_more_parts_than_its_length_allows_is_refused() {
    let (rope, known) = rope_of_bytes(10_000);
    let mut visited = 0;
    let walked = rope.walk(
        |digest| {
            visited += 1;
            known.get(digest).cloned()
        },
        |_| std::ops::ControlFlow::Continue(()),
    );
    assert!(matches!(walked, Err(Damage::Part { .. })), "{walked:?}");
    assert!(visited < 1_000, "{visited}");
}

#[test]
fn an_outline_has_every_channel_and_is_read_without_parts() {
    let at = place();
    let (writing, reading) = (codec(), codec());
    let messages: Vec<_> = (0..30).map(|number| message(number, 300)).collect();
    let values = format!(
        r#"{{"list":[{}],"in":{{"a":[{}]}},"text":"[{{{}}}]","n":null}}"#,
        messages.join(","),
        messages.join(", "),
        "text ".repeat(3_000)
    );
    let text =
        format!(r#"{{"id":"2","channel_values":{values},"channel_versions":{{"list":"1"}}}}"#);
    let checkpoint = Checkpoint::from_json(text).unwrap();
    let metadata = CheckpointMetadata::from_json(r#"{"step":1}"#.to_owned()).unwrap();
    let head = writing
        .of_thread(&at.thread_id)
        .encode_head(&at, None, &checkpoint, &metadata, Sending::New)
        .unwrap()
        .head;
    let thread = reading.of_thread(&at.thread_id);
    let head = thread.decode_head(&at, &head).unwrap();
    assert_eq!(head.ropes().count(), 3);
    assert_eq!(
        head.outline_ropes().count() + head.metadata_ropes().count(),
        0
    );
    let mut reader = Reader::new(&thread);
    let (outline, read_metadata) = reader.outline(&at.checkpoint_id, &head).unwrap();
    assert_eq!(read_metadata, metadata);
    let names = |checkpoint: &Checkpoint| {
        let values = checkpoint.channel_values().unwrap();
        values
            .iter()
            .map(|(name, _)| name.to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&outline), names(&checkpoint));
    assert_eq!(
        outline.channel_versions().unwrap(),
        checkpoint.channel_versions().unwrap()
    );
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
