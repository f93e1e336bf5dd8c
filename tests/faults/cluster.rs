//! Faults of a cluster.

use std::time::{Duration, Instant};

use fred::util::redis_keyslot;
use futures_util::TryStreamExt;
use langgraph_checkpoint_redis::{
    CheckpointSaver, CopyOptions, ListOptions, PutOptions, RedisSaver, ThreadId,
};
use redis_modules::Cluster;
use tokio::task::block_in_place;
use tokio::time::sleep;

use crate::load::{Load, Readers, checkpoint, config_of, is_whole, metadata, parent};
use crate::report::{Promise, settle};
use crate::{Fault, command, threads};

async fn saver(fault: Fault, cluster: &Cluster) -> RedisSaver {
    let saver = fault
        .builder(cluster.url())
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

/// Ids of threads whose keys are in one slot.
pub fn in_one_slot(stem: &str, count: usize) -> Vec<String> {
    let slot = |id: &String| redis_keyslot(id.as_bytes());
    let first = slot(&format!("{stem}-0"));
    let ids = (0..).map(|n| format!("{stem}-{n}"));
    ids.filter(|id| slot(id) == first).take(count).collect()
}

pub async fn the_primary_of_a_cluster_is_killed(fault: Fault) {
    // Else the servers themselves answer CLUSTERDOWN until the slots have a primary again.
    let mut cluster = Cluster::builder()
        .config("cluster-require-full-coverage", "no")
        .start()
        .unwrap();
    let saver = saver(fault, &cluster).await;
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

pub async fn a_planned_failover_in_a_cluster(fault: Fault) {
    let cluster = Cluster::start().unwrap();
    let saver = saver(fault, &cluster).await;
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

pub async fn a_slot_moves_back_and_forth(fault: Fault) {
    let cluster = Cluster::start().unwrap();
    let saver = saver(fault, &cluster).await;
    let threads = in_one_slot("one", 8);
    let slot = slot(&cluster, &threads[0]).await;
    let load = Load::start(&saver, threads);
    load.goes_on(200).await;
    let mut moved = 0;
    for target in [1, 2, 0, 1] {
        if cluster.owner(slot).unwrap() == target {
            continue;
        }
        let moving = cluster.start_moving(slot, target).unwrap();
        // Key by key, so that calls meet each state.
        for _ in 0..50 {
            moved += block_in_place(|| moving.move_keys(20).unwrap());
            sleep(Duration::from_millis(5)).await;
        }
        block_in_place(|| moving.finish().unwrap());
        load.goes_on(100).await;
    }
    assert!(moved > 0, "{fault}: there was nothing in the slot");
    let records = load.stop().await;
    settle(fault, Promise::Kept, &saver, records, &primaries(&cluster)).await;
}

/// Half of a call's writes are never read as if they were all: not by those who read a checkpoint
/// while its keys move, and not by those who copy it.
pub async fn a_slot_with_many_writes_moves(fault: Fault) {
    let cluster = Cluster::start().unwrap();
    let saver = saver(fault, &cluster).await;
    let mut threads = in_one_slot("lots", 16);
    let mut targets = threads.split_off(4);
    let source = ThreadId::new(&threads[0]).unwrap();
    let slot = slot(&cluster, &threads[0]).await;
    let load = Load::start(&saver, threads.clone());
    let readers = Readers::start(&saver, &threads, |_| false);
    load.goes_on(30).await;
    let (mut copies, mut moved) = (Vec::new(), 0);
    for target in [1, 2, 0, 1] {
        if cluster.owner(slot).unwrap() == target {
            continue;
        }
        let moving = cluster.start_moving(slot, target).unwrap();
        let copying = (0..3).map(|copier| {
            let (saver, source) = (saver.clone(), source.clone());
            let copy = targets.pop().unwrap();
            tokio::spawn(async move {
                sleep(Duration::from_millis(100 * copier)).await;
                let target = ThreadId::new(&copy).unwrap();
                let options = CopyOptions::default();
                (saver.copy_thread(&source, &target, &options).await, copy)
            })
        });
        let copying: Vec<_> = copying.collect();
        for _ in 0..150 {
            moved += block_in_place(|| moving.move_keys(7).unwrap());
            sleep(Duration::from_millis(2)).await;
        }
        block_in_place(|| moving.finish().unwrap());
        for copied in copying {
            match copied.await.unwrap() {
                (Ok(()), copy) => copies.push(copy),
                (Err(error), _) => assert!(error.is_retryable(), "{fault}: {error:?}"),
            }
        }
        load.goes_on(20).await;
    }
    assert!(moved > 0, "{fault}: there was nothing in the slot");
    let mut records = load.stop().await;
    for copy in copies {
        let listed = saver.list(Some(&config_of(&copy)), ListOptions::default());
        let listed: Vec<_> = listed.try_collect().await.unwrap();
        for tuple in listed {
            let number: usize = tuple.checkpoint.id().as_str().parse().unwrap();
            let found = tuple.pending_writes.len();
            // A copy says what its source says.
            assert!(
                is_whole(&threads[0], number, &tuple),
                "{fault}: {copy} {number} with {found} writes"
            );
        }
    }
    records.extend(readers.stop().await);
    settle(fault, Promise::Kept, &saver, records, &primaries(&cluster)).await;
}

/// While a slot is half moved, what is read is right, or the error is retryable.
pub async fn a_slot_is_half_moved(fault: Fault) {
    let cluster = Cluster::start().unwrap();
    let patient = saver(fault, &cluster).await;
    let hasty = fault
        .builder(cluster.url())
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
