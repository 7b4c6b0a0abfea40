//! The connections of a bridge while they last.

use std::time::Duration;

use tidegate_mqtt::{Connection, Event, Failure, FailureKind, Filter, Message, QoS, Refusal, SubscribeId};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    lane::Lane,
    loops::{Echoes, Mark},
    remote::Remote,
    route::{Keep, Routes, Way},
    status::{BridgeState, Counter, Counters, Standing},
};

/// How long a broker may take to answer a subscription.
const ANSWERED: Duration = Duration::from_secs(20);

/// What a bridge passes on, whatever connections it has.
#[derive(Debug)]
pub(crate) struct Traffic {
    pub(crate) name: String,
    pub(crate) routes: Routes,
    pub(crate) mark: Mark,
    pub(crate) out: Counters,
    pub(crate) inward: Counters,
    pub(crate) received: Counter,
    pub(crate) looped: Counter,
}

/// The connections to both brokers.
pub(crate) struct Pair<'a> {
    traffic: &'a Traffic,
    standing: &'a Standing,
    remote: Remote,
    /// The subscription to what comes in, until it is answered.
    asked: Option<SubscribeId>,
    /// Over this one goes, too, what comes from the other broker.
    local: Local,
    /// The second session on the local broker, where durable routes stand beside others.
    beside: Option<Local>,
}

/// One of the bridge's sessions on the local broker, and what comes from there.
pub(crate) struct Local {
    keep: Keep,
    connection: Connection,
    lane: Lane,
    /// The subscription to what goes out, until it is answered.
    asked: Option<SubscribeId>,
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

/// Which connection something happened on.
#[derive(Debug, Clone, Copy)]
enum Place {
    Remote,
    Local,
    Beside,
}

impl Local {
    pub(crate) fn new(keep: Keep, connection: Connection) -> Local {
        Local { keep, connection, lane: Lane::default(), asked: None }
    }
}

impl<'a> Pair<'a> {
    pub(crate) fn new(
        traffic: &'a Traffic,
        standing: &'a Standing,
        remote: Remote,
        local: Local,
        beside: Option<Local>,
    ) -> Pair<'a> {
        Pair { traffic, standing, remote, asked: None, local, beside }
    }

    /// Subscribes, and passes messages on until a connection ends or `stop`. `echoes` are those of the connections before.
    pub(crate) async fn run(mut self, echoes: &mut Echoes, stop: &CancellationToken) -> End {
        let traffic = self.traffic;
        echoes.begin_again(self.remote.connection.granted().session_present, Instant::now());
        let mut inward = Lane::default();
        for message in std::mem::take(&mut self.remote.early) {
            self.came(message, &mut inward, echoes);
        }
        self.asked = subscribe(&mut self.remote.connection, &traffic.routes.inward_filters(), traffic);
        for local in std::iter::once(&mut self.local).chain(&mut self.beside) {
            local.asked = subscribe(&mut local.connection, &traffic.routes.outward_filters(local.keep), traffic);
        }
        let mut is_online = false;
        let late = sleep(ANSWERED);
        tokio::pin!(late);
        loop {
            // Not before: what is published to a bridge that is online is to come.
            if !is_online && self.is_answered() {
                is_online = true;
                self.standing.enter(BridgeState::Online);
            }
            self.pass_on(&mut inward, echoes);
            let (from, event) = tokio::select! {
                () = stop.cancelled() => return self.leave().await,
                () = &mut late, if !is_online => return self.unanswered(),
                // The local broker holds back by itself, and is always listened to, so that there is room again soon.
                event = self.remote.connection.next(), if !inward.is_full() => (Place::Remote, event),
                event = self.local.connection.next() => (Place::Local, event),
                event = next(&mut self.beside) => (Place::Beside, event),
            };
            match (from, event, &mut self.beside) {
                (Place::Remote, Ok(event), _) => self.remote_happened(event, &mut inward, echoes),
                (Place::Remote, Err(failure), _) => return End::Lost(Side::Remote, failure),
                (Place::Local, Ok(Event::Published(id, outcome)), _) => {
                    inward.done(id, outcome, &traffic.inward);
                }
                (Place::Local, Ok(event), _) => self.local.happened(event, traffic),
                (Place::Beside, Ok(event), Some(local)) => local.happened(event, traffic),
                (Place::Beside, Ok(_), None) => {}
                (Place::Local | Place::Beside, Err(failure), _) => return End::Lost(Side::Local, failure),
            }
        }
    }

    /// Whether no subscription waits for its answer.
    fn is_answered(&self) -> bool {
        let mut locals = std::iter::once(&self.local).chain(&self.beside);
        self.asked.is_none() && locals.all(|local| local.asked.is_none())
    }

    /// A broker takes the connection, and says nothing to what it was asked for.
    fn unanswered(&self) -> End {
        let side = if self.asked.is_some() { Side::Remote } else { Side::Local };
        let text = format!("no answer to the subscriptions within {} s", ANSWERED.as_secs());
        End::Lost(side, Failure::new(FailureKind::Silent, text))
    }

    /// Sends on what there is room for, and acknowledges what has arrived.
    fn pass_on(&mut self, inward: &mut Lane, echoes: &mut Echoes) {
        let (traffic, Remote { connection: remote, sends_back, .. }) = (self.traffic, &mut self.remote);
        inward.send(&mut self.local.connection, &traffic.inward, |_| {});
        for local in std::iter::once(&mut self.local).chain(&mut self.beside) {
            local.lane.send(remote, &traffic.out, |message| {
                if *sends_back && traffic.routes.comes_back(&message.topic) {
                    echoes.expect(&message.topic, &message.payload, Instant::now());
                }
            });
            local.lane.acknowledge(&mut local.connection);
        }
        inward.acknowledge(remote);
    }

    /// Something has happened on the connection to the other broker.
    fn remote_happened(&mut self, event: Event, inward: &mut Lane, echoes: &mut Echoes) {
        let traffic = self.traffic;
        match event {
            Event::Message(message) => self.came(message, inward, echoes),
            Event::Published(id, outcome) => {
                let mut lanes = std::iter::once(&mut self.local).chain(&mut self.beside).map(|local| &mut local.lane);
                lanes.any(|lane| lane.done(id, outcome, &traffic.out));
            }
            // The answer to the question what the broker is may come late.
            Event::Subscribed(id, results) if self.asked == Some(id) => {
                self.asked = None;
                traffic.subscribed(&traffic.routes.inward_filters(), &results);
            }
            Event::Subscribed(..) | Event::Unsubscribed(_) | Event::Pong(_) => {}
        }
    }

    /// A message has come from the other broker.
    fn came(&self, message: Message, inward: &mut Lane, echoes: &mut Echoes) {
        let traffic = self.traffic;
        traffic.received.increase();
        let Message { topic, payload, again, packet_id, .. } = &message;
        let source = *packet_id;
        let is_echo = self.remote.sends_back && echoes.is_one(topic, payload, *again, Instant::now());
        inward.add(traffic.inward(message, is_echo), source, &traffic.inward);
    }

    async fn leave(self) -> End {
        let patience = std::time::Duration::from_secs(2);
        self.remote.connection.disconnect(patience).await;
        self.local.connection.disconnect(patience).await;
        if let Some(beside) = self.beside {
            beside.connection.disconnect(patience).await;
        }
        End::Stopped
    }
}

impl Local {
    /// Something has happened on the connection, other than to what was published over it.
    fn happened(&mut self, event: Event, traffic: &Traffic) {
        match event {
            Event::Message(message) => {
                let source = message.packet_id;
                self.lane.add(traffic.outward(message, self.keep), source, &traffic.out);
            }
            Event::Subscribed(_, results) => {
                self.asked = None;
                traffic.subscribed(&traffic.routes.outward_filters(self.keep), &results);
            }
            Event::Published(..) | Event::Unsubscribed(_) | Event::Pong(_) => {}
        }
    }
}

/// What happens next in the second session; nothing ever, when there is none.
async fn next(beside: &mut Option<Local>) -> Result<Event, Failure> {
    match beside {
        Some(local) => local.connection.next().await,
        None => std::future::pending().await,
    }
}

/// Returns what will be answered, if anything.
fn subscribe(connection: &mut Connection, filters: &[Filter], traffic: &Traffic) -> Option<SubscribeId> {
    if filters.is_empty() {
        return None;
    }
    let asked = connection.subscribe(filters);
    if let Err(error) = &asked {
        tracing::error!(bridge = traffic.name, %error, "a broker takes none of the filters of the bridge");
    }
    asked.ok()
}

impl Traffic {
    /// A message from the other broker, as it goes to the local one.
    fn inward(&self, message: Message, is_echo: bool) -> Option<Message> {
        if is_echo || self.mark.was_here(message.properties.as_deref()) {
            self.looped.increase();
            return None;
        }
        self.redirected(message, Way::In, None)
    }

    /// A message from this session on the local broker, as it goes to the other one.
    fn outward(&self, message: Message, session: Keep) -> Option<Message> {
        if self.mark.brought(message.properties.as_deref()) {
            return None;
        }
        if self.mark.went_out(message.properties.as_deref()) {
            self.looped.increase();
            return None;
        }
        self.redirected(message, Way::Out, Some(session))
    }

    /// `None` for what no route wants, or one whose messages come from another session than this.
    fn redirected(&self, message: Message, way: Way, session: Option<Keep>) -> Option<Message> {
        let topic = str::from_utf8(&message.topic).ok()?;
        let to = self.routes.destination(way, topic)?;
        if session.is_some_and(|session| session != to.keep) {
            return None;
        }
        let Message { payload, qos, retain, mut properties, .. } = message;
        if let Some(properties) = &mut properties {
            let asked = properties.response_topic.take();
            properties.response_topic = asked.and_then(|topic| self.routes.answer(way, &topic));
        }
        self.mark.add(&mut properties);
        let qos = qos.min(to.qos);
        Some(Message { qos, retain: retain && to.retain, properties, ..Message::new(to.topic, payload) })
    }

    fn subscribed(&self, filters: &[Filter], results: &[Result<QoS, Refusal>]) {
        for (filter, result) in filters.iter().zip(results) {
            if let Err(why) = result {
                tracing::error!(
                    bridge = self.name, filter = filter.topic, %why,
                    "the bridge may not subscribe to this; what it selects is not passed on"
                );
            }
        }
    }
}
