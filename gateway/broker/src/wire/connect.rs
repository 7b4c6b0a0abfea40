//! CONNECT, and the answer to one that is refused (MQTT 3.1.1 §3.1, MQTT 5.0 §3.1 and §3.2).

use bytes::{BufMut, Bytes, BytesMut};
use rumqttd::protocol::{
    Connect as RumqttdConnect, ConnectProperties, LastWill, LastWillProperties, Login, Packet as RumqttdPacket,
    Protocol, PublishProperties, QoS, v4::V4, v5::V5,
};

use super::{Fault, Frame, Version};
use crate::topic;

/// Session expiry of a session that never ends.
const NEVER: u32 = u32::MAX;

/// What a client wants.
#[derive(Debug)]
pub(crate) struct Connect {
    pub(crate) version: Version,
    /// Empty when the server is to choose one.
    pub(crate) client: String,
    /// Whether an earlier session is forgotten.
    pub(crate) clean: bool,
    /// Seconds the session outlives the connection; 0 not at all, [`u32::MAX`] for ever.
    pub(crate) expiry: u32,
    /// Seconds between two packets of the client; 0 when it need not send any.
    pub(crate) keep_alive: u16,
    /// Messages with QoS 1 and 2 that the client takes at a time.
    pub(crate) receive_maximum: u16,
    /// Bytes of the longest packet that the client takes.
    pub(crate) packet_bytes: u32,
    /// User name and password.
    pub(crate) login: Option<(String, String)>,
    pub(crate) will: Option<Will>,
}

/// What the broker publishes when the client is lost.
#[derive(Debug, Clone)]
pub(crate) struct Will {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// Seconds after the loss.
    pub(crate) delay: u32,
    /// Seconds until nobody needs it any more.
    pub(crate) message_expiry: Option<u32>,
    pub(crate) properties: Option<Box<PublishProperties>>,
}

/// Why a CONNECT is refused with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Neither 3.1.1 nor 5.
    ProtocolVersion,
    /// No client id, but a session to be kept under it.
    ClientId,
    /// The login is missing or wrong.
    Login,
    /// The will goes where the user may not publish.
    NotAuthorized,
    /// The client wants to authenticate in another way than by user name and password.
    AuthenticationMethod,
    /// The will has a topic that nobody may publish to.
    TopicName,
}

impl Refusal {
    /// The code of the CONNACK: MQTT 3.1.1 §3.2.2.3, MQTT 5.0 §3.2.2.2.
    fn code(self, version: Version) -> u8 {
        match (self, version) {
            (Refusal::ProtocolVersion, Version::V4) => 1,
            (Refusal::ClientId, Version::V4) => 2,
            (Refusal::Login, Version::V4) => 4,
            (_, Version::V4) => 5,
            (Refusal::ProtocolVersion, Version::V5) => 0x84,
            (Refusal::ClientId, Version::V5) => 0x85,
            (Refusal::Login, Version::V5) => 0x86,
            (Refusal::NotAuthorized, Version::V5) => 0x87,
            (Refusal::AuthenticationMethod, Version::V5) => 0x8C,
            (Refusal::TopicName, Version::V5) => 0x90,
        }
    }
}

/// Writes the CONNACK of a refused CONNECT.
pub(crate) fn refuse(out: &mut BytesMut, version: Version, refusal: Refusal) {
    let code = refusal.code(version);
    match version {
        Version::V4 => out.put_slice(&[0x20, 2, 0, code]),
        Version::V5 => out.put_slice(&[0x20, 3, 0, code, 0]),
    }
}

/// Reads the first packet of a connection.
///
/// # Errors
///
/// A [`Fault`] when it is no CONNECT; a [`Refusal`] and the version to answer in when it cannot be accepted.
pub(crate) fn connect(frame: Frame) -> Result<Result<Connect, (Version, Refusal)>, Fault> {
    if (frame.kind(), frame.flags()) != (1, 0) {
        return Err(Fault::Protocol);
    }
    let Some(version) = version(frame.body())? else {
        return Ok(Err((Version::V4, Refusal::ProtocolVersion)));
    };
    check_flags(frame.body(), version)?;
    let mut bytes = frame.into_bytes();
    let packet = match version {
        Version::V4 => V4.read_mut(&mut bytes, usize::MAX),
        Version::V5 => V5.read_mut(&mut bytes, usize::MAX),
    };
    let Ok(RumqttdPacket::Connect(connect, properties, will, will_properties, login)) = packet else {
        return Err(Fault::Malformed);
    };
    if properties.as_ref().is_some_and(|properties| properties.authentication_method.is_some()) {
        return Ok(Err((version, Refusal::AuthenticationMethod)));
    }
    let will = match will.map(|will| read_will(will, will_properties)).transpose()? {
        Some(will) if !topic::is_topic(&will.topic) => return Ok(Err((version, Refusal::TopicName))),
        will => will,
    };
    assemble(version, connect, properties, will, login).map(Ok)
}

fn assemble(
    version: Version,
    connect: RumqttdConnect,
    properties: Option<ConnectProperties>,
    will: Option<Will>,
    login: Option<Login>,
) -> Result<Connect, Fault> {
    let expiry = match (version, &properties) {
        (Version::V4, _) if connect.clean_session => 0,
        (Version::V4, _) => NEVER,
        (Version::V5, properties) => properties.as_ref().and_then(|found| found.session_expiry_interval).unwrap_or(0),
    };
    let receive_maximum = properties.as_ref().and_then(|found| found.receive_maximum).unwrap_or(u16::MAX);
    let packet_bytes = properties.as_ref().and_then(|found| found.max_packet_size).unwrap_or(u32::MAX);
    if receive_maximum == 0 || packet_bytes == 0 {
        return Err(Fault::Protocol);
    }
    Ok(Connect {
        version,
        client: connect.client_id,
        clean: connect.clean_session,
        expiry,
        keep_alive: connect.keep_alive,
        receive_maximum,
        packet_bytes,
        login: login.map(|login| (login.username, login.password)),
        will,
    })
}

/// The protocol's name and level come first, so that each version can be read by its own rules; `None` is another one.
fn version(body: &[u8]) -> Result<Option<Version>, Fault> {
    match body {
        [0, 4, b'M', b'Q', b'T', b'T', 4, ..] => Ok(Some(Version::V4)),
        [0, 4, b'M', b'Q', b'T', b'T', 5, ..] => Ok(Some(Version::V5)),
        [0, 4, b'M', b'Q', b'T', b'T', _, ..] | [0, 6, b'M', b'Q', b'I', b's', b'd', b'p', _, ..] => Ok(None),
        _ => Err(Fault::Malformed),
    }
}

/// The flags that rumqttd does not check: the reserved bit, and in 3.1.1 a password without a user name.
fn check_flags(body: &[u8], version: Version) -> Result<(), Fault> {
    let flags = body.get(7).copied().ok_or(Fault::Malformed)?;
    let password_alone = flags & 0xC0 == 0x40;
    if flags & 1 != 0 || (password_alone && version == Version::V4) { Err(Fault::Malformed) } else { Ok(()) }
}

fn read_will(will: LastWill, properties: Option<LastWillProperties>) -> Result<Will, Fault> {
    let topic = String::from_utf8(will.topic.to_vec()).map_err(|_| Fault::Malformed)?;
    let delay = properties.as_ref().and_then(|found| found.delay_interval).unwrap_or(0);
    let message_expiry = properties.as_ref().and_then(|found| found.message_expiry_interval);
    let properties = properties.map(|found| {
        Box::new(PublishProperties {
            payload_format_indicator: found.payload_format_indicator,
            content_type: found.content_type,
            response_topic: found.response_topic,
            correlation_data: found.correlation_data,
            user_properties: found.user_properties,
            ..PublishProperties::default()
        })
    });
    let payload = Bytes::copy_from_slice(&will.message);
    Ok(Will { topic, payload, qos: will.qos, retain: will.retain, delay, message_expiry, properties })
}

#[cfg(test)]
mod tests {
    use super::{super::next_frame, *};

    fn read(bytes: &[u8]) -> Result<Result<Connect, (Version, Refusal)>, Fault> {
        connect(next_frame(&mut BytesMut::from(bytes), 1 << 20).unwrap().unwrap())
    }

    /// CONNECT packets that name a client `c`, with a user and a will in the second of each version.
    fn packets() -> [Vec<u8>; 4] {
        [
            b"\x10\x0D\0\x04MQTT\x04\x02\0\x3C\0\x01c".to_vec(),
            b"\x10\x1B\0\x04MQTT\x04\xC4\0\0\0\x01c\0\x03w/1\0\x01x\0\x01u\0\x01p".to_vec(),
            b"\x10\x0E\0\x04MQTT\x05\x02\0\0\0\0\x01c".to_vec(),
            b"\x10\x25\0\x04MQTT\x05\xC4\0\x0A\x05\x11\0\0\0\x0A\0\x01c\x05\x18\0\0\0\x03\0\x01w\0\x01x\0\x01u\0\x01p"
                .to_vec(),
        ]
    }

    #[test]
    fn both_versions_are_told_apart_by_their_level() {
        let four = read(&packets()[0]).unwrap().unwrap();
        assert_eq!((four.version, &*four.client, four.keep_alive, four.expiry), (Version::V4, "c", 60, 0));
        assert!(four.clean && four.login.is_none() && four.will.is_none());
        let five = read(&packets()[3]).unwrap().unwrap();
        assert_eq!((five.version, five.expiry, five.clean), (Version::V5, 10, false));
        assert_eq!(five.login, Some(("u".to_owned(), "p".to_owned())));
        let will = five.will.unwrap();
        assert_eq!((&*will.topic, &will.payload[..], will.delay), ("w", &b"x"[..], 3));
    }

    #[test]
    fn a_session_that_is_not_clean_has_no_end_in_mqtt_3() {
        assert_eq!(read(b"\x10\x0D\0\x04MQTT\x04\0\0\x3C\0\x01c").unwrap().unwrap().expiry, u32::MAX);
    }

    #[test]
    fn other_versions_are_refused_in_the_way_that_old_clients_understand() {
        for other in [&b"\x10\x0D\0\x04MQTT\x06\x02\0\x3C\0\x01c"[..], b"\x10\x0F\0\x06MQIsdp\x03\x02\0\x3C\0\x01c"] {
            assert_eq!(read(other).unwrap().unwrap_err(), (Version::V4, Refusal::ProtocolVersion));
        }
        let mut out = BytesMut::new();
        refuse(&mut out, Version::V4, Refusal::ProtocolVersion);
        assert_eq!(&out[..], [0x20, 2, 0, 1]);
    }

    #[test]
    fn a_connect_that_is_cut_anywhere_is_malformed() {
        for packet in packets() {
            for cut in 2..packet.len() {
                let mut cut = packet[..cut].to_vec();
                cut[1] = u8::try_from(cut.len() - 2).unwrap();
                assert!(read(&cut).is_err(), "{cut:?}");
            }
        }
    }

    #[test]
    fn reserved_bits_and_impossible_values_are_refused() {
        assert_eq!(read(b"\x10\x0D\0\x04MQTT\x04\x03\0\x3C\0\x01c").unwrap_err(), Fault::Malformed);
        assert_eq!(read(b"\x10\x10\0\x04MQTT\x04\x42\0\x3C\0\x01c\0\x01p").unwrap_err(), Fault::Malformed);
        assert_eq!(read(b"\x11\x0D\0\x04MQTT\x04\x02\0\x3C\0\x01c").unwrap_err(), Fault::Protocol);
        assert_eq!(read(b"\x10\x11\0\x04MQTT\x05\x02\0\0\x03\x21\0\0\0\x01c").unwrap_err(), Fault::Protocol);
        assert_eq!(
            read(b"\x10\x13\0\x04MQTT\x05\x02\0\0\x05\x15\0\x02XY\0\x01c").unwrap().unwrap_err(),
            (Version::V5, Refusal::AuthenticationMethod)
        );
        assert_eq!(
            read(b"\x10\x13\0\x04MQTT\x04\x06\0\0\0\x01c\0\x01#\0\x01x").unwrap().unwrap_err(),
            (Version::V4, Refusal::TopicName)
        );
    }
}
