//! The order of messages: holes, rebirths, limits.

use std::time::Duration;

use tidegate_sparkplug::{DataType, Event, HostOptions, wire::MetricValue};

use crate::scene::{Scene, asks, born, data, samples};

const SECOND: Duration = Duration::from_secs(1);

fn number(value: u32) -> Vec<tidegate_sparkplug::wire::Metric> {
    vec![data(1, MetricValue::Int(value))]
}

#[test]
fn messages_out_of_order_are_taken_in_order_and_nothing_is_asked_for() {
    let mut scene = Scene::born();
    assert!(scene.heard("DDATA/n/d", Some(3), number(2)).is_empty());
    assert_eq!(scene.host.wake_at(), Some(scene.now.at + 2 * SECOND));
    let events = scene.heard("DDATA/n/d", Some(2), number(1));
    assert_eq!((samples(&events).len(), asks(&events)), (2, 0));
    assert_eq!(scene.host.wake_at(), None);
    assert!(scene.run_after(60 * SECOND).is_empty());
}

#[test]
fn a_hole_is_reported_once_births_are_asked_for_and_what_came_is_taken() {
    let mut scene = Scene::born();
    scene.heard("DDATA/n/d", Some(4), number(1));
    scene.heard("DDATA/n/d", Some(5), number(2));
    assert!(scene.run_after(SECOND).is_empty());
    let events = scene.run_after(SECOND);
    assert!(matches!(events[0], Event::Hole { expected: 2, found: 4, .. }), "{events:?}");
    assert_eq!((samples(&events).len(), asks(&events)), (2, 1));
    assert_eq!(scene.host.statistics().holes, 1);
    let events = scene.heard("DDATA/n/d", Some(6), number(3));
    assert_eq!((samples(&events).len(), asks(&events)), (1, 0));
}

#[test]
fn data_before_a_birth_asks_for_births_and_not_more_often_than_it_may() {
    let mut scene = Scene::new(HostOptions::default());
    assert_eq!(asks(&scene.heard("DDATA/n/d", Some(7), number(1))), 1);
    for _ in 0..20 {
        assert_eq!(asks(&scene.heard("DDATA/n/d", Some(8), number(1))), 0);
    }
    assert_eq!(scene.host.statistics().unborn, 21);
    assert_eq!(asks(&scene.run_after(11 * SECOND)), 1, "it was asked for, and did not come");
    scene.births();
    assert!(scene.run_after(60 * SECOND).is_empty());
}

#[test]
fn data_of_a_device_or_a_metric_without_a_birth_asks_for_births() {
    let mut scene = Scene::born();
    assert_eq!(asks(&scene.heard("DDATA/n/other", Some(2), number(1))), 1);
    let mut scene = Scene::born();
    let metrics = vec![data(77, MetricValue::Int(1)), data(1, MetricValue::Int(2))];
    let events = scene.heard("DDATA/n/d", Some(2), metrics);
    assert_eq!((samples(&events).len(), asks(&events)), (1, 1));
    assert_eq!(scene.host.statistics().unknown, 1);
}

#[test]
fn a_new_birth_begins_the_numbers_anew_and_forgets_the_devices() {
    let mut scene = Scene::born();
    scene.heard("DDATA/n/d", Some(9), number(1));
    scene.births();
    assert_eq!(scene.host.wake_at(), None, "the hole was of before");
    let events = scene.heard("DDATA/n/d", Some(2), number(1));
    assert_eq!((samples(&events).len(), asks(&events)), (1, 0));
}

#[test]
fn what_waits_for_a_missing_message_is_taken_before_a_new_birth_a_death_or_the_end_of_the_connection() {
    let ends: [fn(&mut Scene) -> Vec<Event>; 3] = [
        Scene::births,
        |scene| scene.heard("NDEATH/n", None, vec![born("bdSeq", 0, DataType::Int64, MetricValue::Long(3))]),
        |scene| {
            let mut events = Vec::new();
            scene.host.disconnected(scene.now, &mut events);
            events
        },
    ];
    for end in ends {
        let mut scene = Scene::born();
        assert!(scene.heard("DDATA/n/d", Some(3), number(7)).is_empty());
        let events = end(&mut scene);
        assert!(matches!(events[0], Event::Hole { expected: 2, found: 3, .. }), "{events:?}");
        assert!(matches!(&events[1], Event::Data { samples, .. } if samples.len() == 1), "{events:?}");
        assert!(matches!(events[2], Event::Born { .. } | Event::Died { .. }), "{events:?}");
        assert_eq!((asks(&events), scene.host.statistics().holes, scene.host.wake_at()), (0, 1, None));
    }
}

#[test]
fn a_message_that_comes_after_it_was_given_up_is_of_the_past() {
    let mut scene = Scene::born();
    scene.heard("DDATA/n/d", Some(3), number(2));
    assert_eq!(samples(&scene.run_after(2 * SECOND)).len(), 1);
    let found = samples(&scene.heard("DDATA/n/d", Some(2), number(1)));
    assert!(found[0].1.historical);
    let found = samples(&scene.heard("DDATA/n/d", Some(4), number(3)));
    assert!(!found[0].1.historical);
}

#[test]
fn behind_a_great_many_missing_messages_what_comes_is_of_the_present() {
    let mut scene = Scene::born();
    let events = scene.heard("DDATA/n/d", Some(180), number(1));
    assert!(matches!(events[0], Event::Hole { expected: 2, found: 180, .. }), "{events:?}");
    assert!(!samples(&events)[0].1.historical);
    assert_eq!(asks(&events), 1);
    assert_eq!(asks(&scene.heard("DDATA/n/d", Some(181), number(1))), 0);
}

#[test]
fn data_of_a_device_that_has_died_is_not_taken_and_asks_for_births() {
    let mut scene = Scene::born();
    scene.heard("DDEATH/n/d", Some(2), Vec::new());
    let events = scene.heard("DDATA/n/d", Some(3), number(1));
    assert!(matches!(events.as_slice(), [Event::Ask(_)]), "{events:?}");
}

#[test]
fn messages_without_a_number_and_messages_that_are_none_are_counted() {
    let mut scene = Scene::born();
    assert!(scene.heard("DDATA/n/d", None, number(1)).is_empty());
    let mut events = Vec::new();
    scene.host.heard("spBv1.0/g/DDATA/n/d", &[0xFF, 0xFF], scene.now, &mut events);
    assert!(matches!(events.as_slice(), [Event::Malformed { .. }]));
    assert_eq!(scene.host.statistics().malformed, 2);
    events.clear();
    scene.host.heard("other/topic", b"x", scene.now, &mut events);
    scene.host.heard("spBv1.0/g/NCMD/n", &[0xFF], scene.now, &mut events);
    assert!(events.is_empty());
}

#[test]
fn nodes_and_metrics_beyond_the_limits_are_not_known() {
    let options = HostOptions { most_nodes: 1, most_metrics: 3, ..HostOptions::default() };
    let mut scene = Scene::new(options);
    scene.births();
    scene.heard("NBIRTH/other", Some(0), Vec::new());
    assert_eq!(scene.host.nodes().count(), 1);
    let metrics = vec![born("more", 30, DataType::Int8, MetricValue::Int(1))];
    let events = scene.heard("DBIRTH/n/e", Some(2), metrics);
    assert!(matches!(events.as_slice(), [Event::Malformed { .. }]), "{events:?}");
    assert_eq!(scene.host.statistics().beyond, 2);
}
