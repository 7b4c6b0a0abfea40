//! What is known of a connection over which nobody has logged in, and the sessions that were made over it.
//!
//! The library keeps a session that nobody has logged in to for as long as any other, and nothing in it can be told to let go of one.
//! A client can close its own, though: so at the end of a connection without encryption, those that nobody has logged in to are closed
//! in the client's name. With encryption only who has a trusted certificate can make one.

use std::io;

use opcua::{
    server::ServerHandle,
    types::{
        BinaryDecodable, BinaryEncodable, CloseSessionRequest, ContextOwned, DateTime, NodeId, ObjectId, RequestHeader,
        ResponseHeader,
    },
};

use crate::frames::{Frames, Head};

/// Bytes of a part of a message that a stranger sends, at most; the library takes no longer ones.
pub(crate) const LONGEST_PART: usize = 64 * 1024 + 1024;
/// Messages before somebody has logged in.
const MOST_MESSAGES: u32 = 24;
/// Bytes before somebody has logged in: a certificate has a few kilobytes.
const MOST_BYTES: usize = 256 * 1024;
/// Sessions over one connection without encryption.
const MOST_SESSIONS: usize = 16;

/// The type of the answer to `CreateSession`: `CreateSessionResponse_Encoding_DefaultBinary` in the standard's list.
const CREATED: u16 = 464;

/// What has been said over one connection.
#[derive(Default)]
pub(crate) struct Stranger {
    up: Frames,
    down: Frames,
    /// The number of the channel, and whether it is without encryption.
    channel: Option<(u32, bool)>,
    /// The token and the number of the last message of a channel without encryption.
    last: Option<(u32, u32)>,
    messages: u32,
    bytes: usize,
    /// The sessions that were made, as their client calls them.
    sessions: Vec<NodeId>,
}

impl Stranger {
    fn is_plain(&self) -> bool {
        self.channel.is_some_and(|(_, plain)| plain)
    }

    /// Looks at what the client says. Returns how many of the bytes are whole parts.
    pub(crate) fn heard(&mut self, bytes: &[u8], guest: bool) -> io::Result<usize> {
        if guest {
            (self.messages, self.bytes) = (0, 0);
            if !self.is_plain() {
                return Ok(bytes.len());
            }
        }
        self.bytes = self.bytes.saturating_add(bytes.len());
        let (plain, last, messages) = (self.is_plain(), &mut self.last, &mut self.messages);
        let whole = self.up.feed(bytes, |head| {
            if head.is_message() {
                *messages = messages.saturating_add(1);
                *last = head.sequence().filter(|_| plain).or(*last);
            }
        });
        let too_much = !guest && (self.messages > MOST_MESSAGES || self.bytes > MOST_BYTES);
        if too_much || self.sessions.len() > MOST_SESSIONS {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        // Another protocol, as a rule. Nothing of it would go on before it is whole, and the library would never get to refuse it.
        if !guest && self.up.to_come() > LONGEST_PART {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(whole)
    }

    /// Looks at what the library answers. Returns the number of the channel when it has just been opened.
    pub(crate) fn answered(&mut self, bytes: &[u8]) -> Option<u32> {
        if self.channel.is_some() && !self.is_plain() {
            return None;
        }
        let before = self.channel;
        let (channel, sessions) = (&mut self.channel, &mut self.sessions);
        self.down.feed(bytes, |head| {
            *channel = channel.or(head.opened());
            if channel.is_some_and(|(_, plain)| plain) {
                sessions.extend(session(head));
            }
        });
        if before.is_none() { self.channel.map(|(number, _)| number) } else { None }
    }

    /// What closes the sessions that nobody has logged in to, behind whole messages.
    pub(crate) fn farewell(&self, handle: &ServerHandle) -> Vec<u8> {
        let (Some((channel, true)), Some((token, last))) = (self.channel, self.last) else { return Vec::new() };
        let idle = |session: &&NodeId| {
            let found = handle.session_manager().read().find_by_token(session);
            found.is_some_and(|session| !session.read().is_activated())
        };
        let closing = self.sessions.iter().filter(idle).zip(1..);
        closing
            .filter_map(|(session, number)| close(session, channel, token, last.wrapping_add(number)))
            .flatten()
            .collect()
    }
}

/// The name by which the client calls the session that this answer gives it.
fn session(head: Head<'_>) -> Option<NodeId> {
    head.kind().filter(|kind| head.is_message() && *kind == CREATED)?;
    let (context, mut body) = (ContextOwned::default(), head.body());
    let context = context.context();
    let header = ResponseHeader::decode(&mut body, &context).ok()?;
    let _id = NodeId::decode(&mut body, &context).ok().filter(|_| header.service_result.is_good())?;
    NodeId::decode(&mut body, &context).ok()
}

/// The message that closes a session.
fn close(session: &NodeId, channel: u32, token: u32, number: u32) -> Option<Vec<u8>> {
    let request = CloseSessionRequest {
        request_header: RequestHeader::new(session, &DateTime::now(), number),
        delete_subscriptions: true,
    };
    let kind: NodeId = ObjectId::CloseSessionRequest_Encoding_DefaultBinary.into();
    let context = ContextOwned::default();
    let context = context.context();
    let mut body = Vec::new();
    for number in [channel, token, number, number] {
        body.extend_from_slice(&number.to_le_bytes());
    }
    kind.encode(&mut body, &context).ok()?;
    request.encode(&mut body, &context).ok()?;
    let length = u32::try_from(body.len().checked_add(8)?).ok()?;
    Some([&b"MSGF"[..], &length.to_le_bytes(), &body].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_says_it_is_too_long_is_not_waited_for() {
        for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"HELF\x00\x00\x02\x00"] {
            let mut stranger = Stranger::default();
            assert_eq!(stranger.heard(&bytes[..7], false).unwrap(), 0, "its length is not known yet");
            assert_eq!(stranger.heard(&bytes[7..], false).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
        assert_eq!(Stranger::default().heard(b"HELF\x00\x00\x01\x00", false).unwrap(), 0, "this may be whole soon");
    }
}
