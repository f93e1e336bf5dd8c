//! Background tasks, and how they report changes.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A task that is aborted when its owner is dropped.
#[derive(Debug)]
pub(crate) struct Task(JoinHandle<()>);

impl Task {
    /// Starts a task.
    pub(crate) fn start(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }

    /// Aborts it.
    pub(super) fn stop(&self) {
        self.0.abort();
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Wakes the calls that wait for a connection when one was made or lost, or a slot has moved.
#[derive(Debug)]
pub(super) struct Changes(watch::Sender<()>);

impl Changes {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(())))
    }

    /// Wakes those who wait.
    pub(super) fn notify(&self) {
        self.0.send_replace(());
    }

    /// A receiver of the changes from this moment on.
    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.0.subscribe()
    }
}
