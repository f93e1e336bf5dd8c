//! Copying and listing threads.

use serde_json::json;

use super::fixture::{
    assert_same, assert_same_json, empty, get, got, ids, list, metadata, named, newest_first,
    pairs, put, put_chain, put_empty, put_writes, put_writes_at, random, step, thread, threads,
    values, within,
};
use super::{Subject, case_table};
use crate::config::CheckpointConfig;
use crate::error::Error;
use crate::id::ThreadId;
use crate::options::{CopyOptions, DeleteOptions, ExistingTarget};
use crate::saver::CheckpointSaver;

case_table! {
    CopyThread {
        a_copy_has_every_checkpoint_in_order,
        a_copy_has_the_values_metadata_and_parents,
        a_copy_has_every_namespace,
        a_copy_has_the_writes,
        a_copy_has_writes_that_await_their_checkpoint,
        the_source_of_a_copy_stays_as_it_was,
        a_copy_and_its_source_are_apart,
        a_source_that_is_not_there_copies_nothing,
        a_copy_is_merged_into_its_target,
        a_copy_can_refuse_a_target_that_is_there,
        a_thread_cannot_be_copied_onto_itself,
        a_copy_can_be_repeated,
        a_thread_of_hundreds_of_checkpoints_is_copied_whole,
    }
    Threads {
        a_thread_is_listed_with_its_count_and_newest,
        threads_are_listed_by_the_start_of_their_id,
        the_thread_that_was_written_to_last_comes_first,
        the_start_of_an_id_is_exact,
        a_deleted_thread_is_not_listed,
        a_thread_without_a_root_has_its_newest_of_any_namespace,
        a_hundred_threads_are_listed_each_once,
    }
}

async fn copy(
    saver: &dyn CheckpointSaver,
    source: &CheckpointConfig,
    target: &CheckpointConfig,
    existing: ExistingTarget,
) -> Result<(), Error> {
    let options = CopyOptions::default().with_existing(existing);
    saver
        .copy_thread(&source.thread_id, &target.thread_id, &options)
        .await
}

/// Copies a thread to a new one, which is returned.
async fn copied(saver: &dyn CheckpointSaver, source: &CheckpointConfig) -> CheckpointConfig {
    let target = thread();
    copy(saver, source, &target, ExistingTarget::Merge)
        .await
        .unwrap();
    target
}

async fn a_copy_has_every_checkpoint_in_order(subject: Subject) {
    let saver = subject.saver().await;
    let source = thread();
    let stored = put_chain(&*saver, &source, 4).await;
    let target = copied(&*saver, &source).await;
    assert_eq!(ids(&list(&*saver, &target).await), newest_first(&stored));
    assert_eq!(
        got(&*saver, &target).await.checkpoint.id(),
        &newest_first(&stored)[0]
    );
}

async fn a_copy_has_the_values_metadata_and_parents(subject: Subject) {
    let saver = subject.saver().await;
    let source = thread();
    put_chain(&*saver, &source, 3).await;
    let target = copied(&*saver, &source).await;
    let of_target = |config: &CheckpointConfig| CheckpointConfig {
        thread_id: target.thread_id.clone(),
        ..config.clone()
    };
    let copies = list(&*saver, &target).await;
    let originals = list(&*saver, &source).await;
    assert_eq!(copies.len(), originals.len());
    for (copy, original) in copies.iter().zip(&originals) {
        assert_eq!(copy.config, of_target(&original.config));
        assert_eq!(
            copy.parent_config,
            original.parent_config.as_ref().map(of_target)
        );
        assert_same(&original.checkpoint, &copy.checkpoint);
        assert_same_json(&original.metadata.to_json(), &copy.metadata.to_json());
    }
}

async fn a_copy_has_every_namespace(subject: Subject) {
    let saver = subject.saver().await;
    let source = thread();
    for namespace in ["", "child:1"] {
        put_empty(&*saver, &within(&source, namespace)).await;
    }
    let target = copied(&*saver, &source).await;
    for namespace in ["", "child:1"] {
        let target = within(&target, namespace);
        assert_eq!(list(&*saver, &target).await.len(), 1);
        assert!(get(&*saver, &target).await.is_some());
    }
}

async fn a_copy_has_the_writes(subject: Subject) {
    let saver = subject.saver().await;
    let source = thread();
    let stored = put_empty(&*saver, &source).await;
    let given = [("ch", json!("val")), ("__interrupt__", json!("q"))];
    put_writes_at(&*saver, &stored, &given, "task", "path").await;
    let target = copied(&*saver, &source).await;
    let original = got(&*saver, &source).await.pending_writes;
    assert_eq!(original.len(), 2);
    assert_eq!(got(&*saver, &target).await.pending_writes, original);
    assert_eq!(list(&*saver, &target).await[0].pending_writes, original);
}

async fn a_copy_has_writes_that_await_their_checkpoint(subject: Subject) {
    let saver = subject.saver().await;
    let source = thread();
    put_empty(&*saver, &source).await;
    let awaited = empty();
    let config = source.clone().with_checkpoint(awaited.id().clone());
    put_writes(&*saver, &config, &[("a", json!(1))], "task").await;
    let target = copied(&*saver, &source).await;
    put(&*saver, &target, &awaited, &step(1)).await;
    let found = got(&*saver, &target).await.pending_writes;
    assert_eq!(values(&found), pairs(&[("a", json!(1))]));
}

async fn the_source_of_a_copy_stays_as_it_was(subject: Subject) {
    let saver = subject.saver().await;
    let source = thread();
    let stored = put_chain(&*saver, &source, 2).await;
    put_writes(&*saver, &stored[1], &[("a", json!(1))], "task").await;
    let before = list(&*saver, &source).await;
    copied(&*saver, &source).await;
    assert_eq!(list(&*saver, &source).await, before);
}

async fn a_copy_and_its_source_are_apart(subject: Subject) {
    let saver = subject.saver().await;
    let source = thread();
    let stored = put_empty(&*saver, &source).await;
    let target = copied(&*saver, &source).await;
    put_writes(&*saver, &stored, &[("a", json!(1))], "task").await;
    let next = put_empty(&*saver, &target).await;
    assert_eq!(got(&*saver, &source).await.config, stored);
    assert_eq!(got(&*saver, &target).await.config, next);
    let options = DeleteOptions::default();
    saver
        .delete_thread(&source.thread_id, &options)
        .await
        .unwrap();
    let left = list(&*saver, &target).await;
    assert_eq!(left.len(), 2);
    assert!(left.iter().all(|tuple| tuple.pending_writes.is_empty()));
}

async fn a_source_that_is_not_there_copies_nothing(subject: Subject) {
    let saver = subject.saver().await;
    let target = copied(&*saver, &thread()).await;
    assert_eq!(list(&*saver, &target).await, []);
    put_empty(&*saver, &target).await;
    let before = list(&*saver, &target).await;
    copy(&*saver, &thread(), &target, ExistingTarget::Merge)
        .await
        .unwrap();
    assert_eq!(list(&*saver, &target).await, before);
}

async fn a_copy_is_merged_into_its_target(subject: Subject) {
    let saver = subject.saver().await;
    let (source, target) = (thread(), thread());
    let (shared, others) = (empty(), [empty(), empty()]);
    put(&*saver, &source, &shared, &metadata(r#"{"of":"source"}"#)).await;
    put(&*saver, &target, &shared, &metadata(r#"{"of":"target"}"#)).await;
    put(&*saver, &source, &others[0], &step(0)).await;
    put(&*saver, &target, &others[1], &step(0)).await;
    copy(&*saver, &source, &target, ExistingTarget::Merge)
        .await
        .unwrap();
    let merged = list(&*saver, &target).await;
    assert_eq!(
        ids(&merged),
        [others[1].id(), others[0].id(), shared.id()].map(Clone::clone)
    );
    assert_eq!(
        merged[2].metadata.get::<String>("of").unwrap().as_deref(),
        Some("source")
    );
    assert_eq!(
        got(&*saver, &target).await.checkpoint.id(),
        others[1].id(),
        "the greatest id"
    );
}

async fn a_copy_can_refuse_a_target_that_is_there(subject: Subject) {
    let saver = subject.saver().await;
    let (source, target) = (thread(), thread());
    put_empty(&*saver, &source).await;
    put_empty(&*saver, &target).await;
    let before = list(&*saver, &target).await;
    let refused = copy(&*saver, &source, &target, ExistingTarget::Error).await;
    assert!(
        matches!(refused, Err(Error::Conflict { .. })),
        "{refused:?}"
    );
    assert_eq!(list(&*saver, &target).await, before);
    let fresh = thread();
    copy(&*saver, &source, &fresh, ExistingTarget::Error)
        .await
        .unwrap();
    assert_eq!(list(&*saver, &fresh).await.len(), 1);
}

async fn a_thread_cannot_be_copied_onto_itself(subject: Subject) {
    let saver = subject.saver().await;
    let source = thread();
    put_chain(&*saver, &source, 2).await;
    let before = list(&*saver, &source).await;
    let refused = copy(&*saver, &source, &source, ExistingTarget::Merge).await;
    assert!(
        matches!(refused, Err(Error::InvalidInput { .. })),
        "{refused:?}"
    );
    assert_eq!(list(&*saver, &source).await, before);
}

async fn a_copy_can_be_repeated(subject: Subject) {
    let saver = subject.saver().await;
    let source = thread();
    let stored = put_chain(&*saver, &source, 3).await;
    put_writes(&*saver, &stored[2], &[("a", json!(1))], "task").await;
    let target = copied(&*saver, &source).await;
    let once = list(&*saver, &target).await;
    copy(&*saver, &source, &target, ExistingTarget::Merge)
        .await
        .unwrap();
    assert_eq!(list(&*saver, &target).await, once);
}

async fn a_thread_of_hundreds_of_checkpoints_is_copied_whole(subject: Subject) {
    let saver = subject.saver().await;
    let source = thread();
    for position in 0..250 {
        let config = put_empty(&*saver, &within(&source, ["", "child"][position % 2])).await;
        put_writes(&*saver, &config, &[("a", json!(position))], "task").await;
    }
    let target = copied(&*saver, &source).await;
    let originals = list(&*saver, &source).await;
    let copies = list(&*saver, &target).await;
    assert_eq!(ids(&copies), ids(&originals));
    for (copy, original) in copies.iter().zip(&originals) {
        assert_eq!(copy.pending_writes, original.pending_writes);
    }
}

async fn a_thread_is_listed_with_its_count_and_newest(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let root = put_chain(&*saver, &thread, 3).await;
    put_empty(&*saver, &within(&thread, "child")).await;
    let found = threads(&*saver, thread.thread_id.as_str()).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].thread_id, thread.thread_id);
    assert_eq!(found[0].checkpoints, 4);
    assert_eq!(found[0].newest, root[2].checkpoint_id);
    assert_eq!(found[0].ttl, None);
}

async fn listed_threads(saver: &dyn CheckpointSaver, prefix: &str) -> Vec<ThreadId> {
    let mut found: Vec<_> = threads(saver, prefix)
        .await
        .into_iter()
        .map(|summary| summary.thread_id)
        .collect();
    found.sort();
    found
}

async fn threads_are_listed_by_the_start_of_their_id(subject: Subject) {
    let saver = subject.saver().await;
    let start = random();
    let given = ["a", "ab", "b"].map(|end| named(format!("{start}:{end}")));
    for thread in &given {
        put_empty(&*saver, thread).await;
    }
    put_empty(&*saver, &named(format!("x{start}:a"))).await;
    let given = given.map(|thread| thread.thread_id);
    assert_eq!(listed_threads(&*saver, &format!("{start}:")).await, given);
    assert_eq!(
        listed_threads(&*saver, &format!("{start}:a")).await,
        given[..2]
    );
    assert_eq!(listed_threads(&*saver, &format!("{start}:c")).await, []);
    let all = listed_threads(&*saver, "").await;
    assert!(given.iter().all(|thread| all.contains(thread)));
}

async fn the_thread_that_was_written_to_last_comes_first(subject: Subject) {
    let saver = subject.saver().await;
    let start = random();
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|end| named(format!("{start}:{end}")));
    let assert_order = async |wanted: &[&CheckpointConfig], when: &str| {
        let found = threads(&*saver, &start).await.into_iter();
        let found: Vec<_> = found.map(|summary| summary.thread_id).collect();
        let wanted: Vec<_> = wanted.iter().map(|one| one.thread_id.clone()).collect();
        assert_eq!(found, wanted, "{when}");
    };
    let of_a = put_empty(&*saver, &a).await;
    put_empty(&*saver, &b).await;
    put_empty(&*saver, &c).await;
    assert_order(&[&c, &b, &a], "after each was put").await;
    put_writes(&*saver, &of_a, &[("channel", json!(1))], "task").await;
    assert_order(&[&a, &c, &b], "after a was written to").await;
    copy(&*saver, &b, &d, ExistingTarget::Merge)
        .await
        .expect("copy_thread");
    assert_order(&[&d, &a, &c, &b], "after b was copied").await;
    let options = DeleteOptions::default();
    let deleted = saver.delete_thread(&a.thread_id, &options);
    deleted.await.expect("delete_thread");
    assert_order(&[&d, &c, &b], "after a was deleted").await;
    put_empty(&*saver, &a).await;
    assert_order(&[&a, &d, &c, &b], "after a was put again").await;
}

async fn the_start_of_an_id_is_exact(subject: Subject) {
    let saver = subject.saver().await;
    for start in [
        "*",
        "[a]",
        "a?",
        "\\",
        "{a",
        "A",
        "a",
        " ",
        "ä\u{308}",
        "\n",
    ] {
        let start = format!("{start}{}", random());
        let wanted = put_empty(&*saver, &named(format!("{start}-1"))).await;
        put_empty(&*saver, &named(format!("a{}", &start[start.len() - 36..]))).await;
        assert!(
            listed_threads(&*saver, &start)
                .await
                .contains(&wanted.thread_id),
            "{start:?}"
        );
        for found in listed_threads(&*saver, &start).await {
            assert!(found.as_str().starts_with(&start), "{start:?} {found:?}");
        }
    }
}

async fn a_deleted_thread_is_not_listed(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    put_empty(&*saver, &thread).await;
    saver
        .delete_thread(&thread.thread_id, &DeleteOptions::default())
        .await
        .unwrap();
    assert_eq!(threads(&*saver, thread.thread_id.as_str()).await, []);
}

async fn a_thread_without_a_root_has_its_newest_of_any_namespace(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    put_empty(&*saver, &within(&thread, "b")).await;
    let newest = put_empty(&*saver, &within(&thread, "a")).await;
    let found = threads(&*saver, thread.thread_id.as_str()).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].newest, newest.checkpoint_id);
}

async fn a_hundred_threads_are_listed_each_once(subject: Subject) {
    let saver = subject.saver().await;
    let start = random();
    let mut given = Vec::new();
    for position in 0..120 {
        let thread = named(format!("{start}-{position:03}"));
        for namespace in ["", "child"] {
            put_empty(&*saver, &within(&thread, namespace)).await;
        }
        given.push(thread.thread_id);
    }
    assert_eq!(listed_threads(&*saver, &start).await, given);
}
