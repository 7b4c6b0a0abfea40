//! Rows of the store: of the present, of the past, of devices that are not there, and what is missing of them.

use std::{sync::Arc, time::Duration};

use tidegate_model::{Reason, Row, Slot, Timestamp, Value, ValueKind};
use tidegate_sparkplug::{
    QUALITY,
    wire::{MetricValue, PropertyContent},
};

use crate::plant::{Published, START, Scene, meter_1, row, stream, topics};

fn voltage(time: i64, value: f64) -> Arc<Row> {
    row(&meter_1(), time, vec![Slot::Good(Value::F64(value)), Slot::Unchanged])
}

#[test]
fn rows_of_the_past_are_historical() {
    let (mut scene, _) = Scene::born();
    let published = scene.rows(&[voltage(START - 60_000, 1.0), voltage(START - 59_000, 2.0)], true);
    assert_eq!(topics(&published), ["DDATA/meter-1"]);
    let metrics = &published[0].payload.metrics;
    assert!(metrics.iter().all(|metric| metric.is_historical == Some(true)));
    let times: Vec<_> = metrics.iter().map(|metric| metric.timestamp.unwrap()).collect();
    assert_eq!(times, [START as u64 - 60_000, START as u64 - 59_000]);
}

#[test]
fn a_present_row_that_is_older_than_what_a_birth_has_shown_is_historical_and_the_next_one_is_not() {
    let (mut scene, _) = Scene::born();
    let published = scene.rows(&[voltage(START - 20, 1.0), voltage(START - 10, 2.0), voltage(START - 9, 3.0)], false);
    let past: Vec<_> = published[0].payload.metrics.iter().map(|metric| metric.is_historical).collect();
    assert_eq!(past, [Some(true), None, None]);
}

#[test]
fn of_two_present_rows_of_one_millisecond_the_later_is_the_present_value() {
    let (mut scene, _) = Scene::born();
    let published = scene.rows(&[voltage(START + 1, 1.0), voltage(START + 1, 2.0)], false);
    let metrics = &published[0].payload.metrics;
    assert!(metrics.iter().all(|metric| metric.is_historical.is_none()), "{metrics:?}");
    assert_eq!(metrics[1].value, Some(MetricValue::Double(2.0)));
    let again = scene.rows(&[voltage(START + 1, 1.0)], true);
    assert_eq!(again[0].payload.metrics[0].is_historical, Some(true), "of the backlog, in no order to it");
}

#[test]
fn a_row_that_is_newer_than_all_that_was_shown_is_of_the_present_whatever_lane_it_came_by() {
    let (mut scene, _) = Scene::born();
    scene.pass(Duration::from_secs(60));
    let rows = [voltage(START + 2_000, 1.0), voltage(START + 1_000, 2.0), voltage(START + 3_000, 3.0)];
    let mut marks = Vec::new();
    for row in &rows {
        let published = scene.rows(std::slice::from_ref(row), true);
        marks.push(published[0].payload.metrics[0].is_historical);
    }
    assert_eq!(marks, [None, Some(true), None]);
}

#[test]
fn rows_after_a_clock_was_set_back_are_of_the_present() {
    let (mut scene, _) = Scene::born();
    scene.now.time = Timestamp::from_millis(START - 3_600_000);
    let published = scene.rows(&[voltage(START - 3_600_000, 1.0)], false);
    assert_eq!(published[0].payload.metrics[0].is_historical, None);
}

#[test]
fn metrics_of_a_message_are_in_the_order_of_their_times() {
    let (mut scene, _) = Scene::born();
    let other = stream(5, "meter-1", &[("setpoint", ValueKind::Int)]);
    let setpoint = row(&other, START + 1, vec![Slot::Good(Value::Int(1))]);
    let published = scene.rows(&[voltage(START + 2, 1.0), setpoint, voltage(START + 3, 2.0)], false);
    let times: Vec<_> = published[0].payload.metrics.iter().map(|metric| metric.timestamp.unwrap()).collect();
    assert_eq!(times, [START as u64 + 1, START as u64 + 2, START as u64 + 3]);
}

#[test]
fn a_row_without_news_is_no_message() {
    let (mut scene, _) = Scene::born();
    assert!(scene.rows(&[row(&meter_1(), START + 1, vec![Slot::Unchanged, Slot::Unchanged])], false).is_empty());
}

#[test]
fn a_value_that_turns_bad_is_null_and_one_that_is_good_again_says_so() {
    let (mut scene, _) = Scene::born();
    let of = |published: &[Published]| {
        let metric = &published[0].payload.metrics[0];
        (metric.is_null, metric.properties.as_ref().and_then(|set| set.get(QUALITY).cloned()))
    };
    let bad = row(&meter_1(), START + 1, vec![Slot::Bad(Reason::Timeout), Slot::Unchanged]);
    assert_eq!(of(&scene.rows(&[bad], false)), (Some(true), Some(PropertyContent::Int(0))));
    assert_eq!(of(&scene.rows(&[voltage(START + 2, 1.0)], false)), (None, Some(PropertyContent::Int(192))));
    assert_eq!(of(&scene.rows(&[voltage(START + 3, 1.0)], false)), (None, None));
    let doubtful =
        row(&meter_1(), START + 4, vec![Slot::Uncertain(Value::F64(900.0), Reason::OutOfRange), Slot::Unchanged]);
    assert_eq!(of(&scene.rows(&[doubtful], false)), (None, Some(PropertyContent::Int(500))));
}

#[test]
fn rows_of_the_past_of_a_device_that_is_gone_come_between_a_birth_without_values_and_a_death() {
    let (mut scene, births) = Scene::born();
    let gone = stream(7, "gone", &[("level", ValueKind::F32)]);
    let level = |time| row(&gone, time, vec![Slot::Good(Value::F32(1.5))]);
    let published = scene.rows(&[level(START - 5_000), level(START - 4_000)], true);
    assert_eq!(topics(&published), ["DBIRTH/gone", "DDATA/gone"]);
    let birth = published[0].metric("level");
    assert_eq!((birth.is_null, &birth.value), (Some(true), &None));
    assert!(births.iter().all(|other| other.payload.metrics.iter().all(|metric| metric.alias != birth.alias)));
    let data = &published[1].payload.metrics;
    assert!(data.iter().all(|metric| metric.alias == birth.alias && metric.is_historical == Some(true)));
    assert_eq!(data[0].value, Some(MetricValue::Float(1.5)));
    scene.pass(Duration::from_secs(3));
    assert!(scene.run().is_empty(), "there may be more");
    assert_eq!(topics(&scene.rows(&[level(START - 3_000)], true)), ["DDATA/gone"]);
    scene.pass(Duration::from_secs(6));
    assert_eq!(topics(&scene.run()), ["DDEATH/gone"]);
    scene.pass(Duration::from_secs(6));
    assert!(scene.run().is_empty());
    assert_eq!(topics(&scene.rows(&[level(START - 2_000)], true)), ["DBIRTH/gone", "DDATA/gone"]);
}

#[test]
fn a_tag_that_had_another_type_is_a_metric_of_its_own() {
    let (mut scene, births) = Scene::born();
    let old = stream(8, "meter-1", &[("voltage", ValueKind::Text), ("humidity", ValueKind::F64)]);
    let slots = vec![Slot::Good(Value::Text("high".into())), Slot::Good(Value::F64(0.5))];
    let published = scene.rows(&[row(&old, START - 5_000, slots)], true);
    assert_eq!(topics(&published), ["DBIRTH/meter-1", "DDATA/meter-1"]);
    assert_eq!(published[0].metric("voltage").alias, births[1].metric("voltage").alias);
    assert_eq!(published[0].metric("voltage").value, Some(MetricValue::Double(229.8)));
    let other = published[0].metric("voltage (String)");
    assert_eq!(published[1].payload.metrics[0].alias, other.alias);
    assert_eq!(published[1].payload.metrics[0].value, Some(MetricValue::String("high".to_owned())));
    assert_eq!(published[1].payload.metrics[1].alias, published[0].metric("humidity").alias);
}

#[test]
fn many_rows_are_divided_into_messages_that_a_broker_takes() {
    let (mut scene, _) = Scene::born();
    let rows: Vec<_> = (0..10_000).map(|number| voltage(START + number, 1.0)).collect();
    let mut out = Vec::new();
    scene.node.rows(&rows, false, scene.now, &mut out);
    assert!(out.len() > 1 && out.iter().all(|message| message.payload.len() < 256 * 1024));
    let metrics: usize = out.iter().map(|message| Published::of(message).payload.metrics.len()).sum();
    assert_eq!(metrics, 10_000);
}

#[test]
fn what_will_never_come_is_said_by_the_node() {
    let (mut scene, births) = Scene::born();
    let mut out = Vec::new();
    scene.node.gap(&meter_1(), 5, 9, "store_full", scene.now, &mut out);
    let published = Published::of(&out[0]);
    assert_eq!(topics(std::slice::from_ref(&published)), ["NDATA"]);
    assert_eq!(published.payload.seq, Some(3));
    assert_eq!(published.payload.metrics[0].alias, births[0].metric("Store/Gap").alias);
    let text = r#"{"device":"meter-1","from":5,"group":"fast","reason":"store_full","to":9}"#;
    assert_eq!(published.payload.metrics[0].value, Some(MetricValue::String(text.to_owned())));
}
