//! Faults of a primary behind sentinels.

use std::time::Duration;

use langgraph_checkpoint_redis::redis::HealthProblem;
use langgraph_checkpoint_redis::{
    ChannelWrite, CheckpointSaver, DeleteOptions, Error, PutOptions, PutWritesOptions, RedisSaver,
    TaskId, TtlPolicy, TypedValue,
};
use redis_modules::Sentinel;
use tokio::task::block_in_place;

use crate::load::{Load, checkpoint, metadata, parent};
use crate::report::{Promise, settle};
use crate::{Fault, threads};

/// A saver whose writes this number of replicas must acknowledge.
async fn saver(fault: Fault, servers: &Sentinel, replicas: usize) -> RedisSaver {
    let saver = fault
        .builder(servers.url())
        .wait_for_replicas(replicas, Duration::from_millis(500))
        .build()
        .await
        .unwrap();
    saver.setup().await.unwrap();
    saver
}

fn primary(servers: &Sentinel) -> Vec<String> {
    vec![servers.primary().unwrap().url()]
}

pub async fn the_primary_behind_sentinels_is_killed(fault: Fault) {
    let mut servers = Sentinel::start().unwrap();
    let saver = saver(fault, &servers, 1).await;
    let load = Load::start(&saver, threads(8));
    load.goes_on(300).await;
    block_in_place(|| servers.primary_mut().unwrap().kill().unwrap());
    load.goes_on(300).await;
    let records = load.stop().await;
    settle(fault, Promise::Kept, &saver, records, &primary(&servers)).await;
}

pub async fn a_planned_failover(fault: Fault) {
    let servers = Sentinel::start().unwrap();
    let saver = saver(fault, &servers, 2).await;
    let load = Load::start(&saver, threads(8));
    for _ in 0..2 {
        load.goes_on(300).await;
        block_in_place(|| servers.fail_over().unwrap());
        load.goes_on(300).await;
        block_in_place(|| servers.wait_until_whole().unwrap());
    }
    let records = load.stop().await;
    settle(fault, Promise::Kept, &saver, records, &primary(&servers)).await;
}

pub async fn a_planned_failover_without_waiting_for_replicas(fault: Fault) {
    let servers = Sentinel::start().unwrap();
    let saver = saver(fault, &servers, 0).await;
    let load = Load::start_unsafely(&saver, threads(8));
    for _ in 0..2 {
        load.goes_on(1_000).await;
        block_in_place(|| servers.fail_over().unwrap());
        load.goes_on(1_000).await;
        block_in_place(|| servers.wait_until_whole().unwrap());
    }
    let records = load.stop().await;
    let primary = primary(&servers);
    settle(fault, Promise::AsReplicated, &saver, records, &primary).await;
}

/// The watcher of the saver survives its sentinels.
pub async fn sentinels_die_before_a_failover(fault: Fault) {
    let mut servers = Sentinel::start().unwrap();
    let saver = saver(fault, &servers, 2).await;
    let load = Load::start(&saver, threads(4));
    load.goes_on(100).await;
    for sentinel in servers.sentinels_mut() {
        block_in_place(|| {
            sentinel.kill().unwrap();
            sentinel.restart().unwrap();
        });
        load.goes_on(100).await;
    }
    block_in_place(|| {
        servers.wait_until_whole().unwrap();
        servers.fail_over().unwrap();
    });
    load.goes_on(300).await;
    let records = load.stop().await;
    settle(fault, Promise::Kept, &saver, records, &primary(&servers)).await;
}

pub async fn too_few_replicas_acknowledge(fault: Fault) {
    let servers = Sentinel::start().unwrap();
    let saver = saver(fault, &servers, 2).await;
    let load = Load::start(&saver, threads(4));
    load.goes_on(100).await;
    let replica = servers.replicas().unwrap()[0];
    replica.pause().unwrap();
    let (config, checkpoint) = (parent("another", 0), checkpoint("another", 0));
    let (metadata, options) = (metadata(0), PutOptions::default());
    let put = || saver.put(&config, &checkpoint, &metadata, &options);
    // It stands on the primary, and making the call again does not make it look replicated.
    for _ in 0..2 {
        let error = put().await.unwrap_err();
        assert!(
            matches!(error, Error::NotReplicated { wanted: 2, got: 1 }),
            "{error:?}"
        );
        assert!(error.is_retryable());
        assert!(saver.get_tuple(&config).await.unwrap().is_some());
    }
    replica.resume().unwrap();
    load.goes_on(100).await;
    put().await.unwrap();
    assert!(saver.health().await.is_ready());
    let records = load.stop().await;
    settle(fault, Promise::Kept, &saver, records, &primary(&servers)).await;
}

/// What is there already is not written again, and yet it may not be replicated.
pub async fn writes_that_are_there_wait_for_replicas_too(fault: Fault) {
    let servers = Sentinel::start().unwrap();
    let saver = |replicas| {
        fault
            .builder(servers.url())
            .ttl(TtlPolicy::default())
            .wait_for_replicas(replicas, Duration::from_millis(300))
            .build()
    };
    let (careless, careful) = (saver(0).await.unwrap(), saver(2).await.unwrap());
    careful.setup().await.unwrap();
    let config = parent("thread", 1);
    let task = TaskId::new("task").unwrap();
    let writes = [ChannelWrite::new("n", TypedValue::json(&1).unwrap())];
    let options = PutWritesOptions::default();
    for replica in servers.replicas().unwrap() {
        replica.pause().unwrap();
    }
    careless
        .put_writes(&config, &writes, &task, &options)
        .await
        .unwrap();
    for _ in 0..3 {
        let error = careful
            .put_writes(&config, &writes, &task, &options)
            .await
            .unwrap_err();
        assert!(
            matches!(error, Error::NotReplicated { wanted: 2, got: 0 }),
            "{fault}: {error:?}"
        );
    }
    careless
        .delete_thread(&config.thread_id, &DeleteOptions::default())
        .await
        .unwrap();
    let error = careful
        .delete_thread(&config.thread_id, &DeleteOptions::default())
        .await;
    assert!(
        matches!(error, Err(Error::NotReplicated { .. })),
        "{fault}: {error:?}"
    );
    for replica in servers.replicas().unwrap() {
        replica.resume().unwrap();
    }
    let load = Load::start(&careful, ["thread-after".to_owned()]);
    load.goes_on(10).await;
    load.stop().await;
    careful
        .delete_thread(&config.thread_id, &DeleteOptions::default())
        .await
        .unwrap();
}

pub async fn a_replica_is_connected_to(fault: Fault) {
    let servers = Sentinel::start().unwrap();
    let replica = servers.replicas().unwrap()[0];
    let error = fault.builder(replica.url()).build().await.unwrap_err();
    assert!(
        matches!(&error, Error::Unavailable { reason, .. } if reason.contains("replica")),
        "{fault}: {error:?}"
    );
    // A primary that is made a replica takes no writes any more, and says so.
    let saver = fault
        .builder(servers.primary().unwrap().url())
        .command_timeout(Duration::from_secs(1))
        .build()
        .await
        .unwrap();
    let load = Load::start_unsafely(&saver, threads(2));
    load.goes_on(50).await;
    let old = servers.primary().unwrap();
    let (host, port) = ("127.0.0.1", replica.port().to_string());
    crate::command(&replica.url(), &["REPLICAOF", "NO", "ONE"])
        .await
        .unwrap();
    crate::command(&old.url(), &["REPLICAOF", host, &port])
        .await
        .unwrap();
    let (config, checkpoint) = (parent("another", 0), checkpoint("another", 0));
    let error = saver
        .put(&config, &checkpoint, &metadata(0), &PutOptions::default())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Unavailable { source: Some(source), .. } if source.to_string().starts_with("READONLY")),
        "{fault}: {error:?}"
    );
    let health = saver.health().await;
    assert!(
        matches!(&health.problems[..], [HealthProblem::Unreachable { .. }]),
        "{health:?}"
    );
    crate::command(&old.url(), &["REPLICAOF", "NO", "ONE"])
        .await
        .unwrap();
    load.goes_on(50).await;
    let records = load.stop().await;
    settle(fault, Promise::AsReplicated, &saver, records, &[old.url()]).await;
}
