//! What templates make of rows.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::{fs, sync::Arc};

use serde_json::{Value as Json, json};
use tidegate_config::{Profiles, load};
use tidegate_model::{Column, Reason, Row, Slot, Stream, StreamId, Timestamp, Value, ValueKind, ValueType};
use tidegate_topics::{Layout, Message};

const PROFILE: &str = "[profile]\nmanufacturer = \"Acme\"\nmodel = \"Oven\"\ndriver = \"modbus\"\nversion = 1\n\
    [[group]]\nname = \"fast\"\ninterval = \"1s\"\n\
    [[tag]]\nname = \"temperature\"\ngroup = \"fast\"\naddress = 0\n";

/// The layout of a site with one oven and these templates.
fn layout(templates: &str) -> Layout {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("profiles")).unwrap();
    fs::write(folder.path().join("profiles/oven.toml"), PROFILE).unwrap();
    let file = folder.path().join("tidegate.toml");
    let site = format!(
        "[gateway]\nid = \"line3\"\nlocation = {{ enterprise = \"acme\", site = \"wien\", line = \"3\" }}\n\
         [[link]]\nname = \"hall\"\ndriver = \"modbus-tcp\"\n\
         [[device]]\nname = \"oven-1\"\nlink = \"hall\"\nprofile = \"oven\"\nlocation = {{ cell = \"left\", line = \"4\" }}\n\
         {templates}"
    );
    fs::write(&file, site).unwrap();
    let (site, report) = load(&file, [], Profiles::Used);
    assert_eq!(report.render(), "");
    Layout::new(&site.unwrap())
}

fn template(topic: &str, more: &str) -> String {
    format!("[[topics.template]]\nname = \"one\"\ntopic = \"{topic}\"\n{more}\n")
}

/// A row with every kind of slot.
fn row(slots: [Slot; 4]) -> Row {
    let column = |name: &str, kind: ValueKind, unit: Option<&str>| Column {
        unit: unit.map(str::to_owned),
        ..Column::new(name.parse().unwrap(), ValueType::single(kind))
    };
    let columns = vec![
        column("temperature", ValueKind::F32, Some("°C")),
        column("door.open", ValueKind::Bool, None),
        column("recipe", ValueKind::Text, None),
        column("power", ValueKind::F64, Some("kW")),
    ];
    let stream = Stream::new(StreamId(1), "oven-1".parse().unwrap(), "fast".parse().unwrap(), columns);
    Row {
        stream: Arc::new(stream),
        seq: 7,
        time: Timestamp::from_millis(1_700_000_000_000),
        device_time: Some(Timestamp::from_millis(1_600_000_000_000)),
        slots: slots.into(),
    }
}

fn mixed() -> Row {
    row([
        Slot::Good(Value::F32(229.8)),
        Slot::Unchanged,
        Slot::Bad(Reason::Timeout),
        Slot::Uncertain(Value::F64(900.0), Reason::OutOfRange),
    ])
}

fn messages(templates: &str, row: &Row, past: bool) -> Vec<Message> {
    let layout = layout(templates);
    let topics = layout.stream(row.stream.device(), row.stream.group(), row.stream.columns(), |_| true);
    let mut found = Vec::new();
    topics.messages(row, past, |message| found.push(message));
    found
}

fn told(messages: &[Message]) -> Vec<(&str, &str)> {
    let text = |bytes| std::str::from_utf8(bytes).unwrap();
    messages.iter().map(|message| (text(&message.topic[..]), text(&message.payload[..]))).collect()
}

const UNS: &str = "umh/v1/{enterprise}/{site}/{area}/{line}/{cell}/_raw/{device}/{tag_path}";

#[test]
fn a_unified_namespace_has_a_topic_for_each_tag_and_good_values_only() {
    let found = messages(&template(UNS, "payload = \"umh\""), &mixed(), false);
    let topic = "umh/v1/acme/wien/4/left/_raw/oven-1/temperature";
    assert_eq!(told(&found), [(topic, r#"{"timestamp_ms":1700000000000,"value":229.8}"#)]);
    assert!(!found[0].retain);
}

#[test]
fn what_is_retained_is_taken_away_when_the_value_is_gone() {
    let found = messages(&template(UNS, "payload = \"umh\"\nretain = true"), &mixed(), false);
    let payloads: Vec<(&str, usize)> =
        told(&found).iter().map(|(topic, payload)| (topic.rsplit('/').next().unwrap(), payload.len())).collect();
    assert_eq!(payloads, [("temperature", 44), ("recipe", 0), ("power", 0)]);
    assert!(found.iter().all(|message| message.retain));
}

#[test]
fn what_is_retained_is_taken_away_once() {
    let layout = layout(&template(UNS, "payload = \"umh\"\nretain = true"));
    let dark = row([Slot::Bad(Reason::Timeout), Slot::Unchanged, Slot::Unchanged, Slot::Unchanged]);
    let topics = layout.stream(dark.stream.device(), dark.stream.group(), dark.stream.columns(), |_| true);
    let told = |row: &Row| {
        let mut found = Vec::new();
        topics.messages(row, false, |message| found.push(message.payload.len()));
        found
    };
    assert_eq!((told(&dark), told(&dark)), (vec![0], vec![]), "it may be there from before");
    assert_eq!(told(&mixed()), [44, 0, 0]);
    assert_eq!(told(&mixed()), [44]);
    assert_eq!((told(&dark), told(&dark)), (vec![0], vec![]));
}

#[test]
fn a_value_alone_is_text_as_it_is() {
    let row = row([
        Slot::Good(Value::F32(f32::NAN)),
        Slot::Good(Value::Bool(true)),
        Slot::Good(Value::Text("bread \"3\"".into())),
        Slot::Bad(Reason::Disconnected),
    ]);
    let found = messages(&template("plant/{link}/{device}/{tag}", "payload = \"value\""), &row, false);
    let expected = [
        ("plant/hall/oven-1/temperature", "\"NaN\""),
        ("plant/hall/oven-1/door.open", "true"),
        ("plant/hall/oven-1/recipe", "bread \"3\""),
    ];
    assert_eq!(told(&found), expected);
}

#[test]
fn a_whole_row_in_the_form_of_the_hub_has_a_name_for_each_value() {
    let found = messages(&template("{site}/{device}/{group}", "payload = \"umh\""), &mixed(), false);
    assert_eq!(told(&found), [("wien/oven-1/fast", r#"{"timestamp_ms":1700000000000,"temperature":229.8}"#)]);
}

#[test]
fn neuron_gets_numbers_for_what_has_no_value() {
    let found = messages(&template("neuron/{gateway}", "payload = \"neuron\""), &mixed(), false);
    let payload: Json = serde_json::from_slice(&found[0].payload).unwrap();
    let expected = json!({
        "timestamp": 1_700_000_000_000_i64, "node": "oven-1", "group": "fast",
        "values": { "temperature": 229.8 }, "errors": { "recipe": 3000, "power": 3000 }, "metas": {},
    });
    assert_eq!((payload, &found[0].topic[..]), (expected, &b"neuron/line3"[..]));
}

#[test]
fn an_event_of_edgex_has_a_reading_for_each_value_there_is() {
    let found = messages(&template("edgex/events", "payload = \"edgex\""), &mixed(), false);
    let mut event: Json = serde_json::from_slice(&found[0].payload).unwrap();
    let mut ids = vec![event["id"].take()];
    ids.extend(event["readings"].as_array_mut().unwrap().iter_mut().map(|reading| reading["id"].take()));
    for id in &ids {
        let id = id.as_str().unwrap();
        assert!(id.len() == 36 && id.as_bytes()[14] == b'4' && b"89ab".contains(&id.as_bytes()[19]), "{id}");
    }
    assert_ne!(ids[0], ids[1]);
    let reading = |name: &str, kind: &str, value: &str, unit: &str| {
        json!({
            "id": null, "resourceName": name, "deviceName": "oven-1", "profileName": "oven",
            "origin": 1_700_000_000_000_000_000_i64, "valueType": kind, "value": value, "units": unit,
        })
    };
    let mut doubtful = reading("power", "Float64", "900.0", "kW");
    doubtful["tags"] = json!({ "quality": "uncertain", "reason": "out_of_range" });
    let readings = [reading("temperature", "Float32", "229.8", "°C"), doubtful];
    let expected = json!({
        "apiVersion": "v3", "id": null, "deviceName": "oven-1", "profileName": "oven", "sourceName": "fast",
        "origin": 1_700_000_000_000_000_000_i64, "readings": readings,
    });
    assert_eq!(event, expected);
}

#[test]
fn an_event_without_any_reading_is_not_sent() {
    let dark = row([const { Slot::Bad(Reason::Timeout) }; 4]);
    for payload in ["edgex", "umh"] {
        let found = messages(&template("{device}", &format!("payload = \"{payload}\"")), &dark, false);
        assert!(found.is_empty(), "{payload}");
    }
}

#[test]
fn a_retained_row_is_taken_away_when_none_of_its_values_is_left() {
    let dark = row([const { Slot::Bad(Reason::Timeout) }; 4]);
    for payload in ["edgex", "umh"] {
        let found = messages(&template("{device}", &format!("payload = \"{payload}\"\nretain = true")), &dark, false);
        assert_eq!(told(&found), [("oven-1", "")], "{payload}");
    }
    let same = row([const { Slot::Unchanged }; 4]);
    assert!(messages(&template("{device}", "payload = \"umh\"\nretain = true"), &same, false).is_empty());
}

#[test]
fn the_own_form_under_other_topics_is_what_it_is_elsewhere() {
    let found = messages(&template("plant/{device}/{group}", ""), &mixed(), false);
    let expected = r#"{"ts":1700000000000,"seq":7,"device_ts":1600000000000,"values":{"temperature":229.8,"power":900.0},"uncertain":{"power":"out_of_range"},"bad":{"recipe":"timeout"}}"#;
    assert_eq!(told(&found), [("plant/oven-1/fast", expected)]);
    let found = messages(&template("plant/{device}/{tag}", "retain = true"), &mixed(), false);
    assert_eq!(
        told(&found)[1],
        ("plant/oven-1/recipe", r#"{"v":null,"q":"bad","reason":"timeout","t":1700000000000}"#)
    );
}

#[test]
fn a_row_of_the_past_is_told_with_its_own_time_and_is_retained_nowhere() {
    let found = messages(&template(UNS, "payload = \"umh\""), &mixed(), true);
    assert_eq!(told(&found)[0].1, r#"{"timestamp_ms":1600000000000,"value":229.8}"#);
    assert!(messages(&template(UNS, "payload = \"umh\"\nretain = true"), &mixed(), true).is_empty());
    assert!(messages(&template("{device}/{tag}", "payload = \"value\""), &mixed(), true).is_empty());
}

#[test]
fn templates_are_for_whom_they_say_and_several_go_side_by_side() {
    let of = |name: &str, more: &str| {
        format!("[[topics.template]]\nname = \"{name}\"\ntopic = \"{name}/{{device}}\"\n{more}\n")
    };
    let templates = of("a", "devices = [\"oven-*\"]") + &of("b", "groups = [\"f*\"]") + &of("c", "");
    let topics: Vec<String> =
        told(&messages(&templates, &mixed(), false)).iter().map(|(topic, _)| (*topic).to_owned()).collect();
    assert_eq!(topics, ["a/oven-1", "b/oven-1", "c/oven-1"]);
    let layout = layout(&templates);
    let row = mixed();
    let other = "press-1".parse().unwrap();
    let mut found = Vec::new();
    let topics = layout.stream(&other, row.stream.group(), row.stream.columns(), |_| true);
    topics.messages(&row, false, |message| found.push(message.topic));
    assert_eq!(found, [&b"b/press-1"[..], b"c/press-1"], "and a device that is gone has topics too");
}
