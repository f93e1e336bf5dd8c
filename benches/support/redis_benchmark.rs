//! What `redis-benchmark` says of a single command, where it came with the server's programs.
#![allow(unreachable_pub)]

use std::io::Write;
use std::process::{Command, Stdio};

use redis_modules::Installation;
use serde_json::{Value, json};

/// A command that is repeated, and how.
pub struct Repeated {
    pub url: String,
    pub connections: usize,
    /// How many commands are in flight on each connection.
    pub pipelined: usize,
    pub requests: usize,
    /// Its parts; `__rand_int__` is a number that changes.
    pub command: Vec<String>,
    /// The last part, if it is too large for the command line.
    pub last: Option<String>,
}

/// Calls a second and milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Said {
    pub rate: f64,
    pub p50: f64,
    pub p99: f64,
}

impl Said {
    pub fn to_json(self) -> Value {
        json!({"per_second": self.rate, "p50_ms": self.p50, "p99_ms": self.p99})
    }
}

impl Repeated {
    /// Runs it several times and gives the run with the median rate; `None` if there is no
    /// `redis-benchmark` beside the server.
    pub fn run(&self, rounds: usize) -> Option<Said> {
        let mut all: Vec<_> = (0..rounds).map(|_| self.once()).collect::<Option<_>>()?;
        all.sort_by(|one, other| one.rate.total_cmp(&other.rate));
        Some(all[all.len() / 2])
    }

    fn once(&self) -> Option<Said> {
        let installation = Installation::find().ok()??;
        let program = installation.server().with_file_name("redis-benchmark");
        if !program.is_file() {
            return None;
        }
        let mut process = Command::new(program)
            .envs(installation.environment())
            .args(["--csv", "-r", "100000", "-u", &self.url])
            .args(["-c", &self.connections.to_string()])
            .args(["-P", &self.pipelined.to_string()])
            .args(["-n", &self.requests.to_string()])
            .args(self.last.iter().map(|_| "-x"))
            .args(&self.command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut input = process.stdin.take().unwrap();
        if let Some(last) = &self.last {
            input.write_all(last.as_bytes()).unwrap();
        }
        drop(input);
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success(), "redis-benchmark failed");
        let text = String::from_utf8(output.stdout).unwrap();
        // The head, then the command with: rate, mean, least, p50, p95, p99, most.
        let line = text.lines().last().unwrap();
        let mut figures = line.rsplit(',').map(|figure| figure.trim_matches('"'));
        let mut next = |skipped| figures.nth(skipped).unwrap().parse::<f64>().unwrap();
        let (p99, p50, rate) = (next(1), next(1), next(2));
        Some(Said { rate, p50, p99 })
    }
}
