//! Requests whose bodies do not arrive.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

pub(crate) const SECRET: &str = "the key of the half-sent requests";

/// How many requests ended with which status; those that ended without one have 0.
type Ends = BTreeMap<u16, usize>;

pub(crate) struct HalfSent {
    tasks: JoinSet<()>,
    ends: Arc<Mutex<Ends>>,
}

impl HalfSent {
    /// Opens so many requests, and opens each again once it ends.
    pub(crate) async fn start(address: &str, count: usize) -> Self {
        let ends = Arc::<Mutex<Ends>>::default();
        let mut tasks = JoinSet::new();
        for _ in 0..count {
            let (address, ends) = (address.to_owned(), Arc::clone(&ends));
            tasks.spawn(async move {
                loop {
                    let end = half_send(&address).await.unwrap_or_default();
                    *ends.lock().unwrap().entry(end).or_default() += 1;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            });
        }
        // Until all heads are there.
        tokio::time::sleep(Duration::from_secs(1)).await;
        Self { tasks, ends }
    }

    /// Ends the requests; what became of those that ended by themselves.
    pub(crate) fn stop(self) -> String {
        let open = self.tasks.len();
        let ends = self.ends.lock().unwrap();
        let ends = ends
            .iter()
            .map(|(status, count)| format!("{count} ended with {status}"));
        format!("{open} at a time; {}", ends.collect::<Vec<_>>().join(", "))
    }
}

/// Sends the head of a request; the status that it ends with.
async fn half_send(address: &str) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(address).await?;
    let head = format!(
        "POST /checkpoints/get-tuple HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {SECRET}\r\n\
         content-type: application/json\r\ncontent-length: 17\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    let mut answer = [0; 1_024];
    let length = stream.read(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer[..length]);
    let status = answer.split(' ').nth(1);
    Ok(status
        .and_then(|status| status.parse().ok())
        .unwrap_or_default())
}
