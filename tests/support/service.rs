//! A service of a test's own, and a client to speak to it.

use std::net::SocketAddr;

use langgraph_checkpoint_redis::server::{
    ApiKeys, Authentication, BlobStore, ServerOptions, serve_on,
};
use langgraph_checkpoint_redis::{Error, MemorySaver, RedisSaver, TtlPolicy};
use reqwest::StatusCode;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The secret of a key that reaches every thread.
pub const SECRET: &str = "the secret of the tests";
/// The secret of a key that reaches the threads that start with `mine/`.
pub const CONFINED: &str = "the secret of a team";

pub fn options() -> ServerOptions {
    let lines = format!(
        "tests:{}\nteam:{}:mine/",
        ApiKeys::hash(SECRET),
        ApiKeys::hash(CONFINED)
    );
    ServerOptions::new(Authentication::Keys(ApiKeys::parse(&lines).unwrap()))
}

/// A running service.
pub struct Service<S = RedisSaver> {
    pub address: SocketAddr,
    pub saver: S,
    client: reqwest::Client,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), Error>>,
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text))
    }
}

impl Service {
    pub async fn start() -> Self {
        Self::with(options(), TtlPolicy::default()).await
    }

    pub async fn with(options: ServerOptions, ttl: TtlPolicy) -> Self {
        let prefix = crate::support::random_prefix();
        let saver = crate::support::redis_saver(&prefix, ttl).await.unwrap();
        Self::over(saver, options).await
    }
}

impl Service<MemorySaver> {
    pub async fn in_memory() -> Self {
        Self::over(MemorySaver::new(), options()).await
    }
}

impl<S: BlobStore + Clone> Service<S> {
    pub async fn over(saver: S, options: ServerOptions) -> Self {
        saver.setup().await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(serve_on(listener, saver.clone(), options, async {
            // A service that is dropped by its test stops as well.
            let _ = stopped.await;
        }));
        Self {
            address,
            saver,
            client: client(),
            stop,
            running,
        }
    }
}

impl<S> Service<S> {
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn request(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.post(self.url(path)).bearer_auth(SECRET)
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.post_as(SECRET, path, body).await
    }

    pub async fn post_as(&self, secret: &str, path: &str, body: Value) -> Answer {
        let request = self.client.post(self.url(path)).bearer_auth(secret);
        let request = request
            .header("content-type", "application/json")
            .body(body.to_string());
        answer(request).await
    }

    /// Posts a body that must be served, and gives the answer.
    pub async fn ok(&self, path: &str, body: Value) -> Value {
        let answer = self.post(path, body).await;
        assert!(answer.status.is_success(), "{answer:?}");
        if answer.text.is_empty() {
            Value::Null
        } else {
            answer.json()
        }
    }

    /// Posts a body that must be served and is answered in lines, of which the last is the end.
    pub async fn ok_lines(&self, path: &str, body: Value) {
        let answer = self.post(path, body).await;
        assert!(
            answer.status.is_success() && answer.text.ends_with("{\"end\":true}\n"),
            "{answer:?}"
        );
    }

    pub async fn get(&self, path: &str) -> Answer {
        answer(self.client.get(self.url(path)).bearer_auth(SECRET)).await
    }

    /// Begins the shutdown, and waits until the service has ended.
    pub async fn stop(self) {
        self.stop.send(()).unwrap();
        self.running.await.unwrap().unwrap();
    }

    /// Begins the shutdown.
    pub fn begin_to_stop(self) -> JoinHandle<Result<(), Error>> {
        self.stop.send(()).unwrap();
        self.running
    }
}

pub fn client() -> reqwest::Client {
    // Tests use HTTP without TLS; the client needs a configuration of TLS all the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

pub async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    Answer {
        status: response.status(),
        headers: response.headers().clone(),
        text: response.text().await.unwrap(),
    }
}

/// A connection on which a test says what it likes.
pub struct Raw(tokio::net::TcpStream);

impl Raw {
    pub async fn connect(address: SocketAddr) -> Self {
        Self(tokio::net::TcpStream::connect(address).await.unwrap())
    }

    pub async fn send(&mut self, text: &str) {
        use tokio::io::AsyncWriteExt;
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// The head of a request to an endpoint, with the length of its body.
    pub async fn send_head(&mut self, path: &str, length: usize) {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {SECRET}\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        );
        self.send(&head).await;
    }

    /// Sends the head of a request and waits until the service asks for its body: from then on it
    /// is in flight.
    pub async fn begin(&mut self, path: &str, length: usize) {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {SECRET}\r\n\
             content-type: application/json\r\nexpect: 100-continue\r\n\
             content-length: {length}\r\n\r\n"
        );
        self.send(&head).await;
        let answer = self.read_some().await;
        assert!(answer.starts_with("HTTP/1.1 100 "), "{answer}");
    }

    /// Sends the head of a request with a key, and gives what is answered: `HTTP/1.1 100 Continue`
    /// if the service waits for the body.
    pub async fn begin_as(&mut self, secret: &str, path: &str, length: usize) -> String {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {secret}\r\n\
             content-type: application/json\r\nexpect: 100-continue\r\n\
             content-length: {length}\r\n\r\n"
        );
        self.send(&head).await;
        self.read_some().await
    }

    /// What is answered until the service closes the connection.
    pub async fn read_to_end(&mut self) -> String {
        use tokio::io::AsyncReadExt;
        let mut answer = Vec::new();
        let read = self.0.read_to_end(&mut answer);
        let read = tokio::time::timeout(std::time::Duration::from_secs(30), read).await;
        // A connection that is reset has ended as well.
        let _ = read.expect("the connection is still open");
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// What is answered next.
    pub async fn read_some(&mut self) -> String {
        use tokio::io::AsyncReadExt;
        let mut answer = vec![0; 64 * 1024];
        let read = self.0.read(&mut answer);
        let read = tokio::time::timeout(std::time::Duration::from_secs(30), read).await;
        let length = read.expect("nothing is answered").unwrap();
        String::from_utf8_lossy(&answer[..length]).into_owned()
    }
}
