//! What the Python package wrote, and what it would have written.

use std::collections::BTreeSet;

use futures_util::TryStreamExt;
use langgraph_checkpoint_redis::{
    ChannelWrite, Checkpoint, CheckpointConfig, CheckpointMetadata, CheckpointSaver, CopyOptions,
    ListOptions, PutOptions, PutWritesOptions, RedisSaver, RunId, TaskId, ThreadId, TypedValue,
};
use serde_json::Value;

use super::{checkpoint, delete, id, ids, place, put, put_writes, read, saver, writes};
use crate::support::golden::{self, Case, Kind, state_of};
use crate::support::server::Server;

#[tokio::test]
async fn what_the_python_saver_wrote_is_read_and_deleted() {
    let mut server = Server::start().await;
    let case = Case::load("shallow");
    case.store(&mut server).await;
    golden::create_python_indexes(&mut server).await;
    let saver = saver(&server).await;
    let document = &case.checkpoints()[0];
    let stored = document["checkpoint_id"].as_str().unwrap();
    let config = CheckpointConfig::new("shallow-1").unwrap();

    let tuple = read(&saver, &config).await;
    assert_eq!(tuple.checkpoint.id().as_str(), stored);
    let found: Value = tuple.checkpoint.to_json().decode().unwrap();
    assert_eq!(found, state_of(document));
    assert_eq!(
        tuple.metadata.to_json().as_str(),
        document["metadata"].as_str().unwrap()
    );
    assert_eq!(tuple.parent_config, None);
    // Its one write is for an older checkpoint and was consumed.
    assert_eq!(tuple.pending_writes, []);

    assert_eq!(ids(&saver, None, ListOptions::default()).await, [stored]);
    let listed = ids(&saver, Some(&config), ListOptions::default()).await;
    assert_eq!(listed, [stored]);
    let threads: Vec<_> = saver.threads("shallow").try_collect().await.unwrap();
    assert_eq!(threads.len(), 1);
    assert_eq!((threads[0].checkpoints, threads[0].ttl), (1, None));

    let run = document["run_id"].as_str().unwrap();
    let other = RunId::new("1f0c2f4e-0000-6000-8000-000000000000").unwrap();
    saver.delete_for_runs(&[other]).await.unwrap();
    assert!(saver.get_tuple(&config).await.unwrap().is_some());
    let run = RunId::new(run).unwrap();
    saver.delete_for_runs(&[run]).await.unwrap();
    assert_eq!(saver.get_tuple(&config).await.unwrap(), None);

    case.store(&mut server).await;
    delete(&saver, "shallow-1").await;
    assert_eq!(server.keys().await, Vec::<String>::new());
}

/// The calls that made the sample, made again: what they leave is the same, but for the write
/// that was consumed, which the Python saver leaves behind.
#[tokio::test]
async fn what_is_written_equals_what_the_python_saver_wrote() {
    let mut server = Server::start().await;
    let saver = saver(&server).await;
    let case = Case::load("shallow");
    let document = &case.checkpoints()[0];
    let config = CheckpointConfig::new("shallow-1").unwrap();
    let (identity, stored) = case.writes_by_checkpoint().into_iter().next().unwrap();
    let write = &stored[0];
    let text = |document: &Value, field: &str| document[field].as_str().unwrap().to_owned();

    let blob = golden::decode_base64(&text(write, "blob"));
    let value = TypedValue::new(text(write, "type"), blob);
    let writes = [ChannelWrite::new(text(write, "channel"), value)];
    let task = TaskId::new(text(write, "task_id")).unwrap();
    let older = config.clone().with_checkpoint(id(&identity.2));
    saver
        .put_writes(&older, &writes, &task, &PutWritesOptions::default())
        .await
        .unwrap();
    let mut expected: BTreeSet<_> = case.keys.iter().map(|(key, _)| key.clone()).collect();
    for (key, kind) in &case.keys {
        match kind {
            Kind::Json(json) if key.starts_with("checkpoint_write:") => {
                let found: Value = serde_json::from_str(&server.json(key).await).unwrap();
                assert_eq!(found, serde_json::from_str::<Value>(json).unwrap());
                expected.remove(key);
            }
            Kind::SortedSet(members) => {
                let found: Vec<(String, String)> = redis::cmd("ZRANGE")
                    .arg(&[key.as_str(), "0", "-1", "WITHSCORES"])
                    .query_async(&mut server.client)
                    .await
                    .unwrap();
                assert_eq!(found, *members);
                expected.remove(key);
            }
            _ => {}
        }
    }

    let state = Checkpoint::from_json(state_of(document).to_string()).unwrap();
    let metadata = CheckpointMetadata::from_json(text(document, "metadata")).unwrap();
    saver
        .put(&older, &state, &metadata, &PutOptions::default())
        .await
        .unwrap();
    expected.insert("checkpoint_ns_set:shallow-1".to_owned());
    assert_eq!(server.keys().await, Vec::from_iter(expected));
    let found = server.json("checkpoint:shallow-1:").await;
    let mut found: Value = serde_json::from_str(&found).unwrap();
    let (ours, theirs) = (&found["checkpoint_ts"], &document["checkpoint_ts"]);
    assert!((ours.as_f64().unwrap() - theirs.as_f64().unwrap()).abs() < 60_000.0);
    found["checkpoint_ts"] = theirs.clone();
    assert_eq!(found, *document);
}

/// A thread as langgraph-checkpoint-redis' blocking shallow saver leaves it: the root under the
/// name that it has in keys, metadata as an object, and a registry of that saver's own.
async fn store_as_the_blocking_saver(server: &mut Server, write_prefix: &str) {
    let write = format!("{write_prefix}:t:__empty__:5:task:0");
    let consumed = format!("{write_prefix}:t:__empty__:4:task:0");
    let document = r#"{"thread_id":"t","run_id":"r","checkpoint_ns":"__empty__","checkpoint_id":"5","checkpoint_ts":1,"checkpoint":{"type":"json","v":4,"id":"5","channel_values":{"v":"5"}},"metadata":{"source":"loop","step":1},"source":"loop","step":1}"#;
    server
        .run(&["JSON.SET", "checkpoint:t:", "$", document])
        .await;
    for (key, id) in [(&write, "5"), (&consumed, "4")] {
        let document = format!(
            r#"{{"thread_id":"t","checkpoint_ns":"__empty__","checkpoint_id":"{id}","task_id":"task","task_path":"","idx":0,"channel":"a","type":"json","blob":"MQ=="}}"#
        );
        server.run(&["JSON.SET", key, "$", &document]).await;
        let registry = "write_registry:t:__empty__:shallow";
        server.run(&["ZADD", registry, "0", key]).await;
    }
}

#[tokio::test]
async fn a_thread_of_the_blocking_python_saver_is_taken_over() {
    for write_prefix in ["checkpoint_write", "w"] {
        let mut server = Server::start().await;
        let builder = RedisSaver::builder().url(server.redis.url());
        let builder = builder.prefixes("checkpoint", write_prefix);
        let saver = builder.build_shallow().await.unwrap();
        saver.setup().await.unwrap();
        store_as_the_blocking_saver(&mut server, write_prefix).await;
        let (config, everything) = (place("t", ""), CheckpointConfig::new("t").unwrap());
        let found = read(&saver, &config).await;
        assert_eq!(found.checkpoint, checkpoint("5"));
        assert_eq!(found.metadata.get::<i64>("step").unwrap(), Some(1));
        assert_eq!(writes(&found), [("a".to_owned(), 1)]);
        let listed = ids(&saver, Some(&everything), ListOptions::default()).await;
        assert_eq!(listed, ["5"]);
        assert_eq!(ids(&saver, None, ListOptions::default()).await, ["5"]);
        let threads: Vec<_> = saver.threads("").try_collect().await.unwrap();
        assert_eq!(threads.len(), 1);

        put_writes(&saver, &config, "5", &["b"], 2).await;
        put_writes(&saver, &config, "6", &["c"], 3).await;
        let thread = ThreadId::new("t").unwrap();
        assert!(saver.pin(&thread).await.unwrap());
        let copy = ThreadId::new("copy").unwrap();
        let options = CopyOptions::default();
        saver.copy_thread(&thread, &copy, &options).await.unwrap();
        assert_eq!(
            read(&saver, &place("copy", "")).await.checkpoint,
            checkpoint("5")
        );
        delete(&saver, "copy").await;
        put(&saver, &found.config, "6").await;
        assert_eq!(
            server.keys().await,
            [
                "checkpoint:t:".to_owned(),
                "checkpoint_ns_set:t".to_owned(),
                format!("{write_prefix}:t:__empty__:6:task:0"),
                if write_prefix == "w" {
                    "w_keys_zset:t:__empty__:shallow".to_owned()
                } else {
                    "write_keys_zset:t:__empty__:shallow".to_owned()
                },
            ]
        );
        assert_eq!(writes(&read(&saver, &config).await), [("c".to_owned(), 3)]);
        delete(&saver, "t").await;

        store_as_the_blocking_saver(&mut server, write_prefix).await;
        saver
            .delete_for_runs(&[RunId::new("r").unwrap()])
            .await
            .unwrap();
        assert!(saver.get_tuple(&config).await.unwrap().is_none());
        store_as_the_blocking_saver(&mut server, write_prefix).await;
        delete(&saver, "t").await;
        assert_eq!(server.keys().await, Vec::<String>::new());
    }
}
