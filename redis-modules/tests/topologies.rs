//! Groups of servers: they find each other, survive the loss of one, and leave nothing behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use redis_modules::{Cluster, Sentinel, Standalone};
use support::{Client, is_running, wait_until};

fn assert_all_end<T>(group: T, servers: impl Fn(&T) -> Vec<&Standalone>) {
    let left: Vec<_> = servers(&group)
        .iter()
        .map(|one| (one.pid(), one.directory().to_owned()))
        .collect();
    drop(group);
    for (pid, folder) in left {
        assert!(!is_running(pid) && !folder.exists());
    }
}

#[test]
fn sentinels_replace_a_killed_primary_and_take_it_back_as_a_replica() {
    let mut deployment = Sentinel::start().unwrap();
    assert_eq!(deployment.sentinels().len(), 3);
    assert_eq!(deployment.replicas().unwrap().len(), 2);
    let first = deployment.primary().unwrap().port();
    assert_eq!(Client::at(first).call(&["JSON.SET", "d", "$", "1"]), "+OK");
    assert_eq!(Client::at(first).call(&["WAIT", "2", "5000"]), ":2");

    deployment.primary_mut().unwrap().kill().unwrap();
    wait_until("another primary is named", || {
        deployment.primary().unwrap().port() != first
    });
    let second = deployment.primary().unwrap().port();
    wait_until("it holds the data", || {
        Client::at(second).call(&["JSON.SET", "d", "$", "2"]) == "+OK"
    });

    deployment
        .servers_mut()
        .iter_mut()
        .find(|one| one.port() == first)
        .unwrap()
        .restart()
        .unwrap();
    deployment.wait_until_whole().unwrap();
    assert_eq!(Client::at(first).call(&["JSON.GET", "d"]), "$1\r\n2");
    assert_all_end(deployment, |all| {
        all.servers().iter().chain(all.sentinels()).collect()
    });
}

#[test]
fn a_planned_failover_with_a_password_names_another_primary() {
    let deployment = Sentinel::builder().password("se cret").start().unwrap();
    assert!(!format!("{deployment:?}").contains("cret"));
    assert!(
        deployment
            .url()
            .starts_with("redis+sentinel://default:se%20cret@127.0.0.1:")
    );
    assert!(deployment.url().ends_with("/mymaster/0"));
    let first = deployment.primary().unwrap().port();
    deployment.fail_over().unwrap();
    assert_ne!(deployment.primary().unwrap().port(), first);
}

#[test]
fn a_cluster_survives_a_killed_primary_and_takes_it_back() {
    let mut cluster = Cluster::builder().password("secret").start().unwrap();
    assert!(!format!("{cluster:?}").contains("secret"));
    assert!(
        cluster
            .url()
            .starts_with("redis+cluster://default:secret@127.0.0.1:")
    );
    assert_eq!(cluster.primaries(), [0, 1, 2]);
    for node in cluster.nodes() {
        assert!(
            node.port() < 22_768,
            "the bus port must lie below the ephemeral range"
        );
    }
    cluster.nodes_mut()[0].kill().unwrap();
    wait_until("its replica takes over", || {
        cluster.primaries() == [1, 2, 3]
    });
    cluster.nodes_mut()[0].restart().unwrap();
    cluster.wait_until_whole().unwrap();
    assert_eq!(cluster.primaries(), [1, 2, 3]);
    assert_all_end(cluster, |all| all.nodes().iter().collect());
}

#[test]
fn a_cluster_keeps_its_data_over_a_restart_with_persistence() {
    let mut cluster = Cluster::builder().persistence(true).start().unwrap();
    // The key belongs to slot 0, which the first node owns.
    let mut client = Client::of(&cluster.nodes()[0]);
    assert_eq!(client.call(&["CLUSTER", "KEYSLOT", "{3560}"]), ":0");
    assert_eq!(client.call(&["JSON.SET", "{3560}", "$", "1"]), "+OK");
    cluster.nodes_mut()[0].restart().unwrap();
    cluster.wait_until_whole().unwrap();
    let values: Vec<_> = cluster
        .primaries()
        .into_iter()
        .map(|node| Client::of(&cluster.nodes()[node]).call(&["JSON.GET", "{3560}"]))
        .collect();
    assert!(values.contains(&"$1\r\n1".to_owned()), "{values:?}");
}
