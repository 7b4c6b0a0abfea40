//! A plant in memory, and an edge node over it whose messages are read again.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tidegate_model::{
    Column, Name, Reason, Row, Slot, Stream, StreamId, TagName, Timestamp, Value, ValueKind, ValueType,
};
use tidegate_sparkplug::{
    Bounds, DataType, Device, EdgeNode, EdgeOptions, Heard, Latest, Message, MetricInfo, Now, Plant, decode,
    wire::{Metric, Payload},
};

/// A device that tests change.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) name: Name,
    pub(crate) metrics: Vec<MetricInfo>,
    pub(crate) there: Option<bool>,
    pub(crate) latest: Vec<Latest>,
}

#[derive(Default)]
pub(crate) struct FakePlant {
    version: u64,
    devices: Vec<Arc<Mutex<State>>>,
}

struct FakeDevice {
    name: Name,
    metrics: Vec<MetricInfo>,
    state: Arc<Mutex<State>>,
}

impl Device for FakeDevice {
    fn name(&self) -> &Name {
        &self.name
    }

    fn metrics(&self) -> &[MetricInfo] {
        &self.metrics
    }

    fn is_there(&self) -> Option<bool> {
        self.state.lock().unwrap().there
    }

    fn latest(&self, out: &mut Vec<Latest>) {
        out.extend(self.state.lock().unwrap().latest.iter().cloned());
    }
}

impl Plant for FakePlant {
    fn version(&self) -> u64 {
        self.version
    }

    fn devices(&self) -> Vec<Box<dyn Device>> {
        let device = |state: &Arc<Mutex<State>>| {
            let now = state.lock().unwrap();
            let (name, metrics) = (now.name.clone(), now.metrics.clone());
            let device: Box<dyn Device> = Box::new(FakeDevice { name, metrics, state: Arc::clone(state) });
            device
        };
        self.devices.iter().map(device).collect()
    }
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn tag(text: &str) -> TagName {
    text.parse().unwrap()
}

pub(crate) fn metric(text: &str, datatype: DataType) -> MetricInfo {
    MetricInfo { name: tag(text), datatype, unit: None, range: None, description: None, writable: false }
}

pub(crate) fn good(value: Value, time: i64) -> Latest {
    Latest { slot: Slot::Good(value), time: Some(Timestamp::from_millis(time)) }
}

pub(crate) fn nothing() -> Latest {
    Latest { slot: Slot::Bad(Reason::NotYetRead), time: None }
}

impl FakePlant {
    /// Adds a device that is there, or replaces one.
    pub(crate) fn put(&mut self, device: &str, metrics: Vec<MetricInfo>, latest: Vec<Latest>) -> Arc<Mutex<State>> {
        self.take(device);
        let state = State { name: name(device), metrics, there: Some(true), latest };
        let state = Arc::new(Mutex::new(state));
        self.devices.push(Arc::clone(&state));
        state
    }

    pub(crate) fn take(&mut self, device: &str) {
        self.version += 1;
        self.devices.retain(|state| state.lock().unwrap().name.as_str() != device);
    }
}

/// Bytes of a payload, at most.
pub(crate) const LARGEST: usize = 100_000;

/// An edge node, its plant, and the time.
pub(crate) struct Scene {
    pub(crate) node: EdgeNode,
    pub(crate) plant: FakePlant,
    pub(crate) now: Now,
}

/// A message that was published.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Published {
    pub(crate) topic: String,
    pub(crate) payload: Payload,
}

impl Published {
    pub(crate) fn of(message: &Message) -> Published {
        Published { topic: message.topic.clone(), payload: decode(&message.payload, Bounds::default()).unwrap() }
    }

    pub(crate) fn metric(&self, name: &str) -> &Metric {
        let found = self.payload.metrics.iter().find(|metric| metric.name.as_deref() == Some(name));
        found.unwrap_or_else(|| panic!("no metric {name:?} in {self:#?}"))
    }
}

/// 2023-11-14.
pub(crate) const START: i64 = 1_700_000_000_000;

impl Scene {
    /// The plant of two devices: `meter-1` with a voltage and a setpoint that can be written, `meter-2` with a counter.
    pub(crate) fn new(primary_host: Option<&str>) -> Scene {
        let mut plant = FakePlant::default();
        let setpoint = MetricInfo { writable: true, ..metric("setpoint", DataType::Int64) };
        let voltage = MetricInfo {
            unit: Some("V".to_owned()),
            range: Some((0.0, 500.0)),
            description: Some("Phase 1".to_owned()),
            ..metric("voltage", DataType::Double)
        };
        let latest = vec![good(Value::F64(229.8), START - 10), good(Value::Int(-5), START - 10)];
        plant.put("meter-1", vec![voltage, setpoint], latest);
        plant.put("meter-2", vec![metric("count", DataType::UInt64)], vec![good(Value::Uint(u64::MAX), START - 20)]);
        let options = EdgeOptions {
            group: "plant".parse().unwrap(),
            node: "line3".parse().unwrap(),
            primary_host: primary_host.map(|host| host.parse().unwrap()),
            software: "Tidegate 0.1.0".to_owned(),
            largest: LARGEST,
        };
        let now = Now { at: Instant::now(), time: Timestamp::from_millis(START) };
        Scene { node: EdgeNode::new(options, now.time), plant, now }
    }

    /// The same, with a connection whose births are out; those are given.
    pub(crate) fn born() -> (Scene, Vec<Published>) {
        let mut scene = Scene::new(None);
        scene.connect(0);
        let births = scene.run();
        (scene, births)
    }

    /// Another process of the same gateway.
    pub(crate) fn start_anew(&mut self) {
        let options = EdgeOptions {
            group: "plant".parse().unwrap(),
            node: "line3".parse().unwrap(),
            primary_host: None,
            software: "Tidegate 0.1.0".to_owned(),
            largest: LARGEST,
        };
        self.node = EdgeNode::new(options, self.now.time);
    }

    pub(crate) fn connect(&mut self, bd_seq: u8) -> Published {
        let will = self.node.will(bd_seq, self.now);
        self.node.look(&self.plant);
        self.node.connected(self.now);
        Published::of(&will)
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now.at += time;
        let millis = i64::try_from(time.as_millis()).unwrap();
        self.now.time = Timestamp::from_millis(self.now.time.as_millis() + millis);
    }

    pub(crate) fn run(&mut self) -> Vec<Published> {
        let mut out = Vec::new();
        self.node.run(&self.plant, self.now, &mut out);
        out.iter().map(Published::of).collect()
    }

    pub(crate) fn rows(&mut self, rows: &[Arc<Row>], past: bool) -> Vec<Published> {
        let mut out = Vec::new();
        self.node.rows(rows, past, self.now, &mut out);
        out.iter().map(Published::of).collect()
    }

    pub(crate) fn heard(&mut self, topic: &str, metrics: Vec<Metric>) -> Heard {
        let payload = Payload { timestamp: Some(1), metrics, ..Payload::default() };
        self.node.heard(topic, &tidegate_sparkplug::encode(&payload), false, self.now)
    }

    pub(crate) fn state(&mut self, host: &str, online: bool, timestamp: u64) -> Heard {
        let payload = format!("{{\"online\":{online},\"timestamp\":{timestamp}}}");
        self.node.heard(&format!("spBv1.0/STATE/{host}"), payload.as_bytes(), true, self.now)
    }
}

/// A stream of `device` with these columns.
pub(crate) fn stream(id: u32, device: &str, columns: &[(&str, ValueKind)]) -> Arc<Stream> {
    let column = |(column, kind): &(&str, ValueKind)| Column::new(tag(column), ValueType::single(*kind));
    let columns: Vec<Column> = columns.iter().map(column).collect();
    Arc::new(Stream::new(StreamId(id), name(device), name("fast"), columns))
}

pub(crate) fn meter_1() -> Arc<Stream> {
    stream(1, "meter-1", &[("voltage", ValueKind::F64), ("setpoint", ValueKind::Int)])
}

pub(crate) fn row(stream: &Arc<Stream>, time: i64, slots: Vec<Slot>) -> Arc<Row> {
    let (time, slots) = (Timestamp::from_millis(time), slots.into());
    Arc::new(Row { stream: Arc::clone(stream), seq: 1, time, device_time: None, slots })
}

/// Topics of messages, without what is the same in all.
pub(crate) fn topics(messages: &[Published]) -> Vec<String> {
    let short = |message: &Published| message.topic.replace("spBv1.0/plant/", "").replace("/line3", "");
    messages.iter().map(short).collect()
}
