//! MQTT 5.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use rumqttc_v5::mqttbytes::{
    Error, QoS as WireQoS,
    v5::{
        ConnAck, Connect, ConnectAuth, ConnectProperties, ConnectReturnCode, Disconnect, DisconnectReasonCode,
        LastWill, LastWillProperties, Packet, PubAckReason, Publish, PublishProperties, Subscribe, SubscribeFilter,
        SubscribeReasonCode, Unsubscribe,
    },
};

use super::{Incoming, fits};
use crate::{
    ConnectOptions, Filter, Granted, Message, Outcome, Properties, QoS, Refusal, Refused, Session, Will,
    failure::{Dismissal, LoginRefusal},
};

pub(super) fn connect(options: &ConnectOptions, out: &mut BytesMut) -> Result<(), Refused> {
    let mut properties = ConnectProperties::new();
    properties.receive_maximum = Some(options.receive_maximum.max(1));
    properties.max_packet_size = Some(options.largest_incoming.max(1));
    if let Session::Kept(expiry) = options.session {
        properties.session_expiry_interval = Some(seconds(expiry));
    }
    let connect = Connect {
        keep_alive: options.keep_alive_seconds(),
        client_id: options.client_id.clone(),
        clean_start: options.session == Session::Clean,
        properties: Some(properties),
    };
    let auth = match &options.login {
        None => ConnectAuth::None,
        Some(login) if login.password.is_empty() => ConnectAuth::Username { username: login.user.clone() },
        Some(login) => {
            let (username, password) = (login.user.clone(), login.password.clone().into());
            ConnectAuth::UsernamePassword { username, password }
        }
    };
    connect.write(&options.will.as_ref().map(last_will), &auth, out).map(drop).map_err(|_| Refused::Malformed)
}

fn last_will(will: &Will) -> LastWill {
    let properties = (!will.delay.is_zero()).then(|| LastWillProperties {
        delay_interval: Some(seconds(will.delay)),
        payload_format_indicator: None,
        message_expiry_interval: None,
        content_type: None,
        response_topic: None,
        correlation_data: None,
        user_properties: Vec::new(),
    });
    LastWill {
        topic: will.topic.clone().into(),
        message: will.payload.clone(),
        qos: wire(will.qos),
        retain: will.retain,
        properties,
    }
}

pub(super) fn publish(message: Message, packet_id: u16, most: u32, out: &mut BytesMut) -> Result<(), Refused> {
    let publish = Publish {
        dup: false,
        qos: wire(message.qos),
        retain: message.retain,
        topic: message.topic,
        pkid: packet_id,
        payload: message.payload,
        properties: message.properties.map(|properties| properties_out(*properties)),
    };
    fits(publish.size(), most)?;
    publish.write(out).map(drop).map_err(|_| Refused::Malformed)
}

fn properties_out(properties: Properties) -> PublishProperties {
    let Properties { is_text, expiry, content_type, response_topic, correlation_data, user } = properties;
    PublishProperties {
        payload_format_indicator: is_text.map(u8::from),
        message_expiry_interval: expiry,
        topic_alias: None,
        response_topic,
        correlation_data,
        user_properties: user,
        subscription_identifiers: Vec::new(),
        content_type,
    }
}

fn properties_in(properties: PublishProperties) -> Properties {
    Properties {
        is_text: properties.payload_format_indicator.map(|indicator| indicator == 1),
        expiry: properties.message_expiry_interval,
        content_type: properties.content_type,
        response_topic: properties.response_topic,
        correlation_data: properties.correlation_data,
        user: properties.user_properties,
    }
}

pub(super) fn subscribe(filters: &[Filter], packet_id: u16, out: &mut BytesMut) -> Result<(), Refused> {
    let filters = filters.iter().map(|filter| {
        let mut subscribed = SubscribeFilter::new(filter.topic.clone(), wire(filter.qos));
        subscribed.nolocal = filter.no_local;
        subscribed.preserve_retain = filter.as_published;
        subscribed
    });
    let mut subscribe = Subscribe::new_many(filters, None);
    subscribe.pkid = packet_id;
    subscribe.write(out).map(drop).map_err(|_| Refused::Malformed)
}

pub(super) fn unsubscribe(topics: &[String], packet_id: u16, out: &mut BytesMut) -> Result<(), Refused> {
    let unsubscribe = Unsubscribe { pkid: packet_id, filters: topics.to_vec(), properties: None };
    unsubscribe.write(out).map(drop).map_err(|_| Refused::Malformed)
}

pub(super) fn read(options: &ConnectOptions, received: &mut BytesMut) -> Result<Option<Incoming>, String> {
    // A farewell with a reason and without the length of its properties (MQTT 5.0 §3.14.2.2.1), which the codec takes for cut.
    let short = match received.first_chunk::<3>() {
        Some([0xE0, 1, reason]) => Some(*reason),
        _ => None,
    };
    if let Some(reason) = short {
        received.advance(3);
        return match Packet::read(&mut BytesMut::from(&[0xE0, 2, reason, 0][..]), None) {
            Ok(Packet::Disconnect(disconnect)) => Ok(Some(Incoming::Dismissed(dismissal(disconnect)))),
            Ok(_) => Ok(Some(Incoming::Unexpected("a farewell that is none"))),
            Err(error) => Err(error.to_string()),
        };
    }
    let before = received.len();
    let packet = match Packet::read(received, Some(options.largest_incoming)) {
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
            None => Incoming::LoggedIn(granted(options, ack)),
            Some(refusal) => Incoming::LoginRefused(refusal),
        },
        Packet::Publish(publish) => message(publish),
        Packet::PubAck(ack) => Incoming::Published(ack.pkid, outcome(ack.reason)),
        Packet::SubAck(ack) => Incoming::Subscribed(ack.pkid, ack.return_codes.into_iter().map(answer).collect()),
        Packet::UnsubAck(ack) => Incoming::Unsubscribed(ack.pkid),
        Packet::PingResp => Incoming::Pong,
        Packet::Disconnect(disconnect) => Incoming::Dismissed(dismissal(disconnect)),
        Packet::PubRec(_) | Packet::PubRel(_) | Packet::PubComp(_) => Incoming::Unexpected("a packet of QoS 2"),
        Packet::Auth(_) => Incoming::Unexpected("a question of a login method that was not asked for"),
        Packet::Connect(..) | Packet::Subscribe(_) | Packet::Unsubscribe(_) | Packet::PingReq => {
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
    if publish.properties.as_ref().is_some_and(|properties| properties.topic_alias.is_some()) {
        return Incoming::Unexpected("a topic alias, of which it was granted none");
    }
    Incoming::Message(Message {
        topic: publish.topic,
        payload: publish.payload,
        qos,
        retain: publish.retain,
        again: publish.dup,
        packet_id: publish.pkid,
        properties: publish.properties.map(|properties| Box::new(properties_in(properties))),
    })
}

fn granted(options: &ConnectOptions, ack: ConnAck) -> Granted {
    let asked = Duration::from_secs(options.keep_alive_seconds().into());
    let mut granted = Granted {
        session_present: ack.session_present,
        in_flight: options.in_flight.max(1),
        largest_outgoing: options.largest_outgoing,
        qos: QoS::AtLeastOnce,
        retain: true,
        wildcards: true,
        shared: true,
        keep_alive: asked,
        client_id: None,
    };
    if let Some(properties) = ack.properties {
        granted.in_flight = granted.in_flight.min(properties.receive_max.unwrap_or(u16::MAX)).max(1);
        granted.largest_outgoing = granted.largest_outgoing.min(properties.max_packet_size.unwrap_or(u32::MAX));
        granted.retain = properties.retain_available != Some(0);
        granted.wildcards = properties.wildcard_subscription_available != Some(0);
        granted.shared = properties.shared_subscription_available != Some(0);
        granted.keep_alive = properties.server_keep_alive.map_or(asked, |seconds| Duration::from_secs(seconds.into()));
        granted.client_id = properties.assigned_client_identifier;
        if properties.max_qos == Some(0) {
            granted.qos = QoS::AtMostOnce;
        }
    }
    granted
}

fn refusal(code: ConnectReturnCode) -> Option<LoginRefusal> {
    use ConnectReturnCode as Code;
    Some(match code {
        Code::Success => return None,
        Code::RefusedProtocolVersion | Code::UnsupportedProtocolVersion => LoginRefusal::Protocol,
        Code::BadClientId | Code::ClientIdentifierNotValid => LoginRefusal::ClientId,
        Code::BadUserNamePassword => LoginRefusal::Password,
        Code::NotAuthorized | Code::Banned | Code::BadAuthenticationMethod => LoginRefusal::NotAuthorized,
        Code::ServiceUnavailable | Code::ServerUnavailable | Code::ServerBusy | Code::ConnectionRateExceeded => {
            LoginRefusal::Busy
        }
        other => LoginRefusal::Other(format!("{other:?}")),
    })
}

fn outcome(reason: PubAckReason) -> Outcome {
    Outcome::Refused(match reason {
        PubAckReason::Success => return Outcome::Acknowledged { nobody: false },
        PubAckReason::NoMatchingSubscribers => return Outcome::Acknowledged { nobody: true },
        PubAckReason::NotAuthorized => Refusal::NotAuthorized,
        PubAckReason::TopicNameInvalid => Refusal::Topic,
        PubAckReason::QuotaExceeded => Refusal::Quota,
        PubAckReason::PayloadFormatInvalid => Refusal::Payload,
        PubAckReason::UnspecifiedError
        | PubAckReason::ImplementationSpecificError
        | PubAckReason::PacketIdentifierInUse => Refusal::Unspecified,
    })
}

fn answer(code: SubscribeReasonCode) -> Result<QoS, Refusal> {
    use SubscribeReasonCode as Code;
    Err(match code {
        Code::Success(WireQoS::AtMostOnce) => return Ok(QoS::AtMostOnce),
        Code::Success(_) => return Ok(QoS::AtLeastOnce),
        Code::NotAuthorized => Refusal::NotAuthorized,
        Code::TopicFilterInvalid => Refusal::Topic,
        Code::QuotaExceeded => Refusal::Quota,
        Code::SharedSubscriptionsNotSupported => Refusal::Shared,
        Code::WildcardSubscriptionsNotSupported => Refusal::Wildcards,
        Code::Failure
        | Code::Unspecified
        | Code::ImplementationSpecific
        | Code::PkidInUse
        | Code::SubscriptionIdNotSupported => Refusal::Unspecified,
    })
}

fn dismissal(disconnect: Disconnect) -> Dismissal {
    use DisconnectReasonCode as Code;
    let said = disconnect.properties.and_then(|properties| properties.reason_string);
    match disconnect.reason_code {
        Code::SessionTakenOver => Dismissal::TakenOver,
        Code::NotAuthorized => Dismissal::NotAuthorized(said),
        Code::PacketTooLarge => Dismissal::TooLarge(said),
        other => Dismissal::Other(format!("{other:?}"), said),
    }
}

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

fn wire(qos: QoS) -> WireQoS {
    match qos {
        QoS::AtMostOnce => WireQoS::AtMostOnce,
        QoS::AtLeastOnce => WireQoS::AtLeastOnce,
    }
}
