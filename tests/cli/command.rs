//! Runs the command line under a prefix of a test's own.
#![allow(unreachable_pub)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use langgraph_checkpoint_redis::conformance::replay::Trace;
use langgraph_checkpoint_redis::{
    ChannelWrite, Checkpoint, CheckpointConfig, CheckpointId, CheckpointMetadata, CheckpointSaver,
    CheckpointTuple, ListOptions, PutOptions, PutWritesOptions, RedisSaver, TaskId, TtlPolicy,
    TypedValue,
};
use serde_json::{Value, json};

use crate::support;
use crate::support::stored::thread;

/// The command line on the tests' server.
pub struct Cli {
    pub prefix: String,
    server: bool,
    folder: tempfile::TempDir,
}

/// What a command printed, and its exit code.
#[derive(Debug)]
pub struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl From<std::process::Output> for Output {
    fn from(output: std::process::Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Output {
    /// What it printed; it must have succeeded.
    #[track_caller]
    pub fn ok(&self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.stdout.clone()
    }

    /// What it printed, as one JSON document.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.ok()).unwrap()
    }

    /// What it printed, as a JSON document a line.
    #[track_caller]
    pub fn lines(&self) -> Vec<Value> {
        self.ok()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

impl Cli {
    pub fn new() -> Self {
        Self {
            prefix: support::random_prefix(),
            server: true,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub fn without_server() -> Self {
        Self {
            server: false,
            ..Self::new()
        }
    }

    /// The name of a file of the test's own.
    pub fn file(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    pub async fn saver(&self) -> RedisSaver {
        support::redis_saver(&self.prefix, TtlPolicy::default())
            .await
            .unwrap()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = bare_command();
        if self.server {
            command
                .env("REDIS_URL", redis_modules::shared_url().unwrap())
                // First, as an argument may say that only ids follow.
                .args(["--prefix", &self.prefix]);
        }
        command.args(arguments);
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(arguments, &[])
    }

    pub fn run_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        let mut command = self.command(arguments);
        command.envs(environment.iter().copied());
        command.output().unwrap().into()
    }

    /// Runs it with what is given as its input.
    pub fn run_on(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut child = self.spawn(arguments);
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        // It may end without having read all.
        let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = ended(child);
        writer.join().unwrap();
        output
    }

    /// Starts it with pipes at all ends.
    pub fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Runs it with an output that is closed.
    pub fn unread(&self, arguments: &[&str]) -> Output {
        let mut child = self.spawn(arguments);
        drop(child.stdout.take());
        ended(child)
    }

    /// Runs it without any settings of the test's own but the server.
    pub fn bare(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        let mut command = bare_command();
        command
            .env("REDIS_URL", redis_modules::shared_url().unwrap())
            .envs(environment.iter().copied())
            .args(arguments);
        command.output().unwrap().into()
    }

    /// Runs it until it says what is waited for.
    pub fn until(&self, arguments: &[&str], is_said: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let said = self.run(arguments).json();
            if is_said(&said) {
                return said;
            }
            assert!(started.elapsed() < Duration::from_secs(30), "{said}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn bare_command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_langgraph-redis"));
    for (name, _) in std::env::vars() {
        if name.starts_with("LANGGRAPH_REDIS_") || name == "REDIS_URL" {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Waits for the end.
pub fn ended(child: Child) -> Output {
    child.wait_with_output().unwrap().into()
}

/// Sends what Ctrl-C sends.
pub fn interrupt(process: u32) {
    let killed = Command::new("kill")
        .args(["-INT", &process.to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
}

/// Puts a checkpoint whose channel `state` has a value.
pub async fn put(
    saver: &RedisSaver,
    config: &CheckpointConfig,
    id: &str,
    state: &(impl serde::Serialize + Sync + ?Sized),
) -> CheckpointConfig {
    let checkpoint = Checkpoint::builder()
        .id(CheckpointId::new(id).unwrap())
        .channel("state", 1, state)
        .unwrap()
        .build()
        .unwrap();
    let step = id.bytes().next().map_or(0, |byte| i64::from(byte) - 49);
    let metadata = CheckpointMetadata::new()
        .with("source", "loop")
        .unwrap()
        .with("step", &step)
        .unwrap();
    saver
        .put(config, &checkpoint, &metadata, &PutOptions::default())
        .await
        .unwrap()
}

/// Puts a write of a task.
pub async fn put_write(saver: &RedisSaver, config: &CheckpointConfig, task: &str) {
    let writes = [ChannelWrite::new(
        "state",
        TypedValue::json(&"written").unwrap(),
    )];
    let task = TaskId::new(task).unwrap();
    saver
        .put_writes(config, &writes, &task, &PutWritesOptions::default())
        .await
        .unwrap();
}

/// Every checkpoint there is, in one order.
pub async fn all(saver: &RedisSaver) -> Vec<CheckpointTuple> {
    let mut all: Vec<CheckpointTuple> = Vec::new();
    let threads: Vec<_> = saver.threads("").try_collect().await.unwrap();
    for thread in threads {
        let config = CheckpointConfig::of_thread(thread.thread_id);
        let checkpoints = saver.list(Some(&config), ListOptions::default());
        all.extend(checkpoints.try_collect::<Vec<_>>().await.unwrap());
    }
    all.sort_by_key(|tuple| {
        let CheckpointConfig {
            thread_id,
            checkpoint_ns,
            checkpoint_id,
            ..
        } = &tuple.config;
        (
            thread_id.clone(),
            checkpoint_ns.clone(),
            checkpoint_id.clone(),
        )
    });
    all
}

/// A store with the threads a, b and c, of 3 checkpoints and one write each.
pub async fn three_threads() -> (Cli, RedisSaver) {
    let cli = Cli::new();
    cli.run(&["setup"]).ok();
    let saver = cli.saver().await;
    for id in ["a", "b", "c"] {
        let mut config = thread(id);
        for checkpoint in ["1", "2", "3"] {
            config = put(
                &saver,
                &config,
                checkpoint,
                &json!({"in": [id, checkpoint]}),
            )
            .await;
        }
        put_write(&saver, &config, "task").await;
    }
    (cli, saver)
}

/// Another store, empty.
pub async fn empty() -> (Cli, RedisSaver) {
    let cli = Cli::new();
    let saver = cli.saver().await;
    (cli, saver)
}

/// The recorded runs, each up to where it deletes its thread: what comes after that leaves nothing.
pub fn traces() -> impl Iterator<Item = (PathBuf, Trace)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/traces");
    std::fs::read_dir(folder).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines();
        let lines: Vec<_> = lines
            .take_while(|line| !line.contains(r#""op": "delete_thread""#))
            .collect();
        let trace = Trace::parse(&lines.join("\n")).unwrap();
        (path, trace)
    })
}
