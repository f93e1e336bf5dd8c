//! `inspect --demo`: its Redis ends with it, however it ends.
#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::command::Cli;

const LIMIT: Duration = Duration::from_secs(60);

/// A running demo; it does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts it, with a folder of the test's own for what is temporary, and waits for its address.
fn start(temporary: &Path) -> Running {
    let child = Cli::without_server()
        .command(&["inspect", "--demo", "--listen", "127.0.0.1:0"])
        .env("TMPDIR", temporary)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    let mut line = String::new();
    let mut stdout = BufReader::new(running.0.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    assert!(line.starts_with("http://127.0.0.1:"), "{line:?}");
    running
}

/// The only folder in a folder.
fn only(folder: &Path) -> PathBuf {
    let mut found = std::fs::read_dir(folder).unwrap();
    let one = found.next().unwrap().unwrap().path();
    assert!(found.next().is_none());
    one
}

fn signal(child: &Child, name: &str) {
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-s", name, &id]).status();
    assert!(sent.unwrap().success());
}

#[test]
fn the_demo_is_gone_however_its_process_ends() {
    for how in ["INT", "TERM", "HUP", "KILL"] {
        let temporary = tempfile::tempdir().unwrap();
        let mut running = start(temporary.path());
        let folder = only(temporary.path());
        let mode = std::fs::metadata(&folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        // It stays open for as long as the server runs.
        let socket = UnixStream::connect(folder.join("redis.sock")).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        signal(&running.0, how);
        running.0.wait().unwrap();
        let end = std::io::Read::read(&mut &socket, &mut [0; 1]);
        assert_eq!(end.unwrap(), 0, "{how}: the server still runs");
        let deadline = Instant::now() + LIMIT;
        while folder.exists() {
            assert!(
                Instant::now() < deadline,
                "{how}: {folder:?} is still there"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn the_demo_takes_no_options_of_another_store() {
    let cli = Cli::without_server();
    for options in [["--url", "redis://127.0.0.1:1"], ["--prefix", "app"]] {
        let refused = cli.run(&[&["inspect", "--demo"], &options[..]].concat());
        assert_eq!(refused.code, 2);
        assert!(refused.stderr.contains("a Redis of its own"), "{refused:?}");
    }
}

#[test]
fn without_a_server_the_demo_says_what_to_install() {
    let cli = Cli::without_server();
    let refused = cli.run_with(&["inspect", "--demo"], &[("PATH", "/nonexistent")]);
    assert_eq!(refused.code, 5);
    assert!(
        refused.stderr.contains("apt-get install redis-server"),
        "{refused:?}"
    );
}

#[test]
fn a_server_that_does_not_start_is_said_with_its_own_words() {
    let temporary = tempfile::tempdir().unwrap();
    let program = temporary.path().join("redis-server");
    std::fs::write(&program, "#!/bin/sh\necho 'no such directive'\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", temporary.path().display());
    let folder = tempfile::tempdir().unwrap();
    let folder_name = folder.path().to_str().unwrap();
    let refused = Cli::without_server().run_with(
        &["inspect", "--demo"],
        &[("PATH", &path), ("TMPDIR", folder_name)],
    );
    assert_eq!(refused.code, 5);
    assert!(refused.stderr.contains("no such directive"), "{refused:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
