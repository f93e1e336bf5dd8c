//! What is read and removed while a slot with many writes is on its way to another node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use langgraph_checkpoint_redis::redis::Layout;
use langgraph_checkpoint_redis::{
    ChannelWrite, Checkpoint, CheckpointConfig, CheckpointMetadata, CheckpointSaver,
    CheckpointSaverExt, CopyOptions, DeleteOptions, ListOptions, PutOptions, PutWritesOptions,
    Result, TaskId, ThreadId, TypedValue,
};
use redis_modules::Cluster;
use tokio::task::block_in_place;
use tokio::time::sleep;

use crate::cluster::slot;
use crate::support::server::is_recent;
use crate::{Fault, builder, command, connect};

/// The tag of all keys here, which puts them in one slot.
const TAG: &str = "{many}";
const CHECKPOINTS: usize = 3;
const TASKS: usize = 3;
const WRITES: usize = 4;

/// Savers of one thread each, on a cluster.
struct Place {
    cluster: Cluster,
    /// Gives up soon.
    hasty: Savers,
    /// Waits until a slot has moved.
    patient: Savers,
}

type Savers = [Arc<dyn CheckpointSaver>; 3];

/// The savers, whose prefixes are these.
const KINDS: [&str; 3] = ["full", "shallow", "compact"];

async fn savers(cluster: &Cluster, limit: Duration) -> Savers {
    let of = |kind| builder(cluster.url()).command_timeout(limit).prefix(kind);
    let [full, shallow, compact] = KINDS.map(of);
    let compact = compact.layout(Layout::Compact);
    [
        Arc::new(full.build().await.unwrap()),
        Arc::new(shallow.build_shallow().await.unwrap()),
        Arc::new(compact.build().await.unwrap()),
    ]
}

/// The thread of a saver. In the layout `compact` all of an id is the tag.
fn thread(kind: &str) -> ThreadId {
    ThreadId::new(if kind == "compact" { "many" } else { TAG }).unwrap()
}

async fn place() -> Place {
    let cluster = Cluster::start().unwrap();
    let place = Place {
        hasty: savers(&cluster, Duration::from_millis(150)).await,
        patient: savers(&cluster, Duration::from_secs(20)).await,
        cluster,
    };
    for (saver, kind) in place.patient.iter().zip(KINDS) {
        saver.setup().await.unwrap();
        store(&**saver, kind).await;
    }
    place
}

/// Stores checkpoints with many writes each.
async fn store(saver: &dyn CheckpointSaver, kind: &str) {
    let mut config = CheckpointConfig::of_thread(thread(kind));
    config = config.with_namespace("").unwrap();
    for _ in 0..CHECKPOINTS {
        let (checkpoint, metadata) = (
            Checkpoint::builder().build().unwrap(),
            CheckpointMetadata::new(),
        );
        let options = PutOptions::default();
        let put = saver.put(&config, &checkpoint, &metadata, &options);
        config = put.await.unwrap();
        for task in 0..TASKS {
            let writes: Vec<_> = (0..WRITES)
                .map(|n| ChannelWrite::new("delta", TypedValue::json(&n).unwrap()))
                .collect();
            let task = TaskId::new(format!("task-{task}")).unwrap();
            let options = PutWritesOptions::default();
            let written = saver.put_writes(&config, &writes, &task, &options);
            written.await.unwrap();
        }
    }
}

/// Every call that reads writes, by its name, with how many it found.
async fn read(saver: &dyn CheckpointSaver, kind: &str) -> BTreeMap<&'static str, Result<usize>> {
    let newest = CheckpointConfig::of_thread(thread(kind)).with_namespace("");
    let newest = newest.unwrap();
    let mut found = BTreeMap::new();
    let tuple = saver.get_tuple(&newest).await;
    found.insert(
        "get_tuple",
        tuple.map(|tuple| tuple.map_or(0, |tuple| tuple.pending_writes.len())),
    );
    let listed = saver.list_all(Some(&newest), ListOptions::default()).await;
    found.insert(
        "list",
        listed.map(|all| all.iter().map(|tuple| tuple.pending_writes.len()).sum()),
    );
    let channels = ["delta".to_owned()];
    let history = saver.delta_channel_history(&newest, &channels).await;
    found.insert(
        "delta_channel_history",
        history.map(|all| all["delta"].writes.len()),
    );
    let target = ThreadId::new(format!("{{copy-{}}}", rand_name())).unwrap();
    let copied = saver
        .copy_thread(&thread(kind), &target, &CopyOptions::default())
        .await;
    let copied = match copied {
        Ok(()) => {
            let copy = CheckpointConfig::of_thread(target);
            let all = saver.list_all(Some(&copy), ListOptions::default()).await;
            Ok(all
                .unwrap()
                .iter()
                .map(|tuple| tuple.pending_writes.len())
                .sum())
        }
        Err(error) => Err(error),
    };
    found.insert("copy_thread", copied);
    found
}

fn rand_name() -> String {
    langgraph_checkpoint_redis::CheckpointId::now_ulid().to_string()
}

/// What every call finds while nothing moves.
async fn expected(saver: &dyn CheckpointSaver, kind: &str) -> BTreeMap<&'static str, usize> {
    let found = read(saver, kind).await.into_iter();
    let found: BTreeMap<_, _> = found.map(|(call, count)| (call, count.unwrap())).collect();
    let each = TASKS * WRITES;
    let full = if kind == "shallow" { 1 } else { CHECKPOINTS };
    assert_eq!(found["get_tuple"], each);
    assert_eq!(found["list"], full * each);
    assert_eq!(found["copy_thread"], full * each);
    assert_eq!(found["delta_channel_history"], (full - 1) * each);
    found
}

fn assert_nothing_short(
    found: BTreeMap<&'static str, Result<usize>>,
    expected: &BTreeMap<&'static str, usize>,
    what: &str,
) {
    for (call, found) in found {
        match found {
            Ok(found) => assert_eq!(found, expected[call], "{what}: {call}"),
            Err(error) => assert!(error.is_retryable(), "{what}: {call}: {error:?}"),
        }
    }
}

/// The keys of a node that a pattern matches.
async fn keys(url: &str, pattern: &str) -> Vec<String> {
    let mut client = connect(url).await.unwrap();
    let mut scan = redis::cmd("KEYS");
    let found = scan.arg(pattern).query_async(&mut client).await;
    let mut found: Vec<String> = found.unwrap();
    found.retain(|key| !is_recent(key));
    found
}

async fn all_keys(cluster: &Cluster, pattern: &str) -> Vec<String> {
    let mut found = Vec::new();
    for primary in cluster.primaries() {
        found.extend(keys(&cluster.nodes()[primary].url(), pattern).await);
    }
    found
}

/// Whether a key is that of a write which its registry does not name first, or of what heads refer
/// to.
fn is_later_write(key: &str) -> bool {
    let is_write = key.contains("checkpoint_write:") && !key.ends_with(":task-0:0");
    is_write || key.contains("_parts:") || key.contains("_writes:")
}

/// Moves the writes ahead of what names them, but for the first of each checkpoint: a command that
/// declares its first key alone takes the others for gone.
async fn move_writes_ahead(cluster: &Cluster, slot: u16, target: usize, pause: Duration) {
    let source = cluster.nodes()[cluster.owner(slot).unwrap()].url();
    let port = cluster.nodes()[target].port().to_string();
    for key in keys(&source, &format!("*{TAG}*")).await {
        if is_later_write(&key) {
            let migrate = ["MIGRATE", "127.0.0.1", &port, &key, "0", "5000"];
            command(&source, &migrate).await.unwrap();
            sleep(pause).await;
        }
    }
}

/// No call that reads gives a shorter answer while writes have moved ahead of their registry.
pub async fn writes_move_ahead_of_their_registry(fault: Fault) {
    let place = place().await;
    let cluster = &place.cluster;
    let slot = slot(cluster, "many").await;
    let mut complete = Vec::new();
    for (saver, kind) in place.patient.iter().zip(KINDS) {
        complete.push(expected(&**saver, kind).await);
    }
    let target = (cluster.owner(slot).unwrap() + 1) % 3;
    let moving = cluster.start_moving(slot, target).unwrap();
    move_writes_ahead(cluster, slot, target, Duration::ZERO).await;
    for ((saver, kind), complete) in place.hasty.iter().zip(KINDS).zip(&complete) {
        assert_nothing_short(
            read(&**saver, kind).await,
            complete,
            &format!("{fault}, {kind}"),
        );
    }
    // A call that has the time finds all of it.
    let patient = async {
        for ((saver, kind), complete) in place.patient.iter().zip(KINDS).zip(&complete) {
            let found = read(&**saver, kind).await.into_iter();
            let found: BTreeMap<_, _> = found.map(|(call, count)| (call, count.unwrap())).collect();
            assert_eq!(&found, complete, "{fault}, {kind}");
        }
    };
    tokio::join!(patient, async {
        sleep(Duration::from_millis(300)).await;
        block_in_place(|| moving.finish().unwrap());
    });
}

/// What is removed while writes have moved ahead leaves nothing behind.
pub async fn threads_are_deleted_while_their_writes_move(fault: Fault) {
    let place = place().await;
    let cluster = &place.cluster;
    let slot = slot(cluster, "many").await;
    for (saver, kind) in place.patient.iter().zip(KINDS) {
        let target = (cluster.owner(slot).unwrap() + 1) % 3;
        let moving = cluster.start_moving(slot, target).unwrap();
        move_writes_ahead(cluster, slot, target, Duration::ZERO).await;
        let (thread, options) = (thread(kind), DeleteOptions::default());
        let (deleted, ()) = tokio::join!(saver.delete_thread(&thread, &options), async {
            sleep(Duration::from_millis(300)).await;
            block_in_place(|| moving.finish().unwrap());
        });
        deleted.unwrap();
        let left = all_keys(cluster, &format!("{kind}:*{TAG}*")).await;
        assert_eq!(left, Vec::<String>::new(), "{fault}, {kind}");
    }
}

/// A slot goes from node to node, key by key, under calls that read.
pub async fn a_slot_with_many_writes_moves_under_readers(fault: Fault) {
    let place = place().await;
    let cluster = &place.cluster;
    let slot = slot(cluster, "many").await;
    let mut complete = Vec::new();
    for (saver, kind) in place.patient.iter().zip(KINDS) {
        complete.push(expected(&**saver, kind).await);
    }
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut readers = Vec::new();
    for savers in [&place.hasty, &place.patient] {
        for ((saver, kind), complete) in savers.iter().zip(KINDS).zip(&complete) {
            let (saver, complete, stopped) = (Arc::clone(saver), complete.clone(), stopped.clone());
            readers.push(tokio::spawn(async move {
                let mut rounds = 0;
                while !*stopped.borrow() {
                    let what = format!("{fault}, {kind}, round {rounds}");
                    assert_nothing_short(read(&*saver, kind).await, &complete, &what);
                    rounds += 1;
                }
                rounds
            }));
        }
    }
    for _ in 0..4 {
        let target = (cluster.owner(slot).unwrap() + 1) % 3;
        let moving = cluster.start_moving(slot, target).unwrap();
        move_writes_ahead(cluster, slot, target, Duration::from_millis(20)).await;
        while block_in_place(|| moving.move_keys(1).unwrap()) > 0 {
            sleep(Duration::from_millis(5)).await;
        }
        block_in_place(|| moving.finish().unwrap());
        sleep(Duration::from_millis(100)).await;
    }
    stop.send(true).unwrap();
    for reader in readers {
        assert!(reader.await.unwrap() > 0, "{fault}: a reader never read");
    }
}
