//! Eight writers and eight readers make all calls on a handful of threads at the same time, and
//! check what is true at every moment: whatever is read is whole and of nobody else, what was
//! acknowledged on a thread that nobody deletes stays, of those who expect the same newest
//! checkpoint one goes on. At the end nothing is left that should not be: no key without a TTL, no
//! registry that differs from the keys, nothing that the doctor finds, and nothing at all once
//! every thread is deleted.
//!
//! A race takes as many seconds as `LANGGRAPH_REDIS_RACE_SECONDS` says, and is not run without:
//! `LANGGRAPH_REDIS_RACE_SECONDS=600 cargo test --release --test redis race:: -- --nocapture`
//! prints what was called and found. On a cluster slots move and primaries fail over all the while.
#![allow(unreachable_pub)]

mod end;
mod players;
mod readers;
mod weather;
mod world;

use std::sync::Arc;
use std::time::Duration;

use langgraph_checkpoint_redis::redis::{Layout, RedisSaverBuilder};
use langgraph_checkpoint_redis::{CheckpointSaver, RedisSaver, TtlPolicy};
use players::{Race, play};
use redis_modules::{Cluster, Standalone};
use tokio::sync::Mutex;
use weather::Weather;

const PLAYERS: usize = 8;

/// One race at a time may weigh on the machine.
static TURN: Mutex<()> = Mutex::const_new(());

/// How long a race takes; none where it was not asked for.
fn lasts() -> Option<Duration> {
    let Ok(seconds) = std::env::var("LANGGRAPH_REDIS_RACE_SECONDS") else {
        println!("not run: set LANGGRAPH_REDIS_RACE_SECONDS to the seconds that it may take");
        return None;
    };
    let seconds = seconds.parse().expect("a number of seconds");
    Some(Duration::from_secs(seconds))
}

fn builder(url: String) -> RedisSaverBuilder {
    RedisSaver::builder()
        .url(url)
        .page_size(7)
        .ttl(TtlPolicy::new(Duration::from_secs(36_000)).with_refresh_on_read(true))
}

async fn race(builder: RedisSaverBuilder, has_faults: bool, lasts: Duration) -> Arc<Race> {
    let saver = builder.build().await.unwrap();
    saver.setup().await.unwrap();
    let race = Arc::new(Race::new(saver, has_faults, lasts));
    race.freeze().await;
    race
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_calls_race_on_one_server() {
    let Some(lasts) = lasts() else { return };
    let _turn = TURN.lock().await;
    let server = Standalone::start().unwrap();
    let race = race(builder(server.url()), false, lasts).await;
    play(&race, PLAYERS, PLAYERS, lasts).await;
    end::check(&race, &[server.url()], true).await;
    assert!(race.report("one server"), "see above");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_calls_race_in_the_compact_layout() {
    let Some(lasts) = lasts() else { return };
    let _turn = TURN.lock().await;
    let server = Standalone::builder().without_modules().start().unwrap();
    let builder = builder(server.url()).layout(Layout::Compact);
    let race = race(builder, false, lasts).await;
    play(&race, PLAYERS, PLAYERS, lasts).await;
    end::check(&race, &[server.url()], true).await;
    assert!(race.report("one server, compact"), "see above");
}

async fn on_a_cluster(title: &str, tagged: bool, layout: Layout) {
    let Some(lasts) = lasts() else { return };
    let _turn = TURN.lock().await;
    let cluster = Cluster::builder()
        .config("cluster-require-full-coverage", "no")
        .start()
        .unwrap();
    let builder = builder(cluster.url())
        .layout(layout)
        .hash_tag_threads(tagged)
        .command_timeout(Duration::from_secs(15));
    let race = race(builder, true, lasts).await;
    let weather = Weather::start(cluster, Arc::clone(&race), tagged);
    play(&race, PLAYERS, PLAYERS, lasts).await;
    let (cluster, forecast) = weather.end().await;
    let nodes = cluster.primaries().into_iter();
    let nodes: Vec<_> = nodes.map(|node| cluster.nodes()[node].url()).collect();
    end::check(&race, &nodes, tagged).await;
    assert!(race.report(&format!("{title}, {forecast}")), "see above");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_calls_race_on_a_cluster_with_hash_tags() {
    on_a_cluster("a cluster with hash tags", true, Layout::Json).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_calls_race_on_a_cluster_without_hash_tags() {
    on_a_cluster("a cluster without hash tags", false, Layout::Json).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_calls_race_in_the_compact_layout_on_a_cluster() {
    on_a_cluster("a cluster, compact", true, Layout::Compact).await;
}
