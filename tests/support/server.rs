//! A Redis of a test's own, and an independent client to look into it.

use langgraph_checkpoint_redis::{CheckpointSaver, RedisSaver};
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
        let saver = RedisSaver::connect(self.redis.url()).await.unwrap();
        saver.setup().await.unwrap();
        saver
    }

    /// All keys, in order.
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
                return keys;
            }
        }
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

    /// How often a command was called since the statistics began.
    pub async fn calls_of(&mut self, command: &str) -> u64 {
        let statistics: String = redis::cmd("INFO")
            .arg("commandstats")
            .query_async(&mut self.client)
            .await
            .unwrap();
        let start = format!("cmdstat_{}:calls=", command.to_lowercase());
        let line = statistics
            .lines()
            .find_map(|line| line.to_lowercase().strip_prefix(&start).map(str::to_owned));
        line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    }

    /// The time that a key has left in milliseconds; -1 for ever, -2 if it is not there.
    pub async fn time_left(&mut self, key: &str) -> i64 {
        redis::cmd("PTTL")
            .arg(key)
            .query_async(&mut self.client)
            .await
            .unwrap()
    }
}
