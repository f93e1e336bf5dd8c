//! Files that a running service reads again: when they change, and when it is told to.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::handle::ServiceHandle;
use crate::error::Result;

/// How often the files are looked at.
const INTERVAL: Duration = Duration::from_secs(2);

/// Files, and how they were when they were last looked at.
#[derive(Debug, Clone)]
pub(super) struct WatchedFiles {
    /// What they are, for the log.
    what: &'static str,
    paths: Vec<PathBuf>,
    seen: Vec<Option<State>>,
}

/// What of a file changes when it is written or replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    modified: Option<SystemTime>,
    bytes: u64,
    inode: u64,
}

impl WatchedFiles {
    /// Looks at the files, which are to be read after that, so that no change is missed.
    pub(super) fn new(what: &'static str, paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let paths: Vec<_> = paths.into_iter().collect();
        let seen = states(&paths);
        Self { what, paths, seen }
    }

    /// Calls `read` after each change of a file, once the files are left alone for one look, and at
    /// each [`reload`](ServiceHandle::reload), for as long as it is polled. A failure is logged: what was read before is to stay in use.
    pub(super) async fn follow<F>(mut self, handle: ServiceHandle, read: F)
    where
        F: Fn() -> Result<()> + Send + Sync + 'static,
    {
        let read = Arc::new(read);
        let mut reloads = handle.reloads();
        let mut last = self.seen.clone();
        let mut interval = tokio::time::interval(INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let is_told = tokio::select! {
                _ = interval.tick() => false,
                // The handle is here, so that it does not end.
                _ = reloads.changed() => true,
            };
            let paths = self.paths.clone();
            let Ok(now) = tokio::task::spawn_blocking(move || states(&paths)).await else {
                continue;
            };
            // What is still being written is not read, unless somebody says so.
            let is_written = std::mem::replace(&mut last, now.clone()) == now;
            if !is_told && (now == self.seen || !is_written) {
                continue;
            }
            self.seen = now;
            let read = Arc::clone(&read);
            match tokio::task::spawn_blocking(move || read()).await {
                Ok(Ok(())) => tracing::info!("the {} were read again", self.what),
                Ok(Err(error)) => tracing::error!(
                    error = %error.report(),
                    "the {} cannot be read; what was read before stays in use",
                    self.what
                ),
                Err(error) => tracing::error!(%error, "reading the {} failed", self.what),
            }
        }
    }
}

fn states(paths: &[PathBuf]) -> Vec<Option<State>> {
    let state = |path: &PathBuf| {
        let metadata = fs::metadata(path).ok()?;
        Some(State {
            modified: metadata.modified().ok(),
            bytes: metadata.len(),
            inode: inode(&metadata),
        })
    };
    paths.iter().map(state).collect()
}

#[cfg(unix)]
fn inode(metadata: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_: &fs::Metadata) -> u64 {
    0
}
