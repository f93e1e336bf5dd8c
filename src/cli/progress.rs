//! Progress bars on stderr; nothing is shown unless stderr is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::options::{Progress, ProgressCallback};

/// A progress bar, which is removed when this is dropped.
pub(crate) struct Meter(ProgressBar);

impl Meter {
    /// A spinner, for work of unknown length.
    pub(crate) fn spinner(what: &'static str) -> Self {
        let bar = ProgressBar::new_spinner().with_message(what);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}: {human_pos} ({per_sec})")
        {
            bar.set_style(style);
        }
        Self::started(bar)
    }

    /// A bar, for work of a known length.
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

    /// Advances the bar.
    pub(crate) fn add(&self, done: u64) {
        self.0.inc(done);
    }

    /// Prints something while the bar is hidden.
    pub(crate) fn aside<T>(&self, say: impl FnOnce() -> T) -> T {
        self.0.suspend(say)
    }

    /// A callback for a library call that counts checkpoints, from the current position on.
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
