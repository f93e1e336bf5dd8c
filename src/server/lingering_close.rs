//! Lingering close: a connection is closed so that the client receives the last response.
//!
//! Closing a socket with unread data resets the connection, and the client loses a response that it
//! has not read yet. A request that is refused before its body was read (no key, too large, too
//! many at once) leaves such data, so it is read and discarded first, within limits of size and
//! time.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::Request;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::options::ServerOptions;

/// How long the rest of a refused request is read; at most `body_timeout`.
const MAX_TIME: Duration = Duration::from_secs(5);
/// How many bytes of it are read at least; else twice `max_body_bytes`.
const MIN_BYTES: usize = 8 * 1024 * 1024;

/// A connection that, when it is closed with an unread body, first reads the rest.
pub(super) struct LingeringStream<S> {
    stream: S,
    is_unread: Arc<AtomicBool>,
    /// How many bytes are still read after the end of the response.
    bytes: usize,
    time: Duration,
    end: Option<Pin<Box<Sleep>>>,
}

/// Records whether the body of the current request of a connection was read.
#[derive(Clone)]
pub(super) struct BodyMonitor(Arc<AtomicBool>);

impl<S> LingeringStream<S> {
    pub(super) fn new(stream: S, options: &ServerOptions) -> (Self, BodyMonitor) {
        let is_unread = Arc::new(AtomicBool::new(false));
        let monitor = BodyMonitor(Arc::clone(&is_unread));
        let lingering = Self {
            stream,
            is_unread,
            bytes: MIN_BYTES.max(options.max_body_bytes.saturating_mul(2)),
            time: MAX_TIME.min(options.body_timeout),
            end: None,
        };
        (lingering, monitor)
    }
}

impl BodyMonitor {
    pub(super) fn monitor(&self, request: Request<Incoming>) -> Request<MonitoredBody> {
        self.0
            .store(!request.body().is_end_stream(), Ordering::Relaxed);
        request.map(|body| MonitoredBody {
            body,
            is_unread: Arc::clone(&self.0),
        })
    }
}

/// The body of a request, which records that it was read to its end.
pub(super) struct MonitoredBody {
    body: Incoming,
    is_unread: Arc<AtomicBool>,
}

impl HttpBody for MonitoredBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() || self.body.is_end_stream() {
            self.is_unread.store(false, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> LingeringStream<S> {
    /// Reads and discards until the client has closed its side or a limit is reached.
    fn poll_rest(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let time = self.time;
        let end = self
            .end
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(time)));
        if end.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        let mut dropped = [0; 16 * 1024];
        loop {
            let mut buffer = ReadBuf::new(&mut dropped);
            // Nobody reads the response on a broken connection.
            let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer));
            let length = buffer.filled().len();
            self.bytes = self.bytes.saturating_sub(length);
            if read.is_err() || length == 0 || self.bytes == 0 {
                return Poll::Ready(());
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for LingeringStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// Ends the response, then reads what the client is still sending.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.end.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
            if !self.is_unread.load(Ordering::Relaxed) {
                return Poll::Ready(Ok(()));
            }
        }
        self.poll_rest(context).map(Ok)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for LingeringStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}
