//! CONNECT (MQTT 3.1.1 §3.1, MQTT 5.0 §3.1).

use bytes::Bytes;

use super::{
    Fault, Passed, Qos, Version,
    frame::Frame,
    passed::Collected,
    properties::{self, id},
    reader::Reader,
};
use crate::topic;

/// Session expiry of a session that never ends.
const NEVER: u32 = u32::MAX;

/// What a client wants.
#[derive(Debug)]
pub(crate) struct Connect {
    pub(crate) version: Version,
    /// Whether another broker connects and wants messages as they were published, and none of its own.
    pub(crate) is_bridge: bool,
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
    /// Topics that the broker may give a number.
    pub(crate) topic_aliases: u16,
    /// Whether the client wants to be told why something was refused.
    pub(crate) wants_reasons: bool,
    /// User name and password. A password that is no UTF-8 is made readable, and so is nobody's.
    pub(crate) login: Option<(String, String)>,
    pub(crate) will: Option<Will>,
}

/// What the broker publishes when the client is lost.
#[derive(Debug, Clone)]
pub(crate) struct Will {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    /// Seconds after the loss.
    pub(crate) delay: u32,
    /// Seconds until nobody needs it any more.
    pub(crate) message_expiry: Option<u32>,
    pub(crate) passed: Passed,
}

/// Why a CONNECT is refused with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// None of the versions that are spoken here.
    ProtocolVersion,
    /// No client id, but a session to be kept under it.
    ClientId,
    /// The login is missing or wrong.
    Login,
    /// Users have changed while the client logged in; the next try counts.
    UsersChanged,
    /// The will goes where the user may not publish.
    NotAuthorized,
    /// The client takes no packet as large as the CONNACK.
    TakesTooLittle,
    /// The client wants to authenticate in another way than by user name and password.
    AuthenticationMethod,
    /// The will has a topic that nobody may publish to.
    TopicName,
    /// What came is no CONNECT of MQTT 5.
    Fault(Fault),
}

impl Refusal {
    /// The code of the CONNACK: MQTT 3.1.1 §3.2.2.3, MQTT 5.0 §3.2.2.2.
    pub(crate) fn code(self, version: Version) -> u8 {
        match (self, version) {
            (Refusal::ProtocolVersion, Version::V3 | Version::V4) => 1,
            (Refusal::ClientId, Version::V3 | Version::V4) => 2,
            (Refusal::Login, Version::V3 | Version::V4) => 4,
            (Refusal::UsersChanged, Version::V3 | Version::V4) => 3,
            (_, Version::V3 | Version::V4) => 5,
            (Refusal::ProtocolVersion, Version::V5) => 0x84,
            (Refusal::ClientId, Version::V5) => 0x85,
            (Refusal::Login, Version::V5) => 0x86,
            (Refusal::NotAuthorized, Version::V5) => 0x87,
            (Refusal::UsersChanged, Version::V5) => 0x89,
            (Refusal::AuthenticationMethod, Version::V5) => 0x8C,
            (Refusal::TopicName, Version::V5) => 0x90,
            (Refusal::TakesTooLittle, Version::V5) => 0x95,
            (Refusal::Fault(fault), Version::V5) => fault.code,
        }
    }

    /// Why, for the person who looks for it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Refusal::ProtocolVersion => "the protocol version is none of 3.1, 3.1.1 and 5",
            Refusal::ClientId => "a session is to be kept without a client id",
            Refusal::Login => "user name or password is wrong",
            Refusal::UsersChanged => "users have changed while the client logged in; its next try counts",
            Refusal::NotAuthorized => "the user may not publish to the topic of the will",
            Refusal::TakesTooLittle => "the client's maximum packet size is too small for the answer to its CONNECT",
            Refusal::AuthenticationMethod => "clients authenticate by user name and password here",
            Refusal::TopicName => "the topic of the will is empty, has a wildcard in it, or is the broker's own",
            Refusal::Fault(fault) => fault.text,
        }
    }
}

/// Reads the first packet of a connection.
///
/// # Errors
///
/// A [`Fault`] when it is no CONNECT; a [`Refusal`] and the version to answer in when it cannot be accepted.
pub(crate) fn connect(frame: &Frame<'_>) -> Result<Result<Connect, (Version, Refusal)>, Fault> {
    if (frame.kind(), frame.flags()) != (1, 0) {
        return Err(Fault::protocol("the first packet is no CONNECT"));
    }
    let mut body = Reader::new(frame.body());
    let (name, level) = (body.data()?, body.byte()?);
    // A bridge sets the highest bit of the level, as brokers have agreed on.
    let version = match (name, level & 0x7F) {
        (b"MQIsdp", 3) => Version::V3,
        (b"MQTT", 4) => Version::V4,
        (b"MQTT", 5) => Version::V5,
        (b"MQIsdp" | b"MQTT", _) => return Ok(Err((Version::V4, Refusal::ProtocolVersion))),
        _ => return Err(Fault::malformed("a CONNECT names another protocol")),
    };
    let is_bridge = level & 0x80 != 0 && version != Version::V5;
    if level & 0x80 != 0 && !is_bridge {
        return Ok(Err((version, Refusal::ProtocolVersion)));
    }
    match read(body, version) {
        Ok(Ok(connect)) => Ok(Ok(Connect { is_bridge, ..connect })),
        Ok(Err(refusal)) => Ok(Err((version, refusal))),
        Err(fault) if version == Version::V5 => Ok(Err((version, Refusal::Fault(fault)))),
        Err(fault) => Err(fault),
    }
}

/// What follows the level.
fn read(mut body: Reader<'_>, version: Version) -> Result<Result<Connect, Refusal>, Fault> {
    let flags = body.byte()?;
    check_flags(flags, version)?;
    let keep_alive = body.two()?;
    let clean = flags & 2 != 0;
    let expiry = if version == Version::V5 || clean { 0 } else { NEVER };
    let mut connect = Connect {
        version,
        is_bridge: false,
        client: String::new(),
        clean,
        expiry,
        keep_alive,
        receive_maximum: u16::MAX,
        packet_bytes: u32::MAX,
        topic_aliases: 0,
        wants_reasons: version == Version::V5,
        login: None,
        will: None,
    };
    let mut other_method = false;
    if version == Version::V5 {
        other_method = read_properties(&mut body, &mut connect)?;
    }
    connect.client = body.text()?.to_owned();
    connect.will = if flags & 4 != 0 { Some(read_will(&mut body, flags, version)?) } else { None };
    let name = if flags & 0x80 != 0 { Some(body.text()?) } else { None };
    let password = if flags & 0x40 != 0 { Some(body.data()?) } else { None };
    body.end()?;
    if name.is_some() || password.is_some() {
        let password = String::from_utf8_lossy(password.unwrap_or_default()).into_owned();
        connect.login = Some((name.unwrap_or_default().to_owned(), password));
    }
    if other_method {
        return Ok(Err(Refusal::AuthenticationMethod));
    }
    match &connect.will {
        Some(will) if !topic::is_topic(&will.topic) || topic::is_brokers(&will.topic) => Ok(Err(Refusal::TopicName)),
        _ => Ok(Ok(connect)),
    }
}

/// MQTT 3.1.1 §3.1.2.3 to §3.1.2.9: the reserved bit, a will that is none, and a password without a user name.
fn check_flags(flags: u8, version: Version) -> Result<(), Fault> {
    if flags & 1 != 0 && version != Version::V3 {
        return Err(Fault::malformed("the reserved flag of a CONNECT is set"));
    }
    if flags & 4 == 0 && flags & 0x38 != 0 {
        return Err(Fault::malformed("a CONNECT without a will has flags of one"));
    }
    if flags & 0xC0 == 0x40 && version != Version::V5 {
        return Err(Fault::malformed("a CONNECT has a password and no user name"));
    }
    Ok(())
}

/// Reads the properties; says whether the client wants to authenticate in another way than by a password.
fn read_properties(body: &mut Reader<'_>, connect: &mut Connect) -> Result<bool, Fault> {
    const ALLOWED: [u8; 8] = [
        id::SESSION_EXPIRY,
        id::AUTHENTICATION_METHOD,
        id::AUTHENTICATION_DATA,
        id::REQUEST_PROBLEM_INFORMATION,
        id::REQUEST_RESPONSE_INFORMATION,
        id::RECEIVE_MAXIMUM,
        id::TOPIC_ALIAS_MAXIMUM,
        id::MAXIMUM_PACKET_SIZE,
    ];
    let mut other_method = false;
    properties::read(body, &ALLOWED, |property| {
        let value = property.value;
        match property.id {
            id::SESSION_EXPIRY => connect.expiry = value.number(),
            id::RECEIVE_MAXIMUM => connect.receive_maximum = value.two(),
            id::TOPIC_ALIAS_MAXIMUM => connect.topic_aliases = value.two(),
            id::MAXIMUM_PACKET_SIZE => connect.packet_bytes = value.number(),
            id::REQUEST_PROBLEM_INFORMATION => connect.wants_reasons = value.flag()?,
            id::REQUEST_RESPONSE_INFORMATION => _ = value.flag()?,
            id::AUTHENTICATION_METHOD | id::AUTHENTICATION_DATA => other_method = true,
            _ => {}
        }
        Ok(())
    })?;
    if connect.receive_maximum == 0 || connect.packet_bytes == 0 {
        return Err(Fault::protocol("a receive maximum or maximum packet size is 0"));
    }
    Ok(other_method)
}

fn read_will(body: &mut Reader<'_>, flags: u8, version: Version) -> Result<Will, Fault> {
    const ALLOWED: [u8; 6] = [
        id::WILL_DELAY,
        id::PAYLOAD_FORMAT,
        id::MESSAGE_EXPIRY,
        id::CONTENT_TYPE,
        id::RESPONSE_TOPIC,
        id::CORRELATION_DATA,
    ];
    let (mut delay, mut message_expiry, mut collected) = (0, None, Collected::default());
    if version == Version::V5 {
        properties::read(body, &ALLOWED, |property| {
            match property.id {
                id::WILL_DELAY => delay = property.value.number(),
                id::MESSAGE_EXPIRY => message_expiry = Some(property.value.number()),
                _ => _ = collected.add(&property)?,
            }
            Ok(())
        })?;
    }
    Ok(Will {
        topic: body.text()?.to_owned(),
        payload: Bytes::copy_from_slice(body.data()?),
        qos: Qos::try_from((flags >> 3) & 3)?,
        retain: flags & 0x20 != 0,
        delay,
        message_expiry,
        passed: collected.passed(),
    })
}

#[cfg(test)]
mod tests {
    use super::{super::frame, *};

    fn read(bytes: &[u8]) -> Result<Result<Connect, (Version, Refusal)>, Fault> {
        connect(&frame(bytes, 1 << 20).unwrap().unwrap())
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
    fn versions_are_told_apart_by_their_level() {
        let four = read(&packets()[0]).unwrap().unwrap();
        assert_eq!((four.version, &*four.client, four.keep_alive, four.expiry), (Version::V4, "c", 60, 0));
        assert!(four.clean && four.login.is_none() && four.will.is_none() && !four.is_bridge);
        let five = read(&packets()[3]).unwrap().unwrap();
        assert_eq!((five.version, five.expiry, five.clean), (Version::V5, 10, false));
        assert_eq!(five.login, Some(("u".to_owned(), "p".to_owned())));
        let will = five.will.unwrap();
        assert_eq!((&*will.topic, &will.payload[..], will.delay), ("w", &b"x"[..], 3));
        let three = read(b"\x10\x0F\0\x06MQIsdp\x03\x02\0\x3C\0\x01c").unwrap().unwrap();
        assert_eq!((three.version, &*three.client), (Version::V3, "c"));
    }

    #[test]
    fn a_bridge_sets_the_highest_bit_of_the_level() {
        let bridge = read(b"\x10\x0D\0\x04MQTT\x84\x02\0\x3C\0\x01c").unwrap().unwrap();
        assert!(bridge.is_bridge && bridge.version == Version::V4);
    }

    #[test]
    fn a_session_that_is_not_clean_has_no_end_in_mqtt_3() {
        assert_eq!(read(b"\x10\x0D\0\x04MQTT\x04\0\0\x3C\0\x01c").unwrap().unwrap().expiry, u32::MAX);
    }

    #[test]
    fn other_versions_are_refused_in_the_way_that_old_clients_understand() {
        for other in [&b"\x10\x0D\0\x04MQTT\x06\x02\0\x3C\0\x01c"[..], b"\x10\x0F\0\x06MQIsdp\x04\x02\0\x3C\0\x01c"] {
            assert_eq!(read(other).unwrap().unwrap_err(), (Version::V4, Refusal::ProtocolVersion));
        }
    }

    #[test]
    fn a_connect_that_is_cut_anywhere_is_malformed() {
        for packet in packets() {
            for cut in 2..packet.len() {
                let mut cut = packet[..cut].to_vec();
                cut[1] = u8::try_from(cut.len() - 2).unwrap();
                let code = match read(&cut) {
                    Err(fault) | Ok(Err((Version::V5, Refusal::Fault(fault)))) => fault.code,
                    other => panic!("{cut:?} {other:?}"),
                };
                assert_eq!(code, 0x81);
            }
        }
    }

    #[test]
    fn reserved_bits_and_impossible_values_are_refused() {
        for (bytes, code) in [
            (&b"\x10\x0D\0\x04MQTT\x04\x03\0\x3C\0\x01c"[..], 0x81),
            (b"\x10\x10\0\x04MQTT\x04\x42\0\x3C\0\x01c\0\x01p", 0x81),
            (b"\x10\x0D\0\x04MQTT\x04\x0A\0\x3C\0\x01c", 0x81),
            (b"\x10\x0D\0\x04MQTT\x04\x22\0\x3C\0\x01c", 0x81),
            (b"\x10\x13\0\x04MQTT\x04\x1E\0\0\0\x01c\0\x01w\0\x01x", 0x81),
            (b"\x10\x0E\0\x04MQTT\x04\x02\0\x3C\0\x01cx", 0x81),
            (b"\x10\x0D\0\x04MQTT\x04\x02\0\x3C\0\x01\0", 0x81),
            (b"\x11\x0D\0\x04MQTT\x04\x02\0\x3C\0\x01c", 0x82),
        ] {
            assert_eq!(read(bytes).unwrap_err().code, code, "{bytes:02x?}");
        }
        for (bytes, code) in [
            (&b"\x10\x11\0\x04MQTT\x05\x02\0\0\x03\x21\0\0\0\x01c"[..], 0x82),
            (b"\x10\x10\0\x04MQTT\x05\x02\0\0\x02\x17\x02\0\x01c", 0x82),
            (b"\x10\x13\0\x04MQTT\x05\x02\0\0\x05\x15\0\x02XY\0\x01c", 0x8C),
            (b"\x10\x14\0\x04MQTT\x05\x06\0\0\0\0\x01c\0\0\x01#\0\x01x", 0x81),
            (b"\x10\x15\0\x04MQTT\x05\x06\0\0\0\0\x01c\0\0\x01#\0\x01x", 0x90),
        ] {
            let (version, refusal) = read(bytes).unwrap().unwrap_err();
            assert_eq!((version, refusal.code(version)), (Version::V5, code), "{bytes:02x?}");
        }
        assert_eq!(
            read(b"\x10\x13\0\x04MQTT\x04\x06\0\0\0\x01c\0\x01#\0\x01x").unwrap().unwrap_err(),
            (Version::V4, Refusal::TopicName)
        );
    }
}
