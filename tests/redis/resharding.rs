//! Walks over all keys of a cluster while slots move to nodes that were walked already.

use std::collections::BTreeSet;
use std::time::Duration;

use fred::util::redis_keyslot;
use futures_util::{StreamExt, TryStreamExt};
use langgraph_checkpoint_redis::redis::Layout;
use langgraph_checkpoint_redis::{CheckpointSaver, RedisSaver};
use redis_modules::{Cluster, SlotMove};
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

/// When slots begin and end to move.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Move {
    /// Between two pages of the walk.
    Within,
    /// From before the walk until between two of its pages.
    Before,
    /// From between two pages until after the last.
    After,
}

/// Starts to move the slots of some threads to the node that a walk comes to first.
fn start_moving<'a>(
    cluster: &'a Cluster,
    ids: &BTreeSet<String>,
    walked: usize,
) -> Vec<SlotMove<'a>> {
    let slots = ids.iter().map(|id| slot_of(id));
    let others = slots.filter(|slot| cluster.owner(*slot).unwrap() != walked);
    let moves = others.take(MOVED);
    let moves: Vec<_> = moves
        .map(|slot| cluster.start_moving(slot, walked).unwrap())
        .collect();
    assert_eq!(moves.len(), MOVED);
    moves
}

/// A walk that has read its first page, of one node, goes on when threads of other nodes have moved
/// there.
async fn threads_move_behind_the_walk(when: Move) {
    let cluster = Cluster::start().unwrap();
    let builder = RedisSaver::builder().url(cluster.url());
    let saver = builder.layout(Layout::Compact).build().await.unwrap();
    saver.setup().await.unwrap();
    let ids: BTreeSet<_> = (0..THREADS).map(|n| format!("thread-{n}")).collect();
    for id in &ids {
        put(&saver, &place(id, ""), &checkpoint_with_id("1")).await;
    }
    let first = saver.threads("").next().await.unwrap().unwrap().thread_id;
    let walked = cluster.owner(slot_of(first.as_str())).unwrap();
    let mut moves = Vec::new();
    if when == Move::Before {
        moves = start_moving(&cluster, &ids, walked);
    }
    let mut walk = saver.threads("");
    let first = walk.next().await.unwrap().unwrap().thread_id;
    assert_eq!(cluster.owner(slot_of(first.as_str())).unwrap(), walked);
    if when != Move::Before {
        moves = start_moving(&cluster, &ids, walked);
    }
    for moving in &moves {
        while moving.move_keys(100).unwrap() > 0 {}
    }
    if when != Move::After {
        for moving in moves.drain(..) {
            moving.finish().unwrap();
        }
    }
    let rest = walk.map_ok(|thread| thread.thread_id.to_string());
    let (rest, ()) = tokio::join!(rest.try_collect::<Vec<_>>(), async {
        // A thread whose slot is on its way is read when that has come.
        sleep(Duration::from_millis(300)).await;
        block_in_place(|| {
            for moving in moves {
                moving.finish().unwrap();
            }
        });
    });
    let mut found = rest.unwrap();
    found.push(first.to_string());
    assert_eq!(found.len(), THREADS, "each once");
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), ids);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_that_moves_to_a_node_that_was_walked_is_found() {
    threads_move_behind_the_walk(Move::Within).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_that_began_to_move_before_the_walk_is_found() {
    threads_move_behind_the_walk(Move::Before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_that_is_on_its_way_to_a_node_that_was_walked_is_found() {
    threads_move_behind_the_walk(Move::After).await;
}
