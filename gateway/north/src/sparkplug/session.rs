//! One connection of an edge node: births, rows (`sending.rs`) and what comes, until it ends.

mod large;
mod sending;

use std::{collections::VecDeque, pin::pin, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use tidegate_config::MqttTarget as Options;
use tidegate_mqtt::{Connection, Event, Failure, Message as Mqtt};
use tidegate_sparkplug::{EdgeNode, Heard, Message};
use tidegate_store::{Acknowledger, Cursor, Delivery, Lane, Shape, StoreError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    EdgeGateway,
    flight::{Batch, Flight, Window},
    now,
    orders::Orders,
    subscriptions::Subscriptions,
    suspicion::{Sent, Suspicion},
};
use crate::{
    TargetStatus,
    mqtt::{
        settling::Settling,
        share::{LaneKind, Share},
    },
};

/// Rows and bytes of one read.
const ROWS: usize = 256;
const BYTES: usize = 1024 * 1024;
/// Before a store that could not be read is asked again.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// How long a stopping gateway waits for what is on its way, and for its farewell.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
const FAREWELL: Duration = Duration::from_secs(1);
/// How often the edge node is asked what is due, whatever it says.
const LOOK: Duration = Duration::from_millis(100);

type Read = Result<Vec<Delivery>, StoreError>;

/// Why a connection has ended.
pub(super) enum Close {
    /// The gateway is stopping.
    Stopping,
    /// The primary host is gone.
    HostGone,
    /// It broke.
    Failed(Failed),
}

/// How a connection broke.
pub(super) struct Failed {
    pub(super) failure: Failure,
    /// Whether any row is known to have arrived.
    pub(super) progress: bool,
    /// What was handed over and is not known to have been read.
    pub(super) unread: Vec<Sent>,
}

/// What a session uses and does not own.
pub(super) struct Around<'a> {
    pub(super) address: &'a str,
    pub(super) node: &'a mut EdgeNode,
    pub(super) gateway: &'a EdgeGateway,
    pub(super) window: &'a mut Window,
    pub(super) suspicion: &'a mut Suspicion,
    pub(super) status: &'a TargetStatus,
    pub(super) options: &'a Options,
    pub(super) primary_host: Option<&'a str>,
}

/// What waits to be handed to the connection.
enum Out {
    /// A birth or a death.
    Message(Message),
    /// Rows whose mark follows.
    Rows(Message),
    /// All messages of these rows come before.
    Mark(Batch),
}

struct Session<'a> {
    connection: Connection,
    around: Around<'a>,
    acknowledger: Acknowledger,
    orders: Orders,
    subscriptions: Subscriptions,
    /// The devices for whose commands has been subscribed.
    seen: Option<u64>,
    out: VecDeque<Out>,
    /// Bytes of it.
    waiting: usize,
    /// Some of the rows whose mark is the next in it have been handed over.
    parted: bool,
    /// Since when suspected rows wait for what is on its way.
    held: Option<Instant>,
    /// When there was something of the backlog to be sent.
    looked: Instant,
    flight: Flight,
    settling: Settling<Batch>,
    share: Share,
    live: VecDeque<Delivery>,
    backlog: VecDeque<Delivery>,
    begun: bool,
    progress: bool,
}

/// What a session has waited for.
enum What {
    Nothing,
    Cancelled,
    Event(Result<Event, Failure>),
    Read(LaneKind, Option<Read>),
}

/// What is to be done after an event.
enum After {
    GoOn,
    HostGone,
}

/// Runs a connection until it breaks, the primary host goes or `cancel` is called. Begins with a rewind of the cursor.
pub(super) async fn run(
    connection: Connection,
    cursor: &mut Cursor,
    around: Around<'_>,
    cancel: &CancellationToken,
) -> Close {
    let status = around.status.clone();
    let mut session = Session::new(connection, cursor.acknowledger(), around);
    let served = session.serve(cursor, cancel).await;
    status.in_flight(0, 0, 0);
    match served {
        Ok(After::GoOn) => {
            session.farewell().await;
            Close::Stopping
        }
        Ok(After::HostGone) => {
            session.farewell().await;
            Close::HostGone
        }
        Err(failure) => Close::Failed(Failed { failure, progress: session.progress, unread: session.unread() }),
    }
}

impl<'a> Session<'a> {
    fn new(connection: Connection, acknowledger: Acknowledger, around: Around<'a>) -> Session<'a> {
        Session {
            connection,
            acknowledger,
            orders: Orders::new(Arc::clone(&around.gateway.commands)),
            subscriptions: Subscriptions::default(),
            seen: None,
            out: VecDeque::new(),
            waiting: 0,
            parted: false,
            held: None,
            looked: Instant::now(),
            flight: Flight::default(),
            settling: Settling::new(around.options.settle),
            share: Share::new(around.options.backfill, Instant::now()),
            live: VecDeque::new(),
            backlog: VecDeque::new(),
            begun: false,
            progress: false,
            around,
        }
    }

    /// Subscribes, waits for the primary host, and publishes until the end.
    async fn serve(&mut self, cursor: &mut Cursor, cancel: &CancellationToken) -> Result<After, Failure> {
        self.follow_subscriptions();
        while !self.subscriptions.are_complete() {
            if let Some(end) = self.turn(cancel).await? {
                return Ok(end);
            }
        }
        self.around.node.connected(now(self.around.status));
        self.begun = true;
        if self.around.node.waits_for_host() {
            self.report_waiting();
        }
        while self.around.node.waits_for_host() {
            if let Some(end) = self.turn(cancel).await? {
                return Ok(end);
            }
        }
        // The lanes part here, and the births are made after: what is committed in between is told as the present.
        let (live, backlog) = cursor.lanes(Shape::Rows);
        self.looked = Instant::now();
        let mut live = pin!(stream::unfold(live, read));
        let mut backlog = pin!(stream::unfold(backlog, read));
        loop {
            self.work()?;
            let wake = self.wake_at();
            let (wants_live, wants_backlog) = (self.live.is_empty(), self.backlog.is_empty());
            let Session { connection, orders, around, .. } = &mut *self;
            let what = tokio::select! {
                () = cancel.cancelled() => What::Cancelled,
                event = connection.next() => What::Event(event),
                read = live.next(), if wants_live => What::Read(LaneKind::Live, read),
                read = backlog.next(), if wants_backlog => What::Read(LaneKind::Backlog, read),
                () = orders.answered(around.status) => What::Nothing,
                () = tokio::time::sleep_until(wake) => What::Nothing,
            };
            match what {
                What::Nothing => {}
                What::Cancelled => return self.last_answers().await,
                What::Event(event) => {
                    if let After::HostGone = self.happened(event?)? {
                        return Ok(After::HostGone);
                    }
                }
                What::Read(lane, read) => {
                    if !self.take(lane, read) {
                        return self.last_answers().await;
                    }
                }
            }
        }
    }

    /// One event, while no rows are sent. `Some`: it is the end.
    async fn turn(&mut self, cancel: &CancellationToken) -> Result<Option<After>, Failure> {
        self.work()?;
        let wake = self.wake_at();
        let Session { connection, orders, around, .. } = &mut *self;
        let event = tokio::select! {
            () = cancel.cancelled() => return Ok(Some(After::GoOn)),
            event = connection.next() => event?,
            () = orders.answered(around.status) => return Ok(None),
            () = tokio::time::sleep_until(wake) => return Ok(None),
        };
        Ok(match self.happened(event)? {
            After::HostGone => Some(After::HostGone),
            After::GoOn => None,
        })
    }

    /// Hands over whatever can be.
    fn work(&mut self) -> Result<(), Failure> {
        self.follow_subscriptions();
        if self.begun && self.subscriptions.are_complete() {
            let mut out = Vec::new();
            let now = now(self.around.status);
            self.around.node.run(&*self.around.gateway.plant, now, &mut out);
            self.queue(out);
            self.report_left_out();
        }
        self.hand_over()?;
        while self.out.is_empty() && self.compose() {
            self.hand_over()?;
        }
        // While something is suspected, what waits behind it is not to wait for the next ping.
        let ping_at = match self.around.suspicion.group() {
            Some(_) if !self.flight.is_empty() => Some(Instant::now()),
            _ => self.flight.ping_at(self.around.window, Instant::now()),
        };
        if ping_at.is_some_and(|at| at <= Instant::now()) && self.connection.ping() {
            self.flight.pinged(Instant::now());
        }
        let (messages, bytes) = self.flight.size();
        self.around.status.in_flight(messages, bytes, self.live.len());
        Ok(())
    }

    fn wake_at(&self) -> Instant {
        let now = Instant::now();
        let ping = self.flight.ping_at(self.around.window, now).filter(|at| *at > now);
        let share = self.share.opens_at(now).filter(|_| !self.backlog.is_empty());
        let due = self.around.node.wake_at().map(Instant::from_std).filter(|at| *at > now);
        [ping, share, due].into_iter().flatten().fold(now + LOOK, Instant::min)
    }

    fn follow_subscriptions(&mut self) {
        let version = self.around.gateway.plant.version();
        if self.seen != Some(version) {
            self.seen = Some(version);
            self.around.node.look(&*self.around.gateway.plant);
            self.subscriptions.want(self.around.node.filters());
        }
        self.subscriptions.ask(&mut self.connection);
    }

    /// Takes what the store gave. False when the store has been closed.
    fn take(&mut self, lane: LaneKind, read: Option<Read>) -> bool {
        match (read, lane) {
            (None | Some(Err(StoreError::Closed)), _) => return false,
            (Some(Ok(deliveries)), LaneKind::Live) => self.live.extend(deliveries),
            (Some(Ok(deliveries)), LaneKind::Backlog) => self.backlog.extend(deliveries),
            (Some(Err(error)), _) => {
                if self.around.status.failed(&error.to_string()) {
                    tracing::error!(target_name = %self.around.status.name(), %error, "rows cannot be read; trying again");
                }
            }
        }
        true
    }

    fn happened(&mut self, event: Event) -> Result<After, Failure> {
        match event {
            Event::Pong(sent) => {
                let time = Instant::now();
                for batch in self.flight.answered(sent, self.around.window, time) {
                    for most in batch.sent.iter().filter_map(|sent| self.around.suspicion.read(sent)) {
                        self.around.node.limit(most, now(self.around.status));
                    }
                    self.settling.acknowledged(batch, time);
                }
                self.settling.answered(sent);
                self.settle();
            }
            Event::Subscribed(id, answers) => {
                self.subscriptions.answered(id, &answers, self.around.address, self.around.status)?;
            }
            Event::Message(message) => {
                if message.packet_id != 0 {
                    self.connection.acknowledge(message.packet_id);
                }
                let Ok(topic) = std::str::from_utf8(&message.topic) else { return Ok(After::GoOn) };
                let now = now(self.around.status);
                match self.around.node.heard(topic, &message.payload, message.retain, now) {
                    Heard::Nothing => {}
                    Heard::HostGone => return Ok(After::HostGone),
                    Heard::Command(command) => self.orders.take(command, self.around.status),
                    Heard::Unborn(device) => {
                        let target_name = self.around.status.name();
                        tracing::warn!(
                            %target_name, %device,
                            "a command over Sparkplug came before the birth of its device and was not carried out; send it again                              after the birth"
                        );
                    }
                    Heard::Malformed(error) => {
                        let target_name = self.around.status.name();
                        tracing::warn!(%target_name, topic, %error, "a command over Sparkplug cannot be read");
                    }
                }
            }
            Event::Published(..) | Event::Unsubscribed(_) => {}
        }
        Ok(After::GoOn)
    }

    /// The only place where the cursor is moved.
    fn settle(&mut self) {
        while let Some(batch) = self.settling.settled() {
            // Births move nothing: a broker that takes them alone is not to be called again at once for ever.
            self.progress |= !batch.tickets.is_empty();
            for ticket in &batch.tickets {
                self.acknowledger.acknowledge(*ticket);
            }
            self.around.status.acknowledged(u64::try_from(batch.tickets.len()).unwrap_or(0));
        }
    }

    /// Waits for what is on its way.
    async fn last_answers(&mut self) -> Result<After, Failure> {
        let deadline = Instant::now() + LAST_ANSWERS;
        while !(self.flight.is_empty() && self.out.is_empty()) {
            self.hand_over()?;
            if self.connection.ping() {
                self.flight.pinged(Instant::now());
            }
            match tokio::time::timeout_at(deadline, self.connection.next()).await {
                Ok(event) => {
                    self.happened(event?)?;
                }
                Err(_) => break,
            }
        }
        Ok(After::GoOn)
    }

    /// Says that the node is going, and ends the connection.
    async fn farewell(mut self) {
        if let Some(death) = self.around.node.farewell(now(self.around.status)) {
            // Full only when the broker has taken nothing for a while; then the will says it.
            let death = Mqtt::new(death.topic, death.payload).unacknowledged();
            if self.connection.publish(death).is_err() {
                return;
            }
        }
        self.connection.disconnect(FAREWELL).await;
    }

    fn report_waiting(&self) {
        let (target_name, host) = (self.around.status.name(), self.around.primary_host.unwrap_or_default());
        let text = format!("the primary host \"{host}\" is not online; rows wait in the store until it is");
        if self.around.status.failed(&text) {
            tracing::info!(%target_name, host, "the primary host is not online; rows wait in the store until it is");
        }
    }
}

/// The next deliveries of a lane, and the lane for the ones after them.
async fn read(mut lane: Lane<'_>) -> Option<(Read, Lane<'_>)> {
    let read = lane.next(ROWS, BYTES).await;
    if matches!(&read, Err(error) if !matches!(error, StoreError::Closed)) {
        // The error is handed on after the pause, so that the next read does not follow on its heels.
        tokio::time::sleep(STORE_PAUSE).await;
    }
    Some((read, lane))
}
