//! Random calls on two threads whose ids make the same keys, on a MemorySaver and on Redis side by
//! side: what is done to one never shows in the other.
//!
//! Only one of the two can have a checkpoint under the shared name, so what would be refused is
//! left out. `LANGGRAPH_REDIS_MODEL_CASES` sets the number of sequences.

use std::time::Duration;

use langgraph_checkpoint_redis::{
    ChannelWrite, Checkpoint, CheckpointConfig, CheckpointId, CheckpointMetadata, CheckpointSaver,
    CheckpointSaverExt, CheckpointTuple, DeleteOptions, ListOptions, MemorySaver, PruneOptions,
    PruneStrategy, PutOptions, PutWritesOptions, RedisSaver, RunId, TaskId, ThreadId, TypedValue,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use redis_modules::Standalone;

use crate::support::nodes::Nodes;

/// Threads with a namespace each, under which both make the same keys; the root is each one's own.
const PLACES: [(&str, &str); 2] = [("a", "b:x"), ("a:b", "x")];
const IDS: [&str; 3] = ["1", "2", "3"];
const RUNS: [&str; 2] = ["run-1", "run-2"];

#[derive(Debug, Clone)]
enum Call {
    Put {
        of: usize,
        id: usize,
        root: bool,
        run: usize,
    },
    PutWrites {
        of: usize,
        id: usize,
        root: bool,
    },
    DeleteThread(usize),
    DeleteForRun(usize),
    Prune(usize, usize),
    /// Removes a checkpoint without telling anybody, as if it had expired.
    Expire(usize, usize),
}

fn call() -> impl Strategy<Value = Call> {
    let (of, id) = (0..PLACES.len(), 0..IDS.len());
    let root = prop::bool::weighted(0.2);
    prop_oneof![
        6 => (of.clone(), id.clone(), root, 0..RUNS.len())
            .prop_map(|(of, id, root, run)| Call::Put { of, id, root, run }),
        3 => (of.clone(), id.clone(), root)
            .prop_map(|(of, id, root)| Call::PutWrites { of, id, root }),
        1 => of.clone().prop_map(Call::DeleteThread),
        1 => (0..RUNS.len()).prop_map(Call::DeleteForRun),
        2 => (of.clone(), 1_usize..3).prop_map(|(of, keep)| Call::Prune(of, keep)),
        2 => (of, id).prop_map(|(of, id)| Call::Expire(of, id)),
    ]
}

fn thread(of: usize) -> ThreadId {
    ThreadId::new(PLACES[of].0).unwrap()
}

fn place(of: usize, root: bool) -> CheckpointConfig {
    let config = CheckpointConfig::new(PLACES[of].0).unwrap();
    let namespace = if root { "" } else { PLACES[of].1 };
    config.with_namespace(namespace).unwrap()
}

fn named(of: usize, root: bool, id: usize) -> CheckpointConfig {
    place(of, root).with_checkpoint(CheckpointId::new(IDS[id]).unwrap())
}

async fn make(saver: &dyn CheckpointSaver, call: &Call) {
    match call {
        Call::Put { of, id, root, run } => {
            let text = format!(
                r#"{{"v":4,"ts":"2026-01-01T00:00:00Z","id":"{}","channel_values":{{"a":[{of},{id}]}},"channel_versions":{{"a":1}}}}"#,
                IDS[*id]
            );
            let checkpoint = Checkpoint::from_json(text).unwrap();
            let config = place(*of, *root).with_run(RunId::new(RUNS[*run]).unwrap());
            let metadata = CheckpointMetadata::new();
            let options = PutOptions::default();
            let put = saver.put(&config, &checkpoint, &metadata, &options);
            put.await.unwrap();
        }
        Call::PutWrites { of, id, root } => {
            let writes = [ChannelWrite::new("a", TypedValue::json(of).unwrap())];
            let task = TaskId::new(format!("task {of}")).unwrap();
            let options = PutWritesOptions::default();
            let at = named(*of, *root, *id);
            let put = saver.put_writes(&at, &writes, &task, &options);
            put.await.unwrap();
        }
        Call::DeleteThread(of) => {
            let options = DeleteOptions::default();
            saver.delete_thread(&thread(*of), &options).await.unwrap();
        }
        Call::DeleteForRun(run) => {
            let runs = [RunId::new(RUNS[*run]).unwrap()];
            saver.delete_for_runs(&runs).await.unwrap();
        }
        Call::Prune(of, keep) => {
            let options = PruneOptions::new(PruneStrategy::KeepLast(*keep));
            saver.prune(&[thread(*of)], &options).await.unwrap();
        }
        Call::Expire(..) => {}
    }
}

async fn all(saver: &dyn CheckpointSaver, of: usize) -> Vec<CheckpointTuple> {
    let mut all = Vec::new();
    for root in [true, false] {
        let place = place(of, root);
        let found = saver.list_all(Some(&place), ListOptions::default());
        all.extend(found.await.unwrap());
        for id in 0..IDS.len() {
            all.extend(saver.get_tuple(&named(of, root, id)).await.unwrap());
        }
    }
    all
}

/// Whether the other thread has something under the name that a call would write.
async fn is_taken(memory: &MemorySaver, taken: &[(usize, usize)], call: &Call) -> bool {
    let (Call::Put { of, id, root, .. } | Call::PutWrites { of, id, root }) = call else {
        return false;
    };
    let other = named(1 - of, false, *id);
    !root && (memory.get_tuple(&other).await.unwrap().is_some() || taken.contains(&(1 - of, *id)))
}

async fn run(redis: &RedisSaver, nodes: &mut Nodes, calls: &[Call]) -> Result<(), TestCaseError> {
    let memory = MemorySaver::default();
    // Where writes may wait for a checkpoint, and what has expired.
    let mut waits: Vec<(usize, usize)> = Vec::new();
    let mut has_written = [false; PLACES.len()];
    for call in calls {
        if is_taken(&memory, &waits, call).await {
            continue;
        }
        match call {
            Call::Expire(of, id) => {
                let there = memory.get_tuple(&named(*of, false, *id)).await.unwrap();
                // Memory cannot take over writes that wait.
                if there.is_some() && !has_written[*of] {
                    let key = format!(
                        "checkpoint:{}:{}:{}",
                        PLACES[*of].0, PLACES[*of].1, IDS[*id]
                    );
                    let _: i64 = nodes.run(&["UNLINK", &nodes.key(&key)]).await;
                    let runs = all(&memory, *of).await;
                    let expired = named(*of, false, *id);
                    // Memory cannot forget one checkpoint: all but it are put again.
                    let options = DeleteOptions::default();
                    memory.delete_thread(&thread(*of), &options).await.unwrap();
                    for tuple in runs {
                        if tuple.config != expired {
                            put_again(&memory, &tuple).await;
                        }
                    }
                }
            }
            call => {
                make(&memory, call).await;
                make(redis, call).await;
            }
        }
        if let Call::PutWrites { of, id, root } = call {
            has_written[*of] = true;
            if !root {
                waits.push((*of, *id));
            }
        }
        for (of, (name, _)) in PLACES.iter().enumerate() {
            let (expected, found) = (all(&memory, of).await, all(redis, of).await);
            prop_assert_eq!(expected, found, "of {} after {:?}", name, call);
        }
    }
    for of in 0..PLACES.len() {
        make(redis, &Call::DeleteThread(of)).await;
    }
    let left = nodes.keys().await;
    prop_assert!(left.is_empty(), "left behind: {:?}", left);
    Ok(())
}

async fn put_again(memory: &MemorySaver, tuple: &CheckpointTuple) {
    let mut config = tuple.config.clone();
    config.checkpoint_id = None;
    let options = PutOptions::default();
    let put = memory.put(&config, &tuple.checkpoint, &tuple.metadata, &options);
    put.await.unwrap();
    for write in &tuple.pending_writes {
        let writes = [ChannelWrite::new(
            write.channel.clone(),
            write.value.clone(),
        )];
        let options = PutWritesOptions::default();
        let put = memory.put_writes(&tuple.config, &writes, &write.task_id, &options);
        put.await.unwrap();
    }
}

fn check(nodes: impl Future<Output = Nodes>, one_in: u32) {
    let cases = std::env::var("LANGGRAPH_REDIS_MODEL_CASES")
        .map_or(400, |cases| cases.parse().expect("a number of sequences"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let nodes = std::cell::RefCell::new(runtime.block_on(nodes));
    let config = Config {
        cases: (cases / one_in).max(1),
        failure_persistence: None,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&vec(call(), 1..24), |calls| {
        let mut nodes = nodes.borrow_mut();
        runtime.block_on(async {
            let redis = nodes.saver().await;
            let outcome =
                tokio::time::timeout(Duration::from_secs(60), run(&redis, &mut nodes, &calls));
            let outcome = outcome.await.expect("a call hangs");
            if outcome.is_err() {
                for key in nodes.keys().await {
                    let _: i64 = nodes.run(&["UNLINK", &key]).await;
                }
            }
            redis.close().await;
            outcome
        })
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

#[test]
fn neighbours_never_show_in_each_other() {
    let server = Standalone::start().unwrap();
    check(Nodes::of(&server), 1);
}

#[test]
fn neighbours_in_a_cluster_never_show_in_each_other() {
    check(Nodes::of_the_cluster(), 8);
}
