//! PUBLISH as the server sends it (MQTT 3.1.1 §3.3, MQTT 5.0 §3.3).

use bytes::{BufMut, Bytes};

use super::{Batch, Passed, Qos, Version, properties::id};

/// What a PUBLISH says.
#[derive(Debug)]
pub(crate) struct Content<'a> {
    pub(crate) topic: &'a [u8],
    pub(crate) payload: &'a Bytes,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    /// Whether it may have been sent before.
    pub(crate) duplicate: bool,
    /// Ignored with QoS 0.
    pub(crate) id: u16,
    /// Seconds until nobody needs it any more.
    pub(crate) expiry: Option<u32>,
    pub(crate) alias: Option<Alias>,
    /// The subscriptions that it is sent for.
    pub(crate) identifiers: &'a [u32],
    pub(crate) passed: &'a Passed,
}

/// A number for a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alias {
    /// From now on it stands for the topic.
    Set(u16),
    /// It stands for the topic, which is left out.
    Use(u16),
}

/// Writes a PUBLISH, unless it would have more than `longest` bytes; says whether it has.
pub(crate) fn publish(out: &mut Batch, version: Version, content: &Content<'_>, longest: usize) -> bool {
    let topic = if matches!(content.alias, Some(Alias::Use(_))) { &[] } else { content.topic };
    let mut length = 2 + topic.len() + content.payload.len() + if content.qos.is_acknowledged() { 2 } else { 0 };
    let mut properties = 0;
    if version == Version::V5 {
        properties = properties_length(content);
        length += digits(properties) + properties;
    }
    if 1 + digits(length) + length > longest {
        return false;
    }
    let head = out.small();
    head.reserve(length.saturating_sub(content.payload.len()) + 5);
    head.put_u8(0x30 | (content.qos.number() << 1) | u8::from(content.retain) | (u8::from(content.duplicate) << 3));
    number(head, length);
    text(head, topic);
    if content.qos.is_acknowledged() {
        head.put_u16(content.id);
    }
    if version == Version::V5 {
        number(head, properties);
        write_properties(head, content);
    }
    out.share(content.payload);
    true
}

fn properties_length(content: &Content<'_>) -> usize {
    let expiry = if content.expiry.is_some() { 5 } else { 0 };
    let alias = if content.alias.is_some() { 3 } else { 0 };
    let identifiers: usize = content.identifiers.iter().map(|number| 1 + digits(wide(*number))).sum();
    expiry + alias + identifiers + content.passed.bytes().len()
}

fn write_properties(out: &mut Vec<u8>, content: &Content<'_>) {
    if let Some(seconds) = content.expiry {
        out.put_u8(id::MESSAGE_EXPIRY);
        out.put_u32(seconds);
    }
    if let Some(Alias::Set(alias) | Alias::Use(alias)) = content.alias {
        out.put_u8(id::TOPIC_ALIAS);
        out.put_u16(alias);
    }
    for identifier in content.identifiers {
        out.put_u8(id::SUBSCRIPTION_IDENTIFIER);
        number(out, wide(*identifier));
    }
    out.put_slice(content.passed.bytes());
}

fn wide(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Text or data with its length. What is longer than the wire can carry is cut; no caller has any.
pub(super) fn text(out: &mut Vec<u8>, text: &[u8]) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.put_u16(length);
    out.put_slice(text.get(..usize::from(length)).unwrap_or_default());
}

/// A variable byte integer.
pub(super) fn number(out: &mut Vec<u8>, mut number: usize) {
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
pub(super) fn digits(number: usize) -> usize {
    match number {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Buf;

    use super::*;

    fn written(version: Version, content: &Content<'_>) -> Vec<u8> {
        let mut out = Batch::default();
        assert!(publish(&mut out, version, content, usize::MAX));
        out.copy_to_bytes(out.remaining()).to_vec()
    }

    static NOTHING: Passed = Passed::NONE;
    static HI: Bytes = Bytes::from_static(b"hi");

    fn plain(payload: &Bytes) -> Content<'_> {
        Content {
            topic: b"a/b",
            payload,
            qos: Qos::AtMostOnce,
            retain: false,
            duplicate: false,
            id: 0,
            expiry: None,
            alias: None,
            identifiers: &[],
            passed: &NOTHING,
        }
    }

    #[test]
    fn publishes_are_written_as_the_standard_says() {
        assert_eq!(written(Version::V4, &plain(&HI)), b"\x30\x07\0\x03a/bhi");
        let again = Content { qos: Qos::AtLeastOnce, retain: true, duplicate: true, id: 0x1234, ..plain(&HI) };
        assert_eq!(written(Version::V4, &again), b"\x3B\x09\0\x03a/b\x12\x34hi");
        let passed = Passed::read(Bytes::from_static(b"\x01\x01\x03\0\x01t\x26\0\x01k\0\x01v")).unwrap();
        let full = Content {
            qos: Qos::ExactlyOnce,
            id: 1,
            expiry: Some(5),
            identifiers: &[200],
            passed: &passed,
            ..plain(&HI)
        };
        assert_eq!(
            written(Version::V5, &full),
            b"\x34\x1F\0\x03a/b\0\x01\x15\x02\0\0\0\x05\x0B\xC8\x01\x01\x01\x03\0\x01t\x26\0\x01k\0\x01vhi"
        );
    }

    #[test]
    fn an_alias_stands_for_a_topic_once_it_was_set() {
        let first = Content { alias: Some(Alias::Set(7)), ..plain(&HI) };
        assert_eq!(written(Version::V5, &first), b"\x30\x0B\0\x03a/b\x03\x23\0\x07hi");
        let later = Content { alias: Some(Alias::Use(7)), ..plain(&HI) };
        assert_eq!(written(Version::V5, &later), b"\x30\x08\0\0\x03\x23\0\x07hi");
    }

    #[test]
    fn the_length_of_a_large_publish_has_more_digits_and_nothing_is_longer_than_it_may_be() {
        for (payload, digits) in [(120, 1), (123, 2), (16_379, 3), (2_097_147, 4)] {
            let payload = Bytes::from(vec![0; payload]);
            let packet = written(Version::V4, &plain(&payload));
            assert_eq!(packet.len(), 1 + digits + 5 + payload.len());
            assert_eq!(packet[digits] & 0x80, 0);
            let mut out = Batch::default();
            assert!(!publish(&mut out, Version::V4, &plain(&payload), packet.len() - 1) && !out.has_remaining());
            assert!(publish(&mut out, Version::V4, &plain(&payload), packet.len()));
        }
    }
}
