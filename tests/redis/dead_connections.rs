//! Connections that are dead without a word, servers that are busy, and calls that wait for replicas.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use langgraph_checkpoint_redis::redis::RedisSaverBuilder;
use langgraph_checkpoint_redis::{CheckpointMetadata, CheckpointSaver, PutOptions, RedisSaver};
use redis::aio::MultiplexedConnection;

use crate::support::proxy::Proxy;
use crate::support::server::Server;
use crate::support::stored::{checkpoint, put, thread};

const CONNECTIONS: usize = 4;

async fn connected(builder: RedisSaverBuilder) -> RedisSaver {
    let builder = builder.pool_size(CONNECTIONS).recent_threads(false);
    let saver = builder.build().await.unwrap();
    saver.setup().await.unwrap();
    saver
}

/// The connections of savers that a server knows.
async fn clients(client: &mut MultiplexedConnection) -> BTreeSet<String> {
    let mut list = redis::cmd("CLIENT");
    let list: String = list.arg("LIST").query_async(client).await.unwrap();
    let savers = list.lines().filter(|line| line.contains("name=saver "));
    let ids = savers.map(|line| line.split(' ').next().unwrap().to_owned());
    ids.collect()
}

/// Each of the connections alone would use up half of the time of a call.
#[tokio::test]
async fn calls_over_connections_that_a_router_has_forgotten_are_served() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.redis.port()).await;
    let saver = connected(
        RedisSaver::builder()
            .url(format!("redis://127.0.0.1:{}", proxy.port()))
            .command_timeout(Duration::from_secs(4)),
    )
    .await;
    let config = thread("thread");
    put(&saver, &config, &checkpoint()).await;
    for _ in 0..2 {
        proxy.forget();
        // One alone, and then as many as there are connections, and more.
        assert!(saver.get_tuple(&config).await.unwrap().is_some());
        proxy.forget();
        let calls = (0..3 * CONNECTIONS).map(|_| saver.get_tuple(&config));
        for found in join_all(calls).await {
            assert!(found.unwrap().is_some());
        }
    }
}

#[tokio::test]
async fn the_connections_to_a_busy_server_are_kept() {
    let mut server = Server::start().await;
    let builder = RedisSaver::builder().url(server.redis.url());
    let saver = connected(builder.client_name("saver")).await;
    let config = thread("thread");
    put(&saver, &config, &checkpoint()).await;
    let before = clients(&mut server.client).await;
    assert_eq!(before.len(), CONNECTIONS);
    let busy = "local function now() local t = redis.call('TIME') return t[1] * 1000 + t[2] / 1000 end \
                local until_then = now() + 3000 while now() < until_then do end return 1";
    let mut client = server.client.clone();
    let work = async {
        let mut script = redis::cmd("EVAL");
        let done: redis::RedisResult<i64> = script.arg(busy).arg(0).query_async(&mut client).await;
        done
    };
    let calls = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let calls = (0..3 * CONNECTIONS).map(|_| saver.get_tuple(&config));
        for found in join_all(calls).await {
            assert!(found.unwrap().is_some());
        }
    };
    tokio::join!(work, calls).0.ok();
    assert_eq!(clients(&mut server.client).await, before);
}

#[tokio::test]
async fn reads_do_not_wait_for_the_replicas_of_writes() {
    let server = Server::start().await;
    let builder = RedisSaver::builder().url(server.redis.url());
    let saver = connected(builder.wait_for_replicas(1, Duration::from_secs(5))).await;
    let config = thread("thread");
    let (checkpoint, metadata, options) = (
        checkpoint(),
        CheckpointMetadata::new(),
        PutOptions::default(),
    );
    let writes = (0..3 * CONNECTIONS).map(|_| saver.put(&config, &checkpoint, &metadata, &options));
    let writes = join_all(writes);
    let reads = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let reads = (0..3 * CONNECTIONS).map(|_| saver.get_tuple(&config));
        for found in join_all(reads).await {
            found.unwrap();
        }
    };
    tokio::select! {
        written = writes => panic!("the writes were done first: {written:?}"),
        () = reads => {}
    }
}
