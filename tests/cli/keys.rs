//! Keys: what `hash-key` makes of them, and how a running service takes a change of them.

use langgraph_checkpoint_redis::server::ApiKeys;
use serde_json::json;

use crate::command::Cli;
use crate::serve::{STRONG, Serving, key_file};
use crate::support::service::{CONFINED, SECRET};

const PATH: &str = "/checkpoints/get-tuple";

#[test]
fn a_weak_key_is_refused_with_a_way_out() {
    let cli = Cli::without_server();
    for key in [
        "short",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "passwordpasswordpassword",
    ] {
        let output = cli.run_on(&["hash-key", "name"], key.as_bytes());
        assert_eq!(output.code, 2, "{key}: {output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
        assert!(output.stderr.contains("openssl rand"), "{output:?}");
        assert!(!output.stderr.contains(key), "{output:?}");
    }
}

#[test]
fn a_prefix_that_reaches_a_sibling_is_warned_of() {
    let cli = Cli::without_server();
    for (prefix, is_warned_of) in [("team-a", true), ("team-a/", false), ("team:", false)] {
        let arguments = ["hash-key", "name", "--starting-with", prefix];
        let output = cli.run_on(&arguments, STRONG.as_bytes());
        let expected = format!("name:{}:{prefix}\n", ApiKeys::hash(STRONG));
        assert_eq!(output.ok(), expected);
        let says = output.stderr.contains(&format!("`{prefix}b`"));
        assert_eq!(says, is_warned_of, "{output:?}");
    }
    let output = cli.run_on(
        &["hash-key", "name", "--starting-with", "team-a/ "],
        STRONG.as_bytes(),
    );
    assert_eq!(output.code, 2, "{output:?}");
    assert!(output.stderr.contains("blank"), "{output:?}");
}

#[test]
fn hash_key_writes_the_options_of_a_key() {
    let cli = Cli::without_server();
    let hash_key = |options: &[&str]| {
        let arguments = [&["hash-key", "name", "--starting-with", "a/"], options].concat();
        cli.run_on(&arguments, STRONG.as_bytes())
    };
    let options = [
        ("--scopes", "read,write"),
        ("--expires", "2999-01-31T12:00:00Z"),
        ("--max-in-flight", "1"),
        ("--rate", "2"),
        ("--burst", "3"),
        ("--max-held-bytes", "4"),
        ("--max-body-bytes", "5"),
    ];
    let given: Vec<_> = options
        .iter()
        .flat_map(|(name, value)| [*name, *value])
        .collect();
    let written = options.map(|(name, value)| format!("{}={value}", &name[2..]));
    let expected = format!("name:{}[{}]:a/\n", ApiKeys::hash(STRONG), written.join(" "));
    assert_eq!(hash_key(&given).ok(), expected);
    for (name, value) in [
        ("--scopes", "all"),
        ("--expires", "soon"),
        ("--expires", "2999-01-31]:b/"),
        ("--rate", "0"),
    ] {
        let output = hash_key(&[name, value]);
        assert_eq!(output.code, 2, "{name} {value}: {output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_file_of_keys_that_everybody_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let cli = Cli::without_server();
    let keys = key_file(&cli, "keys", &format!("tests:{}\n", ApiKeys::hash(SECRET)));
    std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o644)).unwrap();
    let arguments = ["serve", "--api-keys", &keys];
    // Nothing listens there, so that whoever connects ends with another code.
    let output = cli.run_with(&arguments, &[("REDIS_URL", "redis://127.0.0.1:1")]);
    assert_eq!(output.code, 2, "{output:?}");
    assert!(output.stderr.contains("chmod 600"), "{output:?}");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn sighup_reads_the_keys_again_and_a_broken_file_leaves_them() {
    let cli = Cli::new();
    let line = |name: &str, secret: &str| format!("{name}:{}\n", ApiKeys::hash(secret));
    let keys = key_file(&cli, "keys", &line("old", SECRET));
    let serving = Serving::run(&cli, &["--api-keys", &keys], &[]);
    let status = async |secret| {
        let body = json!({"thread_id": "t"});
        serving
            .post(Some(secret), PATH, &body)
            .await
            .status
            .as_u16()
    };
    assert_eq!((status(SECRET).await, status(CONFINED).await), (200, 401));

    key_file(&cli, "keys", &(line("new", CONFINED) + "broken\n"));
    serving.signal("-HUP");
    let logged = serving.logged("the API keys cannot be read; what was read before stays in use");
    let error = logged["error"].as_str().unwrap();
    assert!(error.contains("line 2"), "{error}");
    assert_eq!((status(SECRET).await, status(CONFINED).await), (200, 401));

    key_file(&cli, "keys", &line("new", CONFINED));
    serving.signal("-HUP");
    serving.logged("the API keys were read again");
    assert_eq!((status(SECRET).await, status(CONFINED).await), (401, 200));
    serving.terminate();
    assert_eq!(serving.code(), Some(0));
}
