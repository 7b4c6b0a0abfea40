//! The host application: what edge nodes say, taken together.
//!
//! Births say which metrics there are, under which names and aliases; data is read by them. The numbers of the messages of a node go
//! from 0 to 255 in a circle: where one is missing, those behind it wait for it for a while, then all births are asked for.
//! What came is taken all the same: its aliases are still those of the birth.
//!
//! Unlike streams of our own, a hole can be seen only among messages that follow each other: what a node has not sent, or
//! what was lost together with the connection, shows nowhere.

mod known;
mod node;
mod requests;
mod sequence;

use std::{
    collections::HashMap,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use tidegate_model::{Reason, Timestamp};

use self::node::Node;
use crate::{Bounds, HostState, Id, Message, Now, PayloadError, QualityCode, Topic, payload};

pub use self::{
    known::Known,
    requests::{rebirth_request, write_request},
};

/// An edge node, by group and id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId {
    group: Arc<str>,
    node: Arc<str>,
}

/// How a host is to be.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// The id under which the host says that it is there; `None` for one that only listens.
    pub id: Option<Id>,
    /// How long a message waits for one before it that has not come.
    pub reorder: Duration,
    /// How often a node is asked for its births, at most.
    pub ask_every: Duration,
    /// How large a message may be.
    pub bounds: Bounds,
    /// Edge nodes that are known, at most.
    pub most_nodes: usize,
    /// Devices that are known, of one node, at most.
    pub most_devices: usize,
    /// Metrics that are known, of one node with its devices, at most; members of structures count, and so does what is not taken.
    pub most_metrics: usize,
}

impl Default for HostOptions {
    /// A listener; 2 s, 10 s, 10,000 nodes with 10,000 devices and 200,000 metrics each.
    fn default() -> HostOptions {
        HostOptions {
            id: None,
            reorder: Duration::from_secs(2),
            ask_every: Duration::from_secs(10),
            bounds: Bounds::default(),
            most_nodes: 10_000,
            most_devices: 10_000,
            most_metrics: 200_000,
        }
    }
}

/// What a host has learnt.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A node, or a device of it (`Some`), has said what there is; its present values follow as data.
    Born {
        /// The node.
        node: NodeId,
        /// The device; `None` for the node itself.
        device: Option<Arc<str>>,
        /// Its metrics. Samples refer to them by their place.
        metrics: Arc<[Known]>,
        /// When it was said.
        time: Timestamp,
    },
    /// A node, or a device of it, is gone: none of its values can be relied on. Of a node, all of its devices are.
    Died {
        /// The node.
        node: NodeId,
        /// The device; `None` for the node itself with everything behind it.
        device: Option<Arc<str>>,
        /// Since when.
        time: Timestamp,
    },
    /// Values have come.
    Data {
        /// The node.
        node: NodeId,
        /// The device; `None` for the node itself.
        device: Option<Arc<str>>,
        /// The metrics of the birth that they are of.
        metrics: Arc<[Known]>,
        /// The values, in the order in which they came.
        samples: Vec<Sample>,
    },
    /// Messages of a node are missing.
    Hole {
        /// The node.
        node: NodeId,
        /// The number that was to come.
        expected: u8,
        /// The number that has come.
        found: u8,
    },
    /// A message that has to be published: a node is asked for its births.
    Ask(Message),
    /// Another one says that this host is gone: say again that it is here.
    SayOnline {
        /// When the connection began that is said to be over. Where that is later than the own one began, nobody minds what is said of the
        /// own one: a connection that begins later than this is to be made.
        over: Timestamp,
    },
    /// A message cannot be read, or a birth is beyond the limits ([`PayloadError::Beyond`]).
    Malformed {
        /// Its topic.
        topic: String,
        /// Why.
        error: PayloadError,
    },
}

/// One value that has come.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Place of its metric.
    pub metric: usize,
    /// What it says and how much that is worth.
    pub worth: Worth,
    /// Why it is not good, in the word that our own edge nodes give beside the quality.
    pub reason: Option<Reason>,
    /// When it was taken.
    pub time: Timestamp,
    /// Whether it is of the past.
    pub historical: bool,
}

/// A value, and how much it is worth.
#[derive(Debug, Clone, PartialEq)]
pub enum Worth {
    /// A value; never bad.
    Value(tidegate_model::Value, QualityCode),
    /// The node says that there is none.
    Null(QualityCode),
    /// There is one that cannot be taken.
    Unreadable(crate::ValueError),
}

/// What a host has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HostStatistics {
    /// Messages that were read.
    pub messages: u64,
    /// Holes among the numbers of messages.
    pub holes: u64,
    /// Messages that came before a birth that would tell what they say: lost, unless the node says it again.
    pub unborn: u64,
    /// Values whose alias or name no birth has told.
    pub unknown: u64,
    /// Messages that could not be read.
    pub malformed: u64,
    /// Births that were asked for.
    pub asked: u64,
    /// Messages beyond the limits on nodes, devices and metrics.
    pub beyond: u64,
}

/// The state machine of a host application on one broker.
pub struct Host {
    options: HostOptions,
    nodes: HashMap<NodeId, Node>,
    statistics: HostStatistics,
}

impl NodeId {
    /// The node with that group and id.
    pub fn new(group: &str, node: &str) -> NodeId {
        NodeId { group: group.into(), node: node.into() }
    }

    /// Its group.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// Its id within the group.
    pub fn node(&self) -> &str {
        &self.node
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.group, self.node)
    }
}

impl Host {
    /// A host that has heard nothing yet.
    pub fn new(options: HostOptions) -> Host {
        Host { options, nodes: HashMap::new(), statistics: HostStatistics::default() }
    }

    /// The topics to be subscribed to with QoS 1, before the host says that it is online: everything of one node of a group, or of all.
    pub fn filters(&self, group: Option<&str>, node: Option<&str>) -> Vec<String> {
        let namespace = crate::NAMESPACE;
        let (group, node) = (group.unwrap_or("+"), node.unwrap_or("+"));
        let mut filters: Vec<String> = match (group, node) {
            ("+", "+") => vec![format!("{namespace}/#")],
            _ => vec![format!("{namespace}/{group}/+/{node}"), format!("{namespace}/{group}/+/{node}/+")],
        };
        if let Some(id) = &self.options.id
            && (group, node) != ("+", "+")
        {
            filters.push(Topic::State { host: id.as_str() }.to_string());
        }
        filters
    }

    /// What the host says of itself, retained and with QoS 1: as the will of a connection that begins at this moment (`online` false),
    /// as its birth with the same moment, and before it is ended. `None` for one that only listens.
    pub fn state(&self, online: bool, connected: Timestamp) -> Option<Message> {
        let id = self.options.id.as_ref()?;
        let state = HostState { online, timestamp: u64::try_from(connected.as_millis()).unwrap_or(0) };
        Some(Message { topic: Topic::State { host: id.as_str() }.to_string(), payload: state.payload() })
    }

    /// Takes a message.
    pub fn heard(&mut self, topic: &str, payload: &[u8], now: Now, out: &mut Vec<Event>) {
        let (group, id, verb, device) = match Topic::parse(topic) {
            Some(Topic::Node { verb, group, node }) => (group, node, verb, None),
            Some(Topic::Device { verb, group, node, device }) => (group, node, verb, Some(device)),
            Some(Topic::State { host }) => {
                let own = self.options.id.as_ref().is_some_and(|id| id.as_str() == host);
                if let Some(state) = HostState::parse(payload).filter(|state| own && !state.online) {
                    let over = Timestamp::from_millis(i64::try_from(state.timestamp).unwrap_or(i64::MAX));
                    out.push(Event::SayOnline { over });
                }
                return;
            }
            None => return,
        };
        if verb == crate::Verb::Command {
            return;
        }
        let message = match payload::decode(payload, self.options.bounds) {
            Ok(message) => message,
            Err(error) => {
                self.statistics.malformed += 1;
                out.push(Event::Malformed { topic: topic.to_owned(), error });
                return;
            }
        };
        self.statistics.messages += 1;
        let id = NodeId::new(group, id);
        if !self.nodes.contains_key(&id) && self.nodes.len() >= self.options.most_nodes {
            self.statistics.beyond += 1;
            return;
        }
        let node = self.nodes.entry(id.clone()).or_insert_with(|| Node::new(id));
        let heard = node::Heard { verb, device: device.map(Into::into), message, late: false };
        node.heard(heard, payload, now, &self.options, &mut self.statistics, out);
    }

    /// Does what is due: messages that have waited long enough for others are taken, births are asked for.
    pub fn run(&mut self, now: Now, out: &mut Vec<Event>) {
        for node in self.nodes.values_mut() {
            node.run(now, &self.options, &mut self.statistics, out);
        }
    }

    /// When [`Host::run`] is to be called, whatever happens.
    pub fn wake_at(&self) -> Option<Instant> {
        self.nodes.values().filter_map(|node| node.wake_at(&self.options)).min()
    }

    /// The connection to the broker is lost: nothing that is known is sure any more. Every node that was there is told as gone, and is
    /// asked for its births when something of it comes.
    pub fn disconnected(&mut self, now: Now, out: &mut Vec<Event>) {
        for node in self.nodes.values_mut() {
            node.disconnected(now, &self.options, &mut self.statistics, out);
        }
    }

    /// Every node that was there and has not been born since is asked for its births: after [`Host::disconnected`], once there is a
    /// connection again. One with nothing to say would otherwise not be heard.
    pub fn ask_all(&mut self, now: Now, out: &mut Vec<Event>) {
        for node in self.nodes.values_mut() {
            node.ask_unless_born(now, &self.options, &mut self.statistics, out);
        }
    }

    /// The metrics of a node and its devices, each with the device they are of.
    pub fn known(&self, node: &NodeId) -> impl Iterator<Item = (Option<&str>, &Known)> {
        self.nodes.get(node).into_iter().flat_map(Node::known)
    }

    /// The nodes that have been heard of.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeId> {
        self.nodes.keys()
    }

    /// What has been seen so far.
    pub fn statistics(&self) -> HostStatistics {
        self.statistics
    }
}
