//! Counting a request when its answer has been handed to the kernel, and not before.
//!
//! A handler returns long before its answer has left: the answer waits in hyper's write buffer
//! until the socket takes it, which is never if the client has gone. So the count travels with it:
//!
//! 1. [`Answer`] is the body hyper sends. It carries a [`Delivery`], the count still to be made, and
//!    puts it into the connection's [`Outbox`] as hyper takes the body's last byte into its buffer.
//! 2. [`Stream`] is the socket hyper writes to. hyper calls its `poll_flush` only once every byte of
//!    the buffer has been written, so what is in the outbox by then has been handed to the kernel.
//!    It is counted there.
//! 3. What the connection still holds when it ends was never handed over, and is not counted.
//!
//! hyper reads the next request of a pipeline only after that flush, so one answer at a time waits in
//! its buffer and each is counted by itself. It would not after a request with a body, which is why
//! the handler makes such a request the last of its connection.

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use crate::handler::App;
use crate::metrics::Labels;

/// A request that is counted once its answer has been handed to the kernel.
#[derive(Debug)]
pub struct Delivery {
    /// Where it is counted.
    pub app: Arc<App>,
    /// What it is counted as.
    pub labels: Labels,
    /// Room taken in memory.
    #[expect(
        dead_code,
        reason = "dropping it with the delivery gives the room back"
    )]
    pub reservation: Option<Reservation>,
}

/// Objects in an answer that hasn't left yet, out of the number [`App`] holds at most.
#[derive(Debug)]
pub struct Reservation {
    app: Arc<App>,
    objects: u32,
}

impl Reservation {
    /// Takes room for `objects`; none if there isn't that much left.
    pub fn take(app: &Arc<App>, objects: u32) -> Option<Self> {
        app.unsent.take(objects).then(|| Self {
            app: Arc::clone(app),
            objects,
        })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.app.unsent.give_back(self.objects);
    }
}

/// Deliveries of one connection whose last byte is in hyper's buffer.
#[derive(Debug, Default)]
pub struct Outbox(Mutex<Vec<Delivery>>);

impl Outbox {
    fn put(&self, delivery: Delivery) {
        self.lock().push(delivery);
    }

    fn count_all(&self) {
        for delivery in self.lock().drain(..) {
            delivery.app.requests.count(delivery.labels);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Delivery>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of an answer: bytes that are all there, and the delivery to count when they have left.
#[derive(Debug)]
pub struct Answer {
    bytes: Bytes,
    delivery: Option<(Delivery, Arc<Outbox>)>,
}

impl Answer {
    /// A body of `bytes`, sent on the connection of `outbox`.
    pub fn new(bytes: Bytes, delivery: Delivery, outbox: &Arc<Outbox>) -> Self {
        Self {
            bytes,
            delivery: Some((delivery, Arc::clone(outbox))),
        }
    }

    fn put_into_outbox(&mut self) {
        if let Some((delivery, outbox)) = self.delivery.take() {
            outbox.put(delivery);
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.bytes.is_empty() {
            return Poll::Ready(None);
        }
        self.put_into_outbox();
        Poll::Ready(Some(Ok(Frame::data(mem::take(&mut self.bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}

impl Drop for Answer {
    /// An empty body, that of an answer to HEAD, is never asked for its bytes: hyper drops it when
    /// it puts the head into its buffer.
    fn drop(&mut self) {
        if self.bytes.is_empty() {
            self.put_into_outbox();
        }
    }
}

/// The socket of one connection, which counts deliveries and gives up on a client that stops reading.
pub struct Stream {
    socket: TokioIo<TcpStream>,
    outbox: Arc<Outbox>,
    patience: Duration,
    /// Runs while the socket takes nothing more. Absent as long as it never came to that, which
    /// spares almost every connection a timer.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Stream {
    /// Wraps `socket`; a client that takes nothing for as long as `patience` is cut off.
    pub fn new(socket: TcpStream, outbox: Arc<Outbox>, patience: Duration) -> Self {
        Self {
            socket: TokioIo::new(socket),
            outbox,
            patience,
            stalled: None,
        }
    }

    fn poll_patience(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = self.patience;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep(patience)));
        stalled
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.poll_patience(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, bytes);
        self.poll_patience(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.socket).poll_flush(cx);
        if let Poll::Ready(Ok(())) = flushed {
            self.outbox.count_all();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }
}
