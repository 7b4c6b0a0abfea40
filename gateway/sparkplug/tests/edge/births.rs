//! What births say.

use std::collections::HashSet;

use tidegate_model::{Reason, Slot, Timestamp, Value, ValueKind};
use tidegate_sparkplug::{
    DataType, Latest, QUALITY, REASON, REBIRTH,
    wire::{MetricValue, PropertyContent},
};

use crate::plant::{START, Scene, good, meter_1, metric, nothing, row, stream, topics};

#[test]
fn the_birth_of_the_node_comes_first_and_a_birth_of_each_device_follows() {
    let (_, births) = Scene::born();
    assert_eq!(topics(&births), ["NBIRTH", "DBIRTH/meter-1", "DBIRTH/meter-2"]);
    assert_eq!(births[0].topic, "spBv1.0/plant/NBIRTH/line3");
    assert_eq!(births[1].topic, "spBv1.0/plant/DBIRTH/line3/meter-1");
    let numbers: Vec<_> = births.iter().map(|birth| birth.payload.seq).collect();
    assert_eq!(numbers, [Some(0), Some(1), Some(2)]);
    assert!(births.iter().all(|birth| birth.payload.timestamp == Some(START as u64)));
}

#[test]
fn the_birth_of_the_node_has_the_number_of_the_connection_and_the_control_for_rebirths() {
    let mut scene = Scene::new(None);
    scene.connect(7);
    let births = scene.run();
    let number = births[0].metric("bdSeq");
    assert_eq!((number.datatype, &number.value), (Some(DataType::Int64.code()), &Some(MetricValue::Long(7))));
    let rebirth = births[0].metric(REBIRTH);
    assert_eq!(rebirth.datatype, Some(DataType::Boolean.code()));
    assert_eq!((&rebirth.value, rebirth.alias), (&Some(MetricValue::Boolean(false)), None));
}

#[test]
fn every_metric_of_a_birth_has_a_name_a_type_a_time_and_a_value_or_is_null() {
    let mut scene = Scene::new(None);
    scene.plant.put("late", vec![metric("never", DataType::Float)], vec![nothing()]);
    scene.connect(0);
    for birth in scene.run() {
        for metric in &birth.payload.metrics {
            assert!(metric.name.is_some() && metric.timestamp.is_some(), "{metric:?}");
            assert!(metric.datatype.and_then(DataType::from_code).is_some(), "{metric:?}");
            assert_eq!(metric.value.is_none(), metric.is_null == Some(true), "{metric:?}");
        }
    }
}

#[test]
fn a_birth_shows_the_values_of_the_moment_with_their_times() {
    let (_, births) = Scene::born();
    let voltage = births[1].metric("voltage");
    assert_eq!(voltage.value, Some(MetricValue::Double(229.8)));
    assert_eq!(voltage.timestamp, Some(START as u64 - 10));
    assert_eq!(births[1].metric("setpoint").value, Some(MetricValue::Long(-5_i64 as u64)));
    assert_eq!(births[2].metric("count").value, Some(MetricValue::Long(u64::MAX)));
    assert_eq!(births[2].metric("count").datatype, Some(DataType::UInt64.code()));
}

#[test]
fn aliases_are_unique_in_the_whole_edge_node_and_stay_the_same() {
    let (mut scene, births) = Scene::born();
    let aliases = |births: &[crate::plant::Published]| {
        let metrics = births.iter().flat_map(|birth| &birth.payload.metrics);
        metrics.filter_map(|metric| Some((metric.alias?, metric.name.clone()?))).collect::<Vec<_>>()
    };
    let first = aliases(&births);
    assert_eq!(first.iter().map(|(alias, _)| alias).collect::<HashSet<_>>().len(), first.len());
    assert_eq!(first.len(), 4, "every metric of the devices, and the gaps of the store: {first:?}");
    scene.connect(1);
    assert_eq!(aliases(&scene.run()), first);
    // A node that is started anew, later, has none of them: what was meant for another tag hits none.
    let mut later = Scene::new(None);
    later.plant.take("meter-2");
    later.pass(std::time::Duration::from_secs(1));
    later.start_anew();
    later.connect(0);
    let anew = aliases(&later.run());
    assert!(
        anew.iter().all(|(alias, _)| first.iter().all(|(known, _)| known != alias) && *alias < 1 << 53),
        "{anew:?}"
    );
}

#[test]
fn a_birth_tells_unit_range_description_quality_and_what_can_be_written() {
    let (_, births) = Scene::born();
    let properties = births[1].metric("voltage").properties.clone().unwrap();
    assert_eq!(properties.keys.len(), properties.values.len());
    assert!(properties.values.iter().all(|value| value.datatype.and_then(DataType::from_code).is_some()));
    assert_eq!(properties.get("engUnit"), Some(&PropertyContent::String("V".to_owned())));
    assert_eq!(properties.get("engLow"), Some(&PropertyContent::Double(0.0)));
    assert_eq!(properties.get("engHigh"), Some(&PropertyContent::Double(500.0)));
    assert_eq!(properties.get("Documentation"), Some(&PropertyContent::String("Phase 1".to_owned())));
    assert_eq!(properties.get("readOnly"), Some(&PropertyContent::Boolean(true)));
    assert_eq!(properties.get(QUALITY), Some(&PropertyContent::Int(192)));
    let setpoint = births[1].metric("setpoint").properties.clone().unwrap();
    assert_eq!(setpoint.get("readOnly"), Some(&PropertyContent::Boolean(false)));
}

#[test]
fn a_value_that_is_not_good_is_null_or_stale_and_says_why() {
    let mut scene = Scene::new(None);
    let time = Some(Timestamp::from_millis(START));
    let slots = [Slot::Bad(Reason::Timeout), Slot::Uncertain(Value::Int(9), Reason::OutOfRange)];
    let latest = slots.into_iter().map(|slot| Latest { slot, time }).collect();
    scene.plant.put("bad", vec![metric("a", DataType::Int64), metric("b", DataType::Int64)], latest);
    scene.connect(0);
    let births = scene.run();
    let (a, b) = (births[3].metric("a"), births[3].metric("b"));
    assert_eq!((&a.value, a.is_null), (&None, Some(true)));
    assert_eq!(a.properties.clone().unwrap().get(QUALITY), Some(&PropertyContent::Int(0)));
    assert_eq!(a.properties.clone().unwrap().get(REASON), Some(&PropertyContent::String("timeout".to_owned())));
    assert_eq!((&b.value, b.is_null), (&Some(MetricValue::Long(9)), None));
    assert_eq!(b.properties.clone().unwrap().get(QUALITY), Some(&PropertyContent::Int(500)));
}

#[test]
fn a_device_that_was_not_heard_of_is_not_born_until_it_is() {
    let mut scene = Scene::new(None);
    let late = scene.plant.put("late", vec![metric("a", DataType::Int64)], vec![nothing()]);
    late.lock().unwrap().there = None;
    scene.connect(0);
    assert_eq!(topics(&scene.run()), ["NBIRTH", "DBIRTH/meter-1", "DBIRTH/meter-2"]);
    late.lock().unwrap().there = Some(true);
    late.lock().unwrap().latest = vec![good(Value::Int(1), START)];
    // Its first row may be there before it was looked at again.
    let late_stream = stream(9, "late", &[("a", ValueKind::Int)]);
    let published = scene.rows(&[row(&late_stream, START, vec![Slot::Good(Value::Int(1))])], false);
    assert_eq!(topics(&published), ["DBIRTH/late", "DDATA/late"]);
    assert_eq!(published[1].payload.metrics[0].value, published[0].metric("a").value, "the birth has shown it");
}

#[test]
fn data_has_aliases_alone_and_no_types() {
    let (mut scene, births) = Scene::born();
    let slots = vec![Slot::Good(Value::F64(230.0)), Slot::Unchanged];
    let published = scene.rows(&[row(&meter_1(), START + 5, slots)], false);
    assert_eq!(topics(&published), ["DDATA/meter-1"]);
    let [metric] = published[0].payload.metrics.as_slice() else { panic!("{published:?}") };
    assert_eq!((&metric.name, metric.datatype), (&None, None));
    assert_eq!(metric.alias, births[1].metric("voltage").alias);
    assert_eq!(metric.value, Some(MetricValue::Double(230.0)));
    assert_eq!((metric.timestamp, metric.is_historical), (Some(START as u64 + 5), None));
}
