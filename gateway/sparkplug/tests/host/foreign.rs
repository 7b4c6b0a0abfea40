//! Payloads of other makers, and of those who mean harm.

use std::time::Duration;

use tidegate_sparkplug::{
    DataType, Event, HostOptions, PayloadError,
    wire::{Metric, MetricValue, Template},
};

use crate::scene::{Scene, asks, born, data, node, samples};

fn structure(name: &str, alias: u64, members: Vec<Metric>) -> Metric {
    let template = Template { metrics: members, is_definition: Some(false), ..Template::default() };
    born(name, alias, DataType::Template, MetricValue::Template(template))
}

fn member(name: &str) -> Metric {
    Metric { alias: None, ..born(name, 0, DataType::Int8, MetricValue::Int(1)) }
}

#[test]
fn metrics_that_are_not_taken_are_passed_over_and_no_births_are_asked_for() {
    let mut scene = Scene::new(HostOptions::default());
    scene.births();
    let birth = vec![
        Metric { datatype: None, ..born("without a type", 31, DataType::Int8, MetricValue::Int(1)) },
        Metric { datatype: Some(99), ..born("of an unknown type", 32, DataType::Int8, MetricValue::Int(1)) },
        born("properties", 33, DataType::PropertySet, MetricValue::Int(1)),
        Metric { value: None, is_null: Some(true), ..structure("null", 34, Vec::new()) },
        Metric { name: None, ..born("", 35, DataType::Int8, MetricValue::Int(1)) },
        born("number", 36, DataType::Int8, MetricValue::Int(1)),
    ];
    let events = scene.heard("DBIRTH/n/e", Some(2), birth);
    assert_eq!((samples(&events).len(), asks(&events)), (1, 0));
    let mut later: Vec<Metric> = (31..=36).map(|alias| data(alias, MetricValue::Int(2))).collect();
    later.push(Metric { name: Some("without a type".to_owned()), alias: None, ..data(0, MetricValue::Int(2)) });
    later.push(structure("null", 34, vec![member("speed")]));
    let events = scene.heard("DDATA/n/e", Some(3), later);
    assert_eq!((samples(&events).len(), asks(&events)), (1, 0), "{events:?}");
    assert!(scene.run_after(Duration::from_secs(60)).is_empty());
    assert_eq!(scene.host.statistics().unknown, 0);
}

#[test]
fn names_with_those_of_their_structures_have_an_end() {
    let mut scene = Scene::born();
    let long = "n".repeat(1000);
    let members = vec![member(&"m".repeat(23)), member(&"m".repeat(24))];
    let too_long = "n".repeat(1025);
    let metrics = || vec![structure(&long, 40, members.clone()), structure(&too_long, 41, members.clone())];
    let birth = scene.heard("DBIRTH/n/e", Some(2), metrics());
    assert_eq!((samples(&birth).len(), asks(&birth)), (1, 0));
    let events = scene.heard("DDATA/n/e", Some(3), metrics());
    assert_eq!((samples(&events).len(), asks(&events)), (1, 0));
}

#[test]
fn names_of_structures_that_repeat_in_many_members_are_more_than_is_taken() {
    let mut scene = Scene::born();
    let members = (0..20_000).map(|number| member(&number.to_string())).collect();
    let birth = scene.heard("DBIRTH/n/e", Some(2), vec![structure(&"n".repeat(1000), 40, members)]);
    let [Event::Malformed { topic, error: PayloadError::Beyond }] = birth.as_slice() else { panic!("{birth:?}") };
    assert_eq!(topic, "spBv1.0/g/DBIRTH/n/e", "20 MB of names");
    assert_eq!(scene.host.statistics().beyond, 1);
}

#[test]
fn members_of_structures_count_as_metrics_and_a_device_that_has_too_many_is_not_asked_for() {
    let mut scene = Scene::new(HostOptions { most_metrics: 10, ..HostOptions::default() });
    scene.births();
    let members = |count: usize| (0..count).map(|number| member(&number.to_string())).collect();
    let events = scene.heard("DBIRTH/n/e", Some(2), vec![structure("s", 40, members(5))]);
    assert_eq!(samples(&events).len(), 5);
    let events = scene.heard("DBIRTH/n/e", Some(3), vec![structure("s", 40, members(6))]);
    assert_eq!(samples(&events).len(), 6, "what it had makes room");
    let events = scene.heard("DBIRTH/n/e", Some(4), vec![structure("s", 40, members(7))]);
    let told = matches!(events.as_slice(), [Event::Malformed { .. }, Event::Died { device: Some(_), .. }]);
    assert!(told, "{events:?}");
    let events = scene.heard("DDATA/n/e", Some(5), vec![data(40, MetricValue::Int(1))]);
    assert!(events.is_empty(), "{events:?}");
    assert_eq!((scene.host.statistics().beyond, scene.host.known(&node()).count()), (2, 3));
}

#[test]
fn devices_have_a_limit_even_without_metrics() {
    let mut scene = Scene::new(HostOptions { most_devices: 2, ..HostOptions::default() });
    scene.births();
    assert_eq!(scene.heard("DBIRTH/n/e", Some(2), Vec::new()).len(), 1);
    let events = scene.heard("DBIRTH/n/f", Some(3), Vec::new());
    assert!(matches!(events.as_slice(), [Event::Malformed { error: PayloadError::Beyond, .. }]), "{events:?}");
    assert!(scene.heard("DDATA/n/f", Some(4), vec![data(1, MetricValue::Int(1))]).is_empty());
    assert_eq!(scene.host.statistics().beyond, 2);
}

#[test]
fn a_node_whose_birth_is_too_large_is_gone_and_is_not_asked_for_it_again() {
    let mut scene = Scene::new(HostOptions { most_metrics: 3, ..HostOptions::default() });
    scene.births();
    let many = (0..4).map(|number| member(&number.to_string())).collect();
    let events = scene.heard("NBIRTH/n", Some(0), many);
    let told = matches!(events.as_slice(), [Event::Died { device: None, .. }, Event::Malformed { .. }]);
    assert!(told, "{events:?}");
    assert!(scene.heard("DDATA/n/d", Some(1), vec![data(1, MetricValue::Int(1))]).is_empty());
    assert!(scene.run_after(Duration::from_secs(60)).is_empty());
    assert_eq!(samples(&scene.births()).len(), 3);
}

#[test]
fn large_messages_do_not_wait_for_one_that_is_missing() {
    let mut scene = Scene::born();
    let large = || vec![data(2, MetricValue::String("x".repeat(3 * 1024 * 1024)))];
    assert!(scene.heard("DDATA/n/d", Some(3), large()).is_empty());
    let events = scene.heard("DDATA/n/d", Some(4), large());
    assert!(matches!(events[0], Event::Hole { expected: 2, found: 3, .. }));
    assert_eq!(samples(&events).len(), 2);
}
