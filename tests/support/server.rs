//! A Redis of a test's own, and an independent client to look into it.

use std::collections::BTreeMap;

use langgraph_checkpoint_redis::{CheckpointSaver, RedisSaver, TtlPolicy};
use redis::aio::MultiplexedConnection;
use redis_modules::Standalone;

/// A server that only one test uses, so that keys may have their default names.
pub struct Server {
    pub redis: Standalone,
    pub client: MultiplexedConnection,
}

impl Server {
    pub async fn start() -> Self {
        Self::over(Standalone::start().unwrap()).await
    }

    pub async fn over(redis: Standalone) -> Self {
        let client = redis::Client::open(redis.url()).unwrap();
        let client = client.get_multiplexed_async_connection().await.unwrap();
        Self { redis, client }
    }

    pub async fn saver(&self) -> RedisSaver {
        self.saver_with(TtlPolicy::default()).await
    }

    pub async fn saver_with(&self, ttl: TtlPolicy) -> RedisSaver {
        let builder = RedisSaver::builder().url(self.redis.url()).ttl(ttl);
        let saver = builder.build().await.unwrap();
        saver.setup().await.unwrap();
        saver
    }

    /// All keys, in order, without the sets of recent threads, which are written in the background.
    pub async fn keys(&mut self) -> Vec<String> {
        let mut cursor = 0_u64;
        let mut keys = Vec::new();
        loop {
            let (next, page): (u64, Vec<String>) = redis::cmd("SCAN")
                .arg(cursor)
                .arg("COUNT")
                .arg(1_000)
                .query_async(&mut self.client)
                .await
                .unwrap();
            keys.extend(page);
            cursor = next;
            if cursor == 0 {
                keys.sort();
                keys.dedup();
                keys.retain(|key| !is_recent(key));
                return keys;
            }
        }
    }

    /// Everything that is stored: what each key holds, and whether it expires.
    pub async fn contents(&mut self) -> BTreeMap<String, (Vec<u8>, bool)> {
        let mut contents = BTreeMap::new();
        for key in self.keys().await {
            let mut dump = redis::cmd("DUMP");
            let held: Vec<u8> = dump.arg(&key).query_async(&mut self.client).await.unwrap();
            let expires = self.time_left(&key).await >= 0;
            contents.insert(key, (held, expires));
        }
        contents
    }

    /// A document as text.
    pub async fn json(&mut self, key: &str) -> String {
        let found: Option<String> = redis::cmd("JSON.GET")
            .arg(key)
            .query_async(&mut self.client)
            .await
            .unwrap();
        found.unwrap_or_else(|| panic!("{key} is not there"))
    }

    /// Runs a command for its effect.
    pub async fn run(&mut self, command: &[&str]) {
        let mut packed = redis::cmd(command[0]);
        packed.arg(&command[1..]);
        let _: redis::Value = packed.query_async(&mut self.client).await.unwrap();
    }

    /// How often each command was called since the statistics began, those inside scripts
    /// included, by its name in lower case.
    pub async fn calls(&mut self) -> BTreeMap<String, u64> {
        let statistics: String = redis::cmd("INFO")
            .arg("commandstats")
            .query_async(&mut self.client)
            .await
            .unwrap();
        let calls = statistics.lines().filter_map(|line| {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            let count = rest.split(',').next()?.parse().unwrap();
            Some((name.to_lowercase(), count))
        });
        calls.collect()
    }

    /// How often a command was called since the statistics began.
    pub async fn calls_of(&mut self, command: &str) -> u64 {
        let calls = self.calls().await;
        calls.get(&command.to_lowercase()).copied().unwrap_or(0)
    }

    /// The time that a key has left in milliseconds; -1 without a TTL, -2 if it is not there.
    pub async fn time_left(&mut self, key: &str) -> i64 {
        redis::cmd("PTTL")
            .arg(key)
            .query_async(&mut self.client)
            .await
            .unwrap()
    }
}

/// Whether a key is a set of recent threads.
pub fn is_recent(key: &str) -> bool {
    key.contains("_recent:{")
}

/// Another client, with all the time that a busy machine may need.
pub async fn connect(url: &str) -> redis::RedisResult<MultiplexedConnection> {
    let patient = redis::AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None);
    redis::Client::open(url)?
        .get_multiplexed_async_connection_with_config(&patient)
        .await
}
