//! Faults of a cluster.

use std::time::Duration;

use langgraph_checkpoint_redis::{CheckpointSaver, RedisSaver};
use redis_modules::Cluster;
use tokio::task::block_in_place;
use tokio::time::sleep;

use crate::load::Load;
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
async fn slot(cluster: &Cluster, thread: &str) -> u16 {
    let key = format!("{{{thread}}}");
    let slot = command(&cluster.nodes()[0].url(), &["CLUSTER", "KEYSLOT", &key]).await;
    redis::from_redis_value(slot.unwrap()).unwrap()
}

pub async fn the_primary_of_a_cluster_is_killed(fault: &'static str) {
    let mut cluster = Cluster::start().unwrap();
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
    let (there, elsewhere) = (Load::start(&saver, there), Load::start(&saver, elsewhere));
    there.goes_on(200).await;
    block_in_place(|| cluster.nodes_mut()[victim].kill().unwrap());
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
