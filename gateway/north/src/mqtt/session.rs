//! One connection from its login to its end: rows out (`sending.rs`), acknowledgements in.

mod sending;

use std::{collections::HashSet, pin::pin, time::Duration};

use futures_util::{StreamExt, stream};
use tidegate_codec::block::SchemaId;
use tidegate_config::Format;
use tidegate_mqtt::{Connection, Event, Failure, FailureKind, Outcome, PublishId};
use tidegate_store::{Acknowledger, Cursor, Delivery, Lane, Shape, StoreError};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{
    announcements::Announcements,
    connection::Connector,
    flight::{Arrived, Carried, Flight, Freight},
    message::{Composer, LeftOut, Topics},
    pace::Pace,
    parts::Parts,
    queue::{Queue, Reads},
    report,
    settling::Settling,
    share::{LaneKind, Share},
    suspicion::{Subject, Suspicion},
    window::Window,
};
use crate::TargetStatus;

/// Before a store that could not be read is asked again.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// How long a stopping gateway waits for what is on its way, and then for its farewell.
const LAST_ACKNOWLEDGEMENTS: Duration = Duration::from_secs(2);
const FAREWELL: Duration = Duration::from_secs(1);
type Read = Result<Vec<Delivery>, StoreError>;

/// What a connection was, once it has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Why; `None` when the gateway is stopping.
    pub(crate) failure: Option<Failure>,
    /// The delivery that was refused, or first in line when it ended.
    pub(crate) first: Option<Subject>,
    /// Whether a block was not sent because the broker has said that it takes none so large.
    pub(crate) too_large: bool,
    /// Whether a schema was first in line.
    pub(crate) schema_first: bool,
    /// Whether what is said beside rows was first in line.
    pub(crate) announcement_first: bool,
    /// Whether any delivery was acknowledged.
    pub(crate) progress: bool,
}

/// What a session uses and does not own.
pub(crate) struct Surroundings<'a> {
    pub(crate) connector: &'a Connector,
    pub(crate) topics: &'a Topics,
    pub(crate) composer: &'a mut Composer,
    pub(crate) suspicion: &'a Suspicion,
    pub(crate) window: &'a mut Window,
    pub(crate) pace: &'a mut Pace,
    pub(crate) announcements: &'a mut Announcements,
    pub(crate) status: &'a TargetStatus,
}

/// Runs a connection until it breaks or `cancel` is called. Begins with a rewind of the cursor.
pub(crate) async fn run(
    connection: Connection,
    (cursor, shape): (&mut Cursor, Shape),
    around: Surroundings<'_>,
    cancel: &CancellationToken,
) -> Ended {
    let mut session = Session::new(connection, cursor.acknowledger(), around);
    let result = session.serve(cursor.lanes(shape), cancel).await;
    session.around.status.in_flight(0, 0, 0);
    session.around.status.backlog_read(0);
    session.around.status.rates(0, 0);
    let Session { connection, flight, refused, too_large, schema_refused, progress, .. } = session;
    let ended = Ended {
        failure: result.err(),
        first: refused.or_else(|| flight.oldest()),
        too_large,
        schema_first: schema_refused || flight.oldest_is(&Freight::Schema),
        announcement_first: flight.oldest_is(&Freight::Announcement),
        progress,
    };
    if ended.failure.is_none() {
        connection.disconnect(FAREWELL).await;
    }
    ended
}

/// What a message carried that was acknowledged.
#[derive(Debug)]
struct Settled {
    carried: Vec<Carried>,
    /// How many messages carried the same.
    parts: usize,
    lane: LaneKind,
    left_out: Option<LeftOut>,
}

struct Session<'a> {
    connection: Connection,
    acknowledger: Acknowledger,
    around: Surroundings<'a>,
    flight: Flight,
    /// What has been acknowledged and does not count yet.
    settling: Settling<Settled>,
    /// What has been acknowledged in parts, and not in all of them.
    parts: Parts,
    share: Share,
    live: Queue,
    backlog: Queue,
    /// Schemas that this connection has published.
    published: HashSet<SchemaId>,
    /// Bytes sent since the last look, live and backlog.
    sent: (usize, usize),
    /// The delivery that the broker has refused.
    refused: Option<Subject>,
    too_large: bool,
    schema_refused: bool,
    progress: bool,
}

impl<'a> Session<'a> {
    fn new(connection: Connection, acknowledger: Acknowledger, around: Surroundings<'a>) -> Session<'a> {
        around.composer.begin(connection.granted().largest_outgoing);
        around.window.begin(around.suspicion.one_at_a_time());
        around.pace.begin();
        around.announcements.begin();
        let options = &around.connector.options;
        let share = Share::new(options.backfill, Instant::now());
        let reads = Reads::of(options.format, around.composer.fans_out());
        let batch = if options.format == Format::Block { options.batch } else { Duration::ZERO };
        let live = Queue::new(LaneKind::Live, reads, batch);
        let backlog = Queue::new(LaneKind::Backlog, reads, Duration::ZERO);
        let (flight, published) = (Flight::default(), HashSet::new());
        let settling = Settling::new(options.settle);
        Session {
            connection,
            acknowledger,
            around,
            flight,
            settling,
            parts: Parts::default(),
            share,
            live,
            backlog,
            published,
            sent: (0, 0),
            refused: None,
            too_large: false,
            schema_refused: false,
            progress: false,
        }
    }

    async fn serve(
        &mut self,
        (live, backlog): (Lane<'_>, Lane<'_>),
        cancel: &CancellationToken,
    ) -> Result<(), Failure> {
        // A read that was dropped half-way would lose what it had begun, or never get done: both go on from one turn of the
        // loop to the next.
        let reads = self.live.reads;
        let mut live = pin!(stream::unfold(live, |lane| read(lane, reads)));
        let mut backlog = pin!(stream::unfold(backlog, |lane| read(lane, reads)));
        let mut cancelled = pin!(cancel.cancelled());
        let mut watch = tokio::time::interval(self.around.connector.watch_every());
        watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.publish_state("online")?;
        loop {
            self.compose();
            self.send_ready()?;
            let wake = self.wake_at();
            tokio::select! {
                () = &mut cancelled => break,
                event = self.connection.next() => self.happened(event?)?,
                Some(read) = live.next(), if self.live.wants_more() => {
                    if !self.take(LaneKind::Live, read) { break }
                }
                Some(read) = backlog.next(), if self.backlog.wants_more() => {
                    if !self.take(LaneKind::Backlog, read) { break }
                }
                () = self.around.announcements.more() => {}
                () = tokio::time::sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
                _ = watch.tick() => self.look_at_the_clock()?,
            }
        }
        self.say_goodbye().await
    }

    /// Waits for what is on its way, then says that the gateway is away.
    async fn say_goodbye(&mut self) -> Result<(), Failure> {
        self.until_empty(LAST_ACKNOWLEDGEMENTS).await?;
        // A broker that is left without this would publish the last will, which says the same, only later.
        self.publish_state("offline")?;
        self.until_empty(FAREWELL).await
    }

    async fn until_empty(&mut self, within: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + within;
        while !self.flight.is_empty() {
            match tokio::time::timeout_at(deadline, self.connection.next()).await {
                Ok(event) => self.happened(event?)?,
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// Takes what the store gave. False when the store has been closed.
    fn take(&mut self, lane: LaneKind, read: Read) -> bool {
        match (read, lane) {
            (Ok(deliveries), LaneKind::Live) => self.live.take(deliveries, Instant::now()),
            (Ok(deliveries), LaneKind::Backlog) => self.backlog.take(deliveries, Instant::now()),
            (Err(StoreError::Closed), _) => return false,
            (Err(error), _) => {
                if self.around.status.failed(&error.to_string()) {
                    tracing::error!(target_name = %self.around.status.name(), %error, "rows cannot be read; trying again");
                }
            }
        }
        true
    }

    fn happened(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::Published(id, Outcome::Acknowledged { .. }) => self.acknowledged(id),
            Event::Published(id, Outcome::Refused(why)) => {
                let refused = self.flight.acknowledged(id, Instant::now());
                if refused.as_ref().is_some_and(|refused| refused.freight == Freight::Announcement) {
                    tracing::debug!(target_name = %self.around.status.name(), %why, "an announcement was refused");
                    return Ok(());
                }
                self.schema_refused = refused.as_ref().is_some_and(|refused| refused.freight == Freight::Schema);
                self.refused = refused.and_then(|refused| refused.freight.subject(refused.bytes));
                let text = format!("{} refused a message: {why}", self.around.connector.address());
                return Err(Failure::new(FailureKind::MessageRefused, text));
            }
            Event::Pong(sent) => self.settling.answered(sent),
            Event::Message(_) | Event::Subscribed(..) | Event::Unsubscribed(_) => return Ok(()),
        }
        self.settle();
        Ok(())
    }

    /// The broker has exactly this message.
    fn acknowledged(&mut self, id: PublishId) {
        let full = !self.around.pace.has_room(self.flight.backlog_bytes());
        let now = Instant::now();
        let Some(Arrived { freight, bytes, after }) = self.flight.acknowledged(id, now) else { return };
        self.settling.answered(now.checked_sub(after).unwrap_or(now));
        self.around.window.acknowledged(after);
        let Freight::Deliveries { carried, parts, lane, left_out, .. } = freight else { return };
        self.around.pace.acknowledged(bytes, after, full && lane == LaneKind::Backlog);
        self.progress = true;
        self.settling.acknowledged(Settled { carried, parts, lane, left_out }, now);
    }

    /// There is nothing to be sent for this: it arrives by itself.
    fn pass_over(&mut self, carried: Vec<Carried>, parts: usize, lane: LaneKind, now: Instant) {
        self.settling.acknowledged(Settled { carried, parts, lane, left_out: None }, now);
        self.settle();
    }

    /// The only place where the cursor is moved: the broker has answered something, so that acknowledgements from before count.
    fn settle(&mut self) {
        while let Some(Settled { carried, parts, lane, left_out }) = self.settling.settled() {
            if !self.parts.is_whole(&carried, parts) {
                continue;
            }
            for carried in &carried {
                self.acknowledger.acknowledge(carried.ticket);
            }
            match lane {
                LaneKind::Live => self.live.arrived(carried.len()),
                LaneKind::Backlog => self.backlog.arrived(carried.len()),
            }
            self.around.status.acknowledged(carried.iter().map(|carried| carried.count).sum());
            if let (Some(why), Some(row)) = (left_out, carried.first()) {
                report::left_out(self.around.status, row.span, why);
            }
        }
    }

    /// Looks at how old the oldest message is, and tells the rates.
    fn look_at_the_clock(&mut self) -> Result<(), Failure> {
        let (live, backlog) = std::mem::take(&mut self.sent);
        let every = self.around.connector.watch_every();
        self.around.status.rates(a_second(live, every), a_second(backlog, every));
        let patience = self.around.connector.patience();
        if self.flight.standing_still(Instant::now()) <= patience {
            return Ok(());
        }
        let address = self.around.connector.address();
        let seconds = patience.as_secs();
        let text = format!("{address} has not acknowledged a message for {seconds} s");
        Err(Failure::new(FailureKind::Unacknowledged, text))
    }
}

/// The next deliveries of a lane, and the lane for the ones after them.
async fn read(mut lane: Lane<'_>, reads: Reads) -> Option<(Read, Lane<'_>)> {
    let read = lane.next(reads.rows, reads.bytes).await;
    if matches!(&read, Err(error) if !matches!(error, StoreError::Closed)) {
        // The error is handed on after the pause, so that the next read does not follow on its heels.
        tokio::time::sleep(STORE_PAUSE).await;
    }
    Some((read, lane))
}

/// Bytes a second of so many in this time.
fn a_second(bytes: usize, time: Duration) -> u64 {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
    u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(1000) / millis
}
