//! A network connection to a server that can be made to fail.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// What happens to bytes on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// They arrive.
    Working,
    /// Replies are lost, and then the connection.
    NoReplies,
    /// They arrive later.
    Slow(Duration),
    /// The connection is cut after this number of bytes, in either direction.
    CutAfter(usize),
}

/// A wire.
pub struct Wire {
    port: u16,
    condition: Arc<Mutex<Condition>>,
}

impl Wire {
    pub async fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let condition = Arc::new(Mutex::new(Condition::Working));
        let above = Arc::clone(&condition);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await {
                    tokio::spawn(join(client, server, Arc::clone(&above)));
                }
            }
        });
        Self { port, condition }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn set(&self, condition: Condition) {
        *self.condition.lock().unwrap() = condition;
    }
}

/// Both directions; when one ends, the wire is cut.
async fn join(client: TcpStream, server: TcpStream, condition: Arc<Mutex<Condition>>) {
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = pass(from_client, to_server, Arc::clone(&condition), false) => {}
        () = pass(from_server, to_client, condition, true) => {}
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    condition: Arc<Mutex<Condition>>,
    are_replies: bool,
) {
    let mut buffer = vec![0; 1 << 16];
    let mut passed = 0;
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let now = *condition.lock().unwrap();
        let mut bytes = &buffer[..length];
        let mut is_last = false;
        match now {
            Condition::Slow(delay) => tokio::time::sleep(delay).await,
            Condition::NoReplies if are_replies => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                return;
            }
            Condition::Working | Condition::NoReplies => {}
            Condition::CutAfter(most) => {
                // Counted from when the condition changed.
                is_last = passed + length >= most;
                bytes = &bytes[..length.min(most.saturating_sub(passed))];
                passed += length;
            }
        }
        if to.write_all(bytes).await.is_err() || is_last {
            return;
        }
    }
}
