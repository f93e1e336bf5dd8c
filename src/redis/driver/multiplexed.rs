//! A connection that many calls share: commands are sent in the order in which they come, all that
//! are queued with one write, and replies are matched to them in that order.
//!
//! A client of fred's writes each command of its own accord, since it cannot know which commands do
//! not block; that would cost a call more than everything else that is done for it here.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::address::Endpoint;
use super::command::Command;
use super::reply::Replies;
use super::resp::{Decoder, LARGE, encode};
use super::tls::Tls;
use crate::redis::error::RedisError;

/// The smallest buffer for what is read.
const MIN_BUFFER: usize = 16 * 1_024;
/// The largest buffer that a connection keeps between two replies.
const MAX_BUFFER: usize = 4 * 1_024 * 1_024;
/// How many bytes are gathered for one write.
const MAX_WRITE: usize = 64 * 1_024;
/// How many bytes any network carries at once: a server may still be receiving more.
const QUICK: usize = 64 * 1_024;
/// For how long a connection is idle before the system asks whether the server is still there, which
/// also keeps routers from forgetting it.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// How long the system waits before it asks again.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// A handle on a connection that many calls share. The connection is closed with its last handle,
/// or when its task is aborted.
pub(super) struct MultiplexedConnection {
    requests: mpsc::UnboundedSender<Request>,
    pending: Arc<PendingReplies>,
}

/// The commands of one pipeline, encoded; a password may be among them.
struct Request {
    commands: Vec<Bytes>,
    caller: Caller,
}

/// A caller that waits for replies.
struct Caller {
    /// How many.
    count: usize,
    /// Whether one of them may be waited for while the server serves others.
    may_wait: bool,
    replies: oneshot::Sender<Replies>,
}

/// The callers whose commands were sent and not answered yet.
#[derive(Default)]
struct PendingReplies(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    /// In the order of their commands.
    callers: VecDeque<Caller>,
    /// When something was last received, or sent to an idle connection.
    active: Option<Instant>,
    /// When something was last received.
    received: Option<Instant>,
    /// How many bytes have been sent since.
    unanswered: usize,
}

impl PendingReplies {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MultiplexedConnection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A request that is queued may hold a password.
        formatter
            .debug_struct("MultiplexedConnection")
            .finish_non_exhaustive()
    }
}

impl MultiplexedConnection {
    /// Connects to a server. The task ends with the connection, and returns why. `handshake` limits
    /// how long the TLS handshake may take, `max_silence` how long the other side may leave bytes
    /// without an acknowledgement.
    pub(super) async fn open(
        endpoint: &Endpoint,
        tls: Option<&Tls>,
        handshake: Duration,
        max_silence: Duration,
    ) -> Result<(Self, JoinHandle<Result<(), RedisError>>), RedisError> {
        let (requests, received) = mpsc::unbounded_channel();
        let pending = Arc::new(PendingReplies::default());
        let end = TaskEnd {
            requests: received,
            pending: Arc::clone(&pending),
        };
        let task = match endpoint {
            Endpoint::Unix(path) => {
                let stream = unix_stream(path).await?;
                tokio::spawn(drive(stream, end, false))
            }
            Endpoint::Tcp(address) => {
                let stream = TcpStream::connect((&*address.host, address.port))
                    .await
                    .map_err(|error| broken(&error))?;
                set_options(&stream, max_silence).map_err(|error| broken(&error))?;
                match tls {
                    None => tokio::spawn(drive(stream, end, true)),
                    Some(tls) => {
                        let stream = encrypt(tls, &address.host, stream, handshake).await?;
                        tokio::spawn(drive(stream, end, false))
                    }
                }
            }
        };
        Ok((Self { requests, pending }, task))
    }

    /// Runs commands in one pipeline, in their order.
    pub(super) async fn run(&self, commands: &[&Command]) -> Result<Replies, RedisError> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let (replies, received) = oneshot::channel();
        let request = Request {
            commands: encode(commands),
            caller: Caller {
                count: commands.len(),
                may_wait: commands.iter().any(|command| command.may_wait()),
                replies,
            },
        };
        let closed = || RedisError::lost("the connection was lost");
        self.requests.send(request).map_err(|_| closed())?;
        received.await.map_err(|_| closed())
    }

    /// For how long replies have been pending without anything being received; `None` if none are.
    pub(super) fn silence(&self) -> Option<Duration> {
        let queue = self.pending.queue();
        let active = queue.active.filter(|_| !queue.callers.is_empty());
        active.map(|active| active.elapsed())
    }

    /// As [`silence`](Self::silence), where a server that answers on other connections should have
    /// answered on this one: no command is pending that may wait, and little was sent.
    pub(super) fn unexplained_silence(&self) -> Option<Duration> {
        let queue = self.pending.queue();
        let is_explained =
            queue.unanswered > QUICK || queue.callers.iter().any(|caller| caller.may_wait);
        let active = queue
            .active
            .filter(|_| !queue.callers.is_empty() && !is_explained);
        active.map(|active| active.elapsed())
    }

    /// How long ago something was received; `None` if nothing has been yet.
    pub(super) fn last_received(&self) -> Option<Duration> {
        self.pending
            .queue()
            .received
            .map(|received| received.elapsed())
    }

    /// Whether a reply is pending whose caller has given up.
    pub(super) fn is_abandoned(&self) -> bool {
        let queue = self.pending.queue();
        let mut callers = queue.callers.iter();
        callers.any(|caller| caller.replies.is_closed())
    }
}

/// The task's end of a connection.
struct TaskEnd {
    requests: mpsc::UnboundedReceiver<Request>,
    pending: Arc<PendingReplies>,
}

#[cfg(unix)]
async fn unix_stream(path: &std::path::Path) -> Result<tokio::net::UnixStream, RedisError> {
    let connected = tokio::net::UnixStream::connect(path).await;
    connected.map_err(|error| broken(&error))
}

#[cfg(not(unix))]
#[allow(clippy::unused_async)] // As on Unix.
async fn unix_stream(_: &std::path::Path) -> Result<TcpStream, RedisError> {
    Err(RedisError::lost("this system has no Unix sockets"))
}

/// The server is told of small commands at once, and is noticed to be gone: while nothing is sent, and
/// while what was sent is not acknowledged.
fn set_options(stream: &TcpStream, max_silence: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE_INTERVAL);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(any(target_os = "android", target_os = "linux"))]
    socket.set_tcp_user_timeout(Some(max_silence))?;
    #[cfg(not(any(target_os = "android", target_os = "linux")))]
    let _ = max_silence;
    Ok(())
}

async fn encrypt(
    tls: &Tls,
    host: &str,
    stream: TcpStream,
    limit: Duration,
) -> Result<impl AsyncRead + AsyncWrite + Send + use<>, RedisError> {
    match tokio::time::timeout(limit, tls.connect(host, stream)).await {
        Ok(stream) => stream,
        Err(_) => Err(RedisError::lost(format!(
            "no answer to the TLS handshake within {limit:?}; if the server does not speak TLS on this port, write redis in place of rediss in `url`"
        ))),
    }
}

/// An error of the network or of TLS.
fn broken(error: &io::Error) -> RedisError {
    RedisError::io(&format!("{error:?}"), &error.to_string())
}

/// Writes and reads until the connection is closed, and returns why. `may_expect_tls` is true for a
/// connection without TLS to a server that may ask for it.
async fn drive(
    stream: impl AsyncRead + AsyncWrite,
    end: TaskEnd,
    may_expect_tls: bool,
) -> Result<(), RedisError> {
    let (reader, writer) = tokio::io::split(stream);
    let TaskEnd { requests, pending } = end;
    let closed = tokio::select! {
        // The last reply of a server says more about the cause than a failed write.
        biased;
        read = read(reader, &pending, may_expect_tls) => read,
        written = write(writer, requests, &pending) => written,
    };
    pending.queue().callers.clear();
    closed
}

async fn write(
    mut writer: WriteHalf<impl AsyncWrite>,
    mut requests: mpsc::UnboundedReceiver<Request>,
    pending: &PendingReplies,
) -> Result<(), RedisError> {
    let mut gathered = BytesMut::new();
    while let Some(first) = requests.recv().await {
        let mut next = Some(first);
        while let Some(Request { commands, caller }) = next.take() {
            next = requests.try_recv().ok();
            // A caller that has given up before its commands were sent need not be served.
            if caller.replies.is_closed() {
                continue;
            }
            {
                let mut queue = pending.queue();
                if queue.callers.is_empty() {
                    queue.active = Some(Instant::now());
                    queue.unanswered = 0;
                }
                queue.unanswered += commands.iter().map(Bytes::len).sum::<usize>();
                queue.callers.push_back(caller);
            }
            for piece in commands {
                if piece.len() < LARGE {
                    gathered.extend_from_slice(&piece);
                } else {
                    writer
                        .write_all_buf(&mut gathered)
                        .await
                        .map_err(|error| broken(&error))?;
                    write_large(&mut writer, piece, pending).await?;
                }
                if gathered.len() >= MAX_WRITE {
                    writer
                        .write_all_buf(&mut gathered)
                        .await
                        .map_err(|error| broken(&error))?;
                }
            }
        }
        writer
            .write_all_buf(&mut gathered)
            .await
            .map_err(|error| broken(&error))?;
        writer.flush().await.map_err(|error| broken(&error))?;
    }
    Ok(())
}

/// Writes a large argument. A server that takes parts of it is not silent.
async fn write_large(
    writer: &mut WriteHalf<impl AsyncWrite>,
    mut piece: Bytes,
    pending: &PendingReplies,
) -> Result<(), RedisError> {
    while !piece.is_empty() {
        if writer
            .write_buf(&mut piece)
            .await
            .map_err(|error| broken(&error))?
            == 0
        {
            return Err(RedisError::lost("the server does not read any more"));
        }
        pending.queue().active = Some(Instant::now());
    }
    Ok(())
}

/// The error of a connection that was closed before the first reply.
fn unanswered(error: &RedisError) -> RedisError {
    RedisError::lost(format!(
        "{}, before any reply; if the server speaks TLS on this port, write rediss in place of redis in `url`",
        error.message()
    ))
}

async fn read(
    mut reader: ReadHalf<impl AsyncRead>,
    pending: &PendingReplies,
    mut may_expect_tls: bool,
) -> Result<(), RedisError> {
    let mut decoder = Decoder::default();
    let mut buffer = BytesMut::with_capacity(MIN_BUFFER);
    let mut capacity = MIN_BUFFER;
    let mut replies: Replies = Vec::new();
    loop {
        while let Some(reply) = decoder.next(&mut buffer)? {
            replies.push(reply);
            let mut queue = pending.queue();
            let Some(first) = queue.callers.front() else {
                // A server that closes a connection may send the reason without being asked.
                let reason = replies.pop().and_then(Result::err);
                return Err(reason.unwrap_or_else(|| {
                    RedisError::lost("the server sent a reply without a command")
                }));
            };
            if replies.len() == first.count
                && let Some(first) = queue.callers.pop_front()
            {
                // The caller may have given up.
                let _ = first.replies.send(std::mem::take(&mut replies));
            }
        }
        if buffer.is_empty() && capacity > MAX_BUFFER {
            // The memory of a large reply is freed.
            (buffer, capacity) = (BytesMut::with_capacity(MIN_BUFFER), MIN_BUFFER);
        }
        // Bounded, whatever length a server announces.
        buffer.reserve(decoder.missing(&buffer)?.clamp(MIN_BUFFER, 4 * MAX_BUFFER));
        capacity = capacity.max(buffer.capacity());
        let length = match reader
            .read_buf(&mut buffer)
            .await
            .map_err(|error| broken(&error))
        {
            Err(error) if may_expect_tls => return Err(unanswered(&error)),
            length => length?,
        };
        if length == 0 {
            // An error among the replies of a pipeline that is not complete may be the reason.
            let reason = replies.into_iter().find_map(Result::err);
            let closed =
                reason.unwrap_or_else(|| RedisError::lost("the server closed the connection"));
            return Err(if may_expect_tls {
                unanswered(&closed)
            } else {
                closed
            });
        }
        // No reply starts with the byte of a TLS alert.
        if std::mem::take(&mut may_expect_tls) && buffer.first() == Some(&0x15) {
            return Err(RedisError::speaks_tls());
        }
        let mut queue = pending.queue();
        queue.active = Some(Instant::now());
        queue.received = queue.active;
        queue.unanswered = 0;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::DuplexStream;

    use super::*;
    use crate::redis::driver::reply::Reply;
    use crate::redis::error::RetryClass;

    fn connection() -> (
        MultiplexedConnection,
        DuplexStream,
        JoinHandle<Result<(), RedisError>>,
    ) {
        let (stream, server) = tokio::io::duplex(16);
        let (requests, received) = mpsc::unbounded_channel();
        let pending = Arc::new(PendingReplies::default());
        let end = TaskEnd {
            requests: received,
            pending: Arc::clone(&pending),
        };
        let task = tokio::spawn(drive(stream, end, false));
        (MultiplexedConnection { requests, pending }, server, task)
    }

    async fn read_gets(server: &mut DuplexStream, count: usize) {
        let get = b"*1\r\n$3\r\nGET\r\n";
        let mut read = vec![0; count * get.len()];
        server.read_exact(&mut read).await.unwrap();
        assert_eq!(read, get.repeat(count));
    }

    #[tokio::test]
    async fn replies_in_any_pieces_reach_their_callers() {
        let (connection, mut server, task) = connection();
        let get = Command::new("GET");
        let two = [&get, &get];
        // The replies of a caller that has given up reach nobody else.
        tokio::select! {
            biased;
            _ = connection.run(&two) => unreachable!(),
            () = read_gets(&mut server, 2) => {}
        }
        let both = async { tokio::join!(connection.run(&two[..1]), connection.run(&two)) };
        let answering = async {
            read_gets(&mut server, 3).await;
            let replies = b"+gone\r\n:0\r\n$5\r\nfirst\r\n-ERR no\r\n*2\r\n$-1\r\n:7\r\n";
            for byte in replies {
                server.write_all(&[*byte]).await.unwrap();
            }
        };
        let ((first, others), ()) = tokio::join!(both, answering);
        let first: Vec<_> = first.unwrap().into_iter().map(Result::unwrap).collect();
        assert_eq!(first, [Reply::Bytes(Bytes::from("first"))]);
        let mut others = others.unwrap().into_iter();
        assert_eq!(others.next().unwrap().unwrap_err().message(), "ERR no");
        let nested = Reply::Array(vec![Reply::Nil, Reply::Int(7)]);
        assert_eq!(others.next().unwrap().unwrap(), nested);
        // A reply without a command closes the connection, with all that is pending.
        let reason = b"-ERR max number of clients reached\r\n";
        server.write_all(reason).await.unwrap();
        let closed = task.await.unwrap().unwrap_err();
        assert_eq!(closed.message(), "ERR max number of clients reached");
        let lost = connection.run(&[&get]).await.unwrap_err();
        assert_eq!(lost.retry_class(), RetryClass::Lost);
    }

    #[tokio::test]
    async fn the_commands_of_a_caller_that_has_given_up_are_not_sent() {
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
        let (replies, ()) = tokio::join!(connection.run(&gets), answering);
        assert_eq!(replies.unwrap().remove(0).unwrap(), Reply::Int(1));
    }

    #[tokio::test]
    async fn the_silence_of_a_server_that_may_be_working_is_explained() {
        let get = Command::new("GET");
        let large = Command::new("SET").arg(vec![b'x'; 2 * QUICK]);
        for (command, is_explained) in [
            (&get, false),
            (&Command::new("WAIT"), true),
            (&Command::new("FT.SEARCH"), true),
            (&large, true),
        ] {
            let (connection, mut server, _task) = connection();
            let commands = [&get, command];
            let mut running = std::pin::pin!(connection.run(&commands));
            let sent = encode(&commands).iter().map(Bytes::len).sum();
            let mut sent = vec![0; sent];
            tokio::select! {
                biased;
                _ = &mut running => unreachable!(),
                read = server.read_exact(&mut sent) => drop(read.unwrap()),
            }
            assert!(connection.silence().is_some());
            let is_unexplained = connection.unexplained_silence().is_some();
            assert_eq!(is_unexplained, !is_explained, "{}", command.name);
            // A reply, even the first of two, says that all of it has arrived.
            server.write_all(b":1\r\n").await.unwrap();
            while connection.last_received().is_none() {
                tokio::task::yield_now().await;
            }
            assert_eq!(connection.pending.queue().unanswered, 0);
        }
    }

    #[tokio::test]
    async fn a_silent_server_is_noticed_although_callers_give_up() {
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
        assert!(connection.is_abandoned());
        server.write_all(b":1\r\n:2\r\n").await.unwrap();
        while connection.silence().is_some() {
            tokio::task::yield_now().await;
        }
        assert!(!connection.is_abandoned());
    }
}
