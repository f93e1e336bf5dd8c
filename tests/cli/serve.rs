//! The HTTP service as the command line runs it, and what becomes of its blobs in an export.
#![allow(unreachable_pub)]

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use langgraph_checkpoint_redis::server::ApiKeys;
use redis_modules::Standalone;
use serde_json::{Value, json};

use crate::command::{Cli, interrupt};
use crate::support::service::{Answer, Raw, SECRET, answer, client};

/// A key that is random enough for `hash-key`.
pub const STRONG: &str = "5ee0bb3ae3a4d6a1b8a4a9c74f1f33f2";

/// A file of keys that only its owner may read.
pub fn key_file(cli: &Cli, name: &str, lines: &str) -> String {
    let path = cli.file(name);
    std::fs::write(&path, lines).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    path
}

/// A running `serve`; it does not outlive its test.
pub struct Serving {
    pub child: Child,
    pub log: mpsc::Receiver<String>,
    /// Where it listens; without meaning on a Unix socket.
    pub address: SocketAddr,
}

impl Serving {
    /// Starts it on a free port, with a file of keys.
    pub fn start(cli: &Cli, arguments: &[&str]) -> Self {
        let keys = write_keys(cli);
        Self::run(cli, &[&["--api-keys", &keys], arguments].concat(), &[])
    }

    pub fn run(cli: &Cli, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::listening(cli, "127.0.0.1:0", arguments, environment)
    }

    pub fn listening(
        cli: &Cli,
        address: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let mut command = cli.command(&["serve", "--listen", address]);
        command
            .args(arguments)
            .envs(environment.iter().copied())
            .stderr(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, log) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut serving = Self {
            child,
            log,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        let ready = serving.logged("the service is ready");
        if let Ok(address) = ready["listen"].as_str().unwrap().parse() {
            serving.address = address;
        }
        serving
    }

    /// Waits for a line of the log, all of which is JSON.
    pub fn logged(&self, message: &str) -> Value {
        loop {
            let line = self.log.recv_timeout(Duration::from_secs(60));
            let line = line.unwrap_or_else(|error| panic!("`{message}` was not logged: {error}"));
            let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
            if line["message"] == message {
                return line;
            }
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        answer(client().get(format!("http://{}{path}", self.address))).await
    }

    pub(crate) async fn post(&self, secret: Option<&str>, path: &str, body: &Value) -> Answer {
        let mut request = client()
            .post(format!("http://{}{path}", self.address))
            .header("content-type", "application/json")
            .body(body.to_string());
        if let Some(secret) = secret {
            request = request.bearer_auth(secret);
        }
        answer(request).await
    }

    pub async fn ok(&self, path: &str, body: &Value) -> Value {
        let response = self.post(Some(SECRET), path, body).await;
        assert!(response.status.is_success(), "{response:?}");
        response.json()
    }

    pub fn terminate(&self) {
        self.signal("-TERM");
    }

    pub fn signal(&self, name: &str) {
        let process = self.child.id().to_string();
        let killed = Command::new("kill").args([name, &process]).status();
        assert!(killed.unwrap().success());
    }

    /// Waits for the end, and gives the exit code.
    pub fn code(mut self) -> Option<i32> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(started.elapsed() < Duration::from_secs(60), "it goes on");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes the file of keys that the services of tests have.
pub fn write_keys(cli: &Cli) -> String {
    key_file(cli, "keys", &format!("tests:{}\n", ApiKeys::hash(SECRET)))
}

pub const V1: &str = "00000000000000000000000000000001.0.5312";
const V2: &str = "00000000000000000000000000000002.0.1234";

pub fn put(thread: &str, id: &str, parent: Option<&str>, version: &str, blob: &str) -> Value {
    json!({
        "thread_id": thread, "checkpoint_ns": "", "checkpoint_id": id,
        "parent_checkpoint_id": parent,
        "checkpoint": {
            "v": 4, "ts": "2026-11-21T00:00:00+00:00", "id": id,
            "channel_values": {"n": 1},
            "channel_versions": {"n": 1, "messages": version, "gone:%": V1},
            "versions_seen": {},
        },
        "metadata": {"source": "loop", "step": 1, "parents": {}},
        "blobs": [
            {"channel": "messages", "version": version, "type": "msgpack", "blob": blob},
            {"channel": "gone:%", "version": V1, "type": "empty", "blob": null},
        ],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_serves_who_has_a_key_and_ends_in_order() {
    let cli = Cli::new();
    let serving = Serving::start(&cli, &["--max-in-flight", "8"]);
    for path in ["/healthz", "/readyz"] {
        let response = serving.get(path).await;
        assert_eq!(response.status, 200, "{response:?}");
    }
    let first = put("t", "1", None, V1, "kaJoaQ==");
    for secret in [None, Some("another secret")] {
        let response = serving.post(secret, "/checkpoints/put", &first).await;
        assert_eq!(response.status, 401, "{response:?}");
    }
    serving.ok("/checkpoints/put", &first).await;
    let named = json!({"thread_id": "t"});
    let tuple = serving.ok("/checkpoints/get-tuple", &named).await;
    assert_eq!(tuple["checkpoint"], first["checkpoint"]);

    // A request that was begun is answered after the signal.
    let body = named.to_string();
    let mut begun = Raw::connect(serving.address).await;
    begun.begin("/checkpoints/get-tuple", body.len()).await;
    serving.terminate();
    serving.logged("the service is shutting down");
    begun.send(&body).await;
    let response = begun.read_to_end().await;
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    assert!(response.contains(V1), "{response}");
    assert_eq!(serving.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn health_says_whether_a_service_is_ready() {
    let mut redis = Standalone::start().unwrap();
    let cli = Cli::without_server();
    let arguments = ["--no-authentication", "--connect-timeout", "1s"];
    let url = [("REDIS_URL", redis.url())];
    let url = url.each_ref().map(|(name, url)| (*name, url.as_str()));
    let serving = Serving::run(&cli, &arguments, &url);
    let address = serving.address.to_string();
    let health = ["health", "--timeout", "60s", "--address", &address];
    assert_eq!(cli.run(&health).ok(), "ready\n");
    let json = cli.run(&["health", "--address", &address, "--json"]).json();
    assert_eq!(json, json!({"ready": true, "answer": "ready"}));

    redis.kill().unwrap();
    let started = Instant::now();
    let refused = loop {
        let output = cli.run(&health);
        if output.code != 0 {
            break output;
        }
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "it stays ready"
        );
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(refused.stderr.contains("503"), "{refused:?}");
    drop(serving);
    let gone = cli.run(&health);
    assert_eq!(gone.code, 5, "{gone:?}");
    assert!(gone.stderr.contains(&address), "{gone:?}");
}

#[test]
fn health_does_not_wait_for_a_service_that_is_silent() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let arguments = ["health", "--timeout", "100ms", "--address", &address];
    let output = Cli::without_server().run(&arguments);
    assert_eq!(output.code, 5, "{output:?}");
    assert!(output.stderr.contains("in time"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_listens_on_a_name() {
    let cli = Cli::new();
    let serving = Serving::start(&cli, &[]);
    assert_eq!(serving.get("/healthz").await.status, 200);
    drop(serving);
    let keys = cli.file("keys");
    let named = |listen: &str| {
        let mut command = cli.command(&["serve", "--listen", listen, "--api-keys", &keys]);
        command.output().unwrap()
    };
    for (listen, says) in [
        ("localhost", "127.0.0.1:8080"),
        ("no-such-host.invalid:80", "no-such-host.invalid"),
    ] {
        let ended = named(listen);
        assert_eq!(ended.status.code(), Some(2), "{ended:?}");
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(said.contains(says), "{said}");
    }
    let serving = Serving::listening(&cli, "localhost:0", &["--api-keys", &keys], &[]);
    assert!(serving.address.ip().is_loopback());
    assert_eq!(serving.get("/healthz").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_a_service_that_still_drains() {
    let cli = Cli::new();
    let serving = Serving::start(&cli, &[]);
    let mut begun = Raw::connect(serving.address).await;
    begun.begin("/checkpoints/get-tuple", 9).await;
    interrupt(serving.child.id());
    serving.logged("the service is shutting down");
    interrupt(serving.child.id());
    assert_eq!(serving.code(), Some(130));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_come_from_hash_key_and_from_the_environment() {
    let cli = Cli::new();
    let hash_key = ["hash-key", "team", "--starting-with", "mine/"];
    let line = cli.run_on(&hash_key, format!("{STRONG}\n").as_bytes()).ok();
    assert_eq!(line, format!("team:{}:mine/\n", ApiKeys::hash(STRONG)));
    let keys = [("LANGGRAPH_REDIS_API_KEYS", line.as_str())];
    let serving = Serving::run(&cli, &[], &keys);
    let path = "/checkpoints/put";
    for (thread, status) in [("mine/t", 200), ("t", 404)] {
        let body = put(thread, "1", None, V1, "AA==");
        let response = serving.post(Some(STRONG), path, &body).await;
        assert_eq!(response.status, status, "{response:?}");
    }

    let arguments = ["serve", "--no-authentication", "--listen", "127.0.0.1:0"];
    let output = cli.run_with(&arguments, &keys);
    assert_eq!(output.code, 2, "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_keys_only_this_machine_is_served_and_only_if_asked_for() {
    let cli = Cli::new();
    let serving = Serving::run(&cli, &["--no-authentication"], &[]);
    let first = put("t", "1", None, V1, "AA==");
    let response = serving.post(None, "/checkpoints/put", &first).await;
    assert_eq!(response.status, 200, "{response:?}");
}

#[test]
fn a_service_that_cannot_be_is_refused_before_it_connects() {
    let cli = Cli::without_server();
    let keys = key_file(&cli, "keys", "name:hash");
    let good = key_file(&cli, "good", &format!("tests:{}", ApiKeys::hash(SECRET)));
    for (arguments, said) in [
        (&["serve"][..], "--api-keys"),
        (&["serve", "--api-keys", "/nowhere"], "/nowhere"),
        (&["serve", "--api-keys", &keys], "line 1"),
        (
            &["serve", "--no-authentication", "--api-keys", &good],
            "--no-authentication",
        ),
        (
            &["serve", "--no-authentication", "--listen", "0.0.0.0:0"],
            "loopback",
        ),
        (
            &["serve", "--no-authentication", "--listen", "here"],
            "here",
        ),
        (
            &["serve", "--api-keys", &good, "--max-in-flight", "0"],
            "max_in_flight",
        ),
        (
            &["serve", "--api-keys", &good, "--request-timeout", "soon"],
            "soon",
        ),
        (&["serve", "--api-keys", &good, "--log", "=loud="], "=loud="),
    ] {
        // Nothing listens there, so that whoever connects ends with another code.
        let output = cli.run_with(arguments, &[("REDIS_URL", "redis://127.0.0.1:1")]);
        assert_eq!(output.code, 2, "{arguments:?}: {output:?}");
        assert!(output.stderr.contains(said), "{arguments:?}: {output:?}");
    }
}

#[test]
fn a_key_that_no_header_carries_is_refused() {
    let cli = Cli::without_server();
    for (arguments, key) in [
        (&["hash-key", "name"][..], ""),
        (&["hash-key", "name"], "\n"),
        (&["hash-key", "name"], " padded"),
        (&["hash-key", "name"], "two\nlines"),
        (&["hash-key", "name"], "é"),
        (&["hash-key", "na:me"], STRONG),
        (&["hash-key", "#name"], STRONG),
        (&["hash-key", "name", "--starting-with", "a\nb"], STRONG),
    ] {
        let output = cli.run_on(arguments, key.as_bytes());
        assert_eq!(output.code, 2, "{arguments:?} {key:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_service_stored_is_carried_with_its_blobs() {
    let (source, target) = (Cli::new(), Cli::new());
    let first = Serving::start(&source, &[]);
    for body in [
        put("t", "1", None, V1, "kaJoaQ=="),
        put("t", "2", Some("1"), V2, "kqJoaaJoaQ=="),
    ] {
        first.ok("/checkpoints/put", &body).await;
    }
    let requests = ["1", "2", ""]
        .map(|id| json!({"thread_id": "t", "checkpoint_ns": "", "checkpoint_id": id}));
    let path = "/checkpoints/get-tuple";
    let file = source.file("export");
    let output = source.run(&["export", "-o", &file, "--json"]).json();
    assert_eq!(
        (&output["checkpoints"], &output["blobs"]),
        (&2.into(), &3.into())
    );

    let imported = target.run(&["import", &file, "--json"]).json();
    assert_eq!(imported["blobs"], 3, "{imported}");
    let second = Serving::start(&target, &[]);
    for request in &requests {
        let tuple = first.ok(path, request).await;
        assert!(!tuple["blobs"].as_array().unwrap().is_empty(), "{tuple}");
        assert_eq!(second.ok(path, request).await, tuple);
    }
    let again = target.run(&["import", &file, "--json"]).json();
    assert_eq!(
        (&again["checkpoints"], &again["blobs"]),
        (&0.into(), &0.into())
    );
    // Pruning finds its way among what came.
    let prune = ["prune", "t", "--keep-latest", "--yes"];
    target.run(&prune).ok();
    let newest = second.ok(path, &requests[2]).await;
    assert_eq!(newest, first.ok(path, &requests[2]).await);
    target.run(&["doctor"]).ok();

    // A blob that is there with another content stays, and is reported.
    let third = Cli::new();
    let other = Serving::start(&third, &[]);
    other
        .ok("/checkpoints/put", &put("t", "1", None, V1, "AAAA"))
        .await;
    let output = third.run(&["import", &file, "--json"]);
    assert_eq!(output.json()["other_blobs"], 1, "{output:?}");
    assert!(
        output
            .stderr
            .contains("has another blob of channel messages"),
        "{output:?}"
    );
    let kept = other.ok(path, &requests[0]).await;
    assert!(kept["blobs"].to_string().contains("AAAA"), "{kept}");

    // So does one that cannot be read.
    let client = redis::Client::open(redis_modules::shared_url().unwrap()).unwrap();
    let mut client = client.get_multiplexed_async_connection().await.unwrap();
    let pattern = format!("*{}*blob*messages*", third.prefix);
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg(pattern)
        .query_async(&mut client)
        .await
        .unwrap();
    let spoiled = keys.iter().find(|key| key.contains(V1)).unwrap();
    let (): () = redis::cmd("JSON.SET")
        .arg(&[spoiled, "$", "[]"])
        .query_async(&mut client)
        .await
        .unwrap();
    let response = third.run(&["import", &file, "--json"]);
    assert_eq!(response.json()["other_blobs"], 1, "{response:?}");

    // One that was changed is found out.
    let text = std::fs::read_to_string(&file).unwrap();
    let changed = target.file("changed");
    std::fs::write(&changed, text.replace("kaJoaQ==", "kaJobw==")).unwrap();
    assert_eq!(target.run(&["import", &changed]).code, 8);
}
