//! What frees memory works on a server that has none left.

use langgraph_checkpoint_redis::redis::RedisSaverBuilder;
use langgraph_checkpoint_redis::{
    ChannelWrite, Checkpoint, CheckpointConfig, CheckpointId, CheckpointMetadata, CheckpointSaver,
    DeleteOptions, Error, PruneOptions, PutOptions, PutWritesOptions, RedisSaver, RunId, TaskId,
    TypedValue,
};

use crate::support::server::Server;
use crate::support::stored::thread_id as thread;

const THREADS: [&str; 5] = ["deleted", "pruned", "pinned", "of a run", "of Python"];

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

async fn fill(server: &mut Server, saver: &dyn CheckpointSaver) {
    for thread in THREADS {
        for number in 0..40 {
            try_put(saver, thread, &format!("{number:04}"))
                .await
                .unwrap();
        }
    }
    // As if the Python saver had written it: nothing of ours names it.
    let keys = server.keys().await.into_iter();
    for key in keys.filter(|key| key.contains("of Python")) {
        if key.starts_with("checkpoint_keys_zset") || key.starts_with("checkpoint_ns_set") {
            server.run(&["UNLINK", &key]).await;
        }
    }
    server.run(&["CONFIG", "SET", "maxmemory", "1mb"]).await;
    let refused = try_put(saver, "new", "1").await;
    assert!(matches!(refused, Err(Error::OutOfMemory)), "{refused:?}");
}

async fn left(server: &mut Server, thread: &str) -> usize {
    let keys = server.keys().await;
    keys.iter().filter(|key| key.contains(thread)).count()
}

async fn delete_all(server: &mut Server, saver: &dyn CheckpointSaver, checkpoints: usize) {
    fill(server, saver).await;
    assert!(saver.pin(&thread("pinned")).await.unwrap());
    saver
        .prune(&[thread("pruned")], &PruneOptions::default())
        .await
        .unwrap();
    let there = left(server, "checkpoint:pruned").await;
    assert_eq!(there, checkpoints.min(1));
    let run = RunId::new("run of of a run").unwrap();
    saver.delete_for_runs(&[run]).await.unwrap();
    assert_eq!(left(server, "of a run").await, 0);
    for of in THREADS {
        saver
            .delete_thread(&thread(of), &DeleteOptions::default())
            .await
            .unwrap();
        assert_eq!(left(server, of).await, 0, "of {of}");
    }
    assert_eq!(server.keys().await, Vec::<String>::new());
}

fn builder(server: &Server) -> RedisSaverBuilder {
    RedisSaver::builder().url(server.redis.url()).pool_size(1)
}

#[tokio::test]
async fn threads_are_deleted_pruned_and_pinned_on_a_server_without_memory() {
    let mut server = Server::start().await;
    let saver = builder(&server).build().await.unwrap();
    saver.setup().await.unwrap();
    delete_all(&mut server, &saver, 1).await;
}

#[tokio::test]
async fn shallow_threads_are_deleted_and_pinned_on_a_server_without_memory() {
    let mut server = Server::start().await;
    let saver = builder(&server).build_shallow().await.unwrap();
    saver.setup().await.unwrap();
    delete_all(&mut server, &saver, 1).await;
}
