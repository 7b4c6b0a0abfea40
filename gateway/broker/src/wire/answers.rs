//! The answers of the server (MQTT 3.1.1 §3.2 to §3.13, MQTT 5.0 §3.2 to §3.14).

use bytes::BufMut;

use super::{
    Acknowledgement, Refusal, Version,
    properties::id,
    publish::{digits, number, text},
};

/// What an accepted client is told.
#[derive(Debug)]
pub(crate) struct Accepted<'a> {
    /// Whether the broker still knew its session.
    pub(crate) session_present: bool,
    /// The client id, when the broker chose it.
    pub(crate) assigned: Option<&'a str>,
    /// Seconds that the session is kept, when these are not what the client asked for.
    pub(crate) session_expiry: Option<u32>,
    /// Seconds between two packets of the client, when these are not what the client promised.
    pub(crate) keep_alive: Option<u16>,
    /// QoS 2 messages that the client may have under way.
    pub(crate) receive_maximum: u16,
    /// Topic aliases that the client may use.
    pub(crate) topic_aliases: u16,
    /// Bytes of the longest packet that the client may send.
    pub(crate) packet_bytes: u32,
}

/// How a client is answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reply {
    pub(crate) version: Version,
    /// Whether it wants to be told why.
    pub(crate) wants_reasons: bool,
    /// Bytes of the longest packet that it takes.
    pub(crate) packet_bytes: usize,
}

impl Reply {
    /// The text, if the client wants it and a packet with so many other bytes has room for it.
    fn reason<'a>(&self, text: Option<&'a str>, others: usize) -> &'a str {
        let text = text.filter(|_| self.wants_reasons && self.version == Version::V5).unwrap_or_default();
        // The length of the packet and of the properties may need one byte more each than is counted without the text.
        if others + 3 + text.len() + 4 > self.packet_bytes { "" } else { text }
    }
}

/// CONNACK of an accepted client.
pub(crate) fn accept(out: &mut Vec<u8>, version: Version, accepted: &Accepted<'_>) {
    let present = u8::from(accepted.session_present);
    match version {
        // MQTT 3.1 reserves the flag.
        Version::V3 => return out.put_slice(&[0x20, 2, 0, 0]),
        Version::V4 => return out.put_slice(&[0x20, 2, present, 0]),
        Version::V5 => {}
    }
    let mut properties = Vec::with_capacity(64);
    if let Some(seconds) = accepted.session_expiry {
        properties.put_u8(id::SESSION_EXPIRY);
        properties.put_u32(seconds);
    }
    if let Some(client) = accepted.assigned {
        properties.put_u8(id::ASSIGNED_CLIENT_ID);
        text(&mut properties, client.as_bytes());
    }
    if let Some(seconds) = accepted.keep_alive {
        properties.put_u8(id::SERVER_KEEP_ALIVE);
        properties.put_u16(seconds);
    }
    properties.put_u8(id::RECEIVE_MAXIMUM);
    properties.put_u16(accepted.receive_maximum);
    properties.put_u8(id::TOPIC_ALIAS_MAXIMUM);
    properties.put_u16(accepted.topic_aliases);
    properties.put_u8(id::MAXIMUM_PACKET_SIZE);
    properties.put_u32(accepted.packet_bytes);
    out.put_u8(0x20);
    number(out, 2 + digits(properties.len()) + properties.len());
    out.put_slice(&[present, 0]);
    number(out, properties.len());
    out.put_slice(&properties);
}

/// CONNACK of a refused CONNECT. The reason may be told whether the client asked for it or not.
pub(crate) fn refuse(out: &mut Vec<u8>, version: Version, refusal: Refusal) {
    let code = refusal.code(version);
    match version {
        Version::V3 | Version::V4 => out.put_slice(&[0x20, 2, 0, code]),
        Version::V5 => {
            let reason = refusal.text();
            out.put_u8(0x20);
            number(out, 2 + reason_length(reason));
            out.put_slice(&[0, code]);
            reason_string(out, reason);
        }
    }
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP; before MQTT 5 there is no place for the reason.
pub(crate) fn acknowledge(
    out: &mut Vec<u8>,
    reply: Reply,
    kind: Acknowledgement,
    id: u16,
    reason: u8,
    text: Option<&str>,
) {
    let first = match kind {
        Acknowledgement::Received => 0x40,
        Acknowledgement::Stored(_) => 0x50,
        Acknowledgement::Release => 0x62,
        Acknowledgement::Complete => 0x70,
    };
    out.put_u8(first);
    if reply.version != Version::V5 || reason == 0 {
        out.put_u8(2);
        return out.put_u16(id);
    }
    let text = reply.reason(text, 5);
    number(out, 3 + if text.is_empty() { 0 } else { reason_length(text) });
    out.put_u16(id);
    out.put_u8(reason);
    if !text.is_empty() {
        reason_string(out, text);
    }
}

/// SUBACK with one code per filter, which MQTT 3.1.1 knows only as 0, 1, 2 and 0x80, and MQTT 3.1 as 0, 1 and 2.
pub(crate) fn suback(out: &mut Vec<u8>, reply: Reply, id: u16, codes: &[u8], text: Option<&str>) {
    out.put_u8(0x90);
    if reply.version == Version::V5 {
        let text = reply.reason(text, 5 + codes.len());
        number(out, 2 + reason_length(text) + codes.len());
        out.put_u16(id);
        reason_string(out, text);
        out.put_slice(codes);
    } else {
        number(out, 2 + codes.len());
        out.put_u16(id);
        out.extend(codes.iter().map(|code| *code.min(&0x80)));
    }
}

/// UNSUBACK; before MQTT 5 there are no codes in it.
pub(crate) fn unsuback(out: &mut Vec<u8>, version: Version, id: u16, codes: &[u8]) {
    out.put_u8(0xB0);
    if version == Version::V5 {
        number(out, 3 + codes.len());
        out.put_u16(id);
        out.put_u8(0);
        out.put_slice(codes);
    } else {
        out.put_u8(2);
        out.put_u16(id);
    }
}

/// PINGRESP.
pub(crate) fn ping_response(out: &mut Vec<u8>) {
    out.put_slice(&[0xD0, 0]);
}

/// DISCONNECT with its reason, which only MQTT 5 has. It may be told whether the client asked for it or not.
pub(crate) fn disconnect(out: &mut Vec<u8>, reply: Reply, code: u8, text: &str) {
    if reply.version != Version::V5 {
        return;
    }
    let text = Reply { wants_reasons: true, ..reply }.reason(Some(text), 3);
    if text.is_empty() {
        return out.put_slice(&[0xE0, 1, code]);
    }
    out.put_u8(0xE0);
    number(out, 1 + reason_length(text));
    out.put_u8(code);
    reason_string(out, text);
}

/// Bytes of properties with a reason alone, or with none.
fn reason_length(reason: &str) -> usize {
    if reason.is_empty() {
        return 1;
    }
    let property = 3 + reason.len();
    digits(property) + property
}

/// Properties with a reason alone, or with none.
fn reason_string(out: &mut Vec<u8>, reason: &str) {
    if reason.is_empty() {
        return out.put_u8(0);
    }
    number(out, 3 + reason.len());
    out.put_u8(id::REASON_STRING);
    text(out, reason.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out);
        out
    }

    const FOUR: Reply = Reply { version: Version::V4, wants_reasons: true, packet_bytes: usize::MAX };
    const FIVE: Reply = Reply { version: Version::V5, ..FOUR };

    #[test]
    fn answers_are_written_as_the_standard_says() {
        let accepted = Accepted {
            session_present: true,
            assigned: Some("x"),
            session_expiry: Some(9),
            keep_alive: Some(60),
            receive_maximum: 7,
            topic_aliases: 10,
            packet_bytes: 256,
        };
        assert_eq!(written(|out| accept(out, Version::V3, &accepted)), [0x20, 2, 0, 0]);
        assert_eq!(written(|out| accept(out, Version::V4, &accepted)), [0x20, 2, 1, 0]);
        assert_eq!(
            written(|out| accept(out, Version::V5, &accepted)),
            b"\x20\x1A\x01\x00\x17\x11\0\0\0\x09\x12\0\x01x\x13\0\x3C\x21\0\x07\x22\0\x0A\x27\0\0\x01\0"
        );
        assert_eq!(written(|out| suback(out, FOUR, 7, &[1, 0x87], Some("no"))), [0x90, 4, 0, 7, 1, 0x80]);
        assert_eq!(written(|out| suback(out, FIVE, 7, &[1, 0x87], None)), [0x90, 5, 0, 7, 0, 1, 0x87]);
        assert_eq!(written(|out| suback(out, FIVE, 7, &[1], Some("no"))), b"\x90\x09\0\x07\x05\x1F\0\x02no\x01");
        assert_eq!(written(|out| unsuback(out, Version::V4, 7, &[0x11])), [0xB0, 2, 0, 7]);
        assert_eq!(written(|out| unsuback(out, Version::V5, 7, &[0x11])), [0xB0, 4, 0, 7, 0, 0x11]);
        let puback =
            |reply, code, text| written(|out| acknowledge(out, reply, Acknowledgement::Received, 7, code, text));
        assert_eq!(puback(FOUR, 0x87, Some("no")), [0x40, 2, 0, 7]);
        assert_eq!(puback(FIVE, 0, None), [0x40, 2, 0, 7]);
        assert_eq!(puback(FIVE, 0x87, None), [0x40, 3, 0, 7, 0x87]);
        assert_eq!(puback(FIVE, 0x87, Some("no")), b"\x40\x09\0\x07\x87\x05\x1F\0\x02no");
        assert_eq!(written(|out| disconnect(out, FIVE, 0x8E, "no")), b"\xE0\x07\x8E\x05\x1F\0\x02no");
        assert!(written(|out| disconnect(out, FOUR, 0x8E, "no")).is_empty());
        assert_eq!(written(|out| refuse(out, Version::V4, Refusal::ProtocolVersion)), [0x20, 2, 0, 1]);
        let refused = written(|out| refuse(out, Version::V5, Refusal::Login));
        assert_eq!((refused[0], usize::from(refused[1]), refused[3]), (0x20, refused.len() - 2, 0x86));
    }

    #[test]
    fn a_long_reason_has_its_length_in_more_bytes() {
        let text = "x".repeat(200);
        let packet = written(|out| disconnect(out, FIVE, 0x81, &text));
        assert_eq!(packet[..9], [0xE0, 0xCE, 0x01, 0x81, 0xCB, 0x01, 0x1F, 0, 200]);
        assert_eq!(packet.len(), 3 + 0xCE);
    }

    #[test]
    fn reasons_are_left_out_where_they_are_not_wanted_or_have_no_room() {
        let silent = Reply { wants_reasons: false, ..FIVE };
        let small = Reply { packet_bytes: 12, ..FIVE };
        for reply in [silent, small] {
            let puback = written(|out| acknowledge(out, reply, Acknowledgement::Received, 7, 0x87, Some("no right")));
            assert_eq!(puback, [0x40, 3, 0, 7, 0x87]);
            assert_eq!(written(|out| suback(out, reply, 7, &[0x87], Some("no right"))), [0x90, 4, 0, 7, 0, 0x87]);
        }
        assert_eq!(written(|out| disconnect(out, small, 0x8E, "no right")), [0xE0, 1, 0x8E]);
        assert!(written(|out| disconnect(out, silent, 0x8E, "no right")).len() > 3, "a goodbye is always explained");
    }
}
