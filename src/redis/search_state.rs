//! What a saver knows of search: whether it serves, and since when. Pure state; `index` asks the
//! server.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::id::ThreadId;

/// How many cursors a saver has open at once; the server has 128 for all its clients.
const CURSORS: usize = 16;

/// How long after an index was lost the server is asked for it again: at first, and at most where
/// it is lost again and again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// After so long a loss is not one of a series.
const SERIES: Duration = Duration::from_secs(120);

/// What is known of the indexes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Search {
    pub(super) separator: char,
}

impl Search {
    /// What an index keeps of a thread's id as one tag; `None` if it keeps nothing, or cannot open
    /// its documents.
    pub(crate) fn piece(self, thread: &ThreadId) -> Option<&str> {
        if thread.as_str().contains('\0') {
            return None;
        }
        thread
            .as_str()
            .split(self.separator)
            .map(str::trim)
            .max_by_key(|piece| piece.len())
            .filter(|piece| !piece.is_empty())
    }
}

/// What is known of search.
#[derive(Debug)]
pub(crate) struct SearchState {
    pub(super) known: Mutex<Known>,
    /// Whether the indexes have been there, so that they are made again when they are gone.
    pub(super) seen: AtomicBool,
    /// Whether it was said already that there is no search.
    pub(super) said: AtomicBool,
    pub(super) cursors: Arc<Semaphore>,
    /// When an index was lost last, and the pause after it.
    pub(super) last_loss: Mutex<Option<(Instant, Duration)>>,
}

#[derive(Debug, Clone)]
pub(super) enum Known {
    Nothing,
    /// It serves, since the driver had lost this number of connections.
    On(Search, u64),
    /// It does not serve.
    Off(String, u64),
    /// It does not serve now, and is asked for again after a while.
    Waiting {
        reason: String,
        until: Instant,
    },
}

impl SearchState {
    pub(crate) fn new() -> Self {
        Self {
            known: Mutex::new(Known::Nothing),
            seen: AtomicBool::new(false),
            said: AtomicBool::new(false),
            cursors: Arc::new(Semaphore::new(CURSORS)),
            last_loss: Mutex::new(None),
        }
    }

    /// Waits until one more cursor may be opened.
    pub(super) async fn turn(&self, limit: Duration) -> Result<OwnedSemaphorePermit> {
        let turn = Arc::clone(&self.cursors).acquire_owned();
        match tokio::time::timeout(limit, turn).await {
            Ok(turn) => turn.map_err(|_| Error::Closed),
            Err(_) => Err(Error::Unavailable {
                reason: format!(
                    "{CURSORS} streams over all threads are open and none ended within {limit:?}: read them to their end, or drop them"
                ),
                source: None,
            }),
        }
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        // No call panics while it holds the lock, and what is known is always whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks again at the next call.
    pub(super) fn forget(&self) {
        *self.known() = Known::Nothing;
    }

    /// The indexes were made.
    pub(super) fn have_been_made(&self) {
        self.seen.store(true, Ordering::Relaxed);
        self.forget();
    }

    /// Does without search for a while.
    pub(super) fn wait(&self, reason: &str, pause: Duration) {
        *self.known() = Known::Waiting {
            reason: reason.to_owned(),
            until: Instant::now() + pause,
        };
    }

    /// How long to do without search after a loss.
    pub(super) fn pause(&self) -> Duration {
        let now = Instant::now();
        // As above.
        let mut last = self
            .last_loss
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let pause = match *last {
            Some((at, pause)) if now - at < SERIES => (pause * 2).min(PAUSES.1),
            _ => PAUSES.0,
        };
        *last = Some((now, pause));
        pause
    }

    pub(super) fn say_once(&self, reason: &str) {
        if !self.said.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                reason,
                "there is no search: what goes over all threads walks over the keys"
            );
        }
    }
}
