//! What the handlers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Semaphore;

use super::api_keys::{ApiKey, ApiKeys};
use super::budget::Budget;
use super::key_limits::KeyLimits;
use super::options::ServerOptions;
use super::readiness::Readiness;
use crate::blobs::BlobStore;
use crate::error::Result;
use crate::observed::ObservedSaver;

/// What the handlers share; cloning is cheap.
#[derive(Debug, Clone)]
pub(super) struct AppState(Arc<Shared>);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) saver: ObservedSaver<Arc<dyn BlobStore>>,
    pub(super) options: ServerOptions,
    /// One permit for each request that may be served concurrently.
    pub(super) permits: Arc<Semaphore>,
    /// The bytes of bodies that are held in memory.
    pub(super) held_bytes: Arc<Budget>,
    pub(super) readiness: Readiness,
    draining: AtomicBool,
}

impl AppState {
    pub(super) fn new(saver: Arc<dyn BlobStore>, options: &ServerOptions) -> Result<Self> {
        options.check()?;
        let permits = options.max_in_flight.min(Semaphore::MAX_PERMITS);
        Ok(Self(Arc::new(Shared {
            saver: ObservedSaver::new(saver).showing_threads(options.shows_threads),
            permits: Arc::new(Semaphore::new(permits)),
            options: options.clone(),
            held_bytes: Arc::default(),
            readiness: Readiness::default(),
            draining: AtomicBool::new(false),
        })))
    }
}

impl std::ops::Deref for AppState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Shared {
    /// Starts the shutdown: `/readyz` reports 503 from here on.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// The API keys as they are now; `None` if authentication is off.
    pub(super) fn keys(&self) -> Option<ApiKeys> {
        self.options.authentication.keys()
    }

    /// The limits of a key: its own, else those of all keys, else what leaves something to others.
    pub(super) fn limits_of(&self, key: &ApiKey) -> KeyLimits {
        let options = &self.options;
        let is_only_one = self.keys().is_some_and(|keys| keys.len() == 1);
        // One that has nobody beside it meets the limits of the service alone.
        let share = |all: usize| {
            if is_only_one {
                usize::MAX
            } else {
                all.div_ceil(2)
            }
        };
        let mut limits = key.limits.or(options.key_limits);
        limits
            .max_in_flight
            .get_or_insert(share(options.max_in_flight));
        let largest = limits.max_body_bytes.unwrap_or(usize::MAX);
        let largest = largest.min(options.max_body_bytes);
        let held = share(options.max_held_bytes).max(largest);
        let held = *limits.max_held_bytes.get_or_insert(held);
        // A body that could never be held is too large.
        limits.max_body_bytes = Some(largest.min(held));
        limits
    }

    /// How many requests are being served.
    pub(super) fn in_flight(&self) -> usize {
        self.options
            .max_in_flight
            .saturating_sub(self.permits.available_permits())
    }
}
