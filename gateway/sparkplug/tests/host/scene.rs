//! A host, the time, and messages of an edge node.

use std::time::{Duration, Instant};

use tidegate_model::Timestamp;
use tidegate_sparkplug::{
    DataType, Event, Host, HostOptions, NodeId, Now, Sample, encode,
    wire::{Metric, MetricValue, Payload},
};

pub(crate) const START: i64 = 1_700_000_000_000;

pub(crate) struct Scene {
    pub(crate) host: Host,
    pub(crate) now: Now,
}

pub(crate) fn born(name: &str, alias: u64, datatype: DataType, value: MetricValue) -> Metric {
    Metric {
        name: Some(name.to_owned()),
        alias: Some(alias),
        timestamp: Some(START as u64),
        datatype: Some(datatype.code()),
        value: Some(value),
        ..Metric::default()
    }
}

pub(crate) fn data(alias: u64, value: MetricValue) -> Metric {
    Metric { alias: Some(alias), timestamp: Some(START as u64 + 1), value: Some(value), ..Metric::default() }
}

pub(crate) fn node() -> NodeId {
    NodeId::new("g", "n")
}

impl Scene {
    pub(crate) fn new(options: HostOptions) -> Scene {
        Scene { host: Host::new(options), now: Now { at: Instant::now(), time: Timestamp::from_millis(START) } }
    }

    /// A host that has heard the births of a node and of its device `d` (a number with alias 1, a text with alias 2).
    pub(crate) fn born() -> Scene {
        let mut scene = Scene::new(HostOptions::default());
        scene.births();
        scene
    }

    pub(crate) fn births(&mut self) -> Vec<Event> {
        let bd_seq = born("bdSeq", 9, DataType::Int64, MetricValue::Long(3));
        let mut events = self.heard("NBIRTH/n", Some(0), vec![Metric { alias: None, ..bd_seq }]);
        let number = born("number", 1, DataType::Int32, MetricValue::Int(5));
        let text = born("text", 2, DataType::String, MetricValue::String("a".to_owned()));
        events.extend(self.heard("DBIRTH/n/d", Some(1), vec![number, text]));
        events
    }

    pub(crate) fn heard(&mut self, topic: &str, seq: Option<u64>, metrics: Vec<Metric>) -> Vec<Event> {
        let payload = Payload { timestamp: Some(START as u64 + 2), metrics, seq, ..Payload::default() };
        let (verb, rest) = topic.split_once('/').unwrap();
        let mut events = Vec::new();
        self.host.heard(&format!("spBv1.0/g/{verb}/{rest}"), &encode(&payload), self.now, &mut events);
        events
    }

    pub(crate) fn run_after(&mut self, time: Duration) -> Vec<Event> {
        self.now.at += time;
        let mut events = Vec::new();
        self.host.run(self.now, &mut events);
        events
    }
}

/// All samples of the events, with the names of their metrics.
pub(crate) fn samples(events: &[Event]) -> Vec<(String, Sample)> {
    let of = |event: &Event| match event {
        Event::Data { metrics, samples, .. } => {
            samples.iter().map(|sample| (metrics[sample.metric].name.to_string(), sample.clone())).collect()
        }
        _ => Vec::new(),
    };
    events.iter().flat_map(of).collect()
}

pub(crate) fn asks(events: &[Event]) -> usize {
    events.iter().filter(|event| matches!(event, Event::Ask(_))).count()
}
