//! A call that takes several pipelines is idempotent: what an earlier run of its first pipeline
//! left, and what other calls do between two pipelines.

use std::slice;
use std::sync::Arc;

use langgraph_checkpoint_redis::{
    ChannelWrite, Checkpoint, CheckpointConfig, CheckpointMetadata, CheckpointSaver, DeleteOptions,
    Error, ExpectedParent, PutOptions, PutWritesOptions, RedisSaver, Result, RunId, TaskId,
    TtlPolicy, TypedValue,
};

use crate::support::nodes::Nodes;
use crate::support::stored::{HOUR, checkpoint, thread};

async fn put(
    saver: &RedisSaver,
    config: &CheckpointConfig,
    checkpoint: &Checkpoint,
    expected: Option<ExpectedParent>,
) -> Result<CheckpointConfig> {
    let mut options = PutOptions::default();
    if let Some(expected) = expected {
        options = options.with_expected_parent(expected);
    }
    let metadata = CheckpointMetadata::new();
    saver.put(config, checkpoint, &metadata, &options).await
}

async fn put_writes(saver: &RedisSaver, config: &CheckpointConfig, count: usize) {
    let value = TypedValue::json(&"value").unwrap();
    let writes = vec![ChannelWrite::new("a", value); count];
    let (task, options) = (TaskId::new("task").unwrap(), PutWritesOptions::default());
    let written = saver.put_writes(config, &writes, &task, &options);
    written.await.unwrap();
}

async fn assert_all_expire(nodes: &mut Nodes, what: &str) {
    for key in nodes.keys().await {
        let left: i64 = nodes.run(&["PTTL", &key]).await;
        // One may go between the two commands.
        assert_ne!(left, -1, "{what}: {key} never expires");
    }
}

#[tokio::test]
async fn writes_of_an_earlier_run_in_a_pinned_thread_get_no_ttl() {
    let mut nodes = Nodes::of_the_cluster().await;
    let saver = nodes.saver_with(TtlPolicy::new(HOUR)).await;
    let config = put(&saver, &thread("t"), &checkpoint(), None).await;
    let config = config.unwrap();
    assert!(saver.pin(&config.thread_id).await.unwrap());
    put_writes(&saver, &config, 2).await;
    // As the first pipeline leaves them.
    for key in nodes.keys().await {
        if key.contains("write_keys_zset") {
            nodes.run::<i64>(&["UNLINK", &key]).await;
        } else if key.contains("checkpoint_write:") {
            nodes.run::<i64>(&["PEXPIRE", &key, "3600000"]).await;
        } else if key.contains("checkpoint:t:") {
            nodes.run::<i64>(&["JSON.DEL", &key, "$.registered"]).await;
        }
    }
    put_writes(&saver, &config, 2).await;
    for key in nodes.keys().await {
        let left: i64 = nodes.run(&["PTTL", &key]).await;
        assert_eq!(left, -1, "{key}");
    }
}

#[tokio::test]
async fn a_refused_put_removes_what_it_made_and_nothing_else() {
    let mut nodes = Nodes::of_the_cluster().await;
    let saver = nodes.saver_with(TtlPolicy::new(HOUR)).await;
    let stored = put(&saver, &thread("t"), &checkpoint(), None).await;
    let stored = stored.unwrap();
    let before = nodes.keys().await;
    let (given, expected) = (checkpoint(), Some(ExpectedParent::None));
    let refused = put(&saver, &thread("t"), &given, expected.clone()).await;
    assert!(
        matches!(refused, Err(Error::Conflict { .. })),
        "{refused:?}"
    );
    assert_eq!(nodes.keys().await, before);
    // Another saver's, which no registry names.
    let document = |id: &str| format!("checkpoint:t:__empty__:{id}");
    let key = nodes.key(&document(given.id().as_str()));
    let other = nodes.key(&document(stored.checkpoint_id.as_ref().unwrap().as_str()));
    let text: String = nodes.run(&["JSON.GET", &other]).await;
    nodes.run::<()>(&["JSON.SET", &key, "$", &text]).await;
    let refused = put(&saver, &thread("t"), &given, expected).await;
    assert!(
        matches!(refused, Err(Error::Conflict { .. })),
        "{refused:?}"
    );
    assert_eq!(nodes.keys().await.len(), before.len() + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_back_while_it_is_removed_expires() {
    let mut nodes = Nodes::of_the_cluster().await;
    let ttl = TtlPolicy::new(HOUR);
    let deep: Arc<dyn CheckpointSaver> = Arc::new(nodes.saver_with(ttl).await);
    let shallow = nodes.builder().ttl(ttl).build_shallow().await.unwrap();
    let shallow: Arc<dyn CheckpointSaver> = Arc::new(shallow);
    for (name, saver) in [("deep", deep), ("{shallow}", shallow)] {
        let config = thread(name);
        for turn in 0..150 {
            let options = PutOptions::default();
            let run = RunId::new(format!("run-{turn}")).unwrap();
            let of_run = CheckpointMetadata::new()
                .with("run_id", run.as_str())
                .unwrap();
            let given = [checkpoint(), checkpoint()];
            let first = saver.put(&config, &given[0], &of_run, &options);
            first.await.unwrap();
            let puts = async {
                let metadata = CheckpointMetadata::new();
                for _ in 0..turn % 20 {
                    nodes.run::<String>(&["PING"]).await;
                }
                saver.put(&config, &given[1], &metadata, &options).await
            };
            let (deleted, stored) =
                tokio::join!(saver.delete_for_runs(slice::from_ref(&run)), puts);
            deleted.unwrap();
            stored.unwrap();
            assert_all_expire(&mut nodes, &format!("{name}, turn {turn}")).await;
            let left = DeleteOptions::default();
            saver.delete_thread(&config.thread_id, &left).await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_ends_within_the_millisecond_makes_nothing_permanent() {
    let mut nodes = Nodes::of_the_cluster().await;
    let saver = nodes.saver_with(TtlPolicy::new(HOUR)).await;
    let mut permanent = Vec::new();
    for turn in 0..400 {
        let config = thread(&format!("t-{turn}"));
        let older = put(&saver, &config, &checkpoint(), None).await.unwrap();
        let newer = put(&saver, &config, &checkpoint(), None).await.unwrap();
        let document = |config: &CheckpointConfig| {
            let id = config.checkpoint_id.clone().unwrap();
            nodes.key(&format!("checkpoint:t-{turn}:__empty__:{id}"))
        };
        let (older, newer) = (document(&older), document(&newer));
        let pointer = nodes.key(&format!("checkpoint_latest:t-{turn}:__empty__"));
        nodes.run::<i64>(&["UNLINK", &newer]).await;
        let left = (2 + turn % 4).to_string();
        nodes.run::<i64>(&["PEXPIRE", &older, &left]).await;
        // It lets the pointer name the older one, for as long as that one is there.
        let fresh = saver.get_tuple(&config).await.unwrap();
        let left: i64 = nodes.run(&["PTTL", &pointer]).await;
        if left == -1 {
            permanent.push((turn, fresh.is_some()));
        }
        let options = DeleteOptions::default();
        let deleted = saver.delete_thread(&config.thread_id, &options);
        deleted.await.unwrap();
    }
    assert!(
        permanent.is_empty(),
        "pointers without a TTL: {permanent:?}"
    );
}

#[tokio::test]
async fn a_thread_is_not_deleted_with_another_whose_keys_have_its_names() {
    let mut nodes = Nodes::of_the_cluster().await;
    let saver = nodes.saver().await;
    for [(one, of_one), (other, of_other)] in
        [[("a", "b:x"), ("a:b", "x")], [("a:b", "x"), ("a", "b:x")]]
    {
        let given = checkpoint();
        let config = thread(one).with_namespace(of_one).unwrap();
        let first = put(&saver, &config, &given, None).await.unwrap();
        // As if it had expired; it is registered still.
        let key = nodes.key(&format!("checkpoint:a:b:x:{}", given.id()));
        nodes.run::<i64>(&["UNLINK", &key]).await;
        let theirs = thread(other).with_namespace(of_other).unwrap();
        let theirs = put(&saver, &theirs, &given, None).await.unwrap();
        put_writes(&saver, &theirs, 3).await;
        let options = DeleteOptions::default();
        let deleted = saver.delete_thread(&first.thread_id, &options);
        deleted.await.unwrap();
        for newest in [
            theirs.clone(),
            thread(other).with_namespace(of_other).unwrap(),
        ] {
            let found = saver.get_tuple(&newest).await.unwrap();
            let writes = found.map(|tuple| tuple.pending_writes.len());
            assert_eq!(writes, Some(3), "{one} was deleted, {other} was not");
        }
        let deleted = saver.delete_thread(&theirs.thread_id, &options);
        deleted.await.unwrap();
        assert_eq!(nodes.keys().await, Vec::<String>::new());
    }
}
