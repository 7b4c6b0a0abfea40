//! The bytes to and from a client, whatever lies between: TCP, TLS, WebSocket, or both.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;
use tokio_util::io::{poll_read_buf, poll_write_buf};

use crate::websocket::WebSocket;

/// A connection to a client.
#[derive(Debug)]
pub(crate) struct Stream {
    way: Way,
    /// Whether something may lie in buffers between here and the socket.
    unflushed: bool,
}

#[derive(Debug)]
enum Way {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    WebSocket(Box<WebSocket<TcpStream>>),
    SecureWebSocket(Box<WebSocket<TlsStream<TcpStream>>>),
}

/// Does the same whatever the way is.
macro_rules! by_any_way {
    ($stream:expr, $way:ident => $done:expr) => {
        match &mut $stream.way {
            Way::Tcp($way) => $done,
            Way::Tls($way) => $done,
            Way::WebSocket($way) => $done,
            Way::SecureWebSocket($way) => $done,
        }
    };
}

/// What has happened on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moved {
    /// Bytes that have come; 0 of them is the end. Absent when nothing has happened in that direction.
    pub(crate) read: Option<usize>,
    /// Whether bytes have been taken to be sent.
    pub(crate) written: bool,
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Stream {
        Stream { way: Way::Tcp(stream), unflushed: false }
    }
}

impl From<TlsStream<TcpStream>> for Stream {
    fn from(stream: TlsStream<TcpStream>) -> Stream {
        Stream { way: Way::Tls(Box::new(stream)), unflushed: false }
    }
}

impl From<WebSocket<TcpStream>> for Stream {
    fn from(stream: WebSocket<TcpStream>) -> Stream {
        Stream { way: Way::WebSocket(Box::new(stream)), unflushed: false }
    }
}

impl From<WebSocket<TlsStream<TcpStream>>> for Stream {
    fn from(stream: WebSocket<TlsStream<TcpStream>>) -> Stream {
        Stream { way: Way::SecureWebSocket(Box::new(stream)), unflushed: false }
    }
}

impl Stream {
    /// Waits until bytes of `sending` could be sent, or bytes have come into `input` if it is there, or both. Bytes that
    /// were taken are gone from `sending`. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    ///
    /// When the connection is broken.
    pub(crate) async fn exchange(
        &mut self,
        sending: &mut impl Buf,
        mut input: Option<&mut BytesMut>,
    ) -> io::Result<Moved> {
        std::future::poll_fn(|cx| {
            // First what has come: what comes on an answer has its turn after what others sent before it.
            let read = match input.as_deref_mut() {
                Some(input) => poll_read_buf(Pin::new(&mut *self), cx, input)?,
                None => Poll::Pending,
            };
            let written = self.poll_send(sending, cx)?.is_ready();
            match read {
                Poll::Ready(count) => Poll::Ready(Ok(Moved { read: Some(count), written })),
                Poll::Pending if written => Poll::Ready(Ok(Moved { read: None, written })),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// Sends what there is; without anything more, hands on what lies in buffers below. Ready when bytes were taken.
    fn poll_send(&mut self, sending: &mut impl Buf, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !sending.has_remaining() {
            if self.unflushed && Pin::new(&mut *self).poll_flush(cx)?.is_ready() {
                self.unflushed = false;
            }
            return Poll::Pending;
        }
        match ready!(poll_write_buf(Pin::new(self), cx, sending))? {
            0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        by_any_way!(self, way => Pin::new(way).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.unflushed = !matches!(self.way, Way::Tcp(_));
        by_any_way!(self, way => Pin::new(way).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.unflushed = !matches!(self.way, Way::Tcp(_));
        by_any_way!(self, way => Pin::new(way).poll_write_vectored(cx, pieces))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.way {
            Way::Tcp(way) => way.is_write_vectored(),
            Way::Tls(way) => way.is_write_vectored(),
            Way::WebSocket(_) | Way::SecureWebSocket(_) => true,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        by_any_way!(self, way => Pin::new(way).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        by_any_way!(self, way => Pin::new(way).poll_shutdown(cx))
    }
}
