//! Walks over all keys of a cluster while slots move to nodes that were walked already.

use std::collections::BTreeSet;
use std::time::Duration;

use fred::util::redis_keyslot;
use futures_util::{StreamExt, TryStreamExt};
use langgraph_checkpoint_redis::redis::Layout;
use langgraph_checkpoint_redis::{CheckpointSaver, RedisSaver};
use redis_modules::Cluster;
use tokio::task::block_in_place;
use tokio::time::sleep;

use crate::support::stored::{checkpoint_with_id, place, put};

const THREADS: usize = 40;
/// How many of them move.
const MOVED: usize = 3;

/// Which slot a thread's keys are in: in this layout its id is their hash tag.
fn slot_of(thread: &str) -> u16 {
    redis_keyslot(thread.as_bytes())
}

/// A walk that has read its first page, of one node, goes on when threads of other nodes have moved
/// there.
async fn threads_move_behind_the_walk(is_over: bool) {
    let cluster = Cluster::start().unwrap();
    let builder = RedisSaver::builder().url(cluster.url());
    let saver = builder.layout(Layout::Compact).build().await.unwrap();
    saver.setup().await.unwrap();
    let ids: BTreeSet<_> = (0..THREADS).map(|n| format!("thread-{n}")).collect();
    for id in &ids {
        put(&saver, &place(id, ""), &checkpoint_with_id("1")).await;
    }
    let mut walk = saver.threads("");
    let first = walk.next().await.unwrap().unwrap().thread_id;
    let walked = cluster.owner(slot_of(first.as_str())).unwrap();
    let mut moves = Vec::new();
    for id in &ids {
        let slot = slot_of(id);
        if moves.len() < MOVED && cluster.owner(slot).unwrap() != walked {
            let moving = cluster.start_moving(slot, walked).unwrap();
            while moving.move_keys(100).unwrap() > 0 {}
            moves.push(moving);
        }
    }
    assert_eq!(moves.len(), MOVED);
    if is_over {
        moves.drain(..).for_each(|moving| moving.finish().unwrap());
    }
    let rest = walk.map_ok(|thread| thread.thread_id.to_string());
    let (rest, ()) = tokio::join!(rest.try_collect::<Vec<_>>(), async {
        // A thread whose slot is on its way is read when that has come.
        sleep(Duration::from_millis(300)).await;
        block_in_place(|| {
            moves
                .into_iter()
                .for_each(|moving| moving.finish().unwrap())
        });
    });
    let mut found = rest.unwrap();
    found.push(first.to_string());
    assert_eq!(found.len(), THREADS, "each once");
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), ids);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_that_moves_to_a_node_that_was_walked_is_found() {
    threads_move_behind_the_walk(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_that_is_on_its_way_to_a_node_that_was_walked_is_found() {
    threads_move_behind_the_walk(false).await;
}
