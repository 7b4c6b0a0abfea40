//! What a client's packets do (MQTT 5.0 §3.3 to §3.14, §4.3).

use bytes::Bytes;
use tokio::time::Instant;

use crate::{
    connection::{Connection, End},
    handshake::TOPIC_ALIASES,
    hub::Replay,
    message::{Published, expires},
    routes::Wish,
    topic,
    total::Part,
    wire::{self, Acknowledgement, Fault, Filter, Packet, Publication, Qos, RetainHandling, Version, as_text},
};

/// What a packet is answered with: a reason code of MQTT 5.0 §2.4, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Answer {
    code: u8,
    text: &'static str,
}

impl Answer {
    const SUCCESS: Answer = Answer { code: 0x00, text: "" };
    const NO_SUBSCRIPTION_EXISTED: Answer = Answer { code: 0x11, text: "" };
    const MAY_NOT_PUBLISH: Answer = Answer { code: 0x87, text: "the user may not publish to this topic" };
    const MAY_NOT_SUBSCRIBE: Answer = Answer { code: 0x87, text: "the user may not subscribe to this filter" };
    const FILTER: Answer = Answer { code: 0x8F, text: "the filter is not well formed, too long or too deep" };
    const PACKET_ID_NOT_FOUND: Answer = Answer { code: 0x92, text: "" };
    const INBOX_FULL: Answer = Answer { code: 0x97, text: "the gateway has more commands waiting than it can take" };
    const TOO_MANY: Answer = Answer { code: 0x97, text: "the client has as many subscriptions as it may have" };

    fn is_refusal(self) -> bool {
        self.code >= 0x80
    }

    fn reason(self) -> Option<&'static str> {
        Some(self.text).filter(|text| !text.is_empty())
    }
}

impl Connection {
    /// Works on one packet.
    pub(crate) fn handle(&mut self, packet: Packet) -> Result<(), End> {
        match packet {
            Packet::Publish(publication) => self.publish(publication),
            Packet::Acknowledge(kind, id) => self.acknowledged(kind, id),
            Packet::Subscribe { id, filters, identifier } => {
                let mut answer = Vec::new();
                self.subscribe_all(id, &filters, identifier, &mut answer);
                self.answer(&answer)
            }
            Packet::Unsubscribe { id, filters } => {
                let codes: Vec<u8> = filters.iter().map(|filter| self.unsubscribe(filter).code).collect();
                let mut answer = Vec::new();
                wire::unsuback(&mut answer, self.reply.version, id, &codes);
                self.answer(&answer)
            }
            Packet::Ping => {
                // Unless much waits, what came before the ping goes out before its answer: then nothing is on its way.
                self.fill(1)?;
                wire::ping_response(self.out.small());
                Ok(())
            }
            Packet::Disconnect { with_will, expiry } => self.disconnected(with_will, expiry),
        }
    }

    /// Sends an answer that may be long.
    fn answer(&mut self, answer: &[u8]) -> Result<(), End> {
        if answer.len() > self.reply.packet_bytes {
            return Err(Fault::ANSWER_TOO_LARGE.into());
        }
        self.out.small().extend_from_slice(answer);
        Ok(())
    }

    fn disconnected(&mut self, with_will: bool, expiry: Option<u32>) -> Result<(), End> {
        match expiry {
            // MQTT 5.0 §3.14.2.2.2.
            Some(seconds) if seconds > 0 && self.expiry == 0 => {
                return Err(Fault::protocol("a session that was to end with the connection cannot be prolonged").into());
            }
            Some(seconds) => {
                self.expiry = seconds.min(self.hub.limits.session_expiry);
                // At once: the client may be back before this connection has ended. If it is back already, its new connection has
                // said how long, and this one has said goodbye all the same.
                let _ = self.session.keep_for(self.attached.connection, self.expiry);
            }
            None => {}
        }
        Err(End::Disconnected { with_will })
    }

    fn acknowledged(&mut self, kind: Acknowledgement, id: u16) -> Result<(), End> {
        let connection = self.attached.connection;
        let (answer, known) = match kind {
            Acknowledgement::Received | Acknowledgement::Stored(false) => {
                return Ok(self.session.finished(connection, id)?);
            }
            Acknowledgement::Complete => return Ok(self.session.completed(connection, id)?),
            Acknowledgement::Stored(true) => (Acknowledgement::Release, self.session.stored(connection, id)?),
            Acknowledgement::Release => (Acknowledgement::Complete, self.session.release(connection, id)?),
        };
        self.acknowledge(answer, id, if known { Answer::SUCCESS } else { Answer::PACKET_ID_NOT_FOUND });
        Ok(())
    }

    fn acknowledge(&mut self, kind: Acknowledgement, id: u16, answer: Answer) {
        wire::acknowledge(self.out.small(), self.reply, kind, id, answer.code, answer.reason());
    }

    fn publish(&mut self, mut publication: Publication) -> Result<(), End> {
        self.resolve_alias(&mut publication)?;
        let limits = &self.hub.limits;
        let topic = as_text(&publication.topic);
        if !topic::is_topic(topic) || !topic::is_within(topic, limits.topic_levels, limits.topic_bytes) {
            return Err(Fault::TOPIC_NAME.into());
        }
        let (qos, id) = (publication.qos, publication.id);
        let answer = if qos == Qos::ExactlyOnce && !self.is_first_time(id)? {
            Answer::SUCCESS
        } else {
            self.pass_on(publication)
        };
        let kind = match qos {
            Qos::AtMostOnce => return Ok(()),
            Qos::AtLeastOnce => Acknowledgement::Received,
            Qos::ExactlyOnce => Acknowledgement::Stored(true),
        };
        // A refused QoS 2 message ends with the refusal, there is no PUBREL to wait for; MQTT 3 knows no refusal.
        if qos == Qos::ExactlyOnce && answer.is_refusal() && self.reply.version == Version::V5 {
            self.session.release(self.attached.connection, id)?;
        }
        self.acknowledge(kind, id, answer);
        Ok(())
    }

    /// Whether a message with QoS 2 comes for the first time under its id. MQTT 5 clients are told how many may be under way
    /// (MQTT 5.0 §3.3.4); before that there are as many as there are ids.
    fn is_first_time(&self, id: u16) -> Result<bool, End> {
        let most = if self.reply.version == Version::V5 { self.hub.limits.receive_maximum } else { u16::MAX };
        match self.session.receive(self.attached.connection, id, most.into())? {
            Some(first) => Ok(first),
            None => Err(Fault::TOO_MANY.into()),
        }
    }

    /// Gives a publication its topic (MQTT 5.0 §3.3.2.3.4).
    fn resolve_alias(&mut self, publication: &mut Publication) -> Result<(), End> {
        match publication.alias {
            None => Ok(()),
            Some(alias) if alias == 0 || alias > TOPIC_ALIASES => {
                Err(Fault::alias("a topic alias is 0 or larger than the maximum").into())
            }
            Some(alias) if publication.topic.is_empty() => match self.aliases.get(&alias) {
                Some(topic) => {
                    publication.topic = topic.clone();
                    Ok(())
                }
                None => Err(Fault::protocol("a topic alias stands for no topic yet").into()),
            },
            Some(alias) => {
                // A copy: the topic of a publication is a part of its packet.
                self.aliases.insert(alias, Bytes::copy_from_slice(&publication.topic));
                Ok(())
            }
        }
    }

    /// Hands a publication to the subscribers, if the client may publish it.
    fn pass_on(&mut self, publication: Publication) -> Answer {
        let Publication { topic, payload, qos, retain, expiry, passed, .. } = publication;
        let rights = &self.session.rights;
        let text = as_text(&topic);
        if topic::is_brokers(text) || !rights.may_publish(text) {
            self.hub.counters.refused_publishes.increase();
            if !std::mem::replace(&mut self.refused, true) {
                let (client, user, peer) = (&*self.session.client, rights.user(), self.peer);
                tracing::warn!(client, user, %peer, topic = text, "MQTT client may not publish there; dropped and counted");
            }
            return Answer::MAY_NOT_PUBLISH;
        }
        self.hub.counters.received.increase();
        self.hub.counters.received_bytes.add(payload.len());
        let may_be_answered = passed.response_topic().is_some_and(|topic| rights.may_be_answered_at(topic));
        let taken = self.hub.publish(Published {
            topic,
            payload,
            qos,
            retain,
            expires: expires(expiry, Instant::now()),
            properties: passed,
            from: self.session.number,
            may_be_answered,
            part: Part::default(),
        });
        if taken { Answer::SUCCESS } else { Answer::INBOX_FULL }
    }

    fn subscribe_all(&mut self, id: u16, filters: &[Filter], identifier: Option<u32>, answer: &mut Vec<u8>) {
        let answers: Vec<Answer> = filters.iter().map(|filter| self.subscribe(filter, identifier)).collect();
        let mut codes: Vec<u8> = answers.iter().map(|answer| answer.code).collect();
        if self.reply.version == Version::V3 {
            // MQTT 3.1 has no code for a refusal.
            for (code, filter) in codes.iter_mut().zip(filters).filter(|(code, _)| **code >= 0x80) {
                *code = filter.qos.number();
            }
        }
        let refused = answers.iter().find(|answer| answer.is_refusal());
        let reason = refused.and_then(|answer| answer.reason());
        wire::suback(answer, self.reply, id, &codes, reason);
    }

    /// Subscribes to one filter. Returns what the SUBACK says.
    fn subscribe(&mut self, filter: &Filter, identifier: Option<u32>) -> Answer {
        let path = filter.path.as_str();
        if let Err(answer) = self.may_subscribe(path) {
            self.hub.counters.refused_subscriptions.increase();
            if !std::mem::replace(&mut self.refused, true) {
                let (client, user, peer) = (&*self.session.client, self.session.rights.user(), self.peer);
                tracing::warn!(client, user, %peer, filter = path, "MQTT client may not subscribe to that; refused and counted");
            }
            return answer;
        }
        let wish = Wish {
            qos: filter.qos,
            no_local: filter.no_local || self.is_bridge,
            retain_as_published: filter.retain_as_published || self.is_bridge,
            identifier,
        };
        let Some(new) = self.hub.subscribe(&self.session, path, wish) else {
            self.hub.counters.refused_subscriptions.increase();
            return Answer::TOO_MANY;
        };
        let replay = match filter.retain_handling {
            RetainHandling::Always => true,
            RetainHandling::WhenNew => new,
            RetainHandling::Never => false,
        };
        self.replays.retain(|replay| !replay.is_of(path));
        // MQTT 5.0 §4.8.2: a shared subscription brings no retained messages.
        if replay && topic::shared(path).is_none() {
            self.replays.push_back(Replay::new(path, wish));
        }
        Answer { code: filter.qos.number(), text: "" }
    }

    fn unsubscribe(&mut self, filter: &str) -> Answer {
        self.replays.retain(|replay| !replay.is_of(filter));
        if self.hub.unsubscribe(&self.session, filter) { Answer::SUCCESS } else { Answer::NO_SUBSCRIPTION_EXISTED }
    }

    fn may_subscribe(&self, path: &str) -> Result<(), Answer> {
        let limits = &self.hub.limits;
        let filter = match topic::shared(path) {
            None => path,
            Some(Some((_, filter))) => filter,
            Some(None) => return Err(Answer::FILTER),
        };
        if !topic::is_filter(filter) || !topic::is_within(path, limits.topic_levels, limits.topic_bytes) {
            return Err(Answer::FILTER);
        }
        if self.session.rights.may_subscribe(path) { Ok(()) } else { Err(Answer::MAY_NOT_SUBSCRIBE) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidegate_config::Broker;

    use super::*;
    use crate::{
        hub::{Guest, Hub},
        limits::Limits,
        session::Attached,
        users::Users,
        wire::Connect,
    };

    /// A connection of MQTT 5 of a client that is to be kept for 100 s.
    fn connect(hub: &Arc<Hub>) -> Connection {
        let rights = hub.users.rights(None, "client").unwrap();
        let guest = Guest { client: "client", rights, clean: false, users: hub.users.generation() };
        let attached = Attached::for_test(hub.number(), 100);
        let (session, _) = hub.attach(guest, attached.clone()).unwrap();
        let connect = Connect {
            version: Version::V5,
            is_bridge: false,
            client: "client".to_owned(),
            clean: false,
            expiry: 100,
            keep_alive: 0,
            receive_maximum: u16::MAX,
            packet_bytes: u32::MAX,
            topic_aliases: 0,
            wants_reasons: true,
            login: None,
            will: None,
        };
        Connection::new(Arc::clone(hub), session, attached, connect, 0, ([127, 0, 0, 1], 1883).into())
    }

    #[tokio::test]
    async fn a_goodbye_is_one_although_the_client_is_back_already() {
        let hub = Arc::new(Hub::new(Limits::default(), Users::new(&Broker::on_loopback())));
        for is_back in [false, true] {
            let mut connection = connect(&hub);
            let _next = is_back.then(|| connect(&hub));
            let end = connection.handle(Packet::Disconnect { with_will: false, expiry: Some(10) });
            assert!(matches!(end, Err(End::Disconnected { with_will: false })), "{end:?}");
        }
    }
}
