//! Ids that are easily mistaken for others, or for part of a query or key.

use std::collections::BTreeSet;

use serde_json::json;

use super::fixture::{
    assert_same, empty, empty_with_id, get, got, holding, id, ids, list, list_with, metadata,
    named, pairs, put, put_empty, put_writes, random, step, task, thread, values, within, writes,
};
use super::{Subject, case_table};
use crate::config::CheckpointConfig;
use crate::error::Error;
use crate::id::{CheckpointNamespace, TaskId, ThreadId};
use crate::options::{DeleteOptions, ListOptions, PutOptions};
use crate::saver::CheckpointSaver;

case_table! {
    HostileIds {
        threads_with_hostile_ids_are_apart,
        deleting_a_thread_with_a_hostile_id_deletes_no_other,
        namespaces_with_hostile_ids_are_apart,
        checkpoints_with_hostile_ids_are_apart,
        tasks_with_hostile_ids_are_apart,
        channels_with_hostile_names_are_apart,
        a_colon_moved_from_thread_to_namespace_is_another_place,
        a_colon_moved_from_namespace_to_checkpoint_is_another_place,
        a_colon_moved_from_checkpoint_to_task_is_another_place,
        ids_of_ten_kilobytes_are_apart,
        ids_that_cannot_be_are_refused,
    }
}

/// Ids that some store takes for one another.
const HOSTILE: &[&str] = &[
    "a",
    "A",
    "a ",
    " a",
    "a  b",
    "a b",
    "a,b",
    "a, b",
    "a:b",
    "a::b",
    ":a",
    "a:",
    "{a}",
    "{a}b",
    "a}",
    "{",
    "{}",
    "\"a\"",
    "'a'",
    "`a`",
    "a*",
    "*",
    "a?",
    "a|b",
    "(a)",
    "[a]",
    "a\\",
    "a\\b",
    "a\nb",
    "a\r\nb",
    "a\tb",
    "a\0b",
    "a\0",
    "é",
    "e\u{301}",
    "É",
    "ß",
    "SS",
    "ss",
    "ı",
    "i",
    "I",
    "😀",
    "👩‍👩‍👧",
    "\u{feff}a",
    "a\u{200b}",
    "\u{a0}a",
    "@a",
    "-a",
    "-",
    "$",
    "$.a",
    "a.b",
    "a/b",
    "../a",
    "%41",
    "a%3Ab",
    "~",
    "a;b",
    "a&b",
    "a=b",
    "<a>",
    "#a",
    "!a",
    "^a",
    "__empty",
    "empty",
    "00000000-0000-0000-0000-000000000000",
    "null",
    "None",
    "0",
    "00",
    "0.0",
    "-1",
    "1e1",
    "true",
    "__root__",
    "checkpoint",
    "checkpoint:a",
    "write_keys_zset:a",
    "*)|(@thread_id:{*})",
];

fn hostile() -> impl Iterator<Item = &'static str> {
    HOSTILE.iter().copied()
}

/// Threads that no other case uses, with blanks and signs at either end.
fn hostile_threads() -> Vec<CheckpointConfig> {
    let mark = random();
    hostile()
        .flat_map(|id| [named(format!("{id}{mark}")), named(format!("{mark}{id}"))])
        .collect()
}

/// Requires that a place holds one checkpoint, with this value and one write of it.
async fn holds(saver: &dyn CheckpointSaver, place: &CheckpointConfig, value: &str) {
    let tuple = got(saver, place).await;
    let found = tuple.checkpoint.channel_value::<String>("is").unwrap();
    assert_eq!(found.as_deref(), Some(value), "{place:?}");
    assert_eq!(
        values(&tuple.pending_writes),
        pairs(&[("is", json!(value))]),
        "{place:?}"
    );
    assert_eq!(tuple.config.thread_id, place.thread_id);
    assert_eq!(tuple.config.namespace(), place.namespace());
    assert_eq!(list(saver, place).await, [tuple], "{place:?}");
}

async fn put_value(saver: &dyn CheckpointSaver, place: &CheckpointConfig, value: &str) {
    let stored = put(saver, place, &holding("is", 1, &json!(value)), &step(0)).await;
    put_writes(saver, &stored, &[("is", json!(value))], "task").await;
}

async fn threads_with_hostile_ids_are_apart(subject: Subject) {
    let saver = subject.saver().await;
    let threads = hostile_threads();
    for thread in &threads {
        put_value(&*saver, thread, thread.thread_id.as_str()).await;
    }
    for thread in &threads {
        holds(&*saver, thread, thread.thread_id.as_str()).await;
    }
}

async fn deleting_a_thread_with_a_hostile_id_deletes_no_other(subject: Subject) {
    let saver = subject.saver().await;
    let threads = hostile_threads();
    for thread in &threads {
        put_value(&*saver, thread, thread.thread_id.as_str()).await;
    }
    let (gone, left): (Vec<_>, Vec<_>) = threads
        .iter()
        .enumerate()
        .partition(|(position, _)| position % 3 == 0);
    for (_, thread) in &gone {
        saver
            .delete_thread(&thread.thread_id, &DeleteOptions::default())
            .await
            .unwrap();
    }
    for (_, thread) in gone {
        assert_eq!(get(&*saver, thread).await, None, "{thread:?}");
        assert_eq!(list(&*saver, thread).await, [], "{thread:?}");
    }
    for (_, thread) in left {
        holds(&*saver, thread, thread.thread_id.as_str()).await;
    }
}

async fn namespaces_with_hostile_ids_are_apart(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let namespaces = hostile()
        .chain([""])
        .filter(|id| CheckpointNamespace::new(id).is_ok());
    let places: Vec<_> = namespaces.map(|id| within(&thread, id)).collect();
    for place in &places {
        put_value(&*saver, place, place.namespace().as_str()).await;
    }
    for place in &places {
        holds(&*saver, place, place.namespace().as_str()).await;
    }
    let listed = list(&*saver, &thread).await;
    let namespaces: BTreeSet<_> = listed
        .iter()
        .map(|tuple| tuple.config.namespace())
        .collect();
    assert_eq!(
        (listed.len(), namespaces.len()),
        (places.len(), places.len())
    );
}

async fn checkpoints_with_hostile_ids_are_apart(subject: Subject) {
    let saver = subject.saver().await;
    let thread = within(&thread(), "");
    for given in hostile() {
        let checkpoint = with_id_and_value(given);
        let stored = put(&*saver, &thread, &checkpoint, &step(0)).await;
        put_writes(&*saver, &stored, &[("is", json!(given))], "task").await;
    }
    let mut expected: Vec<_> = hostile().collect();
    expected.sort_unstable();
    expected.reverse();
    let listed = ids(&list(&*saver, &thread).await);
    assert_eq!(listed, expected.iter().map(id).collect::<Vec<_>>());
    assert_eq!(
        got(&*saver, &thread).await.checkpoint.id().as_str(),
        expected[0]
    );
    for given in hostile() {
        holds(&*saver, &thread.clone().with_checkpoint(id(given)), given).await;
        let older = list_with(
            &*saver,
            Some(&thread),
            ListOptions::default().with_before(id(given)),
        );
        let count = hostile().filter(|other| *other < given).count();
        assert_eq!(older.await.len(), count, "before {given:?}");
    }
}

fn with_id_and_value(given: &str) -> crate::Checkpoint {
    crate::Checkpoint::builder()
        .id(id(given))
        .channel("is", 1, given)
        .unwrap()
        .build()
        .unwrap()
}

async fn tasks_with_hostile_ids_are_apart(subject: Subject) {
    let saver = subject.saver().await;
    let stored = put_empty(&*saver, &thread()).await;
    for given in hostile() {
        put_writes(
            &*saver,
            &stored,
            &[("is", json!(given)), ("n", json!(1))],
            given,
        )
        .await;
    }
    let mut expected: Vec<_> = hostile().collect();
    expected.sort_unstable();
    let found = got(&*saver, &stored).await.pending_writes;
    let tasks: Vec<_> = found
        .iter()
        .step_by(2)
        .map(|write| write.task_id.as_str())
        .collect();
    assert_eq!(tasks, expected);
    for write in found.iter().step_by(2) {
        assert_eq!(
            write.value.decode::<String>().unwrap(),
            write.task_id.as_str()
        );
    }
}

async fn channels_with_hostile_names_are_apart(subject: Subject) {
    let saver = subject.saver().await;
    let mut builder = crate::Checkpoint::builder();
    for name in hostile().chain([""]) {
        builder = builder.channel(name, 1, name).unwrap();
    }
    let checkpoint = builder.build().unwrap();
    let stored = put(&*saver, &thread(), &checkpoint, &step(0)).await;
    let given: Vec<_> = hostile()
        .chain([""])
        .map(|name| (name, json!(name)))
        .collect();
    put_writes(&*saver, &stored, &given, "task").await;
    let tuple = got(&*saver, &stored).await;
    assert_same(&checkpoint, &tuple.checkpoint);
    assert_eq!(values(&tuple.pending_writes), pairs(&given));
}

/// Requires that two places that a store may confuse are apart when each has checkpoints of its
/// own. When they have a checkpoint id in common, the second put may be refused.
async fn are_apart(saver: &dyn CheckpointSaver, one: &CheckpointConfig, two: &CheckpointConfig) {
    put_value(saver, one, "one").await;
    assert_eq!(get(saver, two).await, None);
    assert_eq!(list(saver, two).await, []);
    put_value(saver, two, "two").await;
    holds(saver, one, "one").await;
    holds(saver, two, "two").await;
    put_value(saver, one, "one again").await;
    assert_eq!(list(saver, one).await.len(), 2);
    holds(saver, two, "two").await;

    let shared = empty();
    put(saver, one, &shared, &metadata(r#"{"of":"one"}"#)).await;
    let of_two = metadata(r#"{"of":"two"}"#);
    match saver
        .put(two, &shared, &of_two, &PutOptions::default())
        .await
    {
        Ok(stored) => assert_eq!(got(saver, &stored).await.metadata, of_two),
        Err(error) => assert!(matches!(error, Error::Conflict { .. }), "{error}"),
    }
    let of_one = got(saver, &one.clone().with_checkpoint(shared.id().clone()))
        .await
        .metadata;
    assert_eq!(of_one, metadata(r#"{"of":"one"}"#));
}

async fn a_colon_moved_from_thread_to_namespace_is_another_place(subject: Subject) {
    let saver = subject.saver().await;
    let mark = random();
    let one = within(&named(format!("{mark}:b")), "x");
    let two = within(&named(&mark), "b:x");
    are_apart(&*saver, &one, &two).await;
    let options = DeleteOptions::default();
    saver.delete_thread(&two.thread_id, &options).await.unwrap();
    assert_eq!(list(&*saver, &two).await, []);
    assert_eq!(list(&*saver, &one).await.len(), 3);
    assert!(get(&*saver, &one).await.is_some());
}

async fn a_colon_moved_from_namespace_to_checkpoint_is_another_place(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let one = within(&thread, "x").with_checkpoint(id("y:z"));
    let two = within(&thread, "x:y").with_checkpoint(id("z"));
    put(
        &*saver,
        &within(&thread, "x"),
        &empty_with_id("y:z"),
        &step(1),
    )
    .await;
    assert_eq!(get(&*saver, &two).await, None);
    assert_eq!(list(&*saver, &within(&thread, "x:y")).await, []);
    match saver
        .put(
            &within(&thread, "x:y"),
            &empty_with_id("z"),
            &step(2),
            &PutOptions::default(),
        )
        .await
    {
        Ok(stored) => assert_eq!(got(&*saver, &stored).await.config, two),
        Err(error) => assert!(matches!(error, Error::Conflict { .. }), "{error}"),
    }
    assert_eq!(got(&*saver, &one).await.metadata, step(1));
}

async fn a_colon_moved_from_checkpoint_to_task_is_another_place(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    for checkpoint_id in ["c", "c:t"] {
        put(&*saver, &thread, &empty_with_id(checkpoint_id), &step(0)).await;
    }
    let one = thread.clone().with_checkpoint(id("c"));
    let two = thread.clone().with_checkpoint(id("c:t"));
    put_writes(&*saver, &one, &[("is", json!("one"))], "t:u").await;
    let given = writes(&[("is", json!("two"))]);
    let options = crate::PutWritesOptions::default();
    let expected = match saver.put_writes(&two, &given, &task("u"), &options).await {
        Ok(()) => pairs(&[("is", json!("two"))]),
        Err(error) => {
            assert!(matches!(error, Error::Conflict { .. }), "{error}");
            Vec::new()
        }
    };
    assert_eq!(values(&got(&*saver, &two).await.pending_writes), expected);
    let found = got(&*saver, &one).await.pending_writes;
    assert_eq!(values(&found), pairs(&[("is", json!("one"))]));
}

async fn ids_of_ten_kilobytes_are_apart(subject: Subject) {
    let saver = subject.saver().await;
    let long = format!("{}{}", random(), "é:".repeat(3_500));
    for end in ["a", "b", ""] {
        let thread = named(format!("{long}{end}"));
        let place = within(&thread, &format!("{long}{end}"));
        put_value(&*saver, &place, end).await;
        let config = thread.clone().with_checkpoint(id(format!("{long}{end}")));
        put(
            &*saver,
            &thread,
            &empty_with_id(format!("{long}{end}")),
            &step(0),
        )
        .await;
        put_writes(
            &*saver,
            &config,
            &[("is", json!(end))],
            &format!("{long}{end}"),
        )
        .await;
    }
    for end in ["a", "b", ""] {
        let thread = named(format!("{long}{end}"));
        holds(&*saver, &within(&thread, &format!("{long}{end}")), end).await;
        let root = got(&*saver, &thread).await;
        assert_eq!(root.checkpoint.id().as_str(), format!("{long}{end}"));
        assert_eq!(values(&root.pending_writes), pairs(&[("is", json!(end))]));
        assert_eq!(list(&*saver, &thread).await.len(), 2);
    }
}

async fn ids_that_cannot_be_are_refused(_: Subject) {
    assert!(ThreadId::new("").is_err());
    assert!(ThreadId::from_bytes(b"a\xff").is_err());
    assert!(TaskId::new("").is_err());
    assert!(CheckpointNamespace::new("").is_ok());
    assert!(CheckpointConfig::new("").is_err());
}
