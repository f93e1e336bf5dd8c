//! A cluster that searches on all of its nodes, and whose searches hang while one of them is dead.
//!
//! The servers that tests install search their own documents only, so here one node has all slots,
//! and a proxy in front of it describes `FT.SEARCH` as Redis 8 does: as a command without keys. As
//! such a node counts documents in the index and opens none, every search here is a count.

use std::net::TcpListener as StdListener;
use std::time::Duration;

use futures_util::future::join_all;
use langgraph_checkpoint_redis::{CheckpointSaver, CopyOptions, PruneOptions, RedisSaver};
use redis_modules::Standalone;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::support::resp::{Peer, packed, read_command, read_reply};
use crate::support::server::Server;
use crate::support::stored::{checkpoint, delete, ids, put, put_writes, thread, thread_id, writes};

/// A time limit of a command that no test waits for.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(240);

/// A node of a cluster behind a proxy, which withholds searches as long as they hang.
struct Cluster {
    server: Server,
    port: u16,
    hang: watch::Sender<bool>,
}

impl Cluster {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let bus = StdListener::bind("127.0.0.1:0").unwrap();
        let bus_port = bus.local_addr().unwrap().port();
        drop(bus);
        let node = Standalone::builder()
            .config("cluster-enabled", "yes")
            .config("cluster-port", &bus_port.to_string())
            .config("cluster-announce-ip", "127.0.0.1")
            .config("cluster-announce-port", &port.to_string());
        let mut server = Server::over(node.start().unwrap()).await;
        server
            .run(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"])
            .await;
        let (hang, hangs) = watch::channel(false);
        let target = server.redis.port();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let node = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
                let (client, node) = (BufReader::new(client), BufReader::new(node));
                tokio::spawn(pass(client, node, hangs.clone()));
            }
        });
        Self { server, port, hang }
    }

    async fn saver(&self, hash_tag_threads: bool) -> RedisSaver {
        let saver = RedisSaver::builder()
            .url(format!("redis+cluster://127.0.0.1:{}", self.port))
            .hash_tag_threads(hash_tag_threads)
            .command_timeout(COMMAND_TIMEOUT)
            .build()
            .await
            .unwrap();
        saver.setup().await.unwrap();
        saver
    }
}

/// Serves one command after the other, as Redis does for a client that it has blocked.
async fn pass(mut client: Peer, mut node: Peer, mut hangs: watch::Receiver<bool>) -> Option<()> {
    while let Some(mut command) = read_command(&mut client).await {
        if command[0].starts_with(b"FT.") {
            hangs.wait_for(|hangs| !hangs).await.ok()?;
        }
        if command[0] == b"COMMAND" && command[2] == b"FT.SEARCH" {
            command[2] = b"FT._LIST".to_vec();
        }
        node.write_all(&packed(&command)).await.ok()?;
        let mut reply = Vec::new();
        read_reply(&mut node, &mut reply).await?;
        client.write_all(&reply).await.ok()?;
    }
    Some(())
}

async fn every_call_of_a_thread_is_served(saver: &RedisSaver, of: &str) {
    let at = put(saver, &thread(of), &checkpoint()).await;
    put_writes(saver, &at, &writes(&["n"]), "task").await;
    assert_eq!(ids(saver, &thread(of)).await.len(), 3);
    let found = saver.get_tuple(&thread(of)).await.unwrap().unwrap();
    assert_eq!(found.pending_writes.len(), 1);
    assert!(saver.pin(&thread_id(of)).await.unwrap());
    saver.unpin(&thread_id(of)).await.unwrap();
    let copy = format!("copy of {of}");
    saver
        .copy_thread(&thread_id(of), &thread_id(&copy), &CopyOptions::default())
        .await
        .unwrap();
    saver
        .prune(&[thread_id(of)], &PruneOptions::default())
        .await
        .unwrap();
    assert_eq!(ids(saver, &thread(of)).await.len(), 1);
    for of in [of, &copy] {
        delete(saver, &thread_id(of)).await;
        assert_eq!(saver.get_tuple(&thread(of)).await.unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_threads_do_not_wait_for_a_search_that_hangs() {
    for hash_tag_threads in [false, true] {
        let mut cluster = Cluster::start().await;
        let saver = cluster.saver(hash_tag_threads).await;
        let threads: Vec<_> = (0..8).map(|number| format!("thread {number}")).collect();
        for of in &threads {
            for _ in 0..2 {
                put(&saver, &thread(of), &checkpoint()).await;
            }
        }
        assert_eq!(saver.health().await.without_search, None);

        cluster.hang.send_replace(true);
        let calls = threads.iter();
        let served = join_all(calls.map(|of| every_call_of_a_thread_is_served(&saver, of)));
        let in_time = tokio::time::timeout(COMMAND_TIMEOUT / 4, served).await;
        assert!(in_time.is_ok(), "calls wait for search");
        assert!(saver.health().await.without_search.is_some());
        let left = cluster.server.keys().await;
        assert!(left.iter().all(|key| !key.contains("thread ")), "{left:?}");

        cluster.hang.send_replace(false);
        let is_back = async {
            while saver.health().await.without_search.is_some() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(COMMAND_TIMEOUT, is_back)
            .await
            .expect("search is used again");
        saver.close().await;
    }
}
