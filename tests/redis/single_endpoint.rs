//! One address in front of a cluster, as managed services have it: the saver sees one server, and
//! finds out by itself that slots decide.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use langgraph_checkpoint_redis::conformance::replay::Trace;
use langgraph_checkpoint_redis::{CheckpointId, RedisSaver};
use redis_modules::Cluster;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::support::resp::{Peer, packed, read_command, read_reply};

/// Passes every command on to the node that has its first key. It knows no search, as some
/// services do not.
async fn endpoint(cluster: Arc<Cluster>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(serve(BufReader::new(client), Arc::clone(&cluster)));
        }
    });
    port
}

async fn serve(mut client: Peer, cluster: Arc<Cluster>) {
    let mut nodes: HashMap<usize, Peer> = HashMap::new();
    while let Some(mut command) = read_command(&mut client).await {
        let name = String::from_utf8_lossy(&command[0]).to_uppercase();
        let is_scan = name == "SCAN";
        let reply = if name.starts_with("FT.") {
            format!("-ERR unknown command '{name}'\r\n").into_bytes()
        } else {
            let place = match &*name {
                "SCAN" => begin_scan(&mut command[1]),
                "EVAL" | "EVALSHA" => command.get(3).map_or(0, |key| place(key)),
                "CLIENT" | "HELLO" | "INFO" | "MULTI" | "EXEC" | "PING" | "ROLE" => 0,
                _ => command.get(1).map_or(0, |key| place(key)),
            };
            if let Entry::Vacant(vacant) = nodes.entry(place) {
                let address = ("127.0.0.1", cluster.nodes()[place].port());
                let node = TcpStream::connect(address).await.unwrap();
                vacant.insert(BufReader::new(node));
            }
            let node = nodes.get_mut(&place).unwrap();
            node.write_all(&packed(&command)).await.unwrap();
            let mut reply = Vec::new();
            read_reply(node, &mut reply).await.unwrap();
            if is_scan {
                reply = go_on_with_scan(&reply, place);
            }
            reply
        };
        if client.write_all(&reply).await.is_err() {
            return;
        }
    }
}

/// Takes the place of a node out of a cursor: the rest is the node's own.
fn begin_scan(cursor: &mut Vec<u8>) -> usize {
    let given: usize = std::str::from_utf8(cursor).unwrap().parse().unwrap();
    *cursor = (given / 3).to_string().into_bytes();
    given % 3
}

/// Puts it in again; after a node's last page comes the next node.
fn go_on_with_scan(reply: &[u8], place: usize) -> Vec<u8> {
    let text = std::str::from_utf8(reply).unwrap();
    let (cursor, rest) = {
        let (_, text) = text.split_once("*2\r\n$").unwrap();
        let (_, text) = text.split_once("\r\n").unwrap();
        text.split_once("\r\n").unwrap()
    };
    let cursor = match cursor.parse::<usize>().unwrap() {
        0 => (place + 1) % 3,
        inner => inner * 3 + place,
    };
    let cursor = cursor.to_string();
    format!("*2\r\n${}\r\n{cursor}\r\n{rest}", cursor.len()).into_bytes()
}

/// The place of the primary that has a key: the three share the slots in their order.
fn place(key: &[u8]) -> usize {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let close = rest.iter().position(|byte| *byte == b'}')?;
        (close > 0).then(|| &rest[..close])
    });
    let crc = tag.unwrap_or(key).iter().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            let rest = crc << 1;
            if crc & 0x8000 == 0 {
                rest
            } else {
                rest ^ 0x1021
            }
        })
    });
    match crc % 16_384 {
        0..=5_460 => 0,
        5_461..=10_922 => 1,
        _ => 2,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recorded_runs_replay_behind_one_address_of_a_cluster() {
    let cluster = Arc::new(Cluster::start().unwrap());
    let port = endpoint(Arc::clone(&cluster)).await;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/traces");
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let trace = Trace::parse(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let saver = RedisSaver::builder()
            .url(format!("redis://127.0.0.1:{port}"))
            .prefix(format!("test-{}", CheckpointId::now_ulid()))
            .build()
            .await
            .unwrap();
        let replay = trace.replay(&saver).await;
        assert!(replay.calls > 10);
        let differences: Vec<_> = replay.differences.iter().map(ToString::to_string).collect();
        assert!(
            differences.is_empty(),
            "{}: {}",
            path.display(),
            differences.join("\n")
        );
    }
}
