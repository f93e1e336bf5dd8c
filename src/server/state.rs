//! What the handlers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Semaphore;

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

    /// How many requests are being served.
    pub(super) fn in_flight(&self) -> usize {
        self.options
            .max_in_flight
            .saturating_sub(self.permits.available_permits())
    }
}
