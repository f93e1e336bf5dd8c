//! Storing checkpoints.

use serde_json::json;

use super::fixture::{
    assert_same, assert_same_json, empty, empty_with_id, got, holding, id, ids, list, metadata,
    newest_first, put, put_chain, put_empty, put_writes, step, thread, with_members, within,
};
use super::{Subject, case_table};
use crate::checkpoint::Checkpoint;
use crate::error::Error;
use crate::id::{CheckpointId, CheckpointNamespace, RunId};
use crate::options::{ExpectedParent, PutOptions};

case_table! {
    Put {
        put_returns_the_config_that_names_the_checkpoint,
        what_was_put_comes_back,
        every_kind_of_channel_value_comes_back,
        versions_of_every_kind_come_back,
        versions_seen_come_back,
        members_that_nobody_knows_come_back,
        absent_and_null_members_stay_so,
        metadata_comes_back,
        metadata_is_joined_by_the_config,
        run_ids_come_from_the_metadata_or_the_config,
        the_root_namespace_is_a_namespace,
        a_child_namespace_is_kept,
        a_config_without_a_namespace_means_the_root,
        checkpoints_of_a_thread_can_all_be_read,
        threads_are_apart,
        the_parent_is_kept,
        a_channel_can_be_updated_alone,
        a_channel_can_be_added,
        a_channel_can_be_removed,
        putting_the_same_again_changes_nothing,
        an_older_checkpoint_does_not_become_the_newest,
        ids_of_any_form_are_ordered_by_their_bytes,
        an_expected_parent_must_be_the_newest,
        a_put_that_expects_can_be_repeated,
        a_refused_put_changes_nothing,
    }
}

async fn put_returns_the_config_that_names_the_checkpoint(subject: Subject) {
    let saver = subject.saver().await;
    let config = within(&thread(), "child");
    let checkpoint = holding("k", 1, &json!("v"));
    let stored = put(&*saver, &config, &checkpoint, &step(0)).await;
    assert_eq!(stored.thread_id, config.thread_id);
    assert_eq!(stored.checkpoint_ns, config.checkpoint_ns);
    assert_eq!(stored.checkpoint_id.as_ref(), Some(checkpoint.id()));
}

async fn what_was_put_comes_back(subject: Subject) {
    let saver = subject.saver().await;
    let checkpoint = holding("msg", 1, &json!("hello"));
    let stored = put(&*saver, &thread(), &checkpoint, &step(-1)).await;
    let tuple = got(&*saver, &stored).await;
    assert_same(&checkpoint, &tuple.checkpoint);
    assert_eq!(tuple.config, stored);
}

async fn every_kind_of_channel_value_comes_back(subject: Subject) {
    let saver = subject.saver().await;
    let checkpoint = with_members(
        r#""channel_values":{"str":"hello","int":42,"float":1.5,"list":[1,2,3],
        "dict":{"nested":true},"null":null,"false":false,"empty":""},"channel_versions":{}"#,
    );
    let stored = put(&*saver, &thread(), &checkpoint, &step(0)).await;
    assert_same(&checkpoint, &got(&*saver, &stored).await.checkpoint);
}

async fn versions_of_every_kind_come_back(subject: Subject) {
    let saver = subject.saver().await;
    let checkpoint = with_members(
        r#""channel_values":{"a":1,"b":2,"c":3},"channel_versions":
        {"a":1,"b":2.5,"c":"00000000000000000000000000000003.0.1234567890123456"}"#,
    );
    let stored = put(&*saver, &thread(), &checkpoint, &step(0)).await;
    let found = got(&*saver, &stored).await.checkpoint;
    assert_eq!(
        found.channel_versions().unwrap(),
        checkpoint.channel_versions().unwrap()
    );
    assert_same(&checkpoint, &found);
}

async fn versions_seen_come_back(subject: Subject) {
    let saver = subject.saver().await;
    let checkpoint = with_members(
        r#""channel_values":{},"channel_versions":{},
        "versions_seen":{"node1":{"ch_a":1,"ch_b":2},"node2":{"ch_a":3},"__input__":{}}"#,
    );
    let stored = put(&*saver, &thread(), &checkpoint, &step(0)).await;
    let found = got(&*saver, &stored).await.checkpoint;
    assert_eq!(
        found.versions_seen().unwrap(),
        checkpoint.versions_seen().unwrap()
    );
}

async fn members_that_nobody_knows_come_back(subject: Subject) {
    let saver = subject.saver().await;
    let checkpoint = with_members(
        r#""ts":"2026-01-01T00:00:00+00:00","channel_values":{"a":1},"channel_versions":{"a":1},
        "future":{"x":[1,{"y":null}]},"":0,"a.b":[],"$":"$""#,
    );
    let stored = put(&*saver, &thread(), &checkpoint, &step(0)).await;
    assert_same(&checkpoint, &got(&*saver, &stored).await.checkpoint);
}

async fn absent_and_null_members_stay_so(subject: Subject) {
    let saver = subject.saver().await;
    let absent = with_members("");
    let null = with_members(r#""channel_values":{},"updated_channels":null"#);
    for checkpoint in [absent, null] {
        let stored = put(&*saver, &thread(), &checkpoint, &metadata("{}")).await;
        let tuple = got(&*saver, &stored).await;
        assert_same(&checkpoint, &tuple.checkpoint);
        assert_same_json(&metadata("{}").to_json(), &tuple.metadata.to_json());
    }
}

async fn metadata_comes_back(subject: Subject) {
    let saver = subject.saver().await;
    let given = metadata(
        r#"{"source":"loop","step":3,"parents":{"":"x"},"custom":"value","list":[1,{"a":2.0}]}"#,
    );
    let stored = put(&*saver, &thread(), &empty(), &given).await;
    assert_same_json(
        &given.to_json(),
        &got(&*saver, &stored).await.metadata.to_json(),
    );
}

async fn metadata_is_joined_by_the_config(subject: Subject) {
    let saver = subject.saver().await;
    let config = thread().with_metadata(metadata(
        r#"{"source":"config","user":"u","n":1,"list":[1],"__hidden":1,"thread_id":"t"}"#,
    ));
    let stored = put(
        &*saver,
        &config,
        &empty(),
        &metadata(r#"{"source":"loop"}"#),
    )
    .await;
    let expected = metadata(r#"{"source":"loop","user":"u","n":1}"#);
    assert_same_json(
        &expected.to_json(),
        &got(&*saver, &stored).await.metadata.to_json(),
    );
}

async fn run_ids_come_from_the_metadata_or_the_config(subject: Subject) {
    let saver = subject.saver().await;
    let config = thread()
        .with_run(RunId::new("of the config").unwrap())
        .with_metadata(metadata(r#"{"run_id":"of the config's metadata"}"#));
    for (own, expected) in [
        ("{}", "of the config"),
        (r#"{"run_id":"its own"}"#, "its own"),
    ] {
        let stored = put(&*saver, &config, &empty(), &metadata(own)).await;
        let found = got(&*saver, &stored).await.metadata;
        assert_eq!(
            found.get::<String>("run_id").unwrap().as_deref(),
            Some(expected)
        );
    }
}

async fn the_root_namespace_is_a_namespace(subject: Subject) {
    let saver = subject.saver().await;
    let stored = put_empty(&*saver, &within(&thread(), "")).await;
    assert!(got(&*saver, &stored).await.config.namespace().is_root());
}

async fn a_child_namespace_is_kept(subject: Subject) {
    let saver = subject.saver().await;
    let stored = put_empty(&*saver, &within(&thread(), "child:abc|grand:1")).await;
    let found = got(&*saver, &stored).await.config;
    assert_eq!(found.namespace().as_str(), "child:abc|grand:1");
}

async fn a_config_without_a_namespace_means_the_root(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let stored = put_empty(&*saver, &thread).await;
    assert!(
        stored
            .checkpoint_ns
            .as_ref()
            .is_some_and(CheckpointNamespace::is_root)
    );
    assert_eq!(got(&*saver, &within(&thread, "")).await.config, stored);
    assert_eq!(got(&*saver, &thread).await.config, stored);
}

async fn checkpoints_of_a_thread_can_all_be_read(subject: Subject) {
    let saver = subject.saver().await;
    for stored in put_chain(&*saver, &thread(), 3).await {
        assert_eq!(got(&*saver, &stored).await.config, stored);
    }
}

async fn threads_are_apart(subject: Subject) {
    let saver = subject.saver().await;
    let (one, two) = (thread(), thread());
    put(&*saver, &one, &holding("x", 1, &json!("one")), &step(0)).await;
    put(&*saver, &two, &holding("x", 1, &json!("two")), &step(0)).await;
    for (thread, expected) in [(one, "one"), (two, "two")] {
        let found = got(&*saver, &thread).await.checkpoint;
        assert_eq!(
            found.channel_value::<String>("x").unwrap().unwrap(),
            expected
        );
    }
}

async fn the_parent_is_kept(subject: Subject) {
    let saver = subject.saver().await;
    let stored = put_chain(&*saver, &within(&thread(), "child"), 3).await;
    assert_eq!(got(&*saver, &stored[0]).await.parent_config, None);
    for pair in stored.windows(2) {
        assert_eq!(
            got(&*saver, &pair[1]).await.parent_config.as_ref(),
            Some(&pair[0])
        );
    }
}

/// Puts two checkpoints, one after the other, and requires that both come back.
async fn both_come_back(subject: Subject, first: &str, second: &str) {
    let saver = subject.saver().await;
    let (first, second) = (with_members(first), with_members(second));
    let parent = put(&*saver, &thread(), &first, &step(0)).await;
    let child = put(&*saver, &parent, &second, &step(1)).await;
    assert_same(&second, &got(&*saver, &child).await.checkpoint);
    assert_same(&first, &got(&*saver, &parent).await.checkpoint);
}

async fn a_channel_can_be_updated_alone(subject: Subject) {
    let first = r#""channel_values":{"a":"v1","b":"v2"},"channel_versions":{"a":1,"b":1}"#;
    let second = r#""channel_values":{"a":"new","b":"v2"},"channel_versions":{"a":2,"b":1}"#;
    both_come_back(subject, first, second).await;
}

async fn a_channel_can_be_added(subject: Subject) {
    let first = r#""channel_values":{"a":"v1"},"channel_versions":{"a":1}"#;
    let second = r#""channel_values":{"a":"v1","b":"new"},"channel_versions":{"a":1,"b":1}"#;
    both_come_back(subject, first, second).await;
}

async fn a_channel_can_be_removed(subject: Subject) {
    let first = r#""channel_values":{"a":"v1","b":"v2"},"channel_versions":{"a":1,"b":1}"#;
    let second = r#""channel_values":{"a":"new"},"channel_versions":{"a":2}"#;
    both_come_back(subject, first, second).await;
}

async fn putting_the_same_again_changes_nothing(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let stored = put_chain(&*saver, &thread, 2).await;
    put_writes(&*saver, &stored[0], &[("a", json!(1))], "task").await;
    let before = list(&*saver, &thread).await;
    for (position, tuple) in before.iter().rev().enumerate() {
        let config = tuple
            .parent_config
            .clone()
            .unwrap_or_else(|| thread.clone());
        let again = put(&*saver, &config, &tuple.checkpoint, &tuple.metadata).await;
        assert_eq!(again, stored[position]);
    }
    assert_eq!(list(&*saver, &thread).await, before);
    assert_eq!(got(&*saver, &thread).await, before[0]);
}

async fn an_older_checkpoint_does_not_become_the_newest(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let (older, newer) = (empty(), empty());
    let newest = put(&*saver, &thread, &newer, &step(1)).await;
    let oldest = put(&*saver, &thread, &older, &step(0)).await;
    assert_eq!(got(&*saver, &thread).await.config, newest);
    put(&*saver, &thread, &older, &step(0)).await;
    assert_eq!(got(&*saver, &thread).await.config, newest);
    assert_eq!(
        ids(&list(&*saver, &thread).await),
        newest_first(&[oldest, newest])
    );
}

async fn ids_of_any_form_are_ordered_by_their_bytes(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let mut given = [
        "1",
        "10",
        "2",
        "A",
        "Z",
        "a",
        "a-b",
        "a_b",
        "b",
        "é",
        "\u{10000}",
        "\u{ffff}",
        "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "1f1e5438-3693-6fd2-bfff-c562fd0be1e3",
        "1f1e5438-3693-6fd2-8000-c562fd0be1e3",
    ];
    for (position, id) in given.iter().enumerate() {
        put(&*saver, &thread, &empty_with_id(id), &step(0)).await;
        let greatest = given[..=position].iter().max().unwrap();
        assert_eq!(
            got(&*saver, &thread).await.checkpoint.id().as_str(),
            *greatest
        );
    }
    given.sort_unstable();
    given.reverse();
    assert_eq!(ids(&list(&*saver, &thread).await), given.map(id));
}

fn expecting(parent: Option<&CheckpointId>) -> PutOptions {
    PutOptions::default().with_expected_parent(match parent {
        Some(id) => ExpectedParent::Is(id.clone()),
        None => ExpectedParent::None,
    })
}

async fn an_expected_parent_must_be_the_newest(subject: Subject) {
    let saver = subject.saver().await;
    let thread = within(&thread(), "child");
    let (first, second, third) = (empty(), empty(), empty());
    let attempt = async |checkpoint: &Checkpoint, parent: Option<&CheckpointId>| {
        saver
            .put(&thread, checkpoint, &step(0), &expecting(parent))
            .await
    };
    let conflict = |result| matches!(result, Err(Error::Conflict { .. }));
    assert!(
        conflict(attempt(&first, Some(second.id())).await),
        "nothing is there yet"
    );
    attempt(&first, None).await.unwrap();
    assert!(conflict(attempt(&second, None).await), "one is there");
    assert!(
        conflict(attempt(&second, Some(third.id())).await),
        "another one is there"
    );
    attempt(&second, Some(first.id())).await.unwrap();
    assert!(
        conflict(attempt(&third, Some(first.id())).await),
        "the parent has a child"
    );
    attempt(&third, Some(second.id())).await.unwrap();
    let listed = list(&*saver, &thread).await;
    let expected = [&third, &second, &first].map(|checkpoint| checkpoint.id().clone());
    assert_eq!(ids(&listed), expected);
}

async fn a_put_that_expects_can_be_repeated(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let checkpoint = empty();
    let mut answers = Vec::new();
    for _ in 0..2 {
        let stored = saver
            .put(&thread, &checkpoint, &step(0), &expecting(None))
            .await;
        answers.push(stored.unwrap());
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(
        ids(&list(&*saver, &thread).await),
        newest_first(&answers[1..])
    );
}

async fn a_refused_put_changes_nothing(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let stored = put_empty(&*saver, &thread).await;
    put_writes(&*saver, &stored, &[("a", json!(1))], "task").await;
    let before = list(&*saver, &thread).await;
    let refused = saver
        .put(&thread, &empty(), &step(9), &expecting(None))
        .await;
    assert!(
        matches!(refused, Err(Error::Conflict { .. })),
        "{refused:?}"
    );
    assert_eq!(list(&*saver, &thread).await, before);
    assert_eq!(got(&*saver, &thread).await, before[0]);
}
