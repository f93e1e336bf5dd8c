//! `doctor` on the command line: what it says of the servers, and with which code it ends.

use langgraph_checkpoint_redis::CheckpointConfig;
use serde_json::json;

use crate::command::{Cli, Output};
use crate::support::server::Server;

fn doctor(server: &Server, arguments: &[&str]) -> Output {
    let url = server.redis.url();
    Cli::without_server().run(&[&["doctor", "--url", &url], arguments].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_warns_of_servers_that_may_lose_what_is_stored_and_ends_as_well() {
    let mut server = Server::start().await;
    let saver = server.saver().await;
    let config = CheckpointConfig::new("t").unwrap();
    crate::command::put(&saver, &config, "1", &1).await;
    for (settings, expected) in [
        (
            [
                ("maxmemory", "1gb"),
                ("maxmemory-policy", "allkeys-lru"),
                ("save", ""),
            ],
            &["maxmemory-policy", "keeps nothing on disk"][..],
        ),
        (
            [
                ("maxmemory", "1gb"),
                ("maxmemory-policy", "noeviction"),
                ("save", "3600 1"),
            ],
            &[],
        ),
    ] {
        for (key, value) in settings {
            server.run(&["CONFIG", "SET", key, value]).await;
        }
        for arguments in [&[][..], &["--fix", "--yes"]] {
            let output = doctor(&server, arguments).ok();
            let warnings: Vec<_> = output
                .lines()
                .filter(|line| line.starts_with("warning: "))
                .collect();
            assert_eq!(warnings.len(), expected.len(), "{output}");
            for (warning, part) in warnings.iter().zip(expected) {
                assert!(warning.contains(part), "{output}");
            }
            assert!(output.contains("nothing is wrong"), "{output}");
            let output = doctor(&server, &[arguments, &["--json"]].concat()).json();
            let warnings = output["warnings"].as_array().unwrap();
            assert_eq!(warnings.len(), expected.len(), "{output}");
            for (warning, part) in warnings.iter().zip(expected) {
                assert!(warning.as_str().unwrap().contains(part), "{output}");
            }
            assert_eq!(output["healthy"], true, "{output}");
            assert_eq!(
                (&output["problems"], &output["findings"]),
                (&json!([]), &json!([]))
            );
        }
    }
}

/// RediSearch knows such a document, and cannot look it up by its key.
#[tokio::test(flavor = "multi_thread")]
async fn a_thread_with_a_nul_is_nothing_that_the_index_lacks() {
    let server = Server::start().await;
    let saver = server.saver().await;
    for thread in ["a\0b", "other"] {
        let config = CheckpointConfig::new(thread).unwrap();
        let stored = crate::command::put(&saver, &config, "1", &1).await;
        crate::command::put_write(&saver, &stored, "task").await;
    }
    assert!(doctor(&server, &[]).ok().contains("nothing is wrong"));
}
