//! What a program tells a service that runs, and hears of it.

use tokio::sync::watch;

/// Tells a running service to read its files again, or not to wait any longer before it shuts
/// down. Clones tell the same service; [`ServerOptions::handle`](super::ServerOptions) has one.
#[derive(Debug, Clone)]
pub struct ServiceHandle {
    reloads: watch::Sender<u64>,
    delay: watch::Sender<Delay>,
    ready: watch::Sender<bool>,
}

/// The time between the begin of a shutdown and the end of listening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delay {
    NotBegun,
    Running,
    Over,
}

impl Default for ServiceHandle {
    fn default() -> Self {
        Self {
            reloads: watch::Sender::new(0),
            delay: watch::Sender::new(Delay::NotBegun),
            ready: watch::Sender::new(false),
        }
    }
}

impl ServiceHandle {
    /// Waits until the service accepts connections.
    pub async fn ready(&self) {
        // The sender is here, so that it does not end.
        let _ = self.ready.subscribe().wait_for(|ready| *ready).await;
    }

    /// Reads the files of the service again, as after a change of them. What cannot be read is
    /// logged, and what was read before stays in use.
    pub fn reload(&self) {
        self.reloads.send_modify(|count| *count += 1);
    }

    /// Ends the [`shutdown_delay`](super::ServerOptions::shutdown_delay), if it has begun; gives
    /// whether it was running.
    #[must_use = "it says whether there was something to end"]
    pub fn end_shutdown_delay(&self) -> bool {
        self.delay.send_if_modified(|delay| {
            let is_running = *delay == Delay::Running;
            if is_running {
                *delay = Delay::Over;
            }
            is_running
        })
    }

    /// From now on the service accepts connections.
    pub(super) fn set_ready(&self) {
        self.ready.send_replace(true);
    }

    /// Each call of [`reload`](Self::reload) from now on is a change of it.
    pub(super) fn reloads(&self) -> watch::Receiver<u64> {
        self.reloads.subscribe()
    }

    /// Waits for the delay, or until somebody ends it.
    pub(super) async fn delay(&self, time: std::time::Duration) {
        if time.is_zero() {
            return;
        }
        let mut delay = self.delay.subscribe();
        self.delay.send_replace(Delay::Running);
        let ended = delay.wait_for(|delay| *delay == Delay::Over);
        // Either is fine.
        let _ = tokio::time::timeout(time, ended).await;
        self.delay.send_replace(Delay::Over);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn only_a_delay_that_runs_can_be_ended() {
        let handle = ServiceHandle::default();
        assert!(!handle.end_shutdown_delay());
        handle.delay(Duration::ZERO).await;
        assert!(!handle.end_shutdown_delay());
        let delayed = tokio::spawn({
            let handle = handle.clone();
            async move { handle.delay(Duration::from_secs(3_600)).await }
        });
        while !handle.end_shutdown_delay() {
            tokio::task::yield_now().await;
        }
        delayed.await.unwrap();
        assert!(!handle.end_shutdown_delay());
    }
}
