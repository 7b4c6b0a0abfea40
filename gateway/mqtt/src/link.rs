//! The bytes of a connection: what has come and is not read yet, what is to go and is not taken yet.

use std::{future::poll_fn, io, pin::pin, task::Poll};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::Instant,
};

/// Room that is made for reading.
const READ: usize = 16 * 1024;

/// What bytes travel over: a socket, or one inside TLS.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// A socket and its two buffers.
pub(crate) struct Link {
    socket: Box<dyn Socket>,
    /// Come, and not read yet.
    pub(crate) received: BytesMut,
    /// To go, and not taken by the network yet.
    pub(crate) unsent: BytesMut,
    /// Taken by the socket, which may hold it back.
    unflushed: bool,
    /// What went wrong while writing. What the other side has sent before is still read.
    broken: Option<io::Error>,
    /// When anything came last.
    pub(crate) heard: Instant,
    /// When the network took anything last, or had nothing to take.
    pub(crate) wrote: Instant,
}

impl Link {
    pub(crate) fn new(socket: Box<dyn Socket>) -> Link {
        let now = Instant::now();
        Link {
            socket,
            received: BytesMut::new(),
            unsent: BytesMut::new(),
            unflushed: false,
            broken: None,
            heard: now,
            wrote: now,
        }
    }

    /// Notes that something is to go out. `now`: from when on it waits.
    pub(crate) fn waiting(&mut self, now: Instant) {
        if self.unsent.is_empty() && !self.unflushed {
            self.wrote = now;
        }
    }

    /// Whether anything waits to be taken by the network.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.unsent.is_empty() || self.unflushed
    }

    /// Writes what the network takes, until something has come; 0 at the end of the connection. May be dropped at any time.
    pub(crate) async fn receive(&mut self) -> io::Result<usize> {
        poll_fn(|cx| {
            self.poll_send(cx);
            self.received.reserve(READ);
            let read = pin!(self.socket.read_buf(&mut self.received)).poll(cx);
            match read {
                Poll::Ready(Ok(count)) if count > 0 => {
                    self.heard = Instant::now();
                    Poll::Ready(Ok(count))
                }
                // What went wrong first says more than that nothing comes any more.
                Poll::Ready(Ok(_)) => Poll::Ready(self.broken.take().map_or(Ok(0), Err)),
                Poll::Ready(Err(error)) => Poll::Ready(Err(self.broken.take().unwrap_or(error))),
                Poll::Pending => match self.broken.take() {
                    Some(error) => Poll::Ready(Err(error)),
                    None => Poll::Pending,
                },
            }
        })
        .await
    }

    /// Writes everything, and ends the connection.
    pub(crate) async fn close(mut self) -> io::Result<()> {
        self.socket.write_all(&self.unsent).await?;
        self.socket.flush().await?;
        self.socket.shutdown().await
    }

    fn poll_send(&mut self, cx: &mut std::task::Context<'_>) {
        if self.broken.is_some() {
            return;
        }
        while !self.unsent.is_empty() {
            match pin!(self.socket.write_buf(&mut self.unsent)).poll(cx) {
                Poll::Ready(Ok(count)) if count > 0 => (self.unflushed, self.wrote) = (true, Instant::now()),
                Poll::Ready(Ok(_)) => return self.give_up(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Err(error)) => return self.give_up(error),
                Poll::Pending => return,
            }
        }
        if self.unflushed {
            match pin!(self.socket.flush()).poll(cx) {
                Poll::Ready(Ok(())) => (self.unflushed, self.wrote) = (false, Instant::now()),
                Poll::Ready(Err(error)) => self.give_up(error),
                Poll::Pending => {}
            }
        }
    }

    fn give_up(&mut self, error: io::Error) {
        self.broken = Some(error);
        self.unsent.clear();
        self.unflushed = false;
    }
}
