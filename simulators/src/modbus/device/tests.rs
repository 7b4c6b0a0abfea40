//! How the values of a device move, and how they are set.

use tidegate_config::{Report, Source, parse_profile};
use tidegate_driver_modbus::PrimaryTable;

use super::*;
use crate::modbus::{cell::Style, layout::Fill};

const PLANT: &str = r#"
    [profile]
    manufacturer = "Tidegate"
    model = "plant"
    driver = "modbus"
    [defaults]
    table = "input"
    type = "f32"
    group = "all"
    [[group]]
    name = "all"
    interval = "1s"
    [[tag]]
    name = "voltage"
    address = 0
    unit = "V"
    [[tag]]
    name = "energy"
    address = 2
    unit = "kWh"
    [[tag]]
    name = "temperature"
    address = 4
    type = "i16"
    scale = 0.1
    unit = "°C"
    [[tag]]
    name = "level"
    address = 5
    type = "u8"
    byte = "low"
    range = { low = 10.0, high = 20.0 }
    [[tag]]
    name = "mode"
    address = 6
    type = "u16"
    texts = { 2 = "idle", 5 = "running" }
    [[tag]]
    name = "pump"
    address = 7
    bit = 3
    type = "bool"
    [[tag]]
    name = "setpoint"
    table = "holding"
    address = 0
    access = "read_write"
    minimum = 20.0
    maximum = 60.0
    [[tag]]
    name = "ready"
    table = "discrete"
    type = "bool"
    address = 9
    [[tag]]
    name = "large"
    type = "u16"
    scale = 0.001
    unit = "V"
    address = 8
"#;

fn device(seed: u64, all_change: bool) -> Device {
    let mut report = Report::new();
    let profile = parse_profile(&Source::new("plant", PLANT), &mut report);
    let style = Style { all_change, full_precision: false };
    let map = Map::new(&profile, Fill::Gaps, style, &mut report);
    assert!(!report.has_errors(), "{}", report.render());
    Device::new(Arc::new(map.unwrap()), seed, all_change)
}

fn at(step: u32) -> Moment {
    Moment { millis: u64::from(step) * 100, step, unix_millis: 0 }
}

/// The values of a tag at every second of ten minutes.
fn course(tag: &str) -> Vec<f64> {
    let device = device(11, false);
    (0..600).map(|second| device.value(tag, at(second * 10)).unwrap().as_f64().unwrap()).collect()
}

fn inputs(device: &Device, step: u32) -> Vec<u8> {
    let mut out = Vec::new();
    let stretch = Stretch { table: PrimaryTable::Input, first: 0, count: 9 };
    device.carry_out(4, &Operation::Read(stretch), at(step), &mut out).unwrap();
    out
}

#[test]
fn the_same_seed_shows_the_same_values_however_often_they_are_read() {
    let (often, seldom, other) = (device(3, false), device(3, false), device(4, false));
    for step in 0..100 {
        inputs(&often, step);
    }
    assert_eq!(inputs(&often, 100), inputs(&seldom, 100));
    assert_ne!(inputs(&often, 100), inputs(&other, 100));
}

#[test]
fn values_move_as_their_unit_says() {
    assert!(course("voltage").iter().all(|volts| (225.0..=235.0).contains(volts)));
    assert!(course("temperature").iter().all(|degrees| (30.0..=60.0).contains(degrees)));
    assert!(course("level").iter().all(|level| (10.0..=20.0).contains(level)));
    let energy = course("energy");
    assert!(energy.windows(2).all(|pair| pair[0] <= pair[1]) && energy[0] < energy[599]);
    for tag in ["voltage", "temperature", "level"] {
        let course = course(tag);
        assert!(course.windows(2).filter(|pair| pair[0] != pair[1]).count() > 50, "{tag} stands still");
    }
}

#[test]
fn a_value_that_the_type_cannot_hold_moves_within_what_it_can() {
    let course = course("large");
    assert!(course.iter().all(|volts| (0.0..=65.535).contains(volts)));
    assert!(course.iter().any(|volts| (1.0..=64.0).contains(volts)) && course[0] != course[599]);
}

#[test]
fn an_enumeration_shows_its_texts_and_a_bit_is_on_or_off() {
    let device = device(5, false);
    let mut seen = std::collections::BTreeSet::new();
    for minute in 0..200 {
        let moment = at(minute * 600);
        seen.insert(format!("{:?}", device.value("mode", moment).unwrap()));
        assert!(matches!(device.value("pump", moment), Ok(Value::Bool(_))));
        assert!(matches!(device.value("ready", moment), Ok(Value::Bool(_))));
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["Text(\"idle\")", "Text(\"running\")"]);
}

#[test]
fn a_setpoint_rests_in_the_middle_until_it_is_written() {
    let device = device(1, false);
    assert_eq!(device.value("setpoint", at(0)).unwrap(), Value::F32(40.0));
    assert_eq!(device.value("setpoint", at(9_999)).unwrap(), Value::F32(40.0));
    let write = Stretch { table: PrimaryTable::Holding, first: 0, count: 2 };
    let bytes = 42.5_f32.to_be_bytes();
    device.carry_out(16, &Operation::WriteRegisters(write, &bytes), at(10_000), &mut Vec::new()).unwrap();
    assert_eq!(device.value("setpoint", at(99_999)).unwrap(), Value::F32(42.5));
}

#[test]
fn with_all_change_each_float_differs_from_the_read_before() {
    let device = device(1, true);
    for tag in ["voltage", "energy", "setpoint"] {
        let course: Vec<f64> = (0..2_000).map(|step| device.value(tag, at(step)).unwrap().as_f64().unwrap()).collect();
        assert!(course.windows(2).all(|pair| pair[0] != pair[1]), "{tag}");
    }
}

#[test]
fn a_value_that_was_set_stays_until_it_is_released() {
    let device = device(1, false);
    device.set("temperature", &Value::F64(21.5), true).unwrap();
    assert_eq!(device.raw("temperature", at(500)).unwrap(), Value::Int(215));
    assert_eq!(device.value("temperature", at(900)).unwrap(), Value::F64(21.5));
    device.release("temperature").unwrap();
    assert_ne!(device.value("temperature", at(900)).unwrap(), Value::F64(21.5));
    device.set("mode", &Value::Text("running".into()), true).unwrap();
    assert_eq!(device.raw("mode", at(0)).unwrap(), Value::Uint(5));
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let device = device(1, false);
    let before = device.raw("level", at(0)).unwrap();
    assert!(matches!(device.set("level", &Value::Int(256), false), Err(SimulatorError::Refused { .. })));
    assert!(matches!(device.set("nothing", &Value::Int(1), false), Err(SimulatorError::NoSuchTag(_))));
    assert_eq!(device.raw("level", at(0)).unwrap(), before);
}

#[test]
fn a_random_request_is_answered_or_refused_and_never_more_than_a_frame_long() {
    let device = device(1, false);
    for round in 0..50_000 {
        let [function, fill @ ..] = mix(99, round).to_be_bytes();
        let [high, low, count, rest, ..] = fill;
        // Addresses and numbers near those of the profile, so that some requests are carried out.
        let data = [0, high & 15, 0, low & 15, count & 31, rest, high, low, count];
        let length = usize::from(rest) % (data.len() + 1);
        let mut out = Vec::new();
        let function = function % 26;
        if let Ok(operation) = Operation::parse(function, &data[..length]) {
            match device.carry_out(function, &operation, at(7), &mut out) {
                Ok(()) => assert!(out.first() == Some(&function) && out.len() <= 253),
                Err(_) => assert!(out.is_empty()),
            }
        }
    }
}
