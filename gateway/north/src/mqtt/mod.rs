//! `kind = "mqtt"`: rows as QoS 1 messages to an MQTT broker, one by one as JSON or many together as blocks.
//!
//! One task per target: connect, send what the two lanes of the cursor give, live rows first, and acknowledge in the store what the broker
//! acknowledges; when anything at all goes wrong, throw the connection and its client away, rewind the cursor and begin anew
//! after a pause.
//!
//! **Invariant:** a ticket is handed back on the acknowledgement of the very message that carried its rows, or the gap record in
//! their place, and nowhere else (`Session::settle`).
//! **Invariant:** there is no error after which a target stops trying.

mod announcements;
mod block;
mod connection;
mod fan;
mod flight;
mod json;
mod message;
mod pace;
mod parts;
mod queue;
mod report;
mod session;
pub(crate) mod settling;
pub(crate) mod share;
#[cfg(test)]
mod simulated;
pub(crate) mod suspicion;
mod window;

use std::time::Duration;

use tidegate_config::{Format, MqttTarget as Options};
use tidegate_model::{Name, Timestamp};
use tidegate_mqtt::{Backoff, Ended, Failure, FailureKind};
use tidegate_store::{Cursor, Shape, Store};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::{
    announcements::Announcements,
    connection::Connector,
    message::{Composer, Topics},
    pace::Pace,
    session::Surroundings,
    suspicion::Suspicion,
    window::Window,
};
pub use self::{
    announcements::{Announcement, AnnouncementFeed},
    fan::{RowTopics, SentSoFar},
};
use crate::{Clock, TargetError, TargetStatus};

/// A block larger than this is divided when it was not acknowledged in time.
const LARGE: usize = 96 * 1024;
/// Connections that are closed over a schema before a person is told.
const SCHEMA_REFUSED: u8 = 2;
/// A connection that lasted this long was healthy: it is made again at once.
const HEALTHY: Duration = Duration::from_secs(10);

/// A target of `kind = "mqtt"`.
pub struct MqttTarget {
    connector: Connector,
    topics: Topics,
    status: TargetStatus,
    suspicion: Suspicion,
    window: Window,
    pace: Pace,
    backoff: Backoff,
    announcements: Announcements,
    /// Where rows go, where the site has said it.
    row_topics: Option<RowTopics>,
    /// How blocks are read from the store: row by row once one of them did not get through as it is.
    shape: Shape,
    /// Connections in a row that were closed with a schema first in line.
    schema_refused: u8,
    /// Whether there was a line in the log since the last connection, so that the next one is worth a line too.
    said: bool,
}

/// What became of one try.
struct Try {
    failure: Failure,
    ended: Ended,
}

impl MqttTarget {
    /// The target `name` of `gateway`, with topics below `<topic_root>/<gateway>`. `clock` tells the time of the rows.
    ///
    /// Reads the certificate files, so that a wrong path is found now and not at the first connection.
    ///
    /// # Errors
    ///
    /// [`TargetError`] when the certificates or the key cannot be used.
    pub fn new(
        name: Name,
        options: &Options,
        gateway: &Name,
        topic_root: &str,
        clock: Clock,
    ) -> Result<MqttTarget, TargetError> {
        let topics = Topics::new(topic_root, gateway);
        let client_id = options.client_id.clone().unwrap_or_else(|| format!("{gateway}-{name}"));
        let connector = Connector::new(options, client_id, topics.state())?;
        let shape = match options.format {
            Format::Json => Shape::Rows,
            Format::Block => Shape::Blocks,
        };
        Ok(MqttTarget {
            window: Window::new(connector.in_flight, connector.keep_alive),
            connector,
            topics,
            status: TargetStatus::new(name, clock),
            suspicion: Suspicion::default(),
            pace: Pace::new(),
            backoff: Backoff::new(options.retry_longest),
            announcements: Announcements::default(),
            row_topics: None,
            shape,
            schema_refused: 0,
            said: true,
        })
    }

    /// Says what this feed gives too, beside rows. A broker that closes the connection over that twice gets no more of it.
    #[must_use]
    pub fn announcing(mut self, feed: Box<dyn AnnouncementFeed>) -> MqttTarget {
        self.announcements = Announcements::of(feed);
        self
    }

    /// Says that rows go to these topics, with `format = "json"`, and not just to those that every gateway has.
    #[must_use]
    pub fn on_topics(mut self, topics: RowTopics) -> MqttTarget {
        self.row_topics = Some(topics);
        self
    }

    /// A view of the target that lives on beside it.
    pub fn status(&self) -> TargetStatus {
        self.status.clone()
    }

    /// Sends what the cursor gives, for ever. Returns once `cancel` is called (or the store has been closed): what is on its
    /// way is waited for up to two seconds, `offline` is published, and the connection is closed. `store` is the one that the
    /// cursor is of.
    pub async fn run(mut self, store: Store, mut cursor: Cursor, cancel: CancellationToken) {
        let (format, fan) = (self.connector.options.format, self.row_topics.take());
        let mut composer = Composer::new(format, self.topics.clone(), fan, &store);
        while !cancel.is_cancelled() {
            self.status.connecting();
            let Some(Try { failure, ended }) = self.attempt(&mut cursor, &mut composer, &cancel).await else { break };
            self.report(&failure, ended);
            let pause = self.backoff.pause(ended, rand::random());
            let millis = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
            let until = self.status.time().as_millis().saturating_add(millis);
            self.status.backing_off(Timestamp::from_millis(until));
            tokio::select! {
                () = cancel.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.status.stopped();
    }

    /// One connection, from the first packet to the last. `None` when the gateway is stopping.
    async fn attempt(
        &mut self,
        cursor: &mut Cursor,
        composer: &mut Composer,
        cancel: &CancellationToken,
    ) -> Option<Try> {
        let connected = tokio::select! {
            () = cancel.cancelled() => return None,
            connected = self.connector.connect() => connected,
        };
        let connection = match connected {
            Ok(connection) => connection,
            Err(failure) => {
                self.status.not_connected();
                let refused = matches!(failure.kind, FailureKind::Refused | FailureKind::Version);
                return Some(Try { failure, ended: if refused { Ended::Refused } else { Ended::Useless } });
            }
        };
        self.status.online();
        self.report_online();
        let start = Instant::now();
        let around = Surroundings {
            connector: &self.connector,
            topics: &self.topics,
            composer,
            suspicion: &self.suspicion,
            window: &mut self.window,
            pace: &mut self.pace,
            announcements: &mut self.announcements,
            status: &self.status,
        };
        let session = session::run(connection, (cursor, self.shape), around, cancel).await;
        cursor.rewind();
        let failure = session.failure.clone()?;
        self.learn(&failure, &session, composer);
        let ended = match (session.progress, start.elapsed() >= HEALTHY) {
            (true, true) => Ended::Healthy,
            // Nothing was waiting for an acknowledgement: a quiet plant, not a broker that takes nothing.
            (false, true) if session.first.is_none() => Ended::Healthy,
            (true, false) => Ended::Short,
            (false, _) => Ended::Useless,
        };
        Some(Try { failure, ended })
    }

    /// What the end of a connection says about the message that was first in line.
    fn learn(&mut self, failure: &Failure, session: &session::Ended, composer: &mut Composer) {
        let first = session.first.as_ref();
        let mut divide = false;
        match failure.kind {
            FailureKind::Closed | FailureKind::MessageRefused => {
                if self.announcements.ended(session.announcement_first) {
                    tracing::warn!(
                        target_name = %self.status.name(), %failure,
                        "the broker closes the connection over states, alarms or figures of the gateway; from now on it gets rows alone; \
                         check the right to publish retained messages below the topic root"
                    );
                }
                if first.is_some() {
                    self.status.refused();
                }
                self.suspicion.closed_by_broker(first);
                self.schema_refused = if session.schema_first { self.schema_refused.saturating_add(1) } else { 0 };
                divide = self.suspicion.divides() || session.too_large;
            }
            FailureKind::Unacknowledged => {
                self.status.watchdog_reset();
                // A block that a thin link does not get across in time gets across in parts.
                divide = first.is_some_and(|first| first.divisible && first.bytes > LARGE);
            }
            _ => {}
        }
        if divide && composer.divide() {
            self.shape = Shape::Rows;
        }
    }

    /// One line per kind of trouble, not one per try: the counters and the status tell the rest.
    fn report(&mut self, failure: &Failure, ended: Ended) {
        let target_name = self.status.name();
        let news = self.status.failed(&failure.text);
        let tell = news || ended == Ended::Healthy;
        self.said |= tell;
        if self.suspicion.gap_refused() {
            tracing::error!(
                %target_name, %failure,
                "the broker closes the connection over a row and over its gap record too; nothing is dropped, everything \
                 waits; check the right to publish below the topic root"
            );
        } else if self.schema_refused >= SCHEMA_REFUSED {
            tracing::error!(
                %target_name, %failure,
                "the broker closes the connection over a schema; nothing is dropped, everything waits; check the right to \
                 publish retained messages below the topic root and the broker's largest message"
            );
        } else if !tell {
            tracing::debug!(%target_name, %failure, "no connection; trying again");
        } else if failure.kind.needs_a_person() {
            tracing::error!(%target_name, %failure, "no connection; rows wait in the store; trying again for ever");
        } else {
            tracing::warn!(%target_name, %failure, "no connection; rows wait in the store; trying again for ever");
        }
    }

    fn report_online(&mut self) {
        let (target_name, address) = (self.status.name(), self.connector.address());
        if std::mem::take(&mut self.said) {
            tracing::info!(%target_name, %address, "connected");
        } else {
            tracing::debug!(%target_name, %address, "connected");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_a_target_is_back_is_said_when_it_was_said_that_it_is_gone() {
        let clock = std::sync::Arc::new(|| Timestamp::from_millis(0));
        let (name, gateway) = ("cloud".parse().unwrap(), "line3".parse().unwrap());
        let mut target = MqttTarget::new(name, &Options::new("cloud", 1883), &gateway, "plant", clock).unwrap();
        target.report_online();
        assert!(!target.said);
        let failure = Failure::new(FailureKind::Closed, "gone");
        (0..3).for_each(|_| target.report(&failure, Ended::Useless));
        assert!(target.said, "although the later ones say nothing new");
        target.report_online();
        target.report(&failure, Ended::Short);
        assert!(!target.said, "a broker that comes and goes is no news");
    }
}
