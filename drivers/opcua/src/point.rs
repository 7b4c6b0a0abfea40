//! The keys of a tag: which node it is, which part of its value, and what that is.

use std::{fmt, time::Duration};

use tidegate_driver_api::{
    config::{Access, At, Report, Scaling, Table, Tag, Threshold},
    model::{ValueKind, ValueType},
};

use crate::{
    config,
    node::{Address, Path},
};

/// The words of the key `type`, as Modbus profiles have them; widths are those of the delivered value.
const TYPES: [(&str, ValueKind); 13] = [
    ("bool", ValueKind::Bool),
    ("i8", ValueKind::Int),
    ("i16", ValueKind::Int),
    ("i32", ValueKind::Int),
    ("i64", ValueKind::Int),
    ("u8", ValueKind::Uint),
    ("u16", ValueKind::Uint),
    ("u32", ValueKind::Uint),
    ("u64", ValueKind::Uint),
    ("f32", ValueKind::F32),
    ("f64", ValueKind::F64),
    ("string", ValueKind::Text),
    ("bytes", ValueKind::Bytes),
];

/// Most items of an array.
const MOST_ITEMS: u32 = 100_000;
/// Values that a server keeps of a tag between two messages, unless the tag says otherwise: as many as come in a short outage.
const QUEUE: u32 = 10;
/// Most steps into a structure.
const MOST_STEPS: usize = 16;

/// One step into a value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    /// A field of a structure.
    Field(Box<str>),
    /// An item of an array, counted from 0.
    Item(usize),
}

/// What a tag does with its node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Role {
    /// Its value is read, written, or both.
    Value {
        /// Whether it is read.
        read: bool,
        /// Whether it may be written.
        write: bool,
    },
    /// It is called.
    Method {
        /// The object whose method it is; the node above it unless named.
        object: Option<Address>,
    },
    /// It is a field of an event: the way to it from the event's type.
    EventField(Box<[Box<str>]>),
}

/// One tag of a profile as the server sees it; shared by all devices of the profile.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Point {
    pub(crate) column: usize,
    /// `None` of a field of an event.
    pub(crate) address: Option<Address>,
    pub(crate) role: Role,
    /// The way from the node's value to the tag's.
    pub(crate) parts: Box<[Part]>,
    /// What the value is, before scale and offset.
    pub(crate) kind: ValueKind,
    /// Number of items when it is an array.
    pub(crate) items: Option<u32>,
    /// How often the server looks at the value; the group's interval unless set.
    pub(crate) sampling: Option<Duration>,
    /// Values that the server keeps between two messages.
    pub(crate) queue: u32,
    /// Changes up to this are left out by the server, in the server's own number.
    pub(crate) deadband: Option<f64>,
}

impl Point {
    /// The type of the delivered values, before scale and offset.
    pub(crate) fn value_type(&self) -> ValueType {
        ValueType { kind: self.kind, items: self.items }
    }

    /// Whether the tag is read.
    pub(crate) fn is_read(&self) -> bool {
        matches!(self.role, Role::Value { read: true, .. } | Role::EventField(_))
    }

    /// Takes the keys of a tag. Every mistake goes into `report`; the answer is `None` when there was one.
    pub(crate) fn parse(tag: &Tag, column: usize, keys: &Table, report: &mut Report) -> Option<Point> {
        // All keys are taken before anything is given up, so that all mistakes come out at once.
        let address = place(tag, keys, report);
        let method: Option<At<bool>> = keys.take("method", report);
        let object: Option<At<String>> = keys.take("object", report);
        let is_method = method.is_some_and(|at| at.value);
        let object = object.as_ref().map(|text| config::address(text, report));
        let field: Option<At<String>> = keys.take("field", report);
        let index: Option<At<u32>> = keys.take("index", report);
        let kind = if is_method && !keys.has("type") { Some(ValueKind::Text) } else { kind(tag, keys, report) };
        let items: Option<At<u32>> = match keys.has("count") {
            true => Some(keys.take_within("count", 1, 1..=MOST_ITEMS, report)),
            false => None,
        };
        let sampling: Option<At<Duration>> = keys.take("sampling", report);
        let queue = keys.take_within("queue", QUEUE, 1..=10_000, report).value;
        keys.finish(report);

        let parts = parts(field.as_ref(), index.as_ref(), report);
        let role = match (is_method, tag.access) {
            (true, Access::Write) => Role::Method {
                object: match object {
                    Some(object) => Some(object?),
                    None => None,
                },
            },
            (true, _) => {
                let help = Some("add `access = \"write\"`".to_owned());
                report.error(&tag.origin, "a method is called and cannot be read", help);
                return None;
            }
            (false, access) => Role::Value { read: access != Access::Write, write: access != Access::Read },
        };
        let parts = parts?;
        if !parts.is_empty() && matches!(role, Role::Value { write: true, .. }) {
            // OPC UA writes a structure as a whole: what another client has changed in it since it was read would be lost.
            let (message, help) = match parts.iter().any(|part| matches!(part, Part::Field(_))) {
                true => (
                    "a field of a structure cannot be written alone",
                    "remove `access`; a method of the server may set it",
                ),
                false => ("an item of an array cannot be written alone", "remove `access`, or write the whole array"),
            };
            report.error(&tag.origin, message, Some(help.to_owned()));
            return None;
        }
        Some(Point {
            column,
            address: Some(address?),
            deadband: if parts.is_empty() && items.is_none() { deadband(tag) } else { None },
            role,
            parts: parts.into(),
            kind: kind?,
            items: items.map(|at| at.value),
            sampling: sampling.map(|at| at.value),
            queue,
        })
    }

    /// Takes the keys of a tag of a group of events. Every mistake goes into `report`.
    pub(crate) fn of_event(tag: &Tag, column: usize, keys: &Table, report: &mut Report) -> Option<Point> {
        let field: Option<At<String>> = keys.require("field", "\"Message\"", report);
        let kind = kind(tag, keys, report);
        keys.finish(report);
        let field = field?;
        let steps: Vec<Box<str>> = field.split('/').map(Box::from).collect();
        if steps.iter().any(|step| step.is_empty()) || steps.len() > MOST_STEPS {
            let help = Some("write \"Message\", or \"ActiveState/Id\"".to_owned());
            report.error(&field.origin, format!("\"{}\" is no field of an event", field.value), help);
            return None;
        }
        if tag.access != Access::Read {
            report.error(&tag.origin, "a field of an event cannot be written", Some("remove `access`".to_owned()));
            return None;
        }
        Some(Point {
            column,
            address: None,
            role: Role::EventField(steps.into()),
            parts: Box::default(),
            kind: kind?,
            items: None,
            sampling: None,
            queue: QUEUE,
            deadband: None,
        })
    }

    /// The field of an event as it is written in the profile.
    pub(crate) fn event_field(&self) -> Option<String> {
        match &self.role {
            Role::EventField(steps) => Some(steps.join("/")),
            _ => None,
        }
    }
}

/// The tag's node, by name or by way.
impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.address, &self.role) {
            (Some(address), _) => address.fmt(f),
            (None, Role::EventField(steps)) => f.write_str(&steps.join("/")),
            (None, _) => f.write_str("no node"),
        }
    }
}

/// Takes `node` or `path`.
fn place(tag: &Tag, keys: &Table, report: &mut Report) -> Option<Address> {
    let node: Option<At<String>> = keys.take("node", report);
    let path: Option<At<String>> = keys.take("path", report);
    match (node, path) {
        (Some(node), None) => config::address(&node, report),
        (None, Some(path)) => match Path::parse(&path) {
            Ok(way) => {
                if way.steps.iter().any(|step| step.namespace.may_move()) {
                    let help = Some("name it by its URI: \"/Objects/nsu=urn:plant;Line1\"".to_owned());
                    report.warning(&path.origin, "a server may give a namespace another place", help);
                }
                Some(Address::Path(way))
            }
            Err(message) => {
                let help = Some("write \"/Objects/nsu=urn:plant;Line1/T1\"".to_owned());
                report.error(&path.origin, format!("\"{}\" is no way to a node: {message}", path.value), help);
                None
            }
        },
        (Some(_), Some(path)) => {
            report.error(&path.origin, "a tag has a `node` or a `path`", Some("keep one of the two".to_owned()));
            None
        }
        (None, None) if keys.has("node") || keys.has("path") => None,
        (None, None) => {
            let help = Some("add `node = \"nsu=urn:plant;s=T1\"`".to_owned());
            report.error(&tag.origin, "`node` or `path` is missing", help);
            None
        }
    }
}

/// Takes `type`.
fn kind(tag: &Tag, keys: &Table, report: &mut Report) -> Option<ValueKind> {
    if !keys.has("type") {
        report.error(&tag.origin, "`type` is missing", Some("add `type = \"f64\"`, or what the node holds".to_owned()));
        // Asked for, so that the word is known where another tag has it wrong.
    }
    keys.choice("type", &TYPES, report).map(|at| at.value)
}

/// The way into the value: `field = "axes[2].position.x"`, then `index`.
fn parts(field: Option<&At<String>>, index: Option<&At<u32>>, report: &mut Report) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    if let Some(field) = field {
        match steps(field) {
            Some(steps) if steps.len() <= MOST_STEPS => parts = steps,
            _ => {
                let help = Some("write \"position.x\", or \"axes[2].position\"".to_owned());
                report.error(&field.origin, format!("\"{}\" is no field of a structure", field.value), help);
                return None;
            }
        }
    }
    if let Some(index) = index {
        parts.push(Part::Item(usize::try_from(index.value).ok()?));
    }
    Some(parts)
}

fn steps(text: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    for step in text.split('.') {
        let (name, mut items) = step.find('[').map_or((step, ""), |bracket| step.split_at(bracket));
        if name.is_empty() {
            return None;
        }
        parts.push(Part::Field(name.into()));
        while !items.is_empty() {
            let (item, rest) = items.strip_prefix('[')?.split_once(']')?;
            parts.push(Part::Item(item.parse().ok()?));
            items = rest;
        }
    }
    Some(parts)
}

/// The tag's deadband in the server's own number, where the two count alike.
fn deadband(tag: &Tag) -> Option<f64> {
    let deadband = tag.deadband.as_ref()?;
    if deadband.max_silence.is_some() || tag.texts.is_some() {
        return None;
    }
    let threshold = match deadband.threshold {
        Threshold::Absolute(threshold) => threshold,
        Threshold::PercentOfSpan(percent) => {
            let range = tag.range.as_ref()?;
            (range.high - range.low).abs() * percent / 100.0
        }
    };
    let scale = match &tag.scaling {
        Some(scaling) => factor(&scaling.value)?,
        None => 1.0,
    };
    let raw = threshold / scale.abs();
    (raw.is_finite() && raw > 0.0).then_some(raw)
}

fn factor(scaling: &Scaling) -> Option<f64> {
    scaling.scale.parse().ok().filter(|scale: &f64| *scale != 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_into_a_structure_is_read_step_by_step() {
        let expected = vec![Part::Field("axes".into()), Part::Item(2), Part::Field("position".into())];
        assert_eq!(steps("axes[2].position"), Some(expected));
        for text in ["", ".", "a..b", "a[", "a[x]", "[1]", "a[1]b"] {
            assert_eq!(steps(text), None, "{text}");
        }
    }
}
