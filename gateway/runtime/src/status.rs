//! The state of the gateway at one moment, for the interface, the metrics and the sys topics.

mod broker;

use serde::Serialize;

pub use self::broker::{BridgeStatus, BrokerDisk, BrokerStatus, ListenerStatus};

use crate::counters::LatencySnapshot;

/// Everything there is to know about a running gateway.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// The gateway's id.
    pub id: String,
    /// Version of the program.
    pub version: &'static str,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// Whether nothing needs a person: the store can write.
    pub healthy: bool,
    /// What needs a person, if something does.
    pub problems: Vec<String>,
    /// What will need a person soon: certificates that expire.
    pub notices: Vec<String>,
    /// How often the system clock was set since the start.
    pub clock_steps: u64,
    /// The links in the order of the site.
    pub links: Vec<LinkStatus>,
    /// The targets in the order of the site.
    pub targets: Vec<TargetStatus>,
    /// The store.
    pub store: StoreStatus,
    /// The local broker.
    pub broker: BrokerStatus,
    /// The bridges from it to others.
    pub bridges: Vec<BridgeStatus>,
}

/// What a link is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// A connection is being made.
    Connecting,
    /// Connected.
    Online,
    /// Waiting before the next try.
    BackingOff,
    /// Not connected, because there is nothing to do: no device, nothing due, or every device is left alone for a while.
    Idle,
}

/// One link.
#[derive(Debug, Clone, Serialize)]
pub struct LinkStatus {
    /// The link.
    pub name: String,
    /// Its driver.
    pub driver: String,
    /// What it is doing.
    pub state: LinkState,
    /// Since when, Unix milliseconds.
    pub since: i64,
    /// When the next try to connect is, Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_try: Option<i64>,
    /// What went wrong last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Sessions opened.
    pub connects: u64,
    /// Tries that failed.
    pub connect_failures: u64,
    /// Requests answered or failed.
    pub requests: u64,
    /// Polls made.
    pub polls: u64,
    /// Rows that came without being asked for.
    pub arrivals: u64,
    /// Polls in which the device did not answer.
    pub failed_polls: u64,
    /// Slots that passed without a poll.
    pub missed_slots: u64,
    /// Rows made.
    pub rows: u64,
    /// Values in these rows.
    pub values: u64,
    /// Bytes of these rows as JSON.
    pub payload_bytes: u64,
    /// Writes sent.
    pub writes: u64,
    /// Writes that were not confirmed.
    pub failed_writes: u64,
    /// Sessions that ended, by cause.
    pub lost: Lost,
    /// How long requests took.
    #[serde(skip)]
    pub latency: LatencySnapshot,
    /// The devices behind the link.
    pub devices: Vec<DeviceStatus>,
}

/// Sessions that ended, by cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Lost {
    /// No answer in time.
    pub timeout: u64,
    /// Closed by the other side, or broken.
    pub closed: u64,
    /// An answer that did not belong to the question.
    pub mismatch: u64,
    /// Something that is no message of the protocol.
    pub malformed: u64,
}

/// What a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceState {
    /// It answers, and every tag has a value.
    Online,
    /// It answers, but not for every tag.
    Degraded,
    /// It does not answer.
    Offline,
}

/// One device.
#[derive(Debug, Clone, Serialize)]
pub struct DeviceStatus {
    /// The device.
    pub name: String,
    /// Its profile.
    pub profile: String,
    /// What it is; `None` until the first poll has ended.
    pub state: Option<DeviceState>,
    /// Why it is not online.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// Since when, Unix milliseconds.
    pub since: i64,
    /// When a device that is left alone is tried again, Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_try: Option<i64>,
    /// Polls made.
    pub polls: u64,
    /// Rows that came without being asked for.
    pub arrivals: u64,
    /// Polls in which it did not answer.
    pub failed_polls: u64,
    /// Slots that passed without a poll.
    pub missed_slots: u64,
    /// Rows made.
    pub rows: u64,
}

/// One target.
#[derive(Debug, Clone, Serialize, Default)]
pub struct TargetStatus {
    /// The target.
    pub name: String,
    /// `connecting`, `online` or `backing_off`.
    pub state: String,
    /// Since when, Unix milliseconds.
    pub since: i64,
    /// When the next try to connect is, Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_try: Option<i64>,
    /// What went wrong last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// When that was, Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error_at: Option<i64>,
    /// Rows sent, those sent again counted again.
    pub sent: u64,
    /// Rows acknowledged by the other side.
    pub acknowledged: u64,
    /// Bytes of payload sent.
    pub bytes: u64,
    /// Connections that were made after the first.
    pub reconnects: u64,
    /// Tries to connect that failed.
    pub connect_failures: u64,
    /// Messages sent and not yet acknowledged.
    pub in_flight: u64,
    /// Bytes of their payloads.
    pub in_flight_bytes: u64,
    /// Rows committed since the connection was made that have been read for it and are not acknowledged.
    pub live_rows: u64,
    /// Rows that wait and are not live.
    pub backlog_rows: u64,
    /// Bytes of live rows sent a second.
    pub live_rate: u64,
    /// Bytes of backlog sent a second.
    pub backlog_rate: u64,
    /// Connections given up because the oldest message got no acknowledgement.
    pub watchdog_resets: u64,
    /// Connections that the other side closed while a message with rows was on its way.
    pub refused: u64,
    /// Rows that the other side does not take, announced to it as gaps.
    pub left_out: u64,
    /// The cursor: time of the row that was acknowledged last, Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<i64>,
    /// Rows that wait in the store.
    pub waiting_rows: u64,
    /// Bytes that they take there, about: their share of the store.
    pub waiting_bytes: u64,
    /// The part of these bytes that is for the rows of the live lane.
    pub live_bytes: u64,
    /// The part that is for all others.
    pub backlog_bytes: u64,
    /// Time of the oldest row that waits, Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_waiting: Option<i64>,
    /// Time of the oldest row of the live lane that is not acknowledged, Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_live: Option<i64>,
    /// Time of the oldest of all others, Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_backlog: Option<i64>,
    /// Gap records that it has not acknowledged.
    pub gaps: u64,
    /// Of a target that is a server: who is connected to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerStatus>,
}

/// A target to which others come.
#[derive(Debug, Clone, Serialize, Default)]
pub struct ServerStatus {
    /// Where it listens.
    pub address: String,
    /// Open connections, also those over which nobody has logged in.
    pub connections: u32,
    /// Most connections at the same time, since the start.
    pub connections_high: u32,
    /// Clients that are connected and logged in.
    pub sessions: u32,
    /// Most of them at the same time.
    pub sessions_high: u32,
    /// Subscriptions that have items.
    pub subscriptions: u32,
    /// Most of them at the same time.
    pub subscriptions_high: u32,
    /// Items that clients monitor.
    pub monitored_items: u32,
    /// Most of them at the same time.
    pub monitored_items_high: u32,
    /// Connections and logins turned away because there were too many.
    pub refused: u64,
    /// Values sent because they changed.
    pub values_sent: u64,
    /// Values that took the place of one that was not fetched, in queues of more than one.
    pub overflows: u64,
}

/// The store.
#[derive(Debug, Clone, Serialize, Default)]
pub struct StoreStatus {
    /// Number of this start of the gateway on this database: higher than that of each start before, mostly by one.
    pub boot: u64,
    /// Rows on disk.
    pub rows: u64,
    /// Bytes that they take there; compared with `max_size`.
    pub bytes: u64,
    /// Bytes of the files.
    pub file_bytes: u64,
    /// Rows committed since the start.
    pub rows_committed: u64,
    /// Bytes of these rows, compressed.
    pub bytes_committed: u64,
    /// Transactions written.
    pub commits: u64,
    /// Times the disk was asked to make data durable.
    pub fsyncs: u64,
    /// Stretches of the log whose rows are in blocks.
    pub epochs: u64,
    /// Blocks.
    pub blocks: u64,
    /// Rows in them.
    pub block_rows: u64,
    /// Rows that wait to be moved into blocks.
    pub fresh_rows: u64,
    /// Bytes of these rows, compressed.
    pub fresh_bytes: u64,
    /// The time between the oldest and the newest of them, in seconds.
    pub fresh_seconds: f64,
    /// Rows that wait for their commit.
    pub pending_rows: u64,
    /// Bytes of memory that they take, about.
    pub pending_bytes: u64,
    /// The most that `pending_bytes` has been.
    pub pending_bytes_high: u64,
    /// Rows dropped that some target had not got; a gap record tells of them.
    pub dropped: Dropped,
    /// Time of the oldest row, Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest: Option<i64>,
    /// Why the store cannot write, if it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing: Option<String>,
    /// The longest that a commit took.
    pub longest_commit_ms: f64,
    /// The time that all commits took together.
    pub commit_seconds: f64,
}

/// Rows dropped, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Dropped {
    /// They could not be written and memory was full.
    pub disk_failing: u64,
    /// They were older than `max_age`.
    pub too_old: u64,
    /// The store had reached `max_size`.
    pub store_full: u64,
    /// The store was nearly full, and they were neither alarms nor extremes of their minute.
    pub thinned: u64,
    /// They could not be read back.
    pub damaged: u64,
}
