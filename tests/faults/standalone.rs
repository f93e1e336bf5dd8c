//! Faults of one server and of its clients.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt, TryStreamExt, stream};
use langgraph_checkpoint_redis::redis::HealthProblem;
use langgraph_checkpoint_redis::{CheckpointSaver, Error, ListOptions, PutOptions, RedisSaver};
use redis_modules::Standalone;
use tokio::task::block_in_place;
use tokio::time::{sleep, timeout};

use crate::child::Child;
use crate::load::{Load, Record, checkpoint, config_of, kind, metadata, parent};
use crate::report::{Promise, settle};
use crate::{Fault, command, threads, urls};

async fn saver(fault: Fault, server: &Standalone) -> RedisSaver {
    let saver = fault
        .builder(server.url())
        .command_timeout(Duration::from_secs(4))
        .build()
        .await
        .unwrap();
    saver.setup().await.unwrap();
    saver
}

pub async fn the_server_is_killed_and_restarted(fault: Fault) {
    let mut server = Standalone::builder().persistence(true).start().unwrap();
    let saver = saver(fault, &server).await;
    let load = Load::start(&saver, threads(8));
    for _ in 0..2 {
        load.goes_on(300).await;
        block_in_place(|| {
            server.kill().unwrap();
            server.restart().unwrap();
        });
    }
    load.goes_on(300).await;
    settle(
        fault,
        Promise::Kept,
        &saver,
        load.stop().await,
        &urls([&server]),
    )
    .await;
    assert!(saver.health().await.is_ready());
}

pub async fn the_server_is_paused(fault: Fault) {
    let server = Standalone::start().unwrap();
    let saver = saver(fault, &server).await;
    let closing = self::saver(fault, &server).await;
    let load = Load::start(&saver, threads(8));
    load.goes_on(300).await;
    server.pause().unwrap();
    let (config, checkpoint) = (parent("closing", 0), checkpoint("closing", 0));
    let (metadata, options) = (metadata(0), PutOptions::default());
    let put = || closing.put(&config, &checkpoint, &metadata, &options);
    // Closing waits for the call, and for no longer than the call may take.
    let closed = timeout(Duration::from_secs(30), async {
        tokio::join!(put(), closing.close())
    });
    let (error, ()) = closed.await.unwrap();
    assert!(error.unwrap_err().is_retryable());
    assert!(matches!(put().await, Err(Error::Closed)));
    sleep(Duration::from_secs(2)).await;
    let health = saver.health().await;
    assert!(
        matches!(&health.problems[..], [HealthProblem::Unreachable { .. }]),
        "{health:?}"
    );
    server.resume().unwrap();
    load.goes_on(300).await;
    settle(
        fault,
        Promise::Kept,
        &saver,
        load.stop().await,
        &urls([&server]),
    )
    .await;
}

pub async fn the_server_loads_its_data(fault: Fault) {
    let server = Standalone::builder()
        .config("enable-debug-command", "yes")
        .config("key-load-delay", "2000")
        .start()
        .unwrap();
    let saver = saver(fault, &server).await;
    let load = Load::start(&saver, threads(8));
    load.goes_on(500).await;
    // Until it is done it answers LOADING.
    let url = server.url();
    let loading = tokio::spawn(async move { command(&url, &["DEBUG", "RELOAD"]).await });
    loading.await.unwrap().unwrap();
    load.goes_on(200).await;
    settle(
        fault,
        Promise::Kept,
        &saver,
        load.stop().await,
        &urls([&server]),
    )
    .await;
}

pub async fn scripts_are_flushed(fault: Fault) {
    let server = Standalone::start().unwrap();
    let saver = saver(fault, &server).await;
    let load = Load::start(&saver, threads(8));
    for _ in 0..20 {
        load.goes_on(30).await;
        command(&server.url(), &["SCRIPT", "FLUSH"]).await.unwrap();
    }
    settle(
        fault,
        Promise::Kept,
        &saver,
        load.stop().await,
        &urls([&server]),
    )
    .await;
}

pub async fn the_index_is_dropped(fault: Fault) {
    let server = Standalone::start().unwrap();
    let saver = saver(fault, &server).await;
    let load = Load::start(&saver, threads(8));
    for _ in 0..3 {
        load.goes_on(200).await;
        for index in ["checkpoint", "checkpoint_write"] {
            command(&server.url(), &["FT.DROPINDEX", index])
                .await
                .unwrap();
        }
        load.goes_on(200).await;
        saver.setup().await.unwrap();
    }
    settle(
        fault,
        Promise::Kept,
        &saver,
        load.stop().await,
        &urls([&server]),
    )
    .await;
}

/// A listing goes on, or says that it cannot: it never ends early as if that were all.
pub async fn a_listing_loses_its_server(fault: Fault) {
    const CHECKPOINTS: usize = 1_300;
    let mut server = Standalone::builder().persistence(true).start().unwrap();
    let saver = saver(fault, &server).await;
    let puts = stream::iter(0..CHECKPOINTS).map(|number| {
        let saver = saver.clone();
        async move {
            let thread = format!("thread-{number}");
            let (config, checkpoint) = (parent(&thread, 0), checkpoint(&thread, 0));
            let options = PutOptions::default();
            saver
                .put(&config, &checkpoint, &metadata(0), &options)
                .await
        }
    });
    let _: Vec<_> = puts.buffer_unordered(32).try_collect().await.unwrap();
    let mut listed = saver.list(None, ListOptions::default());
    let mut count = 0;
    let mut error = None;
    while let Some(next) = listed.next().await {
        match next {
            Ok(_) => count += 1,
            Err(cut) => error = Some(cut),
        }
        if count == 10 {
            block_in_place(|| server.restart().unwrap());
        }
    }
    match error {
        Some(error) => assert!(error.is_retryable(), "{fault}: {error:?}"),
        None => assert_eq!(count, CHECKPOINTS, "{fault}"),
    }
    let again = saver.list(None, ListOptions::default());
    let again: Vec<_> = again.try_collect().await.unwrap();
    assert_eq!(again.len(), CHECKPOINTS, "{fault}");
}

pub async fn memory_runs_out(fault: Fault) {
    let server = Standalone::builder()
        .config("maxmemory-policy", "noeviction")
        .start()
        .unwrap();
    let saver = saver(fault, &server).await;
    let load = Load::start(&saver, threads(8));
    load.goes_on(300).await;
    let url = server.url();
    command(&url, &["CONFIG", "SET", "maxmemory", "1"])
        .await
        .unwrap();
    sleep(Duration::from_secs(1)).await;
    let (config, checkpoint) = (parent("another", 0), checkpoint("another", 0));
    let error = saver
        .put(&config, &checkpoint, &metadata(0), &PutOptions::default())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::OutOfMemory), "{error:?}");
    assert_eq!(saver.get_tuple(&config).await.unwrap(), None);
    command(&url, &["CONFIG", "SET", "maxmemory", "0"])
        .await
        .unwrap();
    load.goes_on(300).await;
    settle(
        fault,
        Promise::Kept,
        &saver,
        load.stop().await,
        &urls([&server]),
    )
    .await;
}

/// A client that cannot sign in any more used to be dead for good.
pub async fn the_password_changes_for_a_while(fault: Fault) {
    let server = Standalone::start().unwrap();
    let saver = saver(fault, &server).await;
    let load = Load::start(&saver, threads(4));
    load.goes_on(100).await;
    let with_password = format!("redis://:secret@127.0.0.1:{}", server.port());
    command(&server.url(), &["CONFIG", "SET", "requirepass", "secret"])
        .await
        .unwrap();
    command(&with_password, &["CLIENT", "KILL", "TYPE", "normal"])
        .await
        .unwrap();
    // Writers stop at an error that no retry helps against.
    let mut records = load.stop().await;
    for (_, record) in &mut records {
        assert!(
            record.errors.contains_key("Authentication"),
            "{:?}",
            record.errors
        );
        record.failures.clear();
    }
    command(&with_password, &["CONFIG", "SET", "requirepass", ""])
        .await
        .unwrap();
    let back = Load::start(&saver, ["thread-back".to_owned()]);
    back.goes_on(10).await;
    records.extend(back.stop().await);
    settle(fault, Promise::Kept, &saver, records, &urls([&server])).await;
}

pub async fn ten_thousand_calls_at_once(fault: Fault) {
    let server = Standalone::start().unwrap();
    let saver = fault
        .builder(server.url())
        .command_timeout(Duration::from_secs(2))
        .build()
        .await
        .unwrap();
    saver.setup().await.unwrap();
    let put = |number: usize| {
        let saver = saver.clone();
        tokio::spawn(async move {
            let thread = format!("many-{number}");
            let (config, checkpoint) = (parent(&thread, 0), checkpoint(&thread, 0));
            let (metadata, options) = (metadata(0), PutOptions::default());
            saver.put(&config, &checkpoint, &metadata, &options).await
        })
    };
    // First nobody answers: every call comes back within its time limit all the same.
    server.pause().unwrap();
    let calls = join_all((0..10_000).map(put));
    let outcomes = timeout(Duration::from_secs(30), calls).await.unwrap();
    server.resume().unwrap();
    let mut kinds = std::collections::BTreeMap::new();
    for outcome in outcomes {
        if let Err(error) = outcome.unwrap() {
            assert!(error.is_retryable(), "{error:?}");
            *kinds.entry(kind(&error)).or_insert(0) += 1;
        }
    }
    // Then all of them are served.
    let mut records = Vec::new();
    for (number, outcome) in join_all((0..10_000).map(put)).await.into_iter().enumerate() {
        let acknowledged = match outcome.unwrap() {
            Ok(_) => vec![0],
            Err(error) => {
                assert!(error.is_retryable(), "{error:?}");
                *kinds.entry(kind(&error)).or_insert(0) += 1;
                Vec::new()
            }
        };
        let record = Record {
            tried: 1,
            acknowledged,
            ..Record::default()
        };
        records.push((format!("many-{number}"), record));
    }
    records[0].1.errors = kinds;
    settle(fault, Promise::Kept, &saver, records, &urls([&server])).await;
}

pub async fn calls_are_dropped_midway(fault: Fault) {
    let server = Standalone::start().unwrap();
    let saver = saver(fault, &server).await;
    let mut records = Vec::new();
    for number in 0..1_000 {
        let thread = format!("dropped-{number}");
        let call = {
            let (saver, thread) = (saver.clone(), thread.clone());
            async move {
                let (config, checkpoint) = (parent(&thread, 0), checkpoint(&thread, 9));
                let (metadata, options) = (metadata(9), PutOptions::default());
                saver.put(&config, &checkpoint, &metadata, &options).await
            }
        };
        // Some before they are sent, some before they are answered, some not at all.
        let outcome = polled(call, number % 40).await;
        let record = Record {
            tried: 10,
            acknowledged: outcome
                .map(|stored| stored.map(|_| 9).unwrap())
                .into_iter()
                .collect(),
            ..Record::default()
        };
        records.push((thread, record));
    }
    // The parent of the checkpoint is not what `check` expects of one with that number.
    let mut left = 0;
    for (thread, record) in &records {
        let found = saver.get_tuple(&config_of(thread)).await.unwrap();
        if let Some(found) = found {
            assert_eq!(found.checkpoint, checkpoint(thread, 9));
        } else {
            assert!(record.acknowledged.is_empty(), "{thread} is lost");
            left += 1;
        }
    }
    assert!(left > 0, "no call was dropped before it was sent");
    let load = Load::start(&saver, threads(4));
    load.goes_on(100).await;
    settle(
        fault,
        Promise::Kept,
        &saver,
        load.stop().await,
        &urls([&server]),
    )
    .await;
}

/// A call that is dropped when it has been polled this often.
async fn polled<T>(call: impl Future<Output = T>, times: usize) -> Option<T> {
    let mut call = pin!(call);
    for _ in 0..times {
        if let Poll::Ready(done) = poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await
        {
            return Some(done);
        }
        tokio::task::yield_now().await;
    }
    None
}

pub async fn the_client_is_killed(fault: Fault) {
    let server = Standalone::start().unwrap();
    let saver = saver(fault, &server).await;
    let mut records = Vec::new();
    for round in 0..5 {
        let thread = format!("child-{round}");
        let child = Child::start(fault, &server.url(), &thread);
        sleep(Duration::from_millis(500 + 37 * round)).await;
        records.push((thread, block_in_place(|| child.kill())));
    }
    settle(fault, Promise::Kept, &saver, records, &urls([&server])).await;
}
