//! Encryption keys from the environment and from a file, and `reseal`.

use langgraph_checkpoint_redis::redis::Layout;
use langgraph_checkpoint_redis::{CheckpointConfig, CheckpointSaver, RedisSaver};
use serde_json::{Value, json};

use crate::command::{Cli, Output, put, put_write};
use crate::support::encryption_keys;

/// 32 bytes of 171 and of 172.
const NEW: &str = "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=";
const OLD: &str = "rKysrKysrKysrKysrKysrKysrKysrKysrKysrKysrKw=";

const KEYS: &str = "LANGGRAPH_REDIS_ENCRYPTION_KEYS";
const KEYS_FILE: &str = "LANGGRAPH_REDIS_ENCRYPTION_KEYS_FILE";

async fn saver(cli: &Cli, keys: &[(&str, u8)]) -> RedisSaver {
    let builder = RedisSaver::builder()
        .url(redis_modules::shared_url().unwrap())
        .prefix(&cli.prefix)
        .layout(Layout::Compact);
    let saver = builder.encryption_keys(encryption_keys(keys)).build().await;
    saver.unwrap()
}

/// A store with two threads that the old key sealed.
async fn sealed() -> Cli {
    let cli = Cli::new();
    let saver = saver(&cli, &[("old", 172)]).await;
    saver.setup().await.unwrap();
    for id in ["user:1", "user:2"] {
        let config = CheckpointConfig::new(id).unwrap();
        let config = put(&saver, &config, "1", &json!("the state")).await;
        put(&saver, &config, "2", &json!("the state")).await;
        put_write(&saver, &config, "task").await;
    }
    cli
}

fn run(cli: &Cli, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let layout = ["--layout", "compact"];
    cli.run_with(&[&layout[..], arguments].concat(), environment)
}

fn file(cli: &Cli, mode: u32, text: &str) -> String {
    let path = cli.file("keys");
    std::fs::write(&path, text).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    }
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_come_from_the_environment_and_from_a_file() {
    let cli = sealed().await;
    let show = ["show", "user:1", "--json"];
    let both = format!("new:{NEW},old:{OLD}");
    let path = file(&cli, 0o600, &format!("# keys\nnew {NEW}\nold:{OLD}  \n"));
    let from_file = [&["--encryption-keys-file", &path], &show[..]].concat();
    for said in [
        run(&cli, &show, &[(KEYS, &both)]),
        run(&cli, &show, &[(KEYS_FILE, &path)]),
        run(&cli, &from_file, &[]),
        run(&cli, &from_file, &[(KEYS_FILE, "/nowhere")]),
    ] {
        let values = &said.json()["checkpoint"]["channel_values"];
        assert_eq!(*values, json!({"state": "the state"}));
    }
    let new = format!("new:{NEW}");
    for (said, why) in [
        (run(&cli, &show, &[]), "`old`"),
        (run(&cli, &show, &[(KEYS, &new)]), "`old`"),
        (run(&cli, &["setup"], &[]), "has no keys"),
        (run(&cli, &show, &[(KEYS, "")]), "there is no key"),
        (run(&cli, &show, &[(KEYS, NEW)]), KEYS),
        (
            run(&cli, &from_file, &[(KEYS, &both)]),
            "leave one of them out",
        ),
        (cli.run_with(&show, &[(KEYS, &both)]), "layout `compact`"),
        (cli.run(&from_file), "layout `compact`"),
    ] {
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.stderr.contains(why), "{why}: {said:?}");
        assert!(!said.stderr.contains(&NEW[..8]) && !said.stderr.contains(&OLD[..8]));
    }
    // Nobody gives a key as an argument, which others can see.
    let refused = run(&cli, &["--encryption-keys", &both, "threads"], &[]);
    assert_eq!(refused.code, 2, "{refused:?}");
    let help = cli.run(&["--help"]).ok();
    assert!(help.contains("--encryption-keys-file <FILE>"), "{help}");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_keys_that_others_can_read_is_refused() {
    let cli = sealed().await;
    let path = file(&cli, 0o644, &format!("old:{OLD}"));
    let said = run(&cli, &["threads", "--encryption-keys-file", &path], &[]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.stderr.contains("chmod o="), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reseal_counts_seals_and_finds_nothing_the_second_time() {
    let cli = sealed().await;
    let both = format!("new:{NEW},old:{OLD}");
    let environment = [(KEYS, &both[..])];
    let reseal = |arguments: &[&str]| run(&cli, &[&["reseal"], arguments].concat(), &environment);
    let counts = |said: &Value| {
        let counts = ["threads", "checkpoints", "writes", "current"];
        counts.map(|name| said[name].as_u64().unwrap())
    };
    assert_eq!(reseal(&[]).code, 2);
    assert_eq!(reseal(&["nobody"]).code, 3);
    let said = reseal(&["--all", "--dry-run"]).ok();
    assert_eq!(
        said,
        "would seal 4 checkpoints and 2 writes of 2 threads; 0 were sealed with the first key already\n"
    );
    let said = reseal(&["user:1", "--json"]).json();
    assert_eq!(counts(&said), [1, 2, 1, 0]);
    assert_eq!(
        (&said["resealed"], &said["findings"]),
        (&json!(true), &json!([]))
    );
    let said = reseal(&["--starting-with", "user:", "--json"]).json();
    assert_eq!(counts(&said), [2, 2, 1, 3]);
    let said = reseal(&["--all"]).ok();
    assert_eq!(
        said,
        "sealed 0 checkpoints and 0 writes of 2 threads; 6 were sealed with the first key already\n"
    );
    let new = format!("new:{NEW}");
    let shown = run(&cli, &["show", "user:2", "--json"], &[(KEYS, &new)]).json();
    let values = &shown["checkpoint"]["channel_values"];
    assert_eq!(*values, json!({"state": "the state"}));
    // A layout that seals nothing says so.
    let refused = cli.run(&["reseal", "--all"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("layout `compact`"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reseal_fails_if_something_is_left_that_it_cannot_read() {
    let cli = Cli::new();
    let plain = RedisSaver::builder()
        .url(redis_modules::shared_url().unwrap())
        .prefix(&cli.prefix)
        .layout(Layout::Compact);
    let plain = plain.build().await.unwrap();
    put(&plain, &CheckpointConfig::new("t").unwrap(), "1", &json!(1)).await;
    let new = format!("new:{NEW}");
    let said = run(&cli, &["reseal", "--all"], &[(KEYS, &new)]);
    assert_eq!(said.code, 7, "{said:?}");
    assert!(said.stdout.contains("`allow_unsealed`"), "{said:?}");
    let said = run(
        &cli,
        &["reseal", "--all", "--allow-unsealed"],
        &[(KEYS, &new)],
    );
    assert!(
        said.ok()
            .starts_with("sealed 1 checkpoint and 0 writes of 1 thread"),
        "{said:?}"
    );
    let said = run(&cli, &["reseal", "--all"], &[(KEYS, &new)]).ok();
    assert!(said.contains("; 1 was sealed"), "{said}");
}
