//! `kind = "mqtt"` with `format = "sparkplug_b"`: the gateway as an edge node of Sparkplug B.
//!
//! What is published and in which order is decided by `tidegate_sparkplug::EdgeNode`; here are the connections, the cursor and the
//! commands. The specification has data published with QoS 0, which nobody acknowledges. So a ping follows it: a broker
//! reads what a connection brings in its order, and answers the ping when it has read all that was sent before. Only then the
//! cursor moves. What was not followed by an answered ping when a connection ends is sent again after the next births, marked as
//! historical where it is not news any more. `docs/decisions/0010-sparkplug-delivery.md` says what that proves and what not.
//!
//! **Invariant:** a ticket is handed back when a ping that was sent after the messages with its rows was answered, and nowhere else
//! (`Session::settle`).
//! **Invariant:** there is no error after which a target stops trying.

mod connection;
mod flight;
mod number;
mod orders;
mod session;
mod subscriptions;
mod suspicion;

use std::{path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use tidegate_config::SparkplugTarget as Options;
use tidegate_model::{Name, Timestamp};
use tidegate_mqtt::{Backoff, Ended, Failure, FailureKind};
use tidegate_sparkplug::{Command, EdgeNode, EdgeOptions, Id, Now, Plant, Topic, Verb, Written};
use tidegate_store::{Cursor, Store};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::{
    connection::Connections,
    flight::Window,
    number::Number,
    session::{Close, Failed},
    suspicion::{Remedy, Sent, Subject, Suspicion},
};
use crate::{Clock, TargetError, TargetStatus};

/// A connection that lasted this long was healthy: it is made again at once.
const HEALTHY: Duration = Duration::from_secs(10);

/// Carries out a command; the answer comes when the device has.
pub type CommandPath = Arc<dyn Fn(Command) -> Pin<Box<dyn Future<Output = Written> + Send>> + Send + Sync>;

/// What a target has to be given of the gateway.
pub struct EdgeGateway {
    /// The devices and their values.
    pub plant: Arc<dyn Plant>,
    /// The way for commands.
    pub commands: CommandPath,
    /// The folder in which the number of the last connection is kept.
    pub folder: PathBuf,
}

/// A target with `format = "sparkplug_b"`.
pub struct SparkplugTarget {
    connections: Connections,
    node: EdgeNode,
    primary_host: Option<String>,
    status: TargetStatus,
    backoff: Backoff,
    window: Window,
    suspicion: Suspicion,
    options: Options,
    /// Whether the last failure was worth a line in the log, so that the recovery is too.
    said: bool,
}

impl SparkplugTarget {
    /// The target `name` of `gateway`; `software` is what hosts are told (`Tidegate 0.1.0`). `clock` tells the time of the rows.
    ///
    /// Reads the certificate files, so that a wrong path is found now and not at the first connection.
    ///
    /// # Errors
    ///
    /// [`TargetError`] when the certificates or the key cannot be used, or an id cannot stand in a topic.
    pub fn new(
        name: Name,
        options: &Options,
        gateway: &Name,
        software: &str,
        clock: Clock,
    ) -> Result<SparkplugTarget, TargetError> {
        let id = |key: &'static str, text: &str| {
            text.parse::<Id>().map_err(|why| TargetError::Id { key, why: why.to_string() })
        };
        let ids = &options.ids;
        let edge_node = ids.edge_node.as_deref().unwrap_or(gateway.as_str());
        let options_of_node = EdgeOptions {
            group: id("group_id", &ids.group)?,
            node: id("edge_node_id", edge_node)?,
            primary_host: ids.primary_host.as_deref().map(|host| id("primary_host", host)).transpose()?,
            software: software.to_owned(),
            largest: connection::LARGEST_PAYLOAD,
        };
        let node = EdgeNode::new(options_of_node, clock());
        let client_id = options.connection.client_id.clone().unwrap_or_else(|| format!("{gateway}-{name}"));
        Ok(SparkplugTarget {
            connections: Connections::new(&options.connection, client_id)?,
            node,
            primary_host: ids.primary_host.clone(),
            status: TargetStatus::new(name, clock),
            backoff: Backoff::new(options.connection.retry_longest),
            window: Window::default(),
            suspicion: Suspicion::default(),
            options: options.clone(),
            said: true,
        })
    }

    /// A view of the target that lives on beside it.
    pub fn status(&self) -> TargetStatus {
        self.status.clone()
    }

    /// Publishes what the cursor gives, for ever. Returns once `cancel` is called (or the store has been closed): what is on its
    /// way is waited for up to two seconds, the node says that it is going, and the connection is closed. `store` is the one that the
    /// cursor is of.
    pub async fn run(mut self, gateway: EdgeGateway, store: Store, mut cursor: Cursor, cancel: CancellationToken) {
        let mut number = Number::open(&gateway.folder, self.status.name()).await;
        while !cancel.is_cancelled() {
            self.status.connecting();
            let Some((failure, ended)) = self.attempt(&gateway, &mut number, &mut cursor, &cancel).await else { break };
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
        drop(store);
        self.status.stopped();
    }

    /// One connection, from its will to its end. `None` when the gateway is stopping.
    async fn attempt(
        &mut self,
        gateway: &EdgeGateway,
        number: &mut Number,
        cursor: &mut Cursor,
        cancel: &CancellationToken,
    ) -> Option<(Failure, Ended)> {
        let bd_seq = number.next(&self.status).await;
        let now = now(&self.status);
        let will = self.node.will(bd_seq, now);
        let connected = tokio::select! {
            () = cancel.cancelled() => return None,
            connected = self.connections.connect(will) => connected,
        };
        let connection = match connected {
            Ok(connection) => connection,
            Err(failure) => {
                self.status.not_connected();
                let refused = matches!(failure.kind, FailureKind::Refused | FailureKind::Version);
                return Some((failure, if refused { Ended::Refused } else { Ended::Useless }));
            }
        };
        self.status.online();
        self.report_online();
        let start = Instant::now();
        let around = session::Around {
            address: self.connections.address(),
            node: &mut self.node,
            gateway,
            window: &mut self.window,
            suspicion: &mut self.suspicion,
            status: &self.status,
            options: &self.options.connection,
            primary_host: self.primary_host.as_deref(),
        };
        let close = session::run(connection, cursor, around, cancel).await;
        cursor.rewind();
        match close {
            Close::Stopping => None,
            Close::HostGone => Some((self.host_gone(), Ended::Healthy)),
            Close::Failed(Failed { failure, progress, unread }) => {
                if matches!(failure.kind, FailureKind::Closed | FailureKind::MessageRefused) {
                    self.learn(&unread);
                }
                let ended = match (progress, start.elapsed() >= HEALTHY) {
                    (_, true) => Ended::Healthy,
                    (true, false) => Ended::Short,
                    (false, false) => Ended::Useless,
                };
                Some((failure, ended))
            }
        }
    }

    /// What the end of a connection says about what was on its way.
    fn learn(&mut self, unread: &[Sent]) {
        if unread.iter().any(|sent| matches!(sent.subject, Subject::Rows(_))) {
            self.status.refused();
        }
        self.suspicion.closed_by_broker(unread);
        if self.suspicion.divides_rows() {
            self.node.pack_less();
        }
        match self.suspicion.remedy() {
            Some(Remedy::Smaller(topic, bytes)) => {
                if let Some(device) = device_birth(&topic) {
                    self.node.limit_birth(device, bytes / 2, now(&self.status));
                }
            }
            Some(Remedy::TooLarge { found, most }) => {
                self.node.limit(most, now(&self.status));
                tracing::error!(
                    target_name = %self.status.name(), bytes = found,
                    "the broker closes the connection over a row of that size; for an hour at first nothing about as large is sent to \
                     it, then it is tried again; gaps take the place of such rows, which stay in the store; make the broker's largest message larger"
                );
            }
            Some(Remedy::NotIt) => self.node.unlimited(),
            Some(Remedy::Replaced) | None => {}
        }
    }

    fn host_gone(&self) -> Failure {
        let host = self.primary_host.as_deref().unwrap_or_default();
        let text = format!("the primary host \"{host}\" is offline; rows wait in the store until it is back");
        Failure::new(FailureKind::Closed, text)
    }

    /// One line per kind of trouble, not one per try: the counters and the status tell the rest.
    fn report(&mut self, failure: &Failure, ended: Ended) {
        let target_name = self.status.name();
        let news = self.status.failed(&failure.text);
        let loud = news || ended == Ended::Healthy;
        // Until the recovery has been told.
        self.said |= loud;
        let is_device_birth =
            |subject: &&Subject| matches!(subject, Subject::Message(topic) if device_birth(topic).is_some());
        if let Some(subject) = self.suspicion.is_stuck().filter(|subject| !is_device_birth(subject)) {
            tracing::error!(
                %target_name, %failure, what = %subject,
                "the broker closes the connection over this whenever it is sent; nothing is dropped, everything waits; check the right to \
                 publish below spBv1.0 and the broker's largest message"
            );
        } else if !loud {
            tracing::debug!(%target_name, %failure, "no connection; trying again");
        } else if failure.kind.needs_a_person() {
            tracing::error!(%target_name, %failure, "no connection; rows wait in the store; trying again for ever");
        } else {
            tracing::warn!(%target_name, %failure, "no connection; rows wait in the store; trying again for ever");
        }
    }

    fn report_online(&mut self) {
        let (target_name, address) = (self.status.name(), self.connections.address());
        if std::mem::take(&mut self.said) {
            tracing::info!(%target_name, %address, "connected");
        } else {
            tracing::debug!(%target_name, %address, "connected");
        }
    }
}

/// The device whose birth has this topic.
fn device_birth(topic: &str) -> Option<&str> {
    match Topic::parse(topic) {
        Some(Topic::Device { verb: Verb::Birth, device, .. }) => Some(device),
        _ => None,
    }
}

/// This moment.
fn now(status: &TargetStatus) -> Now {
    Now { at: Instant::now().into_std(), time: status.time() }
}
