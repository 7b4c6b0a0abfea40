//! The keys of a target with `format = "sparkplug_b"`.

use crate::{At, MqttVersion, Report, SparkplugIds, Table};

/// The word in `format`.
pub(super) const FORMAT: &str = "sparkplug_b";
/// Bytes of an id, at most.
const LONGEST: usize = 256;
/// Keys that only this format has.
const KEYS: [&str; 3] = ["group_id", "edge_node_id", "primary_host"];

/// Reads the keys.
pub(super) fn ids(table: &Table, protocol: MqttVersion, report: &mut Report) -> Option<SparkplugIds> {
    if protocol == MqttVersion::V5 {
        let help = "an edge node speaks MQTT 3.1.1, which every broker of Sparkplug does; remove `protocol`".to_owned();
        report.error(
            table.origin_of("protocol"),
            format!("`format = \"{FORMAT}\"` does not go with MQTT 5"),
            Some(help),
        );
    }
    if table.has("in_flight") {
        let help = "Sparkplug B has its data published with QoS 0; remove it".to_owned();
        report.error(
            table.origin_of("in_flight"),
            format!("`in_flight` has no effect with `format = \"{FORMAT}\"`"),
            Some(help),
        );
    }
    let group = table.require::<String>("group_id", "\"plant1\"", report);
    let group = group.and_then(|group| id("group_id", group, report));
    let edge_node = table.take::<String>("edge_node_id", report);
    let edge_node = optional("edge_node_id", edge_node, table, report);
    let primary_host = table.take::<String>("primary_host", report);
    let primary_host = optional("primary_host", primary_host, table, report);
    Some(SparkplugIds { group: group?, edge_node: edge_node?, primary_host: primary_host? })
}

/// Reports the keys of this format in a target of another one.
pub(super) fn no_ids(table: &Table, format: &str, report: &mut Report) {
    for key in KEYS.into_iter().filter(|key| table.has(key)) {
        table.node(key, report);
        let help = format!("it names an edge node of Sparkplug B; write `format = \"{FORMAT}\"`, or remove it");
        report.error(table.origin_of(key), format!("`{key}` has no effect with `format = \"{format}\"`"), Some(help));
    }
    // Asked for all the same, so that a misspelt one is told its name.
    for key in KEYS.into_iter().filter(|key| !table.has(key)) {
        table.take::<String>(key, report);
    }
}

/// An id that need not be there; `None` when it is there and wrong.
fn optional(key: &'static str, text: Option<At<String>>, table: &Table, report: &mut Report) -> Option<Option<String>> {
    match text {
        Some(text) => id(key, text, report).map(Some),
        None => (!table.has(key)).then_some(None),
    }
}

/// A text that is one level of a topic.
fn id(key: &str, text: At<String>, report: &mut Report) -> Option<String> {
    let wrong = text.value.chars().find(|character| matches!(character, '+' | '/' | '#') || character.is_control());
    let message = match wrong {
        Some(character) => format!("{character:?} may not stand in `{key}`, which is one level of a topic"),
        None if text.value.is_empty() || text.value.len() > LONGEST => {
            format!("`{key}` has to be 1 to {LONGEST} bytes")
        }
        None => return Some(text.value),
    };
    report.error(&text.origin, message, None);
    None
}
