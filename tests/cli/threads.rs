//! Threads by their status, size and expiry.

use std::time::Duration;

use langgraph_checkpoint_redis::redis::Layout;
use langgraph_checkpoint_redis::{
    Checkpoint, CheckpointConfig, CheckpointMetadata, CheckpointSaver, PutOptions, RedisSaver,
    TtlChoice,
};
use serde_json::{Value, json};

use super::command::Cli;
use crate::support::states;

fn ids(lines: &[Value]) -> Vec<String> {
    let mut ids: Vec<_> = lines
        .iter()
        .map(|line| line["thread_id"].as_str().unwrap().to_owned())
        .collect();
    ids.sort();
    ids
}

/// Threads with each status, named by what they were recorded as.
async fn recorded(cli: &Cli) {
    cli.run(&["setup"]).ok();
    let saver = cli.saver().await;
    for name in [
        "finished",
        "interrupt",
        "interrupt_msgpack",
        "error_and_interrupt",
        "failed_error_handler",
        "static_breakpoint",
    ] {
        states::store(&saver, name, name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn threads_that_wait_or_failed_are_listed_with_their_status() {
    let cli = Cli::new();
    recorded(&cli).await;
    let waiting = cli.run(&["threads", "--waiting", "--json"]).lines();
    assert_eq!(
        ids(&waiting),
        ["error_and_interrupt", "interrupt", "interrupt_msgpack"]
    );
    let failed = cli.run(&["threads", "--failed", "--json"]).lines();
    assert_eq!(
        ids(&failed),
        ["error_and_interrupt", "failed_error_handler"]
    );
    let both = ["threads", "--failed", "--waiting", "--json"];
    assert_eq!(cli.run(&both).lines().len(), 4);

    let all = cli.run(&["threads", "--status", "--json"]).lines();
    let status = |thread: &str| {
        let found = all.iter().find(|line| line["thread_id"] == thread);
        found.unwrap()["status"].clone()
    };
    assert_eq!(status("finished"), "idle");
    assert_eq!(status("static_breakpoint"), "unfinished");
    assert_eq!(status("interrupt_msgpack"), "interrupted");
    assert_eq!(status("error_and_interrupt"), "error");
    let text = cli.run(&["threads", "--waiting"]).ok();
    assert!(
        text.contains("STATUS") && text.contains("interrupted"),
        "{text}"
    );
    assert!(!text.contains("finished"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn threads_are_listed_as_before_without_new_options() {
    let cli = Cli::new();
    recorded(&cli).await;
    let line = &cli.run(&["threads", "--json", "--limit", "1"]).lines()[0];
    let names: Vec<_> = line.as_object().unwrap().keys().collect();
    assert_eq!(names, ["checkpoints", "newest", "thread_id", "ttl_ms"]);
    let text = cli.run(&["threads"]).ok();
    assert!(!text.contains("STATUS") && !text.contains("SIZE"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_threads_come_first_by_what_redis_says_of_their_keys() {
    for layout in ["json", "compact"] {
        let cli = Cli::new();
        let with = |arguments: &[&str]| {
            let mut all = arguments.to_vec();
            all.extend(["--layout", layout]);
            cli.run(&all)
        };
        with(&["setup"]).ok();
        let builder = RedisSaver::builder().url(redis_modules::shared_url().unwrap());
        let layout_of = if layout == "json" {
            Layout::Json
        } else {
            Layout::Compact
        };
        let builder = builder.prefix(&cli.prefix).layout(layout_of);
        let saver = builder.build().await.unwrap();
        for (thread, length) in [("small", 10), ("large", 200_000), ("middle", 20_000)] {
            let config = CheckpointConfig::new(thread).unwrap();
            // Text that does not compress.
            let words = (0..length / 16).map(|_| format!("{:016x}", rand::random::<u64>()));
            let text = words.collect::<Vec<_>>().concat();
            let checkpoint = Checkpoint::builder().channel("state", 1, &text).unwrap();
            let options = PutOptions::default();
            let metadata = CheckpointMetadata::new();
            let checkpoint = checkpoint.build().unwrap();
            let put = saver.put(&config, &checkpoint, &metadata, &options);
            put.await.unwrap();
        }
        let sorted = with(&["threads", "--sort", "size", "--limit", "2", "--json"]).lines();
        let found: Vec<_> = sorted.iter().map(|line| &line["thread_id"]).collect();
        assert_eq!(found, ["large", "middle"], "{layout}");
        let bytes: Vec<_> = sorted.iter().map(|line| line["bytes"].as_u64()).collect();
        assert!(
            bytes[0] > Some(80_000) && bytes[1] > Some(8_000),
            "{bytes:?}"
        );
        let text = with(&["threads", "--size"]).ok();
        assert!(text.contains("SIZE") && text.contains("KiB"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_threads_to_expire_come_first() {
    let cli = Cli::new();
    cli.run(&["setup"]).ok();
    let saver = cli.saver().await;
    for (thread, hours) in [("never", None), ("late", Some(9)), ("soon", Some(1))] {
        let config = CheckpointConfig::new(thread).unwrap();
        let ttl = hours.map_or(TtlChoice::Forever, |hours| {
            TtlChoice::For(Duration::from_secs(hours * 3_600))
        });
        let options = PutOptions::default().with_ttl(ttl);
        let checkpoint = Checkpoint::builder().build().unwrap();
        let metadata = CheckpointMetadata::new();
        let put = saver.put(&config, &checkpoint, &metadata, &options);
        put.await.unwrap();
    }
    let sorted = cli.run(&["threads", "--sort", "expiry", "--json"]).lines();
    let found: Vec<_> = sorted
        .iter()
        .map(|line| line["thread_id"].clone())
        .collect();
    assert_eq!(found, [json!("soon"), json!("late"), json!("never")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_for_a_status_or_a_size_does_not_refresh_a_ttl() {
    let cli = Cli::new();
    cli.run(&["setup"]).ok();
    let saver = cli.saver().await;
    states::store(&saver, "interrupt", "t").await;
    cli.run(&["unpin", "t", "--ttl", "1h", "--yes"]).ok();
    let look = [
        "threads",
        "--status",
        "--size",
        "--ttl",
        "10h",
        "--refresh-on-read",
        "--json",
    ];
    assert_eq!(cli.run(&look).lines().len(), 1);
    let left = cli.run(&["threads", "--json"]).lines()[0]["ttl_ms"].as_u64();
    assert!(left.unwrap() <= 3_600_000 * 5 / 4, "{left:?}");
}
