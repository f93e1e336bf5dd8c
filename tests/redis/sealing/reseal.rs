//! Keys rotate, and `reseal` seals what the old ones sealed: stopped midway, beside writers, beside
//! what cannot be read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use langgraph_checkpoint_redis::redis::{DoctorOptions, ResealOptions};
use langgraph_checkpoint_redis::{
    CheckpointConfig, CheckpointId, CheckpointSaver, Error, ProgressCallback, RedisSaver, TtlPolicy,
};
use tokio::sync::Notify;

use super::*;

/// Threads whose pieces are sealed with the old key: one of many checkpoints, with writes and
/// writes that wait, in two namespaces; one of waiting writes alone.
async fn conversation(saver: &RedisSaver, checkpoints: usize) -> [CheckpointConfig; 2] {
    let (config, waiting) = (thread("t"), thread("waiting"));
    for namespace in ["", "sub:1"] {
        let config = config.clone().with_namespace(namespace).unwrap();
        for number in 0..checkpoints {
            let id = format!("{number:03}");
            put(saver, &config, &id, &messages(10 + number, "a")).await;
            write(saver, &config, &id, "task", &id).await;
        }
        write(saver, &config, "999", "early", "x").await;
    }
    write(saver, &waiting, "1", "early", "x").await;
    [config, waiting]
}

#[tokio::test]
async fn keys_rotate_without_a_break_and_the_old_one_may_go() {
    let mut server = Server::start().await;
    let [config, waiting] = conversation(&sealed(&server, OLD).await, 8).await;
    let both = sealed(&server, BOTH).await;
    let hour = Duration::from_secs(3_600);
    let timed = builder(&server)
        .encryption_keys(encryption_keys(BOTH))
        .ttl(TtlPolicy::new(hour));
    assert!(
        timed
            .build()
            .await
            .unwrap()
            .unpin(&config.thread_id)
            .await
            .unwrap()
    );
    let before = (all(&both, &config).await, early(&both, &config).await);
    assert_eq!((before.0.len(), before.1.len()), (16, 2));
    // What is stored from now on needs the new key alone.
    put(&both, &thread("after"), "1", &messages(20, "a")).await;
    newest(&sealed(&server, NEW).await, &thread("after"))
        .await
        .unwrap();

    let counted = both
        .reseal(&ResealOptions::default().with_dry_run(true))
        .await
        .unwrap();
    assert_eq!(
        (
            counted.threads,
            counted.checkpoints,
            counted.writes,
            counted.current
        ),
        (3, 16, 38, 1)
    );
    assert_lacks(sealed(&server, NEW).await.get_tuple(&config).await, "old");
    // One thread, then those that start so, then all.
    let named = ResealOptions::default().with_threads(vec![waiting.thread_id.clone()]);
    let report = both.reseal(&named).await.unwrap();
    assert_eq!(
        (report.threads, report.checkpoints, report.writes),
        (1, 0, 2)
    );
    let report = both
        .reseal(&ResealOptions::default().with_prefix("wait"))
        .await
        .unwrap();
    assert_eq!(
        (
            report.threads,
            report.checkpoints,
            report.writes,
            report.current
        ),
        (1, 0, 0, 2)
    );
    let report = both.reseal(&ResealOptions::default()).await.unwrap();
    assert!(report.is_complete(), "{report}");
    assert_eq!(
        (
            report.threads,
            report.checkpoints,
            report.writes,
            report.current
        ),
        (3, 16, 36, 3)
    );
    assert!(report.parts_removed > 0, "{report}");
    let contents = server.contents().await;
    let report = both.reseal(&ResealOptions::default()).await.unwrap();
    assert_eq!(
        (report.checkpoints, report.writes, report.current),
        (0, 0, 55)
    );
    assert_eq!(
        server.contents().await,
        contents,
        "a second run changes nothing"
    );

    let new = sealed(&server, NEW).await;
    assert_eq!(
        (all(&new, &config).await, early(&new, &config).await),
        before
    );
    assert_eq!(early(&new, &waiting).await.len(), 1);
    let report = new.doctor(&DoctorOptions::default()).await.unwrap();
    assert!(report.is_healthy(), "{report}");
    for key in [HEADS, PARTS, WRITES] {
        let left = server.time_left(key).await;
        assert!((3_500_000..=3_600_000).contains(&left), "{key}: {left}");
    }
    assert_eq!(server.time_left("checkpoint_parts:{waiting}").await, -1);
    // The saver that sealed before reads nothing any more, and shares the parts of a value as
    // before.
    assert_lacks(sealed(&server, OLD).await.get_tuple(&config).await, "new");
    let count = parts(&mut server, PARTS).await.len();
    put(&new, &config, "500", &messages(18, "a")).await;
    let grown = parts(&mut server, PARTS).await.len() - count;
    assert!(grown < 8, "{grown} of {count}");
}

#[tokio::test]
async fn what_was_stored_without_keys_is_sealed() {
    let server = Server::start().await;
    let [config, _] = conversation(&without_keys(&server).await, 4).await;
    let before = all(&without_keys(&server).await, &config).await;
    let strict = sealed(&server, NEW).await;
    let report = strict.reseal(&ResealOptions::default()).await.unwrap();
    assert_eq!(
        (report.unreadable, report.checkpoints, report.writes),
        (30, 0, 0),
        "{report}"
    );
    assert!(!report.is_complete());
    assert!(report.to_string().contains("`allow_unsealed`"), "{report}");
    assert_eq!(all(&without_keys(&server).await, &config).await, before);

    let report = lenient(&server, NEW)
        .await
        .reseal(&ResealOptions::default())
        .await
        .unwrap();
    assert!(report.is_complete(), "{report}");
    assert_eq!((report.checkpoints, report.writes), (8, 22));
    let strict = sealed(&server, NEW).await;
    assert_eq!(all(&strict, &config).await, before);
    let report = strict.doctor(&DoctorOptions::default()).await.unwrap();
    assert!(report.is_healthy(), "{report}");
    let refused = without_keys(&server)
        .await
        .reseal(&ResealOptions::default())
        .await;
    assert!(matches!(&refused, Err(Error::Config { key, .. }) if key == "encryption_keys"));
}

#[tokio::test]
async fn one_that_cannot_be_read_does_not_keep_the_others_from_being_sealed() {
    let mut server = Server::start().await;
    let old = sealed(&server, OLD).await;
    for id in ["1", "2", "3"] {
        put(&old, &thread("t"), id, &messages(1, "a")).await;
    }
    let second = members(&mut server, HEADS).await.remove(1);
    let mut turned = second.clone();
    *turned.last_mut().unwrap() ^= 1;
    replace(&mut server, HEADS, &second, &turned).await;
    server.run(&["SET", "checkpoint_heads:{string}", "x"]).await;
    let both = sealed(&server, BOTH).await;
    let report = both.reseal(&ResealOptions::default()).await.unwrap();
    assert_eq!((report.checkpoints, report.current), (2, 0), "{report}");
    assert!(report.unreadable >= 3 && !report.is_complete(), "{report}");
    assert_eq!(report.findings().len() as u64, report.unreadable);
    let report = both.reseal(&ResealOptions::default()).await.unwrap();
    assert_eq!((report.checkpoints, report.current), (0, 2), "{report}");
}

#[tokio::test]
async fn a_reseal_that_was_stopped_midway_goes_on() {
    let server = Server::start().await;
    let [config, _] = conversation(&sealed(&server, OLD).await, 20).await;
    let both = sealed(&server, BOTH).await;
    let before = (all(&both, &config).await, early(&both, &config).await);
    for stop_at in [1, 25, 50] {
        let stop = Arc::new(Notify::new());
        let notified = Arc::clone(&stop);
        let progress = ProgressCallback::new(move |progress| {
            if progress.checkpoints + progress.writes >= stop_at {
                notified.notify_one();
            }
        });
        let options = ResealOptions::default().with_progress(progress);
        let resealing = sealed(&server, BOTH).await;
        tokio::select! {
            () = stop.notified() => {}
            report = resealing.reseal(&options) => panic!("{report:?}"),
        }
        drop(resealing);
        let reader = sealed(&server, BOTH).await;
        assert_eq!(
            (all(&reader, &config).await, early(&reader, &config).await),
            before
        );
    }
    let counted = both
        .reseal(&ResealOptions::default().with_dry_run(true))
        .await
        .unwrap();
    assert!(counted.current >= 50, "{counted}");
    let left = counted.checkpoints + counted.writes;
    assert!(left > 0, "{counted}");
    let report = both.reseal(&ResealOptions::default()).await.unwrap();
    assert_eq!(report.checkpoints + report.writes, left, "{report}");
    assert!(report.is_complete(), "{report}");
    let new = sealed(&server, NEW).await;
    assert_eq!(
        (all(&new, &config).await, early(&new, &config).await),
        before
    );
    let report = new.doctor(&DoctorOptions::default()).await.unwrap();
    assert!(report.is_healthy(), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reseal_beside_writers_loses_nothing() {
    let seconds = std::env::var("LANGGRAPH_REDIS_RACE_SECONDS");
    let time = Duration::from_secs(seconds.map_or(4, |seconds| seconds.parse().unwrap()));
    let server = Arc::new(Server::start().await);
    let (start, ended) = (Instant::now(), Arc::new(AtomicBool::new(false)));
    // Two seal again what the other has sealed, all the time.
    let mut sealing = Vec::new();
    for keys in [BOTH, TURNED] {
        let (server, ended) = (Arc::clone(&server), Arc::clone(&ended));
        sealing.push(tokio::spawn(async move {
            let saver = sealed(&server, keys).await;
            let mut pieces = 0;
            while !ended.load(Ordering::Relaxed) {
                let report = saver.reseal(&ResealOptions::default()).await.unwrap();
                assert_eq!(report.unreadable, 0, "{report}");
                pieces += report.checkpoints + report.writes;
            }
            pieces
        }));
    }
    let mut writers = Vec::new();
    for writer in 0..4_u32 {
        let server = Arc::clone(&server);
        writers.push(tokio::spawn(async move {
            let keys = if writer % 2 == 0 { BOTH } else { TURNED };
            let saver = sealed(&server, keys).await;
            let namespace = format!("writer-{writer}");
            let config = thread("t").with_namespace(&namespace).unwrap();
            let mut stored = BTreeMap::<String, (Vec<String>, usize)>::new();
            for number in 0..usize::MAX {
                if start.elapsed() >= time {
                    break;
                }
                // Some are put again, with other values.
                let id = format!("{:03}", number % 50);
                let said = messages(5 + number % 20, &format!("{}", number % 3));
                put(&saver, &config, &id, &said).await;
                let task = format!("task-{number}");
                write(&saver, &config, &id, &task, "large enough to have parts").await;
                let (last, count) = stored.entry(id.clone()).or_default();
                last.clone_from(&said);
                *count += 2;
                let count = *count;
                let mut at = config.clone();
                at.checkpoint_id = Some(CheckpointId::new(&id).unwrap());
                let reader = if number % 7 == 0 {
                    &sealed(&server, TURNED).await
                } else {
                    &saver
                };
                let found = newest(reader, &at).await.unwrap();
                let value: Option<Vec<String>> =
                    found.checkpoint.channel_value("secret-channel").unwrap();
                assert_eq!(value, Some(said));
                assert_eq!(found.pending_writes.len(), count);
            }
            (config, stored)
        }));
    }
    let mut results = Vec::new();
    for writer in writers {
        results.push(writer.await.unwrap());
    }
    ended.store(true, Ordering::Relaxed);
    for sealing in sealing {
        let pieces = sealing.await.unwrap();
        assert!(pieces > 0);
        println!("{pieces} pieces sealed again");
    }
    let both = sealed(&server, BOTH).await;
    let report = both.reseal(&ResealOptions::default()).await.unwrap();
    assert!(report.is_complete(), "{report}");
    let new = sealed(&server, NEW).await;
    for (config, stored) in results {
        let found = all(&new, &config).await;
        assert_eq!(found.len(), stored.len());
        for tuple in found {
            let (said, count) = &stored[tuple.checkpoint.id().as_str()];
            let value: Option<Vec<String>> =
                tuple.checkpoint.channel_value("secret-channel").unwrap();
            assert_eq!(value.as_ref(), Some(said));
            assert_eq!(tuple.pending_writes.len(), *count);
        }
    }
    let report = new.doctor(&DoctorOptions::default()).await.unwrap();
    assert!(report.is_healthy(), "{report}");
}
