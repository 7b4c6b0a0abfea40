//! What a host asks of edge nodes.
//!
//! With types: the specification would rather have them left out of commands, but there are edge nodes (those made with pysparkplug 0.6) that
//! cannot read a command without.

use tidegate_model::{Timestamp, Value};

use super::{Known, NodeId};
use crate::{
    DataType, Message, REBIRTH, Topic, ValueError, Verb, payload, to_wire,
    wire::{Metric, MetricValue, Payload},
};

/// Asks a node for all its births.
pub fn rebirth_request(node: &NodeId, now: Timestamp) -> Message {
    let metric = Metric {
        name: Some(REBIRTH.to_owned()),
        timestamp: Some(millis(now)),
        datatype: Some(DataType::Boolean.code()),
        value: Some(MetricValue::Boolean(true)),
        ..Metric::default()
    };
    command(node, None, vec![metric], now)
}

/// Asks a node to write metrics of a device, or its own (`device` is `None`). By alias where the birth gave one, by name where not.
///
/// # Errors
///
/// [`ValueError`] with the place of the metric whose type cannot hold its value.
pub fn write_request(
    node: &NodeId,
    device: Option<&str>,
    values: &[(&Known, Value)],
    now: Timestamp,
) -> Result<Message, (usize, ValueError)> {
    let mut metrics = Vec::with_capacity(values.len());
    for (place, (known, value)) in values.iter().enumerate() {
        let value = to_wire(value, known.datatype).map_err(|error| (place, error))?;
        metrics.push(Metric {
            name: known.alias.is_none().then(|| known.name.to_string()),
            alias: known.alias,
            timestamp: Some(millis(now)),
            datatype: Some(known.datatype.code()),
            value: Some(value),
            ..Metric::default()
        });
    }
    Ok(command(node, device, metrics, now))
}

fn command(node: &NodeId, device: Option<&str>, metrics: Vec<Metric>, now: Timestamp) -> Message {
    let (verb, group, node) = (Verb::Command, node.group(), node.node());
    let topic = match device {
        Some(device) => Topic::Device { verb, group, node, device },
        None => Topic::Node { verb, group, node },
    };
    let payload = Payload { timestamp: Some(millis(now)), metrics, ..Payload::default() };
    Message { topic: topic.to_string(), payload: payload::encode(&payload) }
}

fn millis(time: Timestamp) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(0)
}
