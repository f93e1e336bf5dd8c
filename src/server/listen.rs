//! Where the service listens, and who connects.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};

use super::options::ServerOptions;
#[cfg(unix)]
use super::socket_file::SocketFile;
use crate::error::{Error, Result};

/// How the path of a Unix socket is written.
const UNIX: &str = "unix:";

/// An address to listen on: `127.0.0.1:8080`, or `unix:` and the path of a socket.
///
/// ```
/// use langgraph_checkpoint_redis::server::ListenAddress;
/// let address: ListenAddress = "unix:/run/langgraph-redis/http.sock".parse()?;
/// assert!(matches!(&address, ListenAddress::Unix(path) if path.ends_with("http.sock")));
/// assert_eq!(address.to_string(), "unix:/run/langgraph-redis/http.sock");
/// # Ok::<(), langgraph_checkpoint_redis::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListenAddress {
    /// A TCP port of an IP address.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(formatter),
            Self::Unix(path) => write!(formatter, "{UNIX}{}", path.display()),
        }
    }
}

impl FromStr for ListenAddress {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = |reason: &str| Error::Config {
            key: "listen".to_owned(),
            reason: reason.to_owned(),
            source: None,
        };
        match text.strip_prefix(UNIX) {
            Some("") => Err(refuse("there is no path after `unix:`")),
            Some(path) => Ok(Self::Unix(PathBuf::from(path))),
            None => text.parse().map(Self::Tcp).map_err(|_| {
                refuse("it is neither an address with a port, such as 127.0.0.1:8080, nor `unix:` and a path")
            }),
        }
    }
}

/// A listener of the caller's, for [`serve_on`](super::serve_on): a `TcpListener` or `UnixListener`
/// of tokio becomes one.
#[derive(Debug)]
pub struct Listener(Socket);

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener, Option<SocketFile>),
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self(Socket::Tcp(listener))
    }
}

#[cfg(unix)]
impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        Self(Socket::Unix(listener, None))
    }
}

/// A connection that was accepted.
pub(super) enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

/// Who connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    /// A client at an address.
    Tcp(SocketAddr),
    /// A process of this machine, through a Unix socket: it has no address.
    #[cfg(unix)]
    Unix,
}

impl Peer {
    /// The address of the client, if it has one.
    pub(super) fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip()),
            #[cfg(unix)]
            Self::Unix => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(formatter),
            #[cfg(unix)]
            Self::Unix => formatter.write_str("unix"),
        }
    }
}

impl Listener {
    /// Listens on the address of the options.
    pub(super) async fn bind(options: &ServerOptions) -> Result<Self> {
        let refuse = |reason: String, error: io::Error| Error::Config {
            key: "listen".to_owned(),
            reason,
            source: Some(error.into()),
        };
        match &options.listen {
            ListenAddress::Tcp(address) => TcpListener::bind(address)
                .await
                .map(Self::from)
                .map_err(|error| refuse(format!("cannot listen on {address}"), error)),
            #[cfg(unix)]
            ListenAddress::Unix(path) => {
                let (listener, file) = SocketFile::bind(path, options.socket_mode).await?;
                Ok(Self(Socket::Unix(listener, Some(file))))
            }
            #[cfg(not(unix))]
            ListenAddress::Unix(_) => {
                let error = io::Error::from(io::ErrorKind::Unsupported);
                Err(refuse("this system has no Unix sockets".to_owned(), error))
            }
        }
    }

    /// The address that it listens on.
    pub(super) fn address(&self) -> io::Result<ListenAddress> {
        match &self.0 {
            Socket::Tcp(listener) => listener.local_addr().map(ListenAddress::Tcp),
            #[cfg(unix)]
            Socket::Unix(_, Some(file)) => Ok(ListenAddress::Unix(file.path().to_owned())),
            #[cfg(unix)]
            Socket::Unix(listener, None) => {
                let address = listener.local_addr()?;
                // A socket without a name was handed over by another process.
                let path = address.as_pathname().unwrap_or("".as_ref());
                Ok(ListenAddress::Unix(path.to_owned()))
            }
        }
    }

    /// Waits for the next connection.
    pub(super) async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match &self.0 {
            Socket::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok((Stream::Tcp(stream), Peer::Tcp(address)))
            }
            #[cfg(unix)]
            Socket::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((Stream::Unix(stream), Peer::Unix))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_as_it_is_written() {
        for text in [
            "127.0.0.1:80",
            "[::1]:0",
            "unix:/run/a b.sock",
            "unix:relative",
        ] {
            let address: ListenAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
        }
        for text in ["", "unix:", "8080", "host:80", "/run/a.sock", "127.0.0.1"] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
    }
}
