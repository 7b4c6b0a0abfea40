//! MQTT 3.1.1.

use bytes::BytesMut;
use rumqttc_v4::mqttbytes::{
    Error, QoS as WireQoS,
    v4::{
        Connect, ConnectReturnCode, LastWill, Packet, Publish, Subscribe, SubscribeFilter, SubscribeReasonCode,
        Unsubscribe,
    },
};

use super::{Incoming, fits};
use crate::{ConnectOptions, Filter, Granted, Message, Outcome, QoS, Refusal, Refused, Session, failure::LoginRefusal};

pub(super) fn connect(options: &ConnectOptions, out: &mut BytesMut) -> Result<(), Refused> {
    let mut connect = Connect::new(&options.client_id);
    connect.keep_alive = options.keep_alive_seconds();
    connect.clean_session = options.session == Session::Clean;
    connect.last_will = options.will.as_ref().map(|will| LastWill {
        topic: will.topic.clone(),
        message: will.payload.clone(),
        qos: wire(will.qos),
        retain: will.retain,
    });
    match &options.login {
        Some(login) if login.password.is_empty() => drop(connect.set_username(&login.user)),
        Some(login) => drop(connect.set_credentials(&login.user, login.password.clone())),
        None => {}
    }
    // It is the first of a connection: nothing else is in there.
    connect.write(out).map_err(|_| Refused::Malformed)?;
    if options.as_bridge {
        // The level stands behind the kind, the length and the name `MQTT` with its own length.
        let length = 1 + out.iter().skip(1).take_while(|byte| **byte & 0x80 != 0).count();
        if let Some(level) = out.get_mut(1 + length + 6) {
            *level |= 0x80;
        }
    }
    Ok(())
}

pub(super) fn publish(message: Message, packet_id: u16, most: u32, out: &mut BytesMut) -> Result<(), Refused> {
    let publish = Publish {
        dup: false,
        qos: wire(message.qos),
        retain: message.retain,
        topic: message.topic,
        pkid: packet_id,
        payload: message.payload,
    };
    fits(publish.size(), most)?;
    publish.write(out).map(drop).map_err(|_| Refused::Malformed)
}

pub(super) fn subscribe(filters: &[Filter], packet_id: u16, out: &mut BytesMut) -> Result<(), Refused> {
    let filters = filters.iter().map(|filter| SubscribeFilter::new(filter.topic.clone(), wire(filter.qos)));
    let mut subscribe = Subscribe::new_many(filters);
    subscribe.pkid = packet_id;
    subscribe.write(out).map(drop).map_err(|_| Refused::Malformed)
}

pub(super) fn unsubscribe(topics: &[String], packet_id: u16, out: &mut BytesMut) -> Result<(), Refused> {
    let unsubscribe = Unsubscribe { pkid: packet_id, topics: topics.to_vec() };
    unsubscribe.write(out).map(drop).map_err(|_| Refused::Malformed)
}

pub(super) fn read(options: &ConnectOptions, received: &mut BytesMut) -> Result<Option<Incoming>, String> {
    let most = usize::try_from(options.largest_incoming).unwrap_or(usize::MAX);
    let before = received.len();
    let packet = match Packet::read(received, most) {
        Ok(packet) => packet,
        // What is missing inside a packet that is whole does not come any more.
        Err(Error::InsufficientBytes(more)) if received.len() == before => {
            received.reserve(more);
            return Ok(None);
        }
        Err(error) => return Err(error.to_string()),
    };
    Ok(Some(match packet {
        Packet::ConnAck(ack) => match refusal(ack.code) {
            None => Incoming::LoggedIn(granted(options, ack.session_present)),
            Some(refusal) => Incoming::LoginRefused(refusal),
        },
        Packet::Publish(publish) => message(publish),
        Packet::PubAck(ack) => Incoming::Published(ack.pkid, Outcome::Acknowledged { nobody: false }),
        Packet::SubAck(ack) => Incoming::Subscribed(ack.pkid, ack.return_codes.into_iter().map(answer).collect()),
        Packet::UnsubAck(ack) => Incoming::Unsubscribed(ack.pkid),
        Packet::PingResp => Incoming::Pong,
        Packet::PubRec(_) | Packet::PubRel(_) | Packet::PubComp(_) => Incoming::Unexpected("a packet of QoS 2"),
        Packet::Connect(_) | Packet::Subscribe(_) | Packet::Unsubscribe(_) | Packet::PingReq | Packet::Disconnect => {
            Incoming::Unexpected("what only a client sends")
        }
    }))
}

fn message(publish: Publish) -> Incoming {
    let qos = match publish.qos {
        WireQoS::AtMostOnce => QoS::AtMostOnce,
        WireQoS::AtLeastOnce => QoS::AtLeastOnce,
        WireQoS::ExactlyOnce => return Incoming::Unexpected("a message of QoS 2"),
    };
    Incoming::Message(Message {
        topic: publish.topic,
        payload: publish.payload,
        qos,
        retain: publish.retain,
        again: publish.dup,
        packet_id: publish.pkid,
        properties: None,
    })
}

fn granted(options: &ConnectOptions, session_present: bool) -> Granted {
    Granted {
        session_present,
        in_flight: options.in_flight.max(1),
        largest_outgoing: options.largest_outgoing,
        qos: QoS::AtLeastOnce,
        retain: true,
        wildcards: true,
        shared: true,
        keep_alive: std::time::Duration::from_secs(options.keep_alive_seconds().into()),
        client_id: None,
    }
}

fn refusal(code: ConnectReturnCode) -> Option<LoginRefusal> {
    Some(match code {
        ConnectReturnCode::Success => return None,
        ConnectReturnCode::RefusedProtocolVersion => LoginRefusal::Protocol,
        ConnectReturnCode::BadClientId => LoginRefusal::ClientId,
        ConnectReturnCode::ServiceUnavailable => LoginRefusal::Busy,
        ConnectReturnCode::BadUserNamePassword => LoginRefusal::Password,
        ConnectReturnCode::NotAuthorized => LoginRefusal::NotAuthorized,
    })
}

fn answer(code: SubscribeReasonCode) -> Result<QoS, Refusal> {
    match code {
        SubscribeReasonCode::Success(WireQoS::AtMostOnce) => Ok(QoS::AtMostOnce),
        SubscribeReasonCode::Success(_) => Ok(QoS::AtLeastOnce),
        SubscribeReasonCode::Failure => Err(Refusal::Unspecified),
    }
}

fn wire(qos: QoS) -> WireQoS {
    match qos {
        QoS::AtMostOnce => WireQoS::AtMostOnce,
        QoS::AtLeastOnce => WireQoS::AtLeastOnce,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Words;

    const WORDS: Words = Words { us: "", address: "", ca: "", client_certificate: "", client_id: "" };

    #[test]
    fn a_bridge_says_so_in_the_level_and_nowhere_else() {
        for client_id in ["b".to_owned(), "b".repeat(500)] {
            let usual = ConnectOptions::new("cloud", 1883, client_id, WORDS);
            let bridge = ConnectOptions { as_bridge: true, ..usual.clone() };
            let (mut one, mut other) = (BytesMut::new(), BytesMut::new());
            connect(&usual, &mut one).unwrap();
            connect(&bridge, &mut other).unwrap();
            let name = one.windows(4).position(|bytes| bytes == b"MQTT").unwrap();
            assert_eq!((one[name + 4], other[name + 4]), (0x04, 0x84));
            other[name + 4] = 0x04;
            assert_eq!(one, other);
        }
    }
}
