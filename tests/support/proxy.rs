//! A proxy in front of a server that counts round trips, and forgets connections as routers do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Counts how often a client speaks after the server has answered.
pub struct Proxy {
    port: u16,
    round_trips: Arc<AtomicUsize>,
    /// How often connections were forgotten.
    forgotten: watch::Sender<usize>,
}

impl Proxy {
    pub async fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let round_trips = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&round_trips);
        let (forgotten, forgets) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
                let mut forgets = forgets.clone();
                forgets.mark_unchanged();
                let counter = Arc::clone(&counter);
                tokio::spawn(async move {
                    let (mut client, mut server) = (client, server);
                    tokio::select! {
                        () = pass(&mut client, &mut server, &counter) => {}
                        // Both sides take the connection for an open one.
                        _ = forgets.changed() => std::future::pending::<()>().await,
                    }
                });
            }
        });
        Self {
            port,
            round_trips,
            forgotten,
        }
    }

    /// Forgets all connections: whatever is sent over them arrives nowhere. New ones are served.
    pub fn forget(&self) {
        self.forgotten.send_modify(|times| *times += 1);
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn round_trips(&self) -> usize {
        self.round_trips.load(Ordering::SeqCst)
    }
}

async fn pass(client: &mut TcpStream, server: &mut TcpStream, round_trips: &AtomicUsize) {
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.split(), server.split());
    let answered = AtomicBool::new(true);
    let requests = async {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
            if answered.swap(false, Ordering::SeqCst) {
                round_trips.fetch_add(1, Ordering::SeqCst);
            }
            if to_server.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    };
    let replies = async {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
            answered.store(true, Ordering::SeqCst);
            if to_client.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    };
    // One that ends closes both.
    tokio::select! {
        () = requests => {}
        () = replies => {}
    }
}
