//! What the tests run on.
//!
//! Every test binary has this module; none uses all of it.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

#[cfg(all(feature = "otlp", feature = "server"))]
pub(crate) mod collector;
#[cfg(feature = "redis")]
pub(crate) mod golden;
#[cfg(feature = "redis")]
pub(crate) mod nodes;
#[cfg(feature = "redis")]
pub(crate) mod proxy;
pub(crate) mod recorder;
#[cfg(feature = "redis")]
pub(crate) mod resp;
#[cfg(feature = "redis")]
pub(crate) mod server;
#[cfg(feature = "server")]
pub(crate) mod service;
pub(crate) mod states;
pub(crate) mod stored;
#[cfg(feature = "tls")]
pub(crate) mod topologies;

use std::sync::Arc;

use langgraph_checkpoint_redis::conformance::Subject;
use langgraph_checkpoint_redis::{CheckpointSaver, CheckpointSaverExt, MemorySaver, ObservedSaver};

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
    Kind {
        name: "observed",
        subject: observed,
    },
    Kind {
        name: "scoped",
        subject: scoped,
    },
    #[cfg(feature = "redis")]
    Kind {
        name: "scoped, redis",
        subject: scoped_redis,
    },
    #[cfg(feature = "redis")]
    Kind {
        name: "scoped twice, compact",
        subject: scoped_compact,
    },
    #[cfg(feature = "redis")]
    Kind {
        name: "redis",
        subject: redis,
    },
    #[cfg(feature = "redis")]
    Kind {
        name: "redis without search",
        subject: || redis_at(without_search_url, false),
    },
    #[cfg(feature = "redis")]
    Kind {
        name: "cluster (ids without hash tags)",
        subject: || redis_at(cluster_url, false),
    },
    #[cfg(feature = "redis")]
    Kind {
        name: "cluster (hash-tagged)",
        subject: || redis_at(cluster_url, true),
    },
    #[cfg(feature = "redis")]
    Kind {
        name: "compact",
        subject: || compact_at(shared_url),
    },
    #[cfg(feature = "redis")]
    Kind {
        name: "compact without modules",
        subject: || compact_at(without_modules_url),
    },
    #[cfg(feature = "redis")]
    Kind {
        name: "compact on a cluster",
        subject: || compact_at(cluster_url),
    },
    #[cfg(feature = "redis")]
    Kind {
        name: "compact, sealed",
        subject: sealed,
    },
    #[cfg(feature = "redis")]
    Kind {
        name: "compact on a cluster without modules",
        subject: || compact_at(cluster_without_modules_url),
    },
    #[cfg(all(feature = "redis", target_os = "linux", target_arch = "x86_64"))]
    Kind {
        name: "compact on Redis 8",
        subject: || compact_at(others::redis_8_url),
    },
    #[cfg(all(feature = "redis", target_os = "linux", target_arch = "x86_64"))]
    Kind {
        name: "compact on Valkey",
        subject: || compact_at(others::valkey_url),
    },
    #[cfg(all(feature = "redis", target_os = "linux", target_arch = "x86_64"))]
    Kind {
        name: "compact on a cluster of Valkey",
        subject: || compact_at(others::valkey_cluster_url),
    },
    #[cfg(all(feature = "server", feature = "http", feature = "redis"))]
    Kind {
        name: "http",
        subject: http,
    },
    #[cfg(all(feature = "server", feature = "http", feature = "redis"))]
    Kind {
        name: "http over compact",
        subject: http_over_compact,
    },
    #[cfg(all(feature = "server", feature = "http"))]
    Kind {
        name: "http over memory",
        subject: http_over_memory,
    },
];

/// The compact layout on the `redis-server` of the system, if it has one.
#[cfg(feature = "redis")]
fn of_the_system() -> Option<&'static Kind> {
    use std::sync::OnceLock;

    use redis_modules::{Installation, Standalone};

    fn url() -> String {
        static SERVER: OnceLock<Standalone> = OnceLock::new();
        let start = || {
            let found = Installation::find_without_modules().expect("it was there before");
            let builder = Standalone::builder().installation(found);
            builder
                .without_modules()
                .start()
                .expect("no Redis to test with")
        };
        SERVER.get_or_init(start).url()
    }

    Installation::find_without_modules()?;
    Some(&Kind {
        name: "compact on the system's Redis",
        subject: || compact_at(url),
    })
}

/// The same, and those on servers that work together or are secured.
pub(crate) fn kinds() -> impl Iterator<Item = &'static Kind> {
    let all = KINDS.iter();
    #[cfg(feature = "redis")]
    let all = all.chain(of_the_system());
    #[cfg(feature = "tls")]
    let all = all.chain(topologies::KINDS);
    all
}

pub(crate) fn memory() -> Subject {
    Subject::new(|ttl| async move {
        Ok(Arc::new(MemorySaver::with_ttl(ttl)?) as Arc<dyn CheckpointSaver>)
    })
}

pub(crate) fn observed() -> Subject {
    Subject::new(|ttl| async move {
        let saver = ObservedSaver::new(MemorySaver::with_ttl(ttl)?);
        Ok(Arc::new(saver) as Arc<dyn CheckpointSaver>)
    })
}

/// The threads of one tenant, beside which there are others.
pub(crate) fn scoped() -> Subject {
    Subject::new(|ttl| async move {
        let saver = MemorySaver::with_ttl(ttl)?.scoped(TENANT)?;
        Ok(Arc::new(saver) as Arc<dyn CheckpointSaver>)
    })
}

/// A prefix of what is easily mistaken for a pattern.
const TENANT: &str = "t*[a-z]?\\{}/\u{e4}:";

#[cfg(feature = "redis")]
pub(crate) fn scoped_redis() -> Subject {
    let prefix = random_prefix();
    Subject::new(move |ttl| {
        let prefix = prefix.clone();
        async move {
            let saver = redis_saver(&prefix, ttl).await?.scoped(TENANT)?;
            Ok(Arc::new(saver) as Arc<dyn CheckpointSaver>)
        }
    })
}

#[cfg(feature = "redis")]
pub(crate) fn scoped_compact() -> Subject {
    let prefix = random_prefix();
    Subject::new(move |ttl| {
        let prefix = prefix.clone();
        async move {
            let saver = compact_saver(&without_modules_url(), &prefix, ttl).await?;
            let saver = saver.scoped(TENANT)?.scoped("team/")?;
            Ok(Arc::new(saver) as Arc<dyn CheckpointSaver>)
        }
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

/// The same on another server, which starts when it is needed.
#[cfg(feature = "redis")]
pub(crate) fn redis_at(url: fn() -> String, hash_tag_threads: bool) -> Subject {
    let prefix = random_prefix();
    Subject::new(move |ttl| {
        let prefix = prefix.clone();
        async move {
            let saver = saver_at(&url(), &prefix, ttl, hash_tag_threads).await?;
            Ok(Arc::new(saver) as Arc<dyn CheckpointSaver>)
        }
    })
}

#[cfg(feature = "redis")]
fn shared_url() -> String {
    redis_modules::shared_url()
        .expect("no Redis to test with")
        .to_owned()
}

/// Savers of the compact layout.
#[cfg(feature = "redis")]
pub(crate) fn compact_at(url: fn() -> String) -> Subject {
    let prefix = random_prefix();
    Subject::new(move |ttl| {
        let prefix = prefix.clone();
        async move {
            let saver = compact_saver(&url(), &prefix, ttl).await?;
            Ok(Arc::new(saver) as Arc<dyn CheckpointSaver>)
        }
    })
}

/// The same with encryption keys.
#[cfg(feature = "redis")]
pub(crate) fn sealed() -> Subject {
    let prefix = random_prefix();
    Subject::new(move |ttl| {
        let prefix = prefix.clone();
        async move {
            let saver = langgraph_checkpoint_redis::RedisSaver::builder()
                .url(without_modules_url())
                .prefix(&prefix)
                .ttl(ttl)
                .layout(langgraph_checkpoint_redis::redis::Layout::Compact)
                .encryption_keys(encryption_keys(&[("new", 1), ("old", 2)]))
                .build()
                .await?;
            Ok(Arc::new(saver) as Arc<dyn CheckpointSaver>)
        }
    })
}

/// Keys by their ids, each of one byte again and again.
#[cfg(feature = "redis")]
pub(crate) fn encryption_keys(
    keys: &[(&str, u8)],
) -> langgraph_checkpoint_redis::redis::EncryptionKeys {
    use langgraph_checkpoint_redis::redis::{EncryptionKey, EncryptionKeys};

    let keys = keys
        .iter()
        .map(|(id, byte)| EncryptionKey::new(id, [*byte; 32]));
    let keys: Result<Vec<_>, _> = keys.collect();
    EncryptionKeys::new(keys.expect("they are keys")).expect("they are keys")
}

#[cfg(feature = "redis")]
pub(crate) async fn compact_saver(
    url: &str,
    prefix: &str,
    ttl: langgraph_checkpoint_redis::TtlPolicy,
) -> langgraph_checkpoint_redis::Result<langgraph_checkpoint_redis::RedisSaver> {
    langgraph_checkpoint_redis::RedisSaver::builder()
        .url(url)
        .prefix(prefix)
        .ttl(ttl)
        .layout(langgraph_checkpoint_redis::redis::Layout::Compact)
        .build()
        .await
}

#[cfg(feature = "redis")]
pub(crate) async fn saver_at(
    url: &str,
    prefix: &str,
    ttl: langgraph_checkpoint_redis::TtlPolicy,
    hash_tag_threads: bool,
) -> langgraph_checkpoint_redis::Result<langgraph_checkpoint_redis::RedisSaver> {
    langgraph_checkpoint_redis::RedisSaver::builder()
        .url(url)
        .prefix(prefix)
        .ttl(ttl)
        .hash_tag_threads(hash_tag_threads)
        .build()
        .await
}

/// A cluster that a test process shares.
#[cfg(feature = "redis")]
pub(crate) fn cluster() -> &'static redis_modules::Cluster {
    static CLUSTER: std::sync::OnceLock<redis_modules::Cluster> = std::sync::OnceLock::new();
    CLUSTER.get_or_init(|| redis_modules::Cluster::start().expect("no cluster to test with"))
}

#[cfg(feature = "redis")]
pub(crate) fn cluster_url() -> String {
    cluster().url()
}

/// A server that a test process shares, with JSON and without search.
#[cfg(feature = "redis")]
pub(crate) fn without_search_url() -> String {
    static SERVER: std::sync::OnceLock<redis_modules::Standalone> = std::sync::OnceLock::new();
    SERVER
        .get_or_init(|| {
            redis_modules::Standalone::builder()
                .without_search(true)
                .start()
                .expect("no Redis to test with")
        })
        .url()
}

/// A server that a test process shares, without any module.
#[cfg(feature = "redis")]
pub(crate) fn without_modules_url() -> String {
    static SERVER: std::sync::OnceLock<redis_modules::Standalone> = std::sync::OnceLock::new();
    SERVER
        .get_or_init(|| {
            redis_modules::Standalone::builder()
                .without_modules()
                .start()
                .expect("no Redis to test with")
        })
        .url()
}

/// A cluster that a test process shares, without any module.
#[cfg(feature = "redis")]
pub(crate) fn cluster_without_modules_url() -> String {
    static CLUSTER: std::sync::OnceLock<redis_modules::Cluster> = std::sync::OnceLock::new();
    CLUSTER
        .get_or_init(|| {
            redis_modules::Cluster::builder()
                .without_modules()
                .start()
                .expect("no cluster to test with")
        })
        .url()
}

/// Servers of other versions and makers than the one of Redis Stack, which a test process shares.
#[cfg(all(feature = "redis", target_os = "linux", target_arch = "x86_64"))]
mod others {
    use std::sync::OnceLock;

    use redis_modules::ServerWithoutModules::{Redis8, Valkey9};
    use redis_modules::{Cluster, Installation, ServerWithoutModules, Standalone};

    fn installation(server: ServerWithoutModules) -> Installation {
        Installation::install_without_modules(server).expect("no such server to test with")
    }

    fn standalone(server: ServerWithoutModules) -> Standalone {
        let builder = Standalone::builder().installation(installation(server));
        builder
            .without_modules()
            .start()
            .expect("no Redis to test with")
    }

    pub(crate) fn redis_8_url() -> String {
        static SERVER: OnceLock<Standalone> = OnceLock::new();
        SERVER.get_or_init(|| standalone(Redis8)).url()
    }

    pub(crate) fn valkey_url() -> String {
        static SERVER: OnceLock<Standalone> = OnceLock::new();
        SERVER.get_or_init(|| standalone(Valkey9)).url()
    }

    pub(crate) fn valkey_cluster_url() -> String {
        static CLUSTER: OnceLock<Cluster> = OnceLock::new();
        let start = || {
            let builder = Cluster::builder().installation(installation(Valkey9));
            builder
                .without_modules()
                .start()
                .expect("no cluster to test with")
        };
        CLUSTER.get_or_init(start).url()
    }
}

/// Savers that ask a service, each one of its own on loopback, over a Redis saver.
#[cfg(all(feature = "server", feature = "http", feature = "redis"))]
pub(crate) fn http() -> Subject {
    let prefix = random_prefix();
    Subject::new(move |ttl| {
        let prefix = prefix.clone();
        async move {
            let saver = redis_saver(&prefix, ttl).await?;
            Ok(Arc::new(http_saver(saver).await?) as Arc<dyn CheckpointSaver>)
        }
    })
}

/// The same over a saver of the compact layout.
#[cfg(all(feature = "server", feature = "http", feature = "redis"))]
pub(crate) fn http_over_compact() -> Subject {
    let prefix = random_prefix();
    Subject::new(move |ttl| {
        let prefix = prefix.clone();
        async move {
            let saver = compact_saver(&shared_url(), &prefix, ttl).await?;
            Ok(Arc::new(http_saver(saver).await?) as Arc<dyn CheckpointSaver>)
        }
    })
}

/// The same over a memory saver.
#[cfg(all(feature = "server", feature = "http"))]
pub(crate) fn http_over_memory() -> Subject {
    Subject::new(|ttl| async move {
        let saver = http_saver(MemorySaver::with_ttl(ttl)?).await?;
        Ok(Arc::new(saver) as Arc<dyn CheckpointSaver>)
    })
}

#[cfg(all(feature = "server", feature = "http"))]
async fn http_saver(
    saver: impl langgraph_checkpoint_redis::server::BlobStore,
) -> langgraph_checkpoint_redis::Result<langgraph_checkpoint_redis::HttpSaver> {
    use langgraph_checkpoint_redis::HttpSaver;
    use langgraph_checkpoint_redis::server::{ApiKeys, Authentication, ServerOptions, serve_on};

    let keys = ApiKeys::parse(&format!("conformance:{}", ApiKeys::hash("secret")))?;
    let options = ServerOptions::new(Authentication::Keys(keys));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("no port to listen on");
    let address = listener.local_addr().expect("a listener has an address");
    // It serves until the tests end.
    tokio::spawn(serve_on(
        listener,
        saver,
        options,
        std::future::pending::<()>(),
    ));
    HttpSaver::builder(format!("http://{address}"))
        .api_key("secret")
        .build()
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
