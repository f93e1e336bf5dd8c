//! Recorded LangGraph runs, replayed through every kind of saver: no answer may differ.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use futures_util::TryStreamExt;
use langgraph_checkpoint_redis::conformance::replay::Trace;
use langgraph_checkpoint_redis::{
    CheckpointSaver, ListOptions, MemorySaver, PruneOptions, PruneStrategy,
};
use libtest_mimic::Trial;
use tokio::runtime::Runtime;

#[cfg(feature = "redis")]
use crate::support;

/// A test for each kind of saver.
pub(crate) fn trials(runtime: &Arc<Runtime>) -> Vec<Trial> {
    let mut trials = Vec::new();
    macro_rules! trials {
        ($($(#[$on:meta])? $name:ident;)*) => {
            $($(#[$on])? {
                let runtime = Arc::clone(runtime);
                trials.push(Trial::test(concat!("traces::", stringify!($name)), move || {
                    runtime.block_on($name());
                    Ok(())
                }));
            })*
        };
    }
    trials! {
        traces_replay_on_memory_without_a_difference;
        #[cfg(feature = "redis")] traces_replay_on_redis_without_a_difference;
        #[cfg(feature = "redis")] traces_replay_on_the_compact_layout_without_a_difference;
        #[cfg(feature = "redis")]
        traces_replay_on_the_compact_layout_on_a_cluster_without_a_difference;
        #[cfg(feature = "redis")] traces_replay_on_a_cluster_without_a_difference;
        #[cfg(feature = "redis")] traces_replay_on_a_cluster_with_hash_tags_without_a_difference;
        #[cfg(feature = "tls")] traces_replay_behind_sentinel_without_a_difference;
        #[cfg(feature = "tls")] traces_replay_with_tls_and_least_rights_without_a_difference;
        #[cfg(feature = "tls")]
        traces_replay_behind_sentinel_with_tls_and_least_rights_without_a_difference;
        #[cfg(feature = "tls")]
        traces_replay_on_a_cluster_with_tls_and_least_rights_without_a_difference;
        of_a_recorded_run_pruning_keeps_one_checkpoint_a_namespace;
    }
    trials
}

/// The traces by name.
fn traces() -> Vec<(String, Trace)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/traces");
    let mut traces: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let trace = Trace::parse(&fs::read_to_string(&path).unwrap()).unwrap();
            (
                path.file_stem().unwrap().to_string_lossy().into_owned(),
                trace,
            )
        })
        .collect();
    traces.sort_by(|one, other| one.0.cmp(&other.0));
    assert!(traces.len() >= 5, "the traces are there");
    traces
}

async fn assert_replays(name: &str, trace: &Trace, saver: &dyn CheckpointSaver) {
    let replay = trace.replay(saver).await;
    assert!(replay.calls > 10, "{name} has calls");
    let differences: Vec<String> = replay.differences.iter().map(ToString::to_string).collect();
    assert!(differences.is_empty(), "{name}: {}", differences.join("\n"));
}

async fn traces_replay_on_memory_without_a_difference() {
    for (name, trace) in traces() {
        assert_replays(&name, &trace, &MemorySaver::new()).await;
    }
}

#[cfg(feature = "redis")]
async fn traces_replay_on_redis_without_a_difference() {
    for (name, trace) in traces() {
        let ttl = langgraph_checkpoint_redis::TtlPolicy::default();
        let saver = support::redis_saver(&support::random_prefix(), ttl)
            .await
            .unwrap();
        saver.setup().await.unwrap();
        assert_replays(&name, &trace, &saver).await;
        trace.clean_up(&saver).await.unwrap();
    }
}

#[cfg(feature = "redis")]
async fn assert_all_replay_on_compact_at(url: String) {
    for (name, trace) in traces() {
        let ttl = langgraph_checkpoint_redis::TtlPolicy::default();
        let saver = support::compact_saver(&url, &support::random_prefix(), ttl).await;
        let saver = saver.unwrap();
        saver.setup().await.unwrap();
        assert_replays(&name, &trace, &saver).await;
        trace.clean_up(&saver).await.unwrap();
    }
}

#[cfg(feature = "redis")]
async fn traces_replay_on_the_compact_layout_without_a_difference() {
    assert_all_replay_on_compact_at(support::without_modules_url()).await;
}

#[cfg(feature = "redis")]
async fn traces_replay_on_the_compact_layout_on_a_cluster_without_a_difference() {
    assert_all_replay_on_compact_at(support::cluster_url()).await;
}

#[cfg(feature = "redis")]
async fn assert_all_replay_at(url: String, hash_tag_threads: bool) {
    for (name, trace) in traces() {
        let ttl = langgraph_checkpoint_redis::TtlPolicy::default();
        let prefix = support::random_prefix();
        let saver = support::saver_at(&url, &prefix, ttl, hash_tag_threads)
            .await
            .unwrap();
        saver.setup().await.unwrap();
        assert_replays(&name, &trace, &saver).await;
        trace.clean_up(&saver).await.unwrap();
    }
}

/// Replays the traces where the conformance cases run as well, under a prefix of their own: a trace
/// lists every thread. The rights are for it, too.
#[cfg(feature = "tls")]
async fn assert_all_replay(
    builder: impl Future<Output = langgraph_checkpoint_redis::redis::RedisSaverBuilder>,
) {
    let saver = builder
        .await
        .prefix("checkpoint-traces")
        .build()
        .await
        .unwrap();
    saver.setup().await.unwrap();
    for (name, trace) in traces() {
        assert_replays(&name, &trace, &saver).await;
        trace.clean_up(&saver).await.unwrap();
    }
}

#[cfg(feature = "redis")]
async fn traces_replay_on_a_cluster_without_a_difference() {
    assert_all_replay_at(support::cluster_url(), false).await;
}

#[cfg(feature = "redis")]
async fn traces_replay_on_a_cluster_with_hash_tags_without_a_difference() {
    assert_all_replay_at(support::cluster_url(), true).await;
}

#[cfg(feature = "tls")]
async fn traces_replay_behind_sentinel_without_a_difference() {
    assert_all_replay(support::topologies::sentinel()).await;
}

#[cfg(feature = "tls")]
async fn traces_replay_with_tls_and_least_rights_without_a_difference() {
    assert_all_replay(support::topologies::secured()).await;
}

#[cfg(feature = "tls")]
async fn traces_replay_behind_sentinel_with_tls_and_least_rights_without_a_difference() {
    assert_all_replay(support::topologies::secured_sentinel()).await;
}

#[cfg(feature = "tls")]
async fn traces_replay_on_a_cluster_with_tls_and_least_rights_without_a_difference() {
    let tagged = async {
        support::topologies::secured_cluster()
            .await
            .hash_tag_threads(true)
    };
    assert_all_replay(tagged).await;
}

/// A rule that took one of LangGraph's ordinary channels for a delta channel would keep more.
async fn of_a_recorded_run_pruning_keeps_one_checkpoint_a_namespace() {
    for (name, trace) in traces() {
        let saver = MemorySaver::new();
        trace.replay(&saver).await;
        let threads: Vec<_> = saver.threads("").try_collect().await.unwrap();
        let threads: Vec<_> = threads
            .into_iter()
            .map(|summary| summary.thread_id)
            .collect();
        saver
            .prune(&threads, &PruneOptions::new(PruneStrategy::KeepLatest))
            .await
            .unwrap();
        let left: Vec<_> = saver
            .list(None, ListOptions::default())
            .try_collect()
            .await
            .unwrap();
        let namespaces: BTreeSet<_> = left
            .iter()
            .map(|tuple| (tuple.config.thread_id.clone(), tuple.config.namespace()))
            .collect();
        assert_eq!(left.len(), namespaces.len(), "{name}");
    }
}
