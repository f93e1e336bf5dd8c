//! Faults of a cluster.

use std::time::{Duration, Instant};

use langgraph_checkpoint_redis::{CheckpointSaver, PutOptions, RedisSaver};
use redis_modules::Cluster;
use tokio::task::block_in_place;
use tokio::time::sleep;

use crate::load::{Load, checkpoint, config_of, metadata, parent};
use crate::report::{Promise, settle};
use crate::{builder, command, threads};

async fn saver(cluster: &Cluster) -> RedisSaver {
    let saver = builder(cluster.url())
        .hash_tag_threads(true)
        .wait_for_replicas(1, Duration::from_millis(500))
        .build()
        .await
        .unwrap();
    saver.setup().await.unwrap();
    saver
}

fn primaries(cluster: &Cluster) -> Vec<String> {
    let primaries = cluster.primaries().into_iter();
    primaries
        .map(|primary| cluster.nodes()[primary].url())
        .collect()
}

/// The slot of a thread whose keys have its id as their tag.
pub async fn slot(cluster: &Cluster, thread: &str) -> u16 {
    let key = format!("{{{thread}}}");
    let anybody = &cluster.nodes()[cluster.primaries()[0]];
    let slot = command(&anybody.url(), &["CLUSTER", "KEYSLOT", &key]).await;
    redis::from_redis_value(slot.unwrap()).unwrap()
}

pub async fn the_primary_of_a_cluster_is_killed(fault: &'static str) {
    // Else the servers themselves answer CLUSTERDOWN until the slots have a primary again.
    let mut cluster = Cluster::builder()
        .config("cluster-require-full-coverage", "no")
        .start()
        .unwrap();
    let saver = saver(&cluster).await;
    let victim = 0;
    let mut there = Vec::new();
    let mut elsewhere = Vec::new();
    for thread in threads(24) {
        let slot = slot(&cluster, &thread).await;
        let is_there = cluster.owner(slot).unwrap() == victim;
        if is_there { &mut there } else { &mut elsewhere }.push(thread);
    }
    assert!(!there.is_empty() && !elsewhere.is_empty());
    let witness = there[0].clone();
    let (there, elsewhere) = (Load::start(&saver, there), Load::start(&saver, elsewhere));
    there.goes_on(200).await;
    block_in_place(|| cluster.nodes_mut()[victim].kill().unwrap());
    let started = Instant::now();
    let slot = slot(&cluster, &witness).await;
    // Until then nobody can be asked who has the slots.
    while !cluster.owner(slot).is_ok_and(|owner| owner != victim) {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "nobody took over"
        );
        sleep(Duration::from_millis(20)).await;
    }
    // What took over has no replica, so writes are not acknowledged until there is one again.
    block_in_place(|| cluster.nodes_mut()[victim].restart().unwrap());
    there.goes_on(200).await;
    let mut records = elsewhere.stop().await;
    // The other primaries go on as if nothing had happened.
    let slowest = records.iter().map(|(_, record)| record.slowest).max();
    let errors = records
        .iter()
        .map(|(_, record)| record.errors.len())
        .sum::<usize>();
    println!("{fault}: the slowest call on other primaries took {slowest:?}");
    assert_eq!(errors, 0, "calls on other primaries failed");
    records.extend(there.stop().await);
    settle(fault, Promise::Kept, &saver, records, &primaries(&cluster)).await;
}

pub async fn a_planned_failover_in_a_cluster(fault: &'static str) {
    let cluster = Cluster::start().unwrap();
    let saver = saver(&cluster).await;
    let load = Load::start(&saver, threads(12));
    load.goes_on(300).await;
    for replica in 3..6 {
        command(&cluster.nodes()[replica].url(), &["CLUSTER", "FAILOVER"])
            .await
            .unwrap();
        load.goes_on(300).await;
    }
    let records = load.stop().await;
    settle(fault, Promise::Kept, &saver, records, &primaries(&cluster)).await;
}

pub async fn a_slot_moves_back_and_forth(fault: &'static str) {
    let cluster = Cluster::start().unwrap();
    let saver = saver(&cluster).await;
    // All in one slot: ids of threads with the same tag.
    let threads = (0..8).map(|n| format!("{{one}}-{n}")).collect::<Vec<_>>();
    let slot = slot(&cluster, "one").await;
    let load = Load::start(&saver, threads);
    load.goes_on(200).await;
    for target in [1, 2, 0, 1] {
        if cluster.owner(slot).unwrap() == target {
            continue;
        }
        let moving = cluster.start_moving(slot, target).unwrap();
        // Key by key, so that calls meet each state.
        for _ in 0..50 {
            block_in_place(|| moving.move_keys(20).unwrap());
            sleep(Duration::from_millis(5)).await;
        }
        block_in_place(|| moving.finish().unwrap());
        load.goes_on(100).await;
    }
    let records = load.stop().await;
    settle(fault, Promise::Kept, &saver, records, &primaries(&cluster)).await;
}

/// While a slot is half moved, what is read is right, or the caller is told to come back.
pub async fn a_slot_is_half_moved(fault: &'static str) {
    let cluster = Cluster::start().unwrap();
    let patient = saver(&cluster).await;
    let hasty = builder(cluster.url())
        .hash_tag_threads(true)
        .command_timeout(Duration::from_millis(300))
        .build()
        .await
        .unwrap();
    let put = async |number| {
        let (config, checkpoint) = (parent("thread", number), checkpoint("thread", number));
        let (metadata, options) = (metadata(number), PutOptions::default());
        patient
            .put(&config, &checkpoint, &metadata, &options)
            .await
            .unwrap();
    };
    for number in 0..3 {
        put(number).await;
    }
    let slot = slot(&cluster, "thread").await;
    let target = (cluster.owner(slot).unwrap() + 1) % 3;
    let moving = cluster.start_moving(slot, target).unwrap();
    let newest = async || hasty.get_tuple(&config_of("thread")).await;
    loop {
        match newest().await {
            Ok(newest) => {
                assert_eq!(
                    newest.unwrap().checkpoint,
                    checkpoint("thread", 2),
                    "{fault}"
                );
            }
            Err(error) => assert!(error.is_retryable(), "{fault}: {error:?}"),
        }
        if block_in_place(|| moving.move_keys(1).unwrap()) == 0 {
            break;
        }
    }
    // All keys are there now, and the slot is not: scripts wait for it.
    tokio::join!(put(3), async {
        sleep(Duration::from_millis(300)).await;
        block_in_place(|| moving.finish().unwrap());
    });
    let found = patient
        .get_tuple(&config_of("thread"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.checkpoint, checkpoint("thread", 3), "{fault}");
}
