//! A checked site: what the files say, typed, with the keys of drivers still in their tables.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use tidegate_model::Name;

use crate::{
    At, Bridge, Broker, ByteRate, ByteSize, Location, OpcUaServer, Origin, Profile, Secret, SparkplugTarget, Table,
    Topics,
};

/// A whole site.
#[derive(Debug)]
pub struct Site {
    /// `[gateway]`.
    pub gateway: Gateway,
    /// `[broker]`.
    pub broker: Broker,
    /// `[store]`.
    pub store: Store,
    /// `[web]`.
    pub web: Web,
    /// `[[link]]` with the devices behind each.
    pub links: Vec<Link>,
    /// `[topics]`.
    pub topics: Topics,
    /// `[[target]]`.
    pub targets: Vec<Target>,
    /// `[[bridge]]`.
    pub bridges: Vec<Bridge>,
    /// Every profile that was read: those that devices use, and with [`Profiles::All`](crate::Profiles::All) all others too.
    pub profiles: Vec<Arc<Profile>>,
    /// Every file that was read: the site file first, its includes, then the profiles.
    pub files: Vec<PathBuf>,
}

/// `[gateway]`.
#[derive(Debug, Clone)]
pub struct Gateway {
    /// Unique in the company.
    pub id: Name,
    /// Where the store and everything else that must survive a restart is; relative to the site file's folder.
    pub data_dir: PathBuf,
    /// Folders of profiles, searched in this order; relative to the site file's folder.
    pub profiles: Vec<PathBuf>,
    /// `[gateway.location]`: where the machines stand that say nothing of their own.
    pub location: Location,
}

/// `[store]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Store {
    /// A sample waits at most this long for its fsync.
    pub commit: Duration,
    /// Rows older than this are dropped.
    pub max_age: Duration,
    /// When the store is larger than this, `when_full` says what happens.
    pub max_size: ByteSize,
    /// What happens when the store is full.
    pub when_full: WhenFull,
}

/// `when_full`: what the store does at `max_size`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// The oldest rows go, with a gap record for each target that had not got them.
    DropOldest,
    /// Of the oldest rows alarms stay, and of each minute the extremes and the last; the rest goes, with gap records.
    Thin,
    /// The oldest rows stay and new ones are refused, with gap records.
    Block,
}

/// `[web]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Web {
    /// The page, the interface and the metrics.
    pub listen: SocketAddr,
}

/// `[[link]]`: one connection or bus and the devices behind it.
#[derive(Debug)]
pub struct Link {
    /// The link.
    pub name: Name,
    /// Where the link stands.
    pub origin: Origin,
    /// Name of the driver (`modbus-tcp`); whether there is one is not known here.
    pub driver: At<String>,
    /// `id` of the gateway, for a driver whose protocol has a name for whoever asks.
    pub gateway: Name,
    /// `data_dir` of the gateway, for a driver that has to keep something over a restart (certificates).
    pub data_dir: PathBuf,
    /// How long the driver waits for one answer.
    pub timeout: Duration,
    /// How long the driver waits for the connection.
    pub connect_timeout: Duration,
    /// First and longest time between two tries to reach what does not answer.
    pub retry: Retry,
    /// All keys of the link; the driver takes its own (`address`, `port`) and then calls [`Table::finish`].
    pub table: Table,
    /// The devices behind the link, in the order of the files.
    pub devices: Vec<Device>,
}

/// `retry = { first = "1s", longest = "60s" }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Time before the first try; doubled after each that fails.
    pub first: Duration,
    /// The time is never longer than this.
    pub longest: Duration,
}

/// `[[device]]`: one machine behind a link.
#[derive(Debug)]
pub struct Device {
    /// The device.
    pub name: Name,
    /// Where the device stands.
    pub origin: Origin,
    /// All keys of the device; the driver takes its own (`unit`) and then calls [`Table::finish`].
    pub table: Table,
    /// What the device is; shared by all devices of the model.
    pub profile: Arc<Profile>,
    /// Where it stands, as far as that differs from the gateway's.
    pub location: Location,
    /// Interval of each group of the profile, with the device's own overrides applied; by the profile's group index.
    pub intervals: Vec<Duration>,
}

/// `[[target]]`: a northbound destination.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// The target; its cursor in the store has this name.
    pub name: Name,
    /// Where a target without a cursor begins.
    pub start: StartAt,
    /// The name it had before: its cursor is moved from there to the new name, once.
    pub was: Option<Name>,
    /// What it is.
    pub kind: TargetKind,
}

/// `start`: where a new target begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAt {
    /// With the first row after it was configured.
    Now,
    /// With the oldest row in the store.
    Oldest,
}

/// `kind` and the keys of that kind.
#[derive(Debug, Clone, PartialEq)]
pub enum TargetKind {
    /// `kind = "mqtt"`.
    Mqtt(MqttTarget),
    /// `kind = "mqtt"` with `format = "sparkplug_b"`.
    Sparkplug(SparkplugTarget),
    /// `kind = "opcua-server"`.
    OpcUaServer(OpcUaServer),
}

/// `kind = "mqtt"`.
#[derive(Debug, Clone, PartialEq)]
pub struct MqttTarget {
    /// Host of `url`.
    pub host: String,
    /// Port of `url`; 1883 or 8883 when it has none.
    pub port: u16,
    /// Present when `url` begins with `mqtts://`.
    pub tls: Option<Tls>,
    /// The version of MQTT that is spoken.
    pub protocol: MqttVersion,
    /// Client id; the gateway's id and the target's name unless set.
    pub client_id: Option<String>,
    /// User name and password.
    pub login: Option<(String, Secret)>,
    /// What the messages are.
    pub format: Format,
    /// The topics that rows go to; of `format = "json"`.
    pub topics: RowTopics,
    /// How long a row may wait for others to share its block; of `format = "block"`.
    pub batch: Duration,
    /// What the backlog may take of the connection.
    pub backfill: Backfill,
    /// Keep-alive of the connection.
    pub keep_alive: Duration,
    /// How long the oldest message may stay without an acknowledgement before the connection is given up.
    pub ack_timeout: Duration,
    /// How long the broker has to live on after an acknowledgement before that counts.
    pub settle: Duration,
    /// Messages sent and not yet acknowledged, at most.
    pub in_flight: u16,
    /// Longest time between two tries to connect.
    pub retry_longest: Duration,
}

impl MqttTarget {
    /// The target at this address, without TLS and login, and with the default of every other key.
    pub fn new(host: impl Into<String>, port: u16) -> MqttTarget {
        MqttTarget {
            host: host.into(),
            port,
            tls: None,
            protocol: MqttVersion::V311,
            client_id: None,
            login: None,
            format: Format::Json,
            topics: RowTopics::default(),
            batch: Duration::from_millis(250),
            backfill: Backfill { share: 0.5, max_rate: None, max_values: 1_000_000 },
            keep_alive: Duration::from_secs(30),
            ack_timeout: Duration::from_secs(30),
            settle: Duration::ZERO,
            in_flight: 100,
            retry_longest: Duration::from_secs(10),
        }
    }
}

/// `topics`: the topics that a target's rows go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowTopics {
    /// Whether to those that every gateway has: one for each group.
    pub standard: bool,
    /// The templates whose topics they go to.
    pub templates: Vec<Name>,
}

impl Default for RowTopics {
    fn default() -> RowTopics {
        RowTopics { standard: true, templates: Vec::new() }
    }
}

/// `protocol`: the version of MQTT that a broker is spoken to in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MqttVersion {
    /// MQTT 3.1.1, which every broker speaks.
    V311,
    /// MQTT 5: the broker says how large a message may be, and why it refuses one.
    V5,
}

impl MqttVersion {
    /// The word in the file: `3.1.1` or `5`.
    pub fn as_str(self) -> &'static str {
        match self {
            MqttVersion::V311 => "3.1.1",
            MqttVersion::V5 => "5",
        }
    }
}

/// `format`: what a target's messages are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One row a message, as JSON, on a topic for each group.
    Json,
    /// Blocks of many rows, a few streams a message, on one topic.
    Block,
}

impl Format {
    /// The word in the file: `json` or `block`.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::Block => "block",
        }
    }
}

/// `backfill = { share = 0.5, max_rate = "200KiB/s", max_values = 200000 }`: what the backlog may take of a target's connection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backfill {
    /// Part of the bytes sent, 0.05 to 1, while live rows and backlog both wait to be sent.
    pub share: f64,
    /// Bytes of backlog a second, at most.
    pub max_rate: Option<ByteRate>,
    /// Values of backlog a second, at most: so that those who unpack them behind the broker keep up, and live rows do not wait there.
    pub max_values: u32,
}

/// TLS of a target.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tls {
    /// PEM file of the authorities to trust; the system's own unless set.
    pub ca: Option<PathBuf>,
    /// PEM files of the client's certificate chain and key.
    pub client: Option<(PathBuf, PathBuf)>,
}
