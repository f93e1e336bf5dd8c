//! What cannot be done is said so that the caller knows what to do instead.

use langgraph_checkpoint_redis::CheckpointConfig;
use redis_modules::{Standalone, Tls};
use serde_json::{Value, json};

use crate::command::{Cli, Told, put};

async fn one_thread() -> Cli {
    let cli = Cli::new();
    cli.run(&["setup"]).ok();
    let config = CheckpointConfig::new("t").unwrap();
    put(&cli.saver().await, &config, "1", &json!(1)).await;
    cli
}

/// The one document that a failure is on stderr.
#[track_caller]
fn complaint(told: &Told) -> Value {
    assert!(told.stdout.is_empty(), "{told:?}");
    serde_json::from_str(&told.stderr).unwrap_or_else(|error| panic!("{error}: {told:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_not_there_is_no_empty_history() {
    let cli = one_thread().await;
    let history = cli.run(&["history", "t", "--namespace", "nope", "--json"]);
    let show = cli.run(&["show", "t", "--namespace", "nope", "--json"]);
    assert_eq!((history.code, show.code), (3, 3), "{history:?} {show:?}");
    assert_eq!(complaint(&history), complaint(&show));
    // What a filter leaves nothing of is there all the same.
    let filter = r#"{"source":"fork"}"#;
    let filtered = ["history", "t", "--namespace", "", "--filter", filter];
    assert_eq!(cli.run(&filtered).ok(), "");
}

#[test]
fn arguments_that_cannot_be_read_are_told_in_json_if_that_is_asked_for() {
    let cli = Cli::without_server();
    for (arguments, says) in [
        (&["shwo", "t", "--json"][..], "shwo"),
        (&["--json", "show"], "<THREAD>"),
        (&["show", "t", "--nothing", "--json"], "--nothing"),
        (&["prune", "t", "--keep-last", "x", "--json"], "--keep-last"),
    ] {
        let told = cli.run(arguments);
        assert_eq!(told.code, 2, "{told:?}");
        let complaint = complaint(&told);
        assert_eq!(complaint["error"], "usage");
        assert_eq!(complaint["code"], 2);
        let message = complaint["message"].as_str().unwrap();
        assert!(message.contains(says), "{message}");
        assert!(
            !message.starts_with("error:") && !message.contains("Usage:"),
            "{message}"
        );
    }
    // An id that looks like the option is none.
    let told = cli.run(&["shwo", "--", "--json"]);
    assert!(told.stderr.contains("Usage:"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keeping_nothing_is_refused_with_what_there_is_instead() {
    let cli = one_thread().await;
    let before = cli.run(&["history", "t", "--json"]).ok();
    let told = cli.run(&["prune", "t", "--keep-last", "0"]);
    assert_eq!(told.code, 2, "{told:?}");
    assert!(told.stderr.contains("delete the thread"), "{told:?}");
    assert!(!told.stderr.contains("strategy"), "{told:?}");
    assert_eq!(cli.run(&["history", "t", "--json"]).ok(), before);
}

#[test]
fn the_short_help_says_how_to_name_the_server() {
    let help = Cli::without_server().run(&["-h"]).ok();
    assert!(help.contains("--url"), "{help}");
    assert!(!help.contains("--page-size"), "{help}");
}

#[test]
fn a_port_that_does_not_speak_tls_is_named_as_one() {
    let server = Standalone::start().unwrap();
    let url = format!("rediss://127.0.0.1:{}", server.port());
    let told = Cli::bare(&["threads", "--url", &url], &[]);
    assert_eq!(told.code, 5, "{told:?}");
    assert!(told.stderr.contains("TLS handshake"), "{told:?}");
    assert!(told.stderr.contains("`url`"), "{told:?}");
}

#[test]
fn a_port_that_speaks_tls_alone_is_named_as_one() {
    let server = Standalone::builder().tls(Tls::new()).start().unwrap();
    let url = format!("redis://127.0.0.1:{}", server.port());
    let told = Cli::bare(&["threads", "--url", &url], &[]);
    // With its last words, or if they are lost, without.
    assert!([2, 5].contains(&told.code), "{told:?}");
    assert!(told.stderr.contains("rediss"), "{told:?}");
}

#[test]
fn a_server_that_is_not_there_is_named_in_words() {
    // Nobody listens on the first port.
    for url in [
        "redis://127.0.0.1:1",
        "redis-cluster://127.0.0.1:1",
        "redis+sentinel://127.0.0.1:1/mymaster",
        "redis+unix:///nowhere/redis.sock",
    ] {
        let told = Cli::bare(&["threads", "--url", url, "--connect-timeout", "2s"], &[]);
        assert_eq!(told.code, 5, "{told:?}");
        for debug in ["Os {", "kind:", "Custom {"] {
            assert!(!told.stderr.contains(debug), "{told:?}");
        }
        let place = if url.contains("unix") {
            "/nowhere/redis.sock"
        } else {
            "127.0.0.1:1"
        };
        assert!(told.stderr.contains(place), "{told:?}");
    }
}
