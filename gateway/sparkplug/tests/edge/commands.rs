//! Commands: rebirths and writes.

use std::time::Duration;

use tidegate_model::{Slot, Value};
use tidegate_sparkplug::{
    Command, DataType, Heard, MetricInfo, REBIRTH, encode,
    wire::{Metric, MetricValue, Payload},
};

use crate::plant::{START, Scene, good, meter_1, metric, nothing, row, topics};

const NODE: &str = "spBv1.0/plant/NCMD/line3";
const DEVICE: &str = "spBv1.0/plant/DCMD/line3/meter-1";

fn named(name: &str, value: MetricValue) -> Metric {
    Metric { name: Some(name.to_owned()), value: Some(value), ..Metric::default() }
}

fn rebirth() -> Vec<Metric> {
    vec![named(REBIRTH, MetricValue::Boolean(true))]
}

#[test]
fn a_rebirth_stops_data_and_brings_all_births_with_the_number_of_the_connection() {
    let (mut scene, _) = Scene::born();
    scene.pass(Duration::from_secs(10));
    let slots = vec![Slot::Good(Value::F64(1.0)), Slot::Unchanged];
    scene.rows(&[row(&meter_1(), START + 1, slots)], false);
    assert_eq!(scene.heard(NODE, rebirth()), Heard::Nothing);
    assert!(!scene.node.may_publish());
    let births = scene.run();
    assert_eq!(topics(&births), ["NBIRTH", "DBIRTH/meter-1", "DBIRTH/meter-2"]);
    assert_eq!(births[0].metric("bdSeq").value, Some(MetricValue::Long(0)));
    assert_eq!(births[0].payload.seq, Some(0));
    assert!(scene.node.may_publish());
}

#[test]
fn rebirths_that_are_asked_for_again_and_again_are_made_once() {
    let (mut scene, _) = Scene::born();
    for _ in 0..50 {
        scene.heard(NODE, rebirth());
        assert!(scene.run().is_empty(), "those of the connection are too young");
        scene.pass(Duration::from_millis(10));
    }
    assert!(scene.node.wake_at().is_some_and(|at| at <= scene.now.at + Duration::from_secs(2)));
    scene.pass(Duration::from_secs(2));
    assert_eq!(scene.run().len(), 3);
    scene.pass(Duration::from_secs(20));
    assert!(scene.run().is_empty());
}

#[test]
fn anything_else_is_no_rebirth() {
    let (mut scene, _) = Scene::born();
    scene.pass(Duration::from_secs(10));
    scene.heard(NODE, vec![named(REBIRTH, MetricValue::Boolean(false))]);
    scene.heard(NODE, vec![named("Node Control/Reboot", MetricValue::Boolean(true))]);
    scene.heard("spBv1.0/plant/NCMD/line4", rebirth());
    scene.heard("spBv1.0/other/NCMD/line3", rebirth());
    let payload = encode(&Payload { metrics: rebirth(), ..Payload::default() });
    // A broker must not keep commands: this one is of another time.
    assert_eq!(scene.node.heard(NODE, &payload, true, scene.now), Heard::Nothing);
    assert!(scene.run().is_empty() && scene.node.may_publish());
    assert!(matches!(scene.node.heard(NODE, &[0xFF], false, scene.now), Heard::Malformed(_)));
}

#[test]
fn a_command_is_read_by_alias_and_by_name_with_the_type_of_the_birth() {
    let (mut scene, births) = Scene::born();
    let alias = births[1].metric("setpoint").alias;
    let by_alias = Metric { alias, value: Some(MetricValue::Long(-7_i64 as u64)), ..Metric::default() };
    let values = |text: &str| serde_json::from_str(text).unwrap();
    let expected = |text: &str| {
        let device = "meter-1".parse().unwrap();
        Heard::Command(Command { device, values: values(text), refused: Vec::new() })
    };
    assert_eq!(scene.heard(DEVICE, vec![by_alias]), expected(r#"{"setpoint":-7}"#));
    let by_name = named("setpoint", MetricValue::Long(42));
    assert_eq!(scene.heard(DEVICE, vec![by_name]), expected(r#"{"setpoint":42}"#));
    // Whether a tag can be written is for the command path to say.
    let read_only = named("voltage", MetricValue::Double(1.5));
    assert_eq!(scene.heard(DEVICE, vec![read_only]), expected(r#"{"voltage":1.5}"#));
}

#[test]
fn what_cannot_be_written_is_said_by_metric() {
    let (mut scene, _) = Scene::born();
    let metrics = vec![
        named("setpoint", MetricValue::String("x".to_owned())),
        named("other", MetricValue::Long(1)),
        Metric { alias: Some(999), value: Some(MetricValue::Long(1)), ..Metric::default() },
        Metric { name: Some("setpoint".to_owned()), is_null: Some(true), ..Metric::default() },
        Metric { value: Some(MetricValue::Long(1)), ..Metric::default() },
    ];
    let Heard::Command(command) = scene.heard(DEVICE, metrics) else { panic!("a command") };
    assert!(command.values.is_empty());
    let refused = command.refused.iter().map(|refused| (refused.metric.as_str(), refused.why.as_str()));
    let expected = [
        ("setpoint", "failed to take a value of another kind for Int64"),
        ("other", "the device has no such metric"),
        ("alias 999", "the device has no such metric"),
        ("setpoint", "it has no value"),
        ("a metric without a name", "the device has no such metric"),
    ];
    assert_eq!(refused.collect::<Vec<_>>(), expected);
}

#[test]
fn a_command_for_a_device_that_is_none_of_ours_or_that_was_kept_is_none() {
    let (mut scene, _) = Scene::born();
    let write = || vec![named("setpoint", MetricValue::Long(1))];
    assert_eq!(scene.heard("spBv1.0/plant/DCMD/line3/meter-9", write()), Heard::Nothing);
    assert_eq!(scene.heard("spBv1.0/plant/DCMD/line4/meter-1", write()), Heard::Nothing);
    let payload = encode(&Payload { metrics: write(), ..Payload::default() });
    assert_eq!(scene.node.heard(DEVICE, &payload, true, scene.now), Heard::Nothing);
    assert!(matches!(scene.node.heard(DEVICE, &[0x12], false, scene.now), Heard::Malformed(_)));
}

#[test]
fn a_command_that_comes_before_the_births_is_not_carried_out() {
    let write = || vec![named("setpoint", MetricValue::Long(1))];
    let unborn = || Heard::Unborn("meter-1".parse().unwrap());
    let mut scene = Scene::new(Some("scada"));
    scene.connect(0);
    assert!(scene.run().is_empty());
    assert_eq!(scene.heard(DEVICE, write()), unborn(), "the primary host is offline");
    scene.state("scada", true, 6);
    scene.run();
    assert!(matches!(scene.heard(DEVICE, write()), Heard::Command(_)));
    scene.connect(1);
    assert_eq!(scene.heard(DEVICE, write()), unborn(), "the births of this connection are not out");
}

#[test]
fn a_command_for_a_device_that_is_not_born_is_not_carried_out() {
    let mut scene = Scene::new(None);
    let setpoint = MetricInfo { writable: true, ..metric("setpoint", DataType::Int64) };
    let late = scene.plant.put("late", vec![setpoint], vec![nothing()]);
    late.lock().unwrap().there = None;
    scene.connect(0);
    scene.run();
    let write = || vec![named("setpoint", MetricValue::Long(1))];
    let topic = "spBv1.0/plant/DCMD/line3/late";
    assert_eq!(scene.heard(topic, write()), Heard::Unborn("late".parse().unwrap()));
    late.lock().unwrap().there = Some(true);
    scene.pass(Duration::from_secs(1));
    scene.run();
    assert!(matches!(scene.heard(topic, write()), Heard::Command(_)));
}

#[test]
fn a_host_that_asks_for_births_for_ever_does_not_keep_rows_or_devices_waiting() {
    let (mut scene, _) = Scene::born();
    let state = scene.plant.put("meter-3", vec![metric("a", DataType::Int64)], vec![good(Value::Int(1), START)]);
    scene.run();
    scene.heard(NODE, rebirth());
    assert!(scene.node.may_publish(), "the births of a moment ago are not made again yet");
    state.lock().unwrap().there = Some(false);
    let (mut births, mut deaths) = (0, 0);
    for _ in 0..100 {
        scene.pass(Duration::from_millis(50));
        let published = topics(&scene.run());
        births += published.iter().filter(|topic| *topic == "NBIRTH").count();
        deaths += published.iter().filter(|topic| *topic == "DDEATH/meter-3").count();
        assert!(scene.node.may_publish());
        scene.heard(NODE, rebirth());
    }
    assert_eq!((births, deaths), (2, 1));
}
