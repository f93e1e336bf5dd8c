//! Listing checkpoints.

use futures_util::StreamExt;
use serde_json::json;

use super::fixture::{
    empty, empty_with_id, got, id, ids, list, list_with, list_within, metadata, named,
    newest_first, put, put_chain, put_empty, put_writes, random, step, thread, within,
};
use super::{Subject, case_table};
use crate::config::CheckpointConfig;
use crate::filter::MetadataFilter;
use crate::id::CheckpointId;
use crate::options::ListOptions;
use crate::saver::CheckpointSaver;

case_table! {
    List {
        a_thread_is_listed_newest_first,
        other_threads_are_not_listed,
        a_config_without_a_namespace_lists_every_one,
        a_namespace_is_listed_alone,
        the_root_namespace_is_listed_alone,
        namespaces_are_merged_by_id,
        a_checkpoint_in_the_config_is_listed_alone,
        listed_tuples_are_those_that_get_tuple_reads,
        a_filter_takes_source_and_step,
        a_filter_takes_any_key,
        a_filter_takes_values_of_any_type,
        a_filter_by_thread_id_means_the_thread,
        a_filter_needs_every_key,
        a_filter_is_never_part_of_a_query,
        before_leaves_out_itself_and_what_is_newer,
        before_takes_ulids_and_any_id,
        before_takes_an_id_that_is_not_there,
        before_counts_in_every_namespace,
        a_limit_is_kept,
        pages_of_limit_and_before_cover_everything,
        limit_counts_after_the_filter,
        every_thread_is_listed_without_a_config,
        a_list_within_a_prefix_has_its_threads_alone,
        more_than_a_page_is_listed,
        a_list_can_be_left_midway,
        nothing_is_listed_twice_while_others_write,
    }
}

/// Checkpoints of steps 0 to 3, of the sources input and loop in turn.
async fn four(saver: &dyn CheckpointSaver, thread: &CheckpointConfig) -> Vec<CheckpointConfig> {
    let mut config = thread.clone();
    let mut stored = Vec::new();
    for step in 0..4 {
        let source = if step % 2 == 0 { "input" } else { "loop" };
        let metadata = metadata(&format!(r#"{{"source":"{source}","step":{step}}}"#));
        config = put(saver, &config, &empty(), &metadata).await;
        stored.push(config.clone());
    }
    stored
}

async fn steps(saver: &dyn CheckpointSaver, thread: &CheckpointConfig, filter: &str) -> Vec<i64> {
    let filter = MetadataFilter::from_json(filter.to_owned()).unwrap();
    list_with(
        saver,
        Some(thread),
        ListOptions::default().with_filter(filter),
    )
    .await
    .iter()
    .map(|tuple| tuple.metadata.get("step").unwrap().unwrap())
    .collect()
}

fn before(id: &CheckpointId) -> ListOptions {
    ListOptions::default().with_before(id.clone())
}

async fn a_thread_is_listed_newest_first(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let stored = four(&*saver, &thread).await;
    assert_eq!(ids(&list(&*saver, &thread).await), newest_first(&stored));
}

async fn other_threads_are_not_listed(subject: Subject) {
    let saver = subject.saver().await;
    four(&*saver, &thread()).await;
    assert_eq!(list(&*saver, &thread()).await, []);
}

async fn a_config_without_a_namespace_lists_every_one(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let mut stored = Vec::new();
    for namespace in ["", "child:1", "child:2", "child:1|deep:3"] {
        stored.push(put_empty(&*saver, &within(&thread, namespace)).await);
    }
    assert_eq!(ids(&list(&*saver, &thread).await), newest_first(&stored));
}

async fn a_namespace_is_listed_alone(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    for namespace in ["", "child", "child:1", "child:12"] {
        put_empty(&*saver, &within(&thread, namespace)).await;
    }
    let listed = list(&*saver, &within(&thread, "child:1")).await;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].config.namespace().as_str(), "child:1");
}

async fn the_root_namespace_is_listed_alone(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    for namespace in ["", "child:1", "child:2"] {
        put_empty(&*saver, &within(&thread, namespace)).await;
    }
    let listed = list(&*saver, &within(&thread, "")).await;
    assert_eq!(listed.len(), 1);
    assert!(listed[0].config.namespace().is_root());
}

async fn namespaces_are_merged_by_id(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    for id in ["1", "2", "3"] {
        for namespace in ["b", "", "a"] {
            put(
                &*saver,
                &within(&thread, namespace),
                &empty_with_id(id),
                &step(0),
            )
            .await;
        }
    }
    let listed = list(&*saver, &thread).await;
    let found: Vec<_> = listed
        .iter()
        .map(|tuple| {
            (
                tuple.checkpoint.id().to_string(),
                tuple.config.namespace().to_string(),
            )
        })
        .collect();
    let expected: Vec<_> = ["3", "2", "1"]
        .into_iter()
        .flat_map(|id| ["", "a", "b"].map(|namespace| (id.to_owned(), namespace.to_owned())))
        .collect();
    assert_eq!(found, expected);
}

async fn a_checkpoint_in_the_config_is_listed_alone(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let stored = four(&*saver, &thread).await;
    let listed = list(&*saver, &stored[1]).await;
    assert_eq!(ids(&listed), newest_first(&stored[1..2]));
    let missing = thread.clone().with_checkpoint(CheckpointId::now_v6());
    assert_eq!(list(&*saver, &missing).await, []);
}

async fn listed_tuples_are_those_that_get_tuple_reads(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    for namespace in ["", "child"] {
        let stored = put_chain(&*saver, &within(&thread, namespace), 3).await;
        for (position, config) in stored.iter().enumerate() {
            let given = vec![("ch", json!(position)); position];
            put_writes(&*saver, config, &given, "task").await;
        }
    }
    let listed = list(&*saver, &thread).await;
    assert_eq!(listed.len(), 6);
    for tuple in listed {
        assert_eq!(got(&*saver, &tuple.config).await, tuple);
    }
}

async fn a_filter_takes_source_and_step(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    four(&*saver, &thread).await;
    assert_eq!(
        steps(&*saver, &thread, r#"{"source":"input"}"#).await,
        [2, 0]
    );
    assert_eq!(steps(&*saver, &thread, r#"{"step":1}"#).await, [1]);
    assert_eq!(steps(&*saver, &thread, r#"{"step":-1}"#).await, [0; 0]);
    assert_eq!(steps(&*saver, &thread, "{}").await, [3, 2, 1, 0]);
}

async fn a_filter_takes_any_key(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    for (step, score) in [(0, 42), (1, 99)] {
        let text = format!(r#"{{"step":{step},"score":{score},"run_id":"r{step}","a.b":{step}}}"#);
        put(&*saver, &thread, &empty(), &metadata(&text)).await;
    }
    assert_eq!(steps(&*saver, &thread, r#"{"score":42}"#).await, [0]);
    assert_eq!(steps(&*saver, &thread, r#"{"run_id":"r1"}"#).await, [1]);
    assert_eq!(steps(&*saver, &thread, r#"{"a.b":1}"#).await, [1]);
    assert_eq!(steps(&*saver, &thread, r#"{"nowhere":1}"#).await, [0; 0]);
    assert_eq!(steps(&*saver, &thread, r#"{"nowhere":null}"#).await, [1, 0]);
}

async fn a_filter_takes_values_of_any_type(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let values = [
        r#""1""#,
        "1",
        "true",
        "null",
        "[1]",
        r#"{"a":[1]}"#,
        "1.5",
        r#""""#,
        "false",
    ];
    for (step, value) in values.iter().enumerate() {
        let text = format!(r#"{{"step":{step},"value":{value}}}"#);
        put(&*saver, &thread, &empty(), &metadata(&text)).await;
    }
    for (step, value) in values.iter().enumerate() {
        let found = steps(&*saver, &thread, &format!(r#"{{"value":{value}}}"#)).await;
        assert_eq!(found, [i64::try_from(step).unwrap()], "{value}");
    }
    assert_eq!(
        steps(&*saver, &thread, r#"{"value":1.0}"#).await,
        [1],
        "equal by value"
    );
}

async fn a_filter_by_thread_id_means_the_thread(subject: Subject) {
    let saver = subject.saver().await;
    let (one, other) = (thread(), thread());
    put(&*saver, &one, &empty(), &metadata(r#"{"step":1}"#)).await;
    let lying = json!({"step": 2, "thread_id": one.thread_id}).to_string();
    put(&*saver, &other, &empty(), &metadata(&lying)).await;
    let filter = json!({"thread_id": one.thread_id}).to_string();
    assert_eq!(steps(&*saver, &one, &filter).await, [1]);
    assert_eq!(steps(&*saver, &other, &filter).await, [0; 0]);
    let filter = MetadataFilter::from_json(filter).unwrap();
    let options = ListOptions::default().with_filter(filter);
    let everywhere = list_with(&*saver, None, options).await;
    assert_eq!(everywhere.len(), 1);
    assert_eq!(everywhere[0].config.thread_id, one.thread_id);
}

async fn a_filter_needs_every_key(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    four(&*saver, &thread).await;
    assert_eq!(
        steps(&*saver, &thread, r#"{"source":"input","step":2}"#).await,
        [2]
    );
    assert_eq!(
        steps(&*saver, &thread, r#"{"source":"update","step":2}"#).await,
        [0; 0]
    );
}

async fn a_filter_is_never_part_of_a_query(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    four(&*saver, &thread).await;
    for source in [
        "*",
        "in*",
        "INPUT",
        "input ",
        "input|loop",
        "loop,input",
        "}",
        "",
        "@step",
        "\"",
    ] {
        let filter = json!({"source": source}).to_string();
        assert_eq!(steps(&*saver, &thread, &filter).await, [0; 0], "{source}");
        put(
            &*saver,
            &thread,
            &empty(),
            &metadata(&json!({"source": source, "step": 9}).to_string()),
        )
        .await;
        assert_eq!(steps(&*saver, &thread, &filter).await, [9], "{source}");
    }
}

async fn before_leaves_out_itself_and_what_is_newer(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let stored = four(&*saver, &thread).await;
    let options = ListOptions::default().with_before_config(&stored[2]);
    let listed = list_with(&*saver, Some(&thread), options).await;
    assert_eq!(ids(&listed), newest_first(&stored[..2]));
    let first = stored[0].checkpoint_id.as_ref().unwrap();
    assert_eq!(list_with(&*saver, Some(&thread), before(first)).await, []);
}

async fn before_takes_ulids_and_any_id(subject: Subject) {
    let saver = subject.saver().await;
    for given in [
        [
            "01ARZ3NDEKTSV4RRFFQ69G5FAA",
            "01ARZ3NDEKTSV4RRFFQ69G5FAB",
            "01BX5ZZKBKACTAV9WEVGEMMVRZ",
        ],
        ["1", "10", "2"],
        ["A", "a", "é"],
    ] {
        let thread = thread();
        for id in given {
            put(&*saver, &thread, &empty_with_id(id), &step(0)).await;
        }
        let listed = list_with(&*saver, Some(&thread), before(&id(given[2]))).await;
        assert_eq!(ids(&listed), [id(given[1]), id(given[0])]);
    }
}

async fn before_takes_an_id_that_is_not_there(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let stored = put_empty(&*saver, &thread).await;
    let between = CheckpointId::now_v6();
    put_empty(&*saver, &thread).await;
    let listed = list_with(&*saver, Some(&thread), before(&between)).await;
    assert_eq!(ids(&listed), newest_first(&[stored]));
}

async fn before_counts_in_every_namespace(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let mut stored = Vec::new();
    for namespace in ["a", "b", "", "a", "b"] {
        stored.push(put_empty(&*saver, &within(&thread, namespace)).await);
    }
    let options = ListOptions::default().with_before_config(&stored[3]);
    let listed = list_with(&*saver, Some(&thread), options).await;
    assert_eq!(ids(&listed), newest_first(&stored[..3]));
}

async fn a_limit_is_kept(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let stored = newest_first(&four(&*saver, &thread).await);
    for limit in [0, 1, 2, 4, 5, usize::MAX] {
        let options = ListOptions::default().with_limit(limit);
        let listed = list_with(&*saver, Some(&thread), options).await;
        assert_eq!(ids(&listed), stored[..limit.min(4)], "limit {limit}");
    }
}

async fn pages_of_limit_and_before_cover_everything(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let stored = newest_first(&put_chain(&*saver, &thread, 7).await);
    let mut found: Vec<CheckpointId> = Vec::new();
    loop {
        let mut options = ListOptions::default().with_limit(3);
        options.before = found.last().cloned();
        let page = list_with(&*saver, Some(&thread), options).await;
        if page.is_empty() {
            break;
        }
        found.extend(ids(&page));
    }
    assert_eq!(found, stored);
}

async fn limit_counts_after_the_filter(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let stored = four(&*saver, &thread).await;
    let filter = MetadataFilter::new().with("source", "input").unwrap();
    let options = ListOptions::default().with_filter(filter).with_limit(2);
    let listed = list_with(&*saver, Some(&thread), options).await;
    let stored = [stored[2].clone(), stored[0].clone()];
    assert_eq!(ids(&listed), newest_first(&stored));
}

async fn every_thread_is_listed_without_a_config(subject: Subject) {
    let saver = subject.saver().await;
    let mark = random();
    let given = metadata(&json!({"mark": mark}).to_string());
    let mut stored = Vec::new();
    for _ in 0..3 {
        for namespace in ["", "child"] {
            stored.push(put(&*saver, &within(&thread(), namespace), &empty(), &given).await);
        }
    }
    let filter = MetadataFilter::new().with("mark", &mark).unwrap();
    let options = ListOptions::default().with_filter(filter);
    let listed = list_with(&*saver, None, options.clone()).await;
    assert_eq!(ids(&listed), newest_first(&stored));
    let listed = list_with(&*saver, None, options.with_limit(2)).await;
    assert_eq!(ids(&listed), newest_first(&stored)[..2]);
}

async fn a_list_within_a_prefix_has_its_threads_alone(subject: Subject) {
    let saver = subject.saver().await;
    for start in ["a*[a]", "{\\", "A?", "\u{e4}%2F"] {
        let prefix = format!("{start}{}/", random());
        let given = metadata(&json!({"mark": prefix}).to_string());
        let mut wanted = Vec::new();
        for position in 0..40 {
            for thread in [
                format!("{prefix}{position}"),
                format!("x{prefix}{position}"),
            ] {
                let is_wanted = thread.starts_with(&prefix);
                let namespace = if position % 2 == 0 { "" } else { "child" };
                let place = within(&named(thread), namespace);
                let stored = put(&*saver, &place, &empty(), &given).await;
                wanted.extend(is_wanted.then_some(stored));
            }
        }
        let wanted = newest_first(&wanted);
        let listed = list_within(&*saver, &prefix, ListOptions::default()).await;
        assert_eq!(ids(&listed), wanted, "{prefix:?}");
        for tuple in &listed {
            assert!(tuple.config.thread_id.as_str().starts_with(&prefix));
        }
        let before = ListOptions::default().with_before(wanted[4].clone());
        let listed = list_within(&*saver, &prefix, before.clone().with_limit(3)).await;
        assert_eq!(ids(&listed), wanted[5..8], "{prefix:?}");
        let filter = MetadataFilter::new().with("mark", &prefix).unwrap();
        let listed = list_within(&*saver, &prefix, before.with_filter(filter)).await;
        assert_eq!(ids(&listed), wanted[5..], "{prefix:?}");
        let filter = MetadataFilter::new().with("mark", "of nobody").unwrap();
        let none = ListOptions::default().with_filter(filter);
        assert_eq!(list_within(&*saver, &prefix, none).await, []);
        for thread in [format!("{prefix}3"), format!("x{prefix}3")] {
            let filter = MetadataFilter::new().with("thread_id", &thread).unwrap();
            let options = ListOptions::default().with_filter(filter);
            let listed = list_within(&*saver, &prefix, options).await;
            let expected = usize::from(thread.starts_with(&prefix));
            assert_eq!(listed.len(), expected, "{thread:?}");
        }
    }
    let nobodys = format!("{}/", random());
    assert_eq!(
        list_within(&*saver, &nobodys, ListOptions::default()).await,
        []
    );
}

async fn more_than_a_page_is_listed(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let mut stored = Vec::new();
    for position in 0..250 {
        let namespace = ["", "child:1", "child:2"][position % 3];
        stored.push(put_empty(&*saver, &within(&thread, namespace)).await);
    }
    assert_eq!(ids(&list(&*saver, &thread).await), newest_first(&stored));
    let root: Vec<_> = stored.iter().step_by(3).cloned().collect();
    assert_eq!(
        ids(&list(&*saver, &within(&thread, "")).await),
        newest_first(&root)
    );
}

async fn a_list_can_be_left_midway(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let stored = newest_first(&four(&*saver, &thread).await);
    let mut stream = saver.list(Some(&thread), ListOptions::default());
    let first = stream.next().await.unwrap().unwrap();
    drop(stream);
    assert_eq!(*first.checkpoint.id(), stored[0]);
    assert_eq!(list(&*saver, &thread).await.len(), 4);
}

async fn nothing_is_listed_twice_while_others_write(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let stored = put_chain(&*saver, &thread, 40).await;
    let mut stream = saver.list(Some(&thread), ListOptions::default());
    let mut found = Vec::new();
    while let Some(tuple) = stream.next().await {
        found.push(tuple.unwrap().checkpoint.id().clone());
        put_empty(&*saver, &thread).await;
    }
    assert!(
        found.is_sorted_by(|one, other| one > other),
        "newest first, each once"
    );
    let listed = newest_first(&stored);
    assert!(
        listed.iter().all(|id| found.contains(id)),
        "all that was there is listed"
    );
}
