//! TTLs.

use std::time::{Duration, Instant};

use serde_json::json;

use super::fixture::{
    empty, get, got, ids, list, newest_first, put, put_chain, put_empty, put_writes, step, task,
    thread, threads, within, writes,
};
use super::{Subject, case_table};
use crate::config::CheckpointConfig;
use crate::error::Error;
use crate::options::{CopyOptions, PutOptions, PutWritesOptions, TtlChoice, TtlPolicy, TtlScope};
use crate::saver::CheckpointSaver;

case_table! {
    Ttl {
        without_a_ttl_nothing_expires,
        everything_expires_after_the_ttl,
        writes_without_a_checkpoint_expire,
        a_call_has_a_ttl_of_its_own,
        a_call_can_keep_for_ever,
        a_ttl_that_cannot_be_is_refused,
        a_summary_tells_the_time_left,
        reading_refreshes_if_so_set,
        reading_refreshes_the_writes_too,
        reading_does_not_refresh_otherwise,
        listing_does_not_refresh,
        what_is_kept_for_ever_gets_no_ttl_by_reading,
        touch_starts_the_ttl_anew,
        touch_leaves_pinned_threads_alone,
        a_pinned_thread_does_not_expire,
        what_a_pinned_thread_is_given_does_not_expire,
        an_unpinned_thread_expires,
        a_pin_ends_with_its_thread,
        threads_that_are_not_there_cannot_be_pinned,
        without_a_ttl_touch_and_unpin_do_nothing,
        a_copy_has_the_ttl_of_its_call,
        what_has_expired_is_no_parent_to_expect,
        a_thread_kept_whole_loses_nothing_while_it_is_written,
        a_thread_kept_whole_loses_nothing_while_it_is_read,
        a_thread_kept_whole_is_as_lasting_as_its_newest,
        otherwise_the_history_expires_step_by_step,
    }
}

/// Long enough for a call to be done on a busy machine, short enough to wait for.
const SHORT: Duration = Duration::from_millis(1_500);
const HOUR: Duration = Duration::from_secs(3_600);

async fn sleep(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Waits until a thread is gone, which must be soon after the TTL. What was put last goes last.
async fn expires(saver: &dyn CheckpointSaver, thread: &CheckpointConfig) {
    let start = Instant::now();
    while get(saver, thread).await.is_some() || !list(saver, thread).await.is_empty() {
        assert!(start.elapsed() < SHORT * 4, "it does not expire");
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(list(saver, thread).await, []);
    assert_eq!(threads(saver, thread.thread_id.as_str()).await, []);
}

async fn ttl_of(saver: &dyn CheckpointSaver, thread: &CheckpointConfig) -> Option<Duration> {
    let found = threads(saver, thread.thread_id.as_str()).await;
    assert_eq!(found.len(), 1, "the thread is listed");
    found[0].ttl
}

#[track_caller]
fn assert_about(found: Option<Duration>, expected: Duration) {
    let found = found.expect("there is a TTL");
    let slack = Duration::from_secs(60);
    assert!(
        found <= expected && found + slack > expected,
        "{found:?} is not {expected:?}"
    );
}

fn for_ttl(ttl: Duration) -> PutOptions {
    PutOptions::default().with_ttl(TtlChoice::For(ttl))
}

async fn without_a_ttl_nothing_expires(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    put_empty(&*saver, &thread).await;
    assert_eq!(ttl_of(&*saver, &thread).await, None);
}

async fn everything_expires_after_the_ttl(subject: Subject) {
    let saver = subject.with_ttl(TtlPolicy::new(SHORT)).await;
    let thread = thread();
    let checkpoint = empty();
    let mut stored = Vec::new();
    for namespace in ["", "child"] {
        stored.push(put(&*saver, &within(&thread, namespace), &checkpoint, &step(0)).await);
    }
    for config in &stored {
        put_writes(&*saver, config, &[("a", json!(1))], "task").await;
        assert_eq!(got(&*saver, config).await.pending_writes.len(), 1);
    }
    expires(&*saver, &thread).await;
    sleep(SHORT / 3).await;
    for config in &stored {
        assert_eq!(get(&*saver, config).await, None);
    }
    put(&*saver, &thread, &checkpoint, &step(0)).await;
    let found = got(&*saver, &thread).await;
    assert_eq!(found.pending_writes, [], "the writes are gone as well");
}

async fn writes_without_a_checkpoint_expire(subject: Subject) {
    let saver = subject.with_ttl(TtlPolicy::new(SHORT)).await;
    let thread = thread();
    let checkpoint = empty();
    let config = thread.clone().with_checkpoint(checkpoint.id().clone());
    put_writes(&*saver, &config, &[("a", json!(1))], "task").await;
    sleep(SHORT + Duration::from_millis(300)).await;
    put(&*saver, &thread, &checkpoint, &step(0)).await;
    assert_eq!(got(&*saver, &thread).await.pending_writes, []);
}

async fn a_call_has_a_ttl_of_its_own(subject: Subject) {
    for saver in [
        subject.saver().await,
        subject.with_ttl(TtlPolicy::new(HOUR)).await,
    ] {
        let thread = thread();
        let stored = saver
            .put(&thread, &empty(), &step(0), &for_ttl(SHORT))
            .await
            .unwrap();
        let options = PutWritesOptions::default().with_ttl(TtlChoice::For(SHORT));
        let given = writes(&[("a", json!(1))]);
        saver
            .put_writes(&stored, &given, &task("task"), &options)
            .await
            .unwrap();
        assert_about(ttl_of(&*saver, &thread).await, SHORT);
        expires(&*saver, &thread).await;
    }
}

async fn a_call_can_keep_for_ever(subject: Subject) {
    let saver = subject.with_ttl(TtlPolicy::new(SHORT)).await;
    let thread = thread();
    let options = PutOptions::default().with_ttl(TtlChoice::Forever);
    let stored = saver
        .put(&thread, &empty(), &step(0), &options)
        .await
        .unwrap();
    put_writes(&*saver, &stored, &[("a", json!(1))], "task").await;
    assert_eq!(ttl_of(&*saver, &thread).await, None);
    sleep(SHORT + Duration::from_millis(500)).await;
    assert_eq!(got(&*saver, &thread).await.config, stored);
    assert_eq!(ids(&list(&*saver, &thread).await), newest_first(&[stored]));
}

async fn a_ttl_that_cannot_be_is_refused(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    for ttl in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
        let refused = saver.put(&thread, &empty(), &step(0), &for_ttl(ttl)).await;
        assert!(
            matches!(refused, Err(Error::InvalidInput { .. })),
            "{ttl:?} {refused:?}"
        );
    }
    assert_eq!(list(&*saver, &thread).await, []);
    let stored = put_empty(&*saver, &thread).await;
    let given = writes(&[("a", json!(1))]);
    for ttl in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
        let options = PutWritesOptions::default().with_ttl(TtlChoice::For(ttl));
        let refused = saver
            .put_writes(&stored, &given, &task("task"), &options)
            .await;
        assert!(
            matches!(refused, Err(Error::InvalidInput { .. })),
            "{ttl:?} {refused:?}"
        );
    }
    assert_eq!(got(&*saver, &stored).await.pending_writes, []);
    assert_eq!(ttl_of(&*saver, &thread).await, None);
}

async fn a_summary_tells_the_time_left(subject: Subject) {
    let saver = subject.with_ttl(TtlPolicy::new(HOUR)).await;
    let thread = thread();
    put_empty(&*saver, &thread).await;
    assert_about(ttl_of(&*saver, &thread).await, HOUR);
    let first = ttl_of(&*saver, &thread).await;
    sleep(Duration::from_millis(50)).await;
    assert!(ttl_of(&*saver, &thread).await < first, "it counts down");
}

async fn reading_refreshes_if_so_set(subject: Subject) {
    let saver = subject
        .with_ttl(TtlPolicy::new(SHORT).with_refresh_on_read(true))
        .await;
    let thread = thread();
    put_empty(&*saver, &thread).await;
    for _ in 0..6 {
        sleep(SHORT / 3).await;
        assert!(get(&*saver, &thread).await.is_some(), "it was read in time");
    }
    sleep(SHORT + Duration::from_millis(500)).await;
    assert_eq!(get(&*saver, &thread).await, None);
}

async fn reading_refreshes_the_writes_too(subject: Subject) {
    let saver = subject
        .with_ttl(TtlPolicy::new(SHORT).with_refresh_on_read(true))
        .await;
    let stored = put_empty(&*saver, &within(&thread(), "child")).await;
    put_writes(
        &*saver,
        &stored,
        &[("a", json!(1)), ("__interrupt__", json!(2))],
        "task",
    )
    .await;
    for _ in 0..6 {
        sleep(SHORT / 3).await;
        assert_eq!(got(&*saver, &stored).await.pending_writes.len(), 2);
    }
}

async fn reading_does_not_refresh_otherwise(subject: Subject) {
    let saver = subject.with_ttl(TtlPolicy::new(SHORT)).await;
    let thread = thread();
    put_empty(&*saver, &thread).await;
    expires(&*saver, &thread).await;
}

async fn listing_does_not_refresh(subject: Subject) {
    let saver = subject
        .with_ttl(TtlPolicy::new(SHORT).with_refresh_on_read(true))
        .await;
    let thread = thread();
    put_empty(&*saver, &thread).await;
    let start = Instant::now();
    while !list(&*saver, &thread).await.is_empty() {
        assert!(start.elapsed() < SHORT * 4, "it does not expire");
        sleep(Duration::from_millis(50)).await;
    }
}

async fn what_is_kept_for_ever_gets_no_ttl_by_reading(subject: Subject) {
    let saver = subject
        .with_ttl(TtlPolicy::new(HOUR).with_refresh_on_read(true))
        .await;
    let thread = thread();
    let options = PutOptions::default().with_ttl(TtlChoice::Forever);
    saver
        .put(&thread, &empty(), &step(0), &options)
        .await
        .unwrap();
    assert!(get(&*saver, &thread).await.is_some());
    assert_eq!(ttl_of(&*saver, &thread).await, None);
}

async fn touch_starts_the_ttl_anew(subject: Subject) {
    let saver = subject.with_ttl(TtlPolicy::new(SHORT)).await;
    let thread = thread();
    let mut stored = Vec::new();
    for namespace in ["", "child"] {
        let chain = put_chain(&*saver, &within(&thread, namespace), 2).await;
        put_writes(&*saver, &chain[0], &[("a", json!(1))], "task").await;
        stored.extend(chain);
    }
    for _ in 0..6 {
        sleep(SHORT / 3).await;
        assert!(
            saver.touch(&thread.thread_id).await.unwrap(),
            "the thread is there"
        );
    }
    assert_eq!(list(&*saver, &thread).await.len(), 4);
    assert_eq!(got(&*saver, &stored[0]).await.pending_writes.len(), 1);
    expires(&*saver, &thread).await;
}

async fn touch_leaves_pinned_threads_alone(subject: Subject) {
    let saver = subject.with_ttl(TtlPolicy::new(HOUR)).await;
    let thread = thread();
    let stored = put_empty(&*saver, &thread).await;
    put_writes(&*saver, &stored, &[("a", json!(1))], "task").await;
    assert!(saver.pin(&thread.thread_id).await.unwrap());
    assert!(saver.touch(&thread.thread_id).await.unwrap());
    assert_eq!(ttl_of(&*saver, &thread).await, None);
}

async fn a_pinned_thread_does_not_expire(subject: Subject) {
    let saver = subject
        .with_ttl(TtlPolicy::new(SHORT).with_refresh_on_read(true))
        .await;
    let thread = thread();
    for namespace in ["", "child"] {
        for config in put_chain(&*saver, &within(&thread, namespace), 2).await {
            put_writes(&*saver, &config, &[("a", json!(1))], "task").await;
        }
    }
    assert!(saver.pin(&thread.thread_id).await.unwrap());
    assert_eq!(ttl_of(&*saver, &thread).await, None);
    assert!(get(&*saver, &thread).await.is_some());
    assert_eq!(
        ttl_of(&*saver, &thread).await,
        None,
        "reading gives it no TTL"
    );
    sleep(SHORT + Duration::from_millis(500)).await;
    let listed = list(&*saver, &thread).await;
    assert_eq!(listed.len(), 4);
    assert!(listed.iter().all(|tuple| tuple.pending_writes.len() == 1));
    assert!(get(&*saver, &thread).await.is_some());
}

async fn what_a_pinned_thread_is_given_does_not_expire(subject: Subject) {
    let saver = subject.with_ttl(TtlPolicy::new(SHORT)).await;
    let thread = thread();
    let first = put_empty(&*saver, &thread).await;
    assert!(saver.pin(&thread.thread_id).await.unwrap());
    let second = put_empty(&*saver, &first).await;
    put_writes(&*saver, &second, &[("a", json!(1))], "task").await;
    assert_eq!(ttl_of(&*saver, &thread).await, None);
    sleep(SHORT + Duration::from_millis(500)).await;
    let found = got(&*saver, &thread).await;
    assert_eq!(found.config, second);
    assert_eq!(found.pending_writes.len(), 1);
}

async fn an_unpinned_thread_expires(subject: Subject) {
    let saver = subject.with_ttl(TtlPolicy::new(SHORT)).await;
    let thread = thread();
    let stored = put_chain(&*saver, &thread, 2).await;
    put_writes(&*saver, &stored[1], &[("a", json!(1))], "task").await;
    assert!(saver.pin(&thread.thread_id).await.unwrap());
    assert!(saver.unpin(&thread.thread_id).await.unwrap());
    assert_about(ttl_of(&*saver, &thread).await, SHORT);
    put_empty(&*saver, &stored[1]).await;
    expires(&*saver, &thread).await;
}

async fn a_pin_ends_with_its_thread(subject: Subject) {
    let saver = subject.with_ttl(TtlPolicy::new(HOUR)).await;
    let thread = thread();
    put_empty(&*saver, &thread).await;
    assert!(saver.pin(&thread.thread_id).await.unwrap());
    saver
        .delete_thread(&thread.thread_id, &crate::DeleteOptions::default())
        .await
        .unwrap();
    put_empty(&*saver, &thread).await;
    assert_about(ttl_of(&*saver, &thread).await, HOUR);
}

async fn threads_that_are_not_there_cannot_be_pinned(subject: Subject) {
    let saver = subject.with_ttl(TtlPolicy::new(HOUR)).await;
    let missing = thread().thread_id;
    assert!(!saver.pin(&missing).await.unwrap());
    assert!(!saver.unpin(&missing).await.unwrap());
    assert!(!saver.touch(&missing).await.unwrap());
}

async fn without_a_ttl_touch_and_unpin_do_nothing(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    saver
        .put(&thread, &empty(), &step(0), &for_ttl(HOUR))
        .await
        .unwrap();
    assert!(!saver.touch(&thread.thread_id).await.unwrap());
    assert_about(ttl_of(&*saver, &thread).await, HOUR);
    assert!(saver.pin(&thread.thread_id).await.unwrap());
    assert!(!saver.unpin(&thread.thread_id).await.unwrap());
    assert_eq!(ttl_of(&*saver, &thread).await, None);
}

async fn a_copy_has_the_ttl_of_its_call(subject: Subject) {
    let saver = subject.with_ttl(TtlPolicy::new(HOUR)).await;
    let source = thread();
    put_empty(&*saver, &source).await;
    for (choice, expected) in [
        (TtlChoice::Default, Some(HOUR)),
        (TtlChoice::Forever, None),
        (TtlChoice::For(HOUR * 2), Some(HOUR * 2)),
    ] {
        let target = thread();
        let options = CopyOptions::default().with_ttl(choice);
        saver
            .copy_thread(&source.thread_id, &target.thread_id, &options)
            .await
            .unwrap();
        match expected {
            Some(expected) => assert_about(ttl_of(&*saver, &target).await, expected),
            None => assert_eq!(ttl_of(&*saver, &target).await, None),
        }
    }
}

async fn what_has_expired_is_no_parent_to_expect(subject: Subject) {
    let saver = subject.with_ttl(TtlPolicy::new(SHORT)).await;
    let thread = thread();
    put_empty(&*saver, &thread).await;
    expires(&*saver, &thread).await;
    let options = PutOptions::default().with_expected_parent(crate::ExpectedParent::None);
    let stored = saver
        .put(&thread, &empty(), &step(0), &options)
        .await
        .unwrap();
    assert_eq!(got(&*saver, &thread).await.config, stored);
}

/// Writes a thread for longer than its TTL, and returns how many checkpoints are left.
async fn written_for_longer_than(saver: &dyn CheckpointSaver, thread: &CheckpointConfig) -> usize {
    let mut parent = thread.clone();
    for namespace in ["child", ""] {
        parent = put_empty(saver, &within(thread, namespace)).await;
    }
    put_writes(saver, &parent, &[("a", json!(1))], "task").await;
    for _ in 0..8 {
        sleep(SHORT / 4).await;
        put_empty(saver, thread).await;
    }
    list(saver, thread).await.len()
}

async fn a_thread_kept_whole_loses_nothing_while_it_is_written(subject: Subject) {
    let saver = subject
        .with_ttl(TtlPolicy::new(SHORT).with_scope(TtlScope::Thread))
        .await;
    let thread = thread();
    assert_eq!(written_for_longer_than(&*saver, &thread).await, 10);
    let listed = list(&*saver, &thread).await;
    let writes: usize = listed.iter().map(|tuple| tuple.pending_writes.len()).sum();
    assert_eq!(writes, 1, "the writes are kept as well");
    expires(&*saver, &thread).await;
}

async fn otherwise_the_history_expires_step_by_step(subject: Subject) {
    let policy = TtlPolicy::new(SHORT).with_scope(TtlScope::Checkpoint);
    // A layout may keep threads whole and refuse anything else.
    let Some(saver) = subject.with_ttl_if_taken(policy).await else {
        return;
    };
    let thread = thread();
    let left = written_for_longer_than(&*saver, &thread).await;
    assert!((1..=5).contains(&left), "{left} are left");
}

async fn a_thread_kept_whole_loses_nothing_while_it_is_read(subject: Subject) {
    let ttl = TtlPolicy::new(SHORT)
        .with_refresh_on_read(true)
        .with_scope(TtlScope::Thread);
    let saver = subject.with_ttl(ttl).await;
    let thread = thread();
    for _ in 0..3 {
        put_empty(&*saver, &thread).await;
    }
    for _ in 0..8 {
        sleep(SHORT / 4).await;
        got(&*saver, &thread).await;
    }
    assert_eq!(list(&*saver, &thread).await.len(), 3);
    sleep(SHORT * 2).await;
    assert_eq!(list(&*saver, &thread).await, []);
}

async fn a_thread_kept_whole_is_as_lasting_as_its_newest(subject: Subject) {
    let saver = subject
        .with_ttl(TtlPolicy::new(SHORT).with_scope(TtlScope::Thread))
        .await;
    let thread = thread();
    put_empty(&*saver, &thread).await;
    let forever = PutOptions::default().with_ttl(TtlChoice::Forever);
    saver
        .put(&thread, &empty(), &step(1), &forever)
        .await
        .unwrap();
    sleep(SHORT * 2).await;
    assert_eq!(list(&*saver, &thread).await.len(), 2);
    assert_eq!(ttl_of(&*saver, &thread).await, None);
}
