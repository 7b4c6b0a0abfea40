//! How fast a poll goes through the stages: `cargo run --release -p tidegate-pipeline --example pipeline_speed`.
//!
//! One group of 1,000 tags, polled again and again with new values. Every figure is the best of many polls, so that a neighbour on
//! the machine disturbs little.

use std::{
    error::Error,
    hint::black_box,
    time::{Duration, Instant},
};

use tidegate_config::{
    Access, At, Deadband, Group, Origin, Range, RawNumber, Report, ReportWhen, Rounding, Scaling, SwingingDoor, Table,
    Tag, TagSource, Threshold,
};
use tidegate_model::{NameError, Reading, Timestamp, Value, ValueKind, ValueType};
use tidegate_pipeline::{Outcome, Stages, State};

const TAGS: u32 = 1_000;
const POLLS: u32 = 500;

fn at<T>(value: T) -> At<T> {
    At { value, origin: Origin::Default }
}

fn tag(name: String) -> Result<Tag, NameError> {
    Ok(Tag {
        name: name.parse()?,
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
    })
}

/// The best time of a poll, by tag.
fn measure(
    title: &str,
    kind: ValueKind,
    report: ReportWhen,
    make: impl Fn(Tag) -> Tag,
    value: impl Fn(u32, u32) -> Value,
) -> Result<(), Box<dyn Error>> {
    let mut tags = Vec::new();
    for index in 0..TAGS {
        tags.push(make(tag(format!("t{index}"))?));
    }
    let group = Group {
        name: "fast".parse()?,
        origin: Origin::Default,
        table: Table::empty("group", Origin::Default),
        interval: Duration::from_secs(1),
        report,
        device_time: None,
        tags,
    };
    let of_tag = |tag: &Tag| matches!(tag.source, TagSource::Device(_)).then_some(ValueType::single(kind));
    let raw: Vec<Option<ValueType>> = group.tags.iter().map(of_tag).collect();
    let mut mistakes = Report::new();
    let stages = Stages::compile(&group, &raw, &mut mistakes).ok_or_else(|| mistakes.render())?;
    let mut state = State::new(&stages);
    let (mut best, mut best_thinning) = (Duration::MAX, Duration::MAX);
    let mut thinning = stages.thinning();
    let mut before: Option<Outcome> = None;
    for poll in 0..POLLS {
        let mut readings: Vec<Reading> = (0..TAGS).map(|tag| Reading::Value(value(poll, tag))).collect();
        let time = Timestamp::from_millis(1_700_000_000_000 + i64::from(poll));
        let start = Instant::now();
        let outcome = stages.run(&mut state, &mut readings, Duration::from_secs(u64::from(poll)), time);
        best = best.min(start.elapsed());
        if let (Some(thinning), Some(outcome)) = (&mut thinning, &outcome) {
            let start = Instant::now();
            black_box(thinning.next(before.as_mut().map(|before| &mut *before.slots), time, &outcome.slots));
            // The first two only begin their lines.
            if poll > 1 {
                best_thinning = best_thinning.min(start.elapsed());
            }
        }
        before = black_box(outcome);
    }
    println!("{title:<44} {:6.1} ns", best.as_secs_f64() * 1e9 / f64::from(TAGS));
    if thinning.is_some() {
        println!("{:<44} {:6.1} ns", "  and the way to the store", best_thinning.as_secs_f64() * 1e9 / f64::from(TAGS));
    }
    Ok(())
}

/// The best time of a row in which one tag of all has come, by row.
fn measure_arrival(title: &str, make: impl Fn(Tag) -> Tag) -> Result<(), Box<dyn Error>> {
    let mut tags = Vec::new();
    for index in 0..TAGS {
        tags.push(make(tag(format!("t{index}"))?));
    }
    let group = Group {
        name: "fast".parse()?,
        origin: Origin::Default,
        table: Table::empty("group", Origin::Default),
        interval: Duration::from_secs(1),
        report: ReportWhen::Always,
        device_time: None,
        tags,
    };
    let raw = vec![Some(ValueType::single(ValueKind::F64)); group.tags.len()];
    let mut mistakes = Report::new();
    let stages = Stages::compile(&group, &raw, &mut mistakes).ok_or_else(|| mistakes.render())?;
    let mut state = State::of_arrivals(&stages);
    let mut best = Duration::MAX;
    for (row, column) in (0..POLLS).zip((0..group.tags.len()).cycle()) {
        let mut readings = vec![Reading::Missing; group.tags.len()];
        if let Some(reading) = readings.get_mut(column) {
            *reading = Reading::Value(Value::F64(f64::from(row)));
        }
        let time = Timestamp::from_millis(1_700_000_000_000 + i64::from(row));
        let start = Instant::now();
        black_box(stages.run_partial(&mut state, &mut readings, Duration::from_secs(u64::from(row)), time));
        best = best.min(start.elapsed());
    }
    println!("{title:<44} {:6.1} ns", best.as_secs_f64() * 1e9);
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let always = ReportWhen::Always;
    let int = |poll: u32, tag: u32| Value::Int(i64::from(poll * 7 + tag));
    let single = |poll: u32, tag: u32| Value::F32(f32::from(u16::try_from(poll * 7 + tag).unwrap_or(0)) / 16.0);
    let range = || Some(at(Range { low: 0.0, high: 1e6 }));
    let deadband = |threshold| Some(at(Deadband { threshold: Threshold::Absolute(threshold), max_silence: None }));
    let scaling = || Some(at(Scaling { scale: "0.1".to_owned(), offset: "-40".to_owned() }));

    println!("per tag, {TAGS} tags a poll:");
    measure("f32", ValueKind::F32, always, |tag| tag, single)?;
    measure("f32, range", ValueKind::F32, always, |tag| Tag { range: range(), ..tag }, single)?;
    measure("integer, scale", ValueKind::Int, always, |tag| Tag { scaling: scaling(), ..tag }, int)?;
    let invalid = || vec![at(RawNumber::Integer(-32768)), at(RawNumber::Integer(32767))];
    measure("integer, two invalid numbers", ValueKind::Int, always, |tag| Tag { invalid: invalid(), ..tag }, int)?;
    let nan = || vec![at(RawNumber::Float(f64::NAN))];
    measure("f32, NaN is invalid", ValueKind::F32, always, |tag| Tag { invalid: nan(), ..tag }, single)?;
    let error = || "0.05".to_owned();
    let rounding = || Some(at(Rounding { error: error() }));
    measure("f32, rounding", ValueKind::F32, always, |tag| Tag { rounding: rounding(), ..tag }, single)?;
    let scaled = |tag| Tag { scaling: scaling(), rounding: rounding(), ..tag };
    measure("integer, scale, rounding", ValueKind::Int, always, scaled, int)?;
    let door = |tag| {
        let door = SwingingDoor { error: error(), max_silence: Duration::from_secs(900) };
        Tag { swinging_door: Some(at(door)), ..tag }
    };
    measure("f32, swinging door", ValueKind::F32, always, door, single)?;
    let full = |tag| Tag { scaling: scaling(), range: range(), deadband: deadband(0.1), ..tag };
    measure("integer, scale, range, deadband, all move", ValueKind::Int, always, full, int)?;
    let still = |tag| Tag { deadband: deadband(1e6), ..tag };
    measure("f32, deadband, none moves", ValueKind::F32, always, still, single)?;
    measure("f32, on change, all change", ValueKind::F32, ReportWhen::OnChange, |tag| tag, single)?;
    measure("f32, on change, none changes", ValueKind::F32, ReportWhen::OnChange, |tag| tag, |_, tag| single(0, tag))?;
    let texts = || Some(at((0..10).map(|number| (number, format!("state {number}"))).collect()));
    let state = |_, tag| Value::Int(i64::from(tag % 10));
    measure("enumeration of ten texts", ValueKind::Int, always, |tag| Tag { texts: texts(), ..tag }, state)?;
    let sum = |tag: Tag| {
        let is_input = ["t0", "t1"].contains(&tag.name.as_str());
        let source = if is_input { tag.source } else { TagSource::Expression(at("t0 * 2 + t1".to_owned())) };
        Tag { source, ..tag }
    };
    measure("expression t0 * 2 + t1", ValueKind::F32, always, sum, single)?;

    println!("per row, one tag of {TAGS} has come:");
    measure_arrival("no stage", |tag| tag)?;
    measure_arrival("scale, range", |tag| Tag { scaling: scaling(), range: range(), ..tag })?;
    let silent = Deadband { threshold: Threshold::Absolute(0.1), max_silence: Some(Duration::from_secs(1 << 20)) };
    measure_arrival("deadband with a longest silence", |tag| Tag { deadband: Some(at(silent)), ..tag })?;
    Ok(())
}
