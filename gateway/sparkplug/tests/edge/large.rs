//! What is too large for one message, or for any.

use std::sync::Arc;

use tidegate_model::{Row, Slot, Value, ValueKind};
use tidegate_sparkplug::{DataType, LeftOut, MetricInfo, What, encode, wire::MetricValue};

use crate::plant::{LARGEST, Published, START, Scene, good, metric, name, row, stream, tag, topics};

fn text(bytes: usize) -> Value {
    Value::Text("x".repeat(bytes).into())
}

/// A plant with a device `notes` of two texts and a number, whose births are out.
fn born() -> Scene {
    let mut scene = Scene::new(None);
    let metrics = vec![metric("a", DataType::String), metric("b", DataType::String), metric("c", DataType::Int64)];
    let latest = vec![good(text(1), START), good(text(1), START), good(Value::Int(1), START)];
    scene.plant.put("notes", metrics, latest);
    scene.connect(0);
    scene.run();
    scene
}

fn note(time: i64, a: Value, b: Value) -> Arc<Row> {
    let stream = stream(4, "notes", &[("a", ValueKind::Text), ("b", ValueKind::Text), ("c", ValueKind::Int)]);
    row(&stream, time, vec![Slot::Good(a), Slot::Good(b), Slot::Good(Value::Int(time - START))])
}

fn gap(published: &Published) -> serde_json::Value {
    match &published.payload.metrics[0].value {
        Some(MetricValue::String(text)) => serde_json::from_str(text).unwrap(),
        other => panic!("{other:?} in place of a gap"),
    }
}

#[test]
fn a_row_that_is_larger_than_a_message_should_be_is_told_in_several() {
    let mut scene = born();
    let published = scene.rows(&[note(START + 1, text(40_000), text(40_000))], false);
    assert_eq!(topics(&published), ["DDATA/notes", "DDATA/notes"]);
    assert!(published.iter().all(|message| encode(&message.payload).len() < 50_000));
    let metrics: Vec<_> = published.iter().flat_map(|message| &message.payload.metrics).collect();
    assert_eq!(metrics.len(), 3);
    assert!(metrics.iter().all(|metric| metric.timestamp == Some(START as u64 + 1)), "they are of one row");
    assert!(scene.node.left_out().is_empty());
}

#[test]
fn a_value_that_cannot_be_sent_is_a_gap_and_what_is_around_it_comes() {
    let mut scene = born();
    let before = note(START + 1, text(1), text(1));
    let published = scene.rows(&[before, note(START + 2, text(2), text(LARGEST + 1))], false);
    assert_eq!(topics(&published), ["DDATA/notes", "NDATA", "DDATA/notes"]);
    let numbers: Vec<_> = published.iter().map(|message| message.payload.seq.unwrap()).collect();
    assert_eq!(numbers, [4, 5, 6], "no number is missing for hosts");
    assert_eq!(published[0].payload.metrics.len(), 4);
    let expected = serde_json::json!({"device": "notes", "group": "fast", "from": 1, "to": 1, "reason": "too_large"});
    assert_eq!(gap(&published[1]), expected);
    assert_eq!(published[2].payload.metrics[0].value, Some(MetricValue::Long(2)));
    let left_out = scene.node.left_out();
    let [LeftOut { device, what: What::Row { seq: 1, tag: Some(b) }, bytes }] = left_out.as_slice() else {
        panic!("{left_out:?}")
    };
    assert!(device.as_str() == "notes" && b.as_str() == "b" && *bytes > LARGEST);
    assert!(scene.node.left_out().is_empty() && scene.node.may_publish());
}

/// A device `notes` with these texts and a number.
fn notes(scene: &mut Scene, a: usize, b: usize) {
    let metrics = vec![metric("a", DataType::String), metric("b", DataType::String), metric("c", DataType::Int64)];
    let latest = vec![good(text(a), START), good(text(b), START), good(Value::Int(1), START)];
    scene.plant.put("notes", metrics, latest);
}

#[test]
fn a_device_whose_values_are_too_large_for_its_birth_is_born_without_the_largest() {
    let mut scene = Scene::new(None);
    notes(&mut scene, 60_000, 60_001);
    scene.connect(0);
    let births = scene.run();
    assert_eq!(topics(&births), ["NBIRTH", "DBIRTH/meter-1", "DBIRTH/meter-2", "DBIRTH/notes"]);
    assert_eq!(births[3].payload.seq, Some(3));
    let nulls: Vec<_> = births[3].payload.metrics.iter().map(|metric| metric.is_null == Some(true)).collect();
    assert_eq!(nulls, [false, true, false]);
    let left_out = scene.node.left_out();
    let [LeftOut { what: What::ValuesOfBirth { tags, count: 1 }, .. }] = left_out.as_slice() else {
        panic!("{left_out:?}")
    };
    assert_eq!(tags.as_slice(), [tag("b")]);
    // What was not in the birth is news when its row comes.
    let published = scene.rows(&[note(START - 1, text(3), text(4))], false);
    let historical: Vec<_> = published[0].payload.metrics.iter().map(|metric| metric.is_historical).collect();
    assert_eq!(historical, [Some(true), None, Some(true)]);
}

#[test]
fn what_is_large_in_a_birth_is_what_takes_many_bytes_in_it_and_not_in_memory() {
    let mut scene = Scene::new(None);
    // A thousand bytes in a message, and many times that in memory.
    let bits = Value::Array((0..8_000).map(|bit| Value::Bool(bit % 3 == 0)).collect());
    let metrics = vec![metric("a", DataType::BooleanArray), metric("b", DataType::String)];
    scene.plant.put("notes", metrics, vec![good(bits, START), good(text(LARGEST), START)]);
    scene.connect(0);
    let births = scene.run();
    let nulls: Vec<_> = births[3].payload.metrics.iter().map(|metric| metric.is_null == Some(true)).collect();
    assert_eq!(nulls, [false, true]);
}

#[test]
fn what_was_found_to_be_too_large_is_left_out_from_then_on_until_that_is_taken_back() {
    let mut scene = born();
    scene.node.limit(5_000, scene.now);
    let published = scene.rows(&[note(START + 1, text(6_000), text(2_000))], false);
    assert_eq!(topics(&published), ["NDATA", "DDATA/notes"]);
    let left_out = scene.node.left_out();
    assert!(matches!(left_out.as_slice(), [LeftOut { what: What::Row { .. }, .. }]), "{left_out:?}");
    // Rows that are small share as many messages as it takes.
    let rows: Vec<_> = (2..400).map(|time| note(START + time, text(30), text(30))).collect();
    let published = scene.rows(&rows, false);
    assert!(published.iter().all(|message| encode(&message.payload).len() <= 5_000));
    assert_eq!(published.iter().map(|message| message.payload.metrics.len()).sum::<usize>(), 3 * 398);
    let times: Vec<_> =
        published.iter().flat_map(|message| &message.payload.metrics).map(|metric| metric.timestamp).collect();
    assert!(times.is_sorted(), "in their order");
    scene.node.unlimited();
    assert_eq!(topics(&scene.rows(&[note(START + 500, text(6_000), text(1))], false)), ["DDATA/notes"]);
    assert!(scene.node.left_out().is_empty());
}

#[test]
fn fewer_rows_share_a_message_when_that_is_wanted() {
    let mut scene = born();
    let rows: Vec<_> = (1..300).map(|time| note(START + time, text(30), text(30))).collect();
    let usual = scene.rows(&rows, false).len();
    (0..20).for_each(|_| scene.node.pack_less());
    let rows: Vec<_> = (301..600).map(|time| note(START + time, text(30), text(30))).collect();
    let published = scene.rows(&rows, false);
    assert!(published.len() > 4 * usual, "{usual} and {} messages", published.len());
    let sizes: Vec<usize> = published.iter().map(|message| encode(&message.payload).len()).collect();
    assert!(sizes.iter().all(|bytes| *bytes < 1_500) && sizes.iter().max() > Some(&500), "{sizes:?}");
}

#[test]
fn a_birth_is_made_smaller_step_by_step_until_the_device_is_left_out_and_the_others_are_not() {
    let mut scene = Scene::new(None);
    notes(&mut scene, 9_000, 4_000);
    scene.connect(0);
    let nulls = |births: &[Published]| -> Vec<bool> {
        births[3].payload.metrics.iter().map(|metric| metric.is_null == Some(true)).collect()
    };
    assert_eq!(nulls(&scene.run()), [false, false, false]);
    for (bytes, expected) in [(7_000, [true, false, false]), (3_500, [true, true, false])] {
        scene.node.limit_birth("notes", bytes, scene.now);
        scene.connect(1);
        let births = scene.run();
        assert_eq!(nulls(&births), expected, "{bytes}: {:?}", encode(&births[3].payload).len());
        assert!(encode(&births[3].payload).len() <= bytes);
    }
    scene.node.left_out();
    scene.node.limit_birth("notes", 10, scene.now);
    scene.connect(2);
    assert_eq!(topics(&scene.run()), ["NBIRTH", "DBIRTH/meter-1", "DBIRTH/meter-2"]);
    let left_out = scene.node.left_out();
    assert!(matches!(left_out.as_slice(), [LeftOut { what: What::Birth, .. }]), "{left_out:?}");
    assert_eq!(topics(&scene.rows(&[note(START + 1, text(1), text(1))], false)), ["NDATA"]);
    // With other metrics it is another matter.
    scene.plant.put("notes", vec![metric("a", DataType::Int64)], vec![good(Value::Int(1), START)]);
    assert_eq!(topics(&scene.run()), ["DBIRTH/notes"]);
}

#[test]
fn what_was_found_to_be_too_large_is_tried_again_after_an_hour_and_then_less_often() {
    let mut scene = born();
    let hour = std::time::Duration::from_secs(3600);
    for hours in [1, 2, 4, 8, 16, 24, 24] {
        scene.node.limit(5_000, scene.now);
        scene.node.limit_birth("notes", 10, scene.now);
        scene.connect(1);
        assert_eq!(topics(&scene.run()), ["NBIRTH", "DBIRTH/meter-1", "DBIRTH/meter-2"]);
        scene.pass(hour * hours - std::time::Duration::from_secs(1));
        assert!(scene.run().is_empty(), "after {hours} hours");
        scene.pass(std::time::Duration::from_secs(1));
        assert_eq!(topics(&scene.run()), ["DBIRTH/notes"], "after {hours} hours");
        let time = scene.now.time.as_millis();
        assert_eq!(topics(&scene.rows(&[note(time, text(6_000), text(1))], false)), ["DDATA/notes"]);
    }
}

#[test]
fn a_birth_that_could_not_be_sent_is_tried_again_when_it_was_not_the_size() {
    let mut scene = born();
    scene.node.limit_birth("notes", 10, scene.now);
    scene.connect(1);
    assert_eq!(topics(&scene.run()), ["NBIRTH", "DBIRTH/meter-1", "DBIRTH/meter-2"]);
    scene.node.unlimited();
    scene.pass(std::time::Duration::from_secs(1));
    assert_eq!(topics(&scene.run()), ["DBIRTH/notes"]);
}

#[test]
fn a_device_whose_birth_cannot_be_sent_is_left_out_and_the_others_are_not() {
    let mut scene = Scene::new(None);
    let many: Vec<MetricInfo> = (0..3_000)
        .map(|number| MetricInfo { name: tag(&format!("{number:060}")), ..metric("a", DataType::Int64) })
        .collect();
    let latest = (0..3_000).map(|_| good(Value::Int(1), START)).collect();
    scene.plant.put("vast", many, latest);
    scene.connect(0);
    assert_eq!(topics(&scene.run()), ["NBIRTH", "DBIRTH/meter-1", "DBIRTH/meter-2"]);
    let left_out = scene.node.left_out();
    let [LeftOut { device, what: What::Birth, .. }] = left_out.as_slice() else { panic!("{left_out:?}") };
    assert_eq!(*device, name("vast"));
    // It is not tried again and again, and hosts hear which rows do not come.
    scene.pass(std::time::Duration::from_secs(10));
    assert!(scene.run().is_empty() && scene.node.left_out().is_empty());
    let vast = stream(9, "vast", &[(&format!("{:060}", 0), ValueKind::Int)]);
    let published = scene.rows(&[row(&vast, START + 1, vec![Slot::Good(Value::Int(2))])], false);
    assert_eq!(topics(&published), ["NDATA"]);
    assert_eq!(gap(&published[0])["reason"], "too_large");
    // Once its metrics are others it is born.
    scene.plant.put("vast", vec![metric("a", DataType::Int64)], vec![good(Value::Int(1), START)]);
    assert_eq!(topics(&scene.run()), ["DBIRTH/vast"]);
    // Hosts that know it hear that it is no more, when they cannot hear what it is now.
    let many = (0..3_000).map(|number| metric(&format!("{number:060}"), DataType::Int64)).collect();
    scene.plant.put("vast", many, (0..3_000).map(|_| good(Value::Int(1), START)).collect());
    assert_eq!(topics(&scene.run()), ["DDEATH/vast"]);
}
