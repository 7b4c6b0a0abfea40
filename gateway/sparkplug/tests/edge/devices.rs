//! Devices that come, go and change while the connection lives.

use std::time::Duration;

use tidegate_model::{Reason, Slot, Value};
use tidegate_sparkplug::{DataType, MetricInfo};

use crate::plant::{START, Scene, good, meter_1, metric, row, topics};

const LONG: Duration = Duration::from_secs(10);

#[test]
fn a_device_that_does_not_answer_dies_when_its_last_rows_have_passed_and_is_born_again_when_it_does() {
    let (mut scene, _) = Scene::born();
    let state = scene.plant.put("meter-3", vec![metric("a", DataType::Int64)], vec![good(Value::Int(1), START)]);
    assert_eq!(topics(&scene.run()), ["DBIRTH/meter-3"]);
    state.lock().unwrap().there = Some(false);
    scene.pass(Duration::from_millis(200));
    assert!(scene.run().is_empty(), "the row that says so is still on its way");
    let bad = vec![Slot::Bad(Reason::Timeout)];
    let stream = crate::plant::stream(3, "meter-3", &[("a", tidegate_model::ValueKind::Int)]);
    let published = scene.rows(&[row(&stream, START + 100, bad.clone())], false);
    assert_eq!(
        (topics(&published), published[0].payload.metrics[0].is_null),
        (vec!["DDATA/meter-3".into()], Some(true))
    );
    scene.pass(Duration::from_secs(1));
    let death = scene.run();
    assert_eq!(topics(&death), ["DDEATH/meter-3"]);
    assert!(death[0].payload.timestamp.is_some() && death[0].payload.seq.is_some());
    assert!(death[0].payload.metrics.is_empty());
    // What a death has said for all metrics is not said again.
    assert!(scene.rows(&[row(&stream, START + 2_000, bad)], false).is_empty());
    scene.pass(LONG);
    assert!(scene.run().is_empty());
    state.lock().unwrap().there = Some(true);
    scene.pass(LONG);
    assert_eq!(topics(&scene.run()), ["DBIRTH/meter-3"]);
}

#[test]
fn a_device_that_is_back_at_once_does_not_die() {
    let (mut scene, _) = Scene::born();
    let state = scene.plant.put("meter-3", vec![metric("a", DataType::Int64)], vec![good(Value::Int(1), START)]);
    scene.run();
    for _ in 0..5 {
        state.lock().unwrap().there = Some(false);
        scene.pass(Duration::from_millis(500));
        assert!(scene.run().is_empty());
        state.lock().unwrap().there = Some(true);
        scene.pass(Duration::from_millis(500));
        assert!(scene.run().is_empty());
    }
}

#[test]
fn a_reload_brings_births_of_what_is_new_or_has_changed_and_deaths_of_what_is_gone() {
    let (mut scene, births) = Scene::born();
    let setpoint = MetricInfo { writable: true, ..metric("setpoint", DataType::Int64) };
    let metrics = vec![metric("power", DataType::Double), setpoint];
    let latest = vec![good(Value::F64(5.0), START), good(Value::Int(-5), START)];
    scene.plant.put("meter-1", metrics, latest);
    scene.plant.put("meter-3", vec![metric("a", DataType::Int64)], vec![good(Value::Int(1), START)]);
    let published = scene.run();
    assert_eq!(topics(&published), ["DBIRTH/meter-1", "DBIRTH/meter-3"]);
    assert_eq!(published[0].metric("setpoint").alias, births[1].metric("setpoint").alias);
    let known = [births[1].metric("voltage").alias, births[2].metric("count").alias];
    assert!(!known.contains(&published[0].metric("power").alias), "no alias is given twice");
    assert_eq!(published[0].payload.seq, Some(3), "the numbers go on");
    scene.plant.take("meter-3");
    assert_eq!(topics(&scene.run()), ["DDEATH/meter-3"]);
    scene.pass(LONG);
    assert!(scene.run().is_empty());
}

#[test]
fn a_reload_without_a_change_brings_nothing() {
    let (mut scene, _) = Scene::born();
    let setpoint = MetricInfo { writable: true, ..metric("setpoint", DataType::Int64) };
    let voltage = MetricInfo {
        unit: Some("V".to_owned()),
        range: Some((0.0, 500.0)),
        description: Some("Phase 1".to_owned()),
        ..metric("voltage", DataType::Double)
    };
    scene.plant.put("meter-1", vec![voltage, setpoint], vec![good(Value::F64(1.0), START), good(Value::Int(1), START)]);
    assert!(scene.run().is_empty());
    let slots = vec![Slot::Good(Value::F64(2.0)), Slot::Unchanged];
    assert_eq!(topics(&scene.rows(&[row(&meter_1(), START + 1, slots)], false)), ["DDATA/meter-1"]);
}

#[test]
fn a_device_that_is_off_from_the_start_is_not_told_of() {
    let mut scene = Scene::new(None);
    let state = scene.plant.put("meter-3", vec![metric("a", DataType::Int64)], vec![crate::plant::nothing()]);
    state.lock().unwrap().there = Some(false);
    scene.connect(0);
    assert_eq!(topics(&scene.run()), ["NBIRTH", "DBIRTH/meter-1", "DBIRTH/meter-2"]);
    let stream = crate::plant::stream(3, "meter-3", &[("a", tidegate_model::ValueKind::Int)]);
    let bad = vec![Slot::Bad(Reason::Disconnected)];
    assert!(scene.rows(&[row(&stream, START + 100, bad)], false).is_empty());
    scene.pass(LONG);
    assert!(scene.run().is_empty());
}

#[test]
fn devices_that_are_not_born_again_at_a_rebirth_die_before_it() {
    let (mut scene, _) = Scene::born();
    let state = scene.plant.put("meter-3", vec![metric("a", DataType::Int64)], vec![good(Value::Int(1), START)]);
    scene.run();
    let gone = crate::plant::stream(7, "gone", &[("level", tidegate_model::ValueKind::Int)]);
    let level = row(&gone, START - 5_000, vec![Slot::Good(Value::Int(1))]);
    scene.pass(LONG);
    assert_eq!(topics(&scene.rows(&[level], true)), ["DBIRTH/gone", "DDATA/gone"]);
    state.lock().unwrap().there = Some(false);
    scene.node.births_again(scene.now);
    let births = scene.run();
    let expected = ["DDEATH/gone", "DDEATH/meter-3", "NBIRTH", "DBIRTH/meter-1", "DBIRTH/meter-2"];
    assert_eq!(topics(&births), expected);
    let numbers: Vec<_> = births.iter().map(|birth| birth.payload.seq.unwrap()).collect();
    assert_eq!(numbers, [6, 7, 0, 1, 2], "deaths go on from the data before, births begin anew");
    // A new connection begins without deaths: the will has said it.
    let level = row(&gone, START - 4_000, vec![Slot::Good(Value::Int(2))]);
    scene.rows(&[level], true);
    scene.connect(1);
    assert_eq!(topics(&scene.run()), ["NBIRTH", "DBIRTH/meter-1", "DBIRTH/meter-2"]);
}
