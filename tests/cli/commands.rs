//! The command line as its caller sees it: what it says, with which code it ends, what it leaves.

use std::time::Duration;

use futures_util::TryStreamExt;
use langgraph_checkpoint_redis::{
    CheckpointConfig, CheckpointSaver, CheckpointSaverExt, ListOptions, RunId, ThreadId,
};
use serde_json::{Value, json};

use crate::command::{Cli, ended, interrupt, put, put_write};
use crate::support::server::Server;

/// A thread with a fork: 1 to 4 in a row, and 3b beside 3.
async fn forked(cli: &Cli, thread: &str) {
    let saver = cli.saver().await;
    let mut config = CheckpointConfig::new(thread).unwrap();
    let mut second = None;
    for (step, id) in ["1", "2", "3", "4"].into_iter().enumerate() {
        config = put(&saver, &config, id, &step).await;
        if id == "2" {
            second = Some(config.clone());
        }
    }
    put(&saver, &second.unwrap(), "3b", &"fork").await;
    put_write(&saver, &config, "task-1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn setup_reports_what_exists() {
    let cli = Cli::new();
    let setup = cli.run(&["setup"]).ok();
    assert!(setup.contains("ready"), "{setup}");
    let setup = cli.run(&["setup", "--json"]).json();
    assert_eq!(setup["ready"], true);
    assert_eq!(
        setup["indexes"][0],
        Value::from(format!("{}:checkpoint", cli.prefix))
    );
    assert_eq!(setup["servers"][0]["is_primary"], true);
    assert!(setup["servers"][0]["answered_in_ms"].is_f64(), "{setup}");
    assert_eq!(setup["problems"], serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_replicas_are_reported_before_writes_fail() {
    let cli = Cli::new();
    cli.run(&["setup"]).ok();
    let wanted = [("LANGGRAPH_REDIS_WAIT_REPLICAS", "1")];
    for (command, code) in [("setup", 5), ("doctor", 7)] {
        let output = cli.run_with(&[command, "--json"], &wanted);
        assert_eq!(output.code, code, "{output:?}");
        assert!(output.stderr.contains("0 replicas"), "{output:?}");
        let said: Value = serde_json::from_str(&output.stdout).unwrap();
        assert_eq!(said["problems"].as_array().unwrap().len(), 1, "{said}");
        let fine = if command == "setup" {
            "ready"
        } else {
            "healthy"
        };
        assert_eq!(said[fine], false, "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn threads_are_listed_with_what_they_hold() {
    let cli = Cli::new();
    cli.run(&["setup"]).ok();
    forked(&cli, "user:1").await;
    let saver = cli.saver().await;
    put(&saver, &CheckpointConfig::new("user:2").unwrap(), "1", &1).await;
    put(&saver, &CheckpointConfig::new("other").unwrap(), "1", &1).await;

    let listed = cli.run(&["threads", "--starting-with", "user:"]).ok();
    assert!(
        listed.contains("user:1") && !listed.contains("other"),
        "{listed}"
    );
    let lines = cli.run(&["threads", "--json"]).lines();
    assert_eq!(lines.len(), 3);
    let top = cli.run(&["threads", "--json", "--top", "1"]).lines();
    assert_eq!(top.len(), 1);
    assert_eq!(top[0]["thread_id"], "user:1");
    assert_eq!(top[0]["checkpoints"], 5);
    assert_eq!(top[0]["newest"], "4");
    assert_eq!(top[0]["ttl_ms"], Value::Null);
    assert_eq!(
        cli.run(&["threads", "--json", "--limit", "2"])
            .lines()
            .len(),
        2
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_is_a_table_with_the_tree_of_its_forks() {
    let cli = Cli::new();
    forked(&cli, "t").await;
    let text = cli.run(&["history", "t"]).ok();
    let tree: Vec<_> = text
        .lines()
        .skip(2)
        .map(|line| line.get(84..).unwrap_or_default())
        .collect();
    assert_eq!(
        tree,
        ["*", "| *", "*  |", "|_/", "*  2 branches start here", "*"].map(|line| match line {
            // The lane of 3b stays open beside 3.
            "*  |" => "* |",
            other => other,
        }),
        "{text}"
    );
    let lines = cli.run(&["history", "t", "--json"]).lines();
    let ids: Vec<_> = lines
        .iter()
        .map(|line| {
            let id = line["checkpoint_id"].as_str().unwrap();
            let parent = line["parent_checkpoint_id"].as_str().unwrap_or("-");
            format!("{id}<{parent}")
        })
        .collect();
    assert_eq!(ids, ["4<3", "3b<2", "3<2", "2<1", "1<-"]);
    assert_eq!(lines[0]["pending_writes"], 1);

    let two = cli.run(&["history", "t", "--limit", "2"]).ok();
    assert!(two.contains("there are more"), "{two}");
    let before = cli
        .run(&["history", "t", "--before", "3", "--json"])
        .lines();
    assert_eq!(before.len(), 2);
    let filter = ["history", "t", "--json", "--filter", r#"{"step":0}"#];
    assert_eq!(cli.run(&filter).lines().len(), 1);
    let root = ["history", "t", "--json", "--namespace", ""];
    assert_eq!(cli.run(&root).lines().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_shown_with_its_state_and_writes() {
    let cli = Cli::new();
    forked(&cli, "t").await;
    let text = cli.run(&["show", "t"]).ok();
    for part in [
        "checkpoint  4",
        "parent      3",
        "state (1 B",
        "1 pending write",
        "task-1",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let json = cli.run(&["show", "t", "3b", "--json"]).json();
    assert_eq!(json["checkpoint"]["channel_values"]["state"], "fork");
    assert_eq!(json["parent_checkpoint_id"], "2");
    assert_eq!(cli.run(&["show", "t", "--channel", "state"]).ok(), "3\n");
    assert_eq!(cli.run(&["show", "t", "--channel", "none"]).code, 3);
    assert_eq!(cli.run(&["show", "t", "9"]).code, 3);
    assert_eq!(cli.run(&["show", "t", "--namespace", "child"]).code, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_diff_shows_what_changed() {
    let cli = Cli::new();
    forked(&cli, "t").await;
    let text = cli.run(&["diff", "t"]).ok();
    assert!(
        text.contains("--- 3\n+++ 4\nstate (1 B → 1 B)\n  - 2\n  + 3\n"),
        "{text}"
    );
    let json = cli.run(&["diff", "t", "1", "3b", "--json"]).json();
    let change = &json["changes"][0];
    assert_eq!(change["change"], "changed");
    assert_eq!(
        (&change["from"], &change["to"]),
        (&Value::from(0), &Value::from("fork"))
    );
    let same = cli.run(&["diff", "t", "1", "1"]).ok();
    assert!(same.contains("the state is the same"), "{same}");
    assert_eq!(cli.run(&["diff", "t", "0", "1"]).code, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_destroyed_without_a_yes() {
    let cli = Cli::new();
    cli.run(&["setup"]).ok();
    forked(&cli, "t").await;
    let saver = cli.saver().await;
    let thread = ThreadId::new("t").unwrap();
    let file = cli.file("export");
    cli.run(&["export", "-o", &file]).ok();
    for command in [
        &["delete", "t"][..],
        &["delete", "--all"],
        &["prune", "t", "--keep-latest"],
        &["import", &file, "--replace"],
    ] {
        let refused = cli.run(command);
        assert_eq!(refused.code, 6, "{command:?}: {refused:?}");
        assert!(refused.stderr.contains("--yes"), "{refused:?}");
    }
    let refused = cli.run(&["delete", "t"]);
    assert!(
        refused.stderr.contains("thread t with 5 checkpoints"),
        "{refused:?}"
    );
    let refused = cli.run(&["prune", "t", "--keep-last", "2", "--json"]);
    let complaint: Value = serde_json::from_str(&refused.stderr).unwrap();
    assert_eq!(complaint["error"], "not_confirmed");
    assert!(
        complaint["message"]
            .as_str()
            .unwrap()
            .contains("3 checkpoints"),
        "{complaint}"
    );
    for dry in [
        &["delete", "t", "--dry-run"][..],
        &["prune", "t", "--keep-latest", "--dry-run"],
    ] {
        let output = cli.run(dry).ok();
        assert!(output.starts_with("would"), "{output}");
    }
    let left = saver.thread(&thread).await.unwrap().unwrap();
    assert_eq!(left.checkpoints, 5);

    let pruned = cli
        .run(&["prune", "t", "--keep-last", "2", "--yes", "--json"])
        .lines();
    assert_eq!(pruned[0]["checkpoints"], 3);
    assert_eq!(saver.thread(&thread).await.unwrap().unwrap().checkpoints, 2);
    let deleted = cli.run(&["delete", "t", "--yes"]).ok();
    assert_eq!(deleted, "deleted t with 2 checkpoints\n");
    assert_eq!(saver.thread(&thread).await.unwrap(), None);
    assert_eq!(cli.run(&["delete", "t", "--yes"]).code, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_name_that_is_not_there_keeps_the_others_from_being_deleted() {
    let cli = Cli::new();
    forked(&cli, "t").await;
    assert_eq!(cli.run(&["delete", "t", "missing", "--yes"]).code, 3);
    assert_eq!(cli.run(&["delete", "--yes"]).code, 2);
    assert!(cli.run(&["history", "t"]).ok().contains("3b"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_is_copied_and_a_target_is_not_written_over() {
    let cli = Cli::new();
    forked(&cli, "t").await;
    let would = cli.run(&["copy", "t", "u", "--dry-run"]).ok();
    assert!(would.starts_with("would copy 5 checkpoints"), "{would}");
    let copied = cli.run(&["copy", "t", "u", "--json"]).json();
    assert_eq!(
        (&copied["checkpoints"], &copied["writes"]),
        (&5.into(), &1.into())
    );
    assert_eq!(cli.run(&["copy", "t", "u"]).code, 4);
    let merged = cli.run(&["copy", "t", "u", "--merge"]).ok();
    assert!(
        merged.starts_with("copied 5 checkpoints and 1 write of t to u"),
        "{merged}"
    );
    assert_eq!(cli.run(&["copy", "t", "t"]).code, 2);
    assert_eq!(cli.run(&["copy", "missing", "v"]).code, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_is_pinned_and_gets_its_ttl_back() {
    let cli = Cli::new();
    forked(&cli, "t").await;
    let ttl = || cli.run(&["threads", "--json"]).lines()[0]["ttl_ms"].clone();
    cli.run(&["setup"]).ok();
    // What is kept for ever stays so when it is touched.
    let touched = cli
        .run(&["touch", "t", "--ttl", "1h", "--yes", "--json"])
        .json();
    assert_eq!(touched["ttl_ms"], Value::Null);
    // Something may then stay shorter than now: it is left alone until somebody says so.
    let asks = cli.run(&["unpin", "t", "--ttl", "2h"]);
    assert_eq!(asks.code, 6, "{asks:?}");
    assert_eq!(ttl(), Value::Null);
    cli.run(&["unpin", "t", "--ttl", "2h", "--yes"]).ok();
    for selection in [["t"].as_slice(), &["--all"], &["--starting-with", "t"]] {
        for verb in ["touch", "unpin"] {
            let asks = cli.run(&[&[verb, "--ttl", "1h"], selection].concat());
            assert_eq!(asks.code, 6, "{asks:?}");
            assert!(asks.stderr.contains("thread t"), "{asks:?}");
            assert!(ttl().as_u64().is_some_and(|left| left > 3_600_000));
        }
    }
    // A newest checkpoint that would stay longer says nothing of the others.
    assert_eq!(cli.run(&["touch", "t", "--ttl", "9h"]).code, 6);
    let again = cli
        .run(&["touch", "--all", "--ttl", "2h", "--yes", "--json"])
        .json();
    assert_eq!(again["touched"], true);
    let touched = cli
        .run(&["touch", "t", "--ttl", "1h", "--yes", "--json"])
        .json();
    assert_eq!(touched["touched"], true);
    assert!(ttl().as_u64().is_some_and(|left| left <= 3_600_000));
    assert!(cli.run(&["pin", "t"]).ok().contains("never expires"));
    assert_eq!(ttl(), Value::Null);
    cli.run(&["touch", "t", "--ttl", "1h", "--yes"]).ok();
    assert_eq!(ttl(), Value::Null);
    assert_eq!(
        cli.run(&["unpin", "t", "--ttl", "2h", "--yes", "--json"])
            .json()["unpinned"],
        true
    );
    assert!(ttl().as_u64().is_some_and(|left| left > 3_600_000));
    assert_eq!(cli.run(&["unpin", "t"]).code, 2);
    assert_eq!(cli.run(&["pin", "missing"]).code, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_has_made_is_deleted_in_every_thread() {
    let cli = Cli::new();
    cli.run(&["setup"]).ok();
    let saver = cli.saver().await;
    for (thread, id, run) in [
        ("a/1", "1", "first"),
        ("a/1", "2", "second"),
        ("a/2", "1", "second"),
        ("b", "1", "second"),
    ] {
        let mut config = CheckpointConfig::new(thread).unwrap();
        config.run_id = Some(RunId::new(run).unwrap());
        put(&saver, &config, id, "x").await;
    }
    let left = || {
        let threads = cli.run(&["threads", "--json"]).lines();
        let counts = threads
            .iter()
            .map(|thread| thread["checkpoints"].as_u64().unwrap());
        counts.sum::<u64>()
    };
    assert_eq!(cli.run(&["delete", "--run", "none", "--yes"]).code, 3);
    assert_eq!(cli.run(&["delete", "--run", "second", "b"]).code, 2);
    // A run without a checkpoint is in nobody's way, and one that is named twice counts once.
    let twice = ["delete", "--run", "second", "--run", "second"];
    let asks = cli.run(&[&twice[..], &["--run", "none"]].concat());
    assert_eq!(asks.code, 6, "{asks:?}");
    assert!(asks.stderr.contains("3 checkpoints"), "{asks:?}");
    let asks = cli.run(&["delete", "--run", "second"]);
    assert_eq!(asks.code, 6, "{asks:?}");
    assert!(asks.stderr.contains("3 checkpoints"), "{asks:?}");
    let output = cli.run(&["delete", "--run", "second", "--dry-run"]).ok();
    assert!(
        output.contains("would delete 1 checkpoint of a/1"),
        "{output}"
    );
    assert_eq!(left(), 4);
    cli.run(&[
        "delete",
        "--run",
        "second",
        "--starting-with",
        "a/",
        "--yes",
    ])
    .ok();
    assert_eq!(left(), 2);
    let output = cli
        .run(&[
            "delete", "--run", "second", "--run", "first", "--yes", "--json",
        ])
        .lines();
    assert_eq!(output.len(), 2, "{output:?}");
    assert_eq!(output[0]["thread_id"], "a/1");
    assert_eq!(left(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn stats_count_what_is_stored() {
    let cli = Cli::new();
    cli.run(&["setup"]).ok();
    forked(&cli, "t").await;
    let saver = cli.saver().await;
    let large = "x".repeat(100_000);
    put(
        &saver,
        &CheckpointConfig::new("large").unwrap(),
        "1",
        &large,
    )
    .await;
    cli.run(&["unpin", "t", "--ttl", "2h", "--yes"]).ok();
    let stats = cli.until(&["stats", "--json"], |stats| {
        stats["checkpoints"] == 6 && stats["writes"] == 1
    });
    assert_eq!(stats["threads"], 2, "{stats}");
    assert_eq!(stats["checkpoint_sizes"]["sampled"], 6);
    assert!(stats["checkpoint_sizes"]["max"].as_u64().unwrap() > 100_000);
    assert!(stats["checkpoint_sizes"]["median"].as_u64().unwrap() < 10_000);
    assert_eq!(stats["largest"][0]["thread_id"], "large");
    assert_eq!(stats["ttl"]["forever"], 1);
    assert_eq!(stats["ttl"]["within_day"], 5);
    assert_eq!(stats["indexes"].as_array().unwrap().len(), 2);
    assert!(stats["indexes"][0]["memory"].as_u64().unwrap() > 0);
    assert!(stats["server_memory"].as_u64().unwrap() > 100_000);
    let text = cli.run(&["stats", "--sample", "3"]).ok();
    assert!(
        text.contains("checkpoints  6") && text.contains("of 3 sampled"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn stats_without_an_index_count_what_the_registries_hold() {
    let cli = Cli::new();
    forked(&cli, "t").await;
    let stats = cli.run(&["stats", "--json"]).json();
    assert_eq!(stats["threads"], 1);
    assert_eq!(stats["checkpoints"], 5);
    assert_eq!(stats["writes"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_reports_and_repairs() {
    let cli = Cli::new();
    cli.run(&["setup"]).ok();
    forked(&cli, "t").await;
    assert_eq!(cli.run(&["doctor", "--json"]).json()["healthy"], true);
    // A TTL that nothing has is a finding that every key has.
    let ill = cli.run(&["doctor", "--ttl", "1h"]);
    assert_eq!(ill.code, 7, "{ill:?}");
    assert!(ill.stdout.contains("it has no TTL"), "{ill:?}");
    let asks = cli.run(&["doctor", "--ttl", "1h", "--fix"]);
    assert_eq!(asks.code, 6, "{asks:?}");
    assert_eq!(asks.stdout, ill.stdout, "it shows what it would do");
    assert_eq!(cli.run(&["doctor", "--ttl", "1h"]).stdout, ill.stdout);
    let fixed = cli
        .run(&["doctor", "--ttl", "1h", "--fix", "--yes", "--json"])
        .json();
    assert_eq!(fixed["healthy"], false);
    let findings = fixed["findings"].as_array().unwrap();
    assert!(findings.iter().all(|found| found["fixed"] == true));
    // A registry outlives its writes only now that they have a TTL: found in the next round.
    let kinds: Vec<_> = findings.iter().map(|found| found["kind"].clone()).collect();
    assert!(kinds.contains(&json!("SharedKeyOutlives")), "{kinds:?}");
    let counted = fixed["counts"].as_object().unwrap().values();
    let counted: u64 = counted.map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(counted, findings.len() as u64);
    // Where there is nothing to do nobody is asked.
    cli.run(&["doctor", "--ttl", "1h", "--fix"]).ok();
    cli.run(&["doctor", "--ttl", "1h"]).ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bench_reports_times_and_leaves_nothing() {
    let mut server = Server::start().await;
    let cli = Cli::without_server();
    let bench = |arguments: &[&str]| {
        let url = server.redis.url();
        let all = [&["bench", "--time", "50ms", "--url", &url], arguments].concat();
        cli.run(&all)
    };
    let calls = bench(&["--callers", "2", "--json"]).lines();
    let names: Vec<_> = calls
        .iter()
        .map(|call| call["call"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["put", "get_tuple", "list", "put_writes"]);
    for call in &calls {
        assert!(call["calls"].as_u64().unwrap() > 0, "{call}");
        assert!(call["p50_ms"].as_f64().unwrap() <= call["p99_ms"].as_f64().unwrap());
    }
    let text = bench(&["--callers", "1", "--only", "put"]).ok();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert_eq!(bench(&["--callers", "0"]).code, 2);
    assert!(server.keys().await.is_empty());
    let indexes: Vec<String> = redis::cmd("FT._LIST")
        .query_async(&mut server.client)
        .await
        .unwrap();
    assert!(indexes.is_empty(), "{indexes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bench_that_is_ended_leaves_nothing_either() {
    let mut server = Server::start().await;
    let cli = Cli::without_server();
    let bench = cli.spawn(&["bench", "--time", "5m", "--url", &server.redis.url()]);
    let written = async {
        while server.keys().await.len() < 100 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), written)
        .await
        .unwrap();
    interrupt(bench.id());
    let output = ended(bench);
    assert_eq!(output.code, 130, "{output:?}");
    assert!(server.keys().await.is_empty());
}

#[test]
fn help_lists_every_command_and_exit_code() {
    let cli = Cli::without_server();
    let help = cli.run(&["--help"]).ok();
    for command in [
        "setup",
        "threads",
        "history",
        "show",
        "diff",
        "delete",
        "prune",
        "copy",
        "pin",
        "unpin",
        "touch",
        "export",
        "import",
        "stats",
        "doctor",
        "bench",
        "completions",
        "man",
    ] {
        assert!(help.contains(&format!("  {command} ")), "{command}");
        cli.run(&[command, "--help"]).ok();
    }
    assert!(
        help.contains("Exit codes") && help.contains("--hash-tag-threads"),
        "{help}"
    );
    assert!(cli.run(&["--version"]).ok().starts_with("langgraph-redis "));
}

#[test]
fn every_failure_has_its_own_exit_code() {
    let cli = Cli::without_server();
    for (arguments, code) in [
        (&["nonsense"][..], 2),
        (&["history"], 2),
        (&["history", "t", "--limit", "many"], 2),
        (&["threads", "--url", "http://x"], 2),
        (&["threads", "--ttl", "soon"], 2),
        (
            &[
                "threads",
                "--url",
                "redis://127.0.0.1:1",
                "--connect-timeout",
                "1s",
            ],
            5,
        ),
        (&["prune", "t", "--url", "redis://127.0.0.1:1"], 2),
    ] {
        let output = cli.run(arguments);
        assert_eq!(output.code, code, "{arguments:?}: {output:?}");
        assert!(!output.stderr.is_empty());
        assert!(!output.stderr.contains("panicked"), "{output:?}");
    }
    let json = cli.run(&["threads", "--json", "--ttl", "soon", "--url", "redis://x"]);
    let complaint: Value = serde_json::from_str(&json.stderr).unwrap();
    assert_eq!(
        (&complaint["error"], &complaint["code"]),
        (&"usage".into(), &2.into())
    );
}

#[test]
fn no_password_is_ever_printed() {
    let cli = Cli::without_server();
    let server = redis_modules::shared_url()
        .unwrap()
        .trim_start_matches("redis://")
        .to_owned();
    let secret = "s3cr:e/t@x";
    for (arguments, code) in [
        (
            vec!["threads", "--url", "redis://user:s3cr:e/t@x@127.0.0.1:1"],
            None,
        ),
        (vec!["redis://user:s3cr:e/t@x@127.0.0.1:1"], Some(2)),
        (
            vec!["threads", "--urrl", "redis://user:s3cr:e/t@x@127.0.0.1:1"],
            Some(2),
        ),
        (
            vec!["threads", "--url", "nonsense://user:s3cr:e/t@x@h"],
            Some(2),
        ),
    ] {
        let output = cli.run(&arguments);
        assert!(
            output.code != 0 && code.is_none_or(|code| code == output.code),
            "{output:?}"
        );
        for part in [secret, "s3cr", "e/t"] {
            assert!(
                !output.stderr.contains(part) && !output.stdout.contains(part),
                "{output:?}"
            );
        }
    }
    let url = format!("redis://user:s3cr3t@{server}");
    for json in [&["threads"][..], &["threads", "--json"]] {
        let output = cli.run_with(json, &[("REDIS_URL", &url)]);
        assert_eq!(output.code, 1, "{output:?}");
        assert!(!output.stderr.contains("s3cr3t"), "{output:?}");
    }
    let help = cli.run_with(
        &["--help"],
        &[("REDIS_URL", &url), ("LANGGRAPH_REDIS_URL", &url)],
    );
    assert!(!help.stdout.contains("s3cr3t"));
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_come_from_the_environment_and_the_command_line_wins() {
    let cli = Cli::new();
    forked(&cli, "t").await;
    let (checkpoints, writes) = (
        format!("{}:checkpoint", cli.prefix),
        format!("{}:checkpoint_write", cli.prefix),
    );
    let other = Cli::new();
    let environment = [
        ("LANGGRAPH_REDIS_CHECKPOINT_PREFIX", checkpoints.as_str()),
        ("LANGGRAPH_REDIS_CHECKPOINT_WRITE_PREFIX", writes.as_str()),
    ];
    let found = Cli::bare(&["history", "t", "--json"], &environment);
    assert_eq!(found.lines().len(), 5);
    let elsewhere = ["history", "t", "--prefix", &other.prefix];
    assert_eq!(Cli::bare(&elsewhere, &environment).code, 3);
    let bad = [("LANGGRAPH_REDIS_PAGE_SIZE", "none")];
    assert_eq!(Cli::bare(&["threads"], &bad).code, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_ids_do_nothing_to_the_terminal_and_can_be_named() {
    let cli = Cli::new();
    cli.run(&["setup"]).ok();
    let saver = cli.saver().await;
    let hostile = [
        "\u{1b}[2J\u{1b}]0;owned\u{7}",
        "a\0b",
        "--flag",
        "-h",
        "\"quoted\"",
        "line\nbreak\r",
        "\u{9b}31m",
        "\u{202e}drowssap",
        " ",
        "'; rm -rf /",
        "🦀",
    ];
    for thread in hostile {
        let config = CheckpointConfig::new(thread).unwrap();
        let stored = put(&saver, &config, thread, &thread).await;
        put_write(&saver, &stored, thread).await;
    }
    assert_eq!(cli.run(&["threads", "--json"]).lines().len(), hostile.len());
    let mut said = vec![
        cli.run(&["threads"]).ok(),
        cli.run(&["threads", "--json"]).ok(),
        cli.run(&["stats"]).ok(),
        cli.run(&["delete", "--all", "--dry-run"]).ok(),
        cli.run(&["doctor"]).ok(),
    ];
    for thread in hostile {
        let quoted = Value::from(thread).to_string();
        for command in [&["history"][..], &["show"], &["show", "--json"], &["pin"]] {
            let mut arguments = command.to_vec();
            arguments.extend(["--quoted", "--", &quoted]);
            said.push(cli.run(&arguments).ok());
        }
        if !thread.contains('\0') {
            let json = cli.run(&["show", "--json", "--", thread]).json();
            assert_eq!(json["thread_id"], thread);
            assert_eq!(json["checkpoint"]["channel_values"]["state"], thread);
            said.push(cli.run(&["copy", "--", thread, thread]).stderr);
        }
    }
    said.push(cli.run(&["history", "\u{1b}[2J"]).stderr);
    for said in said {
        let bad = said.chars().find(|character| {
            character.is_control() && *character != '\n' || *character == '\u{202e}'
        });
        assert_eq!(bad, None, "{said:?}");
    }
    assert_eq!(cli.run(&["history", ""]).code, 2);
    assert_eq!(cli.run(&["history", "--", "--missing"]).code, 3);
    let quoted = cli.run(&["history", "--quoted", "\"open"]);
    assert_eq!(quoted.code, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_does_not_refresh_a_ttl() {
    let cli = Cli::new();
    forked(&cli, "t").await;
    cli.run(&["unpin", "t", "--ttl", "1h", "--yes"]).ok();
    for command in [&["show", "t"][..], &["diff", "t"], &["history", "t"]] {
        let mut arguments = command.to_vec();
        arguments.extend(["--ttl", "10h", "--refresh-on-read"]);
        cli.run(&arguments).ok();
    }
    let saver = cli.saver().await;
    let left = saver.thread(&ThreadId::new("t").unwrap()).await.unwrap();
    assert!(left.unwrap().ttl.unwrap().as_secs() <= 3_600);
}

#[tokio::test(flavor = "multi_thread")]
async fn output_that_nobody_reads_ends_quietly() {
    let cli = Cli::new();
    cli.run(&["setup"]).ok();
    let saver = cli.saver().await;
    let large = "x".repeat(200_000);
    for thread in 0..5 {
        let config = CheckpointConfig::new(format!("t{thread}")).unwrap();
        put(&saver, &config, "1", &large).await;
    }
    for command in [
        &["export", "t0", "t1", "t2", "t3", "t4"][..],
        &["show", "t0", "--full"],
    ] {
        let output = cli.unread(command);
        assert_eq!(
            (output.code, output.stderr.as_str()),
            (0, ""),
            "{command:?}"
        );
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn output_that_cannot_be_written_is_a_failure() {
    let cli = Cli::new();
    forked(&cli, "t").await;
    for command in [&["show", "t"][..], &["threads"], &["export"]] {
        let full = std::fs::File::options().write(true).open("/dev/full");
        let output = ended(
            cli.command(command)
                .stdout(full.unwrap())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap(),
        );
        assert_eq!(output.code, 1, "{command:?}: {output:?}");
        assert!(output.stderr.contains("cannot be written"), "{output:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_namespace_of_a_thread_is_in_its_history() {
    let cli = Cli::new();
    let saver = cli.saver().await;
    for namespace in ["", "child:1"] {
        let config = CheckpointConfig::new("t")
            .unwrap()
            .with_namespace(namespace)
            .unwrap();
        put(&saver, &config, "1", &namespace).await;
    }
    let text = cli.run(&["history", "t"]).ok();
    assert!(
        text.contains("namespace (root)") && text.contains("namespace child:1"),
        "{text}"
    );
    let child = cli
        .run(&["show", "t", "--namespace", "child:1", "--json"])
        .json();
    assert_eq!(child["checkpoint_ns"], "child:1");
    let all: Vec<_> = saver
        .list(None, ListOptions::default())
        .try_collect()
        .await
        .unwrap();
    assert_eq!(all.len(), 2);
    drop(saver.list_all(None, ListOptions::default()).await.unwrap());
}
