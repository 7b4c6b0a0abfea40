//! What a poll makes of what the device says.

use tidegate_config::{Access, DeviceTimeUnit, Group, ReportWhen, Tag};
use tidegate_model::{Reading, Reason, Slot, Timestamp, Value, ValueKind, ValueType};

use crate::group::{
    NOW, Polled, TIMEOUT, constant, f32s, good_f32, good_f64, good_int, good_text, group, ints, range, raw, scaling,
    stages, tag, texts,
};

#[test]
fn what_the_device_says_is_what_is_delivered_without_stages() {
    let mut polled = Polled::new(&group(ReportWhen::Always, vec![tag("a"), tag("b"), tag("c")]), ValueKind::F32);
    let mut readings = f32s(&[229.8, f32::NAN]);
    readings.push(Reading::Failed(Reason::Timeout));
    let slots = polled.poll(&readings).unwrap();
    assert_eq!((&slots[0], &slots[2]), (&good_f32(229.8), &TIMEOUT));
    assert!(matches!(slots[1], Slot::Good(Value::F32(number)) if number.is_nan()));
}

#[test]
fn scale_and_offset_give_the_decimal_that_is_meant() {
    let tags = vec![
        Tag { scaling: scaling("0.1", "0"), ..tag("voltage") },
        Tag { scaling: scaling("0.01", "-40"), ..tag("temperature") },
        Tag { scaling: scaling("1", "0"), ..tag("count") },
    ];
    let group = group(ReportWhen::Always, tags);
    let mut polled = Polled::new(&group, ValueKind::Int);
    let kinds: Vec<ValueKind> = polled.stages.columns().iter().map(|column| column.value_type.kind).collect();
    assert_eq!(kinds, [ValueKind::F64, ValueKind::F64, ValueKind::Int]);
    assert_eq!(polled.poll(&ints(&[2298, 6123, 7])), Some(vec![good_f64(229.8), good_f64(21.23), good_int(7)]));
}

#[test]
fn a_scaled_32_bit_float_stays_one() {
    let mut polled =
        Polled::new(&group(ReportWhen::Always, vec![Tag { scaling: scaling("0.1", "0"), ..tag("a") }]), ValueKind::F32);
    assert_eq!(polled.stages.columns()[0].value_type, ValueType::single(ValueKind::F32));
    assert_eq!(polled.poll(&f32s(&[2298.0])), Some(vec![good_f32(229.8)]));
}

#[test]
fn an_enumeration_is_delivered_as_text() {
    let tags = vec![Tag { texts: texts(&[(0, "off"), (1, "on")]), ..tag("mode") }];
    let mut polled = Polled::new(&group(ReportWhen::Always, tags), ValueKind::Int);
    assert_eq!(polled.stages.columns()[0].value_type, ValueType::single(ValueKind::Text));
    assert_eq!(polled.poll(&ints(&[1])), Some(vec![good_text("on")]));
    let unknown = Slot::Uncertain(Value::Text("9".into()), Reason::OutOfRange);
    assert_eq!(polled.poll(&ints(&[9])), Some(vec![unknown]));
}

#[test]
fn a_value_outside_of_its_range_is_uncertain_and_kept() {
    let tags = vec![Tag { range: range(0.0, 50.0), scaling: scaling("0.1", "0"), ..tag("a") }];
    let mut polled = Polled::new(&group(ReportWhen::Always, tags), ValueKind::Int);
    assert_eq!(polled.poll(&ints(&[500])), Some(vec![good_f64(50.0)]));
    assert_eq!(polled.poll(&ints(&[501])), Some(vec![Slot::Uncertain(Value::F64(50.1), Reason::OutOfRange)]));
    assert_eq!(polled.poll(&[Reading::Failed(Reason::Timeout)]), Some(vec![TIMEOUT]));
}

#[test]
fn a_tag_without_a_reading_is_bad_and_never_zero() {
    let mut polled = Polled::new(&group(ReportWhen::Always, vec![tag("a"), tag("b")]), ValueKind::F32);
    let missing = Slot::Bad(Reason::NotYetRead);
    assert_eq!(polled.poll(&[Reading::Missing, Reading::Missing]), Some(vec![missing.clone(), missing.clone()]));
    assert_eq!(polled.poll(&f32s(&[1.0])), Some(vec![good_f32(1.0), missing]));
}

#[test]
fn a_reading_that_is_no_number_is_bad_where_a_number_is_scaled() {
    let mut polled =
        Polled::new(&group(ReportWhen::Always, vec![Tag { scaling: scaling("0.1", "0"), ..tag("a") }]), ValueKind::Int);
    let text = Reading::Value(Value::Text("x".into()));
    assert_eq!(polled.poll(&[text]), Some(vec![Slot::Bad(Reason::InvalidValue)]));
}

#[test]
fn a_constant_is_in_every_row_and_a_written_tag_in_none() {
    let tags = vec![
        constant("rated_power", Value::Int(3000)),
        Tag { access: Access::Write, ..tag("reset") },
        Tag { access: Access::ReadWrite, ..tag("setpoint") },
    ];
    let mut polled = Polled::new(&group(ReportWhen::Always, tags), ValueKind::Int);
    assert_eq!(polled.state.latest(), [Slot::Bad(Reason::NotYetRead), Slot::Unchanged, Slot::Bad(Reason::NotYetRead)]);
    let names: Vec<String> = polled.stages.columns().iter().map(|column| column.name.to_string()).collect();
    assert_eq!(names, ["rated_power", "reset", "setpoint"]);
    let readings = [Reading::Missing, Reading::Missing, Reading::Value(Value::Int(42))];
    let row = vec![good_int(3000), Slot::Unchanged, good_int(42)];
    assert_eq!(polled.poll(&readings), Some(row.clone()));
    assert_eq!(polled.poll(&readings), Some(row.clone()));
    assert_eq!(polled.state.latest(), row);
}

#[test]
fn readings_are_taken_out() {
    let group = group(ReportWhen::Always, vec![tag("a")]);
    let Polled { stages, mut state, .. } = Polled::new(&group, ValueKind::F32);
    let mut readings = f32s(&[1.0]);
    stages.run(&mut state, &mut readings, std::time::Duration::ZERO, NOW);
    assert_eq!(readings, [Reading::Missing]);
}

#[test]
fn arrays_are_scaled_and_checked_item_by_item() {
    let group =
        group(ReportWhen::Always, vec![Tag { scaling: scaling("0.1", "0"), range: range(0.0, 10.0), ..tag("curve") }]);
    let raw = [Some(ValueType { kind: ValueKind::Uint, items: Some(2) })];
    let stages = stages(&group, &raw);
    assert_eq!(stages.columns()[0].value_type, ValueType { kind: ValueKind::F64, items: Some(2) });
    let mut state = tidegate_pipeline::State::new(&stages);
    let mut poll = |items: [u64; 2]| {
        let mut readings = [Reading::Value(Value::Array(items.map(Value::Uint).into()))];
        stages.run(&mut state, &mut readings, std::time::Duration::ZERO, NOW).unwrap().slots[0].clone()
    };
    let array = |items: [f64; 2]| Value::Array(items.map(Value::F64).into());
    assert_eq!(poll([1, 100]), Slot::Good(array([0.1, 10.0])));
    assert_eq!(poll([1, 101]), Slot::Uncertain(array([0.1, 10.1]), Reason::OutOfRange));
}

fn with_clock(report: ReportWhen) -> Group {
    Group { device_time: Some((1, DeviceTimeUnit::Seconds)), ..group(report, vec![tag("a"), tag("clock")]) }
}

#[test]
fn the_devices_own_time_is_kept_when_it_is_plausible() {
    let mut polled = Polled::new(&with_clock(ReportWhen::Always), ValueKind::Int);
    let time = |polled: &mut Polled, clock| polled.outcome(&ints(&[1, clock])).unwrap().device_time;
    assert_eq!(time(&mut polled, 1_699_999_999), Some(Timestamp::from_millis(1_699_999_999_000)));
    assert_eq!(time(&mut polled, 17), None);
    let lost = [Reading::Value(Value::Int(1)), Reading::Failed(Reason::Timeout)];
    assert_eq!(polled.outcome(&lost).unwrap().device_time, None);
}

#[test]
fn a_ticking_clock_alone_makes_no_row_in_an_on_change_group() {
    let mut polled = Polled::new(&with_clock(ReportWhen::OnChange), ValueKind::Int);
    assert_eq!(polled.poll(&ints(&[1, 1_699_999_990])), Some(vec![good_int(1), good_int(1_699_999_990)]));
    assert_eq!(polled.poll(&ints(&[1, 1_699_999_991])), None);
    assert_eq!(polled.poll(&ints(&[2, 1_699_999_992])), Some(vec![good_int(2), good_int(1_699_999_992)]));
}

#[test]
fn units_and_names_are_those_of_the_profile() {
    let group = group(ReportWhen::Always, vec![Tag { unit: Some("V".to_owned()), ..tag("voltage_l1") }]);
    let columns = stages(&group, &raw(&group, ValueKind::F32)).columns();
    assert_eq!(columns[0].name.as_str(), "voltage_l1");
    assert_eq!(columns[0].unit.as_deref(), Some("V"));
}
