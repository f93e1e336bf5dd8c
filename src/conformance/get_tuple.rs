//! Reading one checkpoint.

use serde_json::json;

use super::fixture::{
    assert_same, assert_same_json, get, got, holding, list, named, pairs, put, put_chain,
    put_empty, put_writes, step, thread, values, within,
};
use super::{Subject, case_table};
use crate::id::CheckpointId;
use crate::saver_ext::CheckpointSaverExt;

case_table! {
    GetTuple {
        a_thread_that_is_not_there_is_none,
        a_checkpoint_that_is_not_there_is_none,
        a_namespace_that_is_not_there_is_none,
        without_a_checkpoint_the_newest_is_read,
        with_a_checkpoint_that_one_is_read,
        the_config_names_the_checkpoint,
        metadata_parent_and_writes_come_along,
        each_namespace_has_its_own_newest,
        reading_changes_nothing,
        large_checkpoints_come_back,
    }
}

async fn a_thread_that_is_not_there_is_none(subject: Subject) {
    let saver = subject.saver().await;
    assert_eq!(get(&*saver, &thread()).await, None);
    assert_eq!(saver.get(&thread()).await.unwrap(), None);
}

async fn a_checkpoint_that_is_not_there_is_none(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let stored = put_empty(&*saver, &thread).await;
    let other = thread.clone().with_checkpoint(CheckpointId::now_v6());
    assert_eq!(get(&*saver, &other).await, None);
    let elsewhere = within(&stored, "child");
    assert_eq!(get(&*saver, &elsewhere).await, None);
}

async fn a_namespace_that_is_not_there_is_none(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    put_empty(&*saver, &within(&thread, "child:1")).await;
    assert_eq!(get(&*saver, &thread).await, None, "only a child is there");
    assert_eq!(get(&*saver, &within(&thread, "child")).await, None);
}

async fn without_a_checkpoint_the_newest_is_read(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let stored = put_chain(&*saver, &thread, 3).await;
    let tuple = got(&*saver, &thread).await;
    assert_eq!(tuple.config, stored[2]);
    assert_eq!(tuple.metadata.get::<i64>("step").unwrap(), Some(2));
}

async fn with_a_checkpoint_that_one_is_read(subject: Subject) {
    let saver = subject.saver().await;
    let stored = put_chain(&*saver, &thread(), 3).await;
    let tuple = got(&*saver, &stored[0]).await;
    assert_eq!(tuple.config, stored[0]);
    assert_eq!(tuple.metadata.get::<i64>("step").unwrap(), Some(0));
    let without_namespace =
        named(&stored[1].thread_id).with_checkpoint(stored[1].checkpoint_id.clone().unwrap());
    assert_eq!(got(&*saver, &without_namespace).await.config, stored[1]);
}

async fn the_config_names_the_checkpoint(subject: Subject) {
    let saver = subject.saver().await;
    let stored = put_empty(&*saver, &within(&thread(), "child:1")).await;
    assert_eq!(got(&*saver, &stored).await.config, stored);
}

async fn metadata_parent_and_writes_come_along(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let stored = put_chain(&*saver, &thread, 2).await;
    put_writes(&*saver, &stored[1], &[("ch", json!("val"))], "task").await;
    let tuple = got(&*saver, &thread).await;
    assert_same_json(&step(1).to_json(), &tuple.metadata.to_json());
    assert_eq!(tuple.parent_config.as_ref(), Some(&stored[0]));
    assert_eq!(
        values(&tuple.pending_writes),
        pairs(&[("ch", json!("val"))])
    );
}

async fn each_namespace_has_its_own_newest(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let child = put_empty(&*saver, &within(&thread, "child:1")).await;
    let root = put_empty(&*saver, &within(&thread, "")).await;
    assert_eq!(got(&*saver, &within(&thread, "")).await.config, root);
    assert_eq!(
        got(&*saver, &within(&thread, "child:1")).await.config,
        child
    );
}

async fn reading_changes_nothing(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let stored = put_chain(&*saver, &thread, 2).await;
    put_writes(&*saver, &stored[0], &[("a", json!(1))], "task").await;
    let before = list(&*saver, &thread).await;
    for _ in 0..3 {
        assert_eq!(got(&*saver, &thread).await, before[0]);
        assert_eq!(got(&*saver, &stored[0]).await, before[1]);
        assert_eq!(list(&*saver, &thread).await, before);
    }
}

async fn large_checkpoints_come_back(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let messages: Vec<_> = (0..1_000)
        .map(|turn| json!({"id": turn, "content": "naïve 😀 ".repeat(40)}))
        .collect();
    let checkpoint = holding("messages", 1, &json!(messages));
    let stored = put(&*saver, &thread, &checkpoint, &step(0)).await;
    assert_same(&checkpoint, &got(&*saver, &thread).await.checkpoint);
    assert_same(&checkpoint, &got(&*saver, &stored).await.checkpoint);
    assert_same(&checkpoint, &list(&*saver, &thread).await[0].checkpoint);
}
