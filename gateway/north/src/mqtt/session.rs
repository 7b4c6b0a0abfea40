//! One connection from its login to its end: rows out, acknowledgements in.

use std::{collections::VecDeque, pin::pin, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt, Stream, StreamExt, stream};
use rumqttc::{AsyncClient, Event, EventLoop, Outgoing, Packet, QoS};
use tidegate_model::Timestamp;
use tidegate_store::{Acknowledger, Cursor, Delivery, StoreError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    connection::{Connection, Connector},
    failure::{Failure, FailureKind},
    flight::{Flight, Freight},
    message::{LeftOut, Message, Messages},
    suspicion::{Subject, Suspicion},
    window::Window,
};
use crate::TargetStatus;

/// Read from the store at once, at most; the next read begins when the last of these has been sent.
const READ_ROWS: usize = 256;
const READ_BYTES: usize = 2 * 1024 * 1024;
/// Before a store that could not be read is asked again.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// How long a stopping gateway waits for what is on its way, and then for its farewell.
const LAST_ACKNOWLEDGEMENTS: Duration = Duration::from_secs(2);
const FAREWELL: Duration = Duration::from_secs(1);

type Polled = Result<Event, rumqttc::ConnectionError>;
type Read = Result<Vec<Delivery>, StoreError>;

/// What a connection was, once it has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Why; `None` when the gateway is stopping.
    pub(crate) failure: Option<Failure>,
    /// The delivery that was first in line when it ended.
    pub(crate) first: Option<Subject>,
    /// Whether any delivery was acknowledged.
    pub(crate) progress: bool,
}

/// What a session uses and does not own.
pub(crate) struct Surroundings<'a> {
    pub(crate) connector: &'a Connector,
    pub(crate) messages: &'a mut Messages,
    pub(crate) suspicion: &'a Suspicion,
    pub(crate) window: &'a mut Window,
    pub(crate) status: &'a TargetStatus,
}

/// Runs a connection until it breaks or `cancel` is called. The cursor has to be rewound afterwards.
pub(crate) async fn run(
    connection: Connection,
    cursor: &mut Cursor,
    around: Surroundings<'_>,
    cancel: &CancellationToken,
) -> Ended {
    let Connection { client, mut event_loop, since } = connection;
    let mut session = Session::new(client, since, cursor.acknowledger(), around);
    let result = session.serve(&mut event_loop, cursor, cancel).await;
    // rumqttc reads several packets at a time and reports an error before the acknowledgements that came ahead of it.
    for event in event_loop.state.events.drain(..) {
        if let Event::Incoming(Packet::PubAck(ack)) = event {
            session.acknowledged(ack.pkid);
        }
    }
    session.around.status.in_flight(0);
    let first = match session.flight.oldest() {
        Some(Freight::Delivery { subject, .. }) => Some(subject),
        Some(Freight::State) | None => None,
    };
    Ended { failure: result.err(), first, progress: session.progress }
}

struct Session<'a> {
    client: AsyncClient,
    since: Timestamp,
    acknowledger: Acknowledger,
    around: Surroundings<'a>,
    flight: Flight,
    /// Read from the store and not yet sent.
    waiting: VecDeque<Delivery>,
    progress: bool,
}

impl<'a> Session<'a> {
    fn new(client: AsyncClient, since: Timestamp, acknowledger: Acknowledger, around: Surroundings<'a>) -> Session<'a> {
        around.window.begin(around.suspicion.one_at_a_time());
        let (flight, waiting) = (Flight::default(), VecDeque::new());
        Session { client, since, acknowledger, around, flight, waiting, progress: false }
    }

    async fn serve(
        &mut self,
        event_loop: &mut EventLoop,
        cursor: &mut Cursor,
        cancel: &CancellationToken,
    ) -> Result<(), Failure> {
        // A poll or a read that were dropped half-way would lose what they had begun, or never get done: both go on
        // from one turn of the loop to the next.
        let mut events =
            pin!(stream::unfold(event_loop, |event_loop| async { Some((event_loop.poll().await, event_loop)) }));
        let mut reads = pin!(stream::unfold(cursor, |cursor| async { Some((read(cursor).await, cursor)) }));
        let mut cancelled = pin!(cancel.cancelled());
        let mut watch = tokio::time::interval(self.around.connector.patience() / 8);
        self.publish_state("online")?;
        loop {
            self.send_waiting()?;
            tokio::select! {
                () = &mut cancelled => break,
                Some(polled) = events.next() => self.polled(polled)?,
                Some(read) = reads.next(), if self.waiting.is_empty() => {
                    if !self.take(read) { break }
                }
                _ = watch.tick() => self.check_patience()?,
            }
        }
        self.waiting.clear();
        self.say_goodbye(&mut events).await
    }

    /// Waits for what is on its way, then takes leave.
    async fn say_goodbye(&mut self, events: &mut (impl Stream<Item = Polled> + Unpin)) -> Result<(), Failure> {
        self.until_empty(events, LAST_ACKNOWLEDGEMENTS).await?;
        // A broker that is left without this would publish the last will, which says the same, only later.
        self.publish_state("offline")?;
        self.until_empty(events, FAREWELL).await?;
        // Full only when the broker has not taken anything for a while; then it learns of it by the end of the connection.
        if self.client.try_disconnect().is_err() {
            return Ok(());
        }
        let left = async {
            while let Some(Ok(event)) = events.next().await {
                if event == Event::Outgoing(Outgoing::Disconnect) {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(FAREWELL, left).await;
        Ok(())
    }

    async fn until_empty(
        &mut self,
        events: &mut (impl Stream<Item = Polled> + Unpin),
        within: Duration,
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + within;
        while !self.flight.is_empty() {
            match tokio::time::timeout_at(deadline, events.next()).await {
                Ok(Some(polled)) => self.polled(polled)?,
                Ok(None) | Err(_) => break,
            }
        }
        Ok(())
    }

    /// Sends what waits, as far as the window allows.
    fn send_waiting(&mut self) -> Result<(), Failure> {
        while self.around.window.has_room(self.flight.len(), self.flight.bytes()) {
            let Some(delivery) = self.waiting.pop_front() else { break };
            let Surroundings { messages, suspicion, status, .. } = &mut self.around;
            let Message { topic, payload, subject, left_out } = messages.message(&delivery.item, self.since, suspicion);
            status.sent(u64::try_from(payload.len()).unwrap_or(u64::MAX));
            self.publish(topic, payload, false, Freight::Delivery { ticket: delivery.ticket, subject, left_out })?;
        }
        self.around.status.in_flight(u64::try_from(self.flight.len()).unwrap_or(u64::MAX));
        Ok(())
    }

    fn publish_state(&mut self, state: &'static str) -> Result<(), Failure> {
        let topic = self.around.messages.state_topic();
        self.publish(topic, Bytes::from_static(state.as_bytes()), true, Freight::State)
    }

    fn publish(&mut self, topic: String, payload: Bytes, retain: bool, freight: Freight) -> Result<(), Failure> {
        self.flight.sent(freight, payload.len(), Instant::now());
        // The queue to the event loop has room for the whole window, so this never has to wait.
        let handed_over = self.client.publish_bytes(topic, QoS::AtLeastOnce, retain, payload).now_or_never();
        match handed_over {
            Some(Ok(())) => Ok(()),
            _ => Err(self.against_the_rules("more messages are on their way than may be")),
        }
    }

    /// Takes what the store gave. False when the store has been closed.
    fn take(&mut self, read: Read) -> bool {
        match read {
            Ok(deliveries) => self.waiting.extend(deliveries),
            Err(StoreError::Closed) => return false,
            Err(error) => {
                if self.around.status.failed(&error.to_string()) {
                    tracing::error!(target_name = %self.around.status.name(), %error, "rows cannot be read; trying again");
                }
            }
        }
        true
    }

    fn polled(&mut self, polled: Polled) -> Result<(), Failure> {
        let event = polled.map_err(|error| Failure::from_rumqttc(&error, &self.around.connector.peer, true))?;
        match event {
            Event::Outgoing(Outgoing::Publish(id)) if !self.flight.numbered(id) => {
                Err(self.against_the_rules("a message was sent that was not asked for"))
            }
            Event::Outgoing(Outgoing::AwaitAck(id)) => {
                Err(self.against_the_rules(&format!("message {id} is on its way and was to be sent again")))
            }
            Event::Incoming(Packet::PubAck(ack)) => {
                self.acknowledged(ack.pkid);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The only place where the cursor is moved: on the acknowledgement of exactly this message.
    fn acknowledged(&mut self, packet_id: u16) {
        let Some(arrived) = self.flight.acknowledged(packet_id, Instant::now()) else { return };
        self.around.window.acknowledged(arrived.after);
        let Freight::Delivery { ticket, subject, left_out } = arrived.freight else { return };
        self.acknowledger.acknowledge(ticket);
        self.progress = true;
        self.around.status.acknowledged();
        if let Some(why) = left_out {
            self.report_left_out(subject, why);
        }
    }

    fn report_left_out(&self, subject: Subject, why: LeftOut) {
        let status = self.around.status;
        status.left_out();
        let seq = subject.seq;
        match why {
            LeftOut::TooLarge => tracing::error!(
                target_name = %status.name(), stream = subject.stream.0, seq,
                "a row is too large to be sent; it stays in the store and was announced as a gap; split its group"
            ),
            LeftOut::Refused => tracing::error!(
                target_name = %status.name(), stream = subject.stream.0, seq,
                "the broker closes the connection over a row; it stays in the store and was announced as a gap; \
                 check the broker's largest message and the right to publish on its topic"
            ),
        }
    }

    fn check_patience(&self) -> Result<(), Failure> {
        let patience = self.around.connector.patience();
        if self.flight.standing_still(Instant::now()) <= patience {
            return Ok(());
        }
        let address = &self.around.connector.peer.address;
        let seconds = patience.as_secs();
        Err(Failure::new(FailureKind::Silent, format!("{address} has not acknowledged a message for {seconds} s")))
    }

    fn against_the_rules(&self, what: &str) -> Failure {
        Failure::new(FailureKind::Protocol, format!("{}: {what}", self.around.connector.peer.address))
    }
}

async fn read(cursor: &mut Cursor) -> Read {
    let read = cursor.next(READ_ROWS, READ_BYTES).await;
    if matches!(&read, Err(error) if !matches!(error, StoreError::Closed)) {
        // The error is handed on after the pause, so that the next read does not follow on its heels.
        tokio::time::sleep(STORE_PAUSE).await;
    }
    read
}
