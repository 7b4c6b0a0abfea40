//! Where rounding stands among the stages, and what a column says about its loss.

use tidegate_config::{At, DeviceTimeUnit, ReportWhen, Rounding, SwingingDoor, Tag};
use tidegate_model::{Column, Loss, Reading, Reason, Slot, Value, ValueKind};

use crate::group::{
    NOW, Polled, at, calculated, deadband, good_f64, good_int, group, ints, range, raw, scaling, stages, tag,
};

fn rounding(error: &str) -> Option<At<Rounding>> {
    Some(at(Rounding { error: error.to_owned() }))
}

fn f64s(numbers: &[f64]) -> Vec<Reading> {
    numbers.iter().map(|number| Reading::Value(Value::F64(*number))).collect()
}

fn columns(tags: Vec<Tag>, kind: ValueKind) -> Vec<Column> {
    let group = group(ReportWhen::Always, tags);
    stages(&group, &raw(&group, kind)).columns()
}

#[test]
fn what_is_delivered_is_rounded_after_its_scale_and_before_its_deadband() {
    let scaled = Tag { scaling: scaling("0.01", "0"), rounding: rounding("0.05"), ..tag("a") };
    let banded = Tag { deadband: deadband(0.1, None), ..Tag { rounding: rounding("0.05"), ..tag("b") } };
    let tags = vec![scaled, Tag { scaling: scaling("0.01", "0"), ..banded }];
    let mut polled = Polled::new(&group(ReportWhen::Always, tags), ValueKind::Int);
    assert_eq!(polled.poll(&ints(&[22_983, 22_983])), Some(vec![good_f64(229.8), good_f64(229.8)]));
    // 229.84 rounds to the value that is known.
    assert_eq!(polled.poll(&ints(&[22_984, 22_984])), Some(vec![good_f64(229.8), Slot::Unchanged]));
    assert_eq!(polled.state.latest(), [good_f64(229.8), good_f64(229.8)]);
    assert_eq!(polled.poll(&ints(&[22_986, 22_986])), Some(vec![good_f64(229.9), good_f64(229.9)]));
}

#[test]
fn the_range_judges_what_the_device_says() {
    let ranged = Tag { rounding: rounding("0.5"), range: range(0.0, 10.0), ..tag("a") };
    let mut polled = Polled::new(&group(ReportWhen::Always, vec![ranged]), ValueKind::F64);
    assert_eq!(polled.poll(&f64s(&[9.9])), Some(vec![good_f64(10.0)]));
    let implausible = Slot::Uncertain(Value::F64(10.0), Reason::OutOfRange);
    assert_eq!(polled.poll(&f64s(&[10.2])), Some(vec![implausible]));
}

#[test]
fn calculated_tags_and_the_devices_clock_see_the_exact_value() {
    let clock = Tag { rounding: rounding("1e6"), ..tag("clock") };
    let sum = Tag { rounding: rounding("0.5"), ..calculated("sum", "clock / 1000000") };
    let mut group = group(ReportWhen::Always, vec![clock, sum]);
    group.device_time = Some((0, DeviceTimeUnit::Seconds));
    let mut polled = Polled::new(&group, ValueKind::Int);
    let outcome = polled.outcome(&ints(&[1_699_400_000])).unwrap();
    assert_eq!(outcome.device_time.map(|time| time.millis_since(NOW)), Some(-600_000_000));
    assert_eq!(*outcome.slots, [good_int(1_700_000_000), good_f64(1_699.0)]);
}

#[test]
fn a_column_says_what_is_lost_of_it() {
    let door = SwingingDoor { error: "0.05".to_owned(), max_silence: std::time::Duration::from_secs(900) };
    let tags = vec![
        Tag { rounding: rounding("0.05"), ..tag("rounded") },
        Tag { swinging_door: Some(at(door)), ..tag("thinned") },
        tag("exact"),
    ];
    let losses: Vec<Option<Loss>> = columns(tags, ValueKind::F64).into_iter().map(|column| column.loss).collect();
    let expected = [
        Some(Loss::Rounding { error: "0.05".to_owned() }),
        Some(Loss::SwingingDoor { error: "0.05".to_owned(), max_silence: 900_000 }),
        None,
    ];
    assert_eq!(losses, expected);
}

#[test]
fn an_integer_with_an_error_below_1_loses_nothing() {
    let tags = vec![Tag { rounding: rounding("0.9"), ..tag("a") }];
    assert_eq!(columns(tags, ValueKind::Uint)[0].loss, None);
    let tags = vec![Tag { rounding: rounding("1"), ..tag("a") }];
    assert_eq!(columns(tags, ValueKind::Uint)[0].loss, Some(Loss::Rounding { error: "1".to_owned() }));
}

#[test]
fn what_is_written_is_not_rounded() {
    let setpoint = Tag { access: tidegate_config::Access::ReadWrite, rounding: rounding("5"), ..tag("a") };
    let group = group(ReportWhen::Always, vec![setpoint]);
    let stages = stages(&group, &raw(&group, ValueKind::F64));
    assert_eq!(stages.to_raw(0, &Value::F64(42.25)), Ok(Value::F64(42.25)));
}
