//! Both connections of a bridge while they last.

use tidegate_mqtt::{Connection, Event, Failure, Message, QoS};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    lane::Lane,
    loops::{Echoes, Mark},
    route::{Routes, Way},
    status::{Counter, Counters},
};

/// What a bridge passes on, whatever connections it has.
#[derive(Debug)]
pub(crate) struct Traffic {
    pub(crate) name: String,
    pub(crate) routes: Routes,
    pub(crate) mark: Mark,
    /// Whether the other broker may send back what it was sent.
    pub(crate) echoes: bool,
    pub(crate) out: Counters,
    pub(crate) inward: Counters,
    pub(crate) received: Counter,
    pub(crate) looped: Counter,
}

/// Both connections.
pub(crate) struct Pair<'a> {
    pub(crate) traffic: &'a Traffic,
    pub(crate) local: Connection,
    pub(crate) remote: Connection,
}

/// How a pair ended.
#[derive(Debug)]
pub(crate) enum End {
    Stopped,
    Lost(Side, Failure),
}

/// Which of the two brokers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Local,
    Remote,
}

impl Pair<'_> {
    /// Subscribes and passes messages on until a connection ends or `stop`. `echoes` are those of the connections before.
    pub(crate) async fn run(mut self, echoes: &mut Echoes, stop: &CancellationToken) -> End {
        echoes.begin_again(self.remote.granted().session_present, Instant::now());
        for (way, from) in [(Way::In, &mut self.remote), (Way::Out, &mut self.local)] {
            let filters = self.traffic.routes.filters(way);
            if !filters.is_empty()
                && let Err(error) = from.subscribe(&filters)
            {
                tracing::error!(bridge = self.traffic.name, %error, "a broker takes none of the filters of the bridge");
            }
        }
        let (mut inward, mut out) = (Lane::default(), Lane::default());
        loop {
            inward.send(&mut self.local, &self.traffic.inward, |_| {});
            let traffic = self.traffic;
            out.send(&mut self.remote, &traffic.out, |message| {
                if traffic.echoes {
                    echoes.expect(&message.topic, &message.payload, Instant::now());
                }
            });
            inward.acknowledge(&mut self.remote);
            out.acknowledge(&mut self.local);
            let (side, event) = tokio::select! {
                () = stop.cancelled() => return self.leave().await,
                // The local broker holds back by itself, and is always listened to, so that there is room again soon.
                event = self.remote.next(), if !inward.is_full() => (Side::Remote, event),
                event = self.local.next() => (Side::Local, event),
            };
            let event = match event {
                Ok(event) => event,
                Err(failure) => return End::Lost(side, failure),
            };
            match (side, event) {
                (Side::Remote, Event::Message(message)) => {
                    self.traffic.received.increase();
                    let source = message.packet_id;
                    inward.add(self.traffic.inward(message, echoes), source, &self.traffic.inward);
                }
                (Side::Local, Event::Message(message)) => {
                    let source = message.packet_id;
                    out.add(self.traffic.outward(message), source, &self.traffic.out);
                }
                (Side::Remote, Event::Published(id, outcome)) => out.done(id, outcome, &self.traffic.out),
                (Side::Local, Event::Published(id, outcome)) => inward.done(id, outcome, &self.traffic.inward),
                (side, Event::Subscribed(_, results)) => self.traffic.subscribed(side, &results),
                (_, Event::Unsubscribed(_) | Event::Pong(_)) => {}
            }
        }
    }

    async fn leave(self) -> End {
        let patience = std::time::Duration::from_secs(2);
        self.remote.disconnect(patience).await;
        self.local.disconnect(patience).await;
        End::Stopped
    }
}

impl Traffic {
    /// A message from the other broker, as it goes to the local one.
    fn inward(&self, message: Message, echoes: &mut Echoes) -> Option<Message> {
        let is_echo = self.echoes && echoes.is_one(&message.topic, &message.payload, message.again, Instant::now());
        if is_echo || self.mark.was_here(message.properties.as_deref()) {
            self.looped.increase();
            return None;
        }
        self.redirected(message, Way::In)
    }

    /// A message from the local broker, as it goes to the other one.
    fn outward(&self, message: Message) -> Option<Message> {
        if self.mark.went_out(message.properties.as_deref()) {
            self.looped.increase();
            return None;
        }
        self.redirected(message, Way::Out)
    }

    fn redirected(&self, message: Message, way: Way) -> Option<Message> {
        let topic = str::from_utf8(&message.topic).ok()?;
        let to = self.routes.destination(way, topic)?;
        let Message { payload, qos, retain, mut properties, .. } = message;
        if let Some(properties) = &mut properties {
            let asked = properties.response_topic.take();
            properties.response_topic = asked.and_then(|topic| self.routes.answer(way, &topic));
        }
        self.mark.add(&mut properties);
        let qos = qos.min(to.qos);
        Some(Message { qos, retain: retain && to.retain, properties, ..Message::new(to.topic, payload) })
    }

    fn subscribed(&self, side: Side, results: &[Result<QoS, tidegate_mqtt::Refusal>]) {
        let way = if side == Side::Local { Way::Out } else { Way::In };
        for (filter, result) in self.routes.filters(way).iter().zip(results) {
            if let Err(why) = result {
                tracing::error!(
                    bridge = self.name, filter = filter.topic, ?side, %why,
                    "the bridge may not subscribe to this; what it selects is not passed on"
                );
            }
        }
    }
}
