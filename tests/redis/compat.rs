//! Data of Python's langgraph-checkpoint-redis 0.5.2 is read as it was meant, and what is written
//! equals what it writes, field by field. The samples are byte-exact dumps of its keys.

use std::collections::{BTreeMap, BTreeSet};

use langgraph_checkpoint_redis::{
    ChannelWrite, Checkpoint, CheckpointConfig, CheckpointId, CheckpointMetadata, CheckpointSaver,
    CheckpointSaverExt, CheckpointTuple, DeleteOptions, ListOptions, PutOptions, PutWritesOptions,
    RedisSaver, TaskId, TypedValue,
};
use serde_json::Value;

use crate::support::golden::{self, Case, Kind, state_of};
use crate::support::nodes::Nodes;
use crate::support::server::Server;

/// Every sample under the default prefixes.
const CASES: [&str; 9] = [
    "typical_interrupted",
    "typical_finished",
    "typical_ttl",
    "send_and_error",
    "subgraph",
    "sync_put",
    "metadata_ns_versions",
    "odd_thread_ids",
    "zoo",
];

fn stored_namespace(namespace: &str) -> &str {
    if namespace == "__empty__" {
        ""
    } else {
        namespace
    }
}

fn text<'a>(document: &'a Value, field: &str) -> &'a str {
    document[field].as_str().unwrap_or_default()
}

fn config_of(document: &Value) -> CheckpointConfig {
    CheckpointConfig::new(text(document, "thread_id"))
        .unwrap()
        .with_namespace(stored_namespace(text(document, "checkpoint_ns")))
        .unwrap()
}

fn metadata_of(document: &Value) -> Value {
    serde_json::from_str(text(document, "metadata")).unwrap()
}

fn assert_read(case: &str, document: &Value, writes: &[Value], tuple: &CheckpointTuple) {
    let id = text(document, "checkpoint_id");
    let context = format!("{case}: {id}");
    assert_eq!(tuple.checkpoint.id().as_str(), id, "{context}");
    let read: Value = tuple.checkpoint.to_json().decode().unwrap();
    assert_eq!(read, state_of(document), "{context}");
    let metadata: Value = tuple.metadata.to_json().decode().unwrap();
    assert_eq!(metadata, metadata_of(document), "{context}");
    let parent = tuple
        .parent_config
        .as_ref()
        .and_then(|parent| parent.checkpoint_id.clone());
    let parent = parent.map_or(String::new(), String::from);
    assert_eq!(parent, text(document, "parent_checkpoint_id"), "{context}");

    let mut expected: Vec<_> = writes
        .iter()
        .map(|write| {
            (
                text(write, "task_path").to_owned(),
                text(write, "task_id").to_owned(),
                write["idx"].as_i64().unwrap(),
                text(write, "channel").to_owned(),
                text(write, "type").to_owned(),
                text(write, "blob").to_owned(),
            )
        })
        .collect();
    expected.sort();
    let found: Vec<_> = tuple
        .pending_writes
        .iter()
        .map(|write| {
            (
                write.task_path.clone(),
                write.task_id.to_string(),
                write.idx,
                write.channel.clone(),
                write.value.type_name.clone(),
                golden::base64(&write.value.blob),
            )
        })
        .collect();
    assert_eq!(found, expected, "{context}");
}

async fn assert_case_is_read(name: &str, saver: &RedisSaver, case: &Case) {
    let writes = case.writes_by_checkpoint();
    let mut by_namespace: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for document in case.checkpoints() {
        let id = CheckpointId::new(text(&document, "checkpoint_id")).unwrap();
        let config = config_of(&document);
        let tuple = saver
            .get_tuple(&config.clone().with_checkpoint(id.clone()))
            .await
            .unwrap();
        let tuple = tuple.unwrap_or_else(|| panic!("{name}: {id} is not found"));
        let key = golden::identity(&document);
        let none = Vec::new();
        assert_read(name, &document, writes.get(&key).unwrap_or(&none), &tuple);
        by_namespace
            .entry((key.0, key.1))
            .or_default()
            .insert(key.2);
    }
    for ((thread, namespace), ids) in by_namespace {
        let config = CheckpointConfig::new(&thread)
            .unwrap()
            .with_namespace(stored_namespace(&namespace))
            .unwrap();
        let newest = saver.get_tuple(&config).await.unwrap().unwrap();
        assert_eq!(
            Some(newest.checkpoint.id().as_str()),
            ids.last().map(String::as_str),
            "{name}"
        );
        let listed = saver
            .list_all(Some(&config), ListOptions::default())
            .await
            .unwrap();
        let listed: Vec<_> = listed
            .iter()
            .map(|tuple| tuple.checkpoint.id().to_string())
            .collect();
        assert_eq!(
            listed,
            ids.into_iter().rev().collect::<Vec<_>>(),
            "{name}: {thread}"
        );
    }
}

#[tokio::test]
async fn what_the_python_saver_wrote_is_read() {
    for name in CASES {
        let mut server = Server::start().await;
        let case = Case::load(name);
        case.store(&mut server).await;
        let saver = server.saver().await;
        assert_case_is_read(name, &saver, &case).await;
    }
}

#[tokio::test]
async fn what_the_python_saver_wrote_under_custom_prefixes_is_read() {
    let mut server = Server::start().await;
    let case = Case::load("custom_prefix");
    case.store(&mut server).await;
    let saver = RedisSaver::builder()
        .url(server.redis.url())
        .prefixes("my_ckpt", "my_writes")
        .build()
        .await
        .unwrap();
    saver.setup().await.unwrap();
    assert_case_is_read("custom_prefix", &saver, &case).await;
}

/// Under custom prefixes the Python saver names the registries of writes as under the default one.
#[tokio::test]
async fn the_delta_channels_of_the_python_saver_under_custom_prefixes_are_read() {
    let server = redis_modules::Standalone::start().unwrap();
    for mut nodes in [Nodes::of(&server).await, Nodes::of_the_cluster().await] {
        let saver = nodes.saver().await;
        let thread = format!("delta-{}", nodes.prefix);
        let mut at = CheckpointConfig::new(&*thread).unwrap();
        for step in 0..4 {
            let id = CheckpointId::new(format!("{step}")).unwrap();
            let checkpoint = Checkpoint::builder().id(id).build().unwrap();
            let (metadata, options) = (CheckpointMetadata::new(), PutOptions::default());
            let put = saver.put(&at, &checkpoint, &metadata, &options);
            at = put.await.unwrap();
            let write = [ChannelWrite::new("log", TypedValue::json(&step).unwrap())];
            let (task, options) = (TaskId::new("task").unwrap(), PutWritesOptions::default());
            let written = saver.put_writes(&at, &write, &task, &options);
            written.await.unwrap();
            let shared = format!("write_keys_zset:{thread}:__empty__:{step}");
            let own = nodes.key(&shared);
            let [name]: [String; 1] = nodes.run(&["ZRANGE", &own, "0", "-1"]).await;
            let _: i64 = nodes.run(&["ZADD", &shared, "0", &name]).await;
            assert_eq!(nodes.run::<i64>(&["DEL", &own]).await, 1);
        }
        let found = saver.get_tuple(&at).await.unwrap().unwrap();
        assert_eq!(found.pending_writes.len(), 1);
        let channels = ["log".to_owned()];
        let history = saver.delta_channel_history(&at, &channels);
        let writes = history.await.unwrap().remove("log").unwrap().writes;
        let values = writes.iter().map(|write| write.value.decode().unwrap());
        assert_eq!(values.collect::<Vec<u8>>(), [0, 1, 2]);
        let options = DeleteOptions::default();
        saver.delete_thread(&at.thread_id, &options).await.unwrap();
    }
}

#[tokio::test]
async fn metadata_that_the_python_saver_cannot_read_back_is_read() {
    let mut server = Server::start().await;
    Case::load("metadata_literal_escape")
        .store(&mut server)
        .await;
    let saver = server.saver().await;
    let config = CheckpointConfig::new("meta-esc").unwrap();
    let tuple = saver.get_tuple(&config).await.unwrap().unwrap();
    let text = tuple.metadata.get::<String>("txt").unwrap().unwrap();
    assert_eq!(text, r"literal \ text");
}

#[tokio::test]
async fn threads_that_the_python_saver_wrote_are_listed_and_deleted_without_a_trace() {
    let mut server = Server::start().await;
    Case::load("odd_thread_ids").store(&mut server).await;
    // The Python saver's own index: it folds case, trims blanks and splits at commas.
    golden::create_python_indexes(&mut server).await;
    let saver = server.saver().await;
    let threads: BTreeSet<_> = Case::load("odd_thread_ids")
        .checkpoints()
        .iter()
        .map(|document| text(document, "thread_id").to_owned())
        .collect();
    for thread in &threads {
        let config = CheckpointConfig::new(thread).unwrap();
        let listed = saver
            .list_all(Some(&config), ListOptions::default())
            .await
            .unwrap();
        assert!(!listed.is_empty(), "{thread:?} is not listed");
        assert!(
            listed
                .iter()
                .all(|tuple| tuple.config.thread_id == config.thread_id)
        );
    }
    let mut left = server.keys().await.len();
    for thread in &threads {
        let id = CheckpointConfig::new(thread).unwrap().thread_id;
        saver
            .delete_thread(&id, &DeleteOptions::default())
            .await
            .unwrap();
        let now = server.keys().await.len();
        assert!(now < left, "nothing of {thread:?} was deleted");
        left = now;
    }
    assert_eq!(server.keys().await, Vec::<String>::new());
}

/// The calls that LangGraph made of the Python saver, made again: what they leave is the same.
#[tokio::test]
async fn what_is_written_equals_what_the_python_saver_wrote() {
    for name in [
        "typical_interrupted",
        "typical_finished",
        "send_and_error",
        "subgraph",
        "metadata_ns_versions",
    ] {
        let mut server = Server::start().await;
        let saver = server.saver().await;
        let case = Case::load(name);
        for document in case.checkpoints() {
            let mut config = config_of(&document);
            let parent = text(&document, "parent_checkpoint_id");
            config.checkpoint_id = CheckpointId::new(parent).ok();
            let checkpoint = Checkpoint::from_json(state_of(&document).to_string()).unwrap();
            let metadata =
                CheckpointMetadata::from_json(text(&document, "metadata").to_owned()).unwrap();
            saver
                .put(&config, &checkpoint, &metadata, &PutOptions::default())
                .await
                .unwrap();
        }
        for (identity, writes) in case.writes_by_checkpoint() {
            put_writes(&saver, &identity, &writes).await;
        }
        for (key, kind) in &case.keys {
            match kind {
                Kind::Json(expected) => {
                    let mut expected: Value = serde_json::from_str(expected).unwrap();
                    let mut found: Value = serde_json::from_str(&server.json(key).await).unwrap();
                    same_time(&mut found, &mut expected);
                    // Ours: the writes and their registry live as long as the document.
                    let registered = found.as_object_mut().unwrap().remove("registered");
                    assert_eq!(registered.is_some(), found["has_writes"] == true, "{key}");
                    if expected.get("has_writes").is_some() {
                        // The Python saver loses the flag when writes overtake their checkpoint.
                        let writes = case.writes_by_checkpoint();
                        let flag = writes.contains_key(&golden::identity(&expected));
                        expected["has_writes"] = Value::Bool(flag);
                    }
                    assert_eq!(found, expected, "{name}: {key}");
                }
                Kind::String(expected) => {
                    let found: String = redis::cmd("GET")
                        .arg(key)
                        .query_async(&mut server.client)
                        .await
                        .unwrap();
                    assert_eq!(found, *expected, "{name}: {key}");
                }
                Kind::SortedSet(expected) => {
                    let found: Vec<(String, f64)> = redis::cmd("ZRANGE")
                        .arg(key)
                        .arg(0)
                        .arg(-1)
                        .arg("WITHSCORES")
                        .query_async(&mut server.client)
                        .await
                        .unwrap();
                    let found: BTreeSet<_> = found.into_iter().map(|(member, _)| member).collect();
                    let expected: BTreeSet<_> =
                        expected.iter().map(|(member, _)| member.clone()).collect();
                    assert_eq!(found, expected, "{name}: {key}");
                }
            }
        }
    }
}

async fn put_writes(saver: &RedisSaver, identity: &(String, String, String), writes: &[Value]) {
    let config = CheckpointConfig::new(&identity.0)
        .unwrap()
        .with_namespace(stored_namespace(&identity.1))
        .unwrap()
        .with_checkpoint(CheckpointId::new(&identity.2).unwrap());
    let mut by_task: BTreeMap<(String, String), Vec<&Value>> = BTreeMap::new();
    for write in writes {
        let task = (
            text(write, "task_id").to_owned(),
            text(write, "task_path").to_owned(),
        );
        by_task.entry(task).or_default().push(write);
    }
    for ((task_id, task_path), mut writes) in by_task {
        let task_id = TaskId::new(task_id).unwrap();
        let options = PutWritesOptions::default().with_task_path(task_path);
        writes.sort_by_key(|write| write["idx"].as_i64());
        // A regular write stands at its index; where one is missing in its call, LangGraph had
        // put a special one there (the answer to an interrupt, say).
        let (mut special, regular): (Vec<_>, Vec<_>) = writes
            .into_iter()
            .partition(|write| write["idx"].as_i64() < Some(0));
        let mut call = Vec::new();
        for write in regular {
            while i64::try_from(call.len()).unwrap() < write["idx"].as_i64().unwrap() {
                call.push(channel_write(special.remove(0)));
            }
            call.push(channel_write(write));
        }
        let alone: Vec<_> = special.into_iter().map(channel_write).collect();
        for call in [alone, call] {
            saver
                .put_writes(&config, &call, &task_id, &options)
                .await
                .unwrap();
        }
    }
}

fn channel_write(write: &Value) -> ChannelWrite {
    let blob = golden::decode_base64(text(write, "blob"));
    ChannelWrite::new(
        text(write, "channel"),
        TypedValue::new(text(write, "type"), blob),
    )
}

/// The Python saver stamps documents with the time of the call, ours with that of the id, so that
/// a repeated call writes the same; both are milliseconds, moments apart.
fn same_time(found: &mut Value, expected: &mut Value) {
    let (Some(ours), Some(theirs)) = (
        found["checkpoint_ts"].as_f64(),
        expected["checkpoint_ts"].as_f64(),
    ) else {
        return;
    };
    assert!((ours - theirs).abs() < 60_000.0, "{ours} and {theirs}");
    found["checkpoint_ts"] = Value::Null;
    expected["checkpoint_ts"] = Value::Null;
}
