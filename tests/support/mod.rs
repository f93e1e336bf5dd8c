//! What the tests run on.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[cfg(feature = "tls")]
pub(crate) mod topologies;

use std::sync::Arc;

use langgraph_checkpoint_redis::conformance::Subject;
use langgraph_checkpoint_redis::{CheckpointSaver, MemorySaver};

/// A kind of saver, and how it is made.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) subject: fn() -> Subject,
}

/// Every kind of saver that the features of this build have.
pub(crate) const KINDS: &[Kind] = &[
    Kind {
        name: "memory",
        subject: memory,
    },
    #[cfg(feature = "redis")]
    Kind {
        name: "redis",
        subject: redis,
    },
];

/// The same, and those on servers that work together or are secured.
pub(crate) fn kinds() -> impl Iterator<Item = &'static Kind> {
    let all = KINDS.iter();
    #[cfg(feature = "tls")]
    let all = all.chain(topologies::KINDS);
    all
}

pub(crate) fn memory() -> Subject {
    Subject::new(|ttl| async move {
        Ok(Arc::new(MemorySaver::with_ttl(ttl)?) as Arc<dyn CheckpointSaver>)
    })
}

/// Redis savers of one test share a prefix, and so their store.
#[cfg(feature = "redis")]
pub(crate) fn redis() -> Subject {
    let prefix = random_prefix();
    Subject::new(move |ttl| {
        let prefix = prefix.clone();
        async move { Ok(Arc::new(redis_saver(&prefix, ttl).await?) as Arc<dyn CheckpointSaver>) }
    })
}

#[cfg(feature = "redis")]
pub(crate) fn random_prefix() -> String {
    format!(
        "test-{}",
        langgraph_checkpoint_redis::CheckpointId::now_ulid()
    )
}

/// The one place where tests make a Redis saver.
#[cfg(feature = "redis")]
pub(crate) async fn redis_saver(
    prefix: &str,
    ttl: langgraph_checkpoint_redis::TtlPolicy,
) -> langgraph_checkpoint_redis::Result<langgraph_checkpoint_redis::RedisSaver> {
    let url = redis_modules::shared_url().expect("no Redis to test with");
    langgraph_checkpoint_redis::RedisSaver::builder()
        .url(url)
        .prefix(prefix)
        .ttl(ttl)
        .build()
        .await
}
