//! A connection that many calls share: commands go out in the order in which they come, all that
//! wait with one write, and answers are matched to them in that order.
//!
//! fred's own connections write each command of ours by itself, since it cannot know which ones do
//! not block; that costs a call more than all the rest that is done for it here.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use fred::error::{Error as FredError, ErrorKind};
use fred::types::config::{Config, Server, ServerConfig};
use redis_protocol::resp2::decode::decode_bytes_mut;
use redis_protocol::resp2::types::BytesFrame;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::flight::{Answers, lost};
use super::{Command, Reply};

/// How much room there is at least for what is read.
const ROOM: usize = 16 * 1_024;
/// From which size on something is written from where it is.
const LARGE: usize = 32 * 1_024;
/// How much is gathered for one write.
const GATHERED: usize = 64 * 1_024;

/// A connection that many calls share. It ends with the last of its handles, or its task.
#[derive(Debug)]
pub(super) struct Multiplexed {
    requests: mpsc::UnboundedSender<Request>,
}

/// Commands of one flight, as they are sent; a password may be among them.
struct Request {
    commands: Vec<Bytes>,
    waiting: Waiting,
}

/// Who waits for how many answers.
struct Waiting {
    count: usize,
    answers: oneshot::Sender<Answers>,
}

/// Those who wait, in the order of their commands.
type Queue = Mutex<VecDeque<Waiting>>;

impl Multiplexed {
    /// Connects to a server; the task ends with the connection, and says why.
    pub(super) async fn open(
        config: &Config,
        server: &ServerConfig,
    ) -> Result<(Self, JoinHandle<Result<(), FredError>>), FredError> {
        let (requests, received) = mpsc::unbounded_channel();
        let task = match server {
            #[cfg(unix)]
            ServerConfig::Unix { path } => {
                let stream = tokio::net::UnixStream::connect(path).await?;
                tokio::spawn(drive(stream, received))
            }
            ServerConfig::Centralized { server } => {
                let stream = TcpStream::connect((&*server.host, server.port)).await?;
                stream.set_nodelay(true)?;
                secure(config, server, stream, received).await?
            }
            _ => {
                let reason = "a connection is to one server";
                return Err(FredError::new(ErrorKind::Config, reason));
            }
        };
        Ok((Self { requests }, task))
    }

    /// Says who it is, and chooses the database.
    pub(super) async fn introduce(&self, config: &Config) -> Result<(), FredError> {
        let mut commands = Vec::new();
        if let Some(password) = &config.password {
            let user = config.username.iter().cloned().map(Bytes::from);
            let auth = Command::new("AUTH").args(user);
            commands.push(auth.arg(password.clone()));
        }
        if let Some(database) = config.database {
            commands.push(Command::new("SELECT").arg(super::number(database)));
        }
        let introductions = commands.len();
        // A server that wants a password says so to any command; this one may be no right of ours.
        commands.push(Command::new("PING"));
        let commands: Vec<_> = commands.iter().collect();
        for (place, answer) in self.run(&commands).await?.into_iter().enumerate() {
            match answer {
                Err(error) if place < introductions || *error.kind() == ErrorKind::Auth => {
                    return Err(error);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Runs commands in their order, and returns the answer to each.
    pub(super) async fn run(&self, commands: &[&Command]) -> Result<Answers, FredError> {
        let (answers, answered) = oneshot::channel();
        let request = Request {
            commands: encoded(commands),
            waiting: Waiting {
                count: commands.len(),
                answers,
            },
        };
        let gone = || lost("the connection was lost");
        self.requests.send(request).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())
    }
}

#[cfg(not(feature = "tls"))]
async fn secure(
    _: &Config,
    _: &Server,
    stream: TcpStream,
    requests: mpsc::UnboundedReceiver<Request>,
) -> Result<JoinHandle<Result<(), FredError>>, FredError> {
    Ok(tokio::spawn(drive(stream, requests)))
}

/// Starts the task of a connection, with TLS if it is turned on.
#[cfg(feature = "tls")]
async fn secure(
    config: &Config,
    server: &Server,
    stream: TcpStream,
    requests: mpsc::UnboundedReceiver<Request>,
) -> Result<JoinHandle<Result<(), FredError>>, FredError> {
    use fred::rustls::pki_types::ServerName;
    use fred::types::config::TlsConnector;

    let Some(tls) = &config.tls else {
        return Ok(tokio::spawn(drive(stream, requests)));
    };
    let TlsConnector::Rustls(connector) = &tls.connector;
    let name = server.tls_server_name.as_ref().unwrap_or(&server.host);
    let name = ServerName::try_from(name.to_string())
        .map_err(|error| FredError::new(ErrorKind::Tls, error.to_string()))?;
    let stream = connector.connect(name, stream).await?;
    Ok(tokio::spawn(drive(stream, requests)))
}

/// Commands as they go over the wire, in pieces: what is large is not copied.
fn encoded(commands: &[&Command]) -> Vec<Bytes> {
    let small = |arg: &Bytes| if arg.len() < LARGE { arg.len() } else { 0 };
    let size = |command: &&Command| {
        let args = command.args.iter();
        48 + args.map(|arg| small(arg) + 16).sum::<usize>()
    };
    let mut pieces = Vec::with_capacity(1);
    let mut encoded = BytesMut::with_capacity(commands.iter().map(size).sum());
    for command in commands {
        head(&mut encoded, b'*', command.args.len() + 1);
        head(&mut encoded, b'$', command.name.len());
        encoded.extend_from_slice(command.name.as_bytes());
        encoded.extend_from_slice(b"\r\n");
        for arg in &command.args {
            head(&mut encoded, b'$', arg.len());
            if arg.len() < LARGE {
                encoded.extend_from_slice(arg);
            } else {
                pieces.extend([encoded.split().freeze(), arg.clone()]);
            }
            encoded.extend_from_slice(b"\r\n");
        }
    }
    pieces.push(encoded.freeze());
    pieces
}

/// The length of what follows.
fn head(encoded: &mut BytesMut, kind: u8, length: usize) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut left = length;
    loop {
        at -= 1;
        // A digit is less than ten.
        digits[at] = b'0' + u8::try_from(left % 10).unwrap_or_default();
        left /= 10;
        if left == 0 {
            break;
        }
    }
    encoded.extend_from_slice(&[kind]);
    encoded.extend_from_slice(&digits[at..]);
    encoded.extend_from_slice(b"\r\n");
}

/// Writes and reads until the connection ends, and says why.
async fn drive(
    stream: impl AsyncRead + AsyncWrite,
    requests: mpsc::UnboundedReceiver<Request>,
) -> Result<(), FredError> {
    let (reader, writer) = tokio::io::split(stream);
    let queue = Queue::default();
    tokio::select! {
        read = read(reader, &queue) => read,
        written = write(writer, requests, &queue) => written,
    }
}

async fn write(
    mut writer: WriteHalf<impl AsyncWrite>,
    mut requests: mpsc::UnboundedReceiver<Request>,
    queue: &Queue,
) -> Result<(), FredError> {
    let mut gathered = BytesMut::new();
    while let Some(first) = requests.recv().await {
        let mut next = Some(first);
        while let Some(Request { commands, waiting }) = next.take() {
            waiting_in(queue).push_back(waiting);
            for piece in commands {
                if piece.len() < LARGE {
                    gathered.extend_from_slice(&piece);
                } else {
                    writer.write_all_buf(&mut gathered).await?;
                    writer.write_all(&piece).await?;
                }
                if gathered.len() >= GATHERED {
                    writer.write_all_buf(&mut gathered).await?;
                }
            }
            next = requests.try_recv().ok();
        }
        writer.write_all_buf(&mut gathered).await?;
        writer.flush().await?;
    }
    Ok(())
}

async fn read(mut reader: ReadHalf<impl AsyncRead>, queue: &Queue) -> Result<(), FredError> {
    let mut buffer = BytesMut::with_capacity(ROOM);
    let mut answers: Answers = Vec::new();
    loop {
        while !buffer.is_empty() {
            let decoded = decode_bytes_mut(&mut buffer)
                .map_err(|error| FredError::new(ErrorKind::Protocol, error.to_string()))?;
            let Some((frame, ..)) = decoded else { break };
            answers.push(answer(frame));
            let mut waiting = waiting_in(queue);
            let Some(first) = waiting.front() else {
                // A server that closes a connection may say why without being asked.
                let said = answers.pop().and_then(Result::err);
                return Err(said.unwrap_or_else(|| lost("it answered what was not asked")));
            };
            if answers.len() == first.count
                && let Some(first) = waiting.pop_front()
            {
                // Whoever asked may have given up.
                let _ = first.answers.send(std::mem::take(&mut answers));
            }
        }
        // Twice as much for a large answer each time, so that it is moved few times.
        buffer.reserve(buffer.len().max(ROOM));
        if reader.read_buf(&mut buffer).await? == 0 {
            return Err(lost("the server closed the connection"));
        }
    }
}

fn waiting_in(queue: &Queue) -> std::sync::MutexGuard<'_, VecDeque<Waiting>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An answer. One that has an error in it, as a transaction's may, is that error.
fn answer(frame: BytesFrame) -> Result<Reply, FredError> {
    Ok(match frame {
        BytesFrame::Null => Reply::Nil,
        BytesFrame::Integer(number) => Reply::Int(number),
        BytesFrame::SimpleString(bytes) | BytesFrame::BulkString(bytes) => Reply::Bytes(bytes),
        BytesFrame::Array(frames) => {
            Reply::Array(frames.into_iter().map(answer).collect::<Result<_, _>>()?)
        }
        BytesFrame::Error(said) => return Err(server_error(&said)),
    })
}

/// An error reply, as fred names it.
fn server_error(said: &str) -> FredError {
    let kind = match said.split(' ').next() {
        Some("NOAUTH" | "WRONGPASS") => ErrorKind::Auth,
        Some("MOVED" | "ASK" | "CLUSTERDOWN") => ErrorKind::Cluster,
        _ => ErrorKind::Unknown,
    };
    FredError::new(kind, said.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(commands: &[Command]) -> Vec<Bytes> {
        encoded(&commands.iter().collect::<Vec<_>>())
    }

    #[test]
    fn commands_are_written_as_the_protocol_wants_them() {
        let get = Command::on("GET", Bytes::from("key"));
        let set = Command::on("SET", Bytes::from("k\r\n")).arg(Bytes::new());
        let long = Command::new("PING").arg(Bytes::from("0123456789"));
        assert_eq!(
            pieces(&[get, set, long]).concat(),
            b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n\
              *3\r\n$3\r\nSET\r\n$3\r\nk\r\n\r\n$0\r\n\r\n\
              *2\r\n$4\r\nPING\r\n$10\r\n0123456789\r\n"
        );
    }

    #[test]
    fn what_is_large_is_not_copied() {
        let large = Bytes::from(vec![b'x'; LARGE]);
        let command = Command::new("SET").arg("key").arg(large.clone()).arg("NX");
        let pieces = pieces(&[command]);
        assert_eq!(pieces[1].as_ptr(), large.as_ptr());
        assert_eq!(pieces[2], "\r\n$2\r\nNX\r\n");
    }

    #[tokio::test]
    async fn answers_in_any_pieces_reach_those_who_asked() {
        let (stream, mut server) = tokio::io::duplex(16);
        let (requests, received) = mpsc::unbounded_channel();
        let task = tokio::spawn(drive(stream, received));
        let connection = Multiplexed { requests };
        let get = Command::new("GET");
        let two = [&get, &get];
        // One who does not wait for the answers leaves them to nobody else.
        tokio::select! {
            biased;
            _ = connection.run(&two) => unreachable!(),
            () = std::future::ready(()) => {}
        }
        let both = async { tokio::join!(connection.run(&two[..1]), connection.run(&two)) };
        let answering = async {
            let mut read = vec![0; 5 * b"*1\r\n$3\r\nGET\r\n".len()];
            server.read_exact(&mut read).await.unwrap();
            let answers = b"+gone\r\n:0\r\n$5\r\nfirst\r\n-ERR no\r\n*2\r\n$-1\r\n:7\r\n";
            for byte in answers {
                server.write_all(&[*byte]).await.unwrap();
            }
        };
        let ((first, others), ()) = tokio::join!(both, answering);
        let first: Vec<_> = first.unwrap().into_iter().map(Result::unwrap).collect();
        assert_eq!(first, [Reply::Bytes(Bytes::from("first"))]);
        let mut others = others.unwrap().into_iter();
        assert_eq!(others.next().unwrap().unwrap_err().details(), "ERR no");
        let nested = Reply::Array(vec![Reply::Nil, Reply::Int(7)]);
        assert_eq!(others.next().unwrap().unwrap(), nested);
        // What was not asked for ends the connection, and what is owed with it.
        server
            .write_all(b"-ERR max number of clients reached\r\n")
            .await
            .unwrap();
        let ended = task.await.unwrap().unwrap_err();
        assert_eq!(ended.details(), "ERR max number of clients reached");
        let lost = connection.run(&[&get]).await.unwrap_err();
        assert_eq!(*lost.kind(), ErrorKind::IO);
    }
}
