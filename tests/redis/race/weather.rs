//! What goes on in a cluster during a race: slots move, key by key, and replicas take over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis_modules::Cluster;
use tokio::task::{JoinHandle, block_in_place};
use tokio::time::sleep;

use super::players::Race;
use super::world::all_threads;
use crate::support::server::connect;

/// How many slots move before a replica takes over.
const MOVES: usize = 8;
/// How many keys move at once.
const KEYS: usize = 5;

#[derive(Debug, Default)]
struct Count {
    moves: usize,
    keys: usize,
    failovers: usize,
}

pub struct Weather(JoinHandle<(Cluster, Count)>);

impl Weather {
    pub fn start(cluster: Cluster, race: Arc<Race>, tagged: bool) -> Self {
        Self(tokio::spawn(async move {
            let mut count = Count::default();
            while !race.is_over() {
                for _ in 0..MOVES {
                    if race.is_over() {
                        break;
                    }
                    move_a_slot(&cluster, &race, tagged, &mut count).await;
                }
                if !race.is_over() {
                    fail_over(&cluster, &race, &mut count).await;
                }
            }
            block_in_place(|| cluster.wait_until_whole().unwrap());
            (cluster, count)
        }))
    }

    /// Waits until the cluster is whole; says what went on.
    pub async fn end(self) -> (Cluster, String) {
        let (cluster, count) = self.0.await.unwrap();
        let Count {
            moves,
            keys,
            failovers,
        } = count;
        let forecast = format!("{moves} slots moved with {keys} keys, {failovers} failovers");
        (cluster, forecast)
    }
}

/// A slot in which there are keys.
async fn slot(cluster: &Cluster, tagged: bool) -> Option<u16> {
    let primaries = cluster.primaries();
    let node = *primaries.get(rand::random_range(0..primaries.len().max(1)))?;
    let mut client = connect(&cluster.nodes()[node].url()).await.ok()?;
    let key: Option<Vec<u8>> = if tagged {
        let threads: Vec<_> = all_threads().into_iter().collect();
        let thread = threads[rand::random_range(0..threads.len())];
        Some(format!("{{{thread}}}").into_bytes())
    } else {
        let key = redis::cmd("RANDOMKEY").query_async(&mut client).await;
        key.ok()?
    };
    let mut keyslot = redis::cmd("CLUSTER");
    keyslot.arg("KEYSLOT").arg(key?);
    keyslot.query_async(&mut client).await.ok()
}

async fn move_a_slot(cluster: &Cluster, race: &Race, tagged: bool, count: &mut Count) {
    let Some(slot) = slot(cluster, tagged).await else {
        sleep(Duration::from_millis(50)).await;
        return;
    };
    let primaries = cluster.primaries();
    let Ok(owner) = cluster.owner(slot) else {
        return;
    };
    let others: Vec<_> = primaries
        .into_iter()
        .filter(|node| *node != owner)
        .collect();
    if others.is_empty() {
        return;
    }
    let target = others[rand::random_range(0..others.len())];
    let moving = match block_in_place(|| cluster.start_moving(slot, target)) {
        Ok(moving) => moving,
        Err(error) => {
            race.found("slots that cannot be moved", error.to_string());
            return;
        }
    };
    // Some keys here and some there, for a moment each.
    for _ in 0..60 {
        match block_in_place(|| moving.move_keys(KEYS)) {
            Ok(0) => break,
            Ok(moved) => count.keys += moved,
            Err(error) => {
                race.found("slots that cannot be moved", error.to_string());
                break;
            }
        }
        sleep(Duration::from_millis(3)).await;
    }
    if let Err(error) = block_in_place(|| moving.finish()) {
        race.found("slots that cannot be moved", error.to_string());
    }
    count.moves += 1;
    sleep(Duration::from_millis(20)).await;
}

/// A replica takes over as an operator asks it to: nothing is lost.
async fn fail_over(cluster: &Cluster, race: &Race, count: &mut Count) {
    let primaries = cluster.primaries();
    let replicas: Vec<_> = (0..cluster.nodes().len())
        .filter(|node| !primaries.contains(node))
        .collect();
    if replicas.is_empty() {
        return;
    }
    let replica = replicas[rand::random_range(0..replicas.len())];
    let Ok(mut client) = connect(&cluster.nodes()[replica].url()).await else {
        return;
    };
    let asked: redis::RedisResult<()> = redis::cmd("CLUSTER")
        .arg("FAILOVER")
        .query_async(&mut client)
        .await;
    if let Err(error) = asked {
        race.found("failovers that cannot be", error.to_string());
        return;
    }
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(10) {
        sleep(Duration::from_millis(50)).await;
        if cluster.primaries().contains(&replica) {
            count.failovers += 1;
            break;
        }
    }
    // Else the nodes do not agree on whose slots are to move next.
    if let Err(error) = block_in_place(|| cluster.wait_until_whole()) {
        race.found("failovers that cannot be", error.to_string());
    }
}
