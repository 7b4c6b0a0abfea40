//! One connection from its login to its end: messages in, acknowledgements out.

use std::time::Duration;

use tidegate_mqtt::{Connection, Connector, Event, Failure, FailureKind, Filter, Message, QoS, Refusal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{Counters, intake::Intake, topics::Topics, writer::Writer};

/// How often schemas that are missing are asked for, and how often the session looks around.
const LOOK: Duration = Duration::from_millis(250);
const ASK: Duration = Duration::from_secs(5);
/// Schemas that are asked for at once.
const ASKED: usize = 32;
/// How long a stopping ingest waits for what is being written.
const LAST_BATCHES: Duration = Duration::from_secs(10);
const FAREWELL: Duration = Duration::from_secs(1);

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
    pub(crate) longest_pause: Duration,
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
    let mut session = Session { connection, around, last_message: Instant::now(), asked: None, subscribed: false };
    let ended = session.serve(cancel).await;
    session.around.intake.forget();
    session.around.counters.waiting(0);
    if ended.is_ok() {
        session.connection.disconnect(FAREWELL).await;
    }
    ended.unwrap_or_else(|ended| ended)
}

struct Session<'a, 'b> {
    connection: Connection,
    around: &'a mut Surroundings<'b>,
    last_message: Instant,
    /// When missing schemas were asked for.
    asked: Option<Instant>,
    subscribed: bool,
}

impl Session<'_, '_> {
    async fn serve(&mut self, cancel: &CancellationToken) -> Result<Ended, Ended> {
        self.subscribe()?;
        let mut watch = tokio::time::interval(LOOK);
        let idle = loop {
            self.write();
            tokio::select! {
                () = cancel.cancelled() => break false,
                // The broker keeps what is not taken. Should it give the connection up over that, it sends all of it again.
                event = self.connection.next(), if !self.around.intake.is_full() => {
                    self.happened(event.map_err(Ended::Failed)?)?;
                }
                batch = self.around.writer.written(), if self.around.writer.is_busy() => {
                    self.written(&batch.ok_or(Ended::WriterGone)?);
                }
                _ = watch.tick() => {
                    self.ask_for_schemas();
                    if self.is_idle() {
                        break true;
                    }
                }
            }
        };
        self.finish().await?;
        Ok(if idle { Ended::Idle } else { Ended::Cancelled })
    }

    fn subscribe(&mut self) -> Result<(), Ended> {
        let topics = self.around.topics;
        // Schemas at QoS 0: they must come through while the blocks that wait for them fill the receive maximum. One that got lost
        // is asked for again.
        let schemas = topics.schemas().map(|topic| Filter::new(topic, QoS::AtMostOnce));
        let counted = topics.counted().into_iter().map(|topic| Filter::new(topic, QoS::AtLeastOnce));
        let filters: Vec<Filter> = schemas.into_iter().chain(counted).collect();
        let refused = |why| {
            let text = format!("the subscription to {} cannot be asked for: {why}", topics.counted().join(" "));
            Ended::Failed(Failure::new(FailureKind::Refused, text))
        };
        self.connection.subscribe(&filters).map(drop).map_err(refused)
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

    fn happened(&mut self, event: Event) -> Result<(), Ended> {
        match event {
            Event::Message(message) => {
                self.take(&message);
                Ok(())
            }
            Event::Subscribed(_, answers) => self.subscribed(&answers),
            Event::Published(..) | Event::Unsubscribed(_) | Event::Pong(_) => Ok(()),
        }
    }

    fn take(&mut self, message: &Message) {
        let counted = message.qos == QoS::AtLeastOnce;
        if counted {
            self.last_message = Instant::now();
            self.around.counters.message(message.payload.len());
        }
        let done = self.around.intake.take(&message.topic, &message.payload, message.packet_id);
        if counted && done {
            self.acknowledge([message.packet_id]);
        }
    }

    fn subscribed(&mut self, answers: &[Result<QoS, Refusal>]) -> Result<(), Ended> {
        let address = self.around.connector.address();
        let topics = self.around.topics.counted().join(" ");
        let failed = |text| Err(Ended::Failed(Failure::new(FailureKind::Refused, text)));
        // The first answer is that to `subscribe`: schemas, if there are any, then what is acknowledged.
        let schemas = usize::from(self.around.topics.schemas().is_some());
        if !self.subscribed && answers.iter().skip(schemas).any(|answer| *answer == Ok(QoS::AtMostOnce)) {
            return failed(format!("{address} grants QoS 0 only, at which it may lose messages; allow QoS 1"));
        }
        if let Some(why) = answers.iter().find_map(|answer| answer.err()) {
            let hint = if why == Refusal::Shared { "; leave --share away" } else { "" };
            return failed(format!("{address} refused the subscription to {topics}: {why}{hint}"));
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
    fn written(&mut self, batch: &crate::intake::Batch) {
        let done = self.around.intake.written(batch);
        // What came at QoS 0 has no number and is not acknowledged.
        self.acknowledge(done.into_iter().filter(|packet_id| *packet_id > 0));
    }

    fn acknowledge(&mut self, packet_ids: impl IntoIterator<Item = u16>) {
        let mut count = 0;
        for packet_id in packet_ids {
            self.connection.acknowledge(packet_id);
            count += 1;
        }
        self.around.counters.acknowledged(count);
        self.around.progress |= count > 0;
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
        let filters: Vec<Filter> = topics.into_iter().map(|topic| Filter::new(topic, QoS::AtMostOnce)).collect();
        // Without room now, the next time.
        let _ = self.connection.subscribe(&filters);
    }

    fn is_idle(&self) -> bool {
        let Some(until_idle) = self.around.until_idle else { return false };
        let quiet = self.subscribed && self.last_message.elapsed() >= until_idle;
        quiet && !self.around.writer.is_busy() && self.around.intake.len() == 0
    }

    /// Writes and acknowledges what is here. What waits for its schema stays with the broker, as does what comes meanwhile: both come
    /// again at the next start.
    async fn finish(&mut self) -> Result<(), Ended> {
        let deadline = Instant::now() + LAST_BATCHES;
        loop {
            self.write();
            if !self.around.writer.is_busy() {
                return Ok(());
            }
            tokio::select! {
                event = self.connection.next() => match event.map_err(Ended::Failed)? {
                    Event::Message(_) => {}
                    other => self.happened(other)?,
                },
                batch = self.around.writer.written() => match batch {
                    Some(batch) => self.written(&batch),
                    // It has given up a batch that the sink does not take.
                    None => return Ok(()),
                },
                () = tokio::time::sleep_until(deadline) => return Ok(()),
            }
        }
    }
}
