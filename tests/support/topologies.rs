//! Savers on servers that work together, and on secured ones: with TLS, and as a user who may do
//! what the least of a saver's rights are and nothing else. The servers of a kind start when they
//! are first needed, once in a test process, which they end with.

use std::sync::Arc;
use std::time::Duration;

use langgraph_checkpoint_redis::conformance::Subject;
use langgraph_checkpoint_redis::redis::{Layout, RedisSaverBuilder};
use langgraph_checkpoint_redis::{CheckpointSaver, RedisSaver};
use redis_modules::{
    Certificates, Cluster, Sentinel, SentinelBuilder, Standalone, Tls, saver_rules,
};
use tokio::sync::OnceCell;

use super::Kind;

/// The kinds. Where no other saver uses their servers, keys have their default names, which the
/// rights are for.
pub(crate) const KINDS: &[Kind] = &[
    Kind {
        name: "sentinel",
        subject: || subject(sentinel),
    },
    Kind {
        // Beside the other on its servers.
        name: "compact behind sentinel",
        subject: || {
            subject(|| {
                Box::pin(async {
                    let builder = sentinel().await.prefix("compact");
                    builder.layout(Layout::Compact)
                })
            })
        },
    },
    Kind {
        name: "redis (TLS, least rights)",
        subject: || subject(secured),
    },
    Kind {
        // Beside the other on its server, under a prefix that the rights are for as well.
        name: "compact (TLS, least rights)",
        subject: || {
            subject(|| {
                Box::pin(async {
                    let builder = secured().await.prefix("checkpoint-c");
                    builder.layout(Layout::Compact)
                })
            })
        },
    },
    Kind {
        name: "sentinel (TLS, least rights)",
        subject: || subject(secured_sentinel),
    },
    Kind {
        name: "cluster (hash-tagged, TLS, least rights)",
        subject: || subject(|| Box::pin(async { secured_cluster().await.hash_tag_threads(true) })),
    },
    Kind {
        // Beside the other on its servers, under a prefix that the rights are for as well.
        name: "cluster (ids without hash tags, TLS, least permissions)",
        subject: || subject(|| Box::pin(async { secured_cluster().await.prefix("checkpoint-p") })),
    },
];

type Making = std::pin::Pin<Box<dyn Future<Output = RedisSaverBuilder> + Send>>;

fn subject(builder: fn() -> Making) -> Subject {
    Subject::new(move |ttl| async move {
        let saver = builder().await.ttl(ttl).build().await?;
        Ok(Arc::new(saver) as Arc<dyn CheckpointSaver>)
    })
}

pub(crate) fn sentinel() -> Making {
    static SERVERS: OnceCell<Sentinel> = OnceCell::const_new();
    Box::pin(async {
        let servers = started(&SERVERS, || sentinels().start().unwrap()).await;
        RedisSaver::builder().url(servers.url())
    })
}

/// No failover here: one that a busy machine brings about loses what was not replicated yet.
fn sentinels() -> SentinelBuilder {
    Sentinel::builder().down_after(Duration::from_secs(60))
}

pub(crate) fn secured() -> Making {
    static SERVER: OnceCell<Standalone> = OnceCell::const_new();
    Box::pin(async {
        let server = started(&SERVER, || {
            let builder = Standalone::builder().tls(Tls::new());
            builder
                .user("saver", "se cret", saver_rules())
                .start()
                .unwrap()
        });
        let server = server.await;
        trusting(server.url(), server.certificates())
    })
}

pub(crate) fn secured_sentinel() -> Making {
    static SERVERS: OnceCell<Sentinel> = OnceCell::const_new();
    Box::pin(async {
        let servers = started(&SERVERS, || {
            let builder = sentinels().tls(Tls::new());
            builder
                .user("saver", "se cret", saver_rules())
                .sentinel_user("client", "another")
                .start()
                .unwrap()
        });
        let servers = servers.await;
        trusting(servers.url(), servers.certificates())
    })
}

pub(crate) fn secured_cluster() -> Making {
    static SERVERS: OnceCell<Cluster> = OnceCell::const_new();
    Box::pin(async {
        let servers = started(&SERVERS, || {
            let builder = Cluster::builder().tls(Tls::new());
            builder
                .user("saver", "se cret", saver_rules())
                .start()
                .unwrap()
        });
        let servers = servers.await;
        trusting(servers.url(), servers.certificates())
    })
}

/// Starts servers without holding up the other tests.
async fn started<T: Send + Sync + 'static>(
    cell: &'static OnceCell<T>,
    start: fn() -> T,
) -> &'static T {
    cell.get_or_init(|| async { tokio::task::spawn_blocking(start).await.unwrap() })
        .await
}

fn trusting(url: String, certificates: Option<Certificates>) -> RedisSaverBuilder {
    let ca = certificates.expect("the servers have TLS").ca_file();
    RedisSaver::builder().url(url).tls_ca_file(ca)
}
