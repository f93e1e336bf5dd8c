//! The servers of a test, and an independent way to look into them.

use langgraph_checkpoint_redis::redis::{Layout, RedisSaverBuilder};
use langgraph_checkpoint_redis::{RedisSaver, TtlPolicy};
use redis::aio::MultiplexedConnection;
use redis_modules::{Cluster, Standalone};

/// The servers that hold a saver's keys: the primaries of a cluster, or one.
pub struct Nodes {
    url: String,
    clients: Vec<MultiplexedConnection>,
    pub prefix: String,
    layout: Layout,
}

impl Nodes {
    /// The primaries of the cluster that the tests of a process share.
    pub async fn of_the_cluster() -> Self {
        Self::of_cluster(super::cluster()).await
    }

    /// The primaries of a cluster.
    pub async fn of_cluster(cluster: &Cluster) -> Self {
        let primaries = cluster.primaries();
        let primaries = primaries.iter().map(|node| cluster.nodes()[*node].url());
        Self::at(cluster.url(), primaries).await
    }

    /// One server.
    pub async fn of(server: &Standalone) -> Self {
        Self::at(server.url(), [server.url()]).await
    }

    async fn at(url: String, nodes: impl IntoIterator<Item = String>) -> Self {
        let mut clients = Vec::new();
        for node in nodes {
            let client = redis::Client::open(node).unwrap();
            clients.push(client.get_multiplexed_async_connection().await.unwrap());
        }
        Self {
            url,
            clients,
            prefix: super::random_prefix(),
            layout: Layout::Json,
        }
    }

    /// The same with savers of another layout.
    pub fn with_layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// A builder of savers that share the prefix.
    pub fn builder(&self) -> RedisSaverBuilder {
        RedisSaver::builder()
            .url(self.url.clone())
            .prefix(&self.prefix)
            .layout(self.layout)
    }

    pub async fn saver(&self) -> RedisSaver {
        self.saver_with(TtlPolicy::default()).await
    }

    pub async fn saver_with(&self, ttl: TtlPolicy) -> RedisSaver {
        use langgraph_checkpoint_redis::CheckpointSaver;
        let saver = self.builder().ttl(ttl).build().await.unwrap();
        saver.setup().await.unwrap();
        saver
    }

    /// A key of the prefix, by the name that it has under the default one.
    pub fn key(&self, name: &str) -> String {
        match name.strip_prefix("write_keys_zset") {
            Some(rest) => format!("{}:checkpoint_write_keys_zset{rest}", self.prefix),
            None => format!("{}:{name}", self.prefix),
        }
    }

    /// Runs a command on the node that has its key.
    pub async fn run<T: redis::FromRedisValue>(&mut self, command: &[&str]) -> T {
        for client in &mut self.clients {
            let mut packed = redis::cmd(command[0]);
            packed.arg(&command[1..]);
            match packed.query_async::<redis::Value>(client).await {
                Err(error) if error.code() == Some("MOVED") => {}
                value => return redis::from_redis_value(value.unwrap()).unwrap(),
            }
        }
        panic!("no node has the key of {command:?}");
    }

    /// Runs a command on every node.
    pub async fn run_on_all(&mut self, command: &[&str]) {
        for client in &mut self.clients {
            let mut packed = redis::cmd(command[0]);
            packed.arg(&command[1..]);
            let _: redis::Value = packed.query_async(client).await.unwrap();
        }
    }

    /// All keys of the prefix, in order, without the sets of recent threads, which are written in
    /// the background.
    pub async fn keys(&mut self) -> Vec<String> {
        let mut keys = Vec::new();
        for client in &mut self.clients {
            let mut cursor = 0_u64;
            loop {
                let (next, page): (u64, Vec<String>) = redis::cmd("SCAN")
                    .arg(cursor)
                    .arg(&["MATCH", &format!("{}*", self.prefix), "COUNT", "1000"])
                    .query_async(client)
                    .await
                    .unwrap();
                keys.extend(page);
                cursor = next;
                if cursor == 0 {
                    break;
                }
            }
        }
        keys.sort();
        keys.dedup();
        keys.retain(|key| !super::server::is_recent(key));
        keys
    }
}
