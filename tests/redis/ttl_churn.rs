//! Keys that live for milliseconds: whatever comes and goes in between, none stays without a TTL.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use langgraph_checkpoint_redis::redis::Layout;
use langgraph_checkpoint_redis::{
    ChannelWrite, Checkpoint, CheckpointConfig, CheckpointId, CheckpointMetadata, CheckpointSaver,
    CheckpointSaverExt, CopyOptions, DeleteOptions, Error, ListOptions, PruneOptions,
    PruneStrategy, PutOptions, PutWritesOptions, RunId, TaskId, ThreadId, TtlChoice, TtlPolicy,
    TtlScope, TypedValue,
};
use rand::random_range;
use redis_modules::Standalone;

use crate::support::nodes::Nodes;
use crate::support::stored::{
    checkpoint_with_id, delete, named, place, put_for, put_writes_for, writes,
};

const FOR: Duration = Duration::from_secs(6);
const WORKERS: u64 = 12;
/// In such threads pins come and go; the others never have anything without a TTL.
const PINNED: &str = "pinned";

type Saver = Arc<dyn CheckpointSaver>;

/// What the calls do.
#[derive(Clone)]
struct Churn {
    /// The TTLs in milliseconds that calls ask for.
    ttls: Range<u64>,
    /// The savers' own.
    policies: Vec<TtlPolicy>,
    pins: bool,
    /// Whether a TTL may be made longer just when some of the keys expire, on several nodes.
    tears: bool,
}

impl Churn {
    fn of_milliseconds() -> Self {
        Self::with_ttls(1..12, 4)
    }

    fn with_ttls(ttls: Range<u64>, default: u64) -> Self {
        let ttl = TtlPolicy::new(Duration::from_millis(default));
        Self {
            ttls,
            policies: vec![ttl, ttl.with_refresh_on_read(true)],
            pins: true,
            tears: false,
        }
    }
}

fn thread() -> ThreadId {
    let name = [PINNED, "a", "b", "c", "d"][random_range(0..5)];
    ThreadId::new(name).unwrap()
}

async fn call(saver: &Saver, churn: &Churn) -> langgraph_checkpoint_redis::Result<()> {
    let (thread_id, other) = (thread(), thread());
    let namespace = ["", "x"][random_range(0..2)];
    let id = random_range(0..6).to_string();
    let at = CheckpointConfig::of_thread(thread_id.clone())
        .with_namespace(namespace)
        .unwrap();
    let named = at.clone().with_checkpoint(CheckpointId::new(&id).unwrap());
    let ttl = match random_range(0..3) {
        0 => TtlChoice::Default,
        _ => TtlChoice::For(Duration::from_millis(random_range(churn.ttls.clone()))),
    };
    match random_range(0..24) {
        0..8 => {
            let id = CheckpointId::new(&id).unwrap();
            let checkpoint = Checkpoint::builder().id(id).channel("n", 1, &1)?.build()?;
            let run = at.with_run(RunId::new("run").unwrap());
            let options = PutOptions::default().with_ttl(ttl);
            let metadata = CheckpointMetadata::new();
            saver.put(&run, &checkpoint, &metadata, &options).await?;
        }
        8..14 => {
            let writes = ["a", "b", "__error__"]
                .map(|channel| ChannelWrite::new(channel, TypedValue::json(&1).unwrap()));
            let task = TaskId::new(format!("task-{}", random_range(0..3))).unwrap();
            let options = PutWritesOptions::default().with_ttl(ttl);
            saver.put_writes(&named, &writes, &task, &options).await?;
        }
        14..16 => drop(saver.get_tuple(&at).await?),
        16 => drop(saver.get_tuple(&named).await?),
        17 => {
            let all = CheckpointConfig::of_thread(thread_id);
            drop(saver.list_all(Some(&all), ListOptions::default()).await?);
        }
        18 => {
            let options = CopyOptions::default().with_ttl(ttl);
            if thread_id != other {
                saver.copy_thread(&thread_id, &other, &options).await?;
            }
        }
        19 => {
            let options = PruneOptions::new(PruneStrategy::KeepLast(2));
            saver.prune(&[thread_id, other], &options).await?;
        }
        20 => drop(saver.touch(&thread_id).await?),
        21 => saver.delete_for_runs(&[RunId::new("run").unwrap()]).await?,
        22 => {
            saver
                .delete_thread(&thread_id, &DeleteOptions::default())
                .await?;
        }
        _ if churn.pins => {
            let pinned = ThreadId::new(PINNED).unwrap();
            saver.pin(&pinned).await?;
            saver.unpin(&pinned).await?;
        }
        _ => {}
    }
    Ok(())
}

/// Calls of all kinds for a while; then what is left has expired.
async fn nothing_is_made_permanent(mut nodes: Nodes, churn: Churn) {
    let mut workers = Vec::new();
    for policy in churn.policies.clone() {
        let saver: Saver = Arc::new(nodes.saver_with(policy).await);
        for _ in 0..WORKERS {
            let (saver, churn) = (Arc::clone(&saver), churn.clone());
            workers.push(tokio::spawn(async move {
                let until = Instant::now() + FOR;
                while Instant::now() < until {
                    match call(&saver, &churn).await {
                        Err(Error::Corrupt { .. }) if churn.tears => {}
                        done => done.unwrap(),
                    }
                }
            }));
        }
    }
    for worker in workers {
        worker.await.unwrap();
    }
    let short = TtlPolicy::new(Duration::from_millis(5));
    let saver = nodes.saver_with(short).await;
    saver.unpin(&ThreadId::new(PINNED).unwrap()).await.unwrap();
    // What checkpoints share stays for a second.
    tokio::time::sleep(Duration::from_millis(1_500 + churn.ttls.end)).await;
    let mut left = nodes.keys().await;
    left.retain(|key| !key.ends_with("_layout"));
    assert!(
        left.is_empty(),
        "{} keys have no TTL: {left:#?}",
        left.len()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_milliseconds_are_never_made_permanent() {
    let server = Standalone::start().unwrap();
    nothing_is_made_permanent(Nodes::of(&server).await, Churn::of_milliseconds()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_milliseconds_are_never_made_permanent_in_threads_that_expire_as_a_whole() {
    let server = Standalone::start().unwrap();
    let mut churn = Churn::of_milliseconds();
    for policy in &mut churn.policies {
        *policy = policy.with_scope(TtlScope::Thread);
    }
    nothing_is_made_permanent(Nodes::of(&server).await, churn).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_milliseconds_are_never_made_permanent_in_the_compact_layout() {
    let server = Standalone::start().unwrap();
    let nodes = Nodes::of(&server).await.with_layout(Layout::Compact);
    nothing_is_made_permanent(nodes, Churn::of_milliseconds()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_milliseconds_are_never_made_permanent_in_several_slots() {
    let churn = Churn {
        pins: false,
        ..Churn::of_milliseconds()
    };
    nothing_is_made_permanent(Nodes::of_the_cluster().await, churn).await;
}

/// What is pinned in several slots has to outlast the steps of a call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_pinned_in_several_slots_expires() {
    let churn = Churn {
        tears: true,
        ..Churn::with_ttls(100..400, 300)
    };
    nothing_is_made_permanent(Nodes::of_the_cluster().await, churn).await;
}

/// Stores checkpoints, and writes that wait for one.
async fn fill(saver: &dyn CheckpointSaver, at: &CheckpointConfig, ttl: TtlChoice) {
    let puts = (0..COUNT).map(|number| {
        let checkpoint = checkpoint_with_id(&format!("{number:04}"));
        async move { put_for(saver, at, &checkpoint, ttl).await }
    });
    let puts = stream::iter(puts).buffer_unordered(32);
    puts.collect::<Vec<_>>().await;
    for number in 0..20 {
        let early = named(at, &format!("early{number}"));
        put_writes_for(saver, &early, &writes(&["n"]), "task", ttl).await;
    }
}

/// More than one step gives another TTL.
const COUNT: usize = 1_000;

async fn unpinning_takes_longer_than_the_ttl(mut nodes: Nodes) {
    let at = place("t", "");
    let saver = nodes.saver().await;
    fill(&saver, &at, TtlChoice::Forever).await;
    assert!(saver.pin(&at.thread_id).await.unwrap());
    let short = TtlPolicy::new(Duration::from_millis(4));
    let saver = nodes.saver_with(short).await;
    assert!(saver.unpin(&at.thread_id).await.unwrap());
    // What checkpoints share stays for a second.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let left = nodes.keys().await;
    assert!(
        left.is_empty(),
        "{} keys stay: {:?}",
        left.len(),
        &left[..3.min(left.len())]
    );
}

#[tokio::test]
async fn what_leads_to_other_keys_expires_after_them_when_a_thread_is_unpinned() {
    let server = Standalone::start().unwrap();
    unpinning_takes_longer_than_the_ttl(Nodes::of(&server).await).await;
}

#[tokio::test]
async fn what_leads_to_other_keys_expires_after_them_in_several_slots() {
    unpinning_takes_longer_than_the_ttl(Nodes::of_the_cluster().await).await;
}

async fn a_pin_is_overtaken(mut nodes: Nodes) {
    let at = place("t", "");
    let saver = nodes
        .saver_with(TtlPolicy::new(Duration::from_secs(3_600)))
        .await;
    fill(&saver, &at, TtlChoice::Default).await;
    let mut overtaken = 0;
    for round in 0..4 {
        let pin = saver.pin(&at.thread_id);
        let unpin = async {
            tokio::time::sleep(Duration::from_millis(10 << round)).await;
            saver.unpin(&at.thread_id).await
        };
        let (pinned, unpinned) = tokio::join!(pin, unpin);
        assert!(pinned.unwrap() && unpinned.unwrap());
        let set = nodes.key("checkpoint_ns_set:t");
        if nodes.run(&["SISMEMBER", &set, "\0pinned"]).await {
            // It was unpinned before it was pinned.
            continue;
        }
        overtaken += 1;
        for key in nodes.keys().await {
            let left: i64 = nodes.run(&["PTTL", &key]).await;
            assert!(left >= 0, "{key} has no TTL after round {round}");
        }
    }
    assert!(overtaken > 0);
    delete(&saver, &at.thread_id).await;
}

#[tokio::test]
async fn a_pin_that_is_overtaken_by_an_unpin_leaves_every_key_its_ttl() {
    let server = Standalone::start().unwrap();
    a_pin_is_overtaken(Nodes::of(&server).await).await;
}

#[tokio::test]
async fn a_pin_that_is_overtaken_by_an_unpin_leaves_every_key_its_ttl_in_several_slots() {
    a_pin_is_overtaken(Nodes::of_the_cluster().await).await;
}
