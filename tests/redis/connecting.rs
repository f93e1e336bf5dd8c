//! Every way to a server: a URL, a socket, the environment, a client of the caller's own.

use std::process::Command;
use std::time::Duration;

use fred::prelude::{Builder, ClientLike, Config};
use langgraph_checkpoint_redis::redis::ConfigKey;
use langgraph_checkpoint_redis::{CheckpointSaver, Error, RedisSaver};
use redis::aio::MultiplexedConnection;
use redis_modules::{Sentinel, Standalone};

use crate::support::server::Server;
use crate::support::stored::{checkpoint, put, thread};

async fn works(saver: &RedisSaver) {
    saver.setup().await.unwrap();
    let (thread, checkpoint) = (thread("thread"), checkpoint());
    let stored = put(saver, &thread, &checkpoint).await;
    let found = saver.get_tuple(&thread).await.unwrap().unwrap();
    assert_eq!((found.config, found.checkpoint), (stored, checkpoint));
}

#[tokio::test]
async fn a_socket_serves() {
    let redis = Standalone::builder().unix_socket(true).start().unwrap();
    let socket = redis.unix_socket().unwrap();
    let saver = RedisSaver::connect(format!("redis+unix://{}", socket.display()))
        .await
        .unwrap();
    works(&saver).await;
}

#[tokio::test]
async fn a_client_of_the_callers_own_serves_and_stays_open() {
    let server = Server::start().await;
    let config = Config::from_url(&server.redis.url()).unwrap();
    let client = Builder::from_config(config).build_pool(2).unwrap();
    client.init().await.unwrap();
    let saver = RedisSaver::from_client(client.clone()).await.unwrap();
    works(&saver).await;
    saver.close().await;
    let pong: String = client.ping(None).await.unwrap();
    assert_eq!(pong, "PONG");
}

#[tokio::test]
async fn another_database_is_another_place() {
    let mut server = Server::start().await;
    let url = format!("{}/3", server.redis.url());
    // Search knows the first database only, so this one is served without.
    works(&RedisSaver::connect(url).await.unwrap()).await;
    assert_eq!(server.keys().await, Vec::<String>::new());
}

/// Makes a saver as the environment says, when it is asked to by the test below.
#[tokio::test]
async fn a_child_reads_its_environment() {
    if std::env::var(ConfigKey::CheckpointPrefix.variable()).is_ok() {
        works(&RedisSaver::from_env().await.unwrap()).await;
    }
}

#[tokio::test]
async fn the_environment_says_where_and_how() {
    let mut server = Server::start().await;
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "connecting::a_child_reads_its_environment"])
        .env("REDIS_URL", server.redis.url())
        .env(ConfigKey::CheckpointPrefix.variable(), "mine")
        .env(ConfigKey::Ttl.variable(), "1h")
        .status()
        .unwrap();
    assert!(child.success());
    let keys = server.keys().await;
    assert!(
        !keys.is_empty() && keys.iter().all(|key| key.starts_with("mine")),
        "{keys:?}"
    );
    for key in keys {
        assert!(server.time_left(&key).await > 3_000_000, "{key}");
    }
}

#[tokio::test]
async fn a_setting_that_cannot_be_is_named_before_anything_connects() {
    let error = RedisSaver::builder()
        .url("redis://127.0.0.1:1")
        .set(ConfigKey::PageSize, "many")
        .build()
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Config { key, .. } if key == "page_size"),
        "{error:?}"
    );
}

/// What the connections to a server are called, and the library behind them; those with
/// subscriptions, or the others.
async fn clients(
    server: &mut MultiplexedConnection,
    subscribed: bool,
) -> Vec<(String, String, String)> {
    let mut list = redis::cmd("CLIENT");
    let clients: String = list.arg("LIST").query_async(server).await.unwrap();
    let of = |line: &str, field: &str| {
        let mut fields = line.split(' ');
        let found = fields.find_map(|one| one.strip_prefix(field)?.strip_prefix('='));
        found.unwrap_or_default().to_owned()
    };
    let named = |line: &str| (of(line, "name"), of(line, "lib-name"), of(line, "lib-ver"));
    let lines = clients.lines();
    let asked = lines.filter(|line| (of(line, "sub") != "0") == subscribed);
    asked.map(named).collect()
}

/// A connection of this version of the library.
fn ours(name: &str) -> (String, String, String) {
    let library = "langgraph-checkpoint-redis".to_owned();
    let version = env!("CARGO_PKG_VERSION").to_owned();
    (name.to_owned(), library, version)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_show_whose_subscriptions_they_are() {
    let sentinel = Sentinel::start().unwrap();
    let url = sentinel.sentinels()[0].url();
    let mut one = crate::support::server::connect(&url).await.unwrap();
    for name in ["billing", ""] {
        let builder = RedisSaver::builder().url(sentinel.url());
        let saver = builder.client_name(name).build().await.unwrap();
        // They are made in the background.
        let mut found = clients(&mut one, true).await;
        for _ in 0..500 {
            if !found.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            found = clients(&mut one, true).await;
        }
        assert_eq!(found, [ours(name)]);
        saver.close().await;
        while !clients(&mut one, true).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn the_server_shows_whose_connections_they_are() {
    let mut server = Server::start().await;
    let saver = RedisSaver::connect(server.redis.url()).await.unwrap();
    works(&saver).await;
    let name = "langgraph-checkpoint-redis";
    let found = clients(&mut server.client, false).await;
    let count = found.iter().filter(|one| **one == ours(name)).count();
    assert_eq!(count, 2, "{found:?}");
    saver.close().await;

    for (given, shown) in [("billing agent\n1", "billing-agent-1"), ("", "")] {
        let builder = RedisSaver::builder().url(server.redis.url());
        let saver = builder.client_name(given).build().await.unwrap();
        works(&saver).await;
        let found = clients(&mut server.client, false).await;
        assert!(found.contains(&ours(shown)), "{found:?}");
        saver.close().await;
    }
}

#[tokio::test]
async fn a_server_that_gives_connections_no_name_serves_all_the_same() {
    let mut server = Server::start().await;
    server
        .run(&[
            "ACL",
            "SETUSER",
            "default",
            "-client|setname",
            "-client|setinfo",
        ])
        .await;
    let saver = RedisSaver::connect(server.redis.url()).await.unwrap();
    works(&saver).await;
}
