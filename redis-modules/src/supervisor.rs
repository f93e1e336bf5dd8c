//! Keeps a server alive for exactly as long as its owner lives.
//!
//! The server is the child of a small shell script, which blocks on reading a pipe that only this
//! process holds. When the pipe closes, because the value was dropped or because this process
//! died, even of SIGKILL, the script stops the server and removes its folder. Both run in a
//! process group of their own, so that a Ctrl-C in the terminal reaches only their owner.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crate::error::{Context, Error};

const SCRIPT: &str = include_str!("supervisor.sh");

/// The script's name in the folder of the server.
const SCRIPT_FILE: &str = "supervisor.sh";

/// A running server and the script that watches over it.
#[derive(Debug)]
pub(crate) struct Supervisor {
    script: Child,
    pid: u32,
    /// `None` only while it is being dropped.
    channel: Mutex<Option<Channel>>,
    /// Ends when the server ends, with all that it printed. `None` once it was taken.
    output: Option<JoinHandle<String>>,
}

#[derive(Debug)]
struct Channel {
    commands: ChildStdin,
    replies: BufReader<ChildStdout>,
}

impl Channel {
    fn ask(&mut self, command: &str) -> io::Result<String> {
        writeln!(self.commands, "{command}")?;
        self.reply()
    }

    fn reply(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.replies.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Supervisor {
    /// Starts `server`; `folder` is removed when it has ended.
    pub(crate) fn start(folder: &Path, server: &[&OsStr]) -> Result<Self, Error> {
        let starting = || "start the supervisor of a Redis server with /bin/sh".to_owned();
        let path = folder.join(SCRIPT_FILE);
        match File::create_new(&path).and_then(|mut file| file.write_all(SCRIPT.as_bytes())) {
            // A restart in the same folder; the script of the first start is still being read.
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(error).on("write", &path);
            }
            _ => {}
        }
        let mut script = Command::new("/bin/sh")
            .arg(&path)
            .arg(folder)
            .args(server)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .context(starting)?;
        let (Some(commands), Some(replies), Some(mut stderr)) = (
            script.stdin.take(),
            script.stdout.take(),
            script.stderr.take(),
        ) else {
            // All three were asked for, so they are there.
            return Err(Error::NotRunning {
                detail: "its supervisor has no pipes".to_owned(),
            });
        };
        let mut channel = Channel {
            commands,
            replies: BufReader::new(replies),
        };
        let pid = channel
            .reply()
            .and_then(|line| line.parse().map_err(|_| io::ErrorKind::InvalidData.into()))
            .context(starting)?;
        let output = thread::spawn(move || {
            let mut bytes = Vec::new();
            // What was read before an error is still worth showing.
            let _ = stderr.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        Ok(Self {
            script,
            pid,
            channel: Mutex::new(Some(channel)),
            output: Some(output),
        })
    }

    /// The server's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether the server has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.output.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Sends STOP or CONT to the server.
    pub(crate) fn signal(&self, name: &str) -> Result<(), Error> {
        if self.ask(name)? == "sent" {
            Ok(())
        } else {
            Err(Error::NotRunning {
                detail: format!("it cannot receive SIG{name}"),
            })
        }
    }

    /// Kills the server with SIGKILL and waits for its end; its folder stays until this value is
    /// dropped or replaced.
    pub(crate) fn kill(&self) -> Result<(), Error> {
        self.ask("kill").map(drop)
    }

    /// Ends the supervision of a server that was killed, and keeps the folder.
    pub(crate) fn leave(self) {
        // If the script is gone already, it has left.
        let _ = self.ask("leave");
    }

    /// What a server that has ended printed; nothing at the second call.
    pub(crate) fn printed(&mut self) -> String {
        if !self.has_ended() {
            return String::new();
        }
        // The thread only reads; if it failed, there is nothing to show.
        self.output
            .take()
            .map(JoinHandle::join)
            .and_then(Result::ok)
            .unwrap_or_default()
    }

    /// Stops the server and waits for its end.
    pub(crate) fn stop(mut self) -> Result<(), Error> {
        self.close();
        self.script
            .wait()
            .map(drop)
            .context(|| "wait for the end of a Redis server".to_owned())
    }

    fn ask(&self, command: &str) -> Result<String, Error> {
        let mut channel = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        channel
            .as_mut()
            .ok_or_else(|| io::ErrorKind::BrokenPipe.into())
            .and_then(|channel| channel.ask(command))
            .map_err(|error| Error::NotRunning {
                detail: format!("its supervisor does not answer: {error}"),
            })
    }

    /// Closes the pipe that keeps the server alive.
    fn close(&mut self) {
        *self
            .channel
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.close();
        // The script stops the server by itself; waiting only makes it so before this returns.
        let _ = self.script.wait();
    }
}
