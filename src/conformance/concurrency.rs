//! Calls at the same time, and calls that are dropped midway.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use super::fixture::{
    assert_same, empty, get, got, holding, ids, list, newest_first, pairs, put, put_chain,
    put_empty, put_writes, step, task, thread, values, within, writes,
};
use super::{Subject, case_table};
use crate::checkpoint::Checkpoint;
use crate::config::CheckpointConfig;
use crate::error::Error;
use crate::id::CheckpointId;
use crate::options::{ExpectedParent, PutOptions, PutWritesOptions};
use crate::saver::CheckpointSaver;

case_table! {
    Concurrency {
        writes_of_many_tasks_at_once_all_land,
        the_same_write_many_times_at_once_lands_once,
        puts_at_once_leave_the_greatest_newest,
        of_many_workers_exactly_one_goes_on,
        workers_that_expect_make_one_chain,
        a_reader_never_sees_half_a_call,
        threads_at_once_are_apart,
        a_put_that_is_dropped_happens_or_not,
        a_put_writes_that_is_dropped_happens_or_not,
    }
}

/// Runs futures as tasks of their own, at the same time.
async fn at_once<T: Send + 'static>(
    tasks: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let tasks: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
    join_all(tasks)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect()
}

async fn writes_of_many_tasks_at_once_all_land(subject: Subject) {
    let saver = subject.saver().await;
    let stored = put_empty(&*saver, &thread()).await;
    at_once((0..32).map(|worker| {
        let (saver, stored) = (Arc::clone(&saver), stored.clone());
        async move {
            let given = [
                ("a", json!(worker)),
                ("b", json!(worker)),
                ("__interrupt__", json!(worker)),
            ];
            put_writes(&*saver, &stored, &given, &format!("task-{worker:02}")).await;
        }
    }))
    .await;
    let found = got(&*saver, &stored).await.pending_writes;
    let indexes: Vec<_> = found
        .iter()
        .map(|write| (write.task_id.to_string(), write.idx))
        .collect();
    let expected: Vec<_> = (0..32)
        .flat_map(|worker| [-3, 0, 1].map(|idx| (format!("task-{worker:02}"), idx)))
        .collect();
    assert_eq!(indexes, expected);
}

async fn the_same_write_many_times_at_once_lands_once(subject: Subject) {
    let saver = subject.saver().await;
    let stored = put_empty(&*saver, &thread()).await;
    at_once((0..16).map(|worker| {
        let (saver, stored) = (Arc::clone(&saver), stored.clone());
        async move {
            let given = [("a", json!(worker)), ("b", json!(worker))];
            put_writes(&*saver, &stored, &given, "task").await;
        }
    }))
    .await;
    let found = values(&got(&*saver, &stored).await.pending_writes);
    assert_eq!(found.len(), 2);
    assert_eq!(
        found[0].1, found[1].1,
        "both writes are of the call that came first"
    );
}

async fn puts_at_once_leave_the_greatest_newest(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let mut checkpoints: Vec<Checkpoint> = (0..32).map(|_| empty()).collect();
    let expected: Vec<CheckpointId> = checkpoints
        .iter()
        .rev()
        .map(|checkpoint| checkpoint.id().clone())
        .collect();
    // In an order that is neither rising nor falling.
    checkpoints.sort_by_key(|checkpoint| {
        checkpoint.id().as_str().bytes().fold(0_u64, |hash, byte| {
            hash.wrapping_mul(31).wrapping_add(u64::from(byte)) % 1_009
        })
    });
    at_once(checkpoints.into_iter().map(|checkpoint| {
        let (saver, thread) = (Arc::clone(&saver), thread.clone());
        async move { put(&*saver, &thread, &checkpoint, &step(0)).await }
    }))
    .await;
    assert_eq!(got(&*saver, &thread).await.checkpoint.id(), &expected[0]);
    assert_eq!(ids(&list(&*saver, &thread).await), expected);
}

async fn put_expecting(
    saver: &dyn CheckpointSaver,
    parent: &CheckpointConfig,
    checkpoint: &Checkpoint,
) -> Result<CheckpointConfig, Error> {
    let expected = parent
        .checkpoint_id
        .clone()
        .map_or(ExpectedParent::None, ExpectedParent::Is);
    let options = PutOptions::default().with_expected_parent(expected);
    saver.put(parent, checkpoint, &step(0), &options).await
}

async fn of_many_workers_exactly_one_goes_on(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    let mut parent = within(&thread, "");
    for round in 1..=5 {
        let results = at_once((0..16).map(|_| {
            let (saver, parent) = (Arc::clone(&saver), parent.clone());
            async move { put_expecting(&*saver, &parent, &empty()).await }
        }))
        .await;
        let mut winners = Vec::new();
        for result in results {
            match result {
                Ok(stored) => winners.push(stored),
                Err(error) => assert!(matches!(error, Error::Conflict { .. }), "{error}"),
            }
        }
        assert_eq!(winners.len(), 1, "one worker goes on");
        parent = winners.remove(0);
        assert_eq!(got(&*saver, &thread).await.config, parent);
        assert_eq!(list(&*saver, &thread).await.len(), round);
    }
}

async fn workers_that_expect_make_one_chain(subject: Subject) {
    let saver = subject.saver().await;
    let thread = within(&thread(), "");
    at_once((0..8).map(|_| {
        let (saver, thread) = (Arc::clone(&saver), thread.clone());
        async move {
            let mut done = 0;
            while done < 5 {
                let newest = get(&*saver, &thread).await;
                let parent = newest.map_or_else(|| thread.clone(), |tuple| tuple.config);
                // Made after the parent was read, so that its id is greater.
                match put_expecting(&*saver, &parent, &empty()).await {
                    Ok(_) => done += 1,
                    Err(error) => assert!(matches!(error, Error::Conflict { .. }), "{error}"),
                }
            }
        }
    }))
    .await;
    let listed = list(&*saver, &thread).await;
    assert_eq!(listed.len(), 40);
    for pair in listed.windows(2) {
        assert_eq!(pair[0].parent_config.as_ref(), Some(&pair[1].config));
    }
}

async fn a_reader_never_sees_half_a_call(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    put_empty(&*saver, &thread).await;
    let writer = {
        let (saver, thread) = (Arc::clone(&saver), thread.clone());
        tokio::spawn(async move {
            for turn in 0..60 {
                let text = "x".repeat(1_000);
                let checkpoint = Checkpoint::builder()
                    .channel("turn", turn, &turn)
                    .unwrap()
                    .channel("text", turn, &text)
                    .unwrap()
                    .build()
                    .unwrap();
                let stored = put(&*saver, &thread, &checkpoint, &step(turn)).await;
                let given: Vec<_> = (0..12).map(|_| ("w", json!(turn))).collect();
                put_writes(&*saver, &stored, &given, "task").await;
            }
        })
    };
    while !writer.is_finished() {
        let tuple = got(&*saver, &thread).await;
        let turn = tuple
            .checkpoint
            .channel_value::<i64>("turn")
            .unwrap()
            .unwrap_or_default();
        assert_eq!(tuple.metadata.get::<i64>("step").unwrap(), Some(turn));
        assert!(
            matches!(tuple.pending_writes.len(), 0 | 12),
            "{}",
            tuple.pending_writes.len()
        );
        assert!(list(&*saver, &thread).await.len() <= 61);
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
    assert_eq!(list(&*saver, &thread).await.len(), 61);
}

async fn threads_at_once_are_apart(subject: Subject) {
    let saver = subject.saver().await;
    at_once((0..24).map(|_| {
        let saver = Arc::clone(&saver);
        async move {
            let thread = thread();
            let stored = put_chain(&*saver, &thread, 5).await;
            for config in &stored {
                put_writes(&*saver, config, &[("a", json!(config.thread_id))], "task").await;
            }
            let listed = list(&*saver, &thread).await;
            assert_eq!(ids(&listed), newest_first(&stored));
            for tuple in listed {
                assert_eq!(
                    values(&tuple.pending_writes),
                    pairs(&[("a", json!(thread.thread_id))])
                );
            }
        }
    }))
    .await;
}

/// Polls a future until it is done or has been polled some times, then drops it. The pause grows
/// with the number, so that the call is dropped at many stages.
async fn dropped_midway<T>(future: impl Future<Output = T>, polls: u32) {
    let mut future = pin!(future);
    for _ in 0..=polls {
        let done = poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await;
        if done {
            return;
        }
        tokio::time::sleep(Duration::from_micros(u64::from(polls) * 40)).await;
    }
}

async fn a_put_that_is_dropped_happens_or_not(subject: Subject) {
    let saver = subject.saver().await;
    for polls in 0..40 {
        let thread = within(&thread(), "");
        let checkpoint = holding("text", 1, &json!("x".repeat(20_000)));
        let metadata = step(1);
        let options = PutOptions::default();
        dropped_midway(saver.put(&thread, &checkpoint, &metadata, &options), polls).await;
        // It may still be carried out later, but completely.
        for _ in 0..3 {
            let newest = get(&*saver, &thread).await;
            if let Some(tuple) = newest {
                assert_same(&checkpoint, &tuple.checkpoint);
                assert_eq!(tuple.metadata, metadata);
                assert_eq!(list(&*saver, &thread).await, [tuple]);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // The thread is usable as before.
        let next = put_empty(&*saver, &thread).await;
        assert_eq!(got(&*saver, &thread).await.config, next);
    }
}

async fn a_put_writes_that_is_dropped_happens_or_not(subject: Subject) {
    let saver = subject.saver().await;
    let given: Vec<_> = (0..20).map(|position| ("w", json!(position))).collect();
    let channel_writes = writes(&given);
    for polls in 0..40 {
        let stored = put_empty(&*saver, &thread()).await;
        let (task, options) = (task("task"), PutWritesOptions::default());
        let call = saver.put_writes(&stored, &channel_writes, &task, &options);
        dropped_midway(call, polls).await;
        for _ in 0..3 {
            let found = got(&*saver, &stored).await.pending_writes;
            assert!(
                matches!(found.len(), 0 | 20),
                "{} of 20 writes",
                found.len()
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        put_writes(&*saver, &stored, &given, "task").await;
        assert_eq!(
            values(&got(&*saver, &stored).await.pending_writes),
            pairs(&given)
        );
    }
}
