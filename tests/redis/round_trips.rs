//! How many round trips and commands a call costs, counted on the wire and by the server.

use std::collections::BTreeMap;
use std::time::Duration;

use langgraph_checkpoint_redis::{
    ChannelWrite, Checkpoint, CheckpointConfig, CheckpointMetadata, CheckpointSaver,
    CheckpointSaverExt, ListOptions, PutOptions, PutWritesOptions, RedisSaver, TaskId, TtlPolicy,
    TtlScope, TypedValue,
};

use crate::support::proxy::Proxy;
use crate::support::server::Server;

const LARGE: usize = 20_000;

struct Setting {
    server: Server,
    proxy: Proxy,
    saver: RedisSaver,
}

impl Setting {
    async fn new(ttl: TtlPolicy) -> Self {
        let server = Server::start().await;
        let proxy = Proxy::start(server.redis.port()).await;
        let setting = Self {
            saver: saver(&proxy, ttl).await,
            server,
            proxy,
        };
        // The first call of each kind sends its script along.
        for size in [10, LARGE] {
            let config = CheckpointConfig::new("first").unwrap();
            let stored = put(&setting.saver, &config, size).await;
            setting.saver.get_tuple(&config).await.unwrap();
            put_writes(&setting.saver, &stored, 1).await;
        }
        setting
    }

    /// How many round trips a call took.
    async fn round_trips<T>(&self, call: impl Future<Output = T>) -> (usize, T) {
        let before = self.proxy.round_trips();
        let result = call.await;
        (self.proxy.round_trips() - before, result)
    }

    /// How often each command ran since the last call, those inside scripts included.
    async fn commands(&mut self) -> BTreeMap<String, u64> {
        let calls = self.server.calls().await;
        self.server.run(&["CONFIG", "RESETSTAT"]).await;
        calls
    }
}

async fn saver(proxy: &Proxy, ttl: TtlPolicy) -> RedisSaver {
    let saver = RedisSaver::builder()
        .url(format!("redis://127.0.0.1:{}", proxy.port()))
        .pool_size(1)
        .recent_threads(false)
        .ttl(ttl)
        .build()
        .await
        .unwrap();
    saver.setup().await.unwrap();
    saver
}

async fn put(saver: &RedisSaver, config: &CheckpointConfig, size: usize) -> CheckpointConfig {
    let checkpoint = Checkpoint::builder()
        .channel("text", 1, &"x".repeat(size))
        .unwrap()
        .build()
        .unwrap();
    let metadata = CheckpointMetadata::new().with("source", "loop").unwrap();
    saver
        .put(config, &checkpoint, &metadata, &PutOptions::default())
        .await
        .unwrap()
}

async fn put_writes(saver: &RedisSaver, config: &CheckpointConfig, count: usize) {
    let writes: Vec<_> = (0..count)
        .map(|n| ChannelWrite::new("n", TypedValue::json(&n).unwrap()))
        .collect();
    let task = TaskId::new(format!("task-{count}")).unwrap();
    saver
        .put_writes(config, &writes, &task, &PutWritesOptions::default())
        .await
        .unwrap();
}

async fn every_call_is_one_round_trip(ttl: TtlPolicy) {
    let mut setting = Setting::new(ttl).await;
    for size in [1_000, LARGE] {
        let config = CheckpointConfig::new(format!("thread-{size}")).unwrap();
        setting.commands().await;
        let (round_trips, stored) = setting
            .round_trips(put(&setting.saver, &config, size))
            .await;
        assert_eq!(round_trips, 1, "put of {size} bytes");
        assert_eq!(setting.commands().await.get("evalsha"), Some(&1));

        for count in [1, 5, 50] {
            let (round_trips, ()) = setting
                .round_trips(put_writes(&setting.saver, &stored, count))
                .await;
            assert_eq!(round_trips, 1, "put_writes of {count}");
            let commands = setting.commands().await;
            assert_eq!(commands.get("evalsha"), Some(&1), "put_writes of {count}");
            assert!(commands.get("json.set").copied().unwrap_or(0) >= count as u64);
        }

        for (what, config) in [("the newest", &config), ("one by id", &stored)] {
            let (round_trips, tuple) = setting.round_trips(setting.saver.get_tuple(config)).await;
            assert_eq!(round_trips, 1, "get_tuple of {what} with {size} bytes");
            assert_eq!(tuple.unwrap().unwrap().pending_writes.len(), 56);
        }
        // A saver that has seen nothing of the thread yet.
        let fresh = saver(&setting.proxy, ttl).await;
        let (round_trips, tuple) = setting.round_trips(fresh.get_tuple(&config)).await;
        assert_eq!(round_trips, 1, "the first get_tuple with {size} bytes");
        assert!(tuple.unwrap().is_some());
    }
    let absent = CheckpointConfig::new("absent").unwrap();
    let (round_trips, tuple) = setting.round_trips(setting.saver.get_tuple(&absent)).await;
    assert_eq!(round_trips, 1, "get_tuple of a thread that is not there");
    assert!(tuple.unwrap().is_none());
}

#[tokio::test]
async fn every_call_is_one_round_trip_without_a_ttl() {
    every_call_is_one_round_trip(TtlPolicy::default()).await;
}

#[tokio::test]
async fn every_call_is_one_round_trip_with_a_ttl() {
    let ttl = TtlPolicy::new(Duration::from_secs(3_600)).with_refresh_on_read(true);
    every_call_is_one_round_trip(ttl).await;
}

#[tokio::test]
async fn a_large_newest_checkpoint_that_another_saver_wrote_is_one_round_trip_too() {
    let setting = Setting::new(TtlPolicy::default()).await;
    let other = saver(&setting.proxy, TtlPolicy::default()).await;
    let config = CheckpointConfig::new("shared").unwrap();
    let stored = put(&setting.saver, &config, LARGE).await;
    let newer = put(&other, &stored, LARGE).await;
    let (round_trips, tuple) = setting.round_trips(setting.saver.get_tuple(&config)).await;
    assert_eq!(tuple.unwrap().unwrap().config, newer);
    assert_eq!(round_trips, 1);
}

#[tokio::test]
async fn listing_costs_the_same_in_a_long_thread_and_in_a_short_one() {
    let mut setting = Setting::new(TtlPolicy::default()).await;
    let mut costs = Vec::new();
    for length in [12, 400] {
        let thread = CheckpointConfig::new(format!("thread-{length}"))
            .unwrap()
            .with_namespace("")
            .unwrap();
        for _ in 0..length {
            put(&setting.saver, &thread, 10).await;
        }
        let list = || {
            setting
                .saver
                .list_all(Some(&thread), ListOptions::default().with_limit(10))
        };
        assert_eq!(list().await.unwrap().len(), 10);
        let (round_trips, listed) = setting.round_trips(list()).await;
        assert_eq!(listed.unwrap().len(), 10);
        setting.commands().await;
        setting
            .saver
            .list_all(Some(&thread), ListOptions::default().with_limit(10))
            .await
            .unwrap();
        let commands: u64 = setting.commands().await.values().sum();
        costs.push((round_trips, commands));
    }
    assert_eq!(costs[0], costs[1]);
    assert_eq!(costs[0].0, 1);
}

/// Small documents come out of the script that finds the ids, the others out of a second step.
#[tokio::test]
async fn a_list_gives_the_same_however_its_checkpoints_are_read() {
    let setting = Setting::new(TtlPolicy::default()).await;
    let thread = CheckpointConfig::new("thread")
        .unwrap()
        .with_namespace("")
        .unwrap();
    let mut stored = Vec::new();
    for (size, writes) in [
        (LARGE, 3),
        (10, 0),
        (3 * LARGE, 1),
        (10, 2),
        (10, 410),
        (LARGE, 2),
        (10, 1),
        (LARGE, 0),
        (10, 3),
    ] {
        let config = put(&setting.saver, &thread, size).await;
        if writes > 0 {
            put_writes(&setting.saver, &config, writes).await;
        }
        stored.push(config);
    }
    let mut alone = Vec::new();
    for config in stored.iter().rev() {
        alone.extend(setting.saver.get_tuple(config).await.unwrap());
    }
    assert_eq!(alone.len(), stored.len());
    // This one knows how large the newest is; one that has read nothing does not.
    let other = saver(&setting.proxy, TtlPolicy::default()).await;
    for saver in [&setting.saver, &other] {
        let listed = saver.list_all(Some(&thread), ListOptions::default());
        assert_eq!(listed.await.unwrap(), alone);
        let newest = put(saver, &thread, LARGE).await;
        let limit = ListOptions::default().with_limit(1);
        let listed = saver.list_all(Some(&thread), limit).await.unwrap();
        assert_eq!(listed[0].config, newest);
        alone.insert(0, listed.into_iter().next().unwrap());
    }
}

/// A thread that expires as a whole is visited once in a quarter of its TTL, not by every call.
#[tokio::test]
async fn refreshing_a_thread_costs_the_same_at_every_length() {
    let ttl = TtlPolicy::new(Duration::from_secs(3_600))
        .with_refresh_on_read(true)
        .with_scope(TtlScope::Thread);
    let mut setting = Setting::new(ttl).await;
    let thread = CheckpointConfig::new("thread").unwrap();
    let mut costs = Vec::new();
    for steps in 0..1_000 {
        if steps % 200 == 199 {
            setting.commands().await;
        }
        let stored = put(&setting.saver, &thread, 10).await;
        put_writes(&setting.saver, &stored, 1).await;
        setting.saver.get_tuple(&thread).await.unwrap();
        if steps % 200 == 199 {
            costs.push(setting.commands().await.values().sum::<u64>());
        }
    }
    assert!(costs.iter().all(|cost| *cost == costs[0]), "{costs:?}");
    assert!(
        costs[0] < 60,
        "{costs:?} commands a step, those inside scripts included"
    );
}
