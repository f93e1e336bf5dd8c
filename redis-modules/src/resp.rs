//! Just enough of the Redis protocol to ask a server whether it is ready.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// A server on the loopback address answers within this time unless it is busy or paused.
const TIME_LIMIT: Duration = Duration::from_secs(2);

/// No reply that this crate asks for comes near this size; a larger one is not from Redis.
const LARGEST_REPLY: usize = 16 * 1024 * 1024;

/// A reply in RESP2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    Text(String),
    Error(String),
    Nil,
    Array(Vec<Reply>),
}

impl Reply {
    /// The text of a status, a number or a bulk string.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The first word of an error reply.
    pub(crate) fn error_code(&self) -> Option<&str> {
        match self {
            Self::Error(text) => text.split(' ').next(),
            _ => None,
        }
    }

    /// The value of a `field:value` line, the format of INFO.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.text()?
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) | Self::Error(text) => f.write_str(text),
            Self::Nil => f.write_str("(nil)"),
            Self::Array(items) => write!(f, "an array of {}", items.len()),
        }
    }
}

/// What a connection runs over.
trait Stream: Read + Write + fmt::Debug + Send {}

impl<T: Read + Write + fmt::Debug + Send> Stream for T {}

/// One blocking connection to a server on this machine.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: BufReader<Box<dyn Stream>>,
}

impl Connection {
    pub(crate) fn open(port: u16) -> io::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = TcpStream::connect_timeout(&address, TIME_LIMIT)?;
        stream.set_read_timeout(Some(TIME_LIMIT))?;
        stream.set_write_timeout(Some(TIME_LIMIT))?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream))
    }

    /// Connects to a server that listens on a socket.
    pub(crate) fn open_socket(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(TIME_LIMIT))?;
        stream.set_write_timeout(Some(TIME_LIMIT))?;
        Ok(Self::over(stream))
    }

    fn over(stream: impl Stream + 'static) -> Self {
        Self {
            stream: BufReader::new(Box::new(stream)),
        }
    }

    /// Sends one command and reads its reply.
    pub(crate) fn call(&mut self, arguments: &[&str]) -> io::Result<Reply> {
        let mut request = Vec::new();
        write!(request, "*{}\r\n", arguments.len())?;
        for argument in arguments {
            write!(request, "${}\r\n{argument}\r\n", argument.len())?;
        }
        self.stream.get_mut().write_all(&request)?;
        self.reply()
    }

    fn reply(&mut self) -> io::Result<Reply> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let line = line
            .strip_suffix("\r\n")
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        let Some(kind) = line.chars().next() else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let rest = &line[kind.len_utf8()..];
        match kind {
            '+' | ':' => Ok(Reply::Text(rest.to_owned())),
            '-' => Ok(Reply::Error(rest.to_owned())),
            '$' => self.bulk(rest),
            '*' => match length(rest)? {
                None => Ok(Reply::Nil),
                Some(items) => (0..items)
                    .map(|_| self.reply())
                    .collect::<Result<_, _>>()
                    .map(Reply::Array),
            },
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn bulk(&mut self, size: &str) -> io::Result<Reply> {
        let Some(size) = length(size)? else {
            return Ok(Reply::Nil);
        };
        let mut bytes = vec![0; size + 2];
        self.stream.read_exact(&mut bytes)?;
        bytes.truncate(size);
        Ok(Reply::Text(String::from_utf8_lossy(&bytes).into_owned()))
    }
}

/// `None` is the length -1, which stands for nil.
fn length(digits: &str) -> io::Result<Option<usize>> {
    if digits == "-1" {
        return Ok(None);
    }
    match digits.parse() {
        Ok(length) if length <= LARGEST_REPLY => Ok(Some(length)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}
