//! A connection that many calls share: commands go out in the order in which they come, all that
//! wait with one write, and answers are matched to them in that order.
//!
//! fred's own connections write each command of ours by itself, since it cannot know which ones do
//! not block; that costs a call more than all the rest that is done for it here.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fred::error::{Error as FredError, ErrorKind};
use fred::types::config::{Config, Server, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Command;
use super::flight::{Answers, lost};
use super::frames::{Decoder, LARGE, encoded};
use crate::redis::credentials::Credentials;
use crate::redis::error::SPEAKS_TLS;

/// How much room there is at least for what is read.
const ROOM: usize = 16 * 1_024;
/// How much a connection keeps for what is read next.
const MOST_ROOM: usize = 4 * 1_024 * 1_024;
/// How much is gathered for one write.
const GATHERED: usize = 64 * 1_024;

/// A connection that many calls share. It ends with the last of its handles, or its task.
pub(super) struct Multiplexed {
    requests: mpsc::UnboundedSender<Request>,
    owed: Arc<Owed>,
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

/// The answers that a connection owes.
#[derive(Default)]
struct Owed(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    /// Those who wait, in the order of their commands.
    waiting: VecDeque<Waiting>,
    /// Since when nothing has been read, while somebody waits.
    since: Option<Instant>,
}

impl Owed {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Multiplexed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is on its way may be a password.
        formatter
            .debug_struct("Multiplexed")
            .finish_non_exhaustive()
    }
}

impl Multiplexed {
    /// Connects to a server; the task ends with the connection, and says why. `handshake` is how
    /// long agreeing on TLS may take.
    pub(super) async fn open(
        config: &Config,
        server: &ServerConfig,
        handshake: Duration,
    ) -> Result<(Self, JoinHandle<Result<(), FredError>>), FredError> {
        let (requests, received) = mpsc::unbounded_channel();
        let owed = Arc::new(Owed::default());
        let end = End {
            requests: received,
            owed: Arc::clone(&owed),
        };
        let task = match server {
            #[cfg(unix)]
            ServerConfig::Unix { path } => {
                let stream = tokio::net::UnixStream::connect(path)
                    .await
                    .map_err(broken)?;
                tokio::spawn(drive(stream, end, false))
            }
            ServerConfig::Centralized { server } => {
                let stream = TcpStream::connect((&*server.host, server.port))
                    .await
                    .map_err(broken)?;
                stream.set_nodelay(true).map_err(broken)?;
                secure(config, server, stream, end, handshake).await?
            }
            _ => {
                let reason = "a connection is to one server";
                return Err(FredError::new(ErrorKind::Config, reason));
            }
        };
        Ok((Self { requests, owed }, task))
    }

    /// Says who it is, and chooses the database. `given` goes before what the config has; `name` is
    /// what the server calls the connection.
    pub(super) async fn introduce(
        &self,
        config: &Config,
        given: Option<&Credentials>,
        name: Option<&Bytes>,
    ) -> Result<(), FredError> {
        let mut commands = Vec::new();
        if let Some(given) = given {
            commands.push(auth(given.username(), given.password()));
        } else if let Some(password) = &config.password {
            commands.push(auth(config.username.as_deref(), password));
        }
        if let Some(database) = config.database {
            commands.push(Command::new("SELECT").arg(super::number(database)));
        }
        // For those who look at the server; one that does not take it serves all the same.
        let client = || Command::new("CLIENT");
        if let Some(name) = name {
            commands.push(client().arg("SETNAME").arg(name.clone()));
        }
        for (what, value) in [
            ("LIB-NAME", env!("CARGO_PKG_NAME")),
            ("LIB-VER", env!("CARGO_PKG_VERSION")),
        ] {
            commands.push(client().args(["SETINFO", what, value].map(Bytes::from)));
        }
        // A server that wants a password, or no more clients, says so to any command; this one may
        // be no right of ours, or not of the moment.
        commands.push(Command::new("PING"));
        let sent: Vec<_> = commands.iter().collect();
        for (command, answer) in commands.iter().zip(self.run(&sent).await?) {
            match answer {
                Err(error) if command.name == "AUTH" => return Err(without_secrets(error)),
                Err(_) if command.name == "CLIENT" => {}
                Err(error) if command.name == "SELECT" || !is_of_the_moment(&error) => {
                    return Err(error);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Runs commands in their order, and returns the answer to each.
    pub(super) async fn run(&self, commands: &[&Command]) -> Result<Answers, FredError> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
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

    /// For how long it has owed an answer without a sign of life.
    pub(super) fn silence(&self) -> Option<Duration> {
        let queue = self.owed.queue();
        let since = queue.since.filter(|_| !queue.waiting.is_empty());
        since.map(|since| since.elapsed())
    }
}

/// The command that says who a connection is.
pub(super) fn auth(username: Option<&str>, password: &str) -> Command {
    let parts = username.into_iter().chain([password]);
    let parts = parts.map(|part| Bytes::copy_from_slice(part.as_bytes()));
    Command::new("AUTH").args(parts)
}

/// Whether a server does not serve a command that it knows.
fn is_of_the_moment(error: &FredError) -> bool {
    let codes = ["NOPERM", "LOADING", "MASTERDOWN", "BUSY"];
    let details = error.details();
    codes.iter().any(|code| details.starts_with(code))
}

/// A server that does not know a command repeats its arguments.
fn without_secrets(error: FredError) -> FredError {
    if error.details().contains("unknown command") {
        let reason = "ERR the server does not know AUTH: leave the password out of the URL";
        return FredError::new(ErrorKind::Auth, reason);
    }
    error
}

/// The task's end of a connection.
struct End {
    requests: mpsc::UnboundedReceiver<Request>,
    owed: Arc<Owed>,
}

#[cfg(not(feature = "tls"))]
#[allow(clippy::unused_async)] // As with TLS.
async fn secure(
    _: &Config,
    _: &Server,
    stream: TcpStream,
    end: End,
    _: Duration,
) -> Result<JoinHandle<Result<(), FredError>>, FredError> {
    Ok(tokio::spawn(drive(stream, end, true)))
}

/// Starts the task of a connection, with TLS if it is turned on.
#[cfg(feature = "tls")]
async fn secure(
    config: &Config,
    server: &Server,
    stream: TcpStream,
    end: End,
    handshake: Duration,
) -> Result<JoinHandle<Result<(), FredError>>, FredError> {
    use fred::rustls::pki_types::ServerName;
    use fred::types::config::TlsConnector;

    let Some(tls) = &config.tls else {
        return Ok(tokio::spawn(drive(stream, end, true)));
    };
    let TlsConnector::Rustls(connector) = &tls.connector;
    let name = server.tls_server_name.as_ref().unwrap_or(&server.host);
    let name = ServerName::try_from(name.to_string())
        .map_err(|error| FredError::new(ErrorKind::Tls, error.to_string()))?;
    let agreed = tokio::time::timeout(handshake, connector.connect(name, stream)).await;
    let stream = agreed
        .map_err(|_| {
            lost(format!(
                "no answer to the TLS handshake within {handshake:?}; if the server does not speak TLS on this port, write redis in place of rediss in `url`"
            ))
        })?
        .map_err(broken)?;
    Ok(tokio::spawn(drive(stream, end, false)))
}

/// What the system says of a connection, in its own words; those of TLS are named in `error.rs`.
#[allow(clippy::needless_pass_by_value)] // As `map_err` hands it on.
fn broken(error: io::Error) -> FredError {
    #[cfg(feature = "tls")]
    if error
        .get_ref()
        .is_some_and(<dyn std::error::Error + Send + Sync>::is::<fred::rustls::Error>)
    {
        return FredError::from(error);
    }
    lost(error.to_string())
}

/// Writes and reads until the connection ends, and says why. `in_clear` says that the server may
/// expect TLS, for all that is known.
async fn drive(
    stream: impl AsyncRead + AsyncWrite,
    end: End,
    in_clear: bool,
) -> Result<(), FredError> {
    let (reader, writer) = tokio::io::split(stream);
    let End { requests, owed } = end;
    let ended = tokio::select! {
        // What the server says last tells more than that it takes nothing.
        biased;
        read = read(reader, &owed, in_clear) => read,
        written = write(writer, requests, &owed) => written,
    };
    owed.queue().waiting.clear();
    ended
}

async fn write(
    mut writer: WriteHalf<impl AsyncWrite>,
    mut requests: mpsc::UnboundedReceiver<Request>,
    owed: &Owed,
) -> Result<(), FredError> {
    let mut gathered = BytesMut::new();
    while let Some(first) = requests.recv().await {
        let mut next = Some(first);
        while let Some(Request { commands, waiting }) = next.take() {
            next = requests.try_recv().ok();
            // Who has given up already is served no more.
            if waiting.answers.is_closed() {
                continue;
            }
            {
                let mut queue = owed.queue();
                if queue.waiting.is_empty() {
                    queue.since = Some(Instant::now());
                }
                queue.waiting.push_back(waiting);
            }
            for piece in commands {
                if piece.len() < LARGE {
                    gathered.extend_from_slice(&piece);
                } else {
                    writer.write_all_buf(&mut gathered).await.map_err(broken)?;
                    write_large(&mut writer, piece, owed).await?;
                }
                if gathered.len() >= GATHERED {
                    writer.write_all_buf(&mut gathered).await.map_err(broken)?;
                }
            }
        }
        writer.write_all_buf(&mut gathered).await.map_err(broken)?;
        writer.flush().await.map_err(broken)?;
    }
    Ok(())
}

/// Writes something large. As long as the server takes it, it is not silent.
async fn write_large(
    writer: &mut WriteHalf<impl AsyncWrite>,
    mut piece: Bytes,
    owed: &Owed,
) -> Result<(), FredError> {
    while !piece.is_empty() {
        if writer.write_buf(&mut piece).await.map_err(broken)? == 0 {
            return Err(lost("the server takes nothing any more"));
        }
        owed.queue().since = Some(Instant::now());
    }
    Ok(())
}

/// What is said of a connection that ended before any answer came.
fn unanswered(error: &FredError) -> FredError {
    lost(format!(
        "{}, before any answer; if the server speaks TLS on this port, write rediss in place of redis in `url`",
        error.details()
    ))
}

async fn read(
    mut reader: ReadHalf<impl AsyncRead>,
    owed: &Owed,
    in_clear: bool,
) -> Result<(), FredError> {
    let mut decoder = Decoder::default();
    let mut buffer = BytesMut::with_capacity(ROOM);
    let mut most = ROOM;
    let mut answers: Answers = Vec::new();
    let mut may_expect_tls = in_clear;
    loop {
        while let Some(answer) = decoder.next(&mut buffer)? {
            answers.push(answer);
            let mut queue = owed.queue();
            let Some(first) = queue.waiting.front() else {
                // A server that closes a connection may say why without being asked.
                let said = answers.pop().and_then(Result::err);
                return Err(said.unwrap_or_else(|| lost("it answered what was not asked")));
            };
            if answers.len() == first.count
                && let Some(first) = queue.waiting.pop_front()
            {
                // Whoever asked may have given up.
                let _ = first.answers.send(std::mem::take(&mut answers));
            }
        }
        if buffer.is_empty() && most > MOST_ROOM {
            // What a large answer took is given back.
            (buffer, most) = (BytesMut::with_capacity(ROOM), ROOM);
        }
        // No more at a time, whatever length a server tells.
        buffer.reserve(decoder.missing(&buffer)?.clamp(ROOM, 4 * MOST_ROOM));
        most = most.max(buffer.capacity());
        let length = match reader.read_buf(&mut buffer).await.map_err(broken) {
            Err(error) if may_expect_tls => return Err(unanswered(&error)),
            length => length?,
        };
        if length == 0 {
            // Of an answer that is not whole, what went wrong may be the reason.
            let said = answers.into_iter().find_map(Result::err);
            let closed = said.unwrap_or_else(|| lost("the server closed the connection"));
            return Err(if may_expect_tls {
                unanswered(&closed)
            } else {
                closed
            });
        }
        // No answer starts with the byte of a TLS alert.
        if std::mem::take(&mut may_expect_tls) && buffer.first() == Some(&0x15) {
            return Err(lost(SPEAKS_TLS));
        }
        owed.queue().since = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::DuplexStream;

    use super::*;
    use crate::redis::driver::Reply;

    fn connection() -> (Multiplexed, DuplexStream, JoinHandle<Result<(), FredError>>) {
        let (stream, server) = tokio::io::duplex(16);
        let (requests, received) = mpsc::unbounded_channel();
        let owed = Arc::new(Owed::default());
        let end = End {
            requests: received,
            owed: Arc::clone(&owed),
        };
        let task = tokio::spawn(drive(stream, end, false));
        (Multiplexed { requests, owed }, server, task)
    }

    async fn read_gets(server: &mut DuplexStream, count: usize) {
        let get = b"*1\r\n$3\r\nGET\r\n";
        let mut read = vec![0; count * get.len()];
        server.read_exact(&mut read).await.unwrap();
        assert_eq!(read, get.repeat(count));
    }

    #[tokio::test]
    async fn answers_in_any_pieces_reach_those_who_asked() {
        let (connection, mut server, task) = connection();
        let get = Command::new("GET");
        let two = [&get, &get];
        // One who does not wait for the answers leaves them to nobody else.
        tokio::select! {
            biased;
            _ = connection.run(&two) => unreachable!(),
            () = read_gets(&mut server, 2) => {}
        }
        let both = async { tokio::join!(connection.run(&two[..1]), connection.run(&two)) };
        let answering = async {
            read_gets(&mut server, 3).await;
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
        let said = b"-ERR max number of clients reached\r\n";
        server.write_all(said).await.unwrap();
        let ended = task.await.unwrap().unwrap_err();
        assert_eq!(ended.details(), "ERR max number of clients reached");
        let lost = connection.run(&[&get]).await.unwrap_err();
        assert_eq!(*lost.kind(), ErrorKind::IO);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_not_sent() {
        let (connection, mut server, _task) = connection();
        let (get, ping) = (Command::new("GET"), Command::new("PING"));
        let pings = [&ping];
        tokio::select! {
            biased;
            _ = connection.run(&pings) => unreachable!(),
            () = std::future::ready(()) => {}
        }
        let answering = async {
            read_gets(&mut server, 1).await;
            server.write_all(b":1\r\n").await.unwrap();
        };
        let gets = [&get];
        let (answers, ()) = tokio::join!(connection.run(&gets), answering);
        assert_eq!(answers.unwrap().remove(0).unwrap(), Reply::Int(1));
    }

    #[tokio::test]
    async fn a_server_that_is_silent_is_noticed_though_callers_give_up() {
        let (connection, mut server, _task) = connection();
        assert_eq!(connection.silence(), None);
        let get = Command::new("GET");
        let commands = [&get];
        for _ in 0..2 {
            tokio::select! {
                biased;
                _ = connection.run(&commands) => unreachable!(),
                () = read_gets(&mut server, 1) => {}
            }
        }
        assert!(connection.silence().is_some());
        server.write_all(b":1\r\n:2\r\n").await.unwrap();
        while connection.silence().is_some() {
            tokio::task::yield_now().await;
        }
    }
}
