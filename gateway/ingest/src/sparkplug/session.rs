//! One connection of the host, from its login to its end.

use std::time::{Duration, SystemTime};

use tidegate_model::Timestamp;
use tidegate_mqtt::{Connection, Event, Failure, FailureKind, Filter, Message as Sent, QoS, Refusal};
use tidegate_sparkplug::{Message, Now};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    host::{Heard, Todo},
    presence::{Presence, Said},
};
use crate::{Counters, writer::Writer};

/// How often the session looks around.
const LOOK: Duration = Duration::from_millis(250);
/// How long a host that leaves listens on: edge nodes publish until they have heard of it.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// How long a stopping ingest waits for what is being written.
const LAST_BATCHES: Duration = Duration::from_secs(10);
const FAREWELL: Duration = Duration::from_secs(1);

/// Why a connection ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// It broke.
    Failed(Failure),
    /// Another one under the same id is over that began at this time: nobody minds one that began earlier.
    Superseded(Timestamp),
    /// Nothing has come for as long as was asked for, or it was asked to end; what had come is written.
    Done,
    /// The task that writes has ended.
    WriterGone,
}

/// What connections use and do not own.
pub(super) struct Around<'a> {
    pub(super) heard: &'a mut Heard,
    pub(super) writer: &'a mut Writer,
    pub(super) counters: &'a Counters,
    pub(super) group: Option<&'a str>,
    pub(super) address: String,
    pub(super) until_idle: Option<Duration>,
    /// Whether the broker has granted the subscription on this connection.
    pub(super) progress: bool,
}

impl Around<'_> {
    /// Hands the next batch to the writer, if there is one and the writer has room.
    pub(super) fn hand_over(&mut self) {
        if !self.writer.is_busy()
            && let Some(batch) = self.heard.batch()
        {
            self.writer.hand_over(batch);
        }
        self.counters.waiting(self.heard.waiting());
    }

    /// Writes what has come, for as long as this is waited for. It ends when nothing can be written any more.
    pub(super) async fn write(&mut self) {
        loop {
            self.hand_over();
            match self.writer.is_busy() {
                false => std::future::pending().await,
                true => match self.writer.written().await {
                    Some(_) => drop(self.heard.written()),
                    None => return,
                },
            }
        }
    }

    /// Writes what is here, within ten seconds.
    pub(super) async fn write_out(&mut self) {
        let work = async {
            loop {
                self.hand_over();
                if self.is_all_written() || self.writer.written().await.is_none() {
                    return;
                }
                self.heard.written();
            }
        };
        let _ = tokio::time::timeout(LAST_BATCHES, work).await;
    }

    fn is_all_written(&self) -> bool {
        self.heard.is_empty() && !self.writer.is_busy()
    }
}

/// Runs a connection that began at `connected` until it breaks, or nothing has come for long enough, or `cancel` is called.
pub(super) async fn run(
    connection: Connection,
    connected: Timestamp,
    around: &mut Around<'_>,
    cancel: &CancellationToken,
) -> Ended {
    let (presence, last_message) = (Presence::new(), Instant::now());
    let mut session = Session { connection, connected, around, presence, last_message, untold: None };
    let ended = session.serve(cancel).await;
    session.around.counters.connected(false);
    let now = now();
    session.around.heard.disconnected(ended.is_err(), now);
    match ended {
        Ok(()) => {
            // The will is not published: what was said before holds.
            session.connection.disconnect(FAREWELL).await;
            around.write_out().await;
            Ended::Done
        }
        Err(ended) => ended,
    }
}

struct Session<'a, 'b> {
    connection: Connection,
    /// When it began, by the clock that edge nodes compare.
    connected: Timestamp,
    around: &'a mut Around<'b>,
    presence: Presence,
    last_message: Instant,
    /// What the host is to say of itself and there was no room for.
    untold: Option<bool>,
}

impl Session<'_, '_> {
    async fn serve(&mut self, cancel: &CancellationToken) -> Result<(), Ended> {
        self.subscribe()?;
        let mut look = tokio::time::interval(LOOK);
        loop {
            self.around.hand_over();
            if !self.around.writer.is_busy() {
                // What says nothing that is to be written.
                self.written();
            }
            self.show();
            tokio::select! {
                () = cancel.cancelled() => break,
                event = self.connection.next() => self.happened(event.map_err(Ended::Failed)?)?,
                batch = self.around.writer.written(), if self.around.writer.is_busy() => {
                    batch.ok_or(Ended::WriterGone)?;
                    self.written();
                }
                _ = look.tick() => {
                    self.look()?;
                    if self.is_idle() {
                        break;
                    }
                }
            }
        }
        self.leave().await
    }

    fn subscribe(&mut self) -> Result<(), Ended> {
        let topics = self.around.heard.filters(self.around.group);
        let filters: Vec<Filter> = topics.iter().map(|topic| Filter::new(topic.as_str(), QoS::AtLeastOnce)).collect();
        let refused = |why| {
            let text = format!("the subscription to {} cannot be asked for: {why}", topics.join(" "));
            Ended::Failed(Failure::new(FailureKind::Refused, text))
        };
        self.connection.subscribe(&filters).map(drop).map_err(refused)
    }

    fn happened(&mut self, event: Event) -> Result<(), Ended> {
        match event {
            Event::Message(message) => {
                let mut todo = Vec::new();
                self.last_message = Instant::now();
                self.around.counters.message(message.payload.len());
                self.around.heard.take(&message.topic, &message.payload, message.packet_id, now(), &mut todo);
                self.carry_out(todo)
            }
            Event::Subscribed(_, answers) => self.subscribed(&answers),
            _ => Ok(()),
        }
    }

    fn subscribed(&mut self, answers: &[Result<QoS, Refusal>]) -> Result<(), Ended> {
        let (address, topics) = (&self.around.address, self.around.heard.filters(self.around.group).join(" "));
        if let Some(why) = answers.iter().find_map(|answer| answer.err()) {
            let text = format!("{address} refused the subscription to {topics}: {why}");
            return Err(Ended::Failed(Failure::new(FailureKind::Refused, text)));
        }
        self.around.progress = true;
        self.last_message = Instant::now();
        self.around.counters.connected(true);
        tracing::info!(%address, %topics, "subscribed");
        let mut todo = Vec::new();
        self.around.heard.ask_all(now(), &mut todo);
        self.carry_out(todo)
    }

    fn carry_out(&mut self, todo: Vec<Todo>) -> Result<(), Ended> {
        for todo in todo {
            match todo {
                Todo::Publish(message) => self.ask(message),
                Todo::SaidOffline(over) => match self.presence.said_offline(over, self.connected) {
                    Said::Over => return Err(Ended::Superseded(over)),
                    Said::Wrong => self.untold = Some(true),
                    Said::Right => {}
                },
            }
        }
        Ok(())
    }

    /// With QoS 0, as the specification wants commands. Without room the broker takes nothing at the moment; the host asks again.
    fn ask(&mut self, message: Message) {
        let _ = self.connection.publish(Sent::new(message.topic, message.payload).unacknowledged());
    }

    /// Says whether the host is online, where that is another word than before.
    fn show(&mut self) {
        if !self.around.progress {
            return;
        }
        let load = self.around.heard.load(self.around.counters.is_sink_down(), Instant::now().into_std());
        if let Some(online) = self.presence.decide(load) {
            self.untold = Some(online);
            self.around.heard.leaving(!online, now().at);
            if self.around.heard.state(online, self.connected).is_some() {
                match online {
                    true => tracing::info!("the host is online: edge nodes with this primary host publish"),
                    false => tracing::warn!(
                        "what comes is not written fast enough: the host is offline, so that edge nodes with this primary host keep their data; it \
                         is online again when what has come is written"
                    ),
                }
            }
        }
        if let Some(online) = self.untold
            && self.tell(online, self.connected)
        {
            self.untold = None;
        }
    }

    /// Says what the host is, since when. The will is of the time of the connection, and edge nodes believe nothing older than what was said last:
    /// while the connection goes on, that time is the one to give. False when there was no room.
    fn tell(&mut self, online: bool, since: Timestamp) -> bool {
        let Some(state) = self.around.heard.state(online, since) else { return true };
        self.connection.publish(Sent::new(state.topic, state.payload).retained()).is_ok()
    }

    /// A batch has been written.
    fn written(&mut self) {
        let done = self.around.heard.written();
        let count = done.len();
        done.into_iter().for_each(|packet_id| self.connection.acknowledge(packet_id));
        self.around.counters.acknowledged(count);
    }

    fn look(&mut self) -> Result<(), Ended> {
        let mut todo = Vec::new();
        self.around.heard.run(now(), &mut todo);
        self.carry_out(todo)
    }

    fn is_idle(&self) -> bool {
        let Some(until_idle) = self.around.until_idle else { return false };
        self.around.progress && self.last_message.elapsed() >= until_idle && self.around.is_all_written()
    }

    /// Says that the host is offline, and takes what edge nodes publish until they have heard it.
    async fn leave(&mut self) -> Result<(), Ended> {
        self.around.heard.leaving(true, now().at);
        let has_name = self.around.heard.state(false, self.connected).is_some();
        // The time of leaving, as the specification wants it (`host-topic-phid-death-payload-timestamp-disconnect-clean`).
        if !self.presence.leave() || !has_name || !self.tell(false, self.connected.max(wall())) {
            return Ok(());
        }
        let deadline = Instant::now() + LAST_WORDS;
        while self.around.heard.is_anyone_there() {
            self.around.hand_over();
            tokio::select! {
                event = self.connection.next() => self.happened(event.map_err(Ended::Failed)?)?,
                batch = self.around.writer.written(), if self.around.writer.is_busy() => match batch {
                    Some(_) => self.written(),
                    None => return Err(Ended::WriterGone),
                },
                () = tokio::time::sleep_until(deadline) => break,
            }
        }
        Ok(())
    }
}

/// The moment, by both clocks.
pub(super) fn now() -> Now {
    Now { at: Instant::now().into_std(), time: wall() }
}

/// The time of messages.
pub(super) fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
