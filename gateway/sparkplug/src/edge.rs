//! The edge node: what is to be published, in which order, and what is done with what comes.
//!
//! ```text
//!  will ── connected ── (primary host online?) ── NBIRTH, a DBIRTH for each device that is there ── DDATA …
//!            ▲                                          ▲        │ device comes, goes, changes: DBIRTH, DDEATH
//!            └──── host offline: NDEATH, new connection └────────┘ rebirth asked for
//! ```
//!
//! Births show what the [`Plant`] knows at that moment. Rows come from the store a little later, and not in order: those that are
//! older than what was published of a metric before are marked as historical, so that for a host its present value never goes back in time
//! and is never left behind.
//!
//! Rows of a device that is not there (it is dead, or gone from the site) are published between a birth without values and a death.

mod birth;
mod command;
mod data;
mod device;
mod gate;
mod left_out;
mod plant;

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use tidegate_model::{Name, Timestamp};

use self::{
    device::{Aliases, Entry, Life},
    gate::Gate,
    left_out::Limits,
};
use crate::{
    Id, Topic, Verb, payload,
    wire::{Metric, Payload},
};

pub use self::{
    command::{Command, Heard, Refused, Written},
    left_out::{LeftOut, What},
    plant::{Device, Latest, MetricInfo, Plant},
};

/// The metric with which a host asks for all births again.
pub const REBIRTH: &str = "Node Control/Rebirth";
/// The metric with the number of the connection, in NBIRTH and NDEATH.
pub(crate) const BD_SEQ: &str = "bdSeq";
/// The metric that says which rows will never come.
pub(crate) const GAP: &str = "Store/Gap";
/// The metric that says what program this is.
pub(crate) const SOFTWARE: &str = "Properties/Software";

/// Births that are asked for within this time after others are those others' only once it is over.
const REBIRTH_PAUSE: Duration = Duration::from_secs(2);
/// A device that does not answer is declared dead after this time: by then the rows that say so have passed.
const LAST_ROWS: Duration = Duration::from_secs(1);
/// Rows of a device that is not there keep it born for so long.
const PASSING: Duration = Duration::from_secs(5);
/// How often it is looked at which devices are there.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What an edge node is.
#[derive(Debug, Clone)]
pub struct EdgeOptions {
    /// Its group.
    pub group: Id,
    /// Its id within the group.
    pub node: Id,
    /// The host application without which nothing is published.
    pub primary_host: Option<Id>,
    /// What program this is (`Tidegate 0.1.0`), for hosts to show.
    pub software: String,
    /// Bytes of a payload, at most: larger ones are not sent. See [`EdgeNode::left_out`].
    pub largest: usize,
}

/// A moment, on the clock that only goes forward and on the clock of the wall.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For measuring time.
    pub at: Instant,
    /// For messages, and to compare with the times of rows.
    pub time: Timestamp,
}

/// A message to be published with QoS 0 and without retain; as a will, with QoS 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its topic.
    pub topic: String,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// The state machine of one edge node. One MQTT connection at a time is its.
pub struct EdgeNode {
    options: EdgeOptions,
    /// Number of the connection.
    bd_seq: u8,
    /// `seq` of the next message.
    seq: u8,
    phase: Phase,
    gate: Gate,
    /// When all births are due.
    births_due: Option<Instant>,
    /// They are due at once: nothing is published before them.
    stopped: bool,
    /// When they were made last in this connection.
    born_at: Option<Instant>,
    aliases: Aliases,
    gap_alias: u64,
    entries: HashMap<Name, Entry>,
    /// The devices of the plant, in its order.
    order: Vec<Name>,
    plant_version: Option<u64>,
    next_look: Option<Instant>,
    left_out: Vec<LeftOut>,
    limits: Limits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// There is no connection.
    Offline,
    /// There is one, and nothing has been published.
    Connected,
    /// The births are out.
    Born,
}

impl EdgeNode {
    /// An edge node without a connection, whose life begins now: no alias of it is one of an earlier life.
    pub fn new(options: EdgeOptions, now: Timestamp) -> EdgeNode {
        let mut aliases = Aliases::begin(now);
        EdgeNode {
            gate: Gate::new(options.primary_host.clone()),
            gap_alias: aliases.next(),
            limits: Limits::new(options.largest),
            options,
            bd_seq: 0,
            seq: 0,
            phase: Phase::Offline,
            births_due: None,
            stopped: false,
            born_at: None,
            aliases,
            entries: HashMap::new(),
            order: Vec::new(),
            plant_version: None,
            next_look: None,
            left_out: Vec::new(),
        }
    }

    /// Begins a connection with this number, which is one more than that of the one before, modulo 256. Gives its will.
    pub fn will(&mut self, bd_seq: u8, now: Now) -> Message {
        self.bd_seq = bd_seq;
        self.phase = Phase::Offline;
        (self.births_due, self.born_at, self.stopped) = (None, None, false);
        self.gate.disconnected();
        self.death(now)
    }

    /// The connection is there, and everything is subscribed to. Births follow at once, or when the primary host is there.
    pub fn connected(&mut self, now: Now) {
        self.phase = Phase::Connected;
        self.births_due = Some(now.at);
    }

    /// Topics to be subscribed to with QoS 1 before [`EdgeNode::run`], those of the devices included.
    pub fn filters(&self) -> Vec<String> {
        let (group, node) = (self.options.group.as_str(), self.options.node.as_str());
        let mut filters = vec![Topic::Node { verb: Verb::Command, group, node }.to_string()];
        filters.extend(self.gate.topic());
        let writable = self.order.iter().filter_map(|name| self.entries.get(name)).filter(|entry| entry.is_writable());
        filters.extend(writable.map(|entry| self.device_topic(Verb::Command, entry.name())));
        filters
    }

    /// Whether a look at the plant is due that may change [`EdgeNode::filters`].
    pub fn look(&mut self, plant: &dyn Plant) {
        if self.plant_version != Some(plant.version()) {
            self.take_over(plant);
        }
    }

    /// Publishes what is due: births, and births and deaths of devices that have come, changed or gone.
    pub fn run(&mut self, plant: &dyn Plant, now: Now, out: &mut Vec<Message>) {
        self.look(plant);
        if self.phase == Phase::Offline || !self.gate.is_open() {
            return;
        }
        self.try_limits(now);
        if self.births_due.is_some_and(|due| due <= now.at) {
            self.births(now, out);
            self.next_look = Some(now.at + LOOK_EVERY);
            return;
        }
        if self.phase == Phase::Born && self.next_look.is_none_or(|next| next <= now.at) {
            self.next_look = Some(now.at + LOOK_EVERY);
            self.follow_devices(now, out);
        }
    }

    /// When [`EdgeNode::run`] is to be called again, whatever happens.
    pub fn wake_at(&self) -> Option<Instant> {
        if self.phase == Phase::Offline || !self.gate.is_open() {
            return None;
        }
        [self.births_due, self.next_look].into_iter().flatten().min()
    }

    /// Whether rows may be published. Not before the births, not when all of them are to be made now, and not without the primary host.
    /// Births that are asked for too soon after others stop nothing until their time has come: a host that asks for ever gets rows too.
    pub fn may_publish(&self) -> bool {
        self.phase == Phase::Born && !self.stopped && self.gate.is_open()
    }

    /// Whether the connection waits for the primary host.
    pub fn waits_for_host(&self) -> bool {
        self.phase != Phase::Offline && !self.gate.is_open()
    }

    /// All births are to be made again: a message was left out, whose number hosts miss.
    pub fn births_again(&mut self, now: Now) {
        self.ask_for_births(now);
    }

    /// The last message of a connection that is ended on purpose; a DISCONNECT follows at once.
    pub fn farewell(&mut self, now: Now) -> Option<Message> {
        let born = self.phase == Phase::Born;
        self.phase = Phase::Offline;
        born.then(|| self.death(now))
    }

    fn death(&self, now: Now) -> Message {
        let (group, node) = (self.options.group.as_str(), self.options.node.as_str());
        let payload =
            Payload { timestamp: Some(millis(now.time)), metrics: vec![self.bd_seq(now)], ..Payload::default() };
        Message {
            topic: Topic::Node { verb: Verb::Death, group, node }.to_string(),
            payload: payload::encode(&payload),
        }
    }

    fn device_topic(&self, verb: Verb, device: &Name) -> String {
        let (group, node) = (self.options.group.as_str(), self.options.node.as_str());
        Topic::Device { verb, group, node, device: device.as_str() }.to_string()
    }

    /// A message of the node, or of one of its devices, with the next number.
    fn message(&mut self, verb: Verb, device: Option<&Name>, metrics: Vec<Metric>, now: Now) -> Message {
        let payload = self.payload(metrics, now);
        self.numbered(verb, device, &payload)
    }

    /// What the next message has in it.
    fn payload(&self, metrics: Vec<Metric>, now: Now) -> Payload {
        Payload { timestamp: Some(millis(now.time)), metrics, seq: Some(self.seq.into()), ..Payload::default() }
    }

    /// The message with this in it; the next one has another number.
    fn numbered(&mut self, verb: Verb, device: Option<&Name>, payload: &Payload) -> Message {
        self.seq = self.seq.wrapping_add(1);
        let topic = match device {
            Some(device) => self.device_topic(verb, device),
            None => {
                let (group, node) = (self.options.group.as_str(), self.options.node.as_str());
                Topic::Node { verb, group, node }.to_string()
            }
        };
        Message { topic, payload: payload::encode(payload) }
    }

    /// Births and deaths of devices that have come or gone.
    fn follow_devices(&mut self, now: Now, out: &mut Vec<Message>) {
        for name in self.order.clone() {
            self.follow(&name, now, out);
        }
        let gone = self.entries.values().filter(|entry| entry.is_gone() && entry.life() != Life::Unborn);
        let gone = gone.map(|entry| entry.name().clone()).collect::<Vec<_>>();
        for name in gone {
            self.follow(&name, now, out);
        }
    }

    fn follow(&mut self, name: &Name, now: Now, out: &mut Vec<Message>) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        match entry.step(now.at) {
            device::Step::None => {}
            device::Step::Birth => self.device_birth(name, now, out),
            device::Step::Death => out.push(self.message(Verb::Death, Some(name), Vec::new(), now)),
        }
    }
}

/// A time as messages carry it.
fn millis(time: Timestamp) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(0)
}
