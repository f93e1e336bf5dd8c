//! The signals that a service listens to.

#[cfg(unix)]
use std::io::{self, IsTerminal};

#[cfg(unix)]
use super::failure::Failure;
use super::failure::Outcome;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// To end, as Ctrl-C, SIGTERM and a terminal that is closed do.
    Stop,
    /// To read files again, as SIGHUP does.
    #[cfg_attr(not(unix), allow(dead_code))] // There is no such signal.
    Reload,
}

/// The signals that a service listens to.
pub(crate) struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    /// `None` if the signal is ignored, as under `nohup`.
    #[cfg(unix)]
    hangup: Option<tokio::signal::unix::Signal>,
    /// Whether the process was started on a terminal.
    #[cfg(unix)]
    on_terminal: bool,
}

impl Signals {
    /// Waits for any of them, of a command that has no files to read again.
    pub(crate) async fn any(&mut self) {
        self.next().await;
    }
}

#[cfg(unix)]
impl Signals {
    pub(crate) fn listen() -> Outcome<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| {
            signal(kind)
                .map_err(|error| Failure::File(format!("cannot listen for signals: {error}")))
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: if ignores_hangup() {
                None
            } else {
                Some(listen(SignalKind::hangup())?)
            },
            on_terminal: has_terminal(),
        })
    }

    /// Waits for Ctrl-C, SIGTERM or SIGHUP.
    pub(crate) async fn next(&mut self) -> Signal {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.terminate.recv() => Signal::Stop,
            // It is also how the system says that the terminal was closed: then there is none.
            _ = hangup => if self.on_terminal && !has_terminal() {
                Signal::Stop
            } else {
                Signal::Reload
            },
        }
    }
}

/// Whether the process reads from or writes to a terminal.
#[cfg(unix)]
fn has_terminal() -> bool {
    io::stdin().is_terminal() || io::stdout().is_terminal() || io::stderr().is_terminal()
}

/// Whether SIGHUP was ignored when the process started, as far as the system says.
#[cfg(unix)]
fn ignores_hangup() -> bool {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else {
        return false;
    };
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // SIGHUP is number 1, the lowest bit.
    ignored
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 == 1)
}

#[cfg(not(unix))]
impl Signals {
    #[allow(clippy::unnecessary_wraps)] // As on Unix.
    pub(crate) fn listen() -> Outcome<Self> {
        Ok(Self {})
    }

    /// Waits for Ctrl-C.
    pub(crate) async fn next(&mut self) -> Signal {
        if tokio::signal::ctrl_c().await.is_err() {
            // Without a handler the service runs until the process is killed.
            std::future::pending::<()>().await;
        }
        Signal::Stop
    }
}
