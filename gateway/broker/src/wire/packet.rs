//! The packets that follow CONNECT (MQTT 3.1.1 §3.3 to §3.14, MQTT 5.0 §3.3 to §3.14).

use bytes::{Buf, Bytes};
use rumqttd::protocol::{Filter, Packet as RumqttdPacket, Protocol, PublishProperties, QoS, qos, v4::V4, v5::V5};

use super::{Fault, Frame, Version, frame::variable_integer};

/// What a client sends after CONNECT.
#[derive(Debug)]
pub(crate) enum Packet {
    Publish(Publication),
    /// One of the four acknowledgements, for the packet id.
    Acknowledge(Acknowledgement, u16),
    Subscribe {
        id: u16,
        filters: Vec<Filter>,
        /// Comes back with every message of these subscriptions (MQTT 5).
        identifier: Option<usize>,
    },
    Unsubscribe {
        id: u16,
        filters: Vec<String>,
    },
    Ping,
    Disconnect {
        /// Whether the will is published all the same.
        with_will: bool,
        /// Another session expiry than the one of CONNECT.
        expiry: Option<u32>,
    },
}

/// The acknowledgements of QoS 1 and 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acknowledgement {
    /// PUBACK, also a refusing one.
    Received,
    /// PUBREC; `false` when the client refuses the message.
    Stored(bool),
    /// PUBREL.
    Release,
    /// PUBCOMP.
    Complete,
}

/// A PUBLISH of a client.
#[derive(Debug)]
pub(crate) struct Publication {
    /// Empty when the alias stands for it.
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// 0 with QoS 0.
    pub(crate) id: u16,
    pub(crate) alias: Option<u16>,
    /// Seconds until nobody needs it any more.
    pub(crate) expiry: Option<u32>,
    /// The properties that go on to the subscribers.
    pub(crate) properties: Option<Box<PublishProperties>>,
}

/// Reads a packet of a connected client.
///
/// # Errors
///
/// The [`Fault`] of a packet that cannot be read or that a client may not send now.
pub(crate) fn packet(frame: Frame, version: Version) -> Result<Packet, Fault> {
    match (frame.kind(), frame.flags()) {
        (3, flags) => publication(frame, flags, version).map(Packet::Publish),
        (4, 0) => Ok(Packet::Acknowledge(Acknowledgement::Received, packet_id(frame.body())?)),
        (5, 0) => {
            let refused = frame.body().get(2).is_some_and(|reason| *reason >= 0x80);
            Ok(Packet::Acknowledge(Acknowledgement::Stored(!refused), packet_id(frame.body())?))
        }
        (6, 2) => Ok(Packet::Acknowledge(Acknowledgement::Release, packet_id(frame.body())?)),
        (7, 0) => Ok(Packet::Acknowledge(Acknowledgement::Complete, packet_id(frame.body())?)),
        (8 | 10, 2) => subscription(frame, version),
        (12, 0) if frame.body().is_empty() => Ok(Packet::Ping),
        (14, 0) => disconnect(frame.body(), version),
        (4..=8 | 10 | 12 | 14, _) => Err(Fault::Malformed),
        // CONNECT a second time, what only a server sends, AUTH without an authentication method, and type 0.
        _ => Err(Fault::Protocol),
    }
}

fn packet_id(mut body: &[u8]) -> Result<u16, Fault> {
    match body.try_get_u16() {
        Ok(id) if id > 0 => Ok(id),
        _ => Err(Fault::Malformed),
    }
}

/// Has rumqttd read a packet.
fn read(frame: Frame, version: Version) -> Result<RumqttdPacket, Fault> {
    let mut bytes = frame.into_bytes();
    let read = match version {
        Version::V4 => V4.read_mut(&mut bytes, usize::MAX),
        Version::V5 => V5.read_mut(&mut bytes, usize::MAX),
    };
    read.map_err(|_| Fault::Malformed)
}

fn publication(frame: Frame, flags: u8, version: Version) -> Result<Publication, Fault> {
    let qos = qos((flags >> 1) & 3).ok_or(Fault::Malformed)?;
    let id = match qos {
        QoS::AtMostOnce => 0,
        QoS::AtLeastOnce | QoS::ExactlyOnce => {
            let mut body = frame.body();
            let topic = usize::from(body.try_get_u16().map_err(|_| Fault::Malformed)?);
            packet_id(body.get(topic..).unwrap_or_default())?
        }
    };
    let RumqttdPacket::Publish(publish, properties) = read(frame, version)? else { return Err(Fault::Malformed) };
    let topic = std::str::from_utf8(&publish.topic).map_err(|_| Fault::Malformed)?.to_owned();
    let mut properties = properties.map(Box::new);
    let (mut alias, mut expiry) = (None, None);
    if let Some(found) = &mut properties {
        if !found.subscription_identifiers.is_empty() {
            return Err(Fault::Protocol);
        }
        alias = found.topic_alias.take();
        expiry = found.message_expiry_interval.take();
    }
    let properties = properties.filter(|found| **found != PublishProperties::default());
    // A copy, so that a small message that is kept does not keep the whole receive buffer.
    let payload = Bytes::copy_from_slice(&publish.payload);
    Ok(Publication { topic, payload, qos, retain: publish.retain, id, alias, expiry, properties })
}

fn subscription(frame: Frame, version: Version) -> Result<Packet, Fault> {
    packet_id(frame.body())?;
    match read(frame, version)? {
        RumqttdPacket::Subscribe(subscribe, properties) => {
            let identifier = properties.and_then(|properties| properties.id);
            if identifier == Some(0) {
                return Err(Fault::Protocol);
            }
            Ok(Packet::Subscribe { id: subscribe.pkid, filters: subscribe.filters, identifier })
        }
        RumqttdPacket::Unsubscribe(unsubscribe, _) if !unsubscribe.filters.is_empty() => {
            Ok(Packet::Unsubscribe { id: unsubscribe.pkid, filters: unsubscribe.filters })
        }
        _ => Err(Fault::Protocol),
    }
}

/// DISCONNECT is read here because rumqttd wants properties behind a reason, which may be left out (MQTT 5.0
/// §3.14.2.2.1).
fn disconnect(body: &[u8], version: Version) -> Result<Packet, Fault> {
    let (reason, properties) = match (version, body) {
        (_, []) => return Ok(Packet::Disconnect { with_will: false, expiry: None }),
        (Version::V4, _) => return Err(Fault::Malformed),
        (Version::V5, [reason, properties @ ..]) => (*reason, properties),
    };
    let (length, digits) = variable_integer(properties)?.unwrap_or((0, 0));
    let mut properties = properties.get(digits..).unwrap_or_default();
    if properties.len() != length {
        return Err(Fault::Malformed);
    }
    let mut expiry = None;
    while let Ok(property) = properties.try_get_u8() {
        match property {
            0x11 => expiry = Some(properties.try_get_u32().map_err(|_| Fault::Malformed)?),
            // Reason string and server reference.
            0x1F | 0x1C => skip_text(&mut properties)?,
            0x26 => {
                skip_text(&mut properties)?;
                skip_text(&mut properties)?;
            }
            _ => return Err(Fault::Malformed),
        }
    }
    Ok(Packet::Disconnect { with_will: reason != 0, expiry })
}

fn skip_text(bytes: &mut &[u8]) -> Result<(), Fault> {
    let length = usize::from(bytes.try_get_u16().map_err(|_| Fault::Malformed)?);
    *bytes = bytes.get(length..).ok_or(Fault::Malformed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::{super::next_frame, *};

    fn read(bytes: &[u8], version: Version) -> Result<Packet, Fault> {
        packet(next_frame(&mut BytesMut::from(bytes), 1 << 20).unwrap().unwrap(), version)
    }

    fn publish(bytes: &[u8], version: Version) -> Publication {
        match read(bytes, version).unwrap() {
            Packet::Publish(publication) => publication,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_publish_has_its_packet_id_behind_the_topic() {
        let found = publish(b"\x33\x07\0\x01a\x12\x34hi", Version::V4);
        assert_eq!((&*found.topic, &found.payload[..], found.id), ("a", &b"hi"[..], 0x1234));
        assert_eq!((found.qos, found.retain), (QoS::AtLeastOnce, true));
        let found = publish(b"\x34\x08\0\x01a\x12\x34\0hi", Version::V5);
        assert_eq!((found.qos, found.id, &found.payload[..]), (QoS::ExactlyOnce, 0x1234, &b"hi"[..]));
        assert_eq!(publish(b"\x30\x03\0\x01a", Version::V4).id, 0);
    }

    #[test]
    fn alias_and_expiry_are_taken_out_of_the_properties() {
        let found = publish(b"\x30\x11\0\0\x0E\x23\0\x07\x02\0\0\0\x05\x09\0\x03\x01\x02\x03", Version::V5);
        assert_eq!((found.alias, found.expiry), (Some(7), Some(5)));
        assert_eq!(found.properties.unwrap().correlation_data.unwrap(), &[1, 2, 3][..]);
        assert!(publish(b"\x30\x06\0\0\x03\x23\0\x07", Version::V5).properties.is_none());
    }

    #[test]
    fn what_no_client_may_send_is_a_fault() {
        for (bytes, fault) in [
            (&b"\x36\x05\0\x01a\0\x01"[..], Fault::Malformed),
            (b"\x32\x05\0\x01a\0\0", Fault::Malformed),
            (b"\x32\x03\0\x01a", Fault::Malformed),
            (b"\x30\x03\0\x05a", Fault::Malformed),
            (b"\x30\x04\0\x02\xC3\x28", Fault::Malformed),
            (b"\x20\x02\0\0", Fault::Protocol),
            (b"\x90\x03\0\x01\0", Fault::Protocol),
            (b"\xB0\x02\0\x01", Fault::Protocol),
            (b"\xD0\x00", Fault::Protocol),
            (b"\xF0\x00", Fault::Protocol),
            (b"\x00\x00", Fault::Protocol),
            (b"\x10\x0D\0\x04MQTT\x04\x02\0\x3C\0\x01c", Fault::Protocol),
            (b"\x80\x06\0\x01\0\x01a\0", Fault::Malformed),
            (b"\x82\x02\0\x01", Fault::Malformed),
            (b"\x82\x06\0\0\0\x01a\0", Fault::Malformed),
            (b"\xA2\x02\0\x01", Fault::Protocol),
            (b"\xC1\x00", Fault::Malformed),
            (b"\x40\x02\0\0", Fault::Malformed),
            (b"\x60\x02\0\x01", Fault::Malformed),
            (b"\xE0\x01\0", Fault::Malformed),
        ] {
            assert_eq!(read(bytes, Version::V4).unwrap_err(), fault, "{bytes:02x?}");
        }
        assert_eq!(read(b"\x30\x05\0\x01a\x02\x0B\x01", Version::V5).unwrap_err(), Fault::Malformed);
        assert_eq!(read(b"\x30\x06\0\x01a\x02\x0B\x01", Version::V5).unwrap_err(), Fault::Protocol);
        assert_eq!(read(b"\x82\x09\0\x01\x02\x0B\0\0\x01a\0", Version::V5).unwrap_err(), Fault::Protocol);
    }

    #[test]
    fn acknowledgements_are_read_with_and_without_a_reason() {
        for (bytes, kind) in [
            (&b"\x40\x02\0\x09"[..], Acknowledgement::Received),
            (b"\x40\x03\0\x09\x87", Acknowledgement::Received),
            (b"\x50\x04\0\x09\x00\x00", Acknowledgement::Stored(true)),
            (b"\x50\x03\0\x09\x97", Acknowledgement::Stored(false)),
            (b"\x62\x02\0\x09", Acknowledgement::Release),
            (b"\x70\x02\0\x09", Acknowledgement::Complete),
        ] {
            let Packet::Acknowledge(found, 9) = read(bytes, Version::V5).unwrap() else { panic!("{bytes:02x?}") };
            assert_eq!(found, kind);
        }
    }

    #[test]
    fn a_disconnect_may_leave_its_reason_and_properties_out() {
        for (bytes, expected) in [
            (&b"\xE0\x00"[..], (false, None)),
            (b"\xE0\x01\x04", (true, None)),
            (b"\xE0\x02\x00\x00", (false, None)),
            (b"\xE0\x07\x00\x05\x11\0\0\0\x3C", (false, Some(60))),
            (b"\xE0\x10\x81\x0E\x1F\0\x01x\x26\0\0\0\0\x11\0\0\0\x3C", (true, Some(60))),
        ] {
            let Packet::Disconnect { with_will, expiry } = read(bytes, Version::V5).unwrap() else {
                panic!("{bytes:02x?}")
            };
            assert_eq!((with_will, expiry), expected, "{bytes:02x?}");
        }
        assert_eq!(read(b"\xE0\x03\x00\x02\x11", Version::V5).unwrap_err(), Fault::Malformed);
        assert_eq!(read(b"\xE0\x04\x00\x02\x11\0", Version::V5).unwrap_err(), Fault::Malformed);
    }

    #[test]
    fn every_cut_of_a_packet_is_a_fault_or_a_shorter_packet_and_never_a_panic() {
        let packets: [&[u8]; 5] = [
            b"\x33\x07\0\x01a\x12\x34hi",
            b"\x35\x1B\0\x01a\x12\x34\x12\x08\0\x01r\x09\0\x01c\x26\0\x01k\0\x01v\x01\x01\x23\0\x01hi",
            b"\x82\x0D\0\x01\x02\x0B\x05\0\x01a\x2D\0\x01#",
            b"\xA2\x08\0\x01\0\0\x01a\0\0",
            b"\xE0\x07\x00\x05\x11\0\0\0\x3C",
        ];
        for whole in packets {
            for cut in 2..whole.len() {
                let mut cut = whole[..cut].to_vec();
                cut[1] = u8::try_from(cut.len() - 2).unwrap();
                for version in [Version::V4, Version::V5] {
                    let _ = read(&cut, version);
                }
            }
        }
    }
}
