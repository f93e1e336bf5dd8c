//! Closing a connection so that its last answer arrives.
//!
//! Closing a socket of which something was not read resets the connection, and the client loses an
//! answer that it has not read yet. A request that is refused before its body was read (without a
//! key, too large, too many at once) leaves just that, so the rest is read and dropped first,
//! within limits of size and time.

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

use super::ServerOptions;

/// How long what is left of a refused request is read; no longer than a body may take.
const TIME: Duration = Duration::from_secs(5);
/// How much of it is read at least; else twice the largest body.
const BYTES: usize = 8 * 1024 * 1024;

/// A connection that reads on for a while when it is closed and a body was left unread.
pub(super) struct Lingering<S> {
    stream: S,
    is_unread: Arc<AtomicBool>,
    /// How many bytes are still read after the end of the answer.
    bytes: usize,
    time: Duration,
    end: Option<Pin<Box<Sleep>>>,
}

/// Knows of each request of a connection whether its body was read.
#[derive(Clone)]
pub(super) struct Watch(Arc<AtomicBool>);

impl<S> Lingering<S> {
    pub(super) fn new(stream: S, options: &ServerOptions) -> (Self, Watch) {
        let is_unread = Arc::new(AtomicBool::new(false));
        let watch = Watch(Arc::clone(&is_unread));
        let lingering = Self {
            stream,
            is_unread,
            bytes: BYTES.max(options.max_body_bytes.saturating_mul(2)),
            time: TIME.min(options.body_timeout),
            end: None,
        };
        (lingering, watch)
    }
}

impl Watch {
    pub(super) fn over(&self, request: Request<Incoming>) -> Request<WatchedBody> {
        self.0
            .store(!request.body().is_end_stream(), Ordering::Relaxed);
        request.map(|body| WatchedBody {
            body,
            is_unread: Arc::clone(&self.0),
        })
    }
}

/// The body of a request, which tells when it was read to its end.
pub(super) struct WatchedBody {
    body: Incoming,
    is_unread: Arc<AtomicBool>,
}

impl HttpBody for WatchedBody {
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

impl<S: AsyncRead + AsyncWrite + Unpin> Lingering<S> {
    /// Reads and drops until the client has closed its side, or a limit is reached.
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
            // A connection that broke has nobody to read the answer.
            let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer));
            let length = buffer.filled().len();
            self.bytes = self.bytes.saturating_sub(length);
            if read.is_err() || length == 0 || self.bytes == 0 {
                return Poll::Ready(());
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
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

    /// Says that the answer has ended, then reads what the client is still sending.
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

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}
