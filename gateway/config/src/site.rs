//! A checked site: what the files say, typed, with the keys of drivers still in their tables.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use tidegate_model::{Name, TagName, Value};

use crate::{At, ByteSize, Origin, Secret, Table};

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
    /// `[[target]]`.
    pub targets: Vec<Target>,
}

/// `[gateway]`.
#[derive(Debug, Clone)]
pub struct Gateway {
    /// Unique in the company.
    pub id: Name,
    /// Where the store and everything else that must survive a restart is; relative to the site file's folder.
    pub data_dir: PathBuf,
}

/// `[broker]`: the local MQTT broker.
#[derive(Debug, Clone, PartialEq)]
pub struct Broker {
    /// Plain MQTT.
    pub listen: SocketAddr,
    /// First level of all topics.
    pub topic_root: String,
    /// Whether each tag has a retained topic of its own.
    pub tag_topics: bool,
    /// Who may connect. Without any, whoever reaches a loopback listener may do everything.
    pub users: Vec<BrokerUser>,
}

/// `[[broker.user]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct BrokerUser {
    /// The user name of the CONNECT packet.
    pub name: String,
    /// The password of the CONNECT packet.
    pub password: Secret,
    /// Topic filters that the user may publish to.
    pub publish: Vec<String>,
    /// Topic filters that the user may subscribe to (also with narrower filters).
    pub subscribe: Vec<String>,
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
    /// Interval of each group of the profile, with the device's own overrides applied; by the profile's group index.
    pub intervals: Vec<Duration>,
}

/// A device profile: what a model can be asked, with no site address in it.
#[derive(Debug)]
pub struct Profile {
    /// The path it is named by (`eastron/sdm630`).
    pub path: String,
    /// Where the profile begins.
    pub origin: Origin,
    /// Who makes the device.
    pub manufacturer: String,
    /// The maker's name for it.
    pub model: String,
    /// The protocol family (`modbus`); a driver says which family it speaks.
    pub driver: At<String>,
    /// Version of the profile.
    pub version: u32,
    /// `[quirks]`: what this model cannot do. The driver takes its keys and then calls [`Table::finish`].
    pub quirks: Table,
    /// The groups with their tags.
    pub groups: Vec<Group>,
}

/// `[[group]]` and its tags, in the order of the file. The index of a tag here is its column in the group's stream.
#[derive(Debug)]
pub struct Group {
    /// The group.
    pub name: Name,
    /// Where the group stands.
    pub origin: Origin,
    /// Time between two polls.
    pub interval: Duration,
    /// When a row is made.
    pub report: ReportWhen,
    /// Column of the tag that holds the device's own time, and what it counts.
    pub device_time: Option<(usize, DeviceTimeUnit)>,
    /// The tags of the group.
    pub tags: Vec<Tag>,
}

/// `report`: when a poll becomes a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportWhen {
    /// Every poll gives a row (tags within their deadband are left out of it).
    Always,
    /// Only what changed is reported; a poll without a change gives no row.
    OnChange,
}

/// `device_time_unit`: what the device's clock tag counts since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceTimeUnit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Millis,
}

/// `[[tag]]`.
#[derive(Debug)]
pub struct Tag {
    /// The tag.
    pub name: TagName,
    /// Where the tag stands.
    pub origin: Origin,
    /// What a person should know about it.
    pub description: Option<String>,
    /// The unit of the delivered value.
    pub unit: Option<String>,
    /// Where the value comes from.
    pub source: TagSource,
    /// From the device's number to the delivered one.
    pub scaling: Option<At<Scaling>>,
    /// Texts of an enumeration by the device's number.
    pub texts: Option<At<Vec<(i64, String)>>>,
    /// Outside of this the quality is uncertain.
    pub range: Option<At<Range>>,
    /// Smaller changes are not reported.
    pub deadband: Option<At<Deadband>>,
    /// Who may do what with it.
    pub access: Access,
    /// Smallest value that may be written.
    pub minimum: Option<At<f64>>,
    /// Largest value that may be written.
    pub maximum: Option<At<f64>>,
}

/// Where a tag's value comes from.
#[derive(Debug)]
pub enum TagSource {
    /// The device. All keys of the tag (with the profile's defaults); the driver takes its own and then calls [`Table::finish`].
    Device(Table),
    /// `value = …`: always this.
    Constant(Value),
    /// `expr = "…"`: calculated from other tags of the same group.
    Expression(At<String>),
}

/// `scale` and `offset`: delivered = raw * scale + offset.
#[derive(Debug, Clone, PartialEq)]
pub struct Scaling {
    /// Decimal text of the factor as it was written (`0.1`), so that a stage can work with exact decimals.
    pub scale: String,
    /// Decimal text of the summand as it was written.
    pub offset: String,
}

/// `range = { low = …, high = … }`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// Lowest plausible value.
    pub low: f64,
    /// Highest plausible value.
    pub high: f64,
}

/// `deadband = { absolute = … }` or `{ percent = … }` (of the range's span), with `max_silence`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Deadband {
    /// How far a value has to move from the last reported one to be reported.
    pub threshold: Threshold,
    /// Even an unmoved value is reported after this time.
    pub max_silence: Option<Duration>,
}

/// How a deadband is measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Threshold {
    /// In the unit of the tag.
    Absolute(f64),
    /// In percent of `range.high - range.low`.
    PercentOfSpan(f64),
}

/// `access`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Polled, never written.
    Read,
    /// Polled and written.
    ReadWrite,
    /// Written, never polled (a reset command).
    Write,
}

/// `[[target]]`: a northbound destination.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// The target; its cursor in the store has this name.
    pub name: Name,
    /// Where a target without a cursor begins.
    pub start: StartAt,
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
}

/// `kind = "mqtt"`, `format = "json"`.
#[derive(Debug, Clone, PartialEq)]
pub struct MqttTarget {
    /// Host of `url`.
    pub host: String,
    /// Port of `url`; 1883 or 8883 when it has none.
    pub port: u16,
    /// Present when `url` begins with `mqtts://`.
    pub tls: Option<Tls>,
    /// Client id; the gateway's id and the target's name unless set.
    pub client_id: Option<String>,
    /// User name and password.
    pub login: Option<(String, Secret)>,
    /// Keep-alive of the connection.
    pub keep_alive: Duration,
    /// Messages sent and not yet acknowledged, at most.
    pub in_flight: u16,
    /// Longest time between two tries to connect.
    pub retry_longest: Duration,
}

/// TLS of a target.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tls {
    /// PEM file of the authorities to trust; the system's own unless set.
    pub ca: Option<PathBuf>,
    /// PEM files of the client's certificate chain and key.
    pub client: Option<(PathBuf, PathBuf)>,
}
