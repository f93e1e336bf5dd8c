//! Deleting threads, and checkpoints by run.

use serde_json::json;

use super::fixture::{
    empty, empty_with_id, get, got, ids, list, metadata, named, newest_first, put, put_chain,
    put_empty, put_writes, random, step, thread, within,
};
use super::{Subject, case_table};
use crate::config::CheckpointConfig;
use crate::id::{CheckpointId, RunId};
use crate::options::{DeleteOptions, ProgressCallback};
use crate::saver::CheckpointSaver;

case_table! {
    DeleteThread {
        a_deleted_thread_has_no_checkpoints,
        a_deleted_thread_has_no_writes,
        a_deleted_thread_has_no_namespaces,
        other_threads_stay_when_one_is_deleted,
        deleting_what_is_not_there_is_no_error,
        writes_without_a_checkpoint_are_deleted,
        a_deleted_thread_can_start_anew,
        a_thread_of_hundreds_of_checkpoints_is_deleted_whole,
        deleting_tells_its_progress,
    }
    DeleteForRuns {
        the_checkpoints_of_a_run_are_deleted,
        the_checkpoints_of_several_runs_are_deleted,
        other_runs_stay,
        the_writes_of_a_run_are_deleted,
        no_runs_delete_nothing,
        runs_that_are_not_there_are_no_error,
        runs_are_deleted_in_every_namespace_and_thread,
        runs_are_deleted_within_a_prefix_alone,
        the_run_of_the_config_counts,
        run_ids_are_exact,
        the_newest_that_is_left_is_read_after_deleting_a_run,
    }
}

async fn delete(saver: &dyn CheckpointSaver, thread: &CheckpointConfig) {
    saver
        .delete_thread(&thread.thread_id, &DeleteOptions::default())
        .await
        .unwrap();
}

async fn a_deleted_thread_has_no_checkpoints(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let stored = put_chain(&*saver, &thread, 3).await;
    assert!(get(&*saver, &thread).await.is_some());
    delete(&*saver, &thread).await;
    assert_eq!(get(&*saver, &thread).await, None);
    assert_eq!(list(&*saver, &thread).await, []);
    for config in stored {
        assert_eq!(get(&*saver, &config).await, None);
    }
}

async fn a_deleted_thread_has_no_writes(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let checkpoint = empty();
    let stored = put(&*saver, &thread, &checkpoint, &step(0)).await;
    put_writes(&*saver, &stored, &[("ch", json!("val"))], "task").await;
    assert_eq!(got(&*saver, &thread).await.pending_writes.len(), 1);
    delete(&*saver, &thread).await;
    put(&*saver, &thread, &checkpoint, &step(0)).await;
    assert_eq!(got(&*saver, &thread).await.pending_writes, []);
}

async fn a_deleted_thread_has_no_namespaces(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let namespaces = ["", "child:1", "child:1|deep:2"];
    for namespace in namespaces {
        put_empty(&*saver, &within(&thread, namespace)).await;
    }
    delete(&*saver, &thread).await;
    for namespace in namespaces {
        assert_eq!(get(&*saver, &within(&thread, namespace)).await, None);
    }
    assert_eq!(list(&*saver, &thread).await, []);
}

async fn other_threads_stay_when_one_is_deleted(subject: Subject) {
    let saver = subject.saver().await;
    let one = thread();
    let others = [
        format!("{}x", one.thread_id),
        format!("x{}", one.thread_id),
        random(),
    ]
    .map(named);
    put_empty(&*saver, &one).await;
    for other in &others {
        let stored = put_empty(&*saver, other).await;
        put_writes(&*saver, &stored, &[("a", json!(1))], "task").await;
    }
    let mut before = Vec::new();
    for other in &others {
        before.push(list(&*saver, other).await);
    }
    delete(&*saver, &one).await;
    assert_eq!(get(&*saver, &one).await, None);
    for (other, before) in others.iter().zip(before) {
        assert_eq!(got(&*saver, other).await.pending_writes.len(), 1);
        assert_eq!(list(&*saver, other).await, before);
    }
}

async fn deleting_what_is_not_there_is_no_error(subject: Subject) {
    let saver = subject.saver().await;
    let (thread, other) = (thread(), thread());
    let stored = put_chain(&*saver, &other, 2).await;
    put_writes(&*saver, &stored[1], &[("a", json!(1))], "task").await;
    let before = list(&*saver, &other).await;
    delete(&*saver, &thread).await;
    assert_eq!(get(&*saver, &thread).await, None);
    put_empty(&*saver, &thread).await;
    delete(&*saver, &thread).await;
    delete(&*saver, &thread).await;
    assert_eq!(list(&*saver, &thread).await, []);
    assert_eq!(list(&*saver, &other).await, before);
}

async fn writes_without_a_checkpoint_are_deleted(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let checkpoint = empty();
    let config = thread.clone().with_checkpoint(checkpoint.id().clone());
    put_writes(&*saver, &config, &[("a", json!(1))], "task").await;
    delete(&*saver, &thread).await;
    put(&*saver, &thread, &checkpoint, &step(0)).await;
    assert_eq!(got(&*saver, &thread).await.pending_writes, []);
}

async fn a_deleted_thread_can_start_anew(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let old = put_chain(&*saver, &thread, 3).await;
    delete(&*saver, &thread).await;
    let earlier = put(&*saver, &thread, &empty_with_id("0"), &step(0)).await;
    assert_eq!(
        got(&*saver, &thread).await.config,
        earlier,
        "older than what was deleted"
    );
    assert_eq!(list(&*saver, &thread).await.len(), 1);
    assert_eq!(get(&*saver, &old[0]).await, None);
}

async fn a_thread_of_hundreds_of_checkpoints_is_deleted_whole(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let mut stored = Vec::new();
    for position in 0..300 {
        let config = put_empty(&*saver, &within(&thread, ["", "child"][position % 2])).await;
        put_writes(&*saver, &config, &[("a", json!(position))], "task").await;
        stored.push(config);
    }
    delete(&*saver, &thread).await;
    assert_eq!(list(&*saver, &thread).await, []);
    for config in stored {
        assert_eq!(get(&*saver, &config).await, None);
    }
}

async fn deleting_tells_its_progress(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    for config in put_chain(&*saver, &thread, 3).await {
        put_writes(
            &*saver,
            &config,
            &[("a", json!(1)), ("b", json!(2))],
            "task",
        )
        .await;
    }
    let reported = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let callback = {
        let reported = std::sync::Arc::clone(&reported);
        ProgressCallback::new(move |progress| reported.lock().unwrap().push(progress))
    };
    let options = DeleteOptions::default().with_progress(callback);
    saver
        .delete_thread(&thread.thread_id, &options)
        .await
        .unwrap();
    let last = *reported
        .lock()
        .unwrap()
        .last()
        .expect("something is reported");
    assert_eq!((last.checkpoints, last.writes), (3, 6));
}

fn run(id: &str) -> RunId {
    RunId::new(id).unwrap()
}

async fn put_run(
    saver: &dyn CheckpointSaver,
    config: &CheckpointConfig,
    run_id: &str,
) -> CheckpointConfig {
    put(
        saver,
        config,
        &empty(),
        &metadata(&json!({"run_id": run_id}).to_string()),
    )
    .await
}

async fn runs(saver: &dyn CheckpointSaver, thread: &CheckpointConfig) -> Vec<String> {
    list(saver, thread)
        .await
        .iter()
        .map(|tuple| tuple.metadata.get("run_id").unwrap().unwrap())
        .collect()
}

async fn the_checkpoints_of_a_run_are_deleted(subject: Subject) {
    let saver = subject.saver().await;
    let (thread, one, two) = (thread(), random(), random());
    let first = put_run(&*saver, &thread, &one).await;
    put_run(&*saver, &first, &two).await;
    assert_eq!(runs(&*saver, &thread).await, [two.clone(), one.clone()]);
    saver.delete_for_runs(&[run(&one)]).await.unwrap();
    assert_eq!(runs(&*saver, &thread).await, [two]);
    assert_eq!(get(&*saver, &first).await, None);
}

async fn the_checkpoints_of_several_runs_are_deleted(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let given = [random(), random(), random()];
    for run_id in &given {
        put_run(&*saver, &thread, run_id).await;
    }
    saver
        .delete_for_runs(&[run(&given[0]), run(&given[1])])
        .await
        .unwrap();
    assert_eq!(runs(&*saver, &thread).await, given[2..]);
}

async fn other_runs_stay(subject: Subject) {
    let saver = subject.saver().await;
    let (thread, keep, gone) = (thread(), random(), random());
    put_run(&*saver, &thread, &keep).await;
    put_run(&*saver, &thread, &gone).await;
    put_run(&*saver, &thread, &keep).await;
    put_empty(&*saver, &within(&thread, "no run")).await;
    saver.delete_for_runs(&[run(&gone)]).await.unwrap();
    assert_eq!(
        runs(&*saver, &within(&thread, "")).await,
        [keep.clone(), keep]
    );
    assert_eq!(list(&*saver, &thread).await.len(), 3);
}

async fn the_writes_of_a_run_are_deleted(subject: Subject) {
    let saver = subject.saver().await;
    let (thread, gone) = (thread(), random());
    let stored = put_run(&*saver, &thread, &gone).await;
    put_writes(&*saver, &stored, &[("ch", json!("val"))], "task").await;
    let checkpoint = got(&*saver, &stored).await.checkpoint;
    saver.delete_for_runs(&[run(&gone)]).await.unwrap();
    assert_eq!(get(&*saver, &stored).await, None);
    put(&*saver, &thread, &checkpoint, &step(0)).await;
    assert_eq!(got(&*saver, &stored).await.pending_writes, []);
}

async fn no_runs_delete_nothing(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    put_empty(&*saver, &thread).await;
    let stored = put_run(&*saver, &thread, &random()).await;
    put_writes(&*saver, &stored, &[("a", json!(1))], "task").await;
    let before = list(&*saver, &thread).await;
    saver.delete_for_runs(&[]).await.unwrap();
    assert_eq!(list(&*saver, &thread).await, before);
}

async fn runs_that_are_not_there_are_no_error(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    put_empty(&*saver, &thread).await;
    put_run(&*saver, &thread, &random()).await;
    let before = list(&*saver, &thread).await;
    saver.delete_for_runs(&[run(&random())]).await.unwrap();
    assert_eq!(list(&*saver, &thread).await, before);
}

async fn runs_are_deleted_in_every_namespace_and_thread(subject: Subject) {
    let saver = subject.saver().await;
    let gone = random();
    let threads = [thread(), thread()];
    for thread in &threads {
        for namespace in ["", "child:1"] {
            put_run(&*saver, &within(thread, namespace), &gone).await;
        }
    }
    saver.delete_for_runs(&[run(&gone)]).await.unwrap();
    for thread in &threads {
        assert_eq!(list(&*saver, thread).await, []);
        assert_eq!(get(&*saver, &within(thread, "child:1")).await, None);
    }
}

async fn runs_are_deleted_within_a_prefix_alone(subject: Subject) {
    let saver = subject.saver().await;
    for start in ["a*[a]", "{\\", "A?", "\u{e4}%2F"] {
        let (prefix, gone, keep) = (format!("{start}{}/", random()), random(), random());
        let inside = [format!("{prefix}1"), format!("{prefix}*"), prefix.clone()].map(named);
        let outside = [
            format!("x{prefix}1"),
            prefix.trim_end_matches('/').to_owned(),
            format!("aa{}", &prefix[start.len()..]),
            prefix.to_uppercase(),
        ]
        .map(named);
        for thread in inside.iter().chain(&outside) {
            put_run(&*saver, &within(thread, ""), &gone).await;
            put_run(&*saver, &within(thread, "child"), &gone).await;
            put_run(&*saver, &within(thread, ""), &keep).await;
        }
        let given = [run(&gone)];
        let ended = saver.delete_for_runs_within(&given, &prefix);
        ended.await.unwrap();
        for thread in &inside {
            let kept = std::slice::from_ref(&keep);
            assert_eq!(runs(&*saver, thread).await, kept, "{thread:?}");
        }
        for thread in &outside {
            assert_eq!(runs(&*saver, thread).await.len(), 3, "{thread:?}");
        }
    }
}

async fn the_run_of_the_config_counts(subject: Subject) {
    let saver = subject.saver().await;
    let (thread, gone) = (thread(), random());
    put_empty(&*saver, &thread.clone().with_run(run(&gone))).await;
    let kept = put_empty(&*saver, &thread).await;
    saver.delete_for_runs(&[run(&gone)]).await.unwrap();
    assert_eq!(ids(&list(&*saver, &thread).await), newest_first(&[kept]));
}

async fn run_ids_are_exact(subject: Subject) {
    let saver = subject.saver().await;
    let (thread, base) = (thread(), format!("Run,{}", random()));
    let others = [
        base.to_lowercase(),
        base.to_uppercase(),
        format!("{base} "),
        format!(" {base}"),
        format!("{base},x"),
        "Run".to_owned(),
        format!("{base}*"),
        format!("{{{base}}}"),
    ];
    for run_id in others.iter().chain([&base]) {
        put_run(&*saver, &thread, run_id).await;
    }
    saver.delete_for_runs(&[run(&base)]).await.unwrap();
    let mut left = runs(&*saver, &thread).await;
    left.reverse();
    assert_eq!(left, others);
}

async fn the_newest_that_is_left_is_read_after_deleting_a_run(subject: Subject) {
    let saver = subject.saver().await;
    let (thread, keep, gone) = (thread(), random(), random());
    let kept = put_run(&*saver, &thread, &keep).await;
    put_run(&*saver, &thread, &gone).await;
    put_run(&*saver, &thread, &gone).await;
    saver.delete_for_runs(&[run(&gone)]).await.unwrap();
    assert_eq!(got(&*saver, &thread).await.config, kept);
    let next = put(
        &*saver,
        &kept,
        &empty_with_id(CheckpointId::now_v6()),
        &step(1),
    )
    .await;
    assert_eq!(got(&*saver, &thread).await.config, next);
}
