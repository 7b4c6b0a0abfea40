//! One connection from its login to its end: messages in, acknowledgements out.

use std::{collections::VecDeque, pin::pin, time::Duration};

use futures_util::{Stream, StreamExt, stream};
use rumqttc::v5::{
    ConnectionError, Event, EventLoop,
    mqttbytes::{
        QoS,
        v5::{Filter, Packet, Publish, SubAck, SubscribeReasonCode},
    },
};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{Connector, Failure, connection::Connection};
use crate::{Counters, intake::Intake, topics::Topics, writer::Writer};

/// How often schemas that are missing are asked for, and how often the session looks around.
const LOOK: Duration = Duration::from_millis(250);
const ASK: Duration = Duration::from_secs(5);
/// Schemas that are asked for at once.
const ASKED: usize = 32;
/// How long a stopping ingest waits for what is being written.
const LAST_BATCHES: Duration = Duration::from_secs(10);
const FAREWELL: Duration = Duration::from_secs(1);

type Polled = Result<Event, ConnectionError>;

/// Why a session ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The connection broke.
    Failed(Failure),
    /// Nothing has come for as long as was asked for.
    Idle,
    /// It was asked to end.
    Cancelled,
    /// The task that writes has ended.
    WriterGone,
}

/// What a session uses and does not own.
pub(crate) struct Surroundings<'a> {
    pub(crate) connector: &'a Connector,
    pub(crate) topics: &'a Topics,
    pub(crate) intake: &'a mut Intake,
    pub(crate) writer: &'a mut Writer,
    pub(crate) counters: &'a Counters,
    pub(crate) until_idle: Option<Duration>,
    /// Whether anything has been acknowledged.
    pub(crate) progress: bool,
}

/// Runs a connection until it breaks, or nothing has come for long enough, or `cancel` is called.
pub(crate) async fn run(connection: Connection, around: &mut Surroundings<'_>, cancel: &CancellationToken) -> Ended {
    let Connection { client, mut event_loop, .. } = connection;
    let (last_message, unsent) = (Instant::now(), VecDeque::new());
    let mut session = Session { client, around, last_message, asked: None, subscribed: false, unsent };
    let ended = session.serve(&mut event_loop, cancel).await;
    session.around.intake.forget();
    session.around.counters.waiting(0);
    ended.unwrap_or_else(|ended| ended)
}

struct Session<'a, 'b> {
    client: rumqttc::v5::AsyncClient,
    around: &'a mut Surroundings<'b>,
    last_message: Instant,
    /// When missing schemas were asked for.
    asked: Option<Instant>,
    subscribed: bool,
    /// Acknowledgements that rumqttc has no room for yet, at most one for each packet id. A broker may send more than it was told that it
    /// may: mosquitto 2.0 sends all that it has kept for a client that was away.
    unsent: VecDeque<u16>,
}

impl Session<'_, '_> {
    async fn serve(&mut self, event_loop: &mut EventLoop, cancel: &CancellationToken) -> Result<Ended, Ended> {
        self.subscribe()?;
        // A poll that was dropped half-way would lose what it had begun: it goes on from one turn of the loop to the next.
        let patience = self.around.connector.patience();
        let mut events = pin!(stream::unfold(event_loop, move |event_loop| async move {
            let polled = timeout(patience, event_loop.poll()).await;
            Some((polled.unwrap_or_else(|elapsed| Err(ConnectionError::Timeout(elapsed))), event_loop))
        }));
        let mut watch = tokio::time::interval(LOOK);
        let idle = loop {
            self.write();
            self.send_acknowledgements();
            tokio::select! {
                () = cancel.cancelled() => break false,
                // The broker keeps what is not taken. Should it give the connection up over that, it sends all of it again.
                Some(polled) = events.next(), if !self.around.intake.is_full() => self.polled(polled)?,
                batch = self.around.writer.written(), if self.around.writer.is_busy() => {
                    self.acknowledge(&batch.ok_or(Ended::WriterGone)?);
                }
                _ = watch.tick() => {
                    self.ask_for_schemas();
                    if self.is_idle() {
                        break true;
                    }
                }
            }
        };
        self.finish(&mut events).await?;
        Ok(if idle { Ended::Idle } else { Ended::Cancelled })
    }

    fn subscribe(&mut self) -> Result<(), Ended> {
        let topics = self.around.topics;
        // Schemas at QoS 0: they must come through while the blocks that wait for them fill the receive maximum. One that got lost
        // is asked for again.
        let schemas = topics.schemas().map(|topic| Filter::new(topic, QoS::AtMostOnce));
        let counted = topics.counted().into_iter().map(|topic| Filter::new(topic, QoS::AtLeastOnce));
        let filters: Vec<Filter> = schemas.into_iter().chain(counted).collect();
        self.client.try_subscribe_many(filters).map_err(|error| Ended::Failed(Failure::passing(error.to_string())))
    }

    /// Hands the next batch to the writer, if there is one and the writer has room.
    fn write(&mut self) {
        if !self.around.writer.is_busy()
            && let Some(batch) = self.around.intake.batch(Instant::now())
        {
            self.around.writer.hand_over(batch);
        }
        self.around.counters.waiting(self.around.intake.len());
    }

    fn polled(&mut self, polled: Polled) -> Result<(), Ended> {
        let connector = self.around.connector;
        let failed =
            |error: ConnectionError| Ended::Failed(Failure::of(&error, &connector.address, connector.broker(), true));
        match polled.map_err(failed)? {
            Event::Incoming(Packet::Publish(publish)) => {
                self.take(&publish);
                Ok(())
            }
            Event::Incoming(Packet::SubAck(ack)) => self.subscribed(&ack),
            _ => Ok(()),
        }
    }

    fn take(&mut self, publish: &Publish) {
        let counted = publish.qos != QoS::AtMostOnce;
        if counted {
            self.last_message = Instant::now();
            self.around.counters.message(publish.payload.len());
        }
        let done = self.around.intake.take(&publish.topic, &publish.payload, publish.pkid);
        if counted && done {
            self.unsent.push_back(publish.pkid);
        }
    }

    fn subscribed(&mut self, ack: &SubAck) -> Result<(), Ended> {
        let address = &self.around.connector.address;
        let topics = self.around.topics.counted().join(" ");
        // The first answer is that to `subscribe`: schemas, if there are any, then what is acknowledged.
        let schemas = usize::from(self.around.topics.schemas().is_some());
        let lesser = SubscribeReasonCode::Success(QoS::AtMostOnce);
        if !self.subscribed && ack.return_codes.iter().skip(schemas).any(|code| *code == lesser) {
            let text = format!("{address} grants QoS 0 only, at which it may lose messages; allow QoS 1");
            return Err(Ended::Failed(Failure::lasting(text)));
        }
        for code in &ack.return_codes {
            let why = match code {
                SubscribeReasonCode::Success(_) => continue,
                SubscribeReasonCode::NotAuthorized => "the user may not subscribe there; check the broker's rights",
                SubscribeReasonCode::SharedSubscriptionsNotSupported => {
                    "the broker has no shared subscriptions; leave --share away"
                }
                SubscribeReasonCode::WildcardSubscriptionsNotSupported => "the broker has no wildcards",
                SubscribeReasonCode::QuotaExceeded => "the broker's quota is exceeded",
                _ => "the broker refuses it; check its rights",
            };
            let text = format!("{address} refused the subscription to {topics}: {why}");
            return Err(Ended::Failed(Failure::lasting(text)));
        }
        if !self.subscribed {
            self.subscribed = true;
            self.last_message = Instant::now();
            self.around.counters.connected(true);
            tracing::info!(%address, %topics, "subscribed");
        }
        Ok(())
    }

    /// A batch has been written.
    fn acknowledge(&mut self, batch: &crate::intake::Batch) {
        let done = self.around.intake.written(batch);
        // What came at QoS 0 has no number and is not acknowledged.
        self.unsent.extend(done.into_iter().filter(|packet_id| *packet_id > 0));
    }

    /// Hands over as many acknowledgements as there is room for, in their order.
    fn send_acknowledgements(&mut self) {
        let mut sent = 0;
        while let Some(packet_id) = self.unsent.front() {
            let mut publish = Publish::new("", QoS::AtLeastOnce, bytes::Bytes::new(), None);
            publish.pkid = *packet_id;
            if self.client.try_ack(&publish).is_err() {
                break;
            }
            self.unsent.pop_front();
            sent += 1;
        }
        self.around.counters.acknowledged(sent);
        self.around.progress |= sent > 0;
    }

    /// Asks for the schemas that blocks wait for: the broker sends a retained message again to whoever subscribes again.
    fn ask_for_schemas(&mut self) {
        if self.asked.is_some_and(|asked| asked.elapsed() < ASK) {
            return;
        }
        let topics = self.around.intake.missing_topics(ASKED);
        if topics.is_empty() {
            return;
        }
        self.asked = Some(Instant::now());
        let filters = topics.into_iter().map(|topic| Filter::new(topic, QoS::AtMostOnce));
        // Without room now, the next time.
        let _ = self.client.try_subscribe_many(filters);
    }

    fn is_idle(&self) -> bool {
        let Some(until_idle) = self.around.until_idle else { return false };
        let quiet = self.subscribed && self.last_message.elapsed() >= until_idle;
        quiet && !self.around.writer.is_busy() && self.around.intake.len() == 0
    }

    /// Writes and acknowledges what is here, then takes leave. What waits for its schema stays with the broker.
    async fn finish(&mut self, events: &mut (impl Stream<Item = Polled> + Unpin)) -> Result<(), Ended> {
        let deadline = Instant::now() + LAST_BATCHES;
        loop {
            self.write();
            self.send_acknowledgements();
            if !self.around.writer.is_busy() && self.unsent.is_empty() {
                break;
            }
            tokio::select! {
                polled = events.next() => self.last_polled(polled)?,
                batch = self.around.writer.written(), if self.around.writer.is_busy() => match batch {
                    Some(batch) => self.acknowledge(&batch),
                    // It has given up a batch that the sink does not take.
                    None => break,
                },
                () = tokio::time::sleep_until(deadline) => break,
            }
        }
        // Full only when the broker has not taken anything for a while.
        if self.client.try_disconnect().is_err() {
            return Ok(());
        }
        let until = Instant::now() + FAREWELL;
        while let Ok(Some(Ok(event))) = timeout_at(until, events.next()).await {
            if event == Event::Outgoing(rumqttc::Outgoing::Disconnect) {
                break;
            }
        }
        Ok(())
    }

    /// While stopping, nothing more is taken in: it comes again at the next start.
    fn last_polled(&mut self, polled: Option<Polled>) -> Result<(), Ended> {
        match polled {
            Some(Ok(Event::Incoming(Packet::Publish(_)))) => Ok(()),
            Some(polled) => self.polled(polled),
            None => Ok(()),
        }
    }
}
