//! What frees memory works on a server that has none left.

use langgraph_checkpoint_redis::{
    ChannelWrite, Checkpoint, CheckpointConfig, CheckpointId, CheckpointMetadata, CheckpointSaver,
    DeleteOptions, Error, PruneOptions, PutOptions, PutWritesOptions, RunId, TaskId, TypedValue,
};
use redis_modules::{Cluster, Standalone};

use crate::support::nodes::Nodes;
use crate::support::stored::thread_id as thread;

const THREADS: [&str; 6] = [
    "deleted",
    "pruned",
    "pinned",
    "released",
    "of a run",
    "of Python",
];

async fn try_put(saver: &dyn CheckpointSaver, thread: &str, id: &str) -> Result<(), Error> {
    let config = CheckpointConfig::new(thread).unwrap();
    let config = config.with_run(RunId::new(format!("run of {thread}")).unwrap());
    let checkpoint = Checkpoint::builder()
        .id(CheckpointId::new(id).unwrap())
        .channel("text", 1, &"text ".repeat(2_000))
        .unwrap()
        .build()
        .unwrap();
    let options = PutOptions::default();
    let metadata = CheckpointMetadata::new();
    let stored = saver.put(&config, &checkpoint, &metadata, &options).await?;
    let writes = [ChannelWrite::new("text", TypedValue::json(&1).unwrap())];
    let task = TaskId::new("task").unwrap();
    saver
        .put_writes(&stored, &writes, &task, &PutWritesOptions::default())
        .await
}

async fn fill(nodes: &mut Nodes, saver: &dyn CheckpointSaver) {
    for thread in THREADS {
        for number in 0..40 {
            try_put(saver, thread, &format!("{number:04}"))
                .await
                .unwrap();
        }
    }
    // As if the Python saver had written it: nothing of ours names it.
    for key in nodes.keys().await {
        let is_ours = key.contains("checkpoint_keys_zset") || key.contains("checkpoint_ns_set");
        if key.contains("of Python") && is_ours {
            nodes.run::<i64>(&["UNLINK", &key]).await;
        }
    }
    nodes
        .run_on_all(&["CONFIG", "SET", "maxmemory", "1mb"])
        .await;
    let refused = try_put(saver, "new", "1").await;
    assert!(matches!(refused, Err(Error::OutOfMemory)), "{refused:?}");
}

async fn left(nodes: &mut Nodes, thread: &str) -> usize {
    let keys = nodes.keys().await;
    keys.iter().filter(|key| key.contains(thread)).count()
}

async fn delete_all(mut nodes: Nodes, saver: &dyn CheckpointSaver) {
    saver.setup().await.unwrap();
    fill(&mut nodes, saver).await;
    assert!(saver.pin(&thread("pinned")).await.unwrap());
    assert!(saver.pin(&thread("released")).await.unwrap());
    saver.unpin(&thread("released")).await.unwrap();
    saver
        .prune(&[thread("pruned")], &PruneOptions::default())
        .await
        .unwrap();
    let documents = nodes.keys().await.into_iter();
    let documents = documents.filter(|key| key.contains(":checkpoint:") && key.contains("pruned"));
    assert_eq!(documents.count(), 1);
    for run in ["run of of a run", "run of of Python"] {
        let run = RunId::new(run).unwrap();
        saver.delete_for_runs(&[run]).await.unwrap();
    }
    assert_eq!(left(&mut nodes, "of a run").await, 0);
    for of in THREADS {
        saver
            .delete_thread(&thread(of), &DeleteOptions::default())
            .await
            .unwrap();
        assert_eq!(left(&mut nodes, of).await, 0, "of {of}");
    }
    assert_eq!(nodes.keys().await, Vec::<String>::new());
}

#[tokio::test]
async fn threads_are_deleted_pruned_and_pinned_on_a_server_without_memory() {
    let server = Standalone::start().unwrap();
    let nodes = Nodes::of(&server).await;
    let saver = nodes.builder().pool_size(1).build().await.unwrap();
    delete_all(nodes, &saver).await;
}

#[tokio::test]
async fn shallow_threads_are_deleted_and_pinned_on_a_server_without_memory() {
    let server = Standalone::start().unwrap();
    let nodes = Nodes::of(&server).await;
    let saver = nodes.builder().pool_size(1).build_shallow().await.unwrap();
    delete_all(nodes, &saver).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threads_are_deleted_pruned_and_pinned_on_nodes_of_a_cluster_without_memory() {
    for hash_tag_threads in [false, true] {
        let cluster = Cluster::start().unwrap();
        let nodes = Nodes::of_cluster(&cluster).await;
        let builder = nodes.builder().hash_tag_threads(hash_tag_threads);
        let saver = builder.build().await.unwrap();
        delete_all(nodes, &saver).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shallow_threads_are_deleted_and_pinned_on_nodes_of_a_cluster_without_memory() {
    let cluster = Cluster::start().unwrap();
    let nodes = Nodes::of_cluster(&cluster).await;
    let builder = nodes.builder().hash_tag_threads(true);
    let saver = builder.build_shallow().await.unwrap();
    delete_all(nodes, &saver).await;
}
