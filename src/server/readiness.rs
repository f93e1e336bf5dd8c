//! Whether the store can serve, asked once for all callers of about the same time.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::blobs::{BlobStore, StoreReadiness};

/// How long an answer is reused.
const FRESH: Duration = Duration::from_secs(1);

/// The last answer, and when it was given.
#[derive(Debug, Default)]
pub(super) struct Readiness(Mutex<Option<(Instant, StoreReadiness)>>);

impl Readiness {
    /// The last answer if it is fresh, else a new one. Concurrent callers wait for the same answer.
    pub(super) async fn of(&self, store: &dyn BlobStore, limit: Duration) -> StoreReadiness {
        let mut last = self.0.lock().await;
        if let Some((at, readiness)) = &*last
            && at.elapsed() < FRESH
        {
            return readiness.clone();
        }
        let readiness = tokio::time::timeout(limit, store.readiness()).await;
        let readiness = readiness.unwrap_or_else(|_| {
            StoreReadiness::NotReady("the store did not answer in time".to_owned())
        });
        *last = Some((Instant::now(), readiness.clone()));
        readiness
    }
}
