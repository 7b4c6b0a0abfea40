//! What the host has heard and is not written yet. Pure: the time is an argument.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tidegate_model::Timestamp;
use tidegate_sparkplug::{Bounds, Event, Host, HostOptions, HostStatistics, Message, NodeId, Now, Topic, Verb, decode};

use super::{
    again::Again,
    names,
    presence::Load,
    streams::{Streams, Taken},
};
use crate::{
    Counters, NodeAccount, NodeKey,
    intake::Batch,
    nodes::Nodes,
    piece::{Fault, Piece, Refused},
    sink::Remembered,
};

/// Bytes of messages that cannot be read that wait to be put aside; more are dropped and counted.
const MOST_REFUSED: usize = 16 << 20;
/// Nodes whose account is kept: as many as the host listens to, and those that were there before.
const MOST_NODES: usize = 20_000;
/// Bytes of a topic that are told.
const TOLD_TOPIC: usize = 200;
/// Nodes and faults that lines are written for.
const MOST_SAID: usize = 10_000;

/// What is to be done because of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Todo {
    /// Publish it at QoS 0: a node is asked for its births.
    Publish(Message),
    /// Another one has said that this host is gone: of a connection that began at this time.
    SaidOffline(Timestamp),
}

/// The host and what it has heard.
pub(super) struct Heard {
    host: Host,
    streams: Streams,
    nodes: Nodes,
    /// Those that are not written as they are.
    changed: HashSet<NodeKey>,
    /// Nodes that are there.
    alive: HashSet<NodeId>,
    again: Again,
    bounds: Bounds,
    /// Whether the host has a name to be offline under, and has said that it is: nodes go because of that.
    has_name: bool,
    leaving: bool,
    refused: VecDeque<Refused>,
    refused_bytes: usize,
    /// Messages at QoS 1, in their order, and how many of them are in the batch with the writer or before it.
    unacknowledged: VecDeque<u16>,
    covered: usize,
    /// When the oldest value came that is with the writer.
    with_writer: Option<Instant>,
    rows_with_writer: usize,
    counters: Arc<Counters>,
    said: HashSet<(String, Fault)>,
    said_dropped: bool,
}

impl Heard {
    /// Nothing has been heard. `boot`: a number that is larger at each start.
    pub(super) fn new(options: HostOptions, remembered: Remembered, boot: u64, counters: Arc<Counters>) -> Heard {
        Heard {
            bounds: options.bounds,
            has_name: options.id.is_some(),
            again: Again::default(),
            host: Host::new(options),
            streams: Streams::new(remembered.streams, remembered.gaps, &remembered.taken, boot),
            nodes: remembered.nodes,
            changed: HashSet::new(),
            alive: HashSet::new(),
            leaving: false,
            refused: VecDeque::new(),
            refused_bytes: 0,
            unacknowledged: VecDeque::new(),
            covered: 0,
            with_writer: None,
            rows_with_writer: 0,
            counters,
            said: HashSet::new(),
            said_dropped: false,
        }
    }

    /// The same with other bytes that may wait.
    #[cfg(test)]
    pub(super) fn set_most_bytes(&mut self, most: usize) {
        self.streams.set_most_bytes(most);
    }

    /// The topics to be subscribed to.
    pub(super) fn filters(&self, group: Option<&str>) -> Vec<String> {
        self.host.filters(group, None)
    }

    /// What the host says of itself, retained; `None` for one that only listens.
    pub(super) fn state(&self, online: bool, connected: Timestamp) -> Option<Message> {
        self.host.state(online, connected)
    }

    /// Whether the host has said that it is offline. Nodes that then go may do so because of it, and keep what their devices go on to tell: they
    /// fail if they do not come back once it is online. Of one without a name nobody has heard anything.
    pub(super) fn leaving(&mut self, leaving: bool, now: Instant) {
        let leaving = leaving && self.has_name;
        if std::mem::replace(&mut self.leaving, leaving) && !leaving {
            self.streams.await_longer(now);
        }
    }

    /// Takes a message; one at QoS 0 has the number 0.
    pub(super) fn take(&mut self, topic: &[u8], payload: &Bytes, packet_id: u16, now: Now, out: &mut Vec<Todo>) {
        if packet_id != 0 {
            self.unacknowledged.push_back(packet_id);
        }
        let Some((text, of)) = read(topic) else {
            let told = String::from_utf8_lossy(topic.split_at(topic.len().min(TOLD_TOPIC)).0).into_owned();
            return self.refuse(told, Fault::Topic, "the topic is none of Sparkplug B".to_owned(), payload);
        };
        let node = of.as_ref().map(|(node, ..)| node.clone());
        if let Some((node, verb, numbered)) = &of
            && self.is_again(node, *verb, *numbered, text, payload)
        {
            return;
        }
        let before = self.host.statistics();
        let mut events = Vec::new();
        self.host.heard(text, payload, now, &mut events);
        let after = self.host.statistics();
        if let Some(node) = node {
            let unread = |of: HostStatistics| of.unborn + of.unknown + of.beyond;
            self.add(&node, |account| account.unread += unread(after).saturating_sub(unread(before)));
            let told = events.iter().any(|event| matches!(event, Event::Malformed { .. }));
            if after.malformed > before.malformed && !told {
                let detail = "it has no number, or one that is none from 0 to 255".to_owned();
                self.refuse(node.to_string(), Fault::Sparkplug, detail, payload);
            }
        }
        for event in events {
            self.happened(event, payload, true, now, out);
        }
    }

    /// Does what is due by the clock.
    pub(super) fn run(&mut self, now: Now, out: &mut Vec<Todo>) {
        let mut events = Vec::new();
        self.host.run(now, &mut events);
        events.into_iter().for_each(|event| self.happened(event, &Bytes::new(), true, now, out));
        if !self.leaving {
            self.streams.fail_awaited(now.at);
        }
    }

    /// There is a connection again: who was there before is asked what there is.
    pub(super) fn ask_all(&mut self, now: Now, out: &mut Vec<Todo>) {
        let mut events = Vec::new();
        self.host.ask_all(now, &mut events);
        events.into_iter().for_each(|event| self.happened(event, &Bytes::new(), true, now, out));
        // One that went meanwhile says nothing.
        self.streams.await_all(now.time, now.at);
    }

    /// The connection is over: what nodes say from now on is not heard. What has come stays, as nobody sends it again.
    pub(super) fn disconnected(&mut self, is_interruption: bool, now: Now) {
        let alive: Vec<NodeId> = self.alive.iter().filter(|_| is_interruption).cloned().collect();
        for node in alive {
            self.add(&node, |account| account.interruptions += 1);
        }
        let mut events = Vec::new();
        self.host.disconnected(now, &mut events);
        // Its devices go on: nothing is bad because it is not heard here.
        events.into_iter().for_each(|event| self.happened(event, &Bytes::new(), false, now, &mut Vec::new()));
        // The broker says that the host is offline.
        self.leaving = self.has_name;
        // Their numbers are good on that connection alone.
        self.unacknowledged.clear();
        self.covered = 0;
    }

    /// `deaths`: whether one is of a node or a device, and not of the own connection.
    fn happened(&mut self, event: Event, payload: &Bytes, deaths: bool, now: Now, out: &mut Vec<Todo>) {
        match event {
            Event::Born { node, device, time, .. } => {
                if device.is_none() {
                    // Its devices are to be born again; those that are not are not there any more.
                    self.streams.await_births(&node, time, now.at);
                }
                self.streams.born(&node, device.as_ref(), time);
                if device.is_none() {
                    self.add(&node, |account| account.births += 1);
                    self.alive.insert(node);
                }
            }
            Event::Died { node, device, time } => {
                if device.is_none() {
                    self.alive.remove(&node);
                }
                if deaths && device.is_none() && self.leaving {
                    self.streams.await_births(&node, time, now.at);
                } else if deaths {
                    self.streams.fail(&node, device.as_ref(), time, now.at);
                }
            }
            Event::Data { node, device, metrics, samples } => {
                let Taken { repeated, dropped, beyond } =
                    self.streams.take(&node, device.as_ref(), &metrics, &samples, now.at);
                self.counters.repeated(repeated);
                self.dropped(dropped);
                self.add(&node, |account| {
                    account.repeated += repeated;
                    account.dropped += dropped;
                    account.unread += beyond;
                });
            }
            Event::Hole { node, expected, found } => {
                let missing = found.wrapping_sub(expected).into();
                self.counters.missing(missing);
                self.add(&node, |account| {
                    account.holes += 1;
                    account.missing += missing;
                });
            }
            Event::Ask(message) => {
                if let Some((_, Some((node, ..)))) = read(message.topic.as_bytes()) {
                    self.add(&node, |account| account.asked += 1);
                }
                out.push(Todo::Publish(message));
            }
            Event::SayOnline { over } => out.push(Todo::SaidOffline(over)),
            Event::Malformed { topic, error } => {
                let node = read(topic.as_bytes()).and_then(|(_, of)| of).map_or(topic, |(node, ..)| node.to_string());
                self.refuse(node, Fault::Sparkplug, error.to_string(), payload);
            }
        }
    }

    /// Whether a message is one of the last of its node again. Its values are counted.
    fn is_again(&mut self, node: &NodeId, verb: Verb, numbered: bool, topic: &str, payload: &Bytes) -> bool {
        // The own requests come back, and say nothing of the node.
        if verb == Verb::Command {
            return false;
        }
        if !numbered {
            // Births of a node begin its numbers anew; deaths have none.
            self.again.begin(node);
            return false;
        }
        if !self.again.is_known(node, topic, payload) {
            return false;
        }
        let values = decode(payload, self.bounds).map_or(0, |message| message.metrics.len());
        let values = u64::try_from(values).unwrap_or(u64::MAX);
        self.counters.repeated(values);
        self.add(node, |account| account.repeated = account.repeated.saturating_add(values));
        true
    }

    fn add(&mut self, node: &NodeId, change: impl FnOnce(&mut NodeAccount)) {
        let key = NodeKey { group: names::of_account(node.group()), node: names::of_account(node.node()) };
        if self.nodes.len() >= MOST_NODES && !self.nodes.contains_key(&key) {
            return;
        }
        let account = self.nodes.entry(key.clone()).or_default();
        let before = *account;
        change(account);
        if *account != before {
            self.changed.insert(key);
        }
    }

    fn refuse(&mut self, gateway: String, fault: Fault, detail: String, payload: &Bytes) {
        self.counters.refused();
        if self.said.len() < MOST_SAID && self.said.insert((gateway.clone(), fault)) {
            tracing::warn!(
                %gateway, %fault, %detail, bytes = payload.len(),
                "a message cannot be read; it is put aside, and the rest goes on"
            );
        }
        let bytes = payload.len().saturating_add(detail.len()).saturating_add(gateway.len());
        if self.refused_bytes.saturating_add(bytes) > MOST_REFUSED {
            return self.dropped(1);
        }
        self.refused_bytes += bytes;
        self.refused.push_back(Refused { gateway, fault, detail, schema: None, frame: payload.clone() });
    }

    fn dropped(&mut self, count: u64) {
        self.counters.dropped(count);
        if count > 0 && !std::mem::replace(&mut self.said_dropped, true) {
            tracing::error!(
                values = count,
                "values came while as much waited for the sink as may; they are dropped and counted; give the ingest a --host-id, and \
                 its name to the edge nodes as their primary host, and they keep their data meanwhile"
            );
        }
    }

    /// The next batch for the writer; `None` when nothing is to be written.
    pub(super) fn batch(&mut self) -> Option<Batch> {
        let since = self.streams.since();
        let mut pieces = Vec::new();
        let all = self.streams.batch(&mut pieces);
        pieces.extend(self.refused.drain(..).map(Piece::Refused));
        self.refused_bytes = 0;
        let news = |key: NodeKey| self.nodes.get(&key).map(|account| (key, *account));
        let changed: Nodes = self.changed.drain().filter_map(news).collect();
        if !changed.is_empty() {
            pieces.push(Piece::Nodes(changed));
        }
        self.covered = if all { self.unacknowledged.len() } else { 0 };
        self.with_writer = since;
        let rows = |piece: &Piece| if let Piece::Rows(rows) = piece { rows.batch.len() } else { 0 };
        self.rows_with_writer = pieces.iter().map(rows).sum();
        (!pieces.is_empty()).then(|| Batch::of(pieces))
    }

    /// The batch has been written: the messages to acknowledge now.
    pub(super) fn written(&mut self) -> Vec<u16> {
        (self.with_writer, self.rows_with_writer) = (None, 0);
        let covered = std::mem::take(&mut self.covered).min(self.unacknowledged.len());
        self.unacknowledged.drain(..covered).collect()
    }

    /// What waits, here and with the writer.
    pub(super) fn load(&self, sink_down: bool, now: Instant) -> Load {
        let since = self.with_writer.or(self.streams.since());
        let oldest = since.map(|since| now.checked_duration_since(since).unwrap_or(Duration::ZERO));
        Load { bytes: self.streams.bytes(), oldest, sink_down }
    }

    /// Rows that are not written yet.
    pub(super) fn waiting(&self) -> usize {
        self.streams.rows().saturating_add(self.rows_with_writer)
    }

    /// Whether nothing waits here to be handed to the writer.
    pub(super) fn is_empty(&self) -> bool {
        self.streams.since().is_none() && self.refused.is_empty() && self.changed.is_empty()
    }

    /// Whether any node is there.
    pub(super) fn is_anyone_there(&self) -> bool {
        !self.alive.is_empty()
    }
}

/// The node of a message, what kind of message it is, and whether it has a number that goes on.
type Of = (NodeId, Verb, bool);

/// The topic as text, with whose it is unless it is a host's; `None` when it is none of Sparkplug.
fn read(topic: &[u8]) -> Option<(&str, Option<Of>)> {
    let text = std::str::from_utf8(topic).ok()?;
    let of = match Topic::parse(text)? {
        Topic::Node { verb, group, node } => Some((NodeId::new(group, node), verb, verb == Verb::Data)),
        Topic::Device { verb, group, node, .. } => Some((NodeId::new(group, node), verb, true)),
        Topic::State { .. } => None,
    };
    Some((text, of))
}
