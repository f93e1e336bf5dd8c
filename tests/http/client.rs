//! The saver that asks the service: what goes wrong comes back as what it was.

use futures_util::TryStreamExt;
use langgraph_checkpoint_redis::{
    Checkpoint, CheckpointConfig, CheckpointId, CheckpointMetadata, CheckpointSaver, Error,
    ExpectedParent, HttpSaver, ListOptions, PruneOptions, PruneStrategy, PutOptions, RedisSaver,
    RunId, ThreadId, TtlPolicy,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::server::Server;
use crate::support::service::{CONFINED, SECRET, Service, options};

fn saver(service: &Service, key: &str) -> HttpSaver {
    let builder = HttpSaver::builder(service.url("/")).api_key(key);
    builder.build().unwrap()
}

fn thread(id: &str) -> CheckpointConfig {
    CheckpointConfig::new(id).unwrap()
}

#[tokio::test]
async fn errors_come_back_as_what_they_were() {
    let server = Server::start().await;
    let builder = RedisSaver::builder().url(server.redis.url());
    let limited = builder.max_document_bytes(2_000).build().await.unwrap();
    let service = Service::over(limited, options()).await;
    let saver = saver(&service, SECRET);
    let put = async |checkpoint: &Checkpoint, options: &PutOptions| {
        let metadata = CheckpointMetadata::new();
        saver
            .put(&thread("t"), checkpoint, &metadata, options)
            .await
    };
    let small = Checkpoint::builder().build().unwrap();
    put(&small, &PutOptions::default()).await.unwrap();
    let none = PutOptions::default().with_expected_parent(ExpectedParent::None);
    let error = put(&Checkpoint::builder().build().unwrap(), &none)
        .await
        .unwrap_err();
    let Error::Conflict { reason, .. } = &error else {
        panic!("{error}")
    };
    assert!(reason.contains(small.id().as_str()), "{reason}");
    let large = Checkpoint::builder().channel("text", 1, &"x".repeat(3_000));
    let error = put(&large.unwrap().build().unwrap(), &PutOptions::default())
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::TooLarge { limit: 2_000, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_wrong_key_and_a_thread_out_of_reach_are_no_empty_answers() {
    let service = Service::start().await;
    for (key, config) in [("wrong", thread("mine/1")), (CONFINED, thread("theirs"))] {
        let saver = saver(&service, key);
        let error = saver.get_tuple(&config).await.unwrap_err();
        assert!(matches!(error, Error::Service { .. }), "{error}");
        assert!(!error.is_retryable(), "{error}");
        let listed = saver.list(Some(&config), ListOptions::default());
        assert!(listed.try_collect::<Vec<_>>().await.is_err());
        assert!(!format!("{saver:?} {error}").contains(key), "{error}");
    }
}

#[tokio::test]
async fn a_service_that_is_not_there_may_be_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let saver = HttpSaver::builder(format!("http://{address}"))
        .build()
        .unwrap();
    let error = saver.get_tuple(&thread("t")).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

/// A service that answers everything alike.
async fn answering(answer: String) -> HttpSaver {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 64 * 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    HttpSaver::builder(format!("http://{address}"))
        .build()
        .unwrap()
}

#[tokio::test]
async fn an_answer_in_lines_that_breaks_off_is_an_error() {
    let summary = r#"{"item":{"thread_id":"t","checkpoints":1,"newest":null,"ttl_ms":null}}"#;
    for (body, expected) in [
        (format!("{summary}\n{{\"end\":true}}\n"), Some(1)),
        (format!("{summary}\n\n{{\"end\":true}}\n"), Some(1)),
        (format!("{summary}\n"), None),
        (format!("{summary}\n{{\"end\":tr"), None),
        (format!("{summary}\n{{}}\n"), None),
        (
            format!("{summary}\n{{\"error\":{{\"kind\":\"unavailable\"}}}}\n"),
            None,
        ),
        ("<html>\n".to_owned(), None),
        (String::new(), None),
    ] {
        let head = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
        let saver = answering(format!("{head}{body}")).await;
        let found = saver.threads("").try_collect::<Vec<_>>().await;
        assert_eq!(
            found.as_ref().ok().map(Vec::len),
            expected,
            "{body}: {found:?}"
        );
    }
}

#[tokio::test]
async fn an_error_in_the_last_line_names_its_request() {
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
    let line = r#"{"error":{"kind":"unavailable","request_id":"r-7"}}"#;
    let saver = answering(format!("{head}{line}\n")).await;
    let found = saver.threads("").try_collect::<Vec<_>>().await;
    let error = found.unwrap_err();
    assert!(error.to_string().contains("r-7"), "{error}");
}

#[tokio::test]
async fn an_answer_that_is_none_of_the_service_is_an_error() {
    for body in ["", "<html>", "[]", "{\"config\":{}}"] {
        let length = body.len();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
        let saver = answering(format!("{head}{body}")).await;
        let error = saver.get_tuple(&thread("t")).await.unwrap_err();
        assert!(matches!(error, Error::Service { .. }), "{error}");
    }
    let moved = "HTTP/1.1 302 Found\r\nlocation: http://elsewhere/\r\ncontent-length: 0\r\n\r\n";
    let saver = answering(moved.to_owned()).await;
    assert!(saver.get_tuple(&thread("t")).await.is_err());
}

#[tokio::test]
async fn a_store_that_fails_is_known_by_its_kind_alone() {
    let (mut server, service) = {
        let server = Server::start().await;
        let saver = server.saver().await;
        (server, Service::over(saver, options()).await)
    };
    server.run(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let saver = saver(&service, SECRET);
    let checkpoint = Checkpoint::builder()
        .id(CheckpointId::now_v6())
        .build()
        .unwrap();
    let metadata = CheckpointMetadata::new();
    let (thread, options) = (thread("t"), PutOptions::default());
    let put = saver.put(&thread, &checkpoint, &metadata, &options);
    let error = put.await.unwrap_err();
    assert!(matches!(error, Error::OutOfMemory), "{error}");
    assert!(error.is_retryable());
}

#[tokio::test]
async fn a_url_that_is_none_of_a_service_is_refused() {
    for url in [
        "",
        "localhost:80",
        "redis://localhost",
        "http://",
        "http://user:password@localhost",
        "http://localhost/?a=b",
    ] {
        let error = HttpSaver::builder(url).build().unwrap_err();
        assert!(matches!(error, Error::Config { .. }), "{url}: {error}");
        assert!(!error.to_string().contains("password@"), "{error}");
    }
    assert!(
        HttpSaver::builder("https://localhost/below/")
            .build()
            .is_ok()
    );
}

#[tokio::test]
async fn a_service_with_a_ttl_keeps_it() {
    let hour = std::time::Duration::from_secs(3_600);
    let service = Service::with(options(), TtlPolicy::new(hour)).await;
    let saver = saver(&service, SECRET);
    let checkpoint = Checkpoint::builder().build().unwrap();
    let metadata = CheckpointMetadata::new();
    let (thread, options) = (thread("t"), PutOptions::default());
    let put = saver.put(&thread, &checkpoint, &metadata, &options);
    put.await.unwrap();
    let found: Vec<_> = saver.threads("t").try_collect().await.unwrap();
    let left = found[0].ttl.expect("there is a TTL");
    let slack = std::time::Duration::from_secs(60);
    assert!(left <= hour && left + slack > hour, "{found:?}");
}

#[tokio::test]
async fn a_call_for_more_threads_than_a_request_may_name_does_all_of_them() {
    let service = Service::start().await;
    let saver = saver(&service, SECRET);
    let config = thread("t last");
    for _ in 0..2 {
        let checkpoint = Checkpoint::builder().build().unwrap();
        let metadata = CheckpointMetadata::new();
        let run = metadata.with("run_id", "last run").unwrap();
        let options = PutOptions::default();
        saver
            .put(&config, &checkpoint, &run, &options)
            .await
            .unwrap();
    }
    let count = async || {
        let list = saver.list(Some(&config), ListOptions::default());
        list.try_collect::<Vec<_>>().await.unwrap().len()
    };
    assert_eq!(count().await, 2);
    let mut threads: Vec<_> = (0..10_000)
        .map(|number| ThreadId::new(format!("t{number}")).unwrap())
        .collect();
    threads.push(config.thread_id.clone());
    let options = PruneOptions::new(PruneStrategy::KeepLatest);
    saver.prune(&threads, &options).await.unwrap();
    assert_eq!(count().await, 1);
    let mut runs: Vec<_> = (0..10_000)
        .map(|number| RunId::new(format!("run {number}")).unwrap())
        .collect();
    runs.push(RunId::new("last run").unwrap());
    saver.delete_for_runs(&runs).await.unwrap();
    assert_eq!(count().await, 0);
}
