//! Groups as a profile would give them, and a device to poll.

use std::{sync::Arc, time::Duration};

use tidegate_config::{
    Access, At, Deadband, Group, Origin, Place, Range, RawNumber, Report, ReportWhen, Scaling, Source, Table, Tag,
    TagSource, Threshold,
};
use tidegate_model::{Reading, Reason, Slot, Timestamp, Value, ValueKind, ValueType};
use tidegate_pipeline::{Outcome, Stages, State};

/// The wall clock of every poll.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

pub(crate) fn at<T>(value: T) -> At<T> {
    At { value, origin: Origin::Default }
}

/// A tag that is read from the device and has no stage.
pub(crate) fn tag(name: &str) -> Tag {
    Tag {
        name: name.parse().unwrap(),
        origin: Origin::Default,
        description: None,
        unit: None,
        source: TagSource::Device(Table::empty("tag", Origin::Default)),
        invalid: Vec::new(),
        scaling: None,
        texts: None,
        range: None,
        rounding: None,
        swinging_door: None,
        deadband: None,
        access: Access::Read,
        minimum: None,
        maximum: None,
    }
}

pub(crate) fn constant(name: &str, value: Value) -> Tag {
    Tag { source: TagSource::Constant(value), ..tag(name) }
}

/// A calculated tag whose expression stands in a file of its own.
pub(crate) fn calculated(name: &str, expression: &str) -> Tag {
    let source: Arc<Source> = Source::new(format!("{name}.toml"), format!("expr = \"{expression}\"\n"));
    let origin = Origin::File(Place::new(&source, 7..9 + expression.len()));
    Tag { source: TagSource::Expression(At { value: expression.to_owned(), origin }), ..tag(name) }
}

pub(crate) fn scaling(scale: &str, offset: &str) -> Option<At<Scaling>> {
    Some(at(Scaling { scale: scale.to_owned(), offset: offset.to_owned() }))
}

pub(crate) fn texts(texts: &[(i64, &str)]) -> Option<At<Vec<(i64, String)>>> {
    Some(at(texts.iter().map(|(number, text)| (*number, (*text).to_owned())).collect()))
}

/// These whole numbers mean that the device has no value.
pub(crate) fn invalid(numbers: &[i128]) -> Vec<At<RawNumber>> {
    numbers.iter().map(|number| at(RawNumber::Integer(*number))).collect()
}

/// These floats do.
pub(crate) fn invalid_floats(numbers: &[f64]) -> Vec<At<RawNumber>> {
    numbers.iter().map(|number| at(RawNumber::Float(*number))).collect()
}

pub(crate) fn range(low: f64, high: f64) -> Option<At<Range>> {
    Some(at(Range { low, high }))
}

pub(crate) fn deadband(threshold: f64, max_silence: Option<u64>) -> Option<At<Deadband>> {
    let max_silence = max_silence.map(Duration::from_secs);
    Some(at(Deadband { threshold: Threshold::Absolute(threshold), max_silence }))
}

pub(crate) fn group(report: ReportWhen, tags: Vec<Tag>) -> Group {
    Group {
        name: "fast".parse().unwrap(),
        origin: Origin::Default,
        table: Table::empty("group", Origin::Default),
        interval: Duration::from_secs(1),
        report,
        device_time: None,
        tags,
    }
}

/// What the driver delivers: a single value of this kind for every tag of the device.
pub(crate) fn raw(group: &Group, kind: ValueKind) -> Vec<Option<ValueType>> {
    let of_tag = |tag: &Tag| matches!(tag.source, TagSource::Device(_)).then_some(ValueType::single(kind));
    group.tags.iter().map(of_tag).collect()
}

/// The stages of a group without mistakes.
pub(crate) fn stages(group: &Group, raw: &[Option<ValueType>]) -> Stages {
    let mut report = Report::new();
    let stages = Stages::compile(group, raw, &mut report);
    assert_eq!(report.mistakes(), [], "{}", report.render());
    stages.unwrap()
}

/// One device, polled every second.
pub(crate) struct Polled {
    pub(crate) stages: Stages,
    pub(crate) state: State,
    second: u64,
}

impl Polled {
    pub(crate) fn new(group: &Group, kind: ValueKind) -> Polled {
        let stages = stages(group, &raw(group, kind));
        let state = State::new(&stages);
        Polled { stages, state, second: 0 }
    }

    pub(crate) fn outcome(&mut self, readings: &[Reading]) -> Option<Outcome> {
        self.second += 1;
        let since_start = Duration::from_secs(self.second);
        self.stages.run(&mut self.state, &mut readings.to_vec(), since_start, NOW)
    }

    /// The slots of the row, if there is one.
    pub(crate) fn poll(&mut self, readings: &[Reading]) -> Option<Vec<Slot>> {
        self.outcome(readings).map(|outcome| outcome.slots.into_vec())
    }
}

pub(crate) fn f32s(numbers: &[f32]) -> Vec<Reading> {
    numbers.iter().map(|number| Reading::Value(Value::F32(*number))).collect()
}

pub(crate) fn ints(numbers: &[i64]) -> Vec<Reading> {
    numbers.iter().map(|number| Reading::Value(Value::Int(*number))).collect()
}

pub(crate) fn good_f32(number: f32) -> Slot {
    Slot::Good(Value::F32(number))
}

pub(crate) fn good_f64(number: f64) -> Slot {
    Slot::Good(Value::F64(number))
}

pub(crate) fn good_int(number: i64) -> Slot {
    Slot::Good(Value::Int(number))
}

pub(crate) fn good_text(text: &str) -> Slot {
    Slot::Good(Value::Text(text.into()))
}

pub(crate) const INVALID: Slot = Slot::Bad(Reason::InvalidValue);
pub(crate) const TIMEOUT: Slot = Slot::Bad(Reason::Timeout);

/// Numbers that look random and are the same in every run (SplitMix64).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    /// Evenly between two numbers.
    #[expect(clippy::as_conversions, reason = "53 bits are exact")]
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.below(1 << 53) as f64 / (1_u64 << 53) as f64)
    }
}
