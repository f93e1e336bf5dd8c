//! What cannot be done is said so that the caller knows what to do instead.

use langgraph_checkpoint_redis::CheckpointConfig;
use redis_modules::{Standalone, Tls};
use serde_json::{Value, json};

use crate::command::{Cli, Output, put};

async fn one_thread() -> Cli {
    let cli = Cli::new();
    cli.run(&["setup"]).ok();
    let config = CheckpointConfig::new("t").unwrap();
    put(&cli.saver().await, &config, "1", &json!(1)).await;
    cli
}

/// The one document that a failure is on stderr.
#[track_caller]
fn complaint(output: &Output) -> Value {
    assert!(output.stdout.is_empty(), "{output:?}");
    serde_json::from_str(&output.stderr).unwrap_or_else(|error| panic!("{error}: {output:?}"))
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
fn invalid_arguments_are_reported_as_json_if_asked() {
    let cli = Cli::without_server();
    for (arguments, says) in [
        (&["shwo", "t", "--json"][..], "shwo"),
        (&["--json", "show"], "<THREAD>"),
        (&["show", "t", "--nothing", "--json"], "--nothing"),
        (&["prune", "t", "--keep-last", "x", "--json"], "--keep-last"),
    ] {
        let output = cli.run(arguments);
        assert_eq!(output.code, 2, "{output:?}");
        let complaint = complaint(&output);
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
    let output = cli.run(&["shwo", "--", "--json"]);
    assert!(output.stderr.contains("Usage:"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keeping_nothing_is_refused_with_what_there_is_instead() {
    let cli = one_thread().await;
    let before = cli.run(&["history", "t", "--json"]).ok();
    let output = cli.run(&["prune", "t", "--keep-last", "0"]);
    assert_eq!(output.code, 2, "{output:?}");
    assert!(output.stderr.contains("delete the thread"), "{output:?}");
    assert!(!output.stderr.contains("strategy"), "{output:?}");
    assert_eq!(cli.run(&["history", "t", "--json"]).ok(), before);
}

#[test]
fn the_short_help_shows_how_to_name_the_server() {
    let help = Cli::without_server().run(&["-h"]).ok();
    assert!(help.contains("--url"), "{help}");
    assert!(!help.contains("--page-size"), "{help}");
}

#[test]
fn a_port_that_does_not_speak_tls_is_named_as_one() {
    let server = Standalone::start().unwrap();
    let url = format!("rediss://127.0.0.1:{}", server.port());
    let output = Cli::bare(&["threads", "--url", &url], &[]);
    assert_eq!(output.code, 5, "{output:?}");
    assert!(output.stderr.contains("TLS handshake"), "{output:?}");
    assert!(output.stderr.contains("`url`"), "{output:?}");
}

#[test]
fn a_port_that_speaks_tls_alone_is_named_as_one() {
    let server = Standalone::builder().tls(Tls::new()).start().unwrap();
    let url = format!("redis://127.0.0.1:{}", server.port());
    let output = Cli::bare(&["threads", "--url", &url], &[]);
    // With its last words, or if they are lost, without.
    assert!([2, 5].contains(&output.code), "{output:?}");
    assert!(output.stderr.contains("rediss"), "{output:?}");
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
        let output = Cli::bare(&["threads", "--url", url, "--connect-timeout", "2s"], &[]);
        assert_eq!(output.code, 5, "{output:?}");
        for debug in ["Os {", "kind:", "Custom {"] {
            assert!(!output.stderr.contains(debug), "{output:?}");
        }
        let place = if url.contains("unix") {
            "/nowhere/redis.sock"
        } else {
            "127.0.0.1:1"
        };
        assert!(output.stderr.contains(place), "{output:?}");
    }
}
