//! A Redis that only this process reaches, on a socket in a folder of its own.

use std::fs::DirBuilder;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::cli::failure::{Failure, Outcome};
use crate::cli::text::printable;
use crate::inspector::secret;

const SUPERVISOR: &str = include_str!("supervisor.sh");

/// What is said where there is no server.
const INSTALL: &str = "--demo needs a redis-server on the PATH: install Redis \
    (Debian: apt-get install redis-server; macOS: brew install redis)";

/// How long the server may take to start.
const START_LIMIT: Duration = Duration::from_secs(10);
/// How long its end is waited for.
const END_LIMIT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(10);

/// A running server. Without persistence, and without a port: its socket is in a folder that only
/// this user may enter.
pub(super) struct Server {
    folder: PathBuf,
    supervisor: Child,
    /// Open for as long as the server is to run.
    open: Option<ChildStdin>,
}

impl Server {
    /// Starts a server and waits until it takes connections.
    pub(super) async fn start() -> Outcome<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let program = std::env::split_paths(&path)
            .find_map(|folder| server_in(&folder))
            .ok_or_else(|| Failure::Unavailable(INSTALL.to_owned()))?;
        let folder = new_folder()?;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SUPERVISOR, "supervisor"]);
        command.arg(&folder).arg(&program);
        command.args(["--port", "0", "--unixsocketperm", "700"]);
        command.arg("--unixsocket").arg(socket_in(&folder));
        command.arg("--dir").arg(&folder);
        command.args(["--save", "", "--appendonly", "no", "--daemonize", "no"]);
        command.args(["--maxmemory", "256mb", "--loglevel", "warning"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(Stdio::null());
        // Ctrl-C is for this process, which then ends the server.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut supervisor = command.spawn().map_err(|error| {
            // Nothing else removes it, for want of a supervisor.
            let _ = std::fs::remove_dir_all(&folder);
            Failure::File(format!("cannot run /bin/sh to start Redis: {error}"))
        })?;
        let open = supervisor.stdin.take();
        let log = supervisor.stdout.take();
        let server = Self {
            folder,
            supervisor,
            open,
        };
        let mut ended = last_line(log)?;
        let deadline = Instant::now() + START_LIMIT;
        while !server.answers().await {
            let said = match ended.try_recv() {
                Ok(said) => said,
                Err(_) if Instant::now() > deadline => {
                    format!("it was not ready after {} s", START_LIMIT.as_secs())
                }
                Err(_) => {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            return Err(Failure::Unavailable(format!(
                "{} does not start: {}",
                printable(&program.display().to_string()),
                printable(&said)
            )));
        }
        Ok(server)
    }

    /// The URL of its socket.
    pub(super) fn url(&self) -> String {
        format!("redis+unix://{}", socket_in(&self.folder).display())
    }

    #[cfg(unix)]
    async fn answers(&self) -> bool {
        tokio::net::UnixStream::connect(socket_in(&self.folder))
            .await
            .is_ok()
    }

    #[cfg(not(unix))]
    #[allow(clippy::unused_async, clippy::unused_self)] // As on Unix.
    async fn answers(&self) -> bool {
        false
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.open.take());
        let deadline = Instant::now() + END_LIMIT;
        while matches!(self.supervisor.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(PAUSE);
        }
    }
}

fn socket_in(folder: &Path) -> PathBuf {
    folder.join("redis.sock")
}

/// The server in a folder of the PATH. Redis Stack has only a script there, beside whose target the
/// server is.
fn server_in(folder: &Path) -> Option<PathBuf> {
    let script = || {
        let script = folder.join("redis-stack-server").canonicalize().ok()?;
        Some(script.with_file_name("redis-server"))
    };
    let named = ["redis-server", "valkey-server"].map(|name| Some(folder.join(name)));
    let mut candidates = named.into_iter().chain([script()]).flatten();
    candidates.find(|program| program.is_file())
}

/// A folder that only this user may enter, which nobody can have made before.
fn new_folder() -> Outcome<PathBuf> {
    let name = format!("langgraph-redis-{}", &secret()[..16]);
    let folder = std::env::temp_dir().join(name);
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&folder).map_err(|error| {
        let folder = folder.display().to_string();
        Failure::File(format!("cannot make {}: {error}", printable(&folder)))
    })?;
    Ok(folder)
}

/// Reads what the server prints, and gives its last line when it has ended.
fn last_line(log: Option<std::process::ChildStdout>) -> Outcome<oneshot::Receiver<String>> {
    let (sender, receiver) = oneshot::channel();
    let read = move || {
        let mut last = String::from("it said nothing");
        for line in log.into_iter().flat_map(|log| BufReader::new(log).lines()) {
            match line {
                Ok(line) if line.trim().is_empty() => {}
                Ok(line) => last = line,
                Err(_) => break,
            }
        }
        // Nobody waits for it once the server runs.
        let _ = sender.send(last);
    };
    std::thread::Builder::new()
        .name("redis-log".to_owned())
        .spawn(read)
        .map_err(|error| Failure::File(format!("cannot start a thread: {error}")))?;
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_found_by_each_of_its_names() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        assert_eq!(server_in(&folder), None);
        let stack = folder.join("opt");
        std::fs::create_dir(&stack).unwrap();
        for name in ["redis-stack-server", "redis-server"] {
            std::fs::write(stack.join(name), "").unwrap();
        }
        #[cfg(unix)]
        {
            let link = folder.join("redis-stack-server");
            std::os::unix::fs::symlink(stack.join("redis-stack-server"), link).unwrap();
            assert_eq!(server_in(&folder), Some(stack.join("redis-server")));
        }
        for name in ["valkey-server", "redis-server"] {
            std::fs::write(folder.join(name), "").unwrap();
            assert_eq!(server_in(&folder), Some(folder.join(name)));
        }
    }
}
