//! What the command line stores is kept as long as what it was made from, unless it is said.

use std::time::Duration;

use langgraph_checkpoint_redis::{CheckpointConfig, ThreadId};
use serde_json::json;

use crate::command::{Cli, put, put_write};

/// Time for a test to run in.
const SLACK: Duration = Duration::from_secs(600);

fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours * 3_600)
}

/// How long the newest checkpoint of a thread stays.
async fn left(cli: &Cli, thread: &str) -> Option<Duration> {
    let thread = ThreadId::new(thread).unwrap();
    let found = cli.saver().await.thread(&thread).await.unwrap();
    found.expect("the thread is there").ttl
}

#[track_caller]
fn assert_about(left: Option<Duration>, wanted: Duration) {
    let left = left.expect("there is a TTL");
    assert!(left <= wanted && left + SLACK > wanted, "{left:?}");
}

/// A store with a thread that stays an hour, and one without a TTL.
async fn two_threads() -> Cli {
    let cli = Cli::new();
    cli.run(&["setup"]).ok();
    let saver = cli.saver().await;
    for id in ["hour", "permanent"] {
        let config = CheckpointConfig::new(id).unwrap();
        let config = put(&saver, &config, "1", &json!(id)).await;
        let config = put(&saver, &config, "2", &json!(id)).await;
        put_write(&saver, &config, "task").await;
    }
    let unpin = ["unpin", "hour", "--ttl", "1h", "--yes"];
    cli.run(&unpin).ok();
    cli
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_keeps_the_time_that_was_left() {
    let source = two_threads().await;
    let exported = source.run(&["export"]).ok();
    // With and without a TTL that the application sets.
    for environment in [None, Some("5h")] {
        let target = Cli::new();
        let mut command = target.command(&["import"]);
        if let Some(ttl) = environment {
            command.env("LANGGRAPH_REDIS_TTL", ttl);
        }
        let export = target.file("export");
        std::fs::write(&export, &exported).unwrap();
        let ended = command.arg(&export).output().unwrap();
        assert!(ended.status.success(), "{ended:?}");
        assert_about(left(&target, "hour").await, hours(1));
        assert_eq!(left(&target, "permanent").await, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_changes_ttls_only_when_asked() {
    let source = two_threads().await;
    let exported = source.run(&["export"]).ok();
    let target = Cli::new();
    target
        .run_on(&["import", "--ttl", "5h"], exported.as_bytes())
        .ok();
    for thread in ["hour", "permanent"] {
        assert_about(left(&target, thread).await, hours(5));
    }
    let target = Cli::new();
    let forever = ["import", "--forever"];
    target.run_on(&forever, exported.as_bytes()).ok();
    for thread in ["hour", "permanent"] {
        assert_eq!(left(&target, thread).await, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_lives_as_long_as_its_source_and_reports_it() {
    let cli = two_threads().await;
    let said = cli.run(&["copy", "hour", "copy"]).ok();
    assert!(
        said.contains("expires in 59 minutes") || said.contains("expires in 60 minutes"),
        "{said}"
    );
    assert_about(left(&cli, "copy").await, hours(1));
    cli.run(&["copy", "permanent", "as permanent"]).ok();
    assert_eq!(left(&cli, "as permanent").await, None);

    let said = cli
        .run(&["copy", "hour", "kept", "--forever", "--json"])
        .json();
    assert_eq!(said["ttl_ms"], json!(null));
    assert_eq!(left(&cli, "kept").await, None);
    cli.run(&["copy", "hour", "longer", "--ttl", "5h"]).ok();
    assert_about(left(&cli, "longer").await, hours(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ttl_that_contradicts_itself_is_refused() {
    let cli = two_threads().await;
    for command in [["copy", "hour", "x"], ["import", "-", "--dry-run"]] {
        let output = cli.run(&[&command[..], &["--forever", "--ttl", "5h"]].concat());
        assert_eq!(output.code, 2, "{output:?}");
        assert!(output.stderr.contains("--forever"), "{output:?}");
    }
    let copy = ThreadId::new("x").unwrap();
    assert_eq!(cli.saver().await.thread(&copy).await.unwrap(), None);
}
