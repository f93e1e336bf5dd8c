//! An answer that is given before the body was read reaches a client that reads only afterwards,
//! and nobody holds a connection by sending on.

use std::time::{Duration, Instant};

use langgraph_checkpoint_redis::TtlPolicy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::service::{CONFINED, Raw, SECRET, Service, options};

/// Sends a complete request with a body of 1 MB, and only then reads; returns the head of the
/// response.
async fn sent_before_read(service: &Service, secret: &str) -> Result<String, std::io::Error> {
    let body = vec![b' '; 1_000_000];
    let mut stream = TcpStream::connect(service.address).await?;
    let head = format!(
        "POST /checkpoints/put HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {secret}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    for piece in body.chunks(50_000) {
        stream.write_all(piece).await?;
        tokio::task::yield_now().await;
    }
    // The service has answered long ago.
    tokio::time::sleep(Duration::from_millis(2)).await;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Every one of a hundred such clients sees the answer.
async fn assert_seen(service: &Service, secret: &str, status: &str, header: &str) {
    let mut seen = 0;
    let mut last = String::new();
    for _ in 0..100 {
        last = match sent_before_read(service, secret).await {
            Ok(answer) => answer,
            Err(error) => error.to_string(),
        };
        if last.starts_with(status) && last.contains(header) {
            seen += 1;
        }
    }
    assert_eq!(seen, 100, "{status} was seen {seen} of 100 times: {last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_key_that_sends_first_sees_401() {
    let service = Service::start().await;
    assert_seen(&service, "unknown", "HTTP/1.1 401 ", "www-authenticate").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_body_is_too_large_and_who_sends_first_sees_413() {
    let mut options = options();
    options.max_body_bytes = 100_000;
    let service = Service::with(options, TtlPolicy::default()).await;
    assert_seen(&service, SECRET, "HTTP/1.1 413 ", "more than 100000 bytes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_finds_no_room_and_sends_first_sees_503_and_when_to_come_again() {
    let mut options = options();
    options.max_held_bytes = options.max_body_bytes;
    options.body_timeout = Duration::from_secs(300);
    options.request_timeout = Duration::from_secs(300);
    let all = options.max_held_bytes;
    let service = Service::with(options, TtlPolicy::default()).await;
    // Has all the bytes, as its body does not arrive.
    let mut first = Raw::connect(service.address).await;
    first.begin("/checkpoints/get-tuple", all).await;
    assert_seen(&service, CONFINED, "HTTP/1.1 503 ", "retry-after: 1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_key_has_no_turn_and_who_sends_first_sees_429_and_when_to_come_again() {
    let mut options = options();
    options.key_limits.max_in_flight = Some(1);
    options.body_timeout = Duration::from_secs(300);
    options.request_timeout = Duration::from_secs(300);
    let service = Service::with(options, TtlPolicy::default()).await;
    let mut first = Raw::connect(service.address).await;
    first.begin("/checkpoints/get-tuple", 17).await;
    assert_seen(&service, SECRET, "HTTP/1.1 429 ", "retry-after: 1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_client_that_sends_on_slowly_is_left_in_time() {
    let mut options = options();
    options.body_timeout = Duration::from_millis(500);
    let service = Service::with(options, TtlPolicy::default()).await;
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    let head = "POST /checkpoints/put HTTP/1.1\r\nhost: localhost\r\n\
                content-type: application/json\r\ncontent-length: 10000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 1_024];
    let length = stream.read(&mut answer).await.unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 401 "));
    // A byte now and then, until the service no longer takes any.
    let begun = Instant::now();
    while stream.write_all(b" ").await.is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it is held");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_client_that_sends_without_end_is_left_after_so_many_bytes() {
    let mut options = options();
    options.max_body_bytes = 100_000;
    options.body_timeout = Duration::from_secs(300);
    let service = Service::with(options, TtlPolicy::default()).await;
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    let head = "POST /checkpoints/put HTTP/1.1\r\nhost: localhost\r\n\
                content-type: application/json\r\ncontent-length: 10000000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let piece = vec![b' '; 100_000];
    let mut sent = 0;
    while stream.write_all(&piece).await.is_ok() {
        sent += piece.len();
        // What is read, and what the buffers of both sides hold.
        assert!(sent < 64 * 1024 * 1024, "{sent} bytes were taken");
    }
}
