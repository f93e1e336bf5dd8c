//! Removing old checkpoints.

use std::time::Duration;

use serde_json::json;

use super::fixture::{
    empty, empty_with_id, get, got, id, ids, list, metadata, newest_first, pairs, put, put_chain,
    put_empty, put_writes, step, thread, threads, values, with_members, within,
};
use super::{Subject, case_table};
use crate::checkpoint::Checkpoint;
use crate::config::CheckpointConfig;
use crate::error::Error;
use crate::id::CheckpointId;
use crate::options::{PruneOptions, PruneStrategy};
use crate::saver::CheckpointSaver;

case_table! {
    Prune {
        keep_latest_keeps_exactly_the_newest,
        keep_latest_keeps_the_newest_of_each_thread,
        keep_latest_keeps_the_newest_of_each_namespace,
        the_writes_of_a_kept_checkpoint_stay,
        the_writes_of_a_removed_checkpoint_go,
        keep_last_keeps_so_many_of_each_namespace,
        keep_last_zero_is_refused,
        older_than_keeps_what_is_younger_and_the_newest,
        delete_removes_everything,
        other_threads_stay_when_one_is_pruned,
        no_threads_prune_nothing,
        threads_that_are_not_there_are_no_error_to_prune,
        pruning_again_changes_nothing,
        a_pruned_thread_goes_on,
        writes_that_await_their_checkpoint_stay,
        an_open_interrupt_stays,
        channels_that_were_read_need_no_ancestor,
        a_delta_channel_keeps_its_chain,
        a_delta_channel_without_counters_keeps_its_chain,
        an_abandoned_branch_goes,
        a_subgraphs_call_goes_with_its_root_checkpoint,
        a_subgraphs_call_of_a_kept_root_checkpoint_stays,
        a_subgraphs_call_without_its_root_checkpoint_goes_once_it_is_older,
        a_subgraph_that_goes_on_keeps_its_newest,
        writes_of_a_subgraphs_call_go_with_it,
    }
}

async fn prune(saver: &dyn CheckpointSaver, thread: &CheckpointConfig, strategy: PruneStrategy) {
    let threads = std::slice::from_ref(&thread.thread_id);
    saver
        .prune(threads, &PruneOptions::new(strategy))
        .await
        .unwrap();
}

async fn keep_latest_keeps_exactly_the_newest(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let stored = put_chain(&*saver, &thread, 4).await;
    let before = got(&*saver, &thread).await;
    prune(&*saver, &thread, PruneStrategy::KeepLatest).await;
    assert_eq!(list(&*saver, &thread).await, std::slice::from_ref(&before));
    assert_eq!(got(&*saver, &thread).await, before);
    assert_eq!(get(&*saver, &stored[2]).await, None);
}

async fn keep_latest_keeps_the_newest_of_each_thread(subject: Subject) {
    let saver = subject.saver().await;
    let threads = [thread(), thread()];
    let mut newest = Vec::new();
    for thread in &threads {
        // Without channels, as the conformance package of LangGraph has them.
        let first = put_empty(&*saver, thread).await;
        newest.push(put_empty(&*saver, &first).await);
    }
    let given = threads.clone().map(|thread| thread.thread_id);
    saver.prune(&given, &PruneOptions::default()).await.unwrap();
    for (thread, newest) in threads.iter().zip(newest) {
        assert_eq!(ids(&list(&*saver, thread).await), newest_first(&[newest]));
    }
}

async fn keep_latest_keeps_the_newest_of_each_namespace(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let mut newest = Vec::new();
    for namespace in ["", "child:1", "child:2"] {
        newest.extend(
            put_chain(&*saver, &within(&thread, namespace), 3)
                .await
                .pop(),
        );
    }
    prune(&*saver, &thread, PruneStrategy::KeepLatest).await;
    assert_eq!(ids(&list(&*saver, &thread).await), newest_first(&newest));
    for config in newest {
        assert_eq!(
            got(&*saver, &within(&thread, config.namespace().as_str()))
                .await
                .config,
            config
        );
    }
}

async fn the_writes_of_a_kept_checkpoint_stay(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let stored = put_chain(&*saver, &thread, 3).await;
    put_writes(&*saver, &stored[2], &[("ch", json!("val"))], "task").await;
    prune(&*saver, &thread, PruneStrategy::KeepLatest).await;
    let found = got(&*saver, &thread).await.pending_writes;
    assert_eq!(values(&found), pairs(&[("ch", json!("val"))]));
}

async fn the_writes_of_a_removed_checkpoint_go(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let stored = put_chain(&*saver, &thread, 2).await;
    put_writes(&*saver, &stored[0], &[("step", json!(1))], "task").await;
    let removed = got(&*saver, &stored[0]).await.checkpoint;
    prune(&*saver, &thread, PruneStrategy::KeepLatest).await;
    put(&*saver, &thread, &removed, &step(0)).await;
    assert_eq!(got(&*saver, &stored[0]).await.pending_writes, []);
}

async fn keep_last_keeps_so_many_of_each_namespace(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let mut kept = Vec::new();
    for namespace in ["", "child"] {
        let stored = put_chain(&*saver, &within(&thread, namespace), 5).await;
        kept.extend_from_slice(&stored[2..]);
    }
    prune(&*saver, &thread, PruneStrategy::KeepLast(3)).await;
    assert_eq!(ids(&list(&*saver, &thread).await), newest_first(&kept));
    prune(&*saver, &thread, PruneStrategy::KeepLast(100)).await;
    assert_eq!(ids(&list(&*saver, &thread).await), newest_first(&kept));
}

async fn keep_last_zero_is_refused(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    put_chain(&*saver, &thread, 2).await;
    let before = list(&*saver, &thread).await;
    let options = PruneOptions::new(PruneStrategy::KeepLast(0));
    let refused = saver
        .prune(std::slice::from_ref(&thread.thread_id), &options)
        .await;
    assert!(
        matches!(refused, Err(Error::InvalidInput { .. })),
        "{refused:?}"
    );
    assert_eq!(list(&*saver, &thread).await, before);
}

async fn older_than_keeps_what_is_younger_and_the_newest(subject: Subject) {
    let saver = subject.saver().await;
    let hour = || PruneStrategy::OlderThan(Duration::from_secs(3_600));
    let old = [
        "1ec9414c-232a-6b00-b3c8-9e6bdeced846",
        "1ec9414c-232a-6b01-b3c8-9e6bdeced846",
    ];
    let thread = thread();
    for id in old {
        put(&*saver, &thread, &empty_with_id(id), &step(0)).await;
    }
    prune(&*saver, &thread, hour()).await;
    assert_eq!(
        ids(&list(&*saver, &thread).await),
        [id(old[1])],
        "the newest stays"
    );
    let young = put_chain(&*saver, &thread, 2).await;
    prune(&*saver, &thread, hour()).await;
    assert_eq!(ids(&list(&*saver, &thread).await), newest_first(&young));
}

async fn delete_removes_everything(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    for namespace in ["", "child"] {
        let stored = put_chain(&*saver, &within(&thread, namespace), 3).await;
        put_writes(&*saver, &stored[2], &[("a", json!(1))], "task").await;
    }
    prune(&*saver, &thread, PruneStrategy::Delete).await;
    assert_eq!(list(&*saver, &thread).await, []);
    assert_eq!(get(&*saver, &thread).await, None);
}

async fn other_threads_stay_when_one_is_pruned(subject: Subject) {
    let saver = subject.saver().await;
    let (one, other) = (thread(), thread());
    put_chain(&*saver, &one, 3).await;
    put_chain(&*saver, &other, 3).await;
    let before = list(&*saver, &other).await;
    prune(&*saver, &one, PruneStrategy::KeepLatest).await;
    assert_eq!(list(&*saver, &other).await, before);
}

/// One of each strategy.
fn strategies() -> [PruneStrategy; 4] {
    [
        PruneStrategy::KeepLatest,
        PruneStrategy::KeepLast(1),
        PruneStrategy::OlderThan(Duration::ZERO),
        PruneStrategy::Delete,
    ]
}

async fn no_threads_prune_nothing(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let stored = put_chain(&*saver, &thread, 3).await;
    put_writes(&*saver, &stored[0], &[("a", json!(1))], "task").await;
    let before = list(&*saver, &thread).await;
    for strategy in strategies() {
        saver
            .prune(&[], &PruneOptions::new(strategy))
            .await
            .unwrap();
        assert_eq!(list(&*saver, &thread).await, before);
        assert_eq!(got(&*saver, &thread).await, before[0]);
    }
}

async fn threads_that_are_not_there_are_no_error_to_prune(subject: Subject) {
    let saver = subject.saver().await;
    let other = thread();
    put_chain(&*saver, &other, 3).await;
    let before = list(&*saver, &other).await;
    for strategy in strategies() {
        let missing = thread();
        prune(&*saver, &missing, strategy).await;
        assert_eq!(get(&*saver, &missing).await, None);
        assert_eq!(threads(&*saver, missing.thread_id.as_str()).await, []);
        assert_eq!(list(&*saver, &other).await, before);
    }
}

async fn pruning_again_changes_nothing(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    put_deltas(&*saver, &thread, true).await;
    prune(&*saver, &thread, PruneStrategy::KeepLatest).await;
    let once = list(&*saver, &thread).await;
    prune(&*saver, &thread, PruneStrategy::KeepLatest).await;
    assert_eq!(list(&*saver, &thread).await, once);
}

async fn a_pruned_thread_goes_on(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let stored = put_chain(&*saver, &thread, 3).await;
    prune(&*saver, &thread, PruneStrategy::KeepLatest).await;
    let next = put_empty(&*saver, &stored[2]).await;
    assert_eq!(got(&*saver, &thread).await.config, next);
    assert_eq!(
        got(&*saver, &thread).await.parent_config.as_ref(),
        Some(&stored[2])
    );
    assert_eq!(list(&*saver, &thread).await.len(), 2);
}

async fn writes_that_await_their_checkpoint_stay(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    put_chain(&*saver, &thread, 3).await;
    let awaited = empty();
    let config = thread.clone().with_checkpoint(awaited.id().clone());
    put_writes(
        &*saver,
        &config,
        &[("__interrupt__", json!("early"))],
        "task",
    )
    .await;
    prune(&*saver, &thread, PruneStrategy::KeepLatest).await;
    put(&*saver, &thread, &awaited, &step(3)).await;
    let found = got(&*saver, &thread).await.pending_writes;
    assert_eq!(values(&found), pairs(&[("__interrupt__", json!("early"))]));
}

async fn an_open_interrupt_stays(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let given = [("__interrupt__", json!([{"value": "go on?"}]))];
    for namespace in ["", "child:1"] {
        let stored = put_chain(&*saver, &within(&thread, namespace), 3).await;
        put_writes(&*saver, &stored[2], &given, "task").await;
    }
    prune(&*saver, &thread, PruneStrategy::KeepLatest).await;
    for namespace in ["", "child:1"] {
        let found = got(&*saver, &within(&thread, namespace))
            .await
            .pending_writes;
        assert_eq!(values(&found), pairs(&given));
    }
}

/// What LangGraph stores of a graph whose trigger channels lose their value when they are read.
async fn channels_that_were_read_need_no_ancestor(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let mut config = thread.clone();
    let steps = [
        (r#"{"__start__":{}}"#, r#"{"__start__":1}"#),
        (
            r#"{"n":0,"branch:to:a":null}"#,
            r#"{"__start__":2,"n":2,"branch:to:a":2}"#,
        ),
        (
            r#"{"n":1,"branch:to:b":null}"#,
            r#"{"__start__":2,"n":3,"branch:to:a":3,"branch:to:b":3}"#,
        ),
        (
            r#"{"n":2}"#,
            r#"{"__start__":2,"n":4,"branch:to:a":3,"branch:to:b":4}"#,
        ),
    ];
    let written = [
        vec![("n", json!(0)), ("branch:to:a", json!(null))],
        vec![("n", json!(1)), ("branch:to:b", json!(null))],
        vec![("n", json!(2))],
        vec![],
    ];
    for ((values, versions), given) in steps.iter().zip(written) {
        let members = format!(r#""channel_values":{values},"channel_versions":{versions}"#);
        config = put(&*saver, &config, &with_members(&members), &step(0)).await;
        put_writes(&*saver, &config, &given, "task").await;
    }
    prune(&*saver, &thread, PruneStrategy::KeepLatest).await;
    assert_eq!(ids(&list(&*saver, &thread).await), newest_first(&[config]));
}

/// Six checkpoints of a delta channel `d`, with a snapshot in the second, and writes to it before
/// each of them.
async fn put_deltas(
    saver: &dyn CheckpointSaver,
    thread: &CheckpointConfig,
    counted: bool,
) -> Vec<CheckpointConfig> {
    let mut config = thread.clone();
    let mut stored = Vec::new();
    for position in 0_i64..6 {
        let (checkpoint, counters) = match position {
            0 => (
                with_members(r#""channel_values":{},"channel_versions":{}"#),
                "{}".to_owned(),
            ),
            1 => (delta(position, r#""d":["snapshot"],"#), "{}".to_owned()),
            _ => (
                delta(position, ""),
                format!(r#"{{"d":[{0},{0}]}}"#, position - 1),
            ),
        };
        let counters = if counted { counters } else { "{}".to_owned() };
        let metadata = metadata(&format!(
            r#"{{"step":{position},"counters_since_delta_snapshot":{counters}}}"#
        ));
        config = put(saver, &config, &checkpoint, &metadata).await;
        put_writes(saver, &config, &[("d", json!([position]))], "task").await;
        stored.push(config.clone());
    }
    stored
}

fn delta(version: i64, snapshot: &str) -> Checkpoint {
    with_members(&format!(
        r#""channel_values":{{{snapshot}"n":{version}}},"channel_versions":{{"d":{version},"n":{version}}}"#
    ))
}

/// Requires that pruning keeps what the newest checkpoint's delta channel is made of, and no more.
async fn keeps_the_chain(subject: Subject, counted: bool) {
    let saver = subject.saver().await;
    let thread = thread();
    let stored = put_deltas(&*saver, &thread, counted).await;
    let channels = ["d".to_owned()];
    let before = saver
        .delta_channel_history(&thread, &channels)
        .await
        .unwrap();
    assert!(before["d"].seed.is_some());
    assert_eq!(before["d"].writes.len(), 4);
    prune(&*saver, &thread, PruneStrategy::KeepLatest).await;
    assert_eq!(
        saver
            .delta_channel_history(&thread, &channels)
            .await
            .unwrap(),
        before
    );
    assert_eq!(
        ids(&list(&*saver, &thread).await),
        newest_first(&stored[1..])
    );
}

async fn a_delta_channel_keeps_its_chain(subject: Subject) {
    keeps_the_chain(subject, true).await;
}

async fn a_delta_channel_without_counters_keeps_its_chain(subject: Subject) {
    keeps_the_chain(subject, false).await;
}

async fn an_abandoned_branch_goes(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let stored = put_deltas(&*saver, &thread, true).await;
    // A fork of the third checkpoint: those after it are on another branch.
    let counters = metadata(r#"{"counters_since_delta_snapshot":{"d":[2,2]}}"#);
    let fork = put(&*saver, &stored[2], &delta(3, ""), &counters).await;
    let channels = ["d".to_owned()];
    let before = saver.delta_channel_history(&fork, &channels).await.unwrap();
    prune(&*saver, &thread, PruneStrategy::KeepLatest).await;
    assert_eq!(
        saver.delta_channel_history(&fork, &channels).await.unwrap(),
        before
    );
    let mut kept: Vec<CheckpointId> = newest_first(&stored[1..3]);
    kept.insert(0, fork.checkpoint_id.clone().unwrap());
    assert_eq!(ids(&list(&*saver, &thread).await), kept);
}

/// Puts two checkpoints of a subgraph, called from a checkpoint of the root; gives the newer.
async fn put_call(
    saver: &dyn CheckpointSaver,
    thread: &CheckpointConfig,
    namespace: &str,
    root: &CheckpointConfig,
) -> CheckpointConfig {
    let root = root.checkpoint_id.as_ref().unwrap();
    let metadata = metadata(&format!(r#"{{"step":0,"parents":{{"":"{root}"}}}}"#));
    let within = within(thread, namespace);
    let first = put(saver, &within, &empty(), &metadata).await;
    put(saver, &first, &empty(), &metadata).await
}

async fn a_subgraphs_call_goes_with_its_root_checkpoint(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let roots = put_chain(&*saver, &thread, 2).await;
    let call = put_call(&*saver, &thread, "node:1", &roots[0]).await;
    put_call(&*saver, &thread, "node:1|inner:2", &roots[0]).await;
    let roots = put_chain(&*saver, &roots[1], 3).await;
    prune(&*saver, &thread, PruneStrategy::KeepLatest).await;
    assert_eq!(
        ids(&list(&*saver, &thread).await),
        newest_first(&roots[2..])
    );
    assert_eq!(get(&*saver, &call).await, None);
    // A thread goes on where it was.
    let next = put_call(&*saver, &thread, "node:1", &roots[2]).await;
    assert_eq!(got(&*saver, &within(&thread, "node:1")).await.config, next);
}

async fn a_subgraphs_call_of_a_kept_root_checkpoint_stays(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let roots = put_chain(&*saver, &thread, 3).await;
    put_call(&*saver, &thread, "node:1", &roots[0]).await;
    let calls = [
        put_call(&*saver, &thread, "node:2", &roots[1]).await,
        put_call(&*saver, &thread, "node:3", &roots[2]).await,
    ];
    prune(&*saver, &thread, PruneStrategy::KeepLast(2)).await;
    for call in &calls {
        assert!(get(&*saver, call).await.is_some());
    }
    let place = within(&thread, "node:1");
    assert_eq!(list(&*saver, &place).await, []);
    prune(&*saver, &thread, PruneStrategy::KeepLatest).await;
    assert_eq!(get(&*saver, &calls[0]).await, None);
    assert_eq!(list(&*saver, &within(&thread, "node:3")).await.len(), 1);
}

async fn a_subgraphs_call_without_its_root_checkpoint_goes_once_it_is_older(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let gone = thread.clone().with_checkpoint(empty().id().clone());
    put_call(&*saver, &thread, "node:1", &gone).await;
    prune(&*saver, &thread, PruneStrategy::KeepLatest).await;
    let place = within(&thread, "node:1");
    assert_eq!(list(&*saver, &place).await.len(), 1, "it may be put yet");
    put_empty(&*saver, &thread).await;
    let early = thread.clone().with_checkpoint(empty().id().clone());
    let early = put_call(&*saver, &thread, "node:2", &early).await;
    prune(&*saver, &thread, PruneStrategy::KeepLatest).await;
    assert_eq!(list(&*saver, &place).await, []);
    assert!(
        get(&*saver, &early).await.is_some(),
        "its root may be put yet"
    );
}

async fn a_subgraph_that_goes_on_keeps_its_newest(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let roots = put_chain(&*saver, &thread, 3).await;
    let newest = put_call(&*saver, &thread, "node", &roots[0]).await;
    prune(&*saver, &thread, PruneStrategy::KeepLatest).await;
    let found = list(&*saver, &within(&thread, "node")).await;
    assert_eq!(ids(&found), newest_first(&[newest]));
}

async fn writes_of_a_subgraphs_call_go_with_it(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let roots = put_chain(&*saver, &thread, 2).await;
    let call = put_call(&*saver, &thread, "node:1", &roots[0]).await;
    let given = [("a", json!(1))];
    put_writes(&*saver, &call, &given, "task").await;
    let awaited = empty();
    let early = within(&thread, "node:1").with_checkpoint(awaited.id().clone());
    put_writes(&*saver, &early, &given, "task").await;
    prune(&*saver, &thread, PruneStrategy::KeepLatest).await;
    put(&*saver, &within(&thread, "node:1"), &awaited, &step(0)).await;
    assert_eq!(got(&*saver, &early).await.pending_writes, []);
}
