//! What a long call has done so far, for its progress callback.

use crate::options::{Progress, ProgressCallback};

/// Counts what a long call has done, and reports it.
#[derive(Debug)]
pub(crate) struct Counter {
    progress: Progress,
    blobs: u64,
    callback: Option<ProgressCallback>,
}

impl Counter {
    pub(crate) fn new(callback: Option<ProgressCallback>) -> Self {
        Self {
            progress: Progress::default(),
            blobs: 0,
            callback,
        }
    }

    pub(crate) fn add(&mut self, checkpoints: u64, writes: u64) {
        self.progress.checkpoints += checkpoints;
        self.progress.writes += writes;
        if let Some(callback) = &self.callback {
            callback.report(self.progress);
        }
    }

    /// Blobs are counted and not reported: they are part of their checkpoints.
    pub(crate) fn add_blobs(&mut self, blobs: u64) {
        self.blobs += blobs;
    }

    #[cfg(feature = "cli")]
    pub(crate) fn blobs(&self) -> u64 {
        self.blobs
    }

    /// The callback of a call that goes on from here.
    pub(crate) fn onward(&self) -> Option<ProgressCallback> {
        let (callback, before) = (self.callback.clone()?, self.progress);
        Some(ProgressCallback::new(move |mut progress| {
            progress.checkpoints += before.checkpoints;
            progress.writes += before.writes;
            callback.report(progress);
        }))
    }
}
