//! How far long work has come, for a person: nothing is shown unless stderr is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::options::{Progress, ProgressCallback};

/// A line that tells how far work has come; it goes when this is dropped.
pub(crate) struct Meter(ProgressBar);

impl Meter {
    /// Work of unknown length.
    pub(crate) fn spinner(what: &'static str) -> Self {
        let bar = ProgressBar::new_spinner().with_message(what);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}: {human_pos} ({per_sec})")
        {
            bar.set_style(style);
        }
        Self::started(bar)
    }

    /// Work of a known length.
    pub(crate) fn bar(what: &'static str, length: u64) -> Self {
        let bar = ProgressBar::new(length).with_message(what);
        let template = "{msg} [{bar:30}] {human_pos}/{human_len} ({per_sec}, {eta})";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        Self::started(bar)
    }

    fn started(bar: ProgressBar) -> Self {
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }

    /// So much more is done.
    pub(crate) fn add(&self, done: u64) {
        self.0.inc(done);
    }

    /// Says something with the line out of the way.
    pub(crate) fn aside<T>(&self, say: impl FnOnce() -> T) -> T {
        self.0.suspend(say)
    }

    /// Tells of a library call that counts checkpoints, from where the line stands now.
    pub(crate) fn callback(&self) -> ProgressCallback {
        let (bar, before) = (self.0.clone(), self.0.position());
        ProgressCallback::new(move |progress: Progress| {
            bar.set_position(before + progress.checkpoints);
        })
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
