//! Births, data, deaths.

use tidegate_model::{Reason, Timestamp, Value};
use tidegate_sparkplug::{
    Bounds, DataType, Event, Host, HostOptions, QualityCode, Worth, decode, rebirth_request,
    wire::{Metric, MetricValue, PropertyContent, PropertySet, PropertyValue, Template},
    write_request,
};

use crate::scene::{START, Scene, asks, born, data, node, samples};

#[test]
fn a_birth_tells_the_metrics_and_their_values() {
    let mut scene = Scene::new(HostOptions::default());
    let events = scene.births();
    let Event::Born { device, metrics, time, .. } = &events[2] else { panic!("{events:#?}") };
    assert_eq!((device.as_deref(), time.as_millis()), (Some("d"), START + 2));
    assert_eq!(metrics.iter().map(|known| &*known.name).collect::<Vec<_>>(), ["number", "text"]);
    let found = samples(&events[3..]);
    assert_eq!(found[0].1.worth, Worth::Value(Value::Int(5), QualityCode::Good));
    assert_eq!(found[1].1.worth, Worth::Value(Value::Text("a".into()), QualityCode::Good));
    assert_eq!(scene.host.known(&node()).count(), 3);
}

#[test]
fn data_is_read_by_the_aliases_and_types_of_the_birth() {
    let mut scene = Scene::born();
    let past = Metric { is_historical: Some(true), ..data(1, MetricValue::Int(u32::MAX)) };
    let null = Metric { alias: Some(2), is_null: Some(true), ..Metric::default() };
    let named = Metric { name: Some("text".to_owned()), alias: None, ..data(0, MetricValue::String("b".to_owned())) };
    let events = scene.heard("DDATA/n/d", Some(2), vec![past, null, named]);
    let found = samples(&events);
    assert_eq!(found[0].0, "number");
    assert_eq!(found[0].1.worth, Worth::Value(Value::Int(-1), QualityCode::Good));
    assert!(found[0].1.historical && found[0].1.time == Timestamp::from_millis(START + 1));
    assert_eq!(found[1].1.worth, Worth::Null(QualityCode::Good));
    assert_eq!(found[1].1.time, Timestamp::from_millis(START + 2), "that of the message");
    assert_eq!(found[2].1.worth, Worth::Value(Value::Text("b".into()), QualityCode::Good));
}

#[test]
fn a_quality_that_is_bad_leaves_no_value_and_one_that_is_stale_leaves_it_in_doubt() {
    let mut scene = Scene::born();
    let with = |code| {
        let value = PropertyValue { datatype: Some(3), is_null: None, value: Some(PropertyContent::Int(code)) };
        let word = PropertyContent::String("out_of_range".to_owned());
        let reason = PropertyValue { datatype: Some(12), is_null: None, value: Some(word) };
        let keys = vec!["Quality".to_owned(), "Reason".to_owned()];
        let properties = Some(PropertySet { keys, values: vec![value, reason] });
        Metric { properties, ..data(1, MetricValue::Int(7)) }
    };
    let events = scene.heard("DDATA/n/d", Some(2), vec![with(0), with(500), with(192)]);
    let reasons: Vec<_> = samples(&events).into_iter().map(|(_, sample)| sample.reason).collect();
    assert_eq!(reasons, [Some(Reason::OutOfRange), Some(Reason::OutOfRange), None]);
    let worths: Vec<_> = samples(&events).into_iter().map(|(_, sample)| sample.worth).collect();
    let value = |quality| Worth::Value(Value::Int(7), quality);
    assert_eq!(worths, [Worth::Null(QualityCode::Bad), value(QualityCode::Stale), value(QualityCode::Good)]);
}

#[test]
fn a_value_of_another_type_is_unreadable_and_its_neighbours_are_not() {
    let mut scene = Scene::born();
    let metrics = vec![data(1, MetricValue::Boolean(true)), data(2, MetricValue::String("b".to_owned()))];
    let found = samples(&scene.heard("DDATA/n/d", Some(2), metrics));
    assert!(matches!(found[0].1.worth, Worth::Unreadable(_)));
    assert!(matches!(found[1].1.worth, Worth::Value(..)));
}

#[test]
fn members_of_structures_are_metrics() {
    let mut scene = Scene::new(HostOptions::default());
    scene.births();
    let member = |value| Metric { alias: None, ..born("speed", 0, DataType::Double, MetricValue::Double(value)) };
    let pump = |value, name: Option<&str>| {
        let template = Template {
            metrics: vec![member(value)],
            template_ref: Some("pump".to_owned()),
            is_definition: Some(false),
            ..Template::default()
        };
        Metric {
            name: name.map(str::to_owned),
            alias: Some(20),
            datatype: Some(DataType::Template.code()),
            value: Some(MetricValue::Template(template)),
            ..Metric::default()
        }
    };
    let birth = scene.heard("DBIRTH/n/p", Some(2), vec![pump(1.0, Some("pump 1"))]);
    assert_eq!(samples(&birth)[0].0, "pump 1/speed");
    let events = scene.heard("DDATA/n/p", Some(3), vec![pump(2.5, None)]);
    let found = samples(&events);
    assert_eq!(
        (found[0].0.as_str(), &found[0].1.worth),
        ("pump 1/speed", &Worth::Value(Value::F64(2.5), QualityCode::Good))
    );
}

#[test]
fn a_death_is_of_the_node_with_its_devices_or_of_one_device() {
    let mut scene = Scene::born();
    let death = scene.heard("DDEATH/n/d", Some(2), Vec::new());
    let [Event::Died { device, time, .. }] = death.as_slice() else { panic!("{death:?}") };
    assert_eq!((device.as_deref(), time.as_millis()), (Some("d"), START + 2));
    let bd_seq = |number| vec![born("bdSeq", 0, DataType::Int64, MetricValue::Long(number))];
    assert!(scene.heard("NDEATH/n", None, bd_seq(2)).is_empty(), "of a connection before this one");
    let events = scene.heard("NDEATH/n", None, bd_seq(3));
    assert!(matches!(events.as_slice(), [Event::Died { device: None, .. }]), "{events:?}");
    assert!(scene.heard("NDEATH/n", None, bd_seq(3)).is_empty());
}

#[test]
fn a_lost_connection_takes_every_node_with_it() {
    let mut scene = Scene::born();
    let mut events = Vec::new();
    scene.host.disconnected(scene.now, &mut events);
    assert!(matches!(events.as_slice(), [Event::Died { device: None, .. }]), "{events:?}");
    let events = scene.heard("DDATA/n/d", Some(2), vec![data(1, MetricValue::Int(1))]);
    assert_eq!((asks(&events), samples(&events).len()), (1, 0));
}

#[test]
fn nodes_that_were_there_are_asked_for_their_births_once_there_is_a_connection_again() {
    let mut scene = Scene::born();
    let mut events = Vec::new();
    scene.host.ask_all(scene.now, &mut events);
    assert!(events.is_empty(), "it is born");
    scene.host.disconnected(scene.now, &mut events);
    events.clear();
    scene.host.ask_all(scene.now, &mut events);
    scene.host.ask_all(scene.now, &mut events);
    assert_eq!((asks(&events), events.len()), (1, 1), "at most every 10 s");
}

#[test]
fn a_host_says_that_it_is_there_and_again_when_another_says_that_it_is_not() {
    let options = HostOptions { id: Some("scada".parse().unwrap()), ..HostOptions::default() };
    let mut scene = Scene::new(options);
    let state = scene.host.state(true, Timestamp::from_millis(5)).unwrap();
    assert_eq!(state.topic, "spBv1.0/STATE/scada");
    assert_eq!(state.payload, br#"{"online":true,"timestamp":5}"#);
    let mut events = Vec::new();
    let will = scene.host.state(false, Timestamp::from_millis(5)).unwrap();
    scene.host.heard(&state.topic, &state.payload, scene.now, &mut events);
    assert!(events.is_empty());
    scene.host.heard(&will.topic, &will.payload, scene.now, &mut events);
    assert_eq!(events, [Event::SayOnline { over: Timestamp::from_millis(5) }]);
    assert!(Host::new(HostOptions::default()).state(true, Timestamp::from_millis(5)).is_none());
}

#[test]
fn requests_go_to_the_node_or_the_device_without_a_number() {
    let mut scene = Scene::born();
    let now = Timestamp::from_millis(START);
    let rebirth = rebirth_request(&node(), now);
    assert_eq!(rebirth.topic, "spBv1.0/g/NCMD/n");
    let payload = decode(&rebirth.payload, Bounds::default()).unwrap();
    assert_eq!((payload.seq, payload.timestamp), (None, Some(START as u64)));
    assert_eq!(payload.metrics[0].name.as_deref(), Some("Node Control/Rebirth"));
    assert_eq!(payload.metrics[0].value, Some(MetricValue::Boolean(true)));
    assert_eq!(payload.metrics[0].datatype, Some(DataType::Boolean.code()));
    let events = scene.births();
    let Event::Born { metrics, .. } = &events[2] else { panic!("{events:?}") };
    let write = write_request(&node(), Some("d"), &[(&metrics[0], Value::Int(-2))], now).unwrap();
    assert_eq!(write.topic, "spBv1.0/g/DCMD/n/d");
    let payload = decode(&write.payload, Bounds::default()).unwrap();
    assert_eq!((payload.seq, payload.timestamp), (None, Some(START as u64)));
    let metric = &payload.metrics[0];
    assert_eq!((&metric.name, metric.alias, &metric.value), (&None, Some(1), &Some(MetricValue::Int(0xFFFF_FFFE))));
    assert_eq!(metric.datatype, Some(metrics[0].datatype.code()));
    let wrong = write_request(&node(), Some("d"), &[(&metrics[0], Value::Text("x".into()))], now);
    assert_eq!(wrong.unwrap_err().0, 0);
}

#[test]
fn filters_are_for_all_nodes_or_for_one_and_for_its_own_state() {
    let id = Some("scada".parse().unwrap());
    let host = Host::new(HostOptions { id, ..HostOptions::default() });
    assert_eq!(host.filters(None, None), ["spBv1.0/#"]);
    let expected = ["spBv1.0/g/+/n", "spBv1.0/g/+/n/+", "spBv1.0/STATE/scada"];
    assert_eq!(host.filters(Some("g"), Some("n")), expected);
    assert_eq!(host.filters(Some("g"), None)[..2], ["spBv1.0/g/+/+", "spBv1.0/g/+/+/+"]);
}
