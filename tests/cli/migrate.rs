//! `migrate` copies threads to another layout completely, or says what differs.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use langgraph_checkpoint_redis::redis::Layout;
use langgraph_checkpoint_redis::{
    ChannelWrite, Checkpoint, CheckpointMetadata, CheckpointSaver, CheckpointTuple, PutOptions,
    PutWritesOptions, RedisSaver, TaskId, TtlChoice, TypedValue,
};
use redis_modules::Standalone;
use serde_json::json;

use crate::command::{Cli, all, put, three_threads, traces};
use crate::support::random_prefix;
use crate::support::stored::thread;

async fn compact(url: &str, prefix: &str) -> RedisSaver {
    let builder = RedisSaver::builder().url(url).prefix(prefix);
    builder.layout(Layout::Compact).build().await.unwrap()
}

async fn compact_beside(prefix: &str) -> RedisSaver {
    compact(redis_modules::shared_url().unwrap(), prefix).await
}

/// Checkpoints that say the same, whatever the order of the members of their objects.
fn values(tuples: &[CheckpointTuple]) -> Vec<serde_json::Value> {
    let value = |text: langgraph_checkpoint_redis::RawJson| -> serde_json::Value {
        serde_json::from_str(text.as_str()).unwrap()
    };
    let values = tuples.iter().map(|tuple| {
        json!({
            "config": format!("{:?}", tuple.config),
            "checkpoint": value(tuple.checkpoint.to_json()),
            "metadata": value(tuple.metadata.to_json()),
            "parent": format!("{:?}", tuple.parent_config),
            "writes": format!("{:?}", tuple.pending_writes),
        })
    });
    values.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_trace_moves_to_the_compact_layout_and_back_without_a_difference() {
    let mut replayed = 0;
    for (path, trace) in traces() {
        let cli = Cli::new();
        cli.run(&["setup"]).ok();
        let source = cli.saver().await;
        assert!(trace.replay(&source).await.differences.is_empty());
        let held = all(&source).await;
        assert!(!held.is_empty(), "{path:?}");

        let (there, back) = (random_prefix(), random_prefix());
        let arguments = ["--all", "--delete-source", "--yes", "--json"];
        let move_to = |layout, prefix| {
            let to = ["migrate", "--to-layout", layout, "--to-prefix", prefix];
            [&to[..], &arguments].concat()
        };
        let moved = cli.run(&move_to("compact", &there)).json();
        assert_eq!(moved["checkpoints"], held.len());
        assert_eq!(moved["deleted"], moved["threads"]);
        assert!(all(&source).await.is_empty());
        let other = compact_beside(&there).await;
        let compared = trace.compare(&other, &other).await;
        assert!(compared.differences.is_empty(), "{path:?}");
        assert_eq!(values(&all(&other).await), values(&held), "{path:?}");

        let mut again = Cli::new();
        again.prefix.clone_from(&there);
        let mut arguments = move_to("json", &back);
        arguments.extend(["--layout", "compact"]);
        again.run(&arguments).ok();
        assert!(all(&other).await.is_empty());
        again.prefix = back;
        assert_eq!(
            values(&all(&again.saver().await).await),
            values(&held),
            "{path:?}"
        );
        replayed += 1;
    }
    assert!(replayed >= 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_ids_and_writes_that_json_cannot_hold_move_exactly() {
    let cli = Cli::new();
    cli.run(&["setup"]).ok();
    let source = cli.saver().await;
    let text = concat!(
        r#"{"v":4,"id":"1","channel_values":{"big":123456789012345678901234567890,"far":1e400,"#,
        r#""half":"\ud800","float":0.30000000000000004,"minus":-0.0,"nul":"a\u0000b","at":1e2},"#,
        r#""channel_versions":{"big":"00000000000000000000000000000002.0.531"},"own":[1.10]}"#
    );
    let checkpoint = Checkpoint::from_json(text).unwrap();
    let metadata = CheckpointMetadata::from_json(r#"{"source":"loop","big":1e999}"#).unwrap();
    for id in ["t\0\u{9b}", "{a}%7B", "a:b", "a"] {
        let config = thread(id).with_namespace("b:x|y").unwrap();
        let options = PutOptions::default();
        let stored = source.put(&config, &checkpoint, &metadata, &options).await;
        let stored = stored.unwrap();
        let writes = [
            ChannelWrite::new("__interrupt__", TypedValue::new("null", Vec::new())),
            ChannelWrite::new("values", TypedValue::new("bytes", vec![255; 100_000])),
        ];
        // Of the checkpoint, and of one that has not come yet.
        for id in ["1", "2"] {
            let id = langgraph_checkpoint_redis::CheckpointId::new(id).unwrap();
            let config = stored.clone().with_checkpoint(id);
            let (task, options) = (TaskId::new("t:1%").unwrap(), PutWritesOptions::default());
            let written = source.put_writes(&config, &writes, &task, &options).await;
            written.unwrap();
        }
    }
    let there = random_prefix();
    let to = [
        "migrate",
        "--to-layout",
        "compact",
        "--to-prefix",
        &there,
        "--all",
        "--json",
    ];
    let moved = cli.run(&to).json();
    assert_eq!(
        (&moved["threads"], &moved["writes"]),
        (&4.into(), &16.into())
    );
    let other = compact_beside(&there).await;
    assert_eq!(all(&other).await, all(&source).await);
    // Again: all is there, and so are the writes of what comes now.
    let again = cli.run(&to).json();
    assert_eq!(
        (&again["checkpoints"], &again["there_already"]),
        (&0.into(), &4.into())
    );
    let late = Checkpoint::from_json(r#"{"id":"2"}"#).unwrap();
    let (config, options) = (
        thread("a").with_namespace("b:x|y").unwrap(),
        PutOptions::default(),
    );
    let put = other
        .put(&config, &late, &CheckpointMetadata::new(), &options)
        .await;
    let newest = other.get_tuple(&put.unwrap()).await.unwrap().unwrap();
    assert_eq!(newest.pending_writes.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_copies_what_came_since_and_another_server_may_be_the_target() {
    let (cli, source) = three_threads().await;
    let server = Standalone::builder().without_modules().start().unwrap();
    let environment = [("LANGGRAPH_REDIS_TO_URL", server.url())];
    let environment = environment
        .each_ref()
        .map(|(name, url)| (*name, url.as_str()));
    let to = ["migrate", "--to-layout", "compact", "--all", "--json"];
    let dry = cli
        .run_with(&[&to[..], &["--dry-run"]].concat(), &environment)
        .json();
    assert_eq!(
        (&dry["checkpoints"], &dry["migrated"]),
        (&9.into(), &false.into())
    );
    let other = compact(&server.url(), &cli.prefix).await;
    assert!(all(&other).await.is_empty());

    let moved = cli.run_with(&to, &environment).json();
    assert_eq!(
        (&moved["checkpoints"], &moved["deleted"]),
        (&9.into(), &0.into())
    );
    assert_eq!(all(&other).await, all(&source).await);
    let newest = thread("b");
    let newest = source.get_tuple(&newest).await.unwrap().unwrap().config;
    put(&source, &newest, "4", "new").await;
    let again = cli.run_with(&to, &environment).json();
    assert_eq!(
        (&again["checkpoints"], &again["there_already"]),
        (&1.into(), &9.into())
    );
    assert_eq!(all(&other).await, all(&source).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_whose_copy_differs_is_named_and_not_deleted() {
    let (cli, source) = three_threads().await;
    let there = random_prefix();
    let other = compact_beside(&there).await;
    other.setup().await.unwrap();
    // Another conversation has the same id there.
    put(&other, &thread("b"), "9", "theirs").await;
    let held = all(&source).await;
    let to = ["migrate", "--to-layout", "compact", "--to-prefix", &there];
    let refused = cli.run(&[&to[..], &["--all", "--delete-source", "--yes"]].concat());
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.stderr.contains("thread b"), "{refused:?}");
    // What was copied and checked before it is gone here, and it is not.
    let left = all(&source).await;
    let of_others: Vec<_> = held
        .into_iter()
        .filter(|tuple| tuple.config.thread_id.as_str() != "a")
        .collect();
    assert_eq!(left, of_others);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_keeps_the_ttl_that_it_has_left() {
    let cli = Cli::new();
    cli.run(&["setup"]).ok();
    let source = cli.saver().await;
    let checkpoint = Checkpoint::from_json(r#"{"id":"1"}"#).unwrap();
    for (id, ttl) in [
        ("expires", TtlChoice::For(Duration::from_secs(500))),
        ("stays", TtlChoice::Forever),
    ] {
        let options = PutOptions::default().with_ttl(ttl);
        let metadata = CheckpointMetadata::new();
        let config = thread(id);
        let put = source.put(&config, &checkpoint, &metadata, &options);
        put.await.unwrap();
    }
    let there = random_prefix();
    let to = [
        "migrate",
        "--to-layout",
        "compact",
        "--to-prefix",
        &there,
        "--all",
    ];
    cli.run(&to).ok();
    let other = compact_beside(&there).await;
    let left = async |id: &str| {
        other
            .thread(&thread(id).thread_id)
            .await
            .unwrap()
            .unwrap()
            .ttl
    };
    let expires = left("expires").await.unwrap();
    assert!(expires <= Duration::from_secs(500) && expires > Duration::from_secs(400));
    assert_eq!(left("stays").await, None);
}

#[test]
fn what_cannot_be_meant_is_refused_before_anything_is_stored() {
    let cli = Cli::new();
    cli.run(&["setup"]).ok();
    let there = random_prefix();
    for (arguments, code, part) in [
        (vec!["--to-layout", "compact", "--all"], 2, "--to-prefix"),
        (
            vec!["--to-layout", "compact", "--to-prefix", &there],
            2,
            "--all",
        ),
        (
            vec!["--to-layout", "json", "--to-prefix", &there, "--all"],
            2,
            "already",
        ),
        (
            vec!["--to-layout", "rows", "--to-prefix", &there, "--all"],
            2,
            "json or compact",
        ),
        (
            vec!["--to-layout", "compact", "--to-prefix", &there, "nobody"],
            3,
            "nobody",
        ),
        (
            vec![
                "--to-layout",
                "compact",
                "--to-prefix",
                &cli.prefix,
                "--all",
            ],
            2,
            "are stored in the layout `json`",
        ),
    ] {
        let refused = cli.run(&[&["migrate"], &arguments[..]].concat());
        assert_eq!(refused.code, code, "{arguments:?} {refused:?}");
        assert!(refused.stderr.contains(part), "{arguments:?} {refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn threads_move_into_a_sealed_prefix_and_out_of_it() {
    let (cli, source) = three_threads().await;
    let held = all(&source).await;
    let (there, back) = (random_prefix(), random_prefix());
    let keys = format!("new:{}", STANDARD.encode([7; 32]));
    let keys = [("LANGGRAPH_REDIS_ENCRYPTION_KEYS", keys.as_str())];
    let to = [
        "migrate",
        "--to-layout",
        "compact",
        "--to-prefix",
        &there,
        "--all",
    ];
    cli.run_with(&to, &keys).ok();
    let mut sealed = Cli::new();
    sealed.prefix = there;
    let from = ["--layout", "compact", "migrate", "--to-layout", "json"];
    let from = [&from[..], &["--to-prefix", &back, "--all", "--json"]].concat();
    // Without the key nothing is read.
    let refused = sealed.run(&from);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("`new`"), "{refused:?}");
    sealed.run_with(&from, &keys).ok();
    sealed.prefix = back;
    assert_eq!(values(&all(&sealed.saver().await).await), values(&held));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_deleted_without_a_yes() {
    let (cli, source) = three_threads().await;
    let there = random_prefix();
    let to = ["migrate", "--to-layout", "compact", "--to-prefix", &there];
    let refused = cli.run(&[&to[..], &["a", "--delete-source"]].concat());
    assert_eq!(refused.code, 6, "{refused:?}");
    assert_eq!(all(&source).await.len(), 9);
    assert!(all(&compact_beside(&there).await).await.is_empty());
    cli.run(&[&to[..], &["a", "--delete-source", "--yes"]].concat())
        .ok();
    assert_eq!(all(&source).await.len(), 6);
    assert_eq!(all(&compact_beside(&there).await).await.len(), 3);
}
