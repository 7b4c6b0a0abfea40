//! MQTT over WebSocket (RFC 6455, MQTT 5.0 §6): the bytes of its binary frames, in one row.
//!
//! Frames may cut and join packets anywhere; nothing is made of where they end. Text is a mistake, pings are answered by
//! the library below.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async_with_config,
    tungstenite::{
        Error, Message,
        handshake::server::{ErrorResponse, Request, Response},
        http::{HeaderValue, StatusCode, header},
        protocol::WebSocketConfig,
    },
};

/// The names of the subprotocol: that of the standard, and that of clients before it.
const PROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];
/// Bytes of one frame that is sent, at most.
const FRAME: usize = 64 * 1024;
/// Bytes that one message may have beside the largest packet: clients join packets.
const BESIDE: usize = 64 * 1024;
/// Bytes read at a time.
const READ: usize = 4 * 1024;

/// What has to be true of the request that begins a connection.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    /// The path of the URL.
    pub(crate) path: String,
    /// Origins of pages that may connect; `*` is all. When empty, `trusting` says.
    pub(crate) origins: Vec<String>,
    /// Whether clients have to log in, so that a page of somebody else gains nothing by connecting.
    pub(crate) trusting: bool,
}

/// A connection over WebSocket.
#[derive(Debug)]
pub(crate) struct WebSocket<S> {
    frames: WebSocketStream<S>,
    /// What is left of the message that came last.
    rest: Bytes,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Takes the request of a client that has just connected, and answers it. `packet_bytes`: the largest packet.
    ///
    /// # Errors
    ///
    /// What was wrong with the request; the client has been told.
    pub(crate) async fn accept(stream: S, door: &Door, packet_bytes: usize) -> Result<WebSocket<S>, Error> {
        let message = packet_bytes.saturating_add(BESIDE);
        let mut config = WebSocketConfig::default();
        config.read_buffer_size = READ;
        // What is handed over has been gathered already.
        config.write_buffer_size = 0;
        config.max_write_buffer_size = 4 * FRAME;
        config.max_message_size = Some(message);
        config.max_frame_size = Some(message);
        #[allow(clippy::result_large_err, reason = "the library wants it so")]
        let answer = |request: &Request, response: Response| door.answer(request, response);
        let frames = accept_hdr_async_with_config(stream, answer, Some(config)).await?;
        Ok(WebSocket { frames, rest: Bytes::new() })
    }
}

impl Door {
    #[expect(clippy::result_large_err, reason = "the library wants it so")]
    fn answer(&self, request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
        if request.uri().path() != self.path {
            let text = format!("MQTT is at {} here", self.path);
            return Err(refusal(StatusCode::NOT_FOUND, text));
        }
        if !self.lets_in(request) {
            let text = "pages of this origin may not connect; add it to `origins` in [broker.websocket]".to_owned();
            return Err(refusal(StatusCode::FORBIDDEN, text));
        }
        let asked = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
        let asked = asked.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(',')).map(str::trim);
        let Some(chosen) = asked.into_iter().find_map(|asked| PROTOCOLS.into_iter().find(|name| *name == asked)) else {
            let text = "ask for the subprotocol \"mqtt\" (Sec-WebSocket-Protocol)".to_owned();
            return Err(refusal(StatusCode::BAD_REQUEST, text));
        };
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(chosen));
        Ok(response)
    }

    /// Whether the page that a browser shows may connect. Other programs say nothing about pages.
    ///
    /// Without logins, any page that somebody on this machine opens could otherwise write to the machines of the plant.
    fn lets_in(&self, request: &Request) -> bool {
        let Some(origin) = request.headers().get(header::ORIGIN) else { return true };
        let Ok(origin) = origin.to_str() else { return false };
        if !self.origins.is_empty() {
            return self.origins.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(origin));
        }
        let Some((_, authority)) = origin.split_once("://") else { return self.trusting };
        let page = host(authority);
        let address = page.parse::<std::net::IpAddr>().ok();
        if self.trusting || page == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            return true;
        }
        // A name can be made to lead to any address; an address leads to itself.
        let here = request.headers().get(header::HOST).and_then(|here| here.to_str().ok()).map(host);
        address.is_some() && here == Some(page)
    }
}

/// The host of `host:port`, without the brackets of an IPv6 address.
fn host(authority: &str) -> &str {
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    }
}

fn refusal(status: StatusCode, text: String) -> ErrorResponse {
    let mut response = ErrorResponse::new(Some(format!("{text}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn broken(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::ConnectionClosed | Error::AlreadyClosed => io::ErrorKind::ConnectionAborted.into(),
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            match ready!(Pin::new(&mut self.frames).poll_next(cx)) {
                None | Some(Ok(Message::Close(_))) => return Poll::Ready(Ok(())),
                Some(Ok(Message::Binary(bytes))) => self.rest = bytes,
                Some(Ok(Message::Text(_))) => {
                    let error = io::Error::new(io::ErrorKind::InvalidData, "MQTT came as text instead of bytes");
                    return Poll::Ready(Err(error));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
            }
        }
        let most = self.rest.len().min(buffer.remaining());
        buffer.put_slice(self.rest.get(..most).unwrap_or_default());
        self.rest.advance(most);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocket<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.frames).poll_ready(cx)).map_err(broken)?;
        let mut frame = BytesMut::with_capacity(pieces.iter().map(|piece| piece.len()).sum::<usize>().min(FRAME));
        for piece in pieces {
            let most = piece.len().min(FRAME - frame.len());
            frame.extend_from_slice(piece.get(..most).unwrap_or_default());
        }
        let length = frame.len();
        if length > 0 {
            Pin::new(&mut self.frames).start_send(Message::Binary(frame.freeze())).map_err(broken)?;
        }
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.frames).poll_flush(cx).map_err(broken)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.frames).poll_close(cx).map_err(broken)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const REQUEST: &str = "GET /mqtt HTTP/1.1\r\nHost: 127.0.0.1:9001\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

    fn door(origins: &[&str], trusting: bool) -> Door {
        Door { path: "/mqtt".to_owned(), origins: origins.iter().map(|it| (*it).to_owned()).collect(), trusting }
    }

    async fn connect(door: &Door, more: &str) -> (DuplexStream, Result<WebSocket<DuplexStream>, Error>, String) {
        let (mut near, far) = duplex(1 << 20);
        near.write_all(format!("{REQUEST}{more}\r\n").as_bytes()).await.unwrap();
        let result = WebSocket::accept(far, door, 1024).await;
        let mut answer = vec![0; 4096];
        let length = near.read(&mut answer).await.unwrap();
        (near, result, String::from_utf8_lossy(&answer[..length]).into_owned())
    }

    /// A frame of a client, masked with zeros.
    fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0x80 | opcode, 0x80 | length, 0, 0, 0, 0], payload].concat()
    }

    #[tokio::test]
    async fn the_subprotocol_is_chosen_and_has_to_be_asked_for() {
        let (_near, result, answer) = connect(&door(&[], true), "Sec-WebSocket-Protocol: chat, mqtt\r\n").await;
        assert!(result.is_ok() && answer.starts_with("HTTP/1.1 101"), "{answer}");
        assert!(answer.to_lowercase().contains("sec-websocket-protocol: mqtt\r\n"), "{answer}");
        let (_near, result, answer) = connect(&door(&[], true), "").await;
        assert!(result.is_err() && answer.starts_with("HTTP/1.1 400") && answer.contains("subprotocol"), "{answer}");
    }

    #[tokio::test]
    async fn another_path_is_told_the_right_one() {
        let door = Door { path: "/other".to_owned(), ..door(&[], true) };
        let (_near, result, answer) = connect(&door, "Sec-WebSocket-Protocol: mqtt\r\n").await;
        assert!(result.is_err() && answer.starts_with("HTTP/1.1 404") && answer.contains("/other"), "{answer}");
    }

    #[tokio::test]
    async fn without_logins_pages_of_others_may_not_connect() {
        let cases = [
            (door(&[], false), "http://evil.example", false),
            (door(&[], false), "http://127.0.0.1.evil.example", false),
            (door(&[], false), "null", false),
            (door(&[], false), "http://localhost:8080", true),
            (door(&[], false), "http://127.0.0.1:8080", true),
            (door(&[], false), "http://10.0.0.1", false),
            (door(&[], true), "https://panel.example", true),
            (door(&["https://panel.example"], true), "https://panel.example", true),
            (door(&["https://panel.example"], true), "https://evil.example", false),
            (door(&["*"], false), "https://anywhere.example", true),
        ];
        for (door, origin, allowed) in cases {
            let more = format!("Origin: {origin}\r\nSec-WebSocket-Protocol: mqtt\r\n");
            let (_near, result, answer) = connect(&door, &more).await;
            assert_eq!(result.is_ok(), allowed, "{origin}: {answer}");
            assert_eq!(answer.starts_with("HTTP/1.1 403"), !allowed, "{origin}: {answer}");
        }
    }

    #[tokio::test]
    async fn frames_cut_and_join_what_is_sent_anywhere() {
        let (mut near, socket, _) = connect(&door(&[], true), "Sec-WebSocket-Protocol: mqtt\r\n").await;
        let mut socket = socket.unwrap();
        let frames = [frame(2, b"ab"), frame(9, b"ping"), frame(2, b""), frame(2, b"cdefg")].concat();
        for byte in frames {
            near.write_all(&[byte]).await.unwrap();
        }
        let mut read = [0; 7];
        socket.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"abcdefg");
        socket.write_all(b"hello").await.unwrap();
        socket.flush().await.unwrap();
        let mut sent = vec![0; 6 + 7];
        near.read_exact(&mut sent).await.unwrap();
        assert_eq!(sent, [b"\x8a\x04ping".as_slice(), b"\x82\x05hello"].concat(), "the ping is answered");
        near.write_all(&frame(8, b"")).await.unwrap();
        assert_eq!(socket.read(&mut read).await.unwrap(), 0, "a close is the end");
    }

    #[tokio::test]
    async fn text_and_frames_beyond_the_limit_are_mistakes() {
        let (mut near, socket, _) = connect(&door(&[], true), "Sec-WebSocket-Protocol: mqtt\r\n").await;
        near.write_all(&frame(1, b"hello")).await.unwrap();
        assert_eq!(socket.unwrap().read(&mut [0; 8]).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        let (mut near, socket, _) = connect(&door(&[], true), "Sec-WebSocket-Protocol: mqtt\r\n").await;
        near.write_all(&[0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]).await.unwrap();
        assert!(socket.unwrap().read(&mut [0; 8]).await.is_err(), "four gigabytes are announced");
    }
}
