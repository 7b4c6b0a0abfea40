//! The least HTTP client that can ask the gateway something.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::Context;

/// A server that answers slower than this is not well.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body; what is no UTF-8 is replaced.
    pub body: String,
}

/// `GET path` without any header but the host.
///
/// # Errors
///
/// When nobody answers within five seconds, or what comes is no HTTP.
pub fn get(address: SocketAddr, path: &str) -> anyhow::Result<Answer> {
    let mut stream =
        TcpStream::connect_timeout(&address, TIMEOUT).with_context(|| format!("failed to reach {address}"))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    // With HTTP/1.0 the body ends where the connection does.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).with_context(|| format!("failed to read the answer to GET {path}"))?;
    answer(&String::from_utf8_lossy(&bytes))
        .with_context(|| format!("what answered GET {path} at {address} is no HTTP"))
}

fn answer(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_body_come_out_of_an_answer() {
        let text = "HTTP/1.0 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nwait";
        assert_eq!(answer(text), Some(Answer { status: 503, body: "wait".to_owned() }));
        assert_eq!(answer("SSH-2.0-OpenSSH"), None);
    }
}
