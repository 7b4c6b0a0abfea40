//! What Home Assistant wants to know of a tag, so that it appears there by itself.
//!
//! One retained message a tag, on `<prefix>/<kind>/<gateway>-<device>/<tag>/config`. State comes from the topic of the tag; a value
//! that is bad, or a gateway that is offline, makes the entity unavailable. What may be written goes to the device's `set` topic.

use bytes::Bytes;
use serde_json::{Map, Value as Json, json};
use tidegate_config::Access;
use tidegate_model::{Name, TagName, ValueKind, ValueType};

use crate::Message;

/// What the messages about the tags of one device have in common.
#[derive(Debug, Clone, Copy)]
pub struct Discovery<'a> {
    /// What the topics begin with that Home Assistant listens to.
    pub prefix: &'a str,
    /// `<root>/<gateway>`.
    pub own: &'a str,
    /// The gateway's id.
    pub gateway: &'a Name,
    /// The device.
    pub device: &'a Name,
    /// Who makes the device.
    pub manufacturer: &'a str,
    /// The maker's name for it.
    pub model: &'a str,
    /// Version of the gateway's program.
    pub version: &'a str,
}

/// What is to be known of a tag.
#[derive(Debug, Clone, Copy)]
pub struct Entity<'a> {
    /// The tag.
    pub name: &'a TagName,
    /// The type of its values.
    pub value_type: ValueType,
    /// Their unit.
    pub unit: Option<&'a str>,
    /// Who may do what with it.
    pub access: Access,
    /// The smallest value that may be written.
    pub minimum: Option<f64>,
    /// The largest value that may be written.
    pub maximum: Option<f64>,
    /// The texts of an enumeration, each with the device's number for it.
    pub texts: Option<&'a [(i64, String)]>,
}

/// Numbers without limits of their own may be set within these.
const WIDEST: f64 = 1e9;

/// The message about a tag; `None` when Home Assistant has no kind of entity for it (arrays, bytes, commands with a value).
pub fn discovery(about: &Discovery<'_>, tag: &Entity<'_>) -> Option<Message> {
    let (kind, own) = kind(about, tag)?;
    let id = format!("{}-{}", about.gateway, about.device);
    let topic = format!("{}/{kind}/{id}/{}/config", about.prefix, level(tag.name.as_str()));
    let mut fields = own;
    fields.insert("name".to_owned(), tag.name.as_str().into());
    fields.insert("unique_id".to_owned(), format!("tidegate-{id}-{}", tag.name).into());
    fields.insert("availability".to_owned(), availability(about, tag));
    fields.insert("availability_mode".to_owned(), "all".into());
    fields.insert("device".to_owned(), device(about, &id));
    fields.insert("origin".to_owned(), json!({ "name": "Tidegate", "sw_version": about.version }));
    let payload = Json::Object(fields).to_string();
    Some(Message { topic: topic.into(), payload: Bytes::from(payload), retain: true })
}

/// The kind of entity, and the fields that belong to the kind.
fn kind(about: &Discovery<'_>, tag: &Entity<'_>) -> Option<(&'static str, Map<String, Json>)> {
    if tag.value_type.items.is_some() {
        return None;
    }
    let written = tag.access != Access::Read;
    let (kind, own) = match (tag.value_type.kind, tag.texts) {
        (ValueKind::Bytes, _) => return None,
        (ValueKind::Bool, _) if tag.access == Access::Write => return Some(("button", fields(button(about, tag)))),
        _ if tag.access == Access::Write => return None,
        (ValueKind::Bool, _) if written => ("switch", switch(tag)),
        (ValueKind::Bool, _) => ("binary_sensor", json!({ "payload_on": "ON", "payload_off": "OFF" })),
        (ValueKind::Text, Some(texts)) if written => ("select", select(tag, texts)),
        (ValueKind::Text, Some(texts)) => ("sensor", json!({ "device_class": "enum", "options": options(texts) })),
        (ValueKind::Text, None) if written => ("text", json!({ "command_template": quoted(tag), "max": 255 })),
        (ValueKind::Text, None) => ("sensor", json!({})),
        (_, _) if written => ("number", number(tag)),
        (_, _) => ("sensor", measured(tag)),
    };
    let mut own = fields(own);
    own.insert("state_topic".to_owned(), state_topic(about, tag).into());
    own.insert("value_template".to_owned(), value_template(tag).into());
    own.insert("json_attributes_topic".to_owned(), state_topic(about, tag).into());
    own.insert("json_attributes_template".to_owned(), ATTRIBUTES.into());
    if written {
        own.insert("command_topic".to_owned(), command_topic(about).into());
    }
    Some((kind, own))
}

fn fields(object: Json) -> Map<String, Json> {
    match object {
        Json::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// What stands beside the state: how good it is, and of when.
const ATTRIBUTES: &str =
    "{{ {'quality': value_json.q, 'reason': value_json.reason | default(none), 'time': value_json.t} | tojson }}";

fn value_template(tag: &Entity<'_>) -> &'static str {
    match tag.value_type.kind {
        ValueKind::Bool => "{{ 'ON' if value_json.v else 'OFF' }}",
        // NaN and infinities are texts.
        kind if kind.is_number() => "{{ value_json.v if value_json.v is number else none }}",
        _ => "{{ value_json.v }}",
    }
}

fn switch(tag: &Entity<'_>) -> Json {
    let command = |on: bool| json!({ "values": { tag.name.as_str(): on } }).to_string();
    json!({ "payload_on": command(true), "payload_off": command(false), "state_on": "ON", "state_off": "OFF" })
}

fn button(about: &Discovery<'_>, tag: &Entity<'_>) -> Json {
    let press = json!({ "values": { tag.name.as_str(): true } }).to_string();
    json!({ "payload_press": press, "command_topic": command_topic(about) })
}

fn select(tag: &Entity<'_>, texts: &[(i64, String)]) -> Json {
    json!({ "options": options(texts), "command_template": quoted(tag) })
}

fn options(texts: &[(i64, String)]) -> Vec<&str> {
    texts.iter().map(|(_, text)| text.as_str()).collect()
}

fn number(tag: &Entity<'_>) -> Json {
    let whole = matches!(tag.value_type.kind, ValueKind::Int | ValueKind::Uint);
    let lowest = if tag.value_type.kind == ValueKind::Uint { 0.0 } else { -WIDEST };
    let mut fields = json!({
        "min": tag.minimum.unwrap_or(lowest),
        "max": tag.maximum.unwrap_or(WIDEST),
        "step": if whole { 1.0 } else { 0.001 },
        "mode": "box",
        "command_template": format!("{{\"values\":{{\"{}\":{{{{ value }}}}}}}}", tag.name),
    });
    with_unit(&mut fields, tag);
    fields
}

fn measured(tag: &Entity<'_>) -> Json {
    let mut fields = json!({ "state_class": "measurement" });
    with_unit(&mut fields, tag);
    fields
}

/// Adds the unit, and what it is the unit of.
fn with_unit(fields: &mut Json, tag: &Entity<'_>) {
    let (Json::Object(fields), Some(unit)) = (fields, tag.unit) else { return };
    fields.insert("unit_of_measurement".to_owned(), unit.into());
    let Some(class) = class(unit) else { return };
    fields.insert("device_class".to_owned(), class.into());
    if class == "energy" && fields.contains_key("state_class") {
        // Home Assistant takes no energy that is measured like a temperature.
        fields.insert("state_class".to_owned(), "total".into());
    }
}

/// What Home Assistant calls the quantity that has this unit, where only one has.
fn class(unit: &str) -> Option<&'static str> {
    Some(match unit {
        "mV" | "V" | "kV" => "voltage",
        "mA" | "A" => "current",
        "mW" | "W" | "kW" | "MW" => "power",
        "VA" | "kVA" => "apparent_power",
        "var" | "kvar" => "reactive_power",
        "Wh" | "kWh" | "MWh" => "energy",
        "Hz" | "kHz" | "MHz" => "frequency",
        "°C" | "°F" | "K" => "temperature",
        "Pa" | "hPa" | "kPa" | "mbar" | "bar" | "psi" => "pressure",
        "m³/h" | "L/min" => "volume_flow_rate",
        "m/s" | "km/h" | "mm/s" => "speed",
        "lx" => "illuminance",
        _ => return None,
    })
}

/// A command with a text as its value.
fn quoted(tag: &Entity<'_>) -> String {
    format!("{{\"values\":{{\"{}\":{{{{ value | tojson }}}}}}}}", tag.name)
}

fn state_topic(about: &Discovery<'_>, tag: &Entity<'_>) -> String {
    format!("{}/{}/tag/{}", about.own, about.device, tag.name)
}

fn command_topic(about: &Discovery<'_>) -> String {
    format!("{}/{}/set", about.own, about.device)
}

fn availability(about: &Discovery<'_>, tag: &Entity<'_>) -> Json {
    let gateway = json!({ "topic": format!("{}/state", about.own) });
    if tag.access == Access::Write {
        return json!([gateway]);
    }
    let template = "{{ 'offline' if value_json.q == 'bad' else 'online' }}";
    json!([gateway, { "topic": state_topic(about, tag), "value_template": template }])
}

fn device(about: &Discovery<'_>, id: &str) -> Json {
    json!({
        "identifiers": [format!("tidegate-{id}")],
        "name": about.device.as_str(),
        "manufacturer": about.manufacturer,
        "model": about.model,
    })
}

/// A tag's name as a level that Home Assistant takes, which knows no dots.
fn level(tag: &str) -> String {
    tag.replace('.', "__")
}
