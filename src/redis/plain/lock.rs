//! A lock for what one key cannot decide by itself where scripts are refused.

use std::time::Duration;

use bytes::Bytes;

use super::super::driver::{Command, number};
use super::super::keys::lock_of;
use super::Plain;
use super::flight::Part;
use crate::error::{Error, Result};

/// How long a lock lasts at least if its holder ends without giving it back.
const LEASE: Duration = Duration::from_secs(10);
/// How long to wait between two attempts at most.
const PAUSE: Duration = Duration::from_millis(64);

/// A lock that is held.
pub(super) struct Lock {
    key: Bytes,
    token: Bytes,
}

impl Plain<'_> {
    /// Waits for the lock of a namespace.
    pub(super) async fn lock(&self, registry: &Bytes) -> Result<Lock> {
        let lock = Lock {
            key: lock_of(registry),
            token: Bytes::from(format!("{:032x}", rand::random::<u128>())),
        };
        let lease = self.lease();
        let start = tokio::time::Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            let take = Command::on("SET", lock.key.clone())
                .arg(lock.token.clone())
                .args(["NX", "PX"].map(Bytes::from))
                .arg(number(lease.as_millis()));
            let parts = vec![Part::command(take), Part::of("GET", &lock.key, [])];
            let mut answers = self.flight(parts).await?;
            answers.one()?;
            // What was taken may have been taken by an earlier run of the same command.
            if answers.bytes()?.as_ref() == Some(&lock.token) {
                return Ok(lock);
            }
            if start.elapsed() > lease * 2 {
                return Err(Error::Unavailable {
                    reason: "other calls put checkpoints of the namespace all the time".to_owned(),
                });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE);
        }
    }

    /// How long a lock lasts: no shorter than a flight may take.
    fn lease(&self) -> Duration {
        LEASE.max(self.store.settings.command_timeout)
    }

    /// Holds a lock for its whole time again, so that the next flight is done under it.
    ///
    /// # Errors
    ///
    /// Another call has it, since it ran out.
    pub(super) async fn renew(&self, lock: &Lock) -> Result<()> {
        let lease = number(self.lease().as_millis());
        let parts = vec![
            Part::of("PEXPIRE", &lock.key, [&lease[..]]),
            Part::of("GET", &lock.key, []),
        ];
        let mut answers = self.flight(parts).await?;
        answers.one()?;
        if answers.bytes()?.as_ref() == Some(&lock.token) {
            return Ok(());
        }
        Err(Error::Unavailable {
            reason: "the call took so long that another one put a checkpoint of the namespace \
                     meanwhile; put it again"
                .to_owned(),
        })
    }

    /// Gives a lock back; best effort, since it ends by itself.
    pub(super) async fn unlock(&self, lock: Lock) {
        let given_back = async {
            let mut answers = self.flight(vec![Part::of("GET", &lock.key, [])]).await?;
            if answers.bytes()?.as_ref() == Some(&lock.token) {
                let unlink = Part::of("UNLINK", &lock.key, []);
                self.flight(vec![unlink]).await?.finish()?;
            }
            Ok::<_, Error>(())
        };
        if let Err(error) = given_back.await {
            let key = String::from_utf8_lossy(&lock.key);
            tracing::warn!(%key, %error, "a lock was not given back; it ends by itself soon");
        }
    }
}
