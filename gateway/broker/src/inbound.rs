//! What a client's packets do (MQTT 5.0 §3.3 to §3.14, §4.3).

use rumqttd::protocol::{Filter, QoS, RetainForwardRule};
use tokio::time::Instant;

use crate::{
    connection::{Connection, End},
    handshake::TOPIC_ALIASES,
    hub::Replay,
    message::{Published, expires},
    routes::Wish,
    topic,
    wire::{self, Acknowledgement, Fault, Packet, Publication},
};

/// Reason codes of MQTT 5.0 §2.4; in a SUBACK of MQTT 3.1.1 everything from 0x80 on is 0x80.
mod reason {
    pub(super) const SUCCESS: u8 = 0x00;
    pub(super) const NO_SUBSCRIPTION_EXISTED: u8 = 0x11;
    pub(super) const NOT_AUTHORIZED: u8 = 0x87;
    pub(super) const TOPIC_FILTER_INVALID: u8 = 0x8F;
    pub(super) const PACKET_ID_NOT_FOUND: u8 = 0x92;
    pub(super) const QUOTA_EXCEEDED: u8 = 0x97;
    pub(super) const NO_SHARED_SUBSCRIPTIONS: u8 = 0x9E;
}

impl Connection {
    /// Works on one packet.
    pub(crate) fn handle(&mut self, packet: Packet) -> Result<(), End> {
        match packet {
            Packet::Publish(publication) => self.publish(publication),
            Packet::Acknowledge(kind, id) => self.acknowledged(kind, id),
            Packet::Subscribe { id, filters, identifier } => {
                let codes: Vec<u8> = filters.iter().map(|filter| self.subscribe(filter, identifier)).collect();
                wire::suback(&mut self.out, self.version, id, &codes);
                Ok(())
            }
            Packet::Unsubscribe { id, filters } => {
                let existed = filters.iter().map(|filter| self.hub.unsubscribe(&self.session, filter));
                let codes: Vec<u8> =
                    existed.map(|it| if it { reason::SUCCESS } else { reason::NO_SUBSCRIPTION_EXISTED }).collect();
                wire::unsuback(&mut self.out, self.version, id, &codes);
                Ok(())
            }
            Packet::Ping => {
                // Unless much waits, what came before the ping goes out before its answer: then nothing is on its way.
                self.fill()?;
                wire::ping_response(&mut self.out);
                Ok(())
            }
            Packet::Disconnect { with_will, expiry } => self.disconnected(with_will, expiry),
        }
    }

    fn disconnected(&mut self, with_will: bool, expiry: Option<u32>) -> Result<(), End> {
        match expiry {
            // MQTT 5.0 §3.14.2.2.2: a session that was to end with the connection cannot be prolonged now.
            Some(seconds) if seconds > 0 && self.expiry == 0 => return Err(Fault::Protocol.into()),
            Some(seconds) => self.expiry = seconds,
            None => {}
        }
        Err(End::Disconnected { with_will })
    }

    fn acknowledged(&mut self, kind: Acknowledgement, id: u16) -> Result<(), End> {
        let connection = self.attached.connection;
        match kind {
            Acknowledgement::Received | Acknowledgement::Stored(false) => self.session.finished(connection, id)?,
            Acknowledgement::Stored(true) => {
                let known = self.session.stored(connection, id)?;
                let code = if known { reason::SUCCESS } else { reason::PACKET_ID_NOT_FOUND };
                wire::acknowledge(&mut self.out, self.version, Acknowledgement::Release, id, code);
            }
            Acknowledgement::Release => {
                let known = self.session.release(connection, id)?;
                let code = if known { reason::SUCCESS } else { reason::PACKET_ID_NOT_FOUND };
                wire::acknowledge(&mut self.out, self.version, Acknowledgement::Complete, id, code);
            }
            Acknowledgement::Complete => self.session.completed(connection, id)?,
        }
        Ok(())
    }

    fn publish(&mut self, mut publication: Publication) -> Result<(), End> {
        self.resolve_alias(&mut publication)?;
        if !topic::is_topic(&publication.topic) {
            return Err(Fault::TopicName.into());
        }
        let (qos, id) = (publication.qos, publication.id);
        let first_time = qos != QoS::ExactlyOnce || self.session.receive(self.attached.connection, id)?;
        let code = if first_time { self.pass_on(publication) } else { reason::SUCCESS };
        let answer = match qos {
            QoS::AtMostOnce => return Ok(()),
            QoS::AtLeastOnce => Acknowledgement::Received,
            QoS::ExactlyOnce => Acknowledgement::Stored(true),
        };
        // A refused QoS 2 message ends with the refusal, there is no PUBREL to wait for; MQTT 3.1.1 knows no refusal.
        if qos == QoS::ExactlyOnce && code >= 0x80 && self.version == wire::Version::V5 {
            self.session.release(self.attached.connection, id)?;
        }
        wire::acknowledge(&mut self.out, self.version, answer, id, code);
        Ok(())
    }

    /// Gives a publication its topic (MQTT 5.0 §3.3.2.3.4).
    fn resolve_alias(&mut self, publication: &mut Publication) -> Result<(), End> {
        match publication.alias {
            None => Ok(()),
            Some(alias) if alias == 0 || alias > TOPIC_ALIASES => Err(Fault::TopicAlias.into()),
            Some(alias) if publication.topic.is_empty() => {
                publication.topic = self.aliases.get(&alias).ok_or(Fault::Protocol)?.clone();
                Ok(())
            }
            Some(alias) => {
                self.aliases.insert(alias, publication.topic.clone());
                Ok(())
            }
        }
    }

    /// Hands a publication to the subscribers, if the client may publish it. Returns the reason code.
    fn pass_on(&mut self, publication: Publication) -> u8 {
        let Publication { topic, payload, qos, retain, expiry, properties, .. } = publication;
        let rights = &self.session.rights;
        // What begins with `$` belongs to the broker, which has nothing there.
        if topic.starts_with('$') || !rights.may_publish(&topic) {
            self.hub.counters.refused_publishes.increase();
            if !std::mem::replace(&mut self.refused, true) {
                let (client, user, peer) = (&*self.session.client, rights.user(), self.peer);
                tracing::warn!(client, user, %peer, topic, "MQTT client may not publish there; dropped and counted");
            }
            return reason::NOT_AUTHORIZED;
        }
        self.hub.counters.received.increase();
        let response = properties.as_ref().and_then(|properties| properties.response_topic.as_deref());
        let may_be_answered = response.is_some_and(|topic| rights.may_be_answered_at(topic));
        let taken = self.hub.publish(Published {
            topic: topic.into(),
            payload,
            qos,
            retain,
            expires: expires(expiry, Instant::now()),
            properties,
            from: self.session.number,
            may_be_answered,
        });
        if taken { reason::SUCCESS } else { reason::QUOTA_EXCEEDED }
    }

    /// Subscribes to one filter. Returns the code for the SUBACK.
    fn subscribe(&mut self, filter: &Filter, identifier: Option<usize>) -> u8 {
        let path = filter.path.as_str();
        let code = self.may_subscribe(path);
        if code != reason::SUCCESS {
            self.hub.counters.refused_subscriptions.increase();
            if !std::mem::replace(&mut self.refused, true) {
                let (client, user, peer) = (&*self.session.client, self.session.rights.user(), self.peer);
                tracing::warn!(client, user, %peer, filter = path, "MQTT client may not subscribe to that; refused and counted");
            }
            return code;
        }
        let qos = match filter.qos {
            QoS::AtMostOnce => 0,
            QoS::AtLeastOnce => 1,
            QoS::ExactlyOnce => 2,
        };
        // Clients that show a whole broker ask for its own topics; there are none, and that is no reason to send them
        // away.
        if path.starts_with("$SYS/") {
            return qos;
        }
        let wish =
            Wish { qos: filter.qos, no_local: filter.nolocal, retain_as_published: filter.preserve_retain, identifier };
        let Some(new) = self.hub.subscribe(&self.session, path, wish) else {
            return reason::QUOTA_EXCEEDED;
        };
        let replay = match filter.retain_forward_rule {
            RetainForwardRule::OnEverySubscribe => true,
            RetainForwardRule::OnNewSubscribe => new,
            RetainForwardRule::Never => false,
        };
        if replay {
            self.replays.push_back(Replay::new(path, wish));
        }
        qos
    }

    fn may_subscribe(&self, filter: &str) -> u8 {
        if filter.starts_with("$share/") {
            reason::NO_SHARED_SUBSCRIPTIONS
        } else if !topic::is_filter(filter) || (filter.starts_with('$') && !filter.starts_with("$SYS/")) {
            reason::TOPIC_FILTER_INVALID
        } else if !filter.starts_with('$') && !self.session.rights.may_subscribe(filter) {
            reason::NOT_AUTHORIZED
        } else {
            reason::SUCCESS
        }
    }
}
