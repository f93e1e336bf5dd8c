//! What Redis itself costs: commands through a bare pipelined client.
//!
//! The commands of a call are taken off the wire, by a proxy between a saver and its server, and
//! sent again with another thread, checkpoint and task in the place of the recorded ones.
#![allow(unreachable_pub)]

use std::sync::{Arc, Mutex};

use redis::aio::MultiplexedConnection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Commands as they go over the wire.
pub type Commands = Vec<Vec<Vec<u8>>>;

/// A proxy that keeps what a client says.
pub struct Recorder {
    port: u16,
    said: Arc<Mutex<Said>>,
}

#[derive(Default)]
struct Said {
    bytes: Vec<u8>,
    /// How often the client spoke after the server had answered.
    round_trips: usize,
    answered: bool,
}

impl Recorder {
    /// Stands in front of a server on this machine.
    pub async fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let said = Arc::new(Mutex::<Said>::default());
        let kept = Arc::clone(&said);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
                tokio::spawn(pass(client, server, Arc::clone(&kept)));
            }
        });
        Self { port, said }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The commands since the last call, and how many round trips they took.
    pub fn take(&self) -> (Commands, usize) {
        let said = std::mem::take(&mut *self.said.lock().unwrap());
        // What the client sends next is a round trip of its own.
        self.said.lock().unwrap().answered = true;
        (parse(&said.bytes), said.round_trips)
    }
}

async fn pass(client: TcpStream, server: TcpStream, said: Arc<Mutex<Said>>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let answers = Arc::clone(&said);
    tokio::spawn(async move {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
            {
                let mut said = said.lock().unwrap();
                said.round_trips += usize::from(std::mem::take(&mut said.answered));
                said.bytes.extend_from_slice(&buffer[..length]);
            }
            if to_server.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    });
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
        answers.lock().unwrap().answered = true;
        if to_client.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

/// Reads commands in the protocol that clients speak: arrays of strings with their lengths.
fn parse(mut bytes: &[u8]) -> Commands {
    fn number(bytes: &mut &[u8]) -> usize {
        let end = bytes.iter().position(|byte| *byte == b'\r').unwrap();
        let text = std::str::from_utf8(&bytes[1..end]).unwrap();
        let number = text.parse().unwrap();
        *bytes = &bytes[end + 2..];
        number
    }
    let mut commands = Vec::new();
    while !bytes.is_empty() {
        let parts = (0..number(&mut bytes)).map(|_| {
            let length = number(&mut bytes);
            let part = bytes[..length].to_vec();
            bytes = &bytes[length + 2..];
            part
        });
        let command: Vec<_> = parts.collect();
        let is_upkeep = [&b"PING"[..], b"CLIENT", b"INFO", b"ROLE"].contains(&&*command[0]);
        if !is_upkeep {
            commands.push(command);
        }
    }
    commands
}

/// The same commands with other names in them.
pub fn renamed(commands: &Commands, names: &[(String, String)]) -> Arc<redis::Pipeline> {
    let mut pipeline = redis::pipe();
    for command in commands {
        let mut renamed = redis::Cmd::new();
        for part in command {
            let mut part = part.clone();
            for (from, to) in names {
                assert_eq!(from.len(), to.len(), "names are of one length");
                let mut position = 0;
                while let Some(found) = find(&part[position..], from.as_bytes()) {
                    position += found;
                    part[position..position + to.len()].copy_from_slice(to.as_bytes());
                    position += to.len();
                }
            }
            renamed.arg(part);
        }
        pipeline.add_command(renamed);
    }
    Arc::new(pipeline)
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|here| here == wanted)
}

/// Sends commands in one pipeline and waits for all replies.
pub async fn send(mut connection: MultiplexedConnection, pipeline: &redis::Pipeline) {
    let _: redis::Value = pipeline.query_async(&mut connection).await.unwrap();
}
