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
    Now, Verb,
    edge::BD_SEQ,
    wire::{MetricValue, Payload},
};

/// A message of a node.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) verb: Verb,
    pub(super) device: Option<Arc<str>>,
    pub(super) message: Payload,
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
}

/// What is known from the birth of a node on.
struct Session {
    bd_seq: Option<u64>,
    sequence: Sequence<Heard>,
    metrics: Metrics,
    devices: HashMap<Arc<str>, Device>,
}

#[derive(Default)]
struct Device {
    metrics: Metrics,
    there: bool,
}

impl Node {
    pub(super) fn new(id: NodeId) -> Node {
        Node { id, session: None, asked: None, wants: false }
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

    fn known_metrics(&self) -> usize {
        self.session.as_ref().map_or(0, |session| {
            let devices = session.devices.values().map(|device| device.metrics.list.len());
            session.metrics.list.len() + devices.sum::<usize>()
        })
    }

    /// A message of the node has come.
    pub(super) fn heard(
        &mut self,
        heard: Heard,
        now: Now,
        options: &HostOptions,
        statistics: &mut HostStatistics,
        out: &mut Vec<Event>,
    ) {
        match (heard.verb, &heard.device) {
            (Verb::Birth, None) => self.born(&heard.message, now, options, statistics, out),
            (Verb::Death, None) => self.died(&heard.message, now, out),
            _ => {
                let seq = heard.message.seq.and_then(|seq| u8::try_from(seq).ok());
                let Some(session) = &mut self.session else {
                    statistics.unborn += 1;
                    return self.ask(now, options, statistics, out);
                };
                match seq.map(|seq| session.sequence.came(seq, heard, now.at)) {
                    Some(Turn::Now(heard)) => {
                        self.take(heard, now, options, statistics, out);
                        while let Some(heard) = self.session.as_mut().and_then(|session| session.sequence.ready()) {
                            self.take(heard, now, options, statistics, out);
                        }
                    }
                    Some(Turn::Waits) => self.give_up(now, options, statistics, out),
                    // Without a number, nothing can be said about its order.
                    None => statistics.malformed += 1,
                }
            }
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
        if message.metrics.len() > options.most_metrics {
            statistics.beyond += 1;
            return;
        }
        let bd_seq = message.metrics.iter().find(|metric| metric.name.as_deref() == Some(BD_SEQ));
        let bd_seq = bd_seq.and_then(|metric| match &metric.value {
            Some(MetricValue::Long(number)) => Some(*number),
            Some(MetricValue::Int(number)) => Some((*number).into()),
            _ => None,
        });
        let seq = message.seq.and_then(|seq| u8::try_from(seq).ok()).unwrap_or(0);
        let time = time(message, now);
        let metrics = Metrics::of(&message.metrics);
        let list = Arc::clone(&metrics.list);
        let samples = metrics.samples(&message.metrics, time, &mut 0);
        // The devices are to be born again; until then what is known of them is not sure.
        let devices = HashMap::new();
        self.session = Some(Session { bd_seq, sequence: Sequence::after(seq), metrics, devices });
        self.wants = false;
        out.push(Event::Born { node: self.id.clone(), device: None, metrics: Arc::clone(&list), time });
        if !samples.is_empty() {
            out.push(Event::Data { node: self.id.clone(), device: None, metrics: list, samples });
        }
    }

    /// The death of another connection than that of the birth says nothing about this one.
    fn died(&mut self, message: &Payload, now: Now, out: &mut Vec<Event>) {
        let number = message.metrics.iter().find_map(|metric| match &metric.value {
            Some(MetricValue::Long(number)) => Some(*number),
            Some(MetricValue::Int(number)) => Some((*number).into()),
            _ => None,
        });
        let Some(session) = &self.session else { return };
        if session.bd_seq.is_some() && number.is_some() && session.bd_seq != number {
            return;
        }
        self.lost(now, out);
    }

    /// Nothing of it is sure any more.
    pub(super) fn lost(&mut self, now: Now, out: &mut Vec<Event>) {
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
        let Heard { verb, device, message } = heard;
        let at = time(&message, now);
        let room = options.most_metrics.saturating_sub(self.known_metrics());
        let Some(session) = &mut self.session else { return };
        let node = self.id.clone();
        let (metrics, born) = match (&device, verb) {
            (None, _) => (&session.metrics, true),
            (Some(name), Verb::Birth) => {
                if message.metrics.len() > room {
                    statistics.beyond += 1;
                    return;
                }
                let metrics = Metrics::of(&message.metrics);
                let list = Arc::clone(&metrics.list);
                let known = session.devices.entry(Arc::clone(name)).or_default();
                *known = Device { metrics, there: true };
                out.push(Event::Born { node: node.clone(), device: device.clone(), metrics: list, time: at });
                (&known.metrics, true)
            }
            (Some(name), Verb::Death) => {
                if let Some(known) = session.devices.get_mut(name)
                    && std::mem::take(&mut known.there)
                {
                    out.push(Event::Died { node, device, time: at });
                }
                return;
            }
            (Some(name), _) => match session.devices.get(name) {
                Some(known) => (&known.metrics, known.there),
                None => {
                    statistics.unborn += 1;
                    return self.ask(now, options, statistics, out);
                }
            },
        };
        let mut unknown = 0;
        let samples = metrics.samples(&message.metrics, at, &mut unknown);
        statistics.unknown += unknown;
        if !samples.is_empty() {
            out.push(Event::Data { node, device, metrics: Arc::clone(&metrics.list), samples });
        }
        if unknown > 0 || !born {
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
        let Some(session) = &mut self.session else { return };
        let expected = session.sequence.next();
        let Some((found, waiting)) = session.sequence.give_up(now.at, options.reorder) else { return };
        statistics.holes += 1;
        out.push(Event::Hole { node: self.id.clone(), expected, found });
        for heard in waiting {
            self.take(heard, now, options, statistics, out);
        }
        self.ask(now, options, statistics, out);
    }

    /// Asks the node for its births, now or as soon as it may be asked again.
    fn ask(&mut self, now: Now, options: &HostOptions, statistics: &mut HostStatistics, out: &mut Vec<Event>) {
        self.wants = self.asked.is_some_and(|asked| asked + options.ask_every > now.at);
        if !self.wants {
            self.asked = Some(now.at);
            statistics.asked += 1;
            out.push(Event::Ask(rebirth_request(&self.id, now.time)));
        }
    }
}

/// When a message was sent, by its own clock where it says so.
fn time(message: &Payload, now: Now) -> Timestamp {
    message.timestamp.and_then(|time| i64::try_from(time).ok()).map_or(now.time, Timestamp::from_millis)
}
