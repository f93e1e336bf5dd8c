//! Checkpoints with more writes than one step reads or removes, and with fewer than there should
//! be.

use std::collections::BTreeMap;
use std::sync::Arc;

use langgraph_checkpoint_redis::{
    ChannelWrite, CheckpointConfig, CheckpointSaver, CheckpointSaverExt, CopyOptions,
    DeleteOptions, Error, ListOptions, Progress, ProgressCallback, ShallowRedisSaver, TtlChoice,
    TtlPolicy, TypedValue,
};
use tokio::sync::Notify;

use super::{HOUR, assert_ttl, delete, place, put, put_writes, read, saver, saver_with, writes};
use crate::support::server::Server;
use crate::support::stored::{self, named, thread_id};

const TASKS: usize = 25;
const WRITES: usize = 100;

async fn put_many(saver: &ShallowRedisSaver, at: &CheckpointConfig, id: &str, value: i64) {
    put(saver, at, id).await;
    let value = TypedValue::json(&value).unwrap();
    let writes: Vec<_> = (0..WRITES)
        .map(|n| ChannelWrite::new(format!("n{n}"), value.clone()))
        .collect();
    for task in 0..TASKS {
        stored::put_writes(saver, &named(at, id), &writes, &format!("task{task}")).await;
    }
}

/// How often a reader sees each value; none if there is no checkpoint.
async fn values(saver: &ShallowRedisSaver, at: &CheckpointConfig) -> Option<BTreeMap<i64, usize>> {
    let tuple = saver.get_tuple(at).await.unwrap()?;
    let mut values = BTreeMap::new();
    for (_, value) in writes(&tuple) {
        *values.entry(value).or_default() += 1;
    }
    Some(values)
}

/// Begins to delete a thread, and stops when the first of it is gone.
async fn delete_some(saver: &ShallowRedisSaver) {
    let enough = Arc::new(Notify::new());
    let reported = Arc::clone(&enough);
    let options =
        DeleteOptions::default().with_progress(ProgressCallback::new(move |_: Progress| {
            reported.notify_one();
        }));
    let t = thread_id("t");
    tokio::select! {
        _ = saver.delete_thread(&t, &options) => panic!("it ended"),
        () = enough.notified() => {}
    }
}

#[tokio::test]
async fn many_writes_are_read_listed_and_copied() {
    let mut server = Server::start().await;
    let saver = saver(&server).await;
    let at = place("t", "");
    put_many(&saver, &at, "1", 7).await;
    let all = BTreeMap::from([(7, TASKS * WRITES)]);
    assert_eq!(values(&saver, &at).await.unwrap(), all);
    let listed = saver.list_all(Some(&at), ListOptions::default());
    assert_eq!(writes(&listed.await.unwrap()[0]).len(), TASKS * WRITES);
    let (source, target) = (thread_id("t"), thread_id("copy"));
    let options = CopyOptions::default();
    saver.copy_thread(&source, &target, &options).await.unwrap();
    assert_eq!(values(&saver, &place("copy", "")).await.unwrap(), all);
    delete(&saver, "t").await;
    delete(&saver, "copy").await;
    assert_eq!(server.keys().await, Vec::<String>::new());
}

#[tokio::test]
async fn many_writes_are_pinned_unpinned_and_touched() {
    let mut server = Server::start().await;
    let saver = saver_with(&server, TtlPolicy::new(HOUR)).await;
    put_many(&saver, &place("t", ""), "1", 1).await;
    let t = thread_id("t");
    assert!(saver.pin(&t).await.unwrap());
    assert_ttl(&mut server, false).await;
    assert!(saver.touch(&t).await.unwrap());
    assert_ttl(&mut server, false).await;
    assert!(saver.unpin(&t).await.unwrap());
    assert_ttl(&mut server, true).await;
    let keys = server.keys().await;
    assert!(keys.len() > TASKS * WRITES);
    for key in &keys {
        server.run(&["PEXPIRE", key, "60000"]).await;
    }
    assert!(saver.touch(&t).await.unwrap());
    for key in &keys {
        assert!(server.time_left(key).await > 60_000, "{key}");
    }
}

#[tokio::test]
async fn a_checkpoint_is_gone_with_the_first_of_many_writes_and_none_comes_back() {
    let mut server = Server::start().await;
    let saver = saver(&server).await;
    let at = place("t", "");
    put_many(&saver, &at, "1", 1).await;
    delete_some(&saver).await;
    assert_eq!(values(&saver, &at).await, None);
    put(&saver, &at, "1").await;
    assert_eq!(values(&saver, &at).await, Some(BTreeMap::new()));
    put_many(&saver, &at, "1", 2).await;
    delete_some(&saver).await;
    put_writes(&saver, &at, "1", &["n"], 3).await;
    put(&saver, &at, "1").await;
    assert_eq!(values(&saver, &at).await, Some(BTreeMap::from([(3, 1)])));
    put_many(&saver, &at, "2", 4).await;
    delete_some(&saver).await;
    delete(&saver, "t").await;
    assert_eq!(server.keys().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_checkpoint_that_lacks_a_write_is_an_error_that_names_it() {
    let mut server = Server::start().await;
    let saver = saver(&server).await;
    // The second had its writes before it came.
    for (number, thread) in ["t", "early"].into_iter().enumerate() {
        let at = place(thread, "");
        if number == 0 {
            put(&saver, &at, "1").await;
        }
        put_writes(&saver, &at, "1", &["a", "b"], 1).await;
        put(&saver, &at, "1").await;
        assert_eq!(writes(&read(&saver, &at).await).len(), 2);
        let keys = server.keys().await;
        let of = |family: &str, end: &str| {
            let mut keys = keys.iter();
            let found = keys.find(|key| key.starts_with(family) && key.ends_with(end));
            found.unwrap().clone()
        };
        let write = of("checkpoint_write:", ":task:1");
        let registry = of("write_keys_zset:", ":shallow");
        for key in [write, registry] {
            server.run(&["DEL", &key]).await;
            let found = saver.get_tuple(&at).await;
            assert!(
                matches!(&found, Err(Error::Corrupt { key: named, .. }) if *named == key),
                "{found:?}"
            );
            let listed = saver.list_all(Some(&at), ListOptions::default());
            assert!(matches!(listed.await, Err(Error::Corrupt { .. })));
        }
        // What replaces it has nothing to do with that.
        put(&saver, &at, "2").await;
        assert_eq!(writes(&read(&saver, &at).await), []);
        delete(&saver, thread).await;
    }
    assert_eq!(server.keys().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_write_lives_at_least_as_long_as_its_checkpoint() {
    let mut server = Server::start().await;
    let saver = saver(&server).await;
    let (at, short) = (place("t", ""), TtlChoice::For(HOUR));
    let write = [ChannelWrite::new("n", TypedValue::json(&1).unwrap())];
    put(&saver, &at, "1").await;
    stored::put_writes_for(&saver, &named(&at, "1"), &write, "late", short).await;
    let early = place("early", "");
    stored::put_writes_for(&saver, &named(&early, "1"), &write, "early", short).await;
    put(&saver, &early, "1").await;
    for key in server.keys().await {
        assert_eq!(server.time_left(&key).await, -1, "{key}");
    }
}
