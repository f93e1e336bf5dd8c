//! The history of delta channels.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::fixture::{
    assert_same, got, id, put, put_empty, put_writes, put_writes_at, step, thread, values,
    with_members, within,
};
use super::{Subject, case_table};
use crate::checkpoint::DeltaChannelHistory;
use crate::config::CheckpointConfig;
use crate::saver::CheckpointSaver;

case_table! {
    DeltaChannelHistory {
        the_writes_of_the_ancestors_come_oldest_first,
        the_writes_of_the_checkpoint_itself_are_left_out,
        the_nearest_value_is_the_seed,
        the_writes_at_the_seed_count,
        a_seed_of_null_is_a_seed,
        without_a_seed_the_walk_ends_at_the_root,
        each_channel_has_its_own_seed,
        writes_of_one_checkpoint_are_in_their_order,
        only_ancestors_count_on_a_fork,
        without_a_checkpoint_the_newest_is_the_target,
        a_target_that_is_not_there_has_an_empty_history,
        no_channels_have_no_history,
        namespaces_have_histories_of_their_own,
        an_ancestor_that_is_gone_ends_the_walk,
    }
}

async fn history(
    saver: &dyn CheckpointSaver,
    config: &CheckpointConfig,
    channels: &[&str],
) -> BTreeMap<String, DeltaChannelHistory> {
    let channels: Vec<String> = channels.iter().map(|&channel| channel.to_owned()).collect();
    saver
        .delta_channel_history(config, &channels)
        .await
        .unwrap()
}

/// The values of the writes, and the seed.
fn values_and_seed(history: &DeltaChannelHistory) -> (Vec<Value>, Option<Value>) {
    let writes = values(&history.writes)
        .into_iter()
        .map(|(_, value)| value)
        .collect();
    (
        writes,
        history.seed.as_ref().map(|seed| seed.decode().unwrap()),
    )
}

/// Checkpoints with these values, each with a write of its position to the channel `d`.
async fn put_steps(
    saver: &dyn CheckpointSaver,
    config: &CheckpointConfig,
    values: &[&str],
) -> Vec<CheckpointConfig> {
    let mut config = config.clone();
    let mut stored = Vec::new();
    for (position, values) in values.iter().enumerate() {
        let version = position + 1;
        let checkpoint = with_members(&format!(
            r#""channel_values":{values},"channel_versions":{{"d":{version},"e":{version}}}"#
        ));
        config = put(saver, &config, &checkpoint, &step(0)).await;
        put_writes(
            saver,
            &config,
            &[("other", json!("x")), ("d", json!(position))],
            "task",
        )
        .await;
        stored.push(config.clone());
    }
    stored
}

async fn the_writes_of_the_ancestors_come_oldest_first(subject: Subject) {
    let saver = subject.saver().await;
    let stored = put_steps(&*saver, &thread(), &["{}", "{}", "{}", "{}"]).await;
    let found = history(&*saver, &stored[3], &["d"]).await;
    assert_eq!(
        values_and_seed(&found["d"]),
        (vec![json!(0), json!(1), json!(2)], None)
    );
}

async fn the_writes_of_the_checkpoint_itself_are_left_out(subject: Subject) {
    let saver = subject.saver().await;
    let stored = put_steps(&*saver, &thread(), &[r#"{"d":"own"}"#]).await;
    let found = history(&*saver, &stored[0], &["d"]).await;
    assert_eq!(found["d"], DeltaChannelHistory::default());
}

async fn the_nearest_value_is_the_seed(subject: Subject) {
    let saver = subject.saver().await;
    let steps = [r#"{"d":"far"}"#, r#"{"d":["near"]}"#, "{}", "{}"];
    let stored = put_steps(&*saver, &thread(), &steps).await;
    let found = history(&*saver, &stored[3], &["d"]).await;
    assert_eq!(
        values_and_seed(&found["d"]),
        (vec![json!(1), json!(2)], Some(json!(["near"])))
    );
    let seed_checkpoint = found["d"].seed_checkpoint.as_ref().unwrap();
    assert_same(&got(&*saver, &stored[1]).await.checkpoint, seed_checkpoint);
}

async fn the_writes_at_the_seed_count(subject: Subject) {
    let saver = subject.saver().await;
    let stored = put_steps(&*saver, &thread(), &[r#"{"d":"seed"}"#, "{}"]).await;
    let found = history(&*saver, &stored[1], &["d"]).await;
    assert_eq!(
        values_and_seed(&found["d"]),
        (vec![json!(0)], Some(json!("seed")))
    );
}

async fn a_seed_of_null_is_a_seed(subject: Subject) {
    let saver = subject.saver().await;
    let stored = put_steps(&*saver, &thread(), &["{}", r#"{"d":null}"#, "{}"]).await;
    let found = history(&*saver, &stored[2], &["d"]).await;
    assert_eq!(
        values_and_seed(&found["d"]),
        (vec![json!(1)], Some(json!(null)))
    );
}

async fn without_a_seed_the_walk_ends_at_the_root(subject: Subject) {
    let saver = subject.saver().await;
    let stored = put_steps(&*saver, &thread(), &["{}", "{}"]).await;
    let found = history(&*saver, &stored[1], &["never"]).await;
    assert_eq!(found["never"], DeltaChannelHistory::default());
    assert_eq!(found.len(), 1);
}

async fn each_channel_has_its_own_seed(subject: Subject) {
    let saver = subject.saver().await;
    let steps = [r#"{"e":"far"}"#, r#"{"d":"near"}"#, "{}"];
    let stored = put_steps(&*saver, &thread(), &steps).await;
    let found = history(&*saver, &stored[2], &["d", "e", "d"]).await;
    assert_eq!(found.len(), 2);
    assert_eq!(
        values_and_seed(&found["d"]),
        (vec![json!(1)], Some(json!("near")))
    );
    assert_eq!(values_and_seed(&found["e"]), (vec![], Some(json!("far"))));
}

async fn writes_of_one_checkpoint_are_in_their_order(subject: Subject) {
    let saver = subject.saver().await;
    let root = put_empty(&*saver, &thread()).await;
    let child = put_empty(&*saver, &root).await;
    for (task_id, path) in [("z", "~a"), ("a", "~b"), ("m", ""), ("b", "~a")] {
        let given: Vec<_> = (0..11)
            .map(|position| ("d", json!(format!("{path}/{task_id}/{position}"))))
            .collect();
        put_writes_at(&*saver, &root, &given, task_id, path).await;
    }
    let expected: Vec<Value> = ["/m", "~a/b", "~a/z", "~b/a"]
        .iter()
        .flat_map(|task| (0..11).map(move |position| json!(format!("{task}/{position}"))))
        .collect();
    let found = history(&*saver, &child, &["d"]).await;
    assert_eq!(values_and_seed(&found["d"]), (expected, None));
}

async fn only_ancestors_count_on_a_fork(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let stored = put_steps(
        &*saver,
        &thread,
        &[r#"{"d":"seed"}"#, "{}", r#"{"d":"other"}"#],
    )
    .await;
    let fork = put_steps(&*saver, &stored[1], &["{}", "{}"]).await;
    let found = history(&*saver, &fork[1], &["d"]).await;
    let expected = (vec![json!(0), json!(1), json!(0)], Some(json!("seed")));
    assert_eq!(values_and_seed(&found["d"]), expected);
    assert_eq!(
        history(&*saver, &thread, &["d"]).await,
        found,
        "the fork is the newest"
    );
}

async fn without_a_checkpoint_the_newest_is_the_target(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    put_steps(&*saver, &thread, &["{}", "{}", "{}"]).await;
    let found = history(&*saver, &thread, &["d"]).await;
    assert_eq!(
        values_and_seed(&found["d"]),
        (vec![json!(0), json!(1)], None)
    );
}

async fn a_target_that_is_not_there_has_an_empty_history(subject: Subject) {
    let saver = subject.saver().await;
    let found = history(&*saver, &thread(), &["d", "e"]).await;
    assert_eq!(found.len(), 2);
    assert!(
        found
            .values()
            .all(|history| *history == DeltaChannelHistory::default())
    );
}

async fn no_channels_have_no_history(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    put_steps(&*saver, &thread, &["{}", "{}"]).await;
    assert!(history(&*saver, &thread, &[]).await.is_empty());
}

async fn namespaces_have_histories_of_their_own(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    put_steps(&*saver, &within(&thread, ""), &["{}", "{}"]).await;
    put_steps(&*saver, &within(&thread, "child"), &["{}", "{}", "{}"]).await;
    let root = history(&*saver, &thread, &["d"]).await;
    let child = history(&*saver, &within(&thread, "child"), &["d"]).await;
    assert_eq!(values_and_seed(&root["d"]), (vec![json!(0)], None));
    assert_eq!(
        values_and_seed(&child["d"]),
        (vec![json!(0), json!(1)], None)
    );
}

async fn an_ancestor_that_is_gone_ends_the_walk(subject: Subject) {
    let saver = subject.saver().await;
    let gone = thread().with_checkpoint(id("0"));
    let stored = put_steps(&*saver, &gone, &["{}", "{}"]).await;
    let found = history(&*saver, &stored[1], &["d"]).await;
    assert_eq!(values_and_seed(&found["d"]), (vec![json!(0)], None));
}
