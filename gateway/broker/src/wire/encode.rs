//! The packets of the server (MQTT 3.1.1 §3.2 to §3.13, MQTT 5.0 §3.2 to §3.14).

use bytes::{BufMut, Bytes, BytesMut};
use rumqttd::protocol::{PublishProperties, QoS};

use super::{Acknowledgement, Version};

/// What an accepted client is told.
#[derive(Debug)]
pub(crate) struct Accepted<'a> {
    /// Whether the broker still knew its session.
    pub(crate) session_present: bool,
    /// The client id, when the broker chose it.
    pub(crate) assigned: Option<&'a str>,
    /// Topic aliases that the client may use.
    pub(crate) topic_aliases: u16,
    /// Bytes of the longest packet that the client may send.
    pub(crate) packet_bytes: u32,
}

/// CONNACK of an accepted client.
pub(crate) fn accept(out: &mut BytesMut, version: Version, accepted: &Accepted<'_>) {
    let present = u8::from(accepted.session_present);
    if version == Version::V4 {
        return out.put_slice(&[0x20, 2, present, 0]);
    }
    let mut properties = Vec::with_capacity(64);
    if let Some(id) = accepted.assigned {
        properties.put_u8(0x12);
        text(&mut properties, id.as_bytes());
    }
    properties.put_u8(0x22);
    properties.put_u16(accepted.topic_aliases);
    properties.put_u8(0x27);
    properties.put_u32(accepted.packet_bytes);
    // No shared subscriptions.
    properties.put_slice(&[0x2A, 0]);
    out.put_u8(0x20);
    number(out, 2 + digits(properties.len()) + properties.len());
    out.put_slice(&[present, 0]);
    number(out, properties.len());
    out.put_slice(&properties);
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP; MQTT 3.1.1 has no place for the reason.
pub(crate) fn acknowledge(out: &mut BytesMut, version: Version, kind: Acknowledgement, id: u16, reason: u8) {
    let first = match kind {
        Acknowledgement::Received => 0x40,
        Acknowledgement::Stored(_) => 0x50,
        Acknowledgement::Release => 0x62,
        Acknowledgement::Complete => 0x70,
    };
    out.put_u8(first);
    if version == Version::V4 || reason == 0 {
        out.put_u8(2);
        out.put_u16(id);
    } else {
        out.put_u8(3);
        out.put_u16(id);
        out.put_u8(reason);
    }
}

/// SUBACK with one code per filter, which MQTT 3.1.1 knows only as 0, 1, 2 and 0x80.
pub(crate) fn suback(out: &mut BytesMut, version: Version, id: u16, codes: &[u8]) {
    out.put_u8(0x90);
    match version {
        Version::V4 => {
            number(out, 2 + codes.len());
            out.put_u16(id);
            out.extend(codes.iter().map(|code| *code.min(&0x80)));
        }
        Version::V5 => {
            number(out, 3 + codes.len());
            out.put_u16(id);
            out.put_u8(0);
            out.put_slice(codes);
        }
    }
}

/// UNSUBACK; MQTT 3.1.1 has no codes in it.
pub(crate) fn unsuback(out: &mut BytesMut, version: Version, id: u16, codes: &[u8]) {
    out.put_u8(0xB0);
    match version {
        Version::V4 => {
            out.put_u8(2);
            out.put_u16(id);
        }
        Version::V5 => {
            number(out, 3 + codes.len());
            out.put_u16(id);
            out.put_u8(0);
            out.put_slice(codes);
        }
    }
}

/// PINGRESP.
pub(crate) fn ping_response(out: &mut BytesMut) {
    out.put_slice(&[0xD0, 0]);
}

/// DISCONNECT with its reason, which only MQTT 5 has.
pub(crate) fn disconnect(out: &mut BytesMut, version: Version, reason: u8) {
    if version == Version::V5 {
        out.put_slice(&[0xE0, 1, reason]);
    }
}

/// What a PUBLISH says.
#[derive(Debug)]
pub(crate) struct Content<'a> {
    pub(crate) topic: &'a [u8],
    pub(crate) payload: &'a [u8],
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// Whether it may have been sent before.
    pub(crate) duplicate: bool,
    /// Ignored with QoS 0.
    pub(crate) id: u16,
    /// Seconds until nobody needs it any more.
    pub(crate) expiry: Option<u32>,
    /// The subscriptions that it is sent for.
    pub(crate) identifiers: &'a [usize],
    pub(crate) properties: Option<&'a PublishProperties>,
}

/// PUBLISH. `scratch` is room for the properties, so that nothing is allocated for each message.
pub(crate) fn publish(out: &mut BytesMut, version: Version, content: &Content<'_>, scratch: &mut Vec<u8>) {
    let qos = match content.qos {
        QoS::AtMostOnce => 0,
        QoS::AtLeastOnce => 0b010,
        QoS::ExactlyOnce => 0b100,
    };
    let first = 0x30 | qos | u8::from(content.retain) | (u8::from(content.duplicate) << 3);
    scratch.clear();
    let mut length = 2 + content.topic.len() + content.payload.len() + if qos == 0 { 0 } else { 2 };
    if version == Version::V5 {
        publish_properties(scratch, content);
        length += digits(scratch.len()) + scratch.len();
    }
    out.reserve(length + 5);
    out.put_u8(first);
    number(out, length);
    text(out, content.topic);
    if qos != 0 {
        out.put_u16(content.id);
    }
    if version == Version::V5 {
        number(out, scratch.len());
        out.put_slice(scratch);
    }
    out.put_slice(content.payload);
}

fn publish_properties(out: &mut Vec<u8>, content: &Content<'_>) {
    if let Some(seconds) = content.expiry {
        out.put_u8(0x02);
        out.put_u32(seconds);
    }
    for identifier in content.identifiers {
        out.put_u8(0x0B);
        number(out, *identifier);
    }
    let Some(properties) = content.properties else { return };
    if let Some(indicator) = properties.payload_format_indicator {
        out.put_slice(&[0x01, indicator]);
    }
    if let Some(kind) = &properties.content_type {
        out.put_u8(0x03);
        text(out, kind.as_bytes());
    }
    if let Some(topic) = &properties.response_topic {
        out.put_u8(0x08);
        text(out, topic.as_bytes());
    }
    if let Some(data) = properties.correlation_data.as_ref().map(Bytes::as_ref) {
        out.put_u8(0x09);
        text(out, data);
    }
    for (key, value) in &properties.user_properties {
        out.put_u8(0x26);
        text(out, key.as_bytes());
        text(out, value.as_bytes());
    }
}

/// Text or data with its length. What is longer than the wire can carry is cut; no caller has any.
fn text(out: &mut impl BufMut, text: &[u8]) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.put_u16(length);
    out.put_slice(text.get(..usize::from(length)).unwrap_or_default());
}

/// A variable byte integer.
fn number(out: &mut impl BufMut, mut number: usize) {
    loop {
        let digit = u8::try_from(number & 0x7F).unwrap_or_default();
        number >>= 7;
        if number == 0 {
            return out.put_u8(digit);
        }
        out.put_u8(digit | 0x80);
    }
}

/// Bytes of a variable byte integer.
fn digits(number: usize) -> usize {
    match number {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
        let mut out = BytesMut::new();
        write(&mut out);
        out.to_vec()
    }

    const PLAIN: Content<'static> = Content {
        topic: b"a/b",
        payload: b"hi",
        qos: QoS::AtMostOnce,
        retain: false,
        duplicate: false,
        id: 0,
        expiry: None,
        identifiers: &[],
        properties: None,
    };

    #[test]
    fn publishes_are_written_as_the_standard_says() {
        let mut scratch = Vec::new();
        let four = written(|out| publish(out, Version::V4, &PLAIN, &mut scratch));
        assert_eq!(four, b"\x30\x07\0\x03a/bhi");
        let again = Content { qos: QoS::AtLeastOnce, retain: true, duplicate: true, id: 0x1234, ..PLAIN };
        assert_eq!(written(|out| publish(out, Version::V4, &again, &mut scratch)), b"\x3B\x09\0\x03a/b\x12\x34hi");
        let properties = PublishProperties {
            payload_format_indicator: Some(1),
            content_type: Some("t".to_owned()),
            response_topic: Some("r".to_owned()),
            correlation_data: Some(Bytes::from_static(b"c")),
            user_properties: vec![("k".to_owned(), "v".to_owned())],
            ..PublishProperties::default()
        };
        let full = Content {
            qos: QoS::ExactlyOnce,
            id: 1,
            expiry: Some(5),
            identifiers: &[200],
            properties: Some(&properties),
            ..PLAIN
        };
        assert_eq!(
            written(|out| publish(out, Version::V5, &full, &mut scratch)),
            b"\x34\x27\0\x03a/b\0\x01\x1D\x02\0\0\0\x05\x0B\xC8\x01\x01\x01\x03\0\x01t\x08\0\x01r\x09\0\x01c\x26\0\x01k\0\x01vhi"
        );
    }

    #[test]
    fn the_length_of_a_large_publish_has_more_digits() {
        for (payload, digits) in [(120, 1), (123, 2), (16_379, 3), (2_097_147, 4)] {
            let payload = vec![0; payload];
            let content = Content { payload: &payload, ..PLAIN };
            let packet = written(|out| publish(out, Version::V4, &content, &mut Vec::new()));
            assert_eq!(packet.len(), 1 + digits + 5 + payload.len());
            assert_eq!(packet[digits] & 0x80, 0);
        }
    }

    #[test]
    fn answers_are_written_as_the_standard_says() {
        let accepted = Accepted { session_present: true, assigned: Some("x"), topic_aliases: 10, packet_bytes: 256 };
        assert_eq!(written(|out| accept(out, Version::V4, &accepted)), [0x20, 2, 1, 0]);
        assert_eq!(
            written(|out| accept(out, Version::V5, &accepted)),
            b"\x20\x11\x01\x00\x0E\x12\0\x01x\x22\0\x0A\x27\0\0\x01\0\x2A\0"
        );
        assert_eq!(written(|out| suback(out, Version::V4, 7, &[1, 0x87])), [0x90, 4, 0, 7, 1, 0x80]);
        assert_eq!(written(|out| suback(out, Version::V5, 7, &[1, 0x87])), [0x90, 5, 0, 7, 0, 1, 0x87]);
        assert_eq!(written(|out| unsuback(out, Version::V4, 7, &[0x11])), [0xB0, 2, 0, 7]);
        assert_eq!(written(|out| unsuback(out, Version::V5, 7, &[0x11])), [0xB0, 4, 0, 7, 0, 0x11]);
        let puback = |version, reason| written(|out| acknowledge(out, version, Acknowledgement::Received, 7, reason));
        assert_eq!(puback(Version::V4, 0x87), [0x40, 2, 0, 7]);
        assert_eq!(puback(Version::V5, 0), [0x40, 2, 0, 7]);
        assert_eq!(puback(Version::V5, 0x87), [0x40, 3, 0, 7, 0x87]);
        assert_eq!(written(|out| disconnect(out, Version::V5, 0x8E)), [0xE0, 1, 0x8E]);
        assert!(written(|out| disconnect(out, Version::V4, 0x8E)).is_empty());
    }
}
