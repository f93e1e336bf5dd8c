//! Storing writes.

use bytes::Bytes;
use serde_json::json;

use super::fixture::{
    empty, get, got, list, pairs, put, put_empty, put_writes, put_writes_at, step, task, thread,
    values, within, writes,
};
use super::{Subject, case_table};
use crate::checkpoint::{ChannelWrite, TypedValue};
use crate::error::Error;
use crate::id::CheckpointId;
use crate::options::PutWritesOptions;

case_table! {
    PutWrites {
        a_write_comes_back,
        writes_of_one_call_come_back,
        writes_of_different_tasks_are_apart,
        a_write_says_its_task_channel_path_and_index,
        the_same_call_again_changes_nothing,
        a_regular_write_stays_as_it_was_first,
        special_writes_replace_those_before,
        a_call_with_regular_and_special_writes_replaces_nothing,
        special_channels_have_fixed_indexes,
        writes_of_namespaces_are_apart,
        a_new_checkpoint_has_no_writes,
        writes_may_come_before_their_checkpoint,
        writes_alone_make_no_checkpoint,
        a_config_without_a_checkpoint_is_refused,
        no_writes_are_no_error,
        pending_writes_are_in_order,
        more_than_ten_writes_of_a_task_are_in_order,
        a_hundred_writes_in_one_call_come_back,
        values_of_every_type_come_back,
    }
}

async fn a_write_comes_back(subject: Subject) {
    let saver = subject.saver().await;
    let stored = put_empty(&*saver, &thread()).await;
    let given = [("channel", json!({"data": 123}))];
    put_writes(&*saver, &stored, &given, "task").await;
    let tuple = got(&*saver, &stored).await;
    assert_eq!(values(&tuple.pending_writes), pairs(&given));
}

async fn writes_of_one_call_come_back(subject: Subject) {
    let saver = subject.saver().await;
    let stored = put_empty(&*saver, &thread()).await;
    let given = [
        ("ch1", json!("v1")),
        ("ch2", json!("v2")),
        ("ch1", json!("v3")),
    ];
    put_writes(&*saver, &stored, &given, "task").await;
    assert_eq!(
        values(&got(&*saver, &stored).await.pending_writes),
        pairs(&given)
    );
}

async fn writes_of_different_tasks_are_apart(subject: Subject) {
    let saver = subject.saver().await;
    let stored = put_empty(&*saver, &thread()).await;
    put_writes(&*saver, &stored, &[("ch", json!("one"))], "task-1").await;
    put_writes(&*saver, &stored, &[("ch", json!("two"))], "task-2").await;
    let found = got(&*saver, &stored).await.pending_writes;
    assert_eq!(
        values(&found),
        pairs(&[("ch", json!("one")), ("ch", json!("two"))])
    );
    assert_eq!(found[0].task_id.as_str(), "task-1");
    assert_eq!(found[1].task_id.as_str(), "task-2");
}

async fn a_write_says_its_task_channel_path_and_index(subject: Subject) {
    let saver = subject.saver().await;
    let stored = put_empty(&*saver, &thread()).await;
    let given = [("a", json!(1)), ("b", json!(null))];
    put_writes_at(&*saver, &stored, &given, "task", "~__pregel_pull, node").await;
    let found = got(&*saver, &stored).await.pending_writes;
    assert_eq!(found.len(), given.len());
    for (position, (write, (channel, value))) in found.iter().zip(&given).enumerate() {
        assert_eq!(write.task_id.as_str(), "task");
        assert_eq!(write.task_path, "~__pregel_pull, node");
        assert_eq!(usize::try_from(write.idx), Ok(position));
        assert_eq!(write.channel, *channel);
        assert_eq!(write.value, TypedValue::json(value).unwrap());
    }
}

async fn the_same_call_again_changes_nothing(subject: Subject) {
    let saver = subject.saver().await;
    let stored = put_empty(&*saver, &thread()).await;
    let given = [
        ("a", json!(1)),
        ("__interrupt__", json!("q")),
        ("b", json!(2)),
    ];
    put_writes(&*saver, &stored, &given, "task").await;
    let before = got(&*saver, &stored).await;
    put_writes(&*saver, &stored, &given, "task").await;
    assert_eq!(got(&*saver, &stored).await, before);
    assert_eq!(before.pending_writes.len(), 3);
}

async fn a_regular_write_stays_as_it_was_first(subject: Subject) {
    let saver = subject.saver().await;
    let stored = put_empty(&*saver, &thread()).await;
    put_writes(&*saver, &stored, &[("a", json!("first"))], "task").await;
    put_writes(
        &*saver,
        &stored,
        &[("b", json!("second")), ("c", json!("new"))],
        "task",
    )
    .await;
    let found = got(&*saver, &stored).await.pending_writes;
    assert_eq!(
        values(&found),
        pairs(&[("a", json!("first")), ("c", json!("new"))])
    );
}

async fn special_writes_replace_those_before(subject: Subject) {
    let saver = subject.saver().await;
    let stored = put_empty(&*saver, &thread()).await;
    put_writes(&*saver, &stored, &[("a", json!(0))], "task").await;
    for round in 1..=2 {
        let given = [
            ("__error__", json!(round)),
            ("__scheduled__", json!(round)),
            ("__interrupt__", json!(round)),
            ("__resume__", json!(round)),
        ];
        put_writes(&*saver, &stored, &given, "task").await;
    }
    let found = got(&*saver, &stored).await.pending_writes;
    let expected = [
        ("__resume__", json!(2)),
        ("__interrupt__", json!(2)),
        ("__scheduled__", json!(2)),
        ("__error__", json!(2)),
        ("a", json!(0)),
    ];
    assert_eq!(values(&found), pairs(&expected));
}

async fn a_call_with_regular_and_special_writes_replaces_nothing(subject: Subject) {
    let saver = subject.saver().await;
    let stored = put_empty(&*saver, &thread()).await;
    put_writes(&*saver, &stored, &[("__resume__", json!("first"))], "task").await;
    let mixed = [("a", json!(1)), ("__resume__", json!("second"))];
    put_writes(&*saver, &stored, &mixed, "task").await;
    let found = got(&*saver, &stored).await.pending_writes;
    assert_eq!(
        values(&found),
        pairs(&[("__resume__", json!("first")), ("a", json!(1))])
    );
}

async fn special_channels_have_fixed_indexes(subject: Subject) {
    let saver = subject.saver().await;
    let stored = put_empty(&*saver, &thread()).await;
    let given = [
        ("a", json!(0)),
        ("__error__", json!("it broke")),
        ("__interrupt__", json!([{"value": "go on?"}])),
        ("b", json!(3)),
    ];
    put_writes(&*saver, &stored, &given, "task").await;
    let found = got(&*saver, &stored).await.pending_writes;
    let indexes: Vec<i64> = found.iter().map(|write| write.idx).collect();
    assert_eq!(indexes, [-3, -1, 0, 3]);
    assert_eq!(found[0].channel, "__interrupt__");
    assert_eq!(found[1].channel, "__error__");
}

async fn writes_of_namespaces_are_apart(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let checkpoint = empty();
    for namespace in ["", "child:1"] {
        let stored = put(&*saver, &within(&thread, namespace), &checkpoint, &step(0)).await;
        put_writes(&*saver, &stored, &[("ch", json!(namespace))], "task").await;
    }
    for namespace in ["", "child:1"] {
        let found = got(&*saver, &within(&thread, namespace))
            .await
            .pending_writes;
        assert_eq!(values(&found), pairs(&[("ch", json!(namespace))]));
    }
}

async fn a_new_checkpoint_has_no_writes(subject: Subject) {
    let saver = subject.saver().await;
    let parent = put_empty(&*saver, &thread()).await;
    put_writes(&*saver, &parent, &[("ch", json!("old"))], "task").await;
    let child = put_empty(&*saver, &parent).await;
    assert_eq!(got(&*saver, &child).await.pending_writes, []);
    assert_eq!(got(&*saver, &parent).await.pending_writes.len(), 1);
}

async fn writes_may_come_before_their_checkpoint(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let checkpoint = empty();
    let config = thread.clone().with_checkpoint(checkpoint.id().clone());
    put_writes(
        &*saver,
        &config,
        &[("__interrupt__", json!("early"))],
        "task",
    )
    .await;
    put(&*saver, &thread, &checkpoint, &step(0)).await;
    let expected = pairs(&[("__interrupt__", json!("early"))]);
    assert_eq!(
        values(&got(&*saver, &thread).await.pending_writes),
        expected
    );
    assert_eq!(
        values(&got(&*saver, &config).await.pending_writes),
        expected
    );
    for config in [thread.clone(), within(&thread, ""), config] {
        let listed = list(&*saver, &config).await;
        assert_eq!(listed.len(), 1);
        assert_eq!(values(&listed[0].pending_writes), expected);
    }
}

async fn writes_alone_make_no_checkpoint(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let config = thread.clone().with_checkpoint(CheckpointId::now_v6());
    put_writes(&*saver, &config, &[("a", json!(1))], "task").await;
    assert_eq!(get(&*saver, &thread).await, None);
    assert_eq!(get(&*saver, &config).await, None);
    assert_eq!(list(&*saver, &thread).await, []);
}

async fn a_config_without_a_checkpoint_is_refused(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    put_empty(&*saver, &thread).await;
    let options = PutWritesOptions::default();
    let refused = saver
        .put_writes(
            &thread,
            &writes(&[("a", json!(1))]),
            &task("task"),
            &options,
        )
        .await;
    assert!(
        matches!(refused, Err(Error::InvalidInput { .. })),
        "{refused:?}"
    );
    assert_eq!(got(&*saver, &thread).await.pending_writes, []);
}

async fn no_writes_are_no_error(subject: Subject) {
    let saver = subject.saver().await;
    let stored = put_empty(&*saver, &thread()).await;
    put_writes(&*saver, &stored, &[], "task").await;
    assert_eq!(got(&*saver, &stored).await.pending_writes, []);
    let given = [("a", json!(1)), ("__interrupt__", json!(2))];
    put_writes(&*saver, &stored, &given, "task").await;
    let before = got(&*saver, &stored).await;
    put_writes(&*saver, &stored, &[], "task").await;
    assert_eq!(got(&*saver, &stored).await, before);
}

async fn pending_writes_are_in_order(subject: Subject) {
    let saver = subject.saver().await;
    let stored = put_empty(&*saver, &thread()).await;
    let calls = [
        ("t-1", "~__pregel_pull, b"),
        ("t-3", "~__pregel_pull, a"),
        ("T-2", "~__pregel_pull, a"),
        ("t-2", "~__pregel_pull, a"),
        ("t-9", ""),
        ("t-10", ""),
    ];
    for (task_id, path) in calls {
        let given = [("x", json!(0)), ("y", json!(1)), ("__resume__", json!(2))];
        put_writes_at(&*saver, &stored, &given, task_id, path).await;
    }
    let mut expected: Vec<(&str, &str, i64)> = calls
        .iter()
        .flat_map(|(task_id, path)| [-4, 0, 1].map(|idx| (*path, *task_id, idx)))
        .collect();
    expected.sort_unstable();
    for tuple in [
        got(&*saver, &stored).await,
        list(&*saver, &stored).await.remove(0),
    ] {
        let found: Vec<(&str, &str, i64)> = tuple
            .pending_writes
            .iter()
            .map(|write| (write.task_path.as_str(), write.task_id.as_str(), write.idx))
            .collect();
        assert_eq!(found, expected);
    }
}

async fn more_than_ten_writes_of_a_task_are_in_order(subject: Subject) {
    let saver = subject.saver().await;
    let stored = put_empty(&*saver, &thread()).await;
    let given: Vec<_> = (0..25)
        .map(|position| ("messages", json!(position)))
        .collect();
    put_writes(&*saver, &stored, &given, "task").await;
    assert_eq!(
        values(&got(&*saver, &stored).await.pending_writes),
        pairs(&given)
    );
    assert_eq!(
        values(&list(&*saver, &stored).await[0].pending_writes),
        pairs(&given)
    );
}

async fn a_hundred_writes_in_one_call_come_back(subject: Subject) {
    let saver = subject.saver().await;
    let stored = put_empty(&*saver, &thread()).await;
    let names: Vec<String> = (0..100)
        .map(|position| format!("channel-{position}"))
        .collect();
    let given: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), json!({"of": name})))
        .collect();
    put_writes(&*saver, &stored, &given, "task").await;
    assert_eq!(
        values(&got(&*saver, &stored).await.pending_writes),
        pairs(&given)
    );
}

async fn values_of_every_type_come_back(subject: Subject) {
    let saver = subject.saver().await;
    let stored = put_empty(&*saver, &thread()).await;
    let every_byte: Vec<u8> = (0..=255).collect();
    let given: Vec<ChannelWrite> = [
        TypedValue::json(&json!({"a": [1, 2.0, null]})).unwrap(),
        TypedValue::new("null", Bytes::new()),
        TypedValue::new("empty", Bytes::new()),
        TypedValue::new("bytes", every_byte.clone()),
        TypedValue::new("msgpack", vec![0x81, 0xa1, b'a', 0xc0]),
        TypedValue::new("msgpack+aes", every_byte.repeat(100)),
        TypedValue::new("json", "not JSON, and nobody's business"),
        TypedValue::new("a type, \"quoted\" é", "x"),
    ]
    .into_iter()
    .enumerate()
    .map(|(position, value)| ChannelWrite::new(format!("c{position}"), value))
    .collect();
    let options = PutWritesOptions::default();
    saver
        .put_writes(&stored, &given, &task("task"), &options)
        .await
        .unwrap();
    let found: Vec<ChannelWrite> = got(&*saver, &stored)
        .await
        .pending_writes
        .into_iter()
        .map(|write| ChannelWrite::new(write.channel, write.value))
        .collect();
    assert_eq!(found, given);
}
