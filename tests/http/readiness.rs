//! `/readyz`: whether the service can serve, and why not.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use langgraph_checkpoint_redis::{CheckpointSaverExt, ListOptions};

use crate::support::server::Server;
use crate::support::service::{Answer, Service, options};

#[tokio::test]
async fn a_store_that_takes_no_writes_is_not_ready() {
    let mut server = Server::start().await;
    let service = Service::over(server.saver().await, options()).await;
    assert_eq!(service.get("/readyz").await.status, 200);
    server.run(&["REPLICAOF", "127.0.0.1", "1"]).await;
    let response = until_ready_is(&service, 503).await;
    assert!(!response.text.contains("replica"), "{response:?}");
    assert!(
        !response.text.contains(&server.redis.port().to_string()),
        "{response:?}"
    );
    server.run(&["REPLICAOF", "NO", "ONE"]).await;
    until_ready_is(&service, 200).await;
}

/// What was found stands for a moment.
async fn until_ready_is(service: &Service, status: u16) -> Answer {
    for _ in 0..300 {
        let response = service.get("/readyz").await;
        if response.status == status {
            return response;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it was never {status}");
}

#[tokio::test]
async fn many_who_ask_whether_it_is_ready_ask_the_store_once() {
    let mut server = Server::start().await;
    let service = Service::over(server.saver().await, options()).await;
    let before = server.calls_of("json.type").await;
    let response = stream::iter(0..200)
        .map(|_| service.get("/readyz"))
        .buffer_unordered(50)
        .map(|response| response.status.as_u16())
        .collect::<Vec<_>>()
        .await;
    assert!(response.iter().all(|status| *status == 200), "{response:?}");
    let asked = server.calls_of("json.type").await - before;
    assert!(
        (1..50).contains(&asked),
        "the store was asked {asked} times"
    );
}

#[tokio::test]
async fn a_store_that_refuses_writes_is_not_ready_until_it_takes_them_again() {
    let mut server = Server::start().await;
    let service = Service::over(server.saver().await, options()).await;
    for (key, value, normal) in [
        ("maxmemory", "1mb", "0"),
        ("min-replicas-to-write", "1", "0"),
    ] {
        assert_eq!(until_ready_is(&service, 200).await.text, "ready");
        server.run(&["CONFIG", "SET", key, value]).await;
        let response = until_ready_is(&service, 503).await;
        assert!(response.text.contains(key), "{response:?}");
        assert!(
            !response.text.contains(&server.redis.port().to_string()),
            "{response:?}"
        );
        assert_eq!(service.get("/healthz").await.status, 200);
        server.run(&["CONFIG", "SET", key, normal]).await;
    }
    until_ready_is(&service, 200).await;
}

/// One search on another database makes RediSearch read nothing of this one, until the index is
/// made again.
#[tokio::test]
async fn a_store_without_its_search_is_ready_and_reports_it() {
    let server = Server::start().await;
    let service = Service::over(server.saver().await, options()).await;
    let put = serde_json::json!({
        "thread_id": "t", "checkpoint_id": "1", "checkpoint": {"id": "1"},
    });
    service.ok("/checkpoints/put", put).await;
    assert_eq!(service.get("/readyz").await.text, "ready");
    let other = redis::Client::open(format!("{}/9", server.redis.url())).unwrap();
    let mut other = other.get_multiplexed_async_connection().await.unwrap();
    let _: redis::Value = redis::cmd("FT.SEARCH")
        .arg(&["checkpoint", "*"])
        .query_async(&mut other)
        .await
        .unwrap();
    for _ in 0..300 {
        // Who searches takes note that nothing can be read.
        let all = service.saver.list_all(None, ListOptions::default()).await;
        assert_eq!(all.unwrap().len(), 1);
        let response = service.get("/readyz").await;
        assert_eq!(response.status, 200, "{response:?}");
        if response.text.contains("without search") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the lost search was never response");
}
