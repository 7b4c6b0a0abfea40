//! Connections: wills, numbers, farewells.

use tidegate_model::{Slot, Value};
use tidegate_sparkplug::{DataType, wire::MetricValue};

use crate::plant::{Published, START, Scene, meter_1, row, topics};

#[test]
fn the_will_is_the_death_of_the_node_with_the_number_of_the_connection_and_nothing_else() {
    let mut scene = Scene::new(None);
    for number in [0, 1, 255, 0] {
        let will = scene.connect(number);
        assert_eq!(will.topic, "spBv1.0/plant/NDEATH/line3");
        assert_eq!(will.payload.seq, None);
        let [metric] = will.payload.metrics.as_slice() else { panic!("{will:?}") };
        assert_eq!((metric.name.as_deref(), metric.datatype), (Some("bdSeq"), Some(DataType::Int64.code())));
        assert_eq!(metric.value, Some(MetricValue::Long(number.into())));
        assert_eq!(scene.run()[0].metric("bdSeq").value, Some(MetricValue::Long(number.into())));
    }
}

#[test]
fn nothing_is_published_without_a_connection() {
    let mut scene = Scene::new(None);
    assert!(scene.run().is_empty() && !scene.node.may_publish());
    assert_eq!(scene.node.wake_at(), None);
}

#[test]
fn every_message_has_the_number_behind_that_of_the_one_before_and_0_comes_behind_255() {
    let (mut scene, births) = Scene::born();
    let mut last = births.last().unwrap().payload.seq.unwrap();
    for round in 0..600 {
        let slots = vec![Slot::Good(Value::F64(f64::from(round))), Slot::Unchanged];
        let published = scene.rows(&[row(&meter_1(), START + 1 + i64::from(round), slots)], false);
        last = (last + 1) % 256;
        assert_eq!(published[0].payload.seq, Some(last));
        assert!(published[0].payload.timestamp.is_some());
    }
}

#[test]
fn a_connection_that_is_ended_on_purpose_ends_with_the_death_of_the_node() {
    let (mut scene, _) = Scene::born();
    let farewell = Published::of(&scene.node.farewell(scene.now).unwrap());
    assert_eq!(topics(std::slice::from_ref(&farewell)), ["NDEATH"]);
    assert_eq!((farewell.payload.seq, farewell.payload.metrics.len()), (None, 1));
    assert!(scene.node.farewell(scene.now).is_none() && !scene.node.may_publish());
}

#[test]
fn a_connection_without_births_ends_without_a_death() {
    let mut scene = Scene::new(Some("scada"));
    scene.connect(0);
    assert!(scene.run().is_empty());
    assert!(scene.node.farewell(scene.now).is_none());
}

#[test]
fn commands_are_subscribed_to_for_the_node_and_for_each_device_that_can_be_written() {
    let mut scene = Scene::new(Some("scada"));
    scene.connect(0);
    let filters = scene.node.filters();
    let expected = ["spBv1.0/plant/NCMD/line3", "spBv1.0/STATE/scada", "spBv1.0/plant/DCMD/line3/meter-1"];
    assert_eq!(filters, expected);
}
