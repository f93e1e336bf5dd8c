//! Where a call takes several flights: what an earlier run of its first flight left, and what other
//! calls do between two flights, on a cluster and on a server that takes no scripts.
#![cfg(feature = "redis")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/nodes.rs"]
mod nodes;
#[path = "support/wire.rs"]
mod wire;

use std::slice;
use std::sync::Arc;
use std::time::Duration;

use langgraph_checkpoint_redis::{
    ChannelWrite, Checkpoint, CheckpointConfig, CheckpointMetadata, CheckpointSaver,
    CheckpointSaverExt, DeleteOptions, Error, ExpectedParent, ListOptions, PutOptions,
    PutWritesOptions, RedisSaver, Result, RunId, TaskId, TtlPolicy, TypedValue,
};
use nodes::Nodes;
use wire::{Weather, Wire};

const HOUR: Duration = Duration::from_secs(3_600);

async fn everywhere() -> [Nodes; 2] {
    [
        Nodes::of_the_cluster().await,
        Nodes::without_scripts().await,
    ]
}

fn thread(id: &str) -> CheckpointConfig {
    CheckpointConfig::new(id).unwrap()
}

async fn put(
    saver: &RedisSaver,
    config: &CheckpointConfig,
    checkpoint: &Checkpoint,
    expected: Option<ExpectedParent>,
) -> Result<CheckpointConfig> {
    let mut options = PutOptions::default();
    if let Some(expected) = expected {
        options = options.with_expected_parent(expected);
    }
    let metadata = CheckpointMetadata::new();
    saver.put(config, checkpoint, &metadata, &options).await
}

async fn put_writes(saver: &RedisSaver, config: &CheckpointConfig, count: usize) {
    let value = TypedValue::json(&"value").unwrap();
    let writes = vec![ChannelWrite::new("a", value); count];
    let (task, options) = (TaskId::new("task").unwrap(), PutWritesOptions::default());
    let written = saver.put_writes(config, &writes, &task, &options);
    written.await.unwrap();
}

async fn assert_all_expire(nodes: &mut Nodes, what: &str) {
    for key in nodes.keys().await {
        let left: i64 = nodes.run(&["PTTL", &key]).await;
        // One may go between the two commands.
        assert_ne!(left, -1, "{what}: {key} never expires");
    }
}

fn checkpoint() -> Checkpoint {
    Checkpoint::builder().build().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_whose_first_flight_ran_twice_have_their_ttl_and_pinned_ones_none() {
    // Where scripts are taken they have it from the start.
    let server = Nodes::start_without_scripts();
    let mut nodes = Nodes::of(&server).await;
    let wire = Wire::start(server.port()).await;
    let mut url = url::Url::parse(&server.url()).unwrap();
    url.set_port(Some(wire.port())).unwrap();
    let builder = nodes.builder().url(url.to_string()).pool_size(1);
    let builder = builder.ttl(TtlPolicy::of(HOUR));
    let saver = builder
        .command_timeout(Duration::from_secs(8))
        .build()
        .await
        .unwrap();
    for count in [1, 3] {
        for is_pinned in [false, true] {
            let config = thread(&format!("t-{count}-{is_pinned}"));
            let config = put(&saver, &config, &checkpoint(), None).await.unwrap();
            if is_pinned {
                put_writes(&saver, &config, count).await;
                assert!(saver.pin(&config.thread_id).await.unwrap());
            }
            wire.set(Weather::NoReplies);
            let storm = async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                wire.set(Weather::Fair);
            };
            tokio::join!(put_writes(&saver, &config, count), storm);
            if is_pinned {
                for key in nodes.keys().await {
                    let left: i64 = nodes.run(&["PTTL", &key]).await;
                    assert!(left == -1 || !key.contains("true"), "{key} has {left}");
                }
                let pinned = DeleteOptions::default();
                saver
                    .delete_thread(&config.thread_id, &pinned)
                    .await
                    .unwrap();
            } else {
                assert_all_expire(&mut nodes, &format!("{count} writes")).await;
                let tuple = saver.get_tuple(&config).await.unwrap().unwrap();
                assert_eq!(tuple.pending_writes.len(), count);
            }
        }
    }
}

#[tokio::test]
async fn writes_of_an_earlier_run_in_a_pinned_thread_are_kept_for_ever() {
    for mut nodes in everywhere().await {
        let saver = nodes.saver_with(TtlPolicy::of(HOUR)).await;
        let config = put(&saver, &thread("t"), &checkpoint(), None).await;
        let config = config.unwrap();
        assert!(saver.pin(&config.thread_id).await.unwrap());
        put_writes(&saver, &config, 2).await;
        // As the first flight leaves them on a server that takes scripts.
        for key in nodes.keys().await {
            if key.contains("write_keys_zset") {
                nodes.run::<i64>(&["UNLINK", &key]).await;
            } else if key.contains("checkpoint_write:") {
                nodes.run::<i64>(&["PEXPIRE", &key, "3600000"]).await;
            }
        }
        put_writes(&saver, &config, 2).await;
        for key in nodes.keys().await {
            let left: i64 = nodes.run(&["PTTL", &key]).await;
            assert_eq!(left, -1, "{key}");
        }
    }
}

#[tokio::test]
async fn a_refused_put_removes_what_it_made_and_nothing_else() {
    for mut nodes in everywhere().await {
        let saver = nodes.saver_with(TtlPolicy::of(HOUR)).await;
        let stored = put(&saver, &thread("t"), &checkpoint(), None).await;
        let stored = stored.unwrap();
        let before = nodes.keys().await;
        let (given, expected) = (checkpoint(), Some(ExpectedParent::None));
        let refused = put(&saver, &thread("t"), &given, expected.clone()).await;
        assert!(
            matches!(refused, Err(Error::Conflict { .. })),
            "{refused:?}"
        );
        assert_eq!(nodes.keys().await, before);
        // Another saver's, which tells no registry.
        let document = |id: &str| format!("checkpoint:t:__empty__:{id}");
        let key = nodes.key(&document(given.id().as_str()));
        let other = nodes.key(&document(stored.checkpoint_id.as_ref().unwrap().as_str()));
        let text: String = nodes.run(&["JSON.GET", &other]).await;
        nodes.run::<()>(&["JSON.SET", &key, "$", &text]).await;
        let refused = put(&saver, &thread("t"), &given, expected).await;
        assert!(
            matches!(refused, Err(Error::Conflict { .. })),
            "{refused:?}"
        );
        assert_eq!(nodes.keys().await.len(), before.len() + 1);
    }
}

#[tokio::test]
async fn a_put_whose_lock_another_call_took_says_so_and_stores_nothing() {
    let mut nodes = Nodes::without_scripts().await;
    let mut thief = Nodes::without_scripts().await;
    thief.prefix.clone_from(&nodes.prefix);
    let deep: Arc<dyn CheckpointSaver> = Arc::new(nodes.saver().await);
    let shallow = nodes.builder().build_shallow().await.unwrap();
    let savers = [
        ("checkpoint_keys_zset:t:__empty__\0lock", "t", deep),
        ("checkpoint:s:\0lock", "s", Arc::new(shallow)),
    ];
    for (lock, name, saver) in savers {
        let (lock, config) = (nodes.key(lock), thread(name));
        let (mut stored, mut refused) = (Vec::new(), 0);
        for turn in 0..20 {
            let (given, metadata) = (checkpoint(), CheckpointMetadata::new());
            let expected = stored.last().cloned();
            let expected = expected.map_or(ExpectedParent::None, ExpectedParent::Is);
            let options = PutOptions::default().with_expected_parent(expected);
            let put = saver.put(&config, &given, &metadata, &options);
            let takes = async {
                if turn % 2 == 1 {
                    std::future::pending::<()>().await;
                }
                loop {
                    let command = ["SET", &lock, "another", "XX"];
                    thief.run::<Option<String>>(&command).await;
                }
            };
            let result = tokio::select! {
                result = put => result,
                result = takes => result,
            };
            match result {
                Ok(_) => stored.push(given.id().clone()),
                Err(Error::Unavailable { .. }) if turn % 2 == 0 => refused += 1,
                Err(error) => panic!("{error}"),
            }
            nodes.run::<i64>(&["UNLINK", &lock]).await;
        }
        assert!(refused > 0, "{name}: the lock was never taken in time");
        let found = saver.list_all(Some(&config), ListOptions::default()).await;
        let found: Vec<_> = found.unwrap();
        let found: Vec<_> = found.iter().map(|tuple| tuple.checkpoint.id()).collect();
        let newest_first: Vec<_> = stored.iter().rev().collect();
        if name == "s" {
            assert_eq!(found, newest_first[..1]);
        } else {
            assert_eq!(found, newest_first);
        }
        let documents = nodes.keys().await.into_iter();
        let documents = documents.filter(|key| key.contains(&format!(":checkpoint:{name}:")));
        assert_eq!(documents.count(), found.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_back_while_it_is_removed_expires() {
    for mut nodes in everywhere().await {
        let ttl = TtlPolicy::of(HOUR);
        let deep: Arc<dyn CheckpointSaver> = Arc::new(nodes.saver_with(ttl).await);
        let shallow = nodes.builder().ttl(ttl).build_shallow().await.unwrap();
        let shallow: Arc<dyn CheckpointSaver> = Arc::new(shallow);
        for (name, saver) in [("deep", deep), ("shallow", shallow)] {
            let config = thread(name);
            for turn in 0..150 {
                let options = PutOptions::default();
                let run = RunId::new(format!("run-{turn}")).unwrap();
                let of_run = CheckpointMetadata::new()
                    .with("run_id", run.as_str())
                    .unwrap();
                let given = [checkpoint(), checkpoint()];
                let first = saver.put(&config, &given[0], &of_run, &options);
                first.await.unwrap();
                let puts = async {
                    let metadata = CheckpointMetadata::new();
                    for _ in 0..turn % 20 {
                        nodes.run::<String>(&["PING"]).await;
                    }
                    saver.put(&config, &given[1], &metadata, &options).await
                };
                let (deleted, stored) =
                    tokio::join!(saver.delete_for_runs(slice::from_ref(&run)), puts);
                deleted.unwrap();
                stored.unwrap();
                let what = format!("{name}, turn {turn}, scripts: {}", nodes.takes_scripts());
                assert_all_expire(&mut nodes, &what).await;
                let left = DeleteOptions::default();
                saver.delete_thread(&config.thread_id, &left).await.unwrap();
            }
        }
    }
}
