//! `kind = "mqtt"`, `format = "json"`: rows as QoS 1 messages to an MQTT 3.1.1 broker.
//!
//! One task per target: connect, send what the cursor gives, move the cursor on each acknowledgement; when anything at all goes wrong,
//! throw the connection and its client away, rewind the cursor and begin anew after a pause. Nothing waits in rumqttc: it
//! forgets what it holds when the broker has forgotten the session.
//!
//! **Invariant:** a ticket is handed back on the acknowledgement of the very message that carried its row, or the gap record in
//! its place, and nowhere else (`Session::acknowledged`).
//! **Invariant:** there is no error after which a target stops trying.

mod connection;
mod failure;
mod flight;
mod message;
mod session;
mod suspicion;
mod tls;
mod window;

use std::time::Duration;

use tidegate_config::MqttTarget as Options;
use tidegate_model::{Name, Timestamp};
use tidegate_store::Cursor;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::{
    connection::Connector,
    failure::{Failure, FailureKind},
    message::Messages,
    session::Surroundings,
    suspicion::Suspicion,
    window::Window,
};
use crate::{
    Clock, TargetError, TargetStatus,
    backoff::{Backoff, Ended},
};

/// A connection that lasted this long was healthy: it is made again at once.
const HEALTHY: Duration = Duration::from_secs(10);

/// A target of `kind = "mqtt"`.
pub struct MqttTarget {
    connector: Connector,
    messages: Messages,
    status: TargetStatus,
    suspicion: Suspicion,
    window: Window,
    backoff: Backoff,
    /// Whether the last failure was worth a line in the log, so that the recovery is too.
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
        if let Some(tls) = &options.tls {
            tls::client_config(tls)?;
        }
        let messages = Messages::new(topic_root, gateway);
        let client_id = options.client_id.clone().unwrap_or_else(|| format!("{gateway}-{name}"));
        let connector = Connector::new(options, client_id, messages.state_topic());
        Ok(MqttTarget {
            window: Window::new(connector.in_flight, connector.keep_alive),
            connector,
            messages,
            status: TargetStatus::new(name, clock),
            suspicion: Suspicion::default(),
            backoff: Backoff::new(options.retry_longest),
            said: true,
        })
    }

    /// A view of the target that lives on beside it.
    pub fn status(&self) -> TargetStatus {
        self.status.clone()
    }

    /// Sends what the cursor gives, for ever. Returns once `cancel` is called (or the store has been closed): what is on its
    /// way is waited for up to two seconds, `offline` is published, and the connection is closed.
    pub async fn run(mut self, mut cursor: Cursor, cancel: CancellationToken) {
        while !cancel.is_cancelled() {
            self.status.connecting();
            let Some(Try { failure, ended }) = self.attempt(&mut cursor, &cancel).await else { break };
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
    async fn attempt(&mut self, cursor: &mut Cursor, cancel: &CancellationToken) -> Option<Try> {
        let status = self.status.clone();
        let time = || status.time();
        let connected = tokio::select! {
            () = cancel.cancelled() => return None,
            connected = self.connector.connect(&time) => connected,
        };
        let connection = match connected {
            Ok(connection) => connection,
            Err(failure) => {
                self.status.not_connected();
                let refused = failure.kind == FailureKind::Refused;
                return Some(Try { failure, ended: if refused { Ended::Refused } else { Ended::Useless } });
            }
        };
        self.status.online();
        self.report_online();
        let start = Instant::now();
        let around = Surroundings {
            connector: &self.connector,
            messages: &mut self.messages,
            suspicion: &self.suspicion,
            window: &mut self.window,
            status: &self.status,
        };
        let session = session::run(connection, cursor, around, cancel).await;
        cursor.rewind();
        let failure = session.failure?;
        if failure.kind == FailureKind::Closed {
            self.suspicion.closed_by_broker(session.first);
        }
        let ended = match (session.progress, start.elapsed() >= HEALTHY) {
            (true, true) => Ended::Healthy,
            // Nothing was waiting for an acknowledgement: a quiet plant, not a broker that takes nothing.
            (false, true) if session.first.is_none() => Ended::Healthy,
            (true, false) => Ended::Short,
            (false, _) => Ended::Useless,
        };
        Some(Try { failure, ended })
    }

    /// One line per kind of trouble, not one per try: the counters and the status tell the rest.
    fn report(&mut self, failure: &Failure, ended: Ended) {
        let target_name = self.status.name();
        let news = self.status.failed(&failure.text);
        self.said = news || ended == Ended::Healthy;
        if self.suspicion.gap_refused() {
            tracing::error!(
                %target_name, %failure,
                "the broker closes the connection over a row and over its gap record too; nothing is dropped, everything \
                 waits; check the right to publish below the topic root"
            );
        } else if !self.said {
            tracing::debug!(%target_name, %failure, "no connection; trying again");
        } else if failure.kind.needs_a_person() {
            tracing::error!(%target_name, %failure, "no connection; rows wait in the store; trying again for ever");
        } else {
            tracing::info!(%target_name, %failure, "no connection; rows wait in the store; trying again for ever");
        }
    }

    fn report_online(&self) {
        let (target_name, address) = (self.status.name(), &self.connector.peer.address);
        if self.said {
            tracing::info!(%target_name, %address, "connected");
        } else {
            tracing::debug!(%target_name, %address, "connected");
        }
    }
}
