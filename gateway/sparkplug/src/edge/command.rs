//! What comes to an edge node: commands, and what hosts say about themselves.

use serde_json::{Map, Number, Value as Json};
use tidegate_model::{Name, Value};

use super::{EdgeNode, Now, Phase, REBIRTH, device::Life, gate::Told, millis};
use crate::{
    Bounds, PayloadError, Topic, Verb, from_wire, payload,
    wire::{Metric, MetricValue},
};

/// A command is that large, at most.
const BOUNDS: Bounds = Bounds { bytes: 1024 * 1024, metrics: 4_096, parts: 65_536 };

/// What a message means for whoever owns the connection.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// Nothing is to be done but to call [`EdgeNode::run`].
    Nothing,
    /// The primary host is gone: say farewell, end the connection and make a new one.
    HostGone,
    /// Tags are to be written.
    Command(Command),
    /// A command for a device whose birth is not out in this connection: whoever sent it cannot know what its metrics are now, and what
    /// waited for a birth would be carried out when nobody expects it any more. It is not carried out.
    Unborn(Name),
    /// The message cannot be read.
    Malformed(PayloadError),
}

/// Tags of one device that are to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// The device.
    pub device: Name,
    /// Values by tag, as commands have them.
    pub values: Map<String, Json>,
    /// What cannot be written, and why.
    pub refused: Vec<Refused>,
}

/// A metric of a command that cannot be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its name, or its alias where it has none.
    pub metric: String,
    /// Why; a lower-case fragment.
    pub why: String,
}

/// What became of a [`Command`]: what went wrong, by tag; empty is success.
pub type Written = Result<Vec<(String, String)>, String>;

impl EdgeNode {
    /// Takes a message that has come. `retained`: it was kept by the broker, which no command may be.
    pub fn heard(&mut self, topic: &str, payload: &[u8], retained: bool, now: Now) -> Heard {
        match Topic::parse(topic) {
            Some(Topic::State { host }) => self.host_heard(host, payload, now),
            Some(Topic::Node { verb: Verb::Command, group, node }) if self.is_me(group, node) && !retained => {
                match payload::decode(payload, BOUNDS) {
                    Ok(payload) => {
                        if payload.metrics.iter().any(asks_for_births) {
                            self.ask_for_births(now);
                        }
                        Heard::Nothing
                    }
                    Err(error) => Heard::Malformed(error),
                }
            }
            Some(Topic::Device { verb: Verb::Command, group, node, device })
                if self.is_me(group, node) && !retained =>
            {
                match payload::decode(payload, BOUNDS) {
                    Ok(payload) => self.command(device, &payload.metrics),
                    Err(error) => Heard::Malformed(error),
                }
            }
            _ => Heard::Nothing,
        }
    }

    fn is_me(&self, group: &str, node: &str) -> bool {
        self.options.group.as_str() == group && self.options.node.as_str() == node
    }

    fn host_heard(&mut self, host: &str, payload: &[u8], now: Now) -> Heard {
        match self.gate.heard(host, payload, millis(now.time)) {
            Told::Offline if self.phase != Phase::Offline => Heard::HostGone,
            Told::Nothing | Told::Online | Told::Offline => Heard::Nothing,
        }
    }

    /// What a command wants of a device; nothing of one that is none of ours.
    fn command(&self, device: &str, metrics: &[Metric]) -> Heard {
        let Some(entry) = self.entries.get(device).filter(|entry| !entry.is_gone()) else { return Heard::Nothing };
        if self.phase != Phase::Born || entry.life() != Life::Born {
            return Heard::Unborn(entry.name().clone());
        }
        let mut command = Command { device: entry.name().clone(), values: Map::new(), refused: Vec::new() };
        for metric in metrics {
            let found = entry.present().iter().find(|known| match (&metric.name, metric.alias) {
                (Some(name), _) if !name.is_empty() => *name == known.wire_name,
                (_, Some(alias)) => alias == known.alias,
                (_, None) => false,
            });
            let name = || match (&metric.name, metric.alias) {
                (Some(name), _) => name.clone(),
                (None, Some(alias)) => format!("alias {alias}"),
                (None, None) => "a metric without a name".to_owned(),
            };
            let value = match (found, &metric.value) {
                (None, _) => Err("the device has no such metric".to_owned()),
                (Some(_), None) => Err("it has no value".to_owned()),
                (Some(known), Some(value)) => {
                    let read = from_wire(value, known.info.datatype).map_err(|error| format!("failed to {error}"));
                    read.and_then(|value| json(&value).ok_or_else(|| "bytes cannot be written".to_owned()))
                        .map(|json| (known.info.name.to_string(), json))
                }
            };
            match value {
                Ok((tag, json)) => drop(command.values.insert(tag, json)),
                Err(why) => command.refused.push(Refused { metric: name(), why }),
            }
        }
        Heard::Command(command)
    }
}

fn asks_for_births(metric: &Metric) -> bool {
    metric.name.as_deref() == Some(REBIRTH) && metric.value == Some(MetricValue::Boolean(true))
}

/// A value as commands have them; `None` where they have none such.
fn json(value: &Value) -> Option<Json> {
    Some(match value {
        Value::Bool(on) => (*on).into(),
        Value::Int(number) => (*number).into(),
        Value::Uint(number) => (*number).into(),
        // The fewest digits that are the same 32-bit float again, as in all that the gateway says.
        Value::F32(number) if number.is_finite() => number.to_string().parse().ok().and_then(Number::from_f64)?.into(),
        Value::F32(number) => word((*number).into()),
        Value::F64(number) => Number::from_f64(*number).map_or_else(|| word(*number), Json::Number),
        Value::Text(text) => (**text).into(),
        Value::Bytes(_) => return None,
        Value::Array(items) => items.iter().map(json).collect::<Option<Vec<_>>>()?.into(),
    })
}

fn word(number: f64) -> Json {
    let word = match () {
        () if number.is_nan() => "NaN",
        () if number > 0.0 => "Infinity",
        () => "-Infinity",
    };
    word.into()
}
