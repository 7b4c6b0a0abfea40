//! What Home Assistant is told.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use serde_json::{Value as Json, json};
use tidegate_config::Access;
use tidegate_model::{Name, TagName, ValueKind, ValueType};
use tidegate_topics::{Discovery, Entity, discovery};

struct Tag {
    name: &'static str,
    kind: ValueKind,
    access: Access,
    unit: Option<&'static str>,
    limits: Option<(f64, f64)>,
    texts: Option<Vec<(i64, String)>>,
}

fn tag(name: &'static str, kind: ValueKind, access: Access) -> Tag {
    Tag { name, kind, access, unit: None, limits: None, texts: None }
}

/// The kind of entity, and what is told of it.
fn told(tag: &Tag) -> Option<(String, Json)> {
    let (gateway, device): (Name, Name) = ("line3".parse().unwrap(), "oven-1".parse().unwrap());
    let about = Discovery {
        prefix: "homeassistant",
        own: "tidegate/line3",
        gateway: &gateway,
        device: &device,
        manufacturer: "Acme",
        model: "Oven",
        version: "1.2.3",
    };
    let name: TagName = tag.name.parse().unwrap();
    let entity = Entity {
        name: &name,
        value_type: ValueType::single(tag.kind),
        unit: tag.unit,
        access: tag.access,
        minimum: tag.limits.map(|limits| limits.0),
        maximum: tag.limits.map(|limits| limits.1),
        texts: tag.texts.as_deref(),
    };
    let message = discovery(&about, &entity)?;
    assert!(message.retain);
    let topic = String::from_utf8(message.topic.to_vec()).unwrap();
    let kind = topic.strip_prefix("homeassistant/").unwrap().split('/').next().unwrap().to_owned();
    assert_eq!(topic, format!("homeassistant/{kind}/line3-oven-1/{}/config", tag.name.replace('.', "__")));
    Some((kind, serde_json::from_slice(&message.payload).unwrap()))
}

#[test]
fn a_measured_number_is_a_sensor_with_what_its_unit_says() {
    let (kind, told) = told(&Tag { unit: Some("kWh"), ..tag("energy.total", ValueKind::F64, Access::Read) }).unwrap();
    assert_eq!(kind, "sensor");
    assert_eq!(told["state_topic"], "tidegate/line3/oven-1/tag/energy.total");
    assert_eq!((&told["device_class"], &told["state_class"]), (&json!("energy"), &json!("total")));
    assert_eq!(told["unit_of_measurement"], "kWh");
    assert_eq!(told["unique_id"], "tidegate-line3-oven-1-energy.total");
    assert_eq!(told["device"]["identifiers"], json!(["tidegate-line3-oven-1"]));
    assert_eq!(told["availability"][0], json!({ "topic": "tidegate/line3/state" }));
    assert_eq!(told["availability"][1]["topic"], "tidegate/line3/oven-1/tag/energy.total");
    assert!(told.get("command_topic").is_none());
}

#[test]
fn what_may_be_written_can_be_set_within_its_limits() {
    let setpoint =
        Tag { limits: Some((0.0, 300.0)), unit: Some("°C"), ..tag("setpoint", ValueKind::F32, Access::ReadWrite) };
    let (kind, found) = told(&setpoint).unwrap();
    assert_eq!((kind.as_str(), &found["min"], &found["max"]), ("number", &json!(0.0), &json!(300.0)));
    assert_eq!(found["command_topic"], "tidegate/line3/oven-1/set");
    let command = found["command_template"].as_str().unwrap().replace("{{ value }}", "21.5");
    assert_eq!(serde_json::from_str::<Json>(&command).unwrap(), json!({ "values": { "setpoint": 21.5 } }));
    assert!(found.get("state_class").is_none(), "that is for sensors");
}

#[test]
fn booleans_are_switches_sensors_or_buttons() {
    let (kind, found) = told(&tag("fan", ValueKind::Bool, Access::ReadWrite)).unwrap();
    assert_eq!((kind.as_str(), found["payload_on"].as_str()), ("switch", Some(r#"{"values":{"fan":true}}"#)));
    assert_eq!(told(&tag("door", ValueKind::Bool, Access::Read)).unwrap().0, "binary_sensor");
    let (kind, found) = told(&tag("reset", ValueKind::Bool, Access::Write)).unwrap();
    assert_eq!((kind.as_str(), found["payload_press"].as_str()), ("button", Some(r#"{"values":{"reset":true}}"#)));
    assert!(found.get("state_topic").is_none(), "nobody reads it");
}

#[test]
fn texts_are_chosen_from_where_they_are_known() {
    let texts = Some(vec![(0, "off".to_owned()), (1, "auto \"a\"".to_owned())]);
    let (kind, found) = told(&Tag { texts: texts.clone(), ..tag("mode", ValueKind::Text, Access::ReadWrite) }).unwrap();
    assert_eq!((kind.as_str(), &found["options"]), ("select", &json!(["off", "auto \"a\""])));
    let (kind, found) = told(&Tag { texts, ..tag("state", ValueKind::Text, Access::Read) }).unwrap();
    assert_eq!((kind.as_str(), &found["device_class"]), ("sensor", &json!("enum")));
    assert_eq!(told(&tag("recipe", ValueKind::Text, Access::ReadWrite)).unwrap().0, "text");
}

#[test]
fn what_there_is_no_kind_for_is_left_out() {
    assert!(told(&tag("photo", ValueKind::Bytes, Access::Read)).is_none());
    assert!(told(&tag("goal", ValueKind::F32, Access::Write)).is_none());
}
