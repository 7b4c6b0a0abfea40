//! One edge node, as a host sees it.

use std::{collections::HashMap, sync::Arc, time::Instant};

use tidegate_model::Timestamp;

use super::{
    Event, HostOptions, HostStatistics, NodeId,
    known::{Known, Metrics},
    requests::rebirth_request,
    sequence::{Sequence, Turn},
};
use crate::{
    Now, PayloadError, Topic, Verb,
    edge::BD_SEQ,
    payload,
    wire::{MetricValue, Payload},
};

/// A message of a node.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) verb: Verb,
    pub(super) device: Option<Arc<str>>,
    pub(super) message: Payload,
    /// Its turn was given up before it came.
    pub(super) late: bool,
}

/// A message that waits for others before it, as it came: taken apart it may be many times as much.
struct Waiting {
    verb: Verb,
    device: Option<Arc<str>>,
    payload: Box<[u8]>,
}

/// One edge node with its devices.
pub(super) struct Node {
    id: NodeId,
    /// `None` while it is not born.
    session: Option<Session>,
    /// When it was asked for its births.
    asked: Option<Instant>,
    /// Births are to be asked for as soon as may be.
    wants: bool,
    /// Its birth is more than is taken: asking for it again is of no use.
    beyond: bool,
}

/// What is known from the birth of a node on.
struct Session {
    bd_seq: Option<u64>,
    sequence: Sequence<Waiting>,
    metrics: Metrics,
    devices: HashMap<Arc<str>, Device>,
    /// Metrics of the node and all its devices.
    count: usize,
}

#[derive(Default)]
struct Device {
    metrics: Metrics,
    there: bool,
    /// Its birth is more than is taken.
    beyond: bool,
    /// When it was born.
    born: Option<Timestamp>,
}

impl Node {
    pub(super) fn new(id: NodeId) -> Node {
        Node { id, session: None, asked: None, wants: false, beyond: false }
    }

    pub(super) fn known(&self) -> impl Iterator<Item = (Option<&str>, &Known)> {
        self.session.iter().flat_map(|session| {
            let own = session.metrics.list.iter().map(|known| (None, known));
            let devices = session
                .devices
                .iter()
                .flat_map(|(name, device)| device.metrics.list.iter().map(move |known| (Some(&**name), known)));
            own.chain(devices)
        })
    }

    /// A message of the node has come; `payload` is the same one as it came.
    pub(super) fn heard(
        &mut self,
        heard: Heard,
        payload: &[u8],
        now: Now,
        options: &HostOptions,
        statistics: &mut HostStatistics,
        out: &mut Vec<Event>,
    ) {
        match (heard.verb, &heard.device) {
            (Verb::Birth, None) => self.born(&heard.message, now, options, statistics, out),
            (Verb::Death, None) => self.died(&heard.message, now, options, statistics, out),
            _ => {
                let seq = heard.message.seq.and_then(|seq| u8::try_from(seq).ok());
                let Some(session) = &mut self.session else {
                    match self.beyond {
                        true => statistics.beyond += 1,
                        false => statistics.unborn += 1,
                    }
                    return self.ask(now, options, statistics, out);
                };
                // Without a number, nothing can be said about its order.
                let Some(seq) = seq else {
                    statistics.malformed += 1;
                    return;
                };
                match session.sequence.turn(seq) {
                    Turn::Now => {
                        self.take(heard, now, options, statistics, out);
                        while let Some(waiting) = self.session.as_mut().and_then(|session| session.sequence.ready()) {
                            self.take_waiting(waiting, now, options, statistics, out);
                        }
                    }
                    Turn::Far => {
                        self.drain(now, options, statistics, out);
                        self.far(seq, statistics, out);
                        self.take(heard, now, options, statistics, out);
                        self.ask(now, options, statistics, out);
                    }
                    Turn::Late => self.take(Heard { late: true, ..heard }, now, options, statistics, out),
                    Turn::Waits => {
                        let Heard { verb, device, .. } = heard;
                        let waiting = Waiting { verb, device, payload: payload.into() };
                        session.sequence.wait(seq, waiting, payload.len(), now.at);
                        self.give_up(now, options, statistics, out);
                    }
                }
            }
        }
    }

    fn take_waiting(
        &mut self,
        waiting: Waiting,
        now: Now,
        options: &HostOptions,
        statistics: &mut HostStatistics,
        out: &mut Vec<Event>,
    ) {
        let Waiting { verb, device, payload } = waiting;
        // It was read when it came, within the same bounds.
        if let Ok(message) = payload::decode(&payload, options.bounds) {
            self.take(Heard { verb, device, message, late: false }, now, options, statistics, out);
        }
    }

    fn born(
        &mut self,
        message: &Payload,
        now: Now,
        options: &HostOptions,
        statistics: &mut HostStatistics,
        out: &mut Vec<Event>,
    ) {
        // What waited was sent before.
        self.drain(now, options, statistics, out);
        let Some(metrics) = Metrics::of(&message.metrics, options.most_metrics) else {
            statistics.beyond += 1;
            self.lost(now, out);
            self.beyond = true;
            return out.push(beyond(&self.id, None));
        };
        let bd_seq = message.metrics.iter().find(|metric| metric.name.as_deref() == Some(BD_SEQ));
        let bd_seq = bd_seq.and_then(|metric| match &metric.value {
            Some(MetricValue::Long(number)) => Some(*number),
            Some(MetricValue::Int(number)) => Some((*number).into()),
            _ => None,
        });
        let seq = message.seq.and_then(|seq| u8::try_from(seq).ok()).unwrap_or(0);
        let time = time(message, now);
        let (list, count) = (Arc::clone(&metrics.list), metrics.count());
        let samples = metrics.samples(&message.metrics, time, &mut 0);
        // The devices are to be born again; until then what is known of them is not sure.
        let devices = HashMap::new();
        self.session = Some(Session { bd_seq, sequence: Sequence::after(seq), metrics, devices, count });
        (self.wants, self.beyond) = (false, false);
        out.push(Event::Born { node: self.id.clone(), device: None, metrics: Arc::clone(&list), time });
        if !samples.is_empty() {
            out.push(Event::Data { node: self.id.clone(), device: None, metrics: list, samples });
        }
    }

    /// The death of another connection than that of the birth says nothing about this one.
    fn died(
        &mut self,
        message: &Payload,
        now: Now,
        options: &HostOptions,
        statistics: &mut HostStatistics,
        out: &mut Vec<Event>,
    ) {
        let number = message.metrics.iter().find_map(|metric| match &metric.value {
            Some(MetricValue::Long(number)) => Some(*number),
            Some(MetricValue::Int(number)) => Some((*number).into()),
            _ => None,
        });
        let Some(session) = &self.session else { return };
        if session.bd_seq.is_some() && number.is_some() && session.bd_seq != number {
            return;
        }
        // What waited was sent before.
        self.drain(now, options, statistics, out);
        self.lost(now, out);
    }

    /// The connection through which it is heard is lost.
    pub(super) fn disconnected(
        &mut self,
        now: Now,
        options: &HostOptions,
        statistics: &mut HostStatistics,
        out: &mut Vec<Event>,
    ) {
        self.drain(now, options, statistics, out);
        self.lost(now, out);
        self.beyond = false;
    }

    /// Nothing of it is sure any more.
    fn lost(&mut self, now: Now, out: &mut Vec<Event>) {
        if self.session.take().is_some() {
            out.push(Event::Died { node: self.id.clone(), device: None, time: now.time });
        }
    }

    /// Takes a message whose turn it is.
    fn take(
        &mut self,
        heard: Heard,
        now: Now,
        options: &HostOptions,
        statistics: &mut HostStatistics,
        out: &mut Vec<Event>,
    ) {
        let Heard { verb, device, message, late } = heard;
        let at = time(&message, now);
        let Some(session) = &mut self.session else { return };
        let node = self.id.clone();
        let metrics = match (&device, verb) {
            (None, _) => &session.metrics,
            (Some(name), Verb::Birth) => match session.device_born(name, &message, at, late, options) {
                Ok(None) => return,
                Ok(Some(metrics)) => {
                    let list = Arc::clone(&metrics.list);
                    out.push(Event::Born { node: node.clone(), device: device.clone(), metrics: list, time: at });
                    metrics
                }
                Err(Beyond { died }) => {
                    statistics.beyond += 1;
                    out.push(beyond(&node, device.as_deref()));
                    if died {
                        out.push(Event::Died { node, device, time: at });
                    }
                    return;
                }
            },
            (Some(name), Verb::Death) => {
                // One that is late may be of before the birth.
                let known =
                    session.devices.get_mut(name).filter(|known| !late || known.born.is_none_or(|born| born <= at));
                if known.is_some_and(|known| std::mem::take(&mut known.there)) {
                    out.push(Event::Died { node, device, time: at });
                }
                return;
            }
            (Some(name), _) => match session.devices.get(name) {
                Some(known) if known.there => &known.metrics,
                Some(known) if known.beyond => {
                    statistics.beyond += 1;
                    return;
                }
                None if session.devices.len() >= options.most_devices => {
                    statistics.beyond += 1;
                    return;
                }
                _ => {
                    statistics.unborn += 1;
                    return self.ask(now, options, statistics, out);
                }
            },
        };
        let mut unknown = 0;
        let mut samples = metrics.samples(&message.metrics, at, &mut unknown);
        if late {
            // Newer ones have been taken already.
            samples.iter_mut().for_each(|sample| sample.historical = true);
        }
        if !samples.is_empty() {
            out.push(Event::Data { node, device, metrics: Arc::clone(&metrics.list), samples });
        }
        // What a birth has and does not tell is not told by the next one either.
        if unknown > 0 && verb != Verb::Birth {
            statistics.unknown += unknown;
            self.ask(now, options, statistics, out);
        }
    }

    /// Does what is due.
    pub(super) fn run(
        &mut self,
        now: Now,
        options: &HostOptions,
        statistics: &mut HostStatistics,
        out: &mut Vec<Event>,
    ) {
        self.give_up(now, options, statistics, out);
        if self.wants {
            self.ask(now, options, statistics, out);
        }
    }

    pub(super) fn wake_at(&self, options: &HostOptions) -> Option<Instant> {
        let hole = self.session.as_ref().and_then(|session| session.sequence.wake_at(options.reorder));
        let ask = self.asked.filter(|_| self.wants).map(|asked| asked + options.ask_every);
        [hole, ask].into_iter().flatten().min()
    }

    fn give_up(&mut self, now: Now, options: &HostOptions, statistics: &mut HostStatistics, out: &mut Vec<Event>) {
        let due = self.session.as_ref().and_then(|session| session.sequence.wake_at(options.reorder));
        if due.is_some_and(|due| due <= now.at) {
            self.drain(now, options, statistics, out);
            self.ask(now, options, statistics, out);
        }
    }

    /// So many messages are missing that the numbers go on behind this one.
    fn far(&mut self, found: u8, statistics: &mut HostStatistics, out: &mut Vec<Event>) {
        let Some(session) = &mut self.session else { return };
        let expected = session.sequence.next();
        session.sequence.resume(found);
        statistics.holes += 1;
        out.push(Event::Hole { node: self.id.clone(), expected, found });
    }

    /// Takes what waits for messages that will not come any more.
    fn drain(&mut self, now: Now, options: &HostOptions, statistics: &mut HostStatistics, out: &mut Vec<Event>) {
        let Some(session) = &mut self.session else { return };
        let expected = session.sequence.next();
        let Some((found, waiting)) = session.sequence.drain() else { return };
        statistics.holes += 1;
        out.push(Event::Hole { node: self.id.clone(), expected, found });
        for waiting in waiting {
            self.take_waiting(waiting, now, options, statistics, out);
        }
    }

    /// Asks for the births of a node that is not born.
    pub(super) fn ask_unless_born(
        &mut self,
        now: Now,
        options: &HostOptions,
        statistics: &mut HostStatistics,
        out: &mut Vec<Event>,
    ) {
        if self.session.is_none() {
            self.ask(now, options, statistics, out);
        }
    }

    /// Asks the node for its births, now or as soon as it may be asked again.
    fn ask(&mut self, now: Now, options: &HostOptions, statistics: &mut HostStatistics, out: &mut Vec<Event>) {
        if self.beyond {
            self.wants = false;
            return;
        }
        self.wants = self.asked.is_some_and(|asked| asked + options.ask_every > now.at);
        if !self.wants {
            self.asked = Some(now.at);
            statistics.asked += 1;
            out.push(Event::Ask(rebirth_request(&self.id, now.time)));
        }
    }
}

/// A birth is more than is taken.
struct Beyond {
    /// Its device was there until now.
    died: bool,
}

impl Session {
    /// A device is born: its metrics; `None` when it was born again before this birth came.
    fn device_born(
        &mut self,
        name: &Arc<str>,
        message: &Payload,
        born: Timestamp,
        late: bool,
        options: &HostOptions,
    ) -> Result<Option<&Metrics>, Beyond> {
        let is_new = !self.devices.contains_key(name);
        if is_new && self.devices.len() >= options.most_devices {
            return Err(Beyond { died: false });
        }
        let known = self.devices.entry(Arc::clone(name)).or_default();
        if late && !is_new {
            return Ok(None);
        }
        // What was known of it makes room.
        self.count = self.count.saturating_sub(known.metrics.count());
        let Some(metrics) = Metrics::of(&message.metrics, options.most_metrics.saturating_sub(self.count)) else {
            let died = known.there;
            *known = Device { beyond: true, ..Device::default() };
            return Err(Beyond { died });
        };
        self.count += metrics.count();
        *known = Device { metrics, there: true, beyond: false, born: Some(born) };
        Ok(Some(&known.metrics))
    }
}

/// The birth of a node, or of a device of it, is more than is taken.
fn beyond(of: &NodeId, device: Option<&str>) -> Event {
    let (verb, group, node) = (Verb::Birth, of.group(), of.node());
    let topic = match device {
        Some(device) => Topic::Device { verb, group, node, device }.to_string(),
        None => Topic::Node { verb, group, node }.to_string(),
    };
    Event::Malformed { topic, error: PayloadError::Beyond }
}

/// When a message was sent, by its own clock where it says so.
fn time(message: &Payload, now: Now) -> Timestamp {
    message.timestamp.and_then(|time| i64::try_from(time).ok()).map_or(now.time, Timestamp::from_millis)
}
