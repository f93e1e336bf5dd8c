//! The Redis protocol as proxies of tests read it: command by command, reply by reply.

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;

/// A client or a server at the other end of a connection.
pub type Peer = BufReader<TcpStream>;

/// Reads a command; `None` once the client is gone.
pub async fn read_command(client: &mut Peer) -> Option<Vec<Vec<u8>>> {
    let count: usize = read_line(client).await?[1..].parse().unwrap();
    let mut command = Vec::with_capacity(count);
    for _ in 0..count {
        let length: usize = read_line(client).await?[1..].parse().unwrap();
        let mut part = vec![0; length + 2];
        client.read_exact(&mut part).await.ok()?;
        part.truncate(length);
        command.push(part);
    }
    Some(command)
}

/// A command as it is sent.
pub fn packed(command: &[Vec<u8>]) -> Vec<u8> {
    let mut packed = redis::Cmd::new();
    for part in command {
        packed.arg(part);
    }
    packed.get_packed_command()
}

/// Reads one reply as it is, with all that is in it; `None` once the server is gone.
pub async fn read_reply(server: &mut Peer, reply: &mut Vec<u8>) -> Option<()> {
    let mut left = 1_usize;
    while left > 0 {
        left -= 1;
        let line = read_line(server).await?;
        reply.extend_from_slice(line.as_bytes());
        reply.extend_from_slice(b"\r\n");
        let length: Option<usize> = line[1..].parse().ok();
        match (line.as_bytes()[0], length) {
            (b'$', Some(length)) => {
                let mut bytes = vec![0; length + 2];
                server.read_exact(&mut bytes).await.ok()?;
                reply.extend_from_slice(&bytes);
            }
            (b'*', Some(elements)) => left += elements,
            _ => {}
        }
    }
    Some(())
}

async fn read_line(from: &mut Peer) -> Option<String> {
    let mut line = String::new();
    (from.read_line(&mut line).await.ok()? > 0).then(|| line.trim_end().to_owned())
}
