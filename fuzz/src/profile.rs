//! A profile, from its text to the first polls.

use std::time::Duration;

use tidegate_config::{Group, Report, Source, parse_profile};
use tidegate_driver_api::{Driver, GroupPlan};
use tidegate_driver_modbus::ModbusTcp;
use tidegate_model::{Reading, Reason, Slot, Timestamp, Value, ValueKind, ValueType};
use tidegate_pipeline::{Stages, State};

/// Reads the bytes as a Modbus profile, plans and compiles it, prints the report, and polls what has no mistake with values that
/// devices should not have.
pub fn any_bytes(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut report = Report::new();
    let profile = parse_profile(&Source::new("profile.toml", text), &mut report);
    let plans = ModbusTcp::new().plan(&profile, &mut report);
    if let Some(plans) = plans.filter(|_| !report.has_errors()) {
        for (group, plan) in profile.groups.iter().zip(plans.iter()) {
            poll(group, plan, &mut report);
        }
    }
    report.render();
}

fn poll(group: &Group, plan: &GroupPlan, report: &mut Report) {
    let Some(stages) = Stages::compile(group, &plan.kinds, report) else {
        assert!(report.has_errors(), "a group is refused and nobody says why");
        return;
    };
    let columns = stages.columns().len();
    assert_eq!(columns, group.tags.len());
    let (mut state, mut thinning) = (State::new(&stages), stages.thinning());
    let mut before: Option<Box<[Slot]>> = None;
    for second in 0..8_u32 {
        let mut readings: Vec<Reading> = plan.kinds.iter().map(|kind| reading(*kind, second)).collect();
        let since_start = Duration::from_secs(second.into());
        let time = Timestamp::from_millis(1_700_000_000_000 + i64::from(second) * 1_000);
        let outcome = stages.run(&mut state, &mut readings, since_start, time);
        let slots = outcome.map(|outcome| outcome.slots);
        if let Some(slots) = &slots {
            assert_eq!(slots.len(), columns, "a row has a slot for each column");
        }
        if let (Some(thinning), Some(slots)) = (&mut thinning, &slots) {
            thinning.next(before.as_deref_mut(), time, slots);
        }
        before = slots;
        for (column, slot) in state.latest().iter().enumerate() {
            if let Some(value) = slot.value() {
                // A refusal is as good as a number.
                let _ = stages.to_raw(column, value);
            }
        }
    }
}

/// What a device of that type might say in the `turn`-th poll; what a tag that is not read has to say does not matter.
fn reading(kind: Option<ValueType>, turn: u32) -> Reading {
    let Some(kind) = kind else { return Reading::Missing };
    if turn == 5 {
        return Reading::Failed(Reason::Timeout);
    }
    let single = value(kind.kind, turn);
    Reading::Value(match kind.items {
        None => single,
        Some(items) => Value::Array((0..items.min(16)).map(|_| single.clone()).collect()),
    })
}

fn value(kind: ValueKind, turn: u32) -> Value {
    let one_of = |numbers: [f64; 4]| numbers.into_iter().cycle().nth(turn.try_into().unwrap_or(0)).unwrap_or(0.0);
    match kind {
        ValueKind::Bool => Value::Bool(turn.is_multiple_of(2)),
        ValueKind::Int => {
            Value::Int([i64::MIN, i64::MAX, 0, -1].into_iter().cycle().nth(turn.try_into().unwrap_or(0)).unwrap_or(0))
        }
        ValueKind::Uint => Value::Uint(if turn.is_multiple_of(2) { u64::MAX } else { turn.into() }),
        ValueKind::F32 if turn.is_multiple_of(4) => Value::F32(f32::MAX),
        ValueKind::F32 => Value::F32(if turn.is_multiple_of(3) { f32::NAN } else { -0.0 }),
        ValueKind::F64 => Value::F64(one_of([f64::MAX, f64::NAN, -1e-300, f64::NEG_INFINITY])),
        ValueKind::Text => Value::Text("\u{0}ü".into()),
        ValueKind::Bytes => Value::Bytes([0, 255].into()),
    }
}
