//! A process that writes until it is killed.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use langgraph_checkpoint_redis::{CheckpointSaver, PutOptions};

use crate::load::{Record, checkpoint, metadata, parent};
use crate::{Fault, builder};

const URL: &str = "LANGGRAPH_REDIS_FAULTS_URL";
const THREAD: &str = "LANGGRAPH_REDIS_FAULTS_THREAD";

/// Whether this process is a child.
pub fn is_one() -> bool {
    std::env::var(URL).is_ok()
}

/// Puts checkpoints, and says which were acknowledged.
pub fn work() {
    let (url, thread) = (std::env::var(URL).unwrap(), std::env::var(THREAD).unwrap());
    crate::run(async move {
        let saver = builder(url).build().await.unwrap();
        // Nobody waits for its end.
        for number in 0..100_000 {
            let (config, checkpoint) = (parent(&thread, number), checkpoint(&thread, number));
            let (metadata, options) = (metadata(number), PutOptions::default());
            saver
                .put(&config, &checkpoint, &metadata, &options)
                .await
                .unwrap();
            let mut out = std::io::stdout().lock();
            writeln!(out, "{number}").unwrap();
            out.flush().unwrap();
        }
    });
}

/// A child.
pub struct Child(std::process::Child);

impl Child {
    pub fn start(fault: Fault, url: &str, thread: &str) -> Self {
        let url = format!("{url}?layout={}", fault.layout());
        let mut command = Command::new(std::env::current_exe().unwrap());
        let child = command.env(URL, url).env(THREAD, thread);
        Self(child.stdout(Stdio::piped()).spawn().unwrap())
    }

    /// Kills it with SIGKILL; what it said it has done.
    pub fn kill(mut self) -> Record {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
        let said = BufReader::new(self.0.stdout.take().unwrap());
        let acknowledged: Vec<usize> = said
            .lines()
            .map_while(Result::ok)
            .filter_map(|line| line.parse().ok())
            .collect();
        Record {
            // The one that it was at when it was killed may be there.
            tried: acknowledged.len() + 1,
            acknowledged,
            ..Record::default()
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
