//! The least HTTP client that can ask the gateway something.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use anyhow::{Context, bail};

use crate::PATIENCE;

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The lines of the head after the first.
    pub head: String,
    /// The body; what is no UTF-8 is replaced.
    pub body: String,
}

impl Answer {
    /// A header by its name in small letters.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The body as JSON.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub fn json(&self) -> anyhow::Result<serde_json::Value> {
        serde_json::from_str(&self.body).with_context(|| format!("the body is no JSON: {}", self.body))
    }
}

/// `GET path` without any header but the host.
///
/// # Errors
///
/// When nobody answers within [`PATIENCE`], or what comes is no HTTP.
pub fn get(address: SocketAddr, path: &str) -> anyhow::Result<Answer> {
    request(address, "GET", path, &[], "")
}

/// A request with these headers beside the host and the length, and this body.
///
/// # Errors
///
/// When nobody answers within [`PATIENCE`], or what comes is no HTTP.
pub fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> anyhow::Result<Answer> {
    let mut stream =
        TcpStream::connect_timeout(&address, PATIENCE).with_context(|| format!("failed to reach {address}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // With HTTP/1.0 the body of the answer ends where the connection does.
    let mut text = format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    // A server may answer and close before it has read everything.
    let _ = stream.write_all(format!("{text}\r\n{body}").as_bytes());
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes);
    let answer = answer(&String::from_utf8_lossy(&bytes));
    match (answer, read) {
        (Some(answer), _) => Ok(answer),
        (None, Err(error)) => Err(error).with_context(|| format!("failed to read the answer to {method} {path}")),
        (None, Ok(_)) => bail!("what answered {method} {path} at {address} is no HTTP"),
    }
}

fn answer(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let head = head.split_once("\r\n").map(|(_, rest)| rest).unwrap_or_default().to_owned();
    Some(Answer { status, head, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_body_come_out_of_an_answer() {
        let text = "HTTP/1.0 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nwait";
        let found = answer(text).expect("an answer");
        assert_eq!((found.status, found.body.as_str(), found.header("content-length")), (503, "wait", Some("4")));
        assert_eq!(answer("SSH-2.0-OpenSSH"), None);
    }
}
